//! Workers answer to remote control, and hear of revoked tasks.

use std::time::{Duration, SystemTime};

use private_redis::{AppendOnlyFile, Server, Settings};
use redis::AsyncCommands;
use serde_json::{Value, json};

use crate::broken_log::panic_at;
use crate::client::body;
use crate::world::{Running, World};

/// A time that is far away.
const LATER: &str = "2100-01-01T00:00:00+00:00";

#[tokio::test]
async fn what_celerys_tools_ask_is_answered() {
    let mut world = World::new().await;
    let running = world.work().await;
    let client = &mut world.client;
    assert_eq!(client.ask("ping", json!({})).await, json!({"ok": "pong"}));
    let queues = client.ask("active_queues", json!({})).await;
    assert_eq!(queues[0]["name"], "jobs");
    assert_eq!(queues[0]["exchange"]["type"], "direct");
    let stats = client.ask("stats", json!({})).await;
    assert_eq!(stats["pool"], json!({"implementation": "events-rs:tokio", "max-concurrency": 1}));
    assert_eq!(stats["prefetch_count"], 2);
    assert_eq!((&stats["pid"], &stats["total"]), (&json!(std::process::id()), &json!({})));
    assert_eq!(client.ask("conf", json!({})).await["task_default_queue"], "events");
    for list in ["active", "reserved", "scheduled", "revoked"] {
        assert_eq!(client.ask(list, json!({})).await, json!([]), "{list}");
    }
    let hello = client.ask("hello", json!({"from_node": "py@host", "revoked": {"a": [1.5, "a"]}}));
    assert_eq!(hello.await["revoked"], json!(["a"]));
    running.stop().await;
}

#[tokio::test]
async fn tasks_that_only_python_runs_are_not_registered() {
    let mut world = World::new().await;
    let running = world.work().await;
    for method in ["registered", "dump_tasks"] {
        assert_eq!(world.client.ask(method, json!({})).await, json!(["jobs.run"]), "{method}");
    }
    running.stop().await;
}

#[tokio::test]
async fn what_cannot_be_done_is_refused_with_what_to_do_instead() {
    let mut world = World::new().await;
    let running = world.work().await;
    for method in [
        "rate_limit",
        "time_limit",
        "pool_grow",
        "pool_shrink",
        "pool_restart",
        "autoscale",
        "add_consumer",
        "cancel_consumer",
        "revoke_by_stamped_headers",
        "shutdown",
        "no such command",
    ] {
        let answer = world.client.ask(method, json!({"queue": "other"})).await;
        assert!(answer["error"].as_str().unwrap().contains(' '), "{method}: {answer}");
    }
    let known = world.client.ask("add_consumer", json!({"queue": "jobs"})).await;
    assert_eq!(known, json!({"ok": "already consuming from jobs"}));
    running.stop().await;
}

#[tokio::test]
async fn what_is_asked_of_others_is_not_answered() {
    let mut world = World::new().await;
    let running = world.work().await;
    world.client.ask_these("shutdown", json!({}), &json!(["other@host"]), 0).await;
    let answers = world.client.ask_these("ping", json!({}), &json!(["rust@host"]), 1).await;
    assert_eq!(answers["rust@host"], json!({"ok": "pong"}));
    running.stop().await;
}

#[tokio::test]
async fn what_is_no_request_is_ignored() {
    let mut world = World::new().await;
    let running = world.work().await;
    for text in ["", "{", "[]", "null", r#"{"body":"!!"}"#, r#"{"body":"e30="}"#, "\u{0}\u{7f}"] {
        world.client.publish(text).await;
    }
    assert_eq!(world.client.ask("ping", json!({})).await, json!({"ok": "pong"}));
    running.stop().await;
}

/// Whoever may publish on the channel of requests could have it deleted otherwise.
#[tokio::test]
async fn a_request_that_wants_its_answer_in_a_queue_of_tasks_leaves_that_alone() {
    let mut world = World::new().await;
    let running = world.work().await;
    // As kombu declares a queue, and somebody sends to it.
    let redis = &mut world.client.redis;
    let member = "mail\u{6}\u{16}\u{6}\u{16}mail";
    let _: i64 = redis.sadd("_kombu.binding.mail", member).await.unwrap();
    let _: i64 = redis.lpush("mail", "a task").await.unwrap();
    let request = json!({
        "method": "ping", "arguments": {}, "destination": null, "ticket": "t",
        "reply_to": {"exchange": "mail", "routing_key": "mail"},
    });
    let hostile = crate::client::envelope(&request, &json!({"clock": 1}));
    world.client.publish(&hostile).await;
    assert_eq!(world.client.ask("ping", json!({})).await, json!({"ok": "pong"})); // it has heard both
    running.stop().await;
    let length: i64 = world.client.redis.llen("mail").await.unwrap();
    let ends_in: i64 = world.client.redis.ttl("mail").await.unwrap();
    assert_eq!((length, ends_in), (1, -1), "no answer is there, and no end");
}

#[tokio::test]
async fn request_at_which_the_worker_panics_does_not_make_it_deaf() {
    let mut world = World::new().await;
    let running = world.work().await;
    let guard = panic_at("request heard");
    world.client.ask_all("ping", json!({}), 0).await;
    world.client.wait_for_deafness().await;
    drop(guard);
    world.client.wait_for_listeners().await;
    assert_eq!(world.client.ask("ping", json!({})).await, json!({"ok": "pong"}));
    running.stop().await;
}

#[tokio::test]
async fn what_runs_and_what_waits_in_the_worker_are_told_apart() {
    let mut world = World::new().await;
    let running = world.work().await;
    let first = world.client.send(false, json!({})).await;
    let active = world.client.until("active", |active| *active != json!([])).await;
    assert_eq!((&active[0]["id"], &active[0]["name"]), (&json!(first), &json!("jobs.run")));
    assert_eq!(active[0]["args"], json!([{"fails": false}]));
    assert!(active[0]["time_start"].is_f64());
    let second = world.client.send(false, json!({})).await;
    let reserved = world.client.until("reserved", |reserved| *reserved != json!([])).await;
    assert_eq!((&reserved[0]["id"], &reserved[0]["time_start"]), (&json!(second), &json!(null)));
    let found = world.client.ask("query_task", json!({"ids": [first, second, "other"]})).await;
    assert_eq!((&found[&first][0], &found[&second][0]), (&json!("active"), &json!("reserved")));
    assert_eq!(found.as_object().unwrap().len(), 2);
    let answer = world.client.ask("revoke", json!({"task_id": first, "terminate": true})).await;
    assert!(answer["error"].as_str().unwrap().contains(&first), "{answer}");
    world.gate.open(2);
    world.client.until("stats", |stats| stats["total"]["jobs.run"] == 2).await;
    world.client.until("active", |active| *active == json!([])).await;
    running.stop().await;
}

/// A worker that runs a task, and holds another one with these headers: its id.
async fn holding_one(world: &mut World, headers: Value) -> (Running, String) {
    let running = world.work().await;
    world.client.send(false, json!({})).await;
    world.client.until("active", |active| *active != json!([])).await;
    let held = world.client.send(false, headers).await;
    world.client.until("reserved", |reserved| reserved[0]["id"] == held).await;
    (running, held)
}

/// Lets the running task end, after which the one that was held is gone and has not run.
async fn end_without_the_held_one(mut world: World, running: Running) {
    world.gate.open(1);
    world.client.until("active", |active| *active == json!([])).await;
    world.client.until("reserved", |reserved| *reserved == json!([])).await;
    let left: (i64, i64) = (
        world.client.redis.hlen("unacked").await.unwrap(),
        world.client.redis.llen("jobs").await.unwrap(),
    );
    assert_eq!(left, (0, 0), "the message is gone");
    assert_eq!(world.client.ask("stats", json!({})).await["total"], json!({"jobs.run": 1}));
    running.stop().await;
}

#[tokio::test]
async fn revoked_task_that_the_worker_holds_already_is_not_run() {
    let mut world = World::new().await;
    let (running, held) = holding_one(&mut world, json!({})).await;
    world.client.ask("revoke", json!({"task_id": held})).await;
    end_without_the_held_one(world, running).await;
}

#[tokio::test]
async fn task_that_expires_while_the_worker_holds_it_is_not_run() {
    let mut world = World::new().await;
    let expires = SystemTime::now() + Duration::from_secs(2);
    let headers = json!({"expires": humantime::format_rfc3339_micros(expires).to_string()});
    let (running, _) = holding_one(&mut world, headers).await;
    tokio::time::sleep(expires.duration_since(SystemTime::now()).unwrap_or_default()).await;
    end_without_the_held_one(world, running).await;
}

#[tokio::test]
async fn what_waits_for_its_time_is_told_and_can_be_revoked() {
    let mut world = World::new().await;
    let running = world.work().await;
    let id = world.client.send(false, json!({"eta": LATER})).await;
    let scheduled = world.client.until("scheduled", |scheduled| *scheduled != json!([])).await;
    assert_eq!(
        (&scheduled[0]["request"]["id"], &scheduled[0]["eta"]),
        (&json!(id), &json!("2100-01-01T00:00:00.000000+00:00"))
    );
    let answer = world.client.ask("revoke", json!({"task_id": id})).await;
    assert_eq!(answer, json!({"ok": format!("tasks {id} flagged as revoked")}));
    // As if its time had come.
    let tags: Vec<String> = world.client.redis.zrange("events:scheduled", 0, -1).await.unwrap();
    let _: i64 = world.client.redis.zadd("events:scheduled", &tags[0], 1).await.unwrap();
    world.client.until("scheduled", |scheduled| *scheduled == json!([])).await;
    let left: i64 = world.client.redis.hlen("unacked").await.unwrap();
    assert_eq!(left, 0, "the message is gone");
    assert_eq!(world.client.ask("stats", json!({})).await["total"], json!({}));
    running.stop().await;
}

#[tokio::test]
async fn a_worker_that_comes_learns_what_was_revoked_before() {
    let mut world = World::new().await;
    let mut requests = world.client.hear_requests().await;
    let running = world.work().await;
    let hello = body(&requests.text().await);
    assert_eq!(
        (&hello["method"], &hello["arguments"]["from_node"]),
        (&json!("hello"), &json!("rust@host"))
    );
    let to = hello["reply_to"]["routing_key"].as_str().unwrap();
    let knows = json!({"py@host": {"revoked": ["a", "b"], "clock": 5000}});
    let answer = crate::client::envelope(&knows, &json!({"ticket": hello["ticket"]}));
    let _: i64 =
        world.client.redis.lpush(format!("{to}.reply.celery.pidbox"), answer).await.unwrap();
    world.client.until("revoked", |revoked| *revoked == json!(["a", "b"])).await;
    let clock = world.client.ask("clock", json!({})).await["clock"].as_u64().unwrap();
    assert!(clock > 5000, "{clock}");
    running.stop().await;
}

#[tokio::test]
async fn a_request_to_end_reaches_the_program() {
    let mut world = World::new().await;
    let running = world.work().await;
    let broker = running.broker.clone();
    let mut ended = Box::pin(async move { broker.shutdown_requested().await });
    tokio::select! {
        biased;
        () = &mut ended => panic!("nobody has asked"),
        () = std::future::ready(()) => {} // it listens now
    }
    let answer = world.client.ask("shutdown", json!({})).await;
    assert_eq!(answer, json!({"ok": "the program was told to end"}));
    ended.await;
    running.stop().await;
}

#[tokio::test]
async fn a_worker_is_asked_and_told_of_again_after_redis_was_away() {
    let settings = Settings { append_only_file: AppendOnlyFile::Always, ..Settings::default() };
    let server = tokio::task::spawn_blocking(|| Server::start(settings).unwrap()).await.unwrap();
    let url = server.database().url();
    let mut world = World::at(&url).await;
    let running = world.work().await;
    world.client.ask("revoke", json!({"task_id": "a"})).await;
    let server = tokio::task::spawn_blocking(move || {
        server.kill().unwrap();
        server.start_again().unwrap();
        server
    });
    let server = server.await.unwrap();
    world.client = crate::client::Client::connect(&url).await;
    world.client.wait_for_listeners().await;
    assert_eq!(world.client.ask("revoked", json!({})).await, json!(["a"]));
    let mut heard = world.client.hear_events().await;
    assert_eq!(heard.event("worker-heartbeat").await["hostname"], "rust@host");
    world.gate.open(1);
    world.client.send(false, json!({})).await;
    world.client.until("stats", |stats| stats["total"]["jobs.run"] == 1).await;
    running.stop().await;
    drop(server);
}

#[tokio::test]
async fn no_password_is_told() {
    let settings = Settings { password: Some("top-secret".into()), ..Settings::default() };
    let server = tokio::task::spawn_blocking(|| Server::start(settings).unwrap()).await.unwrap();
    let mut world = World::at(&server.database().url()).await;
    let running = world.work().await;
    for method in ["stats", "conf", "report", "active_queues"] {
        let answer: Value = world.client.ask(method, json!({})).await;
        assert!(!answer.to_string().contains("top-secret"), "{method}");
    }
    running.stop().await;
    drop(server);
}
