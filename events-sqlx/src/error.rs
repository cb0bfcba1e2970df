//! What can go wrong, and what to do about it.

use std::time::Duration;

use events_core::forwarding::ForwardingError;
use events_core::{BrokerError, WorkerId};

/// A queue or session that did not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum QueueError {
    /// The file could not be opened.
    #[error("the database `{path}` could not be opened: {remedy}")]
    Open {
        /// The file.
        path: String,
        /// What to do.
        remedy: &'static str,
        /// What the database said.
        source: sqlx::Error,
    },
    /// Tasks in memory would not survive the process, nor be seen by other connections.
    #[error(
        "`{path}` is a database in memory, which its other connections cannot see and which loses every task with the process; give the path of a file, in a temporary directory for tests"
    )]
    InMemory {
        /// What was given.
        path: String,
    },
    /// The pool's connections do not use the write-ahead log.
    #[error(
        "the pool's journal mode is `{mode}`, in which readers and the writer block each other; build its `SqliteConnectOptions` with `.journal_mode(SqliteJournalMode::Wal)` on a file"
    )]
    JournalMode {
        /// The mode that it uses.
        mode: String,
    },
    /// The URL cannot be read.
    #[error("the database's URL cannot be read; write it like `postgres://user@host/database`")]
    Url {
        /// Why.
        source: sqlx::Error,
    },
    /// The schema cannot have this name.
    #[error(
        "`{schema}` cannot be the schema of the events tables; its name has at most 48 lower-case letters, digits and `_`, and begins neither with a digit nor with `pg_`"
    )]
    SchemaName {
        /// What was given.
        schema: String,
    },
    /// The database did not answer.
    #[error(
        "the database did not answer within {waited:?}; look at its load, at locks in pg_stat_activity, and at the network"
    )]
    NoAnswer {
        /// How long was waited.
        waited: Duration,
    },
    /// The events tables are older than this program, or not there, and it is not to migrate them.
    #[error(
        "the events tables have version {found} and this program needs {known}; apply the migrations that follow, which `PostgresQueue::migrations` prints, or open the queue with `migrate(true)`"
    )]
    OlderSchema {
        /// The version of the tables; 0 if they are not there.
        found: i64,
        /// The version that this program needs.
        known: i64,
    },
    /// A newer release of this crate has migrated the database.
    #[error(
        "the events tables have version {found} and this program knows versions up to {known}; start the newer release of the program, or restore a backup from before it ran"
    )]
    NewerSchema {
        /// The version of the tables.
        found: i64,
        /// The newest version that this program knows.
        known: i64,
    },
    /// The events tables could not be brought to this program's version; they are as before.
    #[error(
        "{}",
        with_remedy(&format!("the events tables could not be migrated to version {version}"), *remedy)
    )]
    Migrate {
        /// The version.
        version: i64,
        /// What to do, if the cause alone does not say it.
        remedy: Option<&'static str>,
        /// What the database said.
        source: sqlx::Error,
    },
    /// Another transaction of this process held the only writer for too long.
    #[error(
        "another transaction of this process has been writing for more than {waited:?}, and SQLite has one writer; end a transaction before beginning the next in the same task, keep transactions short, or raise the busy timeout"
    )]
    WriterBusy {
        /// How long was waited: the busy timeout.
        waited: Duration,
    },
    /// The transaction had ended before its commit, so there was nothing to commit.
    #[error(
        "the transaction was gone before its commit: an error rolled it back, or a statement did; nothing was published; look for the first error in it, and run the whole unit of work again"
    )]
    TransactionLost,
    /// A savepoint was still open, because it was leaked.
    #[error(
        "a savepoint of the transaction is still open; release, roll back or drop every savepoint before the commit; everything was rolled back"
    )]
    SavepointOpen,
    /// The future of a savepoint's release was dropped.
    #[error(
        "the release of a savepoint was cancelled, so that nobody can tell whether it was kept; everything was rolled back; run the whole unit of work again"
    )]
    ReleaseCancelled,
    /// The runtime has ended in the midst of a commit.
    #[error(
        "the runtime was shut down in the midst of the commit, so that only the database knows whether it was made; end sessions before the runtime"
    )]
    CommitInterrupted,
    /// A joined session does not hear when its transaction is committed.
    #[error(
        "a task of the queue `{queue}` is to be sent after the commit, of which a joined session does not hear; nothing was written; forward the queue through an outbox (`Forwarding::outbox`), or use the queue's own `begin`"
    )]
    CommitOfAnother {
        /// The queue.
        queue: String,
    },
    /// Forwardings that cannot work together.
    #[error(transparent)]
    Forwarding(#[from] ForwardingError),
    /// A dead letter of a queue whose tasks are not kept here.
    #[error(
        "the queue `{queue}` is forwarded after the commit, so there is no place here where the task could wait; publish its event again, or forward the queue through an outbox"
    )]
    NoPlaceToWait {
        /// The queue.
        queue: String,
    },
    /// The connection given to `join` is not in a transaction.
    #[error(
        "the connection is not in a transaction, so there is nothing for the events to commit with; begin one and join inside it, or use the queue's own `begin`"
    )]
    NotInTransaction,
    /// The worker was never registered, or others took it for dead.
    #[error(
        "worker {worker} is not registered, or others took it for dead; register a worker under a new id with its first heartbeat"
    )]
    UnknownWorker {
        /// The worker.
        worker: WorkerId,
    },
    /// A row that this program cannot read.
    #[error(
        "a row of the events tables has an unreadable `{column}`; repair or delete the row; that of a task is named by its `seq` in the log"
    )]
    Row {
        /// The column.
        column: &'static str,
        /// Why.
        source: events_core::BoxError,
    },
    /// The database refused.
    #[error("{}", refusal(*step, *remedy))]
    Database {
        /// Completes the sentence "the database could not …". `None` within a [`BrokerError`],
        /// which says it already.
        step: Option<&'static str>,
        /// What to do, if the cause alone does not say it.
        remedy: Option<&'static str>,
        /// What the database said.
        source: sqlx::Error,
    },
}

impl QueueError {
    pub(crate) fn database(step: &'static str, source: sqlx::Error) -> Self {
        Self::Database { step: Some(step), remedy: remedy(&source), source }
    }

    /// As the error of a broker that was asked for `action`. No link of the chain repeats another:
    /// without step and remedy the database's own words are the cause.
    pub(crate) fn into_broker_error(self, action: &'static str) -> BrokerError {
        match self {
            Self::Database { remedy: None, source, .. } => BrokerError::new(action, source),
            Self::Database { remedy, source, .. } => {
                BrokerError::new(action, Self::Database { step: None, remedy, source })
            }
            other => BrokerError::new(action, other),
        }
    }

    /// Whether others were writing for too long; trying again may help.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        matches!(self, Self::WriterBusy { .. })
            || self.sql().is_some_and(is_busy)
            || self.has_code(&["55P03", "40001", "40P01"])
    }

    /// Whether there was no room left, on the disk or up to the database's size limit.
    #[must_use]
    pub fn is_disk_full(&self) -> bool {
        self.sql().and_then(code) == Some(Code::Full) || self.has_code(&["53100"])
    }

    /// Whether PostgreSQL gave up waiting for a lock.
    #[cfg(feature = "postgres")]
    pub(crate) fn is_locked(&self) -> bool {
        self.has_code(&["55P03"])
    }

    /// Whether it is one of PostgreSQL's errors with these codes.
    fn has_code(&self, codes: &[&str]) -> bool {
        let error = self.sql().and_then(sqlx::Error::as_database_error);
        let code = error.and_then(sqlx::error::DatabaseError::code);
        code.is_some_and(|code| codes.contains(&&*code))
    }

    fn sql(&self) -> Option<&sqlx::Error> {
        match self {
            Self::Open { source, .. }
            | Self::Migrate { source, .. }
            | Self::Database { source, .. } => Some(source),
            _ => None,
        }
    }
}

fn refusal(step: Option<&str>, remedy: Option<&str>) -> String {
    match step {
        Some(step) => with_remedy(&format!("the database could not {step}"), remedy),
        None => remedy.unwrap_or("the database refused").to_owned(),
    }
}

fn with_remedy(what: &str, remedy: Option<&str>) -> String {
    remedy.map_or_else(|| what.to_owned(), |remedy| format!("{what}: {remedy}"))
}

/// Whether the connection was gone, or the server is going or not there yet.
pub(crate) fn is_disconnected(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_) => true,
        // The class of connection exceptions, and the shutdowns of PostgreSQL's error codes.
        sqlx::Error::Database(error) => error.code().is_some_and(|code| {
            code.len() == 5
                && (code.starts_with("08")
                    || ["57P01", "57P02", "57P03", "57P05", "25P03", "25P04"].contains(&&*code))
        }),
        _ => false,
    }
}

pub(crate) fn is_busy(error: &sqlx::Error) -> bool {
    matches!(code(error), Some(Code::Busy | Code::Locked))
}

/// SQLite's primary result codes that have a remedy of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Code {
    Busy,
    Locked,
    ReadOnly,
    Io,
    Corrupt,
    Full,
    CannotOpen,
    NotADatabase,
}

fn code(error: &sqlx::Error) -> Option<Code> {
    let code = error.as_database_error()?.code()?;
    // PostgreSQL's have five characters, SQLite's at most four.
    let extended: u32 = code.parse().ok().filter(|_| code.len() < 5)?;
    Some(match extended & 0xff {
        5 => Code::Busy,
        6 => Code::Locked,
        8 => Code::ReadOnly,
        10 => Code::Io,
        11 => Code::Corrupt,
        13 => Code::Full,
        14 => Code::CannotOpen,
        26 => Code::NotADatabase,
        _ => return None,
    })
}

pub(crate) fn remedy(error: &sqlx::Error) -> Option<&'static str> {
    let remedy = match code(error) {
        Some(Code::Busy | Code::Locked) => {
            "another process is writing; keep its transactions short, or raise the busy timeout"
        }
        Some(Code::ReadOnly) => {
            "it is read-only; let this user write the file and its directory, where the write-ahead log lives"
        }
        Some(Code::Io) => {
            "reading or writing the file failed; look at the disk and the system's log"
        }
        Some(Code::Corrupt) => {
            "the file is damaged; stop all writers and restore a backup, or recover it with `sqlite3 FILE .recover`"
        }
        Some(Code::Full) => {
            "the disk is full, or the file has reached `max_page_count`; make room and try again"
        }
        Some(Code::CannotOpen) => {
            "create its directory, and let this user write there; it is not created for you"
        }
        Some(Code::NotADatabase) => {
            "the file is not an SQLite database, or it is encrypted; give another path"
        }
        None => return other_remedy(error),
    };
    Some(remedy)
}

fn other_remedy(error: &sqlx::Error) -> Option<&'static str> {
    #[cfg(feature = "postgres")]
    if let Some(code) = error.as_database_error().and_then(sqlx::error::DatabaseError::code) {
        return crate::postgres::remedy(&code);
    }
    let remedy = match error {
        sqlx::Error::PoolTimedOut => {
            "every connection of the pool is in use, or none could be made; let go of them sooner, allow more, or check that the server runs and that its address is right"
        }
        sqlx::Error::PoolClosed => "the pool was closed; close it after the last use of the queue",
        sqlx::Error::Io(_) => {
            "the connection broke or could not be made; check that the server runs and that its address is right"
        }
        sqlx::Error::WorkerCrashed => {
            "the connection's thread has ended; a new attempt uses another"
        }
        _ => return None,
    };
    Some(remedy)
}

#[cfg(test)]
mod tests {
    use std::error::Error;
    use std::iter::successors;

    use super::QueueError;

    fn chain(error: &dyn Error) -> Vec<String> {
        successors(Some(error), |error: &&dyn Error| (*error).source())
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn error_without_remedy_says_only_what_failed() {
        let error = QueueError::database("count tasks", sqlx::Error::RowNotFound);
        assert_eq!(error.to_string(), "the database could not count tasks");
        let migration =
            QueueError::Migrate { version: 1, remedy: None, source: sqlx::Error::RowNotFound };
        assert_eq!(migration.to_string(), "the events tables could not be migrated to version 1");
    }

    #[test]
    fn chain_of_a_brokers_error_says_each_thing_once() {
        let broker_error = |source| {
            chain(&QueueError::database("count tasks", source).into_broker_error("count its tasks"))
        };
        assert_eq!(
            broker_error(sqlx::Error::RowNotFound),
            ["the queue could not count its tasks", &sqlx::Error::RowNotFound.to_string()]
        );
        assert_eq!(
            broker_error(sqlx::Error::PoolClosed),
            [
                "the queue could not count its tasks",
                "the pool was closed; close it after the last use of the queue",
                &sqlx::Error::PoolClosed.to_string(),
            ]
        );
        assert_eq!(
            chain(&QueueError::TransactionLost.into_broker_error("commit")),
            ["the queue could not commit", &QueueError::TransactionLost.to_string()]
        );
    }
}
