//! Tasks that wait to be sent elsewhere, and the lease of the relay that sends them.
//!
//! Numbers ascend in the order of commits here, for there is one writer.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use events_core::health::OutboxHealth;
use events_core::outbox::{Acquired, Backlog, Outbox, OutboxBatch, OutboxLease, OutboxSettlement};
use events_core::task::Name;
use events_core::{BrokerError, Task, Timestamp, WorkerId};
use serde_json::json;
use sqlx::{Connection, SqliteConnection};

use super::insert::headers;
use super::moving::move_waiting;
use super::queue::{Inner, SqliteQueue};
use crate::error::QueueError;
use crate::outbox::{self, BYTES_OF_A_BATCH, NewRow, Request};

const HOLDER: &str = "SELECT relay, expires_at FROM events_relays WHERE outbox = ?1";

/// Nobody holds the lease, this relay does, or who did has been silent for too long. `?4` is the
/// time, and `?5` one that no lease reaches.
const ACQUIRE: &str = "
INSERT INTO events_relays AS known (outbox, relay, token, expires_at) VALUES (?1, ?2, 1, ?3)
ON CONFLICT (outbox) DO UPDATE SET relay = excluded.relay, token = known.token + 1,
    expires_at = excluded.expires_at
WHERE known.relay IS NULL OR known.relay = excluded.relay
    OR known.expires_at <= ?4 OR known.expires_at > ?5
RETURNING token";

const RENEW: &str = "
UPDATE events_relays SET expires_at = ?4 WHERE outbox = ?1 AND relay = ?2 AND token = ?3";

const RELEASE: &str = "
UPDATE events_relays SET relay = NULL WHERE outbox = ?1 AND relay = ?2 AND token = ?3";

/// Where the batch ends is read from the index; bodies only of what is in it.
pub(super) const READ: &str = "
SELECT id, published_at, body FROM events_outbox WHERE id IN (
    SELECT id FROM (
        SELECT id, sum(tasks) OVER (ORDER BY id) - tasks AS before,
            sum(bytes) OVER (ORDER BY id) - bytes AS bytes_before
        FROM (SELECT id, tasks, bytes FROM events_outbox INDEXED BY events_outbox_rows
            WHERE outbox = ?1 AND id NOT IN (SELECT value FROM json_each(?2)) ORDER BY id LIMIT ?3))
    WHERE before < ?4 AND bytes_before < ?5)
ORDER BY id";

/// By number and time, for the file may have been replaced by a copy: others get the numbers of what
/// is not in it. `?1` is an object of them, which is read much faster than an array of pairs.
pub(super) const DELETE: &str = "
DELETE FROM events_outbox WHERE id IN (
    SELECT here.id FROM json_each(?1) AS sent
        CROSS JOIN events_outbox AS here NOT INDEXED ON here.id = CAST(sent.key AS INTEGER)
    WHERE here.published_at = sent.value AND here.outbox = ?2)";

const REWRITE: &str = "
UPDATE events_outbox SET tasks = ?4, body = ?5, bytes = octet_length(?5)
WHERE id = ?1 AND published_at = ?2 AND outbox = ?3";

/// A task that was revived by hand, and its dead letter left, dies once more: the newest tells.
const BURY: &str = "
INSERT INTO events_dead_letters (task_id, event_id, event, name, queue, priority, published_at,
    died_at, attempt, payload, headers, errors)
SELECT unhex(value ->> 0), unhex(value ->> 1), value ->> 2, value ->> 3, value ->> 4, value ->> 5,
    value ->> 6, ?2, 1, value ->> 7, value ->> 8, value ->> 9
FROM json_each(?1) WHERE true
ON CONFLICT (task_id) DO UPDATE SET event_id = excluded.event_id, event = excluded.event,
    name = excluded.name, queue = excluded.queue, priority = excluded.priority,
    published_at = excluded.published_at, died_at = excluded.died_at, attempt = excluded.attempt,
    payload = excluded.payload, headers = excluded.headers, errors = excluded.errors";

pub(super) const BACKLOG: &str = "
SELECT coalesce(sum(tasks), 0), min(published_at)
FROM events_outbox INDEXED BY events_outbox_rows WHERE outbox = ?1";

pub(super) const BACKLOGS: &str = "
SELECT outbox, sum(tasks), min(published_at)
FROM events_outbox INDEXED BY events_outbox_rows GROUP BY outbox";

const RELAYED: &str = "
SELECT outbox FROM events_relays WHERE relay IS NOT NULL AND expires_at > ?1 AND expires_at <= ?2";

const INSERT: &str = "
INSERT INTO events_outbox (outbox, tasks, published_at, body, bytes)
VALUES (?1, ?2, ?3, ?4, octet_length(?4))";

impl Outbox for SqliteQueue {
    fn outboxes(&self) -> Vec<Name> {
        self.inner.forwardings.outboxes()
    }

    async fn acquire_outbox(
        &self,
        outbox: &str,
        relay: WorkerId,
        lease: Duration,
    ) -> Result<Acquired, BrokerError> {
        let outbox: Name = outbox.to_owned().into();
        self.uninterrupted("give out the lease of an outbox", move |inner| {
            acquire(inner, outbox.clone(), relay, lease)
        })
        .await
    }

    async fn renew_outbox(&self, held: &OutboxLease, lease: Duration) -> Result<bool, BrokerError> {
        let held = held.clone();
        self.uninterrupted("renew the lease of an outbox", move |inner| {
            let held = held.clone();
            async move {
                let mut writer = inner.gate.writer(&inner.own, LEASE).await?;
                let renewed = renew(&mut writer, &held, inner.events.now() + lease).await?;
                writer.finish();
                Ok(renewed)
            }
        })
        .await
    }

    async fn release_outbox(&self, held: &OutboxLease) -> Result<(), BrokerError> {
        let held = held.clone();
        self.uninterrupted("take back the lease of an outbox", move |inner| {
            let held = held.clone();
            async move {
                let mut writer = inner.gate.writer(&inner.own, LEASE).await?;
                let query = sqlx::query(RELEASE).bind(held.outbox.into_owned());
                let query = query.bind(held.relay.to_bytes().to_vec()).bind(held.token);
                query.execute(&mut *writer).await.map_err(failed(LEASE))?;
                writer.finish();
                inner.signal.notify(); // others stand by
                Ok(())
            }
        })
        .await
    }

    async fn read_outbox(
        &self,
        held: &OutboxLease,
        except: &[i64],
        tasks: usize,
    ) -> Result<OutboxBatch, BrokerError> {
        // What changes from here on, the next `wake_relay` tells.
        self.seen.store(self.inner.signal.changes(), Ordering::SeqCst);
        let (outbox, except) = (held.outbox.clone(), json!(except).to_string());
        self.uninterrupted("read its outbox", move |inner| {
            read(inner, outbox.clone(), except.clone(), tasks)
        })
        .await
    }

    async fn settle_outbox(
        &self,
        held: &OutboxLease,
        settlement: &OutboxSettlement,
        lease: Duration,
    ) -> Result<bool, BrokerError> {
        let (held, settlement) = (held.clone(), Arc::new(settlement.clone()));
        self.uninterrupted("record what was sent", move |inner| {
            settle(inner, held.clone(), settlement.clone(), lease)
        })
        .await
    }

    async fn move_waiting(
        &self,
        held: &OutboxLease,
        lease: Duration,
    ) -> Result<Option<u64>, BrokerError> {
        let held = held.clone();
        self.uninterrupted("move tasks into its outbox", move |inner| {
            move_waiting(inner, held.clone(), lease)
        })
        .await
    }

    async fn outbox_backlog(&self, outbox: &str) -> Result<Backlog, BrokerError> {
        const STEP: &str = "count what waits in the outbox";
        let now = self.inner.events.now();
        let waiting = sqlx::query_as(BACKLOG)
            .bind(outbox)
            .fetch_one(&self.inner.own)
            .await
            .map_err(|error| failed(STEP)(error).into_broker_error(STEP))?;
        Ok(outbox::backlog(waiting, now))
    }

    async fn wake_relay(&self) {
        self.changed().await;
    }
}

const LEASE: &str = "write the lease of an outbox";

pub(super) fn failed(step: &'static str) -> impl Fn(sqlx::Error) -> QueueError {
    move |error| QueueError::database(step, error)
}

async fn acquire(
    inner: Arc<Inner>,
    outbox: Name,
    relay: WorkerId,
    lease: Duration,
) -> Result<Acquired, QueueError> {
    // A look first, so that those who stand by do not write.
    let held: Option<(Option<Vec<u8>>, i64)> = sqlx::query_as(HOLDER)
        .bind(&*outbox)
        .fetch_optional(&inner.own)
        .await
        .map_err(failed("read the lease of an outbox"))?;
    let request = Request::new(relay, lease, inner.events.now());
    if let Some((Some(holder), expires_at)) = held
        && let Some(answer) = request.held_by_another(&holder, expires_at)
    {
        return Ok(answer);
    }
    let mut writer = inner.gate.writer(&inner.own, LEASE).await?;
    let request = Request::new(relay, lease, inner.events.now());
    let token: Option<i64> = sqlx::query_scalar(ACQUIRE)
        .bind(&*outbox)
        .bind(relay.to_bytes().to_vec())
        .bind(request.until.as_micros())
        .bind(request.now.as_micros())
        .bind(request.unreached.as_micros())
        .fetch_optional(&mut *writer)
        .await
        .map_err(failed(LEASE))?;
    writer.finish();
    Ok(request.answer(outbox, token))
}

pub(super) async fn renew(
    connection: &mut SqliteConnection,
    held: &OutboxLease,
    until: Timestamp,
) -> Result<bool, QueueError> {
    let renewed = sqlx::query(RENEW)
        .bind(&*held.outbox)
        .bind(held.relay.to_bytes().to_vec())
        .bind(held.token)
        .bind(until.as_micros())
        .execute(connection)
        .await
        .map_err(failed(LEASE))?;
    Ok(renewed.rows_affected() == 1)
}

async fn read(
    inner: Arc<Inner>,
    outbox: Name,
    except: String,
    tasks: usize,
) -> Result<OutboxBatch, QueueError> {
    let (rows, tasks) = outbox::limits(tasks);
    let rows: Vec<(i64, i64, String)> = sqlx::query_as(READ)
        .bind(&*outbox)
        .bind(except)
        .bind(rows)
        .bind(tasks)
        .bind(BYTES_OF_A_BATCH)
        .fetch_all(&inner.own)
        .await
        .map_err(failed("read the outbox"))?;
    Ok(outbox::batch(rows, &inner.events))
}

async fn settle(
    inner: Arc<Inner>,
    held: OutboxLease,
    settlement: Arc<OutboxSettlement>,
    lease: Duration,
) -> Result<bool, QueueError> {
    const STEP: &str = "record what was sent from the outbox";
    let mut writer = inner.gate.writer(&inner.own, STEP).await?;
    let mut transaction = writer.begin_with("BEGIN IMMEDIATE").await.map_err(failed(STEP))?;
    let now = inner.events.now();
    let is_held = renew(&mut transaction, &held, now + lease).await?;
    if is_held {
        record(&mut transaction, &held.outbox, &settlement, now).await.map_err(failed(STEP))?;
    }
    transaction.commit().await.map_err(failed(STEP))?;
    writer.finish();
    Ok(is_held)
}

async fn record(
    connection: &mut SqliteConnection,
    outbox: &str,
    settlement: &OutboxSettlement,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    let OutboxSettlement { done, rest, refused } = settlement;
    if !done.is_empty() {
        let times =
            done.iter().map(|key| (key.id.to_string(), key.published_at.as_micros().into()));
        let done = serde_json::Value::Object(times.collect()).to_string();
        sqlx::query(DELETE).bind(done).bind(outbox).execute(&mut *connection).await?;
    }
    for row in rest {
        let rest = NewRow::of(&row.tasks);
        sqlx::query(REWRITE)
            .bind(row.id)
            .bind(row.published_at.as_micros())
            .bind(outbox)
            .bind(rest.tasks)
            .bind(rest.body)
            .execute(&mut *connection)
            .await?;
    }
    if !refused.is_empty() {
        let letters = refused.iter().map(|(task, reason)| letter(task, reason, now));
        let letters = letters.collect::<serde_json::Value>().to_string();
        sqlx::query(BURY).bind(letters).bind(now.as_micros()).execute(connection).await?;
    }
    Ok(())
}

fn letter(task: &Task, reason: &str, now: Timestamp) -> serde_json::Value {
    json!([
        task.id.to_string(),
        task.event_id.to_string(),
        task.event,
        task.name,
        task.queue,
        task.priority,
        task.published_at.as_micros(),
        &*task.payload,
        headers(&task.headers),
        outbox::errors(reason, now),
    ])
}

/// Writes a task that is to be sent once more.
pub(super) async fn insert(
    connection: &mut SqliteConnection,
    outbox: &str,
    task: Task,
) -> Result<(), sqlx::Error> {
    let row = NewRow::of(&[task]);
    let insert = sqlx::query(INSERT).bind(outbox).bind(row.tasks);
    insert.bind(row.published_at.as_micros()).bind(row.body).execute(connection).await.map(drop)
}

/// How the outboxes are doing.
pub(super) async fn health(
    inner: &Inner,
    connection: &mut SqliteConnection,
    now: Timestamp,
) -> Result<Vec<OutboxHealth>, QueueError> {
    const STEP: &str = "look at the outboxes";
    let waiting: Vec<_> =
        sqlx::query_as(BACKLOGS).fetch_all(&mut *connection).await.map_err(failed(STEP))?;
    let relayed: Vec<String> = sqlx::query_scalar(RELAYED)
        .bind(now.as_micros())
        .bind(outbox::unreached(Duration::ZERO, now).as_micros())
        .fetch_all(connection)
        .await
        .map_err(failed(STEP))?;
    Ok(outbox::health(&inner.forwardings, &waiting, &relayed, now))
}
