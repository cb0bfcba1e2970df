//! Runs reconcilers when they are due, once for all workers of a queue.
//!
//! Who runs one stamps the start first, and only one can. So a run that fails, or whose process
//! dies, has used up its interval, and the next one or one on demand repairs.

use std::error::Error;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use events_core::broker::{Broker, BrokerError};
use events_core::cadence::{ReconcilerState, RunResult, RunStart};
use events_core::context::Cancellation;
use events_core::event::WorkerId;
use events_core::extract::States;
use events_core::lifecycle::Chain;
use events_core::reconciler::{Reconciler, ReconcilerContext};
use events_core::{Scope, Timestamp};
use futures_util::FutureExt;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::plan::{Plan, Scheduled};

/// At least so often it is looked whether something is due: a clock may have been set.
const LOOK_EVERY: Duration = Duration::from_secs(30);

/// After a look that failed.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// The reconcilers of a program that run by themselves, as one worker sees them.
pub(crate) struct Schedule<B: Broker> {
    broker: B,
    states: Arc<States>,
    worker: WorkerId,
    started: Timestamp,
    reconcilers: Vec<Scheduled>,
    /// How long runs may go on once the worker stops.
    grace: Duration,
}

impl<B: Broker> Schedule<B> {
    pub(crate) fn new(
        broker: B,
        worker: WorkerId,
        states: Arc<States>,
        reconcilers: Vec<Scheduled>,
        grace: Duration,
    ) -> Self {
        let started = broker.events().now();
        Self { broker, states, worker, started, reconcilers, grace }
    }

    /// Runs what is due until `stop` is requested, and then waits for what runs.
    pub(crate) async fn run(self, stop: Cancellation) {
        if self.reconcilers.is_empty() {
            return stop.cancelled().await;
        }
        let mut running = JoinSet::new(); // dropped with this future, which stops them
        while !stop.is_cancelled() {
            let pause = match self.tick(&stop, &mut running).await {
                Ok(next) => {
                    let wait = next.map(|next| next.since(self.broker.events().now()));
                    wait.unwrap_or(LOOK_EVERY).min(LOOK_EVERY)
                }
                Err(error) => {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "it could not be looked which reconcilers are due; trying again"
                    );
                    LOOK_AGAIN
                }
            };
            let pause = pause.mul_f64(1.0 + 0.1 * fastrand::f64()) + Duration::from_millis(1);
            tokio::select! {
                () = sleep(pause) => {}
                () = stop.cancelled() => {}
                Some(_) = running.join_next(), if !running.is_empty() => {}
            }
        }
        while running.join_next().await.is_some() {}
    }

    /// Starts what is due. When the next will be.
    async fn tick(
        &self,
        stop: &Cancellation,
        running: &mut JoinSet<()>,
    ) -> Result<Option<Timestamp>, BrokerError> {
        let known = self.broker.reconcilers().await?;
        let mut next = None;
        for Scheduled { reconciler, plan } in &self.reconcilers {
            if stop.is_cancelled() {
                break;
            }
            let state = known.iter().find(|state| state.name == reconciler.name);
            let due = match state {
                Some(state) => plan.due(state, self.started, self.broker.events().now()),
                None => self.announce(reconciler, plan).await?,
            };
            let due = match due <= self.broker.events().now() {
                true => self.begin(reconciler, plan, state, stop, running).await?,
                false => due,
            };
            next = Some(next.map_or(due, |next: Timestamp| next.min(due)));
        }
        Ok(next)
    }

    /// One that nobody has heard of waits for its first time, or begins at once.
    async fn announce(
        &self,
        reconciler: &Reconciler,
        plan: &Plan,
    ) -> Result<Timestamp, BrokerError> {
        let now = self.broker.events().now();
        let first = match plan.run_on_start {
            true => now,
            false => plan.next(now, fastrand::f64()),
        };
        self.broker.announce_reconciler(reconciler.name, first).await?;
        Ok(first)
    }

    /// Stamps the start, and runs if nobody else has.
    async fn begin(
        &self,
        reconciler: &'static Reconciler,
        plan: &Plan,
        state: Option<&ReconcilerState>,
        stop: &Cancellation,
        running: &mut JoinSet<()>,
    ) -> Result<Timestamp, BrokerError> {
        let now = self.broker.events().now();
        let start = RunStart {
            name: reconciler.name,
            after: state.and_then(|state| state.started_at),
            started_at: now,
            started_by: self.worker,
            next_at: plan.next(now, fastrand::f64()),
        };
        if self.broker.begin_run(&start).await? {
            let run = Run {
                broker: self.broker.clone(),
                states: self.states.clone(),
                start: start.clone(),
                deadline: plan.deadline,
                stop: stop.clone(),
                grace: self.grace,
            };
            running.spawn(run.run());
        }
        Ok(start.next_at)
    }
}

/// One run whose start is stamped.
struct Run<B: Broker> {
    broker: B,
    states: Arc<States>,
    start: RunStart,
    deadline: Duration,
    stop: Cancellation,
    grace: Duration,
}

impl<B: Broker> Run<B> {
    async fn run(self) {
        let result = self.result().await;
        let Self { broker, start, .. } = self;
        let name = start.name;
        // Also if the clock was set back meanwhile.
        let ended_at = broker.events().now().max(start.started_at);
        let end = broker.end_run(name, start.started_at, ended_at, &result).await;
        if let Err(error) = end {
            tracing::warn!(
                reconciler = name,
                error = &error as &dyn std::error::Error,
                "how a reconciler's run ended could not be remembered"
            );
        }
    }

    /// Runs it, however that ends.
    async fn result(&self) -> RunResult {
        let (name, deadline) = (self.start.name, self.deadline);
        let mut states = (*self.states).clone();
        states.insert(ReconcilerContext::new(self.stop.clone()));
        let reconcile = self.broker.events().reconcile(name, Scope::All, &states);
        // A panic must not end the schedule, nor leave the run without an end.
        let reconcile = timeout(deadline, AssertUnwindSafe(reconcile).catch_unwind());
        let stopped = async {
            self.stop.cancelled().await;
            sleep(self.grace).await;
        };
        let ended = tokio::select! {
            ended = reconcile => ended,
            () = stopped => {
                tracing::warn!(
                    reconciler = name,
                    "a reconciler is stopped in the middle of its run; the next run or an on-demand run recovers"
                );
                return RunResult::failed("stopped: its worker shut down");
            }
        };
        match ended {
            Ok(Ok(Ok(report))) => RunResult::of(&report),
            Ok(Ok(Err(error))) => {
                let cause = error.source().unwrap_or(&error);
                RunResult::failed(Chain(cause).to_string())
            }
            Ok(Err(_)) => {
                tracing::error!(
                    reconciler = name,
                    "reconciler panicked; the next run or an on-demand run recovers"
                );
                RunResult::failed("it panicked")
            }
            Err(_) => {
                tracing::error!(
                    reconciler = name,
                    ?deadline,
                    "reconciler took longer than its deadline and was stopped; the next run or an on-demand run recovers"
                );
                RunResult::failed(format!("stopped: it took longer than {deadline:?}"))
            }
        }
    }
}
