//! Transactions that end before their commit, and disks that are full.

use events_core::Queues;
use events_core::{Admin, Broker};
use events_sqlx::{QueueError, SqliteQueueOptions};
use sqlx::{AssertSqlSafe, SqliteConnection};

use crate::support::{Fixture, change, effect, ping};

async fn send(connection: &mut SqliteConnection, sql: &'static str) {
    sqlx::raw_sql(sql).execute(connection).await.unwrap();
}

#[tokio::test]
async fn a_transaction_that_a_statement_ended_publishes_nothing() {
    let fixture = Fixture::new().await;
    // More often than the pool has connections: none of them may stay spoiled.
    for _ in 0..5 {
        for end in ["ROLLBACK", "COMMIT", "ROLLBACK; BEGIN IMMEDIATE", "COMMIT; BEGIN"] {
            for publish in [true, false] {
                let mut session = fixture.queue.begin().await.unwrap();
                if publish {
                    ping(&mut session, 1);
                    ping(&mut session, 2);
                }
                send(session.connection(), end).await;
                assert!(
                    matches!(session.commit().await, Err(QueueError::TransactionLost)),
                    "{end}"
                );
            }
        }
    }
    assert_eq!(fixture.tasks().await, 0);
    fixture.publish(1).await;
    assert_eq!(fixture.tasks().await, 1);
}

#[tokio::test]
async fn rolling_back_what_was_rolled_back_before_is_no_error() {
    let fixture = Fixture::new().await;
    let mut session = fixture.queue.begin().await.unwrap();
    send(session.connection(), "ROLLBACK").await;
    session.rollback().await.unwrap();
    fixture.publish(1).await;
}

#[tokio::test]
async fn a_savepoint_of_a_lost_transaction_is_an_error() {
    let fixture = Fixture::new().await;
    let mut session = fixture.queue.begin().await.unwrap();
    let mut savepoint = session.savepoint().await.unwrap();
    ping(&mut savepoint, 1);
    send(savepoint.connection(), "ROLLBACK").await;
    assert!(savepoint.release().await.is_err());
    assert!(matches!(session.commit().await, Err(QueueError::TransactionLost)));
    assert_eq!(fixture.tasks().await, 0);
    fixture.publish(1).await;
}

/// Makes the connection's database grow by no more than so many pages.
async fn limit(connection: &mut SqliteConnection, pages: i64) {
    let count: i64 =
        sqlx::query_scalar("PRAGMA page_count").fetch_one(&mut *connection).await.unwrap();
    let pragma = AssertSqlSafe(format!("PRAGMA max_page_count = {}", count + pages));
    sqlx::raw_sql(pragma).execute(connection).await.unwrap();
}

#[tokio::test]
async fn a_full_disk_in_a_transaction_that_ignores_it_publishes_nothing() {
    for rows in ["SELECT zeroblob(100000)", "SELECT zeroblob(100000) UNION ALL SELECT 1"] {
        let fixture = Fixture::new().await;
        sqlx::query("CREATE TABLE large (data BLOB)").execute(fixture.queue.pool()).await.unwrap();
        let mut session = fixture.queue.begin().await.unwrap();
        effect(session.connection(), 1).await.unwrap();
        ping(&mut session, 1);
        limit(session.connection(), 3).await;
        let sql = AssertSqlSafe(format!("INSERT INTO large {rows}"));
        assert!(sqlx::query(sql).execute(session.connection()).await.is_err());
        // The program goes on as if nothing had happened. The first effect may be gone by now.
        let published = session.commit().await;
        let expected = i64::from(published.is_ok());
        assert_eq!(
            (fixture.effects().await, fixture.tasks().await),
            (expected, expected),
            "{rows}"
        );
    }
}

#[tokio::test]
async fn sqlite_rolls_back_by_itself_when_the_disk_is_full_and_the_commit_says_so() {
    let fixture = Fixture::new().await;
    sqlx::query("CREATE TABLE large (data BLOB)").execute(fixture.queue.pool()).await.unwrap();
    let mut session = fixture.queue.begin().await.unwrap();
    ping(&mut session, 1);
    limit(session.connection(), 0).await;
    let full = sqlx::query("INSERT INTO large VALUES (zeroblob(100000))");
    assert!(full.execute(session.connection()).await.is_err());
    // Written alone, in a transaction of its own: nobody can undo that.
    effect(session.connection(), 1).await.unwrap();
    assert!(matches!(session.commit().await, Err(QueueError::TransactionLost)));
    assert_eq!((fixture.effects().await, fixture.tasks().await), (1, 0));
}

#[tokio::test]
async fn a_full_disk_at_the_commit_loses_nothing_and_says_so() {
    let fixture = Fixture::new().await;
    let options = SqliteQueueOptions::new().max_connections(1);
    let queue = options.open(fixture.path(), &fixture.events).await.unwrap();
    limit(&mut queue.pool().acquire().await.unwrap(), 30).await;
    let mut committed = 0;
    let error = loop {
        let mut session = queue.begin().await.unwrap();
        effect(session.connection(), 1).await.unwrap();
        change(&mut session, &"x".repeat(20_000));
        match session.commit().await {
            Ok(()) => committed += 1,
            Err(error) => break error,
        }
    };
    assert!(error.is_disk_full() && !error.is_busy());
    assert!(error.to_string().contains("make room"));
    assert!(committed > 0);
    assert_eq!((fixture.effects().await, fixture.tasks().await), (committed, 2 * committed));
    // Draining needs no room to speak of, and with room everything goes on.
    let worker = fixture.worker().await;
    let claimed = queue.claim(worker, &Queues::all(), 1000).await.unwrap();
    assert_eq!(claimed.tasks.len(), usize::try_from(2 * committed).unwrap());
    fixture.publish(1).await;
    assert_eq!(queue.counts().await.unwrap().available, 1);
}
