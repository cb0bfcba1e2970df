//! What is sent is read as it was meant, and nothing is sent that Python could not read.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use events_core::Timestamp;
use events_core::task::Debounced;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::sample::task;
use crate::message::{MARK, Message, Refused, encode};

const NOW: Timestamp = Timestamp::from_micros(1_767_355_200_000_000);

fn sent(task: &events_core::Task) -> String {
    encode(task, "here", NOW).unwrap_or_else(|refused| panic!("{refused}")).text
}

fn refused(payload: &str) -> Refused {
    encode(&task(payload), "here", NOW).expect_err(payload)
}

#[test]
fn everything_that_python_needs_is_there() {
    let text = sent(&task(r#"{"number":7}"#));
    let message: Value = serde_json::from_str(&text).unwrap();
    let body = BASE64_STANDARD.decode(message["body"].as_str().unwrap()).unwrap();
    let body: Value = serde_json::from_slice(&body).unwrap();
    let id = "08080808080808080808080808080808";
    assert_eq!(body, json!([[{"number": 7}, id], {}, {}]));
    assert_eq!(message["content-type"], "application/json");
    assert_eq!(message["content-encoding"], "utf-8");
    let (headers, properties) = (&message["headers"], &message["properties"]);
    assert_eq!(headers["task"], "events.shop.OrderPlaced.shop.mail");
    assert_eq!(headers["id"], "07070707-0707-0707-0707-070707070707");
    assert_eq!(headers["retries"], 0);
    assert!(headers.get("eta").is_none(), "it is due");
    assert!(properties["delivery_tag"].is_string());
    assert_eq!(properties["delivery_info"], json!({"exchange": "", "routing_key": "mail"}));
    assert_eq!(properties["body_encoding"], "base64");
    assert_eq!(properties["priority"], 0);
    assert!(text.ends_with(MARK));
}

#[test]
fn two_messages_have_two_tags() {
    let tag = |text: String| {
        serde_json::from_str::<Value>(&text).unwrap()["properties"]["delivery_tag"].clone()
    };
    assert_ne!(tag(sent(&task("{}"))), tag(sent(&task("{}"))));
}

#[test]
fn payload_is_a_json_object() {
    for payload in
        ["", "7", "[]", "null", "\"{}\"", "{", "{}}", "{} {}", "{a:1}", "NaN", "{\"a\":NaN}"]
    {
        assert!(matches!(refused(payload), Refused::Payload { .. }), "{payload}");
    }
    sent(&task(" {}"));
}

#[test]
fn what_python_takes_for_something_else_is_refused() {
    for payload in [
        r#"{"__type__":"x","__value__":1}"#,
        r#"{"a":[{"__value__":1,"__type__":"date"}]}"#,
        r#"{"a":{"\u005f_type__":"x","__value__":1}}"#,
        r#"{"a":{"__\u0074ype__":"x","\u005F\u005fvalue__":1}}"#,
    ] {
        assert_eq!(refused(payload), Refused::Tagged, "{payload}");
    }
    for payload in [
        r#"{"__type__":"x"}"#,
        r#"{"__type__":"x","__value__":1,"more":2}"#,
        r#"{"a":"{\"__type__\":1,\"__value__\":2}"}"#,
    ] {
        sent(&task(payload));
    }
}

#[test]
fn what_python_cannot_read_is_refused() {
    let nested = |depth: usize| format!("{{\"a\":{}1{}}}", "[".repeat(depth), "]".repeat(depth));
    sent(&task(&nested(126)));
    for depth in [127, 2000, 100_000] {
        let refused = refused(&nested(depth)).to_string();
        assert!(refused.contains("nested deeper"), "{refused}");
    }
    let digits = |count: usize| format!("{{\"a\":-{}}}", "1".repeat(count));
    sent(&task(&digits(4300)));
    let refused = refused(&digits(4301)).to_string();
    assert!(refused.contains("more than 4300 digits"), "{refused}");
    // In a text, all of it is harmless.
    sent(&task(&format!("{{\"a\":\"\\\"{}{}\"}}", "1".repeat(5000), "[".repeat(5000))));
}

#[test]
fn headers_of_celerys_and_ours_are_refused() {
    for name in ["id", "task", "eta", "headers", "called_directly", "events_errors", "redelivered"]
    {
        let mut task = task("{}");
        task.headers.insert(name, "x");
        let refused = encode(&task, "here", NOW).unwrap_err();
        assert_eq!(refused, Refused::Header { name: name.into() });
    }
}

#[test]
fn task_without_name_or_queue_is_refused() {
    let nameless = events_core::Task { name: "".into(), ..task("{}") };
    assert_eq!(encode(&nameless, "here", NOW).unwrap_err(), Refused::NoName);
    let homeless = events_core::Task { queue: "".into(), ..task("{}") };
    assert_eq!(encode(&homeless, "here", NOW).unwrap_err(), Refused::NoQueue);
}

fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 40, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::hash_map(any::<String>(), inner, 0..6)
                .prop_map(|fields| fields.into_iter().collect()),
        ]
    })
}

proptest! {
    #[test]
    fn what_was_sent_is_read(
        payload in prop::collection::hash_map(any::<String>(), json_value(), 0..6),
        headers in prop::collection::hash_map("[a-z_]{3,20}|\\PC{1,9}", any::<String>(), 0..6),
        (name, queue, origin) in ("\\PC{1,30}", "\\PC{1,30}", any::<String>()),
        (priority, delay) in (any::<i16>(), 0..100_000_000_000_i64),
        (id, event_id) in (any::<[u8; 16]>(), any::<[u8; 16]>()),
        debounced in any::<Option<String>>(),
    ) {
        let payload = Value::from_iter(payload).to_string();
        let mut task = events_core::Task {
            id: events_core::TaskId::from_bytes(id),
            event_id: events_core::EventId::from_bytes(event_id),
            name: name.into(),
            queue: queue.into(),
            priority,
            due_at: Timestamp::from_micros(NOW.as_micros() + delay),
            debounce: debounced.map(|key| Debounced { key, not_after: NOW }),
            ..task(&payload)
        };
        for (name, value) in headers {
            task.headers.insert(name, value);
        }
        prop_assume!(!matches!(
            encode(&task, &origin, NOW),
            Err(Refused::Header { .. } | Refused::Tagged)
        ));
        let text = encode(&task, &origin, NOW).unwrap().text;
        let message = Message::read(&text).unwrap();
        prop_assert_eq!(&*message.call.payload(&[]).unwrap(), &*task.payload);
        prop_assert_eq!(message.call.event_id(), Some(task.event_id));
        prop_assert_eq!(crate::message::uuid_of(&message.id).into_bytes(), id);
        prop_assert_eq!(message.name, task.name);
        prop_assert_eq!(message.event.as_deref(), Some(&*task.event));
        prop_assert_eq!(message.priority, priority);
        prop_assert_eq!(message.published_at, Some(task.published_at));
        prop_assert_eq!(message.headers, task.headers);
        let waits = task.due_at > NOW && task.debounce.is_none();
        prop_assert_eq!(message.eta, waits.then_some(task.due_at));
        prop_assert_eq!(message.debounce.is_some(), task.debounce.is_some());
        prop_assert_eq!((message.retries, message.expires, message.workflow), (0, None, false));
    }
}
