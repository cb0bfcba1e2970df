//! A session for tests: its commit runs the handlers.

use events_core::Events;
use events_core::broker::BrokerError;
use events_core::extract::{StateValue, States};
use events_core::session::{PendingEvents, Session};
use events_runtime::{MemoryQueue, MemorySession};

use crate::drain::{Drained, drain};

/// A session without a database. Its commit publishes and then, *eagerly*, runs the handlers of
/// what was published, in order, in the calling task.
///
/// Nothing is skipped: events are encoded, fanned out, decoded, executed and settled as in
/// production. Handlers that take `&mut EventTransaction<…>` need a database's session; test them
/// with [`drain`] on its queue.
///
/// ```
/// use events_core::prelude::*;
/// use events_testing::TestSession;
///
/// #[derive(Event)]
/// struct Pinged { count: u32 }
///
/// type Seen = std::sync::Arc<std::sync::Mutex<Vec<u32>>>;
///
/// #[subscribes_to(Pinged, freshness_only)]
/// fn count_ping(event: Pinged, State(seen): State<Seen>) {
///     seen.lock().unwrap().push(event.count);
/// }
///
/// #[publishes(Pinged)]
/// fn ping(session: &mut impl Session, count: u32) -> Result<EventId, PublishError> {
///     publish_after_commit(session, Pinged { count })
/// }
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # use events_core::Registry;
/// let registry = Registry::builder().subscriber::<count_ping>().build()?;
/// let events = Events::builder().registry(registry).build()?;
/// let seen = Seen::default();
/// let mut session = TestSession::new(&events).state(seen.clone());
/// ping(&mut session, 1)?;
/// session.commit().await?.assert_all_completed();
/// assert_eq!(*seen.lock().unwrap(), [1]);
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct TestSession {
    queue: MemoryQueue,
    session: MemorySession,
    states: States,
}

impl TestSession {
    /// A session on a queue of its own.
    #[must_use]
    pub fn new(events: &Events) -> Self {
        Self::on(&MemoryQueue::new(events))
    }

    /// A session on this queue.
    #[must_use]
    pub fn on(queue: &MemoryQueue) -> Self {
        Self { queue: queue.clone(), session: queue.begin(), states: States::new() }
    }

    /// State for handlers that take `State<T>`.
    #[must_use]
    pub fn state<T: StateValue>(mut self, state: T) -> Self {
        self.states.insert(state);
        self
    }

    /// Commits, and runs every task that is then due.
    ///
    /// # Errors
    /// None that a test would meet: the queue is in memory.
    ///
    /// # Panics
    /// A handler takes a state that was not given, or a database's transaction.
    pub async fn commit(self) -> Result<Drained, BrokerError> {
        self.session.commit().await?;
        drain(&self.queue, &self.states).await
    }

    /// Discards the pending events. The same as dropping the session.
    pub fn rollback(self) {
        self.session.rollback();
    }
}

impl Session for TestSession {
    fn pending_events(&self) -> &PendingEvents {
        self.session.pending_events()
    }

    fn pending_events_mut(&mut self) -> &mut PendingEvents {
        self.session.pending_events_mut()
    }
}
