//! A broker around whose calls the process may die.

use std::time::Duration;

use events_core::broker::{
    Broker, BrokerError, Claimed, Heartbeat, Queues, Rescued, Settlement, WorkerInfo,
};
use events_core::cadence::{ReconcilerRuns, ReconcilerState, RunResult, RunStart};
use events_core::health::Health;
use events_core::{Events, Timestamp, WorkerId};

use crate::points::point;

#[derive(Debug, Clone)]
pub struct Mortal<B>(pub B);

impl<B: Broker> ReconcilerRuns for Mortal<B> {
    async fn reconcilers(&self) -> Result<Vec<ReconcilerState>, BrokerError> {
        self.0.reconcilers().await
    }

    async fn announce_reconciler(
        &self,
        name: &'static str,
        next_at: Timestamp,
    ) -> Result<(), BrokerError> {
        self.0.announce_reconciler(name, next_at).await
    }

    async fn begin_run(&self, start: &RunStart) -> Result<bool, BrokerError> {
        self.0.begin_run(start).await
    }

    async fn end_run(
        &self,
        name: &'static str,
        started_at: Timestamp,
        ended_at: Timestamp,
        result: &RunResult,
    ) -> Result<(), BrokerError> {
        self.0.end_run(name, started_at, ended_at, result).await
    }
}

impl<B: Broker> Broker for Mortal<B> {
    type Receipt = B::Receipt;
    type Transaction = B::Transaction;

    fn events(&self) -> &Events {
        self.0.events()
    }

    fn forwarded(&self) -> Queues {
        self.0.forwarded()
    }

    async fn register(&self, worker: WorkerId, info: &WorkerInfo) -> Result<(), BrokerError> {
        self.0.register(worker, info).await
    }

    async fn heartbeat(&self, worker: WorkerId) -> Result<Heartbeat, BrokerError> {
        let answer = self.0.heartbeat(worker).await;
        point("worker: after a heartbeat");
        answer
    }

    async fn deregister(&self, worker: WorkerId) -> Result<(), BrokerError> {
        self.0.deregister(worker).await
    }

    async fn claim(
        &self,
        worker: WorkerId,
        queues: &Queues,
        limit: usize,
    ) -> Result<Claimed<Self::Receipt>, BrokerError> {
        let claimed = self.0.claim(worker, queues, limit).await;
        if claimed.as_ref().is_ok_and(|claimed| !claimed.tasks.is_empty()) {
            point("worker: after a claim");
        }
        claimed
    }

    fn start(&self, worker: WorkerId, receipt: &Self::Receipt, attempt: u32) -> bool {
        self.0.start(worker, receipt, attempt)
    }

    async fn settle(
        &self,
        worker: WorkerId,
        settlements: &[Settlement<Self::Receipt>],
    ) -> Result<Vec<bool>, BrokerError> {
        point("worker: before a settle");
        let settled = self.0.settle(worker, settlements).await;
        point("worker: after a settle");
        settled
    }

    async fn begin_task(
        &self,
        worker: WorkerId,
        receipt: &Self::Receipt,
    ) -> Result<Option<Self::Transaction>, BrokerError> {
        self.0.begin_task(worker, receipt).await
    }

    async fn rescue(&self, worker: WorkerId, lease: Duration) -> Result<Vec<Rescued>, BrokerError> {
        let rescued = self.0.rescue(worker, lease).await;
        point("worker: after a rescue");
        rescued
    }

    async fn prune(&self) -> Result<u64, BrokerError> {
        self.0.prune().await
    }

    async fn health(&self) -> Result<Health, BrokerError> {
        self.0.health().await
    }

    async fn wake(&self) {
        self.0.wake().await;
    }
}
