//! The lanes, (queue, priority) pairs, in which tasks wait.
//!
//! A claim reads the heads of the lanes that its worker serves and nothing else, so that neither a
//! million tasks behind them nor a million in other lanes cost anything.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use events_core::{Events, Queues, Timestamp, WorkerId};
use sqlx::SqlitePool;
use sqlx::sqlite::SqliteRow;

use super::debounce::next_debounced;
use super::row;
use crate::error::QueueError;

/// A queue and a priority. Ordered as claims go: by priority.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Lane {
    pub(super) priority: i16,
    pub(super) queue: String,
}

/// The lanes that are known: those of this program's subscribers, and those that were found.
#[derive(Debug)]
pub(super) struct Lanes {
    declared: BTreeSet<Lane>,
    known: Mutex<BTreeSet<Lane>>,
}

impl Lanes {
    pub(super) fn of(events: &Events) -> Self {
        let declared: BTreeSet<Lane> = events
            .registry()
            .local_subscribers()
            .map(|subscriber| Lane {
                priority: subscriber.priority,
                queue: subscriber.queue(events.settings()).to_owned(),
            })
            .collect();
        Self { known: Mutex::new(declared.clone()), declared }
    }

    /// The known lanes of these queues.
    pub(super) fn of_queues(&self, queues: &Queues) -> Vec<Lane> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.iter().filter(|lane| queues.contains(&lane.queue)).cloned().collect()
    }

    /// Learns which lanes have waiting tasks now; forgets those that are empty and not declared.
    pub(super) fn learn(&self, found: &[Head]) {
        let mut known = self.declared.clone();
        known.extend(found.iter().map(|head| head.lane.clone()));
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = known;
    }
}

/// The first waiting task of a lane.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) lane: Lane,
    pub(super) due_at: Timestamp,
}

/// What a look at the table found.
pub(super) struct Scan {
    /// Whether the worker is registered.
    pub(super) registered: bool,
    pub(super) heads: Vec<Head>,
    /// When the first task will be due that waits until its key is quiet.
    pub(super) debounced_due: Option<Timestamp>,
}

/// Jumps from the head of one lane to the head of the next: as many steps as there are lanes.
///
/// Why it looks so strange: SQLite seeks to the first row that is not smaller than the three, so
/// it must be given the lane's very end, or it reads the whole lane. And without the `+`, which
/// takes their types from the columns, it would compare the priorities as numbers of any kind and
/// could not use the index for them.
pub(super) const SCAN: &str = concat!(
    "WITH RECURSIVE head (seq) AS (
    SELECT (SELECT seq FROM events_tasks INDEXED BY events_tasks_waiting
        WHERE leased_by IS NULL ORDER BY queue, priority, due_at, seq LIMIT 1)
    UNION ALL
    SELECT (SELECT next.seq FROM events_tasks AS next INDEXED BY events_tasks_waiting
        WHERE next.leased_by IS NULL
            AND (next.queue, next.priority, next.due_at)
                > (+task.queue, +task.priority, 9223372036854775807)
        ORDER BY next.queue, next.priority, next.due_at, next.seq LIMIT 1)
    FROM head CROSS JOIN events_tasks AS task ON task.seq = head.seq
)
SELECT EXISTS (SELECT 1 FROM events_workers WHERE id = ?1) AS registered, ",
    next_debounced!(),
    ", task.queue, task.priority, task.due_at
FROM head LEFT JOIN events_tasks AS task ON task.seq = head.seq"
);

/// Looks which lanes have waiting tasks. Takes no lock.
pub(super) async fn scan(own: &SqlitePool, worker: WorkerId) -> Result<Scan, QueueError> {
    let id = worker.to_bytes().to_vec();
    let rows = sqlx::query(SCAN)
        .bind(id)
        .fetch_all(own)
        .await
        .map_err(|error| QueueError::database("look for waiting tasks", error))?;
    let mut scan = Scan { registered: false, heads: Vec::new(), debounced_due: None };
    for found in &rows {
        scan.registered = row::get(found, "registered")?;
        let debounced: Option<i64> = row::get(found, "debounced_due")?;
        scan.debounced_due = debounced.map(Timestamp::from_micros);
        match head(found) {
            Ok(head) => scan.heads.extend(head),
            // The other lanes must not suffer from it.
            Err(error) => tracing::error!(
                error = &error as &dyn std::error::Error,
                "the tasks of a lane that cannot be read stay where they are"
            ),
        }
    }
    Ok(scan)
}

/// `None` when there was nothing more to find.
fn head(found: &SqliteRow) -> Result<Option<Head>, QueueError> {
    let Some(queue) = row::get::<Option<String>>(found, "queue")? else { return Ok(None) };
    Ok(Some(Head {
        lane: Lane { priority: row::get(found, "priority")?, queue },
        due_at: row::timestamp(found, "due_at")?,
    }))
}
