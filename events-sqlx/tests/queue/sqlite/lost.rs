//! Transactions that end before their commit, and disks that are full.

use std::time::Duration;

use events_core::broker::{Heartbeat, Lease, Settlement};
use events_core::lifecycle::Next;
use events_core::{Admin, Broker, BrokerError, Queues};
use events_sqlx::{QueueError, SqliteQueue};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode};
use sqlx::{AssertSqlSafe, SqliteConnection, SqlitePool};

use crate::sqlite::support::{Fixture, change, effect, ping};

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

/// A queue in the fixture's file, none of whose connections, its own neither, may make the database
/// grow by more than so many pages.
async fn limited(fixture: &Fixture, pages: i64) -> SqliteQueue {
    let options = SqliteConnectOptions::new()
        .filename(fixture.path())
        .journal_mode(SqliteJournalMode::Wal)
        .busy_timeout(Duration::from_secs(5))
        .pragma("max_page_count", (fixture.count("PRAGMA page_count").await + pages).to_string());
    let pool = SqlitePool::connect_with(options).await.unwrap();
    SqliteQueue::with_pool(pool, &fixture.events).await.unwrap()
}

/// Publishes until there is no room left. Returns how many commits there was room for.
async fn fill(queue: &SqliteQueue) -> (i64, QueueError) {
    let mut committed = 0;
    loop {
        let mut session = queue.begin().await.unwrap();
        effect(session.connection(), 1).await.unwrap();
        change(&mut session, &"x".repeat(20_000));
        match session.commit().await {
            Ok(()) => committed += 1,
            Err(error) => return (committed, error),
        }
    }
}

#[tokio::test]
async fn a_full_disk_at_the_commit_loses_nothing_and_says_so() {
    let fixture = Fixture::new().await;
    let (committed, error) = fill(&limited(&fixture, 30).await).await;
    assert!(error.is_disk_full() && !error.is_busy());
    assert!(error.to_string().contains("make room"));
    assert!(committed > 0);
    assert_eq!((fixture.effects().await, fixture.tasks().await), (committed, 2 * committed));
    fixture.publish(1).await;
    assert_eq!(fixture.tasks().await, 2 * committed + 1);
}

fn assert_disk_full(error: &BrokerError) {
    let cause = std::error::Error::source(error).unwrap().downcast_ref::<QueueError>().unwrap();
    assert!(cause.is_disk_full(), "{cause:?}");
}

#[tokio::test]
async fn a_worker_drains_a_full_disk_and_what_needs_room_waits_for_it() {
    let fixture = Fixture::new().await;
    let worker = fixture.worker().await;
    let queue = limited(&fixture, 400).await;
    for _ in 0..10 {
        let mut session = queue.begin().await.unwrap();
        change(&mut session, &"x".repeat(20_000));
        session.commit().await.unwrap();
    }
    let leases = fixture.claim(worker, 1000).await.tasks;
    let settlements = |next: Next| -> Vec<_> {
        let each = leases.iter().map(|lease| (lease.receipt, lease.attempt));
        each.map(|(receipt, attempt)| Settlement { receipt, attempt, next: next.clone() }).collect()
    };
    let committed = fill(&queue).await.0;
    // So many rows cannot grow without a page more. They stay where they are.
    assert_disk_full(&queue.claim(worker, &Queues::all(), 1000).await.unwrap_err());
    let retry = Next::Retry { after: Duration::ZERO, error: "x".repeat(4096) };
    let retries = settlements(retry);
    assert_disk_full(&queue.settle(worker, &retries).await.unwrap_err());
    let counts = queue.counts().await.unwrap();
    assert_eq!((counts.running, counts.available), (20, 2 * committed.unsigned_abs()));
    // Completing needs no room, and makes some.
    assert_eq!(queue.heartbeat(worker).await.unwrap(), Heartbeat::Alive);
    let completions = settlements(Next::Complete);
    assert_eq!(queue.settle(worker, &completions[..10]).await.unwrap(), [true; 10]);
    assert_eq!(queue.settle(worker, &retries[10..]).await.unwrap(), [true; 10]);
    let rest = queue.claim(worker, &Queues::all(), 1000).await.unwrap().tasks;
    assert_eq!(rest.len(), usize::try_from(2 * committed + 10).unwrap());
    let complete =
        |Lease { receipt, attempt, .. }| Settlement { receipt, attempt, next: Next::Complete };
    let settlements: Vec<_> = rest.into_iter().map(complete).collect();
    let settled = queue.settle(worker, &settlements).await.unwrap();
    assert_eq!(settled, vec![true; settlements.len()]);
    assert_eq!((fixture.effects().await, fixture.tasks().await), (committed, 0));
}
