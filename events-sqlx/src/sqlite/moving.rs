//! Tasks that wait for a worker, or until their key is quiet, though their queue is forwarded by now.

use std::sync::Arc;
use std::time::Duration;

use events_core::outbox::OutboxLease;
use serde_json::json;
use sqlx::{Connection, SqliteConnection};

use super::outbox::{failed, renew};
use super::queue::Inner;
use super::{admin, lanes};
use crate::error::QueueError;
use crate::outbox::{self, MOVED_AT_ONCE};

const DEBOUNCED_QUEUES: &str = "SELECT DISTINCT queue FROM events_debounced";

/// The row of a waiting task, of the form that the relay reads.
macro_rules! moved {
    ($key:literal, $from:literal, $number:literal) => {
        concat!(
            "INSERT INTO events_outbox (outbox, tasks, published_at, body, bytes)
            SELECT ?1, 1, published_at, body, octet_length(body) FROM (
                SELECT published_at, json_array(json_array(lower(hex(task_id)),
                    lower(hex(event_id)), event, name, queue, priority, due_at, published_at,
                    payload, headers, ",
            $key,
            ")) AS body FROM ",
            $from,
            " WHERE ",
            $number,
            " IN (SELECT value FROM json_each(?2)) ORDER BY published_at, ",
            $number,
            ")"
        )
    };
}

/// Tasks that wait to be moved, by number; how each becomes a row; and how it goes.
struct Move {
    waiting: &'static str,
    insert: &'static str,
    delete: &'static str,
}

const MOVES: [Move; 2] = [
    Move {
        waiting: "SELECT seq FROM events_tasks INDEXED BY events_tasks_waiting
            WHERE leased_by IS NULL AND queue IN (SELECT value FROM json_each(?1)) LIMIT ?2",
        insert: moved!("NULL, NULL", "events_tasks", "seq"),
        delete: "DELETE FROM events_tasks WHERE seq IN (SELECT value FROM json_each(?1))",
    },
    Move {
        waiting: "SELECT rowid FROM events_debounced
            WHERE queue IN (SELECT value FROM json_each(?1)) LIMIT ?2",
        insert: moved!("key, not_after", "events_debounced", "rowid"),
        delete: "DELETE FROM events_debounced WHERE rowid IN (SELECT value FROM json_each(?1))",
    },
];

pub(super) async fn move_waiting(
    inner: Arc<Inner>,
    held: OutboxLease,
    lease: Duration,
) -> Result<Option<u64>, QueueError> {
    const STEP: &str = "move tasks into the outbox";
    // A look first, so that the writer is not waited for in vain.
    let scan = lanes::scan(&inner.own, held.relay).await?;
    let mut connection = inner.own.acquire().await.map_err(failed(STEP))?;
    let debounced: Vec<String> = sqlx::query_scalar(DEBOUNCED_QUEUES)
        .fetch_all(&mut *connection)
        .await
        .map_err(failed(STEP))?;
    let workers = admin::workers(&mut connection).await?;
    drop(connection);
    let queues = scan.heads.into_iter().map(|head| head.lane.queue).chain(debounced);
    let queues =
        outbox::taken_over(&held.outbox, queues, &inner.forwardings, &workers, &inner.events);
    if queues.is_empty() {
        return Ok(Some(0));
    }
    let mut writer = inner.gate.writer(&inner.own, STEP).await?;
    let mut transaction = writer.begin_with("BEGIN IMMEDIATE").await.map_err(failed(STEP))?;
    let until = inner.events.now() + lease;
    let is_held = renew(&mut transaction, &held, until).await?;
    let mut moved = 0;
    if is_held {
        let queues = json!(queues).to_string();
        for kind in &MOVES {
            moved += move_some(&mut transaction, kind, &held.outbox, &queues)
                .await
                .map_err(failed(STEP))?;
        }
    }
    transaction.commit().await.map_err(failed(STEP))?;
    writer.finish();
    Ok(is_held.then_some(moved))
}

async fn move_some(
    connection: &mut SqliteConnection,
    kind: &Move,
    outbox: &str,
    queues: &str,
) -> Result<u64, sqlx::Error> {
    let numbers: Vec<i64> = sqlx::query_scalar(kind.waiting)
        .bind(queues)
        .bind(MOVED_AT_ONCE)
        .fetch_all(&mut *connection)
        .await?;
    let numbers = json!(numbers).to_string();
    sqlx::query(kind.insert).bind(outbox).bind(&*numbers).execute(&mut *connection).await?;
    let deleted = sqlx::query(kind.delete).bind(&*numbers).execute(connection).await?;
    Ok(deleted.rows_affected())
}
