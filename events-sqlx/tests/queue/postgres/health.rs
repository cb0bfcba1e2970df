//! What an operator learns.

use std::time::Duration;

use events_core::Broker;
use events_core::health::{Concern, StorageHealth};
use private_postgres::Server;
use sqlx::PgPool;

use super::support::{Fixture, until};

impl Fixture {
    async fn storage(&self) -> StorageHealth {
        self.queue.health().await.unwrap().storage.unwrap()
    }
}

const HOLD: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1";

#[tokio::test]
async fn the_session_that_holds_the_oldest_snapshot_is_named() {
    let fixture = Fixture::new().await;
    let mut holding = fixture.outside.acquire().await.unwrap();
    sqlx::raw_sql("SET application_name = 'the report'").execute(&mut *holding).await.unwrap();
    sqlx::raw_sql(HOLD).execute(&mut *holding).await.unwrap();
    fixture.publish(1).await;
    let snapshot = fixture.storage().await.oldest_snapshot.unwrap();
    let pid: i32 =
        sqlx::query_scalar("SELECT pg_backend_pid()").fetch_one(&mut *holding).await.unwrap();
    assert!(snapshot.holder.contains(&format!("pid {pid} ")), "{snapshot:?}");
    assert!(snapshot.holder.contains("the report"), "{snapshot:?}");
    assert!(snapshot.holder.contains("idle in transaction"), "{snapshot:?}");
    let younger = fixture.storage().await.oldest_snapshot.unwrap();
    assert!(younger.age >= snapshot.age);
    sqlx::raw_sql("ROLLBACK").execute(&mut *holding).await.unwrap();
    let holder = fixture.storage().await.oldest_snapshot.map(|snapshot| snapshot.holder);
    assert!(!holder.unwrap_or_default().contains("the report"));
}

/// Vacuum goes by the snapshots of its own database.
#[tokio::test]
async fn a_snapshot_of_another_database_is_nobody_s_concern() {
    let fixture = Fixture::new().await;
    let other = Server::shared().create_database();
    let pool = PgPool::connect(&other.url()).await.unwrap();
    let mut holding = pool.acquire().await.unwrap();
    sqlx::raw_sql("SET application_name = 'elsewhere'").execute(&mut *holding).await.unwrap();
    sqlx::raw_sql(HOLD).execute(&mut *holding).await.unwrap();
    let snapshot = fixture.storage().await.oldest_snapshot;
    assert!(snapshot.as_ref().is_none_or(|it| !it.holder.contains("elsewhere")), "{snapshot:?}");
}

#[tokio::test]
async fn rows_that_are_gone_and_still_take_room_are_counted() {
    let fixture = Fixture::new().await;
    for count in 0..10 {
        fixture.publish(count).await;
    }
    // Otherwise whoever reads the page may clean it up.
    let mut holding = fixture.outside.acquire().await.unwrap();
    sqlx::raw_sql(HOLD).execute(&mut *holding).await.unwrap();
    fixture.run("DELETE FROM events.tasks WHERE seq <= 6").await;
    // The server counts a little later.
    let counted = async || {
        let storage = fixture.storage().await;
        storage.live_rows > 0 && storage.dead_rows == 6
    };
    until("the server has counted", counted).await;
}

#[tokio::test]
async fn workers_that_are_silent_and_queues_that_nobody_serves_are_concerns() {
    let fixture = Fixture::new().await;
    fixture.publish(1).await;
    fixture.clock.advance(Duration::from_mins(2));
    let health = fixture.queue.health().await.unwrap();
    assert_eq!(health.queues[0].queue, "pings");
    assert_eq!(health.queues[0].oldest_waiting, Duration::from_mins(2));
    assert!(matches!(&health.concerns()[..], [Concern::QueueWithoutWorker(_)]), "{health:?}");
    let worker = fixture.worker().await;
    let health = fixture.queue.health().await.unwrap();
    assert!(health.concerns().is_empty(), "{health:?}");
    assert_eq!((health.workers[0].worker, health.queues[0].workers), (worker, 1));
    fixture.clock.advance(Duration::from_mins(2));
    let concerns = fixture.queue.health().await.unwrap().concerns();
    let silent = |it: &Concern| matches!(it, Concern::SilentWorker(it) if it.worker == worker);
    assert!(concerns.iter().any(silent), "{concerns:?}");
}
