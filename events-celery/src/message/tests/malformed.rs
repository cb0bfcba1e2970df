//! Every way in which a message can be wrong is told, with what to do about it.

use std::io::Write;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use flate2::Compression;
use flate2::write::ZlibEncoder;
use serde_json::{Value, json};

use super::sample::{CAPTURED, with_body, with_header};
use crate::message::decode::{guarded, inflate};
use crate::message::{Message, Unreadable};

fn captured() -> Value {
    serde_json::from_str(CAPTURED).unwrap()
}

fn refused(message: &str) -> Unreadable {
    match Message::read(message) {
        Ok(read) => panic!("it was read: {message}\n{read:?}"),
        Err(unreadable) => unreadable,
    }
}

/// No worker can run it.
fn malformed(message: &str, reason: &str) {
    let refused = refused(message);
    assert!(refused.reason.contains(reason), "{}", refused.reason);
    assert!(refused.reason.contains("apply_async"), "{}", refused.reason);
    assert!(!refused.others_may, "{}", refused.reason);
}

/// A worker in Python may well run it.
fn foreign(message: &str, reason: &str) {
    let refused = refused(message);
    assert!(refused.reason.contains(reason), "{}", refused.reason);
    assert!(refused.others_may, "{}", refused.reason);
}

#[test]
fn message_over_which_reading_panics_is_one_that_cannot_be_read_here() {
    let unreadable = guarded(|| panic!("a bug")).unwrap_err();
    assert!(unreadable.reason.contains("panicked: a bug"), "{}", unreadable.reason);
    assert!(unreadable.others_may, "Python has other bugs");
}

#[test]
fn what_is_no_object_is_no_message() {
    for text in ["", " ", "null", "true", "7", "\"text\"", "[]", "{", "}", "{]", "\u{0}", "NaN"] {
        malformed(text, "it is not a message");
    }
    // The fields of a message in their order are none either.
    malformed(r#"["W10=","application/json",{},{}]"#, "it is not a message");
    malformed(&format!("{CAPTURED}{CAPTURED}"), "it is not a message");
    malformed(&CAPTURED[..CAPTURED.len() - 1], "it is not a message");
}

#[test]
fn each_field_that_python_needs_is_missed() {
    for (field, reason) in [("body", "no `body`"), ("content-type", "no `content-type`")] {
        let mut message = captured();
        message[field] = Value::Null;
        malformed(&message.to_string(), reason);
        message.as_object_mut().unwrap().remove(field);
        malformed(&message.to_string(), reason);
    }
    for field in ["task", "id"] {
        for nothing in [Value::Null, json!(""), json!([]), json!({})] {
            malformed(&with_header(field, nothing), &format!("no header `{field}`"));
        }
        let mut message = captured();
        message["headers"].as_object_mut().unwrap().remove(field);
        malformed(&message.to_string(), &format!("no header `{field}`"));
    }
    let mut message = captured();
    message["headers"] = Value::Null;
    malformed(&message.to_string(), "no header `task`");
    // Without the encoding the base64 is taken for the body itself, as Python does.
    let mut message = captured();
    message["properties"] = Value::Null;
    malformed(&message.to_string(), "its body is not JSON");
}

#[test]
fn what_python_does_not_need_is_not_missed() {
    for field in captured()["headers"].as_object().unwrap().keys() {
        let mut message = captured();
        message["headers"].as_object_mut().unwrap().remove(field);
        assert_eq!(Message::read(&message.to_string()).is_ok(), field != "task" && field != "id");
    }
    for field in ["delivery_tag", "delivery_info", "priority", "correlation_id", "reply_to"] {
        let mut message = captured();
        message["properties"].as_object_mut().unwrap().remove(field);
        Message::read(&message.to_string()).unwrap();
    }
    let mut message = captured();
    message.as_object_mut().unwrap().remove("content-encoding");
    Message::read(&message.to_string()).unwrap();
}

#[test]
fn fields_of_other_types_are_told() {
    for field in ["body", "content-type", "content-encoding", "headers", "properties"] {
        for wrong in [json!(7), json!([]), json!(true), json!([{}])] {
            let mut message = captured();
            message[field] = wrong;
            malformed(&message.to_string(), "it is not a message");
        }
    }
}

#[test]
fn body_is_an_array_of_three() {
    for body in [
        "[]",
        "[[]]",
        "[[],{}]",
        "[[],{},{},{}]",
        "[{},{},{}]",
        "[[],[],{}]",
        "[[],null,{}]",
        "[[],{},[]]",
        "[[],{},7]",
        "7",
        "\"\"",
        "null",
        "",
        " ",
        "[[],{},{}",
        "[[],{},{}]]",
        "\u{feff}[[],{},{}]",
    ] {
        malformed(&with_body(body).to_string(), "its body is not JSON of the expected form");
    }
    for body in ["[[],{},{}]", "[[],{},null]", " [ [ ] , { } , { } ] "] {
        Message::read(&with_body(body).to_string()).unwrap();
    }
}

#[test]
fn body_that_is_not_base64_is_told() {
    for body in ["W10", "W10=W10=", "%", "W1 0=", "é"] {
        let mut message = captured();
        message["body"] = body.into();
        malformed(&message.to_string(), "its body is not base64");
    }
    let mut message = captured();
    message["body"] = BASE64_STANDARD.encode(b"[[\"\xff\"],{},{}]").into();
    malformed(&message.to_string(), "its body is not UTF-8");
}

#[test]
fn body_may_be_plain_text() {
    for encoding in [json!("utf-8"), Value::Null] {
        let mut message = captured();
        message["body"] = "[[7],{},{}]".into();
        message["properties"]["body_encoding"] = encoding;
        Message::read(&message.to_string()).unwrap();
    }
    for encoding in [json!("rot13"), json!(7), json!({})] {
        let mut message = captured();
        message["properties"]["body_encoding"] = encoding;
        foreign(&message.to_string(), "its body encoding is");
    }
}

#[test]
fn other_formats_are_left_to_others() {
    for content_type in
        ["application/x-python-serialize", "application/x-msgpack", "application/data", ""]
    {
        let mut message = captured();
        message["content-type"] = content_type.into();
        foreign(&message.to_string(), "serializer=\"json\"");
    }
    for encoding in ["latin-1", "utf-16", "base64"] {
        let mut message = captured();
        message["content-encoding"] = encoding.into();
        foreign(&message.to_string(), "only UTF-8 is read");
    }
    for compression in ["application/x-bz2", "application/zstd", "snappy"] {
        foreign(&with_header("compression", compression.into()), "only gzip is read");
    }
}

fn deflated(bytes: &[u8]) -> String {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    BASE64_STANDARD.encode(encoder.finish().unwrap())
}

#[test]
fn compressed_body_is_read() {
    let mut message = captured();
    message["headers"]["compression"] = "application/x-gzip".into();
    message["body"] = deflated(b"[[1],{},{}]").into();
    Message::read(&message.to_string()).unwrap();
}

#[test]
fn compressed_body_that_is_cut_or_none_is_told() {
    for body in [deflated(b"[[1],{},{}]")[..12].to_owned(), BASE64_STANDARD.encode("[[],{},{}]")] {
        let mut message = captured();
        message["headers"]["compression"] = "application/x-gzip".into();
        message["body"] = body.into();
        malformed(&message.to_string(), "cannot be decompressed");
    }
}

#[test]
fn small_body_that_unfolds_to_much_is_refused() {
    let small = BASE64_STANDARD.decode(deflated(&vec![b' '; 1024 * 1024 + 1])).unwrap();
    assert!(small.len() < 2000);
    let refused = inflate(&small, 1024 * 1024).unwrap_err();
    assert!(refused.reason.contains("larger than 1 MiB"), "{}", refused.reason);
    assert_eq!(inflate(&small, 1024 * 1024 + 1).map(|body| body.len()), Ok(1024 * 1024 + 1));
}

#[test]
fn times_that_are_none_are_told() {
    for field in ["eta", "expires"] {
        for wrong in [
            json!("soon"),
            json!(""),
            json!("2030-13-01T00:00:00"),
            json!("2030-01-01"),
            json!("nan"),
            json!("inf"),
            json!(1e300),
            json!(false),
            json!([]),
            json!({}),
            json!({"__type__": "datetime", "__value__": "soon"}),
        ] {
            malformed(&with_header(field, wrong), &format!("its `{field}` is no time"));
        }
    }
}

#[test]
fn reason_quotes_little_of_a_large_message() {
    for message in [
        with_header("eta", "x".repeat(1_000_000).into()),
        json!({"content-type": "é".repeat(1_000_000)}).to_string(),
        json!({"headers": "x".repeat(1_000_000)}).to_string(),
    ] {
        assert!(refused(&message).reason.len() < 700);
    }
}

#[test]
fn deep_nesting_is_no_danger() {
    let deep = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    malformed(&deep(1_000_000), "it is not a message");
    malformed(&with_body(&deep(1_000_000)).to_string(), "not JSON of the expected form");
    for depth in [100, 200, 1_000_000] {
        let body = format!("[[{}],{{}},{{}}]", deep(depth));
        Message::read(&with_body(&body).to_string()).unwrap();
        let tagged = format!("[[\"__type__\",{}],{{}},{{}}]", deep(depth));
        Message::read(&with_body(&tagged).to_string()).unwrap();
    }
    let tag = r#"{"__type__":"date","__value__":"2030-01-01"}"#;
    let body = format!("[[{}{tag}{}],{{}},{{}}]", "[".repeat(100_000), "]".repeat(100_000));
    malformed(&with_body(&body).to_string(), "nested too deep");
    let header = CAPTURED.replace("\"stamps\": {}", &format!("\"stamps\": {}", deep(100_000)));
    Message::read(&header).unwrap();
}

#[test]
fn more_fields_than_any_message_has_are_refused() {
    let many: Vec<_> = (0..2000).map(|number| format!("\"f{number}\":{number}")).collect();
    let many = many.join(",");
    malformed(&CAPTURED.replacen('{', &format!("{{{many},"), 1), "too many fields");
    let headers = CAPTURED.replace("\"headers\": {", &format!("\"headers\": {{{many},"));
    malformed(&headers, "too many fields");
}

#[test]
fn what_only_python_takes_for_json_is_left_to_python() {
    for body in [
        "[[NaN],{},{}]",
        "[[{\"a\":-Infinity}, \"NaN\"],{},{}]",
        "[[[\"\\\"\", Infinity]],{},null]",
    ] {
        foreign(&with_body(body).to_string(), "NaN or Infinity");
    }
    malformed(&with_body("[[NaN],{}]").to_string(), "not JSON of the expected form");
    malformed(&with_body("[[nan],{},{}]").to_string(), "not JSON of the expected form");
    malformed(&CAPTURED.replace("\"retries\": 0", "\"retries\": NaN"), "it is not a message");
}
