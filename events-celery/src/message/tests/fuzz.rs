//! Whatever bytes lie in a list: reading them panics never, and what was read and written again says
//! the same. CONTRIBUTING.md tells how to look for longer than the moment that is taken here.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bolero::check;
use events_core::Timestamp;
use events_core::broker::AttemptError;
use serde::de::IgnoredAny;
use serde_json::{Value, json};

use super::sample::{CAPTURED, task, version_1};
use crate::message::{Change, Message, Object, encode, uuid_of};

#[test]
fn bytes_of_any_kind_do_no_harm() {
    check!().for_each(|bytes: &[u8]| {
        std::str::from_utf8(bytes).into_iter().for_each(keeps_what_it_says);
        let body = json!({
            "body": BASE64_STANDARD.encode(bytes), "content-type": "application/json",
            "headers": {"task": "t", "id": "i"}, "properties": {"body_encoding": "base64"},
        });
        keeps_what_it_says(&body.to_string());
    });
}

#[test]
fn messages_that_were_bent_do_no_harm() {
    // Which message, how it is bent, and how its body is.
    check!().with_type::<(u8, Vec<Bend>, Vec<Bend>)>().for_each(|(which, envelope, body)| {
        let seeds = seeds();
        let mut message = seeds[usize::from(*which) % seeds.len()].clone();
        let plain = BASE64_STANDARD.decode(message["body"].as_str().unwrap()).unwrap();
        message["body"] = BASE64_STANDARD.encode(bent(&plain, body)).into();
        let text = bent(message.to_string().as_bytes(), envelope);
        std::str::from_utf8(&text).into_iter().for_each(keeps_what_it_says);
    });
}

/// What is done, where, and with what.
type Bend = (u8, u16, u8);

fn bent(bytes: &[u8], bends: &[Bend]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for (what, at, with) in bends {
        let at = usize::from(*at) % (bytes.len() + 1);
        let end = (at + usize::from(*with)).min(bytes.len());
        match what % 5 {
            0 => drop(bytes.drain(at..end)),
            1 => bytes.insert(at, *with),
            2 => {
                let again = bytes[at..end].to_vec();
                bytes.splice(at..at, again);
            }
            3 => {
                let word = WORDS[usize::from(*with) % WORDS.len()];
                bytes.splice(at..at, word.bytes());
            }
            _ => {
                // In the place of a value: from one colon to the next comma.
                let Some(from) = bytes[at..].iter().position(|byte| *byte == b':') else {
                    continue;
                };
                let from = at + from + 1;
                let to = bytes[from..].iter().position(|byte| b",}]".contains(byte));
                let to = to.map_or(bytes.len(), |to| from + to);
                let word = WORDS[usize::from(*with) % WORDS.len()];
                bytes.splice(from..to, word.bytes());
            }
        }
    }
    bytes
}

const WORDS: &[&str] = &[
    "null",
    "true",
    "NaN",
    "-Infinity",
    "-1",
    "1e400",
    "123456789012345678901234567890",
    "\"\"",
    "\"\\ud800\"",
    "\"\\u0000\"",
    "[]",
    "{}",
    "[[",
    "{\"__type__\":\"date\",\"__value__\":\"2030-01-01\"}",
    "{\"__type__\":\"uuid\",\"__value__\":{\"hex\":\"930cc3541f604956bae5ffffb26986be\"}}",
    "\"2030-01-01T00:00:00+99:59\"",
    "\"0000-00-00T00:00:00\"",
    "-99999999999",
    "\"application/x-gzip\"",
    "\"base64\"",
    "\"headers\":{\"id\":1},",
    "\"events\":1,",
    ",\"events\":1}",
    "é",
];

fn seeds() -> Vec<Value> {
    let ours =
        encode(&task(r#"{"number":7,"on":"2030-01-01"}"#), "here", Timestamp::from_micros(0));
    let tagged = r#"[[{"at":{"__type__":"date","__value__":"2030-01-01"},"big":123456789012345678901234567890}],{"a":[1]},{"chain":[{}]}]"#;
    vec![
        serde_json::from_str(CAPTURED).unwrap(),
        serde_json::from_str(&ours.unwrap().text).unwrap(),
        super::sample::with_body(tagged),
        version_1(&json!({"args": [1, {}], "eta": "2030-01-01T00:00:00Z", "chord": {"a": 1}})),
    ]
}

fn keeps_what_it_says(text: &str) {
    let message = match Message::read(text) {
        Ok(message) => message,
        Err(unreadable) => {
            assert!((1..700).contains(&unreadable.reason.len()), "{unreadable:?}");
            assert!(!unreadable.reason.contains("panicked"), "{unreadable:?}");
            return;
        }
    };
    let _ = (message.call.payload(&[]), message.call.event_id(), uuid_of(&message.id));
    let moment = Timestamp::from_micros(1_893_456_000_000_000);
    let kept = message.again(text, "mail", Change::default());
    says_the_same(&message, &kept);
    assert_eq!(
        Message::read(&kept).unwrap().again(&kept, "mail", Change::default()),
        kept,
        "what is written once is written so again"
    );
    let change = Change {
        retries: Some(message.retries.saturating_add(1)),
        eta: Some(moment),
        error: Some(AttemptError::new(message.attempt(), moment, "it broke")),
        renewed: true,
        redelivered: true,
        ..Change::default()
    };
    let retried = message.again(text, "mail", change);
    let read = says_the_same(&message, &retried);
    assert_eq!((read.eta, read.retries), (Some(moment), message.retries.saturating_add(1)));
    assert_eq!(read.errors.last().map(|error| &*error.error), Some("it broke"));
}

fn says_the_same(message: &Message, again: &str) -> Message {
    serde_json::from_str::<IgnoredAny>(again).expect("it is JSON");
    let read = Message::read(again).unwrap_or_else(|error| panic!("{error:?}: {again}"));
    assert_eq!((&read.id, &read.name, &read.call), (&message.id, &message.name, &message.call));
    assert_eq!((read.workflow, read.priority), (message.workflow, message.priority));
    assert_eq!(Object::parse(again).unwrap().raw("events"), Some("1"));
    if !message.version_1 {
        assert_eq!(read.headers, message.headers);
        assert_eq!(read.expires, message.expires);
        assert_eq!(read.ignore_result, message.ignore_result);
        assert_eq!((read.rescued, read.returned), (message.rescued, message.returned));
        assert_eq!((&read.event, read.published_at), (&message.event, message.published_at));
        assert_eq!(read.debounce, message.debounce);
    }
    read
}
