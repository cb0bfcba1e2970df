//! Takes tasks from dead workers and offers them again.
//!
//! Each statement is a transaction of its own, and none waits for a lock: a process that is stopped
//! in the midst of a rescue holds nothing that would keep others from theirs, and what it left
//! undone they find, for the tasks' worker has no row.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use events_core::broker::{AttemptError, Rescued};
use events_core::{TaskId, Timestamp, WorkerId};
use serde_json::json;
use sqlx::PgConnection;
use sqlx::postgres::PgRow;
use sqlx::types::Uuid;

use super::heartbeat;
use super::own::Own;
use super::queue::Inner;
use super::row::{self, uuid};
use crate::error::QueueError;
use crate::jitter::jitter;
use events_core::sightings::WorkerRow;

/// A worker that has beaten since it was looked at is not dead.
pub(super) const FORGET_WORKER: &str = "
DELETE FROM {schema}.workers WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM {schema}.workers WHERE id = $1 AND beats = $2 FOR UPDATE SKIP LOCKED))";

/// Workers that hold tasks and have no row: those that were taken for dead just now, or that went
/// without giving them back. None of them comes back: an id is that of one run.
pub(super) const GONE: &str = "
SELECT DISTINCT leased_by FROM {schema}.tasks AS task
WHERE leased_by IS NOT NULL
    AND NOT EXISTS (SELECT 1 FROM {schema}.workers AS worker WHERE worker.id = task.leased_by)";

/// Their tasks.
pub(super) const ORPHANS: &str = "
SELECT seq, attempt, task_id, name, leased_by FROM {schema}.tasks
WHERE leased_by = ANY ($1) LIMIT 5000";

/// Of each: seq, holder, due at (NULL for at once, which keeps the place), and the error as JSON.
/// Each is looked up by itself, as outcomes are. Passes over those that complete in a transaction
/// which is open, and those that somebody else has offered meanwhile.
pub(super) const OFFER_AGAIN: &str = concat!(
    "UPDATE {schema}.tasks
    SET leased_by = NULL,
        due_at = coalesce(($3::int8[])[array_position($1::int8[], seq)], due_at), errors = ",
    row::errors_and!("($4::text[])[array_position($1::int8[], seq)]"),
    " WHERE ctid = ANY (ARRAY(
        SELECT found.ctid FROM unnest($1::int8[], $2::uuid[]) AS given (seq, holder)
        CROSS JOIN LATERAL (
            SELECT ctid FROM {schema}.tasks WHERE leased_by = given.holder AND seq = given.seq
            OFFSET 0 FOR UPDATE SKIP LOCKED) AS found))
    RETURNING seq"
);

/// Rescues on behalf of `observer`.
pub(super) async fn rescue(
    inner: Arc<Inner>,
    observer: WorkerId,
    lease: Duration,
) -> Result<Vec<Rescued>, QueueError> {
    const STEP: &str = "rescue tasks";
    let failed = |error| QueueError::database(STEP, error);
    let mut connection = Own::acquire(&inner.own, STEP).await?;
    let workers = heartbeat::workers(&inner, &mut connection).await?;
    // One that was taken for dead itself has no say.
    if !workers.iter().any(|row| row.worker == observer) {
        connection.finish();
        return Ok(Vec::new());
    }
    for dead in dead(&inner, observer, &workers, lease) {
        // The row goes, so that its worker learns at its next heartbeat that it lost its tasks.
        let gone = sqlx::query(inner.sql().forget_worker.clone())
            .bind(uuid(dead.worker))
            .bind(dead.beats)
            .execute(&mut *connection)
            .await
            .map_err(failed)?;
        if gone.rows_affected() == 1 {
            tracing::warn!(worker = %dead.worker, last_heartbeat = %dead.heartbeat_at, observer = %observer,
                "worker is silent for longer than its lease and was taken for dead");
        }
    }
    let rescued = offer_again(&inner, &mut connection).await?;
    connection.finish();
    if !rescued.is_empty() {
        inner.lanes.start_over();
        inner.signal.notify();
    }
    Ok(rescued)
}

fn dead(
    inner: &Inner,
    observer: WorkerId,
    workers: &[WorkerRow],
    lease: Duration,
) -> Vec<WorkerRow> {
    let now = inner.events.now();
    let others = workers.iter().filter(|row| row.worker != observer);
    let dead = others.filter(|row| inner.sightings.is_dead(observer, row, workers, now, lease));
    let mut dead: Vec<_> = dead.copied().collect();
    dead.sort_by_key(|row| row.worker); // so that two observers do not block each other
    dead
}

async fn offer_again(
    inner: &Inner,
    connection: &mut PgConnection,
) -> Result<Vec<Rescued>, QueueError> {
    let failed = |error| QueueError::database("offer rescued tasks again", error);
    let gone =
        sqlx::query(inner.sql().gone.clone()).fetch_all(&mut *connection).await.map_err(failed)?;
    if gone.is_empty() {
        return Ok(Vec::new());
    }
    let gone: Vec<Uuid> =
        gone.iter().map(|found| row::get(found, "leased_by")).collect::<Result<_, _>>()?;
    let rows = sqlx::query(inner.sql().orphans.clone())
        .bind(gone)
        .fetch_all(&mut *connection)
        .await
        .map_err(failed)?;
    let now = inner.events.now();
    let (mut seqs, mut holders) = (Vec::new(), Vec::new());
    let (mut due_at, mut errors) = (Vec::new(), Vec::new());
    let mut rescued = Vec::with_capacity(rows.len());
    for found in &rows {
        let (seq, task) = match orphan(found) {
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
        seqs.push(seq);
        holders.push(uuid(task.worker));
        due_at.push(due(inner, &task, now));
        errors.push(json!(AttemptError::rescued(task.attempt, now, task.worker)).to_string());
        rescued.push((seq, task));
    }
    if rescued.is_empty() {
        return Ok(Vec::new());
    }
    let offered = sqlx::query_scalar(inner.sql().offer_again.clone())
        .bind(seqs)
        .bind(holders)
        .bind(due_at)
        .bind(errors)
        .fetch_all(connection)
        .await
        .map_err(failed)?;
    let offered: HashSet<i64> = offered.into_iter().collect();
    let rescued = rescued.into_iter().filter(|(seq, _)| offered.contains(seq));
    Ok(rescued.map(|(_, task)| task).collect())
}

fn due(inner: &Inner, task: &Rescued, now: Timestamp) -> Option<i64> {
    let delay = inner.events.rescue_delay(&task.name, task.attempt, jitter());
    (delay > Duration::ZERO).then(|| (now + delay).as_micros())
}

/// A task's seq, and what is told of it.
fn orphan(found: &PgRow) -> Result<(i64, Rescued), QueueError> {
    let attempt: i32 = row::get(found, "attempt")?;
    let task = Rescued {
        task_id: TaskId::from_bytes(row::id(found, "task_id")?),
        name: row::get(found, "name")?,
        attempt: attempt
            .try_into()
            .map_err(|_| row::unreadable("attempt")(format!("{attempt} is out of range").into()))?,
        worker: row::worker(found, "leased_by")?,
    };
    Ok((row::get(found, "seq")?, task))
}
