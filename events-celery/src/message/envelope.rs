//! What kombu wraps a message in.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, IgnoredAny, MapAccess, Visitor};

use super::object::{MOST_FIELDS, Object, Text};

/// The fields that are looked at, read in one go: most of the work of a claim is here.
///
/// It takes nothing that [`Object`] would not take: what is read here can be written again.
#[derive(Default)]
pub(super) struct Envelope<'m> {
    pub(super) body: Option<Text<'m>>,
    pub(super) content_type: Option<Text<'m>>,
    pub(super) content_encoding: Option<Text<'m>>,
    pub(super) headers: Object<'m>,
    pub(super) properties: Object<'m>,
}

impl<'de: 'm, 'm> Deserialize<'de> for Envelope<'m> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_map(EnvelopeVisitor)
    }
}

struct EnvelopeVisitor;

impl<'de> Visitor<'de> for EnvelopeVisitor {
    type Value = Envelope<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Envelope<'de>, A::Error> {
        let mut envelope = Envelope::default();
        let mut fields = 0;
        // Of a name that is there twice, the last counts, as in Python.
        while let Some(Text(name)) = map.next_key()? {
            fields += 1;
            if fields > MOST_FIELDS {
                return Err(A::Error::custom("too many fields"));
            }
            match &*name {
                "body" => envelope.body = map.next_value()?,
                "content-type" => envelope.content_type = map.next_value()?,
                "content-encoding" => envelope.content_encoding = map.next_value()?,
                "headers" => envelope.headers = object(&mut map)?,
                "properties" => envelope.properties = object(&mut map)?,
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(envelope)
    }
}

fn object<'de, A: MapAccess<'de>>(map: &mut A) -> Result<Object<'de>, A::Error> {
    Ok(map.next_value::<Option<Object<'de>>>()?.unwrap_or_default())
}
