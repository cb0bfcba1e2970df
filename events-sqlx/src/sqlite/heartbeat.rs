//! Who is alive.
//!
//! A worker beats by growing its row. Others draw conclusions from its silence, in
//! [`rescue`](super::rescue), but on SQLite silence proves little: one long transaction anywhere
//! keeps everybody from writing. So a worker judges others only by what it saw between heartbeats
//! of its own that came in time; see [`Sightings::beat`].

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use events_core::broker::Heartbeat;
use events_core::{Queues, Timestamp, WorkerId};
use sqlx::sqlite::SqliteRow;
use sqlx::{Connection, SqliteConnection};

use super::queue::Inner;
use super::row;
use crate::error::QueueError;

/// What the workers of this process have seen of all workers.
#[derive(Debug, Default)]
pub(super) struct Sightings(Mutex<HashMap<WorkerId, Observer>>);

/// What one worker has seen, since its heartbeats come in time.
#[derive(Debug, Default)]
struct Observer {
    last_beat: Option<Timestamp>,
    others: HashMap<WorkerId, Sighting>,
}

/// When the observer saw this heartbeat for the first time.
#[derive(Debug, Clone, Copy)]
struct Sighting {
    beats: i64,
    first_seen: Timestamp,
}

/// A worker's row.
#[derive(Debug, Clone, Copy)]
pub(super) struct WorkerRow {
    pub(super) worker: WorkerId,
    pub(super) heartbeat_at: Timestamp,
    pub(super) beats: i64,
    pub(super) lease: Duration,
}

impl Sightings {
    fn with<T>(&self, look: impl FnOnce(&mut HashMap<WorkerId, Observer>) -> T) -> T {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Notes what `observer` sees at a heartbeat of its own.
    ///
    /// If that comes more than a lease after the one before, or before it, then the observer was
    /// stalled or could not write, as perhaps nobody could, or the clock has jumped: what it saw
    /// before proves nothing, and it begins anew.
    fn beat(&self, observer: WorkerId, now: Timestamp, lease: Duration, rows: &[WorkerRow]) {
        self.with(|observers| {
            let observer = observers.entry(observer).or_default();
            let in_time =
                observer.last_beat.is_some_and(|last| last <= now && now.since(last) <= lease);
            if !in_time {
                observer.others.clear();
            }
            let seen = std::mem::take(&mut observer.others);
            observer.last_beat = Some(now);
            observer.others = rows
                .iter()
                .map(|row| {
                    let before = seen.get(&row.worker).filter(|before| before.beats == row.beats);
                    let first_seen = before.map_or(now, |before| before.first_seen);
                    (row.worker, Sighting { beats: row.beats, first_seen })
                })
                .collect();
        });
    }

    fn forget(&self, observer: WorkerId) {
        self.with(|observers| observers.remove(&observer));
    }

    /// Whether `observer` may take `other` for dead.
    ///
    /// Two things together say so: the heartbeat is older than the lease by the clock, and the
    /// observer has seen the same one for half a lease, more than the third in which a live worker
    /// would have grown it, while its own heartbeats came in time. Or, whatever the clock says: it
    /// has seen the same one for longer than a lease.
    ///
    /// While a change of the setting is rolled out, leases differ: the longer of both counts.
    pub(super) fn is_dead(
        &self,
        observer: WorkerId,
        other: &WorkerRow,
        now: Timestamp,
        lease: Duration,
    ) -> bool {
        self.with(|observers| {
            let Some(observer) = observers.get(&observer) else { return false };
            let beat_in_time = observer.last_beat.is_some_and(|last| now.since(last) <= lease);
            let Some(sighting) = observer.others.get(&other.worker) else { return false };
            if !beat_in_time || sighting.beats != other.beats {
                return false;
            }
            let watched = now.since(sighting.first_seen);
            let lease = lease.max(other.lease);
            watched > lease || (now.since(other.heartbeat_at) > lease && watched >= lease / 2)
        })
    }
}

/// Writes a heartbeat, and looks around. With the queues that it serves, the worker is registered.
pub(super) async fn heartbeat(
    inner: Arc<Inner>,
    worker: WorkerId,
    queues: Option<Queues>,
) -> Result<Heartbeat, QueueError> {
    const STEP: &str = "write a heartbeat";
    let failed = |error| QueueError::database(STEP, error);
    let mut writer = inner.gate.writer(&inner.own, STEP).await?;
    let mut transaction = writer.begin_with("BEGIN IMMEDIATE").await.map_err(failed)?;
    // Read once the writer is ours: the wait for it must not make the heartbeat look older.
    let now = inner.events.now();
    let lease = inner.events.settings().lease;
    let alive =
        write(&mut transaction, worker, queues.as_ref(), now, lease).await.map_err(failed)?;
    let rows = workers(&mut transaction).await?;
    transaction.commit().await.map_err(failed)?;
    writer.finish();
    if !alive {
        inner.sightings.forget(worker);
        return Ok(Heartbeat::Lost);
    }
    inner.sightings.beat(worker, now, lease, &rows);
    Ok(Heartbeat::Alive)
}

async fn write(
    connection: &mut SqliteConnection,
    worker: WorkerId,
    queues: Option<&Queues>,
    now: Timestamp,
    lease: Duration,
) -> Result<bool, sqlx::Error> {
    const REGISTER: &str = "
        INSERT INTO events_workers (id, started_at, heartbeat_at, beats, lease, queues)
        VALUES (?1, ?2, ?2, 1, ?3, ?4)
        ON CONFLICT (id) DO UPDATE SET heartbeat_at = excluded.heartbeat_at, beats = beats + 1,
            lease = excluded.lease, queues = excluded.queues";
    const BEAT: &str = "
        UPDATE events_workers SET heartbeat_at = ?2, beats = beats + 1, lease = ?3 WHERE id = ?1";
    let sql = if queues.is_some() { REGISTER } else { BEAT };
    let query = sqlx::query(sql)
        .bind(worker.to_bytes().to_vec())
        .bind(now.as_micros())
        .bind(i64::try_from(lease.as_micros()).unwrap_or(i64::MAX));
    let query = match queues {
        Some(queues) => query.bind(serde_json::json!(queues).to_string()),
        None => query,
    };
    Ok(query.execute(connection).await?.rows_affected() == 1)
}

pub(super) async fn workers(
    connection: &mut SqliteConnection,
) -> Result<Vec<WorkerRow>, QueueError> {
    let rows = sqlx::query("SELECT id, heartbeat_at, beats, lease FROM events_workers")
        .fetch_all(connection)
        .await
        .map_err(|error| QueueError::database("read the heartbeats", error))?;
    Ok(rows.iter().filter_map(|found| readable(worker_row(found))).collect())
}

fn worker_row(found: &SqliteRow) -> Result<WorkerRow, QueueError> {
    Ok(WorkerRow {
        worker: WorkerId::from_bytes(row::id(found, "id")?),
        heartbeat_at: row::timestamp(found, "heartbeat_at")?,
        beats: row::get(found, "beats")?,
        lease: Duration::from_micros(row::get(found, "lease")?),
    })
}

/// No worker must suffer from a row that nobody can read.
fn readable(row: Result<WorkerRow, QueueError>) -> Option<WorkerRow> {
    row.inspect_err(|error| {
        tracing::error!(
            error = error as &dyn std::error::Error,
            "a worker's row cannot be read and is passed over; delete it"
        );
    })
    .ok()
}

/// Forgets a worker that ends.
pub(super) async fn deregister(inner: Arc<Inner>, worker: WorkerId) -> Result<(), QueueError> {
    const STEP: &str = "deregister a worker";
    let mut writer = inner.gate.writer(&inner.own, STEP).await?;
    sqlx::query("DELETE FROM events_workers WHERE id = ?1")
        .bind(worker.to_bytes().to_vec())
        .execute(&mut *writer)
        .await
        .map_err(|error| QueueError::database(STEP, error))?;
    writer.finish();
    inner.sightings.forget(worker);
    Ok(())
}
