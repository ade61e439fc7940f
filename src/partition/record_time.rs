//! The time of a record, from one of its fields.
//!
//! Always true: it depends on the record alone.

use std::sync::Arc;

use jiff::Timestamp;

use crate::convert::TimestampFormats;

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
}

impl RecordTime {
    /// `field` is a name, or names with dots between them.
    pub fn new(field: &str, formats: TimestampFormats) -> Result<Self, QueryError> {
        Ok(Self { field: Arc::new(Query::compile(&format!(".{field}"))?), formats: Arc::new(formats) })
    }

    /// The time of a record.
    pub fn of(&self, record: &[u8]) -> Result<Timestamp, RecordTimeError> {
        let field = || self.field.text().to_owned();
        let value = self.field.value(record).map_err(|error| RecordTimeError::Value { field: field(), error })?;
        let micros = self.formats.micros(&value);
        let time = micros.and_then(|micros| Timestamp::from_microsecond(micros).ok());
        time.ok_or_else(|| RecordTimeError::NoTime { field: field(), value })
    }
}
