//! A transport that counts, for tests of sessions whose tasks go elsewhere.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use events_core::transport::{Transport, TransportError};
use events_core::{Forwarding, Queues, Task};

#[derive(Clone, Default)]
pub(crate) struct Counter(Arc<AtomicI64>);

impl Counter {
    pub(crate) fn sent(&self) -> i64 {
        self.0.load(Ordering::SeqCst)
    }
}

impl Transport for Counter {
    async fn send(&self, tasks: Vec<Task>) -> Result<(), TransportError> {
        self.0.fetch_add(i64::try_from(tasks.len()).unwrap(), Ordering::SeqCst);
        Ok(())
    }
}

pub(crate) fn after_commit(transport: &Counter) -> Forwarding {
    Forwarding::after_commit(Queues::only(["pings"]), transport.clone())
}

pub(crate) fn outbox() -> Forwarding {
    Forwarding::outbox(Queues::only(["pings"]))
}
