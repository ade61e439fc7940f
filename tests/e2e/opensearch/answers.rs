//! What is made of answers: each item's own, and those that break the rules.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use super::{envelopes, failed, log, numbered, raw, to_opensearch};
use crate::support::bulk::{Judgement, Reaction};
use crate::support::wire::answer;
use crate::support::{BulkReceiver, Hydrant, Objects, Scratch};

const BUSY: Judgement = Judgement::Refuse(429, "rejected_execution_exception");
const MAPPING: Judgement = Judgement::Refuse(400, "mapper_parsing_exception");

fn number(document: &str) -> u64 {
    let document: Value = serde_json::from_str(document).expect("JSON");
    document["n"].as_u64().expect("a number")
}

/// What an item meets at first, by its number; later it is taken.
const PASSING: [(u16, &str); 7] = [
    (429, "rejected_execution_exception"),
    (429, "cluster_block_exception"),
    (403, "cluster_block_exception"),
    (500, "node_closed_exception"),
    (502, "unavailable_shards_exception"),
    (503, "unavailable_shards_exception"),
    (504, "timeout_exception"),
];

/// What items meet for good.
const FOR_GOOD: [(u16, &str); 6] = [
    (400, "mapper_parsing_exception"),
    (400, "illegal_argument_exception"),
    (401, "security_exception"),
    (403, "security_exception"),
    (404, "index_not_found_exception"),
    (413, "content_too_long_exception"),
];

#[test]
fn each_item_is_judged_on_its_own() {
    let (scratch, receiver) = (Scratch::new(), BulkReceiver::start());
    let lines = numbered(100);
    scratch.log("a.log", log(&lines));
    receiver.judge(|item, before| {
        let n = number(&item.document) as usize;
        match (PASSING.get(n % 20), FOR_GOOD.get((n % 20).wrapping_sub(PASSING.len()))) {
            (Some(&(status, kind)), _) if before < 2 => Judgement::Refuse(status, kind),
            (_, Some(&(status, kind))) => Judgement::Refuse(status, kind),
            _ => Judgement::Take,
        }
    });
    Hydrant::drain(&scratch, &to_opensearch(&scratch, &receiver.urls(), json!({})));
    receiver.assert_no_complaints();
    let is_for_good = |n: usize| (PASSING.len()..PASSING.len() + FOR_GOOD.len()).contains(&(n % 20));
    let (mut lost, mut taken): (Vec<_>, Vec<_>) =
        lines.iter().cloned().partition(|line| is_for_good(number(line) as usize));
    lost.sort();
    taken.sort();
    assert_eq!((receiver.lines(), failed(&scratch)), (taken, lost));
    // What was judged is not asked about again: taken or refused once, held up three times.
    let mut came = BTreeMap::<u64, usize>::new();
    receiver
        .received()
        .iter()
        .flat_map(|bulk| &bulk.items)
        .for_each(|item| *came.entry(number(&item.document)).or_default() += 1);
    for (n, came) in came {
        assert_eq!(came, if (n % 20) < PASSING.len() as u64 { 3 } else { 1 }, "document {n}");
    }
    for envelope in envelopes(&scratch) {
        let (status, kind) = FOR_GOOD[number(&raw(&envelope)) as usize % 20 - PASSING.len()];
        assert_eq!(envelope["errorCode"], status.to_string(), "{envelope}");
        let message = envelope["errorMessage"].as_str().expect("a text");
        assert!(message.contains(kind), "{envelope}");
        assert_eq!((&envelope["esIndexName"], &envelope["attemptsMade"]), (&json!("web"), &json!(1)), "{envelope}");
        assert!(message.contains(envelope["esDocumentId"].as_str().expect("an id")), "{envelope}");
    }
}

#[test]
fn a_conflict_is_success_where_the_id_is_derived_and_an_error_elsewhere() {
    let (scratch, receiver) = (Scratch::new(), BulkReceiver::start());
    scratch.log("a.log", log(&numbered(20)));
    receiver.behave(|_, before| if before == 0 { Reaction::Lose } else { Reaction::Judge });
    Hydrant::drain(&scratch, &to_opensearch(&scratch, &receiver.urls(), json!({})));
    receiver.assert_no_complaints();
    assert_eq!((receiver.requests(), receiver.count()), (2, 20));
    assert!(Objects::read(&scratch.backup()).keys().next().is_none());

    let (scratch, receiver) = (Scratch::new(), BulkReceiver::start());
    scratch.log("a.log", r#"{"id":"a"}"#.to_owned() + "\n");
    receiver.judge(|_, _| Judgement::Refuse(409, "version_conflict_engine_exception"));
    let keys = json!({ "document_id": { "from_field": "id" } });
    Hydrant::drain(&scratch, &to_opensearch(&scratch, &receiver.urls(), keys));
    receiver.assert_no_complaints();
    assert_eq!((receiver.requests(), receiver.count()), (1, 0));
    assert_eq!(envelopes(&scratch)[0]["errorCode"], "409");
}

fn items(answer: &mut Value) -> &mut Vec<Value> {
    answer["items"].as_array_mut().expect("items")
}

fn result(item: &mut Value) -> &mut Value {
    item.as_object_mut().and_then(|item| item.values_mut().next()).expect("a result")
}

/// What a cluster, or what stands before it, may do instead of a whole and true answer.
fn misbehaviour(n: usize) -> Option<Reaction> {
    let json = ("Content-Type", "application/json; charset=UTF-8");
    let distortions: [fn(&mut Value); 18] = [
        |answer| drop(items(answer).pop()),
        |answer| items(answer).clear(),
        |answer| drop(answer.as_object_mut().expect("an object").remove("items")),
        |answer| answer["items"] = json!({}),
        |answer| items(answer).push(json!({ "create": { "_index": "web", "_id": "more", "status": 201 } })),
        |answer| items(answer).swap(0, 1),
        |answer| result(&mut items(answer)[0])["_id"] = "other".into(),
        |answer| result(&mut items(answer)[0])["_index"] = "other".into(),
        |answer| drop(result(&mut items(answer)[0]).as_object_mut().expect("an object").remove("status")),
        |answer| result(&mut items(answer)[0])["status"] = "201".into(),
        |answer| result(&mut items(answer)[0])["status"] = 99.into(),
        |answer| result(&mut items(answer)[0])["status"] = json!(null),
        |answer| items(answer)[0] = json!(null),
        |answer| items(answer)[0] = json!({}),
        |answer| *answer = json!([]),
        |answer| *answer = json!("yes"),
        |answer| *answer = json!({ "took": 1, "errors": false }),
        |answer| *answer = json!({ "acknowledged": true }),
    ];
    if let Some(distort) = distortions.get(n) {
        return Some(Reaction::Distort(*distort));
    }
    match n - distortions.len() {
        0 => Some(Reaction::Cut(0)),
        1 => Some(Reaction::Cut(40)),
        2 => Some(Reaction::Cut(300)),
        3 => Some(Reaction::Lose),
        4 => Some(Reaction::Forget),
        5 => Some(Reaction::Stall),
        6 => Some(Reaction::Reset),
        7 => Some(Reaction::Raw(answer(200, &[json], ""))),
        8 => Some(Reaction::Raw(answer(200, &[("Content-Type", "text/html")], "<html>OK</html>"))),
        9 => Some(Reaction::Raw(b"HTTP/1.1 204 No Content\r\n\r\n".to_vec())),
        10 => Some(Reaction::Raw(answer(202, &[json], "{}"))),
        11 => Some(Reaction::Raw(b"SSH-2.0-OpenSSH_9.6\r\n".to_vec())),
        12 => Some(Reaction::Refuse(307, &[("Location", "/elsewhere")])),
        13 => Some(Reaction::Refuse(429, &[])),
        14 => Some(Reaction::Refuse(500, &[])),
        15 => Some(Reaction::Refuse(502, &[])),
        16 => Some(Reaction::Refuse(503, &[("Retry-After", "1")])),
        17 => Some(Reaction::Refuse(503, &[("Retry-After", "99999999999999999999")])),
        18 => Some(Reaction::Refuse(504, &[])),
        _ => None,
    }
}

/// Each such answer says nothing that can be relied on, or no more than it says; in the end each document is there once.
#[test]
fn an_answer_that_breaks_the_rules_loses_and_doubles_nothing() {
    let last = (0..).find(|n| misbehaviour(*n).is_none()).expect("they end");
    let (scratch, receiver) = (Scratch::new(), BulkReceiver::start());
    scratch.log("a.log", log(&numbered(10)));
    // Nothing is taken meanwhile: an answer that says too much would lose what it speaks of.
    receiver.judge(|_, _| BUSY);
    receiver.behave(move |_, before| misbehaviour(before).unwrap_or(Reaction::Judge));
    let config = to_opensearch(&scratch, &receiver.urls(), json!({ "response_timeout_seconds": 1 }));
    let hydrant = Hydrant::run(&scratch, &config);
    crate::support::wait_until("all of it was met", || receiver.requests() > last);
    receiver.judge(|_, _| Judgement::Take);
    crate::support::wait_until("all is taken", || receiver.count() == 10);
    hydrant.terminate().expect_code(0);
    receiver.assert_no_complaints();
    assert_eq!(receiver.lines(), numbered(10));
    assert!(Objects::read(&scratch.backup()).keys().next().is_none());

    // And where all is taken each time, nothing fails.
    let (scratch, receiver) = (Scratch::new(), BulkReceiver::start());
    scratch.log("a.log", log(&numbered(10)));
    receiver.behave(|_, before| misbehaviour(before).unwrap_or(Reaction::Judge));
    Hydrant::drain(&scratch, &to_opensearch(&scratch, &receiver.urls(), json!({ "response_timeout_seconds": 1 })));
    receiver.assert_no_complaints();
    assert_eq!(receiver.lines(), numbered(10));
    assert!(Objects::read(&scratch.backup()).keys().next().is_none());
}

/// `errors` says that all went well, the items say otherwise: they count.
#[test]
fn the_items_count_and_not_what_is_said_of_all_of_them() {
    for lie in [false, true] {
        let (scratch, receiver) = (Scratch::new(), BulkReceiver::start());
        scratch.log("a.log", log(&numbered(10)));
        receiver.judge(|item, before| match number(&item.document) {
            3 => MAPPING,
            7 if before == 0 => BUSY,
            _ => Judgement::Take,
        });
        receiver.behave(move |_, _| match lie {
            true => Reaction::Distort(|answer| answer["errors"] = true.into()),
            false => Reaction::Distort(|answer| answer["errors"] = false.into()),
        });
        Hydrant::drain(&scratch, &to_opensearch(&scratch, &receiver.urls(), json!({})));
        receiver.assert_no_complaints();
        let mut lines = numbered(10);
        let poison = lines.remove(3);
        assert_eq!((receiver.lines(), failed(&scratch)), (lines, vec![poison]), "errors: {lie}");
    }
}

#[test]
fn what_is_too_large_is_halved_and_a_single_document_goes_to_the_error_output() {
    let (scratch, receiver) = (Scratch::new(), BulkReceiver::start());
    let mut lines = numbered(40);
    lines[17] = format!(r#"{{"n":17,"text":"{}"}}"#, "x".repeat(2_000));
    scratch.log("a.log", log(&lines));
    receiver.behave(|bulk, _| if bulk.body.len() > 500 { Reaction::Refuse(413, &[]) } else { Reaction::Judge });
    Hydrant::drain(&scratch, &to_opensearch(&scratch, &receiver.urls(), json!({})));
    receiver.assert_no_complaints();
    let poison = lines.remove(17);
    lines.sort();
    assert_eq!((receiver.lines(), failed(&scratch)), (lines, vec![poison]));
    assert_eq!(envelopes(&scratch)[0]["errorCode"], "413");
}

/// One that is always refused does not hold up those that are not.
#[test]
fn what_is_held_up_is_tried_again_alone_and_fails_when_its_time_is_over() {
    let (scratch, receiver) = (Scratch::new(), BulkReceiver::start());
    let mut lines = numbered(30);
    scratch.log("a.log", log(&lines));
    receiver.judge(|item, _| if number(&item.document) == 11 { BUSY } else { Judgement::Take });
    Hydrant::drain(&scratch, &to_opensearch(&scratch, &receiver.urls(), json!({ "retry_seconds": 2 })));
    receiver.assert_no_complaints();
    let held_up = lines.remove(11);
    lines.sort();
    assert_eq!((receiver.lines(), failed(&scratch)), (lines, vec![held_up]));
    let received = receiver.received();
    assert!(received.len() > 1 && received[1..].iter().all(|bulk| bulk.items.len() == 1));
    let envelope = &envelopes(&scratch)[0];
    assert_eq!((&envelope["errorCode"], &envelope["attemptsMade"]), (&json!("429"), &json!(received.len())));
    assert!(envelope["errorMessage"].as_str().is_some_and(|message| message.contains("rejected_execution_exception")));
}

#[test]
fn a_cluster_that_names_a_time_is_not_asked_before() {
    let (scratch, receiver) = (Scratch::new(), BulkReceiver::start());
    scratch.log("a.log", log(&numbered(5)));
    receiver.behave(|_, before| match before {
        0 => Reaction::Refuse(429, &[("Retry-After", "2")]),
        1 => Reaction::Refuse(503, &[("Retry-After", "1")]),
        _ => Reaction::Judge,
    });
    let config = to_opensearch(&scratch, &receiver.urls(), json!({}));
    // In the tests waits are short otherwise.
    let patient = [("HYDRANT_RETRY_MAX_MS", "10000")];
    Hydrant::begin_drain_with_env(&scratch, &config, &patient).wait().expect_code(0);
    receiver.assert_no_complaints();
    let at: Vec<_> = receiver.received().iter().map(|bulk| bulk.at).collect();
    assert_eq!(at.len(), 3);
    assert!(at[1] - at[0] >= Duration::from_secs(2) && at[2] - at[1] >= Duration::from_secs(1), "{at:?}");
    assert_eq!(receiver.lines(), numbered(5));
}
