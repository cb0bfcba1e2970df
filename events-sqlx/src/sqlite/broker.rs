//! The queue as workers see it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use events_core::broker::{Claimed, Heartbeat, Rescued, Settlement, WorkerInfo};
use events_core::health::Health;
use events_core::{Broker, BrokerError, Events, Queues, WorkerId};
use sqlx::Sqlite;

use super::queue::SqliteQueue;
use super::row::SqliteReceipt;
use super::{admin, claim, heartbeat, rescue, settle, transaction};
use crate::transaction::EventTransaction;

impl Broker for SqliteQueue {
    type Receipt = SqliteReceipt;
    type Transaction = EventTransaction<Sqlite>;

    fn events(&self) -> &Events {
        &self.inner.events
    }

    fn forwarded(&self) -> Queues {
        self.inner.forwardings.queues()
    }

    async fn register(&self, worker: WorkerId, info: &WorkerInfo) -> Result<(), BrokerError> {
        let queues = info.queues.clone();
        self.uninterrupted("register a worker", move |inner| {
            heartbeat::heartbeat(inner, worker, Some(queues.clone()))
        })
        .await
        .map(drop)
    }

    async fn heartbeat(&self, worker: WorkerId) -> Result<Heartbeat, BrokerError> {
        self.uninterrupted("take a heartbeat", move |inner| {
            heartbeat::heartbeat(inner, worker, None)
        })
        .await
    }

    async fn deregister(&self, worker: WorkerId) -> Result<(), BrokerError> {
        self.uninterrupted("deregister a worker", move |inner| heartbeat::deregister(inner, worker))
            .await
    }

    async fn claim(
        &self,
        worker: WorkerId,
        queues: &Queues,
        limit: usize,
    ) -> Result<Claimed<SqliteReceipt>, BrokerError> {
        // What changes from here on, the next `wake` tells.
        self.seen.store(self.inner.signal.changes(), Ordering::SeqCst);
        let eager = self.inner.full.load(Ordering::Relaxed);
        let queues = queues.clone();
        let delivery = self
            .uninterrupted("hand out tasks", move |inner| {
                claim::claim(inner, worker, queues.clone(), limit, eager)
            })
            .await?;
        let claimed = delivery.take();
        self.inner.full.store(limit > 0 && claimed.tasks.len() == limit, Ordering::Relaxed);
        Ok(claimed)
    }

    fn start(&self, _worker: WorkerId, _receipt: &SqliteReceipt, _attempt: u32) -> bool {
        true
    }

    async fn settle(
        &self,
        worker: WorkerId,
        settlements: &[Settlement<SqliteReceipt>],
    ) -> Result<Vec<bool>, BrokerError> {
        let settlements: Arc<[_]> = settlements.into();
        self.uninterrupted("settle tasks", move |inner| {
            settle::settle(inner, worker, settlements.clone())
        })
        .await
    }

    async fn begin_task(
        &self,
        worker: WorkerId,
        receipt: &SqliteReceipt,
    ) -> Result<Option<EventTransaction<Sqlite>>, BrokerError> {
        transaction::begin_task(self, worker, *receipt)
            .await
            .map_err(|error| error.into_broker_error("begin a task's transaction"))
    }

    async fn rescue(&self, worker: WorkerId, lease: Duration) -> Result<Vec<Rescued>, BrokerError> {
        self.uninterrupted("rescue tasks", move |inner| rescue::rescue(inner, worker, lease)).await
    }

    async fn prune(&self) -> Result<u64, BrokerError> {
        self.uninterrupted("prune the archive", admin::prune).await
    }

    async fn health(&self) -> Result<Health, BrokerError> {
        admin::health(&self.inner)
            .await
            .map_err(|error| error.into_broker_error("tell how it is doing"))
    }

    async fn wake(&self) {
        self.changed().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn after_a_full_claim_no_clone_looks_before_it_claims() {
        const TASK: &str = "INSERT INTO events_tasks (task_id, event_id, event, name, queue,
            priority, due_at, published_at, payload)
            VALUES (zeroblob(16), zeroblob(16), 'event', 'name', 'lane', 0, 0, 0, '{}')";
        let directory = tempfile::tempdir().unwrap();
        let events = Events::builder().build().unwrap();
        let queue = SqliteQueue::open(directory.path().join("app.db"), &events).await.unwrap();
        let worker = WorkerId::generate();
        queue.register(worker, &WorkerInfo::new(Queues::all(), 1)).await.unwrap();
        sqlx::raw_sql(TASK).execute(queue.pool()).await.unwrap();
        for full in [true, false] {
            // As a worker does: each claim through a clone of its own.
            let claimed = queue.clone().claim(worker, &Queues::all(), 1).await.unwrap();
            assert_eq!(claimed.tasks.len() == 1, full);
            assert_eq!(queue.clone().inner.full.load(Ordering::Relaxed), full);
        }
    }
}
