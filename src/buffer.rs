//! A buffer collects the records of one output until a buffering hint is reached; sealed, it becomes a delivery.
//!
//! Pure: no I/O, no clock. Always true: the records are in the order in which they were pushed, a sealed buffer holds at
//! least one, and it is larger than the size hint only if its one record is.

use crate::batches::{Batch, Batches};
use crate::positions::RecordSet;
use crate::record::{PartitionId, PositionRange};

/// Ranges of one buffer and batches that they come from: a delivery with more would take long to journal and to read back.
const RANGES_MAX: usize = 65_536;
/// The room that a list keeps for more, against what it holds.
const LIST_ROOM: u64 = 2;

/// Size in bytes and age in milliseconds at which a buffer is sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hints {
    pub size: u64,
    pub interval_ms: u64,
}

/// An open buffer, or an empty one that waits for its first record.
#[derive(Debug)]
pub struct Buffer {
    hints: Hints,
    bytes: u64,
    records: u64,
    /// When the oldest record was pushed, in the caller's milliseconds.
    oldest_ms: Option<u64>,
    set: RecordSet,
    partial: RecordSet,
    batches: Batches,
    ranges: usize,
    ranges_bytes: u64,
}

/// What a sealed buffer held.
#[derive(Debug, PartialEq, Eq)]
pub struct Sealed {
    /// Before compression.
    pub bytes: u64,
    pub records: u64,
    pub set: RecordSet,
    /// Of which records this is only a part.
    pub partial: RecordSet,
    /// In which the records were processed, where what became of them follows from that.
    pub batches: Batches,
}

impl Buffer {
    pub fn new(hints: Hints) -> Self {
        Self {
            hints,
            bytes: 0,
            records: 0,
            oldest_ms: None,
            set: RecordSet::default(),
            partial: RecordSet::default(),
            batches: Batches::default(),
            ranges: 0,
            ranges_bytes: 0,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.records == 0
    }

    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    pub fn records(&self) -> u64 {
        self.records
    }

    /// How many of the next records fit before the buffer has to be sealed. `ends` are the records' running sizes in
    /// bytes, counted from `base`. An empty buffer takes one record of any size.
    pub fn room(&self, base: u32, ends: &[u32]) -> usize {
        let room = self.hints.size.saturating_sub(self.bytes);
        let fit = ends.partition_point(|&end| u64::from(end - base) <= room);
        if fit == 0 && self.is_empty() { ends.len().min(1) } else { fit }
    }

    /// Takes records: those of `range`, whose sizes add up to `bytes`.
    pub fn push(&mut self, now_ms: u64, partition: PartitionId, range: PositionRange, records: u64, bytes: u64) {
        self.oldest_ms.get_or_insert(now_ms);
        self.bytes += bytes;
        self.records += records;
        let before = self.set.ranges(partition).len();
        self.set.add(partition, range);
        self.count(range, self.set.ranges(partition).len() - before);
    }

    /// Says that nothing in the source shows where the last record of `partition` ends: the set keeps the place.
    pub fn cut(&mut self, partition: PartitionId) {
        self.set.cut(partition);
    }

    /// Says that the records of `range`, pushed before, are only a part of what their source records became.
    pub fn partial(&mut self, partition: PartitionId, range: PositionRange) {
        let before = self.partial.ranges(partition).len();
        self.partial.add(partition, range);
        self.count(range, self.partial.ranges(partition).len() - before);
    }

    fn count(&mut self, range: PositionRange, more: usize) {
        self.ranges += more;
        self.ranges_bytes += more as u64 * range.kept_bytes() * LIST_ROOM;
    }

    /// Says in which batch the records of `range` were processed. Gives what has to be read so that they are again: a batch
    /// from its beginning on.
    pub fn processed_in(
        &mut self,
        partition: PartitionId,
        range: PositionRange,
        batch: Option<Batch>,
    ) -> PositionRange {
        let Some(batch) = batch else { return range };
        self.batches.add(partition, batch);
        PositionRange { start: batch.range.start, ..range }
    }

    /// Memory of the batches.
    pub fn batches_bytes(&self) -> u64 {
        self.batches.bytes()
    }

    /// Memory of the ranges.
    pub fn ranges_bytes(&self) -> u64 {
        self.ranges_bytes
    }

    /// In how many ranges the records lie, those that are only a part counted once more.
    pub fn ranges(&self) -> usize {
        self.ranges
    }

    /// Whether there are records of `partition` in it.
    pub fn holds(&self, partition: PartitionId) -> bool {
        !self.set.ranges(partition).is_empty()
    }

    /// Whether the size hint is reached, or there are too many gaps between the records, or too many batches of them.
    pub fn is_full(&self) -> bool {
        !self.is_empty() && (self.bytes >= self.hints.size || self.ranges + self.batches.len() >= RANGES_MAX)
    }

    /// When the buffer has to be sealed for its age, in the caller's milliseconds.
    pub fn due_ms(&self) -> Option<u64> {
        self.oldest_ms.map(|oldest| oldest.saturating_add(self.hints.interval_ms))
    }

    /// Takes everything out; `None` when there is nothing. The buffer is empty afterwards.
    pub fn seal(&mut self) -> Option<Sealed> {
        if self.is_empty() {
            return None;
        }
        let empty = Self::new(self.hints);
        let full = std::mem::replace(self, empty);
        let Self { bytes, records, set, partial, batches, .. } = full;
        Some(Sealed { bytes, records, set, partial, batches })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Position;
    use proptest::prelude::*;

    /// The buffer as a plain list of records: (when, size).
    #[derive(Default)]
    struct Naive {
        held: Vec<(u64, u64)>,
    }

    impl Naive {
        fn bytes(&self) -> u64 {
            self.held.iter().map(|(_, size)| size).sum()
        }
    }

    #[test]
    fn a_buffer_is_full_when_its_records_lie_in_very_many_ranges() {
        let mut buffer = Buffer::new(Hints { size: u64::MAX, interval_ms: 1000 });
        for n in 0..RANGES_MAX as u64 {
            assert!(!buffer.is_full());
            buffer.push(0, PartitionId(1), PositionRange::new(n * 2, n * 2 + 1), 1, 1);
        }
        assert!(buffer.is_full() && buffer.seal().is_some() && !buffer.is_full());
    }

    #[test]
    fn ranges_of_a_shard_take_more_memory_than_those_of_a_file() {
        let (mut buffer, file, shard) =
            (Buffer::new(Hints { size: u64::MAX, interval_ms: 1000 }), PartitionId(1), PartitionId(2));
        buffer.push(0, file, PositionRange::new(0, 5), 1, 5);
        buffer.push(0, file, PositionRange::new(5, 9), 1, 4);
        assert_eq!((buffer.ranges(), buffer.ranges_bytes()), (1, 2 * 2 * 8), "ranges that touch are one");
        let number = |text: &str| text.parse().unwrap();
        let range = PositionRange { start: Position::behind(number("70"), 0), end: Position::behind(number("71"), 0) };
        buffer.push(0, shard, range, 1, 9);
        let wide = 2 * 2 * size_of::<Position>() as u64;
        assert_eq!((buffer.ranges(), buffer.ranges_bytes()), (2, 32 + wide));
        buffer.partial(shard, range);
        assert_eq!(buffer.ranges_bytes(), 32 + 2 * wide);
        assert!(buffer.seal().is_some() && buffer.ranges_bytes() == 0);
    }

    #[test]
    fn records_of_very_many_batches_fill_a_buffer_too() {
        let (mut buffer, file) = (Buffer::new(Hints { size: u64::MAX, interval_ms: 1000 }), PartitionId(1));
        for n in 0..RANGES_MAX as u64 - 1 {
            assert!(!buffer.is_full());
            let range = PositionRange::new(n, n + 1);
            buffer.push(0, file, range, 1, 1);
            let batch = Batch { range, arrival_ms: 0, failed_ms: None };
            assert_eq!(buffer.processed_in(file, range, Some(batch)), range);
        }
        assert!(buffer.is_full());
        assert_eq!(buffer.seal().unwrap().batches.len(), RANGES_MAX - 1);
        assert!(!buffer.is_full() && buffer.batches_bytes() == 0);
    }

    #[test]
    fn parts_in_very_many_ranges_fill_a_buffer_too() {
        let mut buffer = Buffer::new(Hints { size: u64::MAX, interval_ms: 1000 });
        for n in 0..RANGES_MAX as u64 {
            assert_eq!(buffer.is_full(), n + 1 == RANGES_MAX as u64);
            buffer.push(0, PartitionId(1), PositionRange::new(n * 2, n * 2 + 2), 2, 2);
            buffer.partial(PartitionId(1), PositionRange::new(n * 2, n * 2 + 1));
        }
        assert_eq!(buffer.ranges(), RANGES_MAX + 1);
        assert!(buffer.is_full() && buffer.seal().is_some() && buffer.ranges() == 0);
    }

    proptest! {
        #[test]
        fn pushes_and_seals_as_a_list_of_records_would(
            size in 1u64..200,
            interval_ms in 0u64..50,
            chunks in proptest::collection::vec((0u64..20, proptest::collection::vec(1u32..60, 1..12)), 1..30),
        ) {
            let mut buffer = Buffer::new(Hints { size, interval_ms });
            let mut naive = Naive::default();
            let (mut now, mut position) = (0, 0u64);
            let mut sealed_positions = Vec::new();
            for (wait, sizes) in chunks {
                now += wait;
                let due = naive.held.first().map(|(at, _)| at + interval_ms);
                prop_assert_eq!(buffer.due_ms(), due);
                let ends: Vec<u32> = sizes.iter().scan(0, |sum, size| { *sum += size; Some(*sum) }).collect();
                let mut from = 0;
                while from < ends.len() {
                    let base = if from == 0 { 0 } else { ends[from - 1] };
                    // A naive loop: take while the next one still fits, or when there is nothing at all yet.
                    let mut expected = 0;
                    let mut bytes = naive.bytes();
                    for &next in &sizes[from..] {
                        let next = u64::from(next);
                        if bytes + next > size && !(naive.held.is_empty() && expected == 0) {
                            break;
                        }
                        bytes += next;
                        expected += 1;
                    }
                    let take = buffer.room(base, &ends[from..]);
                    prop_assert_eq!(take, expected);
                    if take > 0 {
                        let length = u64::from(ends[from + take - 1] - base);
                        let range = PositionRange::new(position, position + length);
                        position += length;
                        buffer.push(now, PartitionId(1), range, take as u64, length);
                        naive.held.extend(sizes[from..from + take].iter().map(|&s| (now, u64::from(s))));
                        from += take;
                    }
                    prop_assert_eq!((buffer.bytes(), buffer.records()), (naive.bytes(), naive.held.len() as u64));
                    prop_assert_eq!(buffer.is_full(), !naive.held.is_empty() && naive.bytes() >= size);
                    if buffer.is_full() || take == 0 {
                        let sealed = buffer.seal().unwrap();
                        prop_assert_eq!((sealed.bytes, sealed.records), (naive.bytes(), naive.held.len() as u64));
                        prop_assert!(sealed.bytes <= size || sealed.records == 1);
                        sealed_positions.extend(sealed.set.ranges(PartitionId(1)).iter());
                        naive.held.clear();
                    }
                }
            }
            sealed_positions.extend(buffer.seal().iter().flat_map(|s| s.set.ranges(PartitionId(1)).iter().collect::<Vec<_>>()));
            prop_assert!(buffer.seal().is_none());
            let mut next = 0;
            for range in sealed_positions {
                prop_assert_eq!(range.start.offset(), next);
                next = range.end.offset();
            }
            prop_assert_eq!(next, position);
        }
    }
}
