//! Tasks that somebody called back before they ran. As in Celery every worker remembers them by itself:
//! so many, and for so long.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The most that are remembered; the oldest go. Celery's `REVOKES_MAX`.
const MOST: usize = 50_000;

/// How long. Celery's `REVOKE_EXPIRES`.
const LONGEST: Duration = Duration::from_hours(3);

/// When something was revoked, and before or after what else.
type Moment = (Instant, u64);

/// The ids of revoked tasks.
#[derive(Debug, Default)]
pub(crate) struct Revoked {
    /// Whether there are any: nearly always not, and every claimed message asks.
    any: AtomicBool,
    ids: Mutex<Ids>,
}

#[derive(Debug, Default)]
struct Ids {
    since: HashMap<Arc<str>, Moment>,
    oldest_first: BTreeMap<Moment, Arc<str>>,
    added: u64,
}

impl Revoked {
    fn lock(&self) -> MutexGuard<'_, Ids> {
        self.ids.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers ids from `now` on.
    pub(crate) fn add<'i>(&self, ids: impl IntoIterator<Item = &'i str>, now: Instant) {
        let mut known = self.lock();
        for id in ids {
            known.add(id, now);
        }
        known.forget_old(now);
        self.any.store(!known.since.is_empty(), Ordering::Release);
    }

    /// Whether the task was revoked.
    pub(crate) fn contains(&self, id: &str, now: Instant) -> bool {
        self.any.load(Ordering::Acquire)
            && self.lock().since.get(id).is_some_and(|(since, _)| is_remembered(*since, now))
    }

    /// All of them, oldest first.
    pub(crate) fn list(&self, now: Instant) -> Vec<Arc<str>> {
        let mut known = self.lock();
        known.forget_old(now);
        known.oldest_first.values().cloned().collect()
    }
}

fn is_remembered(since: Instant, now: Instant) -> bool {
    now.saturating_duration_since(since) < LONGEST
}

impl Ids {
    fn add(&mut self, id: &str, now: Instant) {
        let id: Arc<str> = id.into();
        self.added += 1;
        let moment = (now, self.added);
        if let Some(earlier) = self.since.insert(id.clone(), moment) {
            self.oldest_first.remove(&earlier);
        }
        self.oldest_first.insert(moment, id);
        while self.since.len() > MOST {
            self.forget_oldest();
        }
    }

    fn forget_old(&mut self, now: Instant) {
        while let Some(((since, _), _)) = self.oldest_first.first_key_value()
            && !is_remembered(*since, now)
        {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        if let Some((_, id)) = self.oldest_first.pop_first() {
            self.since.remove(&id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn revoked_tasks_are_remembered_for_three_hours() {
        let (revoked, start) = (Revoked::default(), Instant::now());
        let later = |minutes| start + Duration::from_mins(minutes);
        assert!(!revoked.contains("a", start));
        revoked.add(["a", "b"], start);
        revoked.add(["b"], later(60));
        assert!(revoked.contains("a", later(179)) && revoked.contains("b", later(200)));
        assert!(!revoked.contains("a", later(180)));
        assert_eq!(revoked.list(later(200)), [Arc::<str>::from("b")]);
        revoked.add([], later(300));
        assert!(!revoked.any.load(Ordering::Acquire) && revoked.lock().oldest_first.is_empty());
    }

    #[test]
    fn of_too_many_revoked_tasks_the_oldest_are_forgotten() {
        let (revoked, now) = (Revoked::default(), Instant::now());
        let ids: Vec<_> = (0..MOST + 2).map(|number| number.to_string()).collect();
        revoked.add(ids.iter().map(String::as_str), now);
        assert_eq!(revoked.list(now).len(), MOST);
        assert!(!revoked.contains("1", now) && revoked.contains("2", now));
    }
}
