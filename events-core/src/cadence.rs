//! When reconcilers run by themselves, and what all processes together remember of it.

use std::borrow::Cow;
use std::future::Future;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::broker::BrokerError;
use crate::clock::Timestamp;
use crate::event::WorkerId;
use crate::reconciler::Report;

/// When a reconciler runs by itself: once per cluster, however many workers there are.
///
/// Runs that were missed, because no worker ran, are not made up for one by one: the next comes at
/// once, and the one after it at its time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cadence {
    /// When runs begin.
    pub schedule: Schedule,
    /// Each run comes up to this much later, at random.
    pub jitter: Duration,
    /// A worker that starts runs it at once, unless a run began within the last minute.
    pub run_on_start: bool,
    /// A run that takes longer is stopped and has failed; `None` is as
    /// [`longest_run`](Self::longest_run) says.
    pub deadline: Option<Duration>,
}

/// How long a run at the times of a cron expression may take unless something else is said. They are
/// unevenly far apart, so no interval can serve.
const CRON_DEADLINE: Duration = Duration::from_hours(1);

impl Cadence {
    /// How long a run may take: the deadline; without one the interval, or with a cron expression an
    /// hour.
    #[must_use]
    pub fn longest_run(&self) -> Duration {
        self.deadline.unwrap_or(match self.schedule {
            Schedule::Every(every) => every,
            Schedule::Cron { .. } => CRON_DEADLINE,
        })
    }
}

/// When the runs of a reconciler begin.
///
/// It holds text only. A worker reads the expression and looks up the time zone when it is built, and
/// reports what is wrong with either.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Schedule {
    /// So long from one start to the next.
    Every(Duration),
    /// At the times that a cron expression names, on the clocks of a time zone.
    Cron {
        /// Minute, hour, day of month, month and day of week; with six fields, seconds first.
        expression: Cow<'static, str>,
        /// Its name in the IANA database, such as `Europe/Berlin` or `UTC`.
        time_zone: Cow<'static, str>,
    },
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

    fn state(started_at: Option<i64>, ended_at: Option<i64>) -> ReconcilerState {
        ReconcilerState {
            name: "sweep".into(),
            started_at: started_at.map(Timestamp::from_micros),
            started_by: None,
            next_at: Timestamp::from_micros(20),
            ended_at: ended_at.map(Timestamp::from_micros),
            result: None,
        }
    }

    #[test]
    fn a_run_that_started_and_has_not_ended_is_running() {
        assert!(state(Some(5), None).is_running() && state(Some(5), Some(4)).is_running());
        assert!(!state(Some(5), Some(6)).is_running() && !state(None, None).is_running());
    }

    #[test]
    fn run_may_take_its_interval_and_an_hour_where_there_is_none() {
        let cadence = |schedule, deadline| Cadence {
            schedule,
            jitter: Duration::ZERO,
            run_on_start: false,
            deadline,
        };
        let (every, minute) = (Duration::from_mins(15), Duration::from_mins(1));
        let cron = Schedule::Cron { expression: "* * * * *".into(), time_zone: "UTC".into() };
        assert_eq!(cadence(Schedule::Every(every), None).longest_run(), every);
        assert_eq!(cadence(cron.clone(), None).longest_run(), Duration::from_hours(1));
        assert_eq!(cadence(cron, Some(minute)).longest_run(), minute);
    }
}
