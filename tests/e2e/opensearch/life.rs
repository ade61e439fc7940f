//! The life of a document that is not taken: its error output, the backup that is away, the next life of the process.

use serde_json::{Value, json};

use super::{envelopes, failed, log, numbered, raw, to_opensearch};
use crate::support::bulk::{Judgement, Reaction};
use crate::support::scratch::{InTheWay, append};
use crate::support::{BulkReceiver, Endpoint, Hydrant, Objects, Scratch, blockable, endpoint, wait_until};

#[test]
fn after_the_retry_duration_documents_go_to_the_backup_in_firehoses_envelopes() {
    let (scratch, receiver) = (Scratch::new(), BulkReceiver::start());
    let lines = numbered(2);
    scratch.log("a.log", log(&lines));
    receiver.behave(|_, _| Reaction::Refuse(500, &[]));
    let before = jiff::Timestamp::now().as_millisecond();
    let hydrant = Hydrant::run(&scratch, &to_opensearch(&scratch, &receiver.urls(), json!({ "retry_seconds": 1 })));
    wait_until("they are in the backup", || Objects::read(&scratch.backup()).lines_total() == 2);
    receiver.behave(|_, _| Reaction::Judge);
    append(&scratch.logs().join("a.log"), "{\"n\":2}\n");
    wait_until("the stream goes on", || receiver.count() == 1);
    hydrant.terminate().expect_code(0);
    receiver.assert_no_complaints();
    assert_eq!((failed(&scratch), receiver.lines()), (lines.clone(), vec![r#"{"n":2}"#.to_owned()]));
    let received = receiver.received();
    let attempts = received.iter().filter(|bulk| bulk.items.iter().any(|item| item.document == lines[0])).count();
    for envelope in envelopes(&scratch) {
        let fields: Vec<_> = envelope.as_object().expect("an object").keys().map(String::as_str).collect();
        let mut expected = [
            "attemptsMade",
            "arrivalTimestamp",
            "errorCode",
            "errorMessage",
            "attemptEndingTimestamp",
            "esDocumentId",
            "esIndexName",
            "esTypeName",
            "rawData",
        ];
        expected.sort_unstable();
        assert_eq!(fields, expected);
        assert_eq!((&envelope["errorCode"], &envelope["attemptsMade"]), (&json!("500"), &json!(attempts)));
        let (arrival, end) = (&envelope["arrivalTimestamp"], &envelope["attemptEndingTimestamp"]);
        let (arrival, end) = (arrival.as_i64().expect("a number"), end.as_i64().expect("a number"));
        assert!(before <= arrival && arrival + 500 <= end, "{envelope}");
        let sent = received[0].items.iter().find(|item| item.document == raw(&envelope)).expect("it was sent");
        assert_eq!((&envelope["esDocumentId"], &envelope["esIndexName"]), (&json!(sent.id), &json!("web")));
    }
}

/// As Firehose counts them here, attempts are part of the retry duration.
#[test]
fn without_a_retry_duration_there_is_one_attempt() {
    let (scratch, receiver) = (Scratch::new(), BulkReceiver::start());
    scratch.log("a.log", log(&numbered(3)));
    receiver.judge(|_, _| Judgement::Refuse(429, "rejected_execution_exception"));
    Hydrant::drain(&scratch, &to_opensearch(&scratch, &receiver.urls(), json!({ "retry_seconds": 0 })));
    receiver.assert_no_complaints();
    assert_eq!((receiver.requests(), failed(&scratch)), (1, numbered(3)));
}

/// What fails at once and what fails when its time is over is one object.
#[test]
fn a_delivery_has_one_error_output_for_all_that_fails() {
    let (scratch, receiver) = (Scratch::new(), BulkReceiver::start());
    scratch.log("a.log", format!("{}no json\n", log(&numbered(4))));
    receiver.judge(|item, _| match item.json()["n"].as_u64() {
        Some(1) => Judgement::Refuse(400, "mapper_parsing_exception"),
        Some(2) => Judgement::Refuse(429, "rejected_execution_exception"),
        _ => Judgement::Take,
    });
    Hydrant::drain(&scratch, &to_opensearch(&scratch, &receiver.urls(), json!({ "retry_seconds": 1 })));
    receiver.assert_no_complaints();
    assert_eq!(receiver.lines(), [r#"{"n":0}"#, r#"{"n":3}"#]);
    assert_eq!(failed(&scratch), ["no json", r#"{"n":1}"#, r#"{"n":2}"#]);
    assert_eq!(Objects::read(&scratch.backup()).len(), 1);
}

#[test]
fn while_the_backup_is_away_too_the_stream_waits() {
    let (scratch, receiver) = (Scratch::new(), BulkReceiver::start());
    scratch.log("a.log", "{\"n\":0}\n");
    receiver.behave(|_, before| if before == 0 { Reaction::Refuse(503, &[]) } else { Reaction::Judge });
    let mut config = to_opensearch(&scratch, &receiver.urls(), json!({ "retry_seconds": 0 }));
    config["delivery_streams"][0]["backup"] = blockable(&scratch.backup());
    let in_the_way = InTheWay::of(&scratch.backup());
    let hydrant = Hydrant::run(&scratch, &config);
    wait_until("the backup was tried", || {
        hydrant.said("delivery failed; it is tried again") > 0 || hydrant.said("delivery refused") > 0
    });
    append(&scratch.logs().join("a.log"), "{\"n\":1}\n");
    hydrant.wait_until_reading_halts();
    drop(in_the_way);
    wait_until("both have their fate", || {
        receiver.lines() == [r#"{"n":1}"#] && Objects::read(&scratch.backup()).lines_total() == 1
    });
    hydrant.terminate().expect_code(0);
    let lines = Objects::read(&scratch.backup()).lines();
    assert_eq!(raw(&serde_json::from_str(&lines[0]).expect("an envelope")), r#"{"n":0}"#);
    receiver.assert_no_complaints();
}

/// What was taken in one life is not asked about in the next; the rest comes under the same ids.
#[test]
fn what_waits_at_the_end_of_a_life_comes_alone_in_the_next() {
    let (scratch, receiver) = (Scratch::new(), BulkReceiver::start());
    scratch.log("a.log", log(&numbered(30)));
    receiver.judge(|item, _| match item.json()["n"].as_u64() {
        Some(n) if n % 3 == 0 => Judgement::Refuse(429, "rejected_execution_exception"),
        Some(n) if n % 3 == 1 => Judgement::Refuse(400, "mapper_parsing_exception"),
        _ => Judgement::Take,
    });
    let mut config = to_opensearch(&scratch, &receiver.urls(), json!({}));
    config["shutdown_timeout_seconds"] = 0.into();
    let hydrant = Hydrant::run(&scratch, &config);
    wait_until("a third was tried again", || receiver.requests() >= 2);
    hydrant.terminate().expect_code(0);
    let before = receiver.received();
    receiver.judge(|_, _| Judgement::Take);
    // What is journalled stays where it was meant to go.
    config["delivery_streams"][0]["destination"]["opensearch"]["index"] = "other".into();
    Hydrant::drain(&scratch, &config);
    receiver.assert_no_complaints();
    let after: Vec<_> = receiver.received().split_off(before.len()).into_iter().flat_map(|bulk| bulk.items).collect();
    let id = |n: usize| before[0].items[n].id.clone();
    assert_eq!(after.len(), 10);
    for (n, item) in after.iter().enumerate() {
        assert_eq!((&item.index, &item.id), (&"web".to_owned(), &id(n * 3)));
    }
    assert_eq!((receiver.count(), failed(&scratch).len()), (20, 10));
    // What is new goes to the other one.
    append(&scratch.logs().join("a.log"), "{\"n\":99}\n");
    Hydrant::drain(&scratch, &config);
    let documents = receiver.documents();
    assert_eq!(documents.iter().filter(|((index, _), _)| index == "other").count(), 1);
}

/// What the old one did not acknowledge goes there; what it had taken all the same is in both.
#[test]
fn what_was_not_acknowledged_goes_to_the_new_cluster() {
    let (scratch, old, new) = (Scratch::new(), BulkReceiver::start(), BulkReceiver::start());
    let config = with_one_of_two_pending(&scratch, &old);
    let mut other = config.clone();
    other["delivery_streams"][0]["destination"]["opensearch"]["urls"] = json!(new.urls());
    let before = old.requests();
    Hydrant::drain(&scratch, &other);
    assert_eq!((old.requests(), old.lines()), (before, vec![r#"{"n":0}"#.to_owned()]));
    assert_eq!(new.lines(), [r#"{"n":1}"#]);
    new.assert_no_complaints();
}

#[test]
fn what_a_cluster_did_not_acknowledge_goes_to_an_endpoint_that_takes_its_place() {
    let (scratch, old, new) = (Scratch::new(), BulkReceiver::start(), Endpoint::start());
    let mut config = with_one_of_two_pending(&scratch, &old);
    let before = old.requests();
    config["delivery_streams"][0]["destination"] = json!({ "http_endpoint": { "url": new.url() } });
    Hydrant::drain(&scratch, &config);
    assert_eq!((old.requests(), old.lines()), (before, vec![r#"{"n":0}"#.to_owned()]));
    assert_eq!(new.lines(), [r#"{"n":1}"#]);
    assert!(envelopes(&scratch).is_empty());
    new.assert_no_complaints();
}

#[test]
fn what_an_endpoint_did_not_acknowledge_goes_to_a_cluster_that_takes_its_place() {
    let (scratch, old, new) = (Scratch::new(), Endpoint::start(), BulkReceiver::start());
    scratch.log("a.log", log(&numbered(2)));
    old.behave(|request, _| match request.records[0].as_slice() {
        br#"{"n":0}"# => endpoint::Reaction::Accept,
        _ => endpoint::Reaction::Refuse(500, &[]),
    });
    let mut config = to_opensearch(&scratch, &new.urls(), json!({}));
    config["shutdown_timeout_seconds"] = 0.into();
    let mut before = config.clone();
    before["delivery_streams"][0]["destination"] = json!({ "http_endpoint": { "url": old.url(), "max_records": 1 } });
    let hydrant = Hydrant::run(&scratch, &before);
    wait_until("the second is refused", || old.received().len() >= 2);
    hydrant.terminate().expect_code(0);
    let before = old.received().len();
    Hydrant::drain(&scratch, &config);
    assert_eq!((old.received().len(), old.lines()), (before, vec![r#"{"n":0}"#.to_owned()]));
    assert_eq!(new.lines(), [r#"{"n":1}"#]);
    assert!(envelopes(&scratch).is_empty());
    new.assert_no_complaints();
}

/// Of two documents the first is taken; the life ends.
fn with_one_of_two_pending(scratch: &Scratch, old: &BulkReceiver) -> Value {
    scratch.log("a.log", log(&numbered(2)));
    old.judge(|item, _| match item.json()["n"].as_u64() {
        Some(0) => Judgement::Take,
        _ => Judgement::Refuse(503, "unavailable_shards_exception"),
    });
    let keys = json!({ "auth": { "bearer_token": "hunter2" } });
    let mut config = to_opensearch(scratch, &old.urls(), keys);
    config["shutdown_timeout_seconds"] = 0.into();
    let hydrant = Hydrant::run(scratch, &config);
    wait_until("the second was tried again", || old.requests() >= 2);
    hydrant.terminate().expect_code(0);
    old.judge(|_, _| Judgement::Take);
    config
}

/// Other documents would come of them: what was acknowledged stays so, the rest is made anew, under the same ids.
#[test]
fn with_another_processing_nothing_is_lost_and_nothing_acknowledged_comes_again() {
    let (scratch, receiver) = (Scratch::new(), BulkReceiver::start());
    scratch.log("a.log", log(&numbered(6)));
    receiver.judge(|item, _| match item.json()["n"].as_u64() {
        Some(n) if n % 2 == 0 => Judgement::Take,
        _ => Judgement::Refuse(503, "unavailable_shards_exception"),
    });
    let mut config = to_opensearch(&scratch, &receiver.urls(), json!({}));
    config["shutdown_timeout_seconds"] = 0.into();
    let hydrant = Hydrant::run(&scratch, &config);
    wait_until("half was tried again", || receiver.requests() >= 2);
    hydrant.terminate().expect_code(0);
    receiver.judge(|_, _| Judgement::Take);
    config["delivery_streams"][0]["processing"] = json!([{ "json": { "rename": { "n": "m" } } }]);
    Hydrant::drain(&scratch, &config);
    receiver.assert_no_complaints();
    let mut expected: Vec<_> = (0..6).map(|n| format!(r#"{{"{}":{n}}}"#, if n % 2 == 0 { "n" } else { "m" })).collect();
    expected.sort();
    assert_eq!(receiver.lines(), expected);
    assert!(receiver.documents().values().all(|document| document.writes == 1));
}

/// One that is down is asked now and then, not hammered.
#[test]
fn a_cluster_that_is_away_is_probed_and_then_taken_up_again() {
    let (scratch, receiver) = (Scratch::new(), BulkReceiver::start());
    let lines: Vec<_> = (0..2_000).map(|n| format!(r#"{{"n":{n},"text":"{}"}}"#, "x".repeat(1_000))).collect();
    scratch.log("a.log", log(&lines));
    receiver.behave(|_, _| Reaction::Refuse(503, &[]));
    let hydrant = Hydrant::run(&scratch, &to_opensearch(&scratch, &receiver.urls(), json!({})));
    wait_until("it is found to be away", || receiver.requests() >= 6);
    hydrant.wait_until_reading_halts();
    receiver.behave(|_, _| Reaction::Judge);
    wait_until("all is taken", || receiver.count() == lines.len());
    hydrant.terminate().expect_code(0);
    receiver.assert_no_complaints();
    assert!(Objects::read(&scratch.backup()).keys().next().is_none());
}

/// Bodies are as large as memory lets them be, and envelopes are longer than what they hold; each third document fails, so that
/// what is journalled of a delivery is as scattered as it can be.
#[test]
fn memory_is_bounded_however_much_is_sent_and_refused() {
    const MB: u64 = 1 << 20;
    const LIMIT_MB: u64 = 32;
    /// The binary itself in a debug build, the SDK, the journal, and an allocator's slack.
    const BESIDES_MB: u64 = 96;
    let (scratch, receiver) = (Scratch::new(), BulkReceiver::start());
    let line = |n: usize| format!("{{\"n\":\"{n:09}\",\"text\":\"{}\"}}\n", "0123456789abcdef".repeat(16));
    let records = 24 * MB as usize / line(0).len();
    scratch.log("a.log", (0..records).map(line).collect::<String>());
    receiver.judge(|item, _| match item.document.as_bytes()[14] % 3 {
        0 => Judgement::Refuse(400, "mapper_parsing_exception"),
        _ => Judgement::Take,
    });
    let keys = json!({ "retry_seconds": 0, "in_flight": 2 });
    let mut config = to_opensearch(&scratch, &receiver.urls(), keys);
    config["memory_limit_mb"] = LIMIT_MB.into();
    config["delivery_streams"][0]["buffering"] = json!({ "size_mb": 16, "interval_seconds": 60 });
    let hydrant = Hydrant::run(&scratch, &config);
    let mut peak = 0;
    wait_until("much of it is taken", || {
        peak = peak.max(hydrant.peak_memory());
        // What is buffered last waits for its interval.
        receiver.count() > records / 3
    });
    println!("peak memory {} MB", peak / MB);
    assert!(peak < (LIMIT_MB + BESIDES_MB) * MB, "peak memory {} MB", peak / MB);
    hydrant.terminate().expect_code(0);
    receiver.assert_no_complaints();
    assert_eq!(receiver.count() + Objects::read(&scratch.backup()).lines_total(), records);
}

/// An error of the backup's own, told by the test: envelopes hold JSON and nothing else.
#[test]
fn reasons_with_quotes_and_line_ends_stay_in_their_envelope() {
    let (scratch, receiver) = (Scratch::new(), BulkReceiver::start());
    scratch.log("a.log", log(&numbered(1)));
    receiver.judge(|_, _| Judgement::Refuse(400, "a \"quoted\"\nreason\u{0}\u{7f}ü"));
    Hydrant::drain(&scratch, &to_opensearch(&scratch, &receiver.urls(), json!({})));
    receiver.assert_no_complaints();
    let envelopes: Vec<Value> = envelopes(&scratch);
    assert_eq!(envelopes.len(), 1);
    assert!(
        envelopes[0]["errorMessage"].as_str().is_some_and(|message| message.contains("a \"quoted\"\nreason")),
        "{envelopes:?}"
    );
}
