//! The payload law: which types may stand in an event's field, and how each is JSON.
//!
//! Everything here is lossless: what was encoded decodes to an equal value. Readers of other
//! languages see plain JSON (RFC 8259); integers beyond 2^53 are written exactly.

mod codec;
mod collections;
mod primitives;

pub use codec::{Codec, DecodeError, EncodeError, Encoder, Object};

use serde_json::Value;

/// The kinds of JSON value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum JsonKind {
    /// `true` or `false`.
    Boolean,
    /// A number without fraction.
    Integer,
    /// Any finite number.
    Number,
    /// A text.
    String,
    /// A list; tuples and sets are lists too.
    Array,
    /// An object: a nested event or a map.
    Object,
}

impl std::fmt::Display for JsonKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Boolean => "a boolean",
            Self::Integer => "an integer",
            Self::Number => "a number",
            Self::String => "a string",
            Self::Array => "an array",
            Self::Object => "an object",
        })
    }
}

/// One field of an event, as data.
#[derive(Debug, Clone, Copy)]
pub struct Field {
    /// The key in the JSON object.
    pub name: &'static str,
    /// The field's name in Rust: another than `name` only if the field is renamed.
    pub rust_name: &'static str,
    /// The kind of its value.
    pub kind: JsonKind,
    /// Whether it may be absent or `null`.
    pub optional: bool,
    /// The fields of the event type nested in it, if any. A function, because types may be
    /// recursive.
    pub nested: Option<fn() -> &'static [Field]>,
}

impl Field {
    #[doc(hidden)]
    #[must_use]
    pub const fn named(mut self, name: &'static str) -> Self {
        self.name = name;
        self.rust_name = name;
        self
    }

    #[doc(hidden)]
    #[must_use]
    pub const fn renamed(mut self, rust_name: &'static str) -> Self {
        self.rust_name = rust_name;
        self
    }

    #[doc(hidden)]
    #[must_use]
    pub const fn optional(mut self) -> Self {
        self.optional = true;
        self
    }
}

/// A type that may stand in an event's field.
///
/// Sealed by convention: it is implemented for the types below and, by `#[derive(Event)]`, for
/// events. Its items are not public API.
///
/// `bool`, integers up to 64 bits, `f32`, `f64`, `String`, `Option<T>`, `Vec<T>`, arrays, tuples up
/// to twelve, `BTreeSet<T>`, `HashSet<T>`, `BTreeMap<String, T>`, `HashMap<String, T>`, `Box<T>`,
/// and structs that derive `Event`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` can't stand in an event",
    label = "not a JSON primitive",
    note = "an event carries bool, integers up to 64 bits, f32/f64, String, Option (of no Option)/Vec/array/tuple/set of these, maps keyed by String, and structs that derive `Event`"
)]
pub trait EventField: Sized {
    #[doc(hidden)]
    const KIND: JsonKind;
    #[doc(hidden)]
    const OPTIONAL: bool = false;
    #[doc(hidden)]
    const NESTED: Option<fn() -> &'static [Field]> = None;

    /// All that generated code needs of a field's type.
    #[doc(hidden)]
    const __CODEC: Codec<Self> = Codec::NEW;

    #[doc(hidden)]
    fn __encode(&self, to: &mut Encoder) -> Result<(), EncodeError>;

    #[doc(hidden)]
    fn __decode(value: Value) -> Result<Self, DecodeError>;

    /// The value of a field that is not there at all.
    #[doc(hidden)]
    #[must_use]
    fn __absent() -> Option<Self> {
        None
    }
}

/// A field type that is never `null`, and so may stand inside an `Option`.
///
/// `Option<Option<T>>` is refused by it: `null` could not say which of the two is empty.
#[diagnostic::on_unimplemented(
    message = "`{Self}` can't stand inside an `Option` in an event",
    label = "`null` couldn't say which of the two options is empty",
    note = "use one `Option`"
)]
pub trait NeverNull: EventField {}
