//! What consumers in Python left behind.

use events_core::lifecycle::Next;
use serde_json::{Value, json};

use crate::logs::Logs;
use crate::world::{Fleet, LONG_AGO, numbers};

/// As kombu holds a message.
fn entry(message: &Value, exchange: &str, routing_key: &str) -> String {
    json!([message, exchange, routing_key]).to_string()
}

#[tokio::test]
async fn what_lapsed_goes_to_the_front_of_the_list_of_its_priority() {
    let fleet = Fleet::start().await;
    for (number, priority, list) in
        [(1, 0, "mail"), (2, 2, "mail"), (3, 5, "mail\u{6}\u{16}3"), (4, 99, "mail\u{6}\u{16}9")]
    {
        let mut order = fleet.order(number);
        order["properties"]["priority"] = priority.into();
        fleet.hold("a-tag", &entry(&order, "", "mail"), LONG_AGO).await;
        let waiting = fleet.order(100).to_string();
        let _: i64 = fleet.ask("LPUSH", list, &[waiting.as_bytes()]).await;
        fleet.sweep().await;
        let restored: Vec<u8> = fleet.ask("RPOP", list, &[]).await;
        let restored: Value = serde_json::from_slice(&restored).unwrap();
        order["headers"]["redelivered"] = true.into();
        order["properties"]["delivery_info"]["redelivered"] = true.into();
        assert_eq!(restored, order);
        let _: i64 = fleet.ask("DEL", list, &[]).await;
        assert_eq!(fleet.places().await, (0, 0, 0));
    }
}

#[tokio::test]
async fn what_has_not_lapsed_stays() {
    let fleet = Fleet::start().await;
    let entry = entry(&fleet.order(1), "", "mail");
    fleet.hold("a-tag", &entry, 1_893_456_000.0 - 3000.0).await;
    fleet.sweep().await;
    assert_eq!(fleet.places().await, (0, 1, 1));
}

#[tokio::test]
async fn exchange_is_looked_up_among_the_bindings() {
    let (logs, _guard) = Logs::capture();
    let fleet = Fleet::start().await;
    let member = "of-mail\u{6}\u{16}\u{6}\u{16}mail";
    let _: i64 = fleet.ask("SADD", "_kombu.binding.shop", &[member.as_bytes()]).await;
    fleet.hold("bound", &entry(&fleet.order(1), "shop", "of-mail"), LONG_AGO).await;
    fleet.hold("unbound", &entry(&fleet.order(2), "nobody", "of-mail"), LONG_AGO).await;
    fleet.sweep().await;
    assert_eq!(fleet.places().await, (1, 1, 1), "python would have dropped the other");
    assert_eq!(fleet.take().await, [1]);
    let line = "of an exchange without a queue cannot be restored";
    assert!(logs.has("ERROR", &[line, "nobody"]), "{logs}");
}

/// As kombu writes it.
fn binding(routing_key: &str, pattern: &str, queue: &str) -> Vec<u8> {
    format!("{routing_key}\u{6}\u{16}{pattern}\u{6}\u{16}{queue}").into_bytes()
}

#[tokio::test]
async fn every_queue_that_is_bound_with_the_routing_key_gets_the_message() {
    let (logs, _guard) = Logs::capture();
    let fleet = Fleet::start().await;
    let bindings = ["mail", "letters", "archive"].map(|queue| binding("of-mail", "", queue));
    let other = binding("of-others", "", "others");
    let members = [&*bindings[0], &bindings[1], &bindings[2], &other];
    let _: i64 = fleet.ask("SADD", "_kombu.binding.shop", &members).await;
    fleet.hold("a-tag", &entry(&fleet.order(1), "shop", "of-mail"), LONG_AGO).await;
    // Who is given one back takes it before those that came later.
    let later = fleet.order(2).to_string();
    let _: i64 = fleet.ask("LPUSH", "letters", &[later.as_bytes()]).await;
    fleet.sweep().await;
    assert_eq!(fleet.places().await, (1, 0, 0));
    let restored: Vec<u8> = fleet.ask("RPOP", "letters", &[]).await;
    for list in ["mail", "archive"] {
        let found: Vec<u8> = fleet.ask("RPOP", list, &[]).await;
        assert_eq!(found, restored, "{list}");
    }
    let restored: Value = serde_json::from_slice(&restored).unwrap();
    assert_eq!(restored["body"], fleet.order(1)["body"]);
    assert_eq!(fleet.ask::<u64>("EXISTS", "others", &[]).await, 0);
    assert!(logs.has("WARN", &["are offered again", "messages=1"]), "{logs}");
}

#[tokio::test]
async fn topic_exchanges_match_as_in_kombu() {
    let fleet = Fleet::start().await;
    let bindings = [
        binding("feed.#", r"^feed\..*?$", "all"),
        binding("feed.*", r"^feed\..*?[^\.]$", "one"),
        binding("#.news", r"^.*?\.news$", "news"),
        binding("feed", r"^feed$", "plain"),
    ];
    let members: Vec<_> = bindings.iter().map(Vec::as_slice).collect();
    let _: i64 = fleet.ask("SADD", "_kombu.binding.topics", &members).await;
    for (routing_key, expected) in [
        ("feed", &["plain"][..]),
        ("feed.import", &["all", "one"]),
        ("feed.daily.news", &["all", "one", "news"]), // kombu's star spans words
        ("feed.", &["all"]),
    ] {
        fleet.hold("a-tag", &entry(&fleet.order(1), "topics", routing_key), LONG_AGO).await;
        fleet.sweep().await;
        for list in ["all", "one", "news", "plain"] {
            let found: u64 = fleet.ask("DEL", list, &[]).await;
            assert_eq!(found == 1, expected.contains(&list), "{routing_key} in {list}");
        }
        assert_eq!(fleet.places().await, (0, 0, 0), "{routing_key}");
    }
}

#[tokio::test]
async fn what_cannot_be_restored_is_told_once_with_what_to_do() {
    let (logs, _guard) = Logs::capture();
    let fleet = Fleet::start().await;
    let cases = [
        ("unreadable", "not JSON".to_owned(), "remove it with HDEL"),
        ("no-message", entry(&json!([1]), "", "mail"), "remove it with HDEL"),
        ("unbound", entry(&fleet.order(1), "nobody", "of-mail"), "start a worker"),
    ];
    for (tag, entry, _) in &cases {
        fleet.hold(tag, entry, LONG_AGO).await;
    }
    for _ in 0..3 {
        fleet.sweep().await;
    }
    let key = fleet.key("unacked");
    for (tag, _, remedy) in &cases {
        assert_eq!(logs.count("ERROR", &[tag, remedy, &key]), 1, "{tag}: {logs}");
    }
    // It went, and came again.
    let _: i64 = fleet.ask("HDEL", "unacked", &[b"unreadable"]).await;
    fleet.sweep().await;
    fleet.hold("unreadable", "not JSON", LONG_AGO).await;
    fleet.sweep().await;
    assert_eq!(logs.count("ERROR", &["unreadable"]), 2, "{logs}");
    assert_eq!(logs.count("ERROR", &["unbound"]), 1, "{logs}");
}

#[tokio::test]
async fn nothing_is_restored_while_another_is_at_it() {
    let fleet = Fleet::start().await;
    fleet.hold("a-tag", &entry(&fleet.order(1), "", "mail"), LONG_AGO).await;
    fleet.tell(&["SET", &fleet.key("unacked_mutex"), "of-another"]).await;
    fleet.sweep().await;
    assert_eq!(fleet.places().await, (0, 1, 1));
    let holder: String = fleet.ask("GET", "unacked_mutex", &[]).await;
    assert_eq!(holder, "of-another", "its lock is not ours to free");
    fleet.tell(&["DEL", &fleet.key("unacked_mutex")]).await;
    fleet.sweep().await;
    assert_eq!(fleet.places().await, (1, 0, 0));
    let lock: Option<String> = fleet.ask("GET", "unacked_mutex", &[]).await;
    assert_eq!(lock, None);
}

#[tokio::test]
async fn poison_is_left_alone_and_told_and_hides_nothing() {
    let (logs, _guard) = Logs::capture();
    let fleet = Fleet::start().await;
    let order = fleet.order(1);
    let poison: Vec<Vec<u8>> = vec![
        b"not JSON".to_vec(),
        b"{}".to_vec(),
        b"[1]".to_vec(),
        format!("[{order},\"\"]").into_bytes(),
        format!("[{order},\"\",7]").into_bytes(),
        entry(&json!(order.to_string()), "", "mail").into_bytes(),
        entry(&json!([1]), "", "mail").into_bytes(),
        entry(&json!({"headers": [1]}), "", "mail").into_bytes(),
        b"[\"\xff\",\"\",\"mail\"]".to_vec(),
    ];
    for (number, poison) in poison.iter().enumerate() {
        let tag = format!("poison-{number}");
        fleet.hold(&tag, "", LONG_AGO).await;
        let _: i64 = fleet.ask("HSET", "unacked", &[tag.as_bytes(), poison]).await;
    }
    // More than what is looked at in one go lies before the good ones.
    for number in 0..250 {
        fleet.hold(&format!("q-{number}"), "poison too", LONG_AGO + 1.0).await;
    }
    for number in 0..150 {
        let entry = entry(&fleet.order(number), "", "mail");
        fleet.hold(&format!("z-{number}"), &entry, LONG_AGO + 2.0).await;
    }
    fleet.sweep().await;
    let left = 250 + poison.len() as u64;
    assert_eq!(fleet.places().await, (150, left, left));
    for (number, poison) in poison.iter().enumerate() {
        let tag = format!("poison-{number}");
        let found: Vec<u8> = fleet.ask("HGET", "unacked", &[tag.as_bytes()]).await;
        assert_eq!(found, *poison);
        assert!(logs.has("ERROR", &["look at it with HGET", &tag]), "{tag} is not told");
    }
}

#[tokio::test]
async fn index_entry_without_a_message_is_cleaned_up() {
    let fleet = Fleet::start().await;
    let score = LONG_AGO.to_string();
    let _: i64 = fleet.ask("ZADD", "unacked_index", &[score.as_bytes(), b"dangling"]).await;
    fleet.sweep().await;
    assert_eq!(fleet.places().await, (0, 0, 0));
}

#[tokio::test]
async fn message_without_headers_is_restored_too() {
    let fleet = Fleet::start().await;
    let mut order = fleet.order(1);
    order["headers"] = Value::Null;
    fleet.hold("a-tag", &entry(&order, "", "mail"), LONG_AGO).await;
    fleet.sweep().await;
    assert_eq!(fleet.places().await, (1, 0, 0));
    assert!(fleet.take().await.is_empty());
    assert_eq!(fleet.dead_letters().await.len(), 1);
}

#[tokio::test]
async fn what_was_restored_and_what_python_holds_are_two_things() {
    let fleet = Fleet::start().await;
    fleet.hold("of-python", &entry(&fleet.order(1), "", "mail"), LONG_AGO).await;
    fleet.sweep().await;
    let leases = fleet.claim(1).await.unwrap();
    assert_eq!(numbers(&leases), [1]);
    // The consumer in Python was only slow, and acknowledges.
    let _: i64 = fleet.ask("HDEL", "unacked", &[b"of-python"]).await;
    let _: i64 = fleet.ask("ZREM", "unacked_index", &[b"of-python"]).await;
    assert_eq!(fleet.end(leases, &Next::Complete).await, [true]);
}
