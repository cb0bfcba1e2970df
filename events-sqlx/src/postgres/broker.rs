//! The queue as workers see it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use events_core::broker::{Claimed, Heartbeat, Rescued, Settlement, WorkerInfo};
use events_core::health::Health;
use events_core::{Broker, BrokerError, Events, Queues, WorkerId};
use sqlx::Postgres;

use super::queue::PostgresQueue;
use super::row::PostgresReceipt;
use super::{admin, claim, health, heartbeat, rescue, settle, transaction};
use crate::transaction::EventTransaction;

impl Broker for PostgresQueue {
    type Receipt = PostgresReceipt;
    type Transaction = EventTransaction<Postgres>;

    fn events(&self) -> &Events {
        &self.inner.events
    }

    fn forwarded(&self) -> Queues {
        self.inner.forwardings.queues()
    }

    async fn register(&self, worker: WorkerId, info: &WorkerInfo) -> Result<(), BrokerError> {
        let queues = info.queues.clone();
        self.uninterrupted("register a worker", |inner| heartbeat::register(inner, worker, queues))
            .await
    }

    async fn heartbeat(&self, worker: WorkerId) -> Result<Heartbeat, BrokerError> {
        self.uninterrupted("take a heartbeat", |inner| heartbeat::heartbeat(inner, worker)).await
    }

    async fn deregister(&self, worker: WorkerId) -> Result<(), BrokerError> {
        self.uninterrupted("deregister a worker", |inner| heartbeat::deregister(inner, worker))
            .await
    }

    async fn claim(
        &self,
        worker: WorkerId,
        queues: &Queues,
        limit: usize,
    ) -> Result<Claimed<PostgresReceipt>, BrokerError> {
        // What changes from here on, the next `wake` tells.
        self.seen.store(self.inner.signal.changes(), Ordering::SeqCst);
        let queues = queues.clone();
        self.uninterrupted("hand out tasks", |inner| claim::claim(inner, worker, queues, limit))
            .await
            .map(claim::Delivery::take)
    }

    fn start(&self, _worker: WorkerId, _receipt: &PostgresReceipt, _attempt: u32) -> bool {
        true
    }

    async fn settle(
        &self,
        worker: WorkerId,
        settlements: &[Settlement<PostgresReceipt>],
    ) -> Result<Vec<bool>, BrokerError> {
        let settlements: Arc<[_]> = settlements.into();
        self.uninterrupted("settle tasks", |inner| settle::settle(inner, worker, settlements)).await
    }

    async fn begin_task(
        &self,
        worker: WorkerId,
        receipt: &PostgresReceipt,
    ) -> Result<Option<EventTransaction<Postgres>>, BrokerError> {
        transaction::begin_task(self, worker, *receipt)
            .await
            .map_err(|error| error.into_broker_error("begin a task's transaction"))
    }

    async fn rescue(&self, worker: WorkerId, lease: Duration) -> Result<Vec<Rescued>, BrokerError> {
        self.uninterrupted("rescue tasks", |inner| rescue::rescue(inner, worker, lease)).await
    }

    async fn prune(&self) -> Result<u64, BrokerError> {
        self.uninterrupted("prune the archive", admin::prune).await
    }

    async fn health(&self) -> Result<Health, BrokerError> {
        self.uninterrupted("tell how it is doing", health::health).await
    }

    async fn wake(&self) {
        self.changed().await;
    }
}
