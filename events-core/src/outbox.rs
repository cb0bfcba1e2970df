//! The seam to what keeps tasks until they are sent elsewhere.
//!
//! A commit writes the tasks of a forwarded queue as one row, in its own transaction. A relay reads
//! the rows in order, sends their tasks, and deletes what was sent. Of several relays one is active:
//! it holds the outbox's lease, and whatever it writes is refused once another has taken that.

use std::future::Future;
use std::time::Duration;

use crate::BoxError;
use crate::broker::BrokerError;
use crate::clock::Timestamp;
use crate::event::WorkerId;
use crate::task::{Name, Task};

/// The name of the outbox of a program that has one.
pub const DEFAULT_OUTBOX: &str = "default";

/// A queue that keeps tasks for another transport. Clones share it.
///
/// # Cancellation
/// A future that is dropped has either done all of its work or none of it, and the caller does not
/// learn which.
pub trait Outbox: Clone + Send + Sync + 'static {
    /// The outboxes that tasks are [forwarded](crate::Forwarding) to, sorted. A relay is for one of
    /// them.
    fn outboxes(&self) -> Vec<Name>;

    /// Takes the lease of this outbox for `relay`, if nobody holds it or its holder has been silent
    /// for longer than it may.
    ///
    /// # Errors
    /// The database could not be reached.
    fn acquire_outbox(
        &self,
        outbox: &str,
        relay: WorkerId,
        lease: Duration,
    ) -> impl Future<Output = Result<Acquired, BrokerError>> + Send;

    /// Holds the lease for so long from now on. Whether it was still held.
    ///
    /// # Errors
    /// The database could not be reached.
    fn renew_outbox(
        &self,
        held: &OutboxLease,
        lease: Duration,
    ) -> impl Future<Output = Result<bool, BrokerError>> + Send;

    /// Gives the lease back, so that another relay takes over at once.
    ///
    /// # Errors
    /// The database could not be reached; the lease then lapses by itself.
    fn release_outbox(
        &self,
        held: &OutboxLease,
    ) -> impl Future<Output = Result<(), BrokerError>> + Send;

    /// Reads rows from the beginning, in order and without those of `except`, until they have
    /// `tasks` tasks or some megabytes; one row at least.
    ///
    /// Of two commits of which one began when the other was done, a read that has the later has the
    /// earlier too, and before it. So it always begins at the beginning: on some databases a row may
    /// appear before one that was read already.
    ///
    /// # Errors
    /// The database could not be reached.
    fn read_outbox(
        &self,
        held: &OutboxLease,
        except: &[i64],
        tasks: usize,
    ) -> impl Future<Output = Result<OutboxBatch, BrokerError>> + Send;

    /// Records what became of rows, all in one go, and holds the lease for so long from now on.
    /// Whether it was still held; if not, nothing is recorded.
    ///
    /// # Errors
    /// The database could not be reached; nothing was recorded.
    fn settle_outbox(
        &self,
        held: &OutboxLease,
        settlement: &OutboxSettlement,
        lease: Duration,
    ) -> impl Future<Output = Result<bool, BrokerError>> + Send;

    /// Moves tasks into this outbox that wait in the database for a worker, or until their key is
    /// quiet, though their queues are forwarded to it by now: as many as one statement should, and in
    /// one go with holding the lease for so long from now on. `None` if that was not held any more;
    /// otherwise how many, and if there were any, there may be more.
    ///
    /// They were published, or failed, before all processes knew of the forwarding. A queue that a
    /// live worker still serves is left to it, and so is one of somebody else: that the forwarding
    /// does not name, and no subscriber of this program has. Attempts start anew where a task is sent.
    ///
    /// # Errors
    /// The database could not be reached; nothing was moved.
    fn move_waiting(
        &self,
        held: &OutboxLease,
        lease: Duration,
    ) -> impl Future<Output = Result<Option<u64>, BrokerError>> + Send;

    /// What waits in this outbox. Do not call it every second: it reads all of an index.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use events_core::{BrokerError, Outbox};
    /// # async fn example(queue: impl Outbox) -> Result<(), BrokerError> {
    /// let backlog = queue.outbox_backlog("default").await?;
    /// if backlog.oldest > Duration::from_secs(60) {
    ///     println!("{} tasks wait, and somebody should look why", backlog.tasks);
    /// }
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// The database could not be reached.
    fn outbox_backlog(
        &self,
        outbox: &str,
    ) -> impl Future<Output = Result<Backlog, BrokerError>> + Send;

    /// Resolves when there may be new rows. May resolve for nothing, and may miss some: a hint that
    /// shortens polling.
    fn wake_relay(&self) -> impl Future<Output = ()> + Send;
}

/// The right to send what is in an outbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboxLease {
    /// The outbox.
    pub outbox: Name,
    /// The relay that holds it.
    pub relay: WorkerId,
    /// Grows with every acquisition: what the fence compares.
    pub token: i64,
}

/// The answer to a relay that wants the lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Acquired {
    /// It has it.
    Held(OutboxLease),
    /// Another relay has it, for so long unless it renews it.
    ByAnother {
        /// How long.
        remaining: Duration,
    },
}

/// Rows of an outbox, in order.
#[derive(Debug, Default)]
pub struct OutboxBatch {
    /// Those that could be read.
    pub rows: Vec<OutboxRow>,
    /// Those that could not, with the reason.
    pub unreadable: Vec<(i64, BoxError)>,
}

/// What one commit has left for an outbox, or a part of it if that was much.
#[derive(Debug, Clone, PartialEq)]
pub struct OutboxRow {
    /// Ascends in the order in which rows were written.
    pub id: i64,
    /// When the first of the tasks that it was written with was published.
    pub published_at: Timestamp,
    /// The tasks, in the order of publishing.
    pub tasks: Vec<Task>,
}

impl OutboxRow {
    /// What names it.
    #[must_use]
    pub fn key(&self) -> OutboxRowKey {
        OutboxRowKey { id: self.id, published_at: self.published_at }
    }
}

/// Names a row that was read.
///
/// Its number alone does not: when a server takes over that has not seen the last commits, or one
/// crashes that had not written them to its disk, others get their numbers. What was sent of the
/// ones is no reason to delete the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct OutboxRowKey {
    /// Its number.
    pub id: i64,
    /// When the first of its tasks was published.
    pub published_at: Timestamp,
}

/// What became of rows.
#[derive(Debug, Clone, Default)]
pub struct OutboxSettlement {
    /// Rows of which nothing is left.
    pub done: Vec<OutboxRowKey>,
    /// Rows of which these tasks are left.
    pub rest: Vec<OutboxRow>,
    /// Tasks that can never be sent, and why: they become dead letters.
    pub refused: Vec<(Task, String)>,
}

/// What waits in an outbox.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Backlog {
    /// How many tasks.
    pub tasks: u64,
    /// For how long the oldest has waited.
    pub oldest: Duration,
}

impl Backlog {
    /// So many tasks, the oldest of which has waited for so long.
    #[must_use]
    pub fn new(tasks: u64, oldest: Duration) -> Self {
        Self { tasks, oldest }
    }
}
