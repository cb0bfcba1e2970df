//! Which workers are dead, as a worker may judge it.
//!
//! Silence proves little: on SQLite one long transaction anywhere keeps everybody from writing, and
//! a server that restarts silences all. So a worker judges others only by what it saw between
//! heartbeats of its own that came in time; see [`Sightings::beat`].

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use events_core::{Timestamp, WorkerId};

/// What the workers of this process have seen of all workers.
#[derive(Debug, Default)]
pub(crate) struct Sightings(Mutex<HashMap<WorkerId, Observer>>);

/// What one worker has seen, since its heartbeats come in time.
#[derive(Debug, Default)]
struct Observer {
    last_beat: Option<Timestamp>,
    others: HashMap<WorkerId, Sighting>,
}

/// When the observer saw this heartbeat for the first time.
#[derive(Debug, Clone, Copy)]
struct Sighting {
    beats: i64,
    first_seen: Timestamp,
}

/// A worker's row.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WorkerRow {
    pub(crate) worker: WorkerId,
    pub(crate) heartbeat_at: Timestamp,
    pub(crate) beats: i64,
    pub(crate) lease: Duration,
}

impl Sightings {
    fn with<T>(&self, look: impl FnOnce(&mut HashMap<WorkerId, Observer>) -> T) -> T {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Notes what `observer` sees at a heartbeat of its own.
    ///
    /// If that comes more than a lease after the one before, or before it, then the observer was
    /// stalled or could not write, as perhaps nobody could, or the clock has jumped: what it saw
    /// before proves nothing, and it begins anew.
    pub(crate) fn beat(
        &self,
        observer: WorkerId,
        now: Timestamp,
        lease: Duration,
        rows: &[WorkerRow],
    ) {
        self.with(|observers| {
            let observer = observers.entry(observer).or_default();
            let in_time =
                observer.last_beat.is_some_and(|last| last <= now && now.since(last) <= lease);
            if !in_time {
                observer.others.clear();
            }
            let seen = std::mem::take(&mut observer.others);
            observer.last_beat = Some(now);
            observer.others = rows
                .iter()
                .map(|row| {
                    let before = seen.get(&row.worker).filter(|before| before.beats == row.beats);
                    let first_seen = before.map_or(now, |before| before.first_seen);
                    (row.worker, Sighting { beats: row.beats, first_seen })
                })
                .collect();
        });
    }

    pub(crate) fn forget(&self, observer: WorkerId) {
        self.with(|observers| observers.remove(&observer));
    }

    /// Whether `observer` may take `other` for dead.
    ///
    /// Two things together say so: the heartbeat is older than the lease by the clock, and the
    /// observer has seen the same one for half a lease, more than the third in which a live worker
    /// would have grown it, while its own heartbeats came in time. Or, whatever the clock says: it
    /// has seen the same one for longer than a lease.
    ///
    /// While a change of the setting is rolled out, leases differ: the longer of both counts.
    pub(crate) fn is_dead(
        &self,
        observer: WorkerId,
        other: &WorkerRow,
        now: Timestamp,
        lease: Duration,
    ) -> bool {
        self.with(|observers| {
            let Some(observer) = observers.get(&observer) else { return false };
            let beat_in_time = observer.last_beat.is_some_and(|last| now.since(last) <= lease);
            let Some(sighting) = observer.others.get(&other.worker) else { return false };
            if !beat_in_time || sighting.beats != other.beats {
                return false;
            }
            let watched = now.since(sighting.first_seen);
            let lease = lease.max(other.lease);
            watched > lease || (now.since(other.heartbeat_at) > lease && watched >= lease / 2)
        })
    }
}
