//! When reconcilers ran, for all processes together.

use std::sync::Arc;

use events_core::cadence::{ReconcilerRuns, ReconcilerState, RunResult, RunStart};
use events_core::{BrokerError, Timestamp, WorkerId};
use sqlx::Sqlite;
use sqlx::query::Query;
use sqlx::sqlite::{SqliteArguments, SqliteRow};

use super::queue::{Inner, SqliteQueue};
use super::row;
use crate::error::QueueError;

const RECONCILERS: &str = "
SELECT name, started_at, started_by, next_at, ended_at, result
FROM events_reconcilers ORDER BY name";

const ANNOUNCE: &str = "
INSERT INTO events_reconcilers (name, next_at) VALUES (?1, ?2) ON CONFLICT DO NOTHING";

/// Of several that begin a run after the same one, the second finds another run than it knew; `?5`
/// is that one.
const BEGIN_RUN: &str = "
INSERT INTO events_reconcilers AS known (name, started_at, started_by, next_at)
VALUES (?1, ?2, ?3, ?4)
ON CONFLICT (name) DO UPDATE SET started_at = excluded.started_at,
    started_by = excluded.started_by, next_at = excluded.next_at
WHERE known.started_at IS ?5";

const END_RUN: &str = "
UPDATE events_reconcilers SET ended_at = ?3, result = ?4 WHERE name = ?1 AND started_at = ?2";

impl ReconcilerRuns for SqliteQueue {
    async fn reconcilers(&self) -> Result<Vec<ReconcilerState>, BrokerError> {
        read(&self.inner)
            .await
            .map_err(|error| error.into_broker_error("tell when reconcilers ran"))
    }

    async fn announce_reconciler(
        &self,
        name: &'static str,
        next_at: Timestamp,
    ) -> Result<(), BrokerError> {
        self.uninterrupted("remember when a reconciler is due", move |inner| async move {
            run(&inner, sqlx::query(ANNOUNCE).bind(name).bind(next_at.as_micros())).await.map(drop)
        })
        .await
    }

    async fn begin_run(&self, start: &RunStart) -> Result<bool, BrokerError> {
        let start = start.clone();
        self.uninterrupted("stamp the run of a reconciler", move |inner| {
            let query = sqlx::query(BEGIN_RUN)
                .bind(start.name)
                .bind(start.started_at.as_micros())
                .bind(start.started_by.to_bytes().to_vec())
                .bind(start.next_at.as_micros())
                .bind(start.after.map(Timestamp::as_micros));
            async move { run(&inner, query).await.map(|rows| rows == 1) }
        })
        .await
    }

    async fn end_run(
        &self,
        name: &'static str,
        started_at: Timestamp,
        ended_at: Timestamp,
        result: &RunResult,
    ) -> Result<(), BrokerError> {
        let result = serde_json::json!(result).to_string();
        self.uninterrupted("remember how a reconciler's run ended", move |inner| {
            let query = sqlx::query(END_RUN)
                .bind(name)
                .bind(started_at.as_micros())
                .bind(ended_at.as_micros())
                .bind(result.clone());
            async move { run(&inner, query).await.map(drop) }
        })
        .await
    }
}

async fn run(
    inner: &Arc<Inner>,
    query: Query<'static, Sqlite, SqliteArguments>,
) -> Result<u64, QueueError> {
    const STEP: &str = "write when a reconciler ran";
    let mut writer = inner.gate.writer(&inner.own, STEP).await?;
    let done =
        query.execute(&mut *writer).await.map_err(|error| QueueError::database(STEP, error))?;
    writer.finish();
    Ok(done.rows_affected())
}

async fn read(inner: &Inner) -> Result<Vec<ReconcilerState>, QueueError> {
    let rows = sqlx::query(RECONCILERS)
        .fetch_all(&inner.own)
        .await
        .map_err(|error| QueueError::database("read when reconcilers ran", error))?;
    rows.iter().map(state).collect()
}

fn state(found: &SqliteRow) -> Result<ReconcilerState, QueueError> {
    let time = |column| row::get::<Option<i64>>(found, column);
    let worker: Option<&[u8]> = row::get(found, "started_by")?;
    let result: Option<&str> = row::get(found, "result")?;
    Ok(ReconcilerState {
        name: row::get(found, "name")?,
        started_at: time("started_at")?.map(Timestamp::from_micros),
        started_by: match worker {
            Some(_) => Some(WorkerId::from_bytes(row::id(found, "started_by")?)),
            None => None,
        },
        next_at: row::timestamp(found, "next_at")?,
        ended_at: time("ended_at")?.map(Timestamp::from_micros),
        // Of another release, perhaps: nothing depends on it.
        result: result.and_then(|result| serde_json::from_str(result).ok()),
    })
}
