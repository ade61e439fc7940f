//! A fleet: real processes that divide the shards of one stream by a lease table. Whatever happens to its workers and to the
//! shards, each record is in the objects exactly once.

mod fleet;
mod load;
mod watch;

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use aws_sdk_dynamodb::types::AttributeValue;
use hydrant::source::kinesis::leases::lease::Checkpoint;

use crate::support::dynamodb::{Row, Table, n, row, s, ss, text};
use crate::support::kinesis::{KinesisStream, Put, Shard, aggregates};
use crate::support::{DynamoDb, Hydrant, Kinesis, wait_until};
use fleet::{CYCLE, FAILOVER, Fleet};
use load::{Account, At, Producer, Running, numbered};
use watch::{Watch, Watching, is_balanced, leases, owned, unfinished};

const SHARDS: usize = 12;
/// For processes to start, and for all that a busy machine has to do at the same time.
const SLACK: Duration = Duration::from_secs(10);

#[test]
fn a_fleet_delivers_each_record_once_whatever_becomes_of_its_workers_and_shards() {
    let (Some(kinesis), Some(dynamodb)) = (Kinesis::shared(), DynamoDb::shared()) else { return };
    if aggregates(&[]).is_none() {
        return;
    }
    let (stream, table) = (kinesis.stream(SHARDS), dynamodb.table());
    let fleet = Fleet::new((kinesis, &stream), (dynamodb, &table));
    let (producer, watch) = (Producer::new(&stream), Watch::new(&table));
    let mut objects = fleet.objects();
    thread::scope(|scope| {
        let (load, watching) = (Running(&producer), Watching(&watch));
        let putting = scope.spawn(|| producer.run());
        let watcher = scope.spawn(|| watch.run());

        let (first, second) = (fleet.start("first"), fleet.start("second"));
        balanced(&table, &["first", "second"]);
        fleet.wait_for_more(&mut objects, 500);
        assert!(first.kill_9().killed());
        let late = fleet.start("late");
        balanced(&table, &["late", "second"]);
        fleet.wait_for_more(&mut objects, 500);

        let [low, high] = stream.split(&stream.open_shards()[0].id);
        divided_as_the_stream(&table, &stream);

        second.halt();
        wait_until("what a halted worker had is taken", || !owned(&table).contains_key(&Some("second".to_owned())));
        let child = stream.merge(&low, &high);
        divided_as_the_stream(&table, &stream);
        fleet.wait_for_more(&mut objects, 500);
        second.go_on();
        balanced_within_its_cycles(&table, &["late", "second"]);

        drop(load);
        putting.join().expect("all is put");
        let total = producer.account().len();
        fleet.wait_for(&mut objects, total);
        drop(watching);
        watcher.join().expect("no row that the KCL would not write");
        end([late, second]);
        producer.account().check_all(&objects);
        objects.check_unchanged();
        let parents = [low.as_str(), high.as_str()].map(|parent| watch.owners_of(parent));
        assert!(parents.iter().all(|owners| !owners.is_empty()) && !watch.owners_of(&child).is_empty(), "{parents:?}");
    });
    watch.check_standstills(FAILOVER * 2 + CYCLE + SLACK);
    watch.check_checkpoints();
    settled(&table, &stream, &producer.account());
}

#[test]
fn the_account_and_the_watch_tell_what_the_servers_hold() {
    let (Some(kinesis), Some(dynamodb)) = (Kinesis::shared(), DynamoDb::shared()) else { return };
    if aggregates(&[]).is_none() {
        return;
    }
    let (stream, table) = (kinesis.stream(2), dynamodb.table());
    let (producer, watch) = (Producer::new(&stream), Watch::new(&table));
    let [one, other] = stream.shards().try_into().expect("two shards");
    thread::scope(|scope| {
        let (load, watching) = (Running(&producer), Watching(&watch));
        let putting = scope.spawn(|| producer.run());
        scope.spawn(|| watch.run());
        table.create();
        let with_owner = |shard: &Shard, owner: &str| {
            let mut row = of_java(shard, Checkpoint::TrimHorizon);
            row.insert("leaseOwner".to_owned(), s(owner));
            row
        };
        table.put(with_owner(&one, "a"));
        table.put(of_java(&other, Checkpoint::TrimHorizon));
        assert!(!is_balanced(&table, &["a"]) && !is_balanced(&table, &["a", "b"]));
        table.put(with_owner(&other, "b"));
        assert!(is_balanced(&table, &["a", "b"]) && !is_balanced(&table, &["a"]));
        wait_until("both rows were seen", || [&one, &other].iter().all(|shard| !watch.owners_of(&shard.id).is_empty()));
        wait_until("some calls were made", || producer.account().len() > 100);
        drop((load, watching));
        putting.join().expect("all is put");
    });
    watch.check_checkpoints();
    watch.check_standstills(crate::support::DEADLINE);
    let (account, mut held) = (producer.account(), Vec::new());
    held.extend(stream.read_all().into_iter().map(|read| (read.shard, read.sequence_number)));
    held.sort();
    assert_eq!(account.records(), held);
}

/// Each of these workers has its share.
#[track_caller]
fn balanced(table: &Table<'_>, workers: &[&str]) {
    wait_until(&format!("{workers:?} share the leases"), || is_balanced(table, workers));
}

/// A worker steals one lease a cycle until it has its share.
#[track_caller]
fn balanced_within_its_cycles(table: &Table<'_>, workers: &[&str]) {
    let begun = Instant::now();
    let cycles = unfinished(table).len().div_ceil(workers.len());
    balanced(table, workers);
    let (took, most) = (begun.elapsed(), CYCLE * u32::try_from(cycles).expect("few") + SLACK);
    assert!(took <= most, "balanced after {took:?}, not within {most:?}: {:?}", owned(table));
}

/// The leases that somebody works on are those of the open shards.
#[track_caller]
fn divided_as_the_stream(table: &Table<'_>, stream: &KinesisStream<'_>) {
    let mut open: Vec<_> = stream.open_shards().into_iter().map(|shard| shard.id).collect();
    open.sort();
    wait_until(&format!("the leases are those of {open:?}"), || unfinished(table).into_keys().eq(open.iter().cloned()));
}

fn end<const N: usize>(workers: [Hydrant; N]) {
    for worker in workers {
        worker.terminate().expect_code(0);
    }
}

/// Nobody has a lease, nothing is begun, and each checkpoint is the last record of its shard, or its end.
#[track_caller]
fn settled(table: &Table<'_>, stream: &KinesisStream<'_>, account: &Account) {
    let (leases, ends) = (leases(table), account.ends());
    for shard in stream.shards() {
        let Some(lease) = leases.get(&shard.id) else {
            assert!(!shard.is_open, "{} has no lease", shard.id);
            continue;
        };
        assert_eq!((&lease.owner, &lease.pending), (&None, &None), "{lease:?}");
        let end = ends.get(shard.id.as_str()).map(|at| checkpoint(at));
        match (shard.is_open, end) {
            (true, Some(end)) => assert_eq!(lease.checkpoint, end, "{lease:?}"),
            (true, None) => assert!(lease.checkpoint.is_initial(), "{lease:?}"),
            (false, _) => assert_eq!(lease.checkpoint, Checkpoint::ShardEnd, "{lease:?}"),
        }
    }
}

fn checkpoint(at: &At) -> Checkpoint {
    Checkpoint::At(at.sequence_number, at.sub_sequence_number)
}

/// What is written of a shard by a KCL 2.x, and something of tomorrow's.
fn of_java(shard: &Shard, checkpoint: Checkpoint) -> Row {
    let mut lease = row([
        ("leaseKey", s(&shard.id)),
        ("leaseCounter", n(120)),
        ("ownerSwitchesSinceCheckpoint", n(0)),
        ("checkpoint", s(checkpoint.to_string())),
        ("checkpointSubSequenceNumber", n(checkpoint.sub_sequence_number())),
        ("startingHashKey", s(shard.hash_keys.start().to_string())),
        ("endingHashKey", s(shard.hash_keys.end().to_string())),
        ("ofTomorrow", of_tomorrow()),
    ]);
    if !shard.parents.is_empty() {
        lease.insert("parentShardId".to_owned(), ss(shard.parents.iter().map(String::as_str)));
    }
    lease
}

fn of_tomorrow() -> AttributeValue {
    AttributeValue::M([("depth".to_owned(), n(3))].into())
}

#[test]
fn a_table_that_a_java_kcl_has_left_is_taken_over_at_its_checkpoints() {
    let (Some(kinesis), Some(dynamodb)) = (Kinesis::shared(), DynamoDb::shared()) else { return };
    if aggregates(&[]).is_none() {
        return;
    }
    let (stream, table, mut account) = (kinesis.stream(3), dynamodb.table(), Account::default());
    let [split, owned, within] = stream.shards().try_into().expect("three shards");
    let in_shard = |shard: &Shard, number: usize| -> (usize, Put) {
        let (number, put) = numbered(number, format!("key-{number}"));
        (number, put.with_hash(*shard.hash_keys.start()))
    };
    let plain = |shard: &Shard, numbers: std::ops::Range<usize>| -> Vec<Vec<(usize, Put)>> {
        numbers.map(|number| vec![in_shard(shard, number)]).collect()
    };
    account.put(&stream, &plain(&split, 0..10));
    account.put(&stream, &plain(&owned, 10..20));
    account.put(&stream, &[(20..26).map(|number| in_shard(&within, number)).collect()]);
    account.put(&stream, &plain(&within, 26..30));
    let children = stream.split(&split.id);
    let shards: BTreeMap<_, _> = stream.shards().into_iter().map(|shard| (shard.id.clone(), shard)).collect();
    for (child, numbers) in children.iter().zip([30..40, 40..50]) {
        account.put(&stream, &plain(&shards[child], numbers));
    }

    // A split shard that is done, one whose owner has died, one that was left in the middle of an aggregate, and the children.
    table.create();
    let mut done = of_java(&split, Checkpoint::ShardEnd);
    done.insert("childShardIds".to_owned(), ss(children.iter().map(String::as_str)));
    table.put(done.clone());
    let mut died = of_java(&owned, checkpoint(account.at(13)));
    died.insert("leaseOwner".to_owned(), s("java"));
    table.put(died);
    table.put(of_java(&within, checkpoint(account.at(22))));
    for child in &children {
        table.put(of_java(&shards[child], Checkpoint::TrimHorizon));
    }
    let metrics = row([("leaseKey", s("java-metrics")), ("entityType", s("WORKER_METRIC_STATS")), ("lut", n(1))]);
    table.put(metrics.clone());

    let fleet = Fleet::new((kinesis, &stream), (dynamodb, &table));
    let (workers, mut objects) = ([fleet.start("first"), fleet.start("second")], fleet.objects());
    let expected = || (14..20).chain(23..50);
    fleet.wait_for(&mut objects, expected().count());
    balanced(&table, &["first", "second"]);
    end(workers);
    objects.look();
    account.check(&objects, expected());
    settled(&table, &stream, &account);

    let rows = table.rows();
    assert_eq!(rows.get("java-metrics"), Some(&metrics));
    for shard in [&owned.id, &within.id].into_iter().chain(&children) {
        assert_eq!(rows[shard].get("ofTomorrow"), Some(&of_tomorrow()), "{:?}", rows[shard]);
        assert_eq!(rows[shard].get("startingHashKey"), Some(&s(shards[shard].hash_keys.start().to_string())));
    }
    // A lease of a shard that is over goes once its children have begun, as with the KCL.
    if let Some(row) = rows.get(&split.id) {
        assert_eq!(text(row, "checkpoint"), Some("SHARD_END"));
        assert_eq!(
            (row.get("ofTomorrow"), row.get("childShardIds")),
            (Some(&of_tomorrow()), done.get("childShardIds"))
        );
    }
}
