//! Places in a source partition, ordered as the source is read.

use std::fmt;

use crate::sequence_number::SequenceNumber;

/// A place in a source partition: for a file, a byte offset; for a shard of a Kinesis stream, the place behind a record, told by its
/// sequence number and its sub-sequence number. The default is the beginning.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Position {
    /// 0 in files.
    sequence_number: SequenceNumber,
    offset: u64,
}

/// Positions from `start` up to, but without, `end`. Never empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PositionRange {
    pub start: Position,
    pub end: Position,
}

impl Position {
    /// The beginning of every partition.
    pub const BEGINNING: Self = Self::at(0);
    /// Behind everything.
    pub const MAX: Self = Self { sequence_number: SequenceNumber::MAX, offset: u64::MAX };

    /// So many bytes behind the beginning of a file.
    pub const fn at(offset: u64) -> Self {
        Self { sequence_number: SequenceNumber::ZERO, offset }
    }

    /// Behind a record of a shard.
    pub const fn behind(sequence_number: SequenceNumber, sub_sequence_number: u64) -> Self {
        Self { sequence_number, offset: sub_sequence_number.saturating_add(1) }
    }

    /// The opposite of [`Self::sequence_number`] and [`Self::offset`].
    pub const fn of_parts(sequence_number: SequenceNumber, offset: u64) -> Self {
        Self { sequence_number, offset }
    }

    /// Bytes behind the beginning of a file; in a shard the sub-sequence number that is next in the record.
    pub const fn offset(self) -> u64 {
        self.offset
    }

    /// 0 in files.
    pub const fn sequence_number(self) -> SequenceNumber {
        self.sequence_number
    }

    /// Sequence number and sub-sequence number of the record that ends here; `None` at the beginning, and in files.
    pub fn record(self) -> Option<(SequenceNumber, u64)> {
        let sub_sequence_number = self.offset.checked_sub(1)?;
        (!self.sequence_number.is_zero()).then_some((self.sequence_number, sub_sequence_number))
    }

    /// Whether it is a byte offset, and can be kept as one.
    pub fn is_offset(self) -> bool {
        self.sequence_number.is_zero()
    }

    /// In 64 bits: the offset in a file, a hash in a shard.
    pub fn fold(self) -> u64 {
        if self.is_offset() {
            return self.offset;
        }
        let mut bytes = Vec::with_capacity(64);
        self.sequence_number.limbs().iter().for_each(|limb| bytes.extend_from_slice(&limb.to_le_bytes()));
        bytes.extend_from_slice(&self.offset.to_le_bytes());
        xxhash_rust::xxh3::xxh3_64(&bytes)
    }

    /// So many bytes behind this.
    pub const fn plus(self, bytes: u64) -> Self {
        Self { offset: self.offset.saturating_add(bytes), ..self }
    }

    /// Bytes from `start` to here, for a file; in a shard there is no measure: 0 between two records.
    pub fn bytes_from(self, start: Self) -> u64 {
        if self.sequence_number == start.sequence_number { self.offset.saturating_sub(start.offset) } else { 0 }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.record() {
            Some((sequence_number, sub_sequence_number)) => write!(f, "{sequence_number}/{sub_sequence_number}"),
            None => self.offset.fmt(f),
        }
    }
}

impl fmt::Debug for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl PositionRange {
    /// Memory of its two places as a list keeps them: a shard's are wide.
    pub fn kept_bytes(&self) -> u64 {
        let place =
            if self.start.is_offset() && self.end.is_offset() { size_of::<u64>() } else { size_of::<Position>() };
        2 * place as u64
    }

    /// Of a file's bytes.
    pub const fn new(start: u64, end: u64) -> Self {
        debug_assert!(start < end, "an empty range of positions");
        Self { start: Position::at(start), end: Position::at(end) }
    }

    /// By what the record of this range is known: its first byte in a file, its own numbers in a shard, where records end at them.
    pub fn record(&self) -> Position {
        if self.end.is_offset() { self.start } else { self.end }
    }

    /// Bytes of a file; 0 where there is no measure.
    pub fn bytes(&self) -> u64 {
        self.end.bytes_from(self.start)
    }
}

/// How positions are kept where there are very many: those of a file take an eighth of the memory of others.
pub trait Kept: Copy + Ord {
    fn of(position: Position) -> Self;
    fn position(self) -> Position;
}

impl Kept for u64 {
    fn of(position: Position) -> Self {
        if position.is_offset() { position.offset } else { u64::MAX }
    }

    fn position(self) -> Position {
        if self == u64::MAX { Position::MAX } else { Position::at(self) }
    }
}

impl Kept for Position {
    fn of(position: Position) -> Self {
        position
    }

    fn position(self) -> Position {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_ordered_by_sequence_number_and_then_by_sub_sequence_number() {
        let number = |text: &str| text.parse::<SequenceNumber>().unwrap();
        let (small, large) = (number("9"), number("49590338271490256608559692538361571095921575989136588898"));
        let ordered = [
            Position::BEGINNING,
            Position::behind(small, 0),
            Position::behind(small, 1),
            Position::behind(small, 10),
            Position::behind(large, 0),
            Position::behind(large, 2),
            Position::MAX,
        ];
        assert!(ordered.is_sorted() && ordered.windows(2).all(|two| two[0] != two[1]));
        assert_eq!(ordered[5].record(), Some((large, 2)));
        assert_eq!((Position::at(7).record(), Position::BEGINNING.record()), (None, None));
        assert_eq!(ordered[3].to_string(), "9/10");
    }
}
