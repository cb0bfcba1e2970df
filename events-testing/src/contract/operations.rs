//! What operators see and do.

use std::collections::BTreeSet;
use std::time::Duration;

use events_core::broker::{Admin, Broker, Counts, DeadLetter, Queues, Settlement, WorkerInfo};
use events_core::event::{TaskId, WorkerId};
use events_core::lifecycle::Next;

use super::Harness;
use super::fixture::{Double, LEASE, Single, World, number, retry};

/// Every task is counted in one state.
pub async fn counts_tell_every_state<H: Harness>() {
    let world = World::<H>::start().await;
    world.publish_numbers(0..7).await;
    let worker = world.worker().await;
    let leases = world.claim(worker, 4).await;
    assert!(world.settle(worker, &leases[0], Next::Complete).await);
    assert!(world.settle(worker, &leases[1], retry(Duration::from_mins(1), "later")).await);
    assert!(world.settle(worker, &leases[2], Next::Bury { error: "never".into() }).await);
    let counts = world.broker().counts().await.expect("counts");
    assert_eq!(counts, Counts { available: 3, scheduled: 1, running: 1, dead: 1 });
}

async fn bury<H: Harness>(world: &World<H>, dead_number: u32) -> TaskId {
    world.publish(Single { number: dead_number }).await;
    let worker = world.worker().await;
    let lease = world.claim_one(worker).await;
    assert!(world.settle(worker, &lease, Next::Bury { error: "never".into() }).await);
    lease.task.id
}

/// Retried, a dead letter is the task it was, with all its attempts before it and its history.
pub async fn dead_letter_can_be_retried<H: Harness>() {
    let world = World::<H>::start().await;
    let id = bury(&world, 1).await;
    world.clock.advance(Duration::from_secs(5));
    assert!(world.broker().retry_dead_letter(id).await.expect("retries"));
    assert!(!world.broker().retry_dead_letter(id).await.expect("answers"), "it is gone from there");
    let worker = world.worker().await;
    let lease = world.claim_one(worker).await;
    assert_eq!((lease.task.id, lease.attempt, number(&lease)), (id, 1, 1));
    assert!(world.settle(worker, &lease, Next::Bury { error: "again".into() }).await);
    let dead = world.broker().dead_letters(10, None).await.expect("lists");
    assert_eq!(dead[0].attempts.len(), 2, "its history is kept");
}

/// Discarded, it is gone.
pub async fn dead_letter_can_be_discarded<H: Harness>() {
    let world = World::<H>::start().await;
    let id = bury(&world, 1).await;
    assert!(world.broker().discard_dead_letter(id).await.expect("discards"));
    assert!(!world.broker().discard_dead_letter(id).await.expect("answers"));
    assert!(world.broker().dead_letters(10, None).await.expect("lists").is_empty());
}

/// Pages begin with the newest.
pub async fn dead_letters_are_paged_newest_first<H: Harness>() {
    let world = World::<H>::start().await;
    let mut ids = Vec::new();
    for number in 0..5 {
        ids.push(bury(&world, number).await);
        world.clock.advance(Duration::from_secs(1));
    }
    ids.reverse();
    let first = world.broker().dead_letters(2, None).await.expect("lists");
    let rest = world.broker().dead_letters(10, Some(&first[1])).await.expect("lists");
    let listed: Vec<_> = first.iter().chain(&rest).map(|letter| letter.id).collect();
    assert_eq!(listed, ids);
}

/// Letters that died in one moment, as those of one batch do, are all on some page, and once; a
/// page ends where it ended even if its last letter is retried in between.
pub async fn dead_letters_of_one_moment_are_paged_without_loss<H: Harness>() {
    let world = World::<H>::start().await;
    world.publish_numbers(0..5).await;
    let worker = world.worker().await;
    let leases = world.claim(worker, 5).await;
    let buried: BTreeSet<_> = leases.iter().map(|lease| lease.task.id).collect();
    let batch: Vec<_> = leases
        .into_iter()
        .map(|lease| Settlement {
            receipt: lease.receipt,
            attempt: lease.attempt,
            next: Next::Bury { error: "never".into() },
        })
        .collect();
    let held = world.broker().settle(worker, &batch).await.expect("settles");
    assert_eq!(held, [true; 5]);

    let (mut listed, mut last) = (Vec::new(), None::<DeadLetter>);
    loop {
        let page = world.broker().dead_letters(2, last.as_ref()).await.expect("lists");
        assert!(page.len() <= 2);
        listed.extend(page.iter().map(|letter| letter.id));
        let Some(letter) = page.into_iter().next_back() else { break };
        assert!(world.broker().retry_dead_letter(letter.id).await.expect("retries"));
        last = Some(letter);
    }
    assert_eq!(listed.len(), 5, "each once");
    assert_eq!(listed.into_iter().collect::<BTreeSet<_>>(), buried);
}

/// Health names the queues in which tasks are due, and how many live workers serve each.
pub async fn health_tells_which_queues_nobody_serves<H: Harness>() {
    let world = World::<H>::start().await;
    world.publish(Double { text: "served and unserved".into() }).await;
    let worker = WorkerId::generate();
    world
        .broker()
        .register(worker, &WorkerInfo::new(Queues::only(["events"]), 1))
        .await
        .expect("registers");
    world.clock.advance(LEASE / 2);
    let health = world.broker().health().await.expect("answers");
    let queues: Vec<_> = health
        .queues
        .iter()
        .map(|found| (found.queue.as_str(), found.workers, found.oldest_waiting))
        .collect();
    assert_eq!(queues, [("events", 1, LEASE / 2), ("other", 0, LEASE / 2)]);
    assert_eq!(health.workers.len(), 1);
    assert_eq!((health.workers[0].worker, health.workers[0].silent), (worker, LEASE / 2));
    world.clock.advance(LEASE);
    let health = world.broker().health().await.expect("answers");
    assert_eq!(health.queues[0].workers, 0, "a silent worker serves nothing");
    world.claim(world.worker().await, 10).await;
    let health = world.broker().health().await.expect("answers");
    assert_eq!(health.queues, [], "what runs does not wait");
}
