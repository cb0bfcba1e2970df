//! Sessions without a database.

use events_core::broker::{BrokerError, TaskTransaction};
use events_core::events::{kept_for_log, log_dispatched};
use events_core::extract::HandlerTransaction;
use events_core::session::{PendingEvents, Session};
use events_core::transport::{Transport, Unsent};
use events_core::{Task, WorkerId};

use crate::broker::CeleryBroker;
use crate::end::End;
use crate::lease::CeleryReceipt;
use crate::settle;
use crate::to_its_end::ToItsEnd;
use crate::{fleet, results};

/// A unit of work on Redis, without a database behind it: its commit sends the tasks of the events that
/// were published on it. Dropped, it publishes nothing.
///
/// A handler of a [`CeleryBroker`]'s worker may take `&mut CelerySession`: what it publishes is then sent
/// in the same step in which its task completes, both or neither. What it does elsewhere is not part of
/// that: it may run again after a crash.
#[derive(Debug)]
pub struct CelerySession {
    broker: CeleryBroker,
    pending: PendingEvents,
    /// The task that completes with the commit.
    completes: Option<(WorkerId, CeleryReceipt)>,
}

impl CelerySession {
    pub(crate) fn new(broker: CeleryBroker, completes: Option<(WorkerId, CeleryReceipt)>) -> Self {
        let pending = PendingEvents::new(&broker.inner.events);
        Self { broker, pending, completes }
    }

    /// Sends a task for every published event and subscriber.
    ///
    /// # Errors
    /// Redis did not take all of them; a log line names each that it did not take, as far as Redis has
    /// answered. Many are sent in several steps, so others may have been: publishing all of them again
    /// gives those twice, with other ids.
    pub async fn commit(mut self) -> Result<(), BrokerError> {
        const ACTION: &str = "send the tasks of the commit";
        let tasks = self.broker.inner.events.clone().dispatch(&mut self.pending);
        let sent = kept_for_log(&tasks);
        match self.completes.take() {
            Some((worker, receipt)) => self.complete(worker, receipt, &tasks).await?,
            None => {
                let transport = self.broker.inner.transport.clone();
                let sent = ToItsEnd::new(async move { transport.send(tasks).await }).await;
                sent.map_err(|error| {
                    error.unsent().iter().for_each(log_unsent);
                    BrokerError::new(ACTION, error)
                })?;
                self.broker.inner.watch.hear();
            }
        }
        log_dispatched(&sent);
        Ok(())
    }

    async fn complete(
        &self,
        worker: WorkerId,
        receipt: CeleryReceipt,
        tasks: &[Task],
    ) -> Result<(), BrokerError> {
        const ACTION: &str = "complete the task";
        let publications = self
            .broker
            .inner
            .transport
            .publications(tasks)
            .map_err(|refused| BrokerError::new(ACTION, refused))?;
        let held = self
            .broker
            .uninterrupted(ACTION, move |inner| async move {
                let tag = &*receipt.0.tag;
                results::of_completion(&inner, &receipt.0).await?;
                let ends = [(tag, End::Done)];
                let held =
                    settle::end_and_publish(&inner.link, &inner.keys, &ends, &publications).await?;
                inner.held.remove(worker, [tag]);
                if held == [true] {
                    fleet::completed(&inner, worker, &receipt.0);
                }
                if !publications.is_empty() {
                    inner.watch.hear();
                }
                Ok(held == [true])
            })
            .await?;
        match held {
            true => Ok(()),
            false => Err(BrokerError::new(ACTION, "its lease is gone")),
        }
    }
}

fn log_unsent(Unsent { task, error, .. }: &Unsent) {
    tracing::error!(
        event_id = %task.event_id,
        event = &*task.event,
        subscriber = &*task.name,
        task_id = %task.id,
        queue = &*task.queue,
        error = &**error as &dyn std::error::Error,
        "a task could not be sent at the commit of its session, which failed"
    );
}

impl Session for CelerySession {
    fn pending_events(&self) -> &PendingEvents {
        &self.pending
    }

    fn pending_events_mut(&mut self) -> &mut PendingEvents {
        &mut self.pending
    }
}

impl Drop for CelerySession {
    fn drop(&mut self) {
        self.pending.discard();
    }
}

impl HandlerTransaction for CelerySession {}

impl TaskTransaction for CelerySession {
    async fn commit_task(self) -> Result<(), BrokerError> {
        self.commit().await
    }

    async fn rollback_task(self) -> Result<(), BrokerError> {
        Ok(()) // dropped, it publishes nothing
    }
}
