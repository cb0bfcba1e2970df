//! What this process holds of the messages in `unacked`.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use events_core::subscriber::Subscriber;
use events_core::task::Name;
use events_core::{EventId, Task, TaskId, Timestamp, WorkerId};

use crate::keys::Step;
use crate::message::{Message, uuid_of};
use crate::tag::{self, Kind};

/// Names one claim of one message.
#[derive(Clone)]
pub struct CeleryReceipt(pub(crate) Arc<Held>);

impl fmt::Debug for CeleryReceipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CeleryReceipt({})", self.0.tag)
    }
}

/// A message that was claimed.
#[derive(Debug)]
pub(crate) struct Held {
    /// Where it lies in `unacked`: a new one for every claim, so that a late word of an earlier
    /// holder touches nothing.
    pub(crate) tag: String,
    pub(crate) queue: String,
    pub(crate) step: Step,
    /// As it came.
    pub(crate) text: String,
    pub(crate) message: Message,
    pub(crate) started: Started,
}

impl Held {
    /// The task that the message is for this subscriber.
    pub(crate) fn task(&self, subscriber: &Subscriber, now: Timestamp) -> Result<Task, String> {
        let message = &self.message;
        let payload = message.call.payload(subscriber.event.fields)?;
        let id = uuid_of(&message.id).into_bytes();
        let published_at = message.published_at.unwrap_or(now);
        // Names that the program has are not copied.
        let known = |name: &str, known: &'static str| match name == known {
            true => Name::Borrowed(known),
            false => Name::Owned(name.to_owned()),
        };
        Ok(Task {
            id: TaskId::from_bytes(id),
            event_id: message.call.event_id().unwrap_or_else(|| EventId::from_bytes(id)),
            event: match &message.event {
                Some(event) => known(event, subscriber.event.name),
                None => subscriber.event.name.into(),
            },
            name: known(&message.name, subscriber.task),
            queue: known(&self.queue, subscriber.queue.unwrap_or_default()),
            priority: message.priority,
            payload,
            headers: message.headers.clone(),
            published_at,
            due_at: message.eta.unwrap_or(published_at),
            debounce: None,
        })
    }

    /// The tag under which it waits.
    pub(crate) fn waiting_tag(&self, kind: Kind) -> String {
        kind.waiting(&self.tag, self.step, &self.queue)
    }

    /// The same for one that is tried again, which gives way to a newer one of its key.
    pub(crate) fn retry_tag(&self) -> String {
        match &self.message.debounce {
            Some(key) => Kind::Again.waiting(key, self.step, &self.queue),
            None => self.waiting_tag(Kind::Eta),
        }
    }
}

/// When a handler was called, if it was.
#[derive(Debug, Default)]
pub(crate) struct Started(OnceLock<Timestamp>);

impl Started {
    pub(crate) fn set(&self, now: Timestamp) {
        // A claim is run once.
        self.0.set(now).ok();
    }

    pub(crate) fn get(&self) -> Option<Timestamp> {
        self.0.get().copied()
    }
}

/// The tags that the workers of this process hold, to keep them alive.
#[derive(Debug, Default)]
pub(crate) struct HeldTags(Mutex<HashMap<WorkerId, Tags>>);

#[derive(Debug, Default)]
pub(crate) struct Tags {
    held: HashSet<String>,
    /// Of claims of which no answer came, or for which nobody waited: what they took must go back.
    doubtful: HashSet<String>,
    /// Those whose messages went back, and with how many more heartbeats they are looked for again: one
    /// may be on its way for longer than whoever looks for what it took.
    given_back: HashMap<String, u32>,
}

/// Two leases, with the heartbeats that a worker sends: what Redis does later than that lapses.
const LOOKS_AGAIN: u32 = 6;

impl HeldTags {
    fn lock(&self) -> MutexGuard<'_, HashMap<WorkerId, Tags>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn add<'t>(&self, worker: WorkerId, tags: impl IntoIterator<Item = &'t str>) {
        let mut workers = self.lock();
        workers.entry(worker).or_default().held.extend(tags.into_iter().map(str::to_owned));
    }

    pub(crate) fn remove<'t>(&self, worker: WorkerId, tags: impl IntoIterator<Item = &'t str>) {
        if let Some(known) = self.lock().get_mut(&worker) {
            for tag in tags {
                known.held.remove(tag);
            }
        }
    }

    /// Forgets tags that are held no more. How many of them were still believed to be.
    pub(crate) fn drop_lost(&self, worker: WorkerId, lost: &[String]) -> usize {
        let mut workers = self.lock();
        let Some(known) = workers.get_mut(&worker) else { return 0 };
        lost.iter().filter(|tag| known.held.remove(*tag)).count()
    }

    pub(crate) fn of(&self, worker: WorkerId) -> Vec<String> {
        self.lock().get(&worker).map_or_else(Vec::new, |tags| tags.held.iter().cloned().collect())
    }

    pub(crate) fn doubt(&self, worker: WorkerId, claim: String) {
        self.lock().entry(worker).or_default().doubtful.insert(claim);
    }

    /// As they were claimed.
    pub(crate) fn take_doubtful(&self, worker: WorkerId) -> Vec<String> {
        let mut workers = self.lock();
        let doubtful = workers.get_mut(&worker).map(|known| std::mem::take(&mut known.doubtful));
        let mut doubtful: Vec<_> = doubtful.into_iter().flatten().collect();
        doubtful.sort_by_key(|claim| tag::place(claim));
        doubtful
    }

    /// What this claim took went back. It is looked for again.
    pub(crate) fn gave_back(&self, worker: WorkerId, claim: String) {
        if let Some(known) = self.lock().get_mut(&worker) {
            known.held.retain(|tag| *tag != claim && !tag::is_of_claim(tag, &claim));
            match known.given_back.get(&claim) {
                Some(0) => drop(known.given_back.remove(&claim)), // this was the last look
                Some(_) => {}
                None => drop(known.given_back.insert(claim, LOOKS_AGAIN)),
            }
        }
    }

    /// A heartbeat begins: what went back lately may be there again.
    pub(crate) fn doubt_again(&self, worker: WorkerId) {
        if let Some(known) = self.lock().get_mut(&worker) {
            for (claim, looks) in known.given_back.iter_mut().filter(|(_, looks)| **looks > 0) {
                *looks -= 1;
                known.doubtful.insert(claim.clone());
            }
        }
    }

    /// Whether one of this process' workers holds what has this tag; nothing if the tag is none of theirs.
    /// One that begins as theirs do and that none holds was left behind: a claim may be done by Redis long
    /// after its answer was given up.
    pub(crate) fn is_held_here(&self, tag: &str) -> Option<bool> {
        let workers = self.lock();
        let mut owners =
            workers.iter().filter(|(worker, _)| tag.starts_with(&tag::of_worker(worker)));
        owners.next().map(|(_, tags)| tags.held.contains(tag))
    }

    pub(crate) fn forget(&self, worker: WorkerId) {
        self.lock().remove(&worker);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claim_that_went_back_is_looked_for_with_so_many_heartbeats_and_then_forgotten() {
        let (held, worker) = (HeldTags::default(), WorkerId::generate());
        held.doubt(worker, "rs.w.2".into());
        held.doubt(worker, "rs.w.10".into());
        let mut looks = Vec::new();
        for _ in 0..20 {
            let doubtful = held.take_doubtful(worker);
            looks.push(doubtful.len());
            if !doubtful.is_empty() {
                assert_eq!(doubtful, ["rs.w.2", "rs.w.10"], "as they were claimed");
            }
            for claim in doubtful {
                held.gave_back(worker, claim);
            }
            held.doubt_again(worker);
        }
        let expected = [vec![2; 1 + LOOKS_AGAIN as usize], vec![0; 19 - LOOKS_AGAIN as usize]];
        assert_eq!(looks, expected.concat());
        assert!(held.lock()[&worker].given_back.is_empty());
    }
}
