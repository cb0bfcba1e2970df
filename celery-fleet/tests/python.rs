//! Python to Python, of both versions.

use std::path::Path;

use celery_fleet::{Fleet, Pool, Publishing, Version, WorkerSettings};
use private_redis::{AppendOnlyFile, Sentinel, Server, Settings};
use serde_json::{Value, json};

fn solo() -> WorkerSettings {
    WorkerSettings { pool: Pool::Solo, ..WorkerSettings::of("shop") }
}

fn numbered(count: u32) -> Vec<Value> {
    (0..count)
        .map(|number| json!({"task": "fleet.record", "args": [number], "queue": "shop"}))
        .collect()
}

#[test]
fn each_version_executes_what_the_other_publishes() {
    let url = Server::shared().database().url();
    let [newest, old] =
        Version::ALL.map(|version| Fleet::python(version, &url).tasks(["events.shop.placed.mail"]));
    for (publisher, consumer) in [(&newest, &old), (&old, &newest)] {
        let mut worker = consumer.worker(&solo());
        let event = json!([{"order": 7, "note": "grüße"}, "0192f0c1-7a5e-7c3a-9d4e-3f1b2a6c5d4e"]);
        let ids = publisher.publish(&[json!({
            "task": "events.shop.placed.mail",
            "args": event,
            "kwargs": {"more": true},
            "queue": "shop",
            "priority": 3,
            "headers": {"request_id": "r-1"},
            "task_id": "chosen",
        })]);
        assert_eq!(ids, ["chosen"]);
        let record = &consumer.wait_for_records(1)[0];
        assert_eq!((&*record.name, &*record.id), ("events.shop.placed.mail", "chosen"));
        assert_eq!((&record.args, &record.kwargs), (&event, &json!({"more": true})));
        assert_eq!((record.priority, record.queue.as_deref()), (Some(3), Some("shop")));
        assert_eq!(record.headers.as_ref().unwrap()["request_id"], "r-1");
        assert_eq!((record.node.as_str(), record.pid), (worker.name(), worker.pid()));
        assert!(worker.stop());
    }
}

#[test]
fn chord_calls_its_body_and_unknown_tasks_are_published_too() {
    let database = Server::shared().database();
    let fleet = Fleet::python(Version::Newest, &database.url())
        .set("result_backend", Server::shared().database().url());
    let echo = |text: &str| json!({"task": "fleet.echo", "args": [text], "queue": "shop"});
    let ids = fleet.publish(&[
        json!({"chord": [echo("a"), echo("b")], "body": {"task": "fleet.record", "queue": "shop"}}),
        json!({"task": "only.rust.knows", "queue": "rust", "task_id": "for-rust"}),
    ]);
    assert_eq!(ids[1], "for-rust");
    assert!(database.cli(&["LINDEX", "rust", "0"]).unwrap().contains("only.rust.knows"));
    let _worker = fleet.worker(&solo());
    let body = fleet.wait_for_records(3).pop().unwrap();
    assert_eq!((&*body.name, &*body.id), ("fleet.record", &*ids[0]));
}

#[test]
fn tasks_retry_fail_sleep_echo_and_chain() {
    let url = Server::shared().database().url();
    let fleet = Fleet::python(Version::Newest, &url);
    let _worker =
        fleet.worker(&WorkerSettings { pool: Pool::Threads, ..WorkerSettings::of("shop") });
    fleet.publish(&[
        json!({"task": "fleet.fails_then_succeeds", "args": [2], "queue": "shop"}),
        json!({"task": "fleet.fails", "queue": "shop", "link_error": {"task": "fleet.record", "queue": "shop"}}),
        json!({"task": "fleet.slow", "args": [0.1], "queue": "shop"}),
        json!({"task": "fleet.record", "args": ["later"], "queue": "shop", "countdown": 0.2}),
        json!({"task": "fleet.record", "args": ["too late"], "queue": "shop", "expires": "2020-01-01T00:00:00Z"}),
        json!({"chain": [
            {"task": "fleet.echo", "args": ["first"], "queue": "shop"},
            {"task": "fleet.record", "args": ["second"], "queue": "shop"},
        ]}),
    ]);
    // 3 attempts; the failure and its callback; both ends of the sleep; later; two of the chain.
    let records = fleet.wait_for_records(10);
    assert_eq!(records.len(), 10);
    let of = |name: &str| records.iter().filter(|record| record.name == name).collect::<Vec<_>>();
    let retries: Vec<_> = of("fleet.fails_then_succeeds").iter().map(|each| each.retries).collect();
    assert_eq!(retries, [0, 1, 2]);
    assert_eq!(of("fleet.fails").len(), 1);
    assert_eq!(of("fleet.slow").iter().map(|each| each.ended).collect::<Vec<_>>(), [false, true]);
    let later = records.iter().find(|record| record.args[0] == "later").unwrap();
    assert!(later.eta.is_some());
    assert!(records.iter().all(|record| record.args[0] != "too late"));
    let second = records.iter().find(|record| record.args[1] == "second").unwrap();
    assert_eq!(second.args[0], json!({"args": ["first"], "kwargs": {}}));
}

#[test]
fn killed_worker_takes_its_children_along_and_another_repeats_its_task() {
    let url = Server::shared().database().url();
    let fleet = Fleet::python(Version::Newest, &url)
        .transport_option("visibility_timeout", 1)
        .transport_option("unacked_restore_throttle", 1)
        .transport_option("unacked_restore_interval", 1)
        .set("task_acks_late", true)
        .set("worker_prefetch_multiplier", 1);
    let mut doomed = fleet.worker(&WorkerSettings::of("shop"));
    let ids = fleet.publish(&[json!({"task": "fleet.slow", "args": [3], "queue": "shop"})]);
    let child = fleet.wait_for_records(1)[0].pid;
    assert_ne!(child, doomed.pid());
    doomed.kill();
    assert!(doomed.has_ended());
    if cfg!(target_os = "linux") {
        let status = std::fs::read_to_string(format!("/proc/{child}/stat")).unwrap_or_default();
        assert!(status.is_empty() || status.contains(") Z "), "{status}");
    }
    let other = fleet.worker(&solo());
    let records = fleet.wait_for_records(3);
    assert!(records.iter().all(|record| record.id == ids[0]));
    assert!(records[1].redelivered && records[2].ended);
    assert_eq!(records[2].node, other.name());
}

#[test]
fn append_only_file_keeps_messages_of_a_killed_redis() {
    let settings = Settings { append_only_file: AppendOnlyFile::Always, ..Settings::default() };
    let server = Server::start(settings).unwrap();
    let fleet = Fleet::python(Version::Newest, &server.url());
    fleet.publish(&numbered(20));
    server.kill().unwrap();
    server.start_again().unwrap();
    let worker = fleet.worker(&solo());
    fleet.wait_for_records(20);

    // A worker that is there finds the server again too.
    server.kill().unwrap();
    server.start_again().unwrap();
    fleet.publish(&numbered(20));
    fleet.wait_for_records(40);
    drop(worker);
}

#[test]
fn sentinel_leads_to_the_new_master() {
    let sentinel = Sentinel::start(1).unwrap();
    let fleet = Fleet::python(Version::Newest, &sentinel.url(0))
        .transport_option("master_name", Sentinel::MASTER_NAME);
    let _worker = fleet.worker(&solo());
    fleet.publish(&numbered(3));
    fleet.wait_for_records(3);
    sentinel.fail_over().unwrap();
    fleet.publish(&numbered(3));
    fleet.wait_for_records(6);
}

#[test]
fn redis_with_tls_and_users_is_a_broker_too() {
    let settings =
        Settings { tls: true, password: Some("secret".to_owned()), ..Settings::default() }.user(
            "celery",
            "other",
            "~* &* +@all",
        );
    let server = Server::start(settings).unwrap();
    let database = server.database();
    for version in Version::ALL {
        let fleet = Fleet::python(version, &database.url_as("celery", "other"))
            .certificate_authority(database.certificate_authority().unwrap());
        let _worker = fleet.worker(&solo());
        fleet.publish(&numbered(2));
        fleet.wait_for_records(2);
    }
}

#[test]
fn prefix_keeps_two_fleets_on_one_database_apart() {
    let url = Server::shared().database().url();
    let [one, other] = ["one:", "other:"].map(|prefix| {
        Fleet::python(Version::Newest, &url).transport_option("global_keyprefix", prefix)
    });
    let (_worker_of_one, _worker_of_other) = (one.worker(&solo()), other.worker(&solo()));
    one.publish(&numbered(5));
    other.publish(&numbered(1));
    assert_eq!((one.wait_for_records(5).len(), other.wait_for_records(1).len()), (5, 1));
}

#[test]
fn workers_answer_remote_control() {
    let url = Server::shared().database().url();
    let fleet = Fleet::python(Version::Newest, &url);
    let mut worker = fleet.worker(&solo());
    let name = worker.name().to_owned();
    assert_eq!(fleet.control("ping", &json!({}))[&name], json!({"ok": "pong"}));
    assert_eq!(fleet.control_of(&name, "stats", &json!({}))[&name]["pid"], worker.pid());
    assert_eq!(fleet.control_of(&name, "active_queues", &json!({}))[&name][0]["name"], "shop");
    let registered = &fleet.control_of(&name, "registered", &json!({}))[&name];
    assert!(registered.as_array().unwrap().contains(&json!("fleet.record")));
    assert!(fleet.control_of(&name, "add_consumer", &json!({"queue": "more"})).contains_key(&name));
    assert!(fleet.control_of("nobody@fleet", "ping", &json!({})).is_empty());
    fleet.control("shutdown", &json!({}));
    while !worker.has_ended() {}
    assert!(fleet.control("ping", &json!({})).is_empty());
}

#[test]
fn flower_shows_the_workers() {
    let url = Server::shared().database().url();
    let fleet = Fleet::python(Version::Newest, &url);
    let worker = fleet.worker(&solo());
    let flower = fleet.flower();
    let workers = format!("{}/api/workers?refresh=true", flower.url());
    let shown = || {
        let answer = ureq::get(&workers).call().ok()?.body_mut().read_json::<Value>().ok()?;
        answer.get(worker.name()).cloned()
    };
    while shown().is_none() {}
}

#[test]
fn publishing_is_measured_in_each_way() {
    let database = Server::shared().database();
    let fleet = Fleet::python(Version::Newest, &database.url());
    for how in [Publishing::Default, Publishing::Producer, Publishing::Batch] {
        let measured = fleet.measure_publishing(50, how, "shop");
        assert_eq!(measured.tasks, 50);
    }
    let published = database.cli(&["LLEN", "shop"]).unwrap();
    assert_eq!(published, "153"); // with the one before each measurement
}

#[test]
fn worker_that_does_not_start_shows_its_log() {
    let fleet = Fleet::python(Version::Newest, &Server::shared().database().url());
    let settings = WorkerSettings { log_level: "LOUD".to_owned(), ..solo() };
    let panic = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| fleet.worker(&settings)));
    let message = panic.unwrap_err().downcast::<String>().unwrap();
    assert!(message.contains("LOUD"), "{message}");
}

#[test]
fn folder_goes_with_the_fleet_and_its_last_worker() {
    let fleet = Fleet::python(Version::Old, &Server::shared().database().url());
    let folder = fleet.folder().to_owned();
    let worker = fleet.worker(&solo());
    drop(fleet);
    assert!(Path::new(&folder).exists());
    drop(worker);
    assert!(!Path::new(&folder).exists());
}
