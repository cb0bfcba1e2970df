//! A task: one event for one subscriber, as it travels.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use uuid::Uuid;

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
    /// Set on its way to the queue only: while it waits, a newer task of its name and key takes its
    /// place.
    pub debounce: Option<Debounced>,
}

/// What a task that waits for quiet carries to the queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Debounced {
    /// What must be quiet: see [`debounce_key`].
    pub key: String,
    /// However busy the key is, the task is due by then, unless an earlier one that waits already
    /// says sooner.
    pub not_after: Timestamp,
}

/// Longer keys are cut, with a digest of the whole: databases limit what an index holds.
const LONGEST_KEY_BYTES: usize = 200;

/// The key of an event that is debounced by `field`: the field's value as JSON.
///
/// A value of more than 200 bytes is cut, and made unique by its UUID of version 5 (RFC 9562).
#[must_use]
pub fn debounce_key(payload: &serde_json::Value, field: &str) -> String {
    let mut key = payload.get(field).unwrap_or(&serde_json::Value::Null).to_string();
    if key.len() > LONGEST_KEY_BYTES {
        let digest = Uuid::new_v5(&Uuid::NAMESPACE_OID, key.as_bytes());
        let cut = &key[..key.floor_char_boundary(LONGEST_KEY_BYTES)];
        key = format!("{cut}…{}", digest.simple());
    }
    key
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::debounce_key;

    #[test]
    fn keys_differ_as_the_values_do() {
        let payload = json!({"id": 7, "text": "7", "none": null, "long": "x".repeat(5000)});
        let key = |field| debounce_key(&payload, field);
        assert_eq!((&*key("id"), &*key("text"), &*key("none")), ("7", "\"7\"", "null"));
        assert!(key("long").len() < 250, "{}", key("long").len());
        let other = json!({"long": format!("{}y", "x".repeat(4999))});
        assert_ne!(key("long"), debounce_key(&other, "long"));
        assert_eq!(key("long"), debounce_key(&payload, "long"));
    }

    #[test]
    fn long_keys_are_cut_between_characters() {
        let payload = json!({"long": "🦀".repeat(1000)});
        assert!(debounce_key(&payload, "long").starts_with("\"🦀"));
    }
}
