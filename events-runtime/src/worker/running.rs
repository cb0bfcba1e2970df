//! The loop of a worker: claims, hands tasks to handlers, and stops.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use events_core::broker::{Broker, BrokerError, Claimed, Lease, Settlement};
use events_core::context::{Cancellation, CancellationSource};
use events_core::event::WorkerId;
use events_core::lifecycle::Next;
use events_core::subscriber::Subscriber;
use futures_util::FutureExt;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::feed::Feed;
use super::{LAST_WORDS, Worker};
use crate::execute::Executor;
use crate::liveness::Standing;
use crate::relay::trouble::Trouble;
use crate::settle::Outcome;
use crate::statistics::Statistics;

/// Between two polls when nothing is known to be due. The wake-up is only a hint.
const POLL: Duration = Duration::from_secs(1);

/// After a claim that failed.
const CLAIM_RETRY: Duration = Duration::from_millis(250);

/// Before a task is offered again whose execution panicked outside its handler.
const AFTER_PANIC: Duration = Duration::from_secs(5);

type Claim<R> = Pin<Box<dyn Future<Output = (WorkerId, Result<Claimed<R>, BrokerError>)> + Send>>;

/// A leased task, and the standing under which it was claimed.
pub(super) struct Held<R> {
    lease: Lease<R>,
    worker: WorkerId,
    lost: Cancellation,
}

/// The loop's state.
pub(super) struct Running<'w, B: Broker> {
    worker: &'w Worker<B>,
    /// Set by the heartbeat.
    standing: watch::Receiver<Standing>,
    /// Leased and not yet started.
    feed: Arc<Feed<B::Receipt>>,
    /// Each runs one task after another, as long as there are any. Dropped with the loop, which
    /// stops them.
    handlers: JoinSet<()>,
    /// Tasks on their way back, unstarted.
    returns: JoinSet<()>,
    /// Cancelled when the grace period is over; stops handlers in transactions too.
    stop: CancellationSource,
    /// To the task that records outcomes; it ends when all senders are gone.
    outcomes: mpsc::Sender<Outcome<B::Receipt>>,
    claims: Trouble,
}

impl<'w, B: Broker> Running<'w, B> {
    pub(super) fn new(
        worker: &'w Worker<B>,
        standing: watch::Receiver<Standing>,
        outcomes: mpsc::Sender<Outcome<B::Receipt>>,
    ) -> Self {
        Self {
            worker,
            standing,
            feed: Arc::new(Feed::new(worker.prefetch)),
            handlers: JoinSet::new(),
            returns: JoinSet::new(),
            stop: CancellationSource::new(),
            outcomes,
            claims: Trouble::default(),
        }
    }

    pub(super) async fn serve<S: Future>(&mut self, shutdown: S) {
        let broker = self.worker.executor.broker().clone();
        let feed = self.feed.clone();
        let mut shutdown = pin!(shutdown);
        let mut wake = Box::pin(broker.wake());
        let mut timer = pin!(sleep(Duration::ZERO));
        // Not the timer's own word: it has elapsed as soon as it fires, also if something else is seen first.
        let mut ticks = true;
        let mut claim: Option<Claim<B::Receipt>> = None;
        let mut look = true;
        let mut not_before = Instant::now();
        loop {
            self.start_handlers();
            if look && claim.is_none() && Instant::now() >= not_before {
                claim = self.claim(&broker);
                look = claim.is_none(); // no room yet: look again when there is
            }
            let stale_at = self.feed.stale_at();
            tokio::select! {
                biased;
                _ = &mut shutdown => break,
                Some(_) = self.handlers.join_next(), if !self.handlers.is_empty() => {}
                Some(_) = self.returns.join_next(), if !self.returns.is_empty() => {}
                () = feed.runs_low() => {}
                // Before the claim, so that it listens while the claim looks.
                () = &mut wake => {
                    look = true;
                    wake = Box::pin(broker.wake());
                }
                claimed = async { claim.as_mut().expect("checked").await }, if claim.is_some() => {
                    claim = None;
                    let failed = claimed.1.is_err();
                    match self.take(claimed) {
                        None => look = true,
                        Some(pause) => {
                            let next = Instant::now() + pause;
                            timer.set(sleep_until(next));
                            ticks = true;
                            if failed {
                                not_before = next; // whatever wakes the worker meanwhile
                            }
                        }
                    }
                }
                () = &mut timer, if ticks => {
                    ticks = false;
                    look = true;
                }
                () = sleep_until(stale_at.unwrap_or(not_before)), if stale_at.is_some() => {
                    if self.feed.stale_at().is_some_and(|at| at <= Instant::now()) {
                        self.put_back(|_| true);
                    }
                }
                Ok(()) = self.standing.changed() => {
                    // What has not started is somebody else's by now, or put back here: the fence
                    // decides.
                    self.put_back(|held| held.lost.is_cancelled());
                    look = true;
                }
            }
        }
        if let Some(claim) = claim {
            self.put_back(|_| true); // while it is waited for, nothing new is started
            // Dropped, it might leave leases behind that nobody knows of.
            let claimed = claim.await;
            self.take(claimed);
        }
    }

    fn claim(&mut self, broker: &B) -> Option<Claim<B::Receipt>> {
        let standing = self.standing.borrow();
        if !standing.may_claim {
            return None;
        }
        let worker = standing.worker;
        let free = self.worker.concurrency.saturating_sub(self.handlers.len());
        let limit = self.feed.claim_size(free)?;
        let queues = self.worker.queues.clone();
        let broker = broker.clone();
        Some(Box::pin(async move { (worker, broker.claim(worker, &queues, limit).await) }))
    }

    /// Takes in what was claimed. `None`: there may be more at once; else when to look again.
    fn take(
        &mut self,
        (worker, claimed): (WorkerId, Result<Claimed<B::Receipt>, BrokerError>),
    ) -> Option<Duration> {
        let claimed = match claimed {
            Ok(claimed) => claimed,
            Err(error) => {
                self.claims.begins();
                if self.claims.is_to_be_told() {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "tasks could not be claimed; trying again"
                    );
                }
                return Some(CLAIM_RETRY.mul_f64(0.5 + fastrand::f64()));
            }
        };
        if let Some(after) = self.claims.is_over() {
            tracing::info!(?after, "tasks can be claimed again");
        }
        self.worker.statistics.add_claimed(claimed.tasks.len() as u64);
        let standing = self.standing.borrow();
        // A claim that was under way while the worker started anew came back with the old id.
        let lost = match standing.worker == worker {
            true => standing.lost.token(),
            false => {
                let lost = CancellationSource::new();
                lost.cancel();
                lost.token()
            }
        };
        let full = self.feed.fill(claimed.tasks.into_iter().map(|lease| Held {
            lease,
            worker,
            lost: lost.clone(),
        }));
        if full {
            return None;
        }
        let pause = POLL.mul_f64(0.75 + 0.5 * fastrand::f64());
        let now = self.worker.executor.broker().events().now();
        Some(claimed.next_due.map_or(pause, |due| due.since(now).min(pause)))
    }

    fn start_handlers(&mut self) {
        while self.handlers.try_join_next().is_some() {}
        let free = self.worker.concurrency.saturating_sub(self.handlers.len());
        for _ in 0..free.min(self.feed.len()) {
            // Boxed: tokio moves what it spawns several times, and this has room for a handler.
            self.handlers.spawn(Box::pin(run_handlers(
                self.feed.clone(),
                self.worker.executor.clone(),
                self.stop.token(),
                self.outcomes.clone(),
                self.worker.statistics.clone(),
            )));
        }
    }

    fn put_back(&mut self, which: impl Fn(&Held<B::Receipt>) -> bool) {
        let (held, outcomes) = (self.feed.drain(which), self.outcomes.clone());
        // One after the other: a queue that keeps an order gets them back in theirs.
        self.returns.spawn(async move {
            for held in held {
                put_back(held, &outcomes).await;
            }
        });
    }

    /// Lets handlers finish, then stops them. Whether all of them ended.
    pub(super) async fn stop(&mut self, grace: Duration) -> bool {
        let unstarted = self.feed.drain(|_| true);
        tracing::info!(
            running = self.handlers.len(),
            unstarted = unstarted.len(),
            ?grace,
            "worker is stopping"
        );
        let ended = async {
            for held in unstarted {
                put_back(held, &self.outcomes).await;
            }
            while self.returns.join_next().await.is_some() {}
            while self.handlers.join_next().await.is_some() {}
        };
        if timeout(grace, ended).await.is_ok() {
            return true;
        }
        tracing::warn!(
            running = self.handlers.len(),
            "the grace period is over: handlers that still run are stopped and their tasks put back"
        );
        self.stop.cancel();
        self.standing.borrow().lost.cancel();
        if timeout(LAST_WORDS, self.all_ended()).await.is_ok() {
            return true;
        }
        tracing::error!(
            running = self.handlers.len(),
            "blocking handlers do not return; their tasks are taken over after a lease (let them look at TaskContext::cancellation)"
        );
        false
    }

    async fn all_ended(&mut self) {
        while self.handlers.join_next().await.is_some() {}
    }
}

/// Dropped in the midst of it: async handlers are dropped along, sync ones are told. In this order, so
/// that an async one hardly ever sees that it is told; if it does, it puts its task back.
impl<B: Broker> Drop for Running<'_, B> {
    fn drop(&mut self) {
        self.handlers.abort_all();
        self.stop.cancel();
        self.standing.borrow().lost.cancel();
    }
}

/// Runs what waits, one task after another.
async fn run_handlers<B: Broker>(
    feed: Arc<Feed<B::Receipt>>,
    executor: Executor<B>,
    stop: Cancellation,
    outcomes: mpsc::Sender<Outcome<B::Receipt>>,
    statistics: Arc<Statistics>,
) {
    while let Some(held) = feed.next() {
        run_handler(&executor, held, &stop, &outcomes, &statistics).await;
    }
}

async fn run_handler<B: Broker>(
    executor: &Executor<B>,
    held: Held<B::Receipt>,
    stop: &Cancellation,
    outcomes: &mpsc::Sender<Outcome<B::Receipt>>,
    statistics: &Statistics,
) {
    let Held { lease, worker, lost } = held;
    let subscriber = executor.broker().events().registry().subscriber(&lease.task.name);
    // A transaction is fenced by the task's row in it; losing the lease cannot do it harm.
    let interrupt = match subscriber.is_some_and(Subscriber::is_transactional) {
        true => stop,
        false => &lost,
    };
    // The handler's own panics are outcomes. One of the broker's must not leave a lease behind that
    // a live worker holds and nobody executes.
    let unfinished = Settlement {
        receipt: lease.receipt.clone(),
        attempt: lease.attempt,
        next: Next::Release { after: AFTER_PANIC },
    };
    let execution = AssertUnwindSafe(executor.execute(worker, lease, interrupt)).catch_unwind();
    let Ok(execution) = execution.await else {
        tracing::error!(
            "the execution of a task panicked outside its handler; the task is put back"
        );
        outcomes.send((worker, unfinished)).await.ok();
        return;
    };
    match execution.settlement {
        Some(settlement) => {
            // The receiver is gone only when the worker was dropped.
            outcomes.send((worker, settlement)).await.ok();
        }
        None if execution.stale => statistics.add_stale(1),
        None => statistics.add_completed(1),
    }
}

async fn put_back<R>(held: Held<R>, outcomes: &mpsc::Sender<Outcome<R>>) {
    let Held { lease, worker, .. } = held;
    let settlement = Settlement {
        receipt: lease.receipt,
        attempt: lease.attempt,
        next: Next::Release { after: Duration::ZERO },
    };
    outcomes.send((worker, settlement)).await.ok();
}
