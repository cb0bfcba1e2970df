//! A clock that moves by hand.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use events_core::{Clock, Timestamp};

/// A clock that stands still until it is moved. Clones share it.
///
/// ```
/// # use std::time::Duration;
/// # use events_core::prelude::*;
/// # use events_testing::ManualClock;
/// let clock = ManualClock::new();
/// let events = Events::builder().clock(clock.clone()).build()?;
/// let before = events.now();
/// clock.advance(Duration::from_secs(3600));
/// assert_eq!(events.now().since(before), Duration::from_secs(3600));
/// # Ok::<(), events_core::StartError>(())
/// ```
#[derive(Debug, Clone)]
pub struct ManualClock(Arc<AtomicI64>);

impl ManualClock {
    /// A clock that stands at the first second of 2030.
    #[must_use]
    pub fn new() -> Self {
        Self::at(Timestamp::from_micros(1_893_456_000_000_000))
    }

    /// A clock that stands at `time`.
    #[must_use]
    pub fn at(time: Timestamp) -> Self {
        Self(Arc::new(AtomicI64::new(time.as_micros())))
    }

    /// Moves it forward.
    pub fn advance(&self, by: Duration) {
        self.set(self.now() + by);
    }

    /// Sets it, forward or back.
    pub fn set(&self, time: Timestamp) {
        self.0.store(time.as_micros(), Ordering::SeqCst);
    }
}

impl Default for ManualClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.0.load(Ordering::SeqCst))
    }
}
