//! Points of the code at which a process aborts itself now and then: those that a kill from outside
//! hits too rarely.
//!
//! `FAULT_POINTS` holds `point=times` pairs, separated by commas: at that point, once in so many
//! times. `FAULT_SEED` decides which.

use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::Duration;

use crate::random::Random;

pub const POINTS: &str = "FAULT_POINTS";
pub const SEED: &str = "FAULT_SEED";

/// The points. Each strikes once in so many times in a run with [`EVENTS`].
const USUAL: [(&str, i64); 14] = [
    ("publisher: before its commit", 4_000),
    ("publisher: around its commit", 4_000),
    ("publisher: after its commit", 4_000),
    ("transactional: before the effect", 20_000),
    ("transactional: after the effect", 20_000),
    ("transactional: around the commit", 20_000),
    ("plain: before the effect", 20_000),
    ("plain: between effect and settle", 20_000),
    ("plain: around the settle", 20_000),
    ("worker: after a claim", 4_000),
    ("worker: before a settle", 4_000),
    ("worker: after a settle", 4_000),
    ("worker: after a heartbeat", 300),
    ("worker: after a rescue", 300),
];

const EVENTS: i64 = 50_000;

/// The points for a run with so many events: in a shorter one they strike more often.
pub fn usual(events: i64) -> String {
    let pair =
        |(point, times): &(&str, i64)| format!("{point}={}", (times * events / EVENTS).max(2));
    USUAL.iter().map(pair).collect::<Vec<_>>().join(",")
}

struct Points {
    times: Vec<(String, u64)>,
    random: Mutex<Random>,
}

static HERE: LazyLock<Points> = LazyLock::new(|| {
    let points = std::env::var(POINTS).unwrap_or_default();
    let times = points
        .split(',')
        .filter_map(|pair| pair.split_once('='))
        .map(|(point, times)| (point.to_owned(), times.parse().expect("FAULT_POINTS: point=times")))
        .collect();
    let seed = std::env::var(SEED).ok().and_then(|seed| seed.parse().ok()).unwrap_or(0);
    Points { times, random: Mutex::new(Random::new(seed)) }
});

impl Points {
    fn strikes(&self, point: &str) -> bool {
        let times = self.times.iter().find(|(known, _)| known == point);
        times.is_some_and(|(_, times)| self.draw(*times) == 0)
    }

    fn draw(&self, bound: u64) -> u64 {
        self.random.lock().unwrap_or_else(PoisonError::into_inner).below(bound)
    }
}

/// The process may end here.
pub fn point(name: &str) {
    if HERE.strikes(name) {
        abort(name);
    }
}

/// The process may end during what comes next: at some moment within this time.
pub fn around(name: &'static str, within: Duration) {
    if HERE.strikes(name) {
        let micros = u64::try_from(within.as_micros()).unwrap_or(u64::MAX).max(1);
        let pause = Duration::from_micros(HERE.draw(micros));
        std::thread::spawn(move || {
            std::thread::sleep(pause);
            abort(name);
        });
    }
}

fn abort(name: &str) -> ! {
    println!("point {name}"); // for who counts them
    std::process::abort()
}
