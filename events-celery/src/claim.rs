//! Hands out messages: one step in Redis, then a look at each of them here.

use std::iter::repeat_n;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use events_core::broker::{Claimed, Lease};
use events_core::{Queues, Timestamp, WorkerId};

use crate::broker::Inner;
use crate::error::CeleryError;
use crate::examine::{Examined, examine};
use crate::give_back::give_back;
use crate::keys::Step;
use crate::lease::CeleryReceipt;
use crate::score::{from_micros, seconds};
use crate::{fleet, results, scripts, settle, tag};

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
        return Err(CeleryError::not_registered());
    };
    let next_due = next_due.parse().ok().map(from_micros);
    let Some(popped) = Popped::all(&claim, texts, &counts, &dead) else {
        inner.held.doubt(worker, claim);
        let answer = "something else than texts".to_owned();
        return Err(CeleryError::answer(ACTION, answer));
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
        match examine(inner, now, tag, queue, *step, text) {
            Examined::Lease(lease) => leases.push(lease),
            Examined::End(tag, end) => ends.push((tag, end)),
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
