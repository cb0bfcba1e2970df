//! How the queue is doing.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use events_core::health::{Health, RegisteredWorker, Snapshot, StorageHealth};
use events_core::{Timestamp, WorkerId};
use sqlx::PgConnection;
use sqlx::postgres::PgRow;

use super::lanes;
use super::outbox;
use super::own::Own;
use super::queue::Inner;
use super::row;
use crate::error::QueueError;

pub(super) const REGISTERED: &str = "SELECT id, heartbeat_at, lease, queues FROM {schema}.workers";

/// Tasks of workers that are gone. A rescue takes them at once, unless a transaction holds them.
pub(super) const HELD: &str = "
SELECT count(*) FROM {schema}.tasks AS task
WHERE leased_by IS NOT NULL
    AND NOT EXISTS (SELECT 1 FROM {schema}.workers AS worker WHERE worker.id = task.leased_by)";

/// Those that wait until their key is quiet, and are due: while workers run, hardly any.
pub(super) const DEBOUNCED: &str = "
SELECT queue, min(due_at) AS due_at FROM {schema}.debounced WHERE due_at <= $1 GROUP BY queue";

pub(super) const STORAGE: &str = "
SELECT n_live_tup, n_dead_tup FROM pg_stat_all_tables WHERE relid = '{schema}.tasks'::regclass";

/// Who holds back vacuum, of those that this user may see.
const OLDEST_SNAPSHOT: &str = "
SELECT held.age, held.holder FROM (
    SELECT greatest(age(backend_xmin), age(backend_xid)) AS xids,
        extract(epoch FROM clock_timestamp() - coalesce(xact_start, backend_start))::float8 AS age,
        format('the session with pid %s of user %s (application %s, state %s)',
            pid, usename, coalesce(nullif(application_name, ''), 'unknown'),
            coalesce(state, 'unknown')) AS holder
    FROM pg_stat_activity
    WHERE (backend_xmin IS NOT NULL OR backend_xid IS NOT NULL) AND pid <> pg_backend_pid()
        AND (datname = current_database() OR datname IS NULL)
        AND backend_type IS DISTINCT FROM 'autovacuum worker'
    UNION ALL
    SELECT age(transaction), extract(epoch FROM clock_timestamp() - prepared)::float8,
        format('the prepared transaction %s', gid)
    FROM pg_prepared_xacts WHERE database = current_database()
    UNION ALL
    SELECT age(xmin), NULL,
        format('the replication slot %s (%s)', slot_name,
            CASE WHEN active THEN 'in use' ELSE 'not in use: drop it if nobody needs it' END)
    FROM pg_replication_slots WHERE xmin IS NOT NULL AND wal_status IS DISTINCT FROM 'lost'
) AS held ORDER BY held.xids DESC, held.age DESC NULLS LAST LIMIT 1";

pub(super) async fn health(inner: Arc<Inner>) -> Result<Health, QueueError> {
    let mut connection = Own::acquire(&inner.own, STEP).await?;
    let now = inner.events.now();
    let workers = workers(&inner, &mut connection).await?;
    let held: i64 = sqlx::query_scalar(inner.sql().held.clone())
        .fetch_one(&mut *connection)
        .await
        .map_err(failed)?;
    let storage = storage(&inner, &mut connection).await?;
    let debounced = sqlx::query(inner.sql().debounced_waiting.clone())
        .bind(now.as_micros())
        .fetch_all(&mut *connection)
        .await
        .map_err(failed)?;
    let outboxes = outbox::health(&inner, &mut connection, now).await?;
    connection.finish();
    let mut due = oldest_due(&inner, now).await?;
    for found in &debounced {
        let due_at = row::timestamp(found, "due_at")?;
        let first = due.entry(row::get(found, "queue")?).or_insert(due_at);
        *first = due_at.min(*first);
    }
    Ok(Health {
        held_by_transactions: held.try_into().unwrap_or(0),
        outboxes,
        storage: Some(storage),
        ..Health::of(due, &workers, now).forwarded(&inner.forwardings.queues())
    })
}

pub(super) async fn workers(
    inner: &Inner,
    connection: &mut PgConnection,
) -> Result<Vec<RegisteredWorker>, QueueError> {
    let found = sqlx::query(inner.sql().registered.clone());
    let found = found.fetch_all(connection).await.map_err(failed)?;
    found.iter().map(registered).collect()
}

const STEP: &str = "look at the queue's health";

fn failed(error: sqlx::Error) -> QueueError {
    QueueError::database(STEP, error)
}

async fn oldest_due(
    inner: &Inner,
    now: Timestamp,
) -> Result<BTreeMap<String, Timestamp>, QueueError> {
    let scan = lanes::scan(inner, WorkerId::generate()).await?;
    let mut due: BTreeMap<String, Timestamp> = BTreeMap::new();
    for head in scan.heads.into_iter().filter(|head| head.due_at <= now) {
        let first = due.entry(head.lane.queue).or_insert(head.due_at);
        *first = head.due_at.min(*first);
    }
    Ok(due)
}

async fn storage(
    inner: &Inner,
    connection: &mut PgConnection,
) -> Result<StorageHealth, QueueError> {
    let rows = sqlx::query(inner.sql().storage.clone())
        .fetch_optional(&mut *connection)
        .await
        .map_err(failed)?;
    let snapshot = sqlx::query(OLDEST_SNAPSHOT).fetch_optional(connection).await.map_err(failed)?;
    let count = |column| rows.as_ref().map_or(Ok(0), |found| row::number(found, column));
    Ok(StorageHealth {
        live_rows: count("n_live_tup")?,
        dead_rows: count("n_dead_tup")?,
        oldest_snapshot: snapshot.as_ref().map(held_snapshot).transpose()?,
    })
}

fn held_snapshot(found: &PgRow) -> Result<Snapshot, QueueError> {
    let seconds: Option<f64> = row::get(found, "age")?;
    Ok(Snapshot {
        age: seconds.map(|age| Duration::try_from_secs_f64(age.max(0.0)).unwrap_or_default()),
        holder: row::get(found, "holder")?,
    })
}

fn registered(found: &PgRow) -> Result<RegisteredWorker, QueueError> {
    Ok(RegisteredWorker {
        worker: row::worker(found, "id")?,
        heartbeat_at: row::timestamp(found, "heartbeat_at")?,
        lease: Duration::from_micros(row::number(found, "lease")?),
        queues: serde_json::from_str(row::get(found, "queues")?)
            .map_err(|error| row::unreadable("queues")(error.into()))?,
    })
}
