use events_core::{Registry, WorkerId};

use super::super::envelope::unwrap;
use super::*;

const NOON: Timestamp = Timestamp::from_micros(1_767_355_200_500_000);

fn node() -> Node {
    let registry = Registry::builder().build().unwrap();
    Node::new(WorkerId::generate(), "rust@host", 1, vec!["mail".into()], &registry)
}

fn message() -> (Message, String) {
    let text = r#"{"body":"W1t7Im4iOjF9XSx7fSxudWxsXQ==","content-type":"application/json","headers":{"id":"id-1","task":"a.b","retries":2,"eta":"2026-01-02T12:00:00+00:00","root_id":"root","kwargsrepr":"{}"},"properties":{"body_encoding":"base64"}}"#;
    (Message::read(text).unwrap(), text.to_owned())
}

fn bodies(taken: &[Announcement]) -> Vec<(String, Value)> {
    let keys = Keys::new("acme:", 3);
    let packed = pack(taken, &Clock::default(), &keys);
    let unpacked = packed.into_iter().map(|(channel, text)| {
        let contents = unwrap(text.as_bytes()).unwrap();
        assert_eq!(contents.headers["hostname"], "rust@host");
        (channel, contents.body)
    });
    unpacked.collect()
}

#[test]
fn a_worker_tells_what_celerys_tell() {
    let sent = bodies(&[of_worker("worker-online", &node(), NOON)]);
    let [(channel, body)] = sent.as_slice() else { panic!("{sent:?}") };
    assert_eq!(channel, "acme:/3.celeryev/worker.online");
    assert_eq!(body["type"], "worker-online");
    assert_eq!(body["timestamp"], 1_767_355_200.5);
    assert_eq!((&body["freq"], &body["clock"]), (&json!(2.0), &json!(1)));
    assert_eq!((&body["active"], &body["processed"]), (&json!(0), &json!(0)));
    assert_eq!(body["loadavg"].as_array().unwrap().len(), 3);
    assert_eq!(body["sw_ident"], "events-rs");
}

#[test]
fn a_task_that_is_received_is_told_as_python_shows_it() {
    let (message, text) = message();
    let event = received(&node(), &message, &text, NOON);
    assert_eq!((&event["uuid"], &event["name"]), (&json!("id-1"), &json!("a.b")));
    assert_eq!((&event["args"], &event["kwargs"]), (&json!("[{'n': 1}]"), &json!("{}")));
    assert_eq!((&event["retries"], &event["root_id"]), (&json!(2), &json!("root")));
    assert_eq!(event["eta"], "2026-01-02T12:00:00+00:00");
    assert_eq!((&event["parent_id"], &event["expires"]), (&json!(null), &json!(null)));
}

#[test]
fn revoked_and_expired_tasks_are_told_as_such() {
    let (_, text) = message();
    for (why, expired) in [(Dropped::Revoked, false), (Dropped::Expired, true)] {
        let end = End::Drop { text: text.clone(), why };
        let events = of_set_aside(&node(), &end, NOON);
        let kinds: Vec<_> = events.iter().map(|event| &event["type"]).collect();
        assert_eq!(kinds, ["task-received", "task-revoked"]);
        assert_eq!(events[1]["expired"], expired);
    }
}

#[test]
fn events_of_tasks_go_together_and_keep_their_order() {
    let task = |number: usize| Announcement::Task(started(&node(), &number.to_string(), NOON));
    let mut taken: Vec<_> = (0..=MOST_AT_ONCE).map(task).collect();
    taken.push(of_worker("worker-offline", &node(), NOON));
    let sent = bodies(&taken);
    let channels: Vec<_> = sent.iter().map(|(channel, _)| channel.as_str()).collect();
    assert_eq!(
        channels,
        [
            "acme:/3.celeryev/task.multi",
            "acme:/3.celeryev/task.multi",
            "acme:/3.celeryev/worker.offline"
        ]
    );
    assert_eq!(sent[0].1.as_array().unwrap().len(), MOST_AT_ONCE);
    assert_eq!(sent[0].1[1]["clock"], 2);
    assert_eq!(sent[1].1[0]["uuid"], MOST_AT_ONCE.to_string());
    assert_eq!(sent[2].1["clock"], 102);
}
