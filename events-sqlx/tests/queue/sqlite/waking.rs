//! Idle workers notice new tasks. A time-out here only keeps a failure from hanging.

use std::time::Duration;

use events_core::Broker;
use events_sqlx::SqliteQueue;
use futures_util::FutureExt;

use crate::sqlite::support::{Fixture, ping};

async fn woken(queue: &SqliteQueue) {
    tokio::time::timeout(Duration::from_secs(20), queue.wake()).await.expect("was not woken");
}

/// Whatever happened before: nothing is left to be told.
async fn quiet(queue: &SqliteQueue) {
    while tokio::time::timeout(Duration::from_millis(200), queue.wake()).await.is_ok() {}
}

/// The signal within a process comes with the commit, before anybody can have looked at the file:
/// who is woken by looking is hardly ever woken so early, and not so many times.
const ROUNDS: u32 = 5;

#[tokio::test]
async fn a_commit_wakes_the_workers_of_this_process_at_once() {
    let fixture = Fixture::new().await;
    let idle = fixture.queue.clone();
    quiet(&idle).await;
    for count in 0..ROUNDS {
        let mut waiting = Box::pin(idle.wake());
        assert!((&mut waiting).now_or_never().is_none());
        fixture.publish(count).await;
        assert!((&mut waiting).now_or_never().is_some());
        quiet(&idle).await;
    }
}

#[tokio::test]
async fn a_commit_between_a_claim_and_the_wait_is_not_missed() {
    let fixture = Fixture::new().await;
    let worker = fixture.worker().await;
    quiet(&fixture.queue).await;
    assert!(fixture.claim(worker, 1).await.tasks.is_empty());
    fixture.publish(1).await;
    assert!(fixture.queue.wake().now_or_never().is_some());
}

#[tokio::test]
async fn a_commit_elsewhere_wakes_too() {
    let fixture = Fixture::new().await;
    let elsewhere = fixture.reopened().await;
    quiet(&fixture.queue).await;
    let mut session = elsewhere.begin().await.unwrap();
    ping(&mut session, 1);
    session.commit().await.unwrap();
    woken(&fixture.queue).await;
}

#[tokio::test]
async fn a_joined_session_wakes_too() {
    let fixture = Fixture::new().await;
    quiet(&fixture.queue).await;
    let mut owned = fixture.queue.pool().begin_with("BEGIN IMMEDIATE").await.unwrap();
    let mut session = fixture.queue.join(&mut owned).await.unwrap();
    ping(&mut session, 1);
    session.flush().await.unwrap();
    owned.commit().await.unwrap();
    woken(&fixture.queue).await;
}
