//! Turns, medians and ratios.

use std::cell::RefCell;
use std::time::{Duration, Instant};

/// What one contender was measured at, one value for each round.
#[derive(Debug, Default, Clone)]
pub(crate) struct Rounds(Vec<f64>);

impl Rounds {
    pub(crate) fn push(&mut self, value: f64) {
        self.0.push(value);
    }

    pub(crate) fn median(&self) -> f64 {
        self.quantile(0.5)
    }

    /// The least. For times that are judged by themselves, without a floor of the same minute:
    /// whatever else the machine does can only add to them.
    pub(crate) fn best(&self) -> f64 {
        self.quantile(0.0)
    }

    /// The value below which this part of all values lies.
    pub(crate) fn quantile(&self, part: f64) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let last = sorted.len().saturating_sub(1) as f64;
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // an index
        let at = (last * part).round() as usize;
        sorted.get(at).copied().unwrap_or(f64::NAN)
    }

    /// This over `floor`, round by round: a slow minute of the machine slows both.
    pub(crate) fn over(&self, floor: &Self) -> Ratio {
        let ratios = self.0.iter().zip(&floor.0).map(|(ours, floor)| ours / floor).collect();
        Ratio(Self(ratios))
    }
}

/// The ratios of the rounds.
#[derive(Debug)]
pub(crate) struct Ratio(Rounds);

impl Ratio {
    pub(crate) fn median(&self) -> f64 {
        self.0.median()
    }
}

/// The median, and how far the rounds were apart.
impl std::fmt::Display for Ratio {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self(ratios) = self;
        let (low, high) = (ratios.quantile(0.0), ratios.quantile(1.0));
        write!(f, "{:.2} ({low:.2} to {high:.2})", self.median())
    }
}

/// Measures the contenders in turns. Who begins changes with the round: the first after a pause
/// finds other caches than the last.
pub(crate) fn in_turns<const N: usize, E>(
    rounds: usize,
    contenders: [&mut dyn FnMut() -> Result<f64, E>; N],
) -> Result<[Rounds; N], E> {
    let mut measured = contenders.map(|contender| (contender, Rounds::default()));
    for round in 0..rounds {
        for turn in 0..N {
            let (contender, values) = &mut measured[(round + turn) % N];
            values.push(contender()?);
        }
    }
    Ok(measured.map(|(_, values)| values))
}

/// How many `things` per second were done since `start`.
pub(crate) fn rate(things: usize, start: Instant) -> f64 {
    things as f64 / start.elapsed().as_secs_f64()
}

/// Microseconds, as a number.
pub(crate) fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}

/// The mean nanoseconds of one call.
pub(crate) fn nanos_per(calls: usize, elapsed: Duration) -> f64 {
    elapsed.as_secs_f64() * 1e9 / calls as f64
}

/// A rate as people read it.
pub(crate) fn per_second(rate: f64) -> String {
    match rate {
        rate if rate >= 100_000.0 => format!("{:.0} k/s", rate / 1e3),
        rate if rate >= 1_000.0 => format!("{:.1} k/s", rate / 1e3),
        rate => format!("{rate:.0} /s"),
    }
}

/// Whose processor time.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Of {
    /// All threads of this process.
    ThisProcess,
    /// The processes that this one has started and waited for.
    ItsChildren,
}

/// Processor seconds, of user and system, to the hundredth. Unlike the time on the wall they grow
/// little when others use the machine.
pub(crate) fn processor_seconds(of: Of) -> Option<f64> {
    const TICKS: f64 = 100.0; // per second, whatever the kernel's own clock does
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    let after_name = stat.rsplit_once(')')?.1; // the name may hold anything
    let fields: Vec<&str> = after_name.split_whitespace().collect();
    let ticks = |at: usize| fields.get(at)?.parse::<f64>().ok();
    let user = match of {
        Of::ThisProcess => 11,
        Of::ItsChildren => 13,
    };
    Some((ticks(user)? + ticks(user + 1)?) / TICKS)
}

/// Measures things done by their rate, and by what they cost the processors.
pub(crate) struct Meter {
    started: Instant,
    processors: f64,
}

impl Meter {
    pub(crate) fn start() -> Self {
        let processors = processor_seconds(Of::ThisProcess).unwrap_or(f64::NAN);
        Self { started: Instant::now(), processors }
    }

    /// The rate. `cost` takes the processor microseconds of one thing.
    pub(crate) fn stop(self, things: usize, cost: &RefCell<Rounds>) -> f64 {
        let rate = rate(things, self.started);
        let now = processor_seconds(Of::ThisProcess).unwrap_or(f64::NAN);
        cost.borrow_mut().push((now - self.processors) * 1e6 / things as f64);
        rate
    }
}
