//! The encoder, the object that is read from, and what can go wrong with either.

use std::fmt;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::{EventField, Field, JsonKind};

/// `serde_json` reads at most 128 levels; what is written must be readable.
const MAXIMUM_DEPTH: u8 = 120;

/// Writes compact JSON. Used by generated code.
#[derive(Debug)]
pub struct Encoder {
    json: Vec<u8>,
    depth: u8,
    /// Whether the object or array that is open has an element already.
    separate: bool,
}

impl Encoder {
    pub(crate) fn new() -> Self {
        Self { json: Vec::with_capacity(128), depth: 0, separate: false }
    }

    pub(crate) fn finish(self) -> Arc<str> {
        // The writer below emits ASCII punctuation and whole `str`s only.
        String::from_utf8(self.json).expect("JSON is built from str").into()
    }

    #[doc(hidden)]
    pub fn object(&mut self) -> Fields<'_> {
        let so_far = self.begin_object();
        Fields { to: self, so_far }
    }

    pub(super) fn begin_object(&mut self) -> Result<(), EncodeError> {
        self.open(b'{')
    }

    pub(super) fn end_object(&mut self) {
        self.close(b'}');
    }

    pub(super) fn field<T: EventField>(
        &mut self,
        name: &str,
        value: &T,
    ) -> Result<(), EncodeError> {
        self.key(name);
        value.__encode(self).map_err(|error| error.within(name))
    }

    pub(super) fn begin_array(&mut self) -> Result<(), EncodeError> {
        self.open(b'[')
    }

    pub(super) fn end_array(&mut self) {
        self.close(b']');
    }

    pub(super) fn element<T: EventField>(
        &mut self,
        index: usize,
        value: &T,
    ) -> Result<(), EncodeError> {
        self.separator();
        value.__encode(self).map_err(|error| error.at(index))
    }

    /// Appends elements that were encoded apart, in an order of their own.
    pub(super) fn encoded_element(&mut self, json: &[u8]) {
        self.separator();
        self.json.extend_from_slice(json);
    }

    /// An encoder for one element that is placed later, by [`encoded_element`](Self::encoded_element).
    pub(super) fn detached(&self) -> Self {
        Self { json: Vec::new(), depth: self.depth, separate: false }
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.json
    }

    pub(super) fn scalar<T: serde::Serialize + ?Sized>(&mut self, value: &T) {
        serde_json::to_writer(&mut self.json, value).expect("a Vec takes every scalar");
    }

    fn key(&mut self, name: &str) {
        self.separator();
        self.scalar(name);
        self.json.push(b':');
    }

    fn open(&mut self, bracket: u8) -> Result<(), EncodeError> {
        if self.depth == MAXIMUM_DEPTH {
            return Err(EncodeError::new(Cannot::NestSoDeep));
        }
        self.depth += 1;
        self.separate = false;
        self.json.push(bracket);
        Ok(())
    }

    fn close(&mut self, bracket: u8) {
        self.depth -= 1;
        self.separate = true;
        self.json.push(bracket);
    }

    fn separator(&mut self) {
        if self.separate {
            self.json.push(b',');
        }
        self.separate = true;
    }
}

/// An object that is being written. A chain of calls without `?` is what compiles fastest.
#[doc(hidden)]
#[derive(Debug)]
#[must_use]
pub struct Fields<'e> {
    to: &'e mut Encoder,
    /// The first error; nothing is written after it.
    so_far: Result<(), EncodeError>,
}

impl Fields<'_> {
    #[doc(hidden)]
    pub fn put<T>(mut self, codec: &Codec<T>, name: &str, value: &T) -> Self {
        if self.so_far.is_ok() {
            self.so_far = (codec.put)(self.to, name, value);
        }
        self
    }

    #[doc(hidden)]
    pub fn end(self) -> Result<(), EncodeError> {
        self.so_far?;
        self.to.end_object();
        Ok(())
    }
}

/// The JSON object that an event is read from. Used by generated code.
#[derive(Debug)]
pub struct Object(Map<String, Value>);

impl Object {
    pub(crate) fn new(map: Map<String, Value>) -> Self {
        Self(map)
    }

    /// The field under the first of its names that is there.
    pub(super) fn field<T: EventField>(&mut self, names: &[&str]) -> Result<T, DecodeError> {
        match self.take(names) {
            Some((name, value)) => T::__decode(value).map_err(|error| error.within(name)),
            None => T::__absent().ok_or_else(|| DecodeError::missing(names[0])),
        }
    }

    /// Whether there is a field under one of these names.
    #[doc(hidden)]
    #[must_use]
    pub fn has(&self, names: &[&str]) -> bool {
        names.iter().any(|name| self.0.contains_key(*name))
    }

    fn take<'n>(&mut self, names: &[&'n str]) -> Option<(&'n str, Value)> {
        names.iter().find_map(|name| self.0.remove(*name).map(|value| (*name, value)))
    }
}

/// How a field is described, written and read: all that generated code needs of its type. Unlike
/// the trait it names the type without claiming anything of it, so that a type which may not stand
/// in an event is complained about in one place.
#[doc(hidden)]
#[derive(Debug)]
pub struct Codec<T> {
    field: Field,
    put: fn(&mut Encoder, &str, &T) -> Result<(), EncodeError>,
    take: fn(&mut Object, &[&str]) -> Result<T, DecodeError>,
}

impl<T: EventField> Codec<T> {
    /// The type's own.
    pub(super) const NEW: Self = Self {
        field: Field {
            name: "",
            rust_name: "",
            kind: T::KIND,
            optional: T::OPTIONAL,
            nested: T::NESTED,
        },
        put: Encoder::field,
        take: Object::field,
    };
}

impl<T> Codec<T> {
    #[doc(hidden)]
    #[must_use]
    pub const fn named(&self, name: &'static str) -> Field {
        self.field.named(name)
    }

    #[doc(hidden)]
    pub fn take(&self, from: &mut Object, name: &str) -> Result<T, DecodeError> {
        (self.take)(from, &[name])
    }

    /// The field under the first of its names that is there.
    #[doc(hidden)]
    pub fn take_any(&self, from: &mut Object, names: &[&str]) -> Result<T, DecodeError> {
        (self.take)(from, names)
    }
}

/// An event that cannot be JSON. The session that refused it stays usable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncodeError {
    path: String,
    cannot: Cannot,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cannot {
    BeInfinite,
    NestSoDeep,
}

impl EncodeError {
    #[cold]
    pub(super) fn new(cannot: Cannot) -> Self {
        Self { path: String::new(), cannot }
    }

    #[cold]
    pub(super) fn within(mut self, field: &str) -> Self {
        prefix(&mut self.path, field);
        self
    }

    #[cold]
    pub(super) fn at(self, index: usize) -> Self {
        self.within(&format!("[{index}]"))
    }

    /// The path of the field, such as `readings[3].value`.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, cannot } = self;
        match cannot {
            Cannot::BeInfinite => write!(
                f,
                "field `{path}` is not a finite number, and JSON has no other; check it before publishing, or make the field an Option"
            ),
            Cannot::NestSoDeep => write!(
                f,
                "field `{path}` nests deeper than {MAXIMUM_DEPTH} levels, which no reader would accept; send identifiers rather than a tree"
            ),
        }
    }
}

impl std::error::Error for EncodeError {}

/// A payload that is not the event it is read as. Trying again cannot help.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecodeError {
    path: String,
    problem: String,
}

impl DecodeError {
    #[cold]
    pub(crate) fn new(problem: String) -> Self {
        Self { path: String::new(), problem }
    }

    #[cold]
    pub(crate) fn expected(kind: JsonKind, found: &Value) -> Self {
        let found = match found {
            Value::Null => "null".to_owned(),
            Value::Bool(_) => "a boolean".to_owned(),
            Value::Number(number) => format!("the number {number}"),
            Value::String(_) => "a string".to_owned(),
            Value::Array(array) => format!("an array of {}", array.len()),
            Value::Object(_) => "an object".to_owned(),
        };
        Self::new(format!("expected {kind}, found {found}"))
    }

    #[cold]
    pub(crate) fn not_json(error: &serde_json::Error) -> Self {
        Self::new(format!("the payload is not JSON: {error}"))
    }

    #[cold]
    fn missing(name: &str) -> Self {
        Self::new("is missing; `Option` or `#[event(default)]` would accept that".to_owned())
            .within(name)
    }

    #[cold]
    pub(super) fn within(mut self, field: &str) -> Self {
        prefix(&mut self.path, field);
        self
    }

    #[cold]
    pub(super) fn at(self, index: usize) -> Self {
        self.within(&format!("[{index}]"))
    }

    /// The path of the field, such as `readings[3].value`; empty for the payload as a whole.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.path.as_str() {
            "" => f.write_str(&self.problem),
            path => write!(f, "field `{path}`: {}", self.problem),
        }
    }
}

impl std::error::Error for DecodeError {}

fn prefix(path: &mut String, step: &str) {
    let dot = if path.is_empty() || path.starts_with('[') { "" } else { "." };
    path.insert_str(0, dot);
    path.insert_str(0, step);
}
