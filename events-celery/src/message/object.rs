//! A JSON object as the texts of its values: what is not looked at is passed on as it came.
//!
//! Reading a message into values and writing it again would spoil integers beyond 64 bits, and a
//! worker in Python may have put anything into its headers.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeOwned, Deserializer, Error, MapAccess, Visitor};
use serde_json::value::RawValue;

/// A JSON object: the name of each field with the JSON text of its value, in order.
#[derive(Debug, Clone, Default)]
pub(crate) struct Object<'m>(Vec<(Cow<'m, str>, Cow<'m, str>)>);

impl<'m> Object<'m> {
    pub(crate) fn parse(json: &'m str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(json)
    }

    /// The JSON text of this field's value.
    pub(crate) fn raw(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(field, _)| field == name).map(|(_, value)| &**value)
    }

    /// The value of this field, unless it is missing, `null` or of another type.
    pub(crate) fn get<T: DeserializeOwned>(&self, name: &str) -> Option<T> {
        let value: Option<T> = serde_json::from_str(self.raw(name)?).ok()?;
        value
    }

    pub(crate) fn text(&self, name: &str) -> Option<String> {
        self.get(name)
    }

    /// Whether the field is there and is not `null`.
    pub(super) fn has(&self, name: &str) -> bool {
        self.raw(name).is_some_and(|value| value != "null")
    }

    /// Puts JSON text in the place of the field's value, or adds the field.
    pub(crate) fn set(&mut self, name: &'static str, json: impl Into<Cow<'m, str>>) {
        let json = json.into();
        match self.0.iter_mut().find(|(field, _)| field == name) {
            Some((_, value)) => *value = json,
            None => self.0.push((Cow::Borrowed(name), json)),
        }
    }

    /// Adds a field, which must not be there yet.
    pub(crate) fn push(&mut self, name: impl Into<Cow<'m, str>>, json: impl Into<Cow<'m, str>>) {
        self.0.push((name.into(), json.into()));
    }

    pub(crate) fn remove(&mut self, name: &str) {
        self.0.retain(|(field, _)| field != name);
    }

    pub(crate) fn into_owned(self) -> Object<'static> {
        let owned = |text: Cow<'_, str>| Cow::Owned(text.into_owned());
        Object(self.0.into_iter().map(|(name, value)| (owned(name), owned(value))).collect())
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (&**name, &**value))
    }
}

/// The object as JSON text.
impl fmt::Display for Object<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{")?;
        for (index, (name, value)) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            write!(f, "{comma}{}:{value}", json_text(name))?;
        }
        f.write_str("}")
    }
}

/// A text as JSON.
pub(crate) fn json_text(text: &str) -> String {
    let mut json = String::with_capacity(text.len() + 2);
    push_json_text(&mut json, text);
    json
}

/// The same, at the end of another.
pub(crate) fn push_json_text(json: &mut String, text: &str) {
    // Names and ids have nothing to be escaped. Counted, bytes are looked at several at a time.
    let escaped = |byte: &u8| *byte < b' ' || *byte == b'"' || *byte == b'\\';
    if text.as_bytes().iter().filter(|byte| escaped(byte)).count() == 0 {
        json.push('"');
        json.push_str(text);
        json.push('"');
    } else {
        json.push_str(&serde_json::to_string(text).expect("texts are JSON"));
    }
}

impl<'de: 'm, 'm> Deserialize<'de> for Object<'m> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_map(ObjectVisitor)
    }
}

struct ObjectVisitor;

impl<'de> Visitor<'de> for ObjectVisitor {
    type Value = Object<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object<'de>, A::Error> {
        let mut fields: Vec<(Cow<'de, str>, Cow<'de, str>)> = Vec::new();
        while let Some(Text(name)) = map.next_key()? {
            if fields.len() >= MOST_FIELDS {
                return Err(A::Error::custom("too many fields"));
            }
            let value: &'de RawValue = map.next_value()?;
            // Of a name that is there twice, the last counts, as in Python.
            if let Some(earlier) = fields.iter().position(|(earlier, _)| *earlier == name) {
                fields.remove(earlier);
            }
            if fields.is_empty() {
                fields.reserve(16); // as many as most headers are; none of an empty object
            }
            fields.push((name, Cow::Borrowed(value.get())));
        }
        Ok(Object(fields))
    }
}

/// More than any message has; looking for a field is linear.
pub(super) const MOST_FIELDS: usize = 1000;

/// A text, borrowed unless it has escapes.
pub(crate) struct Text<'m>(pub(crate) Cow<'m, str>);

impl<'de: 'm, 'm> Deserialize<'de> for Text<'m> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct TextVisitor;
        impl<'de> Visitor<'de> for TextVisitor {
            type Value = Text<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text")
            }

            fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Borrowed(text)))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }
        from.deserialize_str(TextVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::Object;

    #[test]
    fn what_is_not_changed_stays_as_it_came() {
        let json = r#"{"big":123456789012345678901234567890,"kept":[ 1,2 ],"a\"b":null,"old":1}"#;
        let mut object = Object::parse(json).unwrap();
        object.set("old", "2");
        object.set("new", "\"x\"");
        assert_eq!(
            object.to_string(),
            r#"{"big":123456789012345678901234567890,"kept":[ 1,2 ],"a\"b":null,"old":2,"new":"x"}"#
        );
        assert_eq!(object.raw("a\"b"), Some("null"));
        assert_eq!((object.get::<u32>("old"), object.get::<u32>("new")), (Some(2), None));
    }

    #[test]
    fn of_a_name_that_is_there_twice_the_last_counts() {
        let object = Object::parse(r#"{"a":1,"b":2,"a":3}"#).unwrap();
        assert_eq!(object.get::<u32>("a"), Some(3));
        assert_eq!(object.to_string(), r#"{"b":2,"a":3}"#);
    }
}
