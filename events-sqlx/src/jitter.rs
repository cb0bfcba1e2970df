//! Chance.

use std::hash::{BuildHasher, RandomState};

/// A random number in `0.0..=1.0`: the standard library's hasher is seeded with one.
pub(crate) fn jitter() -> f64 {
    let bits = u32::try_from(RandomState::new().hash_one(()) >> 32).unwrap_or(0);
    f64::from(bits) / f64::from(u32::MAX)
}
