//! The call of a handler: time limit, panics and interruption become outcomes.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use events_core::broker::TaskTransaction;
use events_core::context::{Cancellation, CancellationSource, InTask, in_task};
use events_core::extract::{Invocation, States};
use events_core::lifecycle::Outcome;
use events_core::subscriber::{Handler, InvokeError, Subscriber};
use events_core::task::Task;
use events_core::{Events, Failure, TaskContext};
use futures_util::FutureExt;
use tokio::sync::oneshot;
use tokio::task::{JoinError, JoinHandle};
use tokio::time::{Instant, sleep_until};

/// Before a task is offered again whose handler this worker cannot call.
const NOT_CALLABLE_DELAY: Duration = Duration::from_secs(30);

/// One attempt's handler with everything it is called with.
pub(super) struct Call<'c> {
    pub(super) subscriber: &'static Subscriber,
    pub(super) task: &'c Task,
    pub(super) context: TaskContext,
    pub(super) states: &'c Arc<States>,
    /// Stops this attempt from outside.
    pub(super) interrupt: &'c Cancellation,
    /// Tells the handler to stop.
    pub(super) stop: CancellationSource,
    pub(super) events: &'c Events,
}

/// A sync handler on the blocking pool.
struct Thread<T> {
    handle: JoinHandle<T>,
    /// Resolves when it has been given a thread.
    begun: oneshot::Receiver<()>,
}

/// What a sync handler answered.
type Answer = Result<Result<(), Failure>, InvokeError>;

/// Over, or dropped in the midst of it: a sync handler's thread, and what a handler has spawned, are
/// told to stop.
impl Drop for Call<'_> {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Call<'_> {
    fn limit(&self) -> Duration {
        self.subscriber.timeout(self.events.settings())
    }

    /// Calls a handler that takes no transaction.
    pub(super) async fn plain(self) -> Outcome {
        let Handler::Blocking(handler) = self.subscriber.handler else {
            return self.asynchronous(None).await;
        };
        let thread = self.spawn(handler, None::<()>);
        match self.supervise(thread, false).await {
            Some(Ok((answer, _))) => outcome(answer),
            Some(Err(error)) => panicked(error),
            None => Outcome::TimedOut(self.limit()),
        }
    }

    /// Calls a handler in the transaction, which comes back unless the handler's thread lost it in
    /// a panic. A transaction that is lost rolls itself back.
    pub(super) async fn in_transaction<T: TaskTransaction>(
        self,
        mut transaction: T,
    ) -> (Outcome, Option<T>) {
        let Handler::Blocking(handler) = self.subscriber.handler else {
            let outcome = self.asynchronous(Some(&mut transaction)).await;
            return (outcome, Some(transaction));
        };
        let thread = self.spawn(handler, Some(transaction));
        match self.supervise(thread, true).await {
            Some(Ok((answer, transaction))) => (outcome(answer), transaction),
            Some(Err(error)) => (panicked(error), None),
            None => unreachable!("it is waited for"),
        }
    }

    /// Runs a sync handler on the blocking pool.
    fn spawn<T: Any + Send>(
        &self,
        handler: impl FnOnce(Invocation<'_>) -> Answer + Send + 'static,
        mut transaction: Option<T>,
    ) -> Thread<(Answer, Option<T>)> {
        let (payload, context, states) =
            (self.task.payload.clone(), self.context.clone(), self.states.clone());
        let (has_begun, begun) = oneshot::channel();
        let handle = tokio::task::spawn_blocking(move || {
            has_begun.send(()).ok();
            let answer = in_task(context.clone(), || {
                handler(Invocation {
                    payload: &payload,
                    context: &context,
                    states: &states,
                    transaction: transaction.as_mut().map(|found| found as &mut (dyn Any + Send)),
                })
            });
            (answer, transaction)
        });
        Thread { handle, begun }
    }

    /// Waits for a sync handler and tells it when to stop. `None`: its time is up, and it runs on
    /// without us, as a thread cannot be stopped; unless it has the transaction in its hands.
    async fn supervise<T>(
        &self,
        mut thread: Thread<T>,
        has_transaction: bool,
    ) -> Option<Result<T, JoinError>> {
        // Waiting for a thread of the pool is not the handler's time.
        tokio::select! {
            biased;
            _ = &mut thread.begun => {}
            () = self.interrupt.cancelled() => thread.handle.abort(), // it has not begun
        }
        let deadline = Instant::now() + self.limit();
        let (mut overdue, mut told) = (false, false);
        loop {
            tokio::select! {
                biased;
                ended = &mut thread.handle => return Some(ended),
                () = sleep_until(deadline), if !overdue => {
                    overdue = true;
                    self.stop.cancel();
                    if !has_transaction {
                        return None;
                    }
                    tracing::error!(
                        event_id = %self.task.event_id,
                        subscriber = &*self.task.name,
                        task_id = %self.task.id,
                        limit = ?self.limit(),
                        "a sync handler does not return in its time and holds its transaction; make it async, or let it look at TaskContext::cancellation"
                    );
                }
                () = self.interrupt.cancelled(), if !told => {
                    told = true;
                    self.stop.cancel();
                }
            }
        }
    }

    async fn asynchronous(self, transaction: Option<&mut (dyn Any + Send)>) -> Outcome {
        let Handler::Async(handler) = self.subscriber.handler else {
            unreachable!(
                "the caller has looked, and the registry hands out no foreign subscribers"
            );
        };
        let limit = self.limit();
        let call = async {
            let invocation = Invocation {
                payload: &self.task.payload,
                context: &self.context,
                states: self.states,
                transaction,
            };
            Ok::<_, InvokeError>(handler(invocation)?.await)
        };
        let guarded = AssertUnwindSafe(InTask::new(self.context.clone(), call)).catch_unwind();
        tokio::select! {
            biased;
            answer = tokio::time::timeout(limit, guarded) => match answer {
                Ok(Ok(answer)) => outcome(answer),
                Ok(Err(panic)) => Outcome::Panicked(panic_message(panic.as_ref())),
                Err(_) => Outcome::TimedOut(limit),
            },
            () = self.interrupt.cancelled() => Outcome::Interrupted,
        }
    }
}

fn outcome(answer: Result<Result<(), Failure>, InvokeError>) -> Outcome {
    match answer {
        Ok(Ok(())) => Outcome::Succeeded,
        Ok(Err(failure)) => Outcome::Failed(failure),
        Err(InvokeError::Decode(error)) => Outcome::Undecodable(error),
        // The worker was checked for the queues it serves; this task waited in one that its
        // subscriber has left. Another worker can call it.
        Err(error) => {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "this worker cannot call the handler of a task that it was given; the task is put back for another"
            );
            Outcome::NotStarted { delay: NOT_CALLABLE_DELAY }
        }
    }
}

fn panicked(error: JoinError) -> Outcome {
    match error.try_into_panic() {
        Ok(panic) => Outcome::Panicked(panic_message(panic.as_ref())),
        Err(_) => Outcome::Interrupted, // the runtime is shutting down
    }
}

pub(crate) fn panic_message(panic: &(dyn Any + Send)) -> String {
    panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "with a value that is no text".to_owned())
}
