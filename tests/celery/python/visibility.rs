//! Visibility timeouts of different lengths, and countdowns that are longer than any.

use std::time::{Duration, SystemTime};

use celery_fleet::Version;
use events_core::broker::{Admin, Broker};
use events_core::prelude::*;
use events_core::{Registry, Timestamp};
use events_runtime::Worker;
use events_testing::ManualClock;
use private_redis::{AppendOnlyFile, Server, Settings};
use serde_json::Value;

use crate::celery::world::{Running, TASKS, World, eventually, solo};
use crate::world::Seen;

of_both_versions! {
    live_worker_is_left_alone_however_short_the_visibility_timeout_of_others,
    countdown_of_a_day_outlasts_restarts_and_visibility_timeouts,
}

async fn live_worker_is_left_alone_however_short_the_visibility_timeout_of_others(
    version: Version,
) {
    let world = World::new();
    let worker = world.program("work", "--visibility 3600000");
    world.publish("--to 3 --batch 3 --takes 4000").await;
    world.awaits("begun", |execution| execution.number == 3).await;
    // Both look for what has lapsed every second, and may execute it.
    let fleet = world.fleet(version).transport_option("visibility_timeout", 1);
    let _python = fleet.worker(&solo(TASKS));
    let _impatient = world.program("work", "--visibility 1000 --lease 500");
    for number in 1..=3 {
        world.awaits("ended", |execution| execution.ended && execution.number == number).await;
    }
    assert!(world.executions().iter().all(|it| (it.process, it.attempt) == (worker.pid(), 1)));
    assert_eq!((world.executions().len(), fleet.records().len()), (6, 0));
}

#[derive(Event)]
struct ContractSigned {}

#[publishes(ContractSigned)]
fn sign(session: &mut impl Session) {
    publish_after_commit(session, ContractSigned {}).unwrap();
}

/// Python knows a task of this name.
#[subscribes_to(
    ContractSigned,
    name = "shop.take_order",
    queue = "contracts",
    delay = "24h",
    freshness_only
)]
fn remind(_: ContractSigned, task: TaskContext, reminded: State<Seen<Timestamp>>) {
    reminded.push(task.published_at());
}

async fn countdown_of_a_day_outlasts_restarts_and_visibility_timeouts(version: Version) {
    const DAY: Duration = Duration::from_hours(24);
    let settings = Settings { append_only_file: AppendOnlyFile::Always, ..Settings::default() };
    let server = Server::start(settings).unwrap();
    let world = World::on(&server);
    let now = SystemTime::UNIX_EPOCH.elapsed().unwrap();
    let clock = ManualClock::at(Timestamp::from_micros(now.as_micros().try_into().unwrap()));
    let registry = Registry::builder().linked_in(module_path!()).build().unwrap();
    let events = Events::builder().registry(registry).clock(clock.clone()).build().unwrap();
    let options = || world.options().shared_queues(["contracts"]);
    let reminded = Seen::<Timestamp>::default();
    let start = async || {
        let broker = world.broker_with(options(), &events).await;
        let worker = Worker::builder(broker.events(), broker.clone()).state(reminded.clone());
        let worker = Running::start(worker.build().unwrap());
        (broker, worker)
    };

    let (broker, worker) = start().await;
    let mut session = broker.begin();
    sign(&mut session);
    session.commit().await.unwrap();
    eventually("scheduled", async || broker.counts().await.unwrap().scheduled == 1).await;

    // As kombu has it: the message, its exchange and its queue; and a time, in seconds.
    let [entry] = world.held().try_into().unwrap();
    let entry: Value = serde_json::from_str(&entry).unwrap();
    assert_eq!((&entry[1], &entry[2]), (&"".into(), &"contracts".into()));
    assert!(entry[0]["body"].is_string() && entry[0]["properties"]["delivery_tag"].is_string());
    let index = world.redis(&["ZRANGE", "{}unacked_index", "0", "-1", "WITHSCORES"]);
    assert_eq!(index[0], world.redis(&["HKEYS", "{}unacked"])[0]);
    let in_a_day = (now + DAY).as_secs_f64();
    assert!((index[1].parse::<f64>().unwrap() - in_a_day).abs() < 1.0, "{index:?}");

    worker.stop().await;
    server.kill().unwrap();
    server.start_again().unwrap();
    // That Python looked for what has lapsed is told by what has.
    let lapsed = r#"[{"body":"","headers":{"id":"1"},"properties":{"delivery_info":{"exchange":""}}},"","lapsed"]"#;
    world.redis(&["HSET", "{}unacked", "lapsed", lapsed]);
    world.redis(&["ZADD", "{}unacked_index", "1", "lapsed"]);
    let fleet = world.fleet(version).transport_option("visibility_timeout", 3600);
    let _python = fleet.worker(&solo("contracts"));
    eventually("swept", async || world.redis(&["LLEN", "{}lapsed"]) == ["1"]).await;

    let (broker, worker) = start().await;
    clock.advance(Duration::from_hours(23));
    assert_eq!(broker.counts().await.unwrap().scheduled, 1);
    assert!(reminded.all().is_empty());
    clock.advance(Duration::from_hours(1));
    eventually("reminded", async || !reminded.all().is_empty()).await;
    worker.stop().await;
    assert_eq!((reminded.all().len(), fleet.records().len()), (1, 0));
    assert!(world.held().is_empty());
}
