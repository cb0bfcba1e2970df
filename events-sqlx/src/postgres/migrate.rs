//! The events tables, brought to this program's version.

use std::fmt::Write;

use events_core::Timestamp;
use sqlx::{PgConnection, PgPool};

use super::own::Own;
use super::tables::{Statements, in_schema};
use crate::error::{QueueError, remedy};

/// Append-only: the version is the position, from 1.
const MIGRATIONS: &[&str] = &[
    include_str!("../../migrations/postgres/0001_queue.sql"),
    include_str!("../../migrations/postgres/0002_silence.sql"),
    include_str!("../../migrations/postgres/0003_debounce.sql"),
    include_str!("../../migrations/postgres/0004_reconcilers.sql"),
    include_str!("../../migrations/postgres/0005_outbox.sql"),
];

const SCHEMA: &str = "CREATE SCHEMA IF NOT EXISTS {schema}";

const TABLE: &str = "CREATE TABLE IF NOT EXISTS {schema}.migrations (
    version bigint PRIMARY KEY, applied_at bigint NOT NULL)";

const READ: &str = "read the version of the events tables";

const MIGRATE: &str = "migrate the events tables";

const VERSION: &str = "SELECT coalesce(max(version), 0) FROM {schema}.migrations";

/// The newest version that this program knows.
fn known() -> i64 {
    i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX)
}

/// Migrates, unless it was done. Safe when several processes start at once: who comes second waits
/// and finds it done.
pub(super) async fn migrate(
    pool: &PgPool,
    statements: &Statements,
    now: Timestamp,
) -> Result<(), QueueError> {
    let failed = |error| QueueError::database(READ, error);
    let mut connection = Own::acquire(pool, READ).await?;
    // A look that takes no lock, and needs no right to create anything.
    let found = version(&mut connection, statements).await.map_err(failed)?;
    if found == Some(known()) {
        connection.finish();
        return Ok(());
    }
    check_newer(found.unwrap_or(0))?;
    let failed = |error| QueueError::database(MIGRATE, error);
    connection.begin().await.map_err(failed)?;
    let transaction = &mut connection;
    // Another process may be migrating, for as long as that takes.
    sqlx::raw_sql("SET LOCAL lock_timeout = 0; SET LOCAL statement_timeout = 0")
        .execute(&mut **transaction)
        .await
        .map_err(failed)?;
    sqlx::query("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))")
        .bind(format!("migrations of {}", statements.schema))
        .execute(&mut **transaction)
        .await
        .map_err(failed)?;
    create(transaction, &statements.schema)
        .await
        .map_err(|error| QueueError::database("create the schema of the events tables", error))?;
    // Read from the table: whether it exists, the server would tell as it was before the lock.
    let found: i64 = sqlx::query_scalar(in_schema(VERSION, &statements.schema))
        .fetch_one(&mut **transaction)
        .await
        .map_err(failed)?;
    check_newer(found)?;
    for (version, sql) in (1..).zip(MIGRATIONS).filter(|(version, _)| *version > found) {
        apply(transaction, &statements.schema, version, sql, now)
            .await
            .map_err(|source| QueueError::Migrate { version, remedy: remedy(&source), source })?;
        tracing::info!(version, schema = statements.schema, "events tables migrated");
    }
    transaction.commit().await.map_err(failed)?;
    connection.finish();
    Ok(())
}

/// Checks that somebody else has migrated.
pub(super) async fn check(pool: &PgPool, statements: &Statements) -> Result<(), QueueError> {
    let failed = |error| QueueError::database(READ, error);
    let mut connection = Own::acquire(pool, READ).await?;
    let found = version(&mut connection, statements).await.map_err(failed)?.unwrap_or(0);
    connection.finish();
    check_newer(found)?;
    match found == known() {
        true => Ok(()),
        false => Err(QueueError::OlderSchema { found, known: known() }),
    }
}

fn check_newer(found: i64) -> Result<(), QueueError> {
    match found > known() {
        true => Err(QueueError::NewerSchema { found, known: known() }),
        false => Ok(()),
    }
}

/// The version of the tables; `None` if there is not even a table of versions.
async fn version(
    connection: &mut PgConnection,
    statements: &Statements,
) -> Result<Option<i64>, sqlx::Error> {
    let schema = &statements.schema;
    let exists: bool = sqlx::query_scalar("SELECT to_regclass($1) IS NOT NULL")
        .bind(format!("\"{schema}\".migrations"))
        .fetch_one(&mut *connection)
        .await?;
    if !exists {
        return Ok(None);
    }
    sqlx::query_scalar(in_schema(VERSION, schema)).fetch_one(connection).await.map(Some)
}

/// The schema may be there already, made for this user by one who may.
async fn create(connection: &mut PgConnection, schema: &str) -> Result<(), sqlx::Error> {
    let exists: bool =
        sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM pg_namespace WHERE nspname = $1)")
            .bind(schema)
            .fetch_one(&mut *connection)
            .await?;
    if !exists {
        sqlx::query(in_schema(SCHEMA, schema)).execute(&mut *connection).await?;
    }
    sqlx::query(in_schema(TABLE, schema)).execute(connection).await.map(drop)
}

async fn apply(
    connection: &mut PgConnection,
    schema: &str,
    version: i64,
    sql: &str,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(in_schema(sql, schema)).execute(&mut *connection).await?;
    let record = "INSERT INTO {schema}.migrations (version, applied_at) VALUES ($1, $2)";
    sqlx::query(in_schema(record, schema))
        .bind(version)
        .bind(now.as_micros())
        .execute(connection)
        .await
        .map(drop)
}

/// All migrations as text.
pub(super) fn text(schema: &str) -> String {
    let sql = |sql| in_schema(sql, schema).0;
    let mut text = format!("{};\n{};\n", sql(SCHEMA), sql(TABLE));
    for (version, migration) in (1..).zip(MIGRATIONS) {
        let migration = sql(migration);
        write!(
            text,
            "\n-- Events tables, version {version}.\n{migration}\nINSERT INTO \"{schema}\".migrations (version, applied_at)\nVALUES ({version}, (extract(epoch FROM now()) * 1000000)::bigint);\n"
        )
        .expect("writing to a string cannot fail");
    }
    text
}
