//! Dead letters: messages that are not tried again unless somebody says so. Redis has no such thing, and
//! Celery deletes what it gives up.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use events_core::broker::{AttemptError, DeadLetter};
use events_core::task::Headers;
use events_core::{EventId, TaskId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::broker::Inner;
use crate::keys::Step;
use crate::lease::Held;
use crate::message::{Change, Message, Object, uuid_of};

/// A dead letter as it lies in Redis.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct DeadRecord {
    /// Of the task; 32 hex digits.
    id: String,
    event_id: String,
    event: String,
    name: String,
    queue: String,
    step: u8,
    priority: i16,
    payload: String,
    headers: BTreeMap<String, String>,
    published_at: i64,
    pub(crate) died_at: i64,
    attempts: Vec<AttemptError>,
    /// As it was claimed.
    message: String,
    /// Of what is not JSON: its bytes in hex digits, which the claim wrote.
    #[serde(skip_serializing_if = "Option::is_none")]
    unreadable: Option<String>,
}

impl DeadRecord {
    pub(crate) fn of(held: &Held, inner: &Inner, now: Timestamp, error: AttemptError) -> Self {
        let message = &held.message;
        let subscriber = inner.events.registry().subscriber(&message.name);
        let fields = subscriber.map_or(&[][..], |subscriber| subscriber.event.fields);
        let id = uuid_of(&message.id);
        let event_id = message.call.event_id();
        let mut attempts = message.errors.clone();
        attempts.push(error);
        Self {
            id: id.simple().to_string(),
            event_id: event_id.map_or_else(|| id.simple().to_string(), |id| id.to_string()),
            event: match &message.event {
                Some(event) => event.clone(),
                None => subscriber.map(|known| known.event.name.to_owned()).unwrap_or_default(),
            },
            name: message.name.clone(),
            queue: held.queue.clone(),
            step: held.step.number(),
            priority: message.priority,
            payload: match message.call.payload(fields) {
                Ok(payload) => payload.to_string(),
                Err(_) => message.call.to_json(),
            },
            headers: message
                .headers
                .iter()
                .map(|(name, value)| (name.into(), value.into()))
                .collect(),
            published_at: message.published_at.unwrap_or(now).as_micros(),
            died_at: now.as_micros(),
            attempts,
            message: held.text.clone(),
            unreadable: None,
        }
    }

    /// Of a message that cannot be read.
    pub(crate) fn of_unread(
        text: &str,
        headers: &Object<'_>,
        queue: &str,
        step: Step,
        now: Timestamp,
        reason: &str,
    ) -> Self {
        let id = match headers.text("id") {
            Some(id) => uuid_of(&id).simple().to_string(),
            None => Self::other_key(),
        };
        Self {
            event_id: id.clone(),
            id,
            name: headers.text("task").unwrap_or_default(),
            queue: queue.to_owned(),
            step: step.number(),
            payload: text.to_owned(),
            published_at: now.as_micros(),
            died_at: now.as_micros(),
            attempts: vec![AttemptError::new(1, now, reason)],
            message: text.to_owned(),
            ..Self::default()
        }
    }

    /// Of what is no text.
    pub(crate) fn of_bytes(
        bytes: &[u8],
        queue: &str,
        step: Step,
        now: Timestamp,
        reason: &str,
    ) -> Self {
        let unreadable = bytes.iter().fold(String::new(), |mut digits, byte| {
            write!(digits, "{byte:02x}").expect("writing to a string cannot fail");
            digits
        });
        let record = Self::of_unread("", &Object::default(), queue, step, now, reason);
        Self { unreadable: Some(unreadable), ..record }
    }

    /// What it is found by.
    pub(crate) fn key(&self) -> &str {
        &self.id
    }

    /// One task may be several messages: then the second has another key.
    pub(crate) fn other_key() -> String {
        TaskId::generate().to_string()
    }

    /// The message as it was claimed.
    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    /// What went wrong the last time.
    pub(crate) fn error(&self) -> &str {
        self.attempts.last().map_or("", |attempt| &attempt.error)
    }

    pub(crate) fn to_json(&self) -> String {
        serde_json::to_string(self).expect("texts and numbers are JSON")
    }

    pub(crate) fn read(json: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(json)
    }

    /// The dead letter that has this key.
    pub(crate) fn letter(self, key: &str) -> DeadLetter {
        let id = uuid_of(key).into_bytes();
        let mut headers = Headers::new();
        for (name, value) in self.headers {
            headers.insert(name, value);
        }
        let died_at = Timestamp::from_micros(self.died_at);
        let (payload, attempts) = match &self.unreadable {
            None => (self.payload, self.attempts),
            Some(unreadable) => {
                let bytes = from_hex(unreadable);
                let reason = "it is no JSON object in UTF-8; look for who writes to this list";
                let payload = String::from_utf8_lossy(&bytes).into_owned();
                (payload, vec![AttemptError::new(1, died_at, reason)])
            }
        };
        DeadLetter {
            id: TaskId::from_bytes(id),
            event_id: self.event_id.parse().unwrap_or(EventId::from_bytes(id)),
            event: self.event.into(),
            name: self.name.into(),
            queue: self.queue.into(),
            priority: self.priority,
            payload: payload.into(),
            headers,
            published_at: Timestamp::from_micros(self.published_at),
            died_at,
            attempts,
        }
    }

    /// The list to which it goes when it is tried again, and the message: with all its attempts before
    /// it, and its history.
    pub(crate) fn revived(&self, inner: &Inner) -> (String, Vec<u8>) {
        let step = Step::of(self.step);
        let list = inner.keys.list(&self.queue, step);
        if let Some(unreadable) = &self.unreadable {
            return (list, from_hex(unreadable));
        }
        let text = match Message::read(&self.message) {
            Ok(message) => {
                let change = Change {
                    retries: Some(0),
                    rescued: Some(0),
                    returned: Some(0),
                    history: Some(self.attempts.clone()),
                    renewed: true,
                    ..Change::default()
                };
                message.again(&self.message, &self.queue, change)
            }
            Err(_) => self.message.clone(),
        };
        (list, text.into_bytes())
    }
}

fn from_hex(digits: &str) -> Vec<u8> {
    let byte =
        |at: usize| digits.get(at..at + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok());
    (0..digits.len()).step_by(2).filter_map(byte).collect()
}
