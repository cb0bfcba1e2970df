//! The queue: what opens sessions, and what they, the broker and the operators share.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use events_core::forwarding::Forwardings;
use events_core::session::PendingEvents;
use events_core::{BrokerError, Events};
use sqlx::postgres::PgConnectOptions;
use sqlx::{PgConnection, PgPool, Postgres};

use super::claim::Doubts;
use super::insert;
use super::lanes::Lanes;
use super::migrate;
use super::notify::Messenger;
use super::options::PostgresQueueOptions;
use super::postponed::Postponed;
use super::tables::{Statements, Tables};
use crate::error::QueueError;
use crate::joined::JoinedSession;
use crate::signal::Signal;
use crate::standby::Standby;
use crate::transaction::EventTransaction;
use events_core::sightings::Sightings;

/// The durable queue in a PostgreSQL database (13 or later), and the sessions that publish to it.
/// Clones share it.
///
/// Its tables have a schema of their own, `events` unless [`PostgresQueueOptions::schema`] says
/// otherwise, and a migration table of their own.
///
/// # Connections
/// - The application's pool: one for each open session and for each handler that takes the
///   transaction. Such a handler needs no other: its task, its effects and what it publishes go
///   through that one. So a worker wants as many as its concurrency, and those of the rest of the
///   program beside. With fewer, handlers wait, and after the pool's acquire timeout their tasks
///   are put back; nothing deadlocks, unless a handler that holds one waits for another.
/// - The queue's own: up to five, or seven with an outbox, for claims, outcomes, heartbeats, relays
///   and wake-ups, so that an application which uses up its pool cannot starve its heartbeats. They are opened when needed;
///   a program that only publishes needs one.
///
/// # pgbouncer in transaction mode
/// Works with [`PostgresQueueOptions::transaction_pooling`] from pgbouncer 1.21 on, with its
/// `max_prepared_statements`; an older one mixes up the statements of its clients. Not for
/// wake-ups: `LISTEN` needs a session. Give a direct URL for it with [`PostgresQueueOptions::listen_url`], or workers poll
/// about once a second.
///
/// # Durability
/// That of the database: a commit that was confirmed is as safe as the server's
/// `synchronous_commit` says.
///
/// # What the logs show
/// The tasks travel in the text of the statement that commits, so that publishing costs no round
/// trip. Where sqlx or the server log statements that are slow or fail, events are among them.
#[derive(Debug)]
pub struct PostgresQueue {
    pub(super) inner: Arc<Inner>,
    /// The changes that this clone has answered to; see [`Signal`].
    pub(super) seen: AtomicU64,
}

pub(super) struct Inner {
    pub(super) events: Events,
    /// The application's connections, on which sessions run.
    pub(super) pool: PgPool,
    /// Those between two sessions, if the pool is the queue's making.
    pub(super) standby: Option<Arc<Standby<Postgres>>>,
    /// The queue's own.
    pub(super) own: PgPool,
    pub(super) tables: Tables,
    /// Which tasks go elsewhere.
    pub(super) forwardings: Forwardings,
    pub(super) signal: Arc<Signal>,
    pub(super) lanes: Lanes,
    pub(super) sightings: Sightings,
    pub(super) doubts: Doubts,
    pub(super) postponed: Postponed,
    pub(super) messenger: Messenger,
    pub(super) patience: Duration,
}

impl Inner {
    pub(super) fn sql(&self) -> &Statements {
        self.tables.statements()
    }
}

impl Clone for PostgresQueue {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), seen: AtomicU64::new(self.seen.load(Ordering::SeqCst)) }
    }
}

/// What a queue is made of.
pub(super) struct Parts {
    pub(super) pool: PgPool,
    pub(super) standby: Option<Arc<Standby<Postgres>>>,
    pub(super) own: PgPool,
    pub(super) listen: Option<PgConnectOptions>,
    pub(super) tables: Tables,
    pub(super) forwardings: Forwardings,
    pub(super) patience: Duration,
    pub(super) migrate: bool,
}

impl PostgresQueue {
    /// Connects with the default options, and migrates the events tables.
    ///
    /// `url` is like `postgres://user@host/database`.
    ///
    /// # Errors
    /// As [`PostgresQueueOptions::connect`].
    pub async fn connect(url: &str, events: &Events) -> Result<Self, QueueError> {
        PostgresQueueOptions::new().connect(url, events).await
    }

    /// A queue in the database of a pool that the application owns, with the default options;
    /// migrates the events tables. See [`PostgresQueueOptions::with_pool`].
    ///
    /// # Errors
    /// As [`PostgresQueueOptions::with_pool`].
    pub async fn with_pool(pool: PgPool, events: &Events) -> Result<Self, QueueError> {
        PostgresQueueOptions::new().with_pool(pool, events).await
    }

    /// The events tables of this release as SQL, for teams that migrate with a tool of their own.
    /// Open the queue with [`PostgresQueueOptions::migrate`] off then.
    ///
    /// The statements of one release begin with a comment that gives their number. A database that
    /// has some of them already needs those that follow.
    ///
    /// # Errors
    /// `schema` is not a plain identifier.
    pub fn migrations(schema: &str) -> Result<String, QueueError> {
        Tables::of(schema)?;
        Ok(migrate::text(schema))
    }

    pub(super) async fn start(parts: Parts, events: &Events) -> Result<Self, QueueError> {
        let Parts { pool, standby, own, listen, tables, forwardings, patience, migrate } = parts;
        match migrate {
            true => migrate::migrate(&own, tables.statements(), events.now()).await?,
            false => migrate::check(&own, tables.statements()).await?,
        }
        Ok(Self {
            inner: Arc::new(Inner {
                lanes: Lanes::of(events),
                events: events.clone(),
                pool,
                standby,
                own,
                messenger: Messenger::new(tables.channel(), listen),
                tables,
                forwardings,
                signal: Arc::default(),
                sightings: Sightings::default(),
                doubts: Doubts::default(),
                postponed: Postponed::default(),
                patience,
            }),
            seen: AtomicU64::new(0),
        })
    }

    /// The application's connections.
    #[must_use]
    pub fn pool(&self) -> &PgPool {
        &self.inner.pool
    }

    /// Begins a session.
    ///
    /// Dropping the future leaves no transaction open.
    ///
    /// # Errors
    /// No connection of the pool was free within its acquire timeout, or the database could not be
    /// reached.
    pub async fn begin(&self) -> Result<EventTransaction<Postgres>, QueueError> {
        let Inner { pool, standby, own, events, signal, tables, .. } = &*self.inner;
        let Inner { forwardings, messenger, .. } = &*self.inner;
        messenger.ensure_announcing(own, signal);
        // As many as may have been cut off while they were idle, and one that is new.
        for _ in 0..=pool.options().get_max_connections() {
            let (connection, place) = match standby {
                None => (pool.acquire().await.map_err(failed)?, None),
                Some(standby) => {
                    let (connection, place) = standby.acquire().await.map_err(failed)?;
                    (connection, Some(place))
                }
            };
            let begun = EventTransaction::begin(
                connection,
                place,
                None,
                events,
                signal,
                tables,
                forwardings,
            );
            let begun = begun.await?;
            if let Some(transaction) = begun {
                return Ok(transaction);
            }
        }
        Err(failed(sqlx::Error::PoolTimedOut))
    }

    /// A session over a borrowed connection that is in a transaction, for code that owns a plain
    /// `sqlx` transaction (`queue.join(&mut *transaction)`).
    ///
    /// # Errors
    /// [`QueueError::NotInTransaction`] if PostgreSQL says so, whatever sqlx believes, and
    /// [`QueueError::TransactionLost`] if an error has aborted the transaction.
    pub async fn join<'c>(
        &self,
        connection: &'c mut PgConnection,
    ) -> Result<JoinedSession<'c, Postgres>, QueueError> {
        let Inner { own, events, signal, tables, forwardings, messenger, .. } = &*self.inner;
        messenger.ensure_announcing(own, signal);
        insert::check_joined(connection).await?;
        let pending = PendingEvents::new(events);
        let tables = tables.clone().prepared(false); // the connection may be anybody's
        let signal = Some(signal.clone());
        Ok(JoinedSession::new(connection, tables, forwardings.clone(), pending, signal))
    }

    /// Resolves when there may be new rows that this clone has not looked for.
    pub(super) async fn changed(&self) {
        let Self { inner, seen } = self;
        inner.messenger.ensure_listening(&inner.signal);
        inner.messenger.ensure_announcing(&inner.own, &inner.signal);
        let changes = inner.signal.changed_since(seen.load(Ordering::SeqCst)).await;
        seen.store(changes, Ordering::SeqCst);
    }

    /// Runs `operation` to its end even if the caller goes away, so that what it wrote is never
    /// half reported; but no longer than our patience, so that a connection whose other end is gone
    /// holds up nothing.
    pub(super) async fn uninterrupted<T, F>(
        &self,
        action: &'static str,
        operation: impl FnOnce(Arc<Inner>) -> F,
    ) -> Result<T, BrokerError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, QueueError>> + Send + 'static,
    {
        let patience = self.inner.patience;
        let operation = operation(self.inner.clone());
        let run = tokio::spawn(async move { tokio::time::timeout(patience, operation).await });
        match run.await {
            Ok(Ok(answer)) => answer.map_err(|error| error.into_broker_error(action)),
            Ok(Err(_)) => Err(BrokerError::new(action, QueueError::NoAnswer { waited: patience })),
            Err(error) => Err(BrokerError::new(action, error)),
        }
    }
}

fn failed(error: sqlx::Error) -> QueueError {
    QueueError::database("begin a transaction", error)
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inner").field("pool", &self.pool).finish_non_exhaustive()
    }
}
