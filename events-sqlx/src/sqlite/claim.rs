//! Leases due tasks to a worker.

use std::sync::{Arc, Weak};
use std::time::Duration;

use events_core::broker::{Claimed, Lease};
use events_core::{Queues, Timestamp, WorkerId};

use super::debounce;
use super::lanes::{self, Lane, Scan};
use super::queue::Inner;
use super::row::{self, SqliteReceipt};
use super::settle;
use crate::error::QueueError;

macro_rules! claim {
    ($heads:literal) => {
        concat!(
            "UPDATE events_tasks
            SET leased_by = ?1, attempt = attempt + 1, fence = fence + 1
            WHERE seq IN (",
            $heads,
            ") AND EXISTS (SELECT 1 FROM events_workers WHERE id = ?1)
            RETURNING ",
            row::lease_columns!()
        )
    };
}

/// The usual case: everything waits in one lane.
pub(super) const CLAIM_FROM_ONE: &str = claim!(
    "SELECT seq FROM events_tasks INDEXED BY events_tasks_waiting
    WHERE leased_by IS NULL AND queue = ?4 AND priority = ?5 AND due_at <= ?2
    ORDER BY due_at, seq LIMIT ?3"
);

/// At most the limit from each lane, and of these, which are few, the first.
pub(super) const CLAIM_FROM_MANY: &str = claim!(
    "SELECT due.seq FROM json_each(?4) AS lane CROSS JOIN events_tasks AS due
    WHERE due.seq IN (
        SELECT next.seq FROM events_tasks AS next INDEXED BY events_tasks_waiting
        WHERE next.leased_by IS NULL AND next.queue = lane.value ->> 0
            AND next.priority = lane.value ->> 1 AND next.due_at <= ?2
        ORDER BY next.due_at, next.seq LIMIT ?3)
    ORDER BY due.priority, due.due_at, due.seq LIMIT ?3"
);

/// Claimed tasks on their way to the worker. If nobody takes them, because the claim's caller has
/// gone away, they go back.
pub(super) struct Delivery {
    inner: Arc<Inner>,
    worker: WorkerId,
    claimed: Option<Claimed<SqliteReceipt>>,
}

impl Delivery {
    pub(super) fn take(mut self) -> Claimed<SqliteReceipt> {
        self.claimed.take().expect("taken once")
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        let Some(claimed) = self.claimed.take() else { return };
        if claimed.tasks.is_empty() {
            return;
        }
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let queue = Arc::downgrade(&self.inner);
            runtime.spawn(give_back(queue, self.worker, claimed.tasks));
        }
    }
}

/// Gives back the tasks of an abandoned claim, however often it takes: a worker that lives would
/// hold them for ever. If it does not, or the queue is gone, a rescue finds them.
async fn give_back(queue: Weak<Inner>, worker: WorkerId, tasks: Vec<Lease<SqliteReceipt>>) {
    let mut pause = SHORTEST_PAUSE;
    while let Some(inner) = queue.upgrade() {
        let Err(error) = settle::give_back(&inner, worker, &tasks).await else { return };
        tracing::error!(
            error = &error as &dyn std::error::Error,
            %worker,
            tasks = tasks.len(),
            "tasks of an abandoned claim could not be given back; trying again"
        );
        if matches!(lanes::scan(&inner.own, worker).await, Ok(Scan { registered: false, .. })) {
            return;
        }
        drop(inner);
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// The pauses before tasks that could not be given back are given back again.
const SHORTEST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Claims, looking before it writes: an idle worker takes no lock. Unless the last claim was full:
/// then there is likely more.
pub(super) async fn claim(
    inner: Arc<Inner>,
    worker: WorkerId,
    queues: Queues,
    limit: usize,
    eager: bool,
) -> Result<Delivery, QueueError> {
    let mut delivery = Delivery {
        inner: inner.clone(),
        worker,
        claimed: Some(Claimed { tasks: Vec::new(), next_due: None }),
    };
    let claimed = delivery.claimed.as_mut().expect("not taken yet");
    match fill(&inner, worker, &queues, limit, eager, claimed).await {
        // The worker knows nothing of what it has already, so that is worth more than the error.
        Err(error) if !claimed.tasks.is_empty() && !is_unknown(&error) => {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                %worker,
                tasks = claimed.tasks.len(),
                "a claim ended early, with some of its tasks"
            );
            claimed.next_due = None;
        }
        ended => ended?,
    }
    claimed.tasks.sort_by_key(order);
    if claimed.tasks.len() == limit {
        claimed.next_due = None;
    }
    Ok(delivery)
}

/// Of a worker that was taken for dead, others take the tasks at once.
fn is_unknown(error: &QueueError) -> bool {
    matches!(error, QueueError::UnknownWorker { .. })
}

async fn fill(
    inner: &Inner,
    worker: WorkerId,
    queues: &Queues,
    limit: usize,
    eager: bool,
    claimed: &mut Claimed<SqliteReceipt>,
) -> Result<(), QueueError> {
    let mut from = if eager { inner.lanes.of_queues(queues) } else { Vec::new() };
    // Once with what is known, once with what was found, and a last look; and once more if some
    // waited for quiet and were due.
    let (mut looks, mut may_release) = (0, true);
    while looks < 3 {
        if !from.is_empty() {
            let free = limit - claimed.tasks.len();
            claim_from(inner, worker, &from, free, &mut claimed.tasks).await?;
            if claimed.tasks.len() == limit {
                break;
            }
        }
        let scan = lanes::scan(&inner.own, worker).await?;
        if !scan.registered {
            return Err(QueueError::UnknownWorker { worker });
        }
        inner.lanes.learn(&scan.heads);
        let now = inner.events.now();
        let debounced_is_due = scan.debounced_due.is_some_and(|due| due <= now);
        if debounced_is_due
            && std::mem::take(&mut may_release)
            && debounce::release(inner, now).await > 0
        {
            from.clear();
            continue;
        }
        looks += 1;
        let served = || scan.heads.iter().filter(|head| queues.contains(&head.lane.queue));
        let debounced = scan.debounced_due.map(|due| due.max(now + debounce::AGAIN));
        claimed.next_due = served().map(|head| head.due_at).chain(debounced).min();
        from = served().filter(|head| head.due_at <= now).map(|head| head.lane.clone()).collect();
        if from.is_empty() || limit == 0 {
            break;
        }
    }
    Ok(())
}

fn order(lease: &Lease<SqliteReceipt>) -> (i16, Timestamp, i64) {
    (lease.task.priority, lease.task.due_at, lease.receipt.seq)
}

async fn claim_from(
    inner: &Inner,
    worker: WorkerId,
    lanes: &[Lane],
    limit: usize,
    tasks: &mut Vec<Lease<SqliteReceipt>>,
) -> Result<(), QueueError> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut writer = inner.gate.writer(&inner.own, "claim tasks").await?;
    let now = inner.events.now().as_micros();
    let sql = if lanes.len() == 1 { CLAIM_FROM_ONE } else { CLAIM_FROM_MANY };
    let query = sqlx::query(sql).bind(worker.to_bytes().to_vec()).bind(now).bind(limit);
    let query = match lanes {
        [lane] => query.bind(lane.queue.clone()).bind(lane.priority),
        lanes => {
            let lanes = lanes.iter().map(|lane| (&lane.queue, lane.priority));
            query.bind(serde_json::json!(lanes.collect::<Vec<_>>()).to_string())
        }
    };
    let rows = query
        .fetch_all(&mut *writer)
        .await
        .map_err(|error| QueueError::database("claim tasks", error))?;
    writer.finish();
    for claimed in &rows {
        match row::lease(claimed) {
            Ok(lease) => tasks.push(lease),
            // The others must not suffer from it, and nobody else could read it either.
            Err(error) => tracing::error!(
                error = &error as &dyn std::error::Error,
                seq = row::get::<i64>(claimed, "seq").ok(),
                "a task's row cannot be read; it stays leased until the worker ends"
            ),
        }
    }
    Ok(())
}
