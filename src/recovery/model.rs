//! The protocol of journal and recovery as a small program around its pure cores (buffer, ledger, owners, decisions), and a
//! random search for a counterexample.
//!
//! Persistent, changed by one transaction at a time: checkpoints and journalled deliveries; and the objects, of which the first
//! one under a key stays. Volatile: read positions, open buffers, uploads. A life may end between any two steps, the answer of
//! a put may be lost, and the next life may process the same records otherwise: it makes the same number of parts of each, and
//! other ones of them fail, or send them to another receiver. Whether an object exists can be asked or it cannot. The destination
//! may be a receiver instead, which takes requests, each once by its id, finds some too large, and does not take others: see
//! [`receiver`]. Or it judges each record of several requests at a time: see [`index`].
//!
//! The bytes of a part follow from its batch: whoever forms a delivery again with the same processing forms the same bytes.

mod index;
mod receiver;

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::batches::{Batch, Batches, Told};
use crate::buffer::{Buffer, Hints};
use crate::ledger::{HolderId, Ledger};
use crate::positions::Ranges;
use crate::requests::Request;
use receiver::Received;

/// What the protocol relies on: without any of it the search has to find a counterexample.
#[derive(Clone, Copy, PartialEq)]
struct Rules {
    /// What is left out of a delivery leaves the journal before its payload leaves.
    shrinks: bool,
    /// Each delivery says how its records were processed.
    tells_processing_apart: bool,
    /// The intent is journalled before the payload leaves.
    intends_first: bool,
    /// What is read again is read in the batches of the deliveries that are formed again.
    tells_batches: bool,
    /// A checkpoint does not pass the beginning of a batch of which a record is not settled.
    holds_batches: bool,
    /// Records are numbered by their file and their place in it, not as they came.
    numbers_alike: bool,
    /// Where requests begin and end is journalled with the delivery.
    plans_first: bool,
    /// Halves are journalled before one of them is sent.
    journals_splits: bool,
    /// An acknowledged request is not sent in a later life.
    journals_answers: bool,
    /// A request that is given up is journalled as that before its records are put elsewhere.
    journals_failures: bool,
    /// The key of what has failed is journalled before that is put.
    intends_children: bool,
    /// A delivery is settled only when what has failed of it is put.
    waits_for_children: bool,
    /// What was acknowledged stays settled, however records are processed now.
    keeps_done: bool,
    /// What is said of a record counts for that record alone.
    judges_each: bool,
    /// The runs that an answer cuts requests into are journalled in one transaction.
    journals_runs_together: bool,
    /// A document's id follows from its record.
    derives_ids: bool,
    /// The index of a delivery is journalled with it.
    journals_addressees: bool,
}

const ALL_RULES: Rules = Rules {
    shrinks: true,
    tells_processing_apart: true,
    intends_first: true,
    tells_batches: true,
    holds_batches: true,
    numbers_alike: true,
    plans_first: true,
    journals_splits: true,
    journals_answers: true,
    journals_failures: true,
    intends_children: true,
    waits_for_children: true,
    keeps_done: true,
    judges_each: true,
    journals_runs_together: true,
    derives_ids: true,
    journals_addressees: true,
};

/// An output: a partition of the destination, or one of the error outputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum To {
    Destination(u64),
    Errors(u64),
}

/// (file, record, part)
type Content = (usize, u64, u64);

/// A part with its batch, from which its bytes follow.
type Formed = (Content, Batch);

struct Crash;

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
}

struct World {
    rng: Rng,
    rules: Rules,
    salt: u64,
    /// Of each record of each file the number of parts.
    files: Vec<Vec<u64>>,
    /// How many ways of processing the configurations have.
    ways: u64,
    /// How many partitions the destination has, and how many error outputs there are.
    destinations: u64,
    errors: u64,
    may_ask: bool,
    /// In place of the destination's objects.
    receiver: Option<Received>,
    /// Configurations name different receivers. (All that any of them has taken is in `receiver`.)
    moves: bool,
    objects: BTreeMap<String, Vec<Formed>>,
    /// The bytes of each part of each delivery, as the processing that it was journalled with forms it.
    formed: BTreeMap<(String, Content), Batch>,
    /// A part that was formed twice, of different bytes.
    unequal: Option<String>,
    now: i64,
    dropped: BTreeSet<(usize, u64)>,
    journal: BTreeMap<i64, DeliveryRow>,
    checkpoints: Vec<u64>,
    configuration: u64,
    version: u64,
    next: i64,
    crashes: u64,
}

impl World {
    fn new(seed: u64, rules: Rules) -> Self {
        let mut rng = Rng(seed);
        let parts_max = 1 + rng.below(3);
        let records = |rng: &mut Rng| (0..1 + rng.below(25)).map(|_| 1 + rng.below(parts_max)).collect();
        let files: Vec<Vec<u64>> = (0..1 + rng.below(2)).map(|_| records(&mut rng)).collect();
        Self {
            rules,
            salt: rng.next(),
            checkpoints: vec![0; files.len()],
            files,
            ways: 1 + rng.below(3),
            destinations: 1 + rng.below(3),
            errors: 1 + rng.below(2),
            may_ask: rng.below(2) == 0,
            receiver: (rng.below(2) == 0).then(|| Received::new(rng.below(2) == 0)),
            moves: Rng(!seed).below(8) == 0,
            objects: BTreeMap::new(),
            formed: BTreeMap::new(),
            unequal: None,
            now: 0,
            dropped: BTreeSet::new(),
            journal: BTreeMap::new(),
            configuration: 0,
            version: 1,
            next: 0,
            crashes: rng.below(7),
            rng,
        }
    }

    fn maybe_crash(&mut self) -> Result<(), Crash> {
        if self.crashes > 0 && self.rng.below(20) == 0 {
            self.crashes -= 1;
            return Err(Crash);
        }
        Ok(())
    }

    /// The same for the same arguments.
    fn dice(&self, way: u64, file: usize, record: u64, part: u64, sides: u64) -> u64 {
        let arguments = [way, file as u64, record, part];
        let seed = arguments.iter().fold(self.salt, |salt, &argument| Rng(salt ^ argument).next());
        Rng(seed).below(sides)
    }

    fn form(&mut self, key: &str, payload: &[Formed]) {
        for &(content, batch) in payload {
            let before = *self.formed.entry((key.to_owned(), content)).or_insert(batch);
            if before != batch {
                self.unequal = Some(format!("{content:?} in {key} was made in {before:?} and in {batch:?}"));
            }
        }
    }

    /// The destination of the present configuration.
    fn place(&self) -> String {
        let number = if self.moves { self.configuration % 2 } else { 0 };
        format!("place {number}")
    }

    /// What is wrong in the end; `None` if nothing is.
    fn wrong(&self) -> Option<String> {
        if self.unequal.is_some() {
            return self.unequal.clone();
        }
        let mut found = BTreeMap::<Content, u32>::new();
        let taken = self.receiver.iter().flat_map(|receiver| receiver.taken.values());
        let documents = self.receiver.iter().flat_map(Received::documents);
        for &(content, _) in self.objects.values().chain(taken).flatten().chain(documents) {
            *found.entry(content).or_default() += 1;
        }
        let has_parts = self.files.iter().flatten().any(|&parts| parts > 1);
        // What a receiver has taken cannot be asked: under another processing it may come again in other requests.
        let is_asked = self.may_ask && !has_parts && self.receiver.is_none();
        let has_moved = self.moves && self.receiver.is_some();
        let is_exactly_once = !has_moved && (self.ways == 1 || is_asked);
        for (file, records) in self.files.iter().enumerate() {
            for (record, &parts) in (0..).zip(records) {
                for part in 0..parts {
                    match found.get(&(file, record, part)) {
                        None if !self.dropped.contains(&(file, record)) => {
                            return Some(format!("part {part} of record {record} of file {file} is lost"));
                        }
                        Some(2..) if is_exactly_once => {
                            return Some(format!("part {part} of record {record} of file {file} is doubled"));
                        }
                        _ => {}
                    }
                }
            }
        }
        None
    }
}

struct Open {
    holder: HolderId,
    buffer: Buffer,
    payload: Vec<Formed>,
}

struct Again {
    holder: HolderId,
    payload: Vec<Formed>,
    left_out: RecordSet,
}

struct Upload {
    holder: HolderId,
    row: i64,
    key: String,
    payload: Vec<Formed>,
    /// As this life knows them; of a delivery to a receiver.
    requests: Option<Vec<Request>>,
}

/// One life, from its recovery to its end or its crash.
struct Process<'w> {
    world: &'w mut World,
    way: u64,
    /// Records in a request.
    records_max: u64,
    processing: String,
    read: Vec<u64>,
    told: Vec<Told>,
    owners: Owners,
    ledger: Ledger,
    open: BTreeMap<To, Open>,
    reforming: BTreeMap<i64, Again>,
    uploads: Vec<Upload>,
    holders: u64,
}

fn id(file: usize) -> PartitionId {
    PartitionId(file as i64)
}

impl<'w> Process<'w> {
    fn begin(world: &'w mut World) -> Result<Self, Crash> {
        let configuration = world.rng.below(3);
        world.version += u64::from(configuration != world.configuration);
        world.configuration = configuration;
        let way = configuration % world.ways;
        let has_two_outputs = world.destinations == 1 && world.errors == 1;
        let outputs = if has_two_outputs { "" } else { MORE_OUTPUTS };
        let processing = format!("{outputs}way {}", if world.rules.tells_processing_apart { way } else { 0 });
        let mut process = Self {
            way,
            records_max: 1 + world.rng.below(4),
            processing,
            read: world.checkpoints.clone(),
            told: Vec::new(),
            owners: Owners::default(),
            ledger: Ledger::default(),
            open: BTreeMap::new(),
            reforming: BTreeMap::new(),
            uploads: Vec::new(),
            holders: 0,
            world,
        };
        process.recover()?;
        Ok(process)
    }

    fn recover(&mut self) -> Result<(), Crash> {
        for (file, &checkpoint) in self.world.checkpoints.iter().enumerate() {
            self.ledger.open(id(file), Position::at(checkpoint));
        }
        let processing = self.processing.clone();
        let present = Present { version: self.world.version, processing: &processing };
        let mut recovered = Recovered::of(&self.processing);
        for (number, mut row) in self.world.journal.clone() {
            let is_as_before = row.intent.processing == self.processing && row.intent.destination == self.world.place();
            if self.is_received(&row) && !row.settled && !is_as_before {
                let Some(done) = self.keep_done(number) else { continue };
                recovered.note(&done, Owner::Settled);
                continue;
            }
            let is_there = self.world.objects.contains_key(&row.intent.key);
            let existence = match (self.world.may_ask && !self.is_received(&row), is_there) {
                (false, _) => Existence::Unknown,
                (true, true) => Existence::Present,
                (true, false) => Existence::Absent,
            };
            if !row.settled && existence == Existence::Absent && present.cancels(&row.intent) {
                self.world.journal.remove(&number);
                continue;
            }
            row.settled |= existence == Existence::Present;
            recovered.note(&row, if row.settled { Owner::Settled } else { Owner::Pending(row.id) });
            if !row.settled {
                let holder = HolderId(self.holders);
                self.holders += 1;
                for (file, _) in row.intent.set.iter() {
                    let checkpoint = Position::at(self.world.checkpoints[file.0 as usize]);
                    self.ledger.hold(holder, file, row.intent.needed(file, checkpoint).expect("it holds some of it"));
                }
                if self.world.rules.tells_batches && row.intent.processing == self.processing {
                    recovered.told.add(&row.intent.batches);
                }
                self.reforming.insert(number, Again { holder, payload: Vec::new(), left_out: RecordSet::default() });
            }
            self.world.journal.insert(number, row);
            self.world.maybe_crash()?;
        }
        self.told = (0..self.read.len()).map(|file| recovered.told.take(id(file))).collect();
        self.owners = recovered.owners;
        Ok(())
    }

    /// Some records of a file: as many as in an earlier life, or as have come.
    fn read_batch(&mut self) -> Result<(), Crash> {
        let unread: Vec<_> =
            (0..self.read.len()).filter(|&f| self.read[f] < self.world.files[f].len() as u64).collect();
        let file = unread[self.world.rng.below(unread.len() as u64) as usize];
        let (start, told) = (self.read[file], &mut self.told[file]);
        told.pass(Position::at(start));
        let come = (start + 1 + self.world.rng.below(4)).min(self.world.files[file].len() as u64);
        let (start_position, is_in_time) = (Position::at(start), |&border: &u64| border < come);
        let border = told.border(start_position).map(Position::offset).filter(is_in_time);
        let end = told.end_of(start_position).map(Position::offset).or(border).unwrap_or(come);
        self.world.now += 1;
        let new = Batch { range: PositionRange::new(start, end), arrival_ms: self.world.now, failed_ms: None };
        let batch =
            told.holding(start_position, Position::at(end)).map_or(new, |told| Batch { range: new.range, ..told });
        for record in start..end {
            self.route(file, record, batch);
            for to in self.open.keys().copied().collect::<Vec<_>>() {
                if self.world.rng.below(8) == 0 {
                    self.seal(to)?;
                }
            }
            self.world.maybe_crash()?;
        }
        self.ledger.read(id(file), new.range).expect("records follow each other");
        self.read[file] = end;
        self.owners.forget_before(id(file), Position::at(end));
        self.ship_reformed()
    }

    fn route(&mut self, file: usize, record: u64, batch: Batch) {
        let range = PositionRange::new(record, record + 1);
        let is_dropped = self.world.dice(self.way, file, record, u64::MAX, 12) == 0;
        if is_dropped {
            self.world.dropped.insert((file, record));
        }
        let parts = if is_dropped { 0 } else { self.world.files[file][record as usize] };
        let mut by_output = BTreeMap::<To, Vec<Formed>>::new();
        for part in 0..parts {
            let to = match self.world.dice(self.way, file, record, part, 2) {
                0 => To::Destination(self.world.dice(self.way, file, record, part + 100, self.world.destinations)),
                _ => To::Errors(self.world.dice(self.way, file, record, part + 100, self.world.errors)),
            };
            by_output.entry(to).or_default().push(((file, record, part), batch));
        }
        let outcome = match (by_output.len(), by_output.first_key_value()) {
            (1, Some((To::Errors(_), _))) => Outcome::Fails,
            (0 | 1, _) => Outcome::Passes,
            _ => Outcome::Splits,
        };
        let (held, _) = self.owners.held(id(file), range.start);
        let decision = held.decide(outcome);
        for row in &decision.left_out_of {
            self.reforming.get_mut(&row.0).expect("it is pending").left_out.add(id(file), range);
        }
        for (to, contents) in by_output {
            let claim = decision.claim(&name(to), matches!(to, To::Errors(_)));
            self.hand(claim, to, (file, range, outcome == Outcome::Splits, batch), contents);
        }
    }

    fn hand(&mut self, claim: Claim, to: To, what: (usize, PositionRange, bool, Batch), contents: Vec<Formed>) {
        let (file, range, is_partial, batch) = what;
        let (row, is_error) = match claim {
            Claim::Settled => return,
            Claim::Pending(row) => (row, matches!(to, To::Errors(_))),
            Claim::PendingFailure(row) => (row, true),
            Claim::Nobody => {
                let holders = &mut self.holders;
                let open = self.open.entry(to).or_insert_with(|| {
                    *holders += 1;
                    let buffer = Buffer::new(Hints { size: u64::MAX, interval_ms: 0 });
                    Open { holder: HolderId(*holders - 1), buffer, payload: Vec::new() }
                });
                open.buffer.push(0, id(file), range, contents.len() as u64, contents.len() as u64);
                if is_partial {
                    open.buffer.partial(id(file), range);
                }
                let needed = open.buffer.processed_in(id(file), range, Some(batch));
                open.payload.extend(contents);
                let needed = if self.world.rules.holds_batches { needed } else { range };
                self.ledger.hold(open.holder, id(file), needed);
                return;
            }
        };
        let of = &self.world.journal[&row.0].intent.output;
        assert_eq!(of != DESTINATION, is_error, "every output holds its own kind of records");
        self.reforming.get_mut(&row.0).expect("it is pending").payload.extend(contents);
    }

    fn ship_reformed(&mut self) -> Result<(), Crash> {
        let is_read = |row: &i64| {
            let set = &self.world.journal[row].intent.set;
            set.iter().all(|(file, ranges)| ranges.iter().all(|range| range.end.offset() <= self.read[file.0 as usize]))
        };
        let complete: Vec<_> = self.reforming.keys().copied().filter(is_read).collect();
        for row in complete {
            let Some(Again { holder, mut payload, left_out }) = self.reforming.remove(&row) else { continue };
            self.number(&mut payload);
            if payload.is_empty() {
                self.world.journal.remove(&row);
                self.ledger.settle(holder);
                continue;
            }
            let requests = self.requests_again(row, &payload);
            let journalled = self.world.journal.get_mut(&row).expect("it is pending");
            if self.world.rules.shrinks {
                journalled.intent.set = journalled.intent.set.without(&left_out);
                journalled.intent.partial = journalled.intent.partial.split(&journalled.intent.set).1;
            }
            let key = journalled.intent.key.clone();
            if journalled.intent.processing == self.processing {
                self.world.form(&key, &payload);
            }
            self.uploads.push(Upload { holder, row, key, payload, requests });
            self.world.maybe_crash()?;
        }
        Ok(())
    }

    fn seal(&mut self, to: To) -> Result<(), Crash> {
        let Some(Open { holder, mut buffer, mut payload }) = self.open.remove(&to) else { return Ok(()) };
        self.number(&mut payload);
        let sealed = buffer.seal().expect("it was opened for a record");
        self.world.maybe_crash()?;
        let row = self.world.next;
        self.world.next += 1;
        let key = format!("{}/{row}", name(to));
        let intent = Intent {
            uuid: key.clone(),
            kind: Kind::Fate,
            output: name(to).split(' ').next().unwrap_or_default().to_owned(),
            partition: if let To::Destination(number @ 1..) = to { vec![number.to_string()] } else { Vec::new() },
            destination: self.world.place(),
            addressee: self.world.configuration.to_string(),
            format: String::new(),
            key: key.clone(),
            version: self.world.version,
            processing: self.processing.clone(),
            arrival_ms: 0,
            records: sealed.records,
            set: sealed.set,
            partial: sealed.partial,
            batches: sealed.batches,
        };
        self.world.form(&key, &payload);
        let is_received = matches!(to, To::Destination(_)) && self.world.receiver.is_some();
        if !self.world.rules.intends_first && !is_received {
            self.world.objects.insert(key.clone(), payload.clone());
            self.world.maybe_crash()?;
        }
        self.world.journal.insert(row, DeliveryRow { id: DeliveryRowId(row), settled: false, intent });
        let requests = is_received.then(|| self.plan(row, &payload));
        self.world.maybe_crash()?;
        self.uploads.push(Upload { holder, row, key, payload, requests });
        Ok(())
    }

    fn upload(&mut self, index: usize) -> Result<(), Crash> {
        self.world.maybe_crash()?;
        if self.uploads[index].requests.is_some() {
            return self.send(index);
        }
        let upload = &self.uploads[index];
        self.world.objects.entry(upload.key.clone()).or_insert_with(|| upload.payload.clone());
        if self.world.rng.below(5) == 0 {
            return Ok(()); // The answer is lost: it is put again.
        }
        self.world.maybe_crash()?;
        let Upload { holder, row, .. } = self.uploads.remove(index);
        self.settle(holder, row)
    }

    /// One transaction: settled, checkpoints moved, and what they have passed forgotten.
    fn settle(&mut self, holder: HolderId, row: i64) -> Result<(), Crash> {
        let journalled = self.world.journal.get_mut(&row).expect("it is journalled");
        journalled.settled = true;
        journalled.intent.batches = Batches::default();
        self.ledger.settle(holder);
        let moved: Vec<_> = (0..self.read.len()).map(|file| self.ledger.checkpoint(id(file)).offset()).collect();
        let checkpoints = &mut self.world.checkpoints;
        for (checkpoint, moved) in checkpoints.iter_mut().zip(moved) {
            *checkpoint = moved.max(*checkpoint);
        }
        self.world.journal.retain(|_, row| {
            let is_passed = |(file, ranges): (PartitionId, Ranges<'_>)| {
                ranges.iter().all(|range| range.end.offset() <= checkpoints[file.0 as usize])
            };
            !row.settled || !row.intent.set.iter().all(is_passed)
        });
        self.world.maybe_crash()
    }

    fn run(mut self) -> Result<(), Crash> {
        loop {
            self.world.maybe_crash()?;
            let can_read = (0..self.read.len()).any(|file| self.read[file] < self.world.files[file].len() as u64);
            let moves = if can_read { 6 } else { 0 };
            let (seals, uploads) = (self.open.len() as u64, self.uploads.len() as u64);
            if moves + seals + uploads == 0 {
                return Ok(());
            }
            let choice = self.world.rng.below(moves + seals + uploads);
            match (choice.checked_sub(moves), choice.checked_sub(moves + seals)) {
                (None, _) => self.read_batch()?,
                (Some(n), None) => self.seal(*self.open.keys().nth(n as usize).expect("it is open"))?,
                (_, Some(n)) => self.upload(n as usize)?,
            }
        }
    }
}

fn name(to: To) -> String {
    match to {
        To::Destination(0) => DESTINATION.to_owned(),
        To::Destination(number) => format!("{DESTINATION} [\"{number}\"]"),
        To::Errors(0) => crate::error_type::PROCESSING_FAILED.to_owned(),
        To::Errors(number) => format!("failed-{number}"),
    }
}

fn counterexample(seed: u64, rules: Rules) -> Option<String> {
    let mut world = World::new(seed, rules);
    while Process::begin(&mut world).and_then(Process::run).is_err() {}
    assert!(world.journal.values().all(|row| row.settled), "seed {seed}: everything is settled");
    world.wrong()
}

#[test]
fn every_part_of_every_record_has_a_fate_and_only_one_while_processing_stays() {
    for seed in 0..3_000 {
        if let Some(wrong) = counterexample(seed, ALL_RULES) {
            panic!("seed {seed}: {wrong}");
        }
    }
}

#[test]
fn without_any_of_its_rules_the_protocol_fails() {
    let without = [
        ("shrinks", Rules { shrinks: false, ..ALL_RULES }),
        ("tells_processing_apart", Rules { tells_processing_apart: false, ..ALL_RULES }),
        ("intends_first", Rules { intends_first: false, ..ALL_RULES }),
        ("tells_batches", Rules { tells_batches: false, ..ALL_RULES }),
        ("holds_batches", Rules { holds_batches: false, ..ALL_RULES }),
        ("numbers_alike", Rules { numbers_alike: false, ..ALL_RULES }),
        ("plans_first", Rules { plans_first: false, ..ALL_RULES }),
        ("journals_splits", Rules { journals_splits: false, ..ALL_RULES }),
        ("journals_answers", Rules { journals_answers: false, ..ALL_RULES }),
        ("journals_failures", Rules { journals_failures: false, ..ALL_RULES }),
        ("intends_children", Rules { intends_children: false, ..ALL_RULES }),
        ("waits_for_children", Rules { waits_for_children: false, ..ALL_RULES }),
        ("keeps_done", Rules { keeps_done: false, ..ALL_RULES }),
        ("judges_each", Rules { judges_each: false, ..ALL_RULES }),
        ("journals_runs_together", Rules { journals_runs_together: false, ..ALL_RULES }),
        ("derives_ids", Rules { derives_ids: false, ..ALL_RULES }),
        ("journals_addressees", Rules { journals_addressees: false, ..ALL_RULES }),
    ];
    for (rule, rules) in without {
        assert!((0..10_000).any(|seed| counterexample(seed, rules).is_some()), "nothing fails without {rule}");
    }
}
