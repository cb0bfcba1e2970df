//! Several relays of one outbox: one is active, and the fence.

use std::time::Duration;

use events_core::WorkerId;
use events_core::outbox::{Acquired, Outbox, OutboxLease, OutboxRow, OutboxSettlement};
use events_core::prelude::*;
use events_core::{Forwarding, Registry};
use events_runtime::{Relay, Worker};
use events_testing::ManualClock;

use super::database::{Database, on_each_database};
use super::transport::Recorder;
use super::{Running, elsewhere, events, publish, soon, until};

const LEASE: Duration = Duration::from_secs(15);

on_each_database! {
    one_relay_is_active_and_another_takes_over_within_a_lease,
    a_lease_that_is_given_back_is_taken_at_once,
    a_relay_that_lost_its_lease_records_nothing,
    a_relay_that_stalls_in_the_middle_of_a_send_deletes_nothing,
    a_relay_that_dies_in_the_middle_of_a_send_sends_again_with_the_same_ids,
    a_lease_from_a_clock_that_was_set_back_holds_nobody_off,
    a_worker_that_stops_in_a_hurry_gives_the_lease_back,
    a_batch_ends_at_its_number_of_tasks,
    a_batch_ends_at_some_megabytes_too,
}

struct World<D: Database> {
    database: D,
    clock: ManualClock,
    events: Events,
    queue: D::Queue,
}

impl<D: Database> World<D> {
    async fn of(database: D) -> Self {
        let clock = ManualClock::new();
        let events = events(&clock);
        let queue = database.open(&events, vec![Forwarding::outbox(elsewhere())]).await;
        Self { database, clock, events, queue }
    }

    /// The same, opened as another process would.
    async fn again(&self) -> D::Queue {
        self.database.open(&self.events, vec![Forwarding::outbox(elsewhere())]).await
    }

    async fn publish(&self, number: u32) {
        let mut session = D::begin(&self.queue).await;
        publish(&mut session, 1, number);
        session.commit().await.unwrap();
    }

    async fn rows(&self) -> i64 {
        D::count(&self.queue, D::OUTBOX).await
    }

    async fn acquire(&self) -> Option<OutboxLease> {
        let relay = WorkerId::generate();
        match self.queue.acquire_outbox("default", relay, LEASE).await.unwrap() {
            Acquired::Held(lease) => Some(lease),
            Acquired::ByAnother { .. } => None,
        }
    }
}

async fn one_relay_is_active_and_another_takes_over_within_a_lease<D: Database>(database: D) {
    let world = World::of(database).await;
    let (one, two) = (Recorder::new(), Recorder::new());
    let first = Running::start(&world.queue, &one);
    world.publish(1).await;
    one.has_sent(1).await;
    let _second = Running::start(&world.again().await, &two);
    for number in 2..20 {
        world.publish(number).await;
    }
    one.has_sent(19).await;
    until("all are deleted", async || world.rows().await == 0).await;
    first.kill().await;
    world.publish(20).await;
    assert!(two.sent().is_empty(), "the lease of the dead one holds by the clock, which stands");
    world.clock.advance(LEASE + Duration::from_secs(1));
    two.has_sent(1).await;
    assert_eq!((one.numbers().len(), two.numbers()), (19, vec![(1, 20)]));
}

async fn a_lease_that_is_given_back_is_taken_at_once<D: Database>(database: D) {
    let world = World::of(database).await;
    let (one, two) = (Recorder::new(), Recorder::new());
    let first = Running::start(&world.queue, &one);
    world.publish(1).await;
    one.has_sent(1).await;
    let _second = Running::start(&world.again().await, &two);
    first.stop().await;
    world.publish(2).await;
    two.has_sent(1).await; // though the clock stands, and the lease would never lapse
    assert_eq!((one.numbers(), two.numbers()), (vec![(1, 1)], vec![(1, 2)]));
}

async fn a_relay_that_lost_its_lease_records_nothing<D: Database>(database: D) {
    let world = World::of(database).await;
    world.publish(1).await;
    let stale = world.acquire().await.unwrap();
    assert!(world.acquire().await.is_none(), "it is held");
    let read = world.queue.read_outbox(&stale, &[], 10).await.unwrap();
    world.clock.advance(LEASE);
    let fresh = world.acquire().await.unwrap();
    assert!(fresh.token > stale.token);
    let done = OutboxSettlement {
        done: read.rows.iter().map(OutboxRow::key).collect(),
        ..OutboxSettlement::default()
    };
    let settle = async |lease| world.queue.settle_outbox(lease, &done, LEASE).await.unwrap();
    assert!(!settle(&stale).await);
    let refused = OutboxSettlement {
        rest: read.rows.clone(),
        refused: vec![(read.rows[0].tasks[0].clone(), "never".into())],
        ..OutboxSettlement::default()
    };
    assert!(!world.queue.settle_outbox(&stale, &refused, LEASE).await.unwrap());
    assert!(!world.queue.renew_outbox(&stale, LEASE).await.unwrap());
    world.queue.release_outbox(&stale).await.unwrap();
    assert!(world.acquire().await.is_none(), "it is not the stale one's to give back");
    assert_eq!(world.rows().await, 1);
    assert!(world.queue.renew_outbox(&fresh, LEASE).await.unwrap());
    assert!(settle(&fresh).await);
    assert_eq!(world.rows().await, 0);
}

async fn a_relay_that_stalls_in_the_middle_of_a_send_deletes_nothing<D: Database>(database: D) {
    let world = World::of(database).await;
    let (one, two) = (Recorder::new(), Recorder::away());
    one.hold();
    let stalled = Running::start(&world.queue, &one);
    world.publish(1).await;
    one.has_sent(1).await; // and not returned
    world.clock.advance(LEASE + Duration::from_secs(1));
    let _other = Running::start(&world.again().await, &two);
    until("the other has taken over", async || two.calls() > 0).await;
    one.release();
    let calls = two.calls();
    until("the other goes on", async || two.calls() > calls + 1).await;
    assert_eq!(world.rows().await, 1, "the stalled one could not delete it");
    two.set_away(false);
    two.has_sent(1).await;
    assert_eq!(one.sent(), two.sent(), "with the same ids");
    until("it is deleted", async || world.rows().await == 0).await;
    stalled.stop().await;
}

async fn a_relay_that_dies_in_the_middle_of_a_send_sends_again_with_the_same_ids<D: Database>(
    database: D,
) {
    let world = World::of(database).await;
    let (one, two) = (Recorder::new(), Recorder::new());
    one.hold();
    let doomed = Running::start(&world.queue, &one);
    for number in 0..10 {
        world.publish(number).await;
    }
    one.has_sent(1).await;
    doomed.kill().await;
    assert_eq!(world.rows().await, 10, "nothing was deleted before it was sent");
    world.clock.advance(LEASE + Duration::from_secs(1));
    let _other = Running::start(&world.again().await, &two);
    two.has_sent(10).await;
    assert_eq!(one.sent()[..], two.sent()[..one.sent().len()]);
    assert_eq!(two.numbers(), (0..10).map(|number| (1, number)).collect::<Vec<_>>());
}

async fn a_lease_from_a_clock_that_was_set_back_holds_nobody_off<D: Database>(database: D) {
    let world = World::of(database).await;
    world.acquire().await.unwrap();
    let now = world.events.now();
    world.clock.set(now.before(Duration::from_hours(24)));
    assert!(world.acquire().await.is_some());
}

async fn a_worker_that_stops_in_a_hurry_gives_the_lease_back<D: Database>(database: D) {
    let world = World::of(database).await;
    let transport = Recorder::new();
    transport.hold();
    world.publish(1).await;
    let worker = Worker::builder(&world.events, world.queue.clone())
        .relay(Relay::new(world.queue.clone(), transport.clone()));
    let worker = worker.shutdown_grace(Duration::from_millis(100)).build().unwrap();
    soon(worker.run_until(transport.has_sent(1))).await.unwrap();
    assert!(world.acquire().await.is_some(), "though a batch was under way");
    assert_eq!(world.rows().await, 1);
}

async fn a_batch_ends_at_its_number_of_tasks<D: Database>(database: D) {
    let world = World::of(database).await;
    for number in 0..40 {
        world.publish(number).await;
    }
    let mut session = D::begin(&world.queue).await;
    for number in 40..100 {
        publish(&mut session, 1, number);
    }
    session.commit().await.unwrap();
    world.publish(100).await;
    let lease = world.acquire().await.unwrap();
    let read = async |except: &[i64], tasks| {
        let rows = world.queue.read_outbox(&lease, except, tasks).await.unwrap().rows;
        let ids: Vec<_> = except.iter().copied().chain(rows.iter().map(|row| row.id)).collect();
        (rows.iter().map(|row| row.tasks.len()).collect::<Vec<_>>(), ids)
    };
    assert_eq!(read(&[], 7).await.0, [1; 7]);
    let (counts, singles) = read(&[], 40).await;
    assert_eq!(counts, [1; 40]);
    assert_eq!(read(&singles, 1).await.0, [60], "a row is read as a whole");
    assert_eq!(read(&singles, 60).await.0, [60]);
    let (counts, all) = read(&singles, 61).await;
    assert_eq!(counts, [60, 1]);
    assert_eq!(read(&all, 10).await.0, [0; 0]);
    assert_eq!(read(&singles[1..], 1).await.0, [1], "from the beginning");
    // Such a relay works its way through.
    world.queue.release_outbox(&lease).await.unwrap();
    let transport = Recorder::new();
    let _relay = Running::of(Relay::new(world.queue.clone(), transport.clone()).batch(7));
    transport.has_sent(101).await;
    assert_eq!(transport.numbers(), (0..101).map(|number| (1, number)).collect::<Vec<_>>());
}

/// One with much in it.
#[derive(Event)]
struct Scanned {
    text: String,
}

#[subscribes_to(Scanned, queue = "elsewhere", freshness_only)]
fn read_elsewhere(_: Scanned) {}

async fn a_batch_ends_at_some_megabytes_too<D: Database>(database: D) {
    const LARGE: usize = 60_000;
    let registry = Registry::builder().subscriber::<read_elsewhere>();
    let events = crate::world::events_of(registry, EventSettings::default());
    let queue = database.open(&events, vec![Forwarding::outbox(elsewhere())]).await;
    for _ in 0..100 {
        let mut session = D::begin(&queue).await;
        let scanned = Scanned { text: "x".repeat(LARGE) };
        events_core::unchecked::publish_after_commit(&mut session, scanned).unwrap();
        session.commit().await.unwrap();
    }
    let acquired = queue.acquire_outbox("default", WorkerId::generate(), LEASE).await.unwrap();
    let Acquired::Held(lease) = acquired else { panic!("nobody else wants it") };
    let first = queue.read_outbox(&lease, &[], 2000).await.unwrap().rows;
    let bytes: usize = first.iter().map(|row| row.tasks[0].payload.len()).sum();
    assert!((3 << 20..5 << 20).contains(&bytes), "{bytes}");
    let read: Vec<_> = first.iter().map(|row| row.id).collect();
    let rest = queue.read_outbox(&lease, &read, 2000).await.unwrap().rows;
    assert_eq!(first.len() + rest.len(), 100);
}
