//! A URL in its parts.

use std::borrow::Cow;
use std::net::Ipv6Addr;

use percent_encoding::percent_decode_str;
use redis::RedisConnectionInfo;

use super::{Remedy, SCHEMES, WHITESPACE};

const PORT: Remedy = Cow::Borrowed(
    "its port is not a number from 1 to 65535; write it like `redis://host:6379/0`, and encode a `/`, `?`, `#` or `@` in the password: `%2F`, `%3F`, `%23`, `%40`",
);
const BRACKETS: Remedy = Cow::Borrowed(
    "in brackets stands an IPv6 address, and behind them the port, if any; write it like `redis://[::1]:6379/0`, and encode a `[` in the password: `%5B`",
);
const DATABASE: Remedy =
    Cow::Borrowed("its database is not a number; write it like `redis://host:6379/0`");
const FRAGMENT: Remedy = Cow::Borrowed("it has a `#`; in a password that is written `%23`");
const TEXT: Remedy = Cow::Borrowed("something in it is percent-encoded that is not UTF-8");

/// The parts of a URL as Python's `urlparse` finds them, decoded.
pub(super) struct Parts {
    pub(super) user: Option<String>,
    pub(super) password: Option<String>,
    /// Empty where none is given.
    pub(super) host: String,
    port: Option<u16>,
    /// Without the slash that it begins with.
    pub(super) path: String,
    pub(super) query: Vec<(String, String)>,
}

impl Parts {
    pub(super) fn split(url: &str) -> Result<Self, Remedy> {
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
            Some(server) => in_brackets(server)?,
            None => name_and_port(server)?,
        };
        let pairs = query.split('&').filter(|pair| !pair.is_empty());
        let pair = |pair: &str| -> Result<_, Remedy> {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Ok((decoded(name)?, decoded(&value.replace('+', " "))?))
        };
        Ok(Self {
            user: Some(decoded(user)?).filter(|user| !user.is_empty()),
            password: password.filter(|password| !password.is_empty()),
            host,
            port,
            path: decoded(path)?,
            query: pairs.map(pair).collect::<Result<_, _>>()?,
        })
    }

    /// Host and port, and what kombu takes for them where there is none.
    pub(super) fn host_and_port(&self, default_port: u16) -> (String, u16) {
        let host = if self.host.is_empty() { "127.0.0.1" } else { &self.host };
        (host.to_owned(), self.port.unwrap_or(default_port))
    }

    pub(super) fn login(&self, database: &str) -> Result<RedisConnectionInfo, Remedy> {
        let database = match database.trim_matches('/') {
            "" => 0,
            number => number.parse::<u32>().map_err(|_| DATABASE)?,
        };
        let mut login = RedisConnectionInfo::default().set_db(database.into());
        if let Some(user) = self.user.as_deref().filter(|user| !user.is_empty()) {
            // Who gives no password has none. Python says so, and without it the redis crate would come
            // as the default user.
            login = login.set_username(user).set_password("");
        }
        if let Some(password) = &self.password {
            login = login.set_password(password);
        }
        Ok(login)
    }
}

/// `name:port`.
fn name_and_port(server: &str) -> Result<(String, Option<u16>), Remedy> {
    let (name, port) = match server.split_once(':') {
        Some((name, port)) => (decoded(name)?, self::port(port)?),
        None => (decoded(server)?, None),
    };
    if name.contains(char::is_whitespace) {
        return Err(WHITESPACE);
    }
    // Of a password whose `@` comes behind a `/`, say.
    if !name.chars().all(|c| c.is_alphanumeric() || matches!(c, '.' | '-' | '_')) {
        return Err(SCHEMES);
    }
    Ok((name, port))
}

/// `::1]:port`. Kombu takes anything for the port's end that has no `:`, and connects to another.
fn in_brackets(server: &str) -> Result<(String, Option<u16>), Remedy> {
    let (address, port) = server.split_once(']').ok_or(BRACKETS)?;
    let address = decoded(address)?;
    let (number, zone) = match address.split_once('%') {
        Some((number, zone)) => (number, Some(zone)),
        None => (&*address, None),
    };
    if number.parse::<Ipv6Addr>().is_err() || zone == Some("") {
        return Err(BRACKETS);
    }
    let port = match port.strip_prefix(':') {
        Some(port) => self::port(port)?,
        None if port.is_empty() => None,
        None => return Err(BRACKETS),
    };
    Ok((address, port))
}

/// Kombu takes a port of 0 for none: whoever writes it means something else.
fn port(text: &str) -> Result<Option<u16>, Remedy> {
    if text.is_empty() {
        return Ok(None);
    }
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    let number = text.parse().ok().filter(|port| is_number && *port > 0);
    match number {
        Some(port) => Ok(Some(port)),
        None if text.trim() != text => Err(WHITESPACE),
        None => Err(PORT),
    }
}

fn decoded(text: &str) -> Result<String, Remedy> {
    percent_decode_str(text).decode_utf8().map(Into::into).map_err(|_| TEXT)
}
