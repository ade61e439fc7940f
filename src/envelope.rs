//! Firehose's envelopes for failed records: one JSON object a line, so that tools that read its error output work.
//!
//! Fields and their order are those of real error objects; numbers are JSON numbers, times milliseconds since 1970.

use bytes::Bytes;
use jiff::Timestamp;
use serde::Serialize;

use crate::convert;
use crate::encode::base64;
use crate::encode::frames::Frame;
use crate::processing::{ErrorCode, ErrorType, Failure};
use crate::record::{
    Chunk, Earlier, OldId, PartitionId, Position, PositionRange, Refusal, RefusedRecord, SourcePartition,
};
use crate::requests::Reason;

/// Code for a record that is longer than `max_record_kb`.
pub const RECORD_TOO_LARGE: &str = "Hydrant.RecordTooLarge";
/// Code for a record that has no place in the requests of its destination.
pub const RECORD_MISFITS: &str = "Hydrant.RecordMisfits";
/// Code for a record that a processor has refused.
pub const PROCESSING_FAILED: &str = "Hydrant.ProcessingFailed";
/// Firehose's code for a function that has not answered as it should.
pub const FUNCTION_ERROR: &str = "Lambda.FunctionError";
/// Firehose's code for a record that the function itself calls failed.
pub const PROCESSING_FAILED_STATUS: &str = "Lambda.ProcessingFailedStatus";

/// Firehose's code for a record that dynamic partitioning cannot place.
pub const METADATA_EXTRACTION_FAILED: &str = "DynamicPartitioning.MetadataExtractionFailed";

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ProcessingFailed<'a> {
    raw_data: String,
    error_code: &'a str,
    error_message: String,
    attempts_made: u32,
    arrival_timestamp: i64,
    attempt_ending_timestamp: i64,
    /// Spelled as in real error objects.
    #[serde(rename = "lambdaARN", skip_serializing_if = "Option::is_none")]
    lambda_arn: Option<&'a str>,
}

/// The line for a record that its source has refused: the reason, its place, and its beginning or all of it.
pub fn refused(record: &RefusedRecord, now: Timestamp) -> Bytes {
    let (error_code, reason) = match &record.why {
        Refusal::TooLong => {
            let (kept, length) = (record.head.len(), record.length);
            (RECORD_TOO_LARGE, format!("the record is {length} bytes long and rawData holds its first {kept}"))
        }
        Refusal::Unfit { code, reason } => (*code, reason.clone()),
    };
    let error_message = format!("{reason}; {}", place_of(record.range, record.partition.as_ref()));
    let envelope = ProcessingFailed {
        raw_data: base64::text(&record.head),
        error_code,
        error_message,
        attempts_made: 1,
        arrival_timestamp: record.arrival.as_millisecond(),
        attempt_ending_timestamp: now.as_millisecond(),
        lambda_arn: None,
    };
    envelope.line()
}

/// As it is written in `errorCode`.
pub fn code_name(code: ErrorCode) -> &'static str {
    match code {
        ErrorCode::ProcessingFailed => PROCESSING_FAILED,
        ErrorCode::TransformFailed => FUNCTION_ERROR,
        ErrorCode::TransformRefused => PROCESSING_FAILED_STATUS,
        ErrorCode::NoPartition => METADATA_EXTRACTION_FAILED,
        ErrorCode::NotJson => convert::ErrorCode::ParseError.name(),
        ErrorCode::NotInSchema => convert::ErrorCode::MalformedData.name(),
    }
}

/// What Firehose writes of a record that it could not convert, its fields in their order.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ConversionFailed<'a> {
    attempts_made: u32,
    arrival_timestamp: i64,
    last_error_code: &'a str,
    last_error_message: String,
    attempt_ending_timestamp: i64,
    raw_data: String,
    sequence_number: String,
    /// Which of the record's failed objects it is, from 0; of a stream's record the place in its aggregate.
    sub_sequence_number: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    data_catalog_table: Option<&'a DataCatalogTable>,
}

/// The table by which a record could not be converted, as Firehose names it; null is what the registry does not have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DataCatalogTable {
    pub catalog_id: Option<String>,
    pub database_name: Option<String>,
    pub table_name: String,
    pub region: Option<String>,
    pub version_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role_arn: Option<String>,
}

/// Where a failed part of a record comes from.
#[derive(Debug, Clone, Copy)]
pub struct Origin<'a> {
    /// For people.
    pub place: &'a str,
    pub partition: PartitionId,
    pub position: Position,
    /// Which of the record's parts that failed in the same way it is, from 0.
    pub number: usize,
    pub arrival: Timestamp,
}

/// The line for a record that has failed, in the shape that Firehose has for failures of its kind.
pub fn failed(raw: &[u8], failure: &Failure, origin: Origin<'_>, now: Timestamp) -> Bytes {
    let Origin { place, partition, position, number, arrival } = origin;
    match failure.code.error_type() {
        ErrorType::Processing | ErrorType::Metadata => processing_failed(raw, failure, place, arrival, now),
        ErrorType::Conversion => line(&ConversionFailed {
            attempts_made: failure.attempts,
            arrival_timestamp: arrival.as_millisecond(),
            last_error_code: code_name(failure.code),
            last_error_message: format!("{}; {place}", failure.message),
            attempt_ending_timestamp: now.as_millisecond(),
            raw_data: base64::text(raw),
            sequence_number: position.record().map_or_else(
                || sequence_number(partition, position),
                |(sequence_number, _)| sequence_number.to_string(),
            ),
            sub_sequence_number: position
                .record()
                .map_or(number as u64, |(_, sub_sequence_number)| sub_sequence_number),
            data_catalog_table: failure.table.as_deref(),
        }),
    }
}

/// The line for a record that has failed in processing.
fn processing_failed(raw: &[u8], failure: &Failure, place: &str, arrival: Timestamp, now: Timestamp) -> Bytes {
    let envelope = ProcessingFailed {
        raw_data: base64::text(raw),
        error_code: code_name(failure.code),
        error_message: format!("{}; {place}", failure.message),
        attempts_made: failure.attempts,
        arrival_timestamp: arrival.as_millisecond(),
        attempt_ending_timestamp: now.as_millisecond(),
        lambda_arn: failure.arn.as_deref(),
    };
    envelope.line()
}

/// What Firehose writes of a record that an HTTP endpoint has not taken, its fields in their order.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct EndpointFailed<'a> {
    attempts_made: u32,
    arrival_timestamp: i64,
    error_code: &'a str,
    error_message: &'a str,
    attempt_ending_timestamp: i64,
    raw_data: String,
    subsequence_number: u64,
    data_id: String,
}

/// The line for a record that an HTTP endpoint has not taken.
pub fn endpoint_failed(frame: &Frame<'_>, reason: &Reason) -> Bytes {
    let earlier = Earlier::decode(frame.earlier).unwrap_or_default();
    let sequence_number = sequence_number(frame.partition, frame.range.record());
    let (data_id, subsequence_number) = match earlier.id {
        Some(OldId::Endpoint { data_id }) => {
            let number = data_id.rsplit_once('.').and_then(|(_, number)| number.parse().ok());
            (data_id, number.unwrap_or(frame.ordinal))
        }
        Some(OldId::Document { .. }) | None => (format!("{sequence_number}.{}", frame.ordinal), frame.ordinal),
    };
    line(&EndpointFailed {
        attempts_made: reason.attempts.saturating_add(earlier.attempts),
        arrival_timestamp: frame.arrival_ms,
        error_code: &reason.code,
        error_message: &reason.message,
        attempt_ending_timestamp: reason.ended_ms,
        raw_data: base64::text(frame.data),
        subsequence_number,
        data_id,
    })
}

/// What Firehose writes of a document that the cluster has not taken, its fields in their order.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct OfDocument<'a> {
    attempts_made: u32,
    arrival_timestamp: i64,
    error_code: &'a str,
    error_message: &'a str,
    attempt_ending_timestamp: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    es_document_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    es_index_name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    es_type_name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    os_document_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    os_index_name: Option<&'a str>,
    raw_data: String,
}

/// A document of OpenSearch that was not taken.
#[derive(Debug, Clone, Copy)]
pub struct FailedDocument<'a> {
    /// Empty where the cluster would have made one.
    pub id: &'a str,
    pub index: &'a str,
    /// Empty where documents have no types.
    pub type_name: &'a str,
    /// Serverless has names of its own for the fields.
    pub is_serverless: bool,
}

/// The line for a document that OpenSearch has not taken.
pub fn document_failed(frame: &Frame<'_>, reason: &Reason, document: &FailedDocument<'_>) -> Bytes {
    let earlier = Earlier::decode(frame.earlier).unwrap_or_default();
    let is_serverless = document.is_serverless;
    let of_cluster = |text| (!is_serverless).then_some(text);
    let of_serverless = |text| is_serverless.then_some(text);
    line(&OfDocument {
        attempts_made: reason.attempts.saturating_add(earlier.attempts),
        arrival_timestamp: frame.arrival_ms,
        error_code: &reason.code,
        error_message: &reason.message,
        attempt_ending_timestamp: reason.ended_ms,
        es_document_id: of_cluster(document.id),
        es_index_name: of_cluster(document.index),
        es_type_name: of_cluster(document.type_name),
        os_document_id: of_serverless(document.id),
        os_index_name: of_serverless(document.index),
        raw_data: base64::text(frame.data),
    })
}

/// As in a shard, a later record has a larger number: the source partition's, and twenty digits for the position in it.
fn sequence_number(partition: PartitionId, position: Position) -> String {
    match position.record() {
        // A part of an aggregated record has the number of the whole.
        Some((sequence_number, 0)) => sequence_number.to_string(),
        Some((sequence_number, sub_sequence_number)) => format!("{sequence_number}.{sub_sequence_number}"),
        None => format!("{}{:020}", partition.0, position.offset()),
    }
}

/// The line for a record that failed in an earlier life and passes in this one.
pub fn failed_before(chunk: &Chunk, index: usize, now: Timestamp) -> Bytes {
    let place = place(chunk, index);
    let (attempts, arrival) = first_attempts(chunk, index);
    let failure = Failure::new("the record had failed before a restart").after(attempts);
    processing_failed(&chunk.bytes(index, index + 1), &failure, &place, arrival, now)
}

/// How many attempts were made with record `index` of a chunk before it was redriven, and when it arrived at first.
pub fn first_attempts(chunk: &Chunk, index: usize) -> (u32, Timestamp) {
    let earlier = chunk.earlier(index);
    let arrival = earlier.and_then(Earlier::arrival).unwrap_or_else(|| chunk.arrival(index));
    (earlier.map_or(0, |earlier| earlier.attempts), arrival)
}

/// Where record `index` of a chunk stands, for people.
pub fn place(chunk: &Chunk, index: usize) -> String {
    let place = place_of(chunk.range(index, index + 1), chunk.partition.as_ref());
    match &chunk.origins {
        Some(origins) => format!("{place}, partition key `{}`", origins.partition_key(index)),
        None => place,
    }
}

fn place_of(range: PositionRange, partition: &dyn SourcePartition) -> String {
    let name = partition.name();
    match range.end.record() {
        Some((sequence_number, 0)) => format!("sequence number {sequence_number} of {name}"),
        Some((sequence_number, sub)) => {
            format!("sequence number {sequence_number}, sub-sequence number {sub}, of {name}")
        }
        None => format!("position {} to {} of {name}", range.start, range.end),
    }
}

impl ProcessingFailed<'_> {
    fn line(&self) -> Bytes {
        line(self)
    }
}

fn line(envelope: &impl Serialize) -> Bytes {
    // Strings and numbers always serialize.
    let mut line = serde_json::to_vec(envelope).unwrap_or_default();
    line.push(b'\n');
    Bytes::from(line)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::memory::MemoryBudget;
    use crate::record::{OriginsOfChunk, PositionRange, SourcePartition};

    struct File;

    impl SourcePartition for File {
        fn id(&self) -> PartitionId {
            PartitionId(1)
        }

        fn name(&self) -> String {
            String::from("/var/log/\"odd\".log")
        }

        fn evidence(&self, _: Position) -> Option<crate::record::PlacedEvidence> {
            None
        }

        fn settled(&self, _: Position) {}
    }

    #[test]
    fn the_place_of_a_stream_s_record_has_its_partition_key() {
        let mut origins = OriginsOfChunk::default();
        ["of the first", "of the second"].iter().for_each(|key| origins.push(key, Timestamp::UNIX_EPOCH));
        let budget = MemoryBudget::new(1 << 20).join();
        let chunk = Chunk {
            partition: Arc::new(File),
            start: Position::at(0),
            data: Bytes::from_static(b"abc"),
            ends: Arc::new(vec![1, 3]),
            delimiter_len: 0,
            last_is_bare: false,
            source_ends: None,
            made: None,
            record_ends: None,
            partitions: None,
            rows: None,
            origins: Some(origins.into()),
            earlier: None,
            is_processed: false,
            arrival: Timestamp::UNIX_EPOCH,
            failed_at: None,
            permit: budget.acquire(1, &CancellationToken::new(), Duration::from_secs(1)).unwrap(),
        };
        assert_eq!(place(&chunk, 1), "position 1 to 3 of /var/log/\"odd\".log, partition key `of the second`");
    }

    #[test]
    fn what_an_endpoint_has_not_taken_has_firehoses_fields_in_their_order() {
        let range = PositionRange::new(4096, 4100);
        let frame = Frame {
            partition: PartitionId(7),
            range,
            ordinal: 2,
            arrival_ms: 1_700_000_000_123,
            earlier: b"",
            data: b"aa",
        };
        let reason = Reason {
            code: String::from("HttpEndpoint.DestinationException"),
            message: String::from("no"),
            attempts: 5,
            ended_ms: 1_700_000_300_456,
        };
        assert_eq!(
            std::str::from_utf8(&endpoint_failed(&frame, &reason)).unwrap(),
            concat!(
                r#"{"attemptsMade":5,"arrivalTimestamp":1700000000123,"errorCode":"HttpEndpoint.DestinationException","#,
                r#""errorMessage":"no","attemptEndingTimestamp":1700000300456,"rawData":"YWE=","subsequenceNumber":2,"#,
                r#""dataId":"700000000000000004096.2"}"#,
                "\n"
            )
        );
        let id = Some(OldId::Endpoint { data_id: String::from("300000000000000000017.4") });
        let earlier = Earlier { attempts: 7, arrival_ms: frame.arrival_ms, id }.encode();
        let again = endpoint_failed(&Frame { earlier: &earlier, ..frame }, &reason);
        let again: serde_json::Value = serde_json::from_slice(&again).unwrap();
        let expected = serde_json::json!([12, "300000000000000000017.4", 4]);
        assert_eq!(serde_json::json!([again["attemptsMade"], again["dataId"], again["subsequenceNumber"]]), expected);
    }

    #[test]
    fn a_documents_envelope_names_its_id_and_its_index() {
        let range = PositionRange::new(4096, 5000);
        let frame = Frame {
            partition: PartitionId(7),
            range,
            ordinal: 2,
            arrival_ms: 1_700_000_000_123,
            earlier: b"",
            data: b"{}",
        };
        let reason = Reason {
            code: String::from("400"),
            message: String::from("mapper_parsing_exception: no"),
            attempts: 1,
            ended_ms: 1_700_000_000_456,
        };
        let mut document = FailedDocument { id: "x", index: "web-2026-11-21", type_name: "", is_serverless: false };
        assert_eq!(
            std::str::from_utf8(&document_failed(&frame, &reason, &document)).unwrap(),
            concat!(
                r#"{"attemptsMade":1,"arrivalTimestamp":1700000000123,"errorCode":"400","#,
                r#""errorMessage":"mapper_parsing_exception: no","attemptEndingTimestamp":1700000000456,"#,
                r#""esDocumentId":"x","esIndexName":"web-2026-11-21","esTypeName":"","rawData":"e30="}"#,
                "\n"
            )
        );
        document.is_serverless = true;
        assert_eq!(
            std::str::from_utf8(&document_failed(&frame, &reason, &document)).unwrap(),
            concat!(
                r#"{"attemptsMade":1,"arrivalTimestamp":1700000000123,"errorCode":"400","#,
                r#""errorMessage":"mapper_parsing_exception: no","attemptEndingTimestamp":1700000000456,"#,
                r#""osDocumentId":"x","osIndexName":"web-2026-11-21","rawData":"e30="}"#,
                "\n"
            )
        );
        let id = Some(OldId::Document { id: None, index: String::from("web") });
        let earlier = Earlier { attempts: 7, arrival_ms: frame.arrival_ms, id }.encode();
        let again = document_failed(&Frame { earlier: &earlier, ..frame }, &reason, &document);
        assert!(again.starts_with(b"{\"attemptsMade\":8,"), "{again:?}");
    }

    #[test]
    fn the_envelope_is_firehoses_one_object_a_line() {
        let budget = MemoryBudget::new(1 << 20).join();
        let record = RefusedRecord {
            partition: Arc::new(File),
            range: PositionRange::new(100, 2101),
            head: Bytes::from_static(b"\xff\x00first"),
            length: 2000,
            why: Refusal::TooLong,
            arrival: Timestamp::from_millisecond(1_700_000_000_123).unwrap(),
            failed_at: None,
            permit: budget.acquire(100, &CancellationToken::new(), Duration::from_secs(1)).unwrap(),
        };
        let line = refused(&record, Timestamp::from_millisecond(1_700_000_000_456).unwrap());
        assert_eq!(
            std::str::from_utf8(&line).unwrap(),
            concat!(
                r#"{"rawData":"/wBmaXJzdA==","errorCode":"Hydrant.RecordTooLarge","#,
                r#""errorMessage":"the record is 2000 bytes long and rawData holds its first 7; position 100 to 2101 of "#,
                r#"/var/log/\"odd\".log","attemptsMade":1,"arrivalTimestamp":1700000000123,"#,
                r#""attemptEndingTimestamp":1700000000456}"#,
                "\n"
            )
        );
    }

    #[test]
    fn a_conversions_envelope_names_the_table() {
        let at = |millis| Timestamp::from_millisecond(millis).unwrap();
        let table = DataCatalogTable {
            catalog_id: None,
            database_name: Some(String::from("web")),
            table_name: String::from("access"),
            region: Some(String::from("eu-west-1")),
            version_id: Some(String::from("3")),
            role_arn: None,
        };
        let failure = Failure { code: ErrorCode::NotInSchema, table: Some(Arc::new(table)), ..Failure::new("no") };
        let origin =
            Origin { place: "here", partition: PartitionId(7), position: Position::at(100), number: 1, arrival: at(5) };
        let line = failed(b"{}", &failure, origin, at(7));
        assert_eq!(
            std::str::from_utf8(&line).unwrap(),
            concat!(
                r#"{"attemptsMade":1,"arrivalTimestamp":5,"lastErrorCode":"DataFormatConversion.MalformedData","#,
                r#""lastErrorMessage":"no; here","attemptEndingTimestamp":7,"rawData":"e30=","sequenceNumber":"700000000000000000100","#,
                r#""subSequenceNumber":1,"dataCatalogTable":{"catalogId":null,"databaseName":"web","tableName":"access","#,
                r#""region":"eu-west-1","versionId":"3"}}"#,
                "\n"
            )
        );
    }
}
