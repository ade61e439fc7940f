//! What is put into a stream: numbered records, plain and aggregated ones, and where the service has put each of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use hydrant::sequence_number::SequenceNumber;

use crate::support::Objects;
use crate::support::kinesis::{KinesisStream, Put, aggregates};
use crate::support::wait::holds_within;

/// Calls for which aggregates are made at a time: each time a Python starts.
const CALLS: usize = 20;
/// In one call.
const PLAIN: usize = 20;
const AGGREGATES: usize = 3;
const IN_AN_AGGREGATE: usize = 4;
const NUMBERS: usize = PLAIN + AGGREGATES * IN_AN_AGGREGATE;
/// Between two calls: some load for as long as the scene takes, not as much as the servers bear.
const PAUSE: Duration = Duration::from_millis(100);

/// Where a record is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct At {
    pub shard: String,
    pub sequence_number: SequenceNumber,
    pub sub_sequence_number: u64,
}

/// Every record that was put, by its number.
#[derive(Debug, Default)]
pub struct Account(BTreeMap<usize, At>);

impl Account {
    /// Puts one record for each group: as it is if there is one number in it, else as an aggregate.
    pub fn put(&mut self, stream: &KinesisStream<'_>, groups: &[Vec<(usize, Put)>]) {
        let puts = puts(groups);
        self.placed(stream, groups, &puts);
    }

    fn placed(&mut self, stream: &KinesisStream<'_>, groups: &[Vec<(usize, Put)>], puts: &[Put]) {
        for (group, placed) in groups.iter().zip(stream.put(puts)) {
            let sequence_number = placed.sequence_number.parse().expect("a sequence number");
            for (sub_sequence_number, (number, _)) in (0..).zip(group) {
                let at = At { shard: placed.shard.clone(), sequence_number, sub_sequence_number };
                assert_eq!(self.0.insert(*number, at), None, "{number} is put once");
            }
        }
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn at(&self, number: usize) -> &At {
        &self.0[&number]
    }

    /// What the service has: an aggregate is one of its records.
    pub fn records(&self) -> Vec<(String, String)> {
        let mut records: Vec<_> =
            self.0.values().map(|at| (at.shard.clone(), at.sequence_number.to_string())).collect();
        records.sort();
        records.dedup();
        records
    }

    /// The last record of each shard.
    pub fn ends(&self) -> BTreeMap<&str, &At> {
        let mut ends: BTreeMap<&str, &At> = BTreeMap::new();
        for at in self.0.values() {
            let end = ends.entry(&at.shard).or_insert(at);
            *end = at.max(*end);
        }
        ends
    }

    /// These and no other records are in the objects, each exactly once; an object holds records of one shard, in their order.
    #[track_caller]
    pub fn check(&self, objects: &Objects, expected: impl IntoIterator<Item = usize>) {
        let mut missing: BTreeSet<usize> = expected.into_iter().collect();
        for (key, data) in objects.iter() {
            let numbers = numbers(key, data);
            for number in &numbers {
                assert!(
                    missing.remove(number),
                    "{number}, which is in {key}, is in another object, or nobody's to read"
                );
            }
            let places: Vec<_> = numbers.iter().map(|number| self.at(*number)).collect();
            for pair in places.windows(2) {
                assert_eq!(pair[0].shard, pair[1].shard, "{key} holds records of several shards");
                assert!(pair[0] < pair[1], "the order in {key}: {:?} stands before {:?}", pair[0], pair[1]);
            }
        }
        assert!(missing.is_empty(), "{} records are lost: {missing:?}", missing.len());
    }

    #[track_caller]
    pub fn check_all(&self, objects: &Objects) {
        self.check(objects, self.0.keys().copied());
    }
}

/// A record that carries its number.
pub fn numbered(number: usize, partition_key: impl Into<String>) -> (usize, Put) {
    (number, Put::new(partition_key, format!("{{\"n\":{number}}}")))
}

#[track_caller]
fn numbers(key: &str, data: &[u8]) -> Vec<usize> {
    let text = std::str::from_utf8(data).expect("JSON");
    let number = |line: &str| line.strip_prefix("{\"n\":")?.strip_suffix('}')?.parse().ok();
    text.lines().map(|line| number(line).unwrap_or_else(|| panic!("{key} holds {line:?}"))).collect()
}

/// Puts records until it is told to stop, in a thread of the test's.
pub struct Producer<'a> {
    stream: &'a KinesisStream<'a>,
    account: Mutex<Account>,
    is_over: AtomicBool,
}

impl<'a> Producer<'a> {
    pub fn new(stream: &'a KinesisStream<'a>) -> Self {
        Self { stream, account: Mutex::default(), is_over: AtomicBool::new(false) }
    }

    pub fn run(&self) {
        for first in (0..).step_by(CALLS * NUMBERS) {
            let groups = groups(first);
            let puts = puts(&groups);
            let in_a_call = PLAIN + AGGREGATES;
            for (groups, puts) in groups.chunks(in_a_call).zip(puts.chunks(in_a_call)) {
                if holds_within(PAUSE, || self.is_over.load(Ordering::Relaxed)) {
                    return;
                }
                self.account().placed(self.stream, groups, puts);
            }
        }
    }

    pub fn stop(&self) {
        self.is_over.store(true, Ordering::Relaxed);
    }

    pub fn account(&self) -> MutexGuard<'_, Account> {
        self.account.lock().expect("no holder panics")
    }
}

/// It ends with this value, however the test does.
pub struct Running<'a, 'b>(pub &'a Producer<'b>);

impl Drop for Running<'_, '_> {
    fn drop(&mut self) {
        self.0.stop();
    }
}

/// For some calls, each with plain ones and such that become aggregates. All records of an aggregate have one partition key, so that
/// no reshard makes it a misrouted one.
fn groups(first: usize) -> Vec<Vec<(usize, Put)>> {
    let of_a_call = |call: usize| {
        let plain = first + call * NUMBERS;
        let many = plain + PLAIN;
        let plain = (plain..many).map(|number| vec![numbered(number, format!("key-{number}"))]);
        plain.chain((many..).step_by(IN_AN_AGGREGATE).take(AGGREGATES).map(|from| {
            let numbers = from..from + IN_AN_AGGREGATE;
            numbers.map(|number| numbered(number, format!("group-{from}"))).collect()
        }))
    };
    (0..CALLS).flat_map(of_a_call).collect()
}

/// A record for each group: the one that is in it, or an aggregate.
fn puts(groups: &[Vec<(usize, Put)>]) -> Vec<Put> {
    let records = |group: &Vec<(usize, Put)>| group.iter().map(|(_, put)| put.clone()).collect();
    let many: Vec<Vec<_>> = groups.iter().filter(|group| group.len() > 1).map(records).collect();
    let mut many = aggregates(&many).expect("Python was there").into_iter();
    let put = |group: &Vec<(usize, Put)>| match group.as_slice() {
        [(_, put)] => put.clone(),
        _ => many.next().expect("one for each"),
    };
    groups.iter().map(put).collect()
}
