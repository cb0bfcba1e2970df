//! Tasks that wait for a worker, or until their key is quiet, though their queue is forwarded by now.

use std::sync::Arc;
use std::time::Duration;

use events_core::outbox::OutboxLease;

use super::outbox::{failed, of_lease, renew};
use super::own::Own;
use super::queue::Inner;
use super::{health, lanes, row};
use crate::error::QueueError;
use crate::outbox::{self, MOVED_AT_ONCE};

pub(super) const DEBOUNCED_QUEUES: &str = "SELECT DISTINCT queue FROM {schema}.debounced";

/// Moves waiting tasks of the queues `$5`, `$6` at most of each kind, if the lease is still held. Each
/// is a row, of the form that the relay reads.
pub(super) const MOVE: &str = concat!(
    "WITH held AS (",
    renew!(),
    " RETURNING token), waiting AS (
        DELETE FROM {schema}.tasks WHERE EXISTS (SELECT 1 FROM held) AND ctid = ANY (ARRAY(
            SELECT ctid FROM {schema}.tasks WHERE queue = ANY ($5) AND leased_by IS NULL
            LIMIT $6 FOR UPDATE SKIP LOCKED))
        RETURNING *
    ), quiet AS (
        DELETE FROM {schema}.debounced WHERE EXISTS (SELECT 1 FROM held) AND ctid = ANY (ARRAY(
            SELECT ctid FROM {schema}.debounced WHERE queue = ANY ($5)
            LIMIT $6 FOR UPDATE SKIP LOCKED))
        RETURNING *
    ), task AS (
        SELECT seq, task_id, event_id, event, name, queue, priority, due_at, published_at, payload,
            headers, NULL AS key, NULL::bigint AS not_after
        FROM waiting
        UNION ALL
        SELECT NULL, task_id, event_id, event, name, queue, priority, due_at, published_at, payload,
            headers, key, not_after
        FROM quiet
    ), moved AS (
        INSERT INTO {schema}.outbox (outbox, tasks, published_at, body)
        SELECT $1, 1, published_at, json_build_array(json_build_array(task_id, event_id, event, name,
            queue, priority, due_at, published_at, payload, headers, key, not_after))
        FROM task ORDER BY published_at, seq
        RETURNING id
    ) SELECT (SELECT count(*) FROM held) AS held, (SELECT count(*) FROM moved) AS moved"
);

pub(super) async fn move_waiting(
    inner: Arc<Inner>,
    held: OutboxLease,
    lease: Duration,
) -> Result<Option<u64>, QueueError> {
    const STEP: &str = "move tasks into the outbox";
    let scan = lanes::scan(&inner, held.relay).await?;
    let mut connection = Own::acquire(&inner.own, STEP).await?;
    let debounced: Vec<String> = sqlx::query_scalar(inner.sql().debounced_queues.clone())
        .fetch_all(&mut *connection)
        .await
        .map_err(failed(STEP))?;
    let queues = scan.heads.into_iter().map(|head| head.lane.queue).chain(debounced);
    let workers = health::workers(&inner, &mut connection).await?;
    let queues =
        outbox::taken_over(&held.outbox, queues, &inner.forwardings, &workers, &inner.events);
    if queues.is_empty() {
        connection.finish();
        return Ok(Some(0));
    }
    let until = inner.events.now() + lease;
    let moved = of_lease(sqlx::query(inner.sql().move_waiting.clone()), &held)
        .bind(until.as_micros())
        .bind(queues)
        .bind(MOVED_AT_ONCE)
        .fetch_one(&mut *connection)
        .await
        .map_err(failed(STEP))?;
    connection.finish();
    let is_held = row::number::<u64>(&moved, "held")? == 1;
    Ok(if is_held { Some(row::number(&moved, "moved")?) } else { None })
}
