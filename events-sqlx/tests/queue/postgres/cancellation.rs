//! Futures that are dropped at every await.

use std::time::Duration;

use events_core::broker::{Claimed, WorkerInfo};
use events_core::lifecycle::Next;
use events_core::{Broker, Queues, WorkerId};
use events_sqlx::{PostgresQueue, PostgresQueueOptions};
use sqlx::Connection;

use super::support::{Fixture, effect, ping, soon, until};
use super::wire::Wire;
use crate::cancel::{cancel, cancellations};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_begin_leaves_no_transaction_open() {
    let fixture = Fixture::with(PostgresQueueOptions::new().max_connections(1)).await;
    for how in cancellations() {
        if let Some(session) = cancel(fixture.queue.begin(), how).await {
            drop(session.unwrap());
        }
        let mut connection = fixture.queue.pool().acquire().await.unwrap();
        // Outside a transaction block that is refused.
        let open = sqlx::raw_sql("SAVEPOINT open").execute(&mut *connection).await;
        assert!(open.is_err(), "{how:?}");
    }
    fixture.nothing_open().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_commit_keeps_effects_and_events_together() {
    let fixture = Fixture::new().await;
    let mut finished = 0;
    for how in cancellations() {
        if let Some(committed) = cancel(fixture.session().await.commit(), how).await {
            committed.unwrap();
            finished += 1;
        }
    }
    fixture.nothing_open().await;
    assert_eq!(fixture.effects().await, fixture.tasks().await);
    assert!(fixture.tasks().await >= finished && finished > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_rollback_rolls_back() {
    let fixture = Fixture::new().await;
    for how in cancellations() {
        cancel(fixture.session().await.rollback(), how).await;
    }
    fixture.nothing_open().await;
    assert_eq!((fixture.effects().await, fixture.tasks().await), (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_savepoint_leaves_the_transaction_as_it_was() {
    let fixture = Fixture::new().await;
    let mut commits = 0;
    for how in cancellations() {
        let mut session = fixture.session().await;
        if let Some(savepoint) = cancel(session.savepoint(), how).await {
            drop(savepoint.unwrap());
        }
        // Should sqlx count a savepoint that is not there, that is an error; never half a commit.
        commits += i64::from(session.commit().await.is_ok());
    }
    assert!(commits > 0);
    fixture.nothing_open().await;
    assert_eq!((fixture.effects().await, fixture.tasks().await), (commits, commits));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_release_keeps_or_undoes_effects_and_events_together() {
    let fixture = Fixture::new().await;
    let mut commits = 0;
    for (how, release) in cancellations().flat_map(|how| [(how, true), (how, false)]) {
        let mut session = fixture.queue.begin().await.unwrap();
        let mut savepoint = session.savepoint().await.unwrap();
        effect(savepoint.connection(), 1).await.unwrap();
        ping(&mut savepoint, 1);
        if release {
            cancel(savepoint.release(), how).await;
        } else {
            cancel(savepoint.rollback(), how).await;
        }
        commits += usize::from(session.commit().await.is_ok());
    }
    assert!(commits > 0);
    fixture.nothing_open().await;
    assert_eq!(fixture.effects().await, fixture.tasks().await);
    assert!(fixture.tasks().await > 0);
}

/// The hole in sqlx 0.9.0: a nested `begin` whose future is dropped.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_sqlx_savepoint_cannot_separate_events_from_effects() {
    let fixture = Fixture::new().await;
    for how in cancellations() {
        let mut session = fixture.session().await;
        cancel(session.connection().begin(), how).await;
        let published = session.commit().await.is_ok();
        let tasks = fixture.tasks().await;
        assert_eq!(fixture.effects().await, tasks, "{how:?}, published: {published}");
    }
    fixture.nothing_open().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_flush_of_a_joined_session_leaves_the_transaction_to_its_owner() {
    let fixture = Fixture::new().await;
    for how in cancellations() {
        let mut owned = fixture.outside.begin().await.unwrap();
        if let Some(session) = cancel(fixture.queue.join(&mut owned), how).await {
            let mut session = session.unwrap();
            effect(session.connection(), 1).await.unwrap();
            ping(&mut session, 1);
            cancel(session.flush(), how).await;
        }
        owned.rollback().await.unwrap();
    }
    assert_eq!((fixture.effects().await, fixture.tasks().await), (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_claim_gives_its_tasks_back_without_spending_an_attempt() {
    let fixture = Fixture::new().await;
    let worker = fixture.worker().await;
    fixture.publish(1).await;
    for how in cancellations() {
        let queues = Queues::all();
        let claimed = cancel(fixture.queue.claim(worker, &queues, 1), how).await;
        let mut claimed =
            claimed.map_or(Claimed { tasks: Vec::new(), next_due: None }, Result::unwrap);
        // The server may do what was cut off only now, or may have done it before this claim came,
        // which then finds nothing: a heartbeat gives it back.
        while claimed.tasks.is_empty() {
            fixture.queue.heartbeat(worker).await.unwrap();
            claimed = fixture.claim(worker, 1).await;
        }
        let lease = &claimed.tasks[0];
        assert_eq!(lease.attempt, 1, "{how:?}");
        let after = Duration::ZERO;
        assert!(fixture.settle(worker, lease.receipt, 1, Next::Release { after }).await);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_begin_task_leaves_the_task_leased() {
    let fixture = Fixture::new().await;
    let worker = fixture.worker().await;
    fixture.publish(1).await;
    let receipt = fixture.claim(worker, 1).await.tasks[0].receipt;
    for how in cancellations() {
        if let Some(begun) = cancel(fixture.queue.begin_task(worker, &receipt), how).await {
            assert!(begun.unwrap().is_some());
        }
    }
    assert!(fixture.settle(worker, receipt, 1, Next::Complete).await);
    fixture.nothing_open().await;
}

/// A queue with one connection for sessions, whose answers can be held.
async fn wired(fixture: &Fixture) -> (Wire, PostgresQueue) {
    let wire = Wire::to(&fixture.database).await;
    let options = PostgresQueueOptions::new().max_connections(1);
    let queue = options.connect(&wire.url(), &fixture.events).await.unwrap();
    queue.begin().await.unwrap().commit().await.unwrap();
    (wire, queue)
}

/// Drops the future when the server has answered so many times and one answer more is held: done is
/// what was asked for, and nobody learns it. Whether it came to its end before.
async fn drop_after<F: Future>(wire: &Wire, answers: u64, future: F) -> Option<F::Output> {
    wire.hold_after(answers).await;
    let output = tokio::select! {
        output = future => Some(output),
        () = wire.holds() => None,
    };
    wire.let_go();
    output
}

#[tokio::test]
async fn a_begin_dropped_before_its_answer_leaves_no_transaction_open() {
    let fixture = Fixture::new().await;
    let (wire, queue) = wired(&fixture).await;
    wire.hold_after(0).await;
    tokio::select! {
        _ = queue.begin() => panic!("it was answered"),
        () = until("the server has begun", async || fixture.idle_in_transaction().await == 1) => {}
    }
    wire.let_go();
    fixture.nothing_open().await;
    soon(queue.begin()).await.unwrap().commit().await.unwrap();
}

#[tokio::test]
async fn a_commit_dropped_before_its_answer_has_published() {
    let fixture = Fixture::new().await;
    let (wire, queue) = wired(&fixture).await;
    let mut session = queue.begin().await.unwrap();
    effect(session.connection(), 1).await.unwrap();
    ping(&mut session, 1);
    assert!(drop_after(&wire, 0, session.commit()).await.is_none());
    assert_eq!((fixture.effects().await, fixture.tasks().await), (1, 1));
    fixture.nothing_open().await;
    soon(queue.begin()).await.unwrap().commit().await.unwrap();
}

#[tokio::test]
async fn a_claim_dropped_before_any_of_its_answers_gives_its_tasks_back() {
    let fixture = Fixture::new().await;
    let (wire, queue) = wired(&fixture).await;
    let worker = WorkerId::generate();
    queue.register(worker, &WorkerInfo::new(Queues::all(), 1)).await.unwrap();
    fixture.publish(1).await;
    fixture.publish(2).await;
    for answers in 0.. {
        let queues = Queues::all();
        let claimed = drop_after(&wire, answers, queue.claim(worker, &queues, 10)).await;
        if let Some(claimed) = claimed {
            assert_eq!(claimed.unwrap().tasks.len(), 2);
            assert!(answers > 0, "there was an answer to drop it before");
            break;
        }
        let back = "SELECT count(*) FROM events.tasks WHERE leased_by IS NULL AND attempt = 0";
        until("both tasks are back", async || fixture.count(back).await == 2).await;
    }
}

#[tokio::test]
async fn a_release_dropped_before_its_last_answer_fails_the_commit() {
    let fixture = Fixture::new().await;
    let (wire, queue) = wired(&fixture).await;
    let mut session = queue.begin().await.unwrap();
    let mut savepoint = session.savepoint().await.unwrap();
    effect(savepoint.connection(), 1).await.unwrap();
    ping(&mut savepoint, 1);
    // The first answer is that the connection is there.
    assert!(drop_after(&wire, 1, savepoint.release()).await.is_none());
    let error = soon(session.commit()).await.unwrap_err();
    assert!(error.to_string().contains("cancelled"), "{error}");
    fixture.nothing_open().await;
    assert_eq!((fixture.effects().await, fixture.tasks().await), (0, 0));
}
