//! Outcomes, recorded in batches: fenced, and flushed within milliseconds.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use events_core::broker::{Broker, Settlement};
use events_core::event::WorkerId;
use events_core::lifecycle::Next;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout_at};

use crate::statistics::Statistics;

/// How long an outcome may wait for company.
const LINGER: Duration = Duration::from_millis(2);

/// The most outcomes recorded in one go.
const BATCH: usize = 1024;

/// Pauses between tries while the broker is away.
const RETRY: Duration = Duration::from_millis(200);

/// After this many failures in a row it may be the batch that is at fault, not the broker.
const REFUSED: u32 = 10;

/// After this many, about a minute, a single outcome is given up. A broker that is away for so long
/// has given the task to others.
const REFUSED_ALONE: u32 = 300;

/// Before a task is offered again whose outcome could not be recorded.
const AFTER_REFUSAL: Duration = Duration::from_mins(1);

/// An outcome, with the worker id under which the task was claimed.
pub(crate) type Outcome<R> = (WorkerId, Settlement<R>);

/// Records what arrives until the channel closes. Tries until the broker takes it: an outcome
/// that is dropped would run the task again.
pub(crate) async fn settle<B: Broker>(
    broker: B,
    mut outcomes: mpsc::Receiver<Outcome<B::Receipt>>,
    statistics: Arc<Statistics>,
) {
    let mut batch = Vec::with_capacity(BATCH);
    while outcomes.recv_many(&mut batch, BATCH).await > 0 {
        let deadline = Instant::now() + LINGER;
        while batch.len() < BATCH {
            let room = BATCH - batch.len();
            match timeout_at(deadline, outcomes.recv_many(&mut batch, room)).await {
                Ok(received) if received > 0 => {}
                _ => break, // the time is up, or no more will come
            }
        }
        for (worker, settlements) in by_worker(batch.drain(..)) {
            record(&broker, worker, settlements, &statistics).await;
        }
    }
}

/// One group, unless the worker had to start anew under another id.
fn by_worker<R>(
    outcomes: impl Iterator<Item = Outcome<R>>,
) -> BTreeMap<WorkerId, Vec<Settlement<R>>> {
    let mut groups: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for (worker, settlement) in outcomes {
        groups.entry(worker).or_default().push(settlement);
    }
    groups
}

/// Records a batch, and tries until the broker takes it. One that is refused again and again is
/// taken apart: a single outcome that cannot be recorded must not hold up the others.
async fn record<B: Broker>(
    broker: &B,
    worker: WorkerId,
    settlements: Vec<Settlement<B::Receipt>>,
    statistics: &Statistics,
) {
    let mut parts = vec![settlements];
    let mut failures = 0_u32;
    // Every part was in a try that failed, once there was one: parts are halves of the first.
    let mut had_failed = false;
    while let Some(part) = parts.pop() {
        match broker.settle(worker, &part).await {
            Ok(applied) => {
                failures = 0;
                count(&part, &applied, had_failed, statistics);
            }
            Err(error) => {
                failures += 1;
                had_failed = true;
                // Once at first, then every few seconds.
                if failures % 32 == 1 {
                    tracing::error!(
                        error = &error as &dyn std::error::Error,
                        outcomes = part.len(),
                        failures,
                        "outcomes cannot be recorded; trying again until the queue takes them"
                    );
                }
                sleep(RETRY.mul_f64(0.5 + fastrand::f64())).await;
                parts.extend(take_apart(part, failures));
            }
        }
    }
}

/// What to try next instead of a part that failed.
fn take_apart<R: Clone>(
    mut part: Vec<Settlement<R>>,
    failures: u32,
) -> impl Iterator<Item = Vec<Settlement<R>>> {
    let mut rest = None;
    match part.as_mut_slice() {
        [only] if failures >= REFUSED_ALONE && !matches!(only.next, Next::Release { .. }) => {
            tracing::error!(
                refused = ?only.next,
                "one outcome is refused again and again; its task is put back instead and runs again"
            );
            only.next = Next::Release { after: AFTER_REFUSAL };
        }
        [_, _, ..] if failures >= REFUSED => rest = Some(part.split_off(part.len() / 2)),
        _ => {}
    }
    [Some(part), rest].into_iter().flatten()
}

fn count<R>(
    settlements: &[Settlement<R>],
    applied: &[bool],
    had_failed: bool,
    statistics: &Statistics,
) {
    let (mut completed, mut stale) = (0, 0);
    for (settlement, applied) in settlements.iter().zip(applied) {
        match (&settlement.next, applied) {
            (_, false) => stale += 1,
            (Next::Complete, true) => completed += 1,
            (Next::Retry { .. }, true) => statistics.add_retried(1),
            (Next::Release { .. }, true) => statistics.add_released(1),
            (Next::Bury { .. }, true) => statistics.add_dead(1),
        }
    }
    statistics.add_completed(completed);
    if stale > 0 {
        statistics.add_stale(stale);
        match had_failed {
            true => tracing::warn!(
                stale,
                "outcomes found no lease any more when they were tried again: an earlier try had recorded them and its answer was lost, or other workers run the tasks again"
            ),
            false => tracing::warn!(
                stale,
                "outcomes dropped: the leases had passed to other workers, which run the tasks again"
            ),
        }
    }
}
