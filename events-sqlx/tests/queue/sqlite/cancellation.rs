//! Futures that are dropped at every await.

use std::pin::pin;

use events_core::lifecycle::Next;
use events_core::{Broker, Queues};
use futures_util::FutureExt;
use sqlx::Connection;

use crate::cancel::{cancel, cancellations};
use crate::sqlite::support::{Fixture, effect, ping};

/// No connection of the pool has a transaction open, and neither has anybody else.
async fn assert_nothing_open(fixture: &Fixture) {
    let pool = fixture.queue.pool();
    fixture.queue.begin().await.unwrap().rollback().await.unwrap();
    let mut connections = Vec::new();
    for _ in 0..pool.options().get_max_connections() {
        connections.push(pool.acquire().await.unwrap());
    }
    for connection in &mut connections {
        let transaction = connection.begin_with("BEGIN IMMEDIATE").await.unwrap();
        transaction.rollback().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_begin_leaves_no_transaction_open() {
    let fixture = Fixture::new().await;
    for how in cancellations() {
        if let Some(session) = cancel(fixture.queue.begin(), how).await {
            drop(session.unwrap());
        }
        fixture.publish(1).await;
    }
    assert_nothing_open(&fixture).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_begin_dropped_while_it_waits_for_its_turn_leaves_no_transaction_open() {
    let fixture = Fixture::new().await;
    for polls in 1..8 {
        let holder = fixture.queue.begin().await.unwrap();
        let mut line = [(); 3].map(|()| Box::pin(fixture.queue.begin()));
        for _ in 0..polls {
            for begin in &mut line {
                assert!(begin.now_or_never().is_none());
            }
            tokio::task::yield_now().await;
        }
        // The one that is next, with its connection, or one behind it, while the other goes on.
        let [first, second, third] = line;
        let (dropped, kept) = if polls % 2 == 0 { (first, second) } else { (second, first) };
        drop((dropped, third));
        holder.commit().await.unwrap();
        kept.await.unwrap().commit().await.unwrap();
    }
    assert_nothing_open(&fixture).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_begin_dropped_while_another_process_writes_leaves_no_transaction_open() {
    let fixture = Fixture::new().await;
    let elsewhere = fixture.reopened().await;
    for polls in 1..8 {
        let writing = elsewhere.begin().await.unwrap();
        {
            let mut begin = pin!(fixture.queue.begin());
            for _ in 0..polls {
                assert!(begin.as_mut().now_or_never().is_none());
                tokio::task::yield_now().await;
            }
        }
        writing.commit().await.unwrap();
        fixture.publish(1).await;
    }
    assert_nothing_open(&fixture).await;
    assert_eq!(fixture.tasks().await, 7);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_commit_keeps_effects_and_events_together() {
    let fixture = Fixture::new().await;
    let mut finished = 0;
    for how in cancellations() {
        let mut session = fixture.queue.begin().await.unwrap();
        effect(session.connection(), 1).await.unwrap();
        ping(&mut session, 1);
        if let Some(committed) = cancel(session.commit(), how).await {
            committed.unwrap();
            finished += 1;
        }
    }
    assert_nothing_open(&fixture).await;
    assert_eq!(fixture.effects().await, fixture.tasks().await);
    assert!(fixture.tasks().await >= finished && finished > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_rollback_rolls_back() {
    let fixture = Fixture::new().await;
    for how in cancellations() {
        let mut session = fixture.queue.begin().await.unwrap();
        effect(session.connection(), 1).await.unwrap();
        ping(&mut session, 1);
        cancel(session.rollback(), how).await;
    }
    assert_nothing_open(&fixture).await;
    assert_eq!((fixture.effects().await, fixture.tasks().await), (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_savepoint_leaves_the_transaction_as_it_was() {
    let fixture = Fixture::new().await;
    let mut commits = 0;
    for how in cancellations() {
        let mut session = fixture.queue.begin().await.unwrap();
        effect(session.connection(), 1).await.unwrap();
        ping(&mut session, 1);
        if let Some(savepoint) = cancel(session.savepoint(), how).await {
            drop(savepoint.unwrap());
        }
        session.commit().await.unwrap();
        commits += 1;
    }
    assert_nothing_open(&fixture).await;
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
        // Should the savepoint not be innermost, that is an error; never half a commit.
        commits += usize::from(session.commit().await.is_ok());
    }
    assert!(commits > 0);
    assert_nothing_open(&fixture).await;
    assert_eq!(fixture.effects().await, fixture.tasks().await);
    assert!(fixture.tasks().await > 0);
}

/// The hole in sqlx 0.9.0: a nested `begin` whose future is dropped rolls back twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_sqlx_savepoint_cannot_separate_events_from_effects() {
    let fixture = Fixture::new().await;
    for how in cancellations() {
        let mut session = fixture.queue.begin().await.unwrap();
        effect(session.connection(), 1).await.unwrap();
        ping(&mut session, 1);
        cancel(session.connection().begin(), how).await;
        let published = session.commit().await.is_ok();
        let tasks = fixture.tasks().await;
        assert_eq!(fixture.effects().await, tasks, "{how:?}, published: {published}");
    }
    assert_nothing_open(&fixture).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_flush_of_a_joined_session_leaves_the_transaction_to_its_owner() {
    let fixture = Fixture::new().await;
    for how in cancellations() {
        let mut owned = fixture.queue.pool().begin_with("BEGIN IMMEDIATE").await.unwrap();
        if let Some(session) = cancel(fixture.queue.join(&mut owned), how).await {
            let mut session = session.unwrap();
            effect(session.connection(), 1).await.unwrap();
            ping(&mut session, 1);
            cancel(session.flush(), how).await;
        }
        owned.rollback().await.unwrap();
    }
    assert_nothing_open(&fixture).await;
    assert_eq!((fixture.effects().await, fixture.tasks().await), (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_claim_gives_its_tasks_back_without_spending_an_attempt() {
    let fixture = Fixture::new().await;
    let worker = fixture.worker().await;
    fixture.publish(1).await;
    for how in cancellations() {
        let queues = Queues::all();
        let claimed = match cancel(fixture.queue.claim(worker, &queues, 1), how).await {
            Some(claimed) => claimed.unwrap(),
            // Whoever claims next may come before the tasks are back; then it is woken.
            None => loop {
                let claimed = fixture.claim(worker, 1).await;
                if !claimed.tasks.is_empty() {
                    break claimed;
                }
                fixture.queue.wake().await;
            },
        };
        let lease = &claimed.tasks[0];
        assert_eq!(lease.attempt, 1, "{how:?}");
        let after = std::time::Duration::ZERO;
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
    assert_nothing_open(&fixture).await;
}
