//! The seam to what keeps tasks until they are sent elsewhere.
//!
//! A commit writes the tasks of a forwarded queue as one row, in its own transaction. A relay reads
//! the rows in order, sends their tasks, and deletes what was sent. Of several relays one is active:
//! it holds the outbox's lease, and whatever it writes is refused once another has taken that.

use std::borrow::Cow;
use std::future::Future;
use std::time::Duration;

use serde::ser::SerializeTuple;
use serde::{Serialize, Serializer};

use crate::BoxError;
use crate::broker::BrokerError;
use crate::clock::Timestamp;
use crate::event::WorkerId;
use crate::registry::Registry;
use crate::task::{Debounced, Headers, Name, Task};

/// The name of the outbox of a program that has one.
pub const DEFAULT_OUTBOX: &str = "default";

/// A queue that keeps tasks for another transport. Clones share it.
///
/// # Cancellation
/// A future that is dropped has either done all of its work or none of it, and the caller does not
/// learn which.
pub trait Outbox: Clone + Send + Sync + 'static {
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
        settlement: OutboxSettlement,
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

    /// What waits in this outbox. Not for every second: it reads all of an index.
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
pub struct Backlog {
    /// How many tasks.
    pub tasks: u64,
    /// For how long the oldest has waited.
    pub oldest: Duration,
}

/// The most tasks of one row, and about how many bytes: a relay reads and rewrites a row as a whole.
const TASKS_OF_A_ROW: usize = 500;
const BYTES_OF_A_ROW: usize = 1 << 20;

/// A row before it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewRow {
    /// How many tasks it has.
    pub tasks: usize,
    /// When the first was published.
    pub published_at: Timestamp,
    /// The tasks, as [`read_tasks`] reads them.
    pub body: String,
}

/// The rows of the tasks that a commit leaves for an outbox: one, or several if they are many.
#[must_use]
pub fn rows(tasks: &[Task]) -> Vec<NewRow> {
    let mut rows = Vec::new();
    let mut rest = tasks;
    while !rest.is_empty() {
        let mut bytes = 0;
        let fits = rest.iter().take(TASKS_OF_A_ROW).take_while(|task| {
            let fits = bytes < BYTES_OF_A_ROW;
            bytes += task.payload.len();
            fits
        });
        let (row, others) = rest.split_at(fits.count());
        rows.push(NewRow {
            tasks: row.len(),
            published_at: row.iter().map(|task| task.published_at).min().unwrap_or_default(),
            body: write_tasks(row),
        });
        rest = others;
    }
    rows
}

/// Tasks as one JSON text, an array of arrays.
///
/// # Panics
/// Never: names, numbers and texts are JSON.
#[must_use]
pub fn write_tasks(tasks: &[Task]) -> String {
    struct All<'t>(&'t [Task]);
    impl Serialize for All<'_> {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.collect_seq(self.0.iter().map(Packed))
        }
    }
    serde_json::to_string(&All(tasks)).expect("names, numbers and texts are JSON")
}

struct Packed<'t>(&'t Task);

/// Something that is written as it is shown.
struct Shown<T>(T);

impl<T: std::fmt::Display> Serialize for Shown<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl Serialize for Packed<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(task) = self;
        let mut tuple = serializer.serialize_tuple(12)?;
        tuple.serialize_element(&Shown(task.id))?;
        tuple.serialize_element(&Shown(task.event_id))?;
        tuple.serialize_element(&task.event)?;
        tuple.serialize_element(&task.name)?;
        tuple.serialize_element(&task.queue)?;
        tuple.serialize_element(&task.priority)?;
        tuple.serialize_element(&task.due_at.as_micros())?;
        tuple.serialize_element(&task.published_at.as_micros())?;
        tuple.serialize_element(&*task.payload)?;
        let headers = (!task.headers.is_empty()).then(|| task.headers.to_json());
        tuple.serialize_element(&headers)?;
        tuple.serialize_element(&task.debounce.as_ref().map(|debounced| &debounced.key))?;
        let not_after = task.debounce.as_ref().map(|debounced| debounced.not_after.as_micros());
        tuple.serialize_element(&not_after)?;
        tuple.end()
    }
}

/// A text of a row: borrowed from it unless it has escapes.
#[derive(serde::Deserialize)]
struct Text<'r>(#[serde(borrow)] Cow<'r, str>);

type Unpacked<'r> = (
    &'r str,
    &'r str,
    Text<'r>,
    Text<'r>,
    Text<'r>,
    i16,
    i64,
    i64,
    Text<'r>,
    Option<String>,
    Option<String>,
    Option<i64>,
);

/// Reads what [`write_tasks`] wrote. Names that `registry` knows are not copied.
///
/// # Errors
/// The text is something else: it was changed by hand, or cut.
pub fn read_tasks(body: &str, registry: &Registry) -> Result<Vec<Task>, BoxError> {
    let unpacked: Vec<Unpacked<'_>> = serde_json::from_str(body)?;
    unpacked.into_iter().map(|task| unpack(task, registry)).collect()
}

fn unpack(unpacked: Unpacked<'_>, registry: &Registry) -> Result<Task, BoxError> {
    let (id, event_id, event, name, queue, priority, due_at, published_at, payload, ..) = unpacked;
    let (.., headers, key, not_after) = unpacked;
    let subscriber = registry.subscriber(&name.0);
    let known = subscriber.filter(|found| found.task == name.0 && found.event.name == event.0);
    let queue_known = known.and_then(|found| found.queue).filter(|known| *known == queue.0);
    let (event, name) = match known {
        Some(found) => (Name::Borrowed(found.event.name), Name::Borrowed(found.task)),
        None => (Name::Owned(event.0.into_owned()), Name::Owned(name.0.into_owned())),
    };
    Ok(Task {
        id: id.parse()?,
        event_id: event_id.parse()?,
        event,
        name,
        queue: queue_known.map_or_else(|| Name::Owned(queue.0.into_owned()), Name::Borrowed),
        priority,
        payload: payload.0.into(),
        headers: headers.map_or_else(|| Ok(Headers::new()), |json| Headers::from_json(&json))?,
        published_at: Timestamp::from_micros(published_at),
        due_at: Timestamp::from_micros(due_at),
        debounce: match (key, not_after) {
            (Some(key), Some(not_after)) => {
                Some(Debounced { key, not_after: Timestamp::from_micros(not_after) })
            }
            _ => None,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{EventId, TaskId};

    fn task(payload: &str) -> Task {
        Task {
            id: TaskId::generate(),
            event_id: EventId::generate(),
            event: "shop.Placed".into(),
            name: "events.shop.\"quoted\"".into(),
            queue: "fides".into(),
            priority: -3,
            payload: payload.into(),
            headers: Headers::new(),
            published_at: Timestamp::from_micros(7),
            due_at: Timestamp::from_micros(8),
            debounce: None,
        }
    }

    #[test]
    fn every_field_of_a_task_survives_the_row() {
        let mut full = task("{\"text\":\"\\u0000 \\\\ größer 🦀\"}");
        full.headers.insert("traceparent", "00-\"-01");
        full.debounce =
            Some(Debounced { key: "\"k\"".into(), not_after: Timestamp::from_micros(9) });
        let tasks = [full, task("{}")];
        let registry = Registry::builder().build().unwrap();
        assert_eq!(read_tasks(&write_tasks(&tasks), &registry).unwrap(), tasks);
        assert!(read_tasks("[[\"cut", &registry).is_err());
    }

    #[test]
    fn a_large_commit_is_several_rows_in_order() {
        let many: Vec<_> = (0..1_234).map(|_| task("{}")).collect();
        let counts = |tasks: &[Task]| rows(tasks).iter().map(|row| row.tasks).collect::<Vec<_>>();
        assert_eq!(counts(&many), [500, 500, 234]);
        assert_eq!(counts(&many[..3]), [3]);
        assert_eq!(counts(&[]), [0; 0]);
        let large = "x".repeat(BYTES_OF_A_ROW);
        assert_eq!(counts(&[task(&large), task(&large), task("{}")]), [1, 1, 1]);
        let registry = Registry::builder().build().unwrap();
        let rows = rows(&many);
        let read = rows.iter().flat_map(|row| read_tasks(&row.body, &registry).unwrap());
        assert!(read.eq(many));
    }
}
