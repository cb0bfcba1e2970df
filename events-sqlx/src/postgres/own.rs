//! The queue's own connections.

use std::ops::{Deref, DerefMut};

use sqlx::pool::PoolConnection;
use sqlx::{PgConnection, PgPool, Postgres};
use sqlx_core::transaction::TransactionManager;

use crate::database::return_to_pool;
use crate::error::QueueError;

type Manager = <Postgres as sqlx::Database>::TransactionManager;

/// A connection of the queue's own, for one piece of work.
///
/// One that is not [`finish`](Self::finish)ed, because something failed, took too long or was
/// dropped, is closed at once and without a farewell, which nobody may hear: it may hold an open
/// transaction, and giving it back to its pool would wait for an answer.
pub(super) struct Own(Option<PoolConnection<Postgres>>);

const HELD: &str = "held until it is finished";

impl Own {
    /// `step` completes "the database could not …".
    pub(super) async fn acquire(pool: &PgPool, step: &'static str) -> Result<Self, QueueError> {
        let connection = pool.acquire().await.map_err(|error| QueueError::database(step, error))?;
        Ok(Self(Some(connection)))
    }

    pub(super) async fn begin(&mut self) -> Result<(), sqlx::Error> {
        Manager::begin(self, None).await
    }

    pub(super) async fn commit(&mut self) -> Result<(), sqlx::Error> {
        Manager::commit(self).await
    }

    /// All went well: the next may use the connection.
    pub(super) fn finish(mut self) {
        if let Some(connection) = self.0.take() {
            return_to_pool(connection);
        }
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        if let Some(connection) = self.0.take() {
            drop(connection.detach());
        }
    }
}

impl Deref for Own {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        self.0.as_deref().expect(HELD)
    }
}

impl DerefMut for Own {
    fn deref_mut(&mut self) -> &mut PgConnection {
        self.0.as_deref_mut().expect(HELD)
    }
}
