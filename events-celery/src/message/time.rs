//! Times as Celery writes them: ISO 8601.

use std::time::SystemTime;

use events_core::Timestamp;

/// Reads what Python's `isoformat` and others write: date and time with or without a fraction, and
/// `Z`, an offset, or none, which is taken for UTC.
pub(crate) fn parse(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    let (date, rest) = text.split_at_checked(10)?;
    let rest = rest.strip_prefix(['T', ' '])?;
    let zone_at = rest.find(['Z', 'z', '+', '-']).unwrap_or(rest.len());
    let (clock, zone) = rest.split_at(zone_at);
    let (clock, fraction) = clock.split_once(['.', ',']).unwrap_or((clock, ""));
    let clock = match clock.len() {
        5 => format!("{clock}:00"),
        _ => clock.to_owned(),
    };
    let fraction: String = fraction.chars().chain("000000".chars()).take(6).collect();
    let utc = humantime::parse_rfc3339(&format!("{date}T{clock}.{fraction}Z")).ok()?;
    let shift = offset_seconds(zone)?;
    Some(Timestamp::from_micros(Timestamp::from(utc).as_micros() - shift * 1_000_000))
}

/// Of `Z`, `+02:00`, `+0200`, `+02` or nothing.
fn offset_seconds(zone: &str) -> Option<i64> {
    if matches!(zone, "" | "Z" | "z") {
        return Some(0);
    }
    let (sign, digits) = match zone.split_at_checked(1)? {
        ("+", digits) => (1, digits),
        ("-", digits) => (-1, digits),
        _ => return None,
    };
    let digits: String = digits.chars().filter(|c| *c != ':').collect();
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) || !matches!(digits.len(), 2 | 4 | 6) {
        return None;
    }
    let part = |at: usize| digits.get(at..at + 2).map_or(Some(0), |part| part.parse::<i64>().ok());
    Some(sign * (part(0)? * 3600 + part(2)? * 60 + part(4)?))
}

/// As Python's `isoformat` writes it, with `+00:00`, to the microsecond.
pub(crate) fn format(time: Timestamp) -> String {
    // RFC 3339 has no years before 1970 here, nor after 9999.
    let last = Timestamp::from_micros(253_402_300_799_000_000);
    let time = time.clamp(Timestamp::from_micros(0), last);
    let text = humantime::format_rfc3339_micros(SystemTime::from(time)).to_string();
    text.replace('Z', "+00:00")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_that_python_writes_is_read() {
        let noon = Timestamp::from_micros(1_767_355_200_000_000);
        for text in [
            "2026-01-02T12:00:00+00:00",
            "2026-01-02T12:00:00Z",
            "2026-01-02 12:00:00",
            "2026-01-02T12:00",
            "2026-01-02T14:00:00+02:00",
            "2026-01-02T06:30:00-0530",
            "2026-01-02T12:00:00.000000000+00",
        ] {
            assert_eq!(parse(text), Some(noon), "{text}");
        }
        let half = Timestamp::from_micros(noon.as_micros() + 500_001);
        assert_eq!(parse("2026-01-02T12:00:00.5000019Z"), Some(half));
        assert_eq!(parse(&format(half)), Some(half));
    }

    #[test]
    fn nonsense_is_no_time() {
        for text in [
            "",
            "soon",
            "2026-01-02",
            "2026-13-02T12:00:00",
            "2026-01-02T12:00:00+2",
            "é026-01-02T12:00:00",
            "2026-01-02T12:00:00+0é",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
