//! Takes tasks from dead workers and offers them again.

use std::sync::Arc;
use std::time::Duration;

use events_core::broker::{AttemptError, Rescued};
use events_core::{TaskId, Timestamp, WorkerId};
use serde_json::{Value, json};
use sqlx::sqlite::SqliteRow;
use sqlx::{Connection, SqliteConnection};

use super::heartbeat;
use super::queue::Inner;
use super::row;
use crate::error::QueueError;
use crate::jitter::jitter;
use events_core::sightings::WorkerRow;

/// Running tasks whose worker has no row: one that was taken for dead just now, or that went
/// without giving them back.
pub(super) const ORPHANS: &str = "
SELECT task.seq, task.fence, task.attempt, task.task_id, task.name, task.leased_by
FROM events_tasks AS task INDEXED BY events_tasks_running
WHERE task.leased_by IS NOT NULL
    AND NOT EXISTS (SELECT 1 FROM events_workers WHERE id = task.leased_by)";

/// Given: seq, fence, due at (NULL for at once, which keeps the place), and the error as JSON.
pub(super) const OFFER_AGAIN: &str = concat!(
    "UPDATE events_tasks
SET leased_by = NULL, due_at = coalesce(given.due_at, events_tasks.due_at),
    errors = json_insert(",
    row::errors_so_far!(),
    ", '$[#]', json(given.error))
FROM (SELECT value ->> 0 AS seq, value ->> 1 AS fence, value ->> 2 AS due_at, value ->> 3 AS error
    FROM json_each(?1)) AS given
WHERE events_tasks.seq = given.seq AND events_tasks.fence = given.fence"
);

/// Rescues on behalf of `observer`.
pub(super) async fn rescue(
    inner: Arc<Inner>,
    observer: WorkerId,
    lease: Duration,
) -> Result<Vec<Rescued>, QueueError> {
    const STEP: &str = "rescue tasks";
    let failed = |error| QueueError::database(STEP, error);
    if !is_needed(&inner, observer, lease).await? {
        return Ok(Vec::new());
    }
    let mut writer = inner.gate.writer(&inner.own, STEP).await?;
    let mut transaction = writer.begin_with("BEGIN IMMEDIATE").await.map_err(failed)?;
    let now = inner.events.now();
    let workers = heartbeat::workers(&mut transaction, now).await?;
    // One that was taken for dead itself has no say.
    if !workers.iter().any(|row| row.worker == observer) {
        transaction.rollback().await.map_err(failed)?;
        writer.finish();
        return Ok(Vec::new());
    }
    for dead in dead(&inner, observer, &workers, now, lease) {
        // The row goes, so that its worker learns at its next heartbeat that it lost its tasks.
        sqlx::query("DELETE FROM events_workers WHERE id = ?1")
            .bind(dead.worker.to_bytes().to_vec())
            .execute(&mut *transaction)
            .await
            .map_err(failed)?;
        tracing::warn!(worker = %dead.worker, last_heartbeat = %dead.heartbeat_at, observer = %observer,
            "worker is silent for longer than its lease and was taken for dead");
    }
    let rescued = offer_again(&inner, &mut transaction, now).await?;
    transaction.commit().await.map_err(failed)?;
    writer.finish();
    if !rescued.is_empty() {
        inner.signal.notify();
    }
    Ok(rescued)
}

/// Looks before it takes the lock: there is rarely anything to rescue.
async fn is_needed(inner: &Inner, observer: WorkerId, lease: Duration) -> Result<bool, QueueError> {
    let failed = |error| QueueError::database("look for dead workers", error);
    let mut connection = inner.own.acquire().await.map_err(failed)?;
    let now = inner.events.now();
    let workers = heartbeat::workers(&mut connection, now).await?;
    if !dead(inner, observer, &workers, now, lease).is_empty() {
        return Ok(true);
    }
    let orphan = sqlx::query(ORPHANS).fetch_optional(&mut *connection).await.map_err(failed)?;
    Ok(orphan.is_some())
}

fn dead(
    inner: &Inner,
    observer: WorkerId,
    workers: &[WorkerRow],
    now: Timestamp,
    lease: Duration,
) -> Vec<WorkerRow> {
    let others = workers.iter().filter(|row| row.worker != observer);
    let dead = others.filter(|row| inner.sightings.is_dead(observer, row, workers, now, lease));
    dead.copied().collect()
}

async fn offer_again(
    inner: &Inner,
    connection: &mut SqliteConnection,
    now: Timestamp,
) -> Result<Vec<Rescued>, QueueError> {
    let failed = |error| QueueError::database("offer rescued tasks again", error);
    let rows = sqlx::query(ORPHANS).fetch_all(&mut *connection).await.map_err(failed)?;
    let mut rescued = Vec::with_capacity(rows.len());
    let mut given = Vec::with_capacity(rows.len());
    for found in &rows {
        let (seq, fence, task) = match orphan(found) {
            Ok(orphan) => orphan,
            // The others must not suffer from it, and no worker could run it either.
            Err(error) => {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    seq = row::get::<i64>(found, "seq").ok(),
                    "a task's row cannot be read; it stays with the worker that is gone"
                );
                continue;
            }
        };
        let delay = inner.events.rescue_delay(&task.name, task.attempt, jitter());
        let due = (delay > Duration::ZERO).then(|| (now + delay).as_micros());
        let error = json!(AttemptError::rescued(task.attempt, now, task.worker)).to_string();
        given.push(json!([seq, fence, due, error]));
        rescued.push(task);
    }
    if !given.is_empty() {
        sqlx::query(OFFER_AGAIN)
            .bind(Value::from(given).to_string())
            .execute(connection)
            .await
            .map_err(failed)?;
    }
    Ok(rescued)
}

/// A task's seq and fence, and what is told of it.
fn orphan(found: &SqliteRow) -> Result<(i64, i64, Rescued), QueueError> {
    let task = Rescued {
        task_id: TaskId::from_bytes(row::id(found, "task_id")?),
        name: row::get(found, "name")?,
        attempt: row::get(found, "attempt")?,
        worker: WorkerId::from_bytes(row::id(found, "leased_by")?),
    };
    Ok((row::get(found, "seq")?, row::get(found, "fence")?, task))
}
