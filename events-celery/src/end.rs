//! How claims end.

use std::time::Duration;

use events_core::Timestamp;
use events_core::broker::AttemptError;
use events_core::lifecycle::Next;

use crate::broker::Inner;
use crate::dead::DeadRecord;
use crate::keys::Step;
use crate::lease::Held;
use crate::message::{Change, Object};
use crate::score::seconds;
use crate::tag::Kind;

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

    /// What became of a task.
    pub(crate) fn of(held: &Held, attempt: u32, next: &Next, inner: &Inner) -> Self {
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

    /// What the script that settles is told, behind the tag.
    pub(crate) fn push(&self, command: &mut redis::Cmd) {
        match self {
            Self::Done | Self::Drop { .. } => command.arg("done").arg("").arg("").arg("").arg(""),
            Self::First { list, text } => command.arg("first").arg(list).arg(text).arg("").arg(""),
            Self::Last { list, text } => command.arg("last").arg(list).arg(text).arg("").arg(""),
            Self::Wait { tag, text, until } => {
                command.arg("wait").arg(tag).arg(text).arg(until.as_micros()).arg(seconds(*until))
            }
            Self::Bury(record) => command
                .arg("bury")
                .arg(record.key())
                .arg(record.to_json())
                .arg(record.died_at)
                .arg(DeadRecord::other_key()),
        };
    }
}
