//! The worker: claims, hands each task to an executor, and stops gracefully.

mod builder;
mod feed;
mod running;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use events_core::broker::{Admin, Broker, BrokerError, WorkerInfo};
use events_core::context::CancellationSource;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

pub use builder::{WorkerBuilder, WorkerError};
use running::Running;

use crate::execute::Executor;
use crate::liveness::{Liveness, Standing, Troubles};
use crate::plan::Scheduled;
use crate::relay::{self, AnyRelay};
use crate::schedule::Schedule;
use crate::settle;
use crate::statistics::Statistics;

/// Between two looks whether anything is left to do.
const LOOK_WHETHER_DRAINED: Duration = Duration::from_millis(5);

/// How long handlers that were told to stop, and the last outcomes, are waited for at shutdown.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// Executes the tasks of a program's subscribers.
///
/// See [`WorkerBuilder`] for what may be set. Several workers, in one process or many, share a
/// queue.
#[derive(Debug)]
pub struct Worker<B: Broker> {
    executor: Executor<B>,
    queues: events_core::Queues,
    concurrency: usize,
    prefetch: Option<usize>,
    shutdown_grace: Duration,
    /// Those that run by themselves.
    reconcilers: Vec<Scheduled>,
    relays: Vec<Arc<dyn AnyRelay>>,
    statistics: Arc<Statistics>,
}

impl<B: Broker> Worker<B> {
    /// What the worker has done, also while it runs.
    #[must_use]
    pub fn statistics(&self) -> Arc<Statistics> {
        self.statistics.clone()
    }

    /// Executes tasks until nothing waits, not even for later, nor in an outbox that this worker
    /// relays, and nothing runs; then stops. For tests, and for programs that work off a queue and end.
    ///
    /// Retries, delays and snoozes are waited for. Other programs may publish meanwhile. No reconciler
    /// is run.
    ///
    /// # Errors
    /// The queue could not be reached at the start, or not be asked what is left.
    pub async fn run_until_drained(mut self) -> Result<(), WorkerError>
    where
        B: Admin,
    {
        self.reconcilers.clear();
        let (broker, relays) = (self.executor.broker().clone(), self.relays.clone());
        let statistics = self.statistics.clone();
        let mut asked = Ok(());
        let drained = async {
            loop {
                match is_drained(&broker, &relays, &statistics).await {
                    Ok(true) => return,
                    Ok(_) => sleep(LOOK_WHETHER_DRAINED).await,
                    Err(error) => {
                        asked = Err(WorkerError::Ask(error));
                        return;
                    }
                }
            }
        };
        self.run_until(drained).await?;
        asked
    }

    /// Executes tasks until `shutdown` resolves, with whatever, then stops gracefully: claims
    /// nothing more, lets running handlers finish within the grace period, stops the others, puts
    /// back what did not start, and records every outcome.
    ///
    /// Dropping this future stops everything at once, and tells sync handlers to; the tasks that
    /// were running are taken over by other workers, after a lease at the latest.
    ///
    /// # Errors
    /// The queue could not be reached at the start; later the worker waits for it to come back. Or
    /// a part of the worker itself panicked.
    pub async fn run_until<S: Future>(self, shutdown: S) -> Result<(), WorkerError> {
        let broker = self.executor.broker().clone();
        let standing = Standing::new();
        let info = WorkerInfo::new(self.queues.clone(), self.concurrency);
        broker.register(standing.worker, &info).await.map_err(WorkerError::Register)?;
        tracing::info!(
            worker = %standing.worker,
            queues = %self.queues,
            concurrency = self.concurrency,
            "worker started"
        );
        let worker = standing.worker;
        let (standing, _) = watch::channel(standing);
        let (outcomes, received) = mpsc::channel(4096);
        let mut background = JoinSet::new(); // dropped with this future, which stops them
        background.spawn(settle::settle(broker.clone(), received, self.statistics.clone()));
        let liveness = Liveness {
            broker: broker.clone(),
            info,
            standing: standing.clone(),
            statistics: self.statistics.clone(),
            troubles: Troubles::default(),
        };
        let heart = background.spawn(liveness.run());
        let schedule_stops = CancellationSource::new();
        let states = self.executor.states().clone();
        let (reconcilers, grace) = (self.reconcilers.clone(), self.shutdown_grace);
        let schedule = Schedule::new(broker.clone(), worker, states, reconcilers, grace);
        let mut schedules = JoinSet::new();
        schedules.spawn(schedule.run(schedule_stops.token()));
        for relay in &self.relays {
            schedules
                .spawn(relay.clone().run(schedule_stops.token(), grace.min(relay::LAST_WORDS)));
        }
        let mut running = Running::new(&self, standing.subscribe(), outcomes);
        // None of them ends by itself, but for a panic, and the worker is nothing without.
        tokio::select! {
            () = running.serve(shutdown) => {}
            Some(_) = background.join_next() => return Err(WorkerError::Died),
            Some(_) = schedules.join_next() => return Err(WorkerError::Died),
        }
        schedule_stops.cancel();
        // They stop by themselves when the grace period is over, and say how they ended.
        let ended = async { while schedules.join_next().await.is_some() {} };
        let (idle, _) = tokio::join!(running.stop(grace), timeout(grace + LAST_WORDS, ended));
        drop(schedules);
        drop(running); // closes the channel of outcomes
        let flushed = timeout(LAST_WORDS, async {
            heart.abort();
            while background.join_next().await.is_some() {}
        });
        if flushed.await.is_err() {
            tracing::error!(
                "the last outcomes could not be recorded; their tasks run again after a lease"
            );
        } else if idle {
            let worker = standing.borrow().worker;
            if let Err(error) = broker.deregister(worker).await {
                tracing::debug!(
                    error = &error as &dyn std::error::Error,
                    "heartbeat left to lapse"
                );
            }
        }
        tracing::info!(
            completed = self.statistics.completed(),
            retried = self.statistics.retried(),
            dead = self.statistics.dead(),
            "worker stopped"
        );
        Ok(())
    }
}

/// Whether nothing waits and nothing runs.
///
/// The queue and the outboxes cannot be asked at one moment, and what a relay sends may come back to
/// the queue, whose handlers may fill the outboxes. They were empty together if the queue was so before
/// and afterwards, and nothing was claimed in between.
async fn is_drained<B: Admin>(
    broker: &B,
    relays: &[Arc<dyn AnyRelay>],
    statistics: &Statistics,
) -> Result<bool, BrokerError> {
    let claimed = statistics.claimed();
    if !broker.counts().await?.is_drained() {
        return Ok(false);
    }
    for relay in relays {
        if relay.backlog().await?.tasks > 0 {
            return Ok(false);
        }
    }
    let again = relays.is_empty() || broker.counts().await?.is_drained();
    Ok(again && statistics.claimed() == claimed)
}
