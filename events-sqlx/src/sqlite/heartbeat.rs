//! Who is alive.
//!
//! A worker beats by growing its row; what others conclude from its silence, [`events_core::sightings`] says.

use std::sync::Arc;
use std::time::Duration;

use events_core::broker::Heartbeat;
use events_core::{Queues, Timestamp, WorkerId};
use sqlx::sqlite::SqliteRow;
use sqlx::{Connection, SqliteConnection};

use super::queue::Inner;
use super::row;
use crate::error::QueueError;
use events_core::sightings::WorkerRow;

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
    let rows = workers(&mut transaction, now).await?;
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
    now: Timestamp,
) -> Result<Vec<WorkerRow>, QueueError> {
    let rows = sqlx::query("SELECT id, heartbeat_at, beats, lease FROM events_workers")
        .fetch_all(connection)
        .await
        .map_err(|error| QueueError::database("read the heartbeats", error))?;
    Ok(rows.iter().filter_map(|found| readable(worker_row(found, now))).collect())
}

fn worker_row(found: &SqliteRow, now: Timestamp) -> Result<WorkerRow, QueueError> {
    let heartbeat_at = row::timestamp(found, "heartbeat_at")?;
    Ok(WorkerRow {
        worker: WorkerId::from_bytes(row::id(found, "id")?),
        heartbeat_at,
        silence: now.since(heartbeat_at),
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
