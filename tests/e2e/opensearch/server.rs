//! Against a real server: what it says is understood, and in the end its index and the error output hold each record once.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{envelopes, failed, log, numbered, to_opensearch};
use crate::support::opensearch::Found;
use crate::support::scratch::append;
use crate::support::servers::free_port;
use crate::support::wire::Forwarder;
use crate::support::{Hydrant, Objects, OpenSearch, Scratch, wait_until};

/// `*.log` → an index of this test's own.
fn scene(keys: Value) -> Option<(&'static OpenSearch, Scratch, String, Value)> {
    let (server, scratch, index) = (OpenSearch::shared()?, Scratch::new(), OpenSearch::name());
    let mut all = json!({ "index": index });
    let keys = keys.as_object().expect("keys").clone();
    all.as_object_mut().expect("keys").extend(keys);
    let config = to_opensearch(&scratch, &[server.url()], all);
    Some((server, scratch, index, config))
}

/// The field `n` of each document, sorted; every id is there once.
#[track_caller]
fn numbers(documents: &[Found]) -> Vec<u64> {
    let ids: BTreeSet<_> = documents.iter().map(|found| (&found.index, &found.id)).collect();
    assert_eq!(ids.len(), documents.len(), "each id once");
    let mut numbers: Vec<_> = documents.iter().map(|found| found.source["n"].as_u64().expect("a number")).collect();
    numbers.sort_unstable();
    numbers
}

#[test]
fn one_document_in_a_hundred_that_does_not_fit_fails_alone() {
    let Some((server, scratch, index, config)) = scene(json!({})) else { return };
    let mapping = json!({ "mappings": { "dynamic": "strict", "properties": {
        "n": { "type": "integer" }, "at": { "type": "date" }, "user": { "properties": { "id": { "type": "integer" } } },
    } } });
    server.ask("PUT", &format!("/{index}"), Some(&mapping));
    let line = |n: usize| match n % 500 {
        100 => format!(r#"{{"n":{n},"at":"yesterday"}}"#),
        200 => format!(r#"{{"n":{n},"user":"a text, no object"}}"#),
        300 => format!(r#"{{"n":{n},"more":"than the mapping has"}}"#),
        400 => format!(r#"{{"n":9{n}00000000000}}"#),
        499 => format!(r#"{{"n":{n},"n":"twice"}}"#),
        _ => format!(r#"{{"n":{n},"at":"2026-11-21T00:00:00Z","user":{{"id":{n}}}}}"#),
    };
    let lines: Vec<_> = (0..10_000).map(line).collect();
    scratch.log("a.log", log(&lines));
    Hydrant::drain(&scratch, &config);
    let is_bad = |n: usize| [100, 200, 300, 400, 499].contains(&(n % 500));
    let (bad, good): (Vec<usize>, Vec<usize>) = (0..lines.len()).partition(|n| is_bad(*n));
    assert_eq!(bad.len(), 100);
    assert_eq!(numbers(&server.documents(&index)), good.iter().map(|n| *n as u64).collect::<Vec<_>>());
    let mut expected: Vec<_> = bad.iter().map(|n| lines[*n].clone()).collect();
    expected.sort();
    assert_eq!(failed(&scratch), expected);
    for envelope in envelopes(&scratch) {
        assert_eq!((&envelope["errorCode"], &envelope["esIndexName"]), (&json!("400"), &json!(index)), "{envelope}");
        assert_eq!(envelope["attemptsMade"], 1);
    }
}

/// As at the flood stage of its disk: what is not taken waits, and comes when there is room.
#[test]
fn an_index_that_is_read_only_for_a_while_loses_nothing() {
    for block in ["read_only_allow_delete", "write", "read_only"] {
        let Some((server, scratch, index, config)) = scene(json!({})) else { return };
        server.ask("PUT", &format!("/{index}"), None);
        scratch.log("a.log", log(&numbered(1_000)));
        let hydrant = Hydrant::run(&scratch, &config);
        wait_until("the first are taken", || server.count(&index) == 1_000);
        server.ask("PUT", &format!("/{index}/_settings"), Some(&json!({ format!("index.blocks.{block}"): true })));
        append(&scratch.logs().join("a.log"), (1_000..2_000).map(|n| format!("{{\"n\":{n}}}\n")).collect::<String>());
        wait_until("it is refused", || hydrant.said("cluster_block_exception") > 0);
        server.ask("PUT", &format!("/{index}/_settings"), Some(&json!({ format!("index.blocks.{block}"): null })));
        wait_until("the rest is taken", || server.count(&index) == 2_000);
        hydrant.terminate().expect_code(0);
        assert_eq!(numbers(&server.documents(&index)), (0..2_000).collect::<Vec<_>>());
        assert!(Objects::read(&scratch.backup()).keys().next().is_none(), "{block}");
    }
}

/// With SIGKILL, as a machine does that loses its power, and then as it was.
#[test]
fn a_server_that_is_killed_and_restarted_in_the_middle_has_each_document_once() {
    let (scratch, port) = (Scratch::new(), free_port());
    let Some(mut server) = OpenSearch::own(&scratch, port) else { return };
    let keys = json!({ "index": "web", "retry_seconds": 7_200 });
    let mut config = to_opensearch(&scratch, &[server.url()], keys);
    config["delivery_streams"][0]["buffering"] = json!({ "size_mb": 1, "interval_seconds": 1, "low_latency": true });
    let mapping = json!({ "mappings": { "properties": { "n": { "type": "integer" } } } });
    server.ask("PUT", "/web", Some(&mapping));
    let line = |n: usize| match n % 100 {
        50 => format!("{{\"n\":\"number {n}\"}}\n"),
        _ => format!("{{\"n\":{n},\"text\":\"{}\"}}\n", "x".repeat(300)),
    };
    const PART: usize = 10_000;
    let path = scratch.log("a.log", (0..PART).map(line).collect::<String>());
    let hydrant = Hydrant::run(&scratch, &config);
    for part in 1..3 {
        wait_until("much of it is taken", || server.count("web") > (part - 1) * PART);
        append(&path, (part * PART..(part + 1) * PART).map(line).collect::<String>());
        // It is killed while more comes.
        drop(server);
        wait_until("it is missed", || hydrant.said("tried again") > 0);
        server = OpenSearch::own(&scratch, port).expect("it was there");
    }
    let all = 3 * PART;
    wait_until("all have their fate", || server.count("web") + Objects::read(&scratch.backup()).lines_total() >= all);
    hydrant.terminate().expect_code(0);
    let (bad, good): (Vec<usize>, Vec<usize>) = (0..all).partition(|n| n % 100 == 50);
    assert_eq!(numbers(&server.documents("web")), good.iter().map(|n| *n as u64).collect::<Vec<_>>());
    let mut expected: Vec<_> = bad.iter().map(|n| line(*n).trim_end().to_owned()).collect();
    expected.sort();
    assert_eq!(failed(&scratch), expected);
}

#[test]
fn a_connection_that_breaks_moves_the_work_to_the_other_node() {
    let (Some(server), scratch, index) = (OpenSearch::shared(), Scratch::new(), OpenSearch::name()) else { return };
    let mut ways = [Forwarder::start(server.port()), Forwarder::start(server.port())];
    let urls = [ways[0].url(), ways[1].url()];
    let config = to_opensearch(&scratch, &urls, json!({ "index": index }));
    let path = scratch.log("a.log", "");
    let hydrant = Hydrant::run(&scratch, &config);
    for n in 0..10 {
        append(&path, (n * 500..(n + 1) * 500).map(|n| format!("{{\"n\":{n}}}\n")).collect::<String>());
        // Somewhere in what was written last.
        ways[n % 2].stop();
        wait_until("much of it is taken", || server.count(&index) > n * 500);
        ways[n % 2].listen();
    }
    wait_until("all is taken", || server.count(&index) >= 5_000);
    hydrant.terminate().expect_code(0);
    assert_eq!(numbers(&server.documents(&index)), (0..5_000).collect::<Vec<_>>());
    assert!(Objects::read(&scratch.backup()).keys().next().is_none());
}

#[test]
fn rotated_indexes_and_expressions_are_made_by_the_server() {
    let Some((server, scratch, index, mut config)) = scene(json!({})) else { return };
    let opensearch = &mut config["delivery_streams"][0]["destination"]["opensearch"];
    opensearch["index"] = format!("{index}-!{{partitionKeyFromQuery:team}}").into();
    opensearch["index_rotation"] = "week".into();
    config["delivery_streams"][0]["partitioning"] = json!({ "keys": { "team": ".team" } });
    scratch.log("a.log", (0..300).map(|n| format!("{{\"n\":{n},\"team\":\"team{}\"}}\n", n % 3)).collect::<String>());
    Hydrant::drain(&scratch, &config);
    let documents = server.documents(&format!("{index}-*"));
    assert_eq!(numbers(&documents), (0..300).collect::<Vec<_>>());
    let indexes: BTreeSet<_> = documents.iter().map(|found| found.index.clone()).collect();
    assert!(indexes.len() >= 3 && indexes.iter().all(|index| index.contains("-w")), "{indexes:?}");
    for found in documents {
        assert!(found.index.contains(&format!("-team{}-", found.source["n"].as_u64().expect("a number") % 3)));
    }
}

/// A data stream takes `create` alone, and every document needs its time.
#[test]
fn a_data_stream_takes_documents_with_a_time_and_no_others() {
    let Some((server, scratch, index, config)) = scene(json!({ "data_stream": true })) else { return };
    let template = json!({ "index_patterns": [index], "priority": 100, "data_stream": {}, "template": { "settings": {
        "number_of_shards": 1, "number_of_replicas": 0, "max_result_window": 1_000_000,
    } } });
    server.ask("PUT", &format!("/_index_template/{index}"), Some(&template));
    let line = |n: u64| match n % 10 {
        9 => format!("{{\"n\":{n}}}\n"),
        _ => format!("{{\"n\":{n},\"@timestamp\":\"2026-11-21T00:00:00Z\"}}\n"),
    };
    scratch.log("a.log", (0..100).map(line).collect::<String>());
    Hydrant::drain(&scratch, &config);
    let documents = server.documents(&index);
    assert!(documents.iter().all(|found| found.index.starts_with(&format!(".ds-{index}-"))));
    assert_eq!(numbers(&documents), (0..100).filter(|n| n % 10 != 9).collect::<Vec<_>>());
    assert_eq!(envelopes(&scratch).len(), 10);
}

#[test]
fn a_pipeline_is_run_and_a_missing_one_fails_its_documents() {
    let Some((server, scratch, index, mut config)) = scene(json!({})) else { return };
    server.ask("PUT", &format!("/_ingest/pipeline/{index}"), Some(&json!({ "processors": [] })));
    config["delivery_streams"][0]["destination"]["opensearch"]["pipeline"] = index.clone().into();
    let path = scratch.log("a.log", log(&numbered(10)));
    Hydrant::drain(&scratch, &config);
    assert_eq!(numbers(&server.documents(&index)), (0..10).collect::<Vec<_>>());
    config["delivery_streams"][0]["destination"]["opensearch"]["pipeline"] = "missing".into();
    append(&path, "{\"n\":10}\n");
    Hydrant::drain(&scratch, &config);
    assert_eq!((server.count(&index), envelopes(&scratch).len()), (10, 1));
}

/// Its answers name the index behind it.
#[test]
fn an_alias_takes_documents_for_its_index() {
    let Some((server, scratch, index, config)) = scene(json!({})) else { return };
    let aliases = json!({ "aliases": { index.clone(): { "is_write_index": true } } });
    server.ask("PUT", &format!("/{index}-000001"), Some(&aliases));
    scratch.log("a.log", log(&numbered(100)));
    Hydrant::drain(&scratch, &config);
    let documents = server.documents(&index);
    assert_eq!(numbers(&documents), (0..100).collect::<Vec<_>>());
    assert!(documents.iter().all(|found| found.index == format!("{index}-000001")));
    assert!(Objects::read(&scratch.backup()).keys().next().is_none());
}

#[test]
fn an_index_that_needs_routing_takes_what_has_it() {
    let Some((server, scratch, index, config)) = scene(json!({ "routing": { "field": "user" } })) else { return };
    let mapping = json!({ "mappings": { "_routing": { "required": true } } });
    server.ask("PUT", &format!("/{index}"), Some(&mapping));
    scratch.log(
        "a.log",
        (0..100).map(|n| format!("{{\"n\":{n},\"user\":\"u{}\"}}\n", n % 7)).collect::<String>() + "{\"n\":100}\n",
    );
    Hydrant::drain(&scratch, &config);
    let documents = server.documents(&index);
    assert_eq!(numbers(&documents), (0..100).collect::<Vec<_>>());
    for found in documents {
        assert_eq!(found.routing, found.source["user"].as_str().map(str::to_owned));
    }
    assert_eq!(failed(&scratch), [r#"{"n":100}"#]);
}

#[test]
fn ids_from_a_field_and_ids_of_the_server() {
    let Some((server, scratch, index, mut config)) = scene(json!({ "document_id": { "from_field": "id" } })) else {
        return;
    };
    scratch.log("a.log", (0..300).map(|n| format!("{{\"n\":{n},\"id\":\"id {}\"}}\n", n % 100)).collect::<String>());
    Hydrant::drain(&scratch, &config);
    let documents = server.documents(&index);
    assert_eq!(numbers(&documents), (200..300).collect::<Vec<_>>(), "the last of each id");
    assert!(documents.iter().all(|found| found.source["id"] == found.id.as_str()));

    let (scratch, index) = (Scratch::new(), OpenSearch::name());
    scratch.log("a.log", log(&numbered(100)));
    config["state_dir"] = json!(scratch.state());
    config["delivery_streams"][0]["source"]["file"]["paths"] = json!([scratch.logs().join("*.log")]);
    let opensearch = &mut config["delivery_streams"][0]["destination"]["opensearch"];
    (opensearch["index"], opensearch["document_id"]) = (index.clone().into(), "none".into());
    Hydrant::drain(&scratch, &config);
    assert_eq!(numbers(&server.documents(&index)), (0..100).collect::<Vec<_>>());
}

#[test]
fn a_request_over_the_servers_limit_is_cut_and_compressed_ones_are_read() {
    let Some((server, scratch, index, mut config)) = scene(json!({ "content_encoding": "gzip" })) else { return };
    let lines: Vec<_> = (0..5_000).map(|n| format!(r#"{{"n":{n},"text":"{}"}}"#, "abc ".repeat(200))).collect();
    scratch.log("a.log", log(&lines));
    config["delivery_streams"][0]["buffering"] = json!({ "size_mb": 16, "interval_seconds": 1, "low_latency": true });
    Hydrant::drain(&scratch, &config);
    assert_eq!(numbers(&server.documents(&index)), (0..5_000).collect::<Vec<_>>());
}
