//! SQLite: a file, and one transaction at a time that writes.

use std::ffi::OsStr;
use std::io;
use std::path::Path;
use std::str::FromStr as _;

use events_core::Events;
use events_sqlx::{QueueError, SqliteQueueOptions};
use sqlx::Transaction;
use sqlx::sqlite::SqliteConnectOptions;
use tempfile::TempDir;

use super::{Location, WrongDatabase, is_postgres};

pub use events_sqlx::{
    Sqlite as Database, SqliteConnection as Connection, SqlitePool as Pool, SqliteQueue as Queue,
};

/// How `--database` is written.
pub const NOTATION: &str = "PATH";

/// What `--help` says about the database.
pub const ABOUT: &str = "The database is an SQLite file; for PostgreSQL build with `--features \
                         postgres`.";

/// How many handlers a worker runs at once. They take the transaction and SQLite has one writer, so
/// more would only wait.
pub const CONCURRENCY: usize = 4;

/// How many connections the application and its handlers share. They write in turn anyway, and a
/// connection that nobody writes beside keeps its cache of pages warm.
pub const CONNECTIONS: u32 = 1;

/// How many connections a service has: the one that writes, and some that read beside it, so that a
/// request which only reads does not wait for a handler.
pub(crate) const SERVICE_CONNECTIONS: u32 = 4;

/// The database of a service that is told of none.
pub(crate) const DEFAULT: Option<&str> = Some("stewardship.db");

/// What to write for it in a configuration.
pub(crate) const EXAMPLE: &str = "a path, such as \"stewardship.db\"";

/// Begins a transaction in which all reads see one state.
pub(crate) const BEGIN_SNAPSHOT: &str = "BEGIN";

/// Whether the application's tables are there.
pub(crate) const HAS_SCHEMA: &str =
    "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = 'monitor_aggregate_statistics')";

/// A select that takes its rows for the transaction. The only one that writes has them already.
macro_rules! locked {
    ($select:expr) => {
        $select
    };
}

/// As `locked`, for a select of one column `key`: all of them in one row, as a list in JSON.
macro_rules! taking {
    ($select:expr) => {
        concat!("SELECT json_group_array(key) FROM (", $crate::database::locked!($select), ")")
    };
}

/// That a column is one of a list in JSON.
macro_rules! one_of {
    ($column:literal, $list:literal) => {
        concat!($column, " IN (SELECT value FROM json_each(", $list, "))")
    };
}

pub(crate) use {locked, one_of, taking};

/// Refuses what is no database of this program.
pub(super) fn check(given: &str) -> Result<(), WrongDatabase> {
    match is_postgres(given) {
        true => Err(WrongDatabase(
            "this program was built for SQLite; build it with `--features postgres` to use a \
             PostgreSQL database",
        )),
        false => Ok(()),
    }
}

/// Whether there is no file.
pub(super) fn is_missing(location: &OsStr) -> bool {
    let text = location.to_string_lossy();
    if !text.starts_with("sqlite:") {
        return !Path::new(location).exists();
    }
    // A URL that cannot be read names no file that could be missing; whoever opens it says so.
    SqliteConnectOptions::from_str(&text).is_ok_and(|options| !options.get_filename().exists())
}

/// What of a location is no secret: all of it.
pub(super) fn shown(location: &str) -> String {
    location.to_owned()
}

/// A database that is removed with the directory it is in.
pub(crate) fn temporary() -> io::Result<(Location, TempDir)> {
    let directory = tempfile::tempdir()?;
    Ok((Location(directory.path().join("stewardship.db").into()), directory))
}

/// Opens the database, with the queue's tables in it and so many connections of the application.
pub(crate) async fn open(
    location: &Location,
    events: &Events,
    connections: u32,
) -> Result<Queue, QueueError> {
    SqliteQueueOptions::new().max_connections(connections).open(&location.0, events).await
}

/// Begins a transaction that nobody else begins so meanwhile.
pub(crate) async fn begin_alone(
    pool: &Pool,
) -> Result<Transaction<'static, Database>, sqlx::Error> {
    pool.begin_with("BEGIN IMMEDIATE").await
}

/// Whether another transaction stood in the way, and trying again helps: never, a transaction has
/// waited for its turn to write before it does anything.
pub(crate) fn is_conflict(_: &sqlx::Error) -> bool {
    false
}

/// Whether the file may have the commit all the same: it was written, and then something failed.
pub(super) fn leaves_outcome_unknown(error: &sqlx::Error) -> bool {
    const IO: u32 = 10;
    primary_code(error) == Some(IO)
}

/// Whether the database cannot be used now, by anybody, and later may.
pub(crate) fn is_unavailable(error: &sqlx::Error) -> bool {
    const BUSY: u32 = 5;
    const LOCKED: u32 = 6;
    const IO: u32 = 10;
    const FULL: u32 = 13;
    const CANNOT_OPEN: u32 = 14;
    matches!(primary_code(error), Some(BUSY | LOCKED | IO | FULL | CANNOT_OPEN))
}

/// Whether a statement was refused for the rows it was about, and not because the database is away,
/// locked or full.
pub(crate) fn is_of_rows(error: &sqlx::Error) -> bool {
    const CONSTRAINT: u32 = 19;
    primary_code(error) == Some(CONSTRAINT)
}

/// The lowest byte of the code, whose others say more.
fn primary_code(error: &sqlx::Error) -> Option<u32> {
    let code = error.as_database_error()?.code()?;
    code.parse::<u32>().ok().map(|code| code & 0xff)
}

/// Why the database does not take a value; it takes them all.
pub(crate) fn refusal(_: &sqlx::Error) -> Option<String> {
    None
}
