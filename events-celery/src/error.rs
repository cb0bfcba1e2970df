//! What goes wrong with Redis.

use std::borrow::Cow;
use std::time::Duration;

use events_core::{BoxError, BrokerError};
use redis::RedisError;

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
    /// A certificate or key that cannot be used.
    #[error(
        "a certificate cannot be used; give certificates and keys in PEM, as their files have them (`-----BEGIN CERTIFICATE-----`)"
    )]
    Certificate {
        /// What is wrong with it.
        source: BoxError,
    },
    /// Certificates were given, and nothing is to be encrypted with them.
    #[error(
        "certificates are given, but no URL asks for TLS; write `rediss://`, or call `tls(true)` where Celery has `broker_use_ssl`"
    )]
    NoTls,
    /// There is no connection to Redis.
    #[error("Redis at {address} cannot be reached; {remedy}")]
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
    Denied {
        /// Where.
        address: String,
        /// What to do.
        remedy: &'static str,
        /// What it answered.
        source: BoxError,
    },
    /// A server that lacks commands.
    #[error("Redis {version} is too old; 6.2 or later is needed, as Celery 5.7 does")]
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
    Command { action: &'static str, remedy: &'static str, source: RedisError },
    /// The answer is shortened.
    #[error("Redis answered something unexpected when it was to {action}: {answer}")]
    Answer { action: &'static str, answer: String },
    #[error("the worker is not registered; others took it for dead")]
    NotRegistered,
}

/// Why there is no connection. All who waited for it are told.
#[derive(Debug, Clone)]
pub(crate) struct NoConnection {
    address: String,
    why: Why,
}

#[derive(Debug, Clone)]
enum Why {
    Failed(RedisError),
    Silent(Duration),
}

#[derive(Debug, thiserror::Error)]
#[error("no answer within {0:?}")]
struct Silent(Duration);

impl NoConnection {
    pub(crate) fn failed(address: &str, error: RedisError) -> Self {
        Self { address: address.to_owned(), why: Why::Failed(error) }
    }

    pub(crate) fn silent(address: &str, waited: Duration) -> Self {
        Self { address: address.to_owned(), why: Why::Silent(waited) }
    }
}

impl From<NoConnection> for CeleryError {
    fn from(NoConnection { address, why }: NoConnection) -> Self {
        match why {
            Why::Failed(error) if is_denied(&error) => Self::Denied {
                address,
                remedy: "check the user and the password in its URL, and those of the sentinels if there are any",
                source: error.into(),
            },
            Why::Failed(error) => {
                Self::Unreachable { address, remedy: connect_remedy(&error), source: error.into() }
            }
            Why::Silent(waited) => Self::Unreachable {
                address,
                remedy: "does it run, and is the address right?",
                source: Silent(waited).into(),
            },
        }
    }
}

impl CeleryError {
    /// Whether Redis could not be reached, or the connection to it broke: another try may help, and
    /// what was asked may have been done or not.
    #[must_use]
    pub fn is_unreachable(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            _ => self.redis().is_some_and(|error| {
                error.is_io_error() || error.is_timeout() || error.is_connection_dropped()
            }),
        }
    }

    #[cfg(any(feature = "tls", feature = "sentinel"))]
    pub(crate) fn certificate(source: RedisError) -> Self {
        Self::Certificate { source: source.into() }
    }

    pub(crate) fn command(action: &'static str, source: RedisError) -> Self {
        Self::failure(Failure::Command { action, remedy: remedy(&source), source })
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
            Self::Operation(OperationError(Failure::Command { source, .. })) => Some(source),
            _ => None,
        }
    }

    /// What Redis calls the error that it answered a command with.
    pub(crate) fn code(&self) -> Option<&str> {
        self.redis().and_then(RedisError::code)
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
    error.code().map(str::to_owned).or_else(of_first)
}

/// What to do about an answer of Redis'.
fn remedy(error: &RedisError) -> &'static str {
    match code(error).as_deref() {
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
        Some("LOADING" | "BUSY") => "; it will be able to soon",
        Some("WRONGTYPE") => {
            "; a key of the fleet holds something else: is the database shared with another program? Give a key prefix"
        }
        _ => "",
    }
}

fn is_denied(error: &RedisError) -> bool {
    matches!(error.code(), Some("WRONGPASS" | "NOAUTH" | "NOPERM"))
        || error.kind() == redis::ErrorKind::AuthenticationFailed
}

/// What to do when no connection can be made.
fn connect_remedy(error: &RedisError) -> &'static str {
    // What is wrong with certificates has no kind of its own.
    let text = error.to_string();
    if text.contains("CertificateRequired") {
        "it wants a certificate of its clients: give one to `tls_client_certificate`"
    } else if text.contains("TLS parameters") {
        "the certificate and the key given to `tls_client_certificate` do not belong together"
    } else if text.contains("certificate") {
        "its certificate is not trusted: give that of its authority to `tls_root_certificate`, and the host's name as the certificate has it"
    } else {
        "does it run, and are host, port and TLS right?"
    }
}
