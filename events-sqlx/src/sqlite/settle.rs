//! Records what became of leased tasks.
//!
//! Every statement matches the receipt and the worker: a claim that is not the task's newest, or
//! whose worker was taken for dead, changes nothing.

use std::collections::HashSet;
use std::fmt::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use events_core::broker::{AttemptError, Lease, Settlement};
use events_core::lifecycle::Next;
use events_core::{Timestamp, WorkerId};
use serde_json::json;
use sqlx::{Connection, SqliteConnection};

use super::queue::Inner;
use super::row::{self, SqliteReceipt};
use crate::error::QueueError;

/// The tasks of a batch whose lease still holds: `?1` is an array of arrays that begin with seq
/// and fence, `?2` the worker.
macro_rules! held {
    () => {
        "json_each(?1) AS given CROSS JOIN events_tasks AS task
            ON task.seq = given.value ->> 0 AND task.fence = given.value ->> 1
                AND task.leased_by = ?2"
    };
}

pub(super) const COMPLETE: &str = concat!(
    "DELETE FROM events_tasks WHERE seq IN (SELECT task.seq FROM ",
    held!(),
    ") RETURNING seq, fence"
);

/// The usual case: every task of a batch is complete and every lease holds. All or nothing, and no
/// row is returned: reading back who held would cost as much as the rest. `?1` is an object of
/// fences by seq, `?3` how many there are.
pub(super) const COMPLETE_ALL: &str = "
WITH held AS MATERIALIZED (
    SELECT DISTINCT task.seq FROM json_each(?1) AS given CROSS JOIN events_tasks AS task
        ON task.seq = CAST(given.key AS INTEGER) AND task.fence = given.value
            AND task.leased_by = ?2
)
DELETE FROM events_tasks
WHERE seq IN (SELECT seq FROM held) AND (SELECT count(*) FROM held) = ?3";

const ARCHIVE: &str = concat!(
    "INSERT OR REPLACE INTO events_archive (seq, task_id, event_id, event, name, queue, published_at,
        completed_at, attempt, payload, headers, errors)
    SELECT task.seq, task_id, event_id, event, name, queue, published_at, ?3, attempt, payload,
        headers, errors
    FROM ",
    held!()
);

/// Given: seq, fence, due at, and the error as JSON. One that is due at once keeps its place.
pub(super) const RETRY: &str = concat!(
    "UPDATE events_tasks
    SET leased_by = NULL, due_at = given.due_at,
        errors = json_insert(",
    row::errors_so_far!(),
    ", '$[#]', json(given.error))
    FROM (SELECT task.seq AS seq, given.value ->> 2 AS due_at, given.value ->> 3 AS error FROM ",
    held!(),
    ") AS given
    WHERE events_tasks.seq = given.seq RETURNING seq, fence"
);

/// Given: seq, fence, due at; NULL for at once, which keeps the task's place in the lane.
pub(super) const RELEASE: &str = concat!(
    "UPDATE events_tasks
    SET leased_by = NULL, attempt = max(attempt - 1, 0), due_at = coalesce(given.due_at, events_tasks.due_at)
    FROM (SELECT task.seq AS seq, given.value ->> 2 AS due_at FROM ",
    held!(),
    ") AS given
    WHERE events_tasks.seq = given.seq RETURNING seq, fence"
);

/// Given: seq, fence, and the error as JSON. A task that was revived by hand, and its dead letter
/// left, dies once more: the newest tells.
const BURY: &str = concat!(
    "INSERT INTO events_dead_letters (task_id, event_id, event, name, queue, priority,
        published_at, died_at, attempt, payload, headers, errors)
    SELECT task_id, event_id, event, name, queue, priority, published_at, ?3, attempt, payload,
        headers, json_insert(",
    row::errors_so_far!(),
    ", '$[#]', json(given.value ->> 2))
    FROM ",
    held!(),
    " WHERE true
    ON CONFLICT (task_id) DO UPDATE SET event_id = excluded.event_id, event = excluded.event,
        name = excluded.name, queue = excluded.queue, priority = excluded.priority,
        published_at = excluded.published_at, died_at = excluded.died_at,
        attempt = excluded.attempt, payload = excluded.payload, headers = excluded.headers,
        errors = excluded.errors"
);

/// A batch, sorted by where its tasks go.
#[derive(Default)]
struct Batch {
    complete: Given,
    retry: Given,
    release: Given,
    bury: Given,
}

/// What one statement is given: a JSON array of arrays, written as it grows.
#[derive(Default)]
struct Given(String);

impl Given {
    fn push(&mut self, row: fmt::Arguments<'_>) {
        self.0.push(if self.0.is_empty() { '[' } else { ',' });
        self.0.write_fmt(row).expect("writing to a string cannot fail");
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn json(&self) -> String {
        format!("{}]", self.0)
    }
}

impl Batch {
    fn of(settlements: &[Settlement<SqliteReceipt>], now: Timestamp) -> Self {
        let mut batch = Self::default();
        for Settlement { receipt: SqliteReceipt { seq, fence }, attempt, next } in settlements {
            // JSON in a JSON text: the column keeps it as it is.
            let error =
                |error: &str| json!(json!(AttemptError::new(*attempt, now, error)).to_string());
            match next {
                Next::Complete => batch.complete.push(format_args!("[{seq},{fence}]")),
                Next::Retry { after, error: text } => {
                    let (due, error) = ((now + *after).as_micros(), error(text));
                    batch.retry.push(format_args!("[{seq},{fence},{due},{error}]"));
                }
                Next::Release { after } if after.is_zero() => {
                    batch.release.push(format_args!("[{seq},{fence},null]"));
                }
                Next::Release { after } => {
                    let due = (now + *after).as_micros();
                    batch.release.push(format_args!("[{seq},{fence},{due}]"));
                }
                Next::Bury { error: text } => {
                    batch.bury.push(format_args!("[{seq},{fence},{}]", error(text)));
                }
            }
        }
        batch
    }

    /// Whether one statement, which is a transaction by itself, does it all.
    fn only_completes(&self) -> bool {
        self.retry.is_empty() && self.release.is_empty() && self.bury.is_empty()
    }
}

/// Settles a batch in one transaction. For each settlement, whether its lease held.
pub(super) async fn settle(
    inner: Arc<Inner>,
    worker: WorkerId,
    settlements: Arc<[Settlement<SqliteReceipt>]>,
) -> Result<Vec<bool>, QueueError> {
    const STEP: &str = "record what became of tasks";
    let failed = |error| QueueError::database(STEP, error);
    if settlements.is_empty() {
        return Ok(Vec::new());
    }
    let now = inner.events.now();
    let batch = Batch::of(&settlements, now);
    let retain = inner.events.settings().retain_completed.is_some();
    let mut writer = inner.gate.writer(&inner.own, STEP).await?;
    let mut settled = HashSet::new();
    if batch.only_completes() && !retain {
        if complete_all(&mut writer, &settlements, worker).await.map_err(failed)? {
            writer.finish();
            return Ok(vec![true; settlements.len()]);
        }
        apply(&mut writer, COMPLETE, &batch.complete, worker, &mut settled)
            .await
            .map_err(failed)?;
    } else {
        let mut transaction = writer.begin_with("BEGIN IMMEDIATE").await.map_err(failed)?;
        record(&mut transaction, &batch, retain, worker, now, &mut settled)
            .await
            .map_err(failed)?;
        transaction.commit().await.map_err(failed)?;
    }
    writer.finish();
    if !batch.only_completes() {
        inner.signal.notify();
    }
    // A receipt that was given twice is settled once.
    Ok(settlements.iter().map(|settlement| settled.remove(&settlement.receipt)).collect())
}

/// Completes all of the tasks, or none if a lease does not hold or a receipt is given twice.
async fn complete_all(
    connection: &mut SqliteConnection,
    settlements: &[Settlement<SqliteReceipt>],
    worker: WorkerId,
) -> Result<bool, sqlx::Error> {
    let receipts = settlements.iter().map(|settlement| settlement.receipt);
    let fences: Vec<_> =
        receipts.map(|SqliteReceipt { seq, fence }| format!("\"{seq}\":{fence}")).collect();
    let deleted = sqlx::query(COMPLETE_ALL)
        .bind(format!("{{{}}}", fences.join(",")))
        .bind(worker.to_bytes().to_vec())
        .bind(i64::try_from(settlements.len()).unwrap_or(i64::MAX))
        .execute(connection)
        .await?;
    Ok(deleted.rows_affected() == settlements.len() as u64)
}

async fn record(
    connection: &mut SqliteConnection,
    batch: &Batch,
    retain: bool,
    worker: WorkerId,
    now: Timestamp,
    settled: &mut HashSet<SqliteReceipt>,
) -> Result<(), sqlx::Error> {
    if retain {
        copy(connection, ARCHIVE, &batch.complete, worker, now).await?;
    }
    apply(connection, COMPLETE, &batch.complete, worker, settled).await?;
    apply(connection, RETRY, &batch.retry, worker, settled).await?;
    apply(connection, RELEASE, &batch.release, worker, settled).await?;
    copy(connection, BURY, &batch.bury, worker, now).await?;
    apply(connection, COMPLETE, &batch.bury, worker, settled).await
}

/// Runs one statement for all tasks that go the same way, and notes which held their lease.
async fn apply(
    connection: &mut SqliteConnection,
    sql: &'static str,
    given: &Given,
    worker: WorkerId,
    settled: &mut HashSet<SqliteReceipt>,
) -> Result<(), sqlx::Error> {
    if given.is_empty() {
        return Ok(());
    }
    let receipts: Vec<(i64, i64)> = sqlx::query_as(sql)
        .bind(given.json())
        .bind(worker.to_bytes().to_vec())
        .fetch_all(connection)
        .await?;
    settled.extend(receipts.into_iter().map(|(seq, fence)| SqliteReceipt { seq, fence }));
    Ok(())
}

/// Copies tasks elsewhere, before they are deleted.
async fn copy(
    connection: &mut SqliteConnection,
    sql: &'static str,
    given: &Given,
    worker: WorkerId,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    if given.is_empty() {
        return Ok(());
    }
    sqlx::query(sql)
        .bind(given.json())
        .bind(worker.to_bytes().to_vec())
        .bind(now.as_micros())
        .execute(connection)
        .await?;
    Ok(())
}

/// Completes one task in the transaction that its handler gets, if the lease still holds.
pub(super) async fn complete_in(
    connection: &mut SqliteConnection,
    worker: WorkerId,
    receipt: SqliteReceipt,
    retain: bool,
    now: Timestamp,
) -> Result<bool, sqlx::Error> {
    if retain {
        let mut given = Given::default();
        given.push(format_args!("[{},{}]", receipt.seq, receipt.fence));
        copy(connection, ARCHIVE, &given, worker, now).await?;
    }
    let deleted =
        sqlx::query("DELETE FROM events_tasks WHERE seq = ?1 AND fence = ?2 AND leased_by = ?3")
            .bind(receipt.seq)
            .bind(receipt.fence)
            .bind(worker.to_bytes().to_vec())
            .execute(connection)
            .await?;
    Ok(deleted.rows_affected() == 1)
}

/// Gives back tasks that were claimed and never started.
pub(super) async fn give_back(
    inner: &Arc<Inner>,
    worker: WorkerId,
    leases: &[Lease<SqliteReceipt>],
) -> Result<(), QueueError> {
    let settlements = leases.iter().map(|lease| Settlement {
        receipt: lease.receipt,
        attempt: lease.attempt,
        next: Next::Release { after: Duration::ZERO },
    });
    settle(inner.clone(), worker, settlements.collect()).await.map(drop)
}
