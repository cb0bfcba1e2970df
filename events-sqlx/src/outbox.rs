//! What the outboxes of both databases have in common.

mod row;

use std::collections::BTreeSet;
use std::time::Duration;

use events_core::broker::{AttemptError, DeadLetter};
use events_core::forwarding::Forwardings;
use events_core::health::{OutboxHealth, RegisteredWorker};
use events_core::outbox::{Acquired, Backlog, OutboxBatch, OutboxLease, OutboxRow};
use events_core::task::Name;
use events_core::{Events, Task, Timestamp, WorkerId};

pub(crate) use row::{NewRow, rows};

/// The rows that a relay looks at to find where its batch ends, at most.
const ROWS_OF_A_BATCH: usize = 5000;

/// Where a batch ends whatever the number of its tasks: it is held twice, and read in one statement.
pub(crate) const BYTES_OF_A_BATCH: i64 = 4 << 20;

/// A lease that ends so much later than it can be long was written by a clock that has been set back
/// since: it holds nobody off.
const TOO_LONG: Duration = Duration::from_hours(1);

/// A relay that asks for the lease at one moment.
pub(crate) struct Request {
    relay: WorkerId,
    pub(crate) now: Timestamp,
    /// Until when the lease is then written to hold.
    pub(crate) until: Timestamp,
    /// A time that no lease reaches.
    pub(crate) unreached: Timestamp,
}

impl Request {
    pub(crate) fn new(relay: WorkerId, lease: Duration, now: Timestamp) -> Self {
        Self { relay, now, until: now + lease, unreached: unreached(lease, now) }
    }

    /// The answer if the lease is with another relay, by what the database says of it.
    pub(crate) fn held_by_another(&self, holder: &[u8], expires_at: i64) -> Option<Acquired> {
        let expires_at = Timestamp::from_micros(expires_at);
        let holds = expires_at > self.now && expires_at <= self.unreached;
        (holds && holder != self.relay.to_bytes())
            .then(|| Acquired::ByAnother { remaining: expires_at.since(self.now) })
    }

    /// The answer once it was asked for in writing: with the token, unless another was faster.
    pub(crate) fn answer(&self, outbox: Name, token: Option<i64>) -> Acquired {
        match token {
            Some(token) => Acquired::Held(OutboxLease { outbox, relay: self.relay, token }),
            None => Acquired::ByAnother { remaining: self.until.since(self.now) },
        }
    }
}

/// A time that no lease reaches which is about this long and was written by now.
pub(crate) fn unreached(lease: Duration, now: Timestamp) -> Timestamp {
    now + lease + TOO_LONG
}

/// Of how many rows the end of a batch is looked for, and how many tasks it is to have.
pub(crate) fn limits(tasks: usize) -> (i64, i64) {
    let number = |number| i64::try_from(number).unwrap_or(i64::MAX);
    (number(tasks.min(ROWS_OF_A_BATCH)), number(tasks))
}

/// Rows as they were read, with their tasks.
pub(crate) fn batch(rows: Vec<(i64, i64, String)>, events: &Events) -> OutboxBatch {
    let mut batch = OutboxBatch::default();
    for (id, published_at, body) in rows {
        let published_at = Timestamp::from_micros(published_at);
        match row::read_tasks(&body, events.registry()) {
            Ok(tasks) => batch.rows.push(OutboxRow { id, published_at, tasks }),
            Err(error) => batch.unreadable.push((id, error)),
        }
    }
    batch
}

/// The most tasks that are moved into an outbox at once.
pub(crate) const MOVED_AT_ONCE: i64 = 1000;

/// Which of the queues in which tasks wait are this outbox's by now: no live worker serves them, and
/// they are not those of another program that shares the database.
pub(crate) fn taken_over(
    outbox: &str,
    waiting: impl IntoIterator<Item = String>,
    forwardings: &Forwardings,
    workers: &[RegisteredWorker],
    events: &Events,
) -> Vec<String> {
    let now = events.now();
    let is_known = |queue: &str| {
        let mut subscribers = events.registry().subscribers().iter();
        subscribers.any(|subscriber| subscriber.queue(events.settings()) == queue)
    };
    let is_served = |queue: &str| {
        workers.iter().any(|worker| worker.is_alive(now) && worker.queues.contains(queue))
    };
    let is_taken_over = |queue: &String| {
        forwardings.outbox_of(queue).is_some_and(|name| name == outbox)
            && (forwardings.name_it(queue) || is_known(queue))
            && !is_served(queue)
    };
    let found: BTreeSet<String> = waiting.into_iter().filter(is_taken_over).collect();
    found.into_iter().collect()
}

/// The errors of a dead letter that was never handled: why it could not be sent.
pub(crate) fn errors(reason: &str, now: Timestamp) -> String {
    serde_json::json!([AttemptError::new(1, now, reason)]).to_string()
}

/// The task that a dead letter is again.
pub(crate) fn revived(letter: DeadLetter, now: Timestamp) -> Task {
    Task {
        id: letter.id,
        event_id: letter.event_id,
        event: letter.event,
        name: letter.name,
        queue: letter.queue,
        priority: letter.priority,
        payload: letter.payload,
        headers: letter.headers,
        published_at: letter.published_at,
        due_at: now,
        debounce: None,
    }
}

/// How many tasks wait in an outbox, and when the oldest was published, as the databases count.
pub(crate) type Waiting = (i64, Option<i64>);

pub(crate) fn backlog((tasks, oldest): Waiting, now: Timestamp) -> Backlog {
    let oldest = oldest.map(|oldest| now.since(Timestamp::from_micros(oldest)));
    Backlog::new(tasks.try_into().unwrap_or(0), oldest.unwrap_or_default())
}

/// How the outboxes are doing: those that the program writes to, and those in which something
/// waits. Given the latter by name, and the names of those that are relayed.
pub(crate) fn health(
    forwardings: &Forwardings,
    waiting: &[(String, i64, Option<i64>)],
    relayed: &[String],
    now: Timestamp,
) -> Vec<OutboxHealth> {
    let mut names: Vec<_> = forwardings.outboxes().into_iter().map(Name::into_owned).collect();
    names.extend(waiting.iter().map(|(outbox, ..)| outbox.clone()));
    names.sort_unstable();
    names.dedup();
    let of = |outbox: String| {
        let found = waiting.iter().find(|(name, ..)| *name == outbox);
        let backlog = found.map(|(_, tasks, oldest)| backlog((*tasks, *oldest), now));
        let relayed = relayed.contains(&outbox);
        OutboxHealth::new(outbox, backlog.unwrap_or_default(), relayed)
    };
    names.into_iter().map(of).collect()
}
