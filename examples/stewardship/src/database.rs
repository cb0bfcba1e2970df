//! The database of this program, chosen when it is built: SQLite, or PostgreSQL with the feature
//! `postgres`.
//!
//! A handler names the type of its transaction, so a program has one kind of database. What differs
//! between the two is in `database/sqlite.rs` and `database/postgres.rs`, which have the same items;
//! all else is written once, in SQL that both understand.

#[cfg(feature = "postgres")]
mod postgres;
#[cfg(not(feature = "postgres"))]
mod sqlite;

use std::ffi::{OsStr, OsString};
use std::fmt;

#[cfg(feature = "postgres")]
use postgres as chosen;
#[cfg(not(feature = "postgres"))]
use sqlite as chosen;

pub use chosen::{ABOUT, CONCURRENCY, CONNECTIONS, Connection, Database, NOTATION, Pool, Queue};
pub(crate) use chosen::{
    BEGIN_SNAPSHOT, DEFAULT, EXAMPLE, HAS_SCHEMA, SERVICE_CONNECTIONS, begin_alone, is_conflict,
    is_of_rows, locked, one_of, open, refusal, taking, temporary,
};

/// Where a database is, as `--database` says it.
#[derive(Clone, PartialEq, Eq)]
pub struct Location(OsString);

impl Location {
    /// Whether there is surely no database, and opening it would make one.
    #[must_use]
    pub fn is_missing(&self) -> bool {
        chosen::is_missing(&self.0)
    }

    /// For the log: without the password that a URL may have in it.
    pub(crate) fn shown(&self) -> String {
        chosen::shown(&self.0.to_string_lossy())
    }
}

impl TryFrom<OsString> for Location {
    type Error = WrongDatabase;

    fn try_from(given: OsString) -> Result<Self, WrongDatabase> {
        chosen::check(&given.to_string_lossy())?;
        Ok(Self(given))
    }
}

impl AsRef<OsStr> for Location {
    fn as_ref(&self) -> &OsStr {
        &self.0
    }
}

impl fmt::Debug for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Location").finish_non_exhaustive() // a URL may have a password in it
    }
}

/// A database that this program was not built for, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct WrongDatabase(&'static str);

/// Whether a text is the URL of a PostgreSQL database.
fn is_postgres(given: &str) -> bool {
    given.starts_with("postgres://") || given.starts_with("postgresql://")
}

/// Whether a commit that failed so may have been made all the same: nobody has heard its answer.
pub(crate) fn leaves_outcome_unknown(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Database(_) => chosen::leaves_outcome_unknown(error),
        _ => true,
    }
}

/// Whether the database cannot be used now, by anybody, and later may.
pub(crate) fn is_unavailable(error: &sqlx::Error) -> bool {
    use sqlx::Error::{Io, PoolClosed, PoolTimedOut, Tls, WorkerCrashed};
    match error {
        Io(_) | Tls(_) | PoolTimedOut | PoolClosed | WorkerCrashed => true,
        other => chosen::is_unavailable(other),
    }
}
