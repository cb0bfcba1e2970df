//! What a check of lost events may find, in words that say what to look at.

use std::fmt::Debug;

use events_core::broker::BrokerError;
use events_core::reconciler::ReconcileError;
use events_core::{BoxError, Report};

use super::difference::difference;

/// Reconcilers do not reach what the events reach, or the scenario proves nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LostEventsError {
    /// The reconcilers reached another state than the events.
    #[error(
        "the reconcilers alone reach another state than the events; teach one of them what is missing, or name it in `.reconcilers(…)`\n{difference}"
    )]
    NotReached {
        /// Both states, line by line.
        difference: String,
    },
    /// A second run changed something, though the first had reached the end.
    #[error(
        "`{name}` reports changes on its second run, with nothing left to do: {report:?}; a reconciler converges and then rests (does another one that runs later undo its work? give their order with `.reconcilers(…)`)"
    )]
    NotAtRest {
        /// The reconciler.
        name: &'static str,
        /// What it reported.
        report: Report,
    },
    /// A second run changed the state and did not report it.
    #[error(
        "a second run of the reconcilers moves the state on, and reports no change; a reconciler converges, it does not count\n{difference}"
    )]
    MovedOn {
        /// Both states, line by line.
        difference: String,
    },
    /// Without the events of the changes, and without reconcilers, the state is the same.
    #[error(
        "the scenario proves nothing: with the events of its changes lost the state is the same; let them change what a subscriber must follow, or, if nothing is to follow here, say `.may_change_nothing()`\nthe state either way: {state}"
    )]
    NothingToRepair {
        /// The state.
        state: String,
    },
    /// With dispatch on, no task came of the changes.
    #[error(
        "the scenario proves nothing: its changes lead to no task; do they commit, and is the subscriber registered? (what its world publishes before them is never lost)"
    )]
    NoTasks,
    /// Handlers failed, with dispatch on.
    #[error(
        "handlers fail in this scenario, so the events reach no end state:{}",
        list(failed.iter().map(String::as_str))
    )]
    Failed {
        /// The task of each, and what went wrong.
        failed: Vec<String>,
    },
    /// Tasks wait for later, with dispatch on.
    #[error(
        "{tasks} task(s) still wait for later (`delay`, `debounce`, or a snooze); give the clock, and how far to move it: `.clock(&clock, Duration::from_mins(5))`"
    )]
    Waiting {
        /// How many.
        tasks: u64,
    },
    /// The changes turned dispatch on again, or something else came into the queue meanwhile.
    #[error(
        "events of the changes are not lost: dispatch is on again, or the queue is not what it was before them; leave the kill switch alone, and open a fresh database, which nobody else uses, for each of the two runs"
    )]
    NotLost,
    /// The queue has other `Events`, whose kill switch is another.
    #[error(
        "the queue of the scenario was opened with other `Events`; open it with those that it is given"
    )]
    OtherEvents,
    /// Items could not be reconciled.
    #[error(
        "`{name}` could not reconcile {} item(s):{}",
        failed.len(),
        list(failed.iter().map(|(item, reason)| format!("{item}: {reason}")))
    )]
    Items {
        /// The reconciler.
        name: &'static str,
        /// The items, each with the reason.
        failed: Vec<(String, String)>,
    },
    /// No reconciler has this name.
    #[error("no reconciler is called `{name}`, or several are in short; there are {}", known.join(", "))]
    Unknown {
        /// What was asked for.
        name: String,
        /// All names.
        known: Vec<&'static str>,
    },
    /// There is none to run.
    #[error("no reconciler is registered; is its crate linked?")]
    NoReconcilers,
    /// A reconciler failed as a whole, or lacks a state.
    #[error("a reconciler did not come to its end")]
    Reconcile(#[from] ReconcileError),
    /// The scenario failed by itself, before its changes.
    #[error("the world of the scenario could not be opened, or brought to where it begins")]
    World(#[source] BoxError),
    /// The scenario failed by itself.
    #[error("the changes of the scenario failed")]
    Changes(#[source] BoxError),
    /// The state could not be read.
    #[error("the state could not be read")]
    State(#[source] BoxError),
    /// The queue failed.
    #[error("the queue of the scenario failed")]
    Broker(#[from] BrokerError),
}

impl LostEventsError {
    pub(super) fn not_reached(by_events: &impl Debug, by_reconcilers: &impl Debug) -> Self {
        let difference = difference("by events", by_events, "by reconcilers", by_reconcilers);
        Self::NotReached { difference }
    }

    pub(super) fn moved_on(first: &impl Debug, second: &impl Debug) -> Self {
        let difference = difference("after the first run", first, "after the second", second);
        Self::MovedOn { difference }
    }

    pub(super) fn nothing_to_repair(state: &impl Debug) -> Self {
        Self::NothingToRepair { state: format!("{state:#?}") }
    }
}

fn list(lines: impl Iterator<Item = impl AsRef<str>>) -> String {
    let lines: Vec<_> = lines.map(|line| format!("\n  - {}", line.as_ref())).collect();
    lines.concat()
}
