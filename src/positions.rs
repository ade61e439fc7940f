//! Sets of records, by the positions that they cover in their source partitions.
//!
//! Always true: the ranges of one partition are ascending and not empty, and they touch only at a cut: a place where records
//! end though nothing in the source says so. Records are added in the order of their positions, which is the order in which a
//! source is read.

use std::collections::{BTreeMap, BTreeSet};

use crate::record::{PartitionId, Position, PositionRange};

/// Exactly which records a buffer or a delivery holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RecordSet {
    by_partition: BTreeMap<PartitionId, Vec<PositionRange>>,
    /// Partitions whose last range ends at a cut.
    cut: BTreeSet<PartitionId>,
}

impl RecordSet {
    /// Adds records behind those that are there. What overlaps is kept once.
    pub fn add(&mut self, partition: PartitionId, range: PositionRange) {
        let ranges = self.by_partition.entry(partition).or_default();
        let is_cut = self.cut.remove(&partition);
        match ranges.last_mut() {
            Some(last) if range.start < last.end || (range.start == last.end && !is_cut) => {
                last.end = last.end.max(range.end);
            }
            _ => ranges.push(range),
        }
    }

    /// Keeps the end of what `partition` has by now: what is added behind it becomes a range of its own.
    pub fn cut(&mut self, partition: PartitionId) {
        self.cut.insert(partition);
    }

    /// Adds ranges as they were kept: where two of them touch, there is a cut.
    pub fn add_kept(&mut self, partition: PartitionId, ranges: impl IntoIterator<Item = PositionRange>) {
        for range in ranges {
            self.cut(partition);
            self.add(partition, range);
        }
    }

    /// What of this set is not in `other`, and what is.
    pub fn split(&self, other: &Self) -> (Self, Self) {
        let (mut without, mut within) = (Self::default(), Self::default());
        for (partition, ranges) in self.iter() {
            for range in ranges {
                let mut at = range.start;
                let all = other.ranges(partition);
                let first = all.partition_point(|other| other.end <= range.start);
                for common in all[first..].iter().take_while(|other| other.start < range.end) {
                    let (start, end) = (common.start.max(at), common.end.min(range.end));
                    if at < start {
                        without.add(partition, PositionRange { start: at, end: start });
                    }
                    within.add(partition, PositionRange { start, end });
                    at = end;
                }
                if at < range.end {
                    without.add(partition, PositionRange { start: at, end: range.end });
                }
            }
        }
        (without, within)
    }

    /// This set without what is in `other`. Cuts stay where they are.
    pub fn without(&self, other: &Self) -> Self {
        let mut left = Self::default();
        for (partition, ranges) in self.iter() {
            for &range in ranges {
                let mut alone = Self::default();
                alone.add(partition, range);
                left.add_kept(partition, alone.split(other).0.ranges(partition).iter().copied());
            }
        }
        left
    }

    /// What any of `sets` holds.
    pub fn union(sets: &[&Self]) -> Self {
        let ranges = sets.iter().flat_map(|set| set.iter());
        Self::of_ranges(ranges.flat_map(|(id, ranges)| ranges.iter().map(move |r| (id, *r))).collect())
    }

    /// What lies in any of `ranges`, in whatever order they come.
    pub fn of_ranges(mut ranges: Vec<(PartitionId, PositionRange)>) -> Self {
        ranges.sort_by_key(|(id, range)| (*id, range.start));
        let mut union = Self::default();
        ranges.into_iter().for_each(|(id, range)| union.add(id, range));
        union
    }

    pub fn is_empty(&self) -> bool {
        self.by_partition.is_empty()
    }

    /// In how many ranges the records lie.
    pub fn len(&self) -> usize {
        self.by_partition.values().map(Vec::len).sum()
    }

    /// The partitions and their ranges, in order.
    pub fn iter(&self) -> impl Iterator<Item = (PartitionId, &[PositionRange])> {
        self.by_partition.iter().map(|(&partition, ranges)| (partition, ranges.as_slice()))
    }

    pub fn ranges(&self, partition: PartitionId) -> &[PositionRange] {
        self.by_partition.get(&partition).map_or(&[], Vec::as_slice)
    }

    /// The lowest position in `partition`.
    pub fn first(&self, partition: PartitionId) -> Option<Position> {
        self.ranges(partition).first().map(|range| range.start)
    }

    /// The position behind the last one in `partition`.
    pub fn end(&self, partition: PartitionId) -> Option<Position> {
        self.ranges(partition).last().map(|range| range.end)
    }

    /// Takes out everything of `partition`, and says how many positions (bytes, for a file) that were.
    pub fn remove(&mut self, partition: PartitionId) -> u64 {
        self.cut.remove(&partition);
        let ranges = self.by_partition.remove(&partition).unwrap_or_default();
        ranges.iter().map(|range| range.end.0 - range.start.0).sum()
    }

    /// Takes out what of `partition` lies at `from` or behind it, and says how many positions that were.
    pub fn truncate(&mut self, partition: PartitionId, from: Position) -> u64 {
        let Some(ranges) = self.by_partition.get_mut(&partition) else { return 0 };
        let mut removed = 0;
        ranges.retain_mut(|range| {
            let keep_to = range.end.min(from).max(range.start);
            removed += range.end.0 - keep_to.0;
            range.end = keep_to;
            range.start < range.end
        });
        if ranges.is_empty() {
            self.by_partition.remove(&partition);
        }
        removed
    }
}

/// The ranges of one partition as a compact byte string: varints of the gaps and lengths, in turn.
pub fn encode_ranges(ranges: &[PositionRange]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(ranges.len() * 4);
    let mut at = 0;
    for range in ranges {
        put_varint(&mut bytes, range.start.0 - at);
        put_varint(&mut bytes, range.end.0 - range.start.0);
        at = range.end.0;
    }
    bytes
}

/// The opposite of [`encode_ranges`]; `None` when the bytes are not such a string.
pub fn decode_ranges(mut bytes: &[u8]) -> Option<Vec<PositionRange>> {
    let mut ranges = Vec::new();
    let mut at = 0u64;
    while !bytes.is_empty() {
        let start = at.checked_add(take_varint(&mut bytes)?)?;
        let length = take_varint(&mut bytes)?;
        at = start.checked_add(length)?;
        if length == 0 {
            return None;
        }
        ranges.push(PositionRange::new(start, at));
    }
    Some(ranges)
}

pub(crate) fn put_varint(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

pub(crate) fn take_varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        let bits = u64::from(byte & 0x7f);
        if shift == 63 && bits > 1 {
            return None;
        }
        value |= bits << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn ranges_survive_their_encoding(steps in proptest::collection::vec((0u64..1 << 40, 1u64..1 << 30), 0..40)) {
            let mut at = 0;
            let ranges: Vec<_> = steps.iter().map(|&(gap, length)| {
                let range = PositionRange::new(at + gap, at + gap + length);
                at = range.end.0;
                range
            }).collect();
            prop_assert_eq!(decode_ranges(&encode_ranges(&ranges)), Some(ranges));
        }

        #[test]
        fn a_set_splits_into_what_another_holds_and_the_rest(
            one in proptest::collection::vec((0u64..5, 1u64..6), 0..12),
            other in proptest::collection::vec((0u64..5, 1u64..6), 0..12),
        ) {
            let file = PartitionId(1);
            let set = |steps: Vec<(u64, u64)>| {
                let (mut set, mut at) = (RecordSet::default(), 0);
                for (gap, length) in steps {
                    set.add(file, PositionRange::new(at + gap, at + gap + length));
                    at += gap + length;
                }
                set
            };
            let (one, other) = (set(one), set(other));
            let holds = |set: &RecordSet, p| set.ranges(file).iter().any(|r| r.start.0 <= p && p < r.end.0);
            let (without, within) = one.split(&other);
            for p in 0..130 {
                prop_assert_eq!(holds(&within, p), holds(&one, p) && holds(&other, p), "at {}", p);
                prop_assert_eq!(holds(&without, p), holds(&one, p) && !holds(&other, p), "at {}", p);
            }
            prop_assert_eq!(one.without(&other), without);
        }

        #[test]
        fn any_bytes_decode_or_are_refused(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            let _ = decode_ranges(&bytes);
        }
    }

    #[test]
    fn a_cut_is_kept_and_survives_the_encoding() {
        let (mut set, mut again) = (RecordSet::default(), RecordSet::default());
        let (file, other) = (PartitionId(7), PartitionId(8));
        set.add(file, PositionRange::new(0, 10));
        set.cut(file);
        set.add(other, PositionRange::new(0, 5));
        set.add(file, PositionRange::new(10, 20));
        set.add(file, PositionRange::new(20, 30));
        assert_eq!(set.ranges(file), [PositionRange::new(0, 10), PositionRange::new(10, 30)]);
        for (partition, ranges) in set.iter() {
            again.add_kept(partition, decode_ranges(&encode_ranges(ranges)).unwrap());
        }
        assert_eq!(again, set);
        let mut middle = RecordSet::default();
        middle.add(file, PositionRange::new(15, 18));
        let left = again.without(&middle);
        let expected = [(0, 10), (10, 15), (18, 30)].map(|(start, end)| PositionRange::new(start, end));
        assert_eq!((left.ranges(file), left.ranges(other)), (expected.as_slice(), again.ranges(other)));
        again.add(file, PositionRange::new(30, 40));
        assert_eq!(again.end(file), Some(Position(40)));
        assert_eq!(again.ranges(file).len(), 2);
    }

    #[test]
    fn touching_ranges_become_one_and_truncation_counts_what_it_takes() {
        let mut set = RecordSet::default();
        let file = PartitionId(7);
        set.add(file, PositionRange::new(0, 10));
        set.add(file, PositionRange::new(10, 20));
        set.add(file, PositionRange::new(30, 40));
        assert_eq!(set.ranges(file), [PositionRange::new(0, 20), PositionRange::new(30, 40)]);
        assert_eq!((set.first(file), set.end(file)), (Some(Position(0)), Some(Position(40))));
        assert_eq!(set.truncate(file, Position(15)), 15);
        assert_eq!(set.ranges(file), [PositionRange::new(0, 15)]);
        assert_eq!(set.remove(file), 15);
        assert!(set.is_empty());
    }
}
