//! Ends claims.

use std::time::Duration;

use events_core::broker::{AttemptError, Settlement};
use events_core::lifecycle::Next;
use events_core::{EventId, Timestamp, WorkerId};

use crate::broker::Inner;
use crate::dead::DeadRecord;
use crate::error::CeleryError;
use crate::keys::{Keys, Step};
use crate::lease::{CeleryReceipt, Held};
use crate::link::Link;
use crate::message::{Change, Object};
use crate::score::seconds;
use crate::tag::Kind;
use crate::{fleet, results, scripts};

const ACTION: &str = "settle messages";

/// The most in one call.
const BATCH: usize = 1024;

/// How a claim ends.
#[derive(Debug, Clone)]
pub(crate) enum End {
    /// The message is gone.
    Done,
    /// Likewise, though its task was not run.
    Drop { text: String, why: Dropped },
    /// It goes to the front of this list.
    First { list: String, text: String },
    /// It goes to the back of this list.
    Last { list: String, text: String },
    /// It waits under this tag until then.
    Wait { tag: String, text: String, until: Timestamp },
    /// It is a dead letter.
    Bury(Box<DeadRecord>),
}

/// Why a task is not run any more, as Celery says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dropped {
    Revoked,
    Expired,
}

impl Dropped {
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Revoked => "revoked",
            Self::Expired => "expired",
        }
    }
}

impl End {
    /// Back to where it came from, as Celery's workers do when they stop.
    pub(crate) fn first(held: &Held, inner: &Inner) -> Self {
        let change = Change { redelivered: true, ..Change::default() };
        Self::First {
            list: inner.keys.list(&held.queue, held.step),
            text: held.message.again(&held.text, &held.queue, change),
        }
    }

    pub(crate) fn bury(held: &Held, inner: &Inner, reason: &str) -> Self {
        let now = inner.events.now();
        let error = AttemptError::new(held.message.attempt(), now, reason);
        Self::Bury(Box::new(DeadRecord::of(held, inner, now, error)))
    }

    pub(crate) fn bury_unread(
        text: &str,
        headers: &Object<'_>,
        queue: &str,
        step: Step,
        now: Timestamp,
        reason: &str,
    ) -> Self {
        Self::Bury(Box::new(DeadRecord::of_unread(text, headers, queue, step, now, reason)))
    }

    pub(crate) fn bury_bytes(
        bytes: &[u8],
        queue: &str,
        step: Step,
        now: Timestamp,
        reason: &str,
    ) -> Self {
        Self::Bury(Box::new(DeadRecord::of_bytes(bytes, queue, step, now, reason)))
    }

    fn of(held: &Held, attempt: u32, next: &Next, inner: &Inner) -> Self {
        let now = inner.events.now();
        match next {
            Next::Complete => Self::Done,
            Next::Release { after } if after.is_zero() => Self::first(held, inner),
            Next::Release { after } => {
                let change = Change { eta: Some(now + *after), ..Change::default() };
                let text = held.message.again(&held.text, &held.queue, change);
                Self::Wait { tag: held.waiting_tag(Kind::Eta), text, until: now + *after }
            }
            Next::Retry { after, error } => {
                Self::retry(held, AttemptError::new(attempt, now, error), *after, now, inner)
            }
            Next::Bury { error } => {
                let error = AttemptError::new(attempt, now, error);
                Self::Bury(Box::new(DeadRecord::of(held, inner, now, error)))
            }
        }
    }

    /// As Celery retries: a new message of the same task, with one try more.
    fn retry(
        held: &Held,
        error: AttemptError,
        after: Duration,
        now: Timestamp,
        inner: &Inner,
    ) -> Self {
        let change = Change {
            retries: Some(held.message.retries.saturating_add(1)),
            eta: (!after.is_zero()).then(|| now + after),
            error: Some(error),
            renewed: true,
            ..Change::default()
        };
        let text = held.message.again(&held.text, &held.queue, change);
        match after.is_zero() {
            true => Self::Last { list: inner.keys.list(&held.queue, held.step), text },
            false => Self::Wait { tag: held.retry_tag(), text, until: now + after },
        }
    }
}

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
            push(command.arg(*tag), end);
        }
    })
    .await
}

fn push(command: &mut redis::Cmd, end: &End) {
    match end {
        End::Done | End::Drop { .. } => command.arg("done").arg("").arg("").arg("").arg(""),
        End::First { list, text } => command.arg("first").arg(list).arg(text).arg("").arg(""),
        End::Last { list, text } => command.arg("last").arg(list).arg(text).arg("").arg(""),
        End::Wait { tag, text, until } => {
            command.arg("wait").arg(tag).arg(text).arg(until.as_micros()).arg(seconds(*until))
        }
        End::Bury(record) => command
            .arg("bury")
            .arg(record.key())
            .arg(record.to_json())
            .arg(record.died_at)
            .arg(DeadRecord::other_key()),
    };
}

/// Whether the claim still holds.
pub(crate) async fn is_held(inner: &Inner, receipt: &CeleryReceipt) -> Result<bool, CeleryError> {
    let mut command = redis::cmd("HEXISTS");
    command.arg(&inner.keys.unacked).arg(&receipt.0.tag);
    inner.link.command("tell whether a message is held", &command).await
}
