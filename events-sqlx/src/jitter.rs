//! Pauses, spread by chance.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use events_core::Events;
use events_core::lifecycle::rescue_delay;

/// The pause before a task of this name is offered again whose worker died in this attempt.
pub(crate) fn delay(events: &Events, name: &str, attempt: u32) -> Duration {
    let settings = events.settings();
    let subscriber = events.registry().subscriber(name);
    let backoff =
        subscriber.map_or(settings.backoff(), |found| found.retry_policy(settings).backoff);
    rescue_delay(attempt, &backoff, jitter())
}

/// A random number in `0.0..=1.0`: the standard library's hasher is seeded with one.
pub(crate) fn jitter() -> f64 {
    let bits = u32::try_from(RandomState::new().hash_one(()) >> 32).unwrap_or(0);
    f64::from(bits) / f64::from(u32::MAX)
}
