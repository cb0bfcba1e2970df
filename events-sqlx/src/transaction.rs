//! The session: a transaction whose commit publishes.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::Duration;

use events_core::forwarding::{Forwardings, Split};
use events_core::session::PendingEvents;
use events_core::{Events, Session};
use sqlx::pool::PoolConnection;
use sqlx_core::transaction::TransactionManager;
use tokio::runtime::Handle;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;

use crate::after_commit;
use crate::database::{EventDatabase, depth, return_to_pool, settled_depth};
use crate::error::{QueueError, is_busy, is_disconnected};
use crate::savepoint::Savepoint;
use crate::signal::Signal;

/// A transaction whose commit publishes the events that were queued on it.
///
/// It dereferences to the connection, so that `&mut **session` or
/// [`session.connection()`](Self::connection) runs statements in it. Begin one with
/// the queue's `begin`, or take one as a subscriber's argument; then the task completes in it.
///
/// Dropping it rolls back and discards its events. So does dropping the future of
/// [`commit`](Self::commit), unless the database had committed by then: effects and events stay
/// together either way.
///
/// Do not end the transaction by hand, with a statement such as `COMMIT` or `ROLLBACK`: the session's
/// commit is then an error and publishes nothing; only if such a statement also begins another
/// transaction on PostgreSQL, nobody can tell, and the events are that one's.
///
/// Nest with [`savepoint`](Self::savepoint) rather than with sqlx's `begin`: when the future of
/// the latter is dropped, sqlx 0.9.0 rolls the whole transaction back. If that happens, the commit
/// is an error and publishes nothing.
pub struct EventTransaction<Db: EventDatabase> {
    /// There until the transaction ends; the drop of what is left rolls back.
    connection: Option<PoolConnection<Db>>,
    /// Where the connection goes when the transaction has ended.
    place: Db::Place,
    /// The turn to write, given back when the transaction has ended.
    turn: Option<OwnedSemaphorePermit>,
    pending: PendingEvents,
    signal: Arc<Signal>,
    tables: Db::Tables,
    forwardings: Forwardings,
    /// Whether the release of a savepoint was sent whose answer nobody has taken.
    pub(crate) release_unknown: bool,
}

/// How long a rollback that nobody waits for may take.
const ANSWER: Duration = Duration::from_secs(30);

const OPEN: &str = "the transaction is open until it is consumed";

impl<Db: EventDatabase> EventTransaction<Db> {
    /// Begins on this connection. `None` if it was of no use; another will do.
    pub(crate) async fn begin(
        connection: PoolConnection<Db>,
        place: Db::Place,
        turn: Option<OwnedSemaphorePermit>,
        events: &Events,
        signal: &Arc<Signal>,
        tables: &Db::Tables,
        forwardings: &Forwardings,
    ) -> Result<Option<Self>, QueueError> {
        Ok(open(connection, &place).await?.map(|connection| Self {
            connection: Some(connection),
            place,
            turn,
            pending: PendingEvents::new(events),
            signal: signal.clone(),
            tables: tables.clone(),
            forwardings: forwardings.clone(),
            release_unknown: false,
        }))
    }

    /// The connection, to run statements in this transaction.
    pub fn connection(&mut self) -> &mut Db::Connection {
        &mut *self
    }

    /// Commits: what was written, and one task per queued event and subscriber.
    ///
    /// Tasks that are [forwarded](events_core::Forwarding) after the commit are sent then, and for
    /// up to ten seconds this waits for it. Such a commit cannot be taken back any more once it has
    /// begun, by dropping its future either. A task that could not be sent is logged as an error,
    /// and is none of the commit.
    ///
    /// # Errors
    /// Nothing was committed and nothing is published; unless the connection broke in the midst of
    /// it, when only the database knows. The transaction may have been lost before
    /// ([`QueueError::TransactionLost`]): then statements that came after the error that rolled it
    /// back stood alone.
    pub async fn commit(mut self) -> Result<(), QueueError> {
        let tasks = self.pending.events().clone().dispatch(&mut self.pending);
        let tasks = self.forwardings.split(tasks);
        match tasks.after_commit.is_empty() {
            true => self.commit_split(&tasks).await,
            false => after_commit::commit(self, tasks).await,
        }
    }

    /// Commits, with those of the tasks that are written in the transaction.
    pub(crate) async fn commit_split(mut self, tasks: &Split) -> Result<(), QueueError> {
        let committed = self.commit_with(tasks).await;
        match &committed {
            Ok(()) if !tasks.writes_nothing() => {
                self.signal.notify();
                tasks.log_written();
            }
            Err(_) if !tasks.is_empty() => {
                tracing::debug!(count = tasks.len(), "commit failed: pending tasks discarded");
            }
            _ => {}
        }
        committed
    }

    async fn commit_with(&mut self, tasks: &Split) -> Result<(), QueueError> {
        if self.release_unknown {
            return Err(QueueError::ReleaseCancelled);
        }
        let connection = self.connection.as_deref_mut().expect(OPEN);
        Db::commit(connection, &self.tables, tasks).await?;
        // No await from here: the transaction has ended, and must not be rolled back by the drop.
        self.end();
        Ok(())
    }

    fn end(&mut self) {
        if let Some(connection) = self.connection.take() {
            Db::give_back(&mut self.place, connection);
        }
        self.turn = None;
    }

    /// Rolls back, and discards the queued events.
    ///
    /// # Errors
    /// The connection broke; the database rolls back by itself.
    pub async fn rollback(mut self) -> Result<(), QueueError> {
        self.pending.discard();
        let connection = self.connection();
        match Db::TransactionManager::rollback(connection).await {
            Ok(()) => {}
            // An error has rolled it back before; the drop takes care of the connection.
            Err(error) if Db::is_lost_transaction(&error) => return Ok(()),
            Err(error) => return Err(QueueError::database("roll back", error)),
        }
        // A savepoint that was leaked would have taken this rollback for its own.
        if depth::<Db>(connection) == 0 {
            self.end();
        }
        Ok(())
    }

    /// Opens a savepoint: what is written and published in it can be rolled back alone.
    ///
    /// # Errors
    /// The transaction was lost, or the connection broke.
    pub async fn savepoint(&mut self) -> Result<Savepoint<'_, Db>, QueueError> {
        Savepoint::open(self).await
    }
}

/// A connection on which `BEGIN` was sent, and whose answer is not known.
///
/// When the future is dropped then, the connection is closed: with sqlx 0.9.0 one of PostgreSQL
/// would go back to its pool with a transaction open (launchbadge/sqlx#4393).
struct Beginning<Db: EventDatabase>(Option<PoolConnection<Db>>);

impl<Db: EventDatabase> Drop for Beginning<Db> {
    fn drop(&mut self) {
        if let Some(connection) = &mut self.0 {
            connection.close_on_drop();
        }
    }
}

/// Begins. Cancelling it leaves no transaction open. `None` if the connection was of no use.
async fn open<Db: EventDatabase>(
    connection: PoolConnection<Db>,
    place: &Db::Place,
) -> Result<Option<PoolConnection<Db>>, QueueError> {
    const STEP: &str = "begin a transaction";
    let mut beginning = Beginning(Some(connection));
    let begun = Db::begin(beginning.0.as_deref_mut().expect("not taken yet"), place).await;
    let mut connection = beginning.0.take().expect("not taken yet");
    match begun {
        Ok(()) => Ok(Some(connection)),
        Err(error) if is_disconnected(&error) => {
            // It has been so since before: nothing was done on it.
            connection.close_on_drop();
            Ok(None)
        }
        Err(error) if is_busy(&error) => Err(QueueError::database(STEP, error)),
        Err(error) if in_transaction(&error) => {
            tracing::warn!("a connection came back to the pool with a transaction open; closed");
            connection.close().await.ok();
            Ok(None)
        }
        Err(error) => {
            connection.close_on_drop();
            Err(QueueError::database(STEP, error))
        }
    }
}

fn in_transaction(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::InvalidSavePointStatement => true,
        sqlx::Error::Database(error) => error.message().contains("within a transaction"),
        _ => false,
    }
}

impl<Db: EventDatabase> Drop for EventTransaction<Db> {
    fn drop(&mut self) {
        self.pending.discard();
        let Some(mut connection) = self.connection.take() else { return };
        // In order behind whatever was sent before. If a commit or rollback was done that nobody
        // heard of, this is the one that the worker then ignores.
        Db::TransactionManager::start_rollback(&mut connection);
        let turn = self.turn.take();
        match Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn(give_back(connection, turn))),
            // Outside a runtime nothing can wait for the rollback; closing rolls back too.
            Err(_) => drop(connection.detach()),
        }
    }
}

/// Returns the connection to its pool once it is rolled back, or closes it: a transaction that an
/// error has rolled back leaves sqlx's count of transactions wrong for good.
async fn give_back<Db: EventDatabase>(
    mut connection: PoolConnection<Db>,
    turn: Option<OwnedSemaphorePermit>,
) {
    match timeout(ANSWER, settled_depth::<Db>(&mut connection)).await {
        Ok(Ok(0)) => return_to_pool(connection),
        Ok(_) => drop(connection.close().await),
        // The other end may be gone; the pool must not wait for it.
        Err(_) => drop(connection.detach()),
    }
    drop(turn);
}

impl<Db: EventDatabase> Session for EventTransaction<Db> {
    fn pending_events(&self) -> &PendingEvents {
        &self.pending
    }

    fn pending_events_mut(&mut self) -> &mut PendingEvents {
        &mut self.pending
    }
}

impl<Db: EventDatabase> Deref for EventTransaction<Db> {
    type Target = Db::Connection;

    fn deref(&self) -> &Self::Target {
        self.connection.as_deref().expect(OPEN)
    }
}

impl<Db: EventDatabase> DerefMut for EventTransaction<Db> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        self.connection.as_deref_mut().expect(OPEN)
    }
}

impl<Db: EventDatabase> fmt::Debug for EventTransaction<Db> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventTransaction")
            .field("pending", &self.pending.len())
            .finish_non_exhaustive()
    }
}
