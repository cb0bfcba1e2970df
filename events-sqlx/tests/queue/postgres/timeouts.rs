//! Statements that hang, and connections whose other end is gone without a word.

use std::time::Duration;

use events_core::broker::{Heartbeat, Settlement, WorkerInfo};
use events_core::lifecycle::Next;
use events_core::{Broker, BrokerError, Queues, WorkerId};
use events_sqlx::{PostgresQueue, PostgresQueueOptions};
use futures_util::future::join_all;

use super::support::{Fixture, soon, until};
use super::wire::Wire;

/// Short, because these tests wait for it.
fn impatient() -> PostgresQueueOptions {
    PostgresQueueOptions::new().statement_timeout(Duration::from_millis(300))
}

fn texts(error: &BrokerError) -> String {
    let mut texts = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        texts.push_str(": ");
        texts.push_str(&error.to_string());
        cause = error.source();
    }
    texts
}

#[tokio::test]
async fn a_lock_on_the_tables_fails_what_the_worker_does_in_time_and_it_goes_on_afterwards() {
    let fixture = Fixture::with(impatient()).await;
    let worker = fixture.worker().await;
    fixture.publish(1).await;
    let receipt = fixture.claim(worker, 1).await.tasks[0].receipt;
    fixture.publish(2).await;
    let mut locking = fixture.outside.begin().await.unwrap();
    sqlx::raw_sql("LOCK TABLE events.tasks, events.workers").execute(&mut *locking).await.unwrap();
    let complete = [Settlement { receipt, attempt: 1, next: Next::Complete }];
    let errors = [
        soon(fixture.queue.claim(worker, &Queues::all(), 1)).await.unwrap_err(),
        soon(fixture.queue.heartbeat(worker)).await.unwrap_err(),
        soon(fixture.queue.rescue(worker, Duration::from_secs(15))).await.unwrap_err(),
        soon(fixture.queue.settle(worker, &complete)).await.unwrap_err(),
    ];
    for error in &errors {
        assert!(texts(error).contains("look in pg_stat_activity"), "{}", texts(error));
    }
    locking.rollback().await.unwrap();
    assert_eq!(fixture.queue.heartbeat(worker).await.unwrap(), Heartbeat::Alive);
    assert_eq!(fixture.queue.settle(worker, &complete).await.unwrap(), [true]);
    assert_eq!(fixture.claim(worker, 1).await.tasks.len(), 1);
}

/// A handler may take as long as it wants, and wait for others.
#[tokio::test]
async fn a_session_is_not_limited_by_the_queue_s_own_timeout() {
    let fixture = Fixture::with(impatient()).await;
    let mut session = fixture.session().await;
    sqlx::raw_sql("SELECT pg_sleep(0.7)").execute(session.connection()).await.unwrap();
    session.commit().await.unwrap();
    assert_eq!(fixture.tasks().await, 1);
}

async fn beats(queue: &PostgresQueue, worker: WorkerId) -> bool {
    soon(queue.heartbeat(worker)).await.is_ok_and(|answer| answer == Heartbeat::Alive)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_whose_other_end_is_gone_are_replaced() {
    let fixture = Fixture::new().await;
    let wire = Wire::to(&fixture.database).await;
    let queue = impatient().connect(&wire.url(), &fixture.events).await.unwrap();
    let worker = WorkerId::generate();
    queue.register(worker, &WorkerInfo::new(Queues::all(), 1)).await.unwrap();
    fixture.publish(1).await;
    for _ in 0..3 {
        // As many as the queue keeps for itself, or more.
        assert!(join_all((0..8).map(|_| beats(&queue, worker))).await.into_iter().all(|it| it));
        wire.cut();
        join_all((0..8).map(|_| beats(&queue, worker))).await;
        until("heartbeats are written again", async || beats(&queue, worker).await).await;
    }
    assert_eq!(queue.claim(worker, &Queues::all(), 1).await.unwrap().tasks.len(), 1);
}

/// The pool asks it when it comes back, and would wait for ever.
#[tokio::test]
async fn a_session_s_connection_whose_other_end_is_gone_gives_its_place_to_another() {
    let fixture = Fixture::new().await;
    let wire = Wire::to(&fixture.database).await;
    let queue = impatient().max_connections(1).connect(&wire.url(), &fixture.events).await.unwrap();
    let session = queue.begin().await.unwrap();
    wire.hold_after(1).await;
    session.commit().await.unwrap();
    wire.holds().await;
    wire.cut();
    wire.let_go();
    queue.begin().await.unwrap().commit().await.unwrap();
}

#[tokio::test]
async fn a_claim_whose_answer_never_comes_leaves_no_task_leased_for_ever() {
    let fixture = Fixture::new().await;
    let wire = Wire::to(&fixture.database).await;
    let queue = impatient().connect(&wire.url(), &fixture.events).await.unwrap();
    let worker = WorkerId::generate();
    queue.register(worker, &WorkerInfo::new(Queues::all(), 1)).await.unwrap();
    wire.quiet().await;
    // So that the statement is prepared on every connection that there is.
    let all = Queues::all();
    for _ in 0..3 {
        let claims = (0..8).map(|_| queue.claim(worker, &all, 10));
        let claims = join_all(claims).await;
        assert!(claims.into_iter().all(|claimed| claimed.unwrap().tasks.is_empty()));
    }
    fixture.publish(1).await;
    wire.quiet().await; // the connection is on its way back to its pool
    wire.hold_after(0).await;
    let error = soon(queue.claim(worker, &Queues::all(), 1)).await.unwrap_err();
    assert!(texts(&error).contains("the database did not answer within"), "{}", texts(&error));
    let leased = "SELECT count(*) FROM events.tasks WHERE leased_by IS NOT NULL";
    assert_eq!(fixture.count(leased).await, 1);
    wire.cut();
    wire.let_go();
    until("a heartbeat is written", async || beats(&queue, worker).await).await;
    until("the task is back", async || fixture.count(leased).await == 0).await;
    let again = queue.claim(worker, &Queues::all(), 1).await.unwrap().tasks.remove(0);
    assert_eq!(again.attempt, 1);
}
