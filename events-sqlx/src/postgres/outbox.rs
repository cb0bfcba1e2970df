//! Tasks that wait to be sent elsewhere, and the lease of the relay that sends them.
//!
//! Numbers ascend in the order of writing, not of commits: a row may appear before one that was
//! read. So every read begins at the beginning, where it finds, with a commit, those that were done
//! before it; and rows are deleted one by one, never by where a relay has come to. What names a row is
//! its number with the time of its event: after a failover, or a crash of a server that answers before
//! its disk has, other commits get the numbers of those that are lost.
//!
//! Everything is one statement: a relay that is stopped in the middle of a transaction would keep
//! the others from the lease.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use events_core::health::OutboxHealth;
use events_core::outbox::{
    Acquired, Backlog, Outbox, OutboxBatch, OutboxLease, OutboxRowKey, OutboxSettlement,
};
use events_core::task::Name;
use events_core::{BrokerError, Task, Timestamp, WorkerId};
use sqlx::postgres::PgArguments;
use sqlx::query::Query;
use sqlx::types::Uuid;
use sqlx::{PgConnection, Postgres};

use super::moving::move_waiting;
use super::own::Own;
use super::queue::{Inner, PostgresQueue};
use super::row::{self, uuid};
use crate::error::QueueError;
use crate::outbox::{self, BYTES_OF_A_BATCH, NewRow, Request};

pub(super) const HOLDER: &str = "SELECT relay, expires_at FROM {schema}.relays WHERE outbox = $1";

/// Nobody holds the lease, this relay does, or who did has been silent for too long. `$4` is the
/// time, and `$5` one that no lease reaches.
pub(super) const ACQUIRE: &str = "
INSERT INTO {schema}.relays AS known (outbox, relay, token, expires_at) VALUES ($1, $2, 1, $3)
ON CONFLICT (outbox) DO UPDATE SET relay = excluded.relay, token = known.token + 1,
    expires_at = excluded.expires_at
WHERE known.relay IS NULL OR known.relay = excluded.relay
    OR known.expires_at <= $4 OR known.expires_at > $5
RETURNING token";

macro_rules! renew {
    () => {
        "UPDATE {schema}.relays SET expires_at = $4 WHERE outbox = $1 AND relay = $2 AND token = $3"
    };
}

pub(super) use renew;

pub(super) const RENEW: &str = renew!();

pub(super) const RELEASE: &str = "
UPDATE {schema}.relays SET relay = NULL WHERE outbox = $1 AND relay = $2 AND token = $3";

/// Only what is in the batch is read as a whole: a long body lies elsewhere than its row.
pub(super) const READ: &str = "
SELECT id, published_at, body FROM (
    SELECT id, published_at, body, sum(tasks) OVER so_far - tasks AS before,
        sum(bytes) OVER so_far - bytes AS bytes_before
    FROM (SELECT id, published_at, body, tasks, bytes FROM {schema}.outbox
        WHERE outbox = $1 AND id NOT IN (SELECT unnest($2::int8[]))
        ORDER BY id LIMIT $3) AS head
    WINDOW so_far AS (ORDER BY id ROWS UNBOUNDED PRECEDING)) AS counted
WHERE before < $4 AND bytes_before < $5
ORDER BY id";

/// Deletes if the lease is still held, and renews it. Its row is locked until the end, so that
/// nobody takes over in between. `$5` and `$6` are the rows: looked up by number, and compared.
macro_rules! delete {
    () => {
        concat!(
            "WITH held AS (",
            renew!(),
            " RETURNING token), gone AS (
                DELETE FROM {schema}.outbox
                WHERE outbox = $1 AND id = ANY ($5) AND EXISTS (SELECT 1 FROM held)
                    AND (id, published_at) IN (SELECT * FROM unnest($5::int8[], $6::int8[])))"
        )
    };
}

/// What is deleted was sent. That need not be on the disk: if the server crashes in the next moment,
/// it is sent once more.
pub(super) const DELETE: &str =
    concat!(delete!(), " SELECT count(*), set_config('synchronous_commit', 'off', true) FROM held");

/// The same with rows of which something is left (`$7` to `$10`), and dead letters (from `$11` on; the
/// last is the time). A task that was revived by hand, and its dead letter left, dies once more: the
/// newest tells.
pub(super) const SETTLE: &str = concat!(
    delete!(),
    ", rewritten AS (
        UPDATE {schema}.outbox AS partly SET tasks = rest.tasks, body = rest.body
        FROM unnest($7::int8[], $8::int8[], $9::int4[], $10::text[])
            AS rest (id, published_at, tasks, body)
        WHERE partly.outbox = $1 AND partly.id = rest.id
            AND partly.published_at = rest.published_at AND EXISTS (SELECT 1 FROM held)
    ), buried AS (
        INSERT INTO {schema}.dead_letters (task_id, event_id, event, name, queue, priority,
            published_at, died_at, attempt, payload, headers, errors)
        SELECT task_id, event_id, event, name, queue, priority, published_at, $21, 1, payload,
            headers, errors
        FROM unnest($11::uuid[], $12::uuid[], $13::text[], $14::text[], $15::text[], $16::int2[],
            $17::int8[], $18::text[], $19::text[], $20::text[])
            AS refused (task_id, event_id, event, name, queue, priority, published_at, payload,
                headers, errors)
        WHERE EXISTS (SELECT 1 FROM held)
        ON CONFLICT (task_id) DO UPDATE SET event_id = excluded.event_id, event = excluded.event,
            name = excluded.name, queue = excluded.queue, priority = excluded.priority,
            published_at = excluded.published_at, died_at = excluded.died_at,
            attempt = excluded.attempt, payload = excluded.payload, headers = excluded.headers,
            errors = excluded.errors
    ) SELECT count(*) FROM held"
);

pub(super) const BACKLOG: &str = "
SELECT coalesce(sum(tasks), 0), min(published_at) FROM {schema}.outbox WHERE outbox = $1";

pub(super) const BACKLOGS: &str = "
SELECT outbox, sum(tasks), min(published_at) FROM {schema}.outbox GROUP BY outbox";

pub(super) const RELAYED: &str = "
SELECT outbox FROM {schema}.relays WHERE relay IS NOT NULL AND expires_at > $1 AND expires_at <= $2";

/// Rows follow.
pub(super) const INSERT: &str =
    "INSERT INTO {schema}.outbox (outbox, tasks, published_at, body) VALUES ";

impl Outbox for PostgresQueue {
    fn outboxes(&self) -> Vec<Name> {
        self.inner.forwardings.outboxes()
    }

    async fn acquire_outbox(
        &self,
        outbox: &str,
        relay: WorkerId,
        lease: Duration,
    ) -> Result<Acquired, BrokerError> {
        let outbox = Name::Owned(outbox.to_owned());
        self.uninterrupted("give out the lease of an outbox", move |inner| {
            acquire(inner, outbox, relay, lease)
        })
        .await
    }

    async fn renew_outbox(&self, held: &OutboxLease, lease: Duration) -> Result<bool, BrokerError> {
        let held = held.clone();
        self.uninterrupted("renew the lease of an outbox", move |inner| async move {
            let mut connection = Own::acquire(&inner.own, LEASE).await?;
            let until = inner.events.now() + lease;
            let renewed = of_lease(sqlx::query(inner.sql().renew_outbox.clone()), &held)
                .bind(until.as_micros())
                .execute(&mut *connection)
                .await
                .map_err(failed(LEASE))?;
            connection.finish();
            Ok(renewed.rows_affected() == 1)
        })
        .await
    }

    async fn release_outbox(&self, held: &OutboxLease) -> Result<(), BrokerError> {
        let held = held.clone();
        self.uninterrupted("take back the lease of an outbox", move |inner| async move {
            let mut connection = Own::acquire(&inner.own, LEASE).await?;
            of_lease(sqlx::query(inner.sql().release_outbox.clone()), &held)
                .execute(&mut *connection)
                .await
                .map_err(failed(LEASE))?;
            connection.finish();
            inner.signal.notify(); // others stand by
            Ok(())
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
        let (outbox, except) = (held.outbox.clone(), except.to_vec());
        self.uninterrupted("read its outbox", move |inner| read(inner, outbox, except, tasks)).await
    }

    async fn settle_outbox(
        &self,
        held: &OutboxLease,
        settlement: &OutboxSettlement,
        lease: Duration,
    ) -> Result<bool, BrokerError> {
        let (held, settlement) = (held.clone(), settlement.clone());
        self.uninterrupted("record what was sent", move |inner| {
            settle(inner, held, settlement, lease)
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
            move_waiting(inner, held, lease)
        })
        .await
    }

    async fn outbox_backlog(&self, outbox: &str) -> Result<Backlog, BrokerError> {
        const STEP: &str = "count what waits in the outbox";
        let outbox = outbox.to_owned();
        self.uninterrupted(STEP, move |inner| async move {
            let mut connection = Own::acquire(&inner.own, STEP).await?;
            let now = inner.events.now();
            let waiting = sqlx::query_as(inner.sql().outbox_backlog.clone())
                .bind(outbox)
                .fetch_one(&mut *connection)
                .await
                .map_err(failed(STEP))?;
            connection.finish();
            Ok(outbox::backlog(waiting, now))
        })
        .await
    }

    async fn wake_relay(&self) {
        self.changed().await;
    }
}

const LEASE: &str = "write the lease of an outbox";

pub(super) fn failed(step: &'static str) -> impl Fn(sqlx::Error) -> QueueError {
    move |error| QueueError::database(step, error)
}

pub(super) type Statement<'q> = Query<'q, Postgres, PgArguments>;

/// Binds what every statement of a relay begins with.
pub(super) fn of_lease<'q>(query: Statement<'q>, held: &OutboxLease) -> Statement<'q> {
    query.bind(held.outbox.to_string()).bind(uuid(held.relay)).bind(held.token)
}

async fn acquire(
    inner: Arc<Inner>,
    outbox: Name,
    relay: WorkerId,
    lease: Duration,
) -> Result<Acquired, QueueError> {
    let mut connection = Own::acquire(&inner.own, LEASE).await?;
    // A look first, so that those who stand by do not write.
    let held: Option<(Option<Uuid>, i64)> = sqlx::query_as(inner.sql().outbox_holder.clone())
        .bind(outbox.to_string())
        .fetch_optional(&mut *connection)
        .await
        .map_err(failed("read the lease of an outbox"))?;
    let request = Request::new(relay, lease, inner.events.now());
    if let Some((Some(holder), expires_at)) = held
        && let Some(answer) = request.held_by_another(holder.as_bytes(), expires_at)
    {
        connection.finish();
        return Ok(answer);
    }
    let token: Option<i64> = sqlx::query_scalar(inner.sql().acquire_outbox.clone())
        .bind(outbox.to_string())
        .bind(uuid(relay))
        .bind(request.until.as_micros())
        .bind(request.now.as_micros())
        .bind(request.unreached.as_micros())
        .fetch_optional(&mut *connection)
        .await
        .map_err(failed(LEASE))?;
    connection.finish();
    Ok(request.answer(outbox, token))
}

async fn read(
    inner: Arc<Inner>,
    outbox: Name,
    except: Vec<i64>,
    tasks: usize,
) -> Result<OutboxBatch, QueueError> {
    const STEP: &str = "read the outbox";
    let (rows, tasks) = outbox::limits(tasks);
    let mut connection = Own::acquire(&inner.own, STEP).await?;
    let rows: Vec<(i64, i64, String)> = sqlx::query_as(inner.sql().read_outbox.clone())
        .bind(outbox.to_string())
        .bind(except)
        .bind(rows)
        .bind(tasks)
        .bind(BYTES_OF_A_BATCH)
        .fetch_all(&mut *connection)
        .await
        .map_err(failed(STEP))?;
    connection.finish();
    Ok(outbox::batch(rows, &inner.events))
}

async fn settle(
    inner: Arc<Inner>,
    held: OutboxLease,
    settlement: OutboxSettlement,
    lease: Duration,
) -> Result<bool, QueueError> {
    const STEP: &str = "record what was sent from the outbox";
    let OutboxSettlement { done, rest, refused } = settlement;
    let (rest, rows): (Vec<_>, Vec<_>) =
        rest.iter().map(|row| (row.key(), NewRow::of(&row.tasks))).unzip();
    let mut connection = Own::acquire(&inner.own, STEP).await?;
    let now = inner.events.now();
    let simple = rest.is_empty() && refused.is_empty();
    let sql = if simple { &inner.sql().delete_sent } else { &inner.sql().settle_outbox };
    let query = of_lease(sqlx::query(sql.clone()), &held).bind((now + lease).as_micros());
    let query = bind_keys(query, done);
    let query = match simple {
        true => query,
        false => bind_refused(
            bind_keys(query, rest)
                .bind(rows.iter().map(|row| row.tasks).collect::<Vec<_>>())
                .bind(rows.into_iter().map(|row| row.body).collect::<Vec<_>>()),
            &refused,
            now,
        ),
    };
    let settled = query.fetch_one(&mut *connection).await.map_err(failed(STEP))?;
    connection.finish();
    row::number::<u64>(&settled, "count").map(|held| held == 1)
}

fn bind_keys(query: Statement<'_>, keys: impl IntoIterator<Item = OutboxRowKey>) -> Statement<'_> {
    let (ids, published): (Vec<_>, Vec<_>) =
        keys.into_iter().map(|key| (key.id, key.published_at.as_micros())).unzip();
    query.bind(ids).bind(published)
}

fn bind_refused<'q>(
    query: Statement<'q>,
    refused: &[(Task, String)],
    now: Timestamp,
) -> Statement<'q> {
    fn all<T>(refused: &[(Task, String)], of: impl Fn(&Task) -> T) -> Vec<T> {
        refused.iter().map(|(task, _)| of(task)).collect()
    }
    let errors: Vec<_> = refused.iter().map(|(_, reason)| outbox::errors(reason, now)).collect();
    query
        .bind(all(refused, |task| Uuid::from_bytes(task.id.to_bytes())))
        .bind(all(refused, |task| Uuid::from_bytes(task.event_id.to_bytes())))
        .bind(all(refused, |task| task.event.to_string()))
        .bind(all(refused, |task| task.name.to_string()))
        .bind(all(refused, |task| task.queue.to_string()))
        .bind(all(refused, |task| task.priority))
        .bind(all(refused, |task| task.published_at.as_micros()))
        .bind(all(refused, |task| task.payload.to_string()))
        .bind(all(refused, |task| (!task.headers.is_empty()).then(|| task.headers.to_json())))
        .bind(errors)
        .bind(now.as_micros())
}

/// Writes a task that is to be sent once more.
pub(super) async fn insert(
    inner: &Inner,
    connection: &mut PgConnection,
    outbox: &str,
    task: Task,
) -> Result<(), sqlx::Error> {
    let row = NewRow::of(&[task]);
    let insert = sqlx::query(inner.sql().insert_forwarded.clone()).bind(outbox).bind(row.tasks);
    insert.bind(row.published_at.as_micros()).bind(row.body).execute(connection).await.map(drop)
}

pub(super) const INSERT_ONE: &str =
    "INSERT INTO {schema}.outbox (outbox, tasks, published_at, body) VALUES ($1, $2, $3, $4)";

/// How the outboxes are doing.
pub(super) async fn health(
    inner: &Inner,
    connection: &mut PgConnection,
    now: Timestamp,
) -> Result<Vec<OutboxHealth>, QueueError> {
    const STEP: &str = "look at the outboxes";
    let waiting: Vec<_> = sqlx::query_as(inner.sql().outbox_backlogs.clone())
        .fetch_all(&mut *connection)
        .await
        .map_err(failed(STEP))?;
    let relayed: Vec<String> = sqlx::query_scalar(inner.sql().outboxes_relayed.clone())
        .bind(now.as_micros())
        .bind(outbox::unreached(Duration::ZERO, now).as_micros())
        .fetch_all(connection)
        .await
        .map_err(failed(STEP))?;
    Ok(outbox::health(&inner.forwardings, &waiting, &relayed, now))
}
