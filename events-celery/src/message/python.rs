//! JSON as Python shows and writes it.

use std::fmt::Write;

use serde_json::Value;

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
    // What is longer is not worth being read to be cut.
    match (payload.len() <= LONGEST * 2).then(|| serde_json::from_str(payload)) {
        Some(Ok(value)) => push(&mut out, &value),
        _ => out.push_str(&payload[..payload.floor_char_boundary(LONGEST)]),
    }
    if out.len() > LONGEST {
        out.truncate(out.floor_char_boundary(LONGEST));
        out.push_str("...");
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
    match (json.len() <= LONGEST * 2).then(|| serde_json::from_str(json)) {
        Some(Ok(value)) => push(&mut out, &value),
        _ => out.push_str(&json[..json.floor_char_boundary(LONGEST)]),
    }
    if out.len() > LONGEST {
        out.truncate(out.floor_char_boundary(LONGEST));
        out.push_str("...");
    }
    out
}

fn push(out: &mut String, value: &Value) {
    match value {
        Value::Null => out.push_str("None"),
        Value::Bool(true) => out.push_str("True"),
        Value::Bool(false) => out.push_str("False"),
        Value::Number(number) => out.push_str(&number.to_string()),
        Value::String(text) => push_text(out, text),
        Value::Array(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                out.push_str(if index == 0 { "" } else { ", " });
                push(out, item);
            }
            out.push(']');
        }
        Value::Object(fields) => {
            out.push('{');
            for (index, (name, field)) in fields.iter().enumerate() {
                out.push_str(if index == 0 { "" } else { ", " });
                push_text(out, name);
                out.push_str(": ");
                push(out, field);
            }
            out.push('}');
        }
    }
}

fn push_text(out: &mut String, text: &str) {
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
            r#"[{'count': 3, 'list': [1.5, "it's"], 'name': 'ping', 'none': None, 'on': True, 'x': {}}, 'id']"#
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
