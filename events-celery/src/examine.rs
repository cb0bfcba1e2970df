//! A claimed message: a task to be run, or where it goes instead.

use std::sync::Arc;

use events_core::broker::Lease;
use events_core::{Task, Timestamp};

use crate::broker::Inner;
use crate::end::End;
use crate::keys::Step;
use crate::lease::{CeleryReceipt, Held, Started};
use crate::message::{Change, Message, Object, Unreadable, count, header};
use crate::panics::caught;
use crate::tag::Kind;
use crate::triage::{Fate, MOST_RETURNS, Triage};

/// So often a message of a shared queue may be put back before it is worth a warning.
const PATIENCE: u32 = 10;

/// What a claimed message is.
pub(crate) enum Examined {
    /// A task that is to be run.
    Lease(Lease<CeleryReceipt>),
    /// Something else: the claim of this tag ends so.
    End(String, End),
}

/// Looks at a message that was claimed under this tag from this list.
pub(crate) fn examine(
    inner: &Inner,
    now: Timestamp,
    tag: String,
    queue: &str,
    step: Step,
    text: Vec<u8>,
) -> Examined {
    let triage = Triage {
        registry: inner.events.registry(),
        now,
        shared: inner.is_shared(queue),
        own_queue_pause: inner.events.settings().unknown_task_delay,
        is_revoked: &|id| inner.fleet.is_revoked(id),
    };
    let text = match String::from_utf8(text) {
        Ok(text) => text,
        Err(error) => {
            let reason = "it is not UTF-8";
            tell_unreadable("", queue, reason);
            return Examined::End(tag, End::bury_bytes(error.as_bytes(), queue, step, now, reason));
        }
    };
    // Even these are not to keep the others from being run.
    let panicked = |text: &str, reason: String| {
        tell_unreadable("", queue, &reason);
        End::bury_unread(text, &Object::default(), queue, step, now, &reason)
    };
    let message = match Message::read(&text) {
        Ok(message) => message,
        Err(unreadable) => {
            let end = caught(|| unread(&triage, &tag, queue, step, &text, &unreadable));
            let end = end.unwrap_or_else(|reason| panicked(&text, reason));
            return Examined::End(tag, end);
        }
    };
    let started = Started::default();
    let held = Held { tag, queue: queue.to_owned(), step, text, message, started };
    match caught(|| decide(inner, &triage, &held)) {
        Ok(Ok(task)) => {
            let attempt = held.message.attempt();
            Examined::Lease(Lease { receipt: CeleryReceipt(Arc::new(held)), attempt, task })
        }
        Ok(Err(end)) => Examined::End(held.tag, end),
        Err(reason) => {
            let end = panicked(&held.text, reason);
            Examined::End(held.tag, end)
        }
    }
}

/// The task that is to be run, or where the message goes instead.
fn decide(inner: &Inner, triage: &Triage<'_>, held: &Held) -> Result<Task, End> {
    match triage.of(&held.message) {
        Fate::Run(subscriber) => held
            .task(subscriber, triage.now)
            .map_err(|reason| set_aside(inner, triage.now, held, Fate::Bury { reason })),
        other => Err(set_aside(inner, triage.now, held, other)),
    }
}

/// Where a message goes that is not to be run now.
fn set_aside(inner: &Inner, now: Timestamp, held: &Held, fate: Fate) -> End {
    let (id, name, queue) = (&*held.message.id, &*held.message.name, &*held.queue);
    match fate {
        Fate::Run(_) => unreachable!("it is leased"),
        Fate::Wait(until) => {
            End::Wait { tag: held.waiting_tag(Kind::Eta), text: held.text.clone(), until }
        }
        Fate::Drop { why } => {
            tracing::info!(
                celery_id = id,
                task = name,
                queue,
                why = why.word(),
                "task is not run any more"
            );
            End::Drop { text: held.text.clone(), why }
        }
        Fate::Return { reason, pause } => {
            tell_put_back(id, name, queue, inner.is_shared(queue), held.message.returned, &reason);
            let change = Change {
                returned: Some(held.message.returned.saturating_add(1)),
                redelivered: true,
                ..Change::default()
            };
            let text = held.message.again(&held.text, queue, change);
            End::Wait { tag: held.waiting_tag(Kind::Back), text, until: now + pause }
        }
        Fate::Bury { reason } => {
            tracing::error!(
                celery_id = id,
                task = name,
                queue,
                reason,
                "message is a dead letter: it is kept and not tried again unless you retry it"
            );
            End::bury(held, inner, &reason)
        }
    }
}

/// The same for a message that cannot be read.
fn unread(
    triage: &Triage<'_>,
    tag: &str,
    queue: &str,
    step: Step,
    text: &str,
    unreadable: &Unreadable,
) -> End {
    let mut envelope = Object::parse(text).unwrap_or_default();
    let mut headers = envelope
        .raw("headers")
        .and_then(|headers| Object::parse(headers).ok())
        .unwrap_or_default()
        .into_owned();
    let returned = count(&headers, header::RETURNED);
    let name = headers.text("task").unwrap_or_default();
    match triage.of_unreadable(unreadable, returned) {
        Fate::Return { reason, pause } => {
            let id = headers.text("id").unwrap_or_default();
            tell_put_back(&id, &name, queue, triage.shared, returned, &reason);
            headers.set(header::RETURNED, (returned + 1).to_string());
            envelope.set("headers", headers.to_string());
            let tag = Kind::Back.waiting(tag, step, queue);
            End::Wait { tag, text: envelope.to_string(), until: triage.now + pause }
        }
        _ => {
            let reason = &unreadable.reason;
            tell_unreadable(&name, queue, reason);
            End::bury_unread(text, &headers, queue, step, triage.now, reason)
        }
    }
}

/// On a shared queue that is how things are, until it goes on for long.
fn tell_put_back(id: &str, name: &str, queue: &str, shared: bool, returned: u32, reason: &str) {
    macro_rules! line {
        ($level:ident, $text:literal) => {
            tracing::$level!(
                celery_id = id,
                task = name,
                queue,
                times = returned + 1,
                most = MOST_RETURNS,
                reason,
                $text
            )
        };
    }
    match shared && returned < PATIENCE {
        true => line!(info, "message put back for others"),
        false => line!(warn, "message put back for others"),
    }
}

fn tell_unreadable(name: &str, queue: &str, reason: &str) {
    tracing::error!(
        task = name,
        queue,
        reason,
        "a message that nobody can read is kept as a dead letter; look for who sent it"
    );
}
