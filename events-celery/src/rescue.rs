//! Takes messages from dead workers and offers them again.

use std::time::Duration;

use events_core::broker::{AttemptError, Rescued};
use events_core::sightings::WorkerRow;
use events_core::{Timestamp, WorkerId};

use crate::broker::{CeleryBroker, Inner};
use crate::end::End;
use crate::error::CeleryError;
use crate::keys::Step;
use crate::lease::{Held, Started};
use crate::liveness::{self, Seen};
use crate::message::{Change, Message};
use crate::settle;
use crate::unacked::{Entry, entries, tags_like};
use crate::{restore, scripts, tag};

const ACTION: &str = "rescue messages";

/// Rescues on behalf of `observer`, and restores what lapsed of others.
pub(crate) async fn rescue(
    inner: &Inner,
    observer: WorkerId,
    lease: Duration,
) -> Result<Vec<Rescued>, CeleryError> {
    let now = inner.events.now();
    let workers = liveness::workers(inner).await?;
    let rows: Vec<_> = workers.iter().map(|seen| seen.row).collect();
    // One that was taken for dead itself has no say.
    if !rows.iter().any(|row| row.worker == observer) {
        return Ok(Vec::new());
    }
    for dead in workers.iter().filter(|seen| is_dead(inner, observer, &seen.row, &rows, now, lease))
    {
        lose(inner, observer, dead).await?;
    }
    let gone = smembers(inner, &inner.keys.gone).await?;
    let mut rescued = Vec::new();
    for worker in gone {
        offer_again(inner, &worker, now, &mut rescued).await?;
        let mut command = redis::cmd("SREM");
        command.arg(&inner.keys.gone).arg(&worker);
        let _: i64 = inner.link.command(ACTION, &command).await?;
    }
    if !rescued.is_empty() {
        inner.watch.hear();
    }
    match restore::sweep(inner, now).await {
        // What was rescued is to be told; the next one tells this.
        Err(error) if rescued.is_empty() => Err(error),
        _ => Ok(rescued),
    }
}

fn is_dead(
    inner: &Inner,
    observer: WorkerId,
    row: &WorkerRow,
    rows: &[WorkerRow],
    now: Timestamp,
    lease: Duration,
) -> bool {
    row.worker != observer && inner.sightings.is_dead(observer, row, rows, now, lease)
}

/// The record goes, so that its worker learns at its next heartbeat that it lost its tasks.
async fn lose(inner: &Inner, observer: WorkerId, dead: &Seen) -> Result<(), CeleryError> {
    let lost: bool = inner
        .link
        .script(ACTION, &scripts::LOSE, |command| {
            command.arg(2).arg(&inner.keys.workers).arg(&inner.keys.gone);
            command.arg(dead.row.worker.to_string()).arg(&dead.record);
        })
        .await?;
    if lost {
        tracing::warn!(worker = %dead.row.worker, last_heartbeat = %dead.row.heartbeat_at, %observer,
            "worker is silent for longer than its lease and was taken for dead");
    }
    Ok(())
}

async fn smembers(inner: &Inner, key: &str) -> Result<Vec<String>, CeleryError> {
    inner.link.command(ACTION, redis::cmd("SMEMBERS").arg(key)).await
}

/// Offers again what a worker held that is gone.
async fn offer_again(
    inner: &Inner,
    worker: &str,
    now: Timestamp,
    rescued: &mut Vec<Rescued>,
) -> Result<(), CeleryError> {
    let mut tags = tags_like(inner, &format!("{}*", tag::of_worker(worker))).await?;
    let Ok(id) = worker.parse::<WorkerId>() else { return Ok(()) };
    // As they were claimed; and page by page from the last, for what comes to the front last is the
    // first again.
    tags.sort_by_key(|tag| tag::place(tag));
    for tags in tags.chunks(100).rev() {
        let mut told = Vec::new();
        let mut ends = Vec::new();
        for (tag, entry) in entries(inner, tags).await? {
            let Some(entry) = entry else { continue };
            let (end, task) = end_of(inner, &tag, &entry, id, now);
            ends.push((tag, end));
            told.push(task);
        }
        let ends: Vec<_> = ends.iter().map(|(tag, end)| (&**tag, end.clone())).collect();
        let held = settle::end(inner, &ends).await?;
        rescued.extend(told.into_iter().zip(held).filter_map(|(task, held)| held.then_some(task)?));
    }
    Ok(())
}

/// Where a message goes whose worker is gone, and what is told of it.
fn end_of(
    inner: &Inner,
    tag: &str,
    entry: &Entry,
    worker: WorkerId,
    now: Timestamp,
) -> (End, Option<Rescued>) {
    let queue = &entry.routing_key;
    // It was claimed and perhaps never looked at.
    let Ok(message) = Message::read(&entry.message) else {
        let list = inner.keys.list(queue, entry.step());
        return (End::First { list, text: entry.message.clone() }, None);
    };
    let step = Step::of(message.priority.clamp(0, 9));
    let held = Held {
        tag: tag.to_owned(),
        queue: queue.clone(),
        step,
        text: entry.message.clone(),
        message,
        started: Started::default(),
    };
    let attempt = held.message.attempt();
    let delay = inner.events.rescue_delay(&held.message.name, attempt, fastrand::f64());
    // It may have been claimed before its time, and not yet put aside.
    let until = (now + delay).max(held.message.eta.unwrap_or(now));
    let change = Change {
        rescued: Some(held.message.rescued.saturating_add(1)),
        // Not its `eta`: it waits here until then, and a worker in Python that is given it afterwards would
        // take one message more than it may, as with every countdown.
        error: Some(AttemptError::rescued(attempt, now, worker)),
        redelivered: true,
        ..Change::default()
    };
    let text = held.message.again(&held.text, queue, change);
    let end = match until > now {
        false => End::First { list: inner.keys.list(queue, step), text },
        true => End::Wait { tag: held.retry_tag(), text, until },
    };
    let task = Rescued {
        task_id: CeleryBroker::task_id(&held.message.id),
        name: held.message.name,
        attempt,
        worker,
    };
    (end, Some(task))
}
