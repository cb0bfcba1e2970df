//! The queue as operators see it.

use std::sync::Arc;

use events_core::broker::{Counts, DeadLetter};
use events_core::{Admin, BrokerError, EventId, TaskId};
use sqlx::postgres::PgRow;
use sqlx::types::Uuid;

use super::outbox;
use super::own::Own;
use super::queue::{Inner, PostgresQueue};
use super::row;
use crate::error::QueueError;
use crate::outbox::revived;

pub(super) const COUNTS: &str = "
SELECT waiting.available + debounced.available AS available,
    waiting.scheduled + debounced.scheduled AS scheduled,
    (SELECT count(*) FROM {schema}.tasks WHERE leased_by IS NOT NULL) AS running,
    (SELECT count(*) FROM {schema}.dead_letters) AS dead
FROM (SELECT count(*) FILTER (WHERE due_at <= $1) AS available,
        count(*) FILTER (WHERE due_at > $1) AS scheduled
    FROM {schema}.tasks WHERE leased_by IS NULL) AS waiting,
    (SELECT count(*) FILTER (WHERE due_at <= $1) AS available,
        count(*) FILTER (WHERE due_at > $1) AS scheduled
    FROM {schema}.debounced) AS debounced";

/// Letters of one settled batch died in one moment, so the moment alone does not end a page.
pub(super) const DEAD_LETTERS: &str = "
SELECT task_id, event_id, event, name, queue, priority, payload, headers, published_at, died_at, errors
FROM {schema}.dead_letters
WHERE (died_at, task_id) < ($1, $2) ORDER BY died_at DESC, task_id DESC LIMIT $3";

pub(super) const QUEUE_OF_DEAD_LETTER: &str =
    "SELECT queue FROM {schema}.dead_letters WHERE task_id = $1";

pub(super) const DEAD_LETTER: &str = "
DELETE FROM {schema}.dead_letters WHERE task_id = $1
RETURNING task_id, event_id, event, name, queue, priority, payload, headers, published_at, died_at, errors";

/// The attempts start anew; their history stays, and so do the task's and the event's id.
pub(super) const RETRY_DEAD_LETTER: &str = "
WITH revived AS (DELETE FROM {schema}.dead_letters WHERE task_id = $1 RETURNING *)
INSERT INTO {schema}.tasks (task_id, event_id, event, name, queue, priority, due_at, published_at,
    payload, headers, errors)
SELECT task_id, event_id, event, name, queue, priority, $2, published_at, payload, headers, errors
FROM revived";

pub(super) const DISCARD_DEAD_LETTER: &str = "DELETE FROM {schema}.dead_letters WHERE task_id = $1";

pub(super) const PRUNE: &str = "
DELETE FROM {schema}.archive WHERE seq IN (
    SELECT seq FROM {schema}.archive WHERE completed_at < $1 ORDER BY completed_at LIMIT $2
    FOR UPDATE SKIP LOCKED)";

/// The most that one call deletes.
const PRUNED_AT_ONCE: i64 = 5000;

impl Admin for PostgresQueue {
    async fn counts(&self) -> Result<Counts, BrokerError> {
        self.uninterrupted("count its tasks", counts).await
    }

    async fn dead_letters(
        &self,
        limit: usize,
        before: Option<&DeadLetter>,
    ) -> Result<Vec<DeadLetter>, BrokerError> {
        let before = before.map(|letter| (letter.died_at.as_micros(), letter.id));
        self.uninterrupted("list its dead letters", |inner| dead_letters(inner, limit, before))
            .await
    }

    async fn retry_dead_letter(&self, task: TaskId) -> Result<bool, BrokerError> {
        self.uninterrupted("retry a dead letter", |inner| retry(inner, task)).await
    }

    async fn discard_dead_letter(&self, task: TaskId) -> Result<bool, BrokerError> {
        self.uninterrupted("discard a dead letter", |inner| discard(inner, task)).await
    }
}

async fn counts(inner: Arc<Inner>) -> Result<Counts, QueueError> {
    const STEP: &str = "count tasks";
    let mut connection = Own::acquire(&inner.own, STEP).await?;
    let found = sqlx::query(inner.sql().counts.clone())
        .bind(inner.events.now().as_micros())
        .fetch_one(&mut *connection)
        .await
        .map_err(|error| QueueError::database(STEP, error))?;
    connection.finish();
    Ok(Counts {
        available: row::number(&found, "available")?,
        scheduled: row::number(&found, "scheduled")?,
        running: row::number(&found, "running")?,
        dead: row::number(&found, "dead")?,
    })
}

async fn dead_letters(
    inner: Arc<Inner>,
    limit: usize,
    before: Option<(i64, TaskId)>,
) -> Result<Vec<DeadLetter>, QueueError> {
    const STEP: &str = "list dead letters";
    let (died_at, id) = before.map_or((i64::MAX, [0; 16]), |(at, id)| (at, id.to_bytes()));
    let mut connection = Own::acquire(&inner.own, STEP).await?;
    let rows = sqlx::query(inner.sql().dead_letters.clone())
        .bind(died_at)
        .bind(Uuid::from_bytes(id))
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .fetch_all(&mut *connection)
        .await
        .map_err(|error| QueueError::database(STEP, error))?;
    connection.finish();
    rows.iter().map(dead_letter).collect()
}

fn dead_letter(found: &PgRow) -> Result<DeadLetter, QueueError> {
    let text = |column| row::get::<String>(found, column);
    let attempts = serde_json::from_str(row::get(found, "errors")?)
        .map_err(|error| row::unreadable("errors")(error.into()))?;
    Ok(DeadLetter {
        id: TaskId::from_bytes(row::id(found, "task_id")?),
        event_id: EventId::from_bytes(row::id(found, "event_id")?),
        event: text("event")?.into(),
        name: text("name")?.into(),
        queue: text("queue")?.into(),
        priority: row::get(found, "priority")?,
        payload: row::get::<&str>(found, "payload")?.into(),
        headers: row::headers(found)?,
        published_at: row::timestamp(found, "published_at")?,
        died_at: row::timestamp(found, "died_at")?,
        attempts,
    })
}

async fn retry(inner: Arc<Inner>, task: TaskId) -> Result<bool, QueueError> {
    const STEP: &str = "retry a dead letter";
    let mut connection = Own::acquire(&inner.own, STEP).await?;
    if !inner.forwardings.is_empty()
        && let Some(found) = retry_forwarded(&inner, &mut connection, task).await?
    {
        connection.finish();
        inner.signal.notify();
        return Ok(found);
    }
    let revived = sqlx::query(inner.sql().retry_dead_letter.clone())
        .bind(Uuid::from_bytes(task.to_bytes()))
        .bind(inner.events.now().as_micros())
        .execute(&mut *connection)
        .await
        .map_err(|error| QueueError::database(STEP, error))?;
    connection.finish();
    inner.signal.notify();
    Ok(revived.rows_affected() > 0)
}

/// Whether the letter was there. `None` if its queue's tasks wait here, like any.
async fn retry_forwarded(
    inner: &Inner,
    connection: &mut Own,
    task: TaskId,
) -> Result<Option<bool>, QueueError> {
    let failed = |error| QueueError::database("retry a dead letter", error);
    let id = Uuid::from_bytes(task.to_bytes());
    let queue: Option<String> = sqlx::query_scalar(inner.sql().dead_letter_queue.clone())
        .bind(id)
        .fetch_optional(&mut **connection)
        .await
        .map_err(failed)?;
    let Some(queue) = queue.filter(|queue| inner.forwardings.queues().contains(queue)) else {
        return Ok(None);
    };
    let Some(name) = inner.forwardings.outbox_of(&queue) else {
        return Err(QueueError::NoPlaceToWait { queue });
    };
    connection.begin().await.map_err(failed)?;
    let found = sqlx::query(inner.sql().dead_letter.clone())
        .bind(id)
        .fetch_optional(&mut **connection)
        .await
        .map_err(failed)?;
    if let Some(found) = &found {
        let task = revived(dead_letter(found)?, inner.events.now());
        outbox::insert(inner, connection, name, task).await.map_err(failed)?;
    }
    connection.commit().await.map_err(failed)?;
    Ok(Some(found.is_some()))
}

async fn discard(inner: Arc<Inner>, task: TaskId) -> Result<bool, QueueError> {
    const STEP: &str = "discard a dead letter";
    let mut connection = Own::acquire(&inner.own, STEP).await?;
    let deleted = sqlx::query(inner.sql().discard.clone())
        .bind(Uuid::from_bytes(task.to_bytes()))
        .execute(&mut *connection)
        .await
        .map_err(|error| QueueError::database(STEP, error))?;
    connection.finish();
    Ok(deleted.rows_affected() > 0)
}

/// Deletes from the archive what is older than its retention, the oldest first and a part at a
/// time. A program that keeps nothing leaves alone what others keep.
pub(super) async fn prune(inner: Arc<Inner>) -> Result<u64, QueueError> {
    const STEP: &str = "prune the archive";
    let Some(retention) = inner.events.settings().retain_completed else { return Ok(0) };
    let mut connection = Own::acquire(&inner.own, STEP).await?;
    let deleted = sqlx::query(inner.sql().prune.clone())
        .bind(inner.events.now().before(retention).as_micros())
        .bind(PRUNED_AT_ONCE)
        .execute(&mut *connection)
        .await
        .map_err(|error| QueueError::database(STEP, error))?;
    connection.finish();
    Ok(deleted.rows_affected())
}
