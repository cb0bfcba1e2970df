//! Sessions whose tasks go elsewhere, dropped at every await.

use std::time::Duration;

use events_core::outbox::{Acquired, Outbox};
use events_core::{Forwarding, Queues, WorkerId};
use events_sqlx::{PostgresQueueOptions, QueueError};

use super::support::{Fixture, ping, soon};
use crate::cancel::{cancel, cancellations};
use crate::forwarded::{Counter, after_commit, outbox};

/// Commits, each dropped in another way. How many came to their end.
async fn dropped_commits(fixture: &Fixture) -> i64 {
    let mut finished = 0;
    for how in cancellations() {
        if let Some(committed) = cancel(fixture.session().await.commit(), how).await {
            committed.unwrap();
            finished += 1;
        }
    }
    fixture.nothing_open().await;
    finished
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_commit_keeps_effects_and_the_outbox_together() {
    let fixture = Fixture::with(PostgresQueueOptions::new().forward(outbox())).await;
    let finished = dropped_commits(&fixture).await;
    let rows = fixture.count("SELECT coalesce(sum(tasks), 0) FROM events.outbox").await;
    assert_eq!(fixture.effects().await, rows);
    assert!(rows >= finished && finished > 0);
    assert_eq!(fixture.tasks().await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_commit_sends_what_was_committed() {
    let transport = Counter::default();
    let options = PostgresQueueOptions::new().forward(after_commit(&transport));
    let fixture = Fixture::with(options).await;
    let finished = dropped_commits(&fixture).await;
    let all_sent = async {
        while transport.sent() < fixture.effects().await {
            tokio::task::yield_now().await;
        }
    };
    soon(all_sent).await;
    assert_eq!(transport.sent(), fixture.effects().await);
    assert!(transport.sent() >= finished && finished > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_flush_of_a_joined_session_leaves_the_outbox_to_the_owner() {
    let fixture = Fixture::with(PostgresQueueOptions::new().forward(outbox())).await;
    for how in cancellations() {
        let mut owned = fixture.outside.begin().await.unwrap();
        let mut session = fixture.queue.join(&mut owned).await.unwrap();
        ping(&mut session, 1);
        cancel(session.flush(), how).await;
        owned.rollback().await.unwrap();
    }
    assert_eq!(fixture.count("SELECT count(*) FROM events.outbox").await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queue_that_is_forwarded_twice_is_refused_by_name() {
    let fixture = Fixture::new().await;
    let options = PostgresQueueOptions::new().forward(outbox()).forward(outbox());
    let error = options.connect(&fixture.database.url(), &fixture.events).await.unwrap_err();
    assert!(matches!(error, QueueError::Forwarding(_)), "{error:?}");
    assert!(error.to_string().contains("`pings`"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn texts_of_every_kind_arrive_in_the_outbox_as_they_were() {
    let fixture = Fixture::with(
        PostgresQueueOptions::new().forward(Forwarding::outbox(Queues::only(["changes"]))),
    )
    .await;
    let text = "'; DROP TABLE x; -- \\ \\' \" $1 \u{1e} größer 🦀 \u{0}";
    let mut session = fixture.queue.begin().await.unwrap();
    crate::program::change(&mut session, text);
    session.commit().await.unwrap();
    let (relay, lease) = (WorkerId::generate(), Duration::from_secs(15));
    let acquired = fixture.queue.acquire_outbox("default", relay, lease).await.unwrap();
    let Acquired::Held(lease) = acquired else { panic!("{acquired:?}") };
    let read = fixture.queue.read_outbox(&lease, &[], 10).await.unwrap();
    let [row] = read.rows.as_slice() else { panic!("{read:?}") };
    assert_eq!(row.tasks.len(), 2);
    let payload: serde_json::Value = serde_json::from_str(&row.tasks[0].payload).unwrap();
    assert_eq!(payload["text"], text);
}
