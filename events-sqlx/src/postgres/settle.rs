//! Records what became of leased tasks.
//!
//! Every statement matches the receipt and the worker: a claim that is not the task's newest, or
//! whose worker was taken for dead, changes nothing.

use std::collections::HashSet;
use std::sync::Arc;

use events_core::broker::{AttemptError, Settlement};
use events_core::lifecycle::Next;
use events_core::{Timestamp, WorkerId};
use serde_json::json;
use sqlx::{Connection, PgConnection, SqlStr};

use super::queue::Inner;
use super::row::{self, PostgresReceipt, uuid};
use crate::error::QueueError;

// In all of them: `$1` are the seqs, `$2` the fences, `$3` the worker.

pub(super) const COMPLETE: &str = "
DELETE FROM {schema}.tasks AS task USING unnest($1::int8[], $2::int8[]) AS given (seq, fence)
WHERE task.seq = given.seq AND task.fence = given.fence AND task.leased_by = $3
RETURNING task.seq";

pub(super) const COMPLETE_ONE: &str =
    "DELETE FROM {schema}.tasks WHERE seq = $1 AND fence = $2 AND leased_by = $3";

pub(super) const ARCHIVE: &str = "
INSERT INTO {schema}.archive (seq, task_id, event_id, event, name, queue, published_at,
    completed_at, attempt, payload, headers, errors)
SELECT task.seq, task_id, event_id, event, name, queue, published_at, $4, attempt, payload,
    headers, errors
FROM {schema}.tasks AS task, unnest($1::int8[], $2::int8[]) AS given (seq, fence)
WHERE task.seq = given.seq AND task.fence = given.fence AND task.leased_by = $3
ON CONFLICT (seq) DO NOTHING";

/// Given: due at, and the error as JSON.
pub(super) const RETRY: &str = concat!(
    "UPDATE {schema}.tasks AS task
    SET leased_by = NULL, due_at = given.due_at, errors = ",
    row::errors_and!("given.error"),
    " FROM unnest($1::int8[], $2::int8[], $4::int8[], $5::text[]) AS given (seq, fence, due_at, error)
    WHERE task.seq = given.seq AND task.fence = given.fence AND task.leased_by = $3
    RETURNING task.seq"
);

/// Given: due at; NULL for at once, which keeps the task's place in the lane.
pub(super) const RELEASE: &str = "
UPDATE {schema}.tasks AS task
SET leased_by = NULL, attempt = greatest(attempt - 1, 0),
    due_at = coalesce(given.due_at, task.due_at)
FROM unnest($1::int8[], $2::int8[], $4::int8[]) AS given (seq, fence, due_at)
WHERE task.seq = given.seq AND task.fence = given.fence AND task.leased_by = $3
RETURNING task.seq";

/// Given: the error as JSON. A task that was revived by hand, and its dead letter left, dies once
/// more: the newest tells.
pub(super) const BURY: &str = concat!(
    "WITH gone AS (
        DELETE FROM {schema}.tasks AS task
        USING unnest($1::int8[], $2::int8[], $4::text[]) AS given (seq, fence, error)
        WHERE task.seq = given.seq AND task.fence = given.fence AND task.leased_by = $3
        RETURNING task.*, ",
    row::errors_and!("given.error"),
    " AS all_errors
    ), buried AS (
        INSERT INTO {schema}.dead_letters (task_id, event_id, event, name, queue, priority,
            published_at, died_at, attempt, payload, headers, errors)
        SELECT task_id, event_id, event, name, queue, priority, published_at, $5, attempt, payload,
            headers, all_errors
        FROM gone
        ON CONFLICT (task_id) DO UPDATE SET event_id = excluded.event_id, event = excluded.event,
            name = excluded.name, queue = excluded.queue, priority = excluded.priority,
            published_at = excluded.published_at, died_at = excluded.died_at,
            attempt = excluded.attempt, payload = excluded.payload, headers = excluded.headers,
            errors = excluded.errors
    )
    SELECT seq FROM gone"
);

/// The receipts of tasks that go the same way.
#[derive(Default)]
struct Receipts {
    seqs: Vec<i64>,
    fences: Vec<i64>,
}

impl Receipts {
    fn push(&mut self, receipt: PostgresReceipt) {
        self.seqs.push(receipt.seq);
        self.fences.push(receipt.fence);
    }

    fn is_empty(&self) -> bool {
        self.seqs.is_empty()
    }
}

/// A batch, sorted by where its tasks go.
#[derive(Default)]
struct Batch {
    complete: Receipts,
    retry: (Receipts, Vec<i64>, Vec<String>),
    release: (Receipts, Vec<Option<i64>>),
    bury: (Receipts, Vec<String>),
    /// Whether a task goes back to its place.
    in_place: bool,
}

impl Batch {
    fn of(settlements: &[Settlement<PostgresReceipt>], now: Timestamp) -> Self {
        let mut batch = Self::default();
        let mut given = HashSet::with_capacity(settlements.len());
        for Settlement { receipt, attempt, next } in settlements {
            if !given.insert(*receipt) {
                continue; // a receipt that was given twice is settled once
            }
            let error = |text: &str| json!(AttemptError::new(*attempt, now, text)).to_string();
            match next {
                Next::Complete => batch.complete.push(*receipt),
                Next::Retry { after, error: text } => {
                    batch.retry.0.push(*receipt);
                    batch.retry.1.push((now + *after).as_micros());
                    batch.retry.2.push(error(text));
                }
                Next::Release { after } => {
                    batch.release.0.push(*receipt);
                    batch.release.1.push((!after.is_zero()).then(|| (now + *after).as_micros()));
                    batch.in_place |= after.is_zero();
                }
                Next::Bury { error: text } => {
                    batch.bury.0.push(*receipt);
                    batch.bury.1.push(error(text));
                }
            }
        }
        batch
    }

    /// Whether one statement, which is a transaction by itself, does it all.
    fn only_completes(&self) -> bool {
        self.retry.0.is_empty() && self.release.0.is_empty() && self.bury.0.is_empty()
    }
}

/// Settles a batch in one transaction. For each settlement, whether its lease held.
pub(super) async fn settle(
    inner: Arc<Inner>,
    worker: WorkerId,
    settlements: Arc<[Settlement<PostgresReceipt>]>,
) -> Result<Vec<bool>, QueueError> {
    let failed = |error| QueueError::database("record what became of tasks", error);
    if settlements.is_empty() {
        return Ok(Vec::new());
    }
    let now = inner.events.now();
    let batch = Batch::of(&settlements, now);
    let retain = inner.events.settings().retain_completed.is_some();
    let mut connection = inner.own.acquire().await.map_err(failed)?;
    let mut settled = if batch.only_completes() && !retain {
        complete(&inner, &mut connection, &batch.complete, worker).await.map_err(failed)?
    } else {
        let mut transaction = connection.begin().await.map_err(failed)?;
        let settled =
            record(&inner, &mut transaction, &batch, worker, now).await.map_err(failed)?;
        transaction.commit().await.map_err(failed)?;
        settled
    };
    if !batch.only_completes() {
        if batch.in_place {
            inner.lanes.start_over();
        }
        inner.signal.notify();
    }
    Ok(settlements.iter().map(|settlement| settled.remove(&settlement.receipt.seq)).collect())
}

async fn record(
    inner: &Inner,
    connection: &mut PgConnection,
    batch: &Batch,
    worker: WorkerId,
    now: Timestamp,
) -> Result<HashSet<i64>, sqlx::Error> {
    if inner.events.settings().retain_completed.is_some() {
        archive(inner, connection, &batch.complete, worker, now).await?;
    }
    let mut settled = complete(inner, connection, &batch.complete, worker).await?;
    let (receipts, due_at, errors) = &batch.retry;
    if !receipts.is_empty() {
        let query = matching(&inner.sql().retry, receipts, worker).bind(due_at).bind(errors);
        settled.extend(query.fetch_all(&mut *connection).await?);
    }
    let (receipts, due_at) = &batch.release;
    if !receipts.is_empty() {
        let query = matching(&inner.sql().release, receipts, worker).bind(due_at);
        settled.extend(query.fetch_all(&mut *connection).await?);
    }
    let (receipts, errors) = &batch.bury;
    if !receipts.is_empty() {
        let query = matching(&inner.sql().bury, receipts, worker);
        let query = query.bind(errors).bind(now.as_micros());
        settled.extend(query.fetch_all(connection).await?);
    }
    Ok(settled)
}

type Settled<'q> = sqlx::query::QueryScalar<'q, sqlx::Postgres, i64, sqlx::postgres::PgArguments>;

/// A statement for these receipts, as far as all have it in common.
fn matching<'q>(sql: &SqlStr, receipts: &'q Receipts, worker: WorkerId) -> Settled<'q> {
    sqlx::query_scalar(sql.clone()).bind(&receipts.seqs).bind(&receipts.fences).bind(uuid(worker))
}

async fn complete(
    inner: &Inner,
    connection: &mut PgConnection,
    receipts: &Receipts,
    worker: WorkerId,
) -> Result<HashSet<i64>, sqlx::Error> {
    if receipts.is_empty() {
        return Ok(HashSet::new());
    }
    let settled = matching(&inner.sql().complete, receipts, worker).fetch_all(connection).await?;
    Ok(settled.into_iter().collect())
}

async fn archive(
    inner: &Inner,
    connection: &mut PgConnection,
    receipts: &Receipts,
    worker: WorkerId,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    sqlx::query(inner.sql().archive.clone())
        .bind(&receipts.seqs)
        .bind(&receipts.fences)
        .bind(uuid(worker))
        .bind(now.as_micros())
        .execute(connection)
        .await
        .map(drop)
}

/// Completes one task in the transaction that its handler gets, if the lease still holds.
pub(super) async fn complete_in(
    inner: &Inner,
    connection: &mut PgConnection,
    worker: WorkerId,
    receipt: PostgresReceipt,
) -> Result<bool, sqlx::Error> {
    if inner.events.settings().retain_completed.is_some() {
        let mut receipts = Receipts::default();
        receipts.push(receipt);
        archive(inner, connection, &receipts, worker, inner.events.now()).await?;
    }
    let deleted = sqlx::query(inner.sql().complete_one.clone())
        .bind(receipt.seq)
        .bind(receipt.fence)
        .bind(uuid(worker))
        .execute(connection)
        .await?;
    Ok(deleted.rows_affected() == 1)
}
