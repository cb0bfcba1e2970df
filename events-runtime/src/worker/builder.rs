//! What may be set on a worker, and the checks before it starts.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use events_core::broker::{Broker, BrokerError};
use events_core::extract::{StateValue, States};
use events_core::reconciler::Reconciler;
use events_core::transport::Transport;
use events_core::{Events, Outbox, Queues};

use super::Worker;
use crate::execute::{Executor, MissingNeeds};
use crate::plan::{self, Scheduled};
use crate::relay::{AnyRelay, Relay, RelayError};
use crate::statistics::Statistics;

impl<B: Broker> Worker<B> {
    /// A worker for the subscribers of `events`, on the queue `broker`.
    ///
    /// ```no_run
    /// # use events_core::prelude::*;
    /// # use events_runtime::MemoryQueue;
    /// use events_runtime::{Worker, shutdown_signal};
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let events = Events::builder().build()?;
    /// let queue = MemoryQueue::new(&events);
    /// let worker = Worker::builder(&events, queue)
    ///     .queues(Queues::all().except(["slow"]))
    ///     .concurrency(16)
    ///     .build()?;
    /// worker.run_until(shutdown_signal()).await?;
    /// # Ok(()) }
    /// ```
    pub fn builder(events: &Events, broker: B) -> WorkerBuilder<B> {
        WorkerBuilder {
            events: events.clone(),
            broker,
            states: States::new(),
            queues: Queues::all(),
            concurrency: 16,
            prefetch: None,
            shutdown_grace: Duration::from_secs(30),
            reconcilers: true,
            relays: Vec::new(),
        }
    }
}

/// Builds a [`Worker`].
#[must_use]
#[derive(Debug)]
pub struct WorkerBuilder<B: Broker> {
    events: Events,
    broker: B,
    states: States,
    queues: Queues,
    concurrency: usize,
    prefetch: Option<usize>,
    shutdown_grace: Duration,
    reconcilers: bool,
    relays: Vec<Arc<dyn AnyRelay>>,
}

impl<B: Broker> WorkerBuilder<B> {
    /// State for handlers that take `State<T>`. A second one of the same type replaces the first.
    pub fn state<T: StateValue>(mut self, state: T) -> Self {
        self.states.insert(state);
        self
    }

    /// The queues to serve; all, unless set. Those that only foreign subscribers have are left to
    /// their programs, and those whose tasks are [forwarded](events_core::Forwarding) are not among all.
    pub fn queues(mut self, queues: Queues) -> Self {
        self.queues = queues;
        self
    }

    /// How many handlers run at once; 16 unless set.
    pub fn concurrency(mut self, handlers: usize) -> Self {
        self.concurrency = handlers;
        self
    }

    /// How many tasks are leased ahead of the handlers.
    ///
    /// Unless set, it follows the speed of the handlers: few when they are slow, so that other
    /// workers find work, and up to 2,048 when they are fast.
    pub fn prefetch(mut self, tasks: usize) -> Self {
        self.prefetch = Some(tasks);
        self
    }

    /// How long running handlers may go on after the shutdown began; 30 seconds unless set.
    pub fn shutdown_grace(mut self, grace: Duration) -> Self {
        self.shutdown_grace = grace;
        self
    }

    /// Whether this worker runs reconcilers that have a cadence; yes, unless set. However many workers
    /// do, each run is one's; at least one should.
    pub fn reconcilers(mut self, run: bool) -> Self {
        self.reconcilers = run;
        self
    }

    /// Runs this relay beside the tasks: it sends what waits in an outbox. However many workers do, one
    /// drains it at a time.
    ///
    /// May be called again, for other outboxes. They need not be those of the worker's queue.
    ///
    /// ```
    /// # use events_core::prelude::*;
    /// # use events_core::{Broker, Outbox, Transport};
    /// # use events_runtime::{Relay, Worker, WorkerError};
    /// # async fn example<Q: Broker + Outbox>(events: Events, queue: Q, transport: impl Transport) -> Result<(), WorkerError> {
    /// let relay = Relay::new(queue.clone(), transport);
    /// let worker = Worker::builder(&events, queue).relay(relay).build()?;
    /// # Ok(()) }
    /// ```
    pub fn relay<O: Outbox, T: Transport>(mut self, relay: Relay<O, T>) -> Self {
        self.relays.push(Arc::new(relay));
        self
    }

    /// Checks that every handler of these queues can be called, and every reconciler that it runs.
    ///
    /// # Errors
    /// A handler or reconciler takes something that nobody provided, a reconciler's cron expression or
    /// time zone cannot be used, a queue of the list belongs to no subscriber, only to foreign ones, or
    /// is forwarded, a relay is for an outbox that nothing is forwarded to, or the concurrency is zero.
    pub fn build(self) -> Result<Worker<B>, WorkerError> {
        if self.concurrency == 0 {
            return Err(WorkerError::NoConcurrency);
        }
        if !self.events.is_same(self.broker.events()) {
            return Err(WorkerError::OtherEvents);
        }
        self.relays.iter().try_for_each(|relay| relay.check())?;
        let settings = self.events.settings();
        let registry = self.events.registry();
        let forwarded = self.broker.forwarded();
        if let Some(queue) =
            self.queues.fixed().into_iter().flatten().find(|queue| forwarded.contains(queue))
        {
            return Err(WorkerError::ForwardedQueue { queue: queue.clone() });
        }
        let served = self.queues.without(&forwarded);
        let subscribers: Vec<_> = registry
            .local_subscribers()
            .filter(|subscriber| served.contains(subscriber.queue(settings)))
            .collect();
        let handled: BTreeSet<_> =
            registry.local_subscribers().map(|subscriber| subscriber.queue(settings)).collect();
        let foreign: BTreeMap<_, _> = registry
            .foreign_subscribers()
            .map(|foreign| (foreign.queue(settings), foreign))
            .filter(|(queue, _)| !handled.contains(queue))
            .collect();
        let mut named = self.queues.fixed().into_iter().flatten();
        if let Some(queue) = named.find(|queue| !handled.contains(queue.as_str())).cloned() {
            return Err(match foreign.get(queue.as_str()) {
                Some(foreign) => WorkerError::ForeignQueue { queue, subscriber: foreign.place() },
                None => WorkerError::UnknownQueue { queue },
            });
        }
        let queues = served.except(foreign.into_keys());
        let mut problems = Vec::new();
        let reconcilers = match self.reconcilers {
            true => plan::scheduled(&self.events, &mut problems),
            false => Vec::new(),
        };
        problems.extend(missing(&reconcilers, &self.states));
        MissingNeeds::check(problems)?;
        let states = Arc::new(self.states);
        let executor = Executor::for_subscribers(self.broker, states, &subscribers)?;
        Ok(Worker {
            executor,
            queues,
            concurrency: self.concurrency,
            prefetch: self.prefetch,
            shutdown_grace: self.shutdown_grace,
            reconcilers,
            relays: self.relays,
            statistics: Arc::new(Statistics::default()),
        })
    }
}

/// What reconcilers take that nobody provided.
fn missing(reconcilers: &[Scheduled], states: &States) -> Vec<String> {
    let of = |reconciler: &'static Reconciler| {
        reconciler.missing(states).into_iter().map(move |state| {
            format!(
                "reconciler `{}` ({}:{}) takes State<{state}>, which nobody gave; call `.state(…)` with a `{state}` on the worker's builder, or `.reconcilers(false)` if another worker runs them",
                reconciler.function, reconciler.file, reconciler.line
            )
        })
    };
    reconcilers.iter().flat_map(|scheduled| of(scheduled.reconciler)).collect()
}

/// Why a worker cannot start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WorkerError {
    /// A handler or reconciler takes something that nobody provided, or a reconciler's cron
    /// expression or time zone cannot be used.
    #[error(transparent)]
    Missing(#[from] MissingNeeds),
    /// No handler could ever run.
    #[error("the worker's concurrency is 0; give at least 1")]
    NoConcurrency,
    /// The queue was made with other `Events`: other subscribers, settings or kill switch.
    #[error("the queue was opened with other `Events` than the worker's; pass a clone of the same")]
    OtherEvents,
    /// Only foreign subscribers have this queue.
    #[error(
        "the queue `{queue}` is that of another program, for {subscriber}: this one has no handler for it; leave it out"
    )]
    ForeignQueue {
        /// Its name.
        queue: String,
        /// One of them, with its place.
        subscriber: String,
    },
    /// The tasks of this queue are sent elsewhere.
    #[error(
        "the tasks of the queue `{queue}` are forwarded and never wait here; leave it out of the worker's queues, and run a worker of the broker that they are sent to"
    )]
    ForwardedQueue {
        /// Its name.
        queue: String,
    },
    /// No subscriber has this queue.
    #[error(
        "no subscriber uses the queue `{queue}`; is its name misspelt, or the subscriber's crate not linked?"
    )]
    UnknownQueue {
        /// Its name.
        queue: String,
    },
    /// A relay of the worker cannot start.
    #[error(transparent)]
    Relay(#[from] RelayError),
    /// The part that writes heartbeats or the one that records outcomes panicked.
    #[error(
        "a part of the worker panicked, which the log tells; its tasks are taken over after a lease: run the worker again"
    )]
    Died,
    /// The queue could not be asked what is left to do.
    #[error("the worker could not ask its queue what is left to do")]
    Ask(#[source] BrokerError),
    /// The queue could not be reached.
    #[error("the worker could not register with its queue")]
    Register(#[source] BrokerError),
}
