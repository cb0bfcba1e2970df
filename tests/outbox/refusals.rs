//! Tasks that the broker, or the transport, cannot bear, and what is behind them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use events_core::{Admin, Forwarding};
use events_testing::ManualClock;

use super::database::{Database, on_each_database};
use super::transport::{Recorder, Verdict, numbers_of};
use super::{Running, elsewhere, events, publish, until};

on_each_database! {
    a_task_that_is_refused_again_and_again_delays_no_other,
    more_refused_tasks_than_a_batch_has_do_not_hold_up_what_is_behind_them,
    a_task_on_which_the_transport_panics_is_a_dead_letter_and_the_others_are_sent,
    a_refused_task_before_one_on_which_the_transport_panics_holds_up_nothing,
    a_transport_that_panics_on_everything_makes_no_dead_letters_of_it,
}

async fn open<D: Database>(database: &D) -> D::Queue {
    let events = events(&ManualClock::new());
    database.open(&events, vec![Forwarding::outbox(elsewhere())]).await
}

async fn publish_one<D: Database>(queue: &D::Queue, publisher: u32, number: u32) {
    let mut session = D::begin(queue).await;
    publish(&mut session, publisher, number);
    session.commit().await.unwrap();
}

/// A transport whose broker takes nothing of the publisher 0 while the flag says so.
fn picky(verdict: Verdict) -> (Recorder, Arc<AtomicBool>) {
    let refuses = Arc::new(AtomicBool::new(true));
    let flag = refuses.clone();
    let transport = Recorder::judging(move |task| match numbers_of(task) {
        (0, _) if flag.load(Ordering::SeqCst) => verdict,
        _ => Verdict::Sent,
    });
    (transport, refuses)
}

async fn a_task_that_is_refused_again_and_again_delays_no_other<D: Database>(database: D) {
    let queue = open(&database).await;
    let (transport, refuses) = picky(Verdict::Later);
    let _relay = Running::start(&queue, &transport);
    publish_one::<D>(&queue, 0, 0).await;
    until("it is tried again and again", async || transport.calls() >= 6).await;
    let published = Instant::now();
    publish_one::<D>(&queue, 1, 1).await;
    transport.has_sent(1).await;
    assert!(published.elapsed() < Duration::from_secs(1), "{:?}", published.elapsed());
    refuses.store(false, Ordering::SeqCst);
    transport.has_sent(2).await;
    assert_eq!(transport.numbers(), [(1, 1), (0, 0)]);
    until("the outbox is empty", async || D::count(&queue, D::OUTBOX).await == 0).await;
}

async fn more_refused_tasks_than_a_batch_has_do_not_hold_up_what_is_behind_them<D: Database>(
    database: D,
) {
    let queue = open(&database).await;
    let (transport, refuses) = picky(Verdict::Later);
    for number in 0..150 {
        publish_one::<D>(&queue, 0, number).await;
    }
    publish_one::<D>(&queue, 1, 1).await;
    let _relay = Running::start(&queue, &transport); // 64 in a batch
    transport.has_sent(1).await;
    assert_eq!(transport.numbers(), [(1, 1)]);
    refuses.store(false, Ordering::SeqCst);
    transport.has_sent(151).await;
    until("the outbox is empty", async || D::count(&queue, D::OUTBOX).await == 0).await;
    assert!(transport.times().values().all(|times| *times == 1));
}

async fn a_task_on_which_the_transport_panics_is_a_dead_letter_and_the_others_are_sent<
    D: Database,
>(
    database: D,
) {
    let queue = open(&database).await;
    let transport = Recorder::judging(|task| match numbers_of(task) {
        (0, 17) => Verdict::Panic,
        _ => Verdict::Sent,
    });
    let mut session = D::begin(&queue).await;
    for number in 0..40 {
        publish(&mut session, 0, number);
    }
    session.commit().await.unwrap();
    for number in 40..50 {
        publish_one::<D>(&queue, 0, number).await;
    }
    let _relay = Running::start(&queue, &transport);
    until("the outbox is empty", async || D::count(&queue, D::OUTBOX).await == 0).await;
    let dead = queue.dead_letters(10, None).await.unwrap();
    assert_eq!(dead.len(), 1);
    assert!(dead[0].payload.contains("17"), "{:?}", dead[0]);
    let error = &dead[0].attempts[0].error;
    assert!(error.contains("panicked") && error.contains("told to"), "{error}");
    let times = transport.times();
    assert_eq!(times.len(), 49);
    assert!(times.values().all(|times| *times <= 7), "halved, and halved again: {times:?}");
}

async fn a_refused_task_before_one_on_which_the_transport_panics_holds_up_nothing<D: Database>(
    database: D,
) {
    let queue = open(&database).await;
    let transport = Recorder::judging(|task| match numbers_of(task) {
        (0, 0) => Verdict::Later,
        (0, 1) => Verdict::Panic,
        _ => Verdict::Sent,
    });
    let mut session = D::begin(&queue).await;
    publish(&mut session, 0, 0);
    publish(&mut session, 0, 1);
    session.commit().await.unwrap();
    publish_one::<D>(&queue, 1, 1).await;
    let _relay = Running::start(&queue, &transport);
    transport.has_sent(1).await;
    until("it is a dead letter", async || queue.dead_letters(2, None).await.unwrap().len() == 1)
        .await;
    // That the other one is gone is recorded after it was sent.
    until("only what was refused waits", async || D::count(&queue, D::OUTBOX).await == 1).await;
}

async fn a_transport_that_panics_on_everything_makes_no_dead_letters_of_it<D: Database>(
    database: D,
) {
    let queue = open(&database).await;
    let (transport, panics) = picky(Verdict::Panic);
    for number in 0..20 {
        publish_one::<D>(&queue, 0, number).await;
    }
    let _relay = Running::start(&queue, &transport);
    until("it has tried much", async || transport.calls() >= 18).await;
    panics.store(false, Ordering::SeqCst);
    until("the outbox is empty", async || D::count(&queue, D::OUTBOX).await == 0).await;
    let dead = queue.dead_letters(20, None).await.unwrap().len();
    assert!(dead <= 1, "{dead}: what is behind a dead letter must be sent before the next");
    assert_eq!(transport.sent().len() + dead, 20);
}
