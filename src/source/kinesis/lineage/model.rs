//! A stream that is resharded at random, listings that lag behind, a source whose lives end at any moment, and a random search
//! for a counterexample.
//!
//! Persistent: the stream, and the journal (rows, checkpoints, the initial position), which changes by one transaction at a
//! time. What is settled is delivered in the same moment. Volatile: readers and what they have read but not settled.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;

use super::*;

const KEYS: u64 = 6;
const LAG_MAX: u64 = 12;
/// How far the clocks of the shards are behind the true time at most.
const SKEW_MAX: u64 = 6;

/// SplitMix64.
struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

#[derive(Debug, Clone)]
struct Record {
    key: u64,
    /// Counts the records of the key.
    number: u64,
    time: u64,
    /// What the shard's own clock says of the time.
    stamp: u64,
}

#[derive(Debug)]
struct StreamShard {
    parents: Vec<String>,
    keys: std::ops::Range<u64>,
    skew: u64,
    made: u64,
    closed: Option<u64>,
    records: Vec<Record>,
}

impl StreamShard {
    fn facts(&self, id: &str) -> ChildShard {
        let end = if self.keys.end == KEYS { u128::MAX } else { u128::from(self.keys.end) - 1 };
        let hash_keys = HashKeyRange { start: u128::from(self.keys.start), end };
        ChildShard { id: id.to_owned(), parents: self.parents.clone(), hash_keys }
    }
}

/// Of a shard in one life.
#[derive(Debug, Default)]
struct Reading {
    start: Option<Start>,
    has_reader: bool,
    has_ended: bool,
    /// Up to which record it was read.
    next: Option<usize>,
    unsettled: Vec<usize>,
}

struct Life {
    lineage: Lineage,
    readings: BTreeMap<String, Reading>,
}

struct Crash;

struct World {
    rng: Rng,
    now: u64,
    retention: u64,
    is_filtered: bool,
    stream: BTreeMap<String, StreamShard>,
    numbers: Vec<u64>,
    /// `None` is `latest`.
    configured: Option<Start>,
    // The journal.
    initial: Option<Start>,
    rows: BTreeMap<String, Row>,
    checkpoints: BTreeMap<String, usize>,
    // What came of it.
    delivered: Vec<Record>,
    ever_known: BTreeSet<String>,
    lost: BTreeSet<String>,
    /// Records that expired before they were read: (key, number).
    expired: BTreeSet<(u64, u64)>,
}

fn time(ms: u64) -> Timestamp {
    Timestamp::from_millisecond(ms as i64).unwrap()
}

impl World {
    fn new(seed: u64) -> Self {
        let mut rng = Rng(seed);
        let retention = if rng.one_in(3) { 20 + rng.below(150) } else { u64::MAX / 2 };
        let is_filtered = rng.one_in(2);
        let mut world = Self {
            rng,
            now: 100,
            retention,
            is_filtered,
            stream: BTreeMap::new(),
            numbers: vec![0; KEYS as usize],
            configured: None,
            initial: None,
            rows: BTreeMap::new(),
            checkpoints: BTreeMap::new(),
            delivered: Vec::new(),
            ever_known: BTreeSet::new(),
            lost: BTreeSet::new(),
            expired: BTreeSet::new(),
        };
        let middle = 1 + world.rng.below(KEYS - 1);
        world.make_shard(Vec::new(), 0..middle);
        world.make_shard(Vec::new(), middle..KEYS);
        world
    }

    // The stream.

    fn make_shard(&mut self, parents: Vec<String>, keys: std::ops::Range<u64>) {
        let id = format!("shardId-{:012}", self.stream.len());
        let skew = self.rng.below(SKEW_MAX + 1);
        let shard = StreamShard { parents, keys, skew, made: self.now, closed: None, records: Vec::new() };
        self.stream.insert(id, shard);
    }

    fn put(&mut self) {
        let key = self.rng.below(KEYS);
        let number = self.numbers[key as usize];
        self.numbers[key as usize] += 1;
        let now = self.now;
        let open = |shard: &&mut StreamShard| shard.closed.is_none() && shard.keys.contains(&key);
        let shard = self.stream.values_mut().find(open).expect("the open shards have all keys");
        shard.records.push(Record { key, number, time: now, stamp: now - shard.skew });
    }

    fn reshard(&mut self) {
        let open: Vec<(String, std::ops::Range<u64>)> = self
            .stream
            .iter()
            .filter(|(_, shard)| shard.closed.is_none())
            .map(|(id, shard)| (id.clone(), shard.keys.clone()))
            .collect();
        let (id, keys) = open[self.rng.below(open.len() as u64) as usize].clone();
        let neighbour = open.iter().find(|(_, other)| other.start == keys.end);
        if self.rng.one_in(2)
            && let Some((other, range)) = neighbour
        {
            self.close(&[&id, other]);
            self.make_shard(vec![id, other.clone()], keys.start..range.end);
        } else if keys.end - keys.start > 1 {
            let middle = keys.start + 1 + self.rng.below(keys.end - keys.start - 1);
            self.close(&[&id]);
            self.make_shard(vec![id.clone()], keys.start..middle);
            self.make_shard(vec![id], middle..keys.end);
        }
    }

    fn close(&mut self, ids: &[&String]) {
        for id in ids {
            self.stream.get_mut(*id).unwrap().closed = Some(self.now);
        }
    }

    fn is_expired(&self, shard: &StreamShard, at: u64) -> bool {
        shard.closed.is_some_and(|closed| closed + self.retention <= at)
    }

    /// Whether listings leave the shard out because it was closed before the time that reading starts at.
    fn is_too_old(&self, shard: &StreamShard) -> bool {
        match (self.initial, shard.closed) {
            (Some(Start::AtTimestamp(from)), Some(closed)) => self.is_filtered && time(closed) < from,
            _ => false,
        }
    }

    /// Each shard as it was a while ago, some longer than others.
    fn list(&mut self, from: Start) -> Vec<ChildShard> {
        let seen: Vec<u64> = self.stream.keys().map(|_| self.now - self.rng.below(LAG_MAX + 1)).collect();
        let is_recent = |closed: Option<u64>, seen: u64| match (from, closed) {
            (Start::AtTimestamp(from), Some(closed)) if closed <= seen && self.is_filtered => time(closed) >= from,
            _ => true,
        };
        let listed = self.stream.iter().zip(seen).filter(|((_, shard), seen)| {
            shard.made <= *seen && !self.is_expired(shard, *seen) && is_recent(shard.closed, *seen)
        });
        listed.map(|((id, shard), _)| shard.facts(id)).collect()
    }

    // The source.

    fn start_life(&mut self) -> Life {
        let latest = Start::AtTimestamp(time(self.now));
        let initial = self.initial.or(self.configured).unwrap_or(latest);
        let rows = self.rows.values().cloned().collect();
        let lineage = Lineage::new(Wanted::All, initial, rows, Duration::from_millis(LAG_MAX));
        Life { lineage, readings: BTreeMap::new() }
    }

    /// One transaction, or the end before it.
    fn journal(&mut self, life: &mut Life, changes: Changes, may_crash: bool) -> Result<(), Crash> {
        if may_crash && !changes.is_empty() && self.rng.one_in(12) {
            return Err(Crash);
        }
        let ids: BTreeSet<&String> = changes.put.iter().map(|row| &row.id).chain(&changes.forget).collect();
        assert_eq!(ids.len(), changes.put.len() + changes.forget.len(), "each shard once");
        for row in changes.put {
            self.ever_known.insert(row.id.clone());
            self.rows.insert(row.id.clone(), row);
        }
        for id in changes.forget {
            self.rows.remove(&id);
            self.checkpoints.remove(&id);
        }
        for id in changes.lost {
            let shard = &self.stream[&id];
            assert!(self.is_expired(shard, self.now) || self.is_too_old(shard), "{id} is still there");
            life.readings.entry(id.clone()).or_default().has_ended = true;
            self.lost.insert(id);
        }
        Ok(())
    }

    fn listing(&mut self, life: &mut Life, may_crash: bool) -> Result<(), Crash> {
        let latest = Start::AtTimestamp(time(self.now));
        let initial = self.initial.or(self.configured).unwrap_or(latest);
        if self.initial.is_none() {
            // The time is taken when first sight is: what a life has learnt before is of no use.
            *life = self.start_life();
        }
        let listing = self.list(initial);
        let changes = life.lineage.listed(&listing, Duration::from_millis(self.now));
        let is_first = self.initial.is_none();
        self.journal(life, changes, may_crash)?;
        if is_first {
            self.initial = Some(initial);
        }
        Ok(())
    }

    fn begin(&mut self, life: &mut Life) {
        for begin in life.lineage.begin() {
            assert!(self.rows.contains_key(&begin.id), "read before it was journalled");
            let reading = life.readings.entry(begin.id).or_default();
            assert!(!reading.has_reader && !reading.has_ended, "begun twice");
            (reading.start, reading.has_reader) = (Some(begin.start), true);
        }
    }

    fn read(&mut self, life: &mut Life, id: &str, may_crash: bool) -> Result<(), Crash> {
        let (shard, reading) = (&self.stream[id], life.readings.get_mut(id).unwrap());
        let checkpoint = self.checkpoints.get(id).copied();
        let gave_records = checkpoint.is_some() || !reading.unsettled.is_empty();
        let is_hidden = self.now < shard.made + LAG_MAX && self.rng.one_in(8);
        if is_hidden || self.is_expired(shard, self.now) {
            reading.has_reader = false;
            life.lineage.not_found(id, gave_records);
            return Ok(());
        }
        if may_crash && self.rng.one_in(20) {
            reading.has_reader = false;
            life.lineage.stopped(id);
            return Ok(());
        }
        let from = match reading.start {
            Some(Start::AtTimestamp(from)) => shard.records.partition_point(|record| time(record.stamp) < from),
            _ => 0,
        };
        let from = reading.next.or(checkpoint).unwrap_or(from);
        let oldest = shard.records.partition_point(|record| record.time + self.retention <= self.now);
        let skipped = shard.records[from..oldest.max(from)].iter();
        self.expired.extend(skipped.map(|record| (record.key, record.number)));
        let from = from.max(oldest);
        let to = shard.records.len().min(from + self.rng.below(4) as usize);
        reading.unsettled.extend(from..to);
        reading.next = (from < to).then_some(to).or(reading.next);
        if to < shard.records.len() || shard.closed.is_none() {
            return Ok(());
        }
        (reading.has_reader, reading.has_ended) = (false, true);
        let gave_records = gave_records || from < to;
        let children = self.stream.iter().filter(|(_, child)| child.parents.iter().any(|parent| parent == id));
        let mut children: Vec<ChildShard> = children.map(|(id, child)| child.facts(id)).collect();
        if self.rng.one_in(4) {
            children.clear();
        }
        let changes = life.lineage.read_to_end(id, children, gave_records);
        self.journal(life, changes, may_crash)
    }

    fn settle(&mut self, life: &mut Life, id: &str, may_crash: bool) -> Result<(), Crash> {
        let reading = life.readings.get_mut(id).unwrap();
        let count = self.rng.below(reading.unsettled.len() as u64 + 1) as usize;
        for index in reading.unsettled.drain(..count) {
            self.delivered.push(self.stream[id].records[index].clone());
            self.checkpoints.insert(id.to_owned(), index + 1);
        }
        if reading.has_ended && reading.unsettled.is_empty() {
            let changes = life.lineage.settled(id);
            return self.journal(life, changes, may_crash);
        }
        Ok(())
    }

    fn step(&mut self, life: &mut Life) -> Result<(), Crash> {
        match self.rng.below(24) {
            0..5 => self.now += self.rng.below(4),
            5..10 => self.put(),
            10 => self.reshard(),
            11..13 => self.listing(life, true)?,
            13 if self.rng.one_in(4) => return Err(Crash),
            13 => {}
            14..16 => self.begin(life),
            16..21 => {
                if let Some(id) = self.choose(life, |reading| reading.has_reader) {
                    self.read(life, &id, true)?;
                }
            }
            _ => {
                if let Some(id) = self.choose(life, |_| true) {
                    self.settle(life, &id, true)?;
                }
            }
        }
        Ok(())
    }

    fn choose(&mut self, life: &Life, may_be: impl Fn(&Reading) -> bool) -> Option<String> {
        let ids: Vec<&String> = life.readings.iter().filter(|(_, it)| may_be(it)).map(|(id, _)| id).collect();
        (!ids.is_empty()).then(|| ids[self.rng.below(ids.len() as u64) as usize].clone())
    }

    fn run(&mut self) -> Result<(), String> {
        for _ in 0..self.rng.below(120) {
            match self.rng.below(8) {
                0..3 => self.now += self.rng.below(4),
                3..7 => self.put(),
                _ => self.reshard(),
            }
        }
        self.configured = match self.rng.below(3) {
            0 => Some(Start::TrimHorizon),
            1 => Some(Start::AtTimestamp(time(100 + self.rng.below(self.now - 99)))),
            _ => None,
        };
        let mut life = self.start_life();
        for _ in 0..self.rng.below(400) {
            if let Err(Crash) = self.step(&mut life) {
                life = self.start_life();
            }
        }
        let is_still = |life: &Life| {
            life.lineage.states().all(|(_, state)| matches!(state, State::Reading | State::Finished(_)))
                && life.readings.values().all(|reading| reading.unsettled.is_empty())
        };
        let mut quiet = 0;
        for _ in 0..2_000 {
            self.now += if self.rng.one_in(2) { LAG_MAX } else { 1 };
            let _ = self.listing(&mut life, false);
            self.begin(&mut life);
            let ids: Vec<String> = life.readings.keys().cloned().collect();
            for id in ids {
                if life.readings[&id].has_reader {
                    let _ = self.read(&mut life, &id, false);
                }
                let _ = self.settle(&mut life, &id, false);
            }
            quiet = if is_still(&life) { quiet + 1 } else { 0 };
            if quiet > 30 {
                return self.judge();
            }
        }
        Err("it never comes to rest".to_owned())
    }

    fn judge(&self) -> Result<(), String> {
        let from = match self.initial {
            Some(Start::AtTimestamp(from)) => from,
            _ => time(0),
        };
        let mut last: BTreeMap<u64, u64> = BTreeMap::new();
        for record in &self.delivered {
            if last.insert(record.key, record.number).is_some_and(|last| last >= record.number) {
                return Err(format!("doubled or out of order: {record:?}"));
            }
            if time(record.time) < from {
                return Err(format!("before the initial position: {record:?}"));
            }
        }
        let delivered: BTreeSet<(u64, u64)> = self.delivered.iter().map(|record| (record.key, record.number)).collect();
        let mut seen = BTreeSet::new();
        for (id, shard) in &self.stream {
            let never_seen = !self.ever_known.contains(id) && self.is_expired(shard, self.now);
            for record in &shard.records {
                let place = (record.key, record.number);
                // Once a record of a key was delivered, those behind it are due, whatever the clocks of their shards say.
                let is_due = time(record.stamp) >= from || seen.contains(&record.key);
                let is_excused = never_seen || self.lost.contains(id) || self.expired.contains(&place);
                if delivered.contains(&place) {
                    seen.insert(record.key);
                } else if is_due && !is_excused {
                    return Err(format!("lost: {record:?} of {id}"));
                }
            }
        }
        Ok(())
    }
}

#[test]
fn every_record_from_the_initial_position_on_is_read_once_and_in_order() {
    for seed in 0..600 {
        let mut world = World::new(seed);
        if let Err(error) = world.run() {
            panic!("seed {seed}: {error}");
        }
    }
}
