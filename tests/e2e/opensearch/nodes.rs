//! Several nodes: work is taken from one that is gone to those that are there.

use serde_json::json;

use super::{log, numbered, to_opensearch};
use crate::support::bulk::Reaction;
use crate::support::scratch::append;
use crate::support::{BulkReceiver, Hydrant, Objects, Scratch, wait_until};

#[test]
fn a_node_that_dies_leaves_its_work_to_the_others() {
    let (scratch, mut receiver) = (Scratch::new(), BulkReceiver::with_nodes(3));
    scratch.log("a.log", log(&numbered(100)));
    let hydrant = Hydrant::run(&scratch, &to_opensearch(&scratch, &receiver.urls(), json!({})));
    wait_until("the first are taken", || receiver.count() == 100);
    for dead in 0..3 {
        receiver.stop(dead);
        let (before, requests) = (receiver.count(), receiver.requests());
        append(
            &scratch.logs().join("a.log"),
            (0..100).map(|n| format!("{{\"dead\":{dead},\"n\":{n}}}\n")).collect::<String>(),
        );
        wait_until("the others take all", || receiver.count() == before + 100);
        assert!(receiver.received()[requests..].iter().all(|bulk| bulk.node != dead));
        receiver.listen(dead);
    }
    hydrant.terminate().expect_code(0);
    receiver.assert_no_complaints();
    assert!(Objects::read(&scratch.backup()).keys().next().is_none());
}

/// A node that answers nothing, or that it is no part of a cluster, is as good as gone.
#[test]
fn a_node_that_only_refuses_does_not_hold_up_the_others() {
    let (scratch, receiver) = (Scratch::new(), BulkReceiver::with_nodes(2));
    scratch.log("a.log", log(&numbered(100)));
    receiver.behave(|bulk, before| match (bulk.node, before % 3) {
        (0, 0) => Reaction::Refuse(503, &[]),
        (0, 1) => Reaction::Stall,
        (0, _) => Reaction::Reset,
        _ => Reaction::Judge,
    });
    Hydrant::drain(&scratch, &to_opensearch(&scratch, &receiver.urls(), json!({ "response_timeout_seconds": 1 })));
    receiver.assert_no_complaints();
    let mut lines = numbered(100);
    lines.sort();
    assert_eq!(receiver.lines(), lines);
    assert!(Objects::read(&scratch.backup()).keys().next().is_none());
}

/// At the start one may be away, and then another.
#[test]
fn any_node_that_is_there_is_enough() {
    let (scratch, mut receiver) = (Scratch::new(), BulkReceiver::with_nodes(2));
    let config = to_opensearch(&scratch, &receiver.urls(), json!({}));
    for away in 0..2 {
        receiver.stop(away);
        scratch.log(&format!("{away}.log"), format!("{{\"away\":{away}}}\n"));
        Hydrant::drain(&scratch, &config);
        receiver.listen(away);
    }
    receiver.assert_no_complaints();
    assert_eq!(receiver.lines(), [r#"{"away":0}"#, r#"{"away":1}"#]);
}

#[test]
fn all_nodes_away_is_an_outage_that_ends_with_the_first_that_is_back() {
    let (scratch, mut receiver) = (Scratch::new(), BulkReceiver::with_nodes(2));
    (0..2).for_each(|node| receiver.stop(node));
    scratch.log("a.log", log(&numbered(100)));
    let hydrant = Hydrant::run(&scratch, &to_opensearch(&scratch, &receiver.urls(), json!({})));
    wait_until("it says so", || hydrant.said("Connection refused") > 0 || hydrant.said("tried again") > 0);
    receiver.listen(1);
    wait_until("all is taken", || receiver.count() == 100);
    hydrant.terminate().expect_code(0);
    receiver.assert_no_complaints();
}
