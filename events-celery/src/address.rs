//! Celery's URLs of Redis, read as Celery reads them.

mod parts;

use std::borrow::Cow;

use redis::RedisConnectionInfo;

use self::parts::Parts;

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
    /// The path of a Unix socket.
    Socket(String),
    /// The sentinels that know where it is.
    #[cfg(feature = "sentinel")]
    Sentinels(Vec<(String, u16)>),
}

/// What a URL is for: kombu reads Celery's `broker_url`, and other code its `result_backend`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    Tasks,
    Results,
}

impl Purpose {
    /// What messages call that Redis.
    pub(crate) fn redis(self) -> &'static str {
        match self {
            Self::Tasks => "Redis",
            Self::Results => "the results' Redis",
        }
    }
}

/// What to do about a URL. Nothing of the URL is in it: where a password has a `/` or `?` that is not
/// encoded, any part of the URL may be one of the password.
pub(crate) type Remedy = Cow<'static, str>;

const SCHEMES: Remedy = Cow::Borrowed(
    "write it like `redis://host:6379/0`, `redis://user:password@host:6379/0`, `rediss://…` for TLS, `redis+socket:///path?virtual_host=0`, or `sentinel://host:26379/0;sentinel://…`",
);
const SEVERAL: Remedy = Cow::Borrowed(
    "it names several servers, and only sentinels may be several: `sentinel://a:26379/0;sentinel://b:26379`. Give the address of one; a `;` in a password is written `%3B`",
);
const WHITESPACE: Remedy = Cow::Borrowed(
    "it has whitespace beside a host or a line break in it; take that out. Whitespace in a password is written `%20`",
);
const PARAMETER: Remedy = Cow::Borrowed(
    "it has a parameter behind the `?` that means nothing here; leave it out. A `?` in a password is written `%3F`",
);
const LOGIN_AS_PARAMETER: Remedy = Cow::Borrowed(
    "user and password are not written behind the `?` here, but as in `redis://user:password@host:6379/0` or `redis+socket://user:password@/path`",
);
const DATABASE_AS_PARAMETER: Remedy = Cow::Borrowed(
    "the database is not written behind the `?` here, but as in `redis://host:6379/0`",
);
const DATABASE_OF_SOCKET: Remedy = Cow::Borrowed(
    "kombu ignores `db` here; write `virtual_host`: `redis+socket:///path?virtual_host=0`",
);
const UNCHECKED: Remedy = Cow::Borrowed(
    "`ssl_cert_reqs` is to leave the certificate unchecked, and it is always checked here; leave that out, and give the certificate of the server's authority to `tls_root_certificate`",
);
const NAME_UNCHECKED: Remedy = Cow::Borrowed(
    "`ssl_check_hostname` is to leave the host's name unchecked, and it is always checked here; leave that out, and write the name that the certificate has",
);
const AUTHORITY: Remedy = Cow::Borrowed(
    "leave `ssl_ca_certs` out, and give the contents of that file to `tls_root_certificate`",
);
const CLIENT: Remedy = Cow::Borrowed(
    "leave `ssl_certfile` and `ssl_keyfile` out, and give the contents of those files to `tls_client_certificate`",
);
#[cfg(feature = "sentinel")]
const TLS_OF_SENTINELS: Remedy = Cow::Borrowed(
    "leave `ssl_…` out, and call `tls(true)` for TLS with the Redis behind the sentinels; the certificate is always checked here",
);
#[cfg(not(feature = "tls"))]
const NO_TLS: Remedy =
    Cow::Borrowed("it asks for TLS, which needs the feature `tls` of events-celery");
#[cfg(not(feature = "sentinel"))]
const NO_SENTINEL: Remedy =
    Cow::Borrowed("`sentinel://` needs the feature `sentinel` of events-celery");

/// Parameters that everybody knows, of redis-py, kombu and the redis crate. Only these are named in
/// messages: another one may be a piece of a password.
#[rustfmt::skip]
const KNOWN_PARAMETERS: &[&str] = &[
    "ack_emulation", "client_name", "connect_timeout", "connection_timeout", "credential_provider",
    "decode_responses", "encoding", "encoding_errors", "failover_strategy", "fanout_patterns",
    "fanout_prefix", "global_keyprefix", "health_check_interval", "heartbeat", "lib_name", "lib_version",
    "login_method", "master_name", "max_connections", "min_other_sentinels", "priority_steps", "protocol",
    "queue_order_strategy", "retry_on_error", "retry_on_timeout", "sentinel_kwargs", "sep",
    "socket_connect_timeout", "socket_keepalive", "socket_keepalive_options", "socket_read_size",
    "socket_timeout", "ssl", "ssl_ca_certs", "ssl_ca_data", "ssl_ca_path", "ssl_cert_reqs",
    "ssl_certfile", "ssl_check_hostname", "ssl_ciphers", "ssl_keyfile", "ssl_min_version",
    "ssl_password", "timeout", "unacked_key", "unacked_index_key", "unacked_mutex_expire",
    "unacked_mutex_key", "unacked_restore_limit", "visibility_timeout",
];

const REDIS_PORT: u16 = 6379;
#[cfg(feature = "sentinel")]
const SENTINEL_PORT: u16 = 26379;

impl Address {
    /// Reads a URL, around which whitespace, such as the end of a file's line, does not count.
    pub(crate) fn parse(url: &str, purpose: Purpose) -> Result<Self, Remedy> {
        let url = url.trim();
        let (scheme, _) = url.split_once("://").ok_or(SCHEMES)?;
        // Python drops these from the middle of a URL, so that a password would be another one there.
        if url.contains(['\t', '\r', '\n']) {
            return Err(WHITESPACE);
        }
        match &*scheme.to_ascii_lowercase() {
            "sentinel" => sentinels(url),
            _ if url.contains(';') => Err(SEVERAL),
            "redis" => host(url, false),
            "rediss" => host(url, true),
            "redis+socket" | "socket" => kombu_socket(url, purpose),
            "redis+unix" | "unix" => redis_py_socket(url),
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
    let (host, port) = parts.host_and_port(REDIS_PORT);
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
        ("db" | "virtual_host", _) => Err(DATABASE_AS_PARAMETER),
        _ => Err(meaningless(name)),
    }
}

/// About a parameter that cannot be used.
fn meaningless(name: &str) -> Remedy {
    if let "user" | "username" | "userid" | "pass" | "password" = name {
        return LOGIN_AS_PARAMETER;
    }
    match KNOWN_PARAMETERS.iter().find(|known| **known == name) {
        Some(known) => format!("its parameter `{known}` means nothing here; leave it out").into(),
        None => PARAMETER,
    }
}

/// As kombu writes it, and Celery's results with it. Only the latter look at more than `virtual_host`,
/// and what they find there is more than what stands elsewhere.
fn kombu_socket(url: &str, purpose: Purpose) -> Result<Address, Remedy> {
    let mut parts = Parts::split(url)?;
    let (mut virtual_host, mut database) = (String::new(), String::new());
    for (name, value) in std::mem::take(&mut parts.query) {
        match (&*name, purpose) {
            ("virtual_host", _) => virtual_host = value,
            ("db", Purpose::Tasks) => return Err(DATABASE_OF_SOCKET),
            ("db", Purpose::Results) => database = value,
            ("username", Purpose::Results) => parts.user = Some(value),
            ("password", Purpose::Results) => parts.password = Some(value),
            _ => return Err(meaningless(&name)),
        }
    }
    at_socket(&parts, if database.is_empty() { &virtual_host } else { &database })
}

/// `unix://` is redis-py's, `redis+unix://` the redis crate's.
fn redis_py_socket(url: &str) -> Result<Address, Remedy> {
    let mut parts = Parts::split(url)?;
    let mut database = String::new();
    for (name, value) in std::mem::take(&mut parts.query) {
        match &*name {
            "virtual_host" | "db" => database = value,
            "user" | "username" => parts.user = Some(value),
            "pass" | "password" => parts.password = Some(value),
            _ => return Err(meaningless(&name)),
        }
    }
    at_socket(&parts, &database)
}

fn at_socket(parts: &Parts, database: &str) -> Result<Address, Remedy> {
    if parts.path.is_empty() || !parts.host.is_empty() {
        return Err(SCHEMES);
    }
    let place = Place::Socket(format!("/{}", parts.path));
    Ok(Address { place, login: parts.login(database)?, tls: false })
}

/// User, password and database are those of the Redis, and the first URL says them.
#[cfg(feature = "sentinel")]
fn sentinels(url: &str) -> Result<Address, Remedy> {
    let mut sentinels = Vec::new();
    let mut login = None;
    for url in url.split(';').filter(|url| !url.is_empty()) {
        // Kombu would ask elsewhere, or nobody.
        if url != url.trim() {
            return Err(WHITESPACE);
        }
        let (scheme, _) = url.split_once("://").ok_or(SEVERAL)?;
        if !scheme.eq_ignore_ascii_case("sentinel") {
            return Err(SEVERAL);
        }
        let parts = Parts::split(url)?;
        if let Some((name, _)) = parts.query.first() {
            return Err(match &**name {
                "db" | "virtual_host" => DATABASE_AS_PARAMETER,
                name if name.starts_with("ssl_") => TLS_OF_SENTINELS,
                name => meaningless(name),
            });
        }
        sentinels.push(parts.host_and_port(SENTINEL_PORT));
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

#[cfg(test)]
mod tests;
