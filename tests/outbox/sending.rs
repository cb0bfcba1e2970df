//! What is sent, how often, and in what order.

use events_core::broker::WorkerInfo;
use events_core::outbox::{Acquired, Outbox};
use events_core::prelude::*;
use events_core::{Admin, Broker, Forwarding, Registry, WorkerId};
use events_testing::ManualClock;

use super::database::{Database, on_each_database};
use super::transport::{Recorder, Verdict};
use super::{Running, elsewhere, events, publish, soon, until};

on_each_database! {
    tasks_of_a_forwarded_queue_reach_the_transport_and_those_of_others_the_workers,
    what_was_rolled_back_is_never_in_the_outbox,
    a_joined_session_writes_into_the_outbox,
    the_kill_switch_keeps_the_outbox_empty,
    what_is_committed_while_the_broker_is_away_arrives_later_in_order,
    tasks_of_each_publisher_arrive_in_order_and_once,
    a_large_commit_arrives_in_order,
    what_cannot_be_sent_waits_and_what_never_can_be_is_a_dead_letter,
    a_transport_that_panics_is_tried_again,
    a_row_that_nobody_can_read_does_not_hold_up_the_others,
    a_row_that_was_repaired_is_sent_without_a_restart,
    each_outbox_has_a_relay_of_its_own,
    debounced_tasks_keep_their_key_on_the_way,
}

/// One debounced subscriber here, one elsewhere, and one elsewhere that is not.
#[derive(Event)]
struct Typed {
    document: u32,
}

#[subscribes_to(Typed, queue = "here", debounce = "30s", debounce_by = document, freshness_only)]
fn index_here(_: Typed) {}

#[subscribes_to(Typed, queue = "elsewhere", debounce = "30s", debounce_by = document, freshness_only)]
fn index_elsewhere(_: Typed) {}

#[subscribes_to(Typed, queue = "elsewhere", freshness_only)]
fn log_elsewhere(_: Typed) {}

/// A database with an outbox.
async fn open<D: Database>(database: &D) -> D::Queue {
    let events = events(&ManualClock::new());
    database.open(&events, vec![Forwarding::outbox(elsewhere())]).await
}

async fn publish_one<D: Database>(queue: &D::Queue, publisher: u32, number: u32) {
    let mut session = D::begin(queue).await;
    publish(&mut session, publisher, number);
    session.commit().await.unwrap();
}

async fn tasks_of_a_forwarded_queue_reach_the_transport_and_those_of_others_the_workers<
    D: Database,
>(
    database: D,
) {
    let queue = open(&database).await;
    let transport = Recorder::new();
    let relay = Running::start(&queue, &transport);
    publish_one::<D>(&queue, 1, 7).await;
    transport.has_sent(1).await;
    let [sent] = transport.sent().try_into().unwrap();
    assert_eq!((&*sent.queue, sent.name.ends_with("count_elsewhere")), ("elsewhere", true));
    until("the row is deleted", async || D::count(&queue, D::OUTBOX).await == 0).await;
    relay.stop().await;
    let worker = WorkerId::generate();
    queue.register(worker, &WorkerInfo::new(Queues::all(), 1)).await.unwrap();
    let claimed = queue.claim(worker, &Queues::all(), 10).await.unwrap().tasks;
    assert_eq!(claimed.len(), 1);
    assert_eq!(&*claimed[0].task.queue, "here");
    assert_eq!(claimed[0].task.event_id, sent.event_id, "one event");
}

async fn what_was_rolled_back_is_never_in_the_outbox<D: Database>(database: D) {
    let queue = open(&database).await;
    let mut session = D::begin(&queue).await;
    publish(&mut session, 1, 1);
    session.rollback().await.unwrap();
    let mut session = D::begin(&queue).await;
    publish(&mut session, 1, 2);
    drop(session);
    let mut session = D::begin(&queue).await;
    publish(&mut session, 1, 3);
    let mut undone = session.savepoint().await.unwrap();
    publish(&mut undone, 1, 4);
    undone.rollback().await.unwrap();
    let mut kept = session.savepoint().await.unwrap();
    publish(&mut kept, 1, 5);
    kept.release().await.unwrap();
    session.commit().await.unwrap();
    assert_eq!(D::count(&queue, D::OUTBOX).await, 1, "one row for each commit");
    let transport = Recorder::new();
    let _relay = Running::start(&queue, &transport);
    transport.has_sent(2).await;
    until("the outbox is empty", async || D::count(&queue, D::OUTBOX).await == 0).await;
    assert_eq!(transport.numbers(), [(1, 3), (1, 5)]);
}

async fn a_joined_session_writes_into_the_outbox<D: Database>(database: D) {
    let queue = open(&database).await;
    let transport = Recorder::new();
    let _relay = Running::start(&queue, &transport);
    D::join(&queue, 1, 1).await.unwrap();
    transport.has_sent(1).await;
    assert_eq!(transport.numbers(), [(1, 1)]);
    assert_eq!(D::count(&queue, D::TASKS).await, 1, "that of the other queue");
}

async fn the_kill_switch_keeps_the_outbox_empty<D: Database>(database: D) {
    let queue = open(&database).await;
    queue.events().set_enabled(false);
    publish_one::<D>(&queue, 1, 1).await;
    assert_eq!(D::count(&queue, D::OUTBOX).await, 0);
    queue.events().set_enabled(true);
    publish_one::<D>(&queue, 1, 2).await;
    assert_eq!(D::count(&queue, D::OUTBOX).await, 1);
}

async fn what_is_committed_while_the_broker_is_away_arrives_later_in_order<D: Database>(
    database: D,
) {
    let queue = open(&database).await;
    let transport = Recorder::away();
    let _relay = Running::start(&queue, &transport);
    for number in 0..20 {
        publish_one::<D>(&queue, 1, number).await;
    }
    until("it is tried again", async || transport.calls() >= 3).await;
    assert_eq!(D::count(&queue, D::OUTBOX).await, 20);
    transport.set_away(false);
    transport.has_sent(20).await;
    assert_eq!(transport.numbers(), (0..20).map(|number| (1, number)).collect::<Vec<_>>());
    until("the outbox is empty", async || D::count(&queue, D::OUTBOX).await == 0).await;
}

async fn tasks_of_each_publisher_arrive_in_order_and_once<D: Database>(database: D) {
    const PUBLISHERS: u32 = 8;
    const COMMITS: u32 = 25;
    let queue = open(&database).await;
    let transport = Recorder::new();
    let _relay = Running::start(&queue, &transport);
    let publishers: Vec<_> = (0..PUBLISHERS)
        .map(|publisher| {
            let queue = queue.clone();
            tokio::spawn(async move {
                for commit in 0..COMMITS {
                    let mut session = D::begin(&queue).await;
                    for number in 0..3 {
                        publish(&mut session, publisher, 3 * commit + number);
                    }
                    session.commit().await.unwrap();
                }
            })
        })
        .collect();
    for publisher in publishers {
        soon(publisher).await.unwrap();
    }
    transport.has_sent((PUBLISHERS * COMMITS * 3) as usize).await;
    until("the outbox is empty", async || D::count(&queue, D::OUTBOX).await == 0).await;
    let sent = transport.numbers();
    for publisher in 0..PUBLISHERS {
        let numbers = sent.iter().filter(|(by, _)| *by == publisher).map(|(_, number)| *number);
        assert!(numbers.eq(0..3 * COMMITS), "of publisher {publisher}");
    }
}

async fn a_large_commit_arrives_in_order<D: Database>(database: D) {
    const EVENTS: u32 = 1_700;
    let queue = open(&database).await;
    let mut session = D::begin(&queue).await;
    for number in 0..EVENTS {
        publish(&mut session, 1, number);
    }
    session.commit().await.unwrap();
    assert_eq!(D::count(&queue, D::OUTBOX).await, 4, "500 tasks in a row");
    let transport = Recorder::new();
    let _relay = Running::start(&queue, &transport);
    transport.has_sent(EVENTS as usize).await;
    assert_eq!(transport.numbers(), (0..EVENTS).map(|number| (1, number)).collect::<Vec<_>>());
}

async fn what_cannot_be_sent_waits_and_what_never_can_be_is_a_dead_letter<D: Database>(
    database: D,
) {
    let queue = open(&database).await;
    let mut seen = std::collections::HashSet::new();
    let transport = Recorder::judging(move |task| {
        let (_, number) = super::transport::numbers_of(task);
        match number % 5 {
            3 if seen.insert(task.id) => Verdict::Later, // the first time
            4 => Verdict::Never,
            _ => Verdict::Sent,
        }
    });
    for commit in 0..10 {
        let mut session = D::begin(&queue).await;
        for number in 0..5 {
            publish(&mut session, 1, 5 * commit + number);
        }
        session.commit().await.unwrap();
    }
    let _relay = Running::start(&queue, &transport);
    until("the outbox is empty", async || D::count(&queue, D::OUTBOX).await == 0).await;
    let times = transport.times();
    assert_eq!(times.len(), 40);
    assert!(times.values().all(|times| *times == 1), "nothing is sent twice needlessly");
    let dead = queue.dead_letters(20, None).await.unwrap();
    assert_eq!(dead.len(), 10);
    for letter in dead {
        assert_eq!((&*letter.queue, letter.attempts.len()), ("elsewhere", 1));
        assert!(letter.attempts[0].error.contains("too large"), "{:?}", letter.attempts);
    }
}

async fn a_transport_that_panics_is_tried_again<D: Database>(database: D) {
    let queue = open(&database).await;
    let mut verdicts = [Verdict::Panic, Verdict::Panic].into_iter();
    let transport = Recorder::judging(move |_| verdicts.next().unwrap_or(Verdict::Sent));
    publish_one::<D>(&queue, 1, 1).await;
    let _relay = Running::start(&queue, &transport);
    transport.has_sent(1).await;
}

async fn a_row_that_nobody_can_read_does_not_hold_up_the_others<D: Database>(database: D) {
    let queue = open(&database).await;
    for number in 0..3 {
        publish_one::<D>(&queue, 1, number).await;
    }
    let spoil =
        format!("UPDATE {0} SET body = '[[\"cut' WHERE id = (SELECT min(id) FROM {0})", D::OUTBOX);
    D::execute(&queue, &spoil).await;
    let transport = Recorder::new();
    let _relay = Running::start(&queue, &transport);
    transport.has_sent(2).await;
    publish_one::<D>(&queue, 1, 3).await;
    transport.has_sent(3).await;
    assert_eq!(transport.numbers(), [(1, 1), (1, 2), (1, 3)]);
    until("only that row is left", async || D::count(&queue, D::OUTBOX).await == 1).await;
}

async fn a_row_that_was_repaired_is_sent_without_a_restart<D: Database>(database: D) {
    let queue = open(&database).await;
    publish_one::<D>(&queue, 1, 1).await;
    D::execute(&queue, &format!("UPDATE {} SET body = body || 'x'", D::OUTBOX)).await;
    let transport = Recorder::new();
    let relay = events_runtime::Relay::new(queue.clone(), transport.clone());
    let _relay = Running::of(relay.lease(std::time::Duration::from_millis(100)));
    publish_one::<D>(&queue, 1, 2).await;
    transport.has_sent(1).await;
    let repair = "body = substr(body, 1, length(body) - 1)";
    D::execute(&queue, &format!("UPDATE {} SET {repair}", D::OUTBOX)).await;
    transport.has_sent(2).await;
    assert_eq!(transport.numbers(), [(1, 2), (1, 1)]);
}

async fn each_outbox_has_a_relay_of_its_own<D: Database>(database: D) {
    let events = events(&ManualClock::new());
    let forwardings = vec![
        Forwarding::outbox(elsewhere()),
        Forwarding::named_outbox("other", Queues::only(["here"])),
    ];
    let queue = database.open(&events, forwardings).await;
    publish_one::<D>(&queue, 1, 1).await;
    assert_eq!(D::count(&queue, D::TASKS).await, 0);
    let (first, other) = (Recorder::away(), Recorder::new());
    let _first = Running::start(&queue, &first);
    let relay = events_runtime::Relay::new(queue.clone(), other.clone()).named("other");
    let _other = Running::of(relay);
    other.has_sent(1).await;
    assert_eq!(&*other.sent()[0].queue, "here");
    first.set_away(false);
    first.has_sent(1).await;
    assert_eq!(&*first.sent()[0].queue, "elsewhere");
    let lease = std::time::Duration::from_secs(15);
    let free = queue.acquire_outbox("third", WorkerId::generate(), lease).await.unwrap();
    assert!(matches!(free, Acquired::Held(_)));
}

async fn debounced_tasks_keep_their_key_on_the_way<D: Database>(database: D) {
    let registry = Registry::builder()
        .subscriber::<index_here>()
        .subscriber::<index_elsewhere>()
        .subscriber::<log_elsewhere>();
    let events = crate::world::events_of(registry, EventSettings::default());
    let queue = database.open(&events, vec![Forwarding::outbox(elsewhere())]).await;
    let mut session = D::begin(&queue).await;
    for document in [7, 8, 7] {
        events_core::unchecked::publish_after_commit(&mut session, Typed { document }).unwrap();
    }
    session.commit().await.unwrap();
    let transport = Recorder::new();
    let _relay = Running::start(&queue, &transport);
    transport.has_sent(5).await;
    let sent = transport.sent();
    let keys = sent.iter().filter_map(|task| task.debounce.as_ref());
    assert_eq!(keys.map(|debounced| &*debounced.key).collect::<Vec<_>>(), ["8", "7"]);
    assert_eq!(sent.iter().filter(|task| task.name.ends_with("log_elsewhere")).count(), 3);
    assert_eq!(queue.counts().await.unwrap().scheduled, 2, "those of here");
}
