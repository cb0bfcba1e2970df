//! Ends claims.

use events_core::broker::Settlement;
use events_core::lifecycle::Next;
use events_core::{EventId, WorkerId};

use crate::broker::Inner;
use crate::end::End;
use crate::error::CeleryError;
use crate::keys::Keys;
use crate::lease::CeleryReceipt;
use crate::link::Link;
use crate::{fleet, results, scripts};

const ACTION: &str = "settle messages";

/// The most in one call.
const BATCH: usize = 1024;

/// Records what became of messages. For each, whether it was still held.
pub(crate) async fn settle(
    inner: &Inner,
    worker: WorkerId,
    settlements: &[Settlement<CeleryReceipt>],
) -> Result<Vec<bool>, CeleryError> {
    results::of_settlements(inner, settlements).await?;
    let is_done = |one: &Settlement<CeleryReceipt>| matches!(one.next, Next::Complete);
    let answers = match settlements.iter().all(is_done) {
        true => {
            let tags: Vec<_> = settlements.iter().map(|one| &*one.receipt.0.tag).collect();
            complete(inner, &tags).await?
        }
        false => {
            let ends = settlements.iter().map(|one| {
                let held = &one.receipt.0;
                (&*held.tag, End::of(held, one.attempt, &one.next, inner))
            });
            end(inner, &ends.collect::<Vec<_>>()).await?
        }
    };
    fleet::settled(inner, worker, settlements, &answers);
    inner.held.remove(worker, settlements.iter().map(|one| &*one.receipt.0.tag));
    Ok(answers)
}

async fn complete(inner: &Inner, tags: &[&str]) -> Result<Vec<bool>, CeleryError> {
    let mut answers = Vec::with_capacity(tags.len());
    for tags in tags.chunks(BATCH) {
        let held: redis::Value = inner
            .link
            .script(ACTION, &scripts::COMPLETE, |command| {
                command.arg(2).arg(&inner.keys.unacked).arg(&inner.keys.unacked_index);
                command.arg(tags);
            })
            .await?;
        match held {
            redis::Value::Int(_) => answers.resize(answers.len() + tags.len(), true),
            each => answers.extend(
                redis::from_redis_value::<Vec<bool>>(each)
                    .map_err(|error| CeleryError::command(ACTION, error.into()))?,
            ),
        }
    }
    Ok(answers)
}

/// Ends claims, each in its way. For each, whether it was still held.
pub(crate) async fn end(inner: &Inner, ends: &[(&str, End)]) -> Result<Vec<bool>, CeleryError> {
    let mut answers = Vec::with_capacity(ends.len());
    for ends in ends.chunks(BATCH) {
        answers.extend(end_and_publish(&inner.link, &inner.keys, ends, &[]).await?);
    }
    Ok(answers)
}

/// A task that is published.
#[derive(Debug)]
pub(crate) enum Publication {
    /// To this list, before all others of it or behind them.
    Message { list: String, first: bool, text: String },
    /// In the place of an older one that waits under this tag; the times in microseconds.
    Debounced { tag: String, text: String, due_at: i64, not_after: i64, event: EventId },
}

/// Ends claims and, if the last of them was held, publishes. All or nothing.
pub(crate) async fn end_and_publish(
    link: &Link,
    keys: &Keys,
    ends: &[(&str, End)],
    publications: &[Publication],
) -> Result<Vec<bool>, CeleryError> {
    if ends.is_empty() && publications.is_empty() {
        return Ok(Vec::new());
    }
    link.script(ACTION, &scripts::SETTLE, |command| {
        command.arg(6).arg(&keys.unacked).arg(&keys.unacked_index).arg(&keys.scheduled);
        command.arg(&keys.dead).arg(&keys.dead_index).arg(&keys.quiet);
        for publication in publications {
            command.arg(ends.last().map_or("", |(tag, _)| *tag));
            match publication {
                Publication::Message { list, first, text } => {
                    let verb = if *first { "urge" } else { "send" };
                    command.arg(verb).arg(list).arg(text).arg("").arg("")
                }
                Publication::Debounced { tag, text, due_at, not_after, event } => {
                    let latest_and_event = format!("{not_after} {event}");
                    command.arg("merge").arg(tag).arg(text).arg(*due_at).arg(latest_and_event)
                }
            };
        }
        for (tag, end) in ends {
            end.push(command.arg(*tag));
        }
    })
    .await
}

/// Whether the claim still holds.
pub(crate) async fn is_held(inner: &Inner, receipt: &CeleryReceipt) -> Result<bool, CeleryError> {
    let mut command = redis::cmd("HEXISTS");
    command.arg(&inner.keys.unacked).arg(&receipt.0.tag);
    inner.link.command("tell whether a message is held", &command).await
}
