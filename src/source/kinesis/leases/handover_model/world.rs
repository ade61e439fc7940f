//! What outlives workers: the stream, the table, the objects, and what is under way to them.

use std::collections::{BTreeMap, BTreeSet};

use super::super::simulation::Random;
use super::table::{Change, Pending, Row, Update};
use super::worker::{Reader, Worker};
use super::{Fleet, Rules};

/// Shard and record.
pub(super) type Record = (usize, u64);

const JAVA: usize = usize::MAX;
const STEPS: u32 = 400;

pub(super) struct Shard {
    pub(super) records: u64,
    /// So many of them have arrived.
    pub(super) arrived: u64,
    /// The first one that is to be delivered.
    pub(super) start: u64,
    pub(super) parents: Vec<usize>,
    pub(super) row: Row,
}

/// Delivery id and output.
pub(super) type Key = (u64, u64);

#[derive(Clone)]
pub(super) struct Object {
    pub(super) shard: usize,
    pub(super) output: u64,
    pub(super) records: Vec<u64>,
}

pub(super) struct World {
    pub(super) random: Random,
    pub(super) rules: Rules,
    pub(super) fleet: Fleet,
    salt: u64,
    pub(super) has_copies: bool,
    pub(super) shards: Vec<Shard>,
    workers: Vec<Worker>,
    pub(super) objects: BTreeMap<Key, Object>,
    pub(super) taken_away: Vec<Object>,
    updates_under_way: Vec<Update>,
    puts_under_way: Vec<(Key, Object)>,
    pub(super) by_java: BTreeSet<Record>,
    pub(super) dropped: BTreeSet<Record>,
    /// Records that some processing drops.
    pub(super) droppable: BTreeSet<Record>,
    /// Records of deliveries that somebody gave up or did not know: they may be doubled.
    pub(super) given_up: BTreeSet<Record>,
    pub(super) last_id: u64,
    /// Nothing fails any more.
    pub(super) is_calm: bool,
    pub(super) wrong: Option<String>,
}

impl World {
    pub(super) fn new(seed: u64, rules: Rules, fleet: Fleet) -> Self {
        let mut random = Random(seed);
        let parents = match random.next() % 3 {
            0 => vec![vec![]],
            1 => vec![vec![], vec![0], vec![0]],
            _ => vec![vec![], vec![], vec![0, 1]],
        };
        let shards = parents.into_iter().map(|parents| Shard::new(parents, rules, &mut random)).collect();
        let workers = (0..2 + random.next() % 2).map(|_| Worker::default()).collect();
        Self {
            rules,
            fleet,
            salt: random.next(),
            has_copies: random.next().is_multiple_of(2),
            shards,
            workers,
            objects: BTreeMap::new(),
            taken_away: Vec::new(),
            updates_under_way: Vec::new(),
            puts_under_way: Vec::new(),
            by_java: BTreeSet::new(),
            dropped: BTreeSet::new(),
            droppable: BTreeSet::new(),
            given_up: BTreeSet::new(),
            last_id: 0,
            is_calm: false,
            wrong: None,
            random,
        }
    }

    pub(super) fn one_in(&mut self, n: u64) -> bool {
        !self.is_calm && self.random.next().is_multiple_of(n)
    }

    pub(super) fn below(&mut self, n: u64) -> u64 {
        self.random.next() % n
    }

    /// The same for the same arguments.
    pub(super) fn dice(&self, arguments: &[u64], sides: u64) -> u64 {
        arguments.iter().fold(self.salt, |salt, &argument| Random(salt ^ argument).next()) % sides
    }

    /// One worker works for a while, and the others stand still.
    pub(super) fn run(&mut self) {
        let mut active = 0;
        for _ in 0..STEPS {
            self.happen();
            if self.one_in(8) {
                active = self.below(self.workers.len() as u64) as usize;
            }
            self.work(active);
        }
        self.is_calm = true;
        self.flush();
        self.workers.fill_with(Worker::default);
        self.shards.iter_mut().for_each(|shard| shard.arrived = shard.records);
        for _ in 0..20_000 {
            if self.shards.iter().all(Shard::is_ended) {
                return;
            }
            self.work(0);
        }
        self.wrong.get_or_insert("it does not come to an end".to_owned());
    }

    fn work(&mut self, number: usize) {
        let shard = self.below(self.shards.len() as u64) as usize;
        let mut worker = std::mem::take(&mut self.workers[number]);
        if self.one_in(40) {
            let configuration = if self.fleet == Fleet::Mixed { self.below(2) } else { 0 };
            worker = Worker { configuration, readers: BTreeMap::new() };
        }
        let is_reading = worker.readers.contains_key(&shard);
        if is_reading && self.one_in(60) {
            // It forgets the shard; the lease stays with it until somebody takes it.
            worker.readers.remove(&shard);
        } else if is_reading {
            worker.step(self, number, shard);
        } else if self.is_calm || self.below(6) == 0 {
            worker.readers.extend(self.take(number, shard).map(|reader| (shard, reader)));
        }
        self.workers[number] = worker;
    }

    /// Becomes the owner, whoever is; where the answer is lost, without knowing.
    fn take(&mut self, worker: usize, shard: usize) -> Option<Reader> {
        let may_read = |parent: &usize| self.shards[*parent].is_ended() || !self.rules.waits_for_parents;
        if self.shards[shard].is_ended() || !self.shards[shard].parents.iter().all(may_read) {
            return None;
        }
        let row = &mut self.shards[shard].row;
        (row.owner, row.counter) = (Some(worker), row.counter + 1);
        let row = row.clone();
        if self.one_in(8) {
            return None;
        }
        self.expect_parents(shard);
        Some(Reader::new(self, shard, &row))
    }

    /// What no worker has a hand in.
    fn happen(&mut self) {
        let shard = self.below(self.shards.len() as u64) as usize;
        match self.below(8) {
            0 | 1 => self.shards[shard].arrive(),
            2 => self.arrive_late(),
            3 => self.take_away(),
            4 if self.fleet == Fleet::WithJava && self.one_in(6) => self.java(shard),
            _ => {}
        }
    }

    fn arrive_late(&mut self) {
        let (updates, puts) = (self.updates_under_way.len() as u64, self.puts_under_way.len() as u64);
        if updates > 0 {
            let update = self.updates_under_way.swap_remove((self.random.next() % updates) as usize);
            // Nobody waits for its answer.
            self.apply(&update).ok();
        }
        if puts > 0 {
            let (key, object) = self.puts_under_way.swap_remove((self.random.next() % puts) as usize);
            self.objects.entry(key).or_insert(object);
        }
    }

    fn flush(&mut self) {
        while self.updates_under_way.len() + self.puts_under_way.len() > 0 {
            self.arrive_late();
        }
    }

    /// Who reads the objects moves one away, when it is settled and no put of it is under way.
    fn take_away(&mut self) {
        let is_pending = |id: u64| self.shards.iter().any(|shard| shard.row.delivery().is_some_and(|d| d.id == id));
        let is_under_way = |key: &Key| self.puts_under_way.iter().any(|(put, _)| put == key);
        let key = self.objects.keys().find(|key| !is_pending(key.0) && !is_under_way(key)).copied();
        if self.rules.pends_first
            && let Some(object) = key.and_then(|key| self.objects.remove(&key))
        {
            self.taken_away.push(object);
        }
    }

    /// A Java worker takes the lease, handles some records from the checkpoint on, and perhaps says so, or prepares to.
    fn java(&mut self, shard: usize) {
        let Shard { arrived, records, .. } = self.shards[shard];
        let parents_ended = self.shards[shard].parents.iter().all(|&parent| self.shards[parent].is_ended());
        let Some(checkpoint) = self.shards[shard].row.checkpoint.filter(|&at| at <= records && parents_ended) else {
            return;
        };
        let cut = checkpoint + self.below(arrived.saturating_sub(checkpoint) + 1);
        let how = self.below(4);
        let row = &mut self.shards[shard].row;
        (row.owner, row.counter) = (Some(JAVA), row.counter + 1);
        self.by_java.extend((checkpoint..cut).map(|record| (shard, record)));
        match how {
            0 => {
                let pending = row.pending.take();
                row.checkpoint = Some(cut);
                // The only place where a delivery is forgotten: what of it lies behind the checkpoint is delivered again.
                let delivery = pending.as_ref().and_then(Pending::delivery);
                let forgotten = delivery.map_or(0..0, |delivery| cut..delivery.cut.min(records));
                self.given_up.extend(forgotten.map(|record| (shard, record)));
            }
            1 => {
                let pending = row.pending.replace(Pending::Foreign { cut });
                let delivery = pending.as_ref().and_then(Pending::delivery);
                let forgotten = delivery.map_or(0..0, |delivery| checkpoint..delivery.cut.min(records));
                self.given_up.extend(forgotten.map(|record| (shard, record)));
            }
            // As a client that does not know of pending checkpoints.
            2 => row.checkpoint = Some(cut),
            _ => {}
        }
    }

    /// `None` if no answer comes, `Err` with the row if the condition does not hold.
    pub(super) fn update(&mut self, update: Update) -> Option<Result<Row, Row>> {
        if self.one_in(8) {
            self.updates_under_way.push(update);
            return None;
        }
        let answer = self.apply(&update);
        (!self.one_in(8)).then_some(answer)
    }

    fn apply(&mut self, update: &Update) -> Result<Row, Row> {
        let row = &mut self.shards[update.shard].row;
        let is_unchanged = row.owner == Some(update.worker) && row.counter == update.counter;
        if self.rules.updates_if_unchanged && !is_unchanged {
            return Err(row.clone());
        }
        row.counter += 1;
        match &update.change {
            Change::Renew => {}
            Change::Pend(pending) => row.pending = Some(pending.clone()),
            Change::Settle { cut, dropped } => {
                (row.checkpoint, row.pending) = (Some(*cut), None);
                self.dropped.extend(dropped.iter().map(|&record| (update.shard, record)));
            }
        }
        Ok(row.clone())
    }

    /// Whether an answer comes: then the object is there, this one or an earlier one.
    pub(super) fn put(&mut self, shard: usize, key: Key, records: Vec<u64>) -> bool {
        let object = Object { shard, output: key.1, records };
        if self.one_in(6) {
            self.puts_under_way.push((key, object));
            return false;
        }
        self.objects.entry(key).or_insert(object);
        !self.one_in(6)
    }
}

impl Shard {
    fn new(parents: Vec<usize>, rules: Rules, random: &mut Random) -> Self {
        let records = random.next() % 24;
        let is_latest = parents.is_empty() && random.next().is_multiple_of(2);
        let start = if is_latest { random.next() % (records + 1) } else { 0 };
        let pending = Pending::Ours { start: Some(start), delivery: None };
        let row = Row {
            owner: None,
            counter: 0,
            checkpoint: (!is_latest).then_some(0),
            pending: (is_latest && rules.fixes_start).then_some(pending),
        };
        Self { records, arrived: start, start, parents, row }
    }

    fn arrive(&mut self) {
        self.arrived = (self.arrived + 3).min(self.records);
    }

    fn is_ended(&self) -> bool {
        self.row.checkpoint.is_some_and(|checkpoint| checkpoint > self.records)
    }
}
