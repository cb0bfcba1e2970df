//! How a queue is opened.

use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use events_core::forwarding::Forwardings;
use events_core::{Events, Forwarding};
use sqlx::SqlitePool;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};

use super::queue::SqliteQueue;
use crate::error::{QueueError, is_busy, remedy};

/// What a commit waits for.
///
/// Neither loses anything, nor damages the file, when the process crashes or is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Synchronous {
    /// A commit does not wait for the disk. When the power goes or the operating system crashes,
    /// the last commits may be lost: effects and events together, never one without the other,
    /// and the file is never damaged. A transactional handler whose commit was lost so runs again.
    /// The default.
    #[default]
    Normal,
    /// A commit waits until the disk has it: survives a power cut, and takes as long as the disk
    /// does, some milliseconds rather than some microseconds.
    Full,
}

/// Options to open a [`SqliteQueue`] with.
///
/// ```
/// # use events_core::Events;
/// # use events_sqlx::{SqliteQueueOptions, Synchronous};
/// # tokio::runtime::Runtime::new()?.block_on(async {
/// # let directory = tempfile::tempdir()?;
/// # let path = directory.path().join("app.db");
/// # let events = Events::builder().build()?;
/// let queue = SqliteQueueOptions::new()
///     .synchronous(Synchronous::Full)
///     .max_connections(4)
///     .open(path, &events)
///     .await?;
/// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug, Clone)]
#[must_use]
pub struct SqliteQueueOptions {
    synchronous: Synchronous,
    busy_timeout: Duration,
    max_connections: u32,
    forwardings: Vec<Forwarding>,
}

impl Default for SqliteQueueOptions {
    fn default() -> Self {
        Self {
            synchronous: Synchronous::default(),
            busy_timeout: Duration::from_secs(5),
            max_connections: 8,
            forwardings: Vec::new(),
        }
    }
}

impl SqliteQueueOptions {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// What a commit waits for. Default [`Synchronous::Normal`].
    pub fn synchronous(mut self, synchronous: Synchronous) -> Self {
        self.synchronous = synchronous;
        self
    }

    /// How long to wait for the writer before an operation fails: so long for the turn among those
    /// of this process, and then so long again for other processes. A session that finds both
    /// busy so waits up to twice as long. Its wait for a connection counts as that for the turn.
    /// Default 5 seconds.
    ///
    /// The queue's own statements, such as heartbeats and claims, try again when it was another
    /// process that was busy, up to three times in all.
    pub fn busy_timeout(mut self, timeout: Duration) -> Self {
        self.busy_timeout = timeout;
        self
    }

    /// How many connections the application's pool may have, each with a thread. Default 8. The
    /// queue keeps up to four more for itself, so that an application which uses up its pool cannot
    /// starve its heartbeats.
    pub fn max_connections(mut self, connections: u32) -> Self {
        self.max_connections = connections.max(1);
        self
    }

    /// Sends the tasks of some queues elsewhere than to the file. May be called several times, for
    /// queues that are not the same.
    pub fn forward(mut self, forwarding: Forwarding) -> Self {
        self.forwardings.push(forwarding);
        self
    }

    /// Opens the file, creating it if it is missing, and migrates the events tables.
    ///
    /// `path` is a path or a `sqlite:` URL.
    ///
    /// # Errors
    /// The file cannot be opened or is no SQLite database, a database in memory was given, a queue is
    /// forwarded twice, or the events tables are those of a newer release; the text says what to do.
    pub async fn open(
        &self,
        path: impl AsRef<Path>,
        events: &Events,
    ) -> Result<SqliteQueue, QueueError> {
        let forwardings = self.forwardings(events)?;
        let path = path.as_ref();
        let shown = path.display().to_string();
        let options = self.connect_options(path, &shown)?;
        let pool = SqlitePoolOptions::new()
            .max_connections(self.max_connections)
            .test_before_acquire(false) // a connection is a thread of this process
            .connect_lazy_with(options);
        let failed = |source| QueueError::Open {
            path: shown.clone(),
            remedy: remedy(&source)
                .unwrap_or("give the path of an SQLite file that this user may read and write"),
            source,
        };
        drop(first_connection(&pool, self.busy_timeout).await.map_err(failed)?);
        SqliteQueue::start(pool, self.busy_timeout, forwardings, events).await
    }

    /// A queue in the database of a pool that the application owns; migrates the events tables. See
    /// [`SqliteQueue::with_pool`]. Of these options only [`forward`](Self::forward) applies.
    ///
    /// # Errors
    /// As [`SqliteQueue::with_pool`], or a queue is forwarded twice.
    pub async fn with_pool(
        &self,
        pool: SqlitePool,
        events: &Events,
    ) -> Result<SqliteQueue, QueueError> {
        let forwardings = self.forwardings(events)?;
        let busy_timeout = busy_timeout(&pool).await?;
        SqliteQueue::start(pool, busy_timeout, forwardings, events).await
    }

    fn forwardings(&self, events: &Events) -> Result<Forwardings, QueueError> {
        let forwardings = Forwardings::new(self.forwardings.clone())?;
        forwardings.tell_unforwarded(events);
        Ok(forwardings)
    }

    fn connect_options(
        &self,
        path: &Path,
        shown: &str,
    ) -> Result<SqliteConnectOptions, QueueError> {
        if shown.is_empty() || shown.contains(":memory:") || shown.contains("mode=memory") {
            return Err(QueueError::InMemory { path: shown.to_owned() });
        }
        let options = match shown.starts_with("sqlite:") {
            true => SqliteConnectOptions::from_str(shown).map_err(|source| QueueError::Open {
                path: shown.to_owned(),
                remedy: "write the URL like `sqlite:app.db` or `sqlite:///var/lib/app.db`",
                source,
            })?,
            false => SqliteConnectOptions::new().filename(path),
        };
        Ok(options
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .foreign_keys(true)
            .busy_timeout(self.busy_timeout)
            .synchronous(match self.synchronous {
                Synchronous::Normal => SqliteSynchronous::Normal,
                Synchronous::Full => SqliteSynchronous::Full,
            }))
    }
}

/// The busy timeout of a pool's connections, if they use the write-ahead log.
async fn busy_timeout(pool: &SqlitePool) -> Result<Duration, QueueError> {
    let failed = |error| QueueError::database("tell the journal mode", error);
    let mut connection = pool.acquire().await.map_err(failed)?;
    let mode: String = sqlx::query_scalar("PRAGMA journal_mode")
        .fetch_one(&mut *connection)
        .await
        .map_err(failed)?;
    let busy_timeout: i64 = sqlx::query_scalar("PRAGMA busy_timeout")
        .fetch_one(&mut *connection)
        .await
        .map_err(failed)?;
    match mode == "wal" {
        true => Ok(Duration::from_millis(busy_timeout.try_into().unwrap_or(0))),
        false => Err(QueueError::JournalMode { mode }),
    }
}

/// Opens a connection, which makes the file a WAL database.
///
/// SQLite does not honour the busy timeout for that change, and several processes may start at
/// once on a new file.
async fn first_connection(
    pool: &SqlitePool,
    patience: Duration,
) -> Result<sqlx::pool::PoolConnection<sqlx::Sqlite>, sqlx::Error> {
    let started = tokio::time::Instant::now();
    loop {
        match pool.acquire().await {
            Err(error) if is_busy(&error) && started.elapsed() < patience => {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            answer => return answer,
        }
    }
}
