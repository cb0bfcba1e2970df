//! One worker of this process, as the fleet sees it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use events_core::{Registry, WorkerId};

use crate::lease::Held;

/// So many leases are noted before it is looked which of them have ended.
const LEAST_LEASES: usize = 1024;

#[derive(Debug)]
pub(super) struct Node {
    /// `name@host`.
    pub(super) name: String,
    pub(super) worker: WorkerId,
    /// Among the workers of this process; 1 for the first.
    pub(super) number: usize,
    pub(super) queues: Vec<String>,
    /// How many tasks it runs at once; 0 while nobody has said.
    concurrency: AtomicUsize,
    /// The most that it asked for at once.
    prefetch: AtomicUsize,
    processed: AtomicU64,
    totals: BTreeMap<&'static str, AtomicU64>,
    leases: Mutex<Leases>,
    /// When the worker was last heard of.
    sign: Mutex<Instant>,
}

/// What was claimed, also some of what is settled already: a lease that ends need not be looked for.
#[derive(Debug, Default)]
struct Leases {
    noted: Vec<Weak<Held>>,
    look_at: usize,
}

impl Node {
    pub(super) fn new(
        worker: WorkerId,
        name: &str,
        number: usize,
        queues: Vec<String>,
        registry: &Registry,
    ) -> Self {
        let tasks = registry.local_subscribers().map(|subscriber| subscriber.task);
        Self {
            name: numbered(name, number),
            worker,
            number,
            queues,
            concurrency: AtomicUsize::new(0),
            prefetch: AtomicUsize::new(0),
            processed: AtomicU64::new(0),
            totals: tasks.map(|task| (task, AtomicU64::new(0))).collect(),
            leases: Mutex::default(),
            sign: Mutex::new(Instant::now()),
        }
    }

    /// Notes a sign of life.
    pub(super) fn live(&self) {
        *self.sign.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// Whether the worker has given a sign of life within this time: one whose future was dropped took
    /// no leave.
    pub(super) fn lives(&self, within: Duration) -> bool {
        self.sign.lock().unwrap_or_else(PoisonError::into_inner).elapsed() <= within
    }

    pub(super) fn set_concurrency(&self, concurrency: usize) {
        self.concurrency.store(concurrency, Ordering::Relaxed);
    }

    pub(super) fn concurrency(&self) -> usize {
        self.concurrency.load(Ordering::Relaxed)
    }

    pub(super) fn prefetch(&self) -> usize {
        self.prefetch.load(Ordering::Relaxed)
    }

    pub(super) fn claimed<'h>(&self, limit: usize, held: impl Iterator<Item = &'h Arc<Held>>) {
        self.prefetch.fetch_max(limit, Ordering::Relaxed);
        let mut leases = self.leases.lock().unwrap_or_else(PoisonError::into_inner);
        leases.noted.extend(held.map(Arc::downgrade));
        if leases.noted.len() > leases.look_at {
            leases.noted.retain(|lease| lease.strong_count() > 0);
            leases.look_at = leases.noted.len() * 2 + LEAST_LEASES;
        }
    }

    /// What the worker holds.
    pub(super) fn held(&self) -> Vec<Arc<Held>> {
        let leases = self.leases.lock().unwrap_or_else(PoisonError::into_inner);
        leases.noted.iter().filter_map(Weak::upgrade).collect()
    }

    /// How many of the tasks that it holds run.
    pub(super) fn active(&self) -> usize {
        self.held().iter().filter(|held| held.started.get().is_some()).count()
    }

    /// Counts a task that is started.
    pub(super) fn count(&self, task: &str) {
        self.processed.fetch_add(1, Ordering::Relaxed);
        if let Some(total) = self.totals.get(task) {
            total.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn processed(&self) -> u64 {
        self.processed.load(Ordering::Relaxed)
    }

    /// How many tasks of each name it has started, of those that it has.
    pub(super) fn totals(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let totals = self.totals.iter();
        totals
            .map(|(task, total)| (*task, total.load(Ordering::Relaxed)))
            .filter(|(_, total)| *total > 0)
    }
}

/// The name of the worker of this number: no two of a fleet may have one name.
fn numbered(name: &str, number: usize) -> String {
    match (number, name.split_once('@')) {
        (1, _) => name.to_owned(),
        (_, Some((before, host))) => format!("{before}-{number}@{host}"),
        (_, None) => format!("{name}-{number}"),
    }
}

#[cfg(test)]
mod tests {
    use super::numbered;

    #[test]
    fn the_second_worker_of_a_process_has_a_name_of_its_own() {
        assert_eq!(numbered("mail@host", 1), "mail@host");
        assert_eq!(numbered("mail@host", 2), "mail-2@host");
        assert_eq!(numbered("mail@host", 12), "mail-12@host");
    }
}
