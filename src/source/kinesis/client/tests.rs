//! The client against a scripted server.

use std::sync::atomic::{AtomicU32, Ordering};

use aws_credential_types::Credentials;
use serde_json::{Value as Json, json};

use super::*;
use crate::source::kinesis::page::HashKeyRange;
use crate::source::kinesis::shards::{ShardFilter, ShardInfo};
use crate::source::kinesis::testing::{Answer, SECRET_KEY, client, header, http, http_with, loader, scripted};

const ARN: &str = "arn:aws:kinesis:eu-west-1:123456789012:stream/clicks";

fn summary(created: f64) -> Json {
    json!({ "StreamDescriptionSummary": {
        "StreamName": "clicks", "StreamARN": ARN, "StreamStatus": "ACTIVE", "RetentionPeriodHours": 48,
        "StreamCreationTimestamp": created, "EnhancedMonitoring": [], "OpenShardCount": 3, "ConsumerCount": 2,
    } })
}

fn shard(id: u32) -> Json {
    json!({ "ShardId": format!("shardId-{id:012}"), "HashKeyRange": { "StartingHashKey": "0", "EndingHashKey": "99" },
        "SequenceNumberRange": { "StartingSequenceNumber": "17" } })
}

fn shards(ids: std::ops::Range<u32>, next: Option<&str>) -> Answer {
    let shards: Vec<Json> = ids.map(shard).collect();
    Answer::Ok(json!({ "Shards": shards, "NextToken": next }))
}

#[tokio::test]
async fn a_summary_says_the_services_time() {
    let answer = http_with("date: Tue, 06 Jan 2026 01:02:03 GMT\r\n", 200, &summary(1_700_000_000.123).to_string());
    let (url, seen) = scripted(vec![Answer::Raw(answer), Answer::Ok(summary(1_700_000_000.123))]).await;
    let mut client = client(&url);
    let found = client.summary().await.unwrap();
    assert_eq!((found.name.as_str(), found.arn.as_str(), found.status.as_str()), ("clicks", ARN, "ACTIVE"));
    assert_eq!(found.created.as_millisecond(), 1_700_000_000_123);
    assert_eq!((found.retention, found.open_shards, found.consumers), (Duration::from_secs(48 * 3600), 3, 2));
    assert_eq!(found.asked_at, "2026-01-06T01:02:03Z".parse().unwrap());

    // This server says no date.
    client.stream = StreamId::Arn(ARN.to_owned());
    let before = jiff::Timestamp::now();
    let asked_at = client.summary().await.unwrap().asked_at;
    assert!((before..=jiff::Timestamp::now()).contains(&asked_at), "{asked_at}");
    let seen = seen.lock().unwrap();
    assert_eq!(seen[0].input, json!({ "StreamName": "clicks" }));
    assert_eq!(seen[1].input, json!({ "StreamARN": ARN }));
}

#[tokio::test]
async fn a_summary_without_what_tells_streams_apart_is_none() {
    for answer in [json!({}), json!({ "StreamDescriptionSummary": {} })] {
        let (url, _) = scripted(vec![Answer::Ok(answer)]).await;
        let error = client(&url).summary().await.unwrap_err();
        assert!(matches!(&error, ReadError::Again { code, .. } if code == "UnexpectedAnswer"), "{error}");
    }
}

#[tokio::test]
async fn all_pages_are_one_list() {
    let answers = vec![
        shards(0..1000, Some("t1")),
        Answer::Error(400, "LimitExceededException"),
        Answer::Close,
        shards(1000..2000, Some("t2")),
        shards(2000..2001, None),
    ];
    let (url, seen) = scripted(answers).await;
    let list = client(&url).list_shards(&ShardFilter::AfterShardId("shardId-x".to_owned())).await.unwrap();
    let ids: Vec<String> = (0..2001).map(|id| format!("shardId-{id:012}")).collect();
    assert!(list.iter().map(|shard| &shard.id).eq(&ids));
    let seen: Vec<Json> = seen.lock().unwrap().iter().map(|call| call.input.clone()).collect();
    let filter = json!({ "Type": "AFTER_SHARD_ID", "ShardId": "shardId-x" });
    assert_eq!(seen[0], json!({ "StreamName": "clicks", "MaxResults": 1000, "ShardFilter": filter }));
    assert_eq!(seen[1..4], vec![json!({ "NextToken": "t1", "MaxResults": 1000 }); 3]);
    assert_eq!(seen[4], json!({ "NextToken": "t2", "MaxResults": 1000 }));
}

#[tokio::test]
async fn a_shard_has_its_parents_and_its_ends() {
    let given = json!({ "ShardId": "shardId-9", "ParentShardId": "shardId-1", "AdjacentParentShardId": "shardId-2",
        "HashKeyRange": { "StartingHashKey": "5", "EndingHashKey": "340282366920938463463374607431768211455" },
        "SequenceNumberRange": { "StartingSequenceNumber": "17", "EndingSequenceNumber": "40" } });
    let (url, seen) = scripted(vec![Answer::Ok(json!({ "Shards": [given] }))]).await;
    let list = client(&url).list_shards(&ShardFilter::All).await.unwrap();
    let expected = ShardInfo {
        id: "shardId-9".to_owned(),
        parent: Some("shardId-1".to_owned()),
        adjacent_parent: Some("shardId-2".to_owned()),
        hash_keys: HashKeyRange { start: 5, end: u128::MAX },
        starting_sequence_number: "17".parse().unwrap(),
        ending_sequence_number: Some("40".parse().unwrap()),
    };
    assert_eq!(list, [expected]);
    assert_eq!(seen.lock().unwrap()[0].input, json!({ "StreamName": "clicks", "MaxResults": 1000 }));
}

#[tokio::test]
async fn an_expired_token_begins_the_list_anew() {
    let expired = || Answer::Error(400, "ExpiredNextTokenException");
    let answers = vec![shards(0..1, Some("t")), expired(), shards(0..1, Some("u")), shards(1..2, None)];
    let (url, _) = scripted(answers).await;
    assert_eq!(client(&url).list_shards(&ShardFilter::AtLatest).await.unwrap().len(), 2);

    let always = (0..3).flat_map(|_| [shards(0..1, Some("t")), expired()]).collect();
    let (url, seen) = scripted(always).await;
    let error = client(&url).list_shards(&ShardFilter::AtLatest).await.unwrap_err();
    assert!(matches!(&error, ReadError::Again { code, .. } if code == "ExpiredNextTokenException"), "{error}");
    assert_eq!(seen.lock().unwrap().len(), 6);
}

#[tokio::test]
async fn half_a_list_is_none() {
    let mut without_keys = shard(1);
    without_keys["HashKeyRange"] = Json::Null;
    for answers in [
        vec![shards(0..1, Some("t")), shards(1..2, Some("t"))],
        vec![shards(0..1, Some("t")), Answer::Ok(json!({ "Shards": [shard(1), without_keys] }))],
    ] {
        let (url, _) = scripted(answers).await;
        let error = client(&url).list_shards(&ShardFilter::All).await.unwrap_err();
        assert!(matches!(&error, ReadError::Again { code, .. } if code == "UnexpectedAnswer"), "{error}");
    }
    let answers = (0..4).map(|_| Answer::Error(500, "InternalFailureException"));
    let (url, seen) = scripted([shards(0..1, Some("t"))].into_iter().chain(answers).collect()).await;
    client(&url).list_shards(&ShardFilter::All).await.unwrap_err();
    assert_eq!(seen.lock().unwrap().len(), 5);
}

#[tokio::test]
async fn a_call_is_made_once_and_ends_after_its_time() {
    let (url, seen) = scripted(vec![Answer::Error(503, "ServiceUnavailable"), Answer::Hang]).await;
    let client = client(&url).with_call_timeout(Duration::from_secs(1));
    for expected in ["ServiceUnavailable", "Timeout"] {
        let error = client.summary().await.unwrap_err();
        assert!(matches!(&error, ReadError::Again { code, .. } if code == expected), "{error}");
    }
    assert_eq!(seen.lock().unwrap().len(), 2);
}

#[tokio::test]
async fn a_refusal_makes_the_next_call_look_for_credentials_anew_and_other_errors_do_not() {
    let answers = vec![
        Answer::Error(500, "InternalFailureException"),
        Answer::Error(400, "ExpiredTokenException"),
        Answer::Error(400, "UnrecognizedClientException"),
        Answer::Ok(summary(1.0)),
    ];
    let (url, seen) = scripted(answers).await;
    let loads = Arc::new(AtomicU32::new(0));
    let service = ServiceConfig { region: Some("eu-west-1".to_owned()), endpoint_url: Some(url), assume_role: None };
    let client = KinesisClient::open_with(service, StreamId::Name("clicks".to_owned()), move || {
        let key = format!("KEY{}", loads.fetch_add(1, Ordering::SeqCst));
        loader().credentials_provider(Credentials::new(key, SECRET_KEY, None, None, "test"))
    });
    for _ in 0..3 {
        let error = client.summary().await.unwrap_err().to_string();
        assert!(!error.contains(SECRET_KEY) && !error.contains("KEY"), "{error}");
    }
    client.summary().await.unwrap();
    let keys: Vec<String> = seen
        .lock()
        .unwrap()
        .iter()
        .map(|call| header(&call.head, "authorization").unwrap().split(['=', '/']).nth(1).unwrap().to_owned())
        .collect();
    assert_eq!(keys, ["key0", "key0", "key1", "key2"]);
}

/// Knows no region.
#[derive(Debug)]
struct NoRegion;

impl aws_config::meta::region::ProvideRegion for NoRegion {
    fn region(&self) -> aws_config::meta::region::future::ProvideRegion<'_> {
        aws_config::meta::region::future::ProvideRegion::ready(None)
    }
}

#[tokio::test]
async fn a_missing_region_fails_the_call_unless_the_server_has_its_own_address() {
    let stream = || StreamId::Name("clicks".to_owned());
    let client = KinesisClient::open_with(ServiceConfig::default(), stream(), || loader().region(NoRegion));
    let error = client.summary().await.unwrap_err();
    assert!(matches!(&error, ReadError::Refused { code, .. } if code == "MissingRegion"), "{error}");

    let (url, seen) = scripted(vec![Answer::Ok(summary(1.0))]).await;
    let service = ServiceConfig { endpoint_url: Some(url), ..ServiceConfig::default() };
    KinesisClient::open_with(service, stream(), || loader().region(NoRegion)).summary().await.unwrap();
    assert!(seen.lock().unwrap()[0].head.contains("/us-east-1/kinesis/aws4_request"));
}

#[tokio::test]
async fn a_role_is_assumed_and_its_external_id_is_no_part_of_an_error() {
    let refusal =
        "<ErrorResponse><Error><Code>AccessDenied</Code><Message>not authorized</Message></Error></ErrorResponse>";
    let (sts, _) = scripted(vec![Answer::Raw(http(403, refusal))]).await;
    let role_arn = "arn:aws:iam::123456789012:role/reader".to_owned();
    let external_id = Some(crate::config::model::Secret("external-17".to_owned()));
    let service = ServiceConfig {
        region: Some("eu-west-1".to_owned()),
        endpoint_url: Some("http://127.0.0.1:1".to_owned()),
        assume_role: Some(AssumeRole { role_arn, external_id }),
    };
    let stream = StreamId::Name("clicks".to_owned());
    let client = KinesisClient::open_with(service, stream, move || loader().endpoint_url(&sts));
    let error = client.summary().await.unwrap_err();
    assert!(matches!(&error, ReadError::Refused { code, .. } if code == "CredentialsFailed"), "{error}");
    assert!(error.to_string().contains("AccessDenied") && !error.to_string().contains("external-17"), "{error}");
}
