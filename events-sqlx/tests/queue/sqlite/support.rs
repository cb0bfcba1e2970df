//! A queue in a file of its own.

use events_core::broker::{Claimed, Settlement, WorkerInfo};
use events_core::lifecycle::Next;
use events_core::prelude::*;
use events_core::{Broker, WorkerId};
use events_sqlx::{SqliteQueue, SqliteReceipt};
use tempfile::TempDir;

pub(crate) use crate::program::{Changed, Errors, HandClock, change, events, ping};

/// A queue in a file of its own.
pub(crate) struct Fixture {
    pub(crate) queue: SqliteQueue,
    pub(crate) events: Events,
    pub(crate) clock: HandClock,
    pub(crate) directory: TempDir,
}

impl Fixture {
    pub(crate) async fn new() -> Self {
        Self::with(EventSettings::default()).await
    }

    pub(crate) async fn with(settings: EventSettings) -> Self {
        let clock = HandClock::new();
        let events = events(settings, &clock);
        let directory = tempfile::tempdir().unwrap();
        let queue = SqliteQueue::open(directory.path().join("app.db"), &events).await.unwrap();
        sqlx::query("CREATE TABLE effects (value INTEGER NOT NULL)")
            .execute(queue.pool())
            .await
            .unwrap();
        Self { queue, events, clock, directory }
    }

    pub(crate) fn path(&self) -> std::path::PathBuf {
        self.directory.path().join("app.db")
    }

    /// The same file, opened as another process would.
    pub(crate) async fn reopened(&self) -> SqliteQueue {
        SqliteQueue::open(self.path(), &self.events).await.unwrap()
    }

    pub(crate) async fn worker(&self) -> WorkerId {
        let worker = WorkerId::generate();
        self.queue.register(worker, &WorkerInfo::new(Queues::all(), 1)).await.unwrap();
        worker
    }

    pub(crate) async fn publish(&self, count: u32) {
        let mut session = self.queue.begin().await.unwrap();
        ping(&mut session, count);
        session.commit().await.unwrap();
    }

    pub(crate) async fn claim(&self, worker: WorkerId, limit: usize) -> Claimed<SqliteReceipt> {
        self.queue.claim(worker, &Queues::all(), limit).await.unwrap()
    }

    pub(crate) async fn settle(
        &self,
        worker: WorkerId,
        receipt: SqliteReceipt,
        attempt: u32,
        next: Next,
    ) -> bool {
        let settlement = Settlement { receipt, attempt, next };
        self.queue.settle(worker, &[settlement]).await.unwrap()[0]
    }

    pub(crate) async fn tasks(&self) -> i64 {
        self.count("SELECT count(*) FROM events_tasks").await
    }

    pub(crate) async fn effects(&self) -> i64 {
        self.count("SELECT count(*) FROM effects").await
    }

    pub(crate) async fn count(&self, sql: &'static str) -> i64 {
        sqlx::query_scalar(sql).fetch_one(self.queue.pool()).await.unwrap()
    }
}

/// Writes something beside the events.
pub(crate) async fn effect(
    connection: &mut sqlx::SqliteConnection,
    value: i64,
) -> Result<(), sqlx::Error> {
    sqlx::query("INSERT INTO effects VALUES (?1)").bind(value).execute(connection).await?;
    Ok(())
}
