//! Hands out messages: one step in Redis, then a look at each of them here.

use std::iter::repeat_n;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use events_core::broker::{Claimed, Lease};
use events_core::{Queues, Timestamp, WorkerId};

use crate::broker::Inner;
use crate::error::CeleryError;
use crate::keys::Step;
use crate::lease::{CeleryReceipt, Held, tags_of};
use crate::message::{Change, Message, Object, Unreadable, count, header};
use crate::settle::{self, End};
use crate::triage::{Court, Verdict};
use crate::{fleet, results, scripts};

/// The most that one script hands out: what it gives to one command must fit into Lua's stack.
const MOST: usize = 1000;

/// So often a claim looks again because what it found was not to be run.
const LOOKS: usize = 20;

/// What was claimed, until the worker has it. Dropped, it goes back.
pub(crate) struct Delivery {
    inner: Arc<Inner>,
    worker: WorkerId,
    claimed: Option<Claimed<CeleryReceipt>>,
}

impl Delivery {
    pub(crate) fn take(mut self) -> Claimed<CeleryReceipt> {
        self.claimed.take().expect("taken once, by value")
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        // With the next claim or heartbeat.
        let tasks = self.claimed.take().map(|claimed| claimed.tasks).unwrap_or_default();
        let tags = tasks.iter().map(|lease| lease.receipt.0.tag.clone());
        tags.for_each(|tag| self.inner.held.doubt(self.worker, tag));
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
        tag: &str,
        texts: Vec<redis::Value>,
        counts: &[usize],
        dead: &[usize],
    ) -> Option<Vec<Self>> {
        let lists = counts.iter().enumerate().flat_map(|(list, count)| repeat_n(list, *count));
        let numbered = (1..).zip(texts).zip(lists);
        let popped = numbered.map(|((number, text), list)| {
            let redis::Value::BulkString(text) = text else { return None };
            let is_dead = dead.contains(&number);
            Some(Self { tag: format!("{tag}.{number}"), list, text, is_dead })
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
    give_back_doubtful(&inner, worker).await?;
    let turn = inner.claims.load(Ordering::Relaxed);
    let lists = inner.lists(queues, turn);
    let mut claimed = Claimed { tasks: Vec::new(), next_due: None };
    for look in 1.. {
        let wanted = (limit - claimed.tasks.len()).min(MOST);
        if wanted == 0 {
            break;
        }
        let popped = pop(&inner, worker, &lists, wanted).await;
        let (next_due, moved, popped) = match popped {
            Ok(popped) => popped,
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
    Ok(Delivery { inner, worker, claimed: Some(claimed) })
}

/// Takes messages off the lists. When the next that waits is due, how many were moved to the lists
/// because their time had come, and what was taken.
async fn pop(
    inner: &Inner,
    worker: WorkerId,
    lists: &[(String, Step)],
    limit: usize,
) -> Result<(Option<Timestamp>, usize, Vec<Popped>), CeleryError> {
    const ACTION: &str = "hand out messages";
    type Answer = Option<(String, usize, Vec<redis::Value>, Vec<usize>, Vec<usize>)>;
    let keys = &inner.keys;
    let number = inner.claims.fetch_add(1, Ordering::Relaxed);
    let claim = format!("{}{number}", tags_of(worker));
    let now = inner.events.now();
    let answer: Result<Answer, CeleryError> = inner
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
        return Err(CeleryError::not_registered());
    };
    let next_due = next_due.parse::<f64>().ok().map(|micros| {
        #[expect(clippy::cast_possible_truncation, reason = "microseconds of this age are exact")]
        Timestamp::from_micros(micros as i64)
    });
    let Some(popped) = Popped::all(&claim, texts, &counts, &dead) else {
        inner.held.doubt(worker, claim);
        let answer = "something else than texts".to_owned();
        return Err(CeleryError::answer(ACTION, answer));
    };
    inner.held.add(worker, popped.iter().filter(|one| !one.is_dead).map(|one| &*one.tag));
    Ok((next_due, moved, popped))
}

/// Scores of `unacked_index` are seconds.
pub(crate) fn seconds(time: Timestamp) -> String {
    let micros = time.as_micros().max(0);
    format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000)
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
            Err(error) => {
                for tag in tags {
                    inner.held.doubt(worker, tag);
                }
                if leases.is_empty() {
                    return Err(error);
                }
            }
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
    let court = Court {
        registry: inner.events.registry(),
        now,
        shared: inner.is_shared(queue),
        unknown_pause: inner.events.settings().unknown_task_delay,
        is_revoked: &|id| inner.fleet.is_revoked(id),
    };
    let text = match String::from_utf8(text) {
        Ok(text) => text,
        Err(error) => {
            let reason = "it is not UTF-8";
            tracing::error!(
                queue,
                reason,
                "a message that nobody can read is kept as a dead letter; look for who sent it"
            );
            return Looked::End(tag, End::bury_bytes(error.as_bytes(), queue, step, now, reason));
        }
    };
    let message = match Message::read(&text) {
        Ok(message) => message,
        Err(unreadable) => return unread(&court, tag, queue, step, &text, &unreadable),
    };
    let verdict = court.judge(&message);
    let started = fleet::Started::default();
    let held = Held { tag, queue: queue.to_owned(), step, text, message, started };
    let subscriber = match verdict {
        Verdict::Run(subscriber) => subscriber,
        other => return set_aside(inner, now, held, other),
    };
    match held.task(subscriber, now) {
        Ok(task) => {
            let attempt = held.message.attempt();
            Looked::Lease(Lease { receipt: CeleryReceipt(Arc::new(held)), attempt, task })
        }
        Err(reason) => set_aside(inner, now, held, Verdict::Bury { reason }),
    }
}

/// Where a message goes that is not to be run now.
fn set_aside(inner: &Inner, now: Timestamp, held: Held, verdict: Verdict) -> Looked {
    let (id, name, queue) = (&*held.message.id, &*held.message.name, &*held.queue);
    let end = match verdict {
        Verdict::Run(_) => unreachable!("it is leased"),
        Verdict::Wait(until) => {
            End::Wait { tag: held.waiting_tag("eta"), text: held.text.clone(), until }
        }
        Verdict::Drop { why } => {
            tracing::info!(celery_id = id, task = name, queue, why, "task is not run any more");
            End::Drop { text: held.text.clone(), why }
        }
        Verdict::Return { reason, pause } => {
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
            End::Wait { tag: held.waiting_tag("back"), text, until: now + pause }
        }
        Verdict::Bury { reason } => {
            tracing::error!(
                celery_id = id,
                task = name,
                queue,
                reason,
                "message is a dead letter: it is kept and not tried again unless you retry it"
            );
            End::bury(&held, inner, &reason)
        }
    };
    Looked::End(held.tag, end)
}

/// The same for a message that cannot be read.
fn unread(
    court: &Court<'_>,
    tag: String,
    queue: &str,
    step: Step,
    text: &str,
    unreadable: &Unreadable,
) -> Looked {
    let mut envelope = Object::parse(text).unwrap_or_default();
    let mut headers = envelope
        .raw("headers")
        .and_then(|headers| Object::parse(headers).ok())
        .unwrap_or_default()
        .into_owned();
    let returned = count(&headers, header::RETURNED);
    let name = headers.text("task").unwrap_or_default();
    match court.judge_unreadable(unreadable, returned) {
        Verdict::Return { reason, pause } => {
            tracing::warn!(task = name, queue, ?pause, reason, "message put back for others");
            headers.set(header::RETURNED, (returned + 1).to_string());
            envelope.set("headers", headers.to_string());
            let waiting = format!("back.{tag}.{}|{queue}", step.number());
            let end =
                End::Wait { tag: waiting, text: envelope.to_string(), until: court.now + pause };
            Looked::End(tag, end)
        }
        _ => {
            let reason = &unreadable.reason;
            tracing::error!(
                task = name,
                queue,
                reason,
                "a message that nobody can read is kept as a dead letter; look for who sent it"
            );
            let end = End::bury_unread(text, &headers, queue, step, court.now, reason);
            Looked::End(tag, end)
        }
    }
}

/// Gives back what claims took of which no answer came.
pub(crate) async fn give_back_doubtful(inner: &Inner, worker: WorkerId) -> Result<(), CeleryError> {
    let doubtful = inner.held.take_doubtful(worker);
    for (at, one) in doubtful.iter().enumerate() {
        if let Err(error) = crate::rescue::give_back(inner, one).await {
            doubtful[at..].iter().for_each(|rest| inner.held.doubt(worker, rest.clone()));
            return Err(error);
        }
        inner.held.remove(worker, [&**one]);
    }
    Ok(())
}
