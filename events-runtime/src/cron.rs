//! The times that a cron expression names, on the clocks of a time zone.
//!
//! When clocks are put forward, an expression with one time of day (`30 2 * * *`) that does not exist
//! then means the first moment after the gap. When they are put back, its time is the first of the
//! two. An expression with several times of a day (`*/15`, `2,14`) means all that exist: none in the
//! gap, and those of the repeated hour twice.

use croner::Cron;
use croner::parser::{CronParser, Year};
use events_core::Timestamp;
use jiff::tz::{TimeZone, TimeZoneDatabase};

/// An expression that was read, and a time zone that was found.
#[derive(Debug, Clone)]
pub(crate) struct CronTimes {
    cron: Cron,
    time_zone: TimeZone,
}

/// What is wrong, and what to write instead.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum CronMistake {
    Expression(String),
    TimeZone(String),
}

const FORM: &str = "write minute, hour, day of month, month and day of week, such as \"0 3 * * *\"";

impl CronTimes {
    /// Reads the expression, finds the time zone, and makes sure that there is a time after `now`.
    pub(crate) fn read(
        expression: &str,
        time_zone: &str,
        now: Timestamp,
    ) -> Result<Self, CronMistake> {
        let times = Self { cron: parse(expression)?, time_zone: find(time_zone)? };
        match times.find_after(now) {
            Some(_) => Ok(times),
            None => Err(CronMistake::Expression(format!(
                "`{expression}` names no time that ever comes; {FORM}"
            ))),
        }
    }

    /// The first time after this moment. One that never comes is infinitely far.
    pub(crate) fn after(&self, moment: Timestamp) -> Timestamp {
        self.find_after(moment).unwrap_or(Timestamp::from_micros(i64::MAX))
    }

    fn find_after(&self, moment: Timestamp) -> Option<Timestamp> {
        // Expressions know seconds. The first after a moment is also the first after its second.
        let second = moment.as_micros().div_euclid(1_000_000);
        let start = jiff::Timestamp::from_second(second).ok()?.to_zoned(self.time_zone.clone());
        let found = self.cron.find_next_occurrence(&start, false).ok()?;
        Some(Timestamp::from_micros(found.timestamp().as_microsecond()))
    }
}

fn parse(expression: &str) -> Result<Cron, CronMistake> {
    // The library passes over what is missing in a list, and then looks for it for ever.
    let has_gap = |field: &str| field.split(',').any(str::is_empty);
    if expression.split_whitespace().any(has_gap) {
        return Err(CronMistake::Expression(format!(
            "`{expression}` has a comma with nothing beside it; {FORM}"
        )));
    }
    CronParser::builder().year(Year::Disallowed).build().parse(expression).map_err(|error| {
        CronMistake::Expression(format!("`{expression}` cannot be read ({error}); {FORM}"))
    })
}

/// The machine's data are newer than those in the program, but may lack some zones, or all.
fn find(time_zone: &str) -> Result<TimeZone, CronMistake> {
    let found = TimeZone::get(time_zone);
    found.or_else(|_| TimeZoneDatabase::bundled().get(time_zone)).map_err(|_| {
        CronMistake::TimeZone(format!(
            "`{time_zone}` is no time zone; write a name of the IANA database, such as \"UTC\" or \"Europe/Berlin\""
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(rfc3339: &str) -> Timestamp {
        let time: jiff::Timestamp = rfc3339.parse().expect("a time");
        Timestamp::from_micros(time.as_microsecond())
    }

    fn times(expression: &str, time_zone: &str) -> CronTimes {
        let read = CronTimes::read(expression, time_zone, at("2026-01-01T00:00:00Z"));
        read.unwrap_or_else(|mistake| panic!("{mistake:?}"))
    }

    /// The times of an expression in Berlin after a moment, as RFC 3339 in UTC.
    fn follow(expression: &str, after: &str, count: usize) -> Vec<String> {
        let times = times(expression, "Europe/Berlin");
        let next = |moment: &Timestamp| Some(times.after(*moment));
        let moments = std::iter::successors(Some(at(after)), next);
        moments.skip(1).take(count).map(|moment| moment.to_string()).collect()
    }

    #[test]
    fn next_time_is_after_the_moment_and_never_the_moment_itself() {
        let times = times("0 3 * * *", "UTC");
        for (moment, next) in [
            ("2026-03-01T02:59:59.999999Z", "2026-03-01T03:00:00Z"),
            ("2026-03-01T03:00:00Z", "2026-03-02T03:00:00Z"),
            ("2026-03-01T03:00:00.000001Z", "2026-03-02T03:00:00Z"),
            ("2026-02-28T12:00:00Z", "2026-03-01T03:00:00Z"),
            ("1969-12-31T23:59:59.5Z", "1970-01-01T03:00:00Z"),
        ] {
            assert_eq!(times.after(at(moment)), at(next), "{moment}");
        }
    }

    #[test]
    fn times_are_those_on_the_clocks_of_the_zone() {
        let winter = follow("0 3 * * *", "2026-01-10T12:00:00Z", 1);
        assert_eq!(winter, ["2026-01-11T02:00:00.000000Z"]);
        let summer = follow("0 3 * * *", "2026-07-10T12:00:00Z", 1);
        assert_eq!(summer, ["2026-07-11T01:00:00.000000Z"]);
    }

    /// On 29 March 2026 the clocks go from two to three, at one in UTC.
    #[test]
    fn one_time_of_day_that_does_not_exist_is_the_first_moment_after_the_gap() {
        assert_eq!(
            follow("30 2 * * *", "2026-03-28T00:00:00Z", 3),
            [
                "2026-03-28T01:30:00.000000Z",
                "2026-03-29T01:00:00.000000Z",
                "2026-03-30T00:30:00.000000Z",
            ]
        );
    }

    #[test]
    fn several_times_of_a_day_leave_out_those_that_do_not_exist() {
        assert_eq!(
            follow("*/30 * * * *", "2026-03-29T00:29:00Z", 3),
            [
                "2026-03-29T00:30:00.000000Z",
                "2026-03-29T01:00:00.000000Z",
                "2026-03-29T01:30:00.000000Z",
            ]
        );
        let twice_a_day = follow("30 2,14 * * *", "2026-03-28T20:00:00Z", 1);
        assert_eq!(twice_a_day, ["2026-03-29T12:30:00.000000Z"]);
    }

    /// On 25 October 2026 the clocks go from three back to two, at one in UTC.
    #[test]
    fn one_time_of_day_that_exists_twice_is_the_first_of_them() {
        assert_eq!(
            follow("30 2 * * *", "2026-10-24T12:00:00Z", 2),
            ["2026-10-25T00:30:00.000000Z", "2026-10-26T01:30:00.000000Z"]
        );
        for run in ["2026-10-25T00:30:00.000001Z", "2026-10-25T01:30:00Z", "2026-10-25T01:29:59Z"] {
            assert_eq!(follow("30 2 * * *", run, 1), ["2026-10-26T01:30:00.000000Z"], "{run}");
        }
    }

    #[test]
    fn several_times_of_a_day_come_twice_in_the_repeated_hour() {
        assert_eq!(
            follow("*/30 2 * * *", "2026-10-24T12:00:00Z", 4),
            [
                "2026-10-25T00:00:00.000000Z",
                "2026-10-25T00:30:00.000000Z",
                "2026-10-25T01:00:00.000000Z",
                "2026-10-25T01:30:00.000000Z",
            ]
        );
    }

    #[test]
    fn leap_days_last_days_and_weekdays_are_found() {
        let utc = |expression, moment: &str| times(expression, "UTC").after(at(moment));
        assert_eq!(utc("0 0 29 2 *", "2096-03-01T00:00:00Z"), at("2104-02-29T00:00:00Z"));
        assert_eq!(utc("0 0 L * *", "2026-02-01T00:00:00Z"), at("2026-02-28T00:00:00Z"));
        assert_eq!(utc("0 0 * * MON#2", "2026-06-01T00:00:00Z"), at("2026-06-08T00:00:00Z"));
        assert_eq!(utc("*/10 * * * * *", "2026-06-01T00:00:55Z"), at("2026-06-01T00:01:00Z"));
    }

    #[test]
    fn what_cannot_be_read_or_never_comes_says_what_to_write() {
        let read = |expression, time_zone| {
            CronTimes::read(expression, time_zone, at("2026-01-01T00:00:00Z")).expect_err("wrong")
        };
        for (expression, says) in [
            ("61 3 * * *", "`61 3 * * *` cannot be read"),
            ("0 3 * *", "cannot be read"),
            ("0 0 3 * * * 2030", "cannot be read"),
            ("0 0 30 2 *", "names no time that ever comes"),
            (", 3 * * *", "a comma with nothing beside it"),
        ] {
            let CronMistake::Expression(mistake) = read(expression, "UTC") else { panic!("wrong") };
            assert!(mistake.contains(says) && mistake.contains(FORM), "{expression}: {mistake}");
        }
        let CronMistake::TimeZone(mistake) = read("0 3 * * *", "Berlin") else { panic!("wrong") };
        assert!(mistake.contains("`Berlin` is no time zone"), "{mistake}");
    }

    #[test]
    fn zones_are_known_without_the_machines_data() {
        let bundled = TimeZoneDatabase::bundled();
        assert!(bundled.get("Europe/Berlin").is_ok() && bundled.get("UTC").is_ok());
    }
}
