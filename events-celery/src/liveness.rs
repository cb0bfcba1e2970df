//! Who is alive, and what is kept alive.

use std::collections::HashMap;
use std::time::Duration;

use events_core::broker::Heartbeat;
use events_core::health::RegisteredWorker;
use events_core::sightings::WorkerRow;
use events_core::{Queues, Timestamp, WorkerId};
use serde::{Deserialize, Serialize};

use crate::broker::Inner;
use crate::error::CeleryError;
use crate::give_back::give_back;
use crate::keys::Binding;
use crate::score::seconds;
use crate::scripts;

/// A worker's record.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default)] // that of another release may say less
struct Record {
    heartbeat_at: i64,
    /// Grows with every heartbeat.
    beats: i64,
    /// In microseconds.
    lease: u64,
    queues: Queues,
}

impl Default for Record {
    fn default() -> Self {
        Self { heartbeat_at: 0, beats: 0, lease: 0, queues: Queues::all() }
    }
}

/// What the workers of this process write of themselves.
pub(crate) type Records = std::sync::Mutex<HashMap<WorkerId, (i64, Queues)>>;

/// A worker with its record as it is in Redis.
pub(crate) struct Seen {
    pub(crate) row: WorkerRow,
    pub(crate) record: String,
    queues: Queues,
}

impl Seen {
    pub(crate) fn registered(&self) -> RegisteredWorker {
        RegisteredWorker {
            worker: self.row.worker,
            heartbeat_at: self.row.heartbeat_at,
            lease: self.row.lease,
            queues: self.queues.clone(),
        }
    }
}

fn record(
    inner: &Inner,
    worker: WorkerId,
    queues: Option<&Queues>,
    now: Timestamp,
) -> Option<String> {
    let mut records = inner.records.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if let Some(queues) = queues {
        records.entry(worker).or_insert((0, queues.clone())).1 = queues.clone();
    }
    let (beats, queues) = records.get_mut(&worker)?;
    *beats += 1;
    let record = Record {
        heartbeat_at: now.as_micros(),
        beats: *beats,
        lease: inner.events.settings().lease.as_micros().try_into().unwrap_or(u64::MAX),
        queues: queues.clone(),
    };
    Some(serde_json::to_string(&record).expect("texts and numbers are JSON"))
}

/// Makes a worker known, and its queues to programs in Python.
pub(crate) async fn register(
    inner: &Inner,
    worker: WorkerId,
    queues: &Queues,
) -> Result<(), CeleryError> {
    let now = inner.events.now();
    let record = record(inner, worker, Some(queues), now).unwrap_or_default();
    let found: HashMap<String, String> = inner
        .link
        .script("register a worker", &scripts::REGISTER, |command| {
            command.arg(1).arg(&inner.keys.workers).arg(worker.to_string()).arg(record);
            for queue in inner.queues(queues) {
                bind(command, inner, &queue);
            }
        })
        .await?;
    inner.held.add(worker, std::iter::empty());
    look_around(inner, worker, now, &found);
    inner.watch.begin(worker, &inner.lists(queues, 0), &inner.keys);
    Ok(())
}

/// As Python's workers declare their queues: for publishers that name an exchange of the queue's name.
fn bind(command: &mut redis::Cmd, inner: &Inner, queue: &str) {
    command.arg(inner.keys.binding(queue)).arg(inner.keys.permanent_binding(queue));
    command.arg(Binding::direct(queue, queue).to_string());
}

type Answer = Option<(Vec<String>, HashMap<String, String>)>;

/// Writes a heartbeat, keeps alive what the worker holds, and looks around.
pub(crate) async fn heartbeat(inner: &Inner, worker: WorkerId) -> Result<Heartbeat, CeleryError> {
    let now = inner.events.now();
    let Some(record) = record(inner, worker, None, now) else { return Ok(Heartbeat::Lost) };
    let tags = inner.held.of(worker);
    let answer: Answer = inner
        .link
        .script("take a heartbeat", &scripts::BEAT, |command| {
            command.arg(2).arg(&inner.keys.workers).arg(&inner.keys.unacked_index);
            command.arg(worker.to_string()).arg(record).arg(seconds(now)).arg(tags);
        })
        .await?;
    let Some((lost, workers)) = answer else {
        forget(inner, worker);
        return Ok(Heartbeat::Lost);
    };
    tell_lost(inner, worker, &lost);
    inner.held.doubt_again(worker);
    // Many may have to go back, and that the worker lives is said by now.
    if let Err(error) = give_back(inner, worker).await {
        tracing::warn!(
            %worker,
            error = &error as &dyn std::error::Error,
            "messages whose claim was cut off could not be given back; trying again"
        );
    }
    look_around(inner, worker, now, &workers);
    Ok(Heartbeat::Alive)
}

/// Messages that are not held any more, though nobody here ended their claims.
fn tell_lost(inner: &Inner, worker: WorkerId, lost: &[String]) {
    // Those that were settled in the meantime are not among them.
    let lost = inner.held.drop_lost(worker, lost);
    if lost > 0 {
        tracing::warn!(
            %worker,
            messages = lost,
            "others took messages that this worker holds and run them again; does a consumer on this Redis have a visibility timeout that is shorter than the lease, or was this worker stalled?"
        );
    }
}

/// Notes what `worker` sees of the others.
fn look_around(inner: &Inner, worker: WorkerId, now: Timestamp, found: &HashMap<String, String>) {
    let rows: Vec<_> = rows(found).into_iter().map(|seen| seen.row).collect();
    inner.sightings.beat(worker, now, inner.events.settings().lease, &rows);
}

fn rows(found: &HashMap<String, String>) -> Vec<Seen> {
    let seen = found.iter().filter_map(|(worker, record)| seen(worker, record));
    seen.collect()
}

/// No worker must suffer from a record that nobody can read.
fn seen(worker: &str, record: &str) -> Option<Seen> {
    let read = (worker.parse::<WorkerId>(), serde_json::from_str::<Record>(record));
    let (Ok(id), Ok(read)) = read else {
        tracing::error!(
            worker,
            record,
            "a worker's record cannot be read and is passed over; delete it with HDEL"
        );
        return None;
    };
    let heartbeat_at = Timestamp::from_micros(read.heartbeat_at);
    let row = WorkerRow {
        worker: id,
        heartbeat_at,
        beats: read.beats,
        lease: Duration::from_micros(read.lease),
        // No clock is shared here: silence is judged by watching alone.
        silence: Duration::ZERO,
    };
    Some(Seen { row, record: record.to_owned(), queues: read.queues })
}

/// All workers that are registered.
pub(crate) async fn workers(inner: &Inner) -> Result<Vec<Seen>, CeleryError> {
    let mut command = redis::cmd("HGETALL");
    command.arg(&inner.keys.workers);
    let found: HashMap<String, String> =
        inner.link.command("read the heartbeats", &command).await?;
    Ok(rows(&found))
}

fn forget(inner: &Inner, worker: WorkerId) {
    inner.sightings.forget(worker);
    inner.records.lock().unwrap_or_else(std::sync::PoisonError::into_inner).remove(&worker);
    inner.held.forget(worker);
    inner.watch.end(worker);
}

/// Forgets a worker that ends. What it still holds is offered again.
pub(crate) async fn deregister(inner: &Inner, worker: WorkerId) -> Result<(), CeleryError> {
    // Whatever it may hold: a look at the tags of a worker that holds nothing is cheap.
    let _: bool = inner
        .link
        .script("deregister a worker", &scripts::LOSE, |command| {
            command.arg(2).arg(&inner.keys.workers).arg(&inner.keys.gone);
            command.arg(worker.to_string()).arg("");
        })
        .await?;
    forget(inner, worker);
    Ok(())
}
