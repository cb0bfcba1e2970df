//! Tasks that complete in an open transaction, and workers that are gone meanwhile.

use std::time::Duration;

use events_core::broker::{Settlement, TaskTransaction};
use events_core::lifecycle::Next;
use events_core::{Broker, WorkerId};
use events_sqlx::{EventTransaction, PostgresReceipt};
use sqlx::{AssertSqlSafe, Postgres};

use super::support::{Fixture, effect};

const LEASE: Duration = Duration::from_secs(15);

struct Handling {
    alive: WorkerId,
    receipt: PostgresReceipt,
    transaction: EventTransaction<Postgres>,
}

impl Fixture {
    /// A task completes in a transaction, whose worker is gone; another lives.
    async fn handling(&self) -> Handling {
        let (gone, alive) = (self.worker().await, self.worker().await);
        self.publish(1).await;
        let receipt = self.claim(gone, 1).await.tasks[0].receipt;
        let mut transaction = self.queue.begin_task(gone, &receipt).await.unwrap().unwrap();
        effect(transaction.connection(), 1).await.unwrap();
        self.queue.deregister(gone).await.unwrap();
        Handling { alive, receipt, transaction }
    }
}

#[tokio::test]
async fn a_task_is_protected_from_rescue_while_its_transaction_lives() {
    let fixture = Fixture::new().await;
    let Handling { alive, transaction, .. } = fixture.handling().await;
    assert!(fixture.queue.rescue(alive, LEASE).await.unwrap().is_empty());
    assert_eq!(fixture.queue.health().await.unwrap().held_by_transactions, 1);
    transaction.commit_task().await.unwrap();
    assert!(fixture.queue.rescue(alive, LEASE).await.unwrap().is_empty());
    assert_eq!(fixture.queue.health().await.unwrap().held_by_transactions, 0);
    assert_eq!((fixture.effects().await, fixture.tasks().await), (1, 0));
}

#[tokio::test]
async fn a_task_is_rescued_as_soon_as_the_connection_of_its_transaction_is_gone() {
    let fixture = Fixture::new().await;
    let Handling { alive, receipt, mut transaction } = fixture.handling().await;
    let pid: i32 = sqlx::query_scalar("SELECT pg_backend_pid()")
        .fetch_one(transaction.connection())
        .await
        .unwrap();
    let terminate = format!("SELECT pg_terminate_backend({pid}, 10000)");
    sqlx::query(AssertSqlSafe(terminate)).execute(&fixture.outside).await.unwrap();
    assert_eq!(fixture.queue.rescue(alive, LEASE).await.unwrap().len(), 1);
    transaction.commit_task().await.unwrap_err();
    assert_eq!((fixture.effects().await, fixture.tasks().await), (0, 1));
    let again = fixture.claim(alive, 1).await.tasks.remove(0);
    assert_eq!(again.attempt, 2);
    assert_ne!(again.receipt, receipt);
    assert!(fixture.settle(alive, again.receipt, 2, Next::Complete).await);
}

#[tokio::test]
async fn a_task_whose_transaction_rolls_back_is_rescued_afterwards() {
    let fixture = Fixture::new().await;
    let Handling { alive, transaction, .. } = fixture.handling().await;
    transaction.rollback_task().await.unwrap();
    fixture.nothing_open().await;
    assert_eq!(fixture.queue.rescue(alive, LEASE).await.unwrap().len(), 1);
    assert_eq!((fixture.effects().await, fixture.tasks().await), (0, 1));
}

/// Two may begin to complete the same task: the newer claim waits for none.
#[tokio::test]
async fn a_receipt_of_before_a_rescue_begins_nothing() {
    let fixture = Fixture::new().await;
    let Handling { alive, receipt, transaction } = fixture.handling().await;
    drop(transaction);
    fixture.nothing_open().await;
    assert_eq!(fixture.queue.rescue(alive, LEASE).await.unwrap().len(), 1);
    let again = fixture.claim(alive, 1).await.tasks.remove(0);
    assert!(fixture.queue.begin_task(alive, &receipt).await.unwrap().is_none());
    let transaction = fixture.queue.begin_task(alive, &again.receipt).await.unwrap();
    transaction.unwrap().commit_task().await.unwrap();
    assert_eq!(fixture.tasks().await, 0);
}

/// As a process does that is stopped in the middle of something.
#[tokio::test]
async fn rows_that_somebody_else_has_locked_hold_up_no_rescue() {
    let fixture = Fixture::new().await;
    let (gone, alive) = (fixture.worker().await, fixture.worker().await);
    for count in 0..3 {
        fixture.publish(count).await;
    }
    assert_eq!(fixture.claim(gone, 3).await.tasks.len(), 3);
    fixture.queue.deregister(gone).await.unwrap();
    let mut holder = fixture.outside.begin().await.unwrap();
    let lock = "SELECT 1 FROM events.tasks ORDER BY seq LIMIT 1 FOR UPDATE";
    sqlx::query(lock).execute(&mut *holder).await.unwrap();
    assert_eq!(fixture.queue.rescue(alive, LEASE).await.unwrap().len(), 2);
    holder.rollback().await.unwrap();
    assert_eq!(fixture.queue.rescue(alive, LEASE).await.unwrap().len(), 1);
    assert_eq!(fixture.claim(alive, 3).await.tasks.len(), 3);
}

#[tokio::test]
async fn a_task_that_somebody_else_has_locked_is_not_asked_for_without_a_pause() {
    let fixture = Fixture::new().await;
    let worker = fixture.worker().await;
    fixture.publish(1).await;
    // As an operator who deletes tasks, and has not committed yet.
    let mut operator = fixture.outside.begin().await.unwrap();
    sqlx::query("SELECT 1 FROM events.tasks FOR UPDATE").execute(&mut *operator).await.unwrap();
    let claimed = fixture.claim(worker, 10).await;
    assert!(claimed.tasks.is_empty());
    let again = claimed.next_due.expect("the task is there");
    assert!(again > fixture.events.now(), "{again:?}");
    operator.rollback().await.unwrap();
    fixture.clock.advance(Duration::from_secs(1));
    assert_eq!(fixture.claim(worker, 10).await.tasks.len(), 1);
}

#[tokio::test]
async fn outcomes_of_two_claims_of_one_task_are_not_taken_for_each_other() {
    let fixture = Fixture::new().await;
    let worker = fixture.worker().await;
    fixture.publish(1).await;
    let before = fixture.claim(worker, 1).await.tasks.remove(0);
    let release = Next::Release { after: Duration::ZERO };
    assert!(fixture.settle(worker, before.receipt, before.attempt, release).await);
    let held = fixture.claim(worker, 1).await.tasks.remove(0);
    let retry = |receipt, after| Settlement {
        receipt,
        attempt: 1,
        next: Next::Retry { after, error: "it broke".into() },
    };
    let outcomes =
        [retry(before.receipt, Duration::from_hours(1)), retry(held.receipt, Duration::ZERO)];
    assert_eq!(fixture.queue.settle(worker, &outcomes).await.unwrap(), [false, true]);
    assert_eq!(fixture.claim(worker, 1).await.tasks.len(), 1, "it is due at once");
}
