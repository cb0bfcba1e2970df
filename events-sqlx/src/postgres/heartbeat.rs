//! Who is alive.

use std::sync::Arc;
use std::time::Duration;

use events_core::broker::Heartbeat;
use events_core::{Queues, WorkerId};
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row};
use tokio::time::timeout;

use super::own::Own;
use super::queue::Inner;
use super::row::{self, uuid};
use super::{claim, postponed};
use crate::error::QueueError;
use events_core::sightings::WorkerRow;

/// What is read of a worker: the silence, in microseconds, is measured by the server. One of a
/// release that does not write `heard_at` is never silent by it.
macro_rules! worker_columns {
    () => {
        "id, heartbeat_at, beats, lease, coalesce(
            (extract(epoch FROM clock_timestamp() - heard_at) * 1000000)::int8, 0) AS silence"
    };
}

/// A registration is a heartbeat: who looks around already then may judge the sooner.
pub(super) const REGISTER: &str = concat!(
    "WITH beat AS (
        INSERT INTO {schema}.workers AS worker
            (id, started_at, heartbeat_at, beats, lease, queues, heard_at)
        VALUES ($1, $2, $2, 1, $3, $4, clock_timestamp())
        ON CONFLICT (id) DO UPDATE SET heartbeat_at = excluded.heartbeat_at,
            beats = worker.beats + 1, lease = excluded.lease, queues = excluded.queues,
            heard_at = excluded.heard_at
    )
    SELECT ",
    worker_columns!(),
    " FROM {schema}.workers"
);

/// Beats, and looks around: the others as they were before.
pub(super) const BEAT: &str = concat!(
    "WITH beat AS (
        UPDATE {schema}.workers
        SET heartbeat_at = $2, beats = beats + 1, lease = $3, heard_at = clock_timestamp()
        WHERE id = $1
        RETURNING id
    )
    SELECT EXISTS (SELECT 1 FROM beat) AS alive, ",
    worker_columns!(),
    " FROM {schema}.workers"
);

pub(super) const WORKERS: &str = concat!("SELECT ", worker_columns!(), " FROM {schema}.workers");

pub(super) const DEREGISTER: &str = "DELETE FROM {schema}.workers WHERE id = $1";

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

pub(super) async fn register(
    inner: Arc<Inner>,
    worker: WorkerId,
    queues: Queues,
) -> Result<(), QueueError> {
    const STEP: &str = "register a worker";
    let now = inner.events.now();
    let lease = inner.events.settings().lease;
    let mut connection = Own::acquire(&inner.own, STEP).await?;
    let found = sqlx::query(inner.sql().register.clone())
        .bind(uuid(worker))
        .bind(now.as_micros())
        .bind(micros(lease))
        .bind(serde_json::json!(queues).to_string())
        .fetch_all(&mut *connection)
        .await
        .map_err(|error| QueueError::database(STEP, error))?;
    connection.finish();
    inner.sightings.beat(worker, now, lease, &readable(&found));
    Ok(())
}

/// Writes a heartbeat, and looks around.
pub(super) async fn heartbeat(
    inner: Arc<Inner>,
    worker: WorkerId,
) -> Result<Heartbeat, QueueError> {
    const STEP: &str = "write a heartbeat";
    let now = inner.events.now();
    let lease = inner.events.settings().lease;
    let mut connection = Own::acquire(&inner.own, STEP).await?;
    let found = sqlx::query(inner.sql().beat.clone())
        .bind(uuid(worker))
        .bind(now.as_micros())
        .bind(micros(lease))
        .fetch_all(&mut *connection)
        .await
        .map_err(|error| QueueError::database(STEP, error))?;
    connection.finish();
    let alive = found.first().is_some_and(|row| row.try_get("alive").unwrap_or(false));
    if !alive {
        inner.sightings.forget(worker);
        inner.doubts.forget(worker);
        inner.postponed.take(worker);
        return Ok(Heartbeat::Lost);
    }
    inner.sightings.beat(worker, now, lease, &readable(&found));
    tokio::spawn(async move {
        // Within a time limit, and beside the heartbeat: that must not wait for it.
        timeout(inner.patience, catch_up(&inner, worker)).await.ok();
    });
    Ok(Heartbeat::Alive)
}

/// Does what could not be done before.
async fn catch_up(inner: &Arc<Inner>, worker: WorkerId) {
    claim::settle_doubts(inner, worker).await;
    postponed::settle(inner, worker).await;
}

pub(super) async fn workers(
    inner: &Inner,
    connection: &mut PgConnection,
) -> Result<Vec<WorkerRow>, QueueError> {
    let rows = sqlx::query(inner.sql().workers.clone())
        .fetch_all(connection)
        .await
        .map_err(|error| QueueError::database("read the heartbeats", error))?;
    Ok(readable(&rows))
}

/// No worker must suffer from a row that nobody can read.
fn readable(rows: &[PgRow]) -> Vec<WorkerRow> {
    let rows = rows.iter().map(worker_row);
    let rows = rows.filter_map(|row| {
        row.inspect_err(|error| {
            tracing::error!(
                error = error as &dyn std::error::Error,
                "a worker's row cannot be read and is passed over; delete it"
            );
        })
        .ok()
    });
    rows.collect()
}

fn worker_row(found: &PgRow) -> Result<WorkerRow, QueueError> {
    Ok(WorkerRow {
        worker: row::worker(found, "id")?,
        heartbeat_at: row::timestamp(found, "heartbeat_at")?,
        beats: row::get(found, "beats")?,
        lease: Duration::from_micros(row::number(found, "lease")?),
        // Below zero where the server's clock was set back: as good as just now.
        silence: Duration::from_micros(row::get::<i64>(found, "silence")?.max(0).cast_unsigned()),
    })
}

/// Forgets a worker that ends.
pub(super) async fn deregister(inner: Arc<Inner>, worker: WorkerId) -> Result<(), QueueError> {
    const STEP: &str = "deregister a worker";
    claim::settle_doubts(&inner, worker).await;
    let mut connection = Own::acquire(&inner.own, STEP).await?;
    sqlx::query(inner.sql().deregister.clone())
        .bind(uuid(worker))
        .execute(&mut *connection)
        .await
        .map_err(|error| QueueError::database(STEP, error))?;
    connection.finish();
    inner.sightings.forget(worker);
    inner.doubts.forget(worker);
    inner.postponed.take(worker);
    Ok(())
}
