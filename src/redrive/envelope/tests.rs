//! Each envelope of Firehose, those that we write ourselves, and lines that are none.

use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::encode::frames::Frame;
use crate::envelope::{Origin, endpoint_failed, failed};
use crate::processing::{ErrorCode, Failure};
use crate::record::{PartitionId, Position, PositionRange};
use crate::requests::Reason;

fn ok(entry: Entry, error_type: &'static str, code: &str) -> Failed {
    let (code, raw) = (code.to_owned(), b"aa".to_vec());
    Failed { entry, error_type, code, attempts: 4, arrival_ms: 1_700_000_000_123, raw, old: None }
}

#[test]
fn a_failed_transform_begins_at_the_start() {
    for arn in [r#","lambdaARN":"arn:aws:lambda:f""#, r#","lambdaArn":null"#, ""] {
        let line = format!(
            r#"{{"rawData":"YWE=","errorCode":"Lambda.FunctionError","errorMessage":"no","attemptsMade":4,
                "arrivalTimestamp":1700000000123,"attemptEndingTimestamp":1700000000456{arn}}}"#
        );
        let expected = ok(Entry::Processing, "processing-failed", "Lambda.FunctionError");
        assert_eq!(read(line.as_bytes()), Ok(expected), "{line}");
    }
}

#[test]
fn what_could_not_be_decompressed_begins_at_the_start() {
    let line = br#"{"rawData":"YWE=","errorCode":"Decompression failed.","errorMessage":"no","attemptsMade":4,
        "arrivalTimestamp":1700000000123,"attemptEndingTimestamp":1700000000456}"#;
    assert_eq!(read(line), Ok(ok(Entry::Processing, "decompression-failed", "Decompression failed.")));
}

#[test]
fn what_had_no_partition_begins_at_partitioning() {
    for code in ["DynamicPartitioning.MetadataExtractionFailed", "DynamicPartitioning.ActivePartitionsLimitExceeded"] {
        let line = format!(
            r#"{{"rawData":"YWE=","errorCode":"{code}","errorMessage":"partitionKeys values must not be null or empty",
                "attemptsMade":4,"arrivalTimestamp":1700000000123,"attemptEndingTimestamp":1,"lambdaARN":"a"}}"#
        );
        assert_eq!(read(line.as_bytes()), Ok(ok(Entry::Partitioning, "metadata-extraction-failed", code)));
    }
}

#[test]
fn what_was_not_converted_begins_at_partitioning() {
    let line = br#"{"attemptsMade":4,"arrivalTimestamp":1700000000123,
        "lastErrorCode":"DataFormatConversion.MalformedData","lastErrorMessage":"no","attemptEndingTimestamp":1,
        "rawData":"YWE=","sequenceNumber":"49607357361271740811418664280693044274821622880012337186",
        "subSequenceNumber":0,"dataCatalogTable":{"catalogId":"1","databaseName":"d","tableName":"t","region":"r",
        "versionId":"LATEST","catalogArn":null}}"#;
    let expected = ok(Entry::Partitioning, "format-conversion-failed", "DataFormatConversion.MalformedData");
    assert_eq!(read(line), Ok(expected));
}

#[test]
fn what_an_endpoint_has_not_taken_keeps_its_data_id() {
    let line = br#"{"attemptsMade":4,"arrivalTimestamp":1700000000123,"errorCode":"HttpEndpoint.DestinationException",
        "errorMessage":"no","attemptEndingTimestamp":1,"rawData":"YWE=","subsequenceNumber":0,
        "dataId":"49607357361271740811418664280693044274821622880012337186.0"}"#;
    let data_id = "49607357361271740811418664280693044274821622880012337186.0".to_owned();
    let expected = ok(Entry::Destination, "http-endpoint-failed", "HttpEndpoint.DestinationException");
    assert_eq!(read(line), Ok(Failed { old: Some(Old::Endpoint { data_id }), ..expected }));
}

#[test]
fn a_document_keeps_its_id_and_its_index() {
    for (id, id_field) in [(Some("7f.0"), r#""7f.0""#), (None, "null"), (None, r#""""#)] {
        let of_service = format!(
            r#"{{"attemptsMade":4,"arrivalTimestamp":1700000000123,"errorCode":400,"errorMessage":"no",
                "attemptEndingTimestamp":1,"esDocumentId":{id_field},"esIndexName":"web-2026-11-21","esTypeName":"",
                "rawData":"YWE="}}"#
        );
        let of_serverless = of_service.replace("\"es", "\"os").replace(r#""osTypeName":"","#, "");
        let expected = ok(Entry::Destination, "AmazonOpenSearchService-failed", "400");
        let old = Some(Old::Document { id: id.map(str::to_owned), index: "web-2026-11-21".to_owned() });
        for line in [of_service, of_serverless] {
            assert_eq!(read(line.as_bytes()), Ok(Failed { old: old.clone(), ..expected.clone() }), "{line}");
        }
    }
}

/// They would be in the way of all others in a bulk.
#[test]
fn names_that_no_cluster_takes_are_told() {
    let line = |id: &str, index: &str| {
        let envelope = serde_json::json!({
            "attemptsMade": 4, "arrivalTimestamp": 1, "errorCode": "400", "esDocumentId": id, "esIndexName": index,
            "rawData": "YWE=",
        });
        read(envelope.to_string().as_bytes())
    };
    let long = "x".repeat(512);
    assert!(line(&long, &long[..255]).is_ok() && line("\"é\n", ".ds-web-000001").is_ok());
    assert_eq!(line(&(long.clone() + "x"), "web"), Err(Unreadable::NoDocument("esDocumentId")));
    for index in [&long[..256], "Web", "a,b", "<web-{now/d}>", "-web", "_all", "..", "a b", "a\nb", "*"] {
        assert_eq!(line("x", index), Err(Unreadable::NoDocument("esIndexName")), "{index}");
    }
}

#[test]
fn numbers_may_be_strings() {
    let line = br#"{"attemptsMade":"4","arrivalTimestamp":"1700000000123","errorCode":"503","errorMessage":"no",
        "attemptEndingTimestamp":"1700000000456","esDocumentId":"7","esIndexName":"web","esTypeName":"t",
        "rawData":"YWE="}"#;
    let old = Some(Old::Document { id: Some("7".to_owned()), index: "web".to_owned() });
    assert_eq!(read(line), Ok(Failed { old, ..ok(Entry::Destination, "AmazonOpenSearchService-failed", "503") }));
    let float = br#"{"attemptsMade":4.0,"arrivalTimestamp":1.700000000123e12,"errorCode":"a","rawData":"YWE="}"#;
    assert_eq!(read(float), Ok(ok(Entry::Processing, "processing-failed", "a")));
}

#[test]
fn our_own_envelopes_are_read() {
    let at = |millis| Timestamp::from_millisecond(millis).unwrap();
    for code in [
        ErrorCode::ProcessingFailed,
        ErrorCode::TransformFailed,
        ErrorCode::TransformRefused,
        ErrorCode::NoPartition,
        ErrorCode::NotJson,
        ErrorCode::NotInSchema,
    ] {
        let failure = Failure { code, attempts: 4, ..Failure::new("no") };
        let origin = Origin {
            place: "here",
            partition: PartitionId(7),
            position: Position::at(100),
            number: 1,
            arrival: at(1_700_000_000_123),
        };
        let line = failed(b"aa", &failure, origin, at(1_700_000_000_456));
        let found = read(&line).unwrap();
        let error_type = code.error_type().name();
        let entry = if error_type == PROCESSING_FAILED { Entry::Processing } else { Entry::Partitioning };
        assert_eq!(found, ok(entry, error_type, crate::envelope::code_name(code)));
    }
    let range = PositionRange::new(4096, 4100);
    let frame = Frame {
        partition: PartitionId(7),
        range,
        ordinal: 2,
        arrival_ms: 1_700_000_000_123,
        earlier: b"",
        data: b"aa",
    };
    let reason =
        Reason { code: String::from("Hydrant.RecordMisfits"), message: String::new(), attempts: 4, ended_ms: 5 };
    let data_id = String::from("700000000000000004096.2");
    let expected = ok(Entry::Destination, "http-endpoint-failed", "Hydrant.RecordMisfits");
    let found = read(&endpoint_failed(&frame, &reason)).unwrap();
    assert_eq!(found, Failed { old: Some(Old::Endpoint { data_id }), ..expected });
}

#[test]
fn an_envelope_of_an_endpoint_without_its_data_id_goes_to_the_endpoint() {
    for field in [r#","subsequenceNumber":0"#, ""] {
        let line = format!(
            r#"{{"rawData":"YWE=","errorCode":"HttpEndpoint.ConnectionRefused","attemptsMade":4,
                "arrivalTimestamp":1700000000123{field}}}"#
        );
        let expected = ok(Entry::Destination, "http-endpoint-failed", "HttpEndpoint.ConnectionRefused");
        assert_eq!(read(line.as_bytes()), Ok(expected));
    }
}

#[test]
fn lines_that_are_no_failed_records_are_named() {
    let with = |fields: &str| read(format!(r#"{{"errorCode":"a","attemptsMade":1{fields}}}"#).as_bytes()).unwrap_err();
    let at = r#","arrivalTimestamp":1"#;
    assert_eq!(with(at), Unreadable::Missing("rawData"));
    assert_eq!(with(r#","rawData":null"#), Unreadable::Missing("rawData"));
    assert_eq!(with(r#","rawData":"YWE=""#), Unreadable::Missing("arrivalTimestamp"));
    for raw in ["YW E=", "YWE", "*", "YWE=YWE="] {
        assert_eq!(with(&format!(r#"{at},"rawData":"{raw}""#)), Unreadable::NotBase64, "{raw}");
    }
    for arrival in ["\"soon\"", "1e300", "0.5", "9223372036854775807", "-377705116799001"] {
        let found = with(&format!(r#","arrivalTimestamp":{arrival},"rawData":"""#));
        assert_eq!(found, Unreadable::NoNumber("arrivalTimestamp"), "{arrival}");
    }
    assert_eq!(with(&format!(r#"{at},"rawData":"","esIndexName":null"#)), Unreadable::Missing("esIndexName"));
    assert_eq!(with(&format!(r#"{at},"rawData":"YWE=","EventId":"1.0""#)), Unreadable::Splunk);
    let negative = br#"{"errorCode":"a","attemptsMade":-1,"arrivalTimestamp":1,"rawData":""}"#;
    assert_eq!(read(negative), Err(Unreadable::NoNumber("attemptsMade")));
    let cut = br#"{"errorCode":"Hydrant.RecordTooLarge","attemptsMade":1,"arrivalTimestamp":1,"rawData":"YWE="}"#;
    assert_eq!(read(cut), Err(Unreadable::Cut));
    assert_eq!(read(br#"{"arrivalTimestamp":1,"rawData":""}"#), Err(Unreadable::Missing("errorCode")));
}

#[test]
fn what_is_neither_number_nor_string_is_refused_at_once() {
    for (value, found) in [("[0,0]", "sequence"), ("{\"a\":0}", "map"), ("true", "boolean")] {
        // Nothing is looked at behind the value's first byte: the rest of the line is not even JSON.
        let line = format!(r#"{{"rawData":"","arrivalTimestamp":1,"errorCode":{value}"#);
        let Err(Unreadable::NoEnvelope(reason)) = read(line.as_bytes()) else { panic!("{line}") };
        assert!(reason.contains(found) && reason.contains("expected a number or a string"), "{reason}");
    }
}

#[test]
fn hostile_lines_are_no_envelopes() {
    let deep = "[".repeat(100_000);
    let twice = r#"{"rawData":"YWE=","rawData":"YmI=","errorCode":"a","arrivalTimestamp":1}"#;
    let two = r#"{"rawData":"YWE=","errorCode":"a","arrivalTimestamp":1}{}"#;
    let both = r#"{"rawData":"","errorCode":"a","arrivalTimestamp":1,"esIndexName":"a","osIndexName":"b"}"#;
    let inner = format!(r#"{{"rawData":"","errorCode":"a","arrivalTimestamp":1,"more":{deep}"#);
    let array = r#"["YWE=","a",null,1,1,1,null,null,null,null,null]"#;
    for line in
        [array, "", " ", "null", "7", "[]", "[1]", "\u{0}", "{", "a line of a log", &deep, twice, two, both, &inner]
    {
        assert!(matches!(read(line.as_bytes()), Err(Unreadable::NoEnvelope(_) | Unreadable::Missing(_))), "{line:.60}");
    }
    assert!(matches!(read(b"\xff\xfe{}"), Err(Unreadable::NoEnvelope(_))));
    let long = format!("\"{}\"", "a\n".repeat(10_000));
    let Err(Unreadable::NoEnvelope(reason)) = read(long.as_bytes()) else { panic!("an envelope") };
    assert!(reason.chars().count() <= 200 && !reason.contains('\n'));
}

proptest! {
    #[test]
    fn every_record_comes_out_as_it_went_in(raw in prop::collection::vec(any::<u8>(), 0..300), attempts in any::<u32>()) {
        let failure = Failure { attempts, table: None, ..Failure::new("no") };
        let arrival = Timestamp::from_millisecond(5).unwrap();
        let line = failed(&raw, &failure, Origin { place: "\"", partition: PartitionId(7), position: Position::at(1), number: 0, arrival }, arrival);
        let found = read(&line).unwrap();
        prop_assert_eq!((found.raw, found.attempts), (raw, attempts));
    }

    #[test]
    fn no_line_makes_it_panic(line in prop::collection::vec(any::<u8>(), 0..100), cut in 0_usize..200, flip in any::<u8>()) {
        let _ = read(&line);
        let mut envelope = br#"{"rawData":"YWE=","errorCode":"a","attemptsMade":"4","arrivalTimestamp":1,"dataId":"1.0",
            "esIndexName":"b","lastErrorCode":7}"#.to_vec();
        let at = cut % envelope.len();
        envelope[at] = flip;
        let _ = read(&envelope);
        let _ = read(&envelope[..at]);
    }
}

#[test]
fn the_table_of_a_failed_conversion_is_passed_over() {
    let table = crate::envelope::DataCatalogTable {
        catalog_id: None,
        database_name: None,
        table_name: String::from("access"),
        region: None,
        version_id: None,
        role_arn: None,
    };
    let failure = Failure { code: ErrorCode::NotJson, table: Some(Arc::new(table)), ..Failure::new("no") };
    let arrival = Timestamp::from_millisecond(5).unwrap();
    let line = failed(
        b"{",
        &failure,
        Origin { place: "", partition: PartitionId(7), position: Position::at(1), number: 0, arrival },
        arrival,
    );
    assert_eq!(read(&line).unwrap().entry, Entry::Partitioning);
}
