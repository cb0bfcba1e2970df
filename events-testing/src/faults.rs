//! Faults on purpose: a broker, or a transport, that fails when it is told to.
//!
//! ```
//! # use events_core::prelude::*;
//! # use events_runtime::MemoryQueue;
//! # use events_testing::faults::{Fault, FaultyBroker};
//! # let events = Events::builder().build()?;
//! let queue = FaultyBroker::new(MemoryQueue::new(&events));
//! queue.faults().inject(Fault::DeliverTwice);
//! // … run a worker, or `drain`, on `queue`: the next completed task is delivered once more.
//! # Ok::<(), events_core::StartError>(())
//! ```

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use events_core::broker::{
    Admin, Broker, BrokerError, Claimed, Counts, DeadLetter, Heartbeat, Queues, Rescued,
    Settlement, WorkerInfo,
};
use events_core::cadence::{ReconcilerRuns, ReconcilerState, RunResult, RunStart};
use events_core::event::{TaskId, WorkerId};
use events_core::health::Health;
use events_core::lifecycle::Next;
use events_core::task::Task;
use events_core::transport::{Transport, TransportError, Unsent};
use events_core::{Events, Timestamp};

/// One thing that goes wrong, once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// The next claim fails.
    FailClaim,
    /// The next settlement fails, and nothing is recorded; a worker tries again.
    FailSettle,
    /// The next task transaction cannot begin.
    FailBegin,
    /// The broker panics when the next task transaction begins.
    PanicInBegin,
    /// The next heartbeat fails.
    FailHeartbeat,
    /// The worker that settles next dies before it does: nothing it says arrives any more.
    CrashBeforeSettle,
    /// The next task that completes is delivered once more.
    DeliverTwice,
    /// The next send of a [`FaultyTransport`] fails, for all its tasks.
    FailSend,
}

/// The faults that are still to come. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Faults(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    planned: VecDeque<Fault>,
    dead: HashSet<WorkerId>,
}

impl Faults {
    /// Plans a fault. Of one kind, each happens once.
    pub fn inject(&self, fault: Fault) {
        self.state().planned.push_back(fault);
    }

    /// Takes back what was planned and has not happened.
    pub fn clear(&self) {
        self.state().planned.clear();
    }

    /// Whether every planned fault has happened.
    #[must_use]
    pub fn are_over(&self) -> bool {
        self.state().planned.is_empty()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the fault, if it is planned.
    fn strikes(&self, fault: Fault) -> bool {
        let mut state = self.state();
        let planned = state.planned.iter().position(|planned| *planned == fault);
        planned.is_some_and(|position| state.planned.remove(position).is_some())
    }

    fn fail(&self, fault: Fault, action: &'static str) -> Result<(), BrokerError> {
        match self.strikes(fault) {
            true => Err(BrokerError::new(action, "a fault was injected")),
            false => Ok(()),
        }
    }

    fn alive(&self, worker: WorkerId, action: &'static str) -> Result<(), BrokerError> {
        match self.state().dead.contains(&worker) {
            true => Err(BrokerError::new(action, "the worker's death was injected")),
            false => Ok(()),
        }
    }
}

/// A broker with faults. Otherwise it is the broker within.
#[derive(Debug, Clone)]
pub struct FaultyBroker<B> {
    inner: B,
    faults: Faults,
}

impl<B: Broker> FaultyBroker<B> {
    /// No faults yet.
    pub fn new(inner: B) -> Self {
        Self { inner, faults: Faults::default() }
    }

    /// The faults to come.
    pub fn faults(&self) -> &Faults {
        &self.faults
    }

    /// The broker within.
    pub fn inner(&self) -> &B {
        &self.inner
    }
}

impl<B: Broker> ReconcilerRuns for FaultyBroker<B> {
    async fn reconcilers(&self) -> Result<Vec<ReconcilerState>, BrokerError> {
        self.inner.reconcilers().await
    }

    async fn announce_reconciler(
        &self,
        name: &'static str,
        next_at: Timestamp,
    ) -> Result<(), BrokerError> {
        self.inner.announce_reconciler(name, next_at).await
    }

    async fn begin_run(&self, start: &RunStart) -> Result<bool, BrokerError> {
        self.inner.begin_run(start).await
    }

    async fn end_run(
        &self,
        name: &'static str,
        started_at: Timestamp,
        ended_at: Timestamp,
        result: &RunResult,
    ) -> Result<(), BrokerError> {
        self.inner.end_run(name, started_at, ended_at, result).await
    }
}

impl<B: Broker> Broker for FaultyBroker<B> {
    type Receipt = B::Receipt;
    type Transaction = B::Transaction;

    fn events(&self) -> &Events {
        self.inner.events()
    }

    fn forwarded(&self) -> Queues {
        self.inner.forwarded()
    }

    async fn register(&self, worker: WorkerId, info: &WorkerInfo) -> Result<(), BrokerError> {
        self.faults.fail(Fault::FailHeartbeat, "register the worker")?;
        self.inner.register(worker, info).await
    }

    async fn heartbeat(&self, worker: WorkerId) -> Result<Heartbeat, BrokerError> {
        const ACTION: &str = "write the heartbeat";
        self.faults.alive(worker, ACTION)?;
        self.faults.fail(Fault::FailHeartbeat, ACTION)?;
        self.inner.heartbeat(worker).await
    }

    async fn deregister(&self, worker: WorkerId) -> Result<(), BrokerError> {
        self.faults.alive(worker, "deregister the worker")?;
        self.inner.deregister(worker).await
    }

    async fn claim(
        &self,
        worker: WorkerId,
        queues: &Queues,
        limit: usize,
    ) -> Result<Claimed<B::Receipt>, BrokerError> {
        const ACTION: &str = "claim tasks";
        self.faults.alive(worker, ACTION)?;
        self.faults.fail(Fault::FailClaim, ACTION)?;
        self.inner.claim(worker, queues, limit).await
    }

    fn start(&self, worker: WorkerId, receipt: &B::Receipt, attempt: u32) -> bool {
        self.inner.start(worker, receipt, attempt)
    }

    async fn settle(
        &self,
        worker: WorkerId,
        settlements: &[Settlement<B::Receipt>],
    ) -> Result<Vec<bool>, BrokerError> {
        const ACTION: &str = "record outcomes";
        if self.faults.strikes(Fault::CrashBeforeSettle) {
            self.faults.state().dead.insert(worker);
        }
        self.faults.alive(worker, ACTION)?;
        self.faults.fail(Fault::FailSettle, ACTION)?;
        let mut settlements = settlements.to_vec();
        let completed = settlements.iter_mut().find(|settlement| settlement.next == Next::Complete);
        if let Some(again) = completed
            && self.faults.strikes(Fault::DeliverTwice)
        {
            again.next = Next::Release { after: Duration::ZERO };
        }
        self.inner.settle(worker, &settlements).await
    }

    async fn begin_task(
        &self,
        worker: WorkerId,
        receipt: &B::Receipt,
    ) -> Result<Option<B::Transaction>, BrokerError> {
        const ACTION: &str = "begin the task's transaction";
        self.faults.alive(worker, ACTION)?;
        self.faults.fail(Fault::FailBegin, ACTION)?;
        assert!(!self.faults.strikes(Fault::PanicInBegin), "a panic was injected");
        self.inner.begin_task(worker, receipt).await
    }

    async fn rescue(&self, worker: WorkerId, lease: Duration) -> Result<Vec<Rescued>, BrokerError> {
        self.faults.alive(worker, "rescue tasks")?;
        self.inner.rescue(worker, lease).await
    }

    async fn prune(&self) -> Result<u64, BrokerError> {
        self.inner.prune().await
    }

    async fn health(&self) -> Result<Health, BrokerError> {
        self.inner.health().await
    }

    async fn wake(&self) {
        self.inner.wake().await;
    }
}

impl<B: Broker + Admin> Admin for FaultyBroker<B> {
    async fn counts(&self) -> Result<Counts, BrokerError> {
        self.inner.counts().await
    }

    async fn dead_letters(
        &self,
        limit: usize,
        before: Option<&DeadLetter>,
    ) -> Result<Vec<DeadLetter>, BrokerError> {
        self.inner.dead_letters(limit, before).await
    }

    async fn retry_dead_letter(&self, task: TaskId) -> Result<bool, BrokerError> {
        self.inner.retry_dead_letter(task).await
    }

    async fn discard_dead_letter(&self, task: TaskId) -> Result<bool, BrokerError> {
        self.inner.discard_dead_letter(task).await
    }
}

/// A transport with faults. Otherwise it is the transport within.
#[derive(Debug, Clone)]
pub struct FaultyTransport<T> {
    inner: T,
    faults: Faults,
}

impl<T: Transport> FaultyTransport<T> {
    /// No faults yet.
    pub fn new(inner: T) -> Self {
        Self { inner, faults: Faults::default() }
    }

    /// The faults to come.
    pub fn faults(&self) -> &Faults {
        &self.faults
    }
}

impl<T: Transport> Transport for FaultyTransport<T> {
    async fn send(&self, tasks: Vec<Task>) -> Result<(), TransportError> {
        if self.faults.strikes(Fault::FailSend) {
            return TransportError::check(Unsent::all_later(tasks, "a fault was injected"));
        }
        self.inner.send(tasks).await
    }
}
