//! A queue that becomes forwarded while tasks of it wait for a worker.

use std::time::Duration;

use events_core::broker::WorkerInfo;
use events_core::health::Concern;
use events_core::outbox::{Acquired, Outbox};
use events_core::prelude::*;
use events_core::{Broker, Forwarding, Registry, WorkerId};
use events_runtime::Relay;
use events_testing::ManualClock;

use super::database::{Database, on_each_database};
use super::transport::{Recorder, numbers_of};
use super::{Running, count_elsewhere, count_here, elsewhere, publish, until};

on_each_database! {
    what_waits_when_its_queue_becomes_forwarded_is_sent,
    nothing_is_moved_without_the_lease,
    what_is_not_this_programs_or_is_served_is_left_alone,
    what_nobody_moves_is_a_concern_that_does_not_ask_for_a_worker,
}

#[derive(Event)]
struct Edited {
    document: u32,
}

#[subscribes_to(
    Edited,
    queue = "elsewhere",
    debounce = "30s",
    debounce_by = document,
    freshness_only
)]
fn index_edited(_: Edited) {}

fn events(clock: &ManualClock) -> Events {
    let registry = Registry::builder().subscriber::<count_elsewhere>().subscriber::<count_here>();
    let registry = registry.subscriber::<index_edited>().build().unwrap();
    Events::builder().registry(registry).clock(clock.clone()).build().unwrap()
}

async fn publish_numbers<D: Database>(queue: &D::Queue, numbers: std::ops::Range<u32>) {
    let mut session = D::begin(queue).await;
    for number in numbers {
        publish(&mut session, 1, number);
    }
    session.commit().await.unwrap();
}

async fn what_waits_when_its_queue_becomes_forwarded_is_sent<D: Database>(database: D) {
    let events = events(&ManualClock::new());
    let before = database.open(&events, vec![]).await;
    publish_numbers::<D>(&before, 0..3).await;
    let mut session = D::begin(&before).await;
    for document in [7, 8] {
        events_core::unchecked::publish_after_commit(&mut session, Edited { document }).unwrap();
    }
    session.commit().await.unwrap();
    let worker = WorkerId::generate();
    before.register(worker, &WorkerInfo::new(elsewhere(), 1)).await.unwrap();
    let running = before.claim(worker, &elsewhere(), 1).await.unwrap().tasks;
    assert_eq!(running.len(), 1);
    before.deregister(worker).await.unwrap();

    let queue = database.open(&events, vec![Forwarding::outbox(elsewhere())]).await;
    let transport = Recorder::new();
    let relay = Relay::new(queue.clone(), transport.clone()).lease(Duration::from_millis(300));
    let _relay = Running::of(relay);
    transport.has_sent(4).await;
    let sent = transport.sent();
    let (edited, counted): (Vec<_>, Vec<_>) = sent.iter().partition(|task| task.debounce.is_some());
    let numbers: Vec<_> = counted.into_iter().map(numbers_of).collect();
    assert_eq!(numbers, [(1, 1), (1, 2)], "0 is running");
    let keys: Vec<_> = edited.iter().filter_map(|task| task.debounce.as_ref()).collect();
    assert_eq!(keys.iter().map(|debounced| &*debounced.key).collect::<Vec<_>>(), ["7", "8"]);
    assert!(keys.iter().all(|debounced| debounced.not_after > edited[0].published_at));
    assert_eq!(D::count(&queue, D::TASKS).await, 4, "those of here, and the running one");

    // A publisher of the older release.
    publish_numbers::<D>(&before, 3..4).await;
    transport.has_sent(5).await;
    assert_eq!(numbers_of(&transport.sent()[4]), (1, 3));
    until("the outbox is empty", async || D::count(&queue, D::OUTBOX).await == 0).await;
    assert!(transport.times().values().all(|times| *times == 1));
}

async fn nothing_is_moved_without_the_lease<D: Database>(database: D) {
    const LEASE: Duration = Duration::from_secs(15);
    let clock = ManualClock::new();
    let events = events(&clock);
    let before = database.open(&events, vec![]).await;
    publish_numbers::<D>(&before, 0..3).await;
    let queue = database.open(&events, vec![Forwarding::outbox(elsewhere())]).await;
    let acquire = async || {
        let relay = WorkerId::generate();
        match queue.acquire_outbox("default", relay, LEASE).await.unwrap() {
            Acquired::Held(lease) => lease,
            Acquired::ByAnother { .. } => panic!("it has lapsed"),
        }
    };
    let stale = acquire().await;
    clock.advance(LEASE);
    let fresh = acquire().await;
    assert_eq!(queue.move_waiting(&stale, LEASE).await.unwrap(), None);
    assert_eq!(D::count(&queue, D::OUTBOX).await, 0);
    assert_eq!(D::count(&queue, D::TASKS).await, 6);
    assert_eq!(queue.move_waiting(&fresh, LEASE).await.unwrap(), Some(3));
    assert_eq!(queue.move_waiting(&fresh, LEASE).await.unwrap(), Some(0));
    assert_eq!(D::count(&queue, D::OUTBOX).await, 3);
    let read = queue.read_outbox(&fresh, &[], 10).await.unwrap();
    assert!(read.unreadable.is_empty());
}

async fn what_is_not_this_programs_or_is_served_is_left_alone<D: Database>(database: D) {
    const LEASE: Duration = Duration::from_secs(15);
    let clock = ManualClock::new();
    let before = database.open(&events(&clock), vec![]).await;
    publish_numbers::<D>(&before, 0..3).await;
    let registry = Registry::builder().subscriber::<count_elsewhere>().build().unwrap();
    let other = Events::builder().registry(registry).clock(clock).build().unwrap();
    let queue = database.open(&other, vec![Forwarding::outbox(Queues::all())]).await;
    let acquired = queue.acquire_outbox("default", WorkerId::generate(), LEASE).await.unwrap();
    let Acquired::Held(lease) = acquired else { panic!("nobody else wants it") };
    let worker = WorkerId::generate();
    before.register(worker, &WorkerInfo::new(elsewhere(), 1)).await.unwrap();
    assert_eq!(queue.move_waiting(&lease, LEASE).await.unwrap(), Some(0), "they are served");
    before.deregister(worker).await.unwrap();
    assert_eq!(queue.move_waiting(&lease, LEASE).await.unwrap(), Some(3));
    assert_eq!(D::count(&queue, D::TASKS).await, 3, "those of here are unknown to this program");
}

async fn what_nobody_moves_is_a_concern_that_does_not_ask_for_a_worker<D: Database>(database: D) {
    let clock = ManualClock::new();
    let events = events(&clock);
    let before = database.open(&events, vec![]).await;
    publish_numbers::<D>(&before, 0..1).await;
    clock.advance(Duration::from_mins(3));
    let queue = database.open(&events, vec![Forwarding::outbox(elsewhere())]).await;
    let of_elsewhere = |concern: &Concern| concern.to_string().contains("`elsewhere`");
    let concerns = queue.health().await.unwrap().concerns();
    let concerns: Vec<_> = concerns.into_iter().filter(of_elsewhere).collect();
    assert!(matches!(&concerns[..], [Concern::StrandedTasks(_)]), "{concerns:?}");
}
