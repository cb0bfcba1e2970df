//! Sessions whose tasks go elsewhere, dropped at every await; and how such a queue is opened.

use events_core::{Broker, Forwarding, Queues};
use events_sqlx::{QueueError, SqliteQueue, SqliteQueueOptions};
use sqlx::SqlitePool;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode};

use crate::cancel::{cancel, cancellations};
use crate::forwarded::{Counter, after_commit, outbox};
use crate::sqlite::support::{Fixture, effect, ping};

async fn forwarding(fixture: &Fixture, forwarding: Forwarding) -> SqliteQueue {
    SqliteQueueOptions::new()
        .forward(forwarding)
        .open(fixture.path(), &fixture.events)
        .await
        .unwrap()
}

/// Commits, each dropped in another way. How many came to their end.
async fn dropped_commits(queue: &SqliteQueue) -> i64 {
    let mut finished = 0;
    for how in cancellations() {
        let mut session = queue.begin().await.unwrap();
        effect(session.connection(), 1).await.unwrap();
        ping(&mut session, 1);
        if let Some(committed) = cancel(session.commit(), how).await {
            committed.unwrap();
            finished += 1;
        }
    }
    queue.begin().await.unwrap().rollback().await.unwrap(); // all others have ended
    finished
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_commit_keeps_effects_and_the_outbox_together() {
    let fixture = Fixture::new().await;
    let queue = forwarding(&fixture, outbox()).await;
    let finished = dropped_commits(&queue).await;
    let rows = fixture.count("SELECT coalesce(sum(tasks), 0) FROM events_outbox").await;
    assert_eq!(fixture.effects().await, rows);
    assert!(rows >= finished && finished > 0);
    assert_eq!(fixture.tasks().await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_commit_sends_what_was_committed() {
    let fixture = Fixture::new().await;
    let transport = Counter::default();
    let queue = forwarding(&fixture, after_commit(&transport)).await;
    let finished = dropped_commits(&queue).await;
    let effects = fixture.effects().await;
    while transport.sent() < effects {
        tokio::task::yield_now().await;
    }
    assert_eq!(transport.sent(), effects);
    assert!(effects >= finished && finished > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_flush_of_a_joined_session_leaves_the_outbox_to_the_owner() {
    let fixture = Fixture::new().await;
    let queue = forwarding(&fixture, outbox()).await;
    for how in cancellations() {
        let mut owned = queue.pool().begin_with("BEGIN IMMEDIATE").await.unwrap();
        let mut session = queue.join(&mut owned).await.unwrap();
        ping(&mut session, 1);
        cancel(session.flush(), how).await;
        owned.rollback().await.unwrap();
    }
    assert_eq!(fixture.count("SELECT count(*) FROM events_outbox").await, 0);
}

#[tokio::test]
async fn a_queue_that_is_forwarded_twice_is_refused_by_name() {
    let fixture = Fixture::new().await;
    let options = SqliteQueueOptions::new().forward(outbox()).forward(outbox());
    let error = options.open(fixture.path(), &fixture.events).await.unwrap_err();
    assert!(matches!(error, QueueError::Forwarding(_)), "{error:?}");
    assert!(error.to_string().contains("`pings`"), "{error}");
}

#[tokio::test]
async fn a_pool_of_the_application_may_have_forwardings() {
    let fixture = Fixture::new().await;
    let options = SqliteConnectOptions::new().filename(fixture.path());
    let options = options.journal_mode(SqliteJournalMode::Wal);
    let pool = SqlitePool::connect_with(options).await.unwrap();
    let queue = SqliteQueueOptions::new().forward(outbox());
    let queue = queue.with_pool(pool, &fixture.events).await.unwrap();
    assert_eq!(queue.forwarded(), Queues::only(["pings"]));
    let mut session = queue.begin().await.unwrap();
    ping(&mut session, 1);
    session.commit().await.unwrap();
    assert_eq!(fixture.count("SELECT count(*) FROM events_outbox").await, 1);
}
