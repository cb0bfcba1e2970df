//! Transactions that end before their commit.

use events_sqlx::{PostgresQueueOptions, QueueError};
use sqlx::AssertSqlSafe;

use super::support::{Fixture, effect, ping};

const EVENTS: [u32; 3] = [0, 1, 10];

#[tokio::test]
async fn an_error_that_the_program_ignored_makes_the_commit_an_error() {
    let fixture = Fixture::with(PostgresQueueOptions::new().max_connections(1)).await;
    for events in EVENTS {
        let mut session = fixture.queue.begin().await.unwrap();
        (0..events).for_each(|count| ping(&mut session, count));
        effect(session.connection(), 1).await.unwrap();
        sqlx::query("SELECT 1 / 0").execute(session.connection()).await.unwrap_err();
        let error = session.commit().await.unwrap_err();
        assert!(matches!(error, QueueError::TransactionLost), "{events} events: {error:?}");
        assert!(error.to_string().contains("look for the first error"), "{error}");
    }
    assert_eq!((fixture.effects().await, fixture.tasks().await), (0, 0));
    fixture.session().await.commit().await.unwrap();
}

#[tokio::test]
async fn a_transaction_that_a_statement_of_the_program_ended_publishes_nothing() {
    let fixture = Fixture::with(PostgresQueueOptions::new().max_connections(1)).await;
    for events in EVENTS {
        for end in ["COMMIT", "ROLLBACK", "SELECT 1; COMMIT", "PREPARE TRANSACTION 'x'"] {
            let mut session = fixture.queue.begin().await.unwrap();
            (0..events).for_each(|count| ping(&mut session, count));
            // Whether that is allowed, the server's settings say; it ends the transaction anyway.
            sqlx::raw_sql(AssertSqlSafe(end)).execute(session.connection()).await.ok();
            let error = session.commit().await.unwrap_err();
            assert!(matches!(error, QueueError::TransactionLost), "{end}: {error:?}");
            assert_eq!(fixture.tasks().await, 0, "{end}");
        }
    }
    fixture.publish(1).await;
    assert_eq!(fixture.tasks().await, 1);
    fixture.nothing_open().await;
}

#[tokio::test]
async fn rolling_back_what_was_rolled_back_before_is_no_error() {
    let fixture = Fixture::with(PostgresQueueOptions::new().max_connections(1)).await;
    for lost in ["ROLLBACK", "SELECT 1 / 0"] {
        let mut session = fixture.session().await;
        sqlx::raw_sql(lost).execute(session.connection()).await.ok();
        session.rollback().await.unwrap();
    }
    fixture.session().await.commit().await.unwrap();
    assert_eq!((fixture.effects().await, fixture.tasks().await), (1, 1));
}

#[tokio::test]
async fn a_savepoint_of_a_lost_transaction_is_an_error() {
    let fixture = Fixture::with(PostgresQueueOptions::new().max_connections(1)).await;
    let mut session = fixture.session().await;
    let mut savepoint = session.savepoint().await.unwrap();
    ping(&mut savepoint, 2);
    sqlx::raw_sql("ROLLBACK").execute(savepoint.connection()).await.unwrap();
    savepoint.release().await.unwrap_err();
    session.commit().await.unwrap_err();
    assert_eq!((fixture.effects().await, fixture.tasks().await), (0, 0));
    fixture.publish(1).await;
}

#[tokio::test]
async fn a_savepoint_that_an_error_has_spoiled_cannot_be_released_and_is_undone_alone() {
    let fixture = Fixture::new().await;
    let mut session = fixture.session().await;
    let mut savepoint = session.savepoint().await.unwrap();
    effect(savepoint.connection(), 2).await.unwrap();
    ping(&mut savepoint, 2);
    sqlx::raw_sql("SELECT 1 / 0").execute(savepoint.connection()).await.unwrap_err();
    savepoint.release().await.unwrap_err();
    session.commit().await.unwrap();
    assert_eq!((fixture.effects().await, fixture.tasks().await), (1, 1));
}

/// Nobody can tell the program whether that commit took place; the database can, and both or
/// neither are there.
#[tokio::test]
async fn a_connection_that_dies_before_the_commit_takes_effects_and_events_along() {
    let fixture = Fixture::new().await;
    let session = fixture.session().await;
    fixture.terminate_all().await;
    session.commit().await.unwrap_err();
    assert_eq!((fixture.effects().await, fixture.tasks().await), (0, 0));
    fixture.session().await.commit().await.unwrap();
    assert_eq!((fixture.effects().await, fixture.tasks().await), (1, 1));
}
