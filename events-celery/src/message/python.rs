//! JSON as Python shows and writes it.

use std::fmt::{self, Write};

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::Number;

/// Celery cuts what it shows at so many characters.
const LONGEST: usize = 1024;

/// The text with zeros for `NaN` and `Infinity`, if it has any: Python writes them, and JSON does not
/// have them.
pub(super) fn standard(text: &str) -> Option<String> {
    let mut out = String::new();
    let (mut copied, mut at, mut in_text) = (0, 0, false);
    while let Some(byte) = text.as_bytes().get(at) {
        let word = |word: &str| !in_text && text[at..].starts_with(word);
        at += match byte {
            b'"' => {
                in_text = !in_text;
                1
            }
            b'\\' => 2,
            b'N' | b'I' if word("NaN") || word("Infinity") => {
                let length = if *byte == b'N' { 3 } else { 8 };
                out.push_str(&text[copied..at]);
                out.push('0');
                copied = at + length;
                length
            }
            _ => 1,
        };
    }
    (copied > 0).then(|| out + &text[copied..])
}

/// The arguments of a task: what logs and Flower display, as Python's `repr` writes a list: cut where Celery cuts.
pub(crate) fn arguments(payload: &str, event_id: &str) -> String {
    let mut out = String::with_capacity(payload.len().min(LONGEST) + 64);
    out.push('[');
    push(&mut out, payload);
    if out.len() > LONGEST {
        cut(&mut out);
        return out;
    }
    out.push_str(", '");
    out.push_str(event_id);
    out.push_str("']");
    out
}

/// Any JSON text as Python shows it, cut; what is not JSON, as it is.
pub(crate) fn shown(json: &str) -> String {
    let mut out = String::new();
    push(&mut out, json);
    if out.len() > LONGEST {
        cut(&mut out);
    }
    out
}

fn cut(out: &mut String) {
    out.truncate(out.floor_char_boundary(LONGEST));
    out.push_str("...");
}

fn push(out: &mut String, json: &str) {
    let before = out.len();
    // What is longer is not worth being read to be cut.
    let read = json.len() <= LONGEST * 2 && {
        let mut from = serde_json::Deserializer::from_str(json);
        Shown(out).deserialize(&mut from).and_then(|()| from.end()).is_ok()
    };
    if !read {
        out.truncate(before);
        out.push_str(&json[..json.floor_char_boundary(LONGEST)]);
    }
}

/// Writes what it reads, without building it first: every message that is sent comes by here.
struct Shown<'o>(&'o mut String);

impl<'de> DeserializeSeed<'de> for Shown<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Shown<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        self.0.push_str("None");
        Ok(())
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<(), E> {
        self.0.push_str(if value { "True" } else { "False" });
        Ok(())
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<(), E> {
        write!(self.0, "{number}").map_err(E::custom)
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<(), E> {
        write!(self.0, "{number}").map_err(E::custom)
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<(), E> {
        let number =
            Number::from_f64(number).ok_or_else(|| E::custom("JSON has no such number"))?;
        write!(self.0, "{number}").map_err(E::custom)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        push_text(self.0, text);
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        self.0.push('[');
        let first = self.0.len();
        loop {
            let before = self.0.len();
            self.0.push_str(if before == first { "" } else { ", " });
            if items.next_element_seed(Shown(self.0))?.is_none() {
                self.0.truncate(before);
                break;
            }
        }
        self.0.push(']');
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<(), A::Error> {
        self.0.push('{');
        let first = self.0.len();
        loop {
            let before = self.0.len();
            self.0.push_str(if before == first { "" } else { ", " });
            if fields.next_key_seed(Shown(self.0))?.is_none() {
                self.0.truncate(before);
                break;
            }
            self.0.push_str(": ");
            fields.next_value_seed(Shown(self.0))?;
        }
        self.0.push('}');
        Ok(())
    }
}

fn push_text(out: &mut String, text: &str) {
    let plain = |byte: &u8| matches!(byte, b' '..=b'~') && *byte != b'\'' && *byte != b'\\';
    if text.as_bytes().iter().filter(|byte| !plain(byte)).count() == 0 {
        out.push('\'');
        out.push_str(text);
        out.push('\'');
        return;
    }
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    out.push(quote);
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c == quote => {
                out.push('\\');
                out.push(c);
            }
            c if c.is_control() => {
                write!(out, "\\x{:02x}", u32::from(c)).expect("writing to a string cannot fail");
            }
            c => out.push(c),
        }
    }
    out.push(quote);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_look_as_in_python() {
        let payload =
            r#"{"name":"ping","count":3,"on":true,"none":null,"list":[1.5,"it's"],"x":{}}"#;
        assert_eq!(
            arguments(payload, "id"),
            r#"[{'name': 'ping', 'count': 3, 'on': True, 'none': None, 'list': [1.5, "it's"], 'x': {}}, 'id']"#
        );
    }

    #[test]
    fn long_arguments_are_cut_between_characters() {
        for payload in [
            format!("{{\"a\":\"{}\"}}", "é".repeat(600)),
            format!("{{\"a\":\"{}\"}}", "é".repeat(60_000)),
        ] {
            let shown = arguments(&payload, "id");
            assert!(shown.len() < 1100, "{}", shown.len());
        }
    }
}
