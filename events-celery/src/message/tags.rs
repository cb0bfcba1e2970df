//! kombu writes dates, times, UUIDs, decimals and bytes as tagged objects. An event has texts there.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use uuid::Uuid;

use super::decode::Unreadable;
use super::object::{Object, Text, json_text};

/// Deeper than what is read as an event.
const DEEPEST: usize = 128;

/// Puts texts in the place of tagged values. All others stay as they came: numbers, too, which may
/// have more digits than any type here holds.
pub(super) fn untag(json: &str) -> Result<String, Unreadable> {
    let mut out = String::with_capacity(json.len());
    push(&mut out, json, 0)?;
    Ok(out)
}

fn push(out: &mut String, json: &str, depth: usize) -> Result<(), Unreadable> {
    let json = json.trim_start();
    if !json.contains("__type__") {
        out.push_str(json);
        return Ok(());
    }
    if depth == DEEPEST {
        return Err(Unreadable::malformed("its body has a tagged value that is nested too deep"));
    }
    match json.as_bytes().first() {
        Some(b'{') => {
            let Pairs(fields) = serde_json::from_str(json).map_err(|error| no_json(&error))?;
            if let Some(text) = tagged(&fields) {
                out.push_str(&text);
                return Ok(());
            }
            for (index, (name, value)) in fields.iter().enumerate() {
                out.push(if index == 0 { '{' } else { ',' });
                out.push_str(&json_text(&name.0));
                out.push(':');
                push(out, value.get(), depth + 1)?;
            }
            out.push('}');
        }
        Some(b'[') => {
            let items: Vec<&RawValue> =
                serde_json::from_str(json).map_err(|error| no_json(&error))?;
            for (index, item) in items.into_iter().enumerate() {
                out.push(if index == 0 { '[' } else { ',' });
                push(out, item.get(), depth + 1)?;
            }
            out.push(']');
        }
        _ => out.push_str(json),
    }
    Ok(())
}

fn no_json(error: &serde_json::Error) -> Unreadable {
    Unreadable::malformed(format!("its body is not JSON: {error}"))
}

/// The JSON text that stands for a tagged value. A tag that nobody knows is an object like any other.
fn tagged(fields: &[(Text<'_>, &RawValue)]) -> Option<String> {
    let [one, other] = fields else { return None };
    let (kind, value) = match (&*one.0.0, &*other.0.0) {
        ("__type__", "__value__") => (one.1, other.1.get()),
        ("__value__", "__type__") => (other.1, one.1.get()),
        _ => return None,
    };
    let kind: String = serde_json::from_str(kind.get()).ok()?;
    match kind.as_str() {
        "uuid" => {
            let uuid = Uuid::try_parse(&Object::parse(value).ok()?.text("hex")?).ok()?;
            Some(format!("\"{uuid}\""))
        }
        "datetime" | "date" | "time" | "decimal" | "bytes" | "base64" => {
            value.starts_with('"').then(|| value.to_owned())
        }
        _ => None,
    }
}

/// The fields of an object, however many.
struct Pairs<'m>(Vec<(Text<'m>, &'m RawValue)>);

impl<'de: 'm, 'm> Deserialize<'de> for Pairs<'m> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct PairsVisitor;
        impl<'de> Visitor<'de> for PairsVisitor {
            type Value = Pairs<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs<'de>, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(Pairs(fields))
            }
        }
        from.deserialize_map(PairsVisitor)
    }
}
