//! Which records were processed together and when they had arrived, so that after a crash the same bytes are made of them again.
//!
//! A batch is a chunk of a source, or what of one was processed at a time. Its borders and its arrival decide over what a
//! component sees: in which calls, with which clocks and random numbers.
//!
//! Pure. Always true: the batches of one partition ascend and do not overlap. Nothing but the equality of bytes hangs on
//! them: without them, or with wrong ones, the same records are read.

use std::collections::{BTreeMap, HashMap, VecDeque};

use crate::positions::{put_varint, take_varint};
use crate::record::{Chunk, OversizeRecord, PartitionId, Position, PositionRange};

/// Memory of a batch that is waited for.
pub const BATCH_BYTES: u64 = size_of::<Batch>() as u64;
/// Bits of a batch's first number beside its length.
const HAS_GAP: u64 = 1;
const HAS_FAILED: u64 = 2;
const FLAG_BITS: u32 = 2;

/// What the first batch comes behind.
const NONE: Batch =
    Batch { range: PositionRange { start: Position(0), end: Position(0) }, arrival_ms: 0, failed_ms: None };

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
    end: u64,
    arrival_ms: i64,
}

/// The batches of one partition that is read again, as far as they are not behind it.
#[derive(Debug, Default)]
pub struct Told(VecDeque<Batch>);

/// The batches of all deliveries that are formed again.
#[derive(Debug, Default)]
pub struct ToldOf {
    by_partition: HashMap<PartitionId, BTreeMap<Position, Batch>>,
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
    pub fn of_oversize(record: &OversizeRecord) -> Self {
        Self {
            range: record.range,
            arrival_ms: record.arrival.as_millisecond(),
            failed_ms: record.failed_at.map(|at| at.as_millisecond()),
        }
    }

    fn overlaps(&self, other: &Self) -> bool {
        self.range.start < other.range.end && other.range.start < self.range.end
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
    let gap = batch.range.start.0 - last.range.end.0;
    let flags = if gap > 0 { HAS_GAP } else { 0 } | if batch.failed_ms.is_some() { HAS_FAILED } else { 0 };
    put_varint(bytes, (batch.range.end.0 - batch.range.start.0) << FLAG_BITS | flags);
    if gap > 0 {
        put_varint(bytes, gap);
    }
    put_varint(bytes, zigzag(batch.arrival_ms.wrapping_sub(last.arrival_ms)));
    if let Some(failed_ms) = batch.failed_ms {
        put_varint(bytes, zigzag(failed_ms.wrapping_sub(batch.arrival_ms)));
    }
}

impl<'a> Decoder<'a> {
    fn of(bytes: &'a [u8]) -> Self {
        Self { bytes, end: 0, arrival_ms: 0 }
    }

    fn take(&mut self) -> Option<Batch> {
        let first = take_varint(&mut self.bytes)?;
        let (length, flags) = (first >> FLAG_BITS, first & (HAS_GAP | HAS_FAILED));
        let gap = if flags & HAS_GAP == 0 { 0 } else { take_varint(&mut self.bytes)? };
        let start = self.end.checked_add(gap)?;
        let end = start.checked_add(length).filter(|&end| end > start)?;
        let arrival_ms = self.arrival_ms.wrapping_add(unzigzag(take_varint(&mut self.bytes)?));
        let failed_ms = match flags & HAS_FAILED {
            0 => None,
            _ => Some(arrival_ms.wrapping_add(unzigzag(take_varint(&mut self.bytes)?))),
        };
        (self.end, self.arrival_ms) = (end, arrival_ms);
        Some(Batch { range: PositionRange::new(start, end), arrival_ms, failed_ms })
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

impl ToldOf {
    /// Adds those of another delivery. Where two do not go together the one that is there stays.
    pub fn add(&mut self, batches: &Batches) {
        for partition in batches.partitions() {
            let known = self.by_partition.entry(partition).or_default();
            for batch in batches.of(partition) {
                let before = known.range(..batch.range.end).next_back();
                if before.is_none_or(|(_, before)| !before.overlaps(&batch)) {
                    known.insert(batch.range.start, batch);
                }
            }
        }
    }

    pub fn take(&mut self, partition: PartitionId) -> Told {
        Told(self.by_partition.remove(&partition).unwrap_or_default().into_values().collect())
    }
}

impl Told {
    /// Everything before `position` was read.
    pub fn pass(&mut self, position: u64) {
        while self.0.front().is_some_and(|batch| batch.range.end.0 <= position) {
            self.0.pop_front();
        }
        if self.0.is_empty() {
            self.0 = VecDeque::new();
        }
    }

    /// Where the batch ends that begins at `position`.
    pub fn end_of(&self, position: u64) -> Option<u64> {
        let batch = self.from(position)?;
        (batch.range.start.0 == position).then_some(batch.range.end.0)
    }

    /// The next place behind `position` at which a batch begins or ends: no other one goes on behind it.
    pub fn border(&self, position: u64) -> Option<u64> {
        let PositionRange { start, end } = self.from(position)?.range;
        Some(if position < start.0 { start.0 } else { end.0 })
    }

    /// The batch that holds all of what was read from `start` to `end`.
    pub fn holding(&self, start: u64, end: u64) -> Option<Batch> {
        self.from(start).copied().filter(|batch| batch.range.start.0 <= start && end <= batch.range.end.0)
    }

    fn from(&self, position: u64) -> Option<&Batch> {
        self.0.iter().find(|batch| position < batch.range.end.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FILE: PartitionId = PartitionId(7);

    fn batch(start: u64, end: u64, arrival_ms: i64) -> Batch {
        Batch { range: PositionRange::new(start, end), arrival_ms, failed_ms: None }
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
                at = range.end.0;
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
            let told = told_of.take(FILE);
            prop_assert!(told.0.iter().zip(told.0.iter().skip(1)).all(|(one, next)| one.range.end <= next.range.start));
            // The first one's are all there.
            let first = lists.first().into_iter().flatten();
            prop_assert!(first.clone().all(|batch| told.0.contains(batch)));
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
        assert_eq!((told.end_of(0), told.border(0)), (None, Some(10)));
        assert_eq!((told.end_of(10), told.border(10)), (Some(20), Some(20)));
        assert_eq!((told.end_of(12), told.border(12)), (None, Some(20)));
        assert_eq!(told.holding(10, 20), Some(batch(10, 20, 5)));
        assert_eq!(told.holding(12, 14), Some(batch(10, 20, 5)));
        assert_eq!((told.holding(12, 21), told.holding(8, 12), told.holding(30, 35)), (None, None, None));
        told.pass(20);
        assert_eq!((told.end_of(20), told.0.len()), (Some(30), 2));
        told.pass(99);
        assert_eq!((told.border(99), told.end_of(99)), (None, None));
    }
}
