//! A queue in memory, for programs without a database and for tests.
//!
//! It keeps every promise of a broker but durability: what waits when the process ends is gone.

mod broker;
mod session;
mod store;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use events_core::Events;
use events_core::task::Task;
use events_core::transport::{Transport, TransportError};
use tokio::sync::Notify;

pub use session::{MemorySavepoint, MemorySession};
pub use store::MemoryReceipt;
use store::Store;

/// A queue in memory. Clones share it.
#[derive(Debug, Clone)]
pub struct MemoryQueue {
    events: Events,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    store: Mutex<Store>,
    arrived: Notify,
}

impl MemoryQueue {
    /// An empty queue.
    #[must_use]
    pub fn new(events: &Events) -> Self {
        Self { events: events.clone(), shared: Arc::default() }
    }

    /// Begins a session: a unit of work whose commit publishes, without a database behind it.
    #[must_use]
    pub fn begin(&self) -> MemorySession {
        MemorySession::new(self.clone(), None)
    }

    fn store(&self) -> MutexGuard<'_, Store> {
        // Every change to the store is complete before anything in it could panic.
        self.shared.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn notify(&self, tasks: &[Task]) {
        if !tasks.is_empty() {
            self.shared.arrived.notify_waiters();
        }
    }
}

impl Transport for MemoryQueue {
    async fn send(&self, tasks: Vec<Task>) -> Result<(), TransportError> {
        self.store().insert(tasks.clone());
        self.notify(&tasks);
        Ok(())
    }
}
