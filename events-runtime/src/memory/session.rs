//! Sessions of the queue in memory.

use events_core::broker::{BrokerError, TaskTransaction};
use events_core::event::WorkerId;
use events_core::events::log_dispatched;
use events_core::extract::HandlerTransaction;
use events_core::lifecycle::Next;
use events_core::session::{PendingEvents, Session};

use super::MemoryQueue;
use super::store::MemoryReceipt;

/// A unit of work on a [`MemoryQueue`]. Its commit enqueues a task for every pending event and
/// subscriber; dropped or rolled back, it publishes nothing.
#[derive(Debug)]
pub struct MemorySession {
    queue: MemoryQueue,
    pending: PendingEvents,
    /// The task that completes with the commit, for a handler's transaction.
    completes: Option<(WorkerId, MemoryReceipt)>,
}

impl MemorySession {
    pub(super) fn new(queue: MemoryQueue, completes: Option<(WorkerId, MemoryReceipt)>) -> Self {
        let pending = PendingEvents::new(&queue.events);
        Self { queue, pending, completes }
    }

    /// Publishes the pending events. Async only to look like a database's commit: it never waits.
    ///
    /// # Errors
    /// The session is a handler's, and the task it would complete has been taken away.
    #[allow(clippy::unused_async)]
    pub async fn commit(mut self) -> Result<(), BrokerError> {
        let tasks = self.queue.events.dispatch(&mut self.pending);
        let mut store = self.queue.store();
        if let Some((worker, receipt)) = self.completes.take()
            && !store.settle(worker, receipt, &Next::Complete, self.queue.events.now())
        {
            return Err(BrokerError::new("complete the task", "its lease is gone"));
        }
        store.insert(tasks.clone());
        drop(store);
        log_dispatched(&tasks);
        self.queue.notify(&tasks);
        Ok(())
    }

    /// Discards the pending events. The same as dropping the session.
    pub fn rollback(self) {}

    /// Begins a savepoint: what is published in it counts only if it is released.
    pub fn savepoint(&mut self) -> MemorySavepoint<'_> {
        let mark = self.pending.len();
        MemorySavepoint { session: self, mark, released: false }
    }
}

impl Session for MemorySession {
    fn pending_events(&self) -> &PendingEvents {
        &self.pending
    }

    fn pending_events_mut(&mut self) -> &mut PendingEvents {
        &mut self.pending
    }
}

impl Drop for MemorySession {
    fn drop(&mut self) {
        self.pending.discard();
        if let Some((worker, receipt)) = self.completes.take() {
            self.queue.store().leave_transaction(worker, receipt);
        }
    }
}

impl HandlerTransaction for MemorySession {}

impl TaskTransaction for MemorySession {
    async fn commit_task(self) -> Result<(), BrokerError> {
        self.commit().await
    }

    async fn rollback_task(self) -> Result<(), BrokerError> {
        self.rollback();
        Ok(())
    }
}

/// A part of a [`MemorySession`] that can be rolled back alone. Dropped, it is.
#[derive(Debug)]
pub struct MemorySavepoint<'s> {
    session: &'s mut MemorySession,
    mark: usize,
    released: bool,
}

impl MemorySavepoint<'_> {
    /// Keeps what was published in it, for the session's commit.
    pub fn release(mut self) {
        self.released = true;
    }

    /// Discards what was published in it. The same as dropping it.
    pub fn rollback(self) {}

    /// Begins a savepoint within this one.
    pub fn savepoint(&mut self) -> MemorySavepoint<'_> {
        self.session.savepoint()
    }
}

impl Session for MemorySavepoint<'_> {
    fn pending_events(&self) -> &PendingEvents {
        self.session.pending_events()
    }

    fn pending_events_mut(&mut self) -> &mut PendingEvents {
        self.session.pending_events_mut()
    }
}

impl Drop for MemorySavepoint<'_> {
    fn drop(&mut self) {
        if !self.released {
            self.session.pending.truncate(self.mark);
        }
    }
}
