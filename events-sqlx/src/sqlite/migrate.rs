//! The events tables, brought to this program's version.

use events_core::Timestamp;
use sqlx::{Connection, SqlSafeStr, SqliteConnection, SqlitePool};

use crate::error::{QueueError, remedy};

/// Append-only: the version is the position, from 1.
const MIGRATIONS: &[&str] = &[
    include_str!("../../migrations/sqlite/0001_queue.sql"),
    include_str!("../../migrations/sqlite/0002_debounce.sql"),
    include_str!("../../migrations/sqlite/0003_reconcilers.sql"),
    include_str!("../../migrations/sqlite/0004_outbox.sql"),
];

const TABLE: &str = "CREATE TABLE IF NOT EXISTS events_migrations (
    version INTEGER PRIMARY KEY, applied_at INTEGER NOT NULL) STRICT";

/// Migrates, unless it was done. Safe when several processes start at once: who comes second finds
/// it done.
pub(super) async fn migrate(pool: &SqlitePool, now: Timestamp) -> Result<(), QueueError> {
    let failed = |error| QueueError::database("read the version of the events tables", error);
    let mut connection = pool.acquire().await.map_err(failed)?;
    // A look that takes no lock, so that a start does not wait for somebody's transaction.
    if is_current(&mut connection).await.map_err(failed)? {
        return Ok(());
    }
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await.map_err(failed)?;
    sqlx::query(TABLE).execute(&mut *transaction).await.map_err(failed)?;
    let found = version(&mut transaction).await.map_err(failed)?;
    let known = i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX);
    if found > known {
        return Err(QueueError::NewerSchema { found, known });
    }
    for (version, sql) in (1..).zip(MIGRATIONS).filter(|(version, _)| *version > found) {
        apply(&mut transaction, version, sql, now).await.map_err(|source| QueueError::Migrate {
            version,
            remedy: remedy(&source),
            source,
        })?;
        tracing::info!(version, "events tables migrated");
    }
    transaction.commit().await.map_err(failed)
}

async fn is_current(connection: &mut SqliteConnection) -> Result<bool, sqlx::Error> {
    let exists: bool = sqlx::query_scalar(
        "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = 'events_migrations')",
    )
    .fetch_one(&mut *connection)
    .await?;
    Ok(exists && usize::try_from(version(connection).await?) == Ok(MIGRATIONS.len()))
}

async fn version(connection: &mut SqliteConnection) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar("SELECT coalesce(max(version), 0) FROM events_migrations")
        .fetch_one(connection)
        .await
}

async fn apply(
    connection: &mut SqliteConnection,
    version: i64,
    sql: &'static str,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(sql.into_sql_str()).execute(&mut *connection).await?;
    sqlx::query("INSERT INTO events_migrations (version, applied_at) VALUES (?1, ?2)")
        .bind(version)
        .bind(now.as_micros())
        .execute(connection)
        .await?;
    Ok(())
}
