//! What a replay came to, and how it is told.

use std::fmt;
use std::time::Duration;

use events_core::broker::DeadLetter;

use super::fresh::{Derived, Differences};
use super::measurements::Measurements;
use super::progress::Progress;
use super::sweeps::{InNumbers, Reports, Swept};

/// How many differences of a kind, and dead letters, are told in full.
pub const SHOWN: usize = 20;

/// What a replay came to.
#[derive(Debug, Clone)]
pub struct Report {
    /// How far it has come, over all its runs.
    pub progress: Progress,
    /// Lines that earlier runs dealt with.
    pub resumed: u64,
    /// Whether events were dispatched, or dropped by the kill switch.
    pub dispatched: bool,
    /// Dead letters in the queue.
    pub dead: u64,
    /// Those of them that were debounced.
    pub dead_debounced: u64,
    /// The latest of them.
    pub letters: Vec<DeadLetter>,
    /// What the workers of this run have done.
    pub measurements: Measurements,
    /// How long this run took to apply its lines.
    pub applied_in: Duration,
    /// How long this run took until the queue was drained.
    pub drained_in: Duration,
    /// How long after its last operation each monitor's statistics were computed, in milliseconds,
    /// sorted.
    pub statistics_delays_ms: Vec<i64>,
    /// The sweeps that the log asked for.
    pub swept: Swept,
    /// The sweep in the end.
    pub swept_at_end: Option<Reports>,
    /// How the derived rows differ from a fresh computation.
    pub differences: Differences,
}

impl Report {
    /// Whether the derived rows are those of a fresh computation.
    #[must_use]
    pub fn converged(&self) -> bool {
        self.differences.is_empty()
    }

    /// Whether lines were refused, in any run.
    #[must_use]
    pub fn has_refusals(&self) -> bool {
        self.progress.refused > 0
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { progress, measurements, .. } = self;
        writeln!(f, "lines applied:    {}", progress.applied())?;
        writeln!(f, "lines refused:    {}", progress.refused)?;
        if self.resumed > 0 {
            writeln!(f, "lines before:     {} (earlier runs, included above)", self.resumed)?;
        }
        let dropped = if self.dispatched { "" } else { " (dropped: --without-events)" };
        writeln!(f, "events published: {}{dropped}", progress.events)?;
        let dead = self.dead - self.dead_debounced;
        writeln!(f, "tasks done:       {}", progress.tasks.saturating_sub(dead))?;
        writeln!(f, "tasks debounced:  {} (in this run)", measurements.debounced)?;
        writeln!(f, "tasks retried:    {}", measurements.retried)?;
        writeln!(f, "tasks dead:       {}", self.dead)?;
        latency(f, measurements)?;
        let lines = progress.lines - self.resumed;
        writeln!(
            f,
            "throughput:       {} lines/s, {} tasks/s ({:.1} s to apply, {:.1} s to drain)",
            rate(lines, self.applied_in),
            rate(measurements.done, self.drained_in),
            self.applied_in.as_secs_f64(),
            self.drained_in.as_secs_f64(),
        )?;
        self.statistics(f)?;
        self.sweeps(f)?;
        for letter in &self.letters {
            let error = letter.attempts.last().map_or("", |attempt| attempt.error.as_str());
            writeln!(f, "dead letter:      {} {}: {error}", letter.name, letter.payload)?;
        }
        if self.converged() {
            return writeln!(f, "converged: yes");
        }
        writeln!(f, "converged: no, of {} derived rows:", self.differences.expected)?;
        listed(f, "missing", &self.differences.missing)?;
        listed(f, "not due", &self.differences.unexpected)
    }
}

impl Report {
    /// How fresh the statistics are.
    fn statistics(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let delays = &self.statistics_delays_ms;
        let Some(longest) = delays.last() else { return Ok(()) };
        let [p50, p99] = [delays.len() / 2, delays.len() * 99 / 100].map(|at| delays[at]);
        writeln!(
            f,
            "statistics:       of {} monitors, computed p50 {p50} ms, p99 {p99} ms, at most {longest} ms after the last operation",
            delays.len()
        )
    }

    fn sweeps(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Swept { sweeps, total } = &self.swept;
        if *sweeps > 0 {
            writeln!(f, "sweeps:           {sweeps} in the log: {}", InNumbers(total))?;
        }
        let at_end = self.swept_at_end.iter().flatten();
        for (name, report) in at_end.clone() {
            let name = name.rsplit('.').next().unwrap_or(name);
            writeln!(f, "sweep at the end: {name}: {}", InNumbers(report))?;
        }
        let failed = total.failed.iter().chain(at_end.flat_map(|(_, report)| &report.failed));
        for (monitor, reason) in failed.take(SHOWN) {
            writeln!(f, "not reconciled:   {monitor:?}: {reason}")?;
        }
        Ok(())
    }
}

fn latency(f: &mut fmt::Formatter<'_>, measurements: &Measurements) -> fmt::Result {
    let latency = &measurements.latency_ms;
    if latency.is_empty() {
        return writeln!(f, "latency:          no task was handled in this run");
    }
    let [p50, p95, p99] = [0.5, 0.95, 0.99].map(|quantile| latency.value_at_quantile(quantile));
    writeln!(f, "latency:          p50 {p50} ms, p95 {p95} ms, p99 {p99} ms (commit to handled)")
}

/// Whole things per second.
fn rate(count: u64, time: Duration) -> u128 {
    u128::from(count) * 1_000_000 / time.as_micros().max(1)
}

fn listed(f: &mut fmt::Formatter<'_>, what: &str, rows: &[Derived]) -> fmt::Result {
    if rows.is_empty() {
        return Ok(());
    }
    writeln!(f, "  {what}: {}", rows.len())?;
    for row in rows.iter().take(SHOWN) {
        writeln!(f, "    {row}")?;
    }
    if rows.len() > SHOWN {
        writeln!(f, "    … and {} more", rows.len() - SHOWN)?;
    }
    Ok(())
}
