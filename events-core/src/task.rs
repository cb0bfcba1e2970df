//! A task: one event for one subscriber, as it travels.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use crate::clock::Timestamp;
use crate::event::{EventId, TaskId};

/// A name that is a `'static` of this program or was read from a queue.
pub type Name = Cow<'static, str>;

/// One event for one subscriber, on a queue.
#[derive(Debug, Clone, PartialEq)]
pub struct Task {
    /// The task.
    pub id: TaskId,
    /// The event; all tasks of one publish share it.
    pub event_id: EventId,
    /// The event's name on the wire.
    pub event: Name,
    /// The task's name: which subscriber is to run.
    pub name: Name,
    /// The queue.
    pub queue: Name,
    /// Smaller runs first.
    pub priority: i16,
    /// The event as JSON; shared by all tasks of one publish.
    pub payload: Arc<str>,
    /// What travels beside it.
    pub headers: Headers,
    /// When the event was published.
    pub published_at: Timestamp,
    /// Not before.
    pub due_at: Timestamp,
}

/// The header of the W3C Trace Context.
pub const TRACEPARENT: &str = "traceparent";

/// Texts that travel with a task, by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Headers(BTreeMap<String, String>);

impl Headers {
    /// No headers.
    #[must_use]
    pub const fn new() -> Self {
        Self(BTreeMap::new())
    }

    /// The header of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// Sets a header.
    pub fn insert(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.0.insert(name.into(), value.into());
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All headers, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// One JSON object, sorted by name.
    ///
    /// # Panics
    /// Never: texts are JSON.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string(&self.0).expect("texts are JSON")
    }

    /// Reads what [`to_json`](Self::to_json) wrote.
    ///
    /// # Errors
    /// Anything but a JSON object of texts.
    pub fn from_json(json: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(json).map(Self)
    }
}
