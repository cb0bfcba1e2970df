//! What does not work for now: how long to wait before the next try, and when to tell.

use std::time::Duration;

use tokio::time::Instant;

/// The first pause, and the longest.
const FIRST: Duration = Duration::from_millis(100);
pub(crate) const LONGEST: Duration = Duration::from_secs(30);

/// Before the same trouble is told again.
const REMIND: Duration = Duration::from_mins(1);

#[derive(Debug, Default)]
pub(crate) struct Trouble {
    since: Option<Instant>,
    told: Option<Instant>,
    failures: u32,
}

/// How long to wait after a failure when there were so many before it: twice as long as the last time,
/// spread by jitter.
pub(crate) fn pause(failures: u32) -> Duration {
    let pause = FIRST.saturating_mul(1 << failures.min(16)).min(LONGEST);
    pause.mul_f64(0.5 + 0.5 * fastrand::f64())
}

impl Trouble {
    /// There is some.
    pub(crate) fn begins(&mut self) {
        self.since.get_or_insert_with(Instant::now);
    }

    /// How long to wait after one more failure.
    pub(crate) fn pause(&mut self) -> Duration {
        self.begins();
        self.failures += 1;
        pause(self.failures - 1)
    }

    /// Something went well, though not all: the next pause is the first again.
    pub(crate) fn eases(&mut self) {
        self.failures = 0;
    }

    /// Whether it is new, or was not told for a while.
    pub(crate) fn is_to_be_told(&mut self) -> bool {
        let now = Instant::now();
        let is = self.told.is_none_or(|told| now.duration_since(told) >= REMIND);
        if is {
            self.told = Some(now);
        }
        is
    }

    pub(crate) fn is_going_on(&self) -> bool {
        self.since.is_some()
    }

    /// All is well. For how long it was not, if that was the case.
    pub(crate) fn is_over(&mut self) -> Option<Duration> {
        std::mem::take(self).since.map(|since| since.elapsed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest_and_begin_anew_when_something_goes_well() {
        let mut trouble = Trouble::default();
        let pauses: Vec<_> = (0..20).map(|_| trouble.pause()).collect();
        for (index, pause) in (0..).zip(&pauses) {
            let full = (FIRST * (1 << index.min(16))).min(LONGEST);
            assert!(*pause >= full / 2 && *pause <= full, "{index}: {pause:?}");
        }
        trouble.eases();
        assert!(trouble.pause() <= FIRST && trouble.is_going_on());
        assert!(trouble.is_over().is_some() && trouble.is_over().is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn trouble_is_told_at_once_and_then_every_minute() {
        let mut trouble = Trouble::default();
        assert!(trouble.is_to_be_told() && !trouble.is_to_be_told());
        tokio::time::advance(REMIND).await;
        assert!(trouble.is_to_be_told() && !trouble.is_to_be_told());
    }
}
