//! What operators see and do.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::time::Duration;

use events_core::broker::{Counts, DeadLetter};
use events_core::clock::Timestamp;
use events_core::event::TaskId;
use events_core::health::{Health, RegisteredWorker};
use events_core::task::{Name, Task};

use super::Store;

impl Store {
    pub(in crate::memory) fn health(&self, lease: Duration, now: Timestamp) -> Health {
        let mut oldest: BTreeMap<&Name, Timestamp> = BTreeMap::new();
        for ((_, queue), lane) in &self.lanes {
            if let Some((due_at, _)) = lane.first().filter(|(due_at, _)| *due_at <= now) {
                let first = oldest.entry(queue).or_insert(*due_at);
                *first = (*due_at).min(*first);
            }
        }
        for task in self.debounced.values().filter(|task| task.due_at <= now) {
            let first = oldest.entry(&task.queue).or_insert(task.due_at);
            *first = task.due_at.min(*first);
        }
        let workers: Vec<_> = self
            .workers
            .iter()
            .map(|(worker, beats)| RegisteredWorker {
                worker: *worker,
                heartbeat_at: beats.last,
                lease,
                queues: beats.queues.clone(),
            })
            .collect();
        let due = oldest.into_iter().map(|(queue, due_at)| (queue.to_string(), due_at));
        Health::of(due, &workers, now)
    }

    pub(in crate::memory) fn counts(&self, now: Timestamp) -> Counts {
        let waiting: u64 = self.lanes.values().map(|lane| lane.len() as u64).sum();
        let available: u64 =
            self.lanes.values().map(|lane| lane.range(..=(now, u64::MAX)).count() as u64).sum();
        let quiet = self.debounced.values().filter(|task| task.due_at <= now).count() as u64;
        Counts {
            available: available + quiet,
            scheduled: waiting - available + self.debounced.len() as u64 - quiet,
            running: self.tasks.len() as u64 - waiting,
            dead: self.dead.len() as u64,
        }
    }

    pub(in crate::memory) fn dead_letters(
        &self,
        limit: usize,
        before: Option<&DeadLetter>,
    ) -> Vec<DeadLetter> {
        let end =
            before.map_or(Bound::Unbounded, |letter| Bound::Excluded((letter.died_at, letter.id)));
        self.dead
            .range((Bound::Unbounded, end))
            .rev()
            .take(limit)
            .map(|(_, letter)| letter.clone())
            .collect()
    }

    pub(in crate::memory) fn take_dead_letter(&mut self, id: TaskId) -> Option<DeadLetter> {
        let key = *self.dead.keys().find(|(_, dead)| *dead == id)?;
        self.dead.remove(&key)
    }

    pub(in crate::memory) fn revive(&mut self, letter: DeadLetter, now: Timestamp) {
        let task = Task {
            id: letter.id,
            event_id: letter.event_id,
            event: letter.event,
            name: letter.name,
            queue: letter.queue,
            priority: letter.priority,
            payload: letter.payload,
            headers: letter.headers,
            published_at: letter.published_at,
            due_at: now,
            debounce: None,
        };
        self.insert_one(task, letter.attempts);
    }
}
