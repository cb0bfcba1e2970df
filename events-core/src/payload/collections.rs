//! What holds other fields: options, boxes, lists, tuples, sets and maps.
#![expect(clippy::implicit_hasher, reason = "another hasher may carry state that JSON does not")]

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::hash::Hash;

use serde_json::Value;

use super::codec::{DecodeError, EncodeError, Encoder};
use super::{EventField, Field, JsonKind, NeverNull};

impl<T: NeverNull> EventField for Option<T> {
    const KIND: JsonKind = T::KIND;
    const OPTIONAL: bool = true;
    const NESTED: Option<fn() -> &'static [Field]> = T::NESTED;

    fn __encode(&self, to: &mut Encoder) -> Result<(), EncodeError> {
        match self {
            Some(value) => value.__encode(to),
            None => {
                to.scalar(&());
                Ok(())
            }
        }
    }

    fn __decode(value: Value) -> Result<Self, DecodeError> {
        match value {
            Value::Null => Ok(None),
            value => T::__decode(value).map(Some),
        }
    }

    fn __absent() -> Option<Self> {
        Some(None)
    }
}

impl<T: EventField> EventField for Box<T> {
    const KIND: JsonKind = T::KIND;
    const OPTIONAL: bool = T::OPTIONAL;
    const NESTED: Option<fn() -> &'static [Field]> = T::NESTED;

    fn __encode(&self, to: &mut Encoder) -> Result<(), EncodeError> {
        T::__encode(self, to)
    }

    fn __decode(value: Value) -> Result<Self, DecodeError> {
        T::__decode(value).map(Box::new)
    }

    fn __absent() -> Option<Self> {
        T::__absent().map(Box::new)
    }
}

impl<T: NeverNull> NeverNull for Box<T> {}

fn encode_all<'v, T: EventField + 'v>(
    values: impl Iterator<Item = &'v T>,
    to: &mut Encoder,
) -> Result<(), EncodeError> {
    to.begin_array()?;
    for (index, value) in values.enumerate() {
        to.element(index, value)?;
    }
    to.end_array();
    Ok(())
}

fn decode_all<T: EventField, C: FromIterator<T>>(value: Value) -> Result<C, DecodeError> {
    array(value)?
        .into_iter()
        .enumerate()
        .map(|(index, value)| T::__decode(value).map_err(|error| error.at(index)))
        .collect()
}

fn array(value: Value) -> Result<Vec<Value>, DecodeError> {
    match value {
        Value::Array(values) => Ok(values),
        other => Err(DecodeError::expected(JsonKind::Array, &other)),
    }
}

impl<T: EventField> EventField for Vec<T> {
    const KIND: JsonKind = JsonKind::Array;
    const NESTED: Option<fn() -> &'static [Field]> = T::NESTED;

    fn __encode(&self, to: &mut Encoder) -> Result<(), EncodeError> {
        encode_all(self.iter(), to)
    }

    fn __decode(value: Value) -> Result<Self, DecodeError> {
        decode_all(value)
    }
}

impl<T: EventField> NeverNull for Vec<T> {}

impl<T: EventField, const N: usize> EventField for [T; N] {
    const KIND: JsonKind = JsonKind::Array;
    const NESTED: Option<fn() -> &'static [Field]> = T::NESTED;

    fn __encode(&self, to: &mut Encoder) -> Result<(), EncodeError> {
        encode_all(self.iter(), to)
    }

    fn __decode(value: Value) -> Result<Self, DecodeError> {
        Self::try_from(decode_all::<T, Vec<T>>(value)?).map_err(|values| {
            DecodeError::new(format!("expected {N} elements, found {}", values.len()))
        })
    }
}

impl<T: EventField, const N: usize> NeverNull for [T; N] {}

impl<T: EventField + Ord> EventField for BTreeSet<T> {
    const KIND: JsonKind = JsonKind::Array;
    const NESTED: Option<fn() -> &'static [Field]> = T::NESTED;

    fn __encode(&self, to: &mut Encoder) -> Result<(), EncodeError> {
        encode_all(self.iter(), to)
    }

    fn __decode(value: Value) -> Result<Self, DecodeError> {
        decode_all(value)
    }
}

impl<T: EventField + Ord> NeverNull for BTreeSet<T> {}

impl<T: EventField + Eq + Hash> EventField for HashSet<T> {
    const KIND: JsonKind = JsonKind::Array;
    const NESTED: Option<fn() -> &'static [Field]> = T::NESTED;

    /// Sorted by the elements' JSON, so that equal sets encode equally.
    fn __encode(&self, to: &mut Encoder) -> Result<(), EncodeError> {
        to.begin_array()?;
        let mut elements = Vec::with_capacity(self.len());
        for value in self {
            let mut element = to.detached();
            value.__encode(&mut element)?;
            elements.push(element.into_bytes());
        }
        elements.sort_unstable();
        for element in &elements {
            to.encoded_element(element);
        }
        to.end_array();
        Ok(())
    }

    fn __decode(value: Value) -> Result<Self, DecodeError> {
        decode_all(value)
    }
}

impl<T: EventField + Eq + Hash> NeverNull for HashSet<T> {}

fn encode_map<'v, T: EventField + 'v>(
    entries: impl Iterator<Item = (&'v String, &'v T)>,
    to: &mut Encoder,
) -> Result<(), EncodeError> {
    to.begin_object()?;
    for (key, value) in entries {
        to.field(key, value)?;
    }
    to.end_object();
    Ok(())
}

fn decode_map<T: EventField, C: FromIterator<(String, T)>>(value: Value) -> Result<C, DecodeError> {
    match value {
        Value::Object(entries) => entries
            .into_iter()
            .map(|(key, value)| match T::__decode(value) {
                Ok(value) => Ok((key, value)),
                Err(error) => Err(error.within(&key)),
            })
            .collect(),
        other => Err(DecodeError::expected(JsonKind::Object, &other)),
    }
}

impl<T: EventField> EventField for BTreeMap<String, T> {
    const KIND: JsonKind = JsonKind::Object;
    const NESTED: Option<fn() -> &'static [Field]> = T::NESTED;

    fn __encode(&self, to: &mut Encoder) -> Result<(), EncodeError> {
        encode_map(self.iter(), to)
    }

    fn __decode(value: Value) -> Result<Self, DecodeError> {
        decode_map(value)
    }
}

impl<T: EventField> NeverNull for BTreeMap<String, T> {}

impl<T: EventField> EventField for HashMap<String, T> {
    const KIND: JsonKind = JsonKind::Object;
    const NESTED: Option<fn() -> &'static [Field]> = T::NESTED;

    /// Sorted by key, so that equal maps encode equally.
    fn __encode(&self, to: &mut Encoder) -> Result<(), EncodeError> {
        let mut entries: Vec<_> = self.iter().collect();
        entries.sort_unstable_by_key(|(key, _)| *key);
        encode_map(entries.into_iter(), to)
    }

    fn __decode(value: Value) -> Result<Self, DecodeError> {
        decode_map(value)
    }
}

impl<T: EventField> NeverNull for HashMap<String, T> {}

macro_rules! tuples {
    ($(($length:literal: $($element:ident $index:tt),+))*) => {$(
        impl<$($element: EventField),+> EventField for ($($element,)+) {
            const KIND: JsonKind = JsonKind::Array;

            fn __encode(&self, to: &mut Encoder) -> Result<(), EncodeError> {
                to.begin_array()?;
                $(to.element($index, &self.$index)?;)+
                to.end_array();
                Ok(())
            }

            fn __decode(value: Value) -> Result<Self, DecodeError> {
                let values = array(value)?;
                if values.len() != $length {
                    return Err(DecodeError::new(format!(
                        "expected {} elements, found {}", $length, values.len()
                    )));
                }
                let mut values = values.into_iter();
                Ok(($({
                    let value = values.next().expect("the length was checked");
                    $element::__decode(value).map_err(|error| error.at($index))?
                },)+))
            }
        }
        impl<$($element: EventField),+> NeverNull for ($($element,)+) {}
    )*};
}

tuples! {
    (1: A 0)
    (2: A 0, B 1)
    (3: A 0, B 1, C 2)
    (4: A 0, B 1, C 2, D 3)
    (5: A 0, B 1, C 2, D 3, E 4)
    (6: A 0, B 1, C 2, D 3, E 4, F 5)
    (7: A 0, B 1, C 2, D 3, E 4, F 5, G 6)
    (8: A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7)
    (9: A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7, I 8)
    (10: A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7, I 8, J 9)
    (11: A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7, I 8, J 9, K 10)
    (12: A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7, I 8, J 9, K 10, L 11)
}
