//! Tasks that wait until their key is quiet.
//!
//! They wait in a table of their own, and move to the tasks when the time has come; from then on
//! they are like any other. So nothing that workers do to tasks can run into a newer one of the
//! same key: only publishers meet there, in the one statement of their commits.

use std::time::Duration;

use events_core::Timestamp;
use sqlx::postgres::PgRow;

use super::own::Own;
use super::queue::Inner;
use super::row;
use crate::error::QueueError;

/// Rows follow, sorted by name and key: commits that meet wait for each other in one order.
pub(super) const INSERT: &str = "INSERT INTO {schema}.debounced AS waiting
    (task_id, event_id, event, name, queue, priority, due_at, published_at, payload, headers,
        key, not_after) ";

/// The newer event takes the place of the one that waits, and is due no later than that had to be.
pub(super) const MERGE: &str = " ON CONFLICT (name, key) DO UPDATE SET
    task_id = excluded.task_id, event_id = excluded.event_id, event = excluded.event,
    queue = excluded.queue, priority = excluded.priority,
    due_at = least(greatest(excluded.due_at, waiting.due_at), waiting.not_after), published_at = excluded.published_at,
    payload = excluded.payload, headers = excluded.headers";

/// Moves what is due to the tasks. An older one of the same key that waits to be tried again goes:
/// the newer does its work. `$2` is how many at once, `$3` where to start.
pub(super) const RELEASE: &str = "
WITH due AS (
    DELETE FROM {schema}.debounced WHERE ctid = ANY (ARRAY(
        SELECT ctid FROM {schema}.debounced WHERE due_at >= $3 AND due_at <= $1
        ORDER BY due_at LIMIT $2 FOR UPDATE SKIP LOCKED))
    RETURNING *
), older AS (
    DELETE FROM {schema}.tasks WHERE ctid = ANY (ARRAY(
        SELECT found.ctid FROM due CROSS JOIN LATERAL (
            SELECT ctid FROM {schema}.tasks
            WHERE name = due.name AND debounce_key = due.key AND leased_by IS NULL
            OFFSET 0 FOR UPDATE SKIP LOCKED) AS found))
)
INSERT INTO {schema}.tasks (task_id, event_id, event, name, queue, priority, due_at, published_at,
    payload, headers, debounce_key)
SELECT task_id, event_id, event, name, queue, priority, $1, published_at, payload, headers, key
FROM due";

/// When the next is due, from where `$2` says, as a column of what looks for waiting tasks.
macro_rules! next_debounced {
    () => {
        "(SELECT due_at FROM {schema}.debounced WHERE due_at >= $2 ORDER BY due_at LIMIT 1)
            AS debounced_due"
    };
}
pub(super) use next_debounced;

/// Before those are looked for again that were due and could not be moved.
pub(super) const AGAIN: Duration = Duration::from_millis(50);

/// The most that one statement moves.
const AT_ONCE: i64 = 2000;

/// Moves what is due to the tasks; `from` is when the first was due. How many; none as well if it could not be done, which must not
/// keep a worker from the tasks that are there.
pub(super) async fn release(inner: &Inner, from: Timestamp, now: Timestamp) -> u64 {
    match move_due(inner, from, now).await {
        Ok(moved) => {
            if moved > 0 {
                inner.signal.notify(); // others may serve their queues
            }
            moved
        }
        Err(error) => {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "debounced tasks that are due could not be offered; trying again"
            );
            0
        }
    }
}

async fn move_due(inner: &Inner, from: Timestamp, now: Timestamp) -> Result<u64, QueueError> {
    const STEP: &str = "offer tasks whose key is quiet";
    let mut connection = Own::acquire(&inner.own, STEP).await?;
    let moved = sqlx::query(inner.sql().release_debounced.clone())
        .bind(now.as_micros())
        .bind(AT_ONCE)
        .bind(from.as_micros())
        .execute(&mut *connection)
        .await
        .map_err(|error| QueueError::database(STEP, error))?;
    connection.finish();
    Ok(moved.rows_affected())
}

/// Reads [`next_debounced`].
pub(super) fn next_due(found: &PgRow) -> Result<Option<Timestamp>, QueueError> {
    Ok(row::get::<Option<i64>>(found, "debounced_due")?.map(Timestamp::from_micros))
}
