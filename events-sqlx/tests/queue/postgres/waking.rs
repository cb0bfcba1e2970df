//! Idle workers hear of new tasks.

use std::time::Duration;

use events_core::Broker;
use events_sqlx::{PostgresQueue, PostgresQueueOptions};
use futures_util::FutureExt;

use super::support::{Fixture, ping, soon, until};

/// Whatever happened before: nothing is left to be told.
async fn quiet(queue: &PostgresQueue) {
    while tokio::time::timeout(Duration::from_millis(300), queue.wake()).await.is_ok() {}
}

async fn publish(queue: &PostgresQueue) {
    let mut session = queue.begin().await.unwrap();
    ping(&mut session, 1);
    session.commit().await.unwrap();
}

impl Fixture {
    async fn listeners(&self) -> i64 {
        self.count(
            "SELECT count(*) FROM pg_stat_activity
            WHERE datname = current_database() AND query LIKE 'LISTEN%'",
        )
        .await
    }
}

#[tokio::test]
async fn a_commit_wakes_the_workers_of_this_process_at_once() {
    let fixture = Fixture::new().await;
    quiet(&fixture.queue).await;
    for count in 0..5 {
        let mut waiting = Box::pin(fixture.queue.wake());
        assert!((&mut waiting).now_or_never().is_none());
        fixture.publish(count).await;
        assert!((&mut waiting).now_or_never().is_some());
        quiet(&fixture.queue).await;
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

/// A `wake` that is told nothing never resolves: whoever polls does so by itself.
#[tokio::test]
async fn a_commit_elsewhere_wakes_too_also_after_every_connection_was_cut() {
    let fixture = Fixture::new().await;
    let elsewhere = fixture.reopened(PostgresQueueOptions::new()).await;
    for _ in 0..3 {
        let listening = async || fixture.listeners().await == 1;
        quiet(&fixture.queue).await;
        until("it listens", listening).await;
        quiet(&fixture.queue).await;
        for _ in 0..3 {
            publish(&elsewhere).await;
            soon(fixture.queue.wake()).await;
            quiet(&fixture.queue).await;
        }
        assert!(fixture.terminate_all().await >= 2);
        // What came while nobody listened is looked for as soon as it listens again.
        soon(fixture.queue.wake()).await;
    }
}

#[tokio::test]
async fn queues_of_two_schemas_do_not_wake_each_other() {
    let fixture = Fixture::new().await;
    let other = fixture.reopened(PostgresQueueOptions::new().schema("other")).await;
    quiet(&fixture.queue).await;
    until("it listens", async || fixture.listeners().await == 1).await;
    quiet(&fixture.queue).await;
    publish(&other).await;
    let waiting = tokio::time::timeout(Duration::from_millis(300), fixture.queue.wake());
    assert!(waiting.await.is_err());
    let same = fixture.reopened(PostgresQueueOptions::new()).await;
    publish(&same).await;
    soon(fixture.queue.wake()).await;
}
