//! One scenario, run in one way, to the state that it leaves.

use std::sync::Arc;
use std::time::Duration;

use events_core::broker::{Admin, Broker, Queues};
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
use stewardship::replay::{fresh, open_with};
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
    /// Some events are dropped, others handled in any order, more than once, in attempts that are
    /// cut off, by a broker that fails; sweeps come in between and in the end.
    Faults,
}

/// Longer than any window, and than any pause after a fault.
const LATER: Duration = Duration::from_secs(30);

/// The state that a log leaves in this database, which is emptied before. Its derived rows are right.
pub(super) async fn run(workspace: &Workspace, log: &[Change], way: Way, seed: u64) -> Vec<String> {
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
    };
    run.all(log).await;
    let differences = fresh::differences(run.queue.pool()).await.unwrap();
    assert!(differences.is_empty(), "{way:?}: {differences:?}");
    let state = sqlx::query_scalar(STATE).fetch_all(run.queue.pool()).await.unwrap();
    run.queue.pool().close().await;
    state
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
            match self.way {
                Way::Events if self.rng.u32(..100) < 30 => self.work().await,
                Way::Faults if self.rng.u32(..100) < 20 => self.work().await,
                Way::Faults if self.rng.u32(..100) < 3 => self.sweep().await,
                _ => {}
            }
        }
        if self.way == Way::Faults {
            self.publish_again().await;
        }
        self.work_until_drained().await;
        // The end state of the events alone, unless something was deleted behind their backs.
        if cascaded || self.way != Way::Events {
            self.sweep().await;
        }
    }

    /// Whether the change was applied and committed.
    async fn apply(&mut self, change: &Change) -> bool {
        let mut session = self.queue.begin().await.unwrap();
        match change_log::apply(&mut session, change).await {
            Ok(()) if !change.is_rolled_back() => {
                self.published.extend_from_slice(session.pending_events().as_slice());
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

    /// Old events come again, in another order.
    async fn publish_again(&mut self) {
        self.queue.events().set_enabled(true);
        self.rng.shuffle(&mut self.published);
        let again = self.published.len() / 4;
        let mut session = self.queue.begin().await.unwrap();
        for event in &self.published[..again] {
            publish_as_it_was(&mut session, event).unwrap();
        }
        session.commit().await.unwrap();
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

    /// Handles what is due: one by one, or as a worker would that has all bad luck at once.
    async fn work(&mut self) {
        let executor = Executor::new(self.broker.clone(), Arc::new(States::new())).unwrap();
        let worker = WorkerId::generate();
        self.broker.inner().register(worker, &Queues::all()).await.unwrap();
        loop {
            if self.way == Way::Faults {
                self.inject();
            }
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
                let stop = CancellationSource::new();
                if self.way == Way::Faults && self.rng.u32(..100) < 10 {
                    stop.cancel(); // the attempt is cut off
                }
                let execution = executor.execute(worker, lease, &stop.token()).await;
                if let Some(settlement) = execution.settlement {
                    while self
                        .broker
                        .settle(worker, std::slice::from_ref(&settlement))
                        .await
                        .is_err()
                    {}
                }
            }
        }
        self.broker.inner().deregister(worker).await.unwrap();
    }

    fn inject(&mut self) {
        for fault in [Fault::FailClaim, Fault::FailBegin, Fault::FailSettle, Fault::DeliverTwice] {
            if self.broker.faults().are_over() && self.rng.u32(..100) < 10 {
                self.broker.faults().inject(fault);
            }
        }
    }
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
