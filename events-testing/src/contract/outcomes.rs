//! What becomes of a task after an attempt.

use std::time::Duration;

use events_core::broker::{Admin, Broker, Settlement};
use events_core::lifecycle::Next;

use super::Harness;
use super::fixture::{Single, World, number, retry};

const RELEASE: Next = Next::Release { after: Duration::ZERO };

/// Completed, a task leaves nothing behind.
pub async fn completed_task_is_gone<H: Harness>() {
    let world = World::<H>::start().await;
    world.publish(Single { number: 1 }).await;
    let worker = world.worker().await;
    let lease = world.claim_one(worker).await;
    assert!(world.settle(worker, &lease, Next::Complete).await);
    let counts = world.broker().counts().await.expect("counts");
    assert!(counts.is_drained() && counts.dead == 0, "{counts:?}");
    assert!(world.claim(worker, 10).await.is_empty());
}

/// Not before its pause is over, and its attempts are counted.
pub async fn retried_task_returns_after_its_pause_with_one_attempt_more<H: Harness>() {
    let world = World::<H>::start().await;
    let id = world.publish(Single { number: 1 }).await;
    let worker = world.worker().await;
    for attempt in 1..=3 {
        let lease = world.claim_one(worker).await;
        assert_eq!((lease.attempt, lease.task.event_id), (attempt, id));
        assert!(world.settle(worker, &lease, retry(Duration::from_secs(10), "not yet")).await);
        assert!(world.claim(worker, 10).await.is_empty(), "the pause has just begun");
        world.clock.advance(Duration::from_millis(9_999));
        assert!(world.claim(worker, 10).await.is_empty(), "the pause is not over");
        world.clock.advance(Duration::from_millis(1));
    }
}

/// Snoozed or interrupted, a task has all its attempts before it.
pub async fn released_task_costs_no_attempt<H: Harness>() {
    let world = World::<H>::start().await;
    world.publish(Single { number: 1 }).await;
    let worker = world.worker().await;
    for _ in 0..5 {
        let lease = world.claim_one(worker).await;
        assert_eq!(lease.attempt, 1);
        assert!(world.settle(worker, &lease, RELEASE).await);
    }
}

/// A dead letter keeps the task and what went wrong, attempt by attempt.
pub async fn buried_task_is_a_dead_letter_with_every_error<H: Harness>() {
    let world = World::<H>::start().await;
    let id = world.publish(Single { number: 7 }).await;
    let worker = world.worker().await;
    let first = world.claim_one(worker).await;
    assert!(world.settle(worker, &first, retry(Duration::ZERO, "first \"error\"")).await);
    let second = world.claim_one(worker).await;
    let bury = Next::Bury { error: "second error".into() };
    assert!(world.settle(worker, &second, bury).await);
    assert!(world.claim(worker, 10).await.is_empty());
    let dead = world.broker().dead_letters(10, None).await.expect("lists");
    assert_eq!(dead.len(), 1);
    let letter = &dead[0];
    assert_eq!((letter.id, letter.event_id), (second.task.id, id));
    assert_eq!((&*letter.name, &*letter.event), ("contract.single", "contract.Single"));
    assert_eq!((&*letter.queue, &letter.payload), ("events", &second.task.payload));
    assert_eq!(letter.died_at, world.events.now());
    let errors: Vec<_> =
        letter.attempts.iter().map(|attempt| (attempt.attempt, &*attempt.error)).collect();
    assert_eq!(errors, [(1, "first \"error\""), (2, "second error")]);
}

/// A claim has one outcome.
pub async fn second_outcome_of_one_claim_is_refused<H: Harness>() {
    let world = World::<H>::start().await;
    world.publish(Single { number: 1 }).await;
    let worker = world.worker().await;
    let lease = world.claim_one(worker).await;
    assert!(world.settle(worker, &lease, RELEASE).await);
    assert!(!world.settle(worker, &lease, Next::Complete).await);
    assert_eq!(world.claim(worker, 10).await.len(), 1, "the task is still there");
}

/// Also when the same worker holds the task again, in the same attempt.
pub async fn outcome_of_an_earlier_claim_is_refused<H: Harness>() {
    let world = World::<H>::start().await;
    world.publish(Single { number: 1 }).await;
    let worker = world.worker().await;
    let earlier = world.claim_one(worker).await;
    assert!(world.settle(worker, &earlier, RELEASE).await);
    let later = world.claim_one(worker).await;
    assert_eq!(later.attempt, earlier.attempt);
    assert!(!world.settle(worker, &earlier, Next::Complete).await);
    assert!(world.settle(worker, &later, Next::Complete).await);
}

/// Each settlement of a batch is judged by itself.
pub async fn one_batch_may_mix_outcomes_and_stale_claims<H: Harness>() {
    let world = World::<H>::start().await;
    world.publish_numbers(0..5).await;
    let worker = world.worker().await;
    let leases = world.claim(worker, 10).await;
    assert!(world.settle(worker, &leases[3], Next::Complete).await);
    let nexts = [
        Next::Complete,
        retry(Duration::ZERO, "again"),
        Next::Bury { error: "never".into() },
        Next::Complete, // stale
        RELEASE,
    ];
    let batch: Vec<_> = leases
        .iter()
        .zip(nexts)
        .map(|(lease, next)| Settlement {
            receipt: lease.receipt.clone(),
            attempt: lease.attempt,
            next,
        })
        .collect();
    let applied = world.broker().settle(worker, &batch).await.expect("settles");
    assert_eq!(applied, [true, true, true, false, true]);
    let mut again: Vec<_> =
        world.claim(worker, 10).await.iter().map(|lease| (number(lease), lease.attempt)).collect();
    again.sort_unstable();
    assert_eq!(again, [(1, 2), (4, 1)]);
    assert_eq!(world.broker().counts().await.expect("counts").dead, 1);
}
