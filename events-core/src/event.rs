//! What an event is, and the only place where one becomes JSON or is read back.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde_json::Value;
use uuid::Uuid;

pub use crate::payload::{DecodeError, EncodeError, Encoder, Field, JsonKind, Object};

/// An immutable value that says what happened.
///
/// Implement it with `#[derive(Event)]`, which also generates the JSON codec. Name events in the
/// past tense and let them carry identifiers rather than state: a handler runs later and re-reads
/// what is true then.
///
/// There are no supertraits: the fields an event may have make every event owned, `Send`, `Sync`
/// and `'static`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an event",
    label = "expected a type that derives `Event`",
    note = "add `#[derive(Event)]` above the declaration of `{Self}`"
)]
pub trait Event: Sized {
    /// The name on the wire: the path of the type, with dots (`crate.module.Type`), unless
    /// `#[event(name = "…")]` pins another.
    const NAME: &'static str;

    /// The fields, in the order of their declaration.
    const FIELDS: &'static [Field];

    #[doc(hidden)]
    fn __encode(&self, to: &mut Encoder) -> Result<(), EncodeError>;

    #[doc(hidden)]
    fn __decode(from: &mut Object) -> Result<Self, DecodeError>;
}

/// Encodes `event` as a JSON object.
///
/// # Errors
/// A float that is not finite, or nesting deeper than a JSON reader accepts; the error names the
/// field.
pub fn encode<E: Event>(event: &E) -> Result<Arc<str>, EncodeError> {
    let mut encoder = Encoder::new();
    event.__encode(&mut encoder)?;
    Ok(encoder.finish())
}

/// Reads an event from its JSON object. Fields it does not know are ignored.
///
/// # Errors
/// Text that is not a JSON object, a field that is missing, or one of another kind; the error
/// names the field.
pub fn decode<E: Event>(payload: &str) -> Result<E, DecodeError> {
    E::__decode(&mut parse(payload)?)
}

pub(crate) fn parse(payload: &str) -> Result<Object, DecodeError> {
    object(serde_json::from_str(payload).map_err(|error| DecodeError::not_json(&error))?)
}

pub(crate) fn object(value: Value) -> Result<Object, DecodeError> {
    match value {
        Value::Object(object) => Ok(Object::new(object)),
        other => Err(DecodeError::expected(JsonKind::Object, &other)),
    }
}

macro_rules! identifier {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Uuid);

        impl $name {
            /// A new identifier: a UUID v7, so that identifiers sort by the time they were made.
            #[must_use]
            pub fn generate() -> Self {
                Self(Uuid::now_v7())
            }

            /// The 16 bytes, big-endian, as a database stores them.
            #[must_use]
            pub const fn to_bytes(self) -> [u8; 16] {
                self.0.into_bytes()
            }

            /// The identifier with these 16 bytes.
            #[must_use]
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(Uuid::from_bytes(bytes))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.as_simple().fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0.as_simple())
            }
        }

        impl FromStr for $name {
            type Err = InvalidIdentifier;

            /// Reads 32 hex digits; hyphens are accepted.
            fn from_str(text: &str) -> Result<Self, InvalidIdentifier> {
                Uuid::try_parse(text).map(Self).map_err(|_| InvalidIdentifier(text.into()))
            }
        }
    };
}

identifier! {
    /// Identifies one publish. Every task of the event carries it, whatever the number of
    /// subscribers and attempts; use it to recognise what you have already seen.
    ///
    /// Shown as 32 hex digits.
    EventId
}

identifier! {
    /// Identifies one task: one event for one subscriber.
    ///
    /// Shown as 32 hex digits.
    TaskId
}

identifier! {
    /// Identifies one run of a worker. Random, never derived from host or process: a container that
    /// restarts in place must not be taken for its predecessor.
    ///
    /// Shown as 32 hex digits.
    WorkerId
}

/// The text is no identifier.
#[derive(Debug, Clone, thiserror::Error)]
#[error("`{0}` is not an identifier; expected 32 hex digits")]
pub struct InvalidIdentifier(String);

/// An event type as data: what a registration knows about it.
#[derive(Clone, Copy)]
pub struct EventType {
    /// [`Event::NAME`].
    pub name: &'static str,
    /// [`Event::FIELDS`].
    pub fields: &'static [Field],
    /// Tells apart two types that claim one name.
    pub id: std::any::TypeId,
    /// The type's path in Rust, for people.
    pub rust_path: fn() -> &'static str,
}

impl fmt::Debug for EventType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EventType({})", self.name)
    }
}

impl PartialEq for EventType {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

impl Eq for EventType {}
