//! The workers of a fleet, beside real time: on a table in memory that loses requests and answers, and on one in a DynamoDB server.

mod fleet;

use std::time::Duration;

use bytes::Bytes;
use hydrant::source::kinesis::leases::lease::Checkpoint;
use hydrant::source::kinesis::leases::operation::LeaseTable;
use hydrant::source::kinesis::leases::table::{DynamoDbTable, Limits};
use hydrant::source::kinesis::leases::worker::Lost;
use hydrant::source::kinesis::page::{ChildShard, HashKeyRange};

use self::fleet::{FaultyTable, Node, Shards, certain_twice, listed};
use crate::support::DynamoDb;
use crate::support::wait::wait_until;

const FAILOVER: Duration = Duration::from_millis(1500);
const SHARD: &str = "shardId-000000000000";

fn at(number: u64) -> Checkpoint {
    Checkpoint::At(number.to_string().parse().unwrap(), 0)
}

/// Waits until the workers in these places are certain of so many leases each. At no moment two are certain of one.
#[track_caller]
fn wait_for(nodes: &[Node], expected: &[usize]) {
    wait_until(&format!("each worker is certain of its leases: {expected:?}"), || {
        assert_eq!(certain_twice(nodes), None);
        nodes.iter().map(Node::certain).eq(expected.iter().copied())
    });
}

/// Balance, one that makes no more calls, one that stands still for longer than its leases live, and one that gives all up.
fn lives_of_a_fleet<T>(table: impl Fn(&str) -> T)
where
    T: LeaseTable<Error: std::fmt::Display + Send> + Send + Sync + 'static,
{
    let shards = Shards::open(12);
    let start = |id: &str| Node::start(id, FAILOVER, table(id), &shards);
    let mut nodes = vec![start("w0")];
    wait_for(&nodes, &[12]);
    nodes.extend([start("w1"), start("w2")]);
    wait_for(&nodes, &[4, 4, 4]);

    let of_killed = nodes[0].leases();
    nodes[0].kill();
    wait_for(&nodes, &[0, 6, 6]);
    assert!(of_killed.iter().all(|lease| lease.is_lost() && !lease.is_certain()));
    assert_eq!(nodes[0].block_on(of_killed[0].settle(at(1))), Err(Lost));

    nodes[1].freeze();
    let of_frozen = nodes[1].leases();
    wait_for(&nodes, &[0, 0, 12]);
    assert!(of_frozen.iter().all(|lease| !lease.is_lost()), "nobody has told it yet");
    nodes[1].thaw();
    wait_until("the frozen worker finds all lost", || of_frozen.iter().all(|lease| lease.is_lost()));
    assert_eq!(nodes[1].block_on(of_frozen[0].certain()), Err(Lost));
    wait_for(&nodes, &[0, 6, 6]);

    nodes[2].stop();
    wait_for(&nodes, &[0, 12, 0]);
}

#[test]
fn a_fleet_divides_leases_and_takes_over_what_others_leave() {
    let table = FaultyTable::new(7);
    table.lose(2);
    lives_of_a_fleet(|_| table.clone());
}

#[test]
fn a_fleet_on_a_server_divides_leases_and_takes_over_what_others_leave() {
    let Some(server) = DynamoDb::shared() else { return };
    let table = server.table();
    table.create();
    lives_of_a_fleet(|id| DynamoDbTable::new(server.client().clone(), table.name(), id, Limits::of(FAILOVER)));
}

#[test]
fn what_is_asked_of_a_lease_is_written_however_many_answers_are_lost() {
    let table = FaultyTable::new(11);
    let nodes = [Node::start("us", FAILOVER, table.clone(), &Shards::open(1))];
    wait_for(&nodes, &[1]);
    let (row, lease) = nodes[0].held(SHARD).unwrap();
    assert_eq!((row.checkpoint, row.pending, row.hash_keys), (Checkpoint::TrimHorizon, None, Some(HashKeyRange::ALL)));
    table.lose(40);
    for cut in 1..=20 {
        assert_eq!(nodes[0].block_on(lease.pend(at(cut), Bytes::from_static(b"id"))), Ok(()));
        let row = table.row(SHARD).unwrap();
        let pending = row.pending.unwrap();
        assert_eq!((row.checkpoint < at(cut), pending.checkpoint), (true, at(cut)));
        assert_eq!(pending.state.as_deref(), Some(&b"id"[..]));
        assert_eq!(nodes[0].block_on(lease.settle(at(cut))), Ok(()));
        let row = table.row(SHARD).unwrap();
        assert_eq!((row.checkpoint, row.pending), (at(cut), None));
    }
    assert_eq!(nodes[0].block_on(lease.settle(at(1))), Ok(()), "it stays where it is");
    assert_eq!(table.row(SHARD).unwrap().checkpoint, at(20));
    table.lose(0);
    nodes[0].stop();
    assert!(lease.is_lost());
    assert_eq!(table.row(SHARD).unwrap().owner, None);
    assert_eq!(nodes[0].block_on(lease.pend(at(21), Bytes::new())), Err(Lost));
}

#[test]
fn while_the_table_is_away_a_lease_is_uncertain_and_not_lost() {
    let table = FaultyTable::new(13);
    let nodes = [Node::start("us", FAILOVER, table.clone(), &Shards::open(1))];
    wait_for(&nodes, &[1]);
    let (_, lease) = nodes[0].held(SHARD).unwrap();
    table.set_away(true);
    wait_for(&nodes, &[0]);
    assert!(!lease.is_lost());
    table.set_away(false);
    assert_eq!(nodes[0].block_on(lease.certain()), Ok(()));
    assert!(!lease.is_lost());
}

#[test]
fn a_child_is_told_when_all_its_parents_have_ended() {
    let (left, right, child) = (SHARD, "shardId-000000000001", "shardId-000000000002");
    let (table, shards) = (FaultyTable::new(17), Shards::open(2));
    let nodes = [Node::start("us", FAILOVER, table.clone(), &shards)];
    wait_for(&nodes, &[2]);
    {
        let mut shards = shards.0.lock().unwrap();
        shards.iter_mut().for_each(|shard| shard.is_open = false);
        shards.push(listed(child, &[left, right], HashKeyRange::ALL));
    }
    let parents = vec![left.to_owned(), right.to_owned()];
    let children = vec![ChildShard { id: child.to_owned(), parents, hash_keys: HashKeyRange::ALL }];
    let (_, lease) = nodes[0].held(left).unwrap();
    nodes[0].forget(left);
    assert_eq!(nodes[0].block_on(lease.end(children.clone())), Ok(()));
    let row = table.row(left).unwrap();
    assert_eq!((row.checkpoint, row.children.contains(child)), (Checkpoint::ShardEnd, true));
    assert!(lease.is_lost(), "there is nothing to hold any more");
    // Taken early, so that nobody else is asked for it.
    wait_until("the child is taken", || table.row(child).is_some_and(|row| row.is_owned_by("us")));
    assert!(nodes[0].held(child).is_none());

    let (_, lease) = nodes[0].held(right).unwrap();
    nodes[0].forget(right);
    assert_eq!(nodes[0].block_on(lease.end(children)), Ok(()));
    wait_until("the child is told", || nodes[0].held(child).is_some());
    assert_eq!(nodes[0].held(child).unwrap().0.checkpoint, Checkpoint::TrimHorizon);
}
