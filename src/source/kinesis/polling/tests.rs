//! The reader against a scripted server: what it asks for, and what it makes of each answer.

use std::ops::Range;
use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use proptest::prelude::*;
use serde_json::{Value as Json, json};

use super::*;
use crate::source::kinesis::page::{ChildShard, HashKeyRange};
use crate::source::kinesis::testing::{Answer as Http, Seen, client, http, http_with, scripted, serve};

const SHARD: &str = "shardId-000000000001";
const KEYS_MAX: &str = "340282366920938463463374607431768211455";

fn options() -> PollingOptions {
    let limits = ShardLimits { call_interval: Duration::ZERO, bytes_per_second: u64::MAX };
    PollingOptions { max_records: 1000, poll_interval: Duration::ZERO, limits }
}

fn reader(client: KinesisClient, start: StartingPosition) -> PollingReader {
    PollingReader::new(client, SHARD.to_owned(), start, options())
}

fn records(numbers: Range<u64>) -> Json {
    let record = |number: u64| {
        json!({ "SequenceNumber": number.to_string(), "PartitionKey": "k", "ApproximateArrivalTimestamp": 1_700_000_000.5,
            "Data": BASE64_STANDARD.encode(format!("record {number}")) })
    };
    numbers.map(record).collect()
}

fn page(numbers: Range<u64>, next: &str, behind: u64) -> Http {
    Http::Ok(json!({ "Records": records(numbers), "NextShardIterator": next, "MillisBehindLatest": behind }))
}

fn end(numbers: Range<u64>) -> Http {
    Http::Ok(json!({ "Records": records(numbers), "MillisBehindLatest": 0 }))
}

fn iterator(text: &str) -> Http {
    Http::Ok(json!({ "ShardIterator": text }))
}

fn numbers(page: &Page) -> Vec<u64> {
    page.records.iter().map(|record| record.sequence_number.to_string().parse().unwrap()).collect()
}

fn number(value: u64) -> crate::sequence_number::SequenceNumber {
    value.to_string().parse().unwrap()
}

/// Each call in a word or two.
fn said(seen: &Arc<Mutex<Vec<Seen>>>) -> Vec<String> {
    let text = |input: &Json, key: &str| input[key].as_str().unwrap_or_default().to_owned();
    let line = |call: &Seen| match call.operation.as_str() {
        "GetShardIterator" => {
            let place = (text(&call.input, "ShardIteratorType"), text(&call.input, "StartingSequenceNumber"));
            format!("{} {}", place.0, place.1).trim_end().to_owned()
        }
        _ => format!("get {}", text(&call.input, "ShardIterator")),
    };
    seen.lock().unwrap().iter().map(line).collect()
}

#[tokio::test]
async fn it_begins_where_it_is_told() {
    let time: jiff::Timestamp = "2026-01-02T03:04:05.678Z".parse().unwrap();
    for (start, expected) in [
        (StartingPosition::TrimHorizon, json!({ "ShardIteratorType": "TRIM_HORIZON" })),
        (
            StartingPosition::AtTimestamp(time),
            json!({ "ShardIteratorType": "AT_TIMESTAMP", "Timestamp": 1767323045.678 }),
        ),
        (
            StartingPosition::At(number(7)),
            json!({ "ShardIteratorType": "AT_SEQUENCE_NUMBER", "StartingSequenceNumber": "7" }),
        ),
        (
            StartingPosition::After(number(7)),
            json!({ "ShardIteratorType": "AFTER_SEQUENCE_NUMBER", "StartingSequenceNumber": "7" }),
        ),
    ] {
        let (url, seen) = scripted(vec![iterator("i"), page(10..12, "j", 5)]).await;
        let page = reader(client(&url), start).next().await.unwrap();
        assert_eq!((numbers(&page), page.behind_ms, &page.ended), (vec![10, 11], Some(5), &None));
        let record = &page.records[0];
        assert_eq!((record.data.as_ref(), record.partition_key.as_str()), (&b"record 10"[..], "k"));
        assert_eq!(record.arrival.unwrap().as_millisecond(), 1_700_000_000_500);
        let seen = seen.lock().unwrap();
        let mut input = expected;
        input["StreamName"] = json!("clicks");
        input["ShardId"] = json!(SHARD);
        assert_eq!(seen[0].input, input);
        assert_eq!(seen[1].input, json!({ "ShardIterator": "i", "Limit": 1000 }));
    }
}

#[tokio::test]
async fn latest_is_refused_without_a_call() {
    let (url, seen) = scripted(Vec::new()).await;
    let error = reader(client(&url), StartingPosition::Latest).next().await.unwrap_err();
    assert!(matches!(error, ReadError::Refused { .. }), "{error}");
    assert!(seen.lock().unwrap().is_empty());
}

#[tokio::test]
async fn empty_pages_go_on() {
    let answers = vec![iterator("a"), page(0..0, "b", 900), page(0..0, "c", 900), page(3..5, "d", 0)];
    let (url, seen) = scripted(answers).await;
    let mut reader = reader(client(&url), StartingPosition::TrimHorizon);
    for (expected, behind) in [(vec![], 900), (vec![], 900), (vec![3, 4], 0)] {
        let page = reader.next().await.unwrap();
        assert_eq!((numbers(&page), page.behind_ms, page.ended), (expected, Some(behind), None));
    }
    assert_eq!(said(&seen), ["TRIM_HORIZON", "get a", "get b", "get c"]);
}

#[tokio::test]
async fn an_iterator_that_expires_is_renewed_behind_the_last_record_and_nobody_hears_of_it() {
    let expired = || Http::Error(400, "ExpiredIteratorException");
    let answers = vec![
        iterator("a"),
        expired(),
        iterator("b"),
        page(3..6, "c", 0),
        page(0..0, "d", 0),
        expired(),
        iterator("e"),
        page(6..8, "f", 0),
    ];
    let (url, seen) = scripted(answers).await;
    let mut reader = reader(client(&url), StartingPosition::At(number(3)));
    let mut read = Vec::new();
    while read.len() < 5 {
        read.extend(numbers(&reader.next().await.unwrap()));
    }
    assert_eq!(read, [3, 4, 5, 6, 7]);
    let at = "AT_SEQUENCE_NUMBER 3";
    assert_eq!(said(&seen), [at, "get a", at, "get b", "get c", "get d", "AFTER_SEQUENCE_NUMBER 5", "get e"]);
}

#[tokio::test]
async fn iterators_that_are_always_expired_are_told() {
    let (url, _) = serve(|call| match call.operation.as_str() {
        "GetShardIterator" => iterator("i"),
        _ => Http::Error(400, "ExpiredIteratorException"),
    })
    .await;
    let error = reader(client(&url), StartingPosition::TrimHorizon).next().await.unwrap_err();
    assert!(matches!(&error, ReadError::Again { code, .. } if code == "ExpiredIteratorException"), "{error}");
}

#[tokio::test]
async fn what_did_not_work_is_tried_again_with_the_same_iterator() {
    let cut = http(200, &json!({ "Records": records(0..1), "NextShardIterator": "x" }).to_string());
    let unreadable =
        json!({ "Records": [{ "SequenceNumber": "1x", "PartitionKey": "k", "Data": "" }], "NextShardIterator": "x" });
    let unordered: Json = [records(1..2)[0].clone(), records(0..1)[0].clone()].into_iter().collect();
    let failures = || {
        vec![
            Http::Error(400, "ProvisionedThroughputExceededException"),
            Http::Error(400, "KMSThrottlingException"),
            Http::Error(500, "InternalFailureException"),
            Http::Error(503, "ServiceUnavailable"),
            Http::Close,
            Http::Raw(http(200, "{\"Records\": [")),
            Http::Raw(http(200, "<html>welcome</html>")),
            Http::Raw(http(502, "<html>bad gateway</html>")),
            Http::Raw(cut[..cut.len() - 9].to_owned()),
            Http::Raw("SSH-2.0-OpenSSH_9\r\n".to_owned()),
            Http::Ok(unreadable.clone()),
            Http::Ok(json!({ "Records": unordered, "NextShardIterator": "x" })),
        ]
    };
    for failure in failures() {
        let answers = vec![iterator("a"), failure, page(0..2, "b", 0)];
        let (url, seen) = scripted(answers).await;
        let page = reader(client(&url), StartingPosition::TrimHorizon).next().await.unwrap();
        assert_eq!(numbers(&page), [0, 1]);
        assert_eq!(said(&seen), ["TRIM_HORIZON", "get a", "get a"]);
    }
}

#[tokio::test]
async fn failures_in_a_row_are_told_and_reading_goes_on_all_the_same() {
    let mut answers = vec![iterator("a")];
    answers.extend((0..4).map(|_| Http::Error(400, "ProvisionedThroughputExceededException")));
    answers.extend([page(0..2, "b", 0), Http::Error(500, "InternalFailureException"), page(2..3, "c", 0)]);
    let (url, seen) = scripted(answers).await;
    let mut reader = reader(client(&url), StartingPosition::TrimHorizon);
    for _ in 0..2 {
        let error = reader.next().await.unwrap_err();
        assert!(matches!(error, ReadError::Again { is_throttled: true, .. }), "{error}");
    }
    assert_eq!(numbers(&reader.next().await.unwrap()), [0, 1]);
    // One error is none to speak of any more.
    assert_eq!(numbers(&reader.next().await.unwrap()), [2]);
    assert_eq!(seen.lock().unwrap().len(), 8);
}

#[tokio::test]
async fn refusals_are_told_at_once_and_may_pass() {
    let answers = vec![
        Http::Error(400, "AccessDeniedException"),
        iterator("a"),
        Http::Error(400, "KMSDisabledException"),
        iterator("b"),
        page(0..1, "c", 0),
        Http::Error(400, "ResourceNotFoundException"),
    ];
    let (url, _) = scripted(answers).await;
    let mut reader = reader(client(&url), StartingPosition::TrimHorizon);
    for expected in ["AccessDeniedException", "KMSDisabledException"] {
        let error = reader.next().await.unwrap_err();
        assert!(matches!(&error, ReadError::Refused { code, .. } if code == expected), "{error}");
        assert!(error.to_string().contains("of `clicks`: HTTP 400"), "{error}");
    }
    assert_eq!(numbers(&reader.next().await.unwrap()), [0]);
    assert!(matches!(reader.next().await, Err(ReadError::NotFound { .. })));
}

#[tokio::test]
async fn a_shard_ends_with_its_children() {
    let child = json!({ "ShardId": "shardId-000000000002", "ParentShards": [SHARD],
        "HashKeyRange": { "StartingHashKey": "0", "EndingHashKey": KEYS_MAX } });
    let last = json!({ "Records": records(5..7), "MillisBehindLatest": 0, "ChildShards": [child] });
    let (url, seen) = scripted(vec![iterator("a"), Http::Ok(last)]).await;
    let mut reader = reader(client(&url), StartingPosition::TrimHorizon);
    let children = Some(vec![ChildShard {
        id: "shardId-000000000002".to_owned(),
        parents: vec![SHARD.to_owned()],
        hash_keys: HashKeyRange::ALL,
    }]);
    let page = reader.next().await.unwrap();
    assert_eq!((numbers(&page), &page.ended), (vec![5, 6], &children));
    assert_eq!(reader.next().await.unwrap(), Page { ended: children, ..Page::default() });
    assert_eq!(seen.lock().unwrap().len(), 2);
}

#[tokio::test]
async fn an_end_without_children_is_asked_for_thrice_and_its_records_do_not_wait() {
    let answers = vec![iterator("a"), end(5..7), iterator("b"), end(0..0), iterator("c"), end(0..0)];
    let (url, seen) = scripted(answers).await;
    let mut reader = reader(client(&url), StartingPosition::TrimHorizon);
    let page = reader.next().await.unwrap();
    assert_eq!((numbers(&page), page.ended), (vec![5, 6], None));
    assert_eq!(reader.next().await.unwrap().ended, None);
    assert_eq!(reader.next().await.unwrap().ended, Some(Vec::new()));
    let after = "AFTER_SEQUENCE_NUMBER 6";
    assert_eq!(said(&seen), ["TRIM_HORIZON", "get a", after, "get b", after, "get c"]);
}

#[tokio::test]
async fn an_empty_success_is_not_the_end_of_a_shard() {
    let empty = || Http::Ok(json!({}));
    let (url, _) = scripted(vec![iterator("a"), empty(), empty(), empty(), empty(), empty()]).await;
    let mut reader = reader(client(&url), StartingPosition::TrimHorizon);
    assert_eq!(reader.next().await.unwrap(), Page::default());
    let error = reader.next().await.unwrap_err();
    assert!(matches!(&error, ReadError::Again { code, .. } if code == "UnexpectedAnswer"), "{error}");
}

#[tokio::test]
async fn answers_that_do_not_come_in_time_are_asked_for_with_fewer_records() {
    let answers = vec![iterator("a"), Http::Hang, Http::Hang, page(0..1, "b", 0), page(1..2, "c", 0)];
    let (url, seen) = scripted(answers).await;
    // Long enough for the answers that do come, on a busy machine, too.
    let client = client(&url).with_call_timeout(Duration::from_secs(2));
    let mut reader = reader(client, StartingPosition::TrimHorizon);
    assert_eq!(numbers(&reader.next().await.unwrap()), [0]);
    assert_eq!(numbers(&reader.next().await.unwrap()), [1]);
    let limits: Vec<Json> = seen.lock().unwrap()[1..].iter().map(|call| call.input["Limit"].clone()).collect();
    assert_eq!(limits, [1000, 500, 250, 500]);
}

#[tokio::test]
async fn a_call_that_nobody_waits_for_any_more_takes_nothing_away() {
    let answers = vec![Http::Hang, iterator("a"), page(0..2, "b", 9), Http::Hang, page(2..4, "c", 0)];
    let (url, seen) = scripted(answers).await;
    let mut reader = reader(client(&url), StartingPosition::TrimHorizon);
    let mut read = Vec::new();
    for (calls, until) in [(1, 0), (3, 2), (4, 2), (5, 4)] {
        // Until the server has the call, or the page is there.
        let hung = async {
            while seen.lock().unwrap().len() < calls {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            if until > read.len() {
                std::future::pending().await
            }
        };
        tokio::select! {
            page = reader.next() => read.extend(numbers(&page.unwrap())),
            () = hung => {}
        }
        assert_eq!(read.len(), until);
    }
    assert_eq!(read, [0, 1, 2, 3]);
    assert_eq!(said(&seen), ["TRIM_HORIZON", "TRIM_HORIZON", "get a", "get b", "get b"]);
}

#[tokio::test]
async fn a_clock_that_is_wrong_is_corrected_by_the_services() {
    let refusal = json!({ "__type": "InvalidSignatureException", "message": "Signature expired" }).to_string();
    let date = "date: Tue, 01 Jan 2080 00:00:00 GMT\r\n";
    let (url, seen) =
        scripted(vec![Http::Raw(http_with(date, 400, &refusal)), iterator("a"), page(0..1, "b", 0)]).await;
    assert_eq!(numbers(&reader(client(&url), StartingPosition::TrimHorizon).next().await.unwrap()), [0]);
    let heads: Vec<String> = seen.lock().unwrap().iter().map(|call| call.head.clone()).collect();
    assert!(!heads[0].contains("x-amz-date: 2080"), "{}", heads[0]);
    assert!(heads[1].contains("x-amz-date: 20800101t0"), "{}", heads[1]);
}

/// What becomes of a call to the model server.
#[derive(Debug, Clone, Copy)]
enum Fate {
    /// Served with so many records at most.
    Served(u64),
    /// Served, and nobody heard.
    Lost,
    Error(&'static str),
    Garbled,
}

fn fate() -> impl Strategy<Value = Fate> {
    let errors = prop::sample::select(vec![
        "ExpiredIteratorException",
        "ProvisionedThroughputExceededException",
        "InternalFailureException",
        "AccessDeniedException",
    ]);
    prop_oneof![
        5 => (0u64..9).prop_map(Fate::Served),
        1 => Just(Fate::Lost),
        2 => errors.prop_map(Fate::Error),
        1 => Just(Fate::Garbled),
    ]
}

/// A closed shard with the records 10 to 59: its iterators are the numbers of the records that they begin with.
fn model(call: &Seen, fate: Fate) -> Http {
    let count = match fate {
        Fate::Served(count) => count,
        Fate::Lost => return Http::Close,
        Fate::Error(code) => return Http::Error(400, code),
        Fate::Garbled => return Http::Raw(http(200, "{]")),
    };
    if call.operation == "GetShardIterator" {
        return match call.input["StartingSequenceNumber"].as_str().map(|number| number.parse::<u64>().unwrap()) {
            Some(after) => iterator(&(after + 1).to_string()),
            None => iterator("10"),
        };
    }
    let from: u64 = call.input["ShardIterator"].as_str().unwrap().parse().unwrap();
    let next = (from + count).min(60);
    if next < 60 {
        return page(from..next, &next.to_string(), 60 - next);
    }
    let child = json!({ "ShardId": "shardId-000000000002", "ParentShards": [SHARD],
        "HashKeyRange": { "StartingHashKey": "0", "EndingHashKey": KEYS_MAX } });
    Http::Ok(json!({ "Records": records(from..next), "MillisBehindLatest": 0, "ChildShards": [child] }))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn every_record_is_read_once_whatever_fails(fates in prop::collection::vec(fate(), 0..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let read = runtime.block_on(async {
            let mut fates = fates.into_iter();
            let (url, _) = serve(move |call| model(call, fates.next().unwrap_or(Fate::Served(7)))).await;
            let mut reader = reader(client(&url), StartingPosition::TrimHorizon);
            let mut read = Vec::new();
            loop {
                let Ok(page) = reader.next().await else { continue };
                read.extend(numbers(&page));
                if page.ended.is_some() {
                    return read;
                }
            }
        });
        prop_assert_eq!(read, (10..60).collect::<Vec<u64>>());
    }
}
