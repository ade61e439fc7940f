//! What is sent: actions, ids, indexes, routing, compression.

use std::collections::BTreeSet;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::{envelopes, failed, log, numbered, raw, to_opensearch};
use crate::support::signature::verify;
use crate::support::{BulkReceiver, Hydrant, Objects, Scratch, wait_until};

#[test]
fn a_bulk_request_is_as_the_documentation_says() {
    let (scratch, receiver) = (Scratch::new(), BulkReceiver::start());
    scratch.log("a.log", "{\"n\":1}\n{\"n\":2,\"text\":\"zwei ü\"}\n");
    let keys = json!({ "auth": { "basic": { "username": "me", "password": "hunter2" } } });
    Hydrant::drain(&scratch, &to_opensearch(&scratch, &receiver.urls(), keys));
    receiver.assert_no_complaints();
    let received = receiver.received();
    let [bulk] = received.as_slice() else { panic!("one request, not {received:?}") };
    assert!(bulk.line.starts_with("POST /_bulk"), "{}", bulk.line);
    let header = |name: &str| bulk.headers.get(name).map(String::as_str);
    assert_eq!(header("content-type"), Some("application/x-ndjson"));
    assert_eq!(header("authorization"), Some(format!("Basic {}", STANDARD.encode("me:hunter2")).as_str()));
    assert_eq!((header("content-encoding"), header("transfer-encoding")), (None, None));
    assert_eq!(
        bulk.items.iter().map(|item| item.document.as_str()).collect::<Vec<_>>(),
        [r#"{"n":1}"#, r#"{"n":2,"text":"zwei ü"}"#]
    );
    for item in &bulk.items {
        assert_eq!((item.action.as_str(), item.index.as_str()), ("create", "web"));
        assert_eq!(item.target.keys().collect::<Vec<_>>(), ["_id", "_index"]);
    }
    assert_ne!(bulk.items[0].id, bulk.items[1].id);
    assert!(Objects::read(&scratch.backup()).keys().next().is_none());
}

/// As Amazon OpenSearch Service wants it.
#[test]
fn requests_are_signed_for_amazons_service() {
    let (scratch, receiver) = (Scratch::new(), BulkReceiver::start());
    scratch.log("a.log", log(&numbered(10)));
    let keys = json!({ "auth": { "sigv4": { "service": "es", "region": "eu-west-1" } }, "content_encoding": "gzip" });
    Hydrant::drain(&scratch, &to_opensearch(&scratch, &receiver.urls(), keys));
    receiver.assert_no_complaints();
    assert_eq!(receiver.lines(), numbered(10));
    let bulk = &receiver.received()[0];
    verify((&bulk.line, &bulk.headers, &bulk.sent), &[], "eu-west-1", "es");
}

/// Equal documents are documents of their own, and so are those of another file.
#[test]
fn derived_ids_follow_from_the_place_of_a_record_and_not_from_its_content() {
    let (scratch, receiver) = (Scratch::new(), BulkReceiver::start());
    for name in ["a.log", "b.log"] {
        scratch.log(name, r#"{"n":1}"#.to_owned() + "\n" + &format!("{{\"file\":\"{name}\"}}\n") + r#"{"n":1}"# + "\n");
    }
    Hydrant::drain(&scratch, &to_opensearch(&scratch, &receiver.urls(), json!({})));
    receiver.assert_no_complaints();
    assert_eq!(receiver.count(), 6);
    assert!(receiver.documents().values().all(|document| document.writes == 1));
}

/// Partition numbers begin at 1 again with another journal; ids do not.
#[test]
fn another_journal_gives_other_ids() {
    let (scratch, receiver) = (Scratch::new(), BulkReceiver::start());
    scratch.log("a.log", log(&numbered(10)));
    let config = to_opensearch(&scratch, &receiver.urls(), json!({}));
    Hydrant::drain(&scratch, &config);
    std::fs::remove_dir_all(scratch.state()).expect("the state can be removed");
    Hydrant::drain(&scratch, &config);
    receiver.assert_no_complaints();
    assert_eq!(receiver.count(), 20, "a document that another journal delivered is not this one");
}

/// A bulk's documents stand on one line each.
#[test]
fn what_is_no_single_object_goes_to_the_error_output_alone() {
    let (scratch, receiver) = (Scratch::new(), BulkReceiver::start());
    let bad: [&[u8]; 9] = [
        b"no json",
        b"[1,2]",
        b"1",
        b"null",
        b"",
        b"{\"a\":1} {\"b\":2}",
        b"{\"cut\":",
        b"\"{}\"",
        b"{\"utf\":\"\xff\"}",
    ];
    let mut text = b"{\"n\":0}\n".to_vec();
    for (n, line) in bad.iter().enumerate() {
        text.extend_from_slice(line);
        text.extend_from_slice(format!("\n{{\"n\":{}}}\n", n + 1).as_bytes());
    }
    scratch.log("a.log", text);
    Hydrant::drain(&scratch, &to_opensearch(&scratch, &receiver.urls(), json!({})));
    receiver.assert_no_complaints();
    assert_eq!(receiver.lines(), numbered(bad.len() + 1));
    let envelopes = envelopes(&scratch);
    let mut found: Vec<_> = envelopes
        .iter()
        .map(|envelope| STANDARD.decode(envelope["rawData"].as_str().expect("a text")).expect("base64"))
        .collect();
    found.sort();
    let mut expected = bad.map(<[u8]>::to_vec);
    expected.sort();
    assert_eq!(found, expected);
    assert!(envelopes.iter().all(|envelope| envelope["attemptsMade"] == 0), "{envelopes:#?}");
}

#[test]
fn an_object_on_several_lines_becomes_one_line() {
    let (scratch, receiver) = (Scratch::new(), BulkReceiver::start());
    scratch.log("a.log", "{\n  \"n\": 1,\r\n  \"text\": \"a\\nb\"\n}\n{\n  \"n\": 2\n}\n");
    let mut config = to_opensearch(&scratch, &receiver.urls(), json!({}));
    config["delivery_streams"][0]["source"]["file"]["multiline_start"] = r"^\{".into();
    Hydrant::drain(&scratch, &config);
    receiver.assert_no_complaints();
    let documents: Vec<_> =
        receiver.received().iter().flat_map(|bulk| bulk.items.clone()).map(|item| item.json()).collect();
    assert_eq!(documents, [json!({ "n": 1, "text": "a\nb" }), json!({ "n": 2 })]);
}

#[test]
fn requests_are_compressed_and_sources_backed_up_where_that_is_asked_for() {
    let (scratch, receiver) = (Scratch::new(), BulkReceiver::start());
    let lines = numbered(500);
    scratch.log("a.log", log(&lines));
    let mut config = to_opensearch(&scratch, &receiver.urls(), json!({ "content_encoding": "gzip" }));
    config["delivery_streams"][0]["backup"]["mode"] = "all".into();
    Hydrant::drain(&scratch, &config);
    receiver.assert_no_complaints();
    assert!(receiver.received().iter().all(|bulk| bulk.headers["content-encoding"] == "gzip"));
    let mut sorted = lines;
    sorted.sort();
    assert_eq!(receiver.lines(), sorted);
    assert_eq!(Objects::read(&scratch.backup()).lines(), sorted, "as they were read");
}

#[test]
fn without_ids_the_cluster_makes_them() {
    let (scratch, receiver) = (Scratch::new(), BulkReceiver::start());
    scratch.log("a.log", log(&numbered(10)));
    Hydrant::drain(&scratch, &to_opensearch(&scratch, &receiver.urls(), json!({ "document_id": "none" })));
    receiver.assert_no_complaints();
    assert_eq!(receiver.lines(), numbered(10));
    assert!(receiver.received().iter().flat_map(|bulk| &bulk.items).all(|item| item.id.is_none()));
}

/// The later document replaces the earlier one; one without the field, or with one that is no id, harms itself alone.
#[test]
fn ids_from_a_field_replace_and_missing_ones_fail_alone() {
    let (scratch, receiver) = (Scratch::new(), BulkReceiver::start());
    let long = "x".repeat(513);
    let bad = [
        r#"{"n":3}"#.to_owned(),
        r#"{"id":null}"#.into(),
        r#"{"id":""}"#.into(),
        r#"{"id":{"a":1}}"#.into(),
        format!(r#"{{"id":"{long}"}}"#),
    ];
    let good = [r#"{"id":"a","n":1}"#, r#"{"id":"b \"ü\"","n":2}"#, r#"{"id":"a","n":4}"#, r#"{"id":7,"n":5}"#];
    let mut lines: Vec<_> = good.map(str::to_owned).to_vec();
    bad.iter().enumerate().for_each(|(n, line)| lines.insert(n, line.clone()));
    scratch.log("a.log", log(&lines));
    let keys = json!({ "document_id": { "from_field": "id" } });
    Hydrant::drain(&scratch, &to_opensearch(&scratch, &receiver.urls(), keys));
    receiver.assert_no_complaints();
    let items: Vec<_> = receiver.received().iter().flat_map(|bulk| bulk.items.clone()).collect();
    assert!(items.iter().all(|item| item.action == "index"), "{items:?}");
    let documents = receiver.documents();
    let ids: Vec<_> = documents.keys().map(|(_, id)| id.as_str()).collect();
    assert_eq!(ids, ["7", "a", "b \"ü\""]);
    assert_eq!(documents[&("web".to_owned(), "a".to_owned())].document, good[2]);
    let mut bad = bad.to_vec();
    bad.sort();
    assert_eq!(failed(&scratch), bad);
}

/// By the arrival in UTC; an index for each partition.
#[test]
fn indexes_rotate_and_follow_from_partition_keys() {
    let (scratch, receiver) = (Scratch::new(), BulkReceiver::start());
    scratch.log("a.log", "{\"team\":\"a\",\"n\":1}\n{\"team\":\"b\",\"n\":2}\n{\"team\":\"a\",\"n\":3}\n");
    let keys = json!({ "index": "logs-!{partitionKeyFromQuery:team}", "index_rotation": "day" });
    let mut config = to_opensearch(&scratch, &receiver.urls(), keys);
    config["delivery_streams"][0]["partitioning"] = json!({ "keys": { "team": ".team" } });
    let day = || jiff::Timestamp::now().strftime("%Y-%m-%d").to_string();
    let before = day();
    Hydrant::drain(&scratch, &config);
    receiver.assert_no_complaints();
    let after = day();
    let indexes: BTreeSet<_> = receiver.documents().into_keys().map(|(index, _)| index).collect();
    let expected = |day: &str| BTreeSet::from(["a", "b"].map(|team| format!("logs-{team}-{day}")));
    // It may have been midnight between.
    assert!(indexes == expected(&before) || indexes == expected(&after), "{indexes:?}");
    assert_eq!(receiver.count(), 3);
}

/// In an index of a name that the partition makes impossible nothing can be stored.
#[test]
fn a_value_that_cannot_stand_in_an_index_name_harms_its_record_alone() {
    let (scratch, receiver) = (Scratch::new(), BulkReceiver::start());
    let bad =
        [r#"{"team":"a/b"}"#.to_owned(), r##"{"team":"#"}"##.into(), format!(r#"{{"team":"{}"}}"#, "x".repeat(300))];
    scratch.log("a.log", format!("{{\"team\":\"a\"}}\n{}{{\"team\":\"b\"}}\n", log(&bad)));
    let mut config =
        to_opensearch(&scratch, &receiver.urls(), json!({ "index": "logs-!{partitionKeyFromQuery:team}" }));
    config["delivery_streams"][0]["partitioning"] = json!({ "keys": { "team": ".team" } });
    Hydrant::drain(&scratch, &config);
    receiver.assert_no_complaints();
    let indexes: Vec<_> = receiver.documents().into_keys().map(|(index, _)| index).collect();
    assert_eq!(indexes, ["logs-a", "logs-b"]);
    let objects = Objects::read(&scratch.backup());
    let mut found: Vec<_> =
        objects.lines().iter().map(|line| raw(&serde_json::from_str(line).expect("an envelope"))).collect();
    found.sort();
    let mut bad = bad.to_vec();
    bad.sort();
    assert_eq!(found, bad);
}

/// Data streams take no routing.
#[test]
fn data_streams_pipelines_and_routing_are_named() {
    for (keys, action, routing) in [
        (json!({ "data_stream": true, "pipeline": "clean" }), "create", [json!(null), json!(null)]),
        (
            json!({ "pipeline": "clean", "routing": { "field": "user" }, "index_rotation": "none" }),
            "create",
            [json!("a"), json!("7")],
        ),
    ] {
        let (scratch, receiver) = (Scratch::new(), BulkReceiver::start());
        let lines = [r#""a""#, "7"].map(|user| format!(r#"{{"@timestamp":"2026-11-21T00:00:00Z","user":{user}}}"#));
        scratch.log("a.log", log(&lines));
        Hydrant::drain(&scratch, &to_opensearch(&scratch, &receiver.urls(), keys));
        receiver.assert_no_complaints();
        let received = receiver.received();
        let items = &received[0].items;
        assert!(items.iter().all(|item| item.action == action && item.index == "web"));
        assert_eq!(
            items.iter().map(|item| item.target.get("routing").cloned().unwrap_or_default()).collect::<Vec<_>>(),
            routing
        );
        let in_line = received[0].line.contains("pipeline=clean");
        assert!(in_line || items.iter().all(|item| item.target["pipeline"] == "clean"), "{}", received[0].line);
    }
}

/// It is asked what it is before anything is sent, and again until it will do.
#[test]
fn a_cluster_that_cannot_take_what_is_asked_for_is_sent_nothing() {
    let (scratch, receiver) = (Scratch::new(), BulkReceiver::start());
    scratch.log("a.log", log(&numbered(10)));
    receiver.claim(json!({ "number": "6.8.23" }));
    let hydrant = Hydrant::run(&scratch, &to_opensearch(&scratch, &receiver.urls(), json!({})));
    wait_until("it says why", || hydrant.said("Elasticsearch 6.8.23") > 0 && hydrant.said("set `type_name`") > 0);
    assert_eq!(receiver.requests(), 0);
    receiver.claim(json!({ "distribution": "opensearch", "number": "3.1.0" }));
    wait_until("all is taken", || receiver.count() == 10);
    hydrant.terminate().expect_code(0);

    let (scratch, receiver) = (Scratch::new(), BulkReceiver::start());
    scratch.log("a.log", log(&numbered(10)));
    receiver.claim(json!({ "number": "6.8.23" }));
    Hydrant::drain(&scratch, &to_opensearch(&scratch, &receiver.urls(), json!({ "type_name": "event" })));
    receiver.assert_no_complaints();
    let items = receiver.received().remove(0).items;
    assert!(items.len() == 10 && items.iter().all(|item| item.target["_type"] == "event"));
}

/// A buffer is larger than what a cluster takes well at a time.
#[test]
fn a_large_delivery_is_cut_into_bulks() {
    let (scratch, receiver) = (Scratch::new(), BulkReceiver::start());
    let lines: Vec<_> = (0..3_000).map(|n| format!(r#"{{"n":{n},"text":"{}"}}"#, "x".repeat(1_000))).collect();
    scratch.log("a.log", log(&lines));
    let mut config = to_opensearch(&scratch, &receiver.urls(), json!({ "bulk_mb": 1, "in_flight": 1 }));
    config["delivery_streams"][0]["buffering"] = json!({ "size_mb": 8, "interval_seconds": 1, "low_latency": true });
    Hydrant::drain(&scratch, &config);
    receiver.assert_no_complaints();
    let received = receiver.received();
    assert!(received.len() >= 3, "{} requests", received.len());
    assert!(
        received.iter().all(|bulk| bulk.body.len() <= 1 << 20),
        "{:?}",
        received.iter().map(|bulk| bulk.body.len()).collect::<Vec<_>>()
    );
    let documents: Vec<_> = received.into_iter().flat_map(|bulk| bulk.items).map(|item| item.document).collect();
    assert_eq!(documents, lines, "in order");
}
