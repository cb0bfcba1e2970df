//! Hands out messages: one step in Redis, then a look at each of them here.

use std::iter::repeat_n;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use events_core::broker::{Claimed, Lease};
use events_core::{Queues, Task, Timestamp, WorkerId};

use crate::broker::Inner;
use crate::error::CeleryError;
use crate::give_back::give_back;
use crate::keys::Step;
use crate::lease::{CeleryReceipt, Held, Started};
use crate::message::{Change, Message, Object, Unreadable, count, header};
use crate::panics::caught;
use crate::score::{from_micros, seconds};
use crate::settle::{self, End};
use crate::tag::{self, Kind};
use crate::triage::{Fate, Triage};
use crate::{fleet, results, scripts};

/// So often a claim looks again because what it found was not to be run.
const LOOKS: usize = 20;

/// What was claimed, until the worker has it. Dropped before, it goes back: who asked has gone away, or the
/// claim has panicked.
pub(crate) struct Delivery {
    inner: Arc<Inner>,
    worker: WorkerId,
    claimed: Claimed<CeleryReceipt>,
    /// The tags of the claims in Redis that it is from; none any more when the worker has it.
    claims: Vec<String>,
}

impl Delivery {
    pub(crate) fn take(mut self) -> Claimed<CeleryReceipt> {
        self.claims.clear();
        Claimed {
            tasks: std::mem::take(&mut self.claimed.tasks),
            next_due: self.claimed.next_due.take(),
        }
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        // With the next claim or heartbeat.
        self.claims.drain(..).for_each(|claim| self.inner.held.doubt(self.worker, claim));
    }
}

/// One message of the script's answer.
struct Popped {
    tag: String,
    /// Which of the lists it was in.
    list: usize,
    text: Vec<u8>,
    /// It is not JSON: the text is the name of the dead letter that it is now.
    is_dead: bool,
}

impl Popped {
    /// What the script answered to the claim with this tag.
    fn all(
        claim: &str,
        texts: Vec<redis::Value>,
        counts: &[usize],
        dead: &[usize],
    ) -> Option<Vec<Self>> {
        let lists = counts.iter().enumerate().flat_map(|(list, count)| repeat_n(list, *count));
        let numbered = (1..).zip(texts).zip(lists);
        let popped = numbered.map(|((number, text), list)| {
            let redis::Value::BulkString(text) = text else { return None };
            let is_dead = dead.contains(&number);
            Some(Self { tag: tag::of_message(claim, number), list, text, is_dead })
        });
        popped.collect()
    }
}

/// Claims for `worker`.
pub(crate) async fn claim(
    inner: Arc<Inner>,
    worker: WorkerId,
    queues: &Queues,
    limit: usize,
) -> Result<Delivery, CeleryError> {
    give_back(&inner, worker).await?;
    let turn = inner.claims.load(Ordering::Relaxed);
    let lists = inner.lists(queues, turn);
    let claimed = Claimed { tasks: Vec::new(), next_due: None };
    let mut delivery = Delivery { inner: inner.clone(), worker, claimed, claims: Vec::new() };
    let Delivery { claimed, claims, .. } = &mut delivery;
    for look in 1.. {
        let wanted = (limit - claimed.tasks.len()).min(tag::MOST_IN_CLAIM);
        if wanted == 0 {
            break;
        }
        let answer = pop(&inner, worker, &lists, wanted).await;
        let (next_due, moved, popped) = match answer {
            Ok(Answer { claim, next_due, moved, popped }) => {
                claims.push(claim);
                (next_due, moved, popped)
            }
            // What was claimed before is not to be lost for it.
            Err(error) if claimed.tasks.is_empty() => return Err(error),
            Err(_) => break,
        };
        let found = popped.len();
        claimed.next_due = next_due;
        let before = claimed.tasks.len();
        let set_aside = sort(&inner, worker, &lists, popped, &mut claimed.tasks).await?;
        if found < wanted && moved == 0 {
            inner.watch.nothing_left(&lists, &inner.keys);
            break;
        }
        let nothing_new = claimed.tasks.len() == before && set_aside == 0 && moved == 0;
        if nothing_new {
            break;
        }
        if look >= LOOKS {
            claimed.next_due = Some(inner.events.now()); // there may be more at once
            break;
        }
    }
    if claimed.tasks.len() == limit {
        claimed.next_due = None;
    }
    fleet::claimed(&inner, worker, limit, &claimed.tasks);
    Ok(delivery)
}

/// What a claim in Redis brought.
struct Answer {
    /// Its tag.
    claim: String,
    /// When the next that waits is due.
    next_due: Option<Timestamp>,
    /// How many were moved to the lists because their time had come.
    moved: usize,
    popped: Vec<Popped>,
}

/// Takes messages off the lists.
async fn pop(
    inner: &Inner,
    worker: WorkerId,
    lists: &[(String, Step)],
    limit: usize,
) -> Result<Answer, CeleryError> {
    const ACTION: &str = "hand out messages";
    type Found = Option<(String, usize, Vec<redis::Value>, Vec<usize>, Vec<usize>)>;
    let keys = &inner.keys;
    let number = inner.claims.fetch_add(1, Ordering::Relaxed);
    let claim = tag::of_claim(worker, number);
    let now = inner.events.now();
    let answer: Result<Found, CeleryError> = inner
        .link
        .script(ACTION, &scripts::CLAIM, |command| {
            command.arg(7 + lists.len());
            command.arg(&keys.unacked).arg(&keys.unacked_index).arg(&keys.scheduled);
            command.arg(&keys.quiet).arg(&keys.workers).arg(&keys.dead).arg(&keys.dead_index);
            for (queue, step) in lists {
                command.arg(keys.list(queue, *step));
            }
            command.arg(worker.to_string()).arg(&claim).arg(now.as_micros()).arg(seconds(now));
            command.arg(limit).arg(&keys.prefix);
            for (queue, _) in lists {
                command.arg(queue);
            }
        })
        .await;
    let answer = answer.inspect_err(|_| inner.held.doubt(worker, claim.clone()))?;
    let Some((next_due, moved, texts, counts, dead)) = answer else {
        return Err(CeleryError::NotRegistered);
    };
    let next_due = next_due.parse().ok().map(from_micros);
    let Some(popped) = Popped::all(&claim, texts, &counts, &dead) else {
        inner.held.doubt(worker, claim);
        let answer = "something else than texts".to_owned();
        return Err(CeleryError::Answer { action: ACTION, answer });
    };
    inner.held.add(worker, popped.iter().filter(|one| !one.is_dead).map(|one| &*one.tag));
    Ok(Answer { claim, next_due, moved, popped })
}

/// Looks at what was taken: tasks that are to be run are leased, others go where they belong. How many
/// did.
async fn sort(
    inner: &Inner,
    worker: WorkerId,
    lists: &[(String, Step)],
    popped: Vec<Popped>,
    leases: &mut Vec<Lease<CeleryReceipt>>,
) -> Result<usize, CeleryError> {
    let now = inner.events.now();
    let mut ends = Vec::new();
    let mut others = 0;
    for Popped { tag, list, text, is_dead } in popped {
        let Some((queue, step)) = lists.get(list) else { continue };
        if is_dead {
            tracing::error!(
                queue,
                dead_letter = &*String::from_utf8_lossy(&text),
                "a message that is not JSON was found and is kept as a dead letter; who writes to this list?"
            );
            others += 1;
            continue;
        }
        match look(inner, now, tag, queue, *step, text) {
            Looked::Lease(lease) => leases.push(lease),
            Looked::End(tag, end) => ends.push((tag, end)),
        }
    }
    if !ends.is_empty() {
        others += ends.len();
        let tags: Vec<_> = ends.iter().map(|(tag, _)| tag.clone()).collect();
        let stored = results::of_set_aside(inner, &ends).await;
        fleet::set_aside(inner, worker, &ends);
        let ends: Vec<_> = ends.iter().map(|(tag, end)| (&**tag, end.clone())).collect();
        // What cannot be put where it belongs now is tried again with the next claim.
        let ended = match stored {
            Ok(()) => settle::end(inner, &ends).await,
            Err(error) => Err(error),
        };
        match ended {
            Ok(_) => inner.held.remove(worker, tags.iter().map(String::as_str)),
            // All of the claim goes back.
            Err(error) if leases.is_empty() => return Err(error),
            Err(_) => tags.into_iter().for_each(|tag| inner.held.doubt(worker, tag)),
        }
    }
    Ok(others)
}

enum Looked {
    Lease(Lease<CeleryReceipt>),
    End(String, End),
}

fn look(
    inner: &Inner,
    now: Timestamp,
    tag: String,
    queue: &str,
    step: Step,
    text: Vec<u8>,
) -> Looked {
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
            return Looked::End(tag, End::bury_bytes(error.as_bytes(), queue, step, now, reason));
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
            return Looked::End(tag, end);
        }
    };
    let started = Started::default();
    let held = Held { tag, queue: queue.to_owned(), step, text, message, started };
    match caught(|| decide(inner, &triage, &held)) {
        Ok(Ok(task)) => {
            let attempt = held.message.attempt();
            Looked::Lease(Lease { receipt: CeleryReceipt(Arc::new(held)), attempt, task })
        }
        Ok(Err(end)) => Looked::End(held.tag, end),
        Err(reason) => {
            let end = panicked(&held.text, reason);
            Looked::End(held.tag, end)
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
            tracing::warn!(
                celery_id = id,
                task = name,
                queue,
                ?pause,
                reason,
                "message put back for others"
            );
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
            tracing::warn!(task = name, queue, ?pause, reason, "message put back for others");
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

fn tell_unreadable(name: &str, queue: &str, reason: &str) {
    tracing::error!(
        task = name,
        queue,
        reason,
        "a message that nobody can read is kept as a dead letter; look for who sent it"
    );
}
