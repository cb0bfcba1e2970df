//! Heartbeats, and what is done beside them: taking over from dead workers, pruning the archive,
//! looking at the queue's health.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use events_core::BoxError;
use events_core::broker::{Broker, BrokerError, Heartbeat, Rescued, WorkerInfo};
use events_core::context::CancellationSource;
use events_core::event::WorkerId;
use tokio::sync::watch;
use tokio::time::error::Elapsed;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::checkup::Checkup;
use crate::relay::trouble::Trouble;
use crate::statistics::Statistics;

/// How often the archive is pruned.
const PRUNE_EVERY: Duration = Duration::from_mins(1);

/// How often the queue's health is looked at.
const CHECKUP_EVERY: Duration = Duration::from_mins(1);

/// A worker's standing between two losses of its leases.
#[derive(Debug, Clone)]
pub(crate) struct Standing {
    /// Under which id tasks are claimed.
    pub(crate) worker: WorkerId,
    /// Cancelled when the leases of this standing are lost, or may be.
    pub(crate) lost: CancellationSource,
    /// Whether tasks may be claimed.
    pub(crate) may_claim: bool,
}

impl Standing {
    pub(crate) fn new() -> Self {
        Self { worker: WorkerId::generate(), lost: CancellationSource::new(), may_claim: true }
    }
}

/// Keeps a worker alive in the eyes of others, until dropped.
pub(crate) struct Liveness<B: Broker> {
    pub(crate) broker: B,
    pub(crate) info: WorkerInfo,
    pub(crate) standing: watch::Sender<Standing>,
    pub(crate) statistics: Arc<Statistics>,
    pub(crate) troubles: Troubles,
}

/// What fails again and again while the broker is away, and is told now and then.
#[derive(Debug, Default)]
pub(crate) struct Troubles {
    heartbeats: Trouble,
    rescues: Trouble,
}

impl<B: Broker> Liveness<B> {
    fn lease(&self) -> Duration {
        self.broker.events().settings().lease
    }

    /// Beats three times a lease. The worker was registered just now.
    pub(crate) async fn run(mut self) {
        let interval = self.lease() / 3;
        let mut last_beat = Instant::now();
        let mut looked = true;
        let mut next_prune = Instant::now() + PRUNE_EVERY;
        let mut next_checkup = Instant::now() + CHECKUP_EVERY;
        let mut checkup = Checkup::default();
        // What the one before it left, if it was killed and started again.
        self.rescue(interval / 2).await;
        loop {
            let pause = match looked {
                true => interval.mul_f64(0.9 + 0.1 * fastrand::f64()),
                false => interval / 4,
            };
            if looked {
                // The tasks of who died are not to wait for the next heartbeat as well.
                sleep((pause / 2).saturating_sub(last_beat.elapsed())).await;
                self.rescue(interval / 4).await;
            }
            sleep(pause.saturating_sub(last_beat.elapsed())).await;
            if !self.beat(&mut last_beat).await {
                sleep(interval / 10).await;
                continue; // who cannot speak draws no conclusions about others
            }
            looked = self.rescue(interval / 2).await;
            if Instant::now() >= next_prune && self.prune(interval / 4).await {
                next_prune = Instant::now() + PRUNE_EVERY;
            }
            if Instant::now() >= next_checkup {
                checkup.look(&self.broker, interval / 2).await;
                next_checkup = Instant::now() + CHECKUP_EVERY;
            }
        }
    }

    /// Whether the heartbeat was written in good time.
    ///
    /// A late answer is still waited for: the heartbeat may come through.
    async fn beat(&mut self, last_beat: &mut Instant) -> bool {
        let worker = self.standing.borrow().worker;
        let asked = Instant::now();
        let answer = self.heartbeat(worker, *last_beat).await;
        let failure = match answer {
            Ok(Ok(Heartbeat::Alive)) => {
                // Others count from when it was written, which may be long before the answer.
                *last_beat = asked;
                let after = self.troubles.heartbeats.is_over();
                self.regain(after);
                return asked.elapsed() <= self.lease() / 3;
            }
            Ok(Ok(Heartbeat::Lost)) => {
                tracing::warn!(
                    %worker,
                    "this worker is not registered any more: others took it for dead and run its tasks again, or the broker has lost its data; starting anew (was the process stopped, the machine overloaded, or a broker without persistence restarted?)"
                );
                self.start_anew(last_beat).await;
                return false;
            }
            Ok(Err(error)) => BoxError::from(error),
            Err(_) => format!("no answer within {:?}", self.lease()).into(),
        };
        let silent = last_beat.elapsed();
        self.troubles.heartbeats.begins();
        if self.troubles.heartbeats.is_to_be_told() {
            tracing::warn!(
                %worker,
                error = &*failure,
                ?silent,
                "the heartbeat could not be written; trying again"
            );
        }
        if silent >= self.lease() {
            self.lose();
        }
        false
    }

    /// Sends a heartbeat. When the lease is over before the answer comes, the worker stops meanwhile.
    async fn heartbeat(
        &self,
        worker: WorkerId,
        last_beat: Instant,
    ) -> Result<Result<Heartbeat, BrokerError>, Elapsed> {
        let mut answer = pin!(timeout(self.lease(), self.broker.heartbeat(worker)));
        loop {
            let holds = self.standing.borrow().may_claim;
            tokio::select! {
                biased;
                answer = &mut answer => return answer,
                () = sleep_until(last_beat + self.lease()), if holds => self.lose(),
            }
        }
    }

    /// The leases may have lapsed: nothing is claimed, and what runs outside a transaction stops.
    fn lose(&self) {
        self.standing.send_if_modified(|standing| {
            if !standing.may_claim {
                return false;
            }
            tracing::error!(
                worker = %standing.worker,
                "no heartbeat for a whole lease: others may run this worker's tasks; handlers outside a transaction are stopped until the queue can be reached"
            );
            standing.lost.cancel();
            standing.may_claim = false;
            true
        });
    }

    /// The heartbeat came through, after heartbeats had failed for so long; nobody had taken over.
    fn regain(&self, after: Option<Duration>) {
        let regained = self.standing.send_if_modified(|standing| {
            if standing.may_claim {
                return false;
            }
            standing.lost = CancellationSource::new();
            standing.may_claim = true;
            true
        });
        if regained || after.is_some() {
            let worker = self.standing.borrow().worker;
            tracing::info!(%worker, ?after, "the heartbeat came through again");
        }
    }

    /// Stops what runs under the old id, then registers under a new one; on failure the next beat
    /// finds out and tries again.
    async fn start_anew(&self, last_beat: &mut Instant) {
        self.standing.send_modify(|standing| {
            standing.lost.cancel();
            standing.may_claim = false;
        });
        let fresh = Standing::new();
        let register = self.broker.register(fresh.worker, &self.info);
        if let Ok(Ok(())) = timeout(self.lease(), register).await {
            *last_beat = Instant::now();
            self.standing.send_replace(fresh);
        }
    }

    /// Whether it could be looked for dead workers; if not, the next heartbeat comes sooner.
    async fn rescue(&mut self, patience: Duration) -> bool {
        let worker = self.standing.borrow().worker;
        match timeout(patience, self.broker.rescue(worker, self.lease())).await {
            Ok(Ok(rescued)) => {
                self.troubles.rescues.is_over();
                log_rescued(&rescued);
                self.statistics.add_rescued(rescued.len() as u64);
                true
            }
            Ok(Err(error)) => {
                if self.troubles.rescues.is_to_be_told() {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "tasks of dead workers could not be looked for; trying again at the next heartbeat"
                    );
                }
                false
            }
            Err(_) => {
                tracing::debug!("looking for dead workers takes long; the heartbeat goes first");
                false
            }
        }
    }

    /// Whether there is nothing left to prune for now.
    async fn prune(&self, patience: Duration) -> bool {
        match timeout(patience, self.broker.prune()).await {
            Ok(Ok(0)) | Err(_) => true,
            Ok(Ok(pruned)) => {
                tracing::debug!(pruned, "archive pruned");
                false
            }
            Ok(Err(error)) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "the archive could not be pruned; trying again in a minute"
                );
                true
            }
        }
    }
}

/// One warning for each dead worker; its tasks, which may be many, on the level below.
fn log_rescued(rescued: &[Rescued]) {
    let mut by_worker: BTreeMap<WorkerId, usize> = BTreeMap::new();
    for task in rescued {
        *by_worker.entry(task.worker).or_default() += 1;
        tracing::info!(
            task_id = %task.task_id,
            subscriber = task.name,
            attempt = task.attempt,
            dead_worker = %task.worker,
            "task is offered again"
        );
    }
    for (worker, tasks) in by_worker {
        tracing::warn!(
            dead_worker = %worker,
            tasks,
            "tasks taken from a worker that died or stalled; they are offered again"
        );
    }
}
