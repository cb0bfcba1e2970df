//! The relay: sends what waits in an outbox, in order, and deletes what was sent.
//!
//! One of all relays of an outbox is active. It holds the lease, and everything that it records
//! names the lease's token; so one that stalls, and wakes up when another has taken over, can
//! record nothing.

mod active;
mod apart;
mod aside;
mod error;
mod holding;
mod outcome;
mod parcel;
mod sending;
mod suspects;
mod telling;
#[cfg(test)]
mod tests;
pub(crate) mod trouble;

use std::fmt;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use events_core::broker::BrokerError;
use events_core::context::{Cancellation, CancellationSource};
use events_core::event::WorkerId;
use events_core::outbox::{Acquired, Backlog, DEFAULT_OUTBOX, Outbox};
use events_core::task::Name;
use events_core::transport::Transport;
use tokio::time::{Instant, sleep};

pub use error::RelayError;

use active::{Active, End, Memory};
use holding::Holding;
use trouble::Trouble;

/// The longest lease: as long as a relay that died may hold up all others.
const LONGEST_LEASE: Duration = Duration::from_mins(10);

/// The shortest: a renewal takes a moment.
const SHORTEST_LEASE: Duration = Duration::from_millis(50);

/// The pause between two looks whether the lease is free.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
const SHORTEST_PAUSE: Duration = Duration::from_millis(50);

/// How long the batch under way may go on once the relay is to stop.
pub(crate) const LAST_WORDS: Duration = Duration::from_secs(10);

/// Sends what waits in an outbox through a transport.
///
/// Any number of relays may run, in one process or many: one is active and the others stand by, to
/// take over within about a lease. A task is sent at least once, always with the same ids; the tasks
/// of a session, and those of sessions that followed one another, are sent in order.
///
/// ```
/// # use events_core::prelude::*;
/// # use events_core::{Outbox, Transport};
/// use events_runtime::{Relay, shutdown_signal};
///
/// # async fn example(queue: impl Outbox, transport: impl Transport) -> Result<(), events_core::BoxError> {
/// Relay::new(queue, transport).batch(500).run_until(shutdown_signal()).await?;
/// # Ok(()) }
/// ```
///
/// Or in a worker: [`WorkerBuilder::relay`](crate::WorkerBuilder::relay).
#[must_use = "a relay does nothing until it runs"]
pub struct Relay<O, T> {
    outbox: O,
    transport: T,
    name: String,
    batch: usize,
    lease: Duration,
}

impl<O, T> fmt::Debug for Relay<O, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Relay")
            .field("name", &self.name)
            .field("batch", &self.batch)
            .field("lease", &self.lease)
            .finish_non_exhaustive()
    }
}

impl<O: Outbox, T: Transport> Relay<O, T> {
    /// A relay from the outbox of `queue`, which is [forwarded](events_core::Forwarding) to, to
    /// `transport`.
    pub fn new(queue: O, transport: T) -> Self {
        Self {
            outbox: queue,
            transport,
            name: DEFAULT_OUTBOX.to_owned(),
            batch: 2000,
            lease: Duration::from_secs(15),
        }
    }

    /// Which outbox, where the queue has several.
    pub fn named(mut self, outbox: impl Into<String>) -> Self {
        self.name = outbox.into();
        self
    }

    /// About how many tasks are handed to the transport at once, fewer if they have more than some
    /// megabytes; 2,000 unless set, and one at least. A relay that dies in between may send up to this
    /// many twice.
    pub fn batch(mut self, tasks: usize) -> Self {
        self.batch = tasks.max(1);
        self
    }

    /// How long the relay may be silent before another takes over; 15 seconds unless set, 50
    /// milliseconds at least and ten minutes at most. The clocks of the machines must agree much better
    /// than that.
    ///
    /// A relay that could send nothing for four leases, because the broker is away or refuses every
    /// task, leaves the outbox to others for a lease or two. A transport that does not come back from a
    /// batch for twenty leases is cut off; a task on which it hangs alone is put aside for forty leases at
    /// first.
    pub fn lease(mut self, lease: Duration) -> Self {
        self.lease = lease.clamp(SHORTEST_LEASE, LONGEST_LEASE);
        self
    }

    /// Sends until `shutdown` resolves, with whatever. Then it finishes the batch under way, for up to
    /// ten seconds, and gives the lease back, so that another relay takes over at once.
    ///
    /// A database or a broker that is away is waited for. Dropping this future stops it at once: what
    /// was sent and not yet recorded is sent again, after a lease.
    ///
    /// # Errors
    /// Nothing is forwarded to an outbox of this name; it has sent nothing.
    pub async fn run_until<S: Future>(self, shutdown: S) -> Result<(), RelayError> {
        self.check()?;
        let stop = CancellationSource::new();
        let mut run = pin!(self.run(stop.token(), LAST_WORDS));
        tokio::select! {
            () = &mut run => {}
            _ = shutdown => {
                stop.cancel();
                run.await;
            }
        }
        Ok(())
    }

    /// Whether its outbox is one of the queue's.
    fn check(&self) -> Result<(), RelayError> {
        let known = self.outbox.outboxes();
        match known.iter().any(|known| *known == self.name) {
            true => Ok(()),
            false => Err(RelayError::UnknownOutbox {
                outbox: self.name.clone(),
                known: known.into_iter().map(Name::into_owned).collect(),
            }),
        }
    }

    async fn run(&self, stop: Cancellation, last_words: Duration) {
        let relay = WorkerId::generate();
        tracing::info!(%relay, outbox = self.name, "relay started");
        let (mut trouble, mut memory) = (Trouble::default(), Memory::default());
        while let Some(holding) = self.stand_by(relay, &stop, &mut trouble, &mut memory).await {
            tracing::info!(%relay, outbox = self.name, "relay is active");
            match Active::new(self, &holding, &mut memory, last_words).serve(&stop).await {
                End::Lost => tracing::warn!(
                    %relay,
                    outbox = self.name,
                    "another relay has taken over, for this one was silent for a lease; what it has sent last may be sent again"
                ),
                End::GivesUp => {
                    tracing::warn!(
                        %relay,
                        outbox = self.name,
                        "this relay could send nothing for a while and leaves the outbox to others; it asks for it again in a lease or two"
                    );
                    self.give_back(&holding).await;
                }
                End::Stopped => {
                    self.give_back(&holding).await;
                    break;
                }
            }
            // Two of which each takes the lease from the other, because their clocks differ, would send
            // the same batch again and again.
            let away = self.lease.mul_f64(1.0 + fastrand::f64());
            tokio::select! {
                () = sleep(away) => {}
                () = stop.cancelled() => {}
            }
        }
        tracing::info!(%relay, outbox = self.name, "relay stopped");
    }

    async fn give_back(&self, holding: &Holding) {
        if let Err(error) = self.outbox.release_outbox(holding.lease()).await {
            tracing::debug!(
                error = &error as &dyn std::error::Error,
                "the lease of the outbox is left to lapse"
            );
        }
    }

    /// Waits for the lease. `None` when told to stop.
    async fn stand_by(
        &self,
        relay: WorkerId,
        stop: &Cancellation,
        trouble: &mut Trouble,
        memory: &mut Memory,
    ) -> Option<Holding> {
        while !stop.is_cancelled() {
            let asked = Instant::now();
            let acquired = self.outbox.acquire_outbox(&self.name, relay, self.lease).await;
            if acquired.is_ok() {
                trouble.is_over();
            }
            let pause = match acquired {
                Ok(Acquired::Held(lease)) => {
                    return Some(Holding::new(lease, self.lease, asked));
                }
                Ok(Acquired::ByAnother { remaining }) => {
                    trouble.is_over();
                    memory.transport.is_over(); // it is the other's now
                    remaining.min(self.lease / 4).min(LONGEST_PAUSE)
                }
                Err(error) => {
                    let pause = trouble.pause();
                    if trouble.is_to_be_told() {
                        tracing::warn!(
                            error = &error as &dyn std::error::Error,
                            outbox = self.name,
                            "the lease of an outbox could not be asked for; trying again"
                        );
                    }
                    pause
                }
            };
            let pause = pause.mul_f64(1.0 + 0.1 * fastrand::f64());
            // A lease that is given back wakes those who stand by, and so does every commit.
            let woken = async {
                sleep(SHORTEST_PAUSE).await;
                self.outbox.wake_relay().await;
            };
            tokio::select! {
                () = sleep(pause.max(SHORTEST_PAUSE)) => {}
                () = woken, if !trouble.is_going_on() => {}
                () = stop.cancelled() => {}
            }
        }
        None
    }
}

/// A relay that a worker runs, whatever its outbox and its transport.
pub(crate) trait AnyRelay: fmt::Debug + Send + Sync + 'static {
    /// Whether its outbox is one of the queue's.
    fn check(&self) -> Result<(), RelayError>;

    /// Sends until `stop` is requested. The batch under way may then go on for so long.
    fn run(
        self: Arc<Self>,
        stop: Cancellation,
        last_words: Duration,
    ) -> Pin<Box<dyn Future<Output = ()> + Send>>;

    /// What waits in its outbox.
    fn backlog(&self) -> Pin<Box<dyn Future<Output = Result<Backlog, BrokerError>> + Send + '_>>;
}

impl<O: Outbox, T: Transport> AnyRelay for Relay<O, T> {
    fn check(&self) -> Result<(), RelayError> {
        Self::check(self)
    }

    fn run(
        self: Arc<Self>,
        stop: Cancellation,
        last_words: Duration,
    ) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(async move { Self::run(&self, stop, last_words).await })
    }

    fn backlog(&self) -> Pin<Box<dyn Future<Output = Result<Backlog, BrokerError>> + Send + '_>> {
        Box::pin(self.outbox.outbox_backlog(&self.name))
    }
}
