//! Turns, medians and ratios.

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
    let mut measured = std::array::from_fn(|_| Rounds::default());
    for round in 0..rounds {
        for turn in 0..N {
            let who = (round + turn) % N;
            measured[who].push(contenders[who]()?);
        }
    }
    Ok(measured)
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
