//! Answers that do not come: whether a change was made is found out, and nothing is made twice.

use std::collections::BTreeSet;

use tokio::task::JoinSet;

use super::contention::{WORKERS, rows, work};
use super::*;
use crate::support::rng::{Rng, seed};
use crate::support::{CallFault, CallProxy};

/// The table behind a proxy.
fn behind(proxy: &CallProxy, table: &Table<'_>, worker: &str, limits: Limits) -> DynamoDbTable {
    DynamoDbTable::new(client(&proxy.endpoint()), table.name(), worker, limits)
}

/// Gives up at once, so to speak.
fn hasty() -> Limits {
    Limits { attempt: Duration::from_millis(500), call: Duration::from_secs(1), ..patient() }
}

/// All changes, one after the other; each has to be made, and once.
fn all_changes(server: &DynamoDb, us: &DynamoDbTable, mut before: impl FnMut()) -> Lease {
    let mut counter = None;
    let mut once = |outcome| {
        let lease = done(outcome);
        assert_eq!(lease.counter, counter.map_or(0, |counter: u64| counter + 1), "made twice");
        counter = Some(lease.counter);
        before();
        lease
    };
    let lease = once(server.block_on(us.create(&Lease::new(SHARD, Checkpoint::Latest))));
    let lease = once(server.block_on(us.take(&lease)));
    let lease = once(server.block_on(us.renew(&lease)));
    let lease = once(server.block_on(us.checkpoint(&lease, at(1))));
    let lease = once(server.block_on(us.prepare(&lease, at(2), Bytes::from_static(b"id"))));
    let lease = once(server.block_on(us.finish(&lease, at(2))));
    let lease = once(server.block_on(us.shard_end(&lease, &BTreeSet::from([String::from("shardId-000000000003")]))));
    once(server.block_on(us.release(&lease)))
}

#[test]
fn a_change_whose_answer_is_lost_is_known_to_be_made() {
    let Some(server) = DynamoDb::shared() else { return };
    let table = server.table();
    table.create();
    let proxy = CallProxy::start(server.port());
    let us = behind(&proxy, &table, "us", patient());
    proxy.next("UpdateItem", [CallFault::LostAnswer]);
    let lease = all_changes(server, &us, || proxy.next("UpdateItem", [CallFault::LostAnswer]));
    assert_eq!(proxy.met(&CallFault::LostAnswer), 8);
    assert_eq!(found(server, &worker(server, &table, "us")), lease);
    proxy.next("DeleteItem", [CallFault::LostAnswer]);
    assert!(server.block_on(us.delete(&lease)).unwrap());
}

#[test]
fn a_change_that_did_not_arrive_is_sent_again() {
    let Some(server) = DynamoDb::shared() else { return };
    let table = server.table();
    table.create();
    let proxy = CallProxy::start(server.port());
    let us = behind(&proxy, &table, "us", patient());
    let faults =
        || [CallFault::CutBefore, CallFault::THROTTLED, CallFault::INTERNAL_SERVER_ERROR, CallFault::UNAVAILABLE];
    proxy.next("UpdateItem", faults());
    all_changes(server, &us, || proxy.next("UpdateItem", faults()));
}

#[test]
fn a_lease_that_was_lost_with_the_answer_is_lost() {
    let Some(server) = DynamoDb::shared() else { return };
    let table = server.table();
    table.create();
    let proxy = CallProxy::start(server.port());
    let (us, thief) = (behind(&proxy, &table, "us", patient()), worker(server, &table, "thief"));
    let lease = Lease::new(SHARD, Checkpoint::Latest);
    let lease = done(server.block_on(us.create(&lease)));
    let lease = done(server.block_on(us.take(&lease)));
    // The renewal is made, nobody hears of it, and before it is sent again another worker takes the lease.
    proxy.next("UpdateItem", [CallFault::LostAnswer]);
    let robbed = thief.clone();
    let mut is_taken = false;
    proxy.rule(move |call| {
        if call.operation == "UpdateItem" && !std::mem::replace(&mut is_taken, true) {
            let rob = || {
                let lease = found(server, &robbed);
                done(server.block_on(robbed.take(&lease)))
            };
            // Not on the proxy's own thread, which must not wait.
            std::thread::scope(|threads| threads.spawn(rob).join().unwrap());
        }
        CallFault::Pass
    });
    let outcome = server.block_on(us.renew(&lease)).unwrap();
    let now = found(server, &thief);
    assert_eq!(now.owner.as_deref(), Some("thief"));
    assert_eq!(now.counter, lease.counter + 2);
    assert_eq!(outcome, Outcome::Lost(Some(now)));
}

#[test]
fn no_call_takes_longer_than_it_may() {
    let Some(server) = DynamoDb::shared() else { return };
    let table = server.table();
    table.create();
    let proxy = CallProxy::start(server.port());
    let (us, hasty) = (behind(&proxy, &table, "us", patient()), behind(&proxy, &table, "us", hasty()));
    let lease = done(server.block_on(us.create(&Lease::new(SHARD, Checkpoint::Latest))));
    let lease = done(server.block_on(us.take(&lease)));

    // Made at the first try, if at all, and never answered.
    proxy.next("UpdateItem", [CallFault::LostAnswer]);
    proxy.rule(|_| CallFault::Hang);
    let error = server.block_on(hasty.checkpoint(&lease, at(5))).unwrap_err();
    assert!(matches!(error, TableError::Unanswered { maybe_done: true, .. }), "{error}");
    assert!(error.is_transient());

    // The same once more tells what became of it.
    proxy.heal();
    let after = done(server.block_on(us.checkpoint(&lease, at(5))));
    assert_eq!((after.counter, after.checkpoint), (lease.counter + 1, at(5)));
    // Another one learns that it begins from an old state, and where it stands.
    assert_eq!(server.block_on(us.prepare(&lease, at(6), Bytes::new())).unwrap(), Outcome::Lost(Some(after.clone())));
    // But for these, for which it is enough to be the owner.
    assert_eq!(done(server.block_on(us.renew(&lease))), after);
    assert_eq!(done(server.block_on(us.release(&lease))).counter, after.counter + 1);
}

#[test]
fn a_change_that_was_never_sent_is_known_not_to_be_made() {
    let Some(server) = DynamoDb::shared() else { return };
    let table = server.table();
    table.create();
    let proxy = CallProxy::start(server.port());
    let us = behind(&proxy, &table, "us", hasty());
    let lease = Lease::new(SHARD, Checkpoint::Latest);
    proxy.rule(|_| CallFault::THROTTLED);
    let error = server.block_on(us.create(&lease)).unwrap_err();
    assert!(matches!(error, TableError::Unanswered { maybe_done: false, is_throttled: true, .. }), "{error}");

    let tries = proxy.count("UpdateItem");
    proxy.rule(|_| CallFault::ACCESS_DENIED);
    let error = server.block_on(us.create(&lease)).unwrap_err();
    assert!(matches!(&error, TableError::Refused { maybe_done: false, .. }), "{error}");
    assert!(error.to_string().contains("allow dynamodb:DescribeTable"), "{error}");
    assert_eq!(proxy.count("UpdateItem"), tries + 1, "a refusal does not pass by itself");
    assert_eq!(table.row(SHARD), None);

    proxy.heal();
    drop(table);
    let error = server.block_on(us.create(&lease)).unwrap_err();
    assert!(matches!(&error, TableError::Missing { .. } | TableError::Unanswered { .. }), "{error}");
}

#[test]
fn each_state_of_a_row_comes_from_one_change_whatever_the_network_does() {
    let Some(server) = DynamoDb::shared() else { return };
    let table = server.table();
    table.create();
    let proxy = CallProxy::start(server.port());
    let first = worker(server, &table, "first");
    rows().iter().for_each(|lease| drop(done(server.block_on(first.create(lease)))));
    let seed = seed("lease table behind a bad network");
    let mut dice = Rng::new(seed);
    proxy.rule(move |_| match dice.between(0, 10) {
        0 | 1 => CallFault::LostAnswer,
        2 => CallFault::CutBefore,
        3 => CallFault::THROTTLED,
        4 => CallFault::INTERNAL_SERVER_ERROR,
        _ => CallFault::Pass,
    });
    let made = server.block_on(async {
        let mut tasks = JoinSet::new();
        for number in 0..WORKERS {
            let us = behind(&proxy, &table, &format!("w{number}"), patient());
            tasks.spawn(work(us, Rng::new(seed ^ number as u64), 25));
        }
        tasks.join_all().await.concat()
    });
    assert_eq!(made.iter().collect::<BTreeSet<_>>().len(), made.len(), "two changes made the same state");
    proxy.heal();
    let scan = server.block_on(first.scan()).unwrap();
    for (key, counter) in made {
        let lease = scan.leases.iter().find(|lease| *lease.key == *key).unwrap();
        assert!(counter <= lease.counter, "{key}: {counter} was never there");
    }
}
