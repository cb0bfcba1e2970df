//! Booleans, numbers and text.

use serde_json::Value;

use super::codec::{Cannot, DecodeError, EncodeError, Encoder};
use super::{EventField, JsonKind, NeverNull};

impl EventField for bool {
    const KIND: JsonKind = JsonKind::Boolean;

    fn __encode(&self, to: &mut Encoder) -> Result<(), EncodeError> {
        to.scalar(self);
        Ok(())
    }

    fn __decode(value: Value) -> Result<Self, DecodeError> {
        value.as_bool().ok_or_else(|| DecodeError::expected(Self::KIND, &value))
    }
}

impl EventField for String {
    const KIND: JsonKind = JsonKind::String;

    fn __encode(&self, to: &mut Encoder) -> Result<(), EncodeError> {
        to.scalar(self.as_str());
        Ok(())
    }

    fn __decode(value: Value) -> Result<Self, DecodeError> {
        match value {
            Value::String(text) => Ok(text),
            other => Err(DecodeError::expected(Self::KIND, &other)),
        }
    }
}

macro_rules! integers {
    ($($integer:ty: $read:ident),*) => {$(
        impl EventField for $integer {
            const KIND: JsonKind = JsonKind::Integer;

            fn __encode(&self, to: &mut Encoder) -> Result<(), EncodeError> {
                to.scalar(self);
                Ok(())
            }

            fn __decode(value: Value) -> Result<Self, DecodeError> {
                let Some(wide) = value.$read() else {
                    return Err(DecodeError::expected(Self::KIND, &value));
                };
                Self::try_from(wide).map_err(|_| {
                    DecodeError::new(format!("{wide} does not fit in {}", stringify!($integer)))
                })
            }
        }
        impl NeverNull for $integer {}
    )*};
}

integers!(i8: as_i64, i16: as_i64, i32: as_i64, i64: as_i64);
integers!(u8: as_u64, u16: as_u64, u32: as_u64, u64: as_u64);

macro_rules! floats {
    ($($float:ty),*) => {$(
        impl EventField for $float {
            const KIND: JsonKind = JsonKind::Number;

            fn __encode(&self, to: &mut Encoder) -> Result<(), EncodeError> {
                if !self.is_finite() {
                    return Err(EncodeError::new(Cannot::BeInfinite));
                }
                to.scalar(self);
                Ok(())
            }

            fn __decode(value: Value) -> Result<Self, DecodeError> {
                // The shortest digits of an f32, read as f64, round back to that f32.
                #[allow(clippy::cast_possible_truncation)]
                let float = value
                    .as_f64()
                    .map(|wide| wide as $float)
                    .ok_or_else(|| DecodeError::expected(Self::KIND, &value))?;
                if float.is_finite() {
                    Ok(float)
                } else {
                    Err(DecodeError::new(format!("{value} does not fit in {}", stringify!($float))))
                }
            }
        }
        impl NeverNull for $float {}
    )*};
}

floats!(f32, f64);

impl NeverNull for bool {}
impl NeverNull for String {}
