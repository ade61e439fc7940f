//! Which records were processed together and when they had arrived, so that after a crash the same bytes are made of them again.
//!
//! A batch is a chunk of a source, or what of one was processed at a time. Its borders and its arrival decide over what a
//! component sees: in which calls, with which clocks and random numbers.
//!
//! Pure. Always true: the batches of one partition ascend and do not overlap. Nothing but the equality of bytes hangs on
//! them: without them, or with wrong ones, the same records are read.

use std::collections::{BTreeMap, HashMap, VecDeque};

use crate::position::Kept;
use crate::positions::{NO_FLAGS, put_distance, put_varint, take_distance, take_varint};
use crate::record::{Chunk, PartitionId, Position, PositionRange, RefusedRecord};

/// Memory of a batch that is waited for.
pub const BATCH_BYTES: u64 = size_of::<Waiting<u64>>() as u64;
/// Bits of a batch's first number beside its length.
const HAS_GAP: u8 = 1;
const HAS_FAILED: u8 = 2;
const FLAG_BITS: u32 = 2;

/// What the first batch comes behind.
const NONE: Batch = Batch {
    range: PositionRange { start: Position::BEGINNING, end: Position::BEGINNING },
    arrival_ms: 0,
    failed_ms: None,
};

/// Records of one partition that were processed together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Batch {
    pub range: PositionRange,
    /// Milliseconds since 1970.
    pub arrival_ms: i64,
    /// When something of it had failed, as envelopes say it; `None` where nothing has.
    pub failed_ms: Option<i64>,
}

/// The batches that the records of one delivery come from, each of them whole; as byte strings, so that very many of a record
/// each take little.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Batches {
    by_partition: BTreeMap<PartitionId, Coded>,
    count: usize,
    bytes: u64,
}

/// Batches of one partition, end to end. For each of them varints of: its length with two bits that say which of the
/// following are there; the gap before it; its arrival, counted from that of the one before; when it failed, counted from its
/// arrival.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Coded {
    bytes: Vec<u8>,
    last: Batch,
}

/// What a byte string of [`Coded`] holds, one after the other; ends early where it is none.
struct Decoder<'a> {
    bytes: &'a [u8],
    end: Position,
    arrival_ms: i64,
}

/// A batch that is waited for, with positions as they are kept.
#[derive(Debug, Clone, Copy)]
struct Waiting<P> {
    start: P,
    end: P,
    arrival_ms: i64,
    failed_ms: Option<i64>,
}

/// The batches of one partition that is read again, as far as they are not behind it.
#[derive(Debug)]
pub struct Told(Queue);

#[derive(Debug)]
enum Queue {
    Offsets(VecDeque<Waiting<u64>>),
    Positions(VecDeque<Waiting<Position>>),
}

/// The batches of all deliveries that are formed again.
#[derive(Debug, Default)]
pub struct ToldOf {
    by_partition: HashMap<PartitionId, Sorted>,
}

/// By their beginnings; of a file as long as all of them are.
#[derive(Debug)]
enum Sorted {
    Offsets(BTreeMap<u64, Waiting<u64>>),
    Positions(BTreeMap<Position, Waiting<Position>>),
}

impl Batch {
    /// What was processed as one chunk.
    pub fn of(chunk: &Chunk) -> Self {
        Self {
            range: chunk.range(0, chunk.records()),
            arrival_ms: chunk.arrival.as_millisecond(),
            failed_ms: chunk.failed_at.map(|at| at.as_millisecond()),
        }
    }

    /// A record that failed before it was processed.
    pub fn of_refused(record: &RefusedRecord) -> Self {
        Self {
            range: record.range,
            arrival_ms: record.arrival.as_millisecond(),
            failed_ms: record.failed_at.map(|at| at.as_millisecond()),
        }
    }
}

impl Batches {
    /// Adds a batch behind those of its partition; nothing if it is there already.
    pub fn add(&mut self, partition: PartitionId, batch: Batch) {
        let coded = self.by_partition.entry(partition).or_insert_with(|| Coded { bytes: Vec::new(), last: NONE });
        let before = coded.bytes.len();
        coded.push(batch);
        let bytes = (coded.bytes.len() - before) as u64;
        self.count += usize::from(bytes > 0);
        self.bytes += bytes;
    }

    /// Adds the batches of a partition as they were kept; false if the bytes are none.
    #[must_use]
    pub fn add_kept(&mut self, partition: PartitionId, bytes: Vec<u8>) -> bool {
        let mut decoder = Decoder::of(&bytes);
        let (mut count, mut last) = (0, None);
        for batch in decoder.by_ref() {
            (count, last) = (count + 1, Some(batch));
        }
        let Some(last) = last.filter(|_| decoder.bytes.is_empty()) else { return false };
        self.count += count;
        self.bytes += bytes.len() as u64;
        self.by_partition.insert(partition, Coded { bytes, last });
        true
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.count
    }

    pub fn is_empty(&self) -> bool {
        self.by_partition.is_empty()
    }

    /// Bytes that they take, but for what each partition does.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// As they are kept, for each partition.
    pub fn coded(&self, partition: PartitionId) -> Option<&[u8]> {
        self.by_partition.get(&partition).map(|coded| coded.bytes.as_slice())
    }

    pub fn partitions(&self) -> impl Iterator<Item = PartitionId> {
        self.by_partition.keys().copied()
    }

    pub fn of(&self, partition: PartitionId) -> impl Iterator<Item = Batch> {
        Decoder::of(self.coded(partition).unwrap_or_default())
    }

    /// What has to be read so that the records of `range` are processed as they were: from the beginning of their batch on.
    pub fn needed_for(&self, partition: PartitionId, range: PositionRange) -> PositionRange {
        let holds = |batch: &Batch| (batch.range.start..batch.range.end).contains(&range.start);
        let start = self.of(partition).find(holds).map_or(range.start, |batch| batch.range.start);
        PositionRange { start, ..range }
    }
}

impl Coded {
    fn push(&mut self, batch: Batch) {
        if batch.range.start >= self.last.range.end {
            put(&mut self.bytes, &self.last, &batch);
            self.last = batch;
        }
    }
}

/// Appends a batch that comes behind `last`.
fn put(bytes: &mut Vec<u8>, last: &Batch, batch: &Batch) {
    let has_gap = batch.range.start > last.range.end;
    let flags = if has_gap { HAS_GAP } else { 0 } | if batch.failed_ms.is_some() { HAS_FAILED } else { 0 };
    let PositionRange { start, end } = batch.range;
    put_distance(bytes, start, end, (flags, FLAG_BITS));
    if has_gap {
        put_distance(bytes, last.range.end, start, NO_FLAGS);
    }
    put_varint(bytes, zigzag(batch.arrival_ms.wrapping_sub(last.arrival_ms)));
    if let Some(failed_ms) = batch.failed_ms {
        put_varint(bytes, zigzag(failed_ms.wrapping_sub(batch.arrival_ms)));
    }
}

impl<'a> Decoder<'a> {
    fn of(bytes: &'a [u8]) -> Self {
        Self { bytes, end: Position::BEGINNING, arrival_ms: 0 }
    }

    fn take(&mut self) -> Option<Batch> {
        let (length, flags) = take_distance(&mut self.bytes, FLAG_BITS)?;
        let start = match flags & HAS_GAP {
            0 => self.end,
            _ => take_distance(&mut self.bytes, 0)?.0.behind(self.end)?,
        };
        let end = length.behind(start).filter(|&end| end > start)?;
        let arrival_ms = self.arrival_ms.wrapping_add(unzigzag(take_varint(&mut self.bytes)?));
        let failed_ms = match flags & HAS_FAILED {
            0 => None,
            _ => Some(arrival_ms.wrapping_add(unzigzag(take_varint(&mut self.bytes)?))),
        };
        (self.end, self.arrival_ms) = (end, arrival_ms);
        Some(Batch { range: PositionRange { start, end }, arrival_ms, failed_ms })
    }
}

impl Iterator for Decoder<'_> {
    type Item = Batch;

    fn next(&mut self) -> Option<Batch> {
        let before = self.bytes;
        if before.is_empty() {
            return None;
        }
        let batch = self.take();
        if batch.is_none() {
            self.bytes = before; // What cannot be read is left over.
        }
        batch
    }
}

/// Small numbers for what is near to zero on either side.
fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

impl<P: Kept> Waiting<P> {
    fn of(batch: &Batch) -> Self {
        let Batch { range, arrival_ms, failed_ms } = *batch;
        Self { start: P::of(range.start), end: P::of(range.end), arrival_ms, failed_ms }
    }

    fn batch(&self) -> Batch {
        let range = PositionRange { start: self.start.position(), end: self.end.position() };
        Batch { range, arrival_ms: self.arrival_ms, failed_ms: self.failed_ms }
    }
}

/// Where two do not go together the one that is there stays.
fn insert<P: Kept>(known: &mut BTreeMap<P, Waiting<P>>, batch: &Batch) {
    let batch = Waiting::of(batch);
    let before = known.range(..batch.end).next_back();
    if before.is_none_or(|(_, before)| before.end <= batch.start) {
        known.insert(batch.start, batch);
    }
}

impl Sorted {
    fn insert(&mut self, batch: &Batch) {
        match self {
            Self::Offsets(known) if batch.range.end.is_offset() => insert(known, batch),
            Self::Offsets(known) => {
                let batches = known.values().map(Waiting::batch);
                let mut wide = batches.map(|batch| (batch.range.start, Waiting::of(&batch))).collect();
                insert(&mut wide, batch);
                *self = Self::Positions(wide);
            }
            Self::Positions(known) => insert(known, batch),
        }
    }
}

impl ToldOf {
    /// Adds those of another delivery. Where two do not go together the one that is there stays.
    pub fn add(&mut self, batches: &Batches) {
        for partition in batches.partitions() {
            let known = self.by_partition.entry(partition).or_insert(Sorted::Offsets(BTreeMap::new()));
            batches.of(partition).for_each(|batch| known.insert(&batch));
        }
    }

    pub fn take(&mut self, partition: PartitionId) -> Told {
        let known = self.by_partition.remove(&partition);
        known.map_or_else(Told::default, |known| {
            Told(match known {
                Sorted::Offsets(known) => Queue::Offsets(known.into_values().collect()),
                Sorted::Positions(known) => Queue::Positions(known.into_values().collect()),
            })
        })
    }
}

impl Default for Told {
    fn default() -> Self {
        Self(Queue::Offsets(VecDeque::new()))
    }
}

impl Told {
    /// Everything before `position` was read.
    pub fn pass(&mut self, position: Position) {
        match &mut self.0 {
            Queue::Offsets(queue) => pass(queue, position),
            Queue::Positions(queue) => pass(queue, position),
        }
    }

    /// Where the batch ends that begins at `position`.
    pub fn end_of(&self, position: Position) -> Option<Position> {
        let batch = self.from(position)?;
        (batch.range.start == position).then_some(batch.range.end)
    }

    /// The next place behind `position` at which a batch begins or ends: no other one goes on behind it.
    pub fn border(&self, position: Position) -> Option<Position> {
        let PositionRange { start, end } = self.from(position)?.range;
        Some(if position < start { start } else { end })
    }

    /// The batch that holds all of what was read from `start` to `end`.
    pub fn holding(&self, start: Position, end: Position) -> Option<Batch> {
        self.from(start).filter(|batch| batch.range.start <= start && end <= batch.range.end)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        match &self.0 {
            Queue::Offsets(queue) => queue.len(),
            Queue::Positions(queue) => queue.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    #[cfg(test)]
    fn list(&self) -> Vec<Batch> {
        match &self.0 {
            Queue::Offsets(queue) => queue.iter().map(Waiting::batch).collect(),
            Queue::Positions(queue) => queue.iter().map(Waiting::batch).collect(),
        }
    }

    fn from(&self, position: Position) -> Option<Batch> {
        match &self.0 {
            Queue::Offsets(queue) => from(queue, position),
            Queue::Positions(queue) => from(queue, position),
        }
    }
}

fn pass<P: Kept>(queue: &mut VecDeque<Waiting<P>>, position: Position) {
    let position = P::of(position);
    while queue.front().is_some_and(|batch| batch.end <= position) {
        queue.pop_front();
    }
    if queue.is_empty() {
        *queue = VecDeque::new();
    }
}

fn from<P: Kept>(queue: &VecDeque<Waiting<P>>, position: Position) -> Option<Batch> {
    let position = P::of(position);
    queue.iter().find(|batch| position < batch.end).map(Waiting::batch)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FILE: PartitionId = PartitionId(7);

    fn batch(start: u64, end: u64, arrival_ms: i64) -> Batch {
        Batch { range: PositionRange::new(start, end), arrival_ms, failed_ms: None }
    }

    fn at(offset: u64) -> Position {
        Position::at(offset)
    }

    fn batches(list: &[Batch]) -> Batches {
        let mut batches = Batches::default();
        list.iter().for_each(|&batch| batches.add(FILE, batch));
        batches
    }

    /// As they come in one file: mostly without gaps, arriving one after the other, on clocks that may be set back.
    fn list() -> impl Strategy<Value = Vec<Batch>> {
        let gap = prop_oneof![3 => Just(0u64), 1 => 1..1u64 << 40];
        let arrival = prop_oneof![3 => 0i64..100_000, 1 => any::<i64>()];
        let step = (gap, 1u64..1 << 24, arrival, prop::option::of(any::<i64>()));
        proptest::collection::vec(step, 0..40).prop_map(|steps| {
            let mut at = 0;
            let batch = |(gap, length, arrival_ms, failed_ms)| {
                let range = PositionRange::new(at + gap, at + gap + length);
                at = range.end.offset();
                Batch { range, arrival_ms, failed_ms }
            };
            steps.into_iter().map(batch).collect()
        })
    }

    proptest! {
        #[test]
        fn batches_survive_their_coding(list in list()) {
            let batches = batches(&list);
            prop_assert_eq!(batches.of(FILE).collect::<Vec<_>>(), list.clone());
            prop_assert_eq!(batches.len(), list.len());
            let mut again = Batches::default();
            if let Some(bytes) = batches.coded(FILE) {
                prop_assert!(again.add_kept(FILE, bytes.to_vec()));
            }
            prop_assert_eq!(again, batches);
        }

        #[test]
        fn any_bytes_are_batches_that_ascend_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            let mut batches = Batches::default();
            if batches.add_kept(FILE, bytes) {
                let list: Vec<_> = batches.of(FILE).collect();
                prop_assert!(!list.is_empty() && list.len() == batches.len());
                prop_assert!(list.windows(2).all(|two| two[0].range.end <= two[1].range.start));
            }
        }

        #[test]
        fn what_is_told_of_several_deliveries_never_overlaps(lists in proptest::collection::vec(list(), 0..4)) {
            let mut told_of = ToldOf::default();
            lists.iter().for_each(|list| told_of.add(&batches(list)));
            let told = told_of.take(FILE).list();
            prop_assert!(told.windows(2).all(|two| two[0].range.end <= two[1].range.start));
            // The first one's are all there.
            let first = lists.first().into_iter().flatten();
            prop_assert!(first.clone().all(|batch| told.contains(batch)));
        }
    }

    #[test]
    fn a_trickle_of_single_lines_takes_few_bytes_each() {
        const LINES: u64 = 10_000;
        let line = |n: u64| batch(n * 150, (n + 1) * 150, 1_795_000_000_000 + (n as i64) * 1_037);
        let batches = batches(&(0..LINES).map(line).collect::<Vec<_>>());
        let bytes = batches.coded(FILE).unwrap().len() as u64;
        assert!(bytes <= 4 * LINES + 8, "{bytes} bytes for {LINES} lines");
    }

    #[test]
    fn a_batch_of_several_runs_is_kept_once() {
        let mut batches = batches(&[batch(0, 10, 5), batch(0, 10, 5), batch(10, 20, 6), batch(10, 20, 6)]);
        assert_eq!(batches.len(), 2);
        let other = PartitionId(8);
        batches.add(other, batch(100, 101, 7));
        assert_eq!((batches.len(), batches.of(other).next()), (3, Some(batch(100, 101, 7))));
        assert_eq!(batches.needed_for(FILE, PositionRange::new(13, 15)), PositionRange::new(10, 15));
        assert_eq!(batches.needed_for(other, PositionRange::new(90, 95)), PositionRange::new(90, 95));
    }

    #[test]
    fn a_reader_is_told_borders_and_arrivals() {
        let mut told_of = ToldOf::default();
        told_of.add(&batches(&[batch(10, 20, 5), batch(20, 30, 6)]));
        // What does not go together with it counts for nothing.
        told_of.add(&batches(&[batch(15, 25, 7), batch(40, 50, 8)]));
        let mut told = told_of.take(FILE);
        assert_eq!((told.end_of(at(0)), told.border(at(0))), (None, Some(at(10))));
        assert_eq!((told.end_of(at(10)), told.border(at(10))), (Some(at(20)), Some(at(20))));
        assert_eq!((told.end_of(at(12)), told.border(at(12))), (None, Some(at(20))));
        assert_eq!(told.holding(at(10), at(20)), Some(batch(10, 20, 5)));
        assert_eq!(told.holding(at(12), at(14)), Some(batch(10, 20, 5)));
        assert_eq!(
            (told.holding(at(12), at(21)), told.holding(at(8), at(12)), told.holding(at(30), at(35))),
            (None, None, None)
        );
        told.pass(at(20));
        assert_eq!((told.end_of(at(20)), told.len()), (Some(at(30)), 2));
        told.pass(at(99));
        assert_eq!((told.border(at(99)), told.end_of(at(99))), (None, None));
    }
}
