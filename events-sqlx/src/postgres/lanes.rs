//! The lanes, (queue, priority) pairs, in which tasks wait.
//!
//! A claim reads the heads of the lanes that its worker serves and nothing else, so that neither a
//! million tasks behind them nor a million in other lanes cost anything.
//!
//! What has been claimed stays in the index until it is vacuumed, and while somebody holds an old
//! snapshot it cannot be: every claim would step over all of it. Therefore, as soon as a look from
//! the very beginning takes long, claims start near where the last ones ended, and looks from the
//! beginning, which find what came behind that, become rare in proportion. The tasks that wait until
//! their key is quiet are looked for in the same way.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use events_core::{Events, Queues, Timestamp, WorkerId};
use sqlx::postgres::PgRow;

use super::debounce::{self, next_debounced};
use super::own::Own;
use super::queue::Inner;
use super::row::{self, uuid};
use crate::error::QueueError;

/// A queue and a priority. Ordered as claims go: by priority.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Lane {
    pub(super) priority: i16,
    pub(super) queue: String,
}

/// A lane, and where to start in it.
#[derive(Debug, Clone)]
pub(super) struct Start {
    pub(super) lane: Lane,
    pub(super) due_at: Timestamp,
}

/// Where to start, and when that was known.
#[derive(Debug)]
pub(super) struct Starts {
    pub(super) lanes: Vec<Start>,
    /// Among the tasks that wait until their key is quiet.
    debounced: Timestamp,
    /// How often tasks had gone back by then.
    returns: u64,
}

/// A look from the beginning that takes no longer leaves nothing to be saved.
const CHEAP: Duration = Duration::from_millis(3);

/// Looks from the beginning may take this part of the time: so few that not one claim in a hundred
/// waits for one.
const SHARE: u32 = 100;

/// At least so often it is looked, from where claims start: so that what waits in other lanes, or
/// until its key is quiet, is found although claims bring enough, and so that the starts move on.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// At least so often, tasks that came behind are found.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Tasks may become visible that much later than they were due, because a commit takes time and
/// clocks differ, and are still found at once. Whatever is later waits for a look.
const LATE: Duration = Duration::from_secs(3);

const BEGINNING: Timestamp = Timestamp::from_micros(i64::MIN);

#[derive(Debug)]
pub(super) struct Lanes(Mutex<Known>);

#[derive(Debug)]
struct Known {
    declared: Vec<Lane>,
    /// The lanes of this program's subscribers and those that were found: where to start in each.
    starts: BTreeMap<Lane, Timestamp>,
    /// Where to start among the tasks that wait until their key is quiet.
    debounced: Timestamp,
    /// The last look from the beginning: when it ended, and how long it took.
    looked: Option<(Instant, Duration)>,
    /// When the last look of any kind ended.
    looked_at_all: Option<Instant>,
    /// When the latest look began, by the clock that tasks are due by.
    began: Timestamp,
    /// How often tasks went back to where they were: a look that began before one of these saw
    /// less than there is.
    returns: u64,
}

impl Lanes {
    pub(super) fn of(events: &Events) -> Self {
        let lane = |subscriber: &'static events_core::subscriber::Subscriber| Lane {
            priority: subscriber.priority,
            queue: subscriber.queue(events.settings()).to_owned(),
        };
        let declared: Vec<_> = events.registry().local_subscribers().map(lane).collect();
        let starts = declared.iter().map(|lane| (lane.clone(), BEGINNING)).collect();
        Self(Mutex::new(Known {
            declared,
            starts,
            debounced: BEGINNING,
            looked: None,
            looked_at_all: None,
            began: BEGINNING,
            returns: 0,
        }))
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where to start in the known lanes of these queues.
    pub(super) fn of_queues(&self, queues: &Queues) -> Starts {
        let known = self.known();
        let served = known.starts.iter().filter(|(lane, _)| queues.contains(&lane.queue));
        Starts {
            lanes: served
                .map(|(lane, due_at)| Start { lane: lane.clone(), due_at: *due_at })
                .collect(),
            debounced: known.debounced,
            returns: known.returns,
        }
    }

    /// Whether it is time to look from the beginning.
    pub(super) fn look_is_due(&self, now: Timestamp) -> bool {
        let known = self.known();
        // A clock that was set back makes tasks due before those that were claimed.
        now < known.began
            || known.looked.is_none_or(|(at, took)| {
                took <= CHEAP || at.elapsed() >= (took * SHARE).min(LONGEST_PAUSE)
            })
    }

    /// Whether the last look is so long ago that a claim must not put it off.
    pub(super) fn look_is_overdue(&self) -> bool {
        self.known().looked_at_all.is_none_or(|at| at.elapsed() >= LOOK_EVERY)
    }

    fn returns(&self) -> u64 {
        self.known().returns
    }

    /// Learns which lanes have waiting tasks, from a look from the beginning; forgets those that
    /// are empty and not declared. Learns nothing if tasks have gone back since there were `returns`.
    fn learn(&self, scan: &Scan, began: Timestamp, took: Duration, returns: u64) {
        let mut known = self.known();
        if known.returns != returns {
            return;
        }
        let now = Instant::now();
        (known.looked, known.looked_at_all, known.began) = (Some((now, took)), Some(now), began);
        let start = |due_at: Timestamp| match took <= CHEAP {
            true => BEGINNING,
            false => near(due_at, began),
        };
        let declared: Vec<_> =
            known.declared.iter().map(|lane| (lane.clone(), start(began))).collect();
        known.starts = declared.into_iter().collect();
        known.starts.extend(scan.heads.iter().map(|head| (head.lane.clone(), start(head.due_at))));
        known.debounced = start(scan.debounced_due.unwrap_or(began));
    }

    /// Moves the starts on, after a look that began at `began` and from these starts. Only what a look
    /// sees tells where nobody waits any more: a claim steps over rows that others have locked, and
    /// they may be let go.
    fn advance(&self, scan: &Scan, from: &Starts, began: Timestamp) {
        let mut known = self.known();
        if known.returns != from.returns {
            return;
        }
        known.looked_at_all = Some(Instant::now());
        known.began = began.max(known.began);
        if known.looked.is_none_or(|(_, took)| took <= CHEAP) {
            return; // they are at the beginning, and nothing is to be saved
        }
        for Start { lane, .. } in &from.lanes {
            let first = scan.heads.iter().find(|head| head.lane == *lane);
            let first = first.map_or(began, |head| head.due_at);
            if let Some(start) = known.starts.get_mut(lane) {
                *start = near(first, began).max(*start);
            }
        }
        known.debounced = near(scan.debounced_due.unwrap_or(began), began).max(known.debounced);
    }

    /// Tasks went back to where they were: claims start from the beginning again.
    pub(super) fn start_over(&self) {
        let mut known = self.known();
        known.starts.values_mut().for_each(|start| *start = BEGINNING);
        known.debounced = BEGINNING;
        known.looked = None;
        known.returns += 1;
    }
}

/// Where to start when the first task was due then, as it was seen at `began`.
fn near(due_at: Timestamp, began: Timestamp) -> Timestamp {
    due_at.min(began.before(LATE))
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
pub(super) const SCAN: &str = concat!(
    "WITH RECURSIVE head AS (
    (SELECT queue, priority, due_at FROM {schema}.tasks WHERE leased_by IS NULL
        ORDER BY queue, priority, due_at, seq LIMIT 1)
    UNION ALL
    SELECT next.* FROM head CROSS JOIN LATERAL (
        SELECT queue, priority, due_at FROM {schema}.tasks
        WHERE leased_by IS NULL AND (queue, priority) > (head.queue, head.priority)
        ORDER BY queue, priority, due_at, seq LIMIT 1) AS next
)
SELECT registered, debounced_due, head.queue, head.priority, head.due_at
FROM (SELECT EXISTS (SELECT 1 FROM {schema}.workers WHERE id = $1) AS registered, ",
    next_debounced!(),
    ") AS me LEFT JOIN head ON true"
);

/// The heads of given lanes, from where to start in each.
pub(super) const NEXT: &str = concat!(
    "SELECT registered, debounced_due, head.queue, head.priority, head.due_at
FROM (SELECT EXISTS (SELECT 1 FROM {schema}.workers WHERE id = $1) AS registered, ",
    next_debounced!(),
    ") AS me LEFT JOIN (
        SELECT lane.queue, lane.priority, next.due_at
        FROM unnest($3::text[], $4::int2[], $5::int8[]) AS lane (queue, priority, start)
            CROSS JOIN LATERAL (
                SELECT due_at FROM {schema}.tasks
                WHERE leased_by IS NULL AND queue = lane.queue AND priority = lane.priority
                    AND due_at >= lane.start
                ORDER BY due_at, seq LIMIT 1) AS next
    ) AS head ON true"
);

/// Looks which lanes have waiting tasks, from the beginning.
pub(super) async fn scan(inner: &Inner, worker: WorkerId) -> Result<Scan, QueueError> {
    let mut connection = Own::acquire(&inner.own, STEP).await?;
    let (began, started, returns) = (inner.events.now(), Instant::now(), inner.lanes.returns());
    let rows = sqlx::query(inner.sql().scan.clone())
        .bind(uuid(worker))
        .bind(BEGINNING.as_micros())
        .fetch_all(&mut *connection)
        .await
        .map_err(failed)?;
    let took = started.elapsed();
    connection.finish();
    let scan = read(&rows)?;
    inner.lanes.learn(&scan, began, took, returns);
    Ok(scan)
}

/// Looks which of the known lanes have waiting tasks, from where claims start in them.
pub(super) async fn next(
    inner: &Inner,
    worker: WorkerId,
    from: &Starts,
) -> Result<Scan, QueueError> {
    let (queues, priorities, starts) = columns(&from.lanes);
    let mut connection = Own::acquire(&inner.own, STEP).await?;
    let began = inner.events.now();
    let rows = sqlx::query(inner.sql().next.clone())
        .bind(uuid(worker))
        .bind(from.debounced.as_micros())
        .bind(queues)
        .bind(priorities)
        .bind(starts)
        .fetch_all(&mut *connection)
        .await
        .map_err(failed)?;
    connection.finish();
    let scan = read(&rows)?;
    inner.lanes.advance(&scan, from, began);
    Ok(scan)
}

const STEP: &str = "look for waiting tasks";

fn failed(error: sqlx::Error) -> QueueError {
    QueueError::database(STEP, error)
}

/// As the arrays that statements take.
pub(super) fn columns(lanes: &[Start]) -> (Vec<String>, Vec<i16>, Vec<i64>) {
    let queues = lanes.iter().map(|start| start.lane.queue.clone()).collect();
    let priorities = lanes.iter().map(|start| start.lane.priority).collect();
    (queues, priorities, lanes.iter().map(|start| start.due_at.as_micros()).collect())
}

fn read(rows: &[PgRow]) -> Result<Scan, QueueError> {
    let mut scan = Scan { registered: false, heads: Vec::new(), debounced_due: None };
    for found in rows {
        scan.registered = row::get(found, "registered")?;
        scan.debounced_due = debounce::next_due(found)?;
        scan.heads.extend(head(found)?);
    }
    Ok(scan)
}

/// `None` when there was nothing to find.
fn head(found: &PgRow) -> Result<Option<Head>, QueueError> {
    let Some(queue) = row::get::<Option<String>>(found, "queue")? else { return Ok(None) };
    Ok(Some(Head {
        lane: Lane { priority: row::get(found, "priority")?, queue },
        due_at: row::timestamp(found, "due_at")?,
    }))
}
