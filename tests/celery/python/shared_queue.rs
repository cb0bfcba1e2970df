//! One queue with workers in Python and in Rust.

use std::time::Duration;

use celery_fleet::{Pool, Version, WorkerSettings};
use events_core::broker::Admin;
use events_core::prelude::*;
use serde_json::{Value, json};

use crate::celery::alone::counter::place_all;
use crate::celery::shop::{self, Counter};
use crate::celery::world::{Running, World, eventually, solo};
use crate::world::events_in;

of_both_versions! {
    chain_runs_to_its_end_in_python,
    task_that_python_retries_is_the_same_event_in_rust,
    what_rust_retries_and_gives_back_is_executed_by_python,
    what_python_restores_is_executed_by_rust,
}

async fn chain_runs_to_its_end_in_python(version: Version) {
    let world = World::new();
    let results = private_redis::Server::shared().database().url();
    let fleet = world.fleet(version).set("result_backend", results);
    let broker = shop::shared_broker(&world).await;
    let taken = Counter::open();
    let worker = Running::start(shop::worker(&broker, &taken).build().unwrap());
    let step = |task: &str, step: &str| json!({"task": task, "queue": shop::QUEUE, "args": [{"number": 1}, step]});
    let plain = json!({"task": "shop.take_order", "queue": shop::QUEUE, "args": [{"number": 7}]});
    fleet.publish(&[
        json!({"chain": [step("shop.take_order", "first"), step("fleet.record", "second"), step("fleet.record", "third")]}),
        json!({"chord": [step("fleet.echo", "one"), step("fleet.echo", "other")], "body": step("fleet.record", "both")}),
        plain,
    ]);
    taken.awaits(7).await;
    eventually("put back", async || broker.counts().await.unwrap().scheduled > 0).await;
    let _python = fleet.worker(&solo(shop::QUEUE));
    let records = fleet.wait_for_records(6);
    let step_of = |args: &Value| args.as_array().unwrap().last().unwrap().clone();
    let mut steps: Vec<_> = records.iter().map(|record| step_of(&record.args)).collect();
    steps.sort_by_key(ToString::to_string);
    assert_eq!(steps, ["both", "first", "one", "other", "second", "third"]);
    assert_eq!(taken.numbers(), [7], "Rust has executed no part of a workflow");
    worker.stop().await;
}

#[derive(Event)]
struct OrderHandedOn {
    number: i64,
}

#[publishes(OrderHandedOn)]
fn hand_on(session: &mut impl Session, number: i64) -> EventId {
    publish_after_commit(session, OrderHandedOn { number }).unwrap()
}

foreign_subscriber! {
    event = OrderHandedOn,
    task = "fleet.hands_on",
    queue = "shop",
    priority = 3,
    freshness_only,
}

async fn task_that_python_retries_is_the_same_event_in_rust(version: Version) {
    let world = World::new();
    let fleet = world.fleet(version);
    let _python = fleet.worker(&solo(shop::QUEUE));
    let publisher = world.broker(&events_in(module_path!())).await;
    let mut session = publisher.begin();
    let event_id = hand_on(&mut session, 1);
    session.commit().await.unwrap();
    let seen_by_python = fleet.wait_for_records(1)[0].clone();
    let broker = shop::shared_broker(&world).await;
    let taken = Counter::open();
    let worker = Running::start(shop::worker(&broker, &taken).build().unwrap());
    let seen_by_rust = taken.awaits(1).await.task;
    worker.stop().await;
    assert_eq!(seen_by_python.arguments()[1], event_id.to_string());
    assert_eq!(seen_by_rust.event_id(), event_id);
    assert!(seen_by_rust.attempt() >= 2, "Python's attempts count");
    assert_eq!(seen_by_python.id.replace('-', ""), seen_by_rust.task_id().to_string());
    let published_at = &seen_by_python.headers.unwrap()["events_published_at"];
    assert_eq!(*published_at, seen_by_rust.published_at().as_micros());
}

async fn what_rust_retries_and_gives_back_is_executed_by_python(version: Version) {
    let world = World::new();
    place_all(&world, 1..=1, "fails once").await;
    place_all(&world, 2..=6, "").await;
    let broker = shop::shared_broker(&world).await;
    let taken = Counter::closed();
    let worker = shop::worker(&broker, &taken).concurrency(1).prefetch(3).build().unwrap();
    let worker = Running::start(worker);
    taken.awaits(1).await;
    let stopping = worker.stop();
    taken.let_go();
    stopping.await;
    // The first waits in `unacked` to be tried again, as if somebody in Python held it.
    assert_eq!(world.held().len(), 1);
    let fleet = world.fleet(version).transport_option("visibility_timeout", 1);
    // The old version looks for what has lapsed when it starts, and then not for a long time.
    eventually("lapsed", async || world.has_lapsed(0, Duration::from_secs(1))).await;
    let _python = fleet.worker(&solo(shop::QUEUE));
    let by_rust = taken.numbers();
    let records = fleet.wait_for_records(7 - by_rust.len());
    let number = |args: &Value| args[0]["number"].as_i64().unwrap();
    let (retried, others): (Vec<_>, _) =
        records.iter().partition(|record| number(&record.args) == 1);
    let others: Vec<_> = others.iter().map(|record| number(&record.args)).collect();
    assert_eq!(others, (2..=6).filter(|it| !by_rust[1..].contains(it)).collect::<Vec<_>>());
    assert_eq!((retried[0].retries, retried[0].redelivered), (1, true));
    eventually("all acknowledged", async || world.held().is_empty()).await;
}

async fn what_python_restores_is_executed_by_rust(version: Version) {
    let world = World::new();
    let fleet = world.fleet(version).transport_option("visibility_timeout", 1);
    let two_at_once = WorkerSettings { pool: Pool::Threads, concurrency: 1, ..solo(shop::QUEUE) };
    let mut doomed = fleet.worker(&two_at_once.set("worker_prefetch_multiplier", 2));
    // While it sleeps over the first, it holds the second.
    fleet.publish(&[
        json!({"task": "fleet.slow", "queue": shop::QUEUE, "args": [60]}),
        json!({"task": "shop.take_order", "queue": shop::QUEUE, "args": [{"number": 1}], "priority": 6}),
    ]);
    eventually("both held", async || world.held().len() == 2).await;
    doomed.kill();
    eventually("lapsed", async || world.has_lapsed(1, Duration::from_secs(1))).await;
    let _other = fleet.worker(&solo("another"));
    eventually("restored", async || world.held().is_empty()).await;
    // The old version restores to the first list, whatever the priority.
    let lists = ["{}shop\u{6}\u{16}6", "{}shop"];
    let waiting = lists.map(|list| world.redis(&["LRANGE", list, "0", "-1"])).concat();
    let waiting = waiting.iter().find(|text| text.contains("shop.take_order")).unwrap();
    let waiting: Value = serde_json::from_str(waiting).unwrap();
    assert_eq!(waiting["headers"]["redelivered"], true);
    let broker = shop::shared_broker(&world).await;
    let taken = Counter::closed();
    let worker = Running::start(shop::worker(&broker, &taken).build().unwrap());
    assert_eq!(taken.awaits(1).await.task.attempt(), 1);
    assert!(world.held().iter().any(|held| held.contains("\"redelivered\":true")));
    taken.let_go();
    worker.stop().await;
}
