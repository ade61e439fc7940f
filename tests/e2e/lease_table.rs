//! The lease table in a DynamoDB server: what each change leaves in a row, attribute by attribute.

mod asked;
mod contention;
mod faults;
mod opening;

use std::collections::BTreeSet;
use std::time::Duration;

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use bytes::Bytes;
use hydrant::source::kinesis::leases::lease::{Checkpoint, Lease, PendingCheckpoint};
use hydrant::source::kinesis::leases::row::{self as codec, Row as Found};
use hydrant::source::kinesis::leases::table::{DynamoDbTable, Limits, Outcome, TableError};
use hydrant::source::kinesis::page::HashKeyRange;
use proptest::prelude::*;

use crate::support::DynamoDb;
use crate::support::dynamodb::{Row, Table, client, n, row, s, ss};
use crate::support::wait::DEADLINE;

const SHARD: &str = "shardId-000000000002";
const NUMBER: &str = "49590338271490256608559692538361571095921575989136588898";

/// Nobody waits for longer than a test does.
fn patient() -> Limits {
    Limits { attempt: DEADLINE / 3, call: DEADLINE, long_call: DEADLINE, new_table: DEADLINE }
}

/// The table as this worker sees it.
fn worker(server: &DynamoDb, table: &Table<'_>, worker: &str) -> DynamoDbTable {
    DynamoDbTable::new(server.client().clone(), table.name(), worker, patient())
}

fn at(sub_sequence_number: u64) -> Checkpoint {
    Checkpoint::At(NUMBER.parse().unwrap(), sub_sequence_number)
}

/// What was done.
#[track_caller]
fn done(outcome: Result<Outcome, TableError>) -> Lease {
    match outcome.unwrap() {
        Outcome::Done(lease) => lease,
        Outcome::Lost(found) => panic!("lost, the row is {found:?}"),
    }
}

/// As a Java worker with the KCL 3 leaves it, and with what nobody knows.
fn of_java(counter: u64) -> Row {
    row([
        ("leaseKey", s(SHARD)),
        ("leaseOwner", s("java")),
        ("leaseCounter", n(counter)),
        ("ownerSwitchesSinceCheckpoint", n(2)),
        ("checkpoint", s(NUMBER)),
        ("checkpointSubSequenceNumber", n(3)),
        ("parentShardId", ss(["shardId-000000000000", "shardId-000000000001"])),
        ("startingHashKey", s("0")),
        ("endingHashKey", s("340282366920938463463374607431768211455")),
        ("throughputKBps", n("17.25")),
        ("entityType", s("LEASE")),
        ("ofTomorrow", AttributeValue::M([(String::from("a"), n(1))].into())),
    ])
}

fn with<'a>(mut row: Row, attributes: impl IntoIterator<Item = (&'a str, AttributeValue)>) -> Row {
    row.extend(attributes.into_iter().map(|(name, value)| (name.to_owned(), value)));
    row
}

fn without<'a>(mut row: Row, names: impl IntoIterator<Item = &'a str>) -> Row {
    names.into_iter().for_each(|name| drop(row.remove(name)));
    row
}

/// The lease of the row as it is now.
fn found(server: &DynamoDb, table: &DynamoDbTable) -> Lease {
    server.block_on(table.get(SHARD)).unwrap().and_then(Found::into_lease).expect("a lease")
}

#[test]
fn a_new_row_is_one_of_the_kcl_s() {
    let Some(server) = DynamoDb::shared() else { return };
    let table = server.table();
    table.create();
    let us = worker(server, &table, "us");
    let mut lease = Lease::new(SHARD, Checkpoint::TrimHorizon);
    lease.parents = ["shardId-000000000000", "shardId-000000000001"].map(str::to_owned).into();
    lease.hash_keys = Some(HashKeyRange::ALL);
    assert_eq!(done(server.block_on(us.create(&lease))), lease);
    let written = row([
        ("leaseKey", s(SHARD)),
        ("leaseCounter", n(0)),
        ("ownerSwitchesSinceCheckpoint", n(0)),
        ("checkpoint", s("TRIM_HORIZON")),
        ("checkpointSubSequenceNumber", n(0)),
        ("parentShardId", ss(["shardId-000000000000", "shardId-000000000001"])),
        ("startingHashKey", s("0")),
        ("endingHashKey", s("340282366920938463463374607431768211455")),
    ]);
    assert_eq!(table.row(SHARD), Some(written));

    // There is one already, which has gone on since.
    let taken = done(server.block_on(worker(server, &table, "other").take(&lease)));
    assert_eq!(server.block_on(us.create(&lease)).unwrap(), Outcome::Lost(Some(taken)));
}

#[test]
fn each_change_leaves_alone_what_it_is_not_about() {
    let Some(server) = DynamoDb::shared() else { return };
    let table = server.table();
    table.create();
    let us = worker(server, &table, "us");
    let mut row = with(of_java(7), [("checkpointOwner", s("old"))]);
    table.put(row.clone());
    let lease = found(server, &us);

    let lease = done(server.block_on(us.take(&lease)));
    row = with(
        without(row, ["checkpointOwner"]),
        [("leaseOwner", s("us")), ("leaseCounter", n(8)), ("ownerSwitchesSinceCheckpoint", n(3))],
    );
    assert_eq!(table.row(SHARD), Some(row.clone()));

    let lease = done(server.block_on(us.renew(&lease)));
    row = with(row, [("leaseCounter", n(9))]);
    assert_eq!(table.row(SHARD), Some(row.clone()));

    let id = Bytes::from_static(b"\x00\xffid");
    let lease = done(server.block_on(us.prepare(&lease, at(9), id)));
    let state = AttributeValue::B(Blob::new(b"\x00\xffid"));
    row = with(
        row,
        [
            ("leaseCounter", n(10)),
            ("pendingCheckpoint", s(NUMBER)),
            ("pendingCheckpointSubSequenceNumber", n(9)),
            ("pendingCheckpointState", state),
        ],
    );
    assert_eq!(table.row(SHARD), Some(row.clone()));

    let lease = done(server.block_on(us.finish(&lease, at(9))));
    row = with(
        without(row, ["pendingCheckpoint", "pendingCheckpointSubSequenceNumber", "pendingCheckpointState"]),
        [("leaseCounter", n(11)), ("checkpointSubSequenceNumber", n(9)), ("ownerSwitchesSinceCheckpoint", n(0))],
    );
    assert_eq!(table.row(SHARD), Some(row.clone()));

    let children = BTreeSet::from(["shardId-000000000003", "shardId-000000000004"].map(str::to_owned));
    let lease = done(server.block_on(us.shard_end(&lease, &children)));
    row = with(
        row,
        [
            ("leaseCounter", n(12)),
            ("checkpoint", s("SHARD_END")),
            ("checkpointSubSequenceNumber", n(0)),
            ("childShardIds", ss(["shardId-000000000003", "shardId-000000000004"])),
        ],
    );
    assert_eq!(table.row(SHARD), Some(row.clone()));

    let lease = done(server.block_on(us.release(&lease)));
    row = with(without(row, ["leaseOwner"]), [("leaseCounter", n(13))]);
    assert_eq!(table.row(SHARD), Some(row.clone()));
    assert_eq!(found(server, &us), lease);

    // Nobody owned it: that is no switch of owners.
    let lease = done(server.block_on(us.take(&lease)));
    row = with(row, [("leaseOwner", s("us")), ("leaseCounter", n(14))]);
    assert_eq!(table.row(SHARD), Some(row));

    assert!(!server.block_on(us.delete(&Lease { counter: 13, ..lease.clone() })).unwrap(), "it has gone on since");
    assert!(server.block_on(us.delete(&lease)).unwrap());
    assert_eq!(table.row(SHARD), None);
    assert!(server.block_on(us.delete(&lease)).unwrap(), "it is gone");
    assert_eq!(server.block_on(us.renew(&lease)).unwrap(), Outcome::Lost(None));
    assert_eq!(table.row(SHARD), None, "no change makes a row but the one that creates it");
}

#[test]
fn what_was_prepared_is_finished_before_anything_else() {
    let Some(server) = DynamoDb::shared() else { return };
    let table = server.table();
    table.create();
    let us = worker(server, &table, "us");
    table.put(of_java(1));
    let lease = done(server.block_on(us.take(&found(server, &us))));
    let out_of_order = |outcome: Result<Outcome, TableError>| {
        assert!(matches!(outcome, Err(TableError::OutOfOrder { .. })), "{outcome:?}");
        assert_eq!(found(server, &us).counter, lease.counter, "nothing was sent");
    };
    out_of_order(server.block_on(us.finish(&lease, at(9))));
    out_of_order(server.block_on(us.checkpoint(&lease, at(2))));
    out_of_order(server.block_on(us.prepare(&lease, Checkpoint::TrimHorizon, Bytes::new())));

    let lease = done(server.block_on(us.prepare(&lease, at(9), Bytes::from_static(b"id"))));
    let pending = PendingCheckpoint { checkpoint: at(9), state: Some(Bytes::from_static(b"id")) };
    assert_eq!(lease.pending, Some(pending.clone()));
    let out_of_order = |outcome: Result<Outcome, TableError>| {
        assert!(matches!(outcome, Err(TableError::OutOfOrder { .. })), "{outcome:?}");
    };
    out_of_order(server.block_on(us.prepare(&lease, at(10), Bytes::new())));
    out_of_order(server.block_on(us.finish(&lease, at(10))));

    // A successor finds it, and what it was.
    let heir = worker(server, &table, "heir");
    let taken = done(server.block_on(heir.take(&found(server, &heir))));
    assert_eq!(taken.pending, Some(pending));
    assert!(matches!(server.block_on(us.finish(&lease, at(9))).unwrap(), Outcome::Lost(Some(now)) if now == taken));
    let finished = done(server.block_on(heir.finish(&taken, at(9))));
    assert_eq!((finished.checkpoint, finished.pending), (at(9), None));
}

/// One change of a row, by one of two workers.
#[derive(Debug, Clone)]
enum Change {
    Renew,
    Take,
    Release,
    Prepare(u64, Vec<u8>),
    Finish,
    Checkpoint(u64),
    ShardEnd(BTreeSet<String>),
}

fn changes() -> impl Strategy<Value = Change> {
    prop_oneof![
        Just(Change::Renew),
        Just(Change::Take),
        Just(Change::Release),
        (0..9u64, prop::collection::vec(any::<u8>(), 0..20)).prop_map(|(cut, id)| Change::Prepare(cut, id)),
        Just(Change::Finish),
        (0..9u64).prop_map(Change::Checkpoint),
        prop::collection::btree_set("shardId-[0-9]{12}", 0..3).prop_map(Change::ShardEnd),
    ]
}

async fn make(table: &DynamoDbTable, lease: &Lease, change: &Change) -> Result<Outcome, TableError> {
    match change {
        Change::Renew => table.renew(lease).await,
        Change::Take => table.take(lease).await,
        Change::Release => table.release(lease).await,
        Change::Prepare(cut, id) => table.prepare(lease, at(*cut), Bytes::from(id.clone())).await,
        Change::Finish => {
            let cut = lease.pending.as_ref().map_or(at(0), |pending| pending.checkpoint);
            table.finish(lease, cut).await
        }
        Change::Checkpoint(checkpoint) => table.checkpoint(lease, at(*checkpoint)).await,
        Change::ShardEnd(children) => table.shard_end(lease, children).await,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    /// Each of two workers knows of the row what its own changes told it. The row is always what the last change that was made
    /// said it would be, a change is made by its owner or with the newest counter or not at all, and what is lost tells the truth.
    #[test]
    fn the_row_is_what_its_last_change_said(script in prop::collection::vec((0..2usize, changes()), 1..30)) {
        let Some(server) = DynamoDb::shared() else { return Ok(()) };
        let table = server.table();
        table.create();
        let workers = [worker(server, &table, "w0"), worker(server, &table, "w1")];
        let mut truth = Lease::new(SHARD, Checkpoint::Latest);
        done(server.block_on(workers[0].create(&truth)));
        let mut known = [truth.clone(), truth.clone()];
        for (who, change) in script {
            let lease = known[who].clone();
            let was_owner = truth.is_owned_by(["w0", "w1"][who]);
            match server.block_on(make(&workers[who], &lease, &change)) {
                Ok(Outcome::Done(after)) => {
                    prop_assert_eq!(lease.counter, truth.counter, "made from an old state");
                    prop_assert_eq!(after.counter, truth.counter + 1);
                    prop_assert!(matches!(change, Change::Take) || was_owner);
                    truth = after.clone();
                    known[who] = after;
                }
                Ok(Outcome::Lost(now)) => {
                    prop_assert!(lease.counter < truth.counter || !was_owner);
                    prop_assert_eq!(now.as_ref(), Some(&truth));
                    known[who] = truth.clone();
                }
                Err(TableError::OutOfOrder { .. }) => {}
                Err(error) => panic!("{error}"),
            }
            prop_assert_eq!(&found(server, &workers[0]), &truth);
        }
    }
}

#[test]
fn all_rows_are_scanned_page_by_page() {
    let Some(server) = DynamoDb::shared() else { return };
    let table = server.table();
    table.create();
    // A page ends at a megabyte.
    let ballast = "x".repeat(150_000);
    let keys: BTreeSet<String> = (0..20).map(|number| format!("shardId-{number:012}")).collect();
    for key in &keys {
        table.put(with(of_java(1), [("leaseKey", s(key)), ("ballast", s(&*ballast))]));
    }
    table.put(row([("leaseKey", s("worker-1")), ("entityType", s("WORKER_METRIC_STATS")), ("lut", n(1))]));
    table.put(without(with(of_java(1), [("leaseKey", s("shardId-000000000099"))]), ["leaseCounter"]));
    let scan = server.block_on(worker(server, &table, "us").scan()).unwrap();
    assert_eq!(scan.leases.len(), keys.len());
    assert_eq!(scan.leases.iter().map(|lease| lease.key.to_string()).collect::<BTreeSet<_>>(), keys);
    let [unreadable] = &scan.unreadable[..] else { panic!("{:?}", scan.unreadable) };
    assert_eq!(unreadable.key, "shardId-000000000099");
    assert_eq!(unreadable.reason, format!("there is no `{}`", codec::LEASE_COUNTER));
}

#[test]
fn a_table_of_several_streams_is_refused() {
    let Some(server) = DynamoDb::shared() else { return };
    let table = server.table();
    table.create();
    let stream = "123456789012:clicks:1700000000";
    table.put(with(
        of_java(1),
        [("leaseKey", s(format!("{stream}:{SHARD}"))), ("streamName", s(stream)), ("shardId", s(SHARD))],
    ));
    let error = server.block_on(worker(server, &table, "us").scan()).unwrap_err();
    assert!(matches!(&error, TableError::SeveralStreams { stream: found, .. } if found == stream), "{error}");
    assert!(!error.is_transient());
}
