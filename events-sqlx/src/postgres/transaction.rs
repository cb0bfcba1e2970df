//! The session as the transaction in which a task completes.

use std::future::Future;
use std::time::Duration;

use events_core::broker::TaskTransaction;
use events_core::extract::HandlerTransaction;
use events_core::{BrokerError, WorkerId};
use sqlx::Postgres;
use tokio::time::timeout;

use super::queue::PostgresQueue;
use super::row::PostgresReceipt;
use super::settle;
use crate::error::QueueError;
use crate::transaction::EventTransaction;

impl HandlerTransaction for EventTransaction<Postgres> {}

impl TaskTransaction for EventTransaction<Postgres> {
    async fn commit_task(self) -> Result<(), BrokerError> {
        answered(self.commit())
            .await
            .map_err(|error| error.into_broker_error("commit a task's transaction"))
    }

    async fn rollback_task(self) -> Result<(), BrokerError> {
        answered(self.rollback())
            .await
            .map_err(|error| error.into_broker_error("roll back a task's transaction"))
    }
}

/// A connection whose other end is gone must not hold a handler's place for ever.
const PATIENCE: Duration = Duration::from_mins(1);

async fn answered<T>(answer: impl Future<Output = Result<T, QueueError>>) -> Result<T, QueueError> {
    let late = Err(QueueError::NoAnswer { waited: PATIENCE });
    timeout(PATIENCE, answer).await.unwrap_or(late)
}

/// Begins the transaction of a task and completes the task in it. The row stays locked until the
/// transaction ends: no rescue takes it meanwhile, and when the connection dies, any may.
pub(super) async fn begin_task(
    queue: &PostgresQueue,
    worker: WorkerId,
    receipt: PostgresReceipt,
) -> Result<Option<EventTransaction<Postgres>>, QueueError> {
    answered(begin_and_complete(queue, worker, receipt)).await
}

async fn begin_and_complete(
    queue: &PostgresQueue,
    worker: WorkerId,
    receipt: PostgresReceipt,
) -> Result<Option<EventTransaction<Postgres>>, QueueError> {
    let inner = &queue.inner;
    let mut transaction = queue.begin().await?;
    let held = settle::complete_in(inner, transaction.connection(), worker, receipt)
        .await
        .map_err(|error| QueueError::database("complete a task in its transaction", error))?;
    if held {
        return Ok(Some(transaction));
    }
    transaction.rollback().await?;
    Ok(None)
}
