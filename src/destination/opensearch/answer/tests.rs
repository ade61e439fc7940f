//! Every way in which an answer can say something of a document, and every way in which it can be none.

use super::*;
use proptest::prelude::*;
use serde_json::json;

const BLOCKED: &str = "cluster_block_exception";
const CONFLICT: &str = "version_conflict_engine_exception";

fn ids(of: &[&str]) -> Vec<u64> {
    of.iter().map(|id| hash(id)).collect()
}

fn sent(ids: &[u64], records: u64) -> Sent<std::iter::Copied<std::slice::Iter<'_, u64>>> {
    Sent { records, hashes: ids.iter().copied(), are_derived: true, may_change_ids: false }
}

fn item(id: &str, status: u16, error: Option<&str>) -> Value {
    match error {
        None => json!({"create": {"_index": "web", "_id": id, "_version": 1, "result": "created", "status": status}}),
        Some(kind) => json!({"create": {"_id": id, "status": status, "error": {"type": kind, "reason": "why"}}}),
    }
}

fn answer(items: &[Value]) -> Vec<u8> {
    json!({"took": 3, "errors": true, "items": items}).to_string().into_bytes()
}

fn one(answered: &Value) -> Judgement {
    let ids = ids(&["a"]);
    match judge(&answer(std::slice::from_ref(answered)), sent(&ids, 1)).unwrap() {
        Verdict::Accepted => Judgement::Accepted,
        Verdict::Each(judged) => {
            assert_eq!(judged.len(), 1);
            judged[0].judgement.clone()
        }
        Verdict::TooLarge => panic!("no answer says that"),
    }
}

#[derive(Debug, PartialEq)]
enum Is {
    Accepted,
    Refused,
    Later,
}

fn is(judgement: &Judgement) -> Is {
    match judgement {
        Judgement::Accepted => Is::Accepted,
        Judgement::Refused(_) => Is::Refused,
        Judgement::Later(_) => Is::Later,
    }
}

#[test]
fn each_item_is_judged_by_its_status_and_its_error() {
    for (answered, expected) in [
        (item("a", 201, None), Is::Accepted),
        (item("a", 200, None), Is::Accepted),
        (json!({"index": {"_id": "a", "status": 201}}), Is::Accepted),
        (json!({"create": {"status": 201}}), Is::Accepted),
        (json!({"create": {"_id": null, "status": 201}}), Is::Accepted),
        (item("a", 201, Some("odd_exception")), Is::Later),
        (item("a", 409, Some(CONFLICT)), Is::Accepted),
        (item("a", 409, Some("document_already_exists_exception")), Is::Accepted),
        (
            json!({"create": {"_id": "a", "status": 409, "error": "DocumentAlreadyExistsException[[web][0]]"}}),
            Is::Accepted,
        ),
        (json!({"create": {"_id": "a", "status": 409}}), Is::Accepted),
        (item("a", 409, Some("snapshot_in_progress_exception")), Is::Refused),
        (item("a", 429, Some("es_rejected_execution_exception")), Is::Later),
        (item("a", 503, Some("unavailable_shards_exception")), Is::Later),
        (item("a", 500, Some("exception")), Is::Later),
        (item("a", 403, Some(BLOCKED)), Is::Later),
        (item("a", 403, Some("security_exception")), Is::Refused),
        (item("a", 400, Some("mapper_parsing_exception")), Is::Refused),
        (item("a", 404, Some("index_not_found_exception")), Is::Refused),
        (json!({"create": {"_id": "a", "status": 400}}), Is::Refused),
        (item("a", 301, None), Is::Later),
        (item("a", 0, None), Is::Later),
        (json!({"create": {"_id": "a"}}), Is::Later),
        (json!({"create": {}}), Is::Later),
        (json!({"create": null}), Is::Later),
        (json!({}), Is::Later),
        (json!(null), Is::Later),
    ] {
        assert_eq!(is(&one(&answered)), expected, "{answered}");
    }
}

#[test]
fn grounds_say_status_type_reason_and_causes() {
    let error = json!({"type": "mapper_parsing_exception", "reason": "failed to parse field [n] of type [long]",
                       "caused_by": {"type": "illegal_argument_exception", "reason": "For input string: \"x\""}});
    let refused = one(&json!({"create": {"_id": "a", "status": 400, "error": error}}));
    let message = "mapper_parsing_exception: failed to parse field [n] of type [long]; caused by illegal_argument_exception: \
                   For input string: \"x\"";
    assert_eq!(refused, Judgement::Refused(Grounds { code: "400".to_owned(), message: message.to_owned() }));
    let long = one(&json!({"create": {"status": 400, "error": {"type": "t", "reason": "é".repeat(5000)}}}));
    let Judgement::Refused(grounds) = long else { panic!("{long:?}") };
    assert!((MESSAGE_BYTES_MAX - 1..=MESSAGE_BYTES_MAX).contains(&grounds.message.len()));
    let text = one(&json!({"create": {"status": 400, "error": "MapperParsingException[no]"}}));
    assert_eq!(
        text,
        Judgement::Refused(Grounds { code: "400".to_owned(), message: "MapperParsingException[no]".to_owned() })
    );
}

#[test]
fn a_conflict_is_success_only_under_a_derived_id() {
    let ids = ids(&["a"]);
    let conflict = answer(&[item("a", 409, Some(CONFLICT))]);
    let refused = |verdict| matches!(verdict, Ok(Verdict::Each(judged)) if is(&judged[0].judgement) == Is::Refused);
    assert_eq!(judge(&conflict, sent(&ids, 1)), Ok(Verdict::Accepted));
    assert!(refused(judge(&conflict, Sent { are_derived: false, ..sent(&ids, 1) })), "an id from a field");
    assert!(refused(judge(&conflict, Sent { are_derived: false, ..sent(&[], 1) })), "an id of the cluster");
    // A pipeline gave it an id that another document may have.
    let changed = answer(&[item("b", 409, Some(CONFLICT))]);
    assert!(refused(judge(&changed, Sent { may_change_ids: true, ..sent(&ids, 1) })));
    assert_eq!(judge(&conflict, Sent { may_change_ids: true, ..sent(&ids, 1) }), Ok(Verdict::Accepted));
    let unnamed = answer(&[json!({"create": {"status": 409, "error": {"type": CONFLICT}}})]);
    assert!(refused(judge(&unnamed, Sent { may_change_ids: true, ..sent(&ids, 1) })));
}

#[test]
fn where_the_cluster_makes_only_some_ids_the_others_are_still_compared() {
    let of = |second, third| answer(&[item("made", 201, None), item(second, 201, None), item(third, 201, None)]);
    let ids = [NO_ID, hash("b"), NO_ID];
    assert_eq!(judge(&of("b", "made"), sent(&ids, 3)), Ok(Verdict::Accepted));
    judge(&of("made", "b"), sent(&ids, 3)).expect_err("another order");
    let conflict = answer(&[item("made", 409, Some(CONFLICT)), item("b", 201, None), item("made", 201, None)]);
    let Ok(Verdict::Each(judged)) = judge(&conflict, sent(&ids, 3)) else { panic!("it is no document of ours") };
    assert_eq!((is(&judged[0].judgement), judged[0].records), (Is::Refused, 1));
}

#[test]
fn what_does_not_answer_what_was_sent_counts_for_nothing() {
    let ids = ids(&["a", "b"]);
    let (a, b) = (item("a", 201, None), item("b", 201, None));
    let whole = String::from_utf8(answer(&[a.clone(), b.clone()])).unwrap();
    assert_eq!(judge(whole.as_bytes(), sent(&ids, 2)), Ok(Verdict::Accepted));
    for (wrong, why) in [
        (answer(std::slice::from_ref(&a)), "1 items for 2"),
        (answer(&[a.clone(), b.clone(), b.clone()]), "more items"),
        (answer(&[]), "0 items"),
        (answer(&[b.clone(), a.clone()]), "another order"),
        (answer(&[a.clone(), a.clone()]), "other documents"),
        (answer(&[a.clone(), item("c", 400, Some("x"))]), "other documents"),
        (answer(&[json!({"delete": {"_id": "a", "status": 200}}), b.clone()]), "delete"),
        (answer(&[json!({"create": {"status": 201}, "index": {"status": 201}}), b.clone()]), "one document"),
        (answer(&[json!({"create": {"_id": "a", "status": "201"}}), b.clone()]), "invalid type"),
        (answer(&[json!({"create": {"_id": "a", "status": -1}}), b.clone()]), "invalid value"),
        (answer(&[json!("created"), b.clone()]), "invalid type"),
        (b"".to_vec(), "EOF"),
        (b"{}".to_vec(), "no items"),
        (b"null".to_vec(), "invalid type"),
        (b"<html>".to_vec(), "expected value"),
        (br#"{"errors":false}"#.to_vec(), "no items"),
        (br#"{"errors":false,"items":null}"#.to_vec(), "invalid type"),
        (br#"{"error":{"type":"x","reason":"y"},"status":500}"#.to_vec(), "x: y"),
        (format!("{whole}{whole}").into_bytes(), "trailing"),
        (whole.replace("\"items\"", "\"items\":[],\"items\"").into_bytes(), "duplicate"),
    ] {
        let error = judge(&wrong, sent(&ids, 2)).expect_err(why);
        assert!(error.contains(why), "{why}: {error}");
    }
    for half in 0..whole.len() {
        assert!(judge(&whole.as_bytes()[..half], sent(&ids, 2)).is_err(), "half an answer: {}", &whole[..half]);
    }
}

#[test]
fn an_answer_is_believed_by_its_items_whatever_errors_says() {
    let ids = ids(&["a", "b"]);
    let lie = json!({"errors": false, "items": [item("a", 201, None), item("b", 400, Some("x"))]});
    let Ok(Verdict::Each(judged)) = judge(lie.to_string().as_bytes(), sent(&ids, 2)) else { panic!("{lie}") };
    assert_eq!(
        judged.iter().map(|run| (run.records, is(&run.judgement))).collect::<Vec<_>>(),
        [(1, Is::Accepted), (1, Is::Refused)]
    );
    let other_lie = json!({"errors": true, "items": [item("a", 201, None), item("b", 201, None)]});
    assert_eq!(judge(other_lie.to_string().as_bytes(), sent(&ids, 2)), Ok(Verdict::Accepted));
}

/// What may become of a document, and what the answer says of it.
fn outcome() -> impl Strategy<Value = (u16, Option<&'static str>)> {
    prop_oneof![
        4 => Just((201, None)),
        1 => Just((409, Some(CONFLICT))),
        1 => Just((400, Some("mapper_parsing_exception"))),
        1 => Just((429, Some("es_rejected_execution_exception"))),
        1 => Just((403, Some(BLOCKED))),
        1 => Just((503, Some("unavailable_shards_exception"))),
    ]
}

proptest! {
    #[test]
    fn runs_hold_every_document_once_with_its_own_judgement(outcomes in prop::collection::vec(outcome(), 1..60)) {
        let names: Vec<_> = (0..outcomes.len()).map(|n| format!("id-{n}")).collect();
        let ids: Vec<_> = names.iter().map(|name| hash(name)).collect();
        let items: Vec<_> = outcomes.iter().zip(&names).map(|(&(status, error), name)| item(name, status, error)).collect();
        let expected: Vec<_> = items.iter().zip(&names).map(|(answered, name)| {
            let ids = [hash(name)];
            let verdict = judge(&answer(std::slice::from_ref(answered)), sent(&ids, 1)).unwrap();
            match verdict {
                Verdict::Each(judged) => judged[0].judgement.clone(),
                Verdict::Accepted | Verdict::TooLarge => Judgement::Accepted,
            }
        }).collect();
        let verdict = judge(&answer(&items), sent(&ids, items.len() as u64)).unwrap();
        let runs = match verdict {
            Verdict::Each(judged) => judged,
            Verdict::Accepted | Verdict::TooLarge => vec![Judged { records: items.len() as u64, judgement: Judgement::Accepted }],
        };
        let found: Vec<_> = runs.iter().flat_map(|run| vec![run.judgement.clone(); run.records as usize]).collect();
        prop_assert_eq!(found, expected);
        prop_assert!(runs.windows(2).all(|pair| pair[0].judgement != pair[1].judgement), "as few runs as there can be");
    }

    #[test]
    fn items_in_any_other_order_are_no_answer(order in Just((0..6usize).collect::<Vec<_>>()).prop_shuffle()) {
        let names: Vec<_> = (0..6).map(|n| format!("id-{n}")).collect();
        let ids: Vec<_> = names.iter().map(|name| hash(name)).collect();
        let items: Vec<_> = order.iter().map(|&n| item(&names[n], 201, None)).collect();
        prop_assert_eq!(judge(&answer(&items), sent(&ids, 6)).is_ok(), order.is_sorted());
    }

    #[test]
    fn any_bytes_are_judged_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200), records in 0u64..5) {
        let _ = judge(&bytes, sent(&[], records));
    }

    #[test]
    fn a_damaged_answer_never_counts_more_documents(at in 0usize..400, byte in any::<u8>()) {
        // Whatever one byte becomes, each document that counts is one whose item still says so.
        let ids = ids(&["a", "b", "c"]);
        let mut bytes = answer(&[item("a", 201, None), item("b", 400, Some("x")), item("c", 429, Some("y"))]);
        let length = bytes.len();
        bytes[at % length] = byte;
        if let Ok(verdict) = judge(&bytes, sent(&ids, 3)) {
            prop_assert!(verdict != Verdict::Accepted, "{}", String::from_utf8_lossy(&bytes));
        }
    }
}
