//! How long it takes from a commit until its tasks are handled, and how many attempts.
//!
//! Measured where an operator would: on the log lines of the worker. The time of the publish is in
//! the event's id (a UUID v7 begins with its milliseconds), so the resolution is a millisecond.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use events_core::{EventId, Registry};
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};
use tracing::field::{Field, Visit};
use tracing_subscriber::layer::{Context, Layer};

/// The part of the worker whose log lines are measured.
pub const TARGET: &str = "events_runtime::execute";

/// Latencies beyond this count as this: an hour, in milliseconds.
const LONGEST_MS: u64 = 3_600_000;

/// What workers have done.
#[derive(Debug, Clone)]
pub struct Measurements {
    /// Tasks completed.
    pub done: u64,
    /// Those of them that were debounced: each did the work of all events of its window.
    pub debounced: u64,
    /// Attempts beyond a task's first, whether the one before it failed or its worker died.
    pub retried: u64,
    /// From publish to handled, in milliseconds, to three digits; without those that waited on
    /// purpose.
    pub latency_ms: Histogram<u64>,
}

impl Default for Measurements {
    /// # Panics
    /// Never: the bounds are those of a histogram.
    fn default() -> Self {
        let latency_ms =
            Histogram::new_with_bounds(1, LONGEST_MS, 3).expect("the bounds are in order");
        Self { done: 0, debounced: 0, retried: 0, latency_ms }
    }
}

/// Measurements as they travel from a worker process.
#[derive(Debug, Serialize, Deserialize)]
struct Travelling {
    done: u64,
    debounced: u64,
    retried: u64,
    /// Value and count.
    latency_ms: Vec<(u64, u64)>,
}

impl Measurements {
    /// Adds what another worker has done.
    fn add(&mut self, other: &Travelling) {
        self.done += other.done;
        self.debounced += other.debounced;
        self.retried += other.retried;
        for (value, count) in &other.latency_ms {
            self.latency_ms.saturating_record_n(*value, *count);
        }
    }

    fn to_travel(&self) -> Travelling {
        let values = self.latency_ms.iter_recorded();
        Travelling {
            done: self.done,
            debounced: self.debounced,
            retried: self.retried,
            latency_ms: values
                .map(|value| (value.value_iterated_to(), value.count_at_value()))
                .collect(),
        }
    }

    fn handled(&mut self, event: EventId, attempt: &Attempt, completed: bool) {
        self.retried += attempt.number.saturating_sub(1);
        if !completed {
            return;
        }
        self.done += 1;
        match attempt.debounced {
            true => self.debounced += 1,
            false => self.latency_ms.saturating_record(since(event)),
        }
    }
}

/// Milliseconds since the event was published.
fn since(event: EventId) -> u64 {
    let mut published = [0; 8];
    published[2..].copy_from_slice(&event.to_bytes()[..6]);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    u64::try_from(now).unwrap_or(u64::MAX).saturating_sub(u64::from_be_bytes(published))
}

/// Measurements that go on; clones share them.
#[derive(Debug, Clone, Default)]
pub struct Measured(Arc<Mutex<Measurements>>);

impl Measured {
    /// What was measured so far.
    #[must_use]
    pub fn snapshot(&self) -> Measurements {
        self.with(|measurements| measurements.clone())
    }

    /// What was measured since the last time, as a line of JSON; `None` if nothing was.
    ///
    /// # Panics
    /// Never: numbers are JSON.
    #[must_use]
    pub fn take_line(&self) -> Option<String> {
        let taken = self.with(std::mem::take);
        let empty = taken.done == 0 && taken.retried == 0;
        (!empty).then(|| serde_json::to_string(&taken.to_travel()).expect("numbers are JSON"))
    }

    /// Adds what a worker process wrote with [`take_line`](Self::take_line).
    ///
    /// # Errors
    /// The line is something else.
    pub fn add_line(&self, line: &str) -> Result<(), serde_json::Error> {
        let travelling = serde_json::from_str(line)?;
        self.with(|measurements| measurements.add(&travelling));
        Ok(())
    }

    fn with<R>(&self, act: impl FnOnce(&mut Measurements) -> R) -> R {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl<S: tracing::Subscriber> Layer<S> for Measured {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        let mut attempt = Attempt::default();
        event.record(&mut attempt);
        if let (Some(event), Some(completed)) = (attempt.event, attempt.completed) {
            self.with(|measurements| measurements.handled(event, &attempt, completed));
        }
    }
}

/// The fields of the log line that ends an attempt.
#[derive(Default)]
struct Attempt {
    event: Option<EventId>,
    number: u64,
    debounced: bool,
    /// Whether it ended well; `None` unless the task is through.
    completed: Option<bool>,
}

impl Visit for Attempt {
    fn record_u64(&mut self, field: &Field, value: u64) {
        if field.name() == "attempt" {
            self.number = value;
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "outcome" => {
                self.completed = match value {
                    "completed" => Some(true),
                    "dead" => Some(false),
                    _ => None,
                };
            }
            "subscriber" => self.debounced = is_debounced(value),
            _ => {}
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "event_id" {
            self.event = format!("{value:?}").parse().ok();
        }
    }
}

/// Whether the tasks of this name wait until their key is quiet.
pub(super) fn is_debounced(name: &str) -> bool {
    let subscriber = Registry::linked().ok().and_then(|registry| registry.subscriber(name));
    subscriber.is_some_and(|subscriber| subscriber.debounce.is_some())
}
