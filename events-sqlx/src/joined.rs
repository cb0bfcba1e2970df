//! A session over a transaction that somebody else owns.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use events_core::Session;
use events_core::forwarding::Forwardings;
use events_core::session::PendingEvents;

use crate::database::EventDatabase;
use crate::error::QueueError;
use crate::signal::Signal;

/// A session over a borrowed connection that is in a transaction, for code that owns a plain
/// `sqlx` transaction.
///
/// [`flush`](Self::flush) writes the tasks into that transaction; they exist when its owner
/// commits. Dropping it with events that were not flushed loses them, and logs an error.
pub struct JoinedSession<'c, Db: EventDatabase> {
    connection: &'c mut Db::Connection,
    tables: Db::Tables,
    forwardings: Forwardings,
    pending: PendingEvents,
    /// To be told when the tasks are written, though not when they are committed.
    signal: Option<Arc<Signal>>,
}

impl<'c, Db: EventDatabase> JoinedSession<'c, Db> {
    pub(crate) fn new(
        connection: &'c mut Db::Connection,
        tables: Db::Tables,
        forwardings: Forwardings,
        pending: PendingEvents,
        signal: Option<Arc<Signal>>,
    ) -> Self {
        Self { connection, tables, forwardings, pending, signal }
    }

    /// The connection, to run statements in the transaction.
    pub fn connection(&mut self) -> &mut Db::Connection {
        self.connection
    }

    /// Writes the tasks of the queued events into the transaction.
    ///
    /// Idle workers notice the commit, which is not ours, later than one of ours. On SQLite they do
    /// as with those of other processes: by looking, every few milliseconds while commits come and
    /// some 16 times a second at least. On PostgreSQL they are told to look soon after the flush,
    /// a few times within half a second, and look by themselves about once a second.
    ///
    /// # Errors
    /// The transaction was lost, or the database refused. Or a task's queue is
    /// [forwarded](events_core::Forwarding) after the commit, of which this session does not hear.
    /// Nothing was written; roll back, or the changes are committed without their events.
    pub async fn flush(mut self) -> Result<(), QueueError> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let tasks = self.pending.events().clone().dispatch(&mut self.pending);
        let unwritten = Unwritten(tasks.len());
        let tasks = self.forwardings.split(tasks);
        let unheard = tasks.after_commit.iter().find_map(|(_, tasks)| tasks.first());
        if let Some(task) = unheard {
            return Err(QueueError::CommitOfAnother { queue: task.queue.to_string() });
        }
        Db::seal_joined(self.connection, &self.tables, &tasks).await.map_err(|error| {
            match Db::is_lost_transaction(&error) {
                true => QueueError::TransactionLost,
                false => QueueError::database("write the tasks of the transaction", error),
            }
        })?;
        std::mem::forget(unwritten);
        if let Some(signal) = &self.signal {
            signal.expect_commit();
        }
        tasks.log_written();
        Ok(())
    }
}

/// Logs, when dropped, that a flush failed or was cancelled.
struct Unwritten(usize);

impl Drop for Unwritten {
    fn drop(&mut self) {
        if self.0 > 0 {
            tracing::error!(
                tasks = self.0,
                "flush of a joined session did not succeed; roll its transaction back, or its events are lost"
            );
        }
    }
}

impl<Db: EventDatabase> Drop for JoinedSession<'_, Db> {
    fn drop(&mut self) {
        if !self.pending.is_empty() {
            tracing::error!(
                count = self.pending.len(),
                "joined session dropped without flush: its events are lost if the transaction commits; call flush().await before the commit"
            );
        }
    }
}

impl<Db: EventDatabase> Session for JoinedSession<'_, Db> {
    fn pending_events(&self) -> &PendingEvents {
        &self.pending
    }

    fn pending_events_mut(&mut self) -> &mut PendingEvents {
        &mut self.pending
    }
}

impl<Db: EventDatabase> Deref for JoinedSession<'_, Db> {
    type Target = Db::Connection;

    fn deref(&self) -> &Self::Target {
        self.connection
    }
}

impl<Db: EventDatabase> DerefMut for JoinedSession<'_, Db> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        self.connection
    }
}

impl<Db: EventDatabase> fmt::Debug for JoinedSession<'_, Db> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinedSession")
            .field("pending", &self.pending.len())
            .finish_non_exhaustive()
    }
}
