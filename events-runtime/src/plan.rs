//! Which reconcilers run by themselves, and when the next run of each is due. The latter asks no
//! clock and no database: it is a pure function of what is remembered.

use std::time::Duration;

use events_core::cadence::{Cadence, ReconcilerState, Schedule};
use events_core::reconciler::Reconciler;
use events_core::{Events, Timestamp};

use crate::cron::{CronMistake, CronTimes};

/// A cadence that can be computed with.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    times: Times,
    jitter: Duration,
    pub(crate) run_on_start: bool,
    pub(crate) deadline: Duration,
}

#[derive(Debug, Clone)]
enum Times {
    Every(Duration),
    Cron(Box<CronTimes>),
}

/// Runs that began within this time before a worker's start do for `run_on_start`: workers that
/// start together run it once.
const JUST_NOW: Duration = Duration::from_mins(1);

/// A run that has not ended is over this long after its deadline: it began a little later than its
/// stamp, and clocks differ.
const OVERDUE: Duration = Duration::from_secs(10);

/// Clocks of machines that work together may differ by this much.
const CLOCKS_DIFFER: Duration = Duration::from_mins(1);

impl Plan {
    /// Reads a cron expression and finds its time zone, if there is one.
    pub(crate) fn of(cadence: &Cadence, now: Timestamp) -> Result<Self, CronMistake> {
        let times = match &cadence.schedule {
            Schedule::Every(every) => Times::Every(*every),
            Schedule::Cron { expression, time_zone } => {
                Times::Cron(Box::new(CronTimes::read(expression, time_zone, now)?))
            }
        };
        let Cadence { jitter, run_on_start, .. } = *cadence;
        Ok(Self { times, jitter, run_on_start, deadline: cadence.longest_run() })
    }

    /// When the run after that of `start` is due; `chance` is from 0 to 1.
    pub(crate) fn next(&self, start: Timestamp, chance: f64) -> Timestamp {
        let next = match &self.times {
            Times::Every(every) => start + *every,
            Times::Cron(times) => times.after(start),
        };
        next + self.jitter.mul_f64(chance.clamp(0.0, 1.0))
    }

    /// When the next run is due, as a worker sees it now that started at `worker_started`.
    ///
    /// What was written down counts, unless the cadence has changed since, or a clock that was ahead
    /// has written it. A run that has not ended is waited for until its deadline is over.
    pub(crate) fn due(
        &self,
        state: &ReconcilerState,
        worker_started: Timestamp,
        now: Timestamp,
    ) -> Timestamp {
        let believable = self.next(now, 1.0) + CLOCKS_DIFFER;
        let started_at = state.started_at.filter(|start| *start <= believable);
        let mut due = match started_at {
            Some(start) => state.next_at.clamp(self.next(start, 0.0), self.next(start, 1.0)),
            // It may have been announced long ago, before this worker started.
            None => state.next_at.min(self.next(worker_started, 1.0)),
        };
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

/// The reconcilers that run by themselves. What is wrong with their cron expressions goes to
/// `problems`, with its remedy.
pub(crate) fn scheduled(events: &Events, problems: &mut Vec<String>) -> Vec<Scheduled> {
    let mut scheduled = Vec::new();
    for reconciler in events.registry().reconcilers() {
        let Some(cadence) = events.cadence(reconciler) else { continue };
        match Plan::of(&cadence, events.now()) {
            Ok(plan) => scheduled.push(Scheduled { reconciler, plan }),
            Err(mistake) => problems.push(explain(events, reconciler, &mistake)),
        }
    }
    scheduled
}

/// A reconciler that runs by itself.
#[derive(Debug, Clone)]
pub(crate) struct Scheduled {
    pub(crate) reconciler: &'static Reconciler,
    pub(crate) plan: Plan,
}

/// Says where the mistake was made: in the settings, or at the function.
fn explain(events: &Events, reconciler: &Reconciler, mistake: &CronMistake) -> String {
    let (key, mistake) = match mistake {
        CronMistake::Expression(mistake) => ("cron", mistake),
        CronMistake::TimeZone(mistake) => ("time_zone", mistake),
    };
    match events.reconciler_settings(reconciler) {
        Some((name, settings)) if settings.cron.is_some() => {
            format!("the event setting `reconcilers.{name}.{key}` cannot be used: {mistake}")
        }
        _ => format!(
            "the key `{key}` of reconciler `{}` ({}:{}) cannot be used: {mistake}",
            reconciler.function, reconciler.file, reconciler.line
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_mins(1);

    fn plan() -> Plan {
        let times = Times::Every(15 * MINUTE);
        Plan { times, jitter: MINUTE, run_on_start: false, deadline: MINUTE }
    }

    /// At every full hour.
    fn hourly() -> Plan {
        let schedule =
            Schedule::Cron { expression: "0 * * * *".into(), time_zone: "Europe/Berlin".into() };
        let (jitter, run_on_start, deadline) = (MINUTE, false, Some(10 * MINUTE));
        let cadence = Cadence { schedule, jitter, run_on_start, deadline };
        Plan::of(&cadence, at(0)).expect("it can be read")
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
    fn due(plan: &Plan, state: &ReconcilerState, worker_started: i64) -> Timestamp {
        plan.due(state, at(worker_started), at(200))
    }

    #[test]
    fn the_next_run_is_an_interval_later_and_up_to_the_jitter_more() {
        assert_eq!(plan().next(at(100), 0.0), at(115));
        assert_eq!(plan().next(at(100), 1.0), at(116));
    }

    #[test]
    fn the_next_run_is_at_the_next_time_of_the_expression_and_up_to_the_jitter_more() {
        assert_eq!(hourly().next(at(100), 0.0), at(120));
        assert_eq!(hourly().next(at(100), 1.0), at(121));
        assert_eq!(hourly().next(at(120), 0.0), at(180), "a time is used up by its run");
    }

    #[test]
    fn what_was_written_down_counts_unless_the_cadence_has_changed() {
        assert_eq!(due(&plan(), &state(Some(100), 115), 0), at(115));
        assert_eq!(due(&plan(), &state(Some(100), 1_000), 0), at(116), "it became shorter");
        assert_eq!(due(&plan(), &state(Some(100), 105), 0), at(115), "it became longer");
        assert_eq!(due(&hourly(), &state(Some(100), 120), 0), at(120));
        assert_eq!(due(&hourly(), &state(Some(100), 150), 0), at(121), "it was at half past");
        assert_eq!(due(&hourly(), &state(Some(100), 115), 0), at(120), "it was an interval");
    }

    #[test]
    fn what_was_announced_counts_until_the_first_run() {
        assert_eq!(due(&plan(), &state(None, 7), 0), at(7));
        assert_eq!(due(&plan(), &state(None, 1_000), 180), at(196), "announced for later");
        assert_eq!(due(&hourly(), &state(None, 60), 190), at(60), "no worker ran at that time");
        assert_eq!(due(&hourly(), &state(None, 1_000), 190), at(241), "announced for later");
    }

    /// However many times have passed while no worker ran, one run comes, at once.
    #[test]
    fn missed_times_are_not_made_up_for_one_by_one() {
        let hourly = hourly();
        let stale = state(Some(0), 60);
        let due = hourly.due(&stale, at(1_000), at(1_000));
        assert!(due <= at(1_000), "it is due");
        assert_eq!(hourly.next(at(1_000), 0.0), at(1_020), "the one after it is at its time");
    }

    #[test]
    fn two_workers_never_see_two_runs_for_one_time() {
        let hourly = hourly();
        for started in [60, 61, 119] {
            let after_it = state(Some(started), 120);
            assert_eq!(hourly.due(&after_it, at(0), at(started)), at(120), "started at {started}");
        }
    }

    #[test]
    fn a_run_of_a_worker_whose_clock_is_a_little_ahead_is_waited_for() {
        let second = Duration::from_secs(1);
        let often = Plan { times: Times::Every(5 * second), jitter: Duration::ZERO, ..plan() };
        let start = at(200) + 30 * second;
        let running = ReconcilerState {
            started_at: Some(start),
            ended_at: None,
            next_at: start + 5 * second,
            ..state(Some(200), 200)
        };
        assert_eq!(due(&often, &running, 100), start + MINUTE + OVERDUE);
    }

    #[test]
    fn what_a_clock_that_was_ahead_has_written_does_not_count() {
        let ahead = state(Some(1_000_000), 1_000_015);
        assert_eq!(due(&plan(), &ahead, 180), at(196));
        assert_eq!(due(&hourly(), &ahead, 190), at(241));
        let on_start = Plan { run_on_start: true, ..plan() };
        assert_eq!(due(&on_start, &ahead, 180), at(180));
    }

    #[test]
    fn run_that_has_not_ended_is_waited_for_until_its_deadline_is_over() {
        let slow = Plan { run_on_start: true, deadline: 10 * MINUTE, ..plan() };
        let running = ReconcilerState { ended_at: None, ..state(Some(190), 205) };
        assert_eq!(due(&slow, &running, 195), at(200) + OVERDUE);
        assert_eq!(due(&slow, &state(Some(190), 205), 195), at(195), "it has ended");
        let running = ReconcilerState { ended_at: None, ..state(Some(179), 180) };
        assert_eq!(due(&hourly(), &running, 0), at(189) + OVERDUE);
    }

    #[test]
    fn workers_that_start_together_run_it_once_on_start() {
        for (plan, next) in [(plan(), 115), (hourly(), 120)] {
            let on_start = Plan { run_on_start: true, ..plan.clone() };
            assert_eq!(due(&on_start, &state(None, 15), 3), at(3), "it never ran");
            assert_eq!(due(&on_start, &state(Some(100), next), 103), at(103));
            assert_eq!(due(&on_start, &state(Some(100), next), 101), at(next), "it ran just now");
            assert_eq!(due(&plan, &state(Some(100), next), 103), at(next), "nobody asks for it");
        }
        let on_start = Plan { run_on_start: true, ..plan() };
        assert_eq!(due(&on_start, &state(Some(104), 119), 103), at(119), "another ran it");
    }
}
