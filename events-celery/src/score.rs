//! Times as the scores of sorted sets: seconds where kombu reads them, microseconds in sets of our own.

use events_core::Timestamp;

/// As `unacked_index` has it. A text, for a number of this size has no room for the last digits.
pub(crate) fn seconds(time: Timestamp) -> String {
    let micros = time.as_micros().max(0);
    format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000)
}

/// The time of a score of `unacked_index`.
pub(crate) fn from_seconds(score: f64) -> Timestamp {
    from_micros(score * 1e6)
}

/// The time of a score in one of our sets.
pub(crate) fn from_micros(score: f64) -> Timestamp {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "microseconds of this age are exact, and what is no time is the first or the last"
    )]
    Timestamp::from_micros(score as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_come_back_as_they_went() {
        let noon = Timestamp::from_micros(1_767_355_200_500_001);
        assert_eq!(seconds(noon), "1767355200.500001");
        assert_eq!(from_micros(1_767_355_200_500_001.0), noon);
        let back = from_seconds(1_767_355_200.5);
        assert_eq!(back, Timestamp::from_micros(1_767_355_200_500_000));
        assert_eq!(seconds(Timestamp::from_micros(-1)), "0.000000");
        assert_eq!(from_micros(f64::INFINITY), Timestamp::from_micros(i64::MAX));
    }
}
