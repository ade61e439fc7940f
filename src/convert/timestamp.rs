//! The forms in which a column's timestamps may stand, tried in order.

use std::cmp::Ordering;

use super::number::{Excess, Number, NumberError};
use super::options::{Deserializer, TimestampFormat};
use super::time_text;

/// Numbers below it are seconds, from it on milliseconds, in Firehose's OpenX deserializer.
const SECONDS_END: i128 = 1_000_000_000_000;

/// The forms in which a time may stand.
#[derive(Debug, Clone, PartialEq)]
pub struct TimestampFormats {
    /// Empty for the deserializer's own.
    formats: Vec<TimestampFormat>,
    deserializer: Deserializer,
}

impl TimestampFormats {
    /// The time that a text or the text of a number stands for, in microseconds since 1970.
    pub fn micros(&self, text: &str) -> Result<i64, NumberError> {
        self.text(text)
    }

    /// Tried in order; none for the deserializer's own.
    pub fn new(formats: Vec<TimestampFormat>, deserializer: Deserializer) -> Self {
        Self { formats, deserializer }
    }

    /// Text with a `T` and a `Z` whose fields have all their digits is read by the plain rule, whatever else may be tried.
    pub(super) fn has_plain_iso(&self) -> bool {
        match (self.formats.first(), self.deserializer) {
            (None, deserializer) => deserializer == Deserializer::OpenX,
            (Some(format), _) => *format == TimestampFormat::Iso8601,
        }
    }

    /// Text with a blank and without a zone is.
    pub(super) fn has_plain_sql(&self) -> bool {
        matches!(self.formats.first(), None | Some(TimestampFormat::Iso8601 | TimestampFormat::Sql))
    }

    /// How integers are read, where that is one plain rule.
    pub(super) fn epoch(&self) -> Option<Epoch> {
        let takes_numbers =
            |format: &&TimestampFormat| !matches!(format, TimestampFormat::Iso8601 | TimestampFormat::Sql);
        match self.formats.iter().find(takes_numbers) {
            Some(TimestampFormat::EpochSeconds) => Some(Epoch::Seconds),
            Some(TimestampFormat::EpochMillis) => Some(Epoch::Millis),
            Some(_) => None,
            None => (self.formats.is_empty() && self.deserializer == Deserializer::OpenX).then_some(Epoch::BySize),
        }
    }

    /// Microseconds since 1970.
    pub(super) fn text(&self, text: &str) -> Result<i64, NumberError> {
        if !self.formats.is_empty() {
            return self.first(|format| match format {
                TimestampFormat::Iso8601 => time_text::iso(text).ok_or(NumberError::Text),
                TimestampFormat::Sql => time_text::sql(text).ok_or(NumberError::Text),
                TimestampFormat::Pattern(pattern) => pattern.parse(text).ok_or(NumberError::Text),
                TimestampFormat::EpochSeconds => seconds(&Number::parse(text)?),
                TimestampFormat::EpochMillis => millis(&Number::parse(text)?),
            });
        }
        match self.deserializer {
            Deserializer::OpenX => match time_text::strict_iso(text).or_else(|| time_text::sql(text)) {
                Some(micros) => Ok(micros),
                None => self.number(text),
            },
            Deserializer::Hive => time_text::sql(text).ok_or(NumberError::Text),
        }
    }

    /// The same for a number.
    pub(super) fn number(&self, text: &str) -> Result<i64, NumberError> {
        let number = Number::parse(text)?;
        if !self.formats.is_empty() {
            return self.first(|format| match format {
                TimestampFormat::EpochSeconds => seconds(&number),
                TimestampFormat::EpochMillis => millis(&number),
                // Hive hands a number's text to its patterns, such as `yyyyMMdd`.
                TimestampFormat::Pattern(pattern) => pattern.parse(text).ok_or(NumberError::Text),
                TimestampFormat::Iso8601 | TimestampFormat::Sql => Err(NumberError::Text),
            });
        }
        match (self.deserializer, number.cmp_abs(SECONDS_END)) {
            (Deserializer::OpenX, Ordering::Less) => seconds(&number),
            (Deserializer::OpenX, Ordering::Equal | Ordering::Greater) => millis(&number),
            (Deserializer::Hive, _) => Err(NumberError::Text),
        }
    }

    /// What the first format that fits says; a number out of range is more worth telling than text that does not fit.
    fn first(&self, read: impl Fn(&TimestampFormat) -> Result<i64, NumberError>) -> Result<i64, NumberError> {
        let mut error = NumberError::Text;
        for format in &self.formats {
            match read(format) {
                Ok(micros) => return Ok(micros),
                Err(NumberError::Range) => error = NumberError::Range,
                Err(NumberError::Text | NumberError::Fraction) => {}
            }
        }
        Err(error)
    }
}

/// What an integer counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Epoch {
    Seconds,
    Millis,
    /// Seconds below [`SECONDS_END`], milliseconds from it on.
    BySize,
}

impl Epoch {
    /// Microseconds, if there is room for them.
    #[inline]
    pub(super) fn micros(self, number: i64) -> Option<i64> {
        let is_seconds = match self {
            Self::Seconds => true,
            Self::Millis => false,
            Self::BySize => i128::from(number).abs() < SECONDS_END,
        };
        number.checked_mul(if is_seconds { 1_000_000 } else { 1_000 })
    }
}

fn seconds(number: &Number<'_>) -> Result<i64, NumberError> {
    i64::try_from(number.scaled(6, Excess::Cut)?).map_err(|_| NumberError::Range)
}

fn millis(number: &Number<'_>) -> Result<i64, NumberError> {
    i64::try_from(number.scaled(3, Excess::Cut)?).map_err(|_| NumberError::Range)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn openx() -> TimestampFormats {
        TimestampFormats::new(Vec::new(), Deserializer::OpenX)
    }

    #[test]
    fn openx_tells_seconds_from_milliseconds_by_size() {
        let cases = [
            ("0", Ok(0)),
            ("999999999999", Ok(999_999_999_999_000_000)),
            ("-999999999999", Ok(-999_999_999_999_000_000)),
            ("1000000000000", Ok(1_000_000_000_000_000)),
            ("1767268800", Ok(1_767_268_800_000_000)),
            ("1767268800123", Ok(1_767_268_800_123_000)),
            ("1767268800.25", Ok(1_767_268_800_250_000)),
            ("1.7672688e9", Ok(1_767_268_800_000_000)),
            ("-0.0000019", Ok(-1)),
            ("9223372036854775807", Err(NumberError::Range)),
            ("1e400", Err(NumberError::Range)),
        ];
        for (text, expected) in cases {
            assert_eq!(openx().number(text), expected, "{text}");
            assert_eq!(openx().text(text), expected, "as text: {text}");
        }
        assert_eq!(openx().text("2026-01-01T12:00:00+00:00"), Err(NumberError::Text));
    }

    #[test]
    fn hive_reads_the_forms_it_is_given_in_order() {
        let hive = |formats: &[TimestampFormat]| TimestampFormats::new(formats.to_vec(), Deserializer::Hive);
        assert_eq!(hive(&[]).text("2026-01-01 12:00:00"), Ok(1_767_268_800_000_000));
        assert_eq!(hive(&[]).text("2026-01-01T12:00:00Z"), Err(NumberError::Text));
        assert_eq!(hive(&[]).number("1767268800"), Err(NumberError::Text));
        let both = hive(&[TimestampFormat::Iso8601, TimestampFormat::EpochMillis]);
        assert_eq!(both.number("1767268800123"), Ok(1_767_268_800_123_000));
        assert_eq!(both.text("1767268800123"), Ok(1_767_268_800_123_000));
        assert_eq!(both.text("2026-01-01T12:00:00+00:00"), Ok(1_767_268_800_000_000));
        let pattern = TimestampFormat::Pattern("yyyyMMdd".parse().unwrap());
        assert_eq!(hive(&[pattern]).number("20260101"), Ok(1_767_225_600_000_000));
    }
}
