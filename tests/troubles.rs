//! A broker that is away for a while: it is told when that begins and when it ends, not with every try.

use std::time::Duration;

use events_core::broker::Admin;
use events_core::prelude::*;
use events_core::{EventSettings, Registry};
use events_runtime::{MemoryQueue, MemorySession, Worker};
use events_testing::faults::{Fault, FaultyBroker};

use crate::logs::Logs;
use crate::world::events_of;

#[derive(Event)]
struct Moved {
    number: u32,
}

#[subscribes_to(Moved, freshness_only)]
async fn follows(_: Moved) {}

#[publishes(Moved)]
async fn publish(queue: &MemoryQueue) {
    let mut session: MemorySession = queue.begin();
    publish_after_commit(&mut session, Moved { number: 1 }).unwrap();
    session.commit().await.unwrap();
}

#[tokio::test]
async fn outage_of_the_broker_is_told_once_and_so_is_its_end() {
    let settings = EventSettings { lease: Duration::from_millis(600), ..EventSettings::default() };
    let events = events_of(Registry::builder().subscriber::<follows>(), settings);
    let queue = FaultyBroker::new(MemoryQueue::new(&events));
    publish(queue.inner()).await;
    let worker = Worker::builder(&events, queue.clone()).build().unwrap();
    let (logs, guard) = Logs::capture();
    let over = async {
        for fault in [Fault::FailClaim, Fault::FailHeartbeat] {
            (0..4).for_each(|_| queue.faults().inject(fault));
        }
        while !queue.faults().are_over() || !queue.counts().await.unwrap().is_drained() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        while !logs.has("INFO", &["the heartbeat came through again"]) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let over = tokio::time::timeout(Duration::from_secs(30), over);
    worker.run_until(async { over.await.expect("it is over") }).await.unwrap();
    drop(guard);
    for (level, line) in [
        ("WARN", "tasks could not be claimed; trying again"),
        ("INFO", "tasks can be claimed again"),
        ("WARN", "the heartbeat could not be written; trying again"),
        ("INFO", "the heartbeat came through again"),
    ] {
        assert_eq!(logs.count(level, &[line]), 1, "{line}: {logs}");
    }
}
