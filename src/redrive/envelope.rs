//! Reading the envelopes of failed records: ours and Firehose's own, one JSON object a line.
//!
//! Always true: whatever a line holds, reading it takes memory in proportion to its length and never panics; a line is
//! either a whole record with its way back into the stream, or it is named unreadable with the reason.
//!
//! Which failure it was is told by the fields that only its envelope has. Numbers may be strings: Firehose's guide shows
//! them so, its real objects have numbers.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde::de::Visitor;
use serde::{Deserialize, Deserializer};

use crate::destination::opensearch::ID_BYTES_MAX;
use crate::envelope::RECORD_TOO_LARGE;
use crate::error_type::{
    CONVERSION_FAILED, HTTP_ENDPOINT_FAILED, METADATA_FAILED, OPENSEARCH_FAILED, PROCESSING_FAILED,
};
use crate::partition::is_index_name;
pub use crate::record::OldId as Old;

/// Error output type of records that could not be decompressed.
pub const DECOMPRESSION_FAILED: &str = "decompression-failed";

/// Codes of dynamic partitioning begin with it.
const PARTITIONING_CODES: &str = "DynamicPartitioning.";
/// Firehose's code is `Decompression failed.`.
const DECOMPRESSION_CODES: &str = "Decompression";
/// Codes of HTTP endpoints begin with it.
const ENDPOINT_CODES: &str = "HttpEndpoint.";

/// At which stage of the data path a record comes in again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Entry {
    /// From the start.
    Processing,
    /// It has been processed: partitioned and converted only.
    Partitioning,
    /// The destination had not taken it.
    Destination,
}

/// A failed record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failed {
    pub entry: Entry,
    /// As it stands in the keys of error objects.
    pub error_type: &'static str,
    pub code: String,
    /// Until now.
    pub attempts: u32,
    /// Milliseconds since 1970, within what a [`Timestamp`] holds.
    pub arrival_ms: i64,
    pub raw: Vec<u8>,
    pub old: Option<Old>,
}

/// Why a line is no failed record that can be sent again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    #[error("it is no envelope of a failed record: {0}")]
    NoEnvelope(String),
    #[error("it has no `{0}`")]
    Missing(&'static str),
    #[error("`{0}` is none that a cluster takes")]
    NoDocument(&'static str),
    #[error("`{0}` is no number within its range")]
    NoNumber(&'static str),
    #[error("`rawData` is not base64")]
    NotBase64,
    #[error("the record was longer than `max_record_kb`, and `rawData` holds only its beginning")]
    Cut,
    #[error("it failed at a Splunk destination, to which hydrant does not deliver")]
    Splunk,
    #[error("it is longer than {0} bytes")]
    TooLong(usize),
}

/// A field that is there, maybe as null.
type Present<T> = Option<Option<T>>;

/// The fields of all envelopes together, as far as they matter here.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Fields {
    raw_data: Option<String>,
    error_code: Option<Scalar>,
    last_error_code: Option<Scalar>,
    attempts_made: Option<Scalar>,
    arrival_timestamp: Option<Scalar>,
    attempt_ending_timestamp: Option<Scalar>,
    data_id: Option<String>,
    #[serde(default, deserialize_with = "present")]
    subsequence_number: Present<serde::de::IgnoredAny>,
    #[serde(default, deserialize_with = "present", alias = "osDocumentId")]
    es_document_id: Present<String>,
    #[serde(default, deserialize_with = "present", alias = "osIndexName")]
    es_index_name: Present<String>,
    #[serde(default, deserialize_with = "present", rename = "EventId")]
    event_id: Present<serde::de::IgnoredAny>,
}

/// A number, or a number as a string.
enum Scalar {
    Integer(i64),
    Float(f64),
    Text(String),
}

/// What a line of an error object holds, without its line end.
pub fn read(line: &[u8]) -> Result<Failed, Unreadable> {
    // An array would pass for its fields in their order.
    if line.trim_ascii_start().first() != Some(&b'{') {
        return Err(Unreadable::NoEnvelope(String::from("a JSON object was expected")));
    }
    let fields: Fields =
        serde_json::from_slice(line).map_err(|error| Unreadable::NoEnvelope(shown(&error.to_string())))?;
    if fields.event_id.is_some() {
        return Err(Unreadable::Splunk);
    }
    let (entry, error_type) = fields.kind();
    let code = fields.last_error_code.as_ref().or(fields.error_code.as_ref());
    let code = code.map(Scalar::text).ok_or(Unreadable::Missing("errorCode"))?;
    // One that is too large for an endpoint is kept whole.
    if entry == Entry::Processing && code == RECORD_TOO_LARGE {
        return Err(Unreadable::Cut);
    }
    let raw = fields.raw_data.as_deref().ok_or(Unreadable::Missing("rawData"))?;
    let raw = STANDARD.decode(raw).map_err(|_| Unreadable::NotBase64)?;
    let (attempts, arrival_ms) = (fields.attempts()?, fields.arrival_ms()?);
    let old = fields.old()?;
    Ok(Failed { entry, error_type, code, attempts, arrival_ms, raw, old })
}

impl Fields {
    fn kind(&self) -> (Entry, &'static str) {
        let code = self.error_code.as_ref().map(Scalar::text).unwrap_or_default();
        if self.last_error_code.is_some() {
            return (Entry::Partitioning, CONVERSION_FAILED);
        }
        if self.is_document() {
            return (Entry::Destination, OPENSEARCH_FAILED);
        }
        if self.data_id.is_some() || self.subsequence_number.is_some() || code.starts_with(ENDPOINT_CODES) {
            return (Entry::Destination, HTTP_ENDPOINT_FAILED);
        }
        match code {
            code if code.starts_with(PARTITIONING_CODES) => (Entry::Partitioning, METADATA_FAILED),
            code if code.starts_with(DECOMPRESSION_CODES) => (Entry::Processing, DECOMPRESSION_FAILED),
            _ => (Entry::Processing, PROCESSING_FAILED),
        }
    }

    fn is_document(&self) -> bool {
        self.es_index_name.is_some() || self.es_document_id.is_some()
    }

    fn attempts(&self) -> Result<u32, Unreadable> {
        let Some(attempts) = &self.attempts_made else { return Ok(0) };
        let attempts = attempts.whole().filter(|attempts| *attempts >= 0);
        let attempts = attempts.ok_or(Unreadable::NoNumber("attemptsMade"))?;
        Ok(u32::try_from(attempts).unwrap_or(u32::MAX))
    }

    fn arrival_ms(&self) -> Result<i64, Unreadable> {
        const NAME: &str = "arrivalTimestamp";
        let arrival = self.arrival_timestamp.as_ref().or(self.attempt_ending_timestamp.as_ref());
        let arrival = arrival.ok_or(Unreadable::Missing(NAME))?;
        let millis = arrival.whole().filter(|millis| Timestamp::from_millisecond(*millis).is_ok());
        millis.ok_or(Unreadable::NoNumber(NAME))
    }

    fn old(self) -> Result<Option<Old>, Unreadable> {
        // Firehose's conversion failures have a `sequenceNumber` of their own, which no destination knows.
        if self.last_error_code.is_some() {
            return Ok(None);
        }
        if self.is_document() {
            let given = |text: Present<String>| text.flatten().filter(|text| !text.is_empty());
            let index = given(self.es_index_name).ok_or(Unreadable::Missing("esIndexName"))?;
            let id = given(self.es_document_id);
            // In a bulk they would be in the way of all documents beside this one.
            if id.as_ref().is_some_and(|id| id.len() > ID_BYTES_MAX) {
                return Err(Unreadable::NoDocument("esDocumentId"));
            }
            if !is_index_name(&index) {
                return Err(Unreadable::NoDocument("esIndexName"));
            }
            return Ok(Some(Old::Document { id, index }));
        }
        Ok(self.data_id.map(|data_id| Old::Endpoint { data_id }))
    }
}

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ScalarVisitor)
    }
}

/// Refuses everything else at its first byte: to keep a long array until it is refused would take many times the line's length.
struct ScalarVisitor;

impl Visitor<'_> for ScalarVisitor {
    type Value = Scalar;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a number or a string")
    }

    fn visit_i64<E>(self, number: i64) -> Result<Scalar, E> {
        Ok(Scalar::Integer(number))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Scalar, E> {
        Ok(i64::try_from(number).map_or(Scalar::Float(number as f64), Scalar::Integer))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Scalar, E> {
        Ok(Scalar::Float(number))
    }

    fn visit_str<E>(self, text: &str) -> Result<Scalar, E> {
        Ok(Scalar::Text(text.to_owned()))
    }
}

impl Scalar {
    fn text(&self) -> String {
        match self {
            Self::Integer(number) => number.to_string(),
            Self::Float(number) => number.to_string(),
            Self::Text(text) => text.clone(),
        }
    }

    fn whole(&self) -> Option<i64> {
        match self {
            Self::Integer(number) => Some(*number),
            // Larger ones are no longer exact.
            Self::Float(number) if number.fract() == 0.0 && number.abs() < 2_f64.powi(53) => Some(*number as i64),
            Self::Float(_) => None,
            Self::Text(text) => text.trim().parse().ok(),
        }
    }
}

fn present<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Present<T>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

/// On one line and of bounded length: it may repeat what stands in the line.
fn shown(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(200).collect()
}

#[cfg(test)]
mod tests;
