//! The probe against a server that answers as it is told, and remembers what it was asked.

use std::sync::{Arc, Mutex};

use serde_json::{Value as Json, json};

use super::*;
use crate::config::model::{LeaseTableConfig, Leases, OnMisrouted};
use crate::source::kinesis::client::StreamId;
use crate::source::kinesis::testing::{Answer, Seen, client, loader, serve};

const ARN: &str = "arn:aws:kinesis:eu-west-1:123456789012:stream/clicks";

fn config(consumer: Consumer) -> KinesisSourceConfig {
    KinesisSourceConfig {
        stream: StreamId::Name("clicks".to_owned()),
        region: None,
        endpoint_url: None,
        assume_role: None,
        application_name: "lake".to_owned(),
        initial_position: StartingPosition::Latest,
        shards: Vec::new(),
        consumer,
        on_misrouted: OnMisrouted::ErrorOutput,
        leases: Leases::Local,
    }
}

fn polling() -> KinesisSourceConfig {
    config(Consumer::Polling { records_max: 10_000, interval: std::time::Duration::from_secs(1) })
}

fn fan_out() -> KinesisSourceConfig {
    config(Consumer::EnhancedFanOut { name: "lake".to_owned(), deregisters: false })
}

fn shard(id: &str, end: Option<&str>) -> Json {
    json!({ "ShardId": id, "HashKeyRange": { "StartingHashKey": "0", "EndingHashKey": "1" },
        "SequenceNumberRange": { "StartingSequenceNumber": "1", "EndingSequenceNumber": end } })
}

/// A stream with a closed shard and an open one, unless `special` says otherwise of a call.
async fn server(special: impl Fn(&Seen) -> Option<Answer> + Send + 'static) -> (String, Arc<Mutex<Vec<Seen>>>) {
    serve(move |call| special(call).unwrap_or_else(|| usual(&call.operation))).await
}

fn usual(operation: &str) -> Answer {
    match operation {
        "DescribeStreamSummary" => Answer::Ok(json!({ "StreamDescriptionSummary": { "StreamName": "clicks",
            "StreamARN": ARN, "StreamStatus": "ACTIVE", "RetentionPeriodHours": 24, "ConsumerCount": 2,
            "StreamCreationTimestamp": 1_700_000_000.0, "EnhancedMonitoring": [], "OpenShardCount": 1 } })),
        "ListShards" => Answer::Ok(json!({ "Shards": [shard("shard-0", Some("9")), shard("shard-1", None)] })),
        "GetShardIterator" => Answer::Ok(json!({ "ShardIterator": "iterator" })),
        "GetRecords" => Answer::Ok(json!({ "Records": [], "NextShardIterator": "next", "MillisBehindLatest": 0 })),
        "DescribeStreamConsumer" => Answer::Ok(json!({ "ConsumerDescription": { "ConsumerName": "lake",
            "ConsumerARN": format!("{ARN}/consumer/lake:1"), "ConsumerStatus": "ACTIVE",
            "ConsumerCreationTimestamp": 1_700_000_000.0, "StreamARN": ARN } })),
        _ => Answer::Error(400, "NotOfAProbe"),
    }
}

fn operations(seen: &Mutex<Vec<Seen>>) -> Vec<String> {
    seen.lock().unwrap().iter().map(|call| call.operation.clone()).collect()
}

#[tokio::test]
async fn a_stream_is_described_and_a_record_of_one_shard_is_asked_for() {
    let (url, seen) = server(|_| None).await;
    let lines = look(&client(&url), &polling()).await.unwrap();
    assert_eq!(
        lines,
        [
            "open shards: 1, closed ones that still hold records: 1; records are kept for 24 hours",
            "shard-1 can be read from latest"
        ]
    );
    assert_eq!(operations(&seen), ["DescribeStreamSummary", "ListShards", "GetShardIterator", "GetRecords"]);
    assert_eq!(seen.lock().unwrap()[3].input["Limit"], 1);
}

#[tokio::test]
async fn a_sequence_number_is_tried_in_its_shard() {
    let (url, seen) = server(|_| None).await;
    let start = StartingPosition::At("5".parse().unwrap());
    let config = KinesisSourceConfig { initial_position: start, shards: vec!["shard-0".to_owned()], ..polling() };
    let lines = look(&client(&url), &config).await.unwrap();
    assert_eq!(lines[1], "shard-0 can be read from at_sequence_number 5");
    assert_eq!(seen.lock().unwrap()[2].input["StartingSequenceNumber"], "5");
}

#[tokio::test]
async fn a_consumer_is_looked_for_and_never_registered() {
    let (url, seen) = server(|_| None).await;
    let lines = look(&client(&url), &fan_out()).await.unwrap();
    assert_eq!(lines[1], "the consumer lake is registered");
    assert_eq!(operations(&seen), ["DescribeStreamSummary", "ListShards", "DescribeStreamConsumer"]);
    assert_eq!(seen.lock().unwrap()[2].input, json!({ "StreamARN": ARN, "ConsumerName": "lake" }));
    let missing = |call: &Seen| {
        (call.operation == "DescribeStreamConsumer").then_some(Answer::Error(400, "ResourceNotFoundException"))
    };
    let (url, seen) = server(missing).await;
    let lines = look(&client(&url), &fan_out()).await.unwrap();
    assert_eq!(lines[1], "the consumer lake is not registered yet, beside 2 others; that is done at the start");
    assert_eq!(operations(&seen).len(), 3);
}

#[tokio::test]
async fn what_is_in_the_way_is_an_error() {
    let refused = |operation: &'static str, code: &'static str| {
        move |call: &Seen| (call.operation == operation).then_some(Answer::Error(400, code))
    };
    let (url, _) = server(refused("DescribeStreamSummary", "ResourceNotFoundException")).await;
    let error = look(&client(&url), &polling()).await.unwrap_err();
    assert!(error.to_string().contains("ResourceNotFoundException"), "{error}");
    let (url, _) = server(refused("GetRecords", "AccessDeniedException")).await;
    let error = look(&client(&url), &polling()).await.unwrap_err();
    assert!(error.to_string().contains("GetRecords") && error.to_string().contains("AccessDenied"), "{error}");
    let (url, _) = server(|_| None).await;
    let config = KinesisSourceConfig { shards: vec!["shard-7".to_owned()], ..polling() };
    let error = look(&client(&url), &config).await.unwrap_err();
    assert!(error.to_string().contains("no shard `shard-7`") && error.to_string().contains("`shard-1`"), "{error}");
}

/// What is said of a table that the server describes so.
async fn table(answer: impl Fn() -> Answer + Send + 'static) -> (Result<Vec<String>, String>, usize) {
    let (url, seen) = serve(move |_| answer()).await;
    let config = LeaseTableConfig {
        table: "lake".to_owned(),
        region: Some("eu-west-1".to_owned()),
        endpoint_url: Some(url),
        assume_role: None,
        failover: std::time::Duration::from_secs(10),
        leases_max: None,
        leases_to_steal_max: 1,
        worker_id: None,
    };
    let found = table::look(&config, "lake", loader()).await.map_err(|error| error.to_string());
    let calls = seen.lock().unwrap().len();
    (found, calls)
}

fn described(key: &str, status: &str) -> Answer {
    Answer::Ok(json!({ "Table": { "TableName": "lake", "TableStatus": status,
        "KeySchema": [{ "AttributeName": key, "KeyType": "HASH" }],
        "AttributeDefinitions": [{ "AttributeName": key, "AttributeType": "S" }] } }))
}

#[tokio::test]
async fn a_lease_table_that_is_not_there_or_not_for_long_is_never_made() {
    let missing = table(|| Answer::Error(400, "com.amazonaws.dynamodb.v20120810#ResourceNotFoundException")).await;
    assert_eq!(missing, (Ok(vec!["is not there yet; it is made at the start".to_owned()]), 1));
    let leaving = table(|| described("leaseKey", "DELETING")).await;
    assert_eq!(leaving, (Ok(vec!["is being deleted; it is made again at the start".to_owned()]), 1));
    assert_eq!(table(|| described("leaseKey", "CREATING")).await, (Ok(vec!["is being made".to_owned()]), 1));
}

#[tokio::test]
async fn a_table_that_cannot_be_used_is_an_error() {
    for (answer, part) in [
        (described("id", "ACTIVE"), "`lake` is no lease table: its partition key is `id`"),
        (described("leaseKey", "ARCHIVED"), "its state is ARCHIVED"),
        (Answer::Error(400, "AccessDeniedException"), "AccessDeniedException: because"),
        (Answer::Error(400, "AccessDeniedException"), "allow dynamodb:DescribeTable"),
    ] {
        let answer = std::sync::Mutex::new(Some(answer));
        let once = move || answer.lock().unwrap().take().unwrap_or(Answer::Close);
        let (found, calls) = table(once).await;
        assert!(found.as_ref().is_err_and(|error| error.contains(part)), "{found:?}");
        assert_eq!(calls, 1);
    }
}
