//! A message as a task.
//!
//! What cannot be read is said with its reason, so that it can be kept and looked at.

use std::borrow::Cow;
use std::io::Read;
use std::sync::Arc;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use events_core::broker::AttemptError;
use events_core::event::Field;
use events_core::task::Headers;
use events_core::{EventId, Timestamp};
use flate2::read::ZlibDecoder;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::object::{Name, Object};
use super::{header, time};

/// What a claimed message says.
#[derive(Debug)]
pub(crate) struct Message {
    /// It has the form of old programs.
    pub(crate) version_1: bool,
    /// Celery's id of the task, mostly a UUID.
    pub(crate) id: String,
    /// The task's name.
    pub(crate) name: String,
    pub(crate) call: Call,
    /// Tries before this one, as Celery counts them.
    pub(crate) retries: u32,
    /// Workers that have died over it.
    pub(crate) rescued: u32,
    /// How often it was put back because nobody may run it.
    pub(crate) returned: u32,
    pub(crate) eta: Option<Timestamp>,
    pub(crate) expires: Option<Timestamp>,
    /// Other tasks depend on this one: callbacks, a chain, or a chord.
    pub(crate) workflow: bool,
    pub(crate) ignore_result: bool,
    pub(crate) priority: i16,
    /// The name of the event, of our own messages.
    pub(crate) event: Option<String>,
    pub(crate) published_at: Option<Timestamp>,
    pub(crate) debounce: Option<String>,
    pub(crate) errors: Vec<AttemptError>,
    /// What travels beside it and is neither Celery's nor ours.
    pub(crate) headers: Headers,
}

/// A message that cannot be run here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unreadable {
    pub(crate) reason: String,
    /// A worker in Python may well be able to run it.
    pub(crate) others_may: bool,
}

impl Unreadable {
    fn broken(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), others_may: false }
    }

    fn foreign(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), others_may: true }
    }
}

/// What a task is called with.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Call {
    /// As events are: the payload, and the event's id, which others may leave out.
    Event { payload: Arc<str>, event_id: Option<String> },
    /// As any function in Python: positional and named arguments, as JSON.
    Function { positional: Vec<Box<str>>, named: Vec<(String, Box<str>)> },
}

impl Call {
    /// The payload for an event with these fields: positional arguments are its fields in the order
    /// of their declaration, and named ones those of their names.
    pub(crate) fn payload(&self, fields: &[Field]) -> Result<Arc<str>, String> {
        let (positional, named) = match self {
            Self::Event { payload, .. } => return Ok(payload.clone()),
            Self::Function { positional, named } => (positional, named),
        };
        if positional.len() > fields.len() {
            return Err(format!(
                "it has {} positional arguments, and the event has {} fields",
                positional.len(),
                fields.len()
            ));
        }
        let by_position = fields.iter().map(|field| field.name).zip(positional);
        let by_name = named.iter().map(|(name, value)| (&**name, value));
        let mut object = Object::default();
        for (name, value) in by_position.chain(by_name) {
            if object.raw(name).is_some() {
                return Err(format!("it has two values for the argument `{name}`"));
            }
            object.push(name.to_owned(), value.to_string());
        }
        Ok(object.to_string().into())
    }

    /// For people: what it was called with.
    pub(crate) fn to_json(&self) -> String {
        match self {
            Self::Event { payload, .. } => payload.to_string(),
            Self::Function { positional, named } => {
                let mut kwargs = Object::default();
                for (name, value) in named {
                    kwargs.push(name.clone(), value.to_string());
                }
                format!("[[{}],{kwargs}]", positional.join(","))
            }
        }
    }

    pub(crate) fn event_id(&self) -> Option<EventId> {
        match self {
            Self::Event { event_id, .. } => {
                event_id.as_deref().map(|id| EventId::from_bytes(uuid_of(id).into_bytes()))
            }
            Self::Function { .. } => None,
        }
    }
}

/// The UUID that a text is, or one that is made from it.
pub(crate) fn uuid_of(text: &str) -> Uuid {
    Uuid::try_parse(text).unwrap_or_else(|_| Uuid::new_v5(&Uuid::NAMESPACE_OID, text.as_bytes()))
}

/// What kombu wraps a message in. Read in one go: most of the work of a claim is here.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Envelope<'m> {
    #[serde(borrow)]
    body: Option<Name<'m>>,
    #[serde(borrow)]
    content_type: Option<Name<'m>>,
    #[serde(borrow)]
    headers: Option<Object<'m>>,
    #[serde(borrow)]
    properties: Option<Object<'m>>,
}

impl Message {
    /// Reads a message.
    pub(crate) fn read(text: &str) -> Result<Self, Unreadable> {
        let envelope: Envelope<'_> = serde_json::from_str(text)
            .map_err(|error| Unreadable::broken(format!("it is not a message: {error}")))?;
        let headers = envelope.headers.unwrap_or_default();
        let properties = envelope.properties.unwrap_or_default();
        json_only(envelope.content_type.as_ref())?;
        let Some(Name(body)) = &envelope.body else {
            return Err(Unreadable::broken("it has no `body`"));
        };
        let body = unpack(body, &headers, &properties)?;
        let body = body.trim_start();
        let message = match body.starts_with('{') {
            true => version_1(body)?,
            false => version_2(body, &headers)?,
        };
        let celerys = properties.get::<i64>("priority").unwrap_or(0);
        let priority = headers.get(header::PRIORITY);
        Ok(Self {
            priority: priority.unwrap_or_else(|| i16::try_from(celerys.clamp(0, 9)).unwrap_or(0)),
            ..message
        })
    }

    /// Which attempt this one is.
    pub(crate) fn attempt(&self) -> u32 {
        self.retries.saturating_add(self.rescued).saturating_add(1)
    }
}

fn json_only(content_type: Option<&Name<'_>>) -> Result<(), Unreadable> {
    match content_type.map(|Name(name)| &**name) {
        Some("application/json") => Ok(()),
        Some(other) => Err(Unreadable::foreign(format!(
            "its content type is `{other}`, and only JSON is read; send it with `serializer=\"json\"`"
        ))),
        None => Err(Unreadable::broken("it has no `content-type`")),
    }
}

/// The body as JSON text.
fn unpack(body: &str, headers: &Object<'_>, properties: &Object<'_>) -> Result<String, Unreadable> {
    let bytes = match properties.raw("body_encoding") {
        Some("\"base64\"") => BASE64_STANDARD
            .decode(body)
            .map_err(|error| Unreadable::broken(format!("its body is not base64: {error}")))?,
        None | Some("\"utf-8\"" | "null") => body.as_bytes().to_vec(),
        Some(other) => {
            return Err(Unreadable::foreign(format!("its body encoding is {other}")));
        }
    };
    let bytes = match headers.text("compression").as_deref() {
        None => bytes,
        Some("application/x-gzip" | "gzip" | "zlib") => inflate(&bytes)?,
        Some(other) => {
            return Err(Unreadable::foreign(format!(
                "its compression is `{other}`, and only gzip is read"
            )));
        }
    };
    String::from_utf8(bytes)
        .map_err(|error| Unreadable::broken(format!("its body is not UTF-8: {error}")))
}

/// A small message must not unfold to all the memory there is.
const LARGEST_BODY_BYTES: u64 = 256 * 1024 * 1024;

/// What Celery calls gzip is zlib's format (RFC 1950).
fn inflate(bytes: &[u8]) -> Result<Vec<u8>, Unreadable> {
    let mut out = Vec::new();
    let mut decoder = ZlibDecoder::new(bytes).take(LARGEST_BODY_BYTES + 1);
    decoder
        .read_to_end(&mut out)
        .map_err(|error| Unreadable::broken(format!("its body cannot be decompressed: {error}")))?;
    if out.len() as u64 > LARGEST_BODY_BYTES {
        return Err(Unreadable::broken("its body is larger than 256 MiB when decompressed"));
    }
    Ok(out)
}

/// `[args, kwargs, embed]`, and nothing else.
#[derive(Deserialize)]
struct Body<'m>(
    #[serde(borrow)] Vec<&'m RawValue>,
    #[serde(borrow)] Object<'m>,
    #[serde(borrow)] Option<Object<'m>>,
);

fn version_2(body: &str, headers: &Object<'_>) -> Result<Message, Unreadable> {
    let untagged;
    let body = match body.contains("__type__") {
        true => {
            untagged = untag(body)?;
            &untagged
        }
        false => body,
    };
    let Body(args, kwargs, embed) = serde_json::from_str(body).map_err(not_json)?;
    let Some(name) = headers.text("task").filter(|name| !name.is_empty()) else {
        return Err(Unreadable::broken("it has no header `task`"));
    };
    let Some(id) = id(headers) else {
        return Err(Unreadable::broken("it has no header `id`"));
    };
    let embed = embed.unwrap_or_default();
    Ok(Message {
        version_1: false,
        id,
        name,
        call: call(&args, &kwargs)?,
        retries: headers.get("retries").unwrap_or(0),
        rescued: headers.get(header::RESCUED).unwrap_or(0),
        returned: headers.get(header::RETURNED).unwrap_or(0),
        eta: moment(headers, "eta")?,
        expires: moment(headers, "expires")?,
        workflow: ["callbacks", "errbacks", "chain", "chord"]
            .iter()
            .any(|name| filled(&embed, name)),
        ignore_result: headers.get("ignore_result").unwrap_or(false),
        priority: 0,
        event: headers.text(header::EVENT),
        published_at: headers.get(header::PUBLISHED_AT).map(Timestamp::from_micros),
        debounce: headers.text(header::DEBOUNCE),
        errors: headers.get(header::ERRORS).unwrap_or_default(),
        headers: others(headers),
    })
}

/// Whose headers are empty, and whose body is an object.
fn version_1(body: &str) -> Result<Message, Unreadable> {
    let untagged;
    let body = match body.contains("__type__") {
        true => {
            untagged = untag(body)?;
            &untagged
        }
        false => body,
    };
    let fields = Object::parse(body).map_err(not_json)?;
    let Some(name) = fields.text("task").filter(|name| !name.is_empty()) else {
        return Err(Unreadable::broken("its body is an object without `task`"));
    };
    let Some(id) = id(&fields) else {
        return Err(Unreadable::broken("its body is an object without `id`"));
    };
    let args: Vec<&RawValue> =
        serde_json::from_str(fields.raw("args").unwrap_or("[]")).map_err(not_json)?;
    let kwargs = Object::parse(fields.raw("kwargs").unwrap_or("{}")).map_err(not_json)?;
    let workflow = ["callbacks", "errbacks", "chord", "taskset"];
    Ok(Message {
        version_1: true,
        id,
        name,
        call: call(&args, &kwargs)?,
        retries: fields.get("retries").unwrap_or(0),
        rescued: 0,
        returned: 0,
        eta: moment(&fields, "eta")?,
        expires: moment(&fields, "expires")?,
        workflow: workflow.iter().any(|name| filled(&fields, name)),
        ignore_result: false,
        priority: 0,
        event: None,
        published_at: None,
        debounce: None,
        errors: Vec::new(),
        headers: Headers::new(),
    })
}

fn not_json(error: serde_json::Error) -> Unreadable {
    Unreadable::broken(format!("its body is not JSON of the expected form: {error}"))
}

/// An integer is taken for its digits; Python does not send any, and others might.
fn id(from: &Object<'_>) -> Option<String> {
    let id = from.text("id").or_else(|| from.get::<u64>("id").map(|id| id.to_string()));
    id.filter(|id| !id.is_empty())
}

/// Whether the field holds something that somebody waits for.
fn filled(object: &Object<'_>, name: &str) -> bool {
    object.raw(name).is_some_and(|value| !matches!(value, "null" | "[]" | "{}" | "\"\"" | "false"))
}

/// A time that cannot be read must not be taken for none: the task would run too early, or too late.
fn moment(from: &Object<'_>, name: &str) -> Result<Option<Timestamp>, Unreadable> {
    let Some(json) = from.raw(name).filter(|value| *value != "null") else { return Ok(None) };
    let text: Cow<'_, str> = match serde_json::from_str::<String>(json) {
        Ok(text) => text.into(),
        Err(_) => json.into(),
    };
    let time = match text.parse::<f64>() {
        // `expires` of version 1 may be seconds since the epoch.
        Ok(seconds) if seconds.is_finite() && seconds.abs() < 1e11 =>
        {
            #[expect(clippy::cast_possible_truncation, reason = "checked to be in range")]
            Some(Timestamp::from_micros((seconds * 1e6) as i64))
        }
        _ => time::parse(&text),
    };
    match time {
        Some(time) => Ok(Some(time)),
        None => Err(Unreadable::broken(format!("its `{name}` is no time: {json}"))),
    }
}

/// Texts that are neither Celery's nor ours.
fn others(headers: &Object<'_>) -> Headers {
    let mut found = Headers::new();
    for (name, value) in headers.iter() {
        if value.starts_with('"')
            && !header::is_taken(name)
            && let Ok(text) = serde_json::from_str::<String>(value)
        {
            found.insert(name, text);
        }
    }
    found
}

fn call(positional: &[&RawValue], named: &Object<'_>) -> Result<Call, Unreadable> {
    let is_text = |value: &str| value.starts_with('"');
    let is_object = |value: &str| value.starts_with('{');
    let text = |json: &str| serde_json::from_str::<String>(json).map_err(not_json);
    match (positional, named.iter().count()) {
        ([payload], 0) if is_object(payload.get()) => {
            return Ok(Call::Event { payload: payload.get().into(), event_id: None });
        }
        ([payload, id], 0) if is_object(payload.get()) && is_text(id.get()) => {
            return Ok(Call::Event {
                payload: payload.get().into(),
                event_id: Some(text(id.get())?),
            });
        }
        ([], count) => {
            let id = named.raw("event_id").filter(|id| is_text(id));
            let payload = named.raw("payload").filter(|payload| is_object(payload));
            if let Some(payload) = payload
                && count == 1 + usize::from(id.is_some())
            {
                let event_id = id.map(text).transpose()?;
                return Ok(Call::Event { payload: payload.into(), event_id });
            }
        }
        _ => {}
    }
    Ok(Call::Function {
        positional: positional.iter().map(|value| value.get().into()).collect(),
        named: named.iter().map(|(name, value)| (name.to_owned(), value.into())).collect(),
    })
}

/// kombu writes dates, times, UUIDs, decimals and bytes as tagged objects. An event has texts there.
fn untag(json: &str) -> Result<String, Unreadable> {
    let value: Value = serde_json::from_str(json).map_err(not_json)?;
    Ok(untagged(value).to_string())
}

fn untagged(value: Value) -> Value {
    match value {
        Value::Object(fields) => match tagged(&fields) {
            Some(value) => value,
            None => fields.into_iter().map(|(name, value)| (name, untagged(value))).collect(),
        },
        Value::Array(items) => items.into_iter().map(untagged).collect(),
        other => other,
    }
}

fn tagged(fields: &Map<String, Value>) -> Option<Value> {
    let (Some(Value::String(kind)), Some(value), 2) =
        (fields.get("__type__"), fields.get("__value__"), fields.len())
    else {
        return None;
    };
    match (kind.as_str(), value) {
        ("uuid", Value::Object(uuid)) => {
            let hex = uuid.get("hex")?.as_str()?;
            Some(Uuid::try_parse(hex).map_or(value.clone(), |uuid| uuid.to_string().into()))
        }
        ("datetime" | "date" | "time" | "decimal" | "bytes" | "base64", Value::String(_)) => {
            Some(value.clone())
        }
        _ => None,
    }
}
