//! Outcomes of tasks whose row somebody else has locked.
//!
//! That is, as a rule, the task's own transaction on a connection that broke, which the server has
//! not noticed yet. If it commits after all, the task is done; if not, the outcome counts.

use std::sync::{Arc, Mutex, PoisonError};

use events_core::WorkerId;
use events_core::broker::Settlement;

use super::queue::Inner;
use super::row::PostgresReceipt;
use super::settle;

type Outcome = (WorkerId, Settlement<PostgresReceipt>);

/// Tried again with every heartbeat.
#[derive(Debug, Default)]
pub(super) struct Postponed(Mutex<Vec<Outcome>>);

impl Postponed {
    pub(super) fn add(&self, worker: WorkerId, outcomes: Vec<Settlement<PostgresReceipt>>) {
        if !outcomes.is_empty() {
            tracing::warn!(
                %worker,
                tasks = outcomes.len(),
                "outcomes are put off, for their tasks' rows are locked; look in pg_stat_activity for transactions of connections that broke"
            );
        }
        self.put(worker, outcomes);
    }

    fn put(&self, worker: WorkerId, outcomes: Vec<Settlement<PostgresReceipt>>) {
        let mut postponed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        postponed.extend(outcomes.into_iter().map(|outcome| (worker, outcome)));
    }

    /// Those of this worker, which are then its caller's to settle or, if others have taken its
    /// tasks, to forget.
    pub(super) fn take(&self, worker: WorkerId) -> Vec<Settlement<PostgresReceipt>> {
        let mut postponed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (taken, others): (Vec<_>, _) =
            postponed.drain(..).partition(|(holder, _)| *holder == worker);
        *postponed = others;
        taken.into_iter().map(|(_, outcome)| outcome).collect()
    }
}

/// Tries again.
pub(super) async fn settle(inner: &Arc<Inner>, worker: WorkerId) {
    let mut tried = Tried { inner, worker, outcomes: inner.postponed.take(worker) };
    if tried.outcomes.is_empty() {
        return;
    }
    match settle::settle(inner.clone(), worker, tried.outcomes.clone().into()).await {
        Ok(_) => tried.outcomes.clear(),
        Err(error) => {
            tracing::debug!(error = &error as &dyn std::error::Error, "outcomes stay put off");
        }
    }
}

/// Outcomes that are put off again, if they are not settled or nobody waits for it any more.
struct Tried<'i> {
    inner: &'i Inner,
    worker: WorkerId,
    outcomes: Vec<Settlement<PostgresReceipt>>,
}

impl Drop for Tried<'_> {
    fn drop(&mut self) {
        let outcomes = std::mem::take(&mut self.outcomes);
        self.inner.postponed.put(self.worker, outcomes);
    }
}
