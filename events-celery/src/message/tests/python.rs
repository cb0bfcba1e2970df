//! What Celery writes is read as it is meant.

use events_core::Timestamp;
use serde_json::{Value, json};

use super::sample::{CAPTURED, with_body, with_header};
use crate::message::Message;

fn read(message: &str) -> Message {
    Message::read(message).unwrap_or_else(|unreadable| panic!("{unreadable:?}: {message}"))
}

#[test]
fn captured_message_is_read() {
    let message = read(CAPTURED);
    assert_eq!(message.id, "930cc354-1f60-4956-bae5-ffffb26986be");
    assert_eq!(message.name, "events.my_app.events.PingEvent.my_app.subscribers.ping_handler");
    assert_eq!(
        message.call.payload(&[]).as_deref(),
        Ok(r#"{"name": "ping", "count": 3, "at": "2026-01-02T03:04:05Z"}"#)
    );
    assert_eq!(message.call.event_id().unwrap().to_string(), "0192f0c17a5e7c3a9d4e3f1b2a6c5d4e");
    assert!(!message.workflow && !message.ignore_result && !message.version_1);
    assert_eq!((message.retries, message.priority, message.attempt()), (0, 0, 1));
    assert_eq!((message.eta, message.expires), (None, None));
    assert!(message.headers.is_empty());
}

#[test]
fn retries_are_counted_whatever_their_form() {
    for (retries, expected) in [
        (json!(3), 3),
        (Value::Null, 0),
        (json!(-1), 0),
        (json!(2.9), 2),
        (json!("3"), 0),
        (json!([]), 0),
        (json!(4_294_967_295_u64), u32::MAX),
        (json!(5_000_000_000_u64), u32::MAX),
        (json!(1e300), u32::MAX),
    ] {
        let message = read(&with_header("retries", retries.clone()));
        assert_eq!(message.retries, expected, "{retries}");
        assert!(message.attempt() >= 1);
    }
    let huge = CAPTURED.replace("\"retries\": 0", &format!("\"retries\": {}", "9".repeat(200)));
    assert_eq!(read(&huge).attempt(), u32::MAX, "what was tried so often does not begin anew");
}

#[test]
fn times_are_read_in_every_form() {
    let expected = Some(Timestamp::from_micros(1_893_456_000_000_000));
    for form in [
        json!("2030-01-01T00:00:00+00:00"),
        json!("2030-01-01T00:00:00Z"),
        json!("2030-01-01T00:00:00"),
        json!("2030-01-01 00:00:00.000000"),
        json!("2030-01-01T00:00:00.000000999Z"),
        json!("2030-01-01T05:30:00+05:30"),
        json!("2029-12-31T14:00:00-1000"),
        json!(1_893_456_000),
        json!(1_893_456_000.0),
        json!("1893456000"),
        json!({"__type__": "datetime", "__value__": "2030-01-01T00:00:00+00:00"}),
    ] {
        assert_eq!(read(&with_header("eta", form.clone())).eta, expected, "{form}");
        assert_eq!(read(&with_header("expires", form.clone())).expires, expected, "{form}");
    }
    assert_eq!(read(&with_header("eta", Value::Null)).eta, None);
}

#[test]
fn priority_is_one_of_celerys_ten() {
    for (priority, expected) in [
        (json!(0), 0),
        (json!(9), 9),
        (json!(100), 9),
        (json!(-4), 0),
        (Value::Null, 0),
        (json!("5"), 0),
        (json!({}), 0),
    ] {
        let mut message: Value = serde_json::from_str(CAPTURED).unwrap();
        message["properties"]["priority"] = priority.clone();
        assert_eq!(read(&message.to_string()).priority, expected, "{priority}");
    }
}

#[test]
fn integer_is_an_id_too() {
    assert_eq!(read(&with_header("id", json!(17))).id, "17");
}

#[test]
fn texts_among_the_headers_are_the_events() {
    let message = read(&with_header("request_id", json!("r-1")));
    let headers: Vec<_> = message.headers.iter().collect();
    assert_eq!(headers, [("request_id", "r-1")]);
    for other in [json!(7), Value::Null, json!({"a": 1}), json!([])] {
        assert!(read(&with_header("request_id", other)).headers.is_empty());
    }
    let half = CAPTURED.replace("\"stamps\": {}", r#""half": "\ud800""#);
    assert!(read(&half).headers.is_empty(), "half a surrogate pair is no text");
}

#[test]
fn other_tasks_that_hang_on_it_are_noticed() {
    for (embed, hangs) in [
        (r#"{"callbacks":[{"task":"t"}]}"#, true),
        (r#"{"errbacks":[{}]}"#, true),
        (r#"{"chain":[{}]}"#, true),
        (r#"{"chord":{"task":"t"}}"#, true),
        (r#"{"callbacks":null,"errbacks":[],"chain":[],"chord":{}}"#, false),
        ("{}", false),
        ("null", false),
    ] {
        let message = with_body(&format!("[[],{{}},{embed}]")).to_string();
        assert_eq!(read(&message).workflow, hangs, "{embed}");
    }
}

#[test]
fn of_a_name_that_is_there_twice_the_last_counts() {
    let twice = CAPTURED.replacen("\"headers\"", "\"headers\": null, \"headers\"", 1);
    assert_eq!(read(&twice).id, read(CAPTURED).id);
    let twice = CAPTURED.replacen("\"retries\": 0", "\"retries\": 1, \"retries\": 2", 1);
    assert_eq!(read(&twice).retries, 2);
    let last_is_none = CAPTURED.replacen("\"properties\"", "\"body\": null, \"properties\"", 1);
    assert!(Message::read(&last_is_none).is_err());
}
