//! Sessions, savepoints and joined sessions.

use events_core::Session;
use events_core::lifecycle::Next;
use events_core::{Broker, Queues};
use events_sqlx::QueueError;
use sqlx::Connection;

use crate::sqlite::support::{Errors, Fixture, change, effect, ping};

#[tokio::test]
async fn a_commit_writes_effects_and_one_task_per_subscriber_in_order() {
    let fixture = Fixture::new().await;
    let worker = fixture.worker().await;
    let mut session = fixture.queue.begin().await.unwrap();
    effect(session.connection(), 1).await.unwrap();
    change(&mut session, "é \"quoted\" \u{1F600}\n");
    ping(&mut session, 1);
    ping(&mut session, 2);
    session.commit().await.unwrap();
    let claimed = fixture.claim(worker, 10).await;
    let payloads: Vec<_> = claimed.tasks.iter().map(|lease| &*lease.task.payload).collect();
    assert_eq!(fixture.effects().await, 1);
    assert_eq!(payloads[1..3], [r#"{"count":1}"#, r#"{"count":2}"#]);
    assert_eq!(payloads.len(), 4);
    assert_eq!(payloads[0], payloads[3]);
    assert_eq!(claimed.tasks[0].task.priority, -5);
    assert_eq!(
        events_core::event::decode::<crate::sqlite::support::Changed>(payloads[0]).unwrap().text,
        "é \"quoted\" \u{1F600}\n"
    );
}

#[tokio::test]
async fn what_is_claimed_is_what_was_published_for_one_task_and_for_many() {
    for count in [1, 3] {
        let fixture = Fixture::new().await;
        let worker = fixture.worker().await;
        let mut session = fixture.queue.begin().await.unwrap();
        (0..count).for_each(|count| ping(&mut session, count));
        let published = session.pending_events().as_slice().to_vec();
        session.commit().await.unwrap();
        let claimed = fixture.claim(worker, 10).await;
        for (event, lease) in published.iter().zip(&claimed.tasks) {
            assert_eq!(lease.task.event_id, event.id);
            assert_eq!(lease.task.payload, event.payload);
            assert_eq!(lease.task.event, event.event);
            assert_eq!(lease.task.queue, "pings");
            assert_eq!(lease.task.published_at, event.published_at);
            assert_eq!(lease.attempt, 1);
            assert!(lease.task.name.ends_with("on_ping"));
        }
        assert_eq!(claimed.tasks.len(), published.len());
    }
}

#[tokio::test]
async fn rollback_and_drop_leave_neither_effects_nor_tasks() {
    let fixture = Fixture::new().await;
    for explicit in [true, false] {
        let mut session = fixture.queue.begin().await.unwrap();
        effect(session.connection(), 1).await.unwrap();
        ping(&mut session, 1);
        if explicit {
            session.rollback().await.unwrap();
        } else {
            drop(session);
        }
    }
    // The next session waits until the one before is really gone.
    fixture.publish(2).await;
    assert_eq!((fixture.effects().await, fixture.tasks().await), (0, 1));
}

#[tokio::test]
async fn completing_in_the_transaction_deletes_the_task_with_its_commit() {
    let fixture = Fixture::new().await;
    let worker = fixture.worker().await;
    fixture.publish(1).await;
    let receipt = fixture.claim(worker, 1).await.tasks[0].receipt;
    let transaction = fixture.queue.begin_task(worker, &receipt).await.unwrap().unwrap();
    transaction.rollback().await.unwrap();
    assert_eq!(fixture.tasks().await, 1);
    let mut transaction = fixture.queue.begin_task(worker, &receipt).await.unwrap().unwrap();
    effect(&mut transaction, 1).await.unwrap();
    ping(&mut transaction, 2);
    transaction.commit().await.unwrap();
    assert_eq!((fixture.effects().await, fixture.tasks().await), (1, 1));
    assert!(fixture.queue.begin_task(worker, &receipt).await.unwrap().is_none());
    assert!(!fixture.settle(worker, receipt, 1, Next::Complete).await);
    let next = fixture.queue.claim(worker, &Queues::all(), 5).await.unwrap();
    assert_eq!(&*next.tasks[0].task.payload, r#"{"count":2}"#);
}

#[tokio::test]
async fn savepoints_nest_and_take_their_events_with_them() {
    let fixture = Fixture::new().await;
    let worker = fixture.worker().await;
    let mut session = fixture.queue.begin().await.unwrap();
    ping(&mut session, 1);
    {
        let mut kept = session.savepoint().await.unwrap();
        effect(&mut kept, 1).await.unwrap();
        ping(&mut kept, 2);
        {
            let mut dropped = kept.savepoint().await.unwrap();
            effect(dropped.connection(), 2).await.unwrap();
            ping(&mut dropped, 3);
        }
        let mut rolled_back = kept.savepoint().await.unwrap();
        effect(rolled_back.connection(), 3).await.unwrap();
        ping(&mut rolled_back, 4);
        rolled_back.rollback().await.unwrap();
        let mut inner = kept.savepoint().await.unwrap();
        ping(&mut inner, 5);
        inner.release().await.unwrap();
        kept.release().await.unwrap();
    }
    {
        let mut undone = session.savepoint().await.unwrap();
        let mut released = undone.savepoint().await.unwrap();
        effect(released.connection(), 4).await.unwrap();
        ping(&mut released, 6);
        released.release().await.unwrap();
        undone.rollback().await.unwrap();
    }
    session.commit().await.unwrap();
    let claimed = fixture.claim(worker, 10).await;
    let payloads: Vec<_> =
        claimed.tasks.iter().map(|lease| lease.task.payload.to_string()).collect();
    assert_eq!(payloads, [r#"{"count":1}"#, r#"{"count":2}"#, r#"{"count":5}"#]);
    assert_eq!(fixture.count("SELECT sum(value) FROM effects").await, 1);
}

#[tokio::test]
async fn a_leaked_savepoint_fails_the_commit() {
    let fixture = Fixture::new().await;
    let mut session = fixture.queue.begin().await.unwrap();
    ping(&mut session, 1);
    std::mem::forget(session.savepoint().await.unwrap());
    assert!(matches!(session.commit().await, Err(QueueError::SavepointOpen)));
    fixture.publish(2).await;
    assert_eq!(fixture.tasks().await, 1);
}

#[tokio::test]
async fn a_joined_session_publishes_with_the_transaction_of_its_owner() {
    let fixture = Fixture::new().await;
    for commit in [true, false] {
        let mut owned = fixture.queue.pool().begin_with("BEGIN IMMEDIATE").await.unwrap();
        let mut session = fixture.queue.join(&mut owned).await.unwrap();
        effect(session.connection(), 1).await.unwrap();
        ping(&mut session, 1);
        change(&mut session, "joined");
        session.flush().await.unwrap();
        if commit {
            owned.commit().await.unwrap();
        } else {
            owned.rollback().await.unwrap();
        }
        assert_eq!((fixture.effects().await, fixture.tasks().await), (1, 3));
    }
}

#[tokio::test]
async fn join_asks_sqlite_whether_there_is_a_transaction() {
    let fixture = Fixture::new().await;
    let mut connection = fixture.queue.pool().acquire().await.unwrap();
    let refused = fixture.queue.join(&mut connection).await;
    assert!(matches!(refused, Err(QueueError::NotInTransaction)));
    assert!(refused.unwrap_err().to_string().contains("begin one"));
    // A raw BEGIN that sqlx does not count is one.
    sqlx::query("BEGIN IMMEDIATE").execute(&mut *connection).await.unwrap();
    let mut session = fixture.queue.join(&mut connection).await.unwrap();
    ping(&mut session, 1);
    session.flush().await.unwrap();
    sqlx::query("COMMIT").execute(&mut *connection).await.unwrap();
    assert_eq!(fixture.tasks().await, 1);
    // A transaction that sqlx counts and SQLite has rolled back is none.
    let mut owned = connection.begin().await.unwrap();
    sqlx::query("ROLLBACK").execute(&mut *owned).await.unwrap();
    assert!(matches!(fixture.queue.join(&mut owned).await, Err(QueueError::NotInTransaction)));
}

#[tokio::test]
async fn a_joined_session_writes_nothing_if_its_transaction_is_gone() {
    let fixture = Fixture::new().await;
    let mut owned = fixture.queue.pool().begin_with("BEGIN IMMEDIATE").await.unwrap();
    let mut session = fixture.queue.join(&mut owned).await.unwrap();
    ping(&mut session, 1);
    sqlx::query("ROLLBACK").execute(session.connection()).await.unwrap();
    assert!(matches!(session.flush().await, Err(QueueError::TransactionLost)));
    assert_eq!(fixture.tasks().await, 0);
}

#[tokio::test]
async fn a_joined_session_dropped_without_flush_says_what_is_lost() {
    let fixture = Fixture::new().await;
    let errors = Errors::default();
    let _collecting = tracing::subscriber::set_default(errors.clone());
    let mut owned = fixture.queue.pool().begin_with("BEGIN IMMEDIATE").await.unwrap();
    drop(fixture.queue.join(&mut owned).await.unwrap());
    assert!(errors.logged().is_empty());
    let mut session = fixture.queue.join(&mut owned).await.unwrap();
    ping(&mut session, 1);
    drop(session);
    let logged = errors.logged().join("\n");
    assert!(logged.contains("call flush().await before the commit"), "{logged}");
}
