//! Why there is no connection.

use std::time::Duration;

use redis::{ErrorKind, RedisError};

use super::{Cause, CeleryError, code, may_pass};

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
        let error = match why {
            Why::Silent(waited) => {
                let remedy = "does it run, and is the address right?";
                return Self::Unreachable { address, remedy, source: Silent(waited).into() };
            }
            Why::Failed(error) => error,
        };
        match Trouble::of(&error) {
            Trouble::Away(remedy) => {
                Self::Unreachable { address, remedy, source: Cause(error).into() }
            }
            Trouble::Denied => Self::Denied {
                address,
                remedy: "check the user and the password in its URL, and those of the sentinels if there are any; a Redis with a password refuses so, too, whoever comes when `maxclients` are there",
                source: Cause(error).into(),
            },
            Trouble::Unusable(remedy) => {
                Self::Unusable { address, remedy, source: Cause(error).into() }
            }
        }
    }
}

/// What has to happen before there can be a connection, with its remedy.
enum Trouble {
    /// It may pass.
    Away(&'static str),
    Denied,
    /// It needs a person.
    Unusable(&'static str),
}

impl Trouble {
    fn of(error: &RedisError) -> Self {
        if is_denied(error) {
            return Self::Denied;
        }
        if let Some(trouble) = Self::of_certificate(error).or_else(|| Self::of_database(error)) {
            return trouble;
        }
        match error.kind() {
            // Also while they agree on a new one.
            ErrorKind::MasterNameNotFoundBySentinel => {
                Self::Away("the sentinels know no such master that runs: is `master_name` right?")
            }
            _ if may_pass(error) => Self::Away("does it run, and are host, port and TLS right?"),
            _ => Self::Unusable("is it a Redis, and are host, port and TLS right?"),
        }
    }

    /// What is wrong with certificates has no kind of its own.
    fn of_certificate(error: &RedisError) -> Option<Self> {
        let text = error.to_string();
        let remedy = if text.contains("CertificateRequired") {
            "it wants a certificate of its clients: give one to `tls_client_certificate`"
        } else if text.contains("TLS parameters") {
            "the certificate and the key given to `tls_client_certificate` do not belong together"
        } else if text.contains("certificate") {
            "its certificate is not trusted: give that of its authority to `tls_root_certificate`, and the host's name as the certificate has it"
        } else {
            return None;
        };
        Some(Self::Unusable(remedy))
    }

    /// The driver leaves only the text of Redis' answer to `SELECT`.
    fn of_database(error: &RedisError) -> Option<Self> {
        let text = error.to_string();
        if !text.contains(REFUSED_DATABASE) {
            return None;
        }
        Some(if text.contains("permission") {
            Self::Unusable("its user may not select the database: allow it `+select` (ACL SETUSER)")
        } else if text.contains("out of range") {
            Self::Unusable(
                "it has no such database: they are numbered from 0, and there are 16 unless its `databases` says otherwise",
            )
        } else if text.contains("cluster") {
            Self::Unusable("it is a node of a cluster, which has only the database 0")
        } else if text.contains("max number of clients") {
            Self::Away("it has as many clients as it allows: raise its `maxclients`")
        } else {
            Self::Unusable("it does not select the database in its URL")
        })
    }
}

/// The driver's words.
const REFUSED_DATABASE: &str = "refused to switch database";

/// Whether Redis wants another user or password.
pub(super) fn is_denied(error: &RedisError) -> bool {
    let wants_password = || {
        let text = error.to_string();
        text.contains(REFUSED_DATABASE) && text.contains("Authentication required")
    };
    matches!(code(error).as_deref(), Some("WRONGPASS" | "NOAUTH" | "NOPERM"))
        || error.kind() == ErrorKind::AuthenticationFailed
        || wants_password()
}
