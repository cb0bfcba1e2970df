//! A part of a session that can be rolled back alone.

use std::fmt;
use std::ops::{Deref, DerefMut};

use events_core::Session;
use events_core::session::PendingEvents;
use sqlx_core::transaction::TransactionManager;

use crate::database::{EventDatabase, settled_depth};
use crate::error::QueueError;
use crate::transaction::EventTransaction;

/// A part of a session that can be rolled back alone, with the events published in it.
///
/// Dropping it rolls it back.
// The savepoint itself is sqlx's, so that savepoints of both kinds nest. Unlike sqlx's, this guard
// exists only once the savepoint does: its drop cannot roll back what it never opened.
pub struct Savepoint<'t, Db: EventDatabase> {
    transaction: &'t mut EventTransaction<Db>,
    /// How many events were pending before.
    before: usize,
    /// sqlx's count of transactions and savepoints with this one.
    depth: usize,
    open: bool,
}

impl<'t, Db: EventDatabase> Savepoint<'t, Db> {
    pub(crate) async fn open(
        transaction: &'t mut EventTransaction<Db>,
    ) -> Result<Self, QueueError> {
        const STEP: &str = "open a savepoint";
        let failed = |error| QueueError::database(STEP, error);
        let outer = settled_depth::<Db>(transaction.connection()).await.map_err(failed)?;
        if outer == 0 {
            return Err(QueueError::TransactionLost);
        }
        Db::TransactionManager::begin(transaction.connection(), None).await.map_err(failed)?;
        let before = transaction.pending_events().len();
        Ok(Self { transaction, before, depth: outer + 1, open: true })
    }

    /// The connection, to run statements in this savepoint.
    pub fn connection(&mut self) -> &mut Db::Connection {
        self.transaction.connection()
    }

    /// Keeps what was written and published: it is the transaction's now.
    ///
    /// If the future is dropped, nobody can tell whether the writes were kept; the commit of the
    /// transaction is then an error, and rolls back.
    ///
    /// # Errors
    /// The transaction was lost, or the connection broke; the savepoint is rolled back.
    pub async fn release(mut self) -> Result<(), QueueError> {
        self.check_still_innermost().await?;
        self.transaction.release_unknown = true;
        let released = Db::TransactionManager::commit(self.transaction.connection()).await;
        self.transaction.release_unknown = false;
        released.map_err(|error| QueueError::database("release a savepoint", error))?;
        self.open = false;
        Ok(())
    }

    /// Undoes what was written and discards what was published in this savepoint.
    ///
    /// # Errors
    /// The transaction was lost, or the connection broke; then everything is rolled back.
    pub async fn rollback(mut self) -> Result<(), QueueError> {
        self.check_still_innermost().await?;
        Db::TransactionManager::rollback(self.transaction.connection())
            .await
            .map_err(|error| QueueError::database("roll back to a savepoint", error))?;
        self.open = false;
        self.transaction.pending_events_mut().truncate(self.before);
        Ok(())
    }

    /// Opens a savepoint in this one.
    ///
    /// # Errors
    /// The transaction was lost, or the connection broke.
    pub async fn savepoint(&mut self) -> Result<Savepoint<'_, Db>, QueueError> {
        Savepoint::open(self.transaction).await
    }

    /// sqlx ends whatever is innermost by its count, which would be the wrong one, or the
    /// transaction itself, if something else was left open or closed too much.
    async fn check_still_innermost(&mut self) -> Result<(), QueueError> {
        let depth = settled_depth::<Db>(self.transaction.connection())
            .await
            .map_err(|error| QueueError::database("end a savepoint", error))?;
        match depth.cmp(&self.depth) {
            std::cmp::Ordering::Equal => Ok(()),
            std::cmp::Ordering::Less => Err(QueueError::TransactionLost),
            std::cmp::Ordering::Greater => Err(QueueError::SavepointOpen),
        }
    }
}

impl<Db: EventDatabase> Drop for Savepoint<'_, Db> {
    fn drop(&mut self) {
        if self.open {
            self.transaction.pending_events_mut().truncate(self.before);
            Db::TransactionManager::start_rollback(self.transaction.connection());
        }
    }
}

impl<Db: EventDatabase> Session for Savepoint<'_, Db> {
    fn pending_events(&self) -> &PendingEvents {
        self.transaction.pending_events()
    }

    fn pending_events_mut(&mut self) -> &mut PendingEvents {
        self.transaction.pending_events_mut()
    }
}

impl<Db: EventDatabase> Deref for Savepoint<'_, Db> {
    type Target = Db::Connection;

    fn deref(&self) -> &Self::Target {
        self.transaction
    }
}

impl<Db: EventDatabase> DerefMut for Savepoint<'_, Db> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        self.transaction
    }
}

impl<Db: EventDatabase> fmt::Debug for Savepoint<'_, Db> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Savepoint").field("depth", &self.depth).finish_non_exhaustive()
    }
}
