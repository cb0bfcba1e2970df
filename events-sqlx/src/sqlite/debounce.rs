//! Tasks that wait until their key is quiet.
//!
//! They wait in a table of their own, and move to the tasks when the time has come; from then on
//! they are like any other. So nothing that workers do to tasks can run into a newer one of the
//! same key.

use std::time::Duration;

use events_core::Timestamp;
use sqlx::Connection;

use super::queue::Inner;
use crate::error::QueueError;

/// The newer event takes the place of the one that waits, and is due no later than that had to be.
macro_rules! merge {
    ($rows:literal) => {
        concat!(
            "INSERT INTO events_debounced (task_id, event_id, event, name, queue, priority, due_at,
                published_at, payload, headers, key, not_after)
            SELECT unhex(value ->> 0), unhex(value ->> 1), value ->> 2, value ->> 3, value ->> 4,
                value ->> 5, value ->> 6, value ->> 7, value ->> 8, value ->> 9, value ->> 10,
                value ->> 11
            FROM json_each(",
            $rows,
            ") WHERE true
            ON CONFLICT (name, key) DO UPDATE SET
                task_id = excluded.task_id, event_id = excluded.event_id, event = excluded.event,
                queue = excluded.queue, priority = excluded.priority,
                due_at = min(excluded.due_at, not_after), published_at = excluded.published_at,
                payload = excluded.payload, headers = excluded.headers"
        )
    };
}
pub(super) use merge;

/// When the next is due, as a column of what looks for waiting tasks.
macro_rules! next_debounced {
    () => {
        "(SELECT due_at FROM events_debounced ORDER BY due_at LIMIT 1) AS debounced_due"
    };
}
pub(super) use next_debounced;

/// Until when those are due that are moved at once: not more than a few thousand.
const PART: &str = "
SELECT coalesce((SELECT due_at FROM events_debounced WHERE due_at <= ?1
    ORDER BY due_at LIMIT 1 OFFSET 2000), ?1)";

/// An older one of the same key that waits to be tried again goes: the newer does its work.
pub(super) const DROP_OLDER: &str = "
DELETE FROM events_tasks WHERE seq IN (
    SELECT older.seq
    FROM events_debounced AS due INDEXED BY events_debounced_due
    CROSS JOIN events_tasks AS older INDEXED BY events_tasks_debounced
    WHERE due.due_at <= ?1 AND older.name = due.name AND older.debounce_key = due.key
        AND older.debounce_key IS NOT NULL AND older.leased_by IS NULL)";

const OFFER: &str = "
INSERT INTO events_tasks (task_id, event_id, event, name, queue, priority, due_at, published_at,
    payload, headers, debounce_key)
SELECT task_id, event_id, event, name, queue, priority, ?2, published_at, payload, headers, key
FROM events_debounced WHERE due_at <= ?1 ORDER BY due_at";

const FORGET: &str = "DELETE FROM events_debounced WHERE due_at <= ?1";

/// Before those are looked for again that were due and could not be moved, or were too many.
pub(super) const AGAIN: Duration = Duration::from_millis(50);

/// Moves what is due to the tasks. How many; none as well if it could not be done, which must not
/// keep a worker from the tasks that are there.
pub(super) async fn release(inner: &Inner, now: Timestamp) -> u64 {
    match move_due(inner, now).await {
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

async fn move_due(inner: &Inner, now: Timestamp) -> Result<u64, QueueError> {
    const STEP: &str = "offer tasks whose key is quiet";
    let failed = |error| QueueError::database(STEP, error);
    let mut writer = inner.gate.writer(&inner.own, STEP).await?;
    let mut transaction = writer.begin_with("BEGIN IMMEDIATE").await.map_err(failed)?;
    let until: i64 = sqlx::query_scalar(PART)
        .bind(now.as_micros())
        .fetch_one(&mut *transaction)
        .await
        .map_err(failed)?;
    sqlx::query(DROP_OLDER).bind(until).execute(&mut *transaction).await.map_err(failed)?;
    let offer = sqlx::query(OFFER).bind(until).bind(now.as_micros());
    let moved = offer.execute(&mut *transaction).await.map_err(failed)?;
    sqlx::query(FORGET).bind(until).execute(&mut *transaction).await.map_err(failed)?;
    transaction.commit().await.map_err(failed)?;
    writer.finish();
    Ok(moved.rows_affected())
}
