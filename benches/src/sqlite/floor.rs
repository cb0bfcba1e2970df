//! The bare statements: what a queue written by hand, with nothing but tasks in it, would send.

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection, Row, SqliteConnection};

/// As many as a claim takes.
pub(super) const BATCH: u16 = 500;

const TASKS: &str = "
CREATE TABLE tasks (
    id        INTEGER PRIMARY KEY,
    due_at    INTEGER NOT NULL,
    leased_by INTEGER,
    payload   TEXT NOT NULL
) STRICT;
CREATE INDEX tasks_waiting ON tasks (due_at) WHERE leased_by IS NULL;";

/// What transactional handlers write.
pub(super) const EFFECTS: &str =
    "CREATE TABLE IF NOT EXISTS effects (number INTEGER NOT NULL) STRICT";

const FILL: &str = "
WITH RECURSIVE numbers (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM numbers WHERE n + 1 < ?1)
INSERT INTO tasks (due_at, payload) SELECT ?2 + n, ?3 FROM numbers";

const CLAIM: &str = "
UPDATE tasks SET leased_by = 1 WHERE id IN (
    SELECT id FROM tasks WHERE leased_by IS NULL AND due_at <= ?1 ORDER BY due_at LIMIT ?2)
RETURNING id, payload";

const DELETE: &str = "DELETE FROM tasks WHERE id IN (SELECT value FROM json_each(?1))";

/// The claim on the queue's own table, all columns read, and nothing around it.
const CLAIM_OWN: &str = "
UPDATE events_tasks SET leased_by = x'00', attempt = attempt + 1, fence = fence + 1
WHERE seq IN (
    SELECT seq FROM events_tasks
    WHERE leased_by IS NULL AND queue = 'events' AND priority = 0 AND due_at <= ?1
    ORDER BY due_at, seq LIMIT ?2)
RETURNING seq, fence, attempt, task_id, event_id, event, name, queue, priority, due_at,
    published_at, payload, headers";

const DELETE_OWN: &str = "DELETE FROM events_tasks WHERE seq IN (SELECT value FROM json_each(?1))";

/// A connection with the settings that the queue has.
pub(super) async fn connect(path: &Path) -> Result<SqliteConnection, sqlx::Error> {
    let mut connection = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Normal)
        .foreign_keys(true)
        .disable_statement_logging()
        .connect()
        .await?;
    sqlx::raw_sql(EFFECTS).execute(&mut connection).await?;
    Ok(connection)
}

/// A file with this many tasks in a table by hand.
pub(super) async fn filled(path: &Path, tasks: usize) -> Result<SqliteConnection, sqlx::Error> {
    let mut connection = connect(path).await?;
    sqlx::raw_sql(TASKS).execute(&mut connection).await?;
    sqlx::query(FILL)
        .bind(i64::try_from(tasks).unwrap_or(i64::MAX))
        .bind(now() - 10_000_000)
        .bind(payload())
        .execute(&mut connection)
        .await?;
    Ok(connection)
}

fn payload() -> String {
    let event = super::MonitorChecked::new(123_456);
    events_core::event::encode(&event).map(|json| json.to_string()).unwrap_or_default()
}

pub(super) fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

/// Claims a batch, deletes it, and so on until nothing is left. Returns how many there were.
pub(super) async fn drain(connection: &mut SqliteConnection) -> Result<usize, sqlx::Error> {
    drain_with(connection, CLAIM, DELETE, "payload").await
}

/// The same on the table of the queue.
pub(super) async fn drain_own(connection: &mut SqliteConnection) -> Result<usize, sqlx::Error> {
    drain_with(connection, CLAIM_OWN, DELETE_OWN, "payload").await
}

async fn drain_with(
    connection: &mut SqliteConnection,
    claim: &'static str,
    delete: &'static str,
    payload: &'static str,
) -> Result<usize, sqlx::Error> {
    let mut drained = 0;
    loop {
        let rows = sqlx::query(claim).bind(now()).bind(BATCH).fetch_all(&mut *connection).await?;
        if rows.is_empty() {
            return Ok(drained);
        }
        drained += rows.len();
        let mut ids = Vec::with_capacity(rows.len());
        for row in &rows {
            ids.push(row.try_get::<i64, _>(0)?);
            std::hint::black_box(row.try_get::<&str, _>(payload)?);
        }
        let ids = serde_json::json!(ids).to_string();
        sqlx::query(delete).bind(ids).execute(&mut *connection).await?;
    }
}

/// For each task: begin, delete it, write one row, commit.
pub(super) async fn handle_each(
    connection: &mut SqliteConnection,
    tasks: usize,
) -> Result<(), sqlx::Error> {
    for id in 1..=tasks as u64 {
        let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
        sqlx::query("DELETE FROM tasks WHERE id = ?1")
            .bind(i64::try_from(id).unwrap_or(i64::MAX))
            .execute(&mut *transaction)
            .await?;
        insert_effect(&mut transaction, id).await?;
        transaction.commit().await?;
    }
    Ok(())
}

/// The row that a transactional handler, or the program that publishes, writes.
pub(super) async fn insert_effect(
    connection: &mut SqliteConnection,
    number: u64,
) -> Result<(), sqlx::Error> {
    sqlx::query("INSERT INTO effects (number) VALUES (?1)")
        .bind(i64::try_from(number).unwrap_or(i64::MAX))
        .execute(connection)
        .await?;
    Ok(())
}

/// Writes a task into the table by hand.
pub(super) async fn insert_task(connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
    sqlx::query("INSERT INTO tasks (due_at, payload) VALUES (?1, ?2)")
        .bind(now())
        .bind(payload())
        .execute(connection)
        .await?;
    Ok(())
}
