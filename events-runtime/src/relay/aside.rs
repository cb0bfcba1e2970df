//! Rows that are left out of the reads for a while, so that what is behind them is read.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use super::trouble;

/// The most rows that are left out: the next read steps over each of them.
const MOST: usize = 10_000;

/// Rows by number, each with a pause of its own.
#[derive(Debug, Default)]
pub(crate) struct Aside(HashMap<i64, Pause>);

#[derive(Debug)]
struct Pause {
    until: Instant,
    /// How often the row came back in vain.
    failures: u32,
}

impl Aside {
    /// Leaves this row out, each time for longer. Whether there is room; if not, it is read again.
    pub(crate) fn put(&mut self, row: i64) -> bool {
        let failures = self.0.get(&row).map_or(0, |pause| pause.failures);
        self.put_for(row, trouble::pause(failures))
    }

    /// Leaves this row out for so long.
    pub(crate) fn put_for(&mut self, row: i64, pause: Duration) -> bool {
        if self.0.len() >= MOST && !self.0.contains_key(&row) {
            return false;
        }
        let until = Instant::now() + pause;
        let pause = self.0.entry(row).or_insert(Pause { until, failures: 0 });
        pause.until = until;
        pause.failures += 1;
        true
    }

    /// The row is there no more.
    pub(crate) fn forget(&mut self, row: i64) {
        self.0.remove(&row);
    }

    /// The rows that are left out now.
    pub(crate) fn left_out(&self) -> impl Iterator<Item = i64> {
        let now = Instant::now();
        self.0.iter().filter(move |(_, pause)| pause.until > now).map(|(row, _)| *row)
    }

    /// When the first of them is to be read again.
    pub(crate) fn next(&self) -> Option<Instant> {
        let now = Instant::now();
        self.0.values().map(|pause| pause.until).filter(|until| *until > now).min()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_row_is_left_out_for_longer_each_time_and_comes_back() {
        let mut aside = Aside::default();
        let mut pauses = Vec::new();
        for _ in 0..20 {
            assert!(aside.put(7));
            assert_eq!(aside.left_out().collect::<Vec<_>>(), [7]);
            pauses.push(aside.next().unwrap().duration_since(Instant::now()));
            tokio::time::advance(*pauses.last().unwrap()).await;
            assert_eq!((aside.left_out().count(), aside.next()), (0, None));
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
        assert!((0..rows).all(|row| aside.put(row)));
        assert!(!aside.put(rows) && aside.put(0), "what is aside stays");
        aside.forget(5);
        assert!(aside.put(rows));
    }
}
