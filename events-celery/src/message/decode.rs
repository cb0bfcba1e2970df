//! A message as a task.
//!
//! What cannot be read is said with its reason, so that it can be kept and looked at.

use std::io::Read;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use events_core::Timestamp;
use events_core::broker::AttemptError;
use events_core::task::Headers;
use flate2::read::ZlibDecoder;
use serde::Deserialize;
use serde_json::value::RawValue;
use uuid::Uuid;

use super::call::{Call, call};
use super::envelope::Envelope;
use super::object::{Object, Text};
use super::tags::untag;
use super::{header, python, time};
use crate::panics::caught;

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

/// A reason may quote what is in the message, which may be large.
const LONGEST_REASON_BYTES: usize = 500;

impl Unreadable {
    /// A message that no worker can run.
    pub(super) fn malformed(what: impl Into<String>) -> Self {
        let remedy = "; send it with Celery's `apply_async`, or as its message protocol 2 says";
        Self { reason: cut(what.into()) + remedy, others_may: false }
    }

    fn foreign(reason: impl Into<String>) -> Self {
        Self { reason: cut(reason.into()), others_may: true }
    }
}

fn cut(mut reason: String) -> String {
    if reason.len() > LONGEST_REASON_BYTES {
        reason.truncate(reason.floor_char_boundary(LONGEST_REASON_BYTES));
        reason.push('…');
    }
    reason
}

/// The UUID that a text is, or one that is made from it.
pub(crate) fn uuid_of(text: &str) -> Uuid {
    Uuid::try_parse(text).unwrap_or_else(|_| Uuid::new_v5(&Uuid::NAMESPACE_OID, text.as_bytes()))
}

impl Message {
    /// Reads a message. A panic over it makes it unreadable, and nothing worse: whoever reads messages holds
    /// others besides.
    pub(crate) fn read(text: &str) -> Result<Self, Unreadable> {
        guarded(|| Self::decode(text))
    }

    /// Whether nobody is to run it any more by now.
    pub(crate) fn has_expired(&self, now: Timestamp) -> bool {
        self.expires.is_some_and(|expires| expires <= now)
    }

    fn decode(text: &str) -> Result<Self, Unreadable> {
        let envelope: Envelope<'_> = serde_json::from_str(text)
            .map_err(|error| Unreadable::malformed(format!("it is not a message: {error}")))?;
        let headers = &envelope.headers;
        let body = body(&envelope)?;
        let message = match body.starts_with('{') {
            true => version_1(&body)?,
            false => version_2(&body, headers)?,
        };
        let celerys = envelope.properties.get::<i64>("priority").unwrap_or(0);
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

pub(super) fn guarded(
    decode: impl FnOnce() -> Result<Message, Unreadable>,
) -> Result<Message, Unreadable> {
    caught(decode).unwrap_or_else(|reason| Err(Unreadable::foreign(reason)))
}

/// The body as JSON text, without the tags of kombu.
pub(super) fn body(envelope: &Envelope<'_>) -> Result<String, Unreadable> {
    json_only(envelope.content_type.as_ref())?;
    utf_8_only(envelope.content_encoding.as_ref())?;
    let Some(Text(body)) = &envelope.body else {
        return Err(Unreadable::malformed("it has no `body`"));
    };
    let body = unpack(body, &envelope.headers, &envelope.properties)?;
    match body.contains("__type__") || body.starts_with([' ', '\n', '\r', '\t']) {
        true => untag(&body),
        false => Ok(body),
    }
}

fn utf_8_only(encoding: Option<&Text<'_>>) -> Result<(), Unreadable> {
    match encoding {
        Some(Text(name)) if !UTF_8.iter().any(|known| name.eq_ignore_ascii_case(known)) => {
            Err(Unreadable::foreign(format!(
                "its content encoding is `{name}`, and only UTF-8 is read; send it with `serializer=\"json\"`"
            )))
        }
        _ => Ok(()),
    }
}

/// What kombu calls it, and what is a part of it; for "binary" it does not look.
const UTF_8: &[&str] = &["", "utf-8", "utf8", "us-ascii", "ascii", "binary", "ascii-8bit"];

fn json_only(content_type: Option<&Text<'_>>) -> Result<(), Unreadable> {
    match content_type.map(|Text(name)| &**name) {
        Some("application/json") => Ok(()),
        Some(other) => Err(Unreadable::foreign(format!(
            "its content type is `{other}`, and only JSON is read; send it with `serializer=\"json\"`"
        ))),
        None => Err(Unreadable::malformed("it has no `content-type`")),
    }
}

/// The body as JSON text.
fn unpack(body: &str, headers: &Object<'_>, properties: &Object<'_>) -> Result<String, Unreadable> {
    let bytes = match properties.raw("body_encoding") {
        Some("\"base64\"") => BASE64_STANDARD
            .decode(body)
            .map_err(|error| Unreadable::malformed(format!("its body is not base64: {error}")))?,
        None | Some("\"utf-8\"" | "null") => body.as_bytes().to_vec(),
        Some(other) => {
            return Err(Unreadable::foreign(format!("its body encoding is {other}")));
        }
    };
    let bytes = match headers.text("compression").as_deref() {
        None => bytes,
        Some("application/x-gzip" | "gzip" | "zlib") => inflate(&bytes, LARGEST_BODY_BYTES)?,
        Some(other) => {
            return Err(Unreadable::foreign(format!(
                "its compression is `{other}`, and only gzip is read"
            )));
        }
    };
    String::from_utf8(bytes)
        .map_err(|error| Unreadable::malformed(format!("its body is not UTF-8: {error}")))
}

/// A small message must not unfold to all the memory there is.
const LARGEST_BODY_BYTES: u64 = 64 * 1024 * 1024;

/// What Celery calls gzip is zlib's format (RFC 1950).
pub(super) fn inflate(bytes: &[u8], most: u64) -> Result<Vec<u8>, Unreadable> {
    let mut out = Vec::new();
    let mut decoder = ZlibDecoder::new(bytes).take(most + 1);
    decoder.read_to_end(&mut out).map_err(|error| {
        Unreadable::malformed(format!("its body cannot be decompressed: {error}"))
    })?;
    if out.len() as u64 > most {
        return Err(Unreadable::malformed(format!(
            "its body is larger than {} MiB when decompressed",
            most / 1024 / 1024
        )));
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
    let Body(args, kwargs, embed) = serde_json::from_str(body).map_err(|error| {
        match python::standard(body).is_some_and(|body| serde_json::from_str::<Body<'_>>(&body).is_ok()) {
            true => Unreadable::foreign(
                "its body has NaN or Infinity, which Python writes and JSON does not have; send `None` or a text instead",
            ),
            false => not_json(error),
        }
    })?;
    let Some(name) = headers.text("task").filter(|name| !name.is_empty()) else {
        return Err(Unreadable::malformed("it has no header `task`"));
    };
    let Some(id) = id(headers) else {
        return Err(Unreadable::malformed("it has no header `id`"));
    };
    let embed = embed.unwrap_or_default();
    Ok(Message {
        version_1: false,
        id,
        name,
        call: call(&args, &kwargs)?,
        retries: count(headers, "retries"),
        rescued: count(headers, header::RESCUED),
        returned: count(headers, header::RETURNED),
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
    let fields = Object::parse(body).map_err(not_json)?;
    let Some(name) = fields.text("task").filter(|name| !name.is_empty()) else {
        return Err(Unreadable::malformed("its body is an object without `task`"));
    };
    let Some(id) = id(&fields) else {
        return Err(Unreadable::malformed("its body is an object without `id`"));
    };
    let given = |name| fields.raw(name).filter(|_| fields.has(name));
    let args: Vec<&RawValue> =
        serde_json::from_str(given("args").unwrap_or("[]")).map_err(not_json)?;
    let kwargs = Object::parse(given("kwargs").unwrap_or("{}")).map_err(not_json)?;
    let workflow = ["callbacks", "errbacks", "chord"];
    Ok(Message {
        version_1: true,
        id,
        name,
        call: call(&args, &kwargs)?,
        retries: count(&fields, "retries"),
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

#[expect(clippy::needless_pass_by_value, reason = "for `map_err`")]
fn not_json(error: serde_json::Error) -> Unreadable {
    Unreadable::malformed(format!("its body is not JSON of the expected form: {error}"))
}

/// An integer is taken for its digits; Python does not send any, and others might.
fn id(from: &Object<'_>) -> Option<String> {
    let id = from.text("id").or_else(|| from.get::<u64>("id").map(|id| id.to_string()));
    id.filter(|id| !id.is_empty())
}

/// How often something was done; what is no number is never, and more than can be counted is a lot: it
/// must not begin anew.
pub(crate) fn count(from: &Object<'_>, name: &str) -> u32 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "what is too large or too small is the largest or the smallest"
    )]
    from.get::<f64>(name).map_or(0, |number| number as u32)
}

/// Whether the field holds something that somebody waits for.
fn filled(object: &Object<'_>, name: &str) -> bool {
    object.raw(name).is_some_and(|value| !matches!(value, "null" | "[]" | "{}" | "\"\"" | "false"))
}

/// A time that cannot be read must not be taken for none: the task would run too early, or too late.
fn moment(from: &Object<'_>, name: &str) -> Result<Option<Timestamp>, Unreadable> {
    let Some(json) = from.raw(name).filter(|value| *value != "null") else { return Ok(None) };
    let untagged = untag(json)?;
    let text = serde_json::from_str::<String>(&untagged).unwrap_or(untagged);
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
        None => Err(Unreadable::malformed(format!(
            "its `{name}` is no time such as 2030-01-31T12:00:00+00:00: {json}"
        ))),
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
