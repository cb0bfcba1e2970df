//! What the outboxes of both databases have in common.

use std::collections::BTreeSet;
use std::time::Duration;

use events_core::broker::{AttemptError, DeadLetter};
use events_core::forwarding::Forwardings;
use events_core::health::{OutboxHealth, RegisteredWorker};
use events_core::outbox::{Acquired, Backlog, OutboxBatch, OutboxRow, read_tasks};
use events_core::{Events, Task, Timestamp};

/// The rows that a relay looks at to find where its batch ends, at most.
pub(crate) const ROWS_OF_A_BATCH: usize = 5000;

/// Where a batch ends whatever the number of its tasks: it is held twice, and read in one statement.
pub(crate) const BYTES_OF_A_BATCH: i64 = 4 << 20;

/// A lease that ends so much later than it can be long was written by a clock that has been set back
/// since: it holds nobody off.
const TOO_LONG: Duration = Duration::from_hours(1);

/// When a lease that was written until `expires_at` does not hold any more, whatever it says: from
/// this time on or before that one.
pub(crate) fn lapsed(lease: Duration, now: Timestamp) -> (Timestamp, Timestamp) {
    (now, now + lease + TOO_LONG)
}

/// The answer to a relay that finds the lease with another.
pub(crate) fn by_another(expires_at: Timestamp, now: Timestamp) -> Acquired {
    Acquired::ByAnother { remaining: expires_at.since(now) }
}

/// Rows as they were read, with their tasks.
pub(crate) fn batch(rows: Vec<(i64, i64, String)>, events: &Events) -> OutboxBatch {
    let mut batch = OutboxBatch::default();
    for (id, published_at, body) in rows {
        let published_at = Timestamp::from_micros(published_at);
        match read_tasks(&body, events.registry()) {
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

/// How the outboxes are doing: those that the program writes to, and those in which something
/// waits. Given for each how many tasks, and when the oldest was published; and which are relayed.
pub(crate) fn health(
    known: impl IntoIterator<Item = String>,
    waiting: &[(String, u64, Timestamp)],
    relayed: &[String],
    now: Timestamp,
) -> Vec<OutboxHealth> {
    let mut names: Vec<_> = known.into_iter().collect();
    names.extend(waiting.iter().map(|(outbox, ..)| outbox.clone()));
    names.sort_unstable();
    names.dedup();
    let of = |outbox: String| {
        let found = waiting.iter().find(|(name, ..)| *name == outbox);
        let backlog = found.map(|(_, tasks, oldest)| backlog(*tasks, Some(*oldest), now));
        OutboxHealth {
            backlog: backlog.unwrap_or_default(),
            relayed: relayed.contains(&outbox),
            outbox,
        }
    };
    names.into_iter().map(of).collect()
}

pub(crate) fn backlog(tasks: u64, oldest: Option<Timestamp>, now: Timestamp) -> Backlog {
    Backlog { tasks, oldest: oldest.map(|oldest| now.since(oldest)).unwrap_or_default() }
}
