//! Where a task goes after an attempt: pure functions, one arm per arrow of `docs/lifecycle.md`.
//!
//! No clock, no SQL, no randomness: brokers record what is decided here.

use std::error::Error;
use std::time::Duration;

use crate::event::DecodeError;
use crate::subscriber::Failure;

/// How a subscriber's tasks are retried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    /// How many attempts may follow the first.
    pub max_retries: u32,
    /// How long to wait before each.
    pub backoff: RetryBackoff,
}

/// Exponential backoff: the pause doubles with every retry, up to a maximum, and is then spread
/// by jitter over its upper half, so that tasks that failed together do not return together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryBackoff {
    /// The pause before the first retry.
    pub initial: Duration,
    /// The longest pause.
    pub maximum: Duration,
}

impl RetryBackoff {
    /// The pause after attempt number `attempt` (the first is 1). `jitter` is in `0.0..=1.0`.
    #[must_use]
    pub fn delay(&self, attempt: u32, jitter: f64) -> Duration {
        let doublings = attempt.saturating_sub(1).min(31);
        let full = self.initial.saturating_mul(1 << doublings).min(self.maximum);
        full.mul_f64(0.5 + 0.5 * jitter.clamp(0.0, 1.0))
    }
}

/// How one attempt ended.
#[derive(Debug)]
#[non_exhaustive]
pub enum Outcome {
    /// The handler returned `()` or `Ok`.
    Succeeded,
    /// The handler returned a failure.
    Failed(Failure),
    /// The handler panicked with this message.
    Panicked(String),
    /// The handler ran longer than it may; its future was dropped.
    TimedOut(Duration),
    /// The payload is not the event that the subscriber expects.
    Undecodable(DecodeError),
    /// No subscriber of this program has the task's name.
    Unknown {
        /// The pause before the task is offered again.
        delay: Duration,
    },
    /// The handler could not be started now, for a reason that is not the task's.
    NotStarted {
        /// The pause before the task is offered again.
        delay: Duration,
    },
    /// The worker is shutting down or has lost its lease; the handler was stopped, or never started.
    Interrupted,
    /// More workers died or stalled over this task than it has attempts.
    Abandoned,
}

/// What becomes of the task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// The task is done, and gone.
    Complete,
    /// Another attempt, after a pause. This one counted.
    Retry {
        /// The pause.
        after: Duration,
        /// What went wrong, for the history of attempts.
        error: String,
    },
    /// Another attempt, after a pause. This one did not count.
    Release {
        /// The pause; zero for at once.
        after: Duration,
    },
    /// A dead letter: kept, and never tried again unless an operator says so.
    Bury {
        /// What went wrong, for the history of attempts.
        error: String,
    },
}

impl Next {
    /// Whether the task waits for another attempt.
    #[must_use]
    pub const fn is_waiting(&self) -> bool {
        matches!(self, Self::Retry { .. } | Self::Release { .. })
    }
}

/// Where a task goes after attempt number `attempt` (the first is 1) ended with `outcome`.
///
/// `jitter` in `0.0..=1.0` spreads retries; see [`RetryBackoff`].
#[must_use]
pub fn after(outcome: &Outcome, attempt: u32, policy: &RetryPolicy, jitter: f64) -> Next {
    let retry = |error: String| {
        if attempt <= policy.max_retries {
            Next::Retry { after: policy.backoff.delay(attempt, jitter), error }
        } else {
            Next::Bury { error }
        }
    };
    match outcome {
        Outcome::Succeeded => Next::Complete,
        Outcome::Failed(Failure::Snooze(after)) => {
            Next::Release { after: (*after).max(SHORTEST_SNOOZE) }
        }
        Outcome::Failed(Failure::Discard(reason)) => {
            Next::Bury { error: format!("discarded by the handler: {}", Chain(&**reason)) }
        }
        Outcome::Failed(Failure::Retry(error)) => retry(Chain(&**error).to_string()),
        Outcome::Panicked(message) => retry(format!("panicked: {message}")),
        Outcome::TimedOut(limit) => {
            retry(format!("timed out after {}", humantime::format_duration(*limit)))
        }
        Outcome::Undecodable(error) => {
            Next::Bury { error: format!("the payload cannot be decoded: {error}") }
        }
        Outcome::Unknown { delay } | Outcome::NotStarted { delay } => {
            Next::Release { after: *delay }
        }
        Outcome::Interrupted => Next::Release { after: Duration::ZERO },
        Outcome::Abandoned => Next::Bury {
            error: format!(
                "the worker died or stalled in each of {} attempts; does the handler abort the process or exhaust its memory?",
                attempt.saturating_sub(1)
            ),
        },
    }
}

/// A snooze for no time at all would spin.
const SHORTEST_SNOOZE: Duration = Duration::from_millis(1);

/// How many workers a task may lose, however few retries it has: with most of them it had bad luck,
/// or had not even started.
const FEWEST_STARTS: u32 = 3;

/// Whether attempt number `attempt` may start at all.
///
/// Being rescued costs an attempt, so a task that kills its worker every time runs out of them
/// without any handler ever reporting a failure.
#[must_use]
pub const fn may_start(attempt: u32, policy: &RetryPolicy) -> bool {
    attempt <= policy.max_retries.saturating_add(1) || attempt <= FEWEST_STARTS
}

/// The pause before a task is offered again whose worker died in attempt number `attempt`.
///
/// None after the first: recovery is prompt. Then it grows, so that a task that kills workers does
/// not take them down in a tight loop.
#[must_use]
pub fn rescue_delay(attempt: u32, backoff: &RetryBackoff, jitter: f64) -> Duration {
    match attempt {
        0 | 1 => Duration::ZERO,
        repeated => backoff.delay(repeated - 1, jitter),
    }
}

/// An error and its causes on one line, as histories of attempts and logs have it.
///
/// ```
/// use events_core::lifecycle::Chain;
///
/// let error = events_core::BrokerError::new("take a heartbeat", "connection refused");
/// assert_eq!(
///     Chain(&error).to_string(),
///     "the queue could not take a heartbeat: connection refused",
/// );
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Chain<'e>(pub &'e (dyn Error + 'static));

impl std::fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const POLICY: RetryPolicy = RetryPolicy {
        max_retries: 2,
        backoff: RetryBackoff { initial: SECOND, maximum: Duration::from_secs(10) },
    };

    fn next(outcome: &Outcome, attempt: u32) -> Next {
        after(outcome, attempt, &POLICY, 1.0)
    }

    fn retry(error: &str, seconds: u64) -> Next {
        Next::Retry { after: SECOND * u32::try_from(seconds).unwrap(), error: error.into() }
    }

    fn bury(error: &str) -> Next {
        Next::Bury { error: error.into() }
    }

    #[test]
    fn every_arrow_of_the_diagram_is_an_arm() {
        let failed = || Outcome::Failed(Failure::retry("no"));
        let table = [
            (Outcome::Succeeded, 1, Next::Complete),
            (failed(), 1, retry("no", 1)),
            (failed(), 2, retry("no", 2)),
            (failed(), 3, bury("no")),
            (Outcome::Panicked("oh".into()), 1, retry("panicked: oh", 1)),
            (Outcome::Panicked("oh".into()), 3, bury("panicked: oh")),
            (Outcome::TimedOut(SECOND), 2, retry("timed out after 1s", 2)),
            (Outcome::TimedOut(SECOND), 3, bury("timed out after 1s")),
            (Outcome::Failed(Failure::snooze(SECOND)), 3, Next::Release { after: SECOND }),
            (
                Outcome::Failed(Failure::snooze(Duration::ZERO)),
                1,
                Next::Release { after: SHORTEST_SNOOZE },
            ),
            (Outcome::Failed(Failure::discard("no")), 1, bury("discarded by the handler: no")),
            (Outcome::Unknown { delay: SECOND }, 9, Next::Release { after: SECOND }),
            (Outcome::NotStarted { delay: SECOND }, 9, Next::Release { after: SECOND }),
            (Outcome::Interrupted, 3, Next::Release { after: Duration::ZERO }),
        ];
        for (outcome, attempt, wanted) in table {
            assert_eq!(next(&outcome, attempt), wanted, "{outcome:?} in attempt {attempt}");
        }
        let undecodable = Outcome::Undecodable(DecodeError::new("no".into()));
        assert_eq!(next(&undecodable, 1), bury("the payload cannot be decoded: no"));
        assert!(matches!(next(&Outcome::Abandoned, 4), Next::Bury { .. }));
    }

    #[test]
    fn backoff_doubles_up_to_its_maximum_and_jitter_takes_at_most_half() {
        let seconds: Vec<_> =
            (1..=6).map(|attempt| POLICY.backoff.delay(attempt, 1.0).as_secs()).collect();
        assert_eq!(seconds, [1, 2, 4, 8, 10, 10]);
        assert_eq!(POLICY.backoff.delay(1, 0.0), SECOND / 2);
        assert_eq!(POLICY.backoff.delay(u32::MAX, 1.0), Duration::from_secs(10));
    }

    #[test]
    fn task_that_was_rescued_too_often_does_not_start() {
        let starts: Vec<_> = (1..=5).map(|attempt| may_start(attempt, &POLICY)).collect();
        assert_eq!(starts, [true, true, true, false, false]);
        let once = RetryPolicy { max_retries: 0, ..POLICY };
        let starts: Vec<_> = (1..=5).map(|attempt| may_start(attempt, &once)).collect();
        assert_eq!(starts, [true, true, true, false, false], "bad luck is no failure");
    }

    #[test]
    fn first_rescue_is_prompt_and_later_ones_wait() {
        let seconds: Vec<_> =
            (1..=4).map(|attempt| rescue_delay(attempt, &POLICY.backoff, 1.0).as_secs()).collect();
        assert_eq!(seconds, [0, 1, 2, 4]);
    }
}
