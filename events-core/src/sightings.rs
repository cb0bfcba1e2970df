//! Which workers are dead, as a worker may judge it. For brokers.
//!
//! Silence proves little: on SQLite one long transaction anywhere keeps everybody from writing, and
//! a server that restarts silences all. It counts only while somebody else was heard: the observer
//! itself, between heartbeats of its own that came in time ([`Sightings::beat`]), or others, by what
//! their rows say. The second needs no watching, so that a worker which has just
//! started may judge at once: where workers are killed one after the other, none may live for long
//! enough to watch.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::clock::Timestamp;
use crate::event::WorkerId;

/// What the workers of this process have seen of all workers.
#[derive(Debug, Default)]
pub struct Sightings(Mutex<HashMap<WorkerId, Observer>>);

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
pub struct WorkerRow {
    /// Its id.
    pub worker: WorkerId,
    /// When it beat for the last time, by its own clock.
    pub heartbeat_at: Timestamp,
    /// Grows with every heartbeat.
    pub beats: i64,
    /// How long it may be silent, by its own settings.
    pub lease: Duration,
    /// How long ago it beat when the row was read, by the one clock that all workers share: the
    /// server's, or that of the one machine.
    pub silence: Duration,
}

/// Whether `row` was silent for longer than its lease while others were heard: between its last
/// heartbeat and now, there was never half a lease without any of somebody's, so that it had more
/// than the third in which it would have written one.
///
/// A time in which nobody could write, and a clock that jumped, leave a longer gap.
fn is_missed(row: &WorkerRow, rows: &[WorkerRow], lease: Duration) -> bool {
    if row.silence <= lease {
        return false;
    }
    let mut heard: Vec<_> = rows.iter().map(|other| other.silence).collect();
    heard.retain(|silence| *silence < row.silence);
    heard.sort_unstable();
    let (mut later, mut longest) = (Duration::ZERO, Duration::ZERO);
    for earlier in heard.into_iter().chain([row.silence]) {
        longest = longest.max(earlier.saturating_sub(later));
        later = earlier;
    }
    longest < lease / 2
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
    pub fn beat(&self, observer: WorkerId, now: Timestamp, lease: Duration, rows: &[WorkerRow]) {
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

    /// Forgets what `observer` has seen: it has ended.
    pub fn forget(&self, observer: WorkerId) {
        self.with(|observers| observers.remove(&observer));
    }

    /// Whether `observer` may take `other` for dead.
    ///
    /// Two things together say so: the heartbeat is older than the lease by the clock, and the
    /// observer has seen the same one for half a lease, more than the third in which a live worker
    /// would have grown it, while its own heartbeats came in time. Or, whatever the clock says: it
    /// has seen the same one for longer than a lease. Or the rows tell that it is missed while others are heard.
    ///
    /// While a change of the setting is rolled out, leases differ: the longer of both counts.
    #[must_use]
    pub fn is_dead(
        &self,
        observer: WorkerId,
        other: &WorkerRow,
        all: &[WorkerRow],
        now: Timestamp,
        lease: Duration,
    ) -> bool {
        let lease = lease.max(other.lease);
        is_missed(other, all, lease) || self.was_watched(observer, other, now, lease)
    }

    fn was_watched(
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
            watched > lease || (now.since(other.heartbeat_at) > lease && watched >= lease / 2)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEASE: Duration = Duration::from_secs(12);

    /// Workers that beat so many seconds ago, and whether the first of them is missed.
    fn first_is_missed(silences: &[u64]) -> bool {
        let row = |seconds: &u64| WorkerRow {
            worker: WorkerId::generate(),
            heartbeat_at: Timestamp::from_micros(0),
            beats: 1,
            lease: LEASE,
            silence: Duration::from_secs(*seconds),
        };
        let rows: Vec<_> = silences.iter().map(row).collect();
        is_missed(&rows[0], &rows, LEASE)
    }

    #[test]
    fn who_is_silent_while_others_are_heard_is_missed() {
        assert!(first_is_missed(&[13, 8, 3]));
        assert!(first_is_missed(&[
            100, 95, 90, 85, 80, 75, 70, 65, 60, 55, 50, 45, 40, 35, 30, 25, 20, 15, 10, 5, 0
        ]));
    }

    #[test]
    fn nobody_is_missed_within_the_lease() {
        assert!(!first_is_missed(&[12, 8, 4, 0]));
        assert!(!first_is_missed(&[0]));
    }

    #[test]
    fn a_time_in_which_nobody_was_heard_proves_nothing() {
        assert!(!first_is_missed(&[13]), "nobody else");
        assert!(!first_is_missed(&[100, 0]), "from its heartbeat on");
        assert!(!first_is_missed(&[16, 12, 9, 6]), "until now");
        assert!(!first_is_missed(&[17, 13, 7, 3]), "in between");
        assert!(!first_is_missed(&[13, 14, 15, 16]), "only before");
    }
}
