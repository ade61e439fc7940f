//! Redrive of documents that the cluster had not taken: they arrive under their old ids in their old indexes, each once.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::{envelopes, failed, log, numbered, raw, to_opensearch};
use crate::redrive::{FAILPOINTS, kill_again_and_again, kills, redrive, redrive_all};
use crate::support::admin::{free_address, wait_for};
use crate::support::bulk::{Bulk, Item, Judgement, Reaction};
use crate::support::rng::seed;
use crate::support::scratch::append;
use crate::support::{BulkReceiver, Hydrant, OpenSearch, Rng, Scratch, write_config};

fn opensearch(config: &mut Value) -> &mut Value {
    &mut config["delivery_streams"][0]["destination"]["opensearch"]
}

/// Id and index of each document, by the document: those of all its envelopes, which have to be the same.
#[track_caller]
fn named(scratch: &Scratch) -> BTreeMap<String, (Value, Value)> {
    let mut named = BTreeMap::new();
    for envelope in envelopes(scratch) {
        let name = (envelope["esDocumentId"].clone(), envelope["esIndexName"].clone());
        let before = named.insert(raw(&envelope), name.clone());
        assert!(before.is_none_or(|before| before == name), "{envelope}");
    }
    named
}

/// How often each document was tried, by its envelopes, sorted.
fn attempts(scratch: &Scratch, document: &str) -> Vec<u64> {
    let envelopes = envelopes(scratch);
    let of = envelopes.iter().filter(|envelope| raw(envelope) == document);
    let mut attempts: Vec<_> = of.map(|envelope| envelope["attemptsMade"].as_u64().expect("a number")).collect();
    attempts.sort_unstable();
    attempts
}

/// An index that is read-only for a while, and then the configuration names another one.
fn after_a_read_only_index(with_daemon: bool) {
    let (Some(server), scratch, index) = (OpenSearch::shared(), Scratch::new(), OpenSearch::name()) else { return };
    let mapping = json!({ "mappings": { "properties": { "n": { "type": "integer" } } } });
    server.ask("PUT", &format!("/{index}"), Some(&mapping));
    let block = |block: Value| {
        server.ask("PUT", &format!("/{index}/_settings"), Some(&json!({ "index.blocks.write": block })));
    };
    block(true.into());
    let (good, bad) = (numbered(1_000), [r#"{"n":"no number"}"#, r#"{"n":"none either"}"#]);
    scratch.log("a.log", log(&good) + &log(&bad.map(str::to_owned)));
    let mut config = to_opensearch(&scratch, &[server.url()], json!({ "index": index, "retry_seconds": 0 }));
    Hydrant::drain(&scratch, &config);
    let before = named(&scratch);
    assert_eq!((before.len(), server.count(&index)), (1_002, 0));

    block(Value::Null);
    opensearch(&mut config)["index"] = format!("{index}-new").into();
    append(&scratch.logs().join("a.log"), "{\"n\":1000}\n");
    let hydrant = with_daemon.then(|| {
        let address = free_address();
        config["admin"] = json!({ "listen": address });
        let hydrant = Hydrant::run(&scratch, &config);
        wait_for(address);
        hydrant
    });
    for time in 0..2 {
        write_config(&scratch, &config);
        let finished = redrive(&scratch, "web", &[], &[]).wait().expect_code(1);
        assert!(finished.stderr.contains("failed again"), "{finished}");
        assert_eq!(attempts(&scratch, bad[0]), (1..=time + 2).collect::<Vec<_>>(), "{finished}");
    }
    match hydrant {
        Some(hydrant) => hydrant.terminate().expect_code(0),
        None => Hydrant::drain(&scratch, &config),
    };
    let documents = server.documents(&index);
    let found: BTreeMap<_, _> = documents.iter().map(|found| (found.source.to_string(), &found.id)).collect();
    assert_eq!((documents.len(), found.len()), (1_000, 1_000), "each once");
    for document in &good {
        assert_eq!((&before[document].0, &before[document].1), (&json!(found[document]), &json!(index)));
        assert_eq!(attempts(&scratch, document), [1]);
    }
    assert_eq!(server.count(&format!("{index}-new")), 1, "what is new");
    assert_eq!(named(&scratch), before, "what has failed again has its old id");
}

#[test]
fn what_a_read_only_index_has_not_taken_is_there_once_after_a_redrive() {
    after_a_read_only_index(false);
}

#[test]
fn what_a_read_only_index_has_not_taken_is_there_once_after_a_redrive_by_the_daemon() {
    after_a_read_only_index(true);
}

#[test]
fn documents_that_had_arrived_without_an_answer_are_not_doubled() {
    let (scratch, receiver) = (Scratch::new(), BulkReceiver::start());
    scratch.log("a.log", log(&numbered(500)));
    receiver.behave(|_, _| Reaction::Lose);
    let keys = json!({ "retry_seconds": 0, "index_rotation": "hour" });
    Hydrant::drain(&scratch, &to_opensearch(&scratch, &receiver.urls(), keys));
    assert_eq!((receiver.count(), failed(&scratch).len()), (500, 500));
    receiver.behave(|_, _| Reaction::Judge);
    redrive(&scratch, "web", &[], &[]).wait().expect_code(0);
    receiver.assert_no_complaints();
    let documents = receiver.documents();
    assert!(documents.len() == 500 && documents.values().all(|document| document.writes == 1));
    let last = receiver.received().pop().expect("a bulk");
    assert!(last.items.iter().all(|item| item.action == "create"), "{}", last.body);
    assert_eq!(failed(&scratch).len(), 500, "nothing has failed again");
}

/// What the name of the index asks of a record is neither there nor needed.
#[test]
fn a_document_needs_no_partition_to_go_to_its_old_index() {
    let (scratch, receiver) = (Scratch::new(), BulkReceiver::start());
    scratch.log("a.log", "{\"n\":0,\"team\":\"a\"}\n{\"n\":1,\"team\":\"b\"}\n");
    receiver.behave(|_, _| Reaction::Refuse(500, &[]));
    let keys = json!({ "index": "web-!{partitionKeyFromQuery:team}", "retry_seconds": 0 });
    let mut config = to_opensearch(&scratch, &receiver.urls(), keys);
    config["delivery_streams"][0]["partitioning"] = json!({ "keys": { "team": ".team" } });
    Hydrant::drain(&scratch, &config);
    assert_eq!(named(&scratch).values().map(|(_, index)| index.clone()).collect::<Vec<_>>(), ["web-a", "web-b"]);

    config["delivery_streams"][0]["partitioning"] = json!({ "keys": { "team": ".gone" } });
    write_config(&scratch, &config);
    redrive(&scratch, "web", &[], &[]).wait().expect_code(1);
    receiver.behave(|_, _| Reaction::Judge);
    redrive(&scratch, "web", &[], &[]).wait().expect_code(0);
    receiver.assert_no_complaints();
    let named = named(&scratch);
    let documents = receiver.documents();
    assert_eq!(documents.len(), 2);
    for ((index, id), stored) in documents {
        assert_eq!(named[&stored.document], (json!(id), json!(index)));
        assert_eq!(attempts(&scratch, &stored.document), [1, 2]);
    }
}

#[test]
fn ids_of_another_kind_are_as_the_configuration_says() {
    let (scratch, receiver) = (Scratch::new(), BulkReceiver::start());
    scratch.log("a.log", "{\"n\":0,\"key\":\"mine\"}\n");
    receiver.behave(|_, _| Reaction::Refuse(500, &[]));
    let mut config = to_opensearch(&scratch, &receiver.urls(), json!({ "retry_seconds": 0 }));
    Hydrant::drain(&scratch, &config);
    let old = envelopes(&scratch)[0]["esDocumentId"].as_str().expect("an id").to_owned();
    let expected = [
        (json!("none"), ("index", old)),
        (json!({ "from_field": "key" }), ("index", "mine".to_owned())),
        (json!("derived"), ("create", "mine".to_owned())),
    ];
    for (kind, (action, id)) in expected {
        opensearch(&mut config)["document_id"] = kind;
        write_config(&scratch, &config);
        redrive(&scratch, "web", &[], &[]).wait().expect_code(1);
        let last = receiver.received().pop().expect("a bulk").items.remove(0);
        assert_eq!((last.action.as_str(), last.id), (action, Some(id)));
    }
    receiver.assert_no_complaints();
}

/// As Firehose writes them, with ids of its own and without, and names that no cluster takes.
#[test]
fn error_objects_of_firehose_are_sent_under_their_ids() {
    let (scratch, receiver) = (Scratch::new(), BulkReceiver::start());
    write_config(&scratch, &to_opensearch(&scratch, &receiver.urls(), json!({ "retry_seconds": 0 })));
    let line = |id: Value, index: &str| {
        let envelope = json!({
            "attemptsMade": 8, "arrivalTimestamp": 1_700_000_000_123_u64, "errorCode": "400", "errorMessage": "no",
            "attemptEndingTimestamp": 1_700_000_000_456_u64, "esDocumentId": id, "esIndexName": index,
            "esTypeName": "", "rawData": "e30=",
        });
        format!("{envelope}\n")
    };
    let id = "49640912821178817833517986466168945147170627572855734274.0";
    let lines = [
        line(json!(id), "old-2026"),
        line(Value::Null, "old"),
        line(json!("x".repeat(513)), "old"),
        line(json!("y"), "A,b"),
    ];
    let folder = scratch.backup().join("AmazonOpenSearchService_failed");
    std::fs::create_dir_all(&folder).expect("a folder");
    std::fs::create_dir_all(scratch.path("state")).expect("a folder");
    let name = "web-1-2023-11-14-22-13-20-0f8fad5b-d9cb-469f-a165-70867728950e";
    std::fs::write(folder.join(name), lines.concat()).expect("an error object");
    let prefix = ["--prefix", "AmazonOpenSearchService_failed/"];
    let finished = redrive(&scratch, "web", &prefix, &[]).wait().expect_code(1);
    assert!(finished.stderr.contains("`esDocumentId` is none that a cluster takes"), "{finished}");
    assert!(finished.stderr.contains("`esIndexName` is none that a cluster takes"), "{finished}");
    receiver.assert_no_complaints();
    let found: Vec<_> = receiver.documents().into_keys().collect();
    assert_eq!(found.len(), 2);
    assert!(found[0].0 == "old" && !found[0].1.is_empty(), "one of ours: {found:?}");
    assert_eq!(found[1], ("old-2026".to_owned(), id.to_owned()));
}

fn hash(text: &str) -> u64 {
    text.bytes().fold(7, |hash, byte| Rng::new(hash ^ u64::from(byte)).next())
}

/// Of what is lost on the way back the documents are there.
fn rule(_: &Bulk, before: usize) -> Reaction {
    match before % 5 {
        1 => Reaction::Lose,
        3 => Reaction::Refuse(503, &[]),
        _ => Reaction::Judge,
    }
}

fn judge(item: &Item, before: usize) -> Judgement {
    match hash(&item.document) % 8 {
        0 if before < 3 => Judgement::Refuse(400, "mapper_parsing_exception"),
        1 if before < 2 => Judgement::Refuse(429, "rejected_execution_exception"),
        _ => Judgement::Take,
    }
}

#[test]
fn kills_in_the_middle_of_a_redrive_lose_and_double_no_document() {
    let (seed, scratch, receiver) = (seed("redrive to a cluster"), Scratch::new(), BulkReceiver::start());
    let (mut rng, kills) = (Rng::new(seed), kills(40));
    let lines = numbered(kills as usize * 75);
    receiver.behave(|_, _| Reaction::Refuse(503, &[]));
    for (n, some) in lines.chunks(500).enumerate() {
        scratch.log(&format!("{n}.log"), log(some));
        Hydrant::drain(&scratch, &to_opensearch(&scratch, &receiver.urls(), json!({ "retry_seconds": 0 })));
    }
    let first = named(&scratch);
    assert_eq!((first.len(), receiver.count()), (lines.len(), 0));
    receiver.behave(rule);
    receiver.judge(judge);
    kill_again_and_again(&scratch, "web", &FAILPOINTS, &mut rng, (kills, "100"));
    redrive_all(&scratch, "web");
    receiver.assert_no_complaints();
    let documents = receiver.documents();
    let twice: Vec<_> = documents.iter().filter(|(_, document)| document.writes > 1).collect();
    assert!(twice.is_empty() && documents.len() == lines.len(), "{} of {}, {twice:?}", documents.len(), lines.len());
    for ((index, id), stored) in documents {
        assert_eq!(first[&stored.document], (json!(id), json!(index)), "its old id");
    }
    assert_eq!(named(&scratch), first, "what fails again keeps it");
    let mut again = BTreeMap::<String, Vec<u64>>::new();
    for envelope in envelopes(&scratch) {
        let attempts = envelope["attemptsMade"].as_u64().expect("a number");
        again.entry(raw(&envelope)).or_default().push(attempts);
    }
    for attempts in again.values() {
        assert_eq!(attempts.iter().collect::<BTreeSet<_>>().len(), attempts.len(), "{attempts:?}");
    }
    assert!(again.values().any(|attempts| attempts.len() > 2), "some fail again and again");
}

/// The same before a real server, where a document in ten does not fit.
#[test]
fn kills_in_the_middle_of_a_redrive_lose_and_double_no_document_of_a_real_server() {
    let (Some(server), scratch, index) = (OpenSearch::shared(), Scratch::new(), OpenSearch::name()) else { return };
    let (mut rng, kills) = (Rng::new(seed("redrive to OpenSearch")), kills(20));
    let mapping = json!({
        "settings": { "index.blocks.write": true }, "mappings": { "properties": { "n": { "type": "integer" } } },
    });
    server.ask("PUT", &format!("/{index}"), Some(&mapping));
    let line = |n: u64| if n % 10 == 5 { format!("{{\"n\":\"number {n}\"}}") } else { format!("{{\"n\":{n}}}") };
    let lines: Vec<_> = (0..kills * 75).map(line).collect();
    scratch.log("a.log", log(&lines));
    let keys = json!({ "index": index, "retry_seconds": 0 });
    Hydrant::drain(&scratch, &to_opensearch(&scratch, &[server.url()], keys));
    let first = named(&scratch);
    assert_eq!((first.len(), server.count(&index)), (lines.len(), 0));
    server.ask("PUT", &format!("/{index}/_settings"), Some(&json!({ "index.blocks.write": null })));
    kill_again_and_again(&scratch, "web", &FAILPOINTS, &mut rng, (kills, "100"));
    redrive(&scratch, "web", &[], &[]).wait().expect_code(1);
    let documents = server.documents(&index);
    let ids: BTreeMap<_, _> = documents.iter().map(|found| (found.source.to_string(), &found.id)).collect();
    assert_eq!((documents.len(), ids.len()), (lines.len() / 10 * 9, documents.len()));
    assert!(ids.iter().all(|(document, id)| first[document].0 == json!(id)));
    assert_eq!(named(&scratch), first);
    assert!(attempts(&scratch, &lines[5]).starts_with(&[1, 2]));
}
