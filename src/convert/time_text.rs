//! Dates and timestamps as text in the fixed forms: Firehose's, `java.sql`'s and ISO 8601.
//!
//! Timestamps are microseconds since 1970; further digits of a fraction are cut off.

use super::civil;

/// A cursor over ASCII text; each step takes something or fails.
#[derive(Clone, Copy)]
pub(super) struct Cursor<'a>(pub(super) &'a [u8]);

impl Cursor<'_> {
    pub(super) fn is_end(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn take(&mut self, sign: u8) -> bool {
        let is_next = self.0.first() == Some(&sign);
        if is_next {
            self.0 = &self.0[1..];
        }
        is_next
    }

    fn expect(&mut self, sign: u8) -> Option<()> {
        self.take(sign).then_some(())
    }

    /// A number of `min` to `max` digits, as many as there are.
    pub(super) fn number(&mut self, min: usize, max: usize) -> Option<u32> {
        let count = self.0.iter().take(max).take_while(|byte| byte.is_ascii_digit()).count();
        if count < min {
            return None;
        }
        let (digits, rest) = self.0.split_at(count);
        self.0 = rest;
        Some(digits.iter().fold(0, |number, digit| number * 10 + u32::from(digit - b'0')))
    }

    /// One to nine digits behind the point, in microseconds.
    fn fraction(&mut self) -> Option<u32> {
        let count = self.0.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if count == 0 || count > 9 {
            return None;
        }
        let (digits, rest) = self.0.split_at(count);
        self.0 = rest;
        Some((0..6).fold(0, |micros, index| micros * 10 + digits.get(index).map_or(0, |digit| u32::from(digit - b'0'))))
    }

    fn date(&mut self, width_min: usize) -> Option<i32> {
        let year = self.number(4, 4)?;
        self.expect(b'-')?;
        let month = self.number(width_min, 2)?;
        self.expect(b'-')?;
        let day = self.number(width_min, 2)?;
        civil::days(year as i32, month, day)
    }

    fn time(&mut self, days: i32, width_min: usize) -> Option<i64> {
        let hour = self.number(width_min, 2)?;
        self.expect(b':')?;
        let minute = self.number(width_min, 2)?;
        self.expect(b':')?;
        let second = self.number(width_min, 2)?;
        let fraction = if self.take(b'.') { self.fraction()? } else { 0 };
        civil::micros(days, hour, minute, second, fraction)
    }
}

/// `yyyy-[M]M-[d]d`, as `java.sql.Date.valueOf` has it; the day must exist.
pub(super) fn date(text: &str) -> Option<i32> {
    let mut cursor = Cursor(text.as_bytes());
    let days = cursor.date(1)?;
    cursor.is_end().then_some(days)
}

/// `yyyy-[M]M-[d]d [H]H:[m]m:[s]s[.f…]`.
pub(super) fn sql(text: &str) -> Option<i64> {
    let mut cursor = Cursor(text.as_bytes());
    let days = cursor.date(1)?;
    cursor.expect(b' ')?;
    let micros = cursor.time(days, 1)?;
    cursor.is_end().then_some(micros)
}

/// `yyyy-MM-dd'T'HH:mm:ss[.S]'Z'`: strict, as Firehose is.
pub(super) fn strict_iso(text: &str) -> Option<i64> {
    let mut cursor = Cursor(text.as_bytes());
    let days = cursor.date(2)?;
    cursor.expect(b'T')?;
    let micros = cursor.time(days, 2)?;
    cursor.expect(b'Z')?;
    cursor.is_end().then_some(micros)
}

/// `yyyy-MM-dd`, `T` or a blank, `HH:mm[:ss[.f…]]`, and `Z`, `±HH[[:]mm]`, or nothing for UTC.
pub(super) fn iso(text: &str) -> Option<i64> {
    let mut cursor = Cursor(text.as_bytes());
    let days = cursor.date(2)?;
    if !(cursor.take(b'T') || cursor.take(b't') || cursor.take(b' ')) {
        return None;
    }
    let (hour, _) = (cursor.number(2, 2)?, cursor.expect(b':')?);
    let minute = cursor.number(2, 2)?;
    let second = if cursor.take(b':') { cursor.number(2, 2)? } else { 0 };
    let fraction = if cursor.take(b'.') || cursor.take(b',') { cursor.fraction()? } else { 0 };
    let local = civil::micros(days, hour, minute, second, fraction)?;
    if cursor.is_end() {
        return Some(local);
    }
    let offset = if cursor.take(b'Z') || cursor.take(b'z') { 0 } else { offset_seconds(&mut cursor)? };
    cursor.is_end().then_some(local - offset * 1_000_000)
}

/// `±HH`, `±HHmm` or `±HH:mm`, up to 18 hours.
pub(super) fn offset_seconds(cursor: &mut Cursor<'_>) -> Option<i64> {
    let sign = match (cursor.take(b'+'), cursor.take(b'-')) {
        (true, false) => 1,
        (false, true) => -1,
        _ => return None,
    };
    let hours = cursor.number(2, 2)?;
    let has_minutes = cursor.take(b':') || cursor.0.first().is_some_and(u8::is_ascii_digit);
    let minutes = if has_minutes { cursor.number(2, 2)? } else { 0 };
    let is_offset = minutes < 60 && hours * 60 + minutes <= 18 * 60;
    is_offset.then_some(sign * i64::from(hours * 3600 + minutes * 60))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: i64 = 1_767_268_800_000_000; // 2026-01-01T12:00:00Z

    #[test]
    fn firehoses_forms_are_read_as_firehose_reads_them() {
        assert_eq!(strict_iso("2026-01-01T12:00:00Z"), Some(NOON));
        assert_eq!(strict_iso("2026-01-01T12:00:00.123456789Z"), Some(NOON + 123_456));
        assert_eq!(strict_iso("1969-12-31T23:59:59.9Z"), Some(-100_000));
        for refused in [
            "2026-01-01T12:00:00",
            "2026-01-01T12:00:00+00:00",
            "2026-1-01T12:00:00Z",
            "2026-01-01T12:00:60Z",
            "2026-01-01T24:00:00Z",
            "2026-02-29T12:00:00Z",
            "2026-01-01T12:00:00.Z",
            "2026-01-01T12:00:00.1234567890Z",
            "2026-01-01 12:00:00Z",
            "2026-01-01T12:00:00ZZ",
            "",
        ] {
            assert_eq!(strict_iso(refused), None, "{refused}");
        }
        assert_eq!(sql("2026-1-1 12:0:0.5"), Some(NOON + 500_000));
        assert_eq!(sql("2026-01-01T12:00:00"), None);
        assert_eq!(sql("26-01-01 12:00:00"), None);
        assert_eq!(date("2026-1-01"), Some(20454));
        assert_eq!(date("2026-01-01 "), None);
        assert_eq!(date("2026-02-30"), None);
    }

    #[test]
    fn iso_8601_has_zones_and_leaves_things_out() {
        for text in [
            "2026-01-01T12:00Z",
            "2026-01-01t12:00:00z",
            "2026-01-01 13:00:00,000+01",
            "2026-01-01T13:00:00+0100",
            "2026-01-01T06:30:00-05:30",
            "2026-01-01T12:00:00",
        ] {
            assert_eq!(iso(text), Some(NOON), "{text}");
        }
        for refused in [
            "2026-01-01",
            "2026-01-01T12",
            "2026-01-01T12:00:00+19",
            "2026-01-01T12:00:00+1",
            "2026-01-01T12:00:00+01:60",
        ] {
            assert_eq!(iso(refused), None, "{refused}");
        }
    }
}
