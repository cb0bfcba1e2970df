//! A message that goes back to its queue: what it says is kept, and only what has changed is changed.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use events_core::Timestamp;
use events_core::broker::AttemptError;
use uuid::Uuid;

use super::object::{Object, json_text};
use super::{MARK, Message, decode, header, time};

/// More are not kept; the oldest go.
const MOST_ERRORS: usize = 100;

/// What is different the next time.
#[derive(Debug, Default)]
pub(crate) struct Change {
    pub(crate) retries: Option<u32>,
    pub(crate) rescued: Option<u32>,
    pub(crate) returned: Option<u32>,
    /// Not before. Unchanged, the time that it had is over.
    pub(crate) eta: Option<Timestamp>,
    /// What went wrong this time.
    pub(crate) error: Option<AttemptError>,
    /// Everything that went wrong, instead of what the message says.
    pub(crate) history: Option<Vec<AttemptError>>,
    /// It was held before: what Celery tells its tasks.
    pub(crate) redelivered: bool,
    /// It is a new message of the same task, as with every retry of Celery's.
    pub(crate) renewed: bool,
}

impl Message {
    /// The message's text with this change, for the queue that it came from.
    #[expect(clippy::needless_pass_by_value, reason = "a change is made to be applied")]
    pub(crate) fn again(&self, text: &str, queue: &str, change: Change) -> String {
        // It was read before, so it can be read.
        let mut envelope = Object::parse(text).unwrap_or_default().into_owned();
        let mut headers = object_in(&envelope, "headers");
        let mut properties = object_in(&envelope, "properties");
        if self.version_1 {
            self.make_version_2(text, &mut envelope, &mut headers, &mut properties);
        }
        self.set_headers(&mut headers, &change);
        let mut delivery = object_in(&properties, "delivery_info");
        if change.renewed {
            properties.set("delivery_tag", format!("\"{}\"", Uuid::now_v7()));
            delivery.remove("redelivered");
        }
        delivery.set("exchange", "\"\"");
        delivery.set("routing_key", json_text(queue));
        if change.redelivered {
            delivery.set("redelivered", "true");
        }
        properties.set("delivery_info", delivery.to_string());
        envelope.set("headers", headers.to_string());
        envelope.set("properties", properties.to_string());
        envelope.remove("events");
        let mut text = envelope.to_string();
        text.pop(); // the brace that the mark has
        text.push_str(MARK);
        text
    }

    fn set_headers(&self, headers: &mut Object<'static>, change: &Change) {
        let mut count = |name, number: Option<u32>| {
            if let Some(number) = number {
                headers.set(name, number.to_string());
            }
        };
        count("retries", change.retries);
        count(header::RESCUED, change.rescued);
        count(header::RETURNED, change.returned);
        if let Some(eta) = change.eta {
            headers.set("eta", format!("\"{}\"", time::format(eta)));
        } else if change.renewed {
            headers.set("eta", "null");
        }
        if change.renewed {
            headers.set("parent_id", json_text(&self.id));
        }
        if change.redelivered {
            headers.set("redelivered", "true");
        }
        if change.error.is_some() || change.history.is_some() {
            let mut errors = change.history.clone().unwrap_or_else(|| self.errors.clone());
            errors.extend(change.error.clone());
            errors.drain(..errors.len().saturating_sub(MOST_ERRORS));
            let errors = serde_json::to_string(&errors).expect("texts and numbers are JSON");
            headers.set(header::ERRORS, errors);
        }
    }

    /// Gives a message of old programs the form that has headers, as Celery does when it reads one.
    fn make_version_2(
        &self,
        text: &str,
        envelope: &mut Object<'static>,
        headers: &mut Object<'static>,
        properties: &mut Object<'static>,
    ) {
        let read =
            serde_json::from_str(text).ok().and_then(|envelope| decode::body(&envelope).ok());
        let read = read.unwrap_or_default();
        let old = Object::parse(&read).unwrap_or_default();
        let raw = |name| old.raw(name).unwrap_or("null").to_owned();
        let args = raw("args");
        let args = if args == "null" { "[]" } else { &args };
        let kwargs = raw("kwargs");
        let kwargs = if kwargs == "null" { "{}" } else { &kwargs };
        let body = format!(
            r#"[{args},{kwargs},{{"callbacks":{},"errbacks":{},"chain":null,"chord":{}}}]"#,
            raw("callbacks"),
            raw("errbacks"),
            raw("chord"),
        );
        envelope.set("body", format!("\"{}\"", BASE64_STANDARD.encode(body)));
        envelope.set("content-encoding", "\"utf-8\"");
        let moment = |time: Option<Timestamp>| {
            time.map_or("null".into(), |time| format!("\"{}\"", time::format(time)))
        };
        let id = json_text(&self.id);
        headers.remove("compression");
        headers.set("lang", "\"py\"");
        headers.set("task", json_text(&self.name));
        headers.set("id", id.clone());
        headers.set("root_id", id.clone());
        headers.set("parent_id", "null");
        headers.set("group", raw("taskset"));
        headers.set("retries", self.retries.to_string());
        headers.set("eta", moment(self.eta));
        headers.set("expires", moment(self.expires));
        headers.set("timelimit", raw("timelimit"));
        properties.set("body_encoding", "\"base64\"");
        if !properties.has("correlation_id") {
            properties.set("correlation_id", id);
        }
        if !properties.has("delivery_tag") {
            properties.set("delivery_tag", format!("\"{}\"", Uuid::now_v7()));
        }
    }
}

/// The object in this field; an empty one if there is none.
fn object_in(object: &Object<'_>, name: &str) -> Object<'static> {
    let json = object.raw(name).unwrap_or("{}");
    Object::parse(json).unwrap_or_default().into_owned()
}
