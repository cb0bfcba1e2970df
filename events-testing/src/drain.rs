//! Runs the handlers of everything that is due, as a worker does, but one by one and to the end.

use std::collections::HashMap;
use std::sync::Arc;

use events_core::broker::{Broker, BrokerError, Lease, Queues, Settlement, WorkerInfo};
use events_core::context::CancellationSource;
use events_core::event::{EventId, TaskId, WorkerId};
use events_core::extract::States;
use events_core::lifecycle::Next;
use events_core::task::Task;
use events_runtime::Executor;

/// What a [`drain`] has run, in order.
#[derive(Debug, Default)]
pub struct Drained {
    /// Every execution.
    pub runs: Vec<Run>,
    /// The tasks of foreign subscribers: taken off the queue, as their programs would, and not run.
    pub foreign: Vec<Task>,
}

/// One execution of one task.
#[derive(Debug, Clone)]
pub struct Run {
    /// The task.
    pub task_id: TaskId,
    /// The event.
    pub event_id: EventId,
    /// The task's name.
    pub name: String,
    /// The number of the attempt.
    pub attempt: u32,
    /// What became of it.
    pub next: Next,
}

impl Drained {
    /// How many tasks completed.
    #[must_use]
    pub fn completed(&self) -> usize {
        self.count(|next| matches!(next, Next::Complete))
    }

    /// How many attempts failed and will be tried again.
    #[must_use]
    pub fn retried(&self) -> usize {
        self.count(|next| matches!(next, Next::Retry { .. }))
    }

    /// How many tasks became dead letters.
    #[must_use]
    pub fn dead(&self) -> usize {
        self.count(|next| matches!(next, Next::Bury { .. }))
    }

    fn count(&self, which: impl Fn(&Next) -> bool) -> usize {
        self.runs.iter().filter(|run| which(&run.next)).count()
    }

    /// Asserts that there was something to run, and that all of it completed. What is for other
    /// programs counts as something, and as completed.
    ///
    /// # Panics
    /// Nothing ran: is the subscriber registered? Or a task did not complete; the text lists them.
    #[track_caller]
    pub fn assert_all_completed(&self) {
        let ran = !self.runs.is_empty() || !self.foreign.is_empty();
        assert!(ran, "nothing ran; is the event's subscriber registered?");
        let others: Vec<_> = self.runs.iter().filter(|run| run.next != Next::Complete).collect();
        assert!(others.is_empty(), "these tasks did not complete: {others:#?}");
    }
}

/// More runs of one task than this, at one moment, come from a handler that snoozes for no time.
const MOST_RUNS: usize = 1000;

/// Runs every task that is due, one by one, also those that handlers publish meanwhile, until
/// none is left. Retries that are due later stay; move the clock and drain again.
///
/// The tasks of foreign subscribers are taken off the queue and listed, in [`Drained::foreign`].
///
/// # Errors
/// The broker failed.
///
/// # Panics
/// A handler takes a state that is not in `states`, or another broker's transaction; or it puts its
/// task back for no time, for ever.
pub async fn drain<B: Broker>(broker: &B, states: &States) -> Result<Drained, BrokerError> {
    let executor = Executor::new(broker.clone(), Arc::new(states.clone()))
        .unwrap_or_else(|missing| panic!("{missing}"));
    let worker = WorkerId::generate();
    broker.register(worker, &WorkerInfo::new(Queues::all(), 1)).await?;
    let never = CancellationSource::new().token();
    let mut drained = Drained::default();
    let mut runs_of: HashMap<TaskId, usize> = HashMap::new();
    while let Some(lease) = broker.claim(worker, &Queues::all(), 1).await?.tasks.pop() {
        if broker.events().registry().foreign_subscriber(&lease.task.name).is_some() {
            let Lease { receipt, attempt, task } = lease;
            broker.settle(worker, &[Settlement { receipt, attempt, next: Next::Complete }]).await?;
            drained.foreign.push(task);
            continue;
        }
        let mut run = Run {
            task_id: lease.task.id,
            event_id: lease.task.event_id,
            name: lease.task.name.to_string(),
            attempt: lease.attempt,
            next: Next::Complete,
        };
        let runs = runs_of.entry(run.task_id).or_insert(0);
        *runs += 1;
        assert!(*runs <= MOST_RUNS, "`{}` puts its task back for no time, for ever", run.name);
        let execution = executor.execute(worker, lease, &never).await;
        run.next = execution.next;
        drained.runs.push(run);
        if let Some(settlement) = execution.settlement {
            broker.settle(worker, &[settlement]).await?;
        }
    }
    broker.deregister(worker).await?;
    Ok(drained)
}
