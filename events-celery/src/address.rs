//! Celery's URLs of Redis, read as kombu reads them.

use std::path::PathBuf;

use percent_encoding::percent_decode_str;
use redis::RedisConnectionInfo;

/// Where a Redis is, and who asks to be let in.
#[derive(Debug, Clone)]
pub(crate) struct Address {
    pub(crate) place: Place,
    /// User, password and database.
    pub(crate) login: RedisConnectionInfo,
    /// Whether it speaks TLS.
    pub(crate) tls: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    Host(String, u16),
    Socket(PathBuf),
    /// The sentinels that know where it is.
    #[cfg(feature = "sentinel")]
    Sentinels(Vec<(String, u16)>),
}

/// What to do about a URL. Nothing of the URL is in it: where a password has a `/` or `?` that is not
/// encoded, any part of the URL may be one of the password.
pub(crate) type Remedy = &'static str;

const SCHEMES: Remedy = "write it like `redis://host:6379/0`, `redis://user:password@host:6379/0`, `rediss://…` for TLS, `redis+socket:///path?virtual_host=0`, or `sentinel://host:26379/0;sentinel://…`";
const PORT: Remedy = "its port is not a number; write it like `redis://host:6379/0`, and encode a `/`, `?`, `#` or `@` in the password: `%2F`, `%3F`, `%23`, `%40`";
const DATABASE: Remedy = "its database is not a number; write it like `redis://host:6379/0`";
const SEVERAL: Remedy = "it names several servers, and only sentinels may be several: `sentinel://a:26379/0;sentinel://b:26379`. Give the address of one; a `;` in a password is written `%3B`";
const FRAGMENT: Remedy = "it has a `#`; in a password that is written `%23`";
const TEXT: Remedy = "something in it is percent-encoded that is not UTF-8";
const PARAMETER: Remedy = "it has a parameter behind the `?` that means nothing here; leave it out. A `?` in a password is written `%3F`";
const UNCHECKED: Remedy = "`ssl_cert_reqs` is to leave the certificate unchecked, and it is always checked here; leave that out, and give the certificate of the server's authority to `tls_root_certificate`";
const NAME_UNCHECKED: Remedy = "`ssl_check_hostname` is to leave the host's name unchecked, and it is always checked here; leave that out, and write the name that the certificate has";
const AUTHORITY: Remedy =
    "leave `ssl_ca_certs` out, and give the contents of that file to `tls_root_certificate`";
const CLIENT: Remedy = "leave `ssl_certfile` and `ssl_keyfile` out, and give the contents of those files to `tls_client_certificate`";
#[cfg(not(feature = "tls"))]
const NO_TLS: Remedy = "it asks for TLS, which needs the feature `tls` of events-celery";
#[cfg(not(feature = "sentinel"))]
const NO_SENTINEL: Remedy = "`sentinel://` needs the feature `sentinel` of events-celery";

const REDIS_PORT: u16 = 6379;
#[cfg(feature = "sentinel")]
const SENTINEL_PORT: u16 = 26379;

impl Address {
    pub(crate) fn parse(url: &str) -> Result<Self, Remedy> {
        let (scheme, _) = url.split_once("://").ok_or(SCHEMES)?;
        match scheme {
            "sentinel" => sentinels(url),
            _ if url.contains(';') => Err(SEVERAL),
            "redis" | "rediss" => host(url, scheme == "rediss"),
            "redis+socket" | "socket" | "redis+unix" | "unix" => socket(url),
            _ => Err(SCHEMES),
        }
    }
}

fn host(url: &str, tls: bool) -> Result<Address, Remedy> {
    let parts = Parts::split(url)?;
    let mut tls = tls;
    for (name, value) in &parts.query {
        check_tls_parameter(name, value)?;
        tls = true;
    }
    #[cfg(not(feature = "tls"))]
    if tls {
        return Err(NO_TLS);
    }
    let (host, port) = parts.host(REDIS_PORT)?;
    Ok(Address { place: Place::Host(host, port), login: parts.login(&parts.path)?, tls })
}

/// Kombu speaks TLS where any of these is given.
fn check_tls_parameter(name: &str, value: &str) -> Result<(), Remedy> {
    match (name, value) {
        // For clients the two are one.
        ("ssl_cert_reqs", "required" | "optional" | "CERT_REQUIRED" | "CERT_OPTIONAL") => Ok(()),
        ("ssl_cert_reqs", _) => Err(UNCHECKED),
        ("ssl_check_hostname", value) if !value.eq_ignore_ascii_case("false") => Ok(()),
        ("ssl_check_hostname", _) => Err(NAME_UNCHECKED),
        ("ssl_ca_certs", _) => Err(AUTHORITY),
        ("ssl_certfile" | "ssl_keyfile", _) => Err(CLIENT),
        _ => Err(PARAMETER),
    }
}

/// `redis+socket://` is kombu's, `unix://` redis-py's, `redis+unix://` the redis crate's.
fn socket(url: &str) -> Result<Address, Remedy> {
    let mut parts = Parts::split(url)?;
    let mut database = String::new();
    for (name, value) in std::mem::take(&mut parts.query) {
        match &*name {
            "virtual_host" | "db" => database = value,
            "user" | "username" => parts.user = Some(value),
            "pass" | "password" => parts.password = Some(value),
            _ => return Err(PARAMETER),
        }
    }
    if parts.path.is_empty() || !parts.host.is_empty() {
        return Err(SCHEMES);
    }
    let path = PathBuf::from(format!("/{}", parts.path));
    Ok(Address { place: Place::Socket(path), login: parts.login(&database)?, tls: false })
}

/// User, password and database are those of the Redis, and the first URL says them.
#[cfg(feature = "sentinel")]
fn sentinels(url: &str) -> Result<Address, Remedy> {
    let mut sentinels = Vec::new();
    let mut login = None;
    for url in url.split(';').filter(|url| !url.is_empty()) {
        if !url.starts_with("sentinel://") {
            return Err(SEVERAL);
        }
        let parts = Parts::split(url)?;
        if !parts.query.is_empty() {
            return Err(PARAMETER);
        }
        sentinels.push(parts.host(SENTINEL_PORT)?);
        if login.is_none() {
            login = Some(parts.login(&parts.path)?);
        }
    }
    let login = login.ok_or(SCHEMES)?;
    Ok(Address { place: Place::Sentinels(sentinels), login, tls: false })
}

#[cfg(not(feature = "sentinel"))]
fn sentinels(_: &str) -> Result<Address, Remedy> {
    Err(NO_SENTINEL)
}

/// The parts of a URL as Python's `urlparse` finds them, decoded.
struct Parts {
    user: Option<String>,
    password: Option<String>,
    /// Empty where none is given.
    host: String,
    port: Option<u16>,
    /// Without the slash that it begins with.
    path: String,
    query: Vec<(String, String)>,
}

impl Parts {
    fn split(url: &str) -> Result<Self, Remedy> {
        let (_, rest) = url.split_once("://").ok_or(SCHEMES)?;
        if rest.contains('#') {
            return Err(FRAGMENT);
        }
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (server, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (user, server) = server.rsplit_once('@').unwrap_or(("", server));
        let (user, password) = match user.split_once(':') {
            Some((user, password)) => (user, Some(decoded(password)?)),
            None => (user, None),
        };
        let (host, port) = match server.strip_prefix('[') {
            Some(server) => server.split_once(']').ok_or(SCHEMES)?,
            None => server.split_at(server.find(':').unwrap_or(server.len())),
        };
        let port = match port.strip_prefix(':').unwrap_or(port) {
            "" => None,
            port => Some(port.parse().map_err(|_| PORT)?),
        };
        let pairs = query.split('&').filter(|pair| !pair.is_empty());
        let pair = |pair: &str| -> Result<_, Remedy> {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Ok((decoded(name)?, decoded(&value.replace('+', " "))?))
        };
        Ok(Self {
            user: Some(decoded(user)?).filter(|user| !user.is_empty()),
            password: password.filter(|password| !password.is_empty()),
            host: decoded(host)?,
            port,
            path: decoded(path)?,
            query: pairs.map(pair).collect::<Result<_, _>>()?,
        })
    }

    fn host(&self, port: u16) -> Result<(String, u16), Remedy> {
        let host = if self.host.is_empty() { "127.0.0.1" } else { &self.host };
        // Of a password whose `@` comes behind a `/`, say.
        let is_name = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '%');
        if !host.chars().all(is_name) {
            return Err(SCHEMES);
        }
        Ok((host.to_owned(), self.port.unwrap_or(port)))
    }

    fn login(&self, database: &str) -> Result<RedisConnectionInfo, Remedy> {
        let database = match database.trim_matches('/') {
            "" => 0,
            number => number.parse::<u32>().map_err(|_| DATABASE)?,
        };
        let mut login = RedisConnectionInfo::default().set_db(database.into());
        if let Some(user) = &self.user {
            login = login.set_username(user);
        }
        if let Some(password) = &self.password {
            login = login.set_password(password);
        }
        Ok(login)
    }
}

fn decoded(text: &str) -> Result<String, Remedy> {
    percent_decode_str(text).decode_utf8().map(Into::into).map_err(|_| TEXT)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Place, user, password and database.
    fn read(url: &str) -> (Place, Option<String>, Option<String>, i64) {
        let Address { place, login, .. } = Address::parse(url).expect(url);
        let text = |text: Option<&str>| text.map(str::to_owned);
        (place, text(login.username()), text(login.password()), login.db())
    }

    fn at(host: &str, port: u16) -> Place {
        Place::Host(host.to_owned(), port)
    }

    #[test]
    fn urls_are_read_as_kombu_reads_them() {
        let some = |text: &str| Some(text.to_owned());
        for (url, found) in [
            ("redis://", (at("127.0.0.1", 6379), None, None, 0)),
            ("redis:///3", (at("127.0.0.1", 6379), None, None, 3)),
            ("redis://cache", (at("cache", 6379), None, None, 0)),
            ("redis://cache:1/2", (at("cache", 1), None, None, 2)),
            ("redis://[::1]:1/2", (at("::1", 1), None, None, 2)),
            ("redis://:p%40%2F%3A@cache/", (at("cache", 6379), None, some("p@/:"), 0)),
            ("redis://me:p:q@cache//4", (at("cache", 6379), some("me"), some("p:q"), 4)),
            ("redis://me@cache", (at("cache", 6379), some("me"), None, 0)),
            (
                "redis+socket://:pw@/run/redis.sock?virtual_host=2",
                (Place::Socket("/run/redis.sock".into()), None, some("pw"), 2),
            ),
            (
                "unix:///run/a%20b?db=1&user=me&pass=p%26q",
                (Place::Socket("/run/a b".into()), some("me"), some("p&q"), 1),
            ),
        ] {
            assert_eq!(read(url), found, "{url}");
        }
    }

    #[cfg(feature = "sentinel")]
    #[test]
    fn the_first_of_sentinels_says_who_asks_and_for_which_database() {
        let (place, user, password, database) =
            read("sentinel://me:pw@a/5;sentinel://b:1;sentinel://other:word@c:2/7");
        let sentinels = [("a", 26379), ("b", 1), ("c", 2)];
        let sentinels = sentinels.map(|(host, port)| (host.to_owned(), port));
        assert_eq!(place, Place::Sentinels(sentinels.into()));
        assert_eq!((user.as_deref(), password.as_deref(), database), (Some("me"), Some("pw"), 5));
    }

    #[cfg(feature = "tls")]
    #[test]
    fn tls_is_spoken_where_kombu_speaks_it() {
        let tls = |url: &str| Address::parse(url).expect(url).tls;
        assert!(!tls("redis://cache"));
        for url in ["rediss://cache", "rediss://cache/0?ssl_cert_reqs=CERT_REQUIRED"] {
            assert!(tls(url), "{url}");
        }
        assert!(tls("redis://cache/0?ssl_cert_reqs=required&ssl_check_hostname=True"));
    }

    #[test]
    fn what_cannot_be_used_is_told_with_its_remedy_and_without_the_url() {
        for (url, told) in [
            ("localhost:6379", "redis://host"),
            ("amqp://secret@host", "redis://host"),
            ("redis://:secret/@host", "%2F"),
            ("redis://:sec?ret@host", "%3F"),
            ("redis://:sec#ret@host", "%23"),
            ("redis://host/secret", "database"),
            ("redis://host:secret", "port"),
            ("redis://a;redis://b", "sentinels"),
            ("redis://host?socket_timeout=3", "leave it out"),
            ("redis://host?ssl_cert_reqs=CERT_NONE", "`tls_root_certificate`"),
            ("rediss://host?ssl_cert_reqs=none", "`tls_root_certificate`"),
            ("rediss://host?ssl_check_hostname=false", "name"),
            ("rediss://host?ssl_ca_certs=/secret", "`tls_root_certificate`"),
            ("rediss://host?ssl_keyfile=/secret", "`tls_client_certificate`"),
            ("redis+socket://secret/path", "redis+socket:///path"),
            ("unix:///path?secret=1", "leave it out"),
            ("redis://%ff@host", "UTF-8"),
        ] {
            let remedy = Address::parse(url).expect_err(url);
            assert!(remedy.contains(told) && !remedy.contains("secret"), "{url}: {remedy}");
        }
        #[cfg(feature = "sentinel")]
        for url in ["sentinel://a;redis://b", "sentinel://a?x=1"] {
            Address::parse(url).expect_err(url);
        }
    }
}
