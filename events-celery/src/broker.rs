//! The queues of Redis as workers see them.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use events_core::broker::{Claimed, Heartbeat, Rescued, Settlement, WorkerInfo};
use events_core::health::Health;
use events_core::sightings::Sightings;
use events_core::{Broker, BrokerError, Events, Queues, TaskId, Timestamp, WorkerId};

use crate::error::CeleryError;
use crate::fleet::Fleet;
use crate::keys::{Keys, Step};
use crate::lease::{CeleryReceipt, HeldTags};
use crate::link::Link;
use crate::liveness::Records;
use crate::message::uuid_of;
use crate::options::CeleryOptions;
use crate::restore::Sweeps;
use crate::results::Results;
use crate::session::CelerySession;
use crate::transport::CeleryTransport;
use crate::watch::Watch;
use crate::{admin, claim, fleet, liveness, rescue, settle};

/// The queues of a Celery fleet on Redis, for workers in Rust: they consume what Python publishes and
/// what Rust publishes. Clones share it.
///
/// # What it promises, and what Redis cannot
/// - Claiming a message is one atomic step. The worker then sends a heartbeat three times per lease, so
///   neither its running tasks, however long they take, nor those of a worker that died are lost.
/// - **At least once.** A task runs again if its worker dies before it says that it is done, or if a
///   consumer with a shorter visibility timeout takes it for lapsed. There is no transaction with an
///   application's database here: handlers that take one do not run on this queue. What they may take is
///   `&mut` [`CelerySession`], to publish together with the end of their task. Others know what they have
///   done by the [event id](events_core::current_event_id).
/// - Redis keeps what its append-only file keeps. Without one a restart forgets everything; with
///   `appendfsync everysec` a power cut may lose a second. It must not evict: `maxmemory-policy
///   noeviction`.
/// - Priorities are Celery's four steps (0, 3, 6 and 9; 0 first); a negative one goes to the front of its
///   queue. Within a list the order is that of arrival, and tasks that waited for their time join at its end.
///
/// # A queue of one's own, or a shared one
/// A worker in Python throws away tasks whose names it does not know. Give tasks in Rust a queue of their
/// own, or share one only with workers that know the same tasks, and name it to
/// [`CeleryOptions::shared_queues`].
///
/// `Queues::all()` are here the queues of this program's subscribers: Redis cannot tell which there are.
///
/// # Connections
/// For `maxclients`: one for commands, once a worker is registered two for the fleet and remote control and
/// one for each list that waits to be woken (a queue has four, one for each step of priority; beyond eight
/// lists one more looks at the rest), and one for results in another Redis. Workers and clones of one
/// broker share them.
pub struct CeleryBroker {
    pub(crate) inner: Arc<Inner>,
    /// The changes that this clone has answered to.
    seen: AtomicU64,
}

pub(crate) struct Inner {
    pub(crate) events: Events,
    pub(crate) options: CeleryOptions,
    pub(crate) keys: Keys,
    pub(crate) link: Arc<Link>,
    pub(crate) transport: CeleryTransport,
    pub(crate) sightings: Sightings,
    pub(crate) held: HeldTags,
    pub(crate) watch: Watch,
    pub(crate) sweeps: Sweeps,
    pub(crate) records: Records,
    /// The next message of each list, and since when this process has seen it be that.
    pub(crate) next_seen: Mutex<HashMap<String, (u64, Timestamp)>>,
    pub(crate) fleet: Fleet,
    pub(crate) results: Option<Results>,
    /// Numbers claims: with the worker's id, their tags are like no others.
    pub(crate) claims: AtomicU64,
}

impl fmt::Debug for CeleryBroker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CeleryBroker").field("options", &self.inner.options).finish_non_exhaustive()
    }
}

impl Clone for CeleryBroker {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), seen: AtomicU64::new(self.seen.load(Ordering::SeqCst)) }
    }
}

impl CeleryBroker {
    /// Connects to the fleet's Redis, with default [options](CeleryOptions). The URL is Celery's
    /// `broker_url`.
    ///
    /// # Errors
    /// The URL cannot be used, or Redis cannot be reached, refuses the user, or is too old; the text
    /// says what to do.
    pub async fn connect(url: &str, events: &Events) -> Result<Self, CeleryError> {
        CeleryOptions::new().connect(url, events).await
    }

    pub(crate) async fn open(
        options: &CeleryOptions,
        url: &str,
        events: &Events,
    ) -> Result<Self, CeleryError> {
        let (source, results) = options.sources(url)?;
        let transport = CeleryTransport::new(options, source.clone(), events);
        transport.check_version().await?;
        if options.visibility_timeout < events.settings().lease {
            tracing::warn!(
                visibility_timeout = ?options.visibility_timeout,
                lease = ?events.settings().lease,
                "the visibility timeout is shorter than the lease: messages that workers hold lapse and run twice; raise visibility_timeout here and in broker_transport_options of the Python programs"
            );
        }
        let inner = Inner {
            events: events.clone(),
            keys: Keys::new(&options.prefix, source.database()),
            watch: Watch::new(source.clone()),
            link: transport.link().clone(),
            transport,
            fleet: Fleet::new(options, &source, events),
            results: Results::new(options, results),
            options: options.clone(),
            sightings: Sightings::default(),
            held: HeldTags::default(),
            sweeps: Sweeps::default(),
            records: Records::default(),
            next_seen: Mutex::default(),
            claims: AtomicU64::new(0),
        };
        Ok(Self { inner: Arc::new(inner), seen: AtomicU64::new(0) })
    }

    /// What sends tasks to the same Redis.
    #[must_use]
    pub fn transport(&self) -> &CeleryTransport {
        &self.inner.transport
    }

    /// The id that a task of Celery has here, in logs, results of [`Admin`](events_core::broker::Admin) and
    /// dead letters: that of Celery if it is a UUID, which is written without dashes then, and one that is
    /// made from it otherwise.
    ///
    /// ```
    /// # use events_celery::CeleryBroker;
    /// let id = CeleryBroker::task_id("930cc354-1f60-4956-bae5-ffffb26986be");
    /// assert_eq!(id.to_string(), "930cc3541f604956bae5ffffb26986be");
    /// let id = CeleryBroker::task_id("order-4711");
    /// assert_eq!(id.to_string(), "46298508dc0d500c9be0fc9a22cf8319");
    /// ```
    #[must_use]
    pub fn task_id(celery_id: &str) -> TaskId {
        TaskId::from_bytes(uuid_of(celery_id).into_bytes())
    }

    /// Begins a session without a database: its commit sends the tasks.
    ///
    /// Where the program has a database, publish in its transactions instead, and have them forwarded.
    #[must_use]
    pub fn begin(&self) -> CelerySession {
        CelerySession::new(self.clone(), None)
    }

    /// Resolves when somebody asks this program to end: `celery control shutdown`, or Flower.
    ///
    /// Only the program can end itself. So it waits for this beside its own signals, and stops its
    /// workers as it does for those. A request that comes while nobody waits is logged and forgotten.
    ///
    /// ```no_run
    /// # use events_core::Events;
    /// # use events_celery::CeleryBroker;
    /// use events_runtime::{Worker, shutdown_signal};
    /// # async fn serve(events: &Events, broker: CeleryBroker) -> Result<(), events_core::BoxError> {
    /// let worker = Worker::builder(events, broker.clone()).build()?;
    /// worker
    ///     .run_until(async {
    ///         tokio::select! {
    ///             () = shutdown_signal() => {}
    ///             () = broker.shutdown_requested() => {}
    ///         }
    ///     })
    ///     .await?;
    /// # Ok(()) }
    /// ```
    pub async fn shutdown_requested(&self) {
        self.inner.fleet.shutdown_requested().await;
    }

    /// Runs `operation` to its end even if the caller goes away, so that nothing is half done.
    pub(crate) async fn uninterrupted<T, F>(
        &self,
        action: &'static str,
        operation: impl FnOnce(Arc<Inner>) -> F,
    ) -> Result<T, BrokerError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, CeleryError>> + Send + 'static,
    {
        match tokio::spawn(operation(self.inner.clone())).await {
            Ok(answer) => answer.map_err(|error| error.into_broker_error(action)),
            Err(error) => Err(BrokerError::new(action, error)),
        }
    }
}

/// The queues of this program's subscribers.
pub(crate) fn known_queues(events: &Events) -> BTreeSet<&str> {
    let subscribers = events.registry().local_subscribers();
    subscribers.map(|subscriber| subscriber.queue(events.settings())).collect()
}

impl Inner {
    /// The queues of this program's subscribers, sorted.
    pub(crate) fn known_queues(&self) -> Vec<String> {
        known_queues(&self.events).into_iter().map(str::to_owned).collect()
    }

    /// The queues that are meant, sorted.
    pub(crate) fn queues(&self, queues: &Queues) -> Vec<String> {
        match queues.fixed() {
            Some(fixed) => fixed.iter().cloned().collect(),
            None => {
                let mut known = self.known_queues();
                known.retain(|queue| queues.contains(queue));
                known
            }
        }
    }

    /// Their lists, in the order in which they are served: for each step, all queues. With every turn
    /// another queue is the first, or one that is never empty would starve the others.
    pub(crate) fn lists(&self, queues: &Queues, turn: u64) -> Vec<(String, Step)> {
        let mut queues = self.queues(queues);
        if !queues.is_empty() {
            let first = usize::try_from(turn).unwrap_or(0) % queues.len();
            queues.rotate_left(first);
        }
        let all = |step| queues.iter().map(move |queue| (queue.clone(), step));
        Step::ALL.into_iter().flat_map(all).collect()
    }

    pub(crate) fn is_shared(&self, queue: &str) -> bool {
        self.options.shared_queues.iter().any(|shared| shared == queue)
    }
}

impl Broker for CeleryBroker {
    type Receipt = CeleryReceipt;
    type Transaction = CelerySession;

    fn events(&self) -> &Events {
        &self.inner.events
    }

    fn forwarded(&self) -> Queues {
        Queues::none()
    }

    async fn register(&self, worker: WorkerId, info: &WorkerInfo) -> Result<(), BrokerError> {
        let WorkerInfo { queues, concurrency, .. } = info.clone();
        self.uninterrupted("register a worker", move |inner| async move {
            liveness::register(&inner, worker, &queues).await?;
            fleet::join(&inner, worker, &queues).await;
            fleet::introduce(&inner, worker, concurrency);
            Ok(())
        })
        .await
    }

    async fn heartbeat(&self, worker: WorkerId) -> Result<Heartbeat, BrokerError> {
        self.uninterrupted("take a heartbeat", move |inner| async move {
            fleet::live(&inner, worker);
            let heartbeat = liveness::heartbeat(&inner, worker).await?;
            if heartbeat == Heartbeat::Lost {
                fleet::leave(&inner, worker).await;
            }
            Ok(heartbeat)
        })
        .await
    }

    async fn deregister(&self, worker: WorkerId) -> Result<(), BrokerError> {
        self.uninterrupted("deregister a worker", move |inner| async move {
            fleet::leave(&inner, worker).await;
            liveness::deregister(&inner, worker).await
        })
        .await
    }

    async fn claim(
        &self,
        worker: WorkerId,
        queues: &Queues,
        limit: usize,
    ) -> Result<Claimed<CeleryReceipt>, BrokerError> {
        // What changes from here on, the next `wake` tells.
        self.seen.store(self.inner.watch.changes(), Ordering::SeqCst);
        let queues = queues.clone();
        let delivery = self
            .uninterrupted("hand out tasks", move |inner| async move {
                claim::claim(inner, worker, &queues, limit).await
            })
            .await?;
        Ok(delivery.take())
    }

    fn start(&self, worker: WorkerId, receipt: &CeleryReceipt, _attempt: u32) -> bool {
        fleet::start_task(&self.inner, worker, &receipt.0)
    }

    async fn settle(
        &self,
        worker: WorkerId,
        settlements: &[Settlement<CeleryReceipt>],
    ) -> Result<Vec<bool>, BrokerError> {
        let settlements = settlements.to_vec();
        self.uninterrupted("settle tasks", move |inner| async move {
            settle::settle(&inner, worker, &settlements).await
        })
        .await
    }

    async fn begin_task(
        &self,
        worker: WorkerId,
        receipt: &CeleryReceipt,
    ) -> Result<Option<CelerySession>, BrokerError> {
        let held = settle::is_held(&self.inner, receipt)
            .await
            .map_err(|error| error.into_broker_error("begin a task's session"))?;
        Ok(held.then(|| CelerySession::new(self.clone(), Some((worker, receipt.clone())))))
    }

    async fn rescue(&self, worker: WorkerId, lease: Duration) -> Result<Vec<Rescued>, BrokerError> {
        self.uninterrupted("rescue tasks", move |inner| async move {
            rescue::rescue(&inner, worker, lease).await
        })
        .await
    }

    async fn prune(&self) -> Result<u64, BrokerError> {
        Ok(0) // nothing is kept of tasks that are done
    }

    async fn health(&self) -> Result<Health, BrokerError> {
        admin::health(&self.inner)
            .await
            .map_err(|error| error.into_broker_error("tell how it is doing"))
    }

    async fn wake(&self) {
        let changes = self.inner.watch.changed_since(self.seen.load(Ordering::SeqCst)).await;
        self.seen.store(changes, Ordering::SeqCst);
    }
}
