//! A message that goes back to its queue: what it says is kept, and only what has changed is changed.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use events_core::Timestamp;
use events_core::broker::AttemptError;
use uuid::Uuid;

use super::decode::Call;
use super::object::{Object, json_text};
use super::{MARK, Message, header, time};

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
        let envelope = match self.version_1 {
            true => self.as_version_2(),
            false => text.to_owned(),
        };
        // It was read before.
        let mut envelope = Object::parse(&envelope).unwrap_or_default().into_owned();
        let headers = envelope.raw("headers").unwrap_or("{}").to_owned();
        let mut headers = Object::parse(&headers).unwrap_or_default().into_owned();
        self.set_headers(&mut headers, &change);
        let properties = envelope.raw("properties").unwrap_or("{}").to_owned();
        let mut properties = Object::parse(&properties).unwrap_or_default().into_owned();
        if change.renewed {
            properties.set("delivery_tag", format!("\"{}\"", Uuid::now_v7()));
        }
        let redelivered = if change.redelivered { ",\"redelivered\":true" } else { "" };
        properties.set(
            "delivery_info",
            format!("{{\"exchange\":\"\",\"routing_key\":{}{redelivered}}}", json_text(queue)),
        );
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

    /// The same, in the form that has headers.
    fn as_version_2(&self) -> String {
        let (args, kwargs) = self.call.arguments();
        let body = BASE64_STANDARD.encode(format!("[{args},{kwargs},{{}}]"));
        let (name, id) = (json_text(&self.name), json_text(&self.id));
        format!(
            r#"{{"body":"{body}","content-encoding":"utf-8","content-type":"application/json","headers":{{"lang":"py","task":{name},"id":{id},"root_id":{id},"parent_id":null,"retries":{},"eta":null,"expires":{}}},"properties":{{"correlation_id":{id},"reply_to":"","delivery_mode":2,"delivery_info":{{}},"priority":{},"body_encoding":"base64","delivery_tag":"{}"}}}}"#,
            self.retries,
            self.expires.map_or("null".into(), |time| format!("\"{}\"", time::format(time))),
            self.priority.clamp(0, 9),
            Uuid::now_v7(),
        )
    }
}

impl Call {
    /// The positional and the named arguments, as JSON.
    pub(crate) fn arguments(&self) -> (String, String) {
        match self {
            Self::Event { payload, event_id: None } => (format!("[{payload}]"), "{}".to_owned()),
            Self::Event { payload, event_id: Some(id) } => {
                (format!("[{payload},{}]", json_text(id)), "{}".to_owned())
            }
            Self::Function { positional, named } => {
                let mut kwargs = Object::default();
                for (name, value) in named {
                    kwargs.push(name.clone(), value.to_string());
                }
                (format!("[{}]", positional.join(",")), kwargs.to_string())
            }
        }
    }
}
