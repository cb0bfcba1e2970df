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
use sqlx::{PgConnection, SqlStr};

use super::own::Own;
use super::queue::Inner;
use super::row::{self, PostgresReceipt, uuid};
use crate::error::QueueError;

// In all of them: `$1` are the seqs, `$2` the fences, `$3` the worker. What else is given for each
// task is found by its place in `$1`, where a task is once: a worker holds one claim of it.

/// The tasks whose receipts hold.
///
/// Each is looked up by itself: `OFFSET 0` keeps the planner from reading all that the worker runs
/// instead, with whatever it completed since the last vacuum. The conditions on the row are for one
/// that somebody changes at the same moment.
macro_rules! held {
    () => {
        "ctid = ANY (ARRAY(
            SELECT found.ctid FROM unnest($1::int8[], $2::int8[]) AS given (seq, fence)
            CROSS JOIN LATERAL (
                SELECT ctid FROM {schema}.tasks
                WHERE leased_by = $3 AND seq = given.seq AND fence = given.fence
                OFFSET 0) AS found))
        AND fence = ANY ($2::int8[]) AND leased_by IS NOT DISTINCT FROM $3::uuid"
    };
}

/// What was given for the task in an array.
macro_rules! given {
    ($array:literal) => {
        concat!("(", $array, ")[array_position($1::int8[], seq)]")
    };
}

/// The receipts of tasks, in one row: as many rows cost more than all else that a completion does.
macro_rules! receipts_of {
    ($tasks:literal) => {
        concat!(
            "SELECT coalesce(array_agg(seq), '{}'), coalesce(array_agg(fence), '{}') FROM ",
            $tasks
        )
    };
}

pub(super) const COMPLETE: &str = concat!(
    "WITH gone AS (DELETE FROM {schema}.tasks WHERE ",
    held!(),
    " RETURNING seq, fence) ",
    receipts_of!("gone")
);

pub(super) const COMPLETE_ONE: &str =
    "DELETE FROM {schema}.tasks WHERE leased_by = $3 AND seq = $1 AND fence = $2";

/// `$4` is the time.
pub(super) const COMPLETE_AND_KEEP: &str = concat!(
    "WITH gone AS (DELETE FROM {schema}.tasks WHERE ",
    held!(),
    " RETURNING *), kept AS (
        INSERT INTO {schema}.archive (seq, task_id, event_id, event, name, queue, published_at,
            completed_at, attempt, payload, headers, errors)
        SELECT seq, task_id, event_id, event, name, queue, published_at, $4, attempt, payload,
            headers, errors
        FROM gone
        ON CONFLICT (seq) DO NOTHING
    ) ",
    receipts_of!("gone")
);

/// Given: due at, and the error as JSON.
pub(super) const RETRY: &str = concat!(
    "WITH changed AS (UPDATE {schema}.tasks SET leased_by = NULL, due_at = ",
    given!("$4::int8[]"),
    ", errors = ",
    row::errors_and!("($5::text[])[array_position($1::int8[], seq)]"),
    " WHERE ",
    held!(),
    " RETURNING seq, fence) ",
    receipts_of!("changed")
);

/// Given: due at; NULL for at once, which keeps the task's place in the lane.
pub(super) const RELEASE: &str = concat!(
    "WITH changed AS (UPDATE {schema}.tasks
    SET leased_by = NULL, attempt = greatest(attempt - 1, 0), due_at = coalesce(",
    given!("$4::int8[]"),
    ", due_at) WHERE ",
    held!(),
    " RETURNING seq, fence) ",
    receipts_of!("changed")
);

/// Given: the error as JSON. `$5` is the time. A task that was revived by hand, and its dead letter
/// left, dies once more: the newest tells.
pub(super) const BURY: &str = concat!(
    "WITH gone AS (DELETE FROM {schema}.tasks WHERE ",
    held!(),
    " RETURNING *, ",
    row::errors_and!("($4::text[])[array_position($1::int8[], seq)]"),
    " AS all_errors), buried AS (
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
    ) ",
    receipts_of!("gone")
);

/// Which of the tasks nobody else has locked.
pub(super) const SETTLEABLE: &str = concat!(
    receipts_of!("unnest($1::int8[], $2::int8[]) AS given (seq, fence)"),
    " CROSS JOIN LATERAL (
        SELECT 1 FROM {schema}.tasks
        WHERE leased_by = $3 AND tasks.seq = given.seq AND tasks.fence = given.fence
        OFFSET 0 FOR UPDATE SKIP LOCKED) AS found"
);

/// Which of the tasks are there, locked or not.
pub(super) const UNSETTLED: &str = concat!(
    receipts_of!("unnest($1::int8[], $2::int8[]) AS given (seq, fence)"),
    " CROSS JOIN LATERAL (
        SELECT 1 FROM {schema}.tasks
        WHERE leased_by = $3 AND tasks.seq = given.seq AND tasks.fence = given.fence
        OFFSET 0) AS found"
);

/// The receipts of tasks that go the same way.
#[derive(Default, Clone)]
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
    fn of(settlements: &[&Settlement<PostgresReceipt>], now: Timestamp) -> Self {
        let mut batch = Self::default();
        for Settlement { receipt, attempt, next } in settlements {
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

type Settlements = Vec<Settlement<PostgresReceipt>>;

/// Settles a batch in one transaction. For each settlement, whether its lease held.
///
/// Those whose row somebody else has locked are put off, and do not hold up the others.
pub(super) async fn settle(
    inner: Arc<Inner>,
    worker: WorkerId,
    settlements: Arc<[Settlement<PostgresReceipt>]>,
) -> Result<Vec<bool>, QueueError> {
    match settle_now(&inner, worker, &settlements).await {
        Err(error) if error.is_locked() => {
            let (locked, free) = sort_out(&inner, worker, &settlements).await?;
            let settled = settle_now(&inner, worker, &free).await?;
            let stale = free.iter().zip(settled).filter(|(_, held)| !held);
            let stale: HashSet<_> = stale.map(|(one, _)| one.receipt).collect();
            inner.postponed.add(worker, locked);
            Ok(settlements.iter().map(|one| !stale.contains(&one.receipt)).collect())
        }
        answer => answer,
    }
}

/// Those whose row is locked, and the others.
async fn sort_out(
    inner: &Inner,
    worker: WorkerId,
    settlements: &[Settlement<PostgresReceipt>],
) -> Result<(Settlements, Settlements), QueueError> {
    let mut receipts = Receipts::default();
    for one in settlements {
        receipts.push(one.receipt);
    }
    let mut connection = Own::acquire(&inner.own, STEP).await?;
    let mut found = Vec::with_capacity(2);
    for sql in [&inner.sql().unsettled, &inner.sql().settleable] {
        let query = matching(sql, receipts.clone(), worker);
        found.push(receipts_of(query, &mut connection).await.map_err(failed)?);
    }
    connection.finish();
    let locked = |one: &Settlement<PostgresReceipt>| {
        found[0].contains(&one.receipt) && !found[1].contains(&one.receipt)
    };
    Ok(settlements.iter().cloned().partition(locked))
}

const STEP: &str = "record what became of tasks";

fn failed(error: sqlx::Error) -> QueueError {
    QueueError::database(STEP, error)
}

async fn settle_now(
    inner: &Inner,
    worker: WorkerId,
    settlements: &[Settlement<PostgresReceipt>],
) -> Result<Vec<bool>, QueueError> {
    let mut settled = HashSet::with_capacity(settlements.len());
    let mut left: Vec<_> = settlements.iter().collect();
    // The statements find what was given for a task by the task alone. Of several claims of one task
    // one at most holds, and so they are asked about one after the other.
    while !left.is_empty() {
        let mut tasks = HashSet::with_capacity(left.len());
        let (now, later) = left.into_iter().partition(|one| tasks.insert(one.receipt.seq));
        settled.extend(settle_once(inner, worker, now).await?);
        left = later;
    }
    // A receipt that was given twice is settled once.
    Ok(settlements.iter().map(|settlement| settled.remove(&settlement.receipt)).collect())
}

/// Settles outcomes of different tasks. Returns the receipts that held.
async fn settle_once(
    inner: &Inner,
    worker: WorkerId,
    settlements: Vec<&Settlement<PostgresReceipt>>,
) -> Result<HashSet<PostgresReceipt>, QueueError> {
    let now = inner.events.now();
    let batch = Batch::of(&settlements, now);
    let (only_completes, in_place) = (batch.only_completes(), batch.in_place);
    let mut connection = Own::acquire(&inner.own, STEP).await?;
    let settled = if only_completes {
        complete(inner, &mut connection, batch.complete, worker).await.map_err(failed)?
    } else {
        connection.begin().await.map_err(failed)?;
        let settled = record(inner, &mut connection, batch, worker, now).await.map_err(failed)?;
        connection.commit().await.map_err(failed)?;
        settled
    };
    connection.finish();
    if !only_completes {
        if in_place {
            inner.lanes.start_over();
        }
        inner.signal.notify();
    }
    Ok(settled)
}

async fn record(
    inner: &Inner,
    connection: &mut PgConnection,
    batch: Batch,
    worker: WorkerId,
    now: Timestamp,
) -> Result<HashSet<PostgresReceipt>, sqlx::Error> {
    let mut settled = complete(inner, connection, batch.complete, worker).await?;
    let (receipts, due_at, errors) = batch.retry;
    if !receipts.is_empty() {
        let query = matching(&inner.sql().retry, receipts, worker).bind(due_at).bind(errors);
        settled.extend(receipts_of(query, &mut *connection).await?);
    }
    let (receipts, due_at) = batch.release;
    if !receipts.is_empty() {
        let query = matching(&inner.sql().release, receipts, worker).bind(due_at);
        settled.extend(receipts_of(query, &mut *connection).await?);
    }
    let (receipts, errors) = batch.bury;
    if !receipts.is_empty() {
        let query = matching(&inner.sql().bury, receipts, worker);
        let query = query.bind(errors).bind(now.as_micros());
        settled.extend(receipts_of(query, connection).await?);
    }
    Ok(settled)
}

type Settled = sqlx::query::QueryAs<
    'static,
    sqlx::Postgres,
    (Vec<i64>, Vec<i64>),
    sqlx::postgres::PgArguments,
>;

/// A statement for these receipts, as far as all have it in common.
fn matching(sql: &SqlStr, receipts: Receipts, worker: WorkerId) -> Settled {
    sqlx::query_as(sql.clone()).bind(receipts.seqs).bind(receipts.fences).bind(uuid(worker))
}

async fn complete(
    inner: &Inner,
    connection: &mut PgConnection,
    receipts: Receipts,
    worker: WorkerId,
) -> Result<HashSet<PostgresReceipt>, sqlx::Error> {
    if receipts.is_empty() {
        return Ok(HashSet::new());
    }
    let query = match inner.events.settings().retain_completed {
        None => matching(&inner.sql().complete, receipts, worker),
        Some(_) => {
            let now = inner.events.now().as_micros();
            matching(&inner.sql().complete_and_keep, receipts, worker).bind(now)
        }
    };
    receipts_of(query, connection).await
}

/// Of those that a statement was given, the ones that held their lease.
async fn receipts_of(
    query: Settled,
    connection: &mut PgConnection,
) -> Result<HashSet<PostgresReceipt>, sqlx::Error> {
    let (seqs, fences) = query.fetch_one(connection).await?;
    let receipts = seqs.into_iter().zip(fences);
    Ok(receipts.map(|(seq, fence)| PostgresReceipt { seq, fence }).collect())
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
        return Ok(!complete(inner, connection, receipts, worker).await?.is_empty());
    }
    let deleted = sqlx::query(inner.sql().complete_one.clone())
        .bind(receipt.seq)
        .bind(receipt.fence)
        .bind(uuid(worker))
        .execute(connection)
        .await?;
    Ok(deleted.rows_affected() == 1)
}
