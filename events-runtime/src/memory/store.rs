//! The tasks, and the indexes over them. No locks, no clock.

mod admin;
mod reconcilers;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use events_core::broker::{AttemptError, DeadLetter, Lease, Queues, Rescued};
use events_core::cadence::ReconcilerState;
use events_core::clock::Timestamp;
use events_core::event::{TaskId, WorkerId};
use events_core::lifecycle::Next;
use events_core::task::{Debounced, Name, Task};

/// Names one claim: the task, and which claim of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryReceipt {
    sequence: u64,
    fence: u64,
}

#[derive(Debug)]
struct Stored {
    task: Task,
    attempt: u32,
    /// Grows with every claim.
    fence: u64,
    holder: Option<Holder>,
    errors: Vec<AttemptError>,
}

#[derive(Debug)]
struct Holder {
    worker: WorkerId,
    /// A transaction is open in which the task completes; it cannot be rescued.
    in_transaction: bool,
}

#[derive(Debug, Default)]
pub(super) struct Store {
    tasks: BTreeMap<u64, Stored>,
    next_sequence: u64,
    /// Waiting tasks, by priority and queue, then due time and age.
    lanes: BTreeMap<(i16, Name), BTreeSet<(Timestamp, u64)>>,
    /// Those that wait until their key is quiet, by name and key.
    debounced: BTreeMap<(Name, String), Task>,
    dead: BTreeMap<(Timestamp, TaskId), DeadLetter>,
    reconcilers: BTreeMap<&'static str, ReconcilerState>,
    workers: HashMap<WorkerId, Heartbeats>,
}

/// The heartbeats of one worker.
#[derive(Debug)]
struct Heartbeats {
    queues: Queues,
    last: Timestamp,
    /// Since when they come in time.
    in_time_since: Timestamp,
}

impl Heartbeats {
    fn beat(&mut self, lease: Duration, now: Timestamp) {
        if now.since(self.last) > lease {
            self.in_time_since = now;
        }
        self.last = now;
    }

    /// Whether this worker, which has just beaten, may take `other` for dead. The clock may have
    /// jumped, so the last heartbeat must not only be old: for half a lease, longer than the third
    /// in which a live worker had written another, this one's own must have come in time.
    fn outlive(&self, other: &Self, lease: Duration, now: Timestamp) -> bool {
        let watched = now.since(self.in_time_since.max(other.last));
        now.since(other.last) > lease && watched >= lease / 2
    }
}

impl Store {
    pub(super) fn insert(&mut self, tasks: Vec<Task>) {
        for task in tasks {
            match task.debounce.clone() {
                Some(debounced) => self.debounce(task, debounced),
                None => self.insert_one(task, Vec::new()),
            }
        }
    }

    /// The newer event takes the place of the one that waits, and is due no later than that had to
    /// be.
    fn debounce(&mut self, mut task: Task, Debounced { key, not_after }: Debounced) {
        let waiting = self.debounced.get(&(task.name.clone(), key.clone()));
        let waiting = waiting.and_then(|waiting| waiting.debounce.as_ref());
        let not_after = waiting.map_or(not_after, |waiting| waiting.not_after);
        task.due_at = task.due_at.min(not_after);
        task.debounce = Some(Debounced { key: key.clone(), not_after });
        self.debounced.insert((task.name.clone(), key), task);
    }

    /// Offers those whose key is quiet. An older one of the same key that waits to be tried again
    /// goes: the newer does its work.
    fn release_debounced(&mut self, now: Timestamp) {
        let due = self.debounced.extract_if(.., |_, task| task.due_at <= now);
        let mut due: Vec<_> = due.map(|(_, task)| task).collect();
        due.sort_by_key(|task| task.due_at);
        for mut task in due {
            let key = |task: &Task| task.debounce.as_ref().map(|debounced| debounced.key.clone());
            let wanted = (&task.name, key(&task));
            let same = |(_, stored): &(&u64, &Stored)| {
                stored.holder.is_none() && (&stored.task.name, key(&stored.task)) == wanted
            };
            let older: Vec<_> = self.tasks.iter().filter(same).map(|(seq, _)| *seq).collect();
            for sequence in older {
                self.withdraw(sequence);
            }
            task.due_at = now;
            self.insert_one(task, Vec::new());
        }
    }

    /// Takes out a task that waits.
    fn withdraw(&mut self, sequence: u64) {
        let Some(Stored { task, .. }) = self.tasks.remove(&sequence) else { return };
        self.leave_lane(&task, task.due_at, sequence);
    }

    fn insert_one(&mut self, task: Task, errors: Vec<AttemptError>) {
        let sequence = self.next_sequence;
        self.next_sequence += 1;
        self.tasks.insert(sequence, Stored { task, attempt: 0, fence: 0, holder: None, errors });
        self.offer(sequence);
    }

    /// Puts a task that nobody holds into its lane.
    fn offer(&mut self, sequence: u64) {
        let task = &self.tasks[&sequence].task;
        let lane = (task.priority, task.queue.clone());
        self.lanes.entry(lane).or_default().insert((task.due_at, sequence));
    }

    pub(super) fn register(
        &mut self,
        worker: WorkerId,
        queues: &Queues,
        lease: Duration,
        now: Timestamp,
    ) {
        let queues = queues.clone();
        if self.heartbeat(worker, lease, now) {
            self.workers.get_mut(&worker).expect("it has just beaten").queues = queues;
        } else {
            self.workers.insert(worker, Heartbeats { queues, last: now, in_time_since: now });
        }
    }

    pub(super) fn heartbeat(&mut self, worker: WorkerId, lease: Duration, now: Timestamp) -> bool {
        if !self.workers.contains_key(&worker) {
            return false;
        }
        for beats in self.workers.values_mut().filter(|beats| beats.last > now) {
            // From before the clock jumped back.
            (beats.last, beats.in_time_since) = (now, now);
        }
        self.workers.get_mut(&worker).expect("just seen").beat(lease, now);
        true
    }

    pub(super) fn deregister(&mut self, worker: WorkerId) {
        self.workers.remove(&worker);
    }

    pub(super) fn is_registered(&self, worker: WorkerId) -> bool {
        self.workers.contains_key(&worker)
    }

    pub(super) fn claim(
        &mut self,
        worker: WorkerId,
        queues: &Queues,
        limit: usize,
        now: Timestamp,
    ) -> Vec<Lease<MemoryReceipt>> {
        self.release_debounced(now);
        let mut due: Vec<_> = self
            .lanes
            .iter()
            .filter(|((_, queue), _)| queues.contains(queue))
            .flat_map(|((priority, _), lane)| {
                lane.range(..=(now, u64::MAX))
                    .take(limit)
                    .map(|(due_at, sequence)| (*priority, *due_at, *sequence))
            })
            .collect();
        due.sort_unstable();
        due.truncate(limit);
        due.into_iter().map(|(_, due_at, sequence)| self.lease(worker, due_at, sequence)).collect()
    }

    fn lease(
        &mut self,
        worker: WorkerId,
        due_at: Timestamp,
        sequence: u64,
    ) -> Lease<MemoryReceipt> {
        let stored = self.tasks.get_mut(&sequence).expect("lanes hold tasks");
        stored.attempt += 1;
        stored.fence += 1;
        stored.holder = Some(Holder { worker, in_transaction: false });
        let lease = Lease {
            receipt: MemoryReceipt { sequence, fence: stored.fence },
            attempt: stored.attempt,
            task: Task { debounce: None, ..stored.task.clone() },
        };
        self.leave_lane(&lease.task, due_at, sequence);
        lease
    }

    fn leave_lane(&mut self, task: &Task, due_at: Timestamp, sequence: u64) {
        let lane = (task.priority, task.queue.clone());
        let tasks = self.lanes.get_mut(&lane).expect("waiting tasks have a lane");
        tasks.remove(&(due_at, sequence));
        if tasks.is_empty() {
            self.lanes.remove(&lane);
        }
    }

    pub(super) fn next_due(&self, queues: &Queues) -> Option<Timestamp> {
        self.lanes
            .iter()
            .filter(|((_, queue), _)| queues.contains(queue))
            .filter_map(|(_, lane)| lane.first().map(|(due_at, _)| *due_at))
            .chain(self.debounced.values().map(|task| task.due_at))
            .min()
    }

    /// The task of this claim, if `worker` still holds it.
    fn held(&mut self, worker: WorkerId, receipt: MemoryReceipt) -> Option<&mut Stored> {
        self.tasks.get_mut(&receipt.sequence).filter(|stored| {
            stored.fence == receipt.fence
                && stored.holder.as_ref().is_some_and(|holder| holder.worker == worker)
        })
    }

    pub(super) fn settle(
        &mut self,
        worker: WorkerId,
        receipt: MemoryReceipt,
        next: &Next,
        now: Timestamp,
    ) -> bool {
        let Some(stored) = self.held(worker, receipt) else { return false };
        match next {
            Next::Complete => {
                self.tasks.remove(&receipt.sequence);
            }
            Next::Retry { after, error } => {
                stored.errors.push(AttemptError::new(stored.attempt, now, error));
                self.release(receipt.sequence, now + *after);
            }
            Next::Release { after } => {
                stored.attempt -= 1;
                self.release(receipt.sequence, now + *after);
            }
            Next::Bury { error } => {
                stored.errors.push(AttemptError::new(stored.attempt, now, error));
                self.bury(receipt.sequence, now);
            }
        }
        true
    }

    fn release(&mut self, sequence: u64, due_at: Timestamp) {
        let stored = self.tasks.get_mut(&sequence).expect("the caller holds it");
        stored.holder = None;
        stored.task.due_at = due_at;
        self.offer(sequence);
    }

    fn bury(&mut self, sequence: u64, now: Timestamp) {
        let Stored { task, errors, .. } =
            self.tasks.remove(&sequence).expect("the caller holds it");
        let letter = DeadLetter {
            id: task.id,
            event_id: task.event_id,
            event: task.event,
            name: task.name,
            queue: task.queue,
            priority: task.priority,
            payload: task.payload,
            headers: task.headers,
            published_at: task.published_at,
            died_at: now,
            attempts: errors,
        };
        self.dead.insert((now, letter.id), letter);
    }

    /// Marks the claim as completing in a transaction. Whether it still holds.
    pub(super) fn enter_transaction(&mut self, worker: WorkerId, receipt: MemoryReceipt) -> bool {
        let Some(stored) = self.held(worker, receipt) else { return false };
        stored.holder = Some(Holder { worker, in_transaction: true });
        true
    }

    pub(super) fn leave_transaction(&mut self, worker: WorkerId, receipt: MemoryReceipt) {
        if let Some(stored) = self.held(worker, receipt) {
            stored.holder = Some(Holder { worker, in_transaction: false });
        }
    }

    pub(super) fn rescue(
        &mut self,
        observer: WorkerId,
        lease: Duration,
        pause: impl Fn(&str, u32) -> Duration,
        now: Timestamp,
    ) -> Vec<Rescued> {
        // One that was taken for dead itself has no say.
        let Some(watch) = self.workers.remove(&observer) else { return Vec::new() };
        self.workers.retain(|_, beats| !watch.outlive(beats, lease, now));
        self.workers.insert(observer, watch);
        let orphans: Vec<_> = self
            .tasks
            .iter()
            .filter_map(|(sequence, stored)| {
                let holder = stored.holder.as_ref()?;
                let dead = !self.workers.contains_key(&holder.worker);
                (dead && !holder.in_transaction).then_some((*sequence, holder.worker))
            })
            .collect();
        orphans
            .into_iter()
            .map(|(sequence, worker)| {
                let stored = self.tasks.get_mut(&sequence).expect("just seen");
                let attempt = stored.attempt;
                stored.errors.push(AttemptError::rescued(attempt, now, worker));
                let (task_id, name) = (stored.task.id, stored.task.name.to_string());
                self.release(sequence, now + pause(&name, attempt));
                Rescued { task_id, name, attempt, worker }
            })
            .collect()
    }
}
