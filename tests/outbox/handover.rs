//! A relay that cannot send makes way for one that can.

use std::time::Duration;

use events_core::Forwarding;
use events_core::prelude::*;
use events_runtime::Relay;
use events_testing::ManualClock;

use super::database::{Database, on_each_database};
use super::transport::Recorder;
use super::{Running, elsewhere, events, publish, until};
use crate::logs::Logs;

on_each_database! {
    a_relay_that_cannot_reach_its_broker_leaves_the_lease_to_others,
    a_send_that_never_returns_is_told_and_left_to_others,
    relays_whose_clocks_differ_by_hours_do_not_take_the_lease_from_each_other_without_end,
}

/// Short, so that what is counted in leases does not take long.
const LEASE: Duration = Duration::from_millis(200);

async fn open<D: Database>(database: &D, events: &Events) -> D::Queue {
    database.open(events, vec![Forwarding::outbox(elsewhere())]).await
}

async fn publish_one<D: Database>(queue: &D::Queue, number: u32) {
    let mut session = D::begin(queue).await;
    publish(&mut session, 1, number);
    session.commit().await.unwrap();
}

fn relay<D: Database>(queue: &D::Queue, transport: &Recorder) -> Relay<D::Queue, Recorder> {
    Relay::new(queue.clone(), transport.clone()).batch(64).lease(LEASE)
}

async fn a_relay_that_cannot_reach_its_broker_leaves_the_lease_to_others<D: Database>(database: D) {
    // The clock stands: no lease lapses.
    let events = events(&ManualClock::new());
    let queue = open(&database, &events).await;
    let (cut_off, healthy) = (Recorder::away(), Recorder::new());
    publish_one::<D>(&queue, 1).await;
    let _first = Running::of(relay::<D>(&queue, &cut_off));
    until("the first is active", async || cut_off.calls() > 0).await;
    let _second = Running::of(relay::<D>(&open(&database, &events).await, &healthy));
    healthy.has_sent(1).await;
    let calls = cut_off.calls();
    for number in 2..10 {
        publish_one::<D>(&queue, number).await;
    }
    healthy.has_sent(9).await;
    tokio::time::sleep(LEASE * 4).await; // it asks again, and finds the lease with the other
    assert_eq!(cut_off.calls(), calls);
}

async fn a_send_that_never_returns_is_told_and_left_to_others<D: Database>(database: D) {
    let events = events(&ManualClock::new());
    let queue = open(&database, &events).await;
    let (stuck, healthy) = (Recorder::new(), Recorder::new());
    stuck.hold();
    publish_one::<D>(&queue, 1).await;
    let (logs, _guard) = Logs::capture();
    let handed_over = async {
        until("it is told", async || logs.has("WARN", &["under way for long"])).await;
        let _second = Running::of(relay::<D>(&open(&database, &events).await, &healthy));
        healthy.has_sent(1).await;
        until("it is deleted", async || D::count(&queue, D::OUTBOX).await == 0).await;
    };
    relay::<D>(&queue, &stuck).run_until(handed_over).await.unwrap(); // on this thread, whose logs are captured
    assert!(logs.has("ERROR", &["was cut off", "tasks=1"]), "{logs}");
    assert_eq!(stuck.sent(), healthy.sent(), "with the same ids");
}

async fn relays_whose_clocks_differ_by_hours_do_not_take_the_lease_from_each_other_without_end<
    D: Database,
>(
    database: D,
) {
    let (right, ahead) = (ManualClock::new(), ManualClock::new());
    ahead.advance(Duration::from_hours(2));
    let (right, ahead) = (events(&right), events(&ahead));
    let transport = Recorder::new();
    let queue = open(&database, &right).await;
    let _first = Running::of(relay::<D>(&queue, &transport));
    let _second = Running::of(relay::<D>(&open(&database, &ahead).await, &transport));
    let publishing = async {
        for number in 0.. {
            publish_one::<D>(&queue, number).await;
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(LEASE * 15, publishing).await.unwrap_err();
    until("the outbox is empty", async || D::count(&queue, D::OUTBOX).await == 0).await;
    // Each takes it at most once in a lease: the token counts.
    let relays = D::OUTBOX.replace("outbox", "relays");
    assert_eq!(D::count(&queue, &format!("{relays} WHERE token > 45")).await, 0);
}
