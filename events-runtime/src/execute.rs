//! One task from its lease to its outcome. No loop.
//!
//! find the subscriber → may it start → begin the transaction → decode, extract, call → time
//! limit, panics, interruption → outcome → where the task goes

mod call;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use events_core::broker::{Broker, Lease, Settlement, TaskTransaction};
use events_core::context::{Cancellation, CancellationSource};
use events_core::event::WorkerId;
use events_core::extract::States;
use events_core::lifecycle::{self, Next, Outcome, RetryPolicy};
use events_core::subscriber::{NeedKind, Subscriber};
use events_core::task::Task;
use events_core::{Events, TaskContext};

use call::Call;
pub(crate) use call::panic_message;

/// What becomes of a task whose handler may not be called: it goes back, and is looked at again.
const CALLED_BACK: Outcome = Outcome::NotStarted { delay: Duration::ZERO };

/// Before a task is offered again whose transaction could not be begun.
const NOT_STARTED_DELAY: Duration = Duration::from_millis(500);

/// Executes tasks, one at a time, as a worker does.
#[derive(Debug)]
pub struct Executor<B: Broker> {
    broker: B,
    states: Arc<States>,
}

impl<B: Broker> Clone for Executor<B> {
    fn clone(&self) -> Self {
        Self { broker: self.broker.clone(), states: self.states.clone() }
    }
}

/// What one execution came to.
#[derive(Debug)]
pub struct Execution<R> {
    /// Where the task goes.
    pub next: Next,
    /// What remains to be recorded; `None` if the handler's transaction did it already, or the
    /// lease was lost before the handler could start.
    pub settlement: Option<Settlement<R>>,
    /// The lease was lost before the handler could start.
    pub stale: bool,
}

/// What a worker cannot start without: what handlers and reconcilers take and nobody provided, and
/// cron expressions that can be read.
#[derive(Debug, Clone)]
pub struct MissingNeeds {
    missing: Vec<String>,
}

impl MissingNeeds {
    /// `Err` if something is missing.
    pub(crate) fn check(missing: Vec<String>) -> Result<(), Self> {
        if missing.is_empty() { Ok(()) } else { Err(Self { missing }) }
    }

    /// One sentence for each, with its remedy.
    #[must_use]
    pub fn missing(&self) -> &[String] {
        &self.missing
    }
}

impl fmt::Display for MissingNeeds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.missing.as_slice() {
            [only] => write!(f, "the worker cannot start: {only}"),
            missing => {
                write!(f, "the worker cannot start, for {} reasons:", missing.len())?;
                missing.iter().try_for_each(|one| write!(f, "\n  - {one}"))
            }
        }
    }
}

impl std::error::Error for MissingNeeds {}

impl<B: Broker> Executor<B> {
    /// An executor for every subscriber of the broker's program.
    ///
    /// # Errors
    /// A subscriber takes a state that is not in `states`, or a transaction of another broker.
    pub fn new(broker: B, states: Arc<States>) -> Result<Self, MissingNeeds> {
        let subscribers: Vec<_> = broker.events().registry().local_subscribers().collect();
        Self::for_subscribers(broker, states, &subscribers)
    }

    pub(crate) fn for_subscribers(
        broker: B,
        states: Arc<States>,
        subscribers: &[&'static Subscriber],
    ) -> Result<Self, MissingNeeds> {
        let missing: Vec<_> = subscribers
            .iter()
            .flat_map(|subscriber| missing_needs::<B>(subscriber, &states))
            .collect();
        MissingNeeds::check(missing)?;
        Ok(Self { broker, states })
    }

    /// The broker.
    #[must_use]
    pub fn broker(&self) -> &B {
        &self.broker
    }

    pub(crate) fn states(&self) -> &Arc<States> {
        &self.states
    }

    /// Executes a leased task. The caller records the settlement with [`Broker::settle`].
    ///
    /// When `interrupt` is requested, an async handler is dropped and its task released; a sync one
    /// is told so through its [`TaskContext::cancellation`], and waited for.
    pub async fn execute(
        &self,
        worker: WorkerId,
        lease: Lease<B::Receipt>,
        interrupt: &Cancellation,
    ) -> Execution<B::Receipt> {
        execute_task(&self.broker, &self.states, worker, lease, interrupt).await
    }
}

fn missing_needs<B: Broker>(
    subscriber: &'static Subscriber,
    states: &States,
) -> impl Iterator<Item = String> {
    let provided = std::any::TypeId::of::<B::Transaction>();
    subscriber.needs.iter().filter_map(move |need| {
        let subject = || subscriber.place();
        let wanted = (need.rust_path)();
        match need.kind {
            NeedKind::State if !states.contains(need.id) => Some(format!(
                "{} takes State<{wanted}>, which nobody gave; call `.state(…)` with a `{wanted}` on the worker's builder",
                subject()
            )),
            NeedKind::Transaction if need.id != provided => Some(format!(
                "{} takes &mut {wanted}, and this worker's queue gives {}; serve its queue with a worker whose queue gives that transaction, or change the argument",
                subject(),
                std::any::type_name::<B::Transaction>()
            )),
            _ => None,
        }
    })
}

/// Executes a leased task; see [`Executor::execute`].
pub async fn execute_task<B: Broker>(
    broker: &B,
    states: &Arc<States>,
    worker: WorkerId,
    lease: Lease<B::Receipt>,
    interrupt: &Cancellation,
) -> Execution<B::Receipt> {
    let events = broker.events();
    let Lease { receipt, attempt, task } = lease;
    let Some(subscriber) = events.registry().subscriber(&task.name) else {
        let delay = events.settings().unknown_task_delay;
        return settled(
            receipt,
            attempt,
            &task,
            &Outcome::Unknown { delay },
            &policy(events),
            None,
        );
    };
    let policy = subscriber.retry_policy(events.settings());
    if !lifecycle::may_start(attempt, &policy) {
        return settled(receipt, attempt, &task, &Outcome::Abandoned, &policy, None);
    }
    if interrupt.is_cancelled() {
        return settled(receipt, attempt, &task, &Outcome::Interrupted, &policy, None);
    }
    let stop = CancellationSource::new();
    let context = TaskContext::new(&task, attempt, stop.token());
    let call = Call { subscriber, task: &task, context, states, interrupt, stop, events };
    let started = Instant::now();
    if !subscriber.is_transactional() {
        if !broker.start(worker, &receipt, attempt) {
            return settled(receipt, attempt, &task, &CALLED_BACK, &policy, None);
        }
        let outcome = call.plain().await;
        return settled(receipt, attempt, &task, &outcome, &policy, Some(started));
    }
    // Boxed, so that the many tasks without a transaction do not carry the room for one.
    Box::pin(execute_in_transaction(broker, worker, receipt, call, &policy)).await
}

/// As [`execute_task`], from where the task's transaction begins.
async fn execute_in_transaction<B: Broker>(
    broker: &B,
    worker: WorkerId,
    receipt: B::Receipt,
    call: Call<'_>,
    policy: &RetryPolicy,
) -> Execution<B::Receipt> {
    let (task, attempt, started) = (call.task, call.context.attempt(), Instant::now());
    let transaction = match broker.begin_task(worker, &receipt).await {
        Ok(Some(transaction)) => transaction,
        Ok(None) => return stale(task, attempt),
        Err(error) => {
            log_error("the task's transaction could not begin; the task is put back", task, &error);
            let outcome = Outcome::NotStarted { delay: NOT_STARTED_DELAY };
            return settled(receipt, attempt, task, &outcome, policy, None);
        }
    };
    if !broker.start(worker, &receipt, attempt) {
        roll_back(transaction, task).await;
        return settled(receipt, attempt, task, &CALLED_BACK, policy, None);
    }
    match call.in_transaction(transaction).await {
        (Outcome::Succeeded, Some(transaction)) => match transaction.commit_task().await {
            Ok(()) => {
                log(task, attempt, &Outcome::Succeeded, &Next::Complete, Some(started));
                Execution { next: Next::Complete, settlement: None, stale: false }
            }
            // If the commit did happen after all, the task is gone and this settlement is stale.
            Err(error) => {
                let outcome = Outcome::Failed(events_core::Failure::Retry(Box::new(error)));
                settled(receipt, attempt, task, &outcome, policy, Some(started))
            }
        },
        (outcome, transaction) => {
            if let Some(transaction) = transaction {
                roll_back(transaction, task).await;
            }
            settled(receipt, attempt, task, &outcome, policy, Some(started))
        }
    }
}

async fn roll_back(transaction: impl TaskTransaction, task: &Task) {
    if let Err(error) = transaction.rollback_task().await {
        log_error("the handler's transaction could not be rolled back", task, &error);
    }
}

/// The policy of tasks that no subscriber of this program claims.
fn policy(events: &Events) -> RetryPolicy {
    let settings = events.settings();
    RetryPolicy { max_retries: settings.max_retries, backoff: settings.backoff() }
}

fn stale<R>(task: &Task, attempt: u32) -> Execution<R> {
    tracing::warn!(
        event_id = %task.event_id,
        event = &*task.event,
        subscriber = &*task.name,
        task_id = %task.id,
        attempt,
        "the lease passed to another worker before the handler started; nothing was done here"
    );
    Execution { next: Next::Complete, settlement: None, stale: true }
}

fn settled<R>(
    receipt: R,
    attempt: u32,
    task: &Task,
    outcome: &Outcome,
    policy: &RetryPolicy,
    started: Option<Instant>,
) -> Execution<R> {
    let next = lifecycle::after(outcome, attempt, policy, fastrand::f64());
    log(task, attempt, outcome, &next, started);
    let settlement = Some(Settlement { receipt, attempt, next: next.clone() });
    Execution { next, settlement, stale: false }
}

fn log(task: &Task, attempt: u32, outcome: &Outcome, next: &Next, started: Option<Instant>) {
    macro_rules! line {
        ($level:ident, $outcome:literal, $text:literal $(, $($field:tt)+)?) => {
            tracing::$level!(
                event_id = %task.event_id,
                event = &*task.event,
                subscriber = &*task.name,
                task_id = %task.id,
                queue = &*task.queue,
                attempt,
                outcome = $outcome,
                duration = ?started.map(|started| started.elapsed()).unwrap_or_default(),
                $($($field)+,)?
                $text
            )
        };
    }
    match (next, outcome) {
        (Next::Complete, _) => line!(debug, "completed", "task completed"),
        (Next::Retry { after, error }, _) => {
            line!(warn, "retry", "task failed and is tried again", error = &**error, after = ?after);
        }
        (Next::Release { after }, Outcome::Unknown { .. }) => line!(
            warn, "unknown",
            "no subscriber of this program has this task's name; it is put back for a release that knows it (was the subscriber renamed without `alias`, or its crate not linked?)",
            after = ?after
        ),
        (Next::Release { after }, Outcome::Interrupted) => {
            line!(info, "interrupted", "task put back", after = ?after);
        }
        (Next::Release { after }, _) => line!(debug, "released", "task put back", after = ?after),
        (Next::Bury { error }, _) => line!(
            error,
            "dead",
            "task is a dead letter: it is kept and not tried again unless you retry it",
            error = &**error
        ),
    }
}

fn log_error(text: &'static str, task: &Task, error: &(dyn std::error::Error + 'static)) {
    tracing::error!(
        event_id = %task.event_id,
        subscriber = &*task.name,
        task_id = %task.id,
        error,
        "{text}"
    );
}

#[cfg(test)]
mod tests {
    use super::MissingNeeds;

    #[test]
    fn one_missing_thing_is_a_sentence_and_several_are_a_list() {
        let error = |missing: &[&str]| MissingNeeds {
            missing: missing.iter().copied().map(str::to_owned).collect(),
        };
        assert_eq!(error(&["a"]).to_string(), "the worker cannot start: a");
        assert_eq!(
            error(&["a", "b"]).to_string(),
            "the worker cannot start, for 2 reasons:\n  - a\n  - b"
        );
    }
}
