//! Who writes when, among those in one process.

use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use events_core::Broker;
use events_core::broker::Heartbeat;
use events_sqlx::{SqliteQueue, SqliteQueueOptions};
use futures_util::FutureExt;
use sqlx::Sqlite;
use sqlx::pool::PoolConnection;

use crate::sqlite::support::Fixture;

/// Every connection that the application's pool has.
async fn exhaust(queue: &SqliteQueue) -> Vec<PoolConnection<Sqlite>> {
    let mut held = Vec::new();
    for _ in 0..queue.pool().options().get_max_connections() {
        held.push(queue.pool().acquire().await.unwrap());
    }
    held
}

#[tokio::test]
async fn a_session_that_waits_for_a_connection_keeps_no_heartbeat_waiting() {
    let fixture = Fixture::new().await;
    let worker = fixture.worker().await;
    let held = exhaust(&fixture.queue).await;
    let mut sessions = [(); 3].map(|()| Box::pin(fixture.queue.begin()));
    for session in &mut sessions {
        assert!(session.now_or_never().is_none());
    }
    assert_eq!(fixture.queue.heartbeat(worker).await.unwrap(), Heartbeat::Alive);
    assert!(fixture.claim(worker, 1).await.tasks.is_empty());
    drop(held);
    for session in sessions {
        session.await.unwrap().commit().await.unwrap();
    }
}

#[tokio::test]
async fn a_session_that_gets_no_connection_in_time_says_so() {
    let fixture = Fixture::new().await;
    let options = SqliteQueueOptions::new().max_connections(2);
    let queue = options
        .busy_timeout(Duration::from_millis(50))
        .open(fixture.path(), &fixture.events)
        .await
        .unwrap();
    let held = exhaust(&queue).await;
    let error = queue.begin().await.unwrap_err();
    assert!(error.to_string().contains("every connection of the pool is in use"), "{error}");
    drop(held);
    queue.begin().await.unwrap().commit().await.unwrap();
}

#[tokio::test]
async fn sessions_in_line_leave_connections_to_whoever_reads() {
    let fixture = Fixture::new().await;
    let options = SqliteQueueOptions::new().max_connections(3);
    let queue = options.open(fixture.path(), &fixture.events).await.unwrap();
    let session = queue.begin().await.unwrap();
    let mut waiting = [(); 8].map(|()| Box::pin(queue.begin()));
    for next in &mut waiting {
        assert!(next.now_or_never().is_none());
    }
    let read = sqlx::query_scalar("SELECT count(*) FROM events_tasks").fetch_one(queue.pool());
    let tasks: i64 = read.await.unwrap();
    assert_eq!(tasks, 0);
    session.commit().await.unwrap();
}

#[tokio::test]
async fn a_heartbeat_waits_for_two_sessions_and_not_for_the_whole_line() {
    let fixture = Fixture::new().await;
    let worker = fixture.worker().await;
    let order = Arc::new(Mutex::new(Vec::new()));
    let writing = fixture.queue.begin().await.unwrap();
    let sessions = [(); 16].map(|()| {
        let (queue, order) = (fixture.queue.clone(), order.clone());
        tokio::spawn(async move {
            let session = queue.begin().await.unwrap();
            order.lock().unwrap().push("session");
            session.commit().await.unwrap();
        })
    });
    let heartbeat = {
        let (queue, order) = (fixture.queue.clone(), order.clone());
        tokio::spawn(async move {
            queue.heartbeat(worker).await.unwrap();
            order.lock().unwrap().push("heartbeat");
        })
    };
    // On one thread, everybody has asked for its turn by then.
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    writing.commit().await.unwrap();
    heartbeat.await.unwrap();
    for session in sessions {
        session.await.unwrap();
    }
    let order = order.lock().unwrap();
    let before = order.iter().position(|who| *who == "heartbeat").unwrap();
    // The one that writes is not in the list, and one may have begun before the answer was here.
    assert!(before <= 2, "{order:?}");
    assert_eq!(order.len(), 17);
}

#[tokio::test]
async fn a_session_that_is_dropped_in_line_lets_the_others_pass() {
    let fixture = Fixture::new().await;
    let writing = fixture.queue.begin().await.unwrap();
    let mut first = pin!(fixture.queue.begin());
    for _ in 0..2 {
        let mut dropped = Box::pin(fixture.queue.begin());
        assert!((&mut dropped).now_or_never().is_none());
        assert!(first.as_mut().now_or_never().is_none());
    }
    writing.commit().await.unwrap();
    first.await.unwrap().commit().await.unwrap();
    fixture.publish(1).await;
}
