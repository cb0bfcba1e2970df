//! What goes wrong with Redis.

mod connect;

use std::borrow::Cow;
use std::fmt;

use events_core::{BoxError, BrokerError};
use redis::RedisError;

pub(crate) use self::connect::NoConnection;

/// An error of this crate. The text says what to do, and [`source`](std::error::Error::source) what
/// happened.
///
/// Where [`is_unreachable`](Self::is_unreachable) says so, another try may help. Everything else needs a
/// person: the options, the URL, Redis or what its user may do must be changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CeleryError {
    /// A URL that cannot be used. It is not shown: it may hold a password.
    #[error("the URL of {of} cannot be used: {remedy}")]
    #[non_exhaustive]
    Url {
        /// Whose URL it is.
        of: &'static str,
        /// What is wrong with it, and what to do.
        remedy: Cow<'static, str>,
    },
    /// Options that mean nothing, or not what they seem to.
    #[error("the options cannot be used: {remedy}")]
    #[non_exhaustive]
    Options {
        /// What is wrong with them, and what to do.
        remedy: Cow<'static, str>,
    },
    /// A certificate or key that cannot be used.
    #[error(
        "a certificate cannot be used; give certificates and keys in PEM, as their files have them (`-----BEGIN CERTIFICATE-----`)"
    )]
    #[non_exhaustive]
    Certificate {
        /// What is wrong with it.
        source: BoxError,
    },
    /// Certificates were given, and the tasks are not to be encrypted with them.
    #[error(
        "certificates are given, but the URL of the tasks does not ask for TLS; write `rediss://`, or call `tls(true)` where Celery has `broker_use_ssl`. If only the results or the sentinels are to be encrypted, call `tls(false)`"
    )]
    NoTls,
    /// There is no connection to Redis.
    #[error("Redis at {address} cannot be reached; {remedy}")]
    #[non_exhaustive]
    Unreachable {
        /// Where.
        address: String,
        /// What to do.
        remedy: &'static str,
        /// What happened.
        source: BoxError,
    },
    /// Redis does not let the user in.
    #[error("Redis at {address} does not let the user in; {remedy}")]
    #[non_exhaustive]
    Denied {
        /// Where.
        address: String,
        /// What to do.
        remedy: &'static str,
        /// What it answered.
        source: BoxError,
    },
    /// Redis is there, and cannot be used as the URL and the options say: it lacks the database, say, or
    /// its certificate is not trusted.
    #[error("Redis at {address} cannot be used; {remedy}")]
    #[non_exhaustive]
    Unusable {
        /// Where.
        address: String,
        /// What to do.
        remedy: &'static str,
        /// What happened.
        source: BoxError,
    },
    /// A server that lacks commands.
    #[error("Redis {version} is too old; 6.2 or later is needed, as Celery 5.7 does")]
    #[non_exhaustive]
    TooOld {
        /// Its version.
        version: String,
    },
    /// An operation that failed: Redis refused a command, or the connection broke over it.
    #[error(transparent)]
    Operation(OperationError),
}

/// Why an operation on Redis failed. The text says what to do.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct OperationError(Failure);

#[derive(Debug, thiserror::Error)]
enum Failure {
    /// The remedy begins with a semicolon, or is empty.
    #[error("Redis could not {action}{remedy}")]
    Command { action: &'static str, remedy: &'static str, code: Option<String>, source: Cause },
    /// The answer is shortened.
    #[error("Redis answered something unexpected when it was to {action}: {answer}")]
    Answer { action: &'static str, answer: String },
    #[error("the worker is not registered: others took it for dead, or Redis has lost its data")]
    NotRegistered,
}

/// What the driver says, once: its errors and their causes often have the same text.
#[derive(Debug)]
struct Cause(RedisError);

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Cause {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        let said = self.0.to_string();
        self.0.source().filter(|source| !said.contains(&source.to_string()))
    }
}

impl CeleryError {
    /// Whether Redis could not be reached, is not ready yet (`LOADING`, `BUSY`), or the connection to it
    /// broke: another try may help, and what was asked may have been done or not.
    #[must_use]
    pub fn is_unreachable(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            _ => self.redis().is_some_and(may_pass),
        }
    }

    /// What Redis calls the error that it answered a command with, such as `NOPERM` where its user may
    /// not do what it takes, or `OOM` where its memory is full; of several commands that were sent at
    /// once, the first that has one. Nothing if Redis gave no such answer.
    ///
    /// ```
    /// # use events_celery::CeleryError;
    /// /// Whether somebody has to give Redis more memory.
    /// fn is_full(error: &CeleryError) -> bool {
    ///     error.code() == Some("OOM")
    /// }
    /// ```
    #[must_use]
    pub fn code(&self) -> Option<&str> {
        match self {
            Self::Operation(OperationError(Failure::Command { code, .. })) => code.as_deref(),
            _ => None,
        }
    }

    /// Whether there is nobody to answer: what was asked is not at fault.
    pub(crate) fn is_away(&self) -> bool {
        matches!(self, Self::Denied { .. } | Self::Unusable { .. })
            || self.is_unreachable()
            // A master no more: the next connection leads to another.
            || matches!(self.code(), Some("READONLY" | "MOVED" | "MASTERDOWN" | "NOREPLICAS"))
    }

    #[cfg(any(feature = "tls", feature = "sentinel"))]
    pub(crate) fn certificate(source: RedisError) -> Self {
        Self::Certificate { source: source.into() }
    }

    pub(crate) fn command(action: &'static str, source: RedisError) -> Self {
        let code = code(&source);
        let remedy = remedy(code.as_deref());
        Self::failure(Failure::Command { action, remedy, code, source: Cause(source) })
    }

    /// Redis answered something else than was asked for.
    pub(crate) fn answer(action: &'static str, answer: String) -> Self {
        Self::failure(Failure::Answer { action, answer })
    }

    pub(crate) fn not_registered() -> Self {
        Self::failure(Failure::NotRegistered)
    }

    fn failure(failure: Failure) -> Self {
        Self::Operation(OperationError(failure))
    }

    /// Why a command failed, if one did.
    fn redis(&self) -> Option<&RedisError> {
        match self {
            Self::Operation(OperationError(Failure::Command { source, .. })) => Some(&source.0),
            _ => None,
        }
    }

    /// Of the first command over a connection: whoever comes without a password is let in, and only then
    /// refused.
    pub(crate) fn of_first_command(self, address: &str) -> Self {
        match self {
            Self::Operation(OperationError(Failure::Command { source, .. }))
                if connect::is_denied(&source.0) =>
            {
                NoConnection::failed(address, source.0).into()
            }
            error => error,
        }
    }

    /// Whether Redis answered, and refused: the connection is good.
    pub(crate) fn is_answer(&self) -> bool {
        self.code().is_some_and(|code| !matches!(code, "READONLY" | "LOADING" | "MOVED"))
    }

    /// Whether Redis refuses this key, and others maybe not.
    pub(crate) fn is_of_a_key(&self) -> bool {
        matches!(self.code(), Some("WRONGTYPE" | "NOPERM"))
    }

    pub(crate) fn into_broker_error(self, action: &'static str) -> BrokerError {
        BrokerError::new(action, self)
    }
}

/// What Redis calls the error; of several commands that were sent at once, the first that has one.
pub(crate) fn code(error: &RedisError) -> Option<String> {
    let of_first = || {
        let errors = error.clone().into_server_errors()?;
        errors.first().map(|(_, error)| error.code().to_owned())
    };
    // A transaction that was aborted says why in its commands.
    of_first().or_else(|| error.code().map(str::to_owned))
}

/// Whether an error is of the kind that passes: another try may help.
fn may_pass(error: &RedisError) -> bool {
    error.is_io_error()
        || error.is_timeout()
        || error.is_connection_dropped()
        || matches!(code(error).as_deref(), Some("LOADING" | "BUSY" | "TRYAGAIN"))
}

/// What to do about an answer of Redis'.
fn remedy(code: Option<&str>) -> &'static str {
    match code {
        Some("NOPERM") => {
            "; allow its user the keys and channels of the fleet and the commands named in the guide (ACL SETUSER)"
        }
        Some("NOAUTH") => "; check the user and the password in its URL",
        Some("OOM") => {
            "; its memory is full: raise maxmemory, or look why the queues are not drained"
        }
        Some("READONLY") => {
            "; it is a replica: give the address of the master, or of the sentinels"
        }
        Some("MOVED" | "ASK" | "CROSSSLOT" | "CLUSTERDOWN") => {
            "; it is a node of a cluster: give a key prefix with a hash tag, such as `{acme}:`, and the node that owns its slot"
        }
        Some("MISCONF") => "; it cannot write its data to the disk: look at its log",
        Some("LOADING" | "BUSY" | "TRYAGAIN") => "; it will be able to soon",
        Some("WRONGTYPE") => {
            "; a key of the fleet holds something else: is the database shared with another program? Give a key prefix"
        }
        _ => "",
    }
}

#[cfg(test)]
mod tests;
