//! PostgreSQL: transactions that write side by side, and so lock the rows they decide upon.
//!
//! They are expected to run at `READ COMMITTED`, PostgreSQL's default: a statement that follows a
//! lock sees what was committed before the lock was had.

use std::ffi::OsStr;
use std::io;

use events_core::Events;
use events_sqlx::{PostgresQueueOptions, QueueError};
use sqlx::Transaction;
use tempfile::TempDir;

use super::{Location, WrongDatabase, is_postgres};

pub use events_sqlx::{
    PgConnection as Connection, PgPool as Pool, Postgres as Database, PostgresQueue as Queue,
};

/// How `--database` is written.
pub const NOTATION: &str = "URL";

/// What `--help` says about the database.
pub const ABOUT: &str = "The database is a PostgreSQL one, such as postgres://user@host/name; for \
                         SQLite build without `--features postgres`.";

/// How many handlers a worker runs at once. Each waits for the database most of the time.
pub const CONCURRENCY: usize = 4;

/// How many connections a process has: one for each handler, one for the application, and one to
/// spare.
pub const CONNECTIONS: u32 = 6;

/// How many connections a service has: those of a worker, and one for each of some requests that are
/// answered at once.
pub(crate) const SERVICE_CONNECTIONS: u32 = CONNECTIONS + 10;

/// There is none that a service could take without being told.
pub(crate) const DEFAULT: Option<&str> = None;

/// What to write for it in a configuration.
pub(crate) const EXAMPLE: &str = "a URL, such as \"postgres://user@host/name\"";

/// Begins a transaction in which all reads see one state.
pub(crate) const BEGIN_SNAPSHOT: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";

/// Whether the application's tables are there.
pub(crate) const HAS_SCHEMA: &str =
    "SELECT to_regclass('monitor_aggregate_statistics') IS NOT NULL";

/// A select that takes its rows for the transaction, those of one statement in the order in which
/// it sorts them. `NO KEY`, because rows that refer to them may be written meanwhile.
macro_rules! locked {
    ($select:expr) => {
        concat!($select, " FOR NO KEY UPDATE")
    };
}

/// As `locked`, for a select of one column `key`: all of them in one row, as a list in JSON.
macro_rules! taking {
    ($select:expr) => {
        concat!(
            "SELECT coalesce(json_agg(key), '[]')::text FROM (",
            $crate::database::locked!($select),
            ") AS taken"
        )
    };
}

/// That a column is one of a list in JSON.
macro_rules! one_of {
    ($column:literal, $list:literal) => {
        concat!($column, " IN (SELECT json_array_elements_text(", $list, "::json))")
    };
}

pub(crate) use {locked, one_of, taking};

/// Refuses what is no database of this program.
pub(super) fn check(given: &str) -> Result<(), WrongDatabase> {
    match is_postgres(given) {
        true => Ok(()),
        false => Err(WrongDatabase(
            "this program was built for PostgreSQL; give a URL such as \
             `postgres://user@host/name`, or build it without `--features postgres` to use SQLite",
        )),
    }
}

/// Nothing is made by opening it: connecting to what is missing fails.
pub(super) fn is_missing(_: &OsStr) -> bool {
    false
}

/// What of a URL is no secret: the host and the name of the database.
pub(super) fn shown(url: &str) -> String {
    // A password among the parameters may have an `@` in it, so they go first.
    let place = url.split_once('?').map_or(url, |(place, _)| place);
    place.rsplit_once('@').map_or(place, |(_, place)| place).to_owned()
}

/// There are none.
pub(crate) fn temporary() -> io::Result<(Location, TempDir)> {
    Err(io::Error::new(io::ErrorKind::Unsupported, "PostgreSQL has no temporary databases"))
}

/// Opens the database, with the queue's tables in it and so many connections of the application.
pub(crate) async fn open(
    location: &Location,
    events: &Events,
    connections: u32,
) -> Result<Queue, QueueError> {
    let url = location.0.to_string_lossy();
    PostgresQueueOptions::new().max_connections(connections).connect(&url, events).await
}

/// Begins a transaction that nobody else begins so meanwhile.
pub(crate) async fn begin_alone(
    pool: &Pool,
) -> Result<Transaction<'static, Database>, sqlx::Error> {
    let mut transaction = pool.begin().await?;
    // By a number that stands for this application.
    sqlx::query("SELECT pg_advisory_xact_lock(hashtext('stewardship'))")
        .execute(&mut *transaction)
        .await?;
    Ok(transaction)
}

/// Whether another transaction stood in the way, and trying again helps.
pub(crate) fn is_conflict(error: &sqlx::Error) -> bool {
    const SERIALIZATION_FAILURE: &str = "40001";
    const DEADLOCK_DETECTED: &str = "40P01";
    // What a row refers to was there and is deleted now: the next attempt says that it is unknown.
    const FOREIGN_KEY_VIOLATION: &str = "23503";
    matches!(
        code(error).as_deref(),
        Some(SERIALIZATION_FAILURE | DEADLOCK_DETECTED | FOREIGN_KEY_VIOLATION)
    )
}

/// Whether the server may have committed before it said this: it ended, or does not know itself.
pub(super) fn leaves_outcome_unknown(error: &sqlx::Error) -> bool {
    const CONNECTION_EXCEPTIONS: &str = "08";
    const SHUTDOWNS: &str = "57P";
    const STATEMENT_COMPLETION_UNKNOWN: &str = "40003";
    let unknown = [CONNECTION_EXCEPTIONS, SHUTDOWNS, STATEMENT_COMPLETION_UNKNOWN];
    code(error).is_some_and(|code| unknown.iter().any(|class| code.starts_with(class)))
}

/// Whether the database cannot be used now, by anybody, and later may: it is gone or going, starts,
/// can only be read since another has taken over, has too many clients, or takes too long.
pub(crate) fn is_unavailable(error: &sqlx::Error) -> bool {
    const CONNECTION_EXCEPTIONS: &str = "08";
    const INSUFFICIENT_RESOURCES: &str = "53";
    const OPERATOR_INTERVENTIONS: &str = "57";
    const READ_ONLY_TRANSACTION: &str = "25006";
    const IDLE_IN_TRANSACTION_TIMEOUT: &str = "25P03";
    let classes = [
        CONNECTION_EXCEPTIONS,
        INSUFFICIENT_RESOURCES,
        OPERATOR_INTERVENTIONS,
        READ_ONLY_TRANSACTION,
        IDLE_IN_TRANSACTION_TIMEOUT,
    ];
    code(error).is_some_and(|code| classes.iter().any(|class| code.starts_with(class)))
}

/// Why the database does not take a value, such as a text with a NUL in it, or one that is too long
/// for an index.
pub(crate) fn refusal(error: &sqlx::Error) -> Option<String> {
    const DATA_EXCEPTIONS: &str = "22";
    const PROGRAM_LIMIT_EXCEEDED: &str = "54000";
    let code = code(error)?;
    (code.starts_with(DATA_EXCEPTIONS) || code == PROGRAM_LIMIT_EXCEEDED).then(|| error.to_string())
}

/// Whether a statement was refused for the rows it was about, and not because the server is away,
/// stopping or full: data exceptions, violated constraints, and what functions raise.
pub(crate) fn is_of_rows(error: &sqlx::Error) -> bool {
    let code = code(error);
    code.is_some_and(|code| ["22", "23", "54", "P0"].iter().any(|class| code.starts_with(class)))
}

fn code(error: &sqlx::Error) -> Option<std::borrow::Cow<'_, str>> {
    error.as_database_error()?.code()
}

#[cfg(test)]
mod tests {
    use super::shown;

    #[test]
    fn what_is_shown_of_a_url_has_no_password() {
        for (url, place) in [
            ("postgres://user:secret@host/name", "host/name"),
            ("postgres://user:se@cret@host/name", "host/name"),
            ("postgres://user@host/name?password=secret", "host/name"),
            ("postgres://user@host/name?password=se@cret", "host/name"),
            ("postgres://host/name?password=se@cret", "postgres://host/name"),
        ] {
            assert_eq!(shown(url), place, "{url}");
        }
    }
}
