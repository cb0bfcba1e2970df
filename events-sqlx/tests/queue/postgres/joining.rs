//! Sessions over transactions of others.

use events_core::Broker;
use events_sqlx::{PostgresQueueOptions, QueueError};
use sqlx::Connection;

use super::support::{Fixture, change, effect, ping, soon};

#[tokio::test]
async fn a_joined_session_publishes_with_the_transaction_of_its_owner() {
    let fixture = Fixture::new().await;
    for commit in [true, false] {
        let mut owned = fixture.outside.begin().await.unwrap();
        let mut session = fixture.queue.join(&mut owned).await.unwrap();
        effect(session.connection(), 1).await.unwrap();
        ping(&mut session, 1);
        change(&mut session, "it's \\ joined");
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
async fn join_asks_postgresql_whether_there_is_a_transaction() {
    let fixture = Fixture::new().await;
    let mut connection = fixture.outside.acquire().await.unwrap();
    let refused = fixture.queue.join(&mut connection).await;
    assert!(matches!(refused, Err(QueueError::NotInTransaction)));
    assert!(refused.unwrap_err().to_string().contains("begin one"));
    // A raw BEGIN that sqlx does not count is one.
    sqlx::query("BEGIN").execute(&mut *connection).await.unwrap();
    let mut session = fixture.queue.join(&mut connection).await.unwrap();
    ping(&mut session, 1);
    session.flush().await.unwrap();
    sqlx::query("COMMIT").execute(&mut *connection).await.unwrap();
    assert_eq!(fixture.tasks().await, 1);
    // A transaction that sqlx counts and PostgreSQL has rolled back is none.
    let mut owned = connection.begin().await.unwrap();
    sqlx::query("ROLLBACK").execute(&mut *owned).await.unwrap();
    assert!(matches!(fixture.queue.join(&mut owned).await, Err(QueueError::NotInTransaction)));
    owned.rollback().await.ok();
    // One that an error has spoiled publishes nothing any more.
    let mut owned = connection.begin().await.unwrap();
    sqlx::query("SELECT 1 / 0").execute(&mut *owned).await.unwrap_err();
    assert!(matches!(fixture.queue.join(&mut owned).await, Err(QueueError::TransactionLost)));
}

#[tokio::test]
async fn a_joined_session_writes_nothing_if_its_transaction_is_gone() {
    let fixture = Fixture::new().await;
    for events in [1, 10] {
        for lost in ["ROLLBACK", "COMMIT", "SELECT 1 / 0"] {
            let mut owned = fixture.outside.begin().await.unwrap();
            let mut session = fixture.queue.join(&mut owned).await.unwrap();
            (0..events).for_each(|count| ping(&mut session, count));
            sqlx::raw_sql(lost).execute(session.connection()).await.ok();
            let error = session.flush().await.unwrap_err();
            assert!(matches!(error, QueueError::TransactionLost), "{lost}: {error:?}");
            assert_eq!(fixture.tasks().await, 0);
        }
    }
}

/// Nobody tells the queue of that commit. Its worker hears of the flush, and looks.
#[tokio::test]
async fn an_idle_worker_elsewhere_gets_what_a_joined_session_published() {
    let fixture = Fixture::new().await;
    let elsewhere = fixture.reopened(PostgresQueueOptions::new()).await;
    let worker = fixture.worker().await;
    let mut owned = fixture.outside.begin().await.unwrap();
    let mut session = elsewhere.join(&mut owned).await.unwrap();
    ping(&mut session, 1);
    session.flush().await.unwrap();
    owned.commit().await.unwrap();
    let claimed = async {
        while fixture.claim(worker, 1).await.tasks.is_empty() {
            fixture.queue.wake().await;
        }
    };
    soon(claimed).await;
}
