//! Workers that die or stall: nothing is lost, nothing runs twice at once.

use std::time::Duration;

use events_core::broker::{Admin, Broker, Heartbeat, Queues};
use events_core::lifecycle::Next;

use super::Harness;
use super::fixture::{LEASE, Single, World};

/// A worker that lives keeps its tasks, however long they take.
pub async fn heartbeat_keeps_the_lease<H: Harness>() {
    let world = World::<H>::start().await;
    world.publish(Single { number: 1 }).await;
    let (holder, other) = (world.worker().await, world.worker().await);
    let lease = world.claim_one(holder).await;
    for _ in 0..20 {
        world.clock.advance(LEASE / 3);
        for worker in [holder, other] {
            let beat = world.broker().heartbeat(worker).await.expect("beats");
            assert_eq!(beat, Heartbeat::Alive);
        }
        assert_eq!(world.broker().rescue(other, LEASE).await.expect("looks"), []);
    }
    assert!(world.settle(holder, &lease, Next::Complete).await);
}

/// Within two leases, another worker has the tasks.
pub async fn silent_worker_loses_its_tasks<H: Harness>() {
    let world = World::<H>::start().await;
    let id = world.publish(Single { number: 1 }).await;
    let (silent, survivor) = (world.worker().await, world.worker().await);
    let lease = world.claim_one(silent).await;
    let rescued = world.outlive(survivor, LEASE * 2).await;
    assert_eq!(rescued.len(), 1);
    assert_eq!(rescued[0].worker, silent);
    assert_eq!(rescued[0].task_id, lease.task.id);
    assert_eq!(world.claim_one(survivor).await.task.event_id, id);
}

/// A task that kills its worker runs out of attempts.
pub async fn rescue_costs_the_attempt<H: Harness>() {
    let world = World::<H>::start().await;
    world.publish(Single { number: 1 }).await;
    let (silent, survivor) = (world.worker().await, world.worker().await);
    world.claim_one(silent).await;
    world.outlive(survivor, LEASE * 2).await;
    let lease = world.claim_one(survivor).await;
    assert_eq!(lease.attempt, 2);
    let bury = Next::Bury { error: "enough".into() };
    assert!(world.settle(survivor, &lease, bury).await);
    let dead = world.broker().dead_letters(1, None).await.expect("lists");
    assert_eq!(dead[0].attempts.len(), 2, "the lost attempt is recorded");
    assert!(dead[0].attempts[0].error.contains(&silent.to_string()), "{dead:?}");
}

/// Prompt the first time, then slower, so that it does not take workers down in a tight loop.
pub async fn repeated_rescue_waits_longer<H: Harness>() {
    let world = World::<H>::start().await;
    world.publish(Single { number: 1 }).await;
    let survivor = world.worker().await;
    let backoff = world.events.settings().backoff();
    for attempt in 1..=6 {
        let doomed = world.worker().await;
        let lease = world.claim_one(doomed).await;
        assert_eq!(lease.attempt, attempt);
        assert_eq!(world.outlive(survivor, LEASE * 2).await.len(), 1);
        // Rescued at the latest step: due no later than the longest pause from now.
        world.clock.advance(backoff.delay(attempt, 1.0));
        world.broker().heartbeat(survivor).await.expect("beats");
    }
    let doomed = world.worker().await;
    world.claim_one(doomed).await;
    let before = world.events.now();
    world.outlive(survivor, LEASE * 2).await;
    let waiting = world.broker().claim(survivor, &Queues::all(), 1).await.expect("claims");
    assert!(waiting.tasks.is_empty(), "not at once any more");
    let due = waiting.next_due.expect("it waits");
    assert!(due.since(before) > Duration::from_secs(16), "{due} {before}");
}

/// Everybody's heartbeat looks old then, until they write the next.
pub async fn clock_that_jumps_ahead_takes_nobody_for_dead<H: Harness>() {
    let world = World::<H>::start().await;
    world.publish(Single { number: 1 }).await;
    let (holder, other) = (world.worker().await, world.worker().await);
    let lease = world.claim_one(holder).await;
    for jump in [Duration::from_hours(24), LEASE * 3, LEASE + Duration::from_secs(1)] {
        world.clock.advance(jump);
        // The observer beats first, and looks at once; the holder is a moment later.
        world.broker().heartbeat(other).await.expect("beats");
        assert_eq!(world.broker().rescue(other, LEASE).await.expect("looks"), []);
        world.broker().heartbeat(holder).await.expect("beats");
        assert_eq!(world.broker().rescue(other, LEASE).await.expect("looks"), []);
    }
    assert!(world.settle(holder, &lease, Next::Complete).await);
}

/// The dead worker's heartbeat then lies in the future.
pub async fn clock_that_jumps_back_hides_no_dead_worker<H: Harness>() {
    let world = World::<H>::start().await;
    world.publish(Single { number: 1 }).await;
    let (dead, survivor) = (world.worker().await, world.worker().await);
    world.claim_one(dead).await;
    world.outlive(survivor, LEASE / 3).await;
    world.clock.set(world.events.now().before(Duration::from_hours(24)));
    assert_eq!(world.outlive(survivor, LEASE * 2).await.len(), 1);
}

/// It must not go on under leases that others have.
pub async fn worker_taken_for_dead_is_told_and_cannot_claim<H: Harness>() {
    let world = World::<H>::start().await;
    let (stalled, survivor) = (world.worker().await, world.worker().await);
    world.publish(Single { number: 1 }).await;
    world.claim_one(stalled).await;
    world.outlive(survivor, LEASE * 2).await;
    world.broker().claim(stalled, &Queues::all(), 1).await.expect_err("it was taken for dead");
    let beat = world.broker().heartbeat(stalled).await.expect("answers");
    assert_eq!(beat, Heartbeat::Lost);
}

/// The fence: a worker that comes back cannot complete, fail or delete the newer attempt.
pub async fn outcome_of_a_rescued_task_is_refused<H: Harness>() {
    let world = World::<H>::start().await;
    world.publish(Single { number: 1 }).await;
    let (stalled, survivor) = (world.worker().await, world.worker().await);
    let stale = world.claim_one(stalled).await;
    world.outlive(survivor, LEASE * 2).await;
    let bury = Next::Bury { error: "stale".into() };
    assert!(!world.settle(stalled, &stale, bury.clone()).await, "nobody holds it");
    let lease = world.claim_one(survivor).await;
    for next in [Next::Complete, Next::Release { after: Duration::ZERO }, bury] {
        assert!(!world.settle(stalled, &stale, next).await, "another holds it");
    }
    assert!(world.settle(survivor, &lease, Next::Complete).await);
    assert_eq!(world.broker().counts().await.expect("counts").dead, 0);
}

/// A worker that stops without settling leaves nothing behind that nobody takes.
pub async fn deregistered_workers_tasks_are_offered_again<H: Harness>() {
    let world = World::<H>::start().await;
    world.publish(Single { number: 1 }).await;
    let (gone, survivor) = (world.worker().await, world.worker().await);
    world.claim_one(gone).await;
    world.broker().deregister(gone).await.expect("deregisters");
    assert_eq!(world.outlive(survivor, LEASE * 2).await.len(), 1);
    assert_eq!(world.claim_one(survivor).await.attempt, 2);
}
