//! One scenario, run in one way, to the state that it leaves.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use events_core::broker::{Admin, Broker, Lease, Queues, WorkerInfo};
use events_core::context::CancellationSource;
use events_core::extract::States;
use events_core::prelude::*;
use events_core::session::PendingEvent;
use events_core::{Scope, event::WorkerId};
use events_runtime::Executor;
use events_testing::ManualClock;
use events_testing::faults::{Fault, FaultyBroker};
use fastrand::Rng;
use stewardship::change_log::{self, Change};
use stewardship::database::Queue;
use stewardship::events::{
    MonitorConnectionReassigned, MonitorInheritanceFlagChanged, MonitorOperationCompleted,
    SystemConnectionLinkChanged, SystemDataStewardsChanged,
};
use stewardship::replay::fresh::{self, Derived};
use stewardship::replay::open_with;
use stewardship::repositories::{self, StoreError};
use stewardship::{reconcile, settings};

use crate::harness::{STATE, Workspace};

/// How a scenario is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// Every event is handled; a sweep comes only where something was deleted.
    Events,
    /// Every event is dropped; one sweep in the end.
    Reconciler,
    /// Some events are dropped, others handled in any order, more than once, by workers that stop or
    /// die in the middle of a handler, with a broker that fails; sweeps come in between and in the end.
    Faults,
}

/// Longer than any window, and than any pause after a fault.
const LATER: Duration = Duration::from_secs(30);

/// What went wrong on purpose, and did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Struck {
    /// Calls of the broker that failed.
    pub(super) failures: u64,
    /// Attempts that were told to stop in the middle, and workers that died there.
    pub(super) cut_off: u64,
    /// Events that were dropped.
    pub(super) dropped: u64,
    /// Events that came once more.
    pub(super) repeated: u64,
}

/// The state that a log leaves in this database, which is emptied before. Its derived rows are right.
pub(super) async fn run(
    workspace: &Workspace,
    log: &[Change],
    way: Way,
    seed: u64,
    struck: &mut Struck,
) -> Vec<String> {
    let clock = ManualClock::new();
    let events =
        Events::builder().settings(settings::settings()).clock(clock.clone()).build().unwrap();
    events.set_enabled(way != Way::Reconciler);
    let queue = open_with(&workspace.location(), &events).await.unwrap();
    empty(&queue).await;
    let mut run = Run {
        broker: FaultyBroker::new(queue.clone()),
        queue,
        clock,
        rng: Rng::with_seed(seed),
        published: Vec::new(),
        way,
        struck: Struck::default(),
    };
    run.all(log).await;
    struck.add(run.struck);
    let differences = fresh::differences(run.queue.pool()).await.unwrap();
    assert!(differences.is_empty(), "{way:?}: {differences:?}");
    let state = sqlx::query_scalar(STATE).fetch_all(run.queue.pool()).await.unwrap();
    run.queue.pool().close().await;
    state
}

impl Struck {
    fn add(&mut self, more: Self) {
        self.failures += more.failures;
        self.cut_off += more.cut_off;
        self.dropped += more.dropped;
        self.repeated += more.repeated;
    }
}

/// Making a database takes longer than a scenario. Of the queue nothing is left: it was drained.
async fn empty(queue: &Queue) {
    for statement in [
        "DELETE FROM monitor_configs",
        "DELETE FROM connection_configs",
        "DELETE FROM systems",
        "DELETE FROM users",
    ] {
        sqlx::query(statement).execute(queue.pool()).await.unwrap();
    }
}

struct Run {
    queue: Queue,
    broker: FaultyBroker<Queue>,
    clock: ManualClock,
    rng: Rng,
    /// What may be published once more.
    published: Vec<PendingEvent>,
    way: Way,
    struck: Struck,
}

impl Run {
    async fn all(&mut self, log: &[Change]) {
        let mut cascaded = false;
        for change in log {
            self.clock.advance(Duration::from_millis(self.rng.u64(1..400)));
            if self.way == Way::Faults {
                self.queue.events().set_enabled(self.rng.u32(..100) < 80);
            }
            let applied = self.apply(change).await;
            cascaded |= applied && deletes(change);
            match (self.way, self.rng.u32(..100)) {
                (Way::Events, 0..30) | (Way::Faults, 0..20) => self.work().await,
                (Way::Faults, 20..23) => self.sweep().await,
                (Way::Faults, 23..30) => self.publish_again(2).await,
                _ => {}
            }
        }
        if self.way == Way::Faults {
            self.publish_again(self.published.len() / 4).await;
        }
        self.work_until_drained().await;
        if self.way == Way::Events {
            self.check_what_events_have_reached(cascaded).await;
        }
        // The end state of the events alone, unless something was deleted behind their backs.
        if cascaded || self.way != Way::Events {
            self.sweep().await;
        }
    }

    /// All of it, but for what monitors have inherited over things that are gone.
    async fn check_what_events_have_reached(&self, cascaded: bool) {
        let differences = fresh::differences(self.queue.pool()).await.unwrap();
        assert_eq!(differences.missing, []);
        let is_left_behind = |row: &Derived| matches!(row, Derived::Inherited { .. }) && cascaded;
        assert!(differences.unexpected.iter().all(is_left_behind), "{differences:?}");
    }

    /// Whether the change was applied and committed.
    async fn apply(&mut self, change: &Change) -> bool {
        let mut session = self.queue.begin().await.unwrap();
        match change_log::apply(&mut session, change).await {
            Ok(()) if !change.is_rolled_back() => {
                let published = session.pending_events().as_slice();
                if self.way == Way::Faults && !self.queue.events().is_enabled() {
                    self.struck.dropped += published.len() as u64;
                }
                self.published.extend_from_slice(published);
                session.commit().await.unwrap();
                true
            }
            Ok(()) => {
                session.rollback().await.unwrap();
                false
            }
            Err(error) if error.is_refusal() => {
                session.rollback().await.unwrap();
                false
            }
            Err(error) => panic!("{error:?}"),
        }
    }

    /// So many old events come again, in any order.
    async fn publish_again(&mut self, count: usize) {
        let enabled = self.queue.events().is_enabled();
        self.queue.events().set_enabled(true);
        self.rng.shuffle(&mut self.published);
        let mut session = self.queue.begin().await.unwrap();
        for event in self.published.iter().take(count) {
            publish_as_it_was(&mut session, event).unwrap();
            self.struck.repeated += 1;
        }
        session.commit().await.unwrap();
        self.queue.events().set_enabled(enabled);
    }

    async fn sweep(&self) {
        for (name, report) in reconcile::everything(&self.queue, &Scope::All).await.unwrap() {
            assert_eq!(report.failed, [], "{name}");
        }
    }

    async fn work_until_drained(&mut self) {
        for round in 0.. {
            assert!(round < 50, "never drained: {:?}", self.queue.counts().await);
            if round == 20 {
                self.broker.faults().clear(); // enough of them
            }
            self.clock.advance(LATER);
            self.work().await;
            let counts = self.queue.counts().await.unwrap();
            assert_eq!(counts.dead, 0);
            if counts.is_drained() {
                return;
            }
        }
    }

    /// Handles what is due: one by one, or as workers would that have all bad luck at once.
    async fn work(&mut self) {
        let executor = Executor::new(self.broker.clone(), Arc::new(States::new())).unwrap();
        let mut worker = self.worker().await;
        loop {
            self.inject();
            let limit = if self.way == Way::Faults { 8 } else { 1 };
            let Ok(claimed) = self.broker.claim(worker, &Queues::all(), limit).await else {
                continue;
            };
            let mut tasks = claimed.tasks;
            if tasks.is_empty() {
                break;
            }
            self.rng.shuffle(&mut tasks);
            for lease in tasks {
                if !self.execute(&executor, worker, lease).await {
                    // Its other tasks are lost with it, and another takes them over.
                    self.broker.inner().deregister(worker).await.unwrap();
                    worker = self.worker().await;
                    break;
                }
            }
        }
        self.broker.inner().deregister(worker).await.unwrap();
    }

    async fn worker(&self) -> WorkerId {
        let worker = WorkerId::generate();
        self.broker.inner().register(worker, &WorkerInfo::new(Queues::all(), 1)).await.unwrap();
        self.broker.inner().rescue(worker, settings::settings().lease).await.unwrap();
        worker
    }

    /// Executes a task; `false` if its worker has died meanwhile.
    async fn execute(
        &mut self,
        executor: &Executor<FaultyBroker<Queue>>,
        worker: WorkerId,
        lease: Lease<<Queue as Broker>::Receipt>,
    ) -> bool {
        let stop = CancellationSource::new();
        let token = stop.token();
        let execution = executor.execute(worker, lease, &token);
        let execution = match (self.way, self.rng.u32(..100)) {
            (Way::Faults, fate @ 0..30) => {
                // In the middle of one of its statements, or before, or too late.
                let polls = self.rng.u32(1..12);
                let mut execution = pin!(execution);
                match timeout_after_polls(polls, execution.as_mut()).await {
                    Some(execution) => execution,
                    None if fate < 15 => {
                        self.struck.cut_off += 1;
                        return false;
                    }
                    None => {
                        self.struck.cut_off += 1;
                        stop.cancel();
                        execution.await
                    }
                }
            }
            _ => execution.await,
        };
        if let Some(settlement) = execution.settlement {
            while self.broker.settle(worker, std::slice::from_ref(&settlement)).await.is_err() {}
        }
        true
    }

    fn inject(&mut self) {
        if self.way != Way::Faults || !self.broker.faults().are_over() {
            return;
        }
        let fault = match self.rng.u32(..100) {
            0..10 => Fault::FailClaim,
            10..20 => Fault::FailBegin,
            _ => return,
        };
        self.broker.faults().inject(fault);
        self.struck.failures += 1; // the next call is hit, or the one after
    }
}

/// What a future resolves to, unless it has been polled so often before.
async fn timeout_after_polls<F: Future>(polls: u32, mut future: Pin<&mut F>) -> Option<F::Output> {
    let mut left = polls;
    poll_fn(|context| match future.as_mut().poll(context) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending if left == 0 => Poll::Ready(None),
        Poll::Pending => {
            left -= 1;
            Poll::Pending
        }
    })
    .await
}

fn deletes(change: &Change) -> bool {
    change.to_line().contains("delete_")
}

#[publishes(
    MonitorConnectionReassigned,
    MonitorInheritanceFlagChanged,
    MonitorOperationCompleted,
    SystemConnectionLinkChanged,
    SystemDataStewardsChanged
)]
fn publish_as_it_was(
    session: &mut repositories::Session,
    event: &PendingEvent,
) -> Result<(), StoreError> {
    macro_rules! publish {
        ($($event:ident),*) => {$(
            if let Some(again) = event.decode::<$event>() {
                publish_after_commit(session, again.expect("it was encoded"))?;
            }
        )*};
    }
    publish!(
        MonitorConnectionReassigned,
        MonitorInheritanceFlagChanged,
        MonitorOperationCompleted,
        SystemConnectionLinkChanged,
        SystemDataStewardsChanged
    );
    Ok(())
}
