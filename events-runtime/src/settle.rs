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
            record(&broker, worker, &settlements, &statistics).await;
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

async fn record<B: Broker>(
    broker: &B,
    worker: WorkerId,
    settlements: &[Settlement<B::Receipt>],
    statistics: &Statistics,
) {
    let mut failures = 0_u32;
    let applied = loop {
        match broker.settle(worker, settlements).await {
            Ok(applied) => break applied,
            Err(error) => {
                failures += 1;
                // Once at first, then every few seconds.
                if failures % 32 == 1 {
                    tracing::error!(
                        error = &error as &dyn std::error::Error,
                        outcomes = settlements.len(),
                        failures,
                        "outcomes cannot be recorded; trying again until the queue takes them"
                    );
                }
                sleep(RETRY.mul_f64(0.5 + fastrand::f64())).await;
            }
        }
    };
    count(settlements, &applied, statistics);
}

fn count<R>(settlements: &[Settlement<R>], applied: &[bool], statistics: &Statistics) {
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
        tracing::warn!(
            stale,
            "outcomes dropped: the leases had passed to other workers, which run the tasks again"
        );
    }
}
