//! What goes wrong with Redis.

use std::time::Duration;

use events_core::BrokerError;

/// An error of this crate. The text says what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CeleryError {
    /// A URL that cannot be read. It is not shown: it may hold a password.
    #[error(
        "the URL of Redis cannot be read; write it like `redis://host:6379/0`, `redis://user:password@host:6379/0`, or `rediss://…` for TLS (needs the feature `tls`)"
    )]
    Url {
        /// What is wrong with it.
        source: redis::RedisError,
    },
    /// A certificate that cannot be read, or a URL to which none belongs.
    #[error(
        "the root certificate cannot be used; give it in PEM (`-----BEGIN CERTIFICATE-----`), and a URL that begins with `rediss://`"
    )]
    Certificate {
        /// What is wrong with it.
        source: redis::RedisError,
    },
    /// Redis cannot be reached, or refuses the user.
    #[error("Redis at {address} cannot be reached; {remedy}")]
    Connect {
        /// Where.
        address: String,
        /// What to do.
        remedy: &'static str,
        /// What happened.
        source: redis::RedisError,
    },
    /// No connection within the time given.
    #[error(
        "Redis at {address} does not answer within {waited:?}; does it run, and is the address right?"
    )]
    NoConnection {
        /// Where.
        address: String,
        /// How long it was waited.
        waited: Duration,
    },
    /// It was tried a moment ago, for somebody else.
    #[error("Redis at {address} is away: {reason}")]
    Away {
        /// Where.
        address: String,
        /// What was found then.
        reason: String,
    },
    /// Redis refused a command or the connection broke.
    #[error("Redis could not {action}{remedy}")]
    Command {
        /// What it was asked for.
        action: &'static str,
        /// What to do; begins with a semicolon, or is empty.
        remedy: &'static str,
        /// What it answered.
        source: redis::RedisError,
    },
    /// Redis answered something else than was asked for.
    #[error("Redis answered something unexpected when it was to {action}: {answer}")]
    Answer {
        /// What it was asked for.
        action: &'static str,
        /// What it answered, shortened.
        answer: String,
    },
    /// A server that lacks commands.
    #[error("Redis {version} is too old; 6.2 or later is needed, as Celery 5.7 does")]
    TooOld {
        /// Its version.
        version: String,
    },
    /// A worker that is not registered any more.
    #[error("the worker is not registered; others took it for dead")]
    NotRegistered,
}

impl CeleryError {
    pub(crate) fn command(action: &'static str, source: redis::RedisError) -> Self {
        Self::Command { action, remedy: remedy(&source), source }
    }

    /// Whether Redis answered, and refused: the connection is good.
    pub(crate) fn is_answer(&self) -> bool {
        match self {
            Self::Command { source, .. } => {
                source.code().is_some()
                    && !matches!(source.code(), Some("READONLY" | "LOADING" | "MOVED"))
            }
            _ => false,
        }
    }

    /// Whether Redis refuses this key, and others maybe not.
    pub(crate) fn is_of_a_key(&self) -> bool {
        match self {
            Self::Command { source, .. } => matches!(source.code(), Some("WRONGTYPE" | "NOPERM")),
            _ => false,
        }
    }

    pub(crate) fn into_broker_error(self, action: &'static str) -> BrokerError {
        BrokerError::new(action, self)
    }
}

/// What Redis calls the error; of several commands that were sent at once, the first that has one.
pub(crate) fn code(error: &redis::RedisError) -> Option<String> {
    let of_first = || {
        let errors = error.clone().into_server_errors()?;
        errors.first().map(|(_, error)| error.code().to_owned())
    };
    error.code().map(str::to_owned).or_else(of_first)
}

/// What to do about an answer of Redis'.
fn remedy(error: &redis::RedisError) -> &'static str {
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

/// What to do when no connection can be made.
pub(crate) fn connect_remedy(error: &redis::RedisError) -> &'static str {
    match error.code() {
        Some("WRONGPASS" | "NOAUTH" | "NOPERM") => "check the user and the password in its URL",
        _ if error.kind() == redis::ErrorKind::AuthenticationFailed => {
            "check the user and the password in its URL"
        }
        // The certificate is not the only thing that an I/O error may be about, and has no kind of its own.
        _ if error.to_string().contains("certificate") => {
            "its certificate is not trusted: give that of its authority to `tls_root_certificate`, and the host's name as the certificate has it"
        }
        _ => "does it run, and are host, port and TLS right?",
    }
}
