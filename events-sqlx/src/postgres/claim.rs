//! Leases due tasks to a worker.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use events_core::broker::{Claimed, Lease};
use events_core::{Queues, Timestamp, WorkerId};
use futures_util::TryStreamExt;

use super::debounce;
use super::lanes::{self, Start};
use super::own::Own;
use super::queue::Inner;
use super::row::{self, PostgresReceipt, uuid};
use crate::error::QueueError;

/// Only this claim's commit does not wait for the disk. If the server crashes within the next moment
/// the claim is undone: the task waits again, and the fence of its old claim opens nothing.
macro_rules! claim {
    ($heads:literal) => {
        concat!(
            "UPDATE {schema}.tasks AS task
            SET leased_by = $1, attempt = attempt + 1, fence = $2
            WHERE ctid = ANY (ARRAY(",
            $heads,
            ")) AND 'off' = (
                SELECT set_config('synchronous_commit', 'off', true) FROM {schema}.workers
                WHERE id = $1)
            RETURNING ",
            row::lease_columns!()
        )
    };
}

/// The usual case: everything waits in one lane.
pub(super) const CLAIM_FROM_ONE: &str = claim!(
    "SELECT ctid FROM {schema}.tasks
    WHERE leased_by IS NULL AND queue = $5 AND priority = $6 AND due_at >= $7 AND due_at <= $3
    ORDER BY due_at, seq LIMIT $4 FOR UPDATE SKIP LOCKED"
);

/// At most the limit from each lane, and of these the first.
pub(super) const CLAIM_FROM_MANY: &str = claim!(
    "SELECT due.ctid FROM unnest($5::text[], $6::int2[], $7::int8[]) AS lane (queue, priority, start)
        CROSS JOIN LATERAL (
            SELECT next.ctid, next.priority, next.due_at, next.seq FROM {schema}.tasks AS next
            WHERE leased_by IS NULL AND next.queue = lane.queue AND next.priority = lane.priority
                AND next.due_at >= lane.start AND next.due_at <= $3
            ORDER BY next.due_at, next.seq LIMIT $4 FOR UPDATE SKIP LOCKED) AS due
    ORDER BY due.priority, due.due_at, due.seq LIMIT $4"
);

/// Gives back what claims brought whose outcome nobody learnt.
pub(super) const RELEASE_CLAIMS: &str = "
UPDATE {schema}.tasks SET leased_by = NULL, attempt = greatest(attempt - 1, 0)
WHERE leased_by = $1 AND fence = ANY ($2)";

/// Claims of which nobody knows what they brought: the connection broke, the answer took too long,
/// or the caller had gone away. A worker that lives would hold the tasks for ever, and execute none.
#[derive(Debug, Default)]
pub(super) struct Doubts(Mutex<HashMap<WorkerId, Vec<Fence>>>);

#[derive(Debug)]
struct Fence {
    fence: i64,
    /// When its tasks were given back for the first time.
    released: Option<Instant>,
}

/// What was on its way to the server, or is being done there, may still be committed for so long
/// after the server answered: a claim is given back again and again.
const DOUBTFUL: Duration = Duration::from_mins(2);

impl Doubts {
    fn with<T>(&self, look: impl FnOnce(&mut HashMap<WorkerId, Vec<Fence>>) -> T) -> T {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn add(&self, worker: WorkerId, fence: i64) {
        self.with(|doubts| doubts.entry(worker).or_default().push(Fence { fence, released: None }));
    }

    /// Of a worker that is gone, a rescue takes everything.
    pub(super) fn forget(&self, worker: WorkerId) {
        self.with(|doubts| doubts.remove(&worker));
    }

    /// The doubtful claims of this worker.
    fn of(&self, worker: WorkerId) -> Vec<i64> {
        self.with(|doubts| {
            doubts.get(&worker).into_iter().flatten().map(|doubt| doubt.fence).collect()
        })
    }

    /// The server answered: nothing is left of these now, and soon there can be no more.
    fn are_released(&self, worker: WorkerId) {
        self.with(|doubts| {
            if let Some(fences) = doubts.get_mut(&worker) {
                fences.retain_mut(|doubt| {
                    doubt.released.get_or_insert_with(Instant::now).elapsed() < DOUBTFUL
                });
                if fences.is_empty() {
                    doubts.remove(&worker);
                }
            }
        });
    }
}

/// Gives back the tasks of doubtful claims, if there are any.
pub(super) async fn settle_doubts(inner: &Inner, worker: WorkerId) {
    let fences = inner.doubts.of(worker);
    if fences.is_empty() {
        return;
    }
    match release(inner, worker, fences).await {
        Ok(tasks) => {
            inner.doubts.are_released(worker);
            if tasks > 0 {
                tracing::info!(
                    %worker,
                    tasks,
                    "a claim was cut off; its tasks are offered again"
                );
                inner.lanes.start_over();
                inner.signal.notify();
            }
        }
        Err(error) => tracing::warn!(
            error = &error as &dyn std::error::Error,
            %worker,
            "tasks of a claim that was cut off could not be given back; trying again at the next heartbeat"
        ),
    }
}

async fn release(inner: &Inner, worker: WorkerId, fences: Vec<i64>) -> Result<u64, QueueError> {
    const STEP: &str = "give back tasks";
    let mut connection = Own::acquire(&inner.own, STEP).await?;
    let released = sqlx::query(inner.sql().release_claims.clone())
        .bind(uuid(worker))
        .bind(fences)
        .execute(&mut *connection)
        .await
        .map_err(|error| QueueError::database(STEP, error))?;
    connection.finish();
    Ok(released.rows_affected())
}

/// A claim's fence, doubtful until it is known what it brought.
struct Doubt<'i> {
    inner: &'i Inner,
    worker: WorkerId,
    fence: i64,
    known: bool,
}

impl<'i> Doubt<'i> {
    fn new(inner: &'i Inner, worker: WorkerId) -> Self {
        // The standard library's hasher is seeded at random, and mixes what it is given.
        let fence = RandomState::new().hash_one(worker).cast_signed();
        Self { inner, worker, fence, known: false }
    }
}

impl Drop for Doubt<'_> {
    fn drop(&mut self) {
        if !self.known {
            self.inner.doubts.add(self.worker, self.fence);
        }
    }
}

/// Claimed tasks on their way to the worker. If nobody takes them, because the claim's caller has
/// gone away, they are given back with its next heartbeat.
pub(super) struct Delivery {
    inner: Arc<Inner>,
    worker: WorkerId,
    claimed: Option<Claimed<PostgresReceipt>>,
}

impl Delivery {
    pub(super) fn take(mut self) -> Claimed<PostgresReceipt> {
        self.claimed.take().expect("taken once")
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        let Some(claimed) = self.claimed.take() else { return };
        let mut fences: Vec<_> = claimed.tasks.iter().map(|lease| lease.receipt.fence).collect();
        fences.dedup();
        if fences.is_empty() {
            return;
        }
        for fence in fences {
            self.inner.doubts.add(self.worker, fence);
        }
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let (inner, worker) = (self.inner.clone(), self.worker);
            runtime.spawn(async move { settle_doubts(&inner, worker).await });
        }
    }
}

/// Claims at once from the lanes that are known, and looks around only when that brings nothing:
/// an idle worker that is woken has its task after one statement.
pub(super) async fn claim(
    inner: Arc<Inner>,
    worker: WorkerId,
    queues: Queues,
    limit: usize,
) -> Result<Delivery, QueueError> {
    let mut delivery = Delivery {
        inner: inner.clone(),
        worker,
        claimed: Some(Claimed { tasks: Vec::new(), next_due: None }),
    };
    let claimed = delivery.claimed.as_mut().expect("not taken yet");
    if limit > 0 {
        let known = inner.lanes.of_queues(&queues);
        claim_from(&inner, worker, &known.lanes, limit, &mut claimed.tasks).await?;
    }
    if claimed.tasks.is_empty() || inner.lanes.look_is_overdue() {
        look_around(&inner, worker, &queues, limit, claimed).await?;
    } else {
        // Whether there is more, the next claim tells; these must not wait for it.
        claimed.next_due = Some(inner.events.now());
    }
    claimed.tasks.sort_by_key(order);
    if claimed.tasks.len() == limit {
        claimed.next_due = None;
    }
    Ok(delivery)
}

/// Looks where tasks wait, and claims those that are due, up to the limit.
async fn look_around(
    inner: &Inner,
    worker: WorkerId,
    queues: &Queues,
    limit: usize,
    claimed: &mut Claimed<PostgresReceipt>,
) -> Result<(), QueueError> {
    // Once to find tasks, once more to tell when the next will be due; and once more if some waited
    // for quiet and were due.
    let (mut looks, mut may_release) = (0, true);
    while looks < 2 {
        let known = inner.lanes.of_queues(queues);
        let scan = match inner.lanes.look_is_due(inner.events.now()) {
            true => lanes::scan(inner, worker).await?,
            false => lanes::next(inner, worker, &known).await?,
        };
        if !scan.registered {
            return Err(QueueError::UnknownWorker { worker });
        }
        let now = inner.events.now();
        if let Some(first) = scan.debounced_due.filter(|due| *due <= now)
            && std::mem::take(&mut may_release)
            && debounce::release(inner, first, now).await > 0
        {
            continue;
        }
        looks += 1;
        let served = || scan.heads.iter().filter(|head| queues.contains(&head.lane.queue));
        // There may be more, or somebody has them locked.
        let debounced = scan.debounced_due.map(|due| due.max(now + debounce::AGAIN));
        claimed.next_due = served().map(|head| head.due_at).chain(debounced).min();
        let due = served().filter(|head| head.due_at <= now);
        let due: Vec<_> =
            due.map(|head| Start { lane: head.lane.clone(), due_at: head.due_at }).collect();
        let free = limit - claimed.tasks.len();
        if due.is_empty() || free == 0 {
            break;
        }
        let before = claimed.tasks.len();
        let more = claim_from(inner, worker, &due, free, &mut claimed.tasks).await;
        match more {
            // The worker knows nothing of what it has already, so that is worth more.
            Err(error) if before > 0 => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    %worker,
                    tasks = before,
                    "a claim ended early, with some of its tasks"
                );
                claimed.next_due = None;
                break;
            }
            more => more?,
        }
        if claimed.tasks.len() == before {
            // Somebody has them locked, and may keep them so for long.
            let again = now + debounce::AGAIN;
            claimed.next_due = claimed.next_due.map(|due| due.max(again));
        }
    }
    Ok(())
}

fn order(lease: &Lease<PostgresReceipt>) -> (i16, Timestamp, i64) {
    (lease.task.priority, lease.task.due_at, lease.receipt.seq)
}

/// Room is made for so many tasks before it is known how many come.
const LARGE: usize = 1024;

async fn claim_from(
    inner: &Inner,
    worker: WorkerId,
    from: &[Start],
    limit: usize,
    tasks: &mut Vec<Lease<PostgresReceipt>>,
) -> Result<(), QueueError> {
    const STEP: &str = "claim tasks";
    if from.is_empty() {
        return Ok(());
    }
    let mut connection = Own::acquire(&inner.own, STEP).await?;
    let mut doubt = Doubt::new(inner, worker);
    let one = from.len() == 1;
    let sql = if one { &inner.sql().claim_from_one } else { &inner.sql().claim_from_many };
    let query = sqlx::query(sql.clone())
        .bind(uuid(worker))
        .bind(doubt.fence)
        .bind(inner.events.now().as_micros())
        .bind(i64::try_from(limit).unwrap_or(i64::MAX));
    let query = match from {
        [start] => query
            .bind(start.lane.queue.clone())
            .bind(start.lane.priority)
            .bind(start.due_at.as_micros()),
        many => {
            let (queues, priorities, starts) = lanes::columns(many);
            query.bind(queues).bind(priorities).bind(starts)
        }
    };
    let failed = |error| QueueError::database(STEP, error);
    let mut read = Vec::with_capacity(limit.min(LARGE));
    {
        // Each row is read while the server works on the next.
        let mut rows = query.fetch(&mut *connection);
        while let Some(claimed) = rows.try_next().await.map_err(failed)? {
            match row::lease(&claimed, inner.events.registry()) {
                Ok(lease) => read.push(lease),
                // The others must not suffer from it, and nobody else could read it either.
                Err(error) => tracing::error!(
                    error = &error as &dyn std::error::Error,
                    seq = row::get::<i64>(&claimed, "seq").ok(),
                    "a task's row cannot be read; it stays leased until the worker ends"
                ),
            }
        }
    }
    doubt.known = true;
    connection.finish();
    tasks.append(&mut read);
    Ok(())
}
