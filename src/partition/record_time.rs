//! The time of a record, from one of its fields.
//!
//! Always true: it depends on the record alone.

use std::sync::Arc;

use crate::convert::{NumberError, TimestampFormats};

use super::TimeZoneName;
use super::prefix::RecordTimePattern;
use super::query::{Query, QueryError, ValueError};

/// `record_time`: a field and the forms in which it may stand.
#[derive(Debug, Clone, PartialEq)]
pub struct RecordTime {
    field: Arc<Query>,
    formats: Arc<TimestampFormats>,
}

/// Why a record has no time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordTimeError {
    #[error("{error} (the record time `{field}`)")]
    Value { field: String, error: ValueError },
    #[error("`{value}` is no time in any form that `record_time` allows (the record time `{field}`)")]
    NoTime { field: String, value: String },
    #[error("`{value}` is a time outside of the years -9999 to 9999 (the record time `{field}`)")]
    OutOfRange { field: String, value: String },
}

impl RecordTime {
    /// `field` is a name, or names with dots between them.
    pub fn new(field: &str, formats: TimestampFormats) -> Result<Self, QueryError> {
        Ok(Self { field: Arc::new(Query::compile(&format!(".{field}"))?), formats: Arc::new(formats) })
    }

    /// The time of a record in `zone`, written as the pattern says.
    pub fn print(
        &self,
        record: &[u8],
        pattern: &RecordTimePattern,
        zone: &TimeZoneName,
    ) -> Result<String, RecordTimeError> {
        let field = || self.field.text().to_owned();
        let value = self.field.value(record).map_err(|error| RecordTimeError::Value { field: field(), error })?;
        let printed = match self.formats.micros(&value) {
            Ok(micros) => pattern.print_micros(micros, zone),
            Err(NumberError::Range) => None,
            Err(NumberError::Text | NumberError::Fraction) => {
                return Err(RecordTimeError::NoTime { field: field(), value });
            }
        };
        printed.ok_or_else(|| RecordTimeError::OutOfRange { field: field(), value })
    }
}

#[cfg(test)]
mod tests {
    use super::super::prefix::{Dynamic, PrefixKind, PrefixTemplate};
    use super::*;
    use crate::convert::{Deserializer, TimestampFormat};

    #[test]
    fn any_time_of_four_digit_years_is_told() {
        let formats = vec![TimestampFormat::Iso8601, TimestampFormat::EpochMillis];
        let time = RecordTime::new("t", TimestampFormats::new(formats, Deserializer::OpenX)).unwrap();
        let template = PrefixTemplate::parse("!{recordTime:uuuu-MM-dd-HH-mm-ss-g}/", PrefixKind::Prefix).unwrap();
        let Some((_, Dynamic::RecordTime(pattern))) = template.dynamic().next() else { panic!("a pattern") };
        let print = |value: &str, zone: &str| {
            let record = format!("{{\"t\":{value}}}");
            time.print(record.as_bytes(), pattern, &TimeZoneName::parse(zone).unwrap())
                .map_err(|error| error.to_string())
        };
        for (value, zone, expected) in [
            ("\"2026-11-21T10:00:00Z\"", "UTC", "2026-11-21-10-00-00-61365"),
            ("\"2026-11-21T10:00:00Z\"", "Asia/Tokyo", "2026-11-21-19-00-00-61365"),
            ("\"9999-12-31T23:59:59Z\"", "UTC", "9999-12-31-23-59-59-2973483"),
            ("\"9999-12-31T23:59:59.999999Z\"", "America/New_York", "9999-12-31-18-59-59-2973483"),
            ("\"9999-12-31T14:59:59Z\"", "Asia/Tokyo", "9999-12-31-23-59-59-2973483"),
            ("\"0000-01-01T00:00:00Z\"", "UTC", "0000-01-01-00-00-00--678941"),
            ("-377705116800000", "UTC", "-9999-01-01-00-00-00--4331000"),
            ("253402300799999", "UTC", "9999-12-31-23-59-59-2973483"),
            ("-1", "UTC", "1969-12-31-23-59-59-40586"),
        ] {
            assert_eq!(print(value, zone).as_deref(), Ok(expected), "{value}");
        }
        for (value, zone, said) in [
            ("\"9999-12-31T23:59:59Z\"", "Asia/Tokyo", "`9999-12-31T23:59:59Z` is a time outside of the years"),
            ("253402300800000", "UTC", "outside of the years -9999 to 9999"),
            ("-377705116800001", "UTC", "outside of the years"),
            ("1767268800123456789", "UTC", "outside of the years"),
            ("1e300", "UTC", "outside of the years"),
            ("\"2026-02-31T10:00:00Z\"", "UTC", "is no time in any form"),
            ("null", "UTC", "must not be null or empty"),
        ] {
            let error = print(value, zone).unwrap_err();
            assert!(error.contains(said) && error.contains("(the record time `.t`)"), "{value}: {error}");
        }
    }
}
