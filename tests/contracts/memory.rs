//! The queue in memory keeps the contract.

use events_core::Events;
use events_core::broker::BrokerError;
use events_runtime::{MemoryQueue, MemorySession};
use events_testing::contract::Harness;

pub(crate) struct Memory(MemoryQueue);

impl Harness for Memory {
    type Broker = MemoryQueue;
    type Session = MemorySession;

    async fn start(events: Events) -> Self {
        Self(MemoryQueue::new(&events))
    }

    fn broker(&self) -> &MemoryQueue {
        &self.0
    }

    async fn begin(&self) -> MemorySession {
        self.0.begin()
    }

    async fn commit(&self, session: MemorySession) -> Result<(), BrokerError> {
        session.commit().await
    }

    async fn rollback(&self, session: MemorySession) {
        session.rollback();
    }
}

events_testing::broker_contract!(Memory);
