//! A worker in Rust as a citizen of the fleet: it is seen by `celery status`, by Flower and by the other
//! workers, tells what becomes of its tasks, and answers to remote control.
//!
//! Nothing of it stands in the way of the work: it has a connection of its own, what it tells is dropped
//! when Redis cannot follow, and none of its failures is one of a task.

mod control;
mod envelope;
mod events;
mod inspect;
mod mingle;
mod node;
mod replies;
mod request;
mod revoked;
mod system;

use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use events_core::broker::{Lease, Settlement};
use events_core::{Events, Queues, WorkerId};
use futures_util::FutureExt;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};

use crate::broker::Inner;
use crate::end::End;
use crate::lease::{CeleryReceipt, Held};
use crate::link::Link;
use crate::options::CeleryOptions;
use crate::panics;
use crate::source::Source;
use events::Announcement;
use node::Node;
use revoked::Revoked;

/// How long the end of a worker may be held up by telling of it.
const FAREWELL: Duration = Duration::from_secs(1);

/// After a panic.
const BEGINS_AGAIN: Duration = Duration::from_secs(1);

/// What this process is to the fleet.
#[derive(Debug)]
pub(crate) struct Fleet {
    /// Of the first worker of this process.
    name: String,
    clock: Clock,
    /// Apart from that of the tasks.
    link: Arc<Link>,
    task_events: AtomicBool,
    announcements: mpsc::Sender<Announcement>,
    /// Where they come out, until a task of its own takes it to send them.
    announced: Mutex<Option<mpsc::Receiver<Announcement>>>,
    /// Task events that were not told because Redis could not follow.
    dropped: AtomicU64,
    /// The workers of this process.
    nodes: RwLock<Vec<Arc<Node>>>,
    revoked: Revoked,
    /// Whether somebody asked the program to end.
    shutdown: watch::Sender<bool>,
    /// Ended with the broker.
    tasks: Mutex<Vec<AbortHandle>>,
    since: Instant,
    /// Within which workers give signs of life.
    lease: Duration,
}

impl Drop for Fleet {
    fn drop(&mut self) {
        let tasks = self.tasks.get_mut().unwrap_or_else(PoisonError::into_inner);
        tasks.iter().for_each(AbortHandle::abort);
    }
}

/// Lamport's clock: what is told after something was heard has a greater number.
#[derive(Debug, Default)]
struct Clock(AtomicU64);

impl Clock {
    fn forward(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed).wrapping_add(1)
    }

    fn adjust(&self, heard: u64) {
        // What nobody can have counted to is no time, and would leave no room for later ones.
        self.0.fetch_max(heard.min(u64::MAX / 2), Ordering::Relaxed);
        self.forward();
    }

    fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Fleet {
    pub(crate) fn new(options: &CeleryOptions, source: &Source, events: &Events) -> Self {
        let (announcements, announced) = mpsc::channel(events::MOST_WAITING);
        Self {
            name: options.node_name_or_default(),
            clock: Clock::default(),
            link: Link::new(source.clone(), options.response_timeout),
            task_events: AtomicBool::new(options.task_events),
            announcements,
            announced: Mutex::new(Some(announced)),
            dropped: AtomicU64::new(0),
            nodes: RwLock::default(),
            revoked: Revoked::default(),
            shutdown: watch::Sender::new(false),
            tasks: Mutex::default(),
            since: Instant::now(),
            lease: events.settings().lease,
        }
    }

    fn tells_of_tasks(&self) -> bool {
        self.task_events.load(Ordering::Relaxed)
    }

    /// The workers of this process that live.
    fn nodes(&self) -> Vec<Arc<Node>> {
        let nodes = self.nodes.read().unwrap_or_else(PoisonError::into_inner);
        nodes.iter().filter(|node| node.lives(self.lease)).cloned().collect()
    }

    fn node(&self, worker: WorkerId) -> Option<Arc<Node>> {
        let nodes = self.nodes.read().unwrap_or_else(PoisonError::into_inner);
        nodes.iter().find(|node| node.worker == worker).cloned()
    }

    /// Resolves when somebody asks the program to end.
    pub(crate) async fn shutdown_requested(&self) {
        let mut requests = self.shutdown.subscribe();
        if requests.wait_for(|requested| *requested).await.is_err() {
            std::future::pending::<()>().await; // the sender lives as long as `self`
        }
    }

    /// Whether somebody called the task back.
    pub(crate) fn is_revoked(&self, id: &str) -> bool {
        self.revoked.contains(id, Instant::now())
    }

    /// Tells of a task, if that is wanted and Redis can follow.
    fn tell(&self, event: events::Event) {
        if self.announcements.try_send(Announcement::Task(event)).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Makes a worker of this process known to the fleet, once.
pub(crate) async fn join(inner: &Arc<Inner>, worker: WorkerId, queues: &Queues) {
    let fleet = &inner.fleet;
    let queues = inner.queues(queues);
    let node = {
        let mut nodes = fleet.nodes.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = nodes.iter().find(|node| node.worker == worker) {
            known.live();
            return;
        }
        // Whoever is gone without leave makes room for its name.
        nodes.retain(|node| node.lives(fleet.lease));
        // The lowest that is free.
        let is_free = |number: &usize| nodes.iter().all(|node| node.number != *number);
        let number = (1..=nodes.len()).find(is_free).unwrap_or(nodes.len() + 1);
        let registry = inner.events.registry();
        let node = Node::new(worker, &fleet.name, number, queues, registry);
        let node = Arc::new(node);
        nodes.push(node.clone());
        node
    };
    tracing::info!(
        %worker,
        node = node.name,
        redis = inner.link.source().name(),
        key_prefix = inner.keys.prefix,
        queues = node.queues.join(", "),
        "worker joined the fleet"
    );
    start(inner);
    let online = events::of_worker("worker-online", &node, inner.events.now());
    timeout(FAREWELL, fleet.announcements.send(online)).await.ok();
}

/// Starts what runs beside the workers, with the first of them.
fn start(inner: &Arc<Inner>) {
    let fleet = &inner.fleet;
    let announced = fleet.announced.lock().unwrap_or_else(PoisonError::into_inner).take();
    let Some(announced) = announced else { return };
    let weak = Arc::downgrade(inner);
    let (to_send, to_beat, to_listen) = (weak.clone(), weak.clone(), weak);
    let announced = Arc::new(tokio::sync::Mutex::new(announced));
    let started = [
        keep("tell of tasks", move || {
            let (inner, announced) = (to_send.clone(), announced.clone());
            async move { events::send(inner, &mut *announced.lock().await).await }
        }),
        keep("send heartbeats", move || events::beat(to_beat.clone())),
        keep("listen to remote control", move || control::listen(to_listen.clone())),
    ];
    fleet.tasks.lock().unwrap_or_else(PoisonError::into_inner).extend(started);
}

/// Runs it to its end. A panic is a bug of ours, and must not make the worker deaf or invisible.
fn keep<F>(action: &'static str, mut run: impl FnMut() -> F + Send + 'static) -> AbortHandle
where
    F: Future<Output = ()> + Send + 'static,
{
    let kept = async move {
        while let Err(panic) = AssertUnwindSafe(run()).catch_unwind().await {
            tracing::error!(
                action,
                panic = panics::text(&*panic),
                "what makes this worker a part of the fleet panicked and begins again; report it as a bug of events-celery"
            );
            sleep(BEGINS_AGAIN).await;
        }
    };
    tokio::spawn(kept).abort_handle()
}

/// Takes leave of the fleet on behalf of a worker that ends, or that was taken for dead.
pub(crate) async fn leave(inner: &Inner, worker: WorkerId) {
    let fleet = &inner.fleet;
    let node = {
        let mut nodes = fleet.nodes.write().unwrap_or_else(PoisonError::into_inner);
        let at = nodes.iter().position(|node| node.worker == worker);
        at.map(|at| nodes.swap_remove(at))
    };
    let Some(node) = node else { return };
    let (sent, is_sent) = oneshot::channel();
    let tell = async {
        let offline = events::of_worker("worker-offline", &node, inner.events.now());
        fleet.announcements.send(offline).await.ok();
        fleet.announcements.send(Announcement::Mark(sent)).await.ok();
        // The process may end right after.
        is_sent.await.ok();
    };
    timeout(FAREWELL, tell).await.ok();
}

/// Notes that a worker says it lives, whether Redis hears of it or not.
pub(crate) fn live(inner: &Inner, worker: WorkerId) {
    if let Some(node) = inner.fleet.node(worker) {
        node.live();
    }
}

/// Tells how many tasks a worker runs at once.
pub(crate) fn introduce(inner: &Inner, worker: WorkerId, concurrency: usize) {
    if let Some(node) = inner.fleet.node(worker) {
        node.set_concurrency(concurrency);
    }
}

/// Notes what a worker claimed, of at most `limit`.
pub(crate) fn claimed(
    inner: &Inner,
    worker: WorkerId,
    limit: usize,
    leases: &[Lease<CeleryReceipt>],
) {
    for lease in leases {
        tracing::debug!(
            celery_id = lease.receipt.0.message.id,
            task_id = %lease.task.id,
            task = &*lease.task.name,
            "task claimed"
        );
    }
    let Some(node) = inner.fleet.node(worker) else { return };
    node.claimed(limit, leases.iter().map(|lease| &lease.receipt.0));
    if inner.fleet.tells_of_tasks() {
        let now = inner.events.now();
        for lease in leases {
            let held = &lease.receipt.0;
            inner.fleet.tell(events::received(&node, &held.message, &held.text, now));
        }
    }
}

/// Tells of messages that were claimed and are not to be run here and now, before they go where they
/// belong.
pub(crate) fn set_aside(inner: &Inner, worker: WorkerId, ends: &[(String, End)]) {
    if !inner.fleet.tells_of_tasks() {
        return;
    }
    let Some(node) = inner.fleet.node(worker) else { return };
    for (_, end) in ends {
        for event in events::of_set_aside(&node, end, inner.events.now()) {
            inner.fleet.tell(event);
        }
    }
}

/// Notes that the handler of a task is called, unless somebody called the task back since it was claimed,
/// or it has expired: whoever claims it next drops it then.
pub(crate) fn start_task(inner: &Inner, worker: WorkerId, held: &Held) -> bool {
    let now = inner.events.now();
    if inner.fleet.is_revoked(&held.message.id) || held.message.has_expired(now) {
        return false;
    }
    held.started.set(now);
    let Some(node) = inner.fleet.node(worker) else { return true };
    if let Some(subscriber) = inner.events.registry().subscriber(&held.message.name) {
        node.count(subscriber.task);
    }
    if inner.fleet.tells_of_tasks() {
        inner.fleet.tell(events::started(&node, &held.message.id, now));
    }
    true
}

/// Tells what became of tasks, of those whose claim had held.
pub(crate) fn settled(
    inner: &Inner,
    worker: WorkerId,
    settlements: &[Settlement<CeleryReceipt>],
    held: &[bool],
) {
    if !inner.fleet.tells_of_tasks() {
        return;
    }
    let Some(node) = inner.fleet.node(worker) else { return };
    let now = inner.events.now();
    for (settlement, _) in settlements.iter().zip(held).filter(|(_, held)| **held) {
        inner.fleet.tell(events::ended(&node, &settlement.receipt.0, &settlement.next, now));
    }
}

/// Tells that a task completed together with what its handler published.
pub(crate) fn completed(inner: &Inner, worker: WorkerId, held: &Held) {
    if !inner.fleet.tells_of_tasks() {
        return;
    }
    let Some(node) = inner.fleet.node(worker) else { return };
    let next = events_core::lifecycle::Next::Complete;
    inner.fleet.tell(events::ended(&node, held, &next, inner.events.now()));
}

#[cfg(test)]
mod tests {
    use super::Clock;

    #[test]
    fn what_is_told_after_something_was_heard_has_a_greater_number() {
        let clock = Clock::default();
        assert_eq!((clock.forward(), clock.forward()), (1, 2));
        clock.adjust(40);
        assert!(clock.forward() > 40);
        clock.adjust(3);
        assert!(clock.value() > 42);
    }
}
