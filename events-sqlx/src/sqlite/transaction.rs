//! The session as the transaction in which a task completes.

use events_core::broker::TaskTransaction;
use events_core::extract::HandlerTransaction;
use events_core::{BrokerError, WorkerId};
use sqlx::Sqlite;

use super::queue::SqliteQueue;
use super::row::SqliteReceipt;
use super::settle;
use crate::error::QueueError;
use crate::transaction::EventTransaction;

impl HandlerTransaction for EventTransaction<Sqlite> {}

impl TaskTransaction for EventTransaction<Sqlite> {
    async fn commit_task(self) -> Result<(), BrokerError> {
        self.commit().await.map_err(|error| error.into_broker_error("commit a task's transaction"))
    }

    async fn rollback_task(self) -> Result<(), BrokerError> {
        self.rollback()
            .await
            .map_err(|error| error.into_broker_error("roll back a task's transaction"))
    }
}

/// Begins the transaction of a task and completes the task in it.
pub(super) async fn begin_task(
    queue: &SqliteQueue,
    worker: WorkerId,
    receipt: SqliteReceipt,
) -> Result<Option<EventTransaction<Sqlite>>, QueueError> {
    let events = &queue.inner.events;
    let retain = events.settings().retain_completed.is_some();
    let mut transaction = queue.begin().await?;
    let held = settle::complete_in(transaction.connection(), worker, receipt, retain, events.now())
        .await
        .map_err(|error| QueueError::database("complete a task in its transaction", error))?;
    if held {
        return Ok(Some(transaction));
    }
    transaction.rollback().await?;
    Ok(None)
}
