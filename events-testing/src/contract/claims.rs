//! Who gets which task, and when.

use std::collections::BTreeSet;
use std::time::Duration;

use events_core::broker::{Broker, Queues};
use events_core::event::WorkerId;

use super::Harness;
use super::fixture::{Double, Single, Urgent, World, numbers, retry};

/// A leased task is nobody else's.
pub async fn two_workers_never_hold_one_task<H: Harness>() {
    let world = World::<H>::start().await;
    world.publish_numbers(0..10).await;
    let (first, second) = (world.worker().await, world.worker().await);
    let mine = numbers(&world.claim(first, 6).await);
    let theirs = numbers(&world.claim(second, 6).await);
    assert_eq!(mine, [0, 1, 2, 3, 4, 5]);
    assert_eq!(theirs, [6, 7, 8, 9]);
}

/// Eight claimers at once lease each of 400 tasks once.
pub async fn many_concurrent_claims_lease_each_task_once<H: Harness>() {
    let world = World::<H>::start().await;
    world.publish_numbers(0..400).await;
    let mut claimers = Vec::new();
    for _ in 0..8 {
        let worker = world.worker().await;
        let broker = world.broker().clone();
        claimers.push(tokio::spawn(async move {
            let mut claimed = Vec::new();
            loop {
                let tasks = broker
                    .claim(worker, &Queues::all(), 7)
                    .await
                    .expect("the claim succeeds")
                    .tasks;
                if tasks.is_empty() {
                    return claimed;
                }
                claimed.extend(numbers(&tasks));
                tokio::task::yield_now().await;
            }
        }));
    }
    let mut all = Vec::new();
    for claimer in claimers {
        all.extend(claimer.await.expect("the claimer ends"));
    }
    assert_eq!(all.len(), 400, "no task twice");
    assert_eq!(all.into_iter().collect::<BTreeSet<_>>().len(), 400, "every task");
}

/// By priority; then by due time; then by age.
pub async fn claims_go_by_priority_then_due_time_then_age<H: Harness>() {
    let world = World::<H>::start().await;
    let worker = world.worker().await;
    world.publish(Single { number: 3 }).await;
    let lease = world.claim_one(worker).await;
    world.clock.advance(Duration::from_secs(1));
    world.publish_numbers(1..3).await;
    world.clock.advance(Duration::from_secs(1));
    // The oldest task becomes due after the others.
    assert!(world.settle(worker, &lease, retry(Duration::ZERO, "later")).await);
    world.clock.advance(Duration::from_secs(1));
    world.publish(Urgent { number: 0 }).await;
    assert_eq!(numbers(&world.claim(worker, 10).await), [0, 1, 2, 3]);
}

/// Queues that a worker does not serve are left alone.
pub async fn claim_takes_only_the_queues_it_is_told<H: Harness>() {
    let world = World::<H>::start().await;
    let worker = world.worker().await;
    world.publish(Double { text: String::new() }).await;
    let names = |tasks: Vec<super::fixture::LeaseOf<H>>| -> Vec<String> {
        tasks.into_iter().map(|lease| lease.task.name.into_owned()).collect()
    };
    let nothing = world.claim_from(worker, &Queues::only(["nobody's"]), 10).await;
    assert!(nothing.is_empty());
    let other = world.claim_from(worker, &Queues::only(["other"]), 10).await;
    assert_eq!(names(other), ["contract.double.b"]);
    world.publish(Double { text: String::new() }).await;
    let except = world.claim_from(worker, &Queues::all().except(["other"]), 10).await;
    assert_eq!(names(except), ["contract.double.a", "contract.double.a"]);
}

/// An idle worker knows how long it may sleep.
pub async fn claim_says_when_the_next_task_is_due<H: Harness>() {
    let world = World::<H>::start().await;
    let worker = world.worker().await;
    let empty = world.broker().claim(worker, &Queues::all(), 5).await.expect("claims");
    assert_eq!(empty.next_due, None);
    world.publish(Single { number: 1 }).await;
    let lease = world.claim_one(worker).await;
    let pause = Duration::from_secs(90);
    assert!(world.settle(worker, &lease, retry(pause, "later")).await);
    let waiting = world.broker().claim(worker, &Queues::all(), 5).await.expect("claims");
    assert!(waiting.tasks.is_empty());
    assert_eq!(waiting.next_due, Some(world.events.now() + pause));
}

/// Nobody would rescue what it leases.
pub async fn unregistered_worker_claims_nothing<H: Harness>() {
    let world = World::<H>::start().await;
    world.publish(Single { number: 1 }).await;
    let stranger = WorkerId::generate();
    world.broker().claim(stranger, &Queues::all(), 5).await.expect_err("it is not registered");
    let worker = world.worker().await;
    assert_eq!(world.claim(worker, 5).await.len(), 1, "the task is still there");
}

/// A worker that waits hears of a commit.
pub async fn commit_wakes_a_waiting_worker<H: Harness>() {
    let world = World::<H>::start().await;
    let broker = world.broker().clone();
    let mut wake = std::pin::pin!(broker.wake());
    // Polled once, it listens.
    let at_once = tokio::time::timeout(Duration::from_millis(20), wake.as_mut()).await;
    world.publish(Single { number: 1 }).await;
    if at_once.is_err() {
        tokio::time::timeout(Duration::from_secs(10), wake).await.expect("the commit wakes");
    }
}
