//! The queue as operators see it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use events_core::broker::{Counts, DeadLetter};
use events_core::health::{Health, RegisteredWorker};
use events_core::{Admin, BrokerError, EventId, TaskId, Timestamp, WorkerId};
use sqlx::sqlite::SqliteRow;
use sqlx::{Connection, SqliteConnection};

use super::queue::{Inner, SqliteQueue};
use super::{lanes, outbox, row};
use crate::error::QueueError;
use crate::outbox::revived;

/// Reads narrow indexes, never the tasks.
pub(super) const COUNTS: &str = "
SELECT waiting.available + debounced.available AS available,
    waiting.scheduled + debounced.scheduled AS scheduled,
    (SELECT count(*) FROM events_tasks INDEXED BY events_tasks_running
        WHERE leased_by IS NOT NULL) AS running,
    (SELECT count(*) FROM events_dead_letters) AS dead
FROM (SELECT count(*) FILTER (WHERE due_at <= ?1) AS available,
        count(*) FILTER (WHERE due_at > ?1) AS scheduled
    FROM events_tasks INDEXED BY events_tasks_waiting WHERE leased_by IS NULL) AS waiting,
    (SELECT count(*) FILTER (WHERE due_at <= ?1) AS available,
        count(*) FILTER (WHERE due_at > ?1) AS scheduled
    FROM events_debounced INDEXED BY events_debounced_due) AS debounced";

/// Letters of one settled batch died in one moment, so the moment alone does not end a page.
const DEAD_LETTERS: &str = "
SELECT task_id, event_id, event, name, queue, priority, payload, headers, published_at, died_at, errors
FROM events_dead_letters
WHERE (died_at, task_id) < (?1, ?2) ORDER BY died_at DESC, task_id DESC LIMIT ?3";

const DEAD_LETTER: &str = "
SELECT task_id, event_id, event, name, queue, priority, payload, headers, published_at, died_at, errors
FROM events_dead_letters WHERE task_id = ?1";

const QUEUE_OF_DEAD_LETTER: &str = "SELECT queue FROM events_dead_letters WHERE task_id = ?1";

/// The attempts start anew; their history stays, and so do the task's and the event's id.
const RETRY_DEAD_LETTER: &str = "
INSERT INTO events_tasks (task_id, event_id, event, name, queue, priority, due_at, published_at,
    payload, headers, errors)
SELECT task_id, event_id, event, name, queue, priority, ?2, published_at, payload, headers, errors
FROM events_dead_letters WHERE task_id = ?1";

const DISCARD_DEAD_LETTER: &str = "DELETE FROM events_dead_letters WHERE task_id = ?1";

const PRUNE: &str = "
DELETE FROM events_archive WHERE seq IN (
    SELECT seq FROM events_archive WHERE completed_at < ?1 ORDER BY completed_at LIMIT ?2)";

/// The most that one call deletes: heartbeats wait for it.
const PRUNED_AT_ONCE: u32 = 5000;

impl Admin for SqliteQueue {
    async fn counts(&self) -> Result<Counts, BrokerError> {
        counts(&self.inner).await.map_err(|error| error.into_broker_error("count its tasks"))
    }

    async fn dead_letters(
        &self,
        limit: usize,
        before: Option<&DeadLetter>,
    ) -> Result<Vec<DeadLetter>, BrokerError> {
        dead_letters(&self.inner, limit, before)
            .await
            .map_err(|error| error.into_broker_error("list its dead letters"))
    }

    async fn retry_dead_letter(&self, task: TaskId) -> Result<bool, BrokerError> {
        self.uninterrupted("retry a dead letter", move |inner| retry(inner, task)).await
    }

    async fn discard_dead_letter(&self, task: TaskId) -> Result<bool, BrokerError> {
        self.uninterrupted("discard a dead letter", move |inner| discard(inner, task)).await
    }
}

async fn counts(inner: &Inner) -> Result<Counts, QueueError> {
    let found = sqlx::query(COUNTS)
        .bind(inner.events.now().as_micros())
        .fetch_one(&inner.own)
        .await
        .map_err(|error| QueueError::database("count tasks", error))?;
    let count = |column| row::get::<u64>(&found, column);
    Ok(Counts {
        available: count("available")?,
        scheduled: count("scheduled")?,
        running: count("running")?,
        dead: count("dead")?,
    })
}

/// Those that wait until their key is quiet, and are due: while workers run, hardly any.
const DEBOUNCED: &str = "
SELECT queue, min(due_at) AS due_at FROM events_debounced WHERE due_at <= ?1 GROUP BY queue";

/// One row per worker.
const WORKERS: &str = "SELECT id, heartbeat_at, lease, queues FROM events_workers";

pub(super) async fn health(inner: &Inner) -> Result<Health, QueueError> {
    let failed = |error| QueueError::database("look at the queue's health", error);
    let mut connection = inner.own.acquire().await.map_err(failed)?;
    let now = inner.events.now();
    let workers = workers(&mut connection).await?;
    let debounced = sqlx::query(DEBOUNCED)
        .bind(now.as_micros())
        .fetch_all(&mut *connection)
        .await
        .map_err(failed)?;
    let outboxes = outbox::health(inner, &mut connection, now).await?;
    drop(connection);
    let scan = lanes::scan(&inner.own, WorkerId::generate()).await?;
    let mut due: BTreeMap<String, Timestamp> = BTreeMap::new();
    for head in scan.heads.into_iter().filter(|head| head.due_at <= now) {
        let first = due.entry(head.lane.queue).or_insert(head.due_at);
        *first = head.due_at.min(*first);
    }
    for found in &debounced {
        let due_at = row::timestamp(found, "due_at")?;
        let first = due.entry(row::get(found, "queue")?).or_insert(due_at);
        *first = due_at.min(*first);
    }
    let health = Health::of(due, &workers, now).forwarded(&inner.forwardings.queues());
    Ok(Health { outboxes, ..health })
}

pub(super) async fn workers(
    connection: &mut SqliteConnection,
) -> Result<Vec<RegisteredWorker>, QueueError> {
    let failed = |error| QueueError::database("look which workers there are", error);
    let found = sqlx::query(WORKERS).fetch_all(connection).await.map_err(failed)?;
    found.iter().map(registered).collect()
}

fn registered(found: &SqliteRow) -> Result<RegisteredWorker, QueueError> {
    let unreadable =
        |error: serde_json::Error| QueueError::Row { column: "queues", source: error.into() };
    Ok(RegisteredWorker {
        worker: WorkerId::from_bytes(row::id(found, "id")?),
        heartbeat_at: row::timestamp(found, "heartbeat_at")?,
        lease: Duration::from_micros(row::get(found, "lease")?),
        queues: serde_json::from_str(row::get(found, "queues")?).map_err(unreadable)?,
    })
}

async fn dead_letters(
    inner: &Inner,
    limit: usize,
    before: Option<&DeadLetter>,
) -> Result<Vec<DeadLetter>, QueueError> {
    let rows = sqlx::query(DEAD_LETTERS)
        .bind(before.map_or(i64::MAX, |letter| letter.died_at.as_micros()))
        .bind(before.map_or(Vec::new(), |letter| letter.id.to_bytes().to_vec()))
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .fetch_all(&inner.own)
        .await
        .map_err(|error| QueueError::database("list dead letters", error))?;
    rows.iter().map(dead_letter).collect()
}

fn dead_letter(found: &SqliteRow) -> Result<DeadLetter, QueueError> {
    let text = |column| row::get::<String>(found, column);
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
        attempts: row::errors(found)?,
    })
}

async fn retry(inner: Arc<Inner>, task: TaskId) -> Result<bool, QueueError> {
    const STEP: &str = "retry a dead letter";
    let failed = |error| QueueError::database(STEP, error);
    let mut writer = inner.gate.writer(&inner.own, STEP).await?;
    let mut transaction = writer.begin_with("BEGIN IMMEDIATE").await.map_err(failed)?;
    let queue: Option<String> = sqlx::query_scalar(QUEUE_OF_DEAD_LETTER)
        .bind(task.to_bytes().to_vec())
        .fetch_optional(&mut *transaction)
        .await
        .map_err(failed)?;
    if let Some(queue) = &queue {
        revive(&inner, &mut transaction, task, queue).await?;
    }
    sqlx::query(DISCARD_DEAD_LETTER)
        .bind(task.to_bytes().to_vec())
        .execute(&mut *transaction)
        .await
        .map_err(failed)?;
    transaction.commit().await.map_err(failed)?;
    writer.finish();
    inner.signal.notify();
    Ok(queue.is_some())
}

/// To where its queue's tasks wait: with the others, or in an outbox.
async fn revive(
    inner: &Inner,
    connection: &mut SqliteConnection,
    task: TaskId,
    queue: &str,
) -> Result<(), QueueError> {
    let failed = |error| QueueError::database("retry a dead letter", error);
    let (now, task) = (inner.events.now(), task.to_bytes().to_vec());
    if !inner.forwardings.queues().contains(queue) {
        let insert = sqlx::query(RETRY_DEAD_LETTER).bind(task).bind(now.as_micros());
        return insert.execute(connection).await.map(drop).map_err(failed);
    }
    let Some(outbox) = inner.forwardings.outbox_of(queue) else {
        return Err(QueueError::NoPlaceToWait { queue: queue.to_owned() });
    };
    let letter = sqlx::query(DEAD_LETTER).bind(task);
    let letter = dead_letter(&letter.fetch_one(&mut *connection).await.map_err(failed)?)?;
    outbox::insert(connection, outbox, revived(letter, now)).await.map_err(failed)
}

async fn discard(inner: Arc<Inner>, task: TaskId) -> Result<bool, QueueError> {
    const STEP: &str = "discard a dead letter";
    let mut writer = inner.gate.writer(&inner.own, STEP).await?;
    let deleted = sqlx::query(DISCARD_DEAD_LETTER)
        .bind(task.to_bytes().to_vec())
        .execute(&mut *writer)
        .await
        .map_err(|error| QueueError::database(STEP, error))?;
    writer.finish();
    Ok(deleted.rows_affected() > 0)
}

/// Deletes from the archive what is older than its retention, the oldest first and a part at a
/// time. A program that keeps nothing leaves alone what others keep.
pub(super) async fn prune(inner: Arc<Inner>) -> Result<u64, QueueError> {
    const STEP: &str = "prune the archive";
    let Some(retention) = inner.events.settings().retain_completed else { return Ok(0) };
    let before = inner.events.now().before(retention);
    let mut writer = inner.gate.writer(&inner.own, STEP).await?;
    let deleted = sqlx::query(PRUNE)
        .bind(before.as_micros())
        .bind(PRUNED_AT_ONCE)
        .execute(&mut *writer)
        .await
        .map_err(|error| QueueError::database(STEP, error))?;
    writer.finish();
    Ok(deleted.rows_affected())
}
