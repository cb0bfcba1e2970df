//! Rows that are left out of the reads for a while, so that what is behind them is read.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use super::trouble;

/// The most rows that are left out: the next read steps over each of them.
const MOST: usize = 10_000;

/// Rows by number, each with a pause of its own. `N` is what names a row beside its number: after a
/// failover other rows have the same numbers.
#[derive(Debug)]
pub(crate) struct Aside<N>(HashMap<i64, Pause<N>>);

#[derive(Debug)]
struct Pause<N> {
    name: N,
    until: Instant,
    /// How often the row came back in vain.
    failures: u32,
    /// Whether it was read since another server may have taken over. If not, it is not left out: it
    /// may be another row by now.
    seen: bool,
}

impl<N> Default for Aside<N> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<N: PartialEq> Aside<N> {
    /// Leaves this row out, each time for longer. Whether there is room; if not, it is read again.
    pub(crate) fn put(&mut self, row: i64, name: N) -> bool {
        let failures = self.0.get(&row).map_or(0, |pause| pause.failures);
        self.put_for(row, name, trouble::pause(failures))
    }

    /// Leaves this row out for so long.
    pub(crate) fn put_for(&mut self, row: i64, name: N, pause: Duration) -> bool {
        if self.0.len() >= MOST && !self.0.contains_key(&row) {
            // Of some the pause is over, and others have sent them.
            self.forget_others(Instant::now());
            if self.0.len() >= MOST {
                return false;
            }
        }
        let failures = self.0.get(&row).map_or(0, |pause| pause.failures) + 1;
        let until = Instant::now() + pause;
        self.0.insert(row, Pause { name, until, failures, seen: true });
        true
    }

    /// This row was read. Whether it is to be left out at this time all the same.
    pub(crate) fn sees(&mut self, row: i64, name: &N, at: Instant) -> bool {
        let Some(pause) = self.0.get_mut(&row) else { return false };
        if pause.name != *name {
            self.0.remove(&row); // another has its number
            return false;
        }
        pause.seen = true;
        pause.until > at
    }

    /// Another server may have taken over: each row is to be seen again before it is left out.
    pub(crate) fn doubt(&mut self) {
        self.0.values_mut().for_each(|pause| pause.seen = false);
    }

    /// The row is there no more, or is well.
    pub(crate) fn forget(&mut self, row: i64) {
        self.0.remove(&row);
    }

    /// The same of all that are not left out at this time.
    pub(crate) fn forget_others(&mut self, at: Instant) {
        self.0.retain(|_, pause| pause.is_left_out(at));
    }

    /// The pauses are over.
    pub(crate) fn wake(&mut self) {
        let now = Instant::now();
        self.0.values_mut().for_each(|pause| pause.until = pause.until.min(now));
    }

    /// The rows that are left out at this time.
    pub(crate) fn left_out(&self, at: Instant) -> impl Iterator<Item = i64> {
        self.0.iter().filter(move |(_, pause)| pause.is_left_out(at)).map(|(row, _)| *row)
    }

    /// When the first of them is to be read again.
    pub(crate) fn next(&self) -> Option<Instant> {
        let now = Instant::now();
        self.0.values().map(|pause| pause.until).filter(|until| *until > now).min()
    }

    /// Whether the row came back in vain before.
    pub(crate) fn knows(&self, row: i64) -> bool {
        self.0.contains_key(&row)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<N> Pause<N> {
    fn is_left_out(&self, at: Instant) -> bool {
        self.seen && self.until > at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left_out(aside: &Aside<char>) -> Vec<i64> {
        aside.left_out(Instant::now()).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn a_row_is_left_out_for_longer_each_time_and_comes_back() {
        let mut aside = Aside::default();
        let mut pauses = Vec::new();
        for _ in 0..20 {
            assert!(aside.put(7, 'a'));
            assert_eq!(left_out(&aside), [7]);
            pauses.push(aside.next().unwrap().duration_since(Instant::now()));
            tokio::time::advance(*pauses.last().unwrap()).await;
            assert_eq!((left_out(&aside).len(), aside.next()), (0, None));
        }
        assert!(pauses[0] <= Duration::from_millis(100), "{pauses:?}");
        assert!(pauses[19] >= Duration::from_secs(15), "{pauses:?}");
        assert!(!aside.is_empty(), "it may be refused again");
        aside.forget(7);
        assert!(aside.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn there_is_room_for_so_many_rows() {
        let mut aside = Aside::default();
        let rows = i64::try_from(MOST).unwrap();
        assert!((0..rows).all(|row| aside.put(row, 'a')));
        assert!(!aside.put(rows, 'a') && aside.put(0, 'a'), "what is aside stays");
        aside.forget(5);
        assert!(aside.put(rows, 'a'));
    }

    #[tokio::test(start_paused = true)]
    async fn a_row_in_doubt_is_left_out_when_it_was_seen_again_and_another_of_its_number_is_not() {
        let mut aside = Aside::default();
        assert!(aside.put(1, 'a') && aside.put(2, 'b'));
        aside.doubt();
        assert!(left_out(&aside).is_empty());
        let now = Instant::now();
        assert!(aside.sees(1, &'a', now) && !aside.sees(2, &'c', now) && !aside.sees(3, &'d', now));
        assert_eq!((left_out(&aside), aside.knows(2)), (vec![1], false));
    }

    #[tokio::test(start_paused = true)]
    async fn rows_that_were_not_read_though_they_are_not_left_out_are_gone() {
        let mut aside = Aside::default();
        assert!(aside.put_for(1, 'a', Duration::ZERO) && aside.put(2, 'b'));
        aside.forget_others(Instant::now());
        assert_eq!((aside.knows(1), aside.knows(2)), (false, true));
        aside.wake();
        assert!(left_out(&aside).is_empty() && aside.knows(2));
    }
}
