//! Transactions in which a task completes.

use std::time::Duration;

use events_core::broker::{Admin, Broker, TaskTransaction};
use events_core::lifecycle::Next;

use super::Harness;
use super::fixture::{LEASE, Single, World, number, put};

/// Completion and follow-on events commit together.
pub async fn commit_completes_the_task_and_publishes<H: Harness>() {
    let world = World::<H>::start().await;
    world.publish(Single { number: 1 }).await;
    let worker = world.worker().await;
    let lease = world.claim_one(worker).await;
    let mut transaction =
        world.broker().begin_task(worker, &lease.receipt).await.expect("begins").expect("held");
    put(&mut transaction, Single { number: 2 });
    transaction.commit_task().await.expect("commits");
    let next = world.claim_one(worker).await;
    assert_eq!((number(&next), next.attempt), (2, 1));
    assert!(world.settle(worker, &next, Next::Complete).await);
    assert!(world.broker().counts().await.expect("counts").is_drained());
}

/// After a rollback the lease stands, and the failure can be recorded.
pub async fn rollback_leaves_the_task_leased<H: Harness>() {
    let world = World::<H>::start().await;
    world.publish(Single { number: 1 }).await;
    let worker = world.worker().await;
    let lease = world.claim_one(worker).await;
    let mut transaction =
        world.broker().begin_task(worker, &lease.receipt).await.expect("begins").expect("held");
    put(&mut transaction, Single { number: 2 });
    transaction.rollback_task().await.expect("rolls back");
    assert!(world.claim(worker, 10).await.is_empty(), "still leased, and nothing published");
    let retry = Next::Retry { after: Duration::ZERO, error: "failed".into() };
    assert!(world.settle(worker, &lease, retry).await);
    assert_eq!(world.claim_one(worker).await.attempt, 2);
}

/// A handler's future may be dropped at any point.
pub async fn dropped_transaction_leaves_the_task_leased<H: Harness>() {
    let world = World::<H>::start().await;
    world.publish(Single { number: 1 }).await;
    let worker = world.worker().await;
    let lease = world.claim_one(worker).await;
    let mut transaction =
        world.broker().begin_task(worker, &lease.receipt).await.expect("begins").expect("held");
    put(&mut transaction, Single { number: 2 });
    drop(transaction);
    assert!(world.settle(worker, &lease, Next::Complete).await, "the lease stands");
    assert!(world.broker().counts().await.expect("counts").is_drained(), "nothing published");
}

/// Zero rows: the handler does not run.
pub async fn transaction_of_a_lost_lease_does_not_begin<H: Harness>() {
    let world = World::<H>::start().await;
    world.publish(Single { number: 1 }).await;
    let (stalled, survivor) = (world.worker().await, world.worker().await);
    let stale = world.claim_one(stalled).await;
    world.outlive(survivor, LEASE * 2).await;
    let begun = world.broker().begin_task(stalled, &stale.receipt).await.expect("answers");
    assert!(begun.is_none(), "nobody holds it");
    let lease = world.claim_one(survivor).await;
    let begun = world.broker().begin_task(stalled, &stale.receipt).await.expect("answers");
    assert!(begun.is_none(), "another holds it");
    let begun = world.broker().begin_task(survivor, &lease.receipt).await.expect("answers");
    begun.expect("the holder's begins").commit_task().await.expect("commits");
}

/// Once means once, also if the worker did not learn that the commit succeeded.
pub async fn outcome_after_the_transaction_committed_is_refused<H: Harness>() {
    let world = World::<H>::start().await;
    world.publish(Single { number: 1 }).await;
    let worker = world.worker().await;
    let lease = world.claim_one(worker).await;
    let transaction =
        world.broker().begin_task(worker, &lease.receipt).await.expect("begins").expect("held");
    transaction.commit_task().await.expect("commits");
    let retry = Next::Retry { after: Duration::ZERO, error: "unknown outcome".into() };
    assert!(!world.settle(worker, &lease, retry).await);
    assert!(world.broker().counts().await.expect("counts").is_drained());
}
