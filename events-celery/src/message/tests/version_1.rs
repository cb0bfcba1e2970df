//! Messages of old programs, which go on in the form of today.

use events_core::Timestamp;
use serde_json::{Value, json};

use super::sample::version_1;
use crate::message::{Change, Message};

#[test]
fn body_with_everything_is_read() {
    let fields = json!({
        "args": [1], "kwargs": {"two": 2}, "retries": 4, "eta": "2030-01-01T00:00:00",
        "expires": 1_893_456_000,
    });
    let message = Message::read(&version_1(&fields).to_string()).unwrap();
    let time = Some(Timestamp::from_micros(1_893_456_000_000_000));
    assert!(message.version_1 && !message.workflow);
    assert_eq!((message.retries, message.eta, message.expires), (4, time, time));
    assert_eq!(message.call.to_json(), r#"[[1],{"two":2}]"#);
}

#[test]
fn what_is_missing_is_told() {
    for (fields, reason) in [
        (json!({"task": null}), "an object without `task`"),
        (json!({"id": ""}), "an object without `id`"),
        (json!({"args": 7}), "its body is not JSON of the expected form"),
        (json!({"kwargs": []}), "its body is not JSON of the expected form"),
        (json!({"eta": "soon"}), "its `eta` is no time"),
    ] {
        let error = Message::read(&version_1(&fields).to_string()).unwrap_err();
        assert!(error.reason.contains(reason), "{}", error.reason);
    }
    for fields in [json!({"args": null}), json!({"kwargs": null}), json!({"retries": null})] {
        Message::read(&version_1(&fields).to_string()).unwrap();
    }
}

#[test]
fn put_back_it_says_all_that_it_said() {
    let fields = json!({
        "args": [{"big": 1, "__type__": 1}], "kwargs": {"at": "é"}, "retries": 4,
        "eta": "2030-01-01T00:00:00", "expires": "2031-01-01T00:00:00",
        "callbacks": [{"task": "next"}], "taskset": "g-1", "timelimit": [3, 2],
    });
    let mut old = version_1(&fields);
    old["headers"] = json!({"request_id": "r-1"});
    old["properties"]["reply_to"] = "somebody".into();
    let text = old.to_string();
    let message = Message::read(&text).unwrap();
    let change = Change { returned: Some(1), ..Change::default() };
    let again = message.again(&text, "mail", change);
    let read = Message::read(&again).unwrap();
    assert!(!read.version_1);
    assert!(read.workflow, "the callback must not be forgotten");
    assert_eq!(
        (&read.id, &read.name, &read.call, read.retries, read.eta, read.expires, read.returned),
        (&message.id, &message.name, &message.call, 4, message.eta, message.expires, 1)
    );
    let again: Value = serde_json::from_str(&again).unwrap();
    assert_eq!(again["headers"]["request_id"], "r-1");
    assert_eq!(again["headers"]["group"], "g-1");
    assert_eq!(again["headers"]["timelimit"], json!([3, 2]));
    assert_eq!(again["properties"]["reply_to"], "somebody");
    assert_eq!(again["properties"]["delivery_info"]["routing_key"], "mail");
}
