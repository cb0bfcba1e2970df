//! When reconcilers run by themselves, and what all processes together remember of it.

use std::future::Future;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::broker::BrokerError;
use crate::clock::Timestamp;
use crate::event::WorkerId;
use crate::reconciler::Report;

/// When a reconciler runs by itself: once per cluster, however many workers there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cadence {
    /// From one start to the next. Runs that were missed, because no worker ran, are not made up
    /// for: the next comes at once, and the one after it an interval later.
    pub every: Duration,
    /// Each run comes up to this much later, at random.
    pub jitter: Duration,
    /// A worker that starts runs it at once, unless a run began within the last minute.
    pub run_on_start: bool,
    /// A run that takes longer is stopped and has failed.
    pub deadline: Duration,
}

/// Runs that began within this time before a worker's start do for `run_on_start`: workers that
/// start together run it once.
const JUST_NOW: Duration = Duration::from_mins(1);

/// A run that has not ended is over this long after its deadline: it began a little later than its
/// stamp, and clocks differ.
const OVERDUE: Duration = Duration::from_secs(10);

impl Cadence {
    /// When the run after that of `start` is due; `chance` is from 0 to 1.
    #[must_use]
    pub fn next(&self, start: Timestamp, chance: f64) -> Timestamp {
        start + self.every + self.jitter.mul_f64(chance.clamp(0.0, 1.0))
    }

    /// When the next run is due, as a worker sees it now that started at `worker_started`.
    ///
    /// What was written down counts, unless the cadence has become shorter since, or a clock that
    /// was ahead has written it. A run that has not ended is waited for until its deadline is over.
    #[must_use]
    pub fn due(
        &self,
        state: &ReconcilerState,
        worker_started: Timestamp,
        now: Timestamp,
    ) -> Timestamp {
        let started_at = state.started_at.filter(|start| *start <= now + self.every);
        let latest = self.next(started_at.unwrap_or(worker_started), 1.0);
        let mut due = state.next_at.min(latest);
        if self.run_on_start
            && started_at.is_none_or(|start| start < worker_started.before(JUST_NOW))
        {
            due = due.min(worker_started);
        }
        match started_at {
            Some(start) if state.is_running() => due.max(start + self.deadline + OVERDUE),
            _ => due,
        }
    }
}

/// What is remembered of a reconciler, by all processes together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReconcilerState {
    /// Its name.
    pub name: String,
    /// When its last run started; `None` if it never ran.
    pub started_at: Option<Timestamp>,
    /// The worker that ran it.
    pub started_by: Option<WorkerId>,
    /// When the next is due.
    pub next_at: Timestamp,
    /// When the last run ended that came to its end.
    pub ended_at: Option<Timestamp>,
    /// And how.
    pub result: Option<RunResult>,
}

impl ReconcilerState {
    /// Whether a run has started and not ended; its process may have died meanwhile.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.started_at.is_some_and(|start| self.ended_at.is_none_or(|end| end < start))
    }
}

/// How a run ended.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RunResult {
    /// Items looked at.
    pub checked: u64,
    /// Items or rows that were added or removed.
    pub changed: u64,
    /// Items that could not be reconciled.
    pub failed: u64,
    /// Why the run as a whole failed, if it did.
    pub error: Option<String>,
}

impl RunResult {
    /// What a report comes to.
    #[must_use]
    pub fn of(report: &Report) -> Self {
        Self {
            checked: report.checked,
            changed: report.changed(),
            failed: report.failed.len() as u64,
            error: None,
        }
    }

    /// A run that failed as a whole.
    pub fn failed(error: impl Into<String>) -> Self {
        Self { error: Some(error.into()), ..Self::default() }
    }
}

/// The start of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunStart {
    /// The reconciler's name.
    pub name: &'static str,
    /// The start of the run before it, as the starter knows it.
    pub after: Option<Timestamp>,
    /// Now.
    pub started_at: Timestamp,
    /// Who runs it.
    pub started_by: WorkerId,
    /// When the next run is due.
    pub next_at: Timestamp,
}

/// Remembers when reconcilers ran, for all processes that share a queue.
///
/// The promises are a part of the contract suite of `events-testing`.
pub trait ReconcilerRuns: Send + Sync {
    /// Everything that is remembered, sorted by name.
    ///
    /// # Errors
    /// What remembers could not be reached.
    fn reconcilers(&self)
    -> impl Future<Output = Result<Vec<ReconcilerState>, BrokerError>> + Send;

    /// Remembers when a reconciler is due that was never heard of; one that is known stays as it
    /// is.
    ///
    /// # Errors
    /// What remembers could not be reached.
    fn announce_reconciler(
        &self,
        name: &'static str,
        next_at: Timestamp,
    ) -> impl Future<Output = Result<(), BrokerError>> + Send;

    /// Stamps the start of a run, if the last run that is remembered is still the one of
    /// [`RunStart::after`]: of several processes that try, one succeeds. Whether it did.
    ///
    /// The stamp comes before the run, so that a run which fails, or whose process dies, has used
    /// up its interval, and never two run at once.
    ///
    /// # Errors
    /// What remembers could not be reached. The stamp may have been written: then the interval is
    /// used up without a run.
    fn begin_run(&self, start: &RunStart)
    -> impl Future<Output = Result<bool, BrokerError>> + Send;

    /// Remembers how the run that started then ended; nothing if another has started since.
    ///
    /// # Errors
    /// What remembers could not be reached.
    fn end_run(
        &self,
        name: &'static str,
        started_at: Timestamp,
        ended_at: Timestamp,
        result: &RunResult,
    ) -> impl Future<Output = Result<(), BrokerError>> + Send;
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_mins(1);

    fn cadence() -> Cadence {
        Cadence { every: 15 * MINUTE, jitter: MINUTE, run_on_start: false, deadline: MINUTE }
    }

    fn at(minutes: i64) -> Timestamp {
        Timestamp::from_micros(minutes * 60_000_000)
    }

    /// Of a reconciler that has ended at once, if it ever ran.
    fn state(started_at: Option<i64>, next_at: i64) -> ReconcilerState {
        ReconcilerState {
            name: "sweep".into(),
            started_at: started_at.map(at),
            started_by: None,
            next_at: at(next_at),
            ended_at: started_at.map(at),
            result: None,
        }
    }

    /// For a worker that started then, as long ago as it takes for runs to be due.
    fn due(cadence: &Cadence, state: &ReconcilerState, worker_started: i64) -> Timestamp {
        cadence.due(state, at(worker_started), at(200))
    }

    #[test]
    fn the_next_run_is_an_interval_later_and_up_to_the_jitter_more() {
        assert_eq!(cadence().next(at(100), 0.0), at(115));
        assert_eq!(cadence().next(at(100), 1.0), at(116));
    }

    #[test]
    fn what_was_written_down_counts_unless_the_cadence_became_shorter() {
        assert_eq!(due(&cadence(), &state(Some(100), 115), 0), at(115));
        assert_eq!(due(&cadence(), &state(Some(100), 1_000), 0), at(116));
        assert_eq!(due(&cadence(), &state(None, 7), 0), at(7));
        assert_eq!(due(&cadence(), &state(None, 1_000), 180), at(196), "announced for later");
    }

    #[test]
    fn what_a_clock_that_was_ahead_has_written_does_not_count() {
        assert_eq!(due(&cadence(), &state(Some(1_000_000), 1_000_015), 180), at(196));
        let on_start = Cadence { run_on_start: true, ..cadence() };
        assert_eq!(due(&on_start, &state(Some(1_000_000), 1_000_015), 180), at(180));
    }

    #[test]
    fn run_that_has_not_ended_is_waited_for_until_its_deadline_is_over() {
        let slow = Cadence { run_on_start: true, deadline: 10 * MINUTE, ..cadence() };
        let running = ReconcilerState { ended_at: None, ..state(Some(190), 205) };
        assert_eq!(due(&slow, &running, 195), at(200) + OVERDUE);
        assert_eq!(due(&slow, &state(Some(190), 205), 195), at(195), "it has ended");
    }

    #[test]
    fn workers_that_start_together_run_it_once_on_start() {
        let on_start = Cadence { run_on_start: true, ..cadence() };
        assert_eq!(due(&on_start, &state(None, 15), 3), at(3), "it never ran");
        assert_eq!(due(&on_start, &state(Some(100), 115), 103), at(103));
        assert_eq!(due(&on_start, &state(Some(100), 115), 101), at(115), "it ran just now");
        assert_eq!(due(&on_start, &state(Some(104), 119), 103), at(119), "another ran it");
        assert_eq!(due(&cadence(), &state(Some(100), 115), 103), at(115), "nobody asks for it");
    }

    #[test]
    fn a_run_that_started_and_has_not_ended_is_running() {
        let ended = |ended_at| ReconcilerState { ended_at, ..state(Some(5), 20) };
        assert!(ended(None).is_running() && ended(Some(at(4))).is_running());
        assert!(!ended(Some(at(6))).is_running() && !state(None, 20).is_running());
    }
}
