//! Messages that are none are kept, told, and in nobody's way.

use std::time::Duration;

use events_core::broker::Admin;
use events_runtime::Worker;
use private_redis::Server;
use serde_json::{Value, json};

use crate::logs::Logs;
use crate::world::{Fleet, Seen, message};

/// A message, and what its dead letter says.
fn malformed(fleet: &Fleet) -> Vec<(Vec<u8>, &'static str)> {
    let order = |change: &dyn Fn(&mut Value)| {
        let mut order = fleet.order(7);
        change(&mut order);
        order.to_string().into_bytes()
    };
    let without = |part: &'static str, field: &'static str| {
        order(&|order| drop(order[part].as_object_mut().unwrap().remove(field)))
    };
    let with_body = |body: &str| message(fleet.task_name(), body).to_string().into_bytes();
    let deep = format!("{{\"a\":{}1{}}}", "[".repeat(5000), "]".repeat(5000));
    let no_object = "no JSON object";
    let mut invalid_utf8 = order(&|_| ());
    let at = invalid_utf8.windows(4).position(|part| part == b"gen1").unwrap();
    invalid_utf8[at] = 0xff;
    vec![
        (b"".to_vec(), no_object),
        (b"not JSON".to_vec(), no_object),
        (b"[1,2]".to_vec(), no_object),
        (b"7".to_vec(), no_object),
        (b"\"text\"".to_vec(), no_object),
        (b"null".to_vec(), no_object),
        (b"{\"a\":1".to_vec(), no_object),
        (b"{}{}".to_vec(), no_object),
        (b"{\"a\":\xff}".to_vec(), no_object),
        (deep.into_bytes(), no_object),
        ((0..=255).collect(), no_object),
        (invalid_utf8, no_object),
        (b"{\"a\":\"\xed\xa0\x80\"}".to_vec(), no_object),
        (b"\xff,\"events\":1}".to_vec(), "no JSON object"),
        (b"nothing,\"events\":1}".to_vec(), "it is not a message"),
        (b"{}".to_vec(), "no `content-type`"),
        (b" { \"a\" : 1 } ".to_vec(), "no `content-type`"),
        (b"{\"a\":\"\n\"}".to_vec(), "it is not a message"),
        (b"{\"a\":NaN}".to_vec(), "it is not a message"),
        (order(&|order| order["headers"] = Value::Null), "no header `task`"),
        (order(&|order| order["headers"] = json!([1])), "it is not a message"),
        (order(&|order| order["properties"] = json!("x")), "it is not a message"),
        (order(&|order| order["body"] = json!("%")), "not base64"),
        (order(&|order| order["body"] = Value::Null), "no `body`"),
        (order(&|order| order["content-type"] = json!("application/x-msgpack")), "serializer"),
        (order(&|order| order["headers"]["compression"] = json!("zstd")), "only gzip"),
        (order(&|order| order["headers"]["eta"] = json!("soon")), "`eta` is no time"),
        (without("headers", "task"), "no header `task`"),
        (without("headers", "id"), "no header `id`"),
        (with_body("[[],{}]"), "not JSON of the expected form"),
        (with_body("not JSON"), "not JSON of the expected form"),
        (with_body("[[NaN],{},{}]"), "NaN or Infinity"),
        (with_body(r#"[[{"number":1}],{},{"chain":[{}]}]"#), "other tasks hang on it"),
        (with_body("[[1,2],{},{}]"), "2 positional arguments"),
        (with_body(r#"[[1],{"urgent":true},{}]"#), "the argument `urgent`"),
    ]
}

#[tokio::test]
async fn what_cannot_be_run_is_a_dead_letter_and_those_behind_it_run() {
    let (logs, _guard) = Logs::capture();
    let fleet = Fleet::start().await;
    for (bytes, reason) in malformed(&fleet) {
        let shown = String::from_utf8_lossy(&bytes).chars().take(300).collect::<String>();
        let good = fleet.order(1).to_string();
        fleet.push(&[&bytes, good.as_bytes()]).await;
        assert_eq!(fleet.take().await, [1], "{shown}");
        assert_eq!(fleet.places().await, (0, 0, 0), "{shown}");
        let letters = fleet.dead_letters().await;
        let [letter] = letters.as_slice() else { panic!("{} letters: {shown}", letters.len()) };
        let error = &letter.attempts.last().expect("it says why").error;
        assert!(error.contains(reason), "{error}: {shown}");
        assert_eq!(&*letter.queue, "mail");
        assert!(fleet.broker.discard_dead_letter(letter.id).await.unwrap());
    }
    let line = "a message that nobody can read is kept as a dead letter";
    assert!(logs.has("ERROR", &[line, "apply_async"]), "{logs}");
    assert!(logs.has("ERROR", &["a message that is not JSON was found"]), "{logs}");
}

#[tokio::test]
async fn what_cannot_be_read_is_put_back_to_the_byte_when_it_is_retried() {
    let fleet = Fleet::start().await;
    for (bytes, reason) in malformed(&fleet) {
        if ["other tasks", "argument"].iter().any(|read| reason.contains(read)) {
            continue; // these can be read: their count of attempts begins anew
        }
        for list in ["mail", "mail\u{6}\u{16}9"] {
            let _: i64 = fleet.ask("LPUSH", list, &[&bytes]).await;
            assert!(fleet.take().await.is_empty());
            let letter = fleet.dead_letters().await.remove(0);
            assert!(fleet.broker.retry_dead_letter(letter.id).await.unwrap());
            let found: Vec<Vec<u8>> = fleet.ask("LRANGE", list, &[b"0", b"-1"]).await;
            assert_eq!(found, std::slice::from_ref(&bytes), "{reason}");
            let _: i64 = fleet.ask("DEL", list, &[]).await;
            assert!(fleet.dead_letters().await.is_empty());
        }
    }
}

#[tokio::test]
async fn worker_runs_the_good_among_the_bad() {
    let fleet = Fleet::start().await;
    let mut expected = Vec::new();
    for (number, (bytes, _)) in (0..).zip(malformed(&fleet)) {
        fleet.push(&[&bytes, fleet.order(number).to_string().as_bytes()]).await;
        expected.push(number);
    }
    let seen = Seen::default();
    let worker = Worker::builder(&fleet.events, fleet.broker.clone()).state(seen.clone());
    let working = worker.build().unwrap().run_until_drained();
    tokio::time::timeout(Duration::from_mins(1), working).await.expect("none loops").unwrap();
    let mut numbers = seen.0.lock().unwrap().clone();
    numbers.sort_unstable();
    assert_eq!(numbers, expected);
    assert_eq!(fleet.places().await, (0, 0, 0));
    assert_eq!(fleet.dead_letters().await.len(), expected.len());
}

#[tokio::test]
async fn what_others_may_read_is_put_back_for_them_but_not_for_ever() {
    let database = Server::shared().database();
    let fleet = Fleet::with(&database, |options| options.shared_queues(["mail"])).await;
    for (change, reason) in [
        (json!({"content-type": "application/x-msgpack"}), "serializer"),
        (json!({"body": "W1tOYU5dLHt9LHt9XQ=="}), "NaN or Infinity"),
    ] {
        let mut order = fleet.order(1);
        for (name, value) in change.as_object().unwrap() {
            order[name] = value.clone();
        }
        fleet.push(&[order.to_string().as_bytes()]).await;
        let mut times = 0;
        while fleet.dead_letters().await.is_empty() {
            times += 1;
            assert!(times < 400, "it goes round and round");
            assert!(fleet.claim(10).await.unwrap().is_empty());
            let lists: Vec<Vec<u8>> = fleet.ask("LRANGE", "mail", &[b"0", b"-1"]).await;
            for text in lists {
                let mut back: Value = serde_json::from_slice(&text).unwrap();
                back["headers"].as_object_mut().unwrap().remove("events_returned");
                assert_eq!(back, order, "all of it is put back");
            }
            fleet.clock.advance(Duration::from_mins(1));
        }
        assert!(times > 20, "others had their chance: {times}");
        assert_eq!(fleet.places().await, (0, 0, 0));
        let letter = fleet.dead_letters().await.remove(0);
        let error = &letter.attempts.last().unwrap().error;
        assert!(error.contains(reason), "{error}");
        fleet.broker.discard_dead_letter(letter.id).await.unwrap();
    }
}

#[tokio::test]
async fn what_nobody_can_read_is_not_given_to_python_which_dies_of_it() {
    let database = Server::shared().database();
    let fleet = Fleet::with(&database, |options| options.shared_queues(["mail"])).await;
    let malformed = message(fleet.task_name(), "[[],{}]").to_string();
    fleet.push(&[malformed.as_bytes()]).await;
    assert!(fleet.take().await.is_empty());
    assert_eq!((fleet.places().await, fleet.dead_letters().await.len()), ((0, 0, 0), 1));
}
