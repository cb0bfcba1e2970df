//! A task as a message.
//!
//! A malformed message takes every Python worker of its queue down, one after the other. So it is
//! checked before it is sent, and what cannot be a good message is refused.

use std::fmt::Write;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use events_core::{Task, Timestamp};
use uuid::Uuid;

use super::object::push_json_text;
use super::{MARK, header, python, time};
use crate::keys::Step;

/// A message on its way.
#[derive(Debug)]
pub(crate) struct Outgoing {
    /// Which of its queue's lists.
    pub(crate) step: Step,
    /// It goes before all others of its list.
    pub(crate) first: bool,
    pub(crate) text: String,
}

/// Why a task cannot be a message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    /// It has no name.
    #[error("the task has no name")]
    NoName,
    /// It has no queue.
    #[error("the task has no queue")]
    NoQueue,
    /// The payload is not a JSON object.
    #[error("the payload is not a JSON object: {reason}")]
    Payload {
        /// What is wrong.
        reason: String,
    },
    /// The payload has an object that Python takes for something else.
    #[error(
        "the payload has an object with the keys `__type__` and `__value__`, which Python takes for a tagged value and cannot read; rename a field"
    )]
    Tagged,
    /// A header that Celery sets itself.
    #[error("the header `{name}` is one that Celery sets itself; give it another name")]
    Header {
        /// Its name.
        name: String,
    },
}

/// Writes the message of a task.
///
/// # Errors
/// It would be one that some worker could not read.
pub(crate) fn encode(task: &Task, origin: &str, now: Timestamp) -> Result<Outgoing, Refused> {
    check(task)?;
    let step = Step::of(task.priority);
    let first = task.priority < 0;
    let (mut id, mut tag) = (Uuid::encode_buffer(), Uuid::encode_buffer());
    let id: &str = Uuid::from_bytes(task.id.to_bytes()).hyphenated().encode_lower(&mut id);
    let tag: &str = Uuid::now_v7().hyphenated().encode_lower(&mut tag);
    let event_id = task.event_id.to_string();
    let arguments = python::arguments(&task.payload, &event_id);
    let mut text = String::with_capacity(1100 + task.payload.len() * 2);
    push_body(&mut text, &task.payload, &event_id);
    text.push_str(r#","content-encoding":"utf-8","content-type":"application/json","headers":{"lang":"rs","task":"#);
    push_json_text(&mut text, &task.name);
    push_all(&mut text, [r#","id":""#, id, r#"","retries":0,"root_id":""#, id, r#"","argsrepr":"#]);
    push_json_text(&mut text, &arguments);
    text.push_str(r#","kwargsrepr":"{}","origin":"#);
    push_json_text(&mut text, origin);
    text.push_str(r#","ignore_result":true"#);
    // One that is debounced waits by its key, and may be due before its own window is over.
    if task.due_at > now && task.debounce.is_none() {
        push_all(&mut text, [r#","eta":""#, &time::format(task.due_at), "\""]);
    }
    push_headers(&mut text, task);
    push_all(&mut text, [r#"},"properties":{"correlation_id":""#, id]);
    text.push_str(
        r#"","reply_to":"","delivery_mode":2,"delivery_info":{"exchange":"","routing_key":"#,
    );
    push_json_text(&mut text, &task.queue);
    write!(text, r#"}},"priority":{},"body_encoding":"base64""#, Step::priority(task.priority))
        .expect(STRING);
    push_all(&mut text, [r#","delivery_tag":""#, tag, r#""}"#, MARK]);
    Ok(Outgoing { step, first, text })
}

fn push_all<const N: usize>(text: &mut String, parts: [&str; N]) {
    for part in parts {
        text.push_str(part);
    }
}

const STRING: &str = "writing to a string cannot fail";

fn check(task: &Task) -> Result<(), Refused> {
    if task.name.is_empty() {
        return Err(Refused::NoName);
    }
    if task.queue.is_empty() {
        return Err(Refused::NoQueue);
    }
    let object: Result<serde::de::IgnoredAny, _> = serde_json::from_str(&task.payload);
    let refuse = |reason: String| Err(Refused::Payload { reason });
    match object {
        Err(error) => return refuse(error.to_string()),
        Ok(_) if !task.payload.trim_start().starts_with('{') => {
            return refuse("it is another value".into());
        }
        Ok(_) => {}
    }
    if let Some(reason) = beyond_python(&task.payload) {
        return refuse(reason.into());
    }
    // Its letters may be escaped.
    let suspicious = task.payload.contains("__type__") || task.payload.contains("\\u00");
    if suspicious && serde_json::from_str(&task.payload).is_ok_and(is_tagged) {
        return Err(Refused::Tagged);
    }
    match task.headers.iter().map(|(name, _)| name).find(|name| header::is_taken(name)) {
        Some(name) => Err(Refused::Header { name: name.to_owned() }),
        None => Ok(()),
    }
}

/// Why Python could not read this JSON, though we can.
fn beyond_python(json: &str) -> Option<&'static str> {
    const DEEPEST: usize = 127; // that of serde_json; Python goes to about 1000
    const MOST_DIGITS: usize = 4300;
    let opening = json.bytes().filter(|byte| matches!(byte, b'{' | b'[')).count();
    if opening <= DEEPEST && json.len() <= MOST_DIGITS {
        return None;
    }
    let (mut depth, mut digits) = (0, 0);
    let (mut in_text, mut escaped) = (false, false);
    for byte in json.bytes() {
        digits = if !in_text && byte.is_ascii_digit() { digits + 1 } else { 0 };
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => in_text = !in_text,
            b'{' | b'[' if !in_text => depth += 1,
            b'}' | b']' if !in_text => depth -= 1,
            _ => {}
        }
        if depth > DEEPEST {
            return Some("it is nested deeper than 127 levels");
        }
        if digits > MOST_DIGITS {
            return Some("it has a number of more than 4300 digits");
        }
    }
    None
}

/// Whether there is an object with exactly the two keys anywhere in it.
fn is_tagged(value: serde_json::Value) -> bool {
    use serde_json::Value;
    match value {
        Value::Object(fields) => {
            let tagged = fields.len() == 2
                && fields.contains_key("__type__")
                && fields.contains_key("__value__");
            tagged || fields.into_iter().any(|(_, value)| is_tagged(value))
        }
        Value::Array(items) => items.into_iter().any(is_tagged),
        _ => false,
    }
}

/// `[args, kwargs, embed]` in base64.
fn push_body(text: &mut String, payload: &str, event_id: &str) {
    const EMBED: &str = r#""],{},{}]"#; // nothing hangs on it
    let mut body = String::with_capacity(payload.len() + event_id.len() + EMBED.len() + 8);
    body.push_str("[[");
    body.push_str(payload);
    body.push_str(",\"");
    body.push_str(event_id);
    body.push_str(EMBED);
    text.push_str("{\"body\":\"");
    BASE64_STANDARD.encode_string(body, text);
    text.push('"');
}

fn push_headers(text: &mut String, task: &Task) {
    push_all(text, [",\"", header::EVENT, "\":"]);
    push_json_text(text, &task.event);
    write!(text, r#","{}":{}"#, header::PUBLISHED_AT, task.published_at.as_micros()).expect(STRING);
    if !(0..=9).contains(&task.priority) {
        write!(text, r#","{}":{}"#, header::PRIORITY, task.priority).expect(STRING);
    }
    if let Some(debounced) = &task.debounce {
        let key = debounce_key(&task.name, &debounced.key);
        write!(text, r#","{}":"{key}""#, header::DEBOUNCE).expect(STRING);
    }
    for (name, value) in task.headers.iter() {
        text.push(',');
        push_json_text(text, name);
        text.push(':');
        push_json_text(text, value);
    }
}

/// What stands in a tag for a task's name and its key, which may be long and hold anything.
pub(crate) fn debounce_key(name: &str, key: &str) -> String {
    let both = format!("{}\u{0}{key}", name.replace('\u{0}', "\u{0}\u{0}"));
    Uuid::new_v5(&Uuid::NAMESPACE_OID, both.as_bytes()).simple().to_string()
}
