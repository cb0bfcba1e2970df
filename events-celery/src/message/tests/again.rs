//! A message that goes back keeps all that is not changed.

use events_core::Timestamp;
use events_core::broker::AttemptError;
use serde_json::{Value, json};

use super::sample::{CAPTURED, task};
use crate::message::{Change, MARK, Message, encode};

const BIG: &str = "123456789012345678901234567890";

/// With fields, headers and properties that nobody here knows.
fn peculiar() -> String {
    CAPTURED
        .replacen('{', &format!(r#"{{"unknown": {BIG}, "#), 1)
        .replace(
            "\"stamps\": {}",
            &format!(r#""stamps": {{"b": {BIG}}}, "half": "\ud800", "f": 1.10"#),
        )
        .replace(
            r#""delivery_info": {"#,
            &format!(r#""app_id": {BIG}, "delivery_info": {{"priority": 0, "#),
        )
}

fn again(text: &str, change: Change) -> String {
    Message::read(text).unwrap().again(text, "mail", change)
}

/// The parts that may differ, taken out.
fn without(text: &str, headers: &[&str], properties: &[&str]) -> Value {
    let mut message: Value = serde_json::from_str(&text.replace(r"\ud800", "half")).unwrap();
    message.as_object_mut().unwrap().remove("events");
    for (part, names) in [("headers", headers), ("properties", properties)] {
        let part = message[part].as_object_mut().unwrap();
        part.retain(|name, _| !names.contains(&name.as_str()));
    }
    message
}

#[test]
fn what_does_not_change_stays_to_the_letter() {
    let text = peculiar();
    let back = again(&text, Change::default());
    assert_eq!(without(&back, &[], &["delivery_info"]), without(&text, &[], &["delivery_info"]));
    assert_eq!(back.matches(BIG).count(), 3, "{back}");
    assert!(back.contains(r#""half":"\ud800","f":1.10"#), "{back}");
    let delivery = r#"{"priority":0,"exchange":"","routing_key":"mail"}"#;
    assert!(back.contains(delivery), "{back}");
}

#[test]
fn every_change_changes_what_it_says_and_nothing_else() {
    let text = peculiar();
    let now = Timestamp::from_micros(1_893_456_000_000_000);
    let changes: Vec<(Change, &[&str], &[&str])> = vec![
        (Change { retries: Some(7), ..Change::default() }, &["retries"], &[]),
        (Change { rescued: Some(7), ..Change::default() }, &["events_rescued"], &[]),
        (Change { returned: Some(7), ..Change::default() }, &["events_returned"], &[]),
        (Change { eta: Some(now), ..Change::default() }, &["eta"], &[]),
        (
            Change { error: Some(AttemptError::new(1, now, "é\n\"")), ..Change::default() },
            &["events_errors"],
            &[],
        ),
        (Change { redelivered: true, ..Change::default() }, &["redelivered"], &[]),
        (Change { renewed: true, ..Change::default() }, &["parent_id", "eta"], &["delivery_tag"]),
    ];
    for (change, headers, properties) in changes {
        let told = format!("{change:?}");
        let back = again(&text, change);
        let mut properties = properties.to_vec();
        properties.push("delivery_info");
        assert_eq!(
            without(&back, headers, &properties),
            without(&text, headers, &properties),
            "{told}"
        );
        for header in headers {
            let value: Value = serde_json::from_str(&back.replace(r"\ud800", "half")).unwrap();
            assert!(value["headers"].get(*header).is_some(), "{told}: {header}");
        }
    }
}

#[test]
fn what_changed_is_read_again() {
    let now = Timestamp::from_micros(1_893_456_000_000_000);
    let error = AttemptError::new(1, now, "it broke");
    let change = Change {
        retries: Some(3),
        rescued: Some(2),
        returned: Some(1),
        eta: Some(now),
        error: Some(error.clone()),
        redelivered: true,
        renewed: true,
        ..Change::default()
    };
    let text = again(CAPTURED, change);
    let message = Message::read(&text).unwrap();
    assert_eq!((message.retries, message.rescued, message.returned), (3, 2, 1));
    assert_eq!(
        (message.eta, message.errors, message.headers.is_empty()),
        (Some(now), vec![error], true)
    );
    let value: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(value["headers"]["parent_id"], value["headers"]["id"]);
    assert_eq!(value["headers"]["redelivered"], true);
    let expected = json!({"exchange": "", "routing_key": "mail", "redelivered": true});
    assert_eq!(value["properties"]["delivery_info"], expected);
    assert_ne!(value["properties"]["delivery_tag"], "3ac9c12d-8168-4d02-a866-f48adad00016");
}

#[test]
fn history_does_not_grow_without_end() {
    let now = Timestamp::from_micros(0);
    let mut text = CAPTURED.to_owned();
    for attempt in 1..=120 {
        let error = Some(AttemptError::new(attempt, now, "it broke"));
        text = again(&text, Change { error, ..Change::default() });
    }
    let errors = Message::read(&text).unwrap().errors;
    assert_eq!((errors.len(), errors[0].attempt, errors[99].attempt), (100, 21, 120));
}

#[test]
fn only_one_mark_is_at_the_end() {
    let ours = encode(&task("{}"), "here", Timestamp::from_micros(0)).unwrap().text;
    for text in [CAPTURED, &ours, &again(CAPTURED, Change::default())] {
        let back = again(text, Change { redelivered: true, ..Change::default() });
        assert!(back.ends_with(MARK), "{back}");
        assert_eq!(back.matches(MARK).count(), 1, "{back}");
        serde_json::from_str::<Value>(&back).unwrap();
    }
}

#[test]
fn fields_that_are_null_are_no_obstacle() {
    let text = r#"{"body":"[[],{},{}]","content-type":"application/json","headers":{"task":"t","id":"i"},"properties":null}"#;
    let back = again(text, Change { redelivered: true, ..Change::default() });
    let value: Value = serde_json::from_str(&back).unwrap();
    assert_eq!(value["properties"]["delivery_info"]["redelivered"], true);
    assert_eq!(value["body"], "[[],{},{}]");
}
