//! What a run came to.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

use crate::check::Ending;
use crate::recovery::Recovered;

#[derive(Debug)]
pub struct Report {
    pub seed: u64,
    pub took: Duration,
    pub ending: Ending,
    /// What was done to the processes and what they said, by name.
    pub tally: BTreeMap<String, u64>,
    pub recovery: Times,
    /// When the server was away meanwhile, that is no part of it.
    pub recovery_with_server: Times,
    /// Those that took longer than twice the lease all the same.
    pub slow: Vec<String>,
    /// For how long the server was away, each time.
    pub away: Vec<Duration>,
    /// A sentence for each promise that was not kept.
    pub broken: Vec<String>,
}

/// Times, sorted.
#[derive(Debug)]
pub struct Times(Vec<Duration>);

impl Times {
    pub fn of(times: impl Iterator<Item = Duration>) -> Self {
        let mut times: Vec<_> = times.collect();
        times.sort();
        Self(times)
    }

    /// The time that so many percent do not exceed; zero if there are none.
    pub fn percentile(&self, percent: usize) -> Duration {
        let rank = (self.0.len() * percent).div_ceil(100);
        self.0.get(rank.saturating_sub(1)).copied().unwrap_or_default()
    }
}

impl fmt::Display for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [p50, p99, max] = [50, 99, 100].map(|percent| self.percentile(percent).as_secs_f64());
        write!(f, "p50 {p50:.2} s, p99 {p99:.2} s, max {max:.2} s ({} deaths)", self.0.len())
    }
}

/// The time of a recovery without that in which the server was away.
pub fn with_server(recovered: &Recovered, away: &[(Instant, Instant)]) -> Duration {
    let overlap = |(down, up): &(Instant, Instant)| {
        (*up).min(recovered.to).saturating_duration_since((*down).max(recovered.from))
    };
    (recovered.to - recovered.from).saturating_sub(away.iter().map(overlap).sum())
}

impl Report {
    pub const SUMMARY_HEAD: &str = "\
| seed | took | kills | aborts | stops | backends | rescued | effects once | duplicates | effects at least once | duplicates | recovery p50 | p99 | max | broken |
|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|";

    /// A row of a table of runs.
    pub fn summary(&self) -> String {
        let count = |what: &str| self.tally.get(what).copied().unwrap_or(0);
        let of = |exactly_once: bool| {
            let mine = self.ending.effects.iter();
            let mine = mine.filter(move |effects| effects.exactly_once == exactly_once);
            mine.fold((0, 0), |(total, duplicates), effects| {
                (total + effects.total, duplicates + effects.duplicates)
            })
        };
        let ((once, once_more), (plain, plain_more)) = (of(true), of(false));
        let [p50, p99, max] = [50, 99, 100]
            .map(|percent| self.recovery_with_server.percentile(percent).as_secs_f64());
        format!(
            "| {} | {:.0} s | {} | {} | {} | {} | {} | {once} | {once_more} | {plain} | {plain_more} | {p50:.2} s | {p99:.2} s | {max:.2} s | {} |",
            self.seed,
            self.took.as_secs_f64(),
            count("publisher killed") + count("worker killed"),
            self.aborts(),
            count("publisher stopped") + count("worker stopped"),
            count("backend terminated"),
            count("rescued"),
            self.broken.len(),
        )
    }

    fn aborts(&self) -> u64 {
        let points = self.tally.iter().filter(|(what, _)| what.starts_with("point "));
        points.map(|(_, count)| count).sum()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {}, {:.1} s", self.seed, self.took.as_secs_f64())?;
        writeln!(f, "  committed events: {} orders placed", self.ending.orders)?;
        for effects in &self.ending.effects {
            let promise = if effects.exactly_once { "exactly once" } else { "at least once" };
            writeln!(
                f,
                "  {:<8} {promise:<13}: {} effects, {} duplicates, {} missing, {} of unknown events",
                effects.subscriber,
                effects.total,
                effects.duplicates,
                effects.missing,
                effects.unknown
            )?;
        }
        let Ending { tasks, dead_letters, workers, poison, dead_poison, .. } = self.ending;
        writeln!(f, "  left: {tasks} tasks, {dead_letters} dead letters, {workers} workers")?;
        writeln!(f, "  handlers that abort: {dead_poison} of {poison} are dead letters")?;
        for (what, count) in &self.tally {
            writeln!(f, "  {count:>6} × {what}")?;
        }
        let away: Vec<_> =
            self.away.iter().map(|away| format!("{:.2} s", away.as_secs_f64())).collect();
        writeln!(f, "  server away: {}", away.join(", "))?;
        writeln!(f, "  recovery: {}", self.recovery)?;
        writeln!(
            f,
            "  … without the time in which the server was away: {}",
            self.recovery_with_server
        )?;
        for slow in &self.slow {
            writeln!(f, "  … slow: {slow}")?;
        }
        match self.broken.as_slice() {
            [] => write!(f, "  every promise was kept"),
            broken => broken.iter().try_for_each(|broken| writeln!(f, "  BROKEN: {broken}")),
        }
    }
}
