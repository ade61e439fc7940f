//! `--since`: a date, a time, or how long ago.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};

/// Dates and times without a zone are in UTC, as the prefixes of objects are.
pub fn parse(text: &str) -> Result<Timestamp, String> {
    parse_at(text, Timestamp::now())
}

fn parse_at(text: &str, now: Timestamp) -> Result<Timestamp, String> {
    let text = text.trim();
    let since = text.parse::<Timestamp>().ok().or_else(|| date_time(text)).or_else(|| before(text, now));
    match since {
        Some(since) if since > now => Err(format!("{since} is yet to come")),
        Some(since) => Ok(since),
        None => {
            Err("a date (2026-11-21), a time (2026-11-21T08:00), or how long ago (90m, 2h, 7d) is expected".to_owned())
        }
    }
}

fn date_time(text: &str) -> Option<Timestamp> {
    let date_time = text.parse::<DateTime>().ok()?;
    date_time.to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp())
}

fn before(text: &str, now: Timestamp) -> Option<Timestamp> {
    let span = text.parse::<Span>().ok().filter(|span| !span.is_negative())?;
    now.to_zoned(TimeZone::UTC).checked_sub(span).ok().map(|zoned| zoned.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_times_and_durations_are_understood() {
        let now: Timestamp = "2026-11-21T12:00:00Z".parse().unwrap();
        for (text, expected) in [
            ("2026-11-21", "2026-11-21T00:00:00Z"),
            ("2026-11-21T08:00", "2026-11-21T08:00:00Z"),
            ("2026-11-21 08:00:30", "2026-11-21T08:00:30Z"),
            ("2026-11-21T08:00:00Z", "2026-11-21T08:00:00Z"),
            ("2026-11-21T08:00:00+02:00", "2026-11-21T06:00:00Z"),
            ("90m", "2026-11-21T10:30:00Z"),
            ("2h", "2026-11-21T10:00:00Z"),
            ("2h 30m", "2026-11-21T09:30:00Z"),
            ("7d", "2026-11-14T12:00:00Z"),
            ("PT1H", "2026-11-21T11:00:00Z"),
        ] {
            assert_eq!(parse_at(text, now), Ok(expected.parse().unwrap()), "{text}");
        }
        for text in ["", "soon", "7", "-2h", "2h ago", "2026-13-01", "99999999999999999h", "2026-11-22", "1e9d"] {
            assert!(parse_at(text, now).is_err(), "{text}");
        }
    }
}
