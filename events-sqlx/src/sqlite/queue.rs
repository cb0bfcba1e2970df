//! The queue: what opens sessions, and what they, the broker and the operators share.

use std::fmt;
use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use events_core::forwarding::Forwardings;
use events_core::session::PendingEvents;
use events_core::{BrokerError, Events};
use sqlx::sqlite::SqlitePoolOptions;
use sqlx::{ConnectOptions, Sqlite, SqliteConnection, SqlitePool};

use super::gate::Gate;
use super::lanes::Lanes;
use super::options::SqliteQueueOptions;
use super::poll::Poller;
use super::{insert, migrate};
use crate::error::QueueError;
use crate::joined::JoinedSession;
use crate::signal::Signal;
use crate::transaction::EventTransaction;
use events_core::sightings::Sightings;

/// The durable queue in an SQLite file, and the sessions that publish to it. Clones share it.
///
/// Several processes may open one file. It is a WAL database, with foreign keys on and
/// `synchronous` `NORMAL` unless [`SqliteQueueOptions`] say otherwise.
///
/// # One writer
/// SQLite lets one transaction write at a time, over all processes. So:
///
/// - [`begin`](Self::begin) takes the writer at once (`BEGIN IMMEDIATE`), and waits for its turn
///   behind the other sessions of this process, in order. Nothing can fail later because somebody
///   else wrote in between.
/// - Keep transactions short, and do slow things such as requests before them: while one is open,
///   no handler's transaction, claim or heartbeat can write. Whoever waits longer than the
///   [busy timeout](super::SqliteQueueOptions::busy_timeout), for this process and then for others,
///   gets an error.
/// - What the queue itself writes, heartbeats first of all, does not stand in the line of sessions:
///   it waits for the one that writes and at most for one more.
/// - Do not begin a session, nor write through another connection, in a task that holds one: it
///   waits for itself. A handler that takes the transaction writes through that.
/// - Readers are never blocked and never block. Read through [`pool`](Self::pool).
///
/// # Durability
/// A crash of the process loses nothing that was committed. A power cut or a crash of the
/// operating system may take the last commits if `synchronous` is `NORMAL`, and nothing if it is
/// `FULL`; see [`Synchronous`](super::Synchronous).
#[derive(Debug)]
pub struct SqliteQueue {
    pub(super) inner: Arc<Inner>,
    /// The changes that this clone has answered to; see [`Signal`].
    pub(super) seen: AtomicU64,
}

pub(super) struct Inner {
    pub(super) events: Events,
    /// The application's connections, on which sessions run.
    pub(super) pool: SqlitePool,
    /// The queue's own: one that writes, one that watches for other processes, two that read.
    pub(super) own: SqlitePool,
    /// Which tasks go elsewhere.
    pub(super) forwardings: Forwardings,
    pub(super) gate: Gate,
    pub(super) signal: Arc<Signal>,
    pub(super) lanes: Lanes,
    pub(super) sightings: Sightings,
    pub(super) poller: Poller,
    /// Whether the last claim of a worker of this process was full: then there is likely more.
    pub(super) full: AtomicBool,
}

impl Clone for SqliteQueue {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), seen: AtomicU64::new(self.seen.load(Ordering::SeqCst)) }
    }
}

impl SqliteQueue {
    /// Opens the file with the default options, creating it if it is missing, and migrates the
    /// events tables.
    ///
    /// `path` is a path or a `sqlite:` URL.
    ///
    /// # Errors
    /// As [`SqliteQueueOptions::open`].
    pub async fn open(path: impl AsRef<Path>, events: &Events) -> Result<Self, QueueError> {
        SqliteQueueOptions::new().open(path, events).await
    }

    /// A queue in the database of a pool that the application owns; migrates the events tables.
    ///
    /// The pool's connections must use the write-ahead log, which is checked. Foreign keys and
    /// `synchronous` are the application's business: the events tables have no foreign keys. The
    /// busy timeout is that of the pool's connections. Writers that do not come through the queue
    /// do not wait in its line, and contend by the busy timeout alone.
    ///
    /// The queue opens up to four connections more, for itself, with the pool's connect options.
    /// Hooks of the pool such as `after_connect` do not run on them: what every connection needs,
    /// such as a key, set in the options.
    ///
    /// # Errors
    /// The pool gives no connection, is not in WAL mode, or the events tables are those of a newer
    /// release; the text says what to do.
    pub async fn with_pool(pool: SqlitePool, events: &Events) -> Result<Self, QueueError> {
        SqliteQueueOptions::new().with_pool(pool, events).await
    }

    pub(super) async fn start(
        pool: SqlitePool,
        busy_timeout: Duration,
        forwardings: Forwardings,
        events: &Events,
    ) -> Result<Self, QueueError> {
        let options = (*pool.connect_options())
            .clone()
            .disable_statement_logging()
            .row_buffer_size(ROW_BUFFER);
        let own = SqlitePoolOptions::new()
            .max_connections(OWN_CONNECTIONS)
            .test_before_acquire(false)
            .connect_lazy_with(options);
        migrate::migrate(&own, events.now()).await?;
        let signal = Arc::new(Signal::default());
        Ok(Self {
            inner: Arc::new(Inner {
                lanes: Lanes::of(events),
                events: events.clone(),
                pool,
                own,
                forwardings,
                gate: Gate::new(busy_timeout),
                signal,
                sightings: Sightings::default(),
                poller: Poller::default(),
                full: AtomicBool::new(false),
            }),
            seen: AtomicU64::new(0),
        })
    }

    /// The application's connections, to read with. Write through a session; see
    /// [one writer](Self#one-writer).
    #[must_use]
    pub fn pool(&self) -> &SqlitePool {
        &self.inner.pool
    }

    /// Begins a session, when its turn to write has come.
    ///
    /// Dropping the future leaves no transaction open.
    ///
    /// # Errors
    /// The turn to write or a connection of the pool was not free within the busy timeout, or then
    /// the database for as long again, or it refused.
    pub async fn begin(&self) -> Result<EventTransaction<Sqlite>, QueueError> {
        let Inner { gate, pool, events, signal, forwardings, .. } = &*self.inner;
        loop {
            let (connection, turn) = gate.session(pool).await?;
            let turn = Some(turn);
            let begun =
                EventTransaction::begin(connection, (), turn, events, signal, &(), forwardings)
                    .await?;
            if let Some(transaction) = begun {
                return Ok(transaction);
            }
        }
    }

    /// A session over a borrowed connection that is in a transaction, for code that owns a plain
    /// `sqlx` transaction (`queue.join(&mut *transaction)`).
    ///
    /// Begin such a transaction with `begin_with("BEGIN IMMEDIATE")`: a plain `BEGIN` that has read
    /// cannot write any more once somebody else has.
    ///
    /// # Errors
    /// [`QueueError::NotInTransaction`] if SQLite says so, whatever sqlx believes.
    pub async fn join<'c>(
        &self,
        connection: &'c mut SqliteConnection,
    ) -> Result<JoinedSession<'c, Sqlite>, QueueError> {
        insert::join(connection).await?;
        let Inner { events, forwardings, .. } = &*self.inner;
        let pending = PendingEvents::new(events);
        Ok(JoinedSession::new(connection, (), forwardings.clone(), pending, None))
    }

    /// Resolves when there may be new rows that this clone has not looked for.
    pub(super) async fn changed(&self) {
        let Self { inner, seen, .. } = self;
        inner.poller.ensure_running(&inner.own, &inner.signal);
        let changes = inner.signal.changed_since(seen.load(Ordering::SeqCst)).await;
        seen.store(changes, Ordering::SeqCst);
    }

    /// Runs `operation` to its end even if the caller goes away, so that what it wrote is never
    /// half reported. Tries again when another process was writing for too long.
    pub(super) async fn uninterrupted<T, F>(
        &self,
        action: &'static str,
        operation: impl Fn(Arc<Inner>) -> F + Send + 'static,
    ) -> Result<T, BrokerError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, QueueError>> + Send + 'static,
    {
        let inner = self.inner.clone();
        let run = tokio::spawn(async move {
            let mut tries = 0;
            loop {
                tries += 1;
                match operation(inner.clone()).await {
                    // The gate's own time-out is not tried again: its holder may be waiting for us.
                    Err(error @ QueueError::Database { .. })
                        if error.is_busy() && tries < TRIES =>
                    {
                        tracing::warn!(tries, action, "another process is writing; trying again");
                    }
                    answer => return answer,
                }
            }
        });
        match run.await {
            Ok(answer) => answer.map_err(|error| error.into_broker_error(action)),
            Err(error) => Err(BrokerError::new(action, error)),
        }
    }
}

const OWN_CONNECTIONS: u32 = 4;

/// A claim's rows all fit, so that SQLite's thread does not stop after every fifty to be read.
const ROW_BUFFER: usize = 1024;

/// How often the queue's own statements wait for the busy timeout.
const TRIES: u32 = 3;

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inner").field("pool", &self.pool).finish_non_exhaustive()
    }
}
