//! When reconcilers ran, for all processes together.

use std::sync::Arc;

use events_core::cadence::{ReconcilerRuns, ReconcilerState, RunResult, RunStart};
use events_core::{BrokerError, Timestamp, WorkerId};
use sqlx::SqlStr;
use sqlx::postgres::{PgArguments, PgRow};
use sqlx::query::Query;
use sqlx::types::Uuid;

use super::own::Own;
use super::queue::{Inner, PostgresQueue};
use super::row::{self, uuid};
use crate::error::QueueError;

pub(super) const RECONCILERS: &str = "
SELECT name, started_at, started_by, next_at, ended_at, result
FROM {schema}.reconcilers ORDER BY name";

pub(super) const ANNOUNCE: &str = "
INSERT INTO {schema}.reconcilers (name, next_at) VALUES ($1, $2) ON CONFLICT DO NOTHING";

/// Of several that begin a run after the same one, the second waits for the first, and then finds
/// another run than it knew. `$5` is that one.
pub(super) const BEGIN_RUN: &str = "
INSERT INTO {schema}.reconcilers AS known (name, started_at, started_by, next_at)
VALUES ($1, $2, $3, $4)
ON CONFLICT (name) DO UPDATE SET started_at = excluded.started_at,
    started_by = excluded.started_by, next_at = excluded.next_at
WHERE known.started_at IS NOT DISTINCT FROM $5";

pub(super) const END_RUN: &str = "
UPDATE {schema}.reconcilers SET ended_at = $3, result = $4 WHERE name = $1 AND started_at = $2";

impl ReconcilerRuns for PostgresQueue {
    async fn reconcilers(&self) -> Result<Vec<ReconcilerState>, BrokerError> {
        self.uninterrupted("tell when reconcilers ran", read).await
    }

    async fn announce_reconciler(
        &self,
        name: &'static str,
        next_at: Timestamp,
    ) -> Result<(), BrokerError> {
        self.uninterrupted("remember when a reconciler is due", move |inner| async move {
            let query = statement(&inner.sql().announce_reconciler, name);
            run(&inner, query.bind(next_at.as_micros())).await.map(drop)
        })
        .await
    }

    async fn begin_run(&self, start: &RunStart) -> Result<bool, BrokerError> {
        let start = start.clone();
        self.uninterrupted("stamp the run of a reconciler", move |inner| async move {
            let query = statement(&inner.sql().begin_run, start.name)
                .bind(start.started_at.as_micros())
                .bind(uuid(start.started_by))
                .bind(start.next_at.as_micros())
                .bind(start.after.map(Timestamp::as_micros));
            run(&inner, query).await.map(|rows| rows == 1)
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
        self.uninterrupted("remember how a reconciler's run ended", move |inner| async move {
            let query = statement(&inner.sql().end_run, name)
                .bind(started_at.as_micros())
                .bind(ended_at.as_micros())
                .bind(result);
            run(&inner, query).await.map(drop)
        })
        .await
    }
}

type Statement = Query<'static, sqlx::Postgres, PgArguments>;

fn statement(sql: &SqlStr, name: &'static str) -> Statement {
    sqlx::query(sql.clone()).bind(name)
}

async fn run(inner: &Inner, query: Statement) -> Result<u64, QueueError> {
    const STEP: &str = "write when a reconciler ran";
    let mut connection = Own::acquire(&inner.own, STEP).await?;
    let done =
        query.execute(&mut *connection).await.map_err(|error| QueueError::database(STEP, error))?;
    connection.finish();
    Ok(done.rows_affected())
}

async fn read(inner: Arc<Inner>) -> Result<Vec<ReconcilerState>, QueueError> {
    const STEP: &str = "read when reconcilers ran";
    let mut connection = Own::acquire(&inner.own, STEP).await?;
    let rows = sqlx::query(inner.sql().reconcilers.clone())
        .fetch_all(&mut *connection)
        .await
        .map_err(|error| QueueError::database(STEP, error))?;
    connection.finish();
    rows.iter().map(state).collect()
}

fn state(found: &PgRow) -> Result<ReconcilerState, QueueError> {
    let time = |column| row::get::<Option<i64>>(found, column);
    let worker: Option<Uuid> = row::get(found, "started_by")?;
    let result: Option<&str> = row::get(found, "result")?;
    Ok(ReconcilerState {
        name: row::get(found, "name")?,
        started_at: time("started_at")?.map(Timestamp::from_micros),
        started_by: worker.map(|worker| WorkerId::from_bytes(worker.into_bytes())),
        next_at: row::timestamp(found, "next_at")?,
        ended_at: time("ended_at")?.map(Timestamp::from_micros),
        // Of another release, perhaps: nothing depends on it.
        result: result.and_then(|result| serde_json::from_str(result).ok()),
    })
}
