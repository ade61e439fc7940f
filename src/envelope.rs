//! Firehose's envelopes for failed records: one JSON object a line, so that tools that read its error output work.
//!
//! Fields and their order are those of real error objects; numbers are JSON numbers, times milliseconds since 1970.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use jiff::Timestamp;
use serde::Serialize;

use crate::record::OversizeRecord;

/// Code for a record that is longer than `max_record_kb`.
pub const RECORD_TOO_LARGE: &str = "Hydrant.RecordTooLarge";

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ProcessingFailed<'a> {
    raw_data: String,
    error_code: &'a str,
    error_message: String,
    attempts_made: u32,
    arrival_timestamp: i64,
    attempt_ending_timestamp: i64,
}

/// The line for a record that is too long: its beginning, its length and its place.
pub fn record_too_large(record: &OversizeRecord, now: Timestamp) -> Bytes {
    let (kept, length) = (record.head.len() as u64, record.length);
    let error_message = format!(
        "the record is {length} bytes long and rawData holds its first {kept}; position {} to {} of {}",
        record.range.start,
        record.range.end,
        record.partition.name()
    );
    let envelope = ProcessingFailed {
        raw_data: STANDARD.encode(&record.head),
        error_code: RECORD_TOO_LARGE,
        error_message,
        attempts_made: 1,
        arrival_timestamp: record.arrival.as_millisecond(),
        attempt_ending_timestamp: now.as_millisecond(),
    };
    // Strings and numbers always serialize.
    let mut line = serde_json::to_vec(&envelope).unwrap_or_default();
    line.push(b'\n');
    Bytes::from(line)
}
