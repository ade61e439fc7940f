//! Kills between any two steps of a delivery to OpenSearch: each line is one document, or in the backup, and never both.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use super::{failed, to_opensearch};
use crate::support::bulk::{Bulk, Item, Judgement, Reaction};
use crate::support::lines::{LineId, Rotation};
use crate::support::rng::seed;
use crate::support::{BulkReceiver, DEADLINE, Hydrant, Log, OpenSearch, Rng, Scratch};

const FAILPOINTS: [&str; 11] = [
    "read",
    "sealed",
    "intent-committed",
    "request-sent",
    "request-decided",
    "request-journalled",
    "request-split",
    "child-journalled",
    "child-put",
    "answer-received",
    "settlement-committed",
];

fn kills(default: u64) -> u64 {
    let number = std::env::var("HYDRANT_CRASH_KILLS").ok();
    number.map_or(default, |text| text.parse().expect("HYDRANT_CRASH_KILLS is a number"))
}

fn hash(text: &str) -> u64 {
    text.bytes().fold(7, |hash, byte| Rng::new(hash ^ u64::from(byte)).next())
}

/// Some requests are lost on the way there, some on the way back, some are too large.
fn rule(bulk: &Bulk, before: usize) -> Reaction {
    match before % 12 {
        1 => Reaction::Lose,
        3 if bulk.items.len() > 100 => Reaction::Refuse(413, &[]),
        5 => Reaction::Refuse(503, &[]),
        7 => Reaction::Cut(300),
        9 => Reaction::Refuse(429, &[]),
        _ => Reaction::Judge,
    }
}

/// What an item meets for good follows from its document, so that it is the same in every life.
fn judge(item: &Item, before: usize) -> Judgement {
    match hash(&item.document) % 8 {
        0 => Judgement::Refuse(400, "mapper_parsing_exception"),
        1 if before < 2 => Judgement::Refuse(429, "rejected_execution_exception"),
        2 if before == 0 => Judgement::Refuse(503, "unavailable_shards_exception"),
        _ => Judgement::Take,
    }
}

#[test]
fn kills_lose_and_double_no_document() {
    let seed = seed("crash before a cluster");
    let (scratch, receiver) = (Scratch::new(), BulkReceiver::start());
    receiver.behave(rule);
    receiver.judge(judge);
    let written =
        run(&scratch, &receiver.urls(), seed, kills(60), json!({}), || receiver.behave(|_, _| Reaction::Judge));
    assert_fates(&scratch, &receiver, written);
}

#[test]
fn kills_lose_and_double_no_document_with_several_requests_under_way() {
    let seed = seed("crash before a cluster, several under way");
    let (scratch, receiver) = (Scratch::new(), BulkReceiver::with_nodes(2));
    receiver.behave(rule);
    receiver.judge(judge);
    let keys = json!({ "in_flight": 4, "bulk_mb": 1 });
    let written = run(&scratch, &receiver.urls(), seed, kills(40), keys, || receiver.behave(|_, _| Reaction::Judge));
    assert_fates(&scratch, &receiver, written);
}

/// What is held up for good is given up after one attempt, and what was taken is never both. (Of a request whose answer is lost nobody
/// knows, so here none is.)
#[test]
fn kills_lose_and_double_no_document_that_is_given_up() {
    let seed = seed("crash before a cluster, given up");
    let (scratch, receiver) = (Scratch::new(), BulkReceiver::start());
    receiver.behave(|bulk, before| match before % 3 == 2 && bulk.items.len() > 100 {
        true => Reaction::Refuse(413, &[]),
        false => Reaction::Judge,
    });
    receiver.judge(|item, _| match hash(&item.document) % 8 {
        0 => Judgement::Refuse(400, "mapper_parsing_exception"),
        1 | 2 => Judgement::Refuse(429, "rejected_execution_exception"),
        _ => Judgement::Take,
    });
    let written = run(&scratch, &receiver.urls(), seed, kills(40), json!({ "retry_seconds": 0 }), || ());
    assert_fates(&scratch, &receiver, written);
}

/// Before a real server, some documents do not fit the mapping.
#[test]
fn kills_lose_and_double_no_document_of_a_real_server() {
    let Some(server) = OpenSearch::shared() else { return };
    let (seed, scratch, index) = (seed("crash before OpenSearch"), Scratch::new(), OpenSearch::name());
    let mapping = json!({ "mappings": { "properties": { "digit": { "type": "long" } } } });
    server.ask("PUT", &format!("/{index}"), Some(&mapping));
    let keys = json!({ "index": index });
    let written = run(&scratch, &[server.url()], seed, kills(50), keys, || ());
    let documents = server.documents(&index);
    let taken = documents.iter().map(|found| found.source["line"].as_str().expect("a text").to_owned());
    assert_each_once(taken.collect(), failed_lines(&scratch), written);
}

/// Kills it again and again while lines are written, lets `heal` mend the cluster, drains, and says how many were written.
fn run(scratch: &Scratch, urls: &[String], seed: u64, kills: u64, mut keys: Value, heal: impl FnOnce()) -> u64 {
    let mut rng = Rng::new(seed);
    if rng.one_in(2) {
        keys["content_encoding"] = "gzip".into();
    }
    let mut config = to_opensearch(scratch, urls, keys);
    // The line becomes a field; another one begins with a hexadecimal digit, so it is not always a number.
    let pattern = r"(?<line>\S+ \S+ \S+ (?<digit>[0-9a-f]).*)";
    config["delivery_streams"][0]["processing"] = json!([{ "log_to_json": { "pattern": pattern } }]);
    let mut logs = ["app.log", "two.log"].map(|name| Log::create(&scratch.logs(), name, Rotation::OutOfTheGlob));
    let mut by_failpoint = 0;
    for n in 0..kills {
        logs.iter_mut().for_each(|log| log.append(rng.between(20, 200)));
        let failpoint = (cfg!(debug_assertions) && n % 3 != 2).then(|| {
            let name = FAILPOINTS[(n - n / 3) as usize % FAILPOINTS.len()];
            format!("{name}:{}", rng.between(1, 3))
        });
        let env: Vec<_> = failpoint.iter().map(|point| ("HYDRANT_FAILPOINT", point.as_str())).collect();
        let mut hydrant = Hydrant::run_with_env(scratch, &config, &env);
        let life = match failpoint {
            // Not every life comes by every point.
            Some(_) => Duration::from_secs(3).min(DEADLINE),
            None => Duration::from_millis(rng.between(1, 800)),
        };
        by_failpoint += u64::from(hydrant.ends_within(life));
        let finished = hydrant.kill_9();
        assert!(finished.killed(), "kill {n}, failpoint {failpoint:?}: {finished}");
    }
    println!("{kills} kills, of them {by_failpoint} at failpoints");
    heal();
    Hydrant::drain(scratch, &config);
    logs.iter().map(|log| log.next).sum()
}

fn assert_fates(scratch: &Scratch, receiver: &BulkReceiver, written: u64) {
    receiver.assert_no_complaints();
    let documents = receiver.documents();
    assert!(documents.values().all(|document| document.writes == 1));
    let taken = documents.values().map(|document| line(&document.document)).collect();
    assert_each_once(taken, failed_lines(scratch), written);
}

fn line(document: &str) -> String {
    let document: Value = serde_json::from_str(document).expect("JSON");
    document["line"].as_str().expect("a text").to_owned()
}

fn failed_lines(scratch: &Scratch) -> Vec<String> {
    failed(scratch).iter().map(|document| line(document)).collect()
}

#[track_caller]
fn assert_each_once(taken: Vec<String>, failed: Vec<String>, written: u64) {
    println!("{} documents, {} in the backup, of {written} lines", taken.len(), failed.len());
    assert!(!failed.is_empty(), "some are refused");
    let mut found = BTreeMap::<LineId, u32>::new();
    for line in taken.into_iter().chain(failed) {
        *found.entry(LineId::parse(&line).expect("a whole line")).or_default() += 1;
    }
    let doubled: Vec<_> = found.iter().filter(|(_, count)| **count > 1).collect();
    assert!(doubled.is_empty(), "{} lines twice, the first {:?}", doubled.len(), doubled[0]);
    assert_eq!(found.len() as u64, written, "every line has its fate");
}
