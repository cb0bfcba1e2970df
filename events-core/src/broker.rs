//! The seam to what hands tasks to workers and takes their outcome.
//!
//! The promises are the contract suite of `events-testing`; every broker runs it.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use crate::BoxError;
use crate::cadence::ReconcilerRuns;
use crate::clock::Timestamp;
use crate::event::{EventId, TaskId, WorkerId};
use crate::events::Events;
use crate::extract::HandlerTransaction;
use crate::health::Health;
use crate::lifecycle::Next;
pub use crate::queues::Queues;
use crate::session::Session;
use crate::task::{Headers, Name, Task};

/// Hands tasks to workers and takes their outcome. Clones share the queue.
///
/// # Cancellation
/// A future that is dropped has either done all of its work or none of it, and the caller does not
/// learn which. For [`claim`](Self::claim) that is not enough: a broker need not be able to give
/// back what it leased for nobody, so the worker never drops a claim. (SQLite gives it back.)
pub trait Broker: ReconcilerRuns + Clone + Send + Sync + 'static {
    /// Names one claim of one task: what the fence compares. A later claim of the same task has
    /// another receipt, so that a worker that comes back from the dead cannot touch it.
    type Receipt: Clone + fmt::Debug + Send + Sync + 'static;

    /// The transaction that handlers may take, and in which their task completes.
    type Transaction: TaskTransaction;

    /// The program's events.
    fn events(&self) -> &Events;

    /// The queues whose tasks this broker sends elsewhere: none of them reaches a worker here, and
    /// workers do not serve them.
    fn forwarded(&self) -> Queues;

    /// Makes `worker` known, which is alive now. Registering it again is a heartbeat.
    ///
    /// # Errors
    /// The broker could not be reached.
    fn register(
        &self,
        worker: WorkerId,
        info: &WorkerInfo,
    ) -> impl Future<Output = Result<(), BrokerError>> + Send;

    /// Writes that `worker` is alive now.
    ///
    /// # Errors
    /// The broker could not be reached.
    fn heartbeat(
        &self,
        worker: WorkerId,
    ) -> impl Future<Output = Result<Heartbeat, BrokerError>> + Send;

    /// Forgets `worker`, which holds no leases any more.
    ///
    /// # Errors
    /// The broker could not be reached; the heartbeat then lapses by itself.
    fn deregister(&self, worker: WorkerId) -> impl Future<Output = Result<(), BrokerError>> + Send;

    /// Leases up to `limit` due tasks of `queues` to `worker`: by priority, then due time, then age.
    ///
    /// Await it to its end; see [cancellation](Self#cancellation). Leases that nobody got last as
    /// long as the worker's heartbeat.
    ///
    /// # Errors
    /// The broker could not be reached, or `worker` is not registered (any more).
    fn claim(
        &self,
        worker: WorkerId,
        queues: &Queues,
        limit: usize,
    ) -> impl Future<Output = Result<Claimed<Self::Receipt>, BrokerError>> + Send;

    /// The handler of a leased task is called next: whether it may be. This is for those who watch a
    /// fleet from outside, and may call tasks back that nobody has started; without them, it may.
    ///
    /// If not, the task goes back at once, as one whose worker ends, and the next claim decides what
    /// becomes of it.
    ///
    /// It stands between a task and its handler, so it must not block, and not do much.
    fn start(&self, worker: WorkerId, receipt: &Self::Receipt, attempt: u32) -> bool;

    /// Records what became of leased tasks, all in one go. For each, whether it still held its
    /// lease; of those that did not, nothing is recorded.
    ///
    /// # Errors
    /// The broker could not be reached; nothing was recorded.
    fn settle(
        &self,
        worker: WorkerId,
        settlements: &[Settlement<Self::Receipt>],
    ) -> impl Future<Output = Result<Vec<bool>, BrokerError>> + Send;

    /// Begins the transaction in which this task completes: its first statement removes the task
    /// if the lease still holds. `None` if it does not.
    ///
    /// # Errors
    /// The broker could not be reached.
    fn begin_task(
        &self,
        worker: WorkerId,
        receipt: &Self::Receipt,
    ) -> impl Future<Output = Result<Option<Self::Transaction>, BrokerError>> + Send;

    /// Takes tasks from workers whose heartbeat is older than `lease` and offers them again. Called
    /// by `worker` regularly, right after its own heartbeat.
    ///
    /// # Errors
    /// The broker could not be reached.
    fn rescue(
        &self,
        worker: WorkerId,
        lease: Duration,
    ) -> impl Future<Output = Result<Vec<Rescued>, BrokerError>> + Send;

    /// Deletes from the archive what is older than its retention. Returns how many.
    ///
    /// # Errors
    /// The broker could not be reached.
    fn prune(&self) -> impl Future<Output = Result<u64, BrokerError>> + Send;

    /// How the queue is doing. Do not call it every second: it reads more than a claim does.
    ///
    /// # Errors
    /// The broker could not be reached.
    fn health(&self) -> impl Future<Output = Result<Health, BrokerError>> + Send;

    /// Resolves when there may be new tasks. May resolve for nothing, and may miss some: a hint
    /// that shortens polling.
    fn wake(&self) -> impl Future<Output = ()> + Send;
}

/// The transaction in which a task completes.
pub trait TaskTransaction: Session + HandlerTransaction {
    /// Commits what the handler wrote and published, together with the task's completion.
    ///
    /// # Errors
    /// The commit failed; its outcome may be unknown.
    fn commit_task(self) -> impl Future<Output = Result<(), BrokerError>> + Send;

    /// Rolls everything back; the task is leased as before.
    ///
    /// # Errors
    /// The broker could not be reached; the transaction is rolled back all the same, later.
    fn rollback_task(self) -> impl Future<Output = Result<(), BrokerError>> + Send;
}

/// What a broker knows of its tasks and dead letters, for operators and tests.
pub trait Admin: Send + Sync {
    /// How many tasks are in which state.
    ///
    /// # Errors
    /// The broker could not be reached.
    fn counts(&self) -> impl Future<Output = Result<Counts, BrokerError>> + Send;

    /// The dead letters, newest first and those of one moment by id, at most `limit`. With `before`,
    /// those that come after that one in the list, which need not exist any more: the last letter
    /// of a page leads to the next.
    ///
    /// # Errors
    /// The broker could not be reached.
    fn dead_letters(
        &self,
        limit: usize,
        before: Option<&DeadLetter>,
    ) -> impl Future<Output = Result<Vec<DeadLetter>, BrokerError>> + Send;

    /// Makes a dead letter a task again, due now, with all its attempts before it. Whether it was there.
    ///
    /// # Errors
    /// The broker could not be reached.
    fn retry_dead_letter(
        &self,
        task: TaskId,
    ) -> impl Future<Output = Result<bool, BrokerError>> + Send;

    /// Deletes a dead letter. Whether it was there.
    ///
    /// # Errors
    /// The broker could not be reached.
    fn discard_dead_letter(
        &self,
        task: TaskId,
    ) -> impl Future<Output = Result<bool, BrokerError>> + Send;
}

/// What a worker tells of itself when it registers.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct WorkerInfo {
    /// The queues that it serves.
    pub queues: Queues,
    /// How many tasks it runs at once.
    pub concurrency: usize,
}

impl WorkerInfo {
    /// A worker that serves these queues, and runs so many tasks at once.
    #[must_use]
    pub fn new(queues: Queues, concurrency: usize) -> Self {
        Self { queues, concurrency }
    }
}

/// The answer to a heartbeat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heartbeat {
    /// The worker is known and its leases hold.
    Alive,
    /// Others took the worker for dead and have its tasks; it must start anew, under a new id.
    Lost,
}

/// What a claim brought.
#[derive(Debug)]
pub struct Claimed<R> {
    /// The tasks, in the order in which to run them.
    pub tasks: Vec<Lease<R>>,
    /// If fewer than asked for: when the next waiting task will be due, if known. A time that has
    /// come already means that the claim ended early, and that the next one may bring more at once.
    pub next_due: Option<Timestamp>,
}

/// A task that is leased to a worker.
#[derive(Debug, Clone)]
pub struct Lease<R> {
    /// Names this claim.
    pub receipt: R,
    /// The number of this attempt; the first is 1.
    pub attempt: u32,
    /// The task.
    pub task: Task,
}

/// What became of a leased task.
#[derive(Debug, Clone)]
pub struct Settlement<R> {
    /// The claim.
    pub receipt: R,
    /// The number of the attempt.
    pub attempt: u32,
    /// Where the task goes.
    pub next: Next,
}

/// A task that was taken from a dead or stalled worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rescued {
    /// The task.
    pub task_id: TaskId,
    /// Its name.
    pub name: String,
    /// The attempt that it lost.
    pub attempt: u32,
    /// The worker that had it.
    pub worker: WorkerId,
}

/// How many tasks are in which state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Waiting, and due.
    pub available: u64,
    /// Waiting for a later time: retries and snoozes.
    pub scheduled: u64,
    /// Leased to a worker.
    pub running: u64,
    /// Dead letters.
    pub dead: u64,
}

impl Counts {
    /// Whether nothing waits and nothing runs.
    #[must_use]
    pub fn is_drained(&self) -> bool {
        self.available == 0 && self.scheduled == 0 && self.running == 0
    }
}

/// A task that is not tried again unless an operator says so.
#[derive(Debug, Clone, PartialEq)]
pub struct DeadLetter {
    /// The task.
    pub id: TaskId,
    /// The event.
    pub event_id: EventId,
    /// The event's name.
    pub event: Name,
    /// The task's name.
    pub name: Name,
    /// The queue it came from.
    pub queue: Name,
    /// Smaller runs first.
    pub priority: i16,
    /// The event as JSON.
    pub payload: Arc<str>,
    /// What travelled beside it.
    pub headers: Headers,
    /// When the event was published.
    pub published_at: Timestamp,
    /// When it died.
    pub died_at: Timestamp,
    /// Every attempt that went wrong, oldest first.
    pub attempts: Vec<AttemptError>,
}

/// One attempt that went wrong.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct AttemptError {
    /// The number of the attempt.
    pub attempt: u32,
    /// When it ended, in microseconds since the Unix epoch.
    pub at_micros: i64,
    /// What went wrong.
    pub error: String,
}

/// The most bytes of one attempt's error that are kept.
pub const ATTEMPT_ERROR_LIMIT_BYTES: usize = 4096;

impl AttemptError {
    /// The record of an attempt; a long error is cut.
    #[must_use]
    pub fn new(attempt: u32, at: Timestamp, error: &str) -> Self {
        let error = match error.len() > ATTEMPT_ERROR_LIMIT_BYTES {
            true => format!("{}…", &error[..error.floor_char_boundary(ATTEMPT_ERROR_LIMIT_BYTES)]),
            false => error.to_owned(),
        };
        Self { attempt, at_micros: at.as_micros(), error }
    }

    /// What is recorded when a worker was lost in the middle of an attempt.
    #[must_use]
    pub fn rescued(attempt: u32, at: Timestamp, worker: WorkerId) -> Self {
        Self::new(
            attempt,
            at,
            &format!("worker {worker} died or stalled while it held the task; its lease lapsed"),
        )
    }
}

/// A broker that did not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[error("the queue could not {action}")]
pub struct BrokerError {
    action: &'static str,
    source: BoxError,
}

impl BrokerError {
    /// `action` completes the sentence "the queue could not …".
    pub fn new(action: &'static str, source: impl Into<BoxError>) -> Self {
        Self { action, source: source.into() }
    }

    /// What it was asked for.
    #[must_use]
    pub fn action(&self) -> &'static str {
        self.action
    }
}
