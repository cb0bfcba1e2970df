//! The queue in memory as a broker.

use std::time::Duration;

use events_core::broker::{
    Admin, Broker, BrokerError, Claimed, Counts, DeadLetter, Heartbeat, Queues, Rescued,
    Settlement, WorkerInfo,
};
use events_core::cadence::{ReconcilerRuns, ReconcilerState, RunResult, RunStart};
use events_core::event::{TaskId, WorkerId};
use events_core::health::Health;
use events_core::{Events, Timestamp};

use super::MemoryQueue;
use super::session::MemorySession;
use super::store::MemoryReceipt;

impl ReconcilerRuns for MemoryQueue {
    async fn reconcilers(&self) -> Result<Vec<ReconcilerState>, BrokerError> {
        Ok(self.store().reconcilers())
    }

    async fn announce_reconciler(
        &self,
        name: &'static str,
        next_at: Timestamp,
    ) -> Result<(), BrokerError> {
        self.store().announce_reconciler(name, next_at);
        Ok(())
    }

    async fn begin_run(&self, start: &RunStart) -> Result<bool, BrokerError> {
        Ok(self.store().begin_run(start))
    }

    async fn end_run(
        &self,
        name: &'static str,
        started_at: Timestamp,
        ended_at: Timestamp,
        result: &RunResult,
    ) -> Result<(), BrokerError> {
        self.store().end_run(name, started_at, ended_at, result);
        Ok(())
    }
}

// No method awaits while it holds the store, so each is done at once or, never polled, not at all.
impl Broker for MemoryQueue {
    type Receipt = MemoryReceipt;
    type Transaction = MemorySession;

    fn events(&self) -> &Events {
        &self.events
    }

    fn forwarded(&self) -> Queues {
        Queues::none()
    }

    async fn register(&self, worker: WorkerId, info: &WorkerInfo) -> Result<(), BrokerError> {
        let lease = self.events.settings().lease;
        self.store().register(worker, &info.queues, lease, self.events.now());
        Ok(())
    }

    async fn heartbeat(&self, worker: WorkerId) -> Result<Heartbeat, BrokerError> {
        let lease = self.events.settings().lease;
        Ok(match self.store().heartbeat(worker, lease, self.events.now()) {
            true => Heartbeat::Alive,
            false => Heartbeat::Lost,
        })
    }

    async fn deregister(&self, worker: WorkerId) -> Result<(), BrokerError> {
        self.store().deregister(worker);
        Ok(())
    }

    async fn claim(
        &self,
        worker: WorkerId,
        queues: &Queues,
        limit: usize,
    ) -> Result<Claimed<MemoryReceipt>, BrokerError> {
        let mut store = self.store();
        if !store.is_registered(worker) {
            return Err(BrokerError::new(
                "lease tasks to this worker",
                format!(
                    "worker {worker} is not registered, or was taken for dead; it starts anew at its next heartbeat"
                ),
            ));
        }
        let tasks = store.claim(worker, queues, limit, self.events.now());
        let next_due = if tasks.len() < limit { store.next_due(queues) } else { None };
        Ok(Claimed { tasks, next_due })
    }

    fn start(&self, _worker: WorkerId, _receipt: &MemoryReceipt, _attempt: u32) -> bool {
        true
    }

    async fn settle(
        &self,
        worker: WorkerId,
        settlements: &[Settlement<MemoryReceipt>],
    ) -> Result<Vec<bool>, BrokerError> {
        let now = self.events.now();
        let mut store = self.store();
        let applied = settlements
            .iter()
            .map(|settlement| store.settle(worker, settlement.receipt, &settlement.next, now))
            .collect();
        drop(store);
        if settlements.iter().any(|settlement| settlement.next.is_waiting()) {
            self.shared.arrived.notify_waiters();
        }
        Ok(applied)
    }

    async fn begin_task(
        &self,
        worker: WorkerId,
        receipt: &MemoryReceipt,
    ) -> Result<Option<MemorySession>, BrokerError> {
        let held = self.store().enter_transaction(worker, *receipt);
        Ok(held.then(|| MemorySession::new(self.clone(), Some((worker, *receipt)))))
    }

    async fn rescue(&self, worker: WorkerId, lease: Duration) -> Result<Vec<Rescued>, BrokerError> {
        let pause = |name: &str, attempt| self.events.rescue_delay(name, attempt, fastrand::f64());
        let rescued = self.store().rescue(worker, lease, pause, self.events.now());
        if !rescued.is_empty() {
            self.shared.arrived.notify_waiters();
        }
        Ok(rescued)
    }

    async fn prune(&self) -> Result<u64, BrokerError> {
        Ok(0) // there is no archive in memory
    }

    async fn health(&self) -> Result<Health, BrokerError> {
        Ok(self.store().health(self.events.settings().lease, self.events.now()))
    }

    async fn wake(&self) {
        self.shared.arrived.notified().await;
    }
}

impl Admin for MemoryQueue {
    async fn counts(&self) -> Result<Counts, BrokerError> {
        Ok(self.store().counts(self.events.now()))
    }

    async fn dead_letters(
        &self,
        limit: usize,
        before: Option<&DeadLetter>,
    ) -> Result<Vec<DeadLetter>, BrokerError> {
        Ok(self.store().dead_letters(limit, before))
    }

    async fn retry_dead_letter(&self, task: TaskId) -> Result<bool, BrokerError> {
        let mut store = self.store();
        let Some(letter) = store.take_dead_letter(task) else { return Ok(false) };
        store.revive(letter, self.events.now());
        drop(store);
        self.shared.arrived.notify_waiters();
        Ok(true)
    }

    async fn discard_dead_letter(&self, task: TaskId) -> Result<bool, BrokerError> {
        Ok(self.store().take_dead_letter(task).is_some())
    }
}
