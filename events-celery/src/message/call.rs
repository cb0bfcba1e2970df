//! What a task is called with.

use std::sync::Arc;

use events_core::EventId;
use events_core::event::Field;
use serde_json::value::RawValue;

use super::decode::{Unreadable, uuid_of};
use super::object::{Object, json_text};

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
    /// of their declaration, and named ones those of their names. An argument that is none of them is an
    /// error, as it is for a function in Python: it may be one that is misspelt.
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
            if fields.iter().all(|field| field.name != name) {
                return Err(format!(
                    "it has the argument `{name}`, and the event has no such field"
                ));
            }
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
            Self::Function { .. } => {
                let (args, kwargs) = self.arguments();
                format!("[{args},{kwargs}]")
            }
        }
    }

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

    pub(crate) fn event_id(&self) -> Option<EventId> {
        match self {
            Self::Event { event_id, .. } => {
                event_id.as_deref().map(|id| EventId::from_bytes(uuid_of(id).into_bytes()))
            }
            Self::Function { .. } => None,
        }
    }
}

/// As what the arguments are meant: an event, or anything else.
pub(super) fn call(positional: &[&RawValue], named: &Object<'_>) -> Result<Call, Unreadable> {
    let is_text = |value: &str| value.starts_with('"');
    let is_object = |value: &str| value.starts_with('{');
    let text = |json: &str| {
        serde_json::from_str::<String>(json)
            .map_err(|error| Unreadable::malformed(format!("its event id cannot be read: {error}")))
    };
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
