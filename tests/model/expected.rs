//! The model: what a queue is to do, told as simply as possible.
//!
//! Nothing of it is taken from a broker. Where the contract leaves a choice, the model checks that
//! the broker's answer is one of those allowed, and goes on from there.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use events_core::Timestamp;
use events_core::broker::{AttemptError, Claimed, Counts, DeadLetter, Lease, Queues, Rescued};
use events_core::event::{EventId, TaskId, WorkerId};
use events_core::lifecycle::Next;
use proptest::prelude::*;
use proptest::test_runner::TestCaseResult;

use super::liveness::Liveness;
use super::program::{Kind, Subscription};

/// The smallest step of a clock, and what rounding may cost.
const TICK: Duration = Duration::from_micros(1);

/// An event and a subscriber.
type Key = (EventId, &'static str);

/// A claim that was granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    pub worker: WorkerId,
    pub attempt: u32,
    key: Key,
    /// Which of all claims.
    number: u32,
}

/// What the queue should hold.
#[derive(Debug, Default)]
pub struct Model {
    pub liveness: Liveness,
    waiting_and_running: BTreeMap<Key, Task>,
    dead: BTreeMap<(Timestamp, TaskId), Dead>,
    arrivals: u64,
    claims: u32,
}

#[derive(Debug)]
struct Task {
    /// Chosen by the broker; known since the first claim.
    id: Option<TaskId>,
    kind: Kind,
    subscription: &'static Subscription,
    payload: String,
    published_at: Timestamp,
    /// When it came to wait here. The tasks of one publish are of one age.
    arrival: u64,
    due: Due,
    attempt: u32,
    holder: Option<Claim>,
    errors: Vec<AttemptError>,
}

#[derive(Debug)]
struct Dead {
    key: Key,
    task: Task,
}

/// When a task is due: not before the one, and certainly at the other.
#[derive(Debug, Clone, Copy)]
struct Due {
    earliest: Timestamp,
    latest: Timestamp,
}

impl Due {
    fn at(time: Timestamp) -> Self {
        Self { earliest: time, latest: time }
    }

    /// What is due at once may keep its place in the queue or not.
    fn at_once(self, now: Timestamp) -> Self {
        Self { earliest: self.earliest, latest: now }
    }

    fn contains(self, time: Timestamp) -> bool {
        self.earliest <= time && time <= self.latest
    }
}

impl Model {
    pub fn publish(
        &mut self,
        published: &[(EventId, Kind, u32)],
        published_at: Timestamp,
        now: Timestamp,
    ) {
        for (event, kind, number) in published {
            self.arrivals += 1;
            for subscription in kind.subscriptions() {
                let task = Task {
                    id: None,
                    kind: *kind,
                    subscription,
                    payload: format!("{{\"number\":{number}}}"),
                    published_at,
                    arrival: self.arrivals,
                    due: Due::at(now),
                    attempt: 0,
                    holder: None,
                    errors: Vec::new(),
                };
                self.waiting_and_running.insert((*event, subscription.name), task);
            }
        }
    }

    /// Checks what a claim brought, and goes on from it.
    pub fn claim<R>(
        &mut self,
        worker: WorkerId,
        queues: &Queues,
        limit: usize,
        claimed: &Claimed<R>,
        now: Timestamp,
    ) -> Result<Vec<Claim>, TestCaseError> {
        prop_assert!(claimed.tasks.len() <= limit, "more tasks than asked for");
        let mut claims = Vec::new();
        let mut order = Vec::new();
        for lease in &claimed.tasks {
            let name = &*lease.task.name;
            let key = self
                .waiting_and_running
                .keys()
                .find(|(event, task)| (*event, *task) == (lease.task.event_id, name));
            let Some(key) = key.copied() else {
                return Err(TestCaseError::fail(format!(
                    "there is no such task: {:?}",
                    lease.task
                )));
            };
            let task = self.waiting_and_running.get_mut(&key).expect("just found");
            prop_assert!(queues.contains(task.subscription.queue), "of a queue not asked for");
            task.check(lease, now)?;
            self.claims += 1;
            let claim = Claim { key, number: self.claims, worker, attempt: lease.attempt };
            task.id = Some(lease.task.id);
            task.due = Due::at(lease.task.due_at);
            task.attempt += 1;
            task.holder = Some(claim);
            order.push((task.subscription.priority, task.due.latest, task.arrival));
            claims.push(claim);
        }
        prop_assert!(order.is_sorted(), "by priority, due time and age: {order:?}");
        // One that brought something may leave it to the next, at once, to tell whether there is more.
        let comes_again = claimed.next_due.is_some_and(|next| next <= now) && !order.is_empty();
        let may_leave = order.len() == limit || comes_again;
        for task in self.waiting(queues).filter(|task| task.due.latest <= now) {
            let place = (task.subscription.priority, task.due.latest, task.arrival);
            let is_later = order.last().is_none_or(|last| place >= *last);
            prop_assert!(may_leave && is_later, "passed over: {task:?}");
        }
        if !may_leave {
            self.check_next_due(queues, claimed.next_due, now)?;
        }
        Ok(claims)
    }

    /// After a claim that left no due task.
    fn check_next_due(
        &mut self,
        queues: &Queues,
        next_due: Option<Timestamp>,
        now: Timestamp,
    ) -> TestCaseResult {
        for task in self.waiting_and_running.values_mut().filter(|task| task.waits_in(queues)) {
            task.due.earliest = task.due.earliest.max(now + TICK);
        }
        let earliest = self.waiting(queues).map(|task| task.due.earliest).min();
        let latest = self.waiting(queues).map(|task| task.due.latest).min();
        let is_right = match (earliest, latest, next_due) {
            (Some(earliest), Some(latest), Some(next)) => earliest <= next && next <= latest,
            (earliest, _, next) => earliest.is_none() && next.is_none(),
        };
        prop_assert!(is_right, "the next is due {next_due:?}, not in {earliest:?}..={latest:?}");
        Ok(())
    }

    fn waiting<'m>(&'m self, queues: &'m Queues) -> impl Iterator<Item = &'m Task> {
        self.waiting_and_running.values().filter(|task| task.waits_in(queues))
    }

    /// The claim by which the task of this claim is held now.
    pub fn holder(&self, claim: Claim) -> Option<Claim> {
        self.waiting_and_running.get(&claim.key).and_then(|task| task.holder)
    }

    pub fn holds(&self, worker: WorkerId, claim: Claim) -> bool {
        claim.worker == worker && self.holder(claim) == Some(claim)
    }

    /// Whether the claim still held.
    pub fn settle(&mut self, worker: WorkerId, claim: Claim, next: &Next, now: Timestamp) -> bool {
        if !self.holds(worker, claim) {
            return false;
        }
        let mut task = self.waiting_and_running.remove(&claim.key).expect("it is held");
        task.holder = None;
        match next {
            Next::Complete => return true,
            Next::Retry { after, error } => {
                task.errors.push(AttemptError::new(claim.attempt, now, error));
                task.due = Due::at(now + *after);
            }
            Next::Release { after } => {
                task.attempt -= 1;
                task.due = match after.is_zero() {
                    true => task.due.at_once(now),
                    false => Due::at(now + *after),
                };
            }
            Next::Bury { error } => {
                task.errors.push(AttemptError::new(claim.attempt, now, error));
                let id = task.id.expect("it was claimed");
                self.dead.insert((now, id), Dead { key: claim.key, task });
                return true;
            }
        }
        self.waiting_and_running.insert(claim.key, task);
        true
    }

    /// Checks whom an observer took for dead and which tasks it took, and goes on from it.
    pub fn rescue(
        &mut self,
        observer: WorkerId,
        rescued: &[Rescued],
        registered: &BTreeSet<WorkerId>,
        now: Timestamp,
    ) -> TestCaseResult {
        prop_assert!(registered.contains(&observer), "nobody takes himself for dead");
        for worker in self.liveness.workers() {
            if registered.contains(&worker) {
                let must = self.liveness.must_be_dead(worker, observer, now);
                prop_assert!(!must, "{worker} is dead for certain: {:?}", self.liveness);
            } else {
                let may = self.liveness.may_be_dead(worker, now);
                prop_assert!(may, "{worker} was taken for dead too early: {:?}", self.liveness);
                self.liveness.remove(worker);
            }
        }
        let mut expected = Vec::new();
        for task in self.waiting_and_running.values_mut() {
            let Some(lost) = task.holder.take_if(|claim| !self.liveness.knows(claim.worker)) else {
                continue;
            };
            expected.push(Rescued {
                task_id: task.id.expect("it was claimed"),
                name: task.subscription.name.to_owned(),
                attempt: lost.attempt,
                worker: lost.worker,
            });
            task.errors.push(AttemptError::rescued(lost.attempt, now, lost.worker));
            task.due = task.due_after_rescue(now);
        }
        let mut rescued = rescued.to_vec();
        rescued.sort_by_key(|task| task.task_id);
        expected.sort_by_key(|task| task.task_id);
        prop_assert_eq!(rescued, expected, "rescued");
        Ok(())
    }

    /// The dead letter that has this number, counted round.
    pub fn letter(&self, number: usize) -> Option<TaskId> {
        let index = number.checked_rem(self.dead.len())?;
        self.dead.keys().nth(index).map(|(_, id)| *id)
    }

    /// Whether there was such a letter.
    pub fn retry_letter(&mut self, id: TaskId, now: Timestamp) -> bool {
        let Some(Dead { key, task }) = self.take_letter(id) else { return false };
        self.arrivals += 1;
        let task = Task { arrival: self.arrivals, due: Due::at(now), attempt: 0, ..task };
        self.waiting_and_running.insert(key, task);
        true
    }

    /// Whether there was such a letter.
    pub fn discard_letter(&mut self, id: TaskId) -> bool {
        self.take_letter(id).is_some()
    }

    fn take_letter(&mut self, id: TaskId) -> Option<Dead> {
        let place = *self.dead.keys().find(|(_, letter)| *letter == id)?;
        self.dead.remove(&place)
    }

    pub fn check_counts(&self, counts: Counts, now: Timestamp) -> TestCaseResult {
        let count = |holds: &dyn Fn(&Task) -> bool| {
            self.waiting_and_running.values().filter(|task| holds(task)).count() as u64
        };
        let running = count(&|task| task.holder.is_some());
        let waiting = count(&|task| task.holder.is_none());
        let fewest = count(&|task| task.holder.is_none() && task.due.latest <= now);
        let most = count(&|task| task.holder.is_none() && task.due.earliest <= now);
        prop_assert_eq!(counts.running, running, "running");
        prop_assert_eq!(counts.available + counts.scheduled, waiting, "waiting");
        prop_assert!((fewest..=most).contains(&counts.available), "{counts:?}, {fewest}..={most}");
        prop_assert_eq!(counts.dead, self.dead.len() as u64, "dead");
        Ok(())
    }

    /// The whole list, newest first.
    pub fn check_letters(&self, letters: &[DeadLetter]) -> TestCaseResult {
        let ids: Vec<_> = letters.iter().map(|letter| (letter.died_at, letter.id)).collect();
        let expected: Vec<_> = self.dead.keys().rev().copied().collect();
        prop_assert_eq!(ids, expected, "dead letters");
        for (letter, Dead { key, task }) in letters.iter().zip(self.dead.values().rev()) {
            prop_assert_eq!((letter.event_id, &*letter.name), *key);
            prop_assert_eq!(&*letter.event, task.kind.event());
            prop_assert_eq!(&*letter.queue, task.subscription.queue);
            prop_assert_eq!(letter.priority, task.subscription.priority);
            prop_assert_eq!(&*letter.payload, &*task.payload);
            prop_assert_eq!(letter.published_at, task.published_at);
            prop_assert_eq!(&letter.attempts, &task.errors);
        }
        Ok(())
    }
}

impl Task {
    fn waits_in(&self, queues: &Queues) -> bool {
        self.holder.is_none() && queues.contains(self.subscription.queue)
    }

    /// Whether it may be leased now, and came as it was sent.
    fn check<R>(&self, lease: &Lease<R>, now: Timestamp) -> TestCaseResult {
        let task = &lease.task;
        prop_assert!(self.holder.is_none(), "leased twice: {self:?}");
        prop_assert!(task.due_at <= now && self.due.contains(task.due_at), "{task:?}, {self:?}");
        prop_assert_eq!(lease.attempt, self.attempt + 1, "{:?}", self);
        prop_assert_eq!(task.id, self.id.unwrap_or(task.id));
        prop_assert_eq!(&*task.event, self.kind.event());
        prop_assert_eq!(&*task.queue, self.subscription.queue);
        prop_assert_eq!(task.priority, self.subscription.priority);
        prop_assert_eq!(&*task.payload, &*self.payload);
        prop_assert_eq!(task.published_at, self.published_at);
        Ok(())
    }

    /// At once after the first attempt; then the pause doubles, and jitter takes at most half.
    fn due_after_rescue(&self, now: Timestamp) -> Due {
        if self.attempt <= 1 {
            return self.due.at_once(now);
        }
        let (initial, maximum) = self.subscription.backoff;
        let pause = initial.saturating_mul(1 << (self.attempt - 2).min(20)).min(maximum);
        Due { earliest: (now + pause / 2).before(TICK), latest: now + pause }
    }
}
