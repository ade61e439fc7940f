//! Sets of records, by the positions that they cover in their source partitions.
//!
//! Always true: the ranges of one partition are ascending and not empty, and they touch only at a cut: a place where records
//! end though nothing in the source says so. Records are added in the order of their positions, which is the order in which a
//! source is read.

use std::collections::{BTreeMap, BTreeSet};

use crate::position::Kept;
use crate::record::{PartitionId, Position, PositionRange};
use crate::sequence_number::SequenceNumber;

/// Exactly which records a buffer or a delivery holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RecordSet {
    by_partition: BTreeMap<PartitionId, List>,
    /// Partitions whose last range ends at a cut.
    cut: BTreeSet<PartitionId>,
}

/// Ranges of one partition: of a file as long as all of them are.
#[derive(Debug, Clone, PartialEq, Eq)]
enum List {
    Offsets(Vec<(u64, u64)>),
    Positions(Vec<(Position, Position)>),
}

/// The ranges of one partition, ascending.
#[derive(Debug, Clone, Copy)]
pub struct Ranges<'a>(Slice<'a>);

#[derive(Debug, Clone, Copy)]
enum Slice<'a> {
    Offsets(&'a [(u64, u64)]),
    Positions(&'a [(Position, Position)]),
}

impl List {
    fn as_ranges(&self) -> Ranges<'_> {
        Ranges(match self {
            Self::Offsets(list) => Slice::Offsets(list),
            Self::Positions(list) => Slice::Positions(list),
        })
    }

    fn push(&mut self, range: PositionRange) {
        let PositionRange { start, end } = range;
        match self {
            Self::Offsets(list) if start.is_offset() && end.is_offset() => list.push((start.offset(), end.offset())),
            Self::Offsets(list) => {
                let mut positions: Vec<_> =
                    list.iter().map(|&(start, end)| (start.position(), end.position())).collect();
                positions.push((start, end));
                *self = Self::Positions(positions);
            }
            Self::Positions(list) => list.push((start, end)),
        }
    }

    fn pop(&mut self) -> Option<PositionRange> {
        match self {
            Self::Offsets(list) => list.pop().map(|(start, end)| PositionRange::new(start, end)),
            Self::Positions(list) => list.pop().map(|(start, end)| PositionRange { start, end }),
        }
    }

    /// Moves the end of the last range.
    fn extend_to(&mut self, end: Position) {
        match self {
            Self::Offsets(list) if end.is_offset() => {
                list.iter_mut().last().into_iter().for_each(|last| last.1 = end.offset())
            }
            Self::Positions(list) => list.iter_mut().last().into_iter().for_each(|last| last.1 = end),
            Self::Offsets(_) => {
                if let Some(last) = self.pop() {
                    self.push(PositionRange { end, ..last });
                }
            }
        }
    }
}

impl<'a> Ranges<'a> {
    pub const NONE: Self = Self(Slice::Offsets(&[]));

    pub fn len(&self) -> usize {
        match self.0 {
            Slice::Offsets(list) => list.len(),
            Slice::Positions(list) => list.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn get(&self, index: usize) -> Option<PositionRange> {
        match self.0 {
            Slice::Offsets(list) => list.get(index).map(|&(start, end)| PositionRange::new(start, end)),
            Slice::Positions(list) => list.get(index).map(|&(start, end)| PositionRange { start, end }),
        }
    }

    pub fn first(&self) -> Option<PositionRange> {
        self.get(0)
    }

    pub fn last(&self) -> Option<PositionRange> {
        self.get(self.len().checked_sub(1)?)
    }

    pub fn iter(self) -> impl DoubleEndedIterator<Item = PositionRange> + ExactSizeIterator + 'a {
        // Every index below the length has a range.
        (0..self.len()).map(move |index| self.get(index).unwrap_or(PositionRange::new(0, 1)))
    }

    /// Those that end behind `position`.
    pub fn behind(self, position: Position) -> Self {
        Self(match self.0 {
            Slice::Offsets(list) => {
                let position = u64::of(position);
                Slice::Offsets(&list[list.partition_point(|&(_, end)| end <= position)..])
            }
            Slice::Positions(list) => Slice::Positions(&list[list.partition_point(|&(_, end)| end <= position)..]),
        })
    }
}

impl<T: AsRef<[PositionRange]>> PartialEq<T> for Ranges<'_> {
    fn eq(&self, other: &T) -> bool {
        self.iter().eq(other.as_ref().iter().copied())
    }
}

impl RecordSet {
    /// Adds records behind those that are there. What overlaps is kept once.
    pub fn add(&mut self, partition: PartitionId, range: PositionRange) {
        let ranges = self.by_partition.entry(partition).or_insert(List::Offsets(Vec::new()));
        let is_cut = self.cut.remove(&partition);
        match ranges.as_ranges().last() {
            Some(last) if range.start < last.end || (range.start == last.end && !is_cut) => {
                if range.end > last.end {
                    ranges.extend_to(range.end);
                }
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
            for range in ranges.iter() {
                let mut at = range.start;
                let behind = other.ranges(partition).behind(range.start);
                for common in behind.iter().take_while(|other| other.start < range.end) {
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
            for range in ranges.iter() {
                let mut alone = Self::default();
                alone.add(partition, range);
                left.add_kept(partition, alone.split(other).0.ranges(partition).iter());
            }
        }
        left
    }

    /// What any of `sets` holds.
    pub fn union(sets: &[&Self]) -> Self {
        let ranges = sets.iter().flat_map(|set| set.iter());
        Self::of_ranges(ranges.flat_map(|(id, ranges)| ranges.iter().map(move |range| (id, range))).collect())
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
        self.by_partition.values().map(|list| list.as_ranges().len()).sum()
    }

    /// The partitions and their ranges, in order.
    pub fn iter(&self) -> impl Iterator<Item = (PartitionId, Ranges<'_>)> {
        self.by_partition.iter().map(|(&partition, ranges)| (partition, ranges.as_ranges()))
    }

    pub fn ranges(&self, partition: PartitionId) -> Ranges<'_> {
        self.by_partition.get(&partition).map_or(Ranges::NONE, List::as_ranges)
    }

    /// The lowest position in `partition`.
    pub fn first(&self, partition: PartitionId) -> Option<Position> {
        self.ranges(partition).first().map(|range| range.start)
    }

    /// The position behind the last one in `partition`.
    pub fn end(&self, partition: PartitionId) -> Option<Position> {
        self.ranges(partition).last().map(|range| range.end)
    }

    /// Takes out everything of `partition`, and says how many bytes of a file that were.
    pub fn remove(&mut self, partition: PartitionId) -> u64 {
        self.cut.remove(&partition);
        let removed = self.by_partition.remove(&partition);
        removed.iter().flat_map(|list| list.as_ranges().iter()).map(|range| range.bytes()).sum()
    }

    /// Takes out what of `partition` lies at `from` or behind it, and says how many bytes of a file that were; `None` is nothing.
    pub fn truncate(&mut self, partition: PartitionId, from: Position) -> Option<u64> {
        let list = self.by_partition.get_mut(&partition)?;
        let mut removed = None;
        while let Some(last) = list.pop() {
            if last.end <= from {
                list.push(last);
                break;
            }
            let keep_to = last.end.min(from).max(last.start);
            removed = Some(removed.unwrap_or(0) + last.end.bytes_from(keep_to));
            if last.start < keep_to {
                list.push(PositionRange { end: keep_to, ..last });
                break;
            }
        }
        if list.as_ranges().is_empty() {
            self.by_partition.remove(&partition);
        }
        removed
    }
}

/// The ranges of one partition as a compact byte string: varints of the gaps and lengths, in turn.
pub fn encode_ranges(ranges: Ranges<'_>) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(ranges.len() * 4);
    let mut at = Position::BEGINNING;
    for range in ranges.iter() {
        put_distance(&mut bytes, at, range.start, NO_FLAGS);
        put_distance(&mut bytes, range.start, range.end, NO_FLAGS);
        at = range.end;
    }
    bytes
}

/// The opposite of [`encode_ranges`]; `None` when the bytes are not such a string.
pub fn decode_ranges(mut bytes: &[u8]) -> Option<Vec<PositionRange>> {
    let mut ranges = Vec::new();
    let mut at = Position::BEGINNING;
    while !bytes.is_empty() {
        let start = take_distance(&mut bytes, 0)?.0.behind(at)?;
        let length = take_distance(&mut bytes, 0)?.0;
        if length.is_zero() {
            return None;
        }
        let end = length.behind(start)?;
        ranges.push(PositionRange { start, end });
        at = end;
    }
    Some(ranges)
}

/// Bits that share the first byte of a distance, and how many there are.
pub(crate) type Flags = (u8, u32);
pub(crate) const NO_FLAGS: Flags = (0, 0);
/// Limbs of a position as one number: those of its sequence number, and its offset as the lowest.
const LIMBS: usize = 8;

/// Appends how far `to` lies behind `from`, as positions are numbers whose low 64 bits are the offset, with flags as its lowest bits.
/// For files this is a varint of 64 bits.
pub(crate) fn put_distance(bytes: &mut Vec<u8>, from: Position, to: Position, (flags, bits): Flags) {
    if from.sequence_number() == to.sequence_number() && bits == 0 {
        return put_varint(bytes, to.offset().saturating_sub(from.offset()));
    }
    let mut distance = limbs(to);
    let mut borrow = false;
    for (limb, from) in distance.iter_mut().zip(limbs(from)) {
        let (less, one) = limb.overflowing_sub(from);
        let (less, other) = less.overflowing_sub(u64::from(borrow));
        (*limb, borrow) = (less, one || other);
    }
    let room = 7 - bits;
    let mut byte = flags | ((distance[0] as u8 & low_bits(room)) << bits);
    shift(&mut distance, room);
    while distance != [0; LIMBS] {
        bytes.push(byte | 0x80);
        byte = distance[0] as u8 & 0x7f;
        shift(&mut distance, 7);
    }
    bytes.push(byte);
}

/// How far one position lies behind another, the lowest limb first.
pub(crate) struct Distance([u64; LIMBS]);

impl Distance {
    pub fn is_zero(&self) -> bool {
        self.0 == [0; LIMBS]
    }

    /// The position that lies so far behind `from`; `None` where there is none.
    pub fn behind(mut self, from: Position) -> Option<Position> {
        let mut carry = false;
        for (limb, from) in self.0.iter_mut().zip(limbs(from)) {
            let (more, one) = limb.overflowing_add(from);
            let (more, other) = more.overflowing_add(u64::from(carry));
            (*limb, carry) = (more, one || other);
        }
        (!carry).then(|| position(self.0))
    }
}

/// The opposite of [`put_distance`], with the flags; `None` for what is no such number.
pub(crate) fn take_distance(bytes: &mut &[u8], flag_bits: u32) -> Option<(Distance, u8)> {
    let mut distance = [0u64; LIMBS];
    let (&first, rest) = bytes.split_first()?;
    *bytes = rest;
    distance[0] = u64::from((first & 0x7f) >> flag_bits);
    let (mut byte, mut at) = (first, 7 - flag_bits);
    while byte & 0x80 != 0 {
        let (&next, rest) = bytes.split_first()?;
        (*bytes, byte) = (rest, next);
        let (limb, shift, value) = ((at / 64) as usize, at % 64, u64::from(next & 0x7f));
        *distance.get_mut(limb)? |= value << shift;
        let over = if shift > 57 { value >> (64 - shift) } else { 0 };
        if over != 0 {
            *distance.get_mut(limb + 1)? |= over;
        }
        at += 7;
    }
    Some((Distance(distance), first & low_bits(flag_bits)))
}

fn low_bits(bits: u32) -> u8 {
    ((1u16 << bits) - 1) as u8
}

/// The lowest first.
fn limbs(position: Position) -> [u64; LIMBS] {
    let mut limbs = [position.offset(); LIMBS];
    for (limb, high) in limbs[1..].iter_mut().zip(position.sequence_number().limbs().iter().rev()) {
        *limb = *high;
    }
    limbs
}

fn position(mut limbs: [u64; LIMBS]) -> Position {
    let [offset, sequence_number @ ..] = &mut limbs;
    sequence_number.reverse();
    Position::of_parts(SequenceNumber::from_limbs(*sequence_number), *offset)
}

fn shift(limbs: &mut [u64; LIMBS], bits: u32) {
    for index in 0..LIMBS {
        let above = limbs.get(index + 1).map_or(0, |above| above << (64 - bits));
        limbs[index] = limbs[index] >> bits | above;
    }
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

    fn set_of(ranges: &[PositionRange]) -> RecordSet {
        let mut set = RecordSet::default();
        set.add_kept(PartitionId(1), ranges.iter().copied());
        set
    }

    /// Positions of a shard, ascending by steps of all sizes.
    fn shard_ranges() -> impl Strategy<Value = Vec<PositionRange>> {
        let place = ("[1-9][0-9]{0,128}", 0u64..1 << 40);
        proptest::collection::btree_set(
            place.prop_map(|(number, sub)| Position::behind(number.parse().unwrap(), sub)),
            0..40,
        )
        .prop_map(|places| {
            let places: Vec<_> = places.into_iter().collect();
            places.chunks_exact(2).map(|two| PositionRange { start: two[0], end: two[1] }).collect()
        })
    }

    proptest! {
        #[test]
        fn ranges_of_shards_survive_their_encoding_and_their_set(ranges in shard_ranges(), with_beginning in any::<bool>()) {
            let mut ranges = ranges;
            if let Some(first) = ranges.first_mut().filter(|_| with_beginning) {
                first.start = Position::BEGINNING;
            }
            let set = set_of(&ranges);
            prop_assert_eq!(set.ranges(PartitionId(1)).iter().collect::<Vec<_>>(), ranges.clone());
            prop_assert_eq!(decode_ranges(&encode_ranges(set.ranges(PartitionId(1)))), Some(ranges.clone()));
            let (without, within) = set.split(&set);
            prop_assert!(without.is_empty());
            prop_assert_eq!(within.len(), ranges.len());
        }

        #[test]
        fn ranges_survive_their_encoding(steps in proptest::collection::vec((0u64..1 << 40, 1u64..1 << 30), 0..40)) {
            let mut at = 0;
            let ranges: Vec<_> = steps.iter().map(|&(gap, length)| {
                let range = PositionRange::new(at + gap, at + gap + length);
                at = range.end.offset();
                range
            }).collect();
            prop_assert_eq!(decode_ranges(&encode_ranges(set_of(&ranges).ranges(PartitionId(1)))), Some(ranges));
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
            let holds = |set: &RecordSet, p| set.ranges(file).iter().any(|r| r.start.offset() <= p && p < r.end.offset());
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
        assert_eq!(left.ranges(file), expected);
        assert!(left.ranges(other).iter().eq(again.ranges(other).iter()));
        again.add(file, PositionRange::new(30, 40));
        assert_eq!(again.end(file), Some(Position::at(40)));
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
        assert_eq!((set.first(file), set.end(file)), (Some(Position::at(0)), Some(Position::at(40))));
        assert_eq!(set.truncate(file, Position::at(15)), Some(15));
        assert_eq!(set.truncate(file, Position::at(15)), None);
        assert_eq!(set.ranges(file), [PositionRange::new(0, 15)]);
        assert_eq!(set.remove(file), 15);
        assert!(set.is_empty());
    }
}
