//! The call of a handler: time limit, panics and interruption become outcomes.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use events_core::broker::TaskTransaction;
use events_core::context::{Cancellation, InTask, in_task};
use events_core::extract::{Invocation, States};
use events_core::lifecycle::Outcome;
use events_core::subscriber::{Handler, InvokeError, Subscriber};
use events_core::task::Task;
use events_core::{Events, Failure, TaskContext};
use futures_util::FutureExt;
use tokio::task::JoinError;

/// One attempt's handler with everything it is called with.
pub(super) struct Call<'c> {
    pub(super) subscriber: &'static Subscriber,
    pub(super) task: &'c Task,
    pub(super) context: TaskContext,
    pub(super) states: &'c Arc<States>,
    pub(super) interrupt: &'c Cancellation,
    pub(super) events: &'c Events,
}

/// What a blocking handler answered, or its panic.
type Answer = Result<Result<Result<(), Failure>, InvokeError>, JoinError>;

impl Call<'_> {
    /// Calls a handler that takes no transaction.
    pub(super) async fn plain(self) -> Outcome {
        match self.subscriber.handler {
            Handler::Async(_) => self.asynchronous(None).await,
            Handler::Blocking(handler) => {
                let (task, context, states) =
                    (self.task.clone(), self.context.clone(), self.states.clone());
                let blocking = tokio::task::spawn_blocking(move || {
                    in_task(context.clone(), || {
                        handler(Invocation {
                            payload: &task.payload,
                            context: &context,
                            states: &states,
                            transaction: None,
                        })
                    })
                });
                let limit = self.subscriber.timeout(self.events.settings());
                match tokio::time::timeout(limit, blocking).await {
                    Ok(answer) => blocking_outcome(answer),
                    // The thread cannot be stopped; it may look at its cancellation.
                    Err(_) => Outcome::TimedOut(limit),
                }
            }
        }
    }

    /// Calls a handler in the transaction, which comes back unless the handler's thread lost it in
    /// a panic. A transaction that is lost rolls itself back.
    pub(super) async fn in_transaction<T: TaskTransaction>(
        self,
        mut transaction: T,
    ) -> (Outcome, Option<T>) {
        match self.subscriber.handler {
            Handler::Async(_) => {
                let outcome = self.asynchronous(Some(&mut transaction)).await;
                (outcome, Some(transaction))
            }
            Handler::Blocking(handler) => {
                let (task, context, states) =
                    (self.task.clone(), self.context.clone(), self.states.clone());
                // No time limit: the transaction is in the thread's hands until it returns.
                let blocking = tokio::task::spawn_blocking(move || {
                    let answer = in_task(context.clone(), || {
                        handler(Invocation {
                            payload: &task.payload,
                            context: &context,
                            states: &states,
                            transaction: Some(&mut transaction),
                        })
                    });
                    (answer, transaction)
                });
                match blocking.await {
                    Ok((answer, transaction)) => (blocking_outcome(Ok(answer)), Some(transaction)),
                    Err(error) => (blocking_outcome(Err(error)), None),
                }
            }
        }
    }

    async fn asynchronous(self, transaction: Option<&mut (dyn Any + Send)>) -> Outcome {
        let Handler::Async(handler) = self.subscriber.handler else {
            unreachable!("the caller has looked");
        };
        let limit = self.subscriber.timeout(self.events.settings());
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
                Ok(Err(panic)) => Outcome::Panicked(message(panic.as_ref())),
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
        Err(error) => Outcome::Failed(Failure::Retry(Box::new(error))),
    }
}

fn blocking_outcome(answer: Answer) -> Outcome {
    match answer {
        Ok(answer) => outcome(answer),
        Err(error) => match error.try_into_panic() {
            Ok(panic) => Outcome::Panicked(message(panic.as_ref())),
            Err(_) => Outcome::Interrupted, // the runtime is shutting down
        },
    }
}

fn message(panic: &(dyn Any + Send)) -> String {
    panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "with a value that is no text".to_owned())
}
