//! Which workers are known, and which may be, or must be, taken for dead.
//!
//! Brokers differ in who watches whom and from when on. The model knows the two bounds that hold for
//! all of them, and takes their word in between.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use events_core::Timestamp;
use events_core::broker::Heartbeat;
use events_core::event::WorkerId;

use super::program::LEASE;

/// For how long somebody must at least have watched a silent worker. Longer than the third in which
/// a live one beats.
const SHORTEST_WATCH: Duration = Duration::from_millis(7_500);

/// After how long a watched worker that is silent is dead for certain.
const LONGEST_WATCH: Duration = Duration::from_secs(30);

/// The registered workers.
#[derive(Debug, Default)]
pub struct Liveness(BTreeMap<WorkerId, Beats>);

#[derive(Debug)]
struct Beats {
    last: Timestamp,
    /// Since when its heartbeats come in time, so that what it sees of others proves something.
    in_time_since: Timestamp,
}

impl Liveness {
    pub fn register(&mut self, worker: WorkerId, now: Timestamp) {
        self.0.insert(worker, Beats { last: now, in_time_since: now });
    }

    pub fn remove(&mut self, worker: WorkerId) {
        self.0.remove(&worker);
    }

    pub fn knows(&self, worker: WorkerId) -> bool {
        self.0.contains_key(&worker)
    }

    pub fn workers(&self) -> BTreeSet<WorkerId> {
        self.0.keys().copied().collect()
    }

    /// How long each worker has been silent.
    pub fn silences(&self, now: Timestamp) -> BTreeMap<WorkerId, Duration> {
        self.0.iter().map(|(worker, beats)| (*worker, now.since(beats.last))).collect()
    }

    pub fn beat(&mut self, worker: WorkerId, now: Timestamp) -> Heartbeat {
        let Some(beats) = self.0.get_mut(&worker) else { return Heartbeat::Lost };
        if now.since(beats.last) > LEASE {
            beats.in_time_since = now;
        }
        beats.last = now;
        Heartbeat::Alive
    }

    /// Never a worker that nobody has watched: who was late himself has watched nobody, and after
    /// a jump of the clock all are late.
    pub fn may_be_dead(&self, worker: WorkerId, now: Timestamp) -> bool {
        let Some(silent) = self.0.get(&worker) else { return true };
        let is_watched =
            self.0.iter().filter(|(observer, _)| **observer != worker).any(|(_, observer)| {
                now.since(observer.last) <= LEASE
                    && now.since(observer.in_time_since.max(silent.last)) >= SHORTEST_WATCH
            });
        is_watched && now.since(silent.last) > LEASE
    }

    /// A worker that this observer has watched for two leases, beating and rescuing in time.
    pub fn must_be_dead(&self, worker: WorkerId, observer: WorkerId, now: Timestamp) -> bool {
        let (Some(silent), Some(beats)) = (self.0.get(&worker), self.0.get(&observer)) else {
            return false;
        };
        now.since(beats.in_time_since.max(silent.last)) >= LONGEST_WATCH
    }
}
