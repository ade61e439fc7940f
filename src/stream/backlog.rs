//! How much of a stream the journal may hold before reading waits.
//!
//! Always true: what a next start would have to remember of the deliveries in the journal fits into half of the memory that this
//! stream is guaranteed. So a stream whose records fail in turn, behind a delivery that is stuck, does not take its next life's
//! memory away.

use crate::batches::BATCH_BYTES;
use crate::config::model::SourceConfig;
use crate::journal::Left;
use crate::record::Position;

/// Deliveries that may be in the journal, settled ones behind one that is stuck included.
pub const DELIVERIES_MAX: u64 = 4096;
/// What a range of the journal takes after a start, for places of so many bytes: with its owner, in the set of its delivery, and as
/// two places where records have to end.
const fn bytes_of_range(place: u64) -> u64 {
    let (owner, in_set, ends) = (2 * place + OWNER_BYTES, 2 * place, 2 * place);
    // A tree's leaves are two thirds full, and a list has room for as much again.
    owner * 3 / 2 + in_set * 2 + ends * 2
}

const OWNER_BYTES: u64 = 16;
/// In a file, where a place is an offset.
const RANGE_BYTES: u64 = bytes_of_range(size_of::<u64>() as u64);
/// In a shard.
const RANGE_BYTES_WIDE: u64 = bytes_of_range(size_of::<Position>() as u64);
/// Batches of a delivery that is to be formed again take as much as one range.
pub const BATCHES_IN_RANGE: usize = 2;
const _: () = assert!(BATCHES_IN_RANGE as u64 * BATCH_BYTES <= RANGE_BYTES);

/// What the journal holds, against what it may.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Backlog {
    left: Left,
    max: Left,
    range_bytes: u64,
}

impl Backlog {
    /// Nothing yet, of `deliveries_max`, from such a source.
    pub fn new(deliveries_max: u64, source: &SourceConfig) -> Self {
        let range_bytes = match source {
            SourceConfig::File(_) | SourceConfig::Redrive(_) => RANGE_BYTES,
            SourceConfig::Kinesis(_) => RANGE_BYTES_WIDE,
        };
        Self::with(deliveries_max, range_bytes)
    }

    fn with(deliveries_max: u64, range_bytes: u64) -> Self {
        Self { left: Left::default(), max: Left { deliveries: deliveries_max, ranges: u64::MAX }, range_bytes }
    }

    /// What a range of the journal takes in memory after a start.
    pub fn range_bytes(&self) -> u64 {
        self.range_bytes
    }

    /// After a settlement; `share` are the bytes that the stream is guaranteed.
    pub fn set(&mut self, left: Left, share: u64) {
        self.left = left;
        self.max.ranges = share / 2 / self.range_bytes;
    }

    pub fn deliveries(&self) -> u64 {
        self.left.deliveries
    }

    /// Whether reading may go on.
    pub fn has_room(&self) -> bool {
        self.left.deliveries < self.max.deliveries && self.left.ranges < self.max.ranges
    }

    /// Whether it is time to see what holds the checkpoints back.
    pub fn is_half_full(&self) -> bool {
        self.left.deliveries >= self.max.deliveries / 2 || self.left.ranges >= self.max.ranges / 2
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reading_waits_for_deliveries_and_for_ranges() {
        let share = 1000 * 2 * RANGE_BYTES;
        for (deliveries, ranges, is_half_full, has_room) in [
            (0, 0, false, true),
            (9, 499, false, true),
            (10, 0, true, true),
            (1, 500, true, true),
            (20, 0, true, false),
            (1, 1000, true, false),
        ] {
            let mut backlog = Backlog::with(20, RANGE_BYTES);
            assert!(backlog.has_room() && !backlog.is_half_full());
            backlog.set(Left { deliveries, ranges }, share);
            assert_eq!((backlog.is_half_full(), backlog.has_room()), (is_half_full, has_room), "{backlog:?}");
        }
    }

    #[test]
    fn of_shards_fewer_ranges_fit() {
        assert_eq!((RANGE_BYTES, RANGE_BYTES_WIDE), (112, 728));
        let share = 1000 * 2 * RANGE_BYTES_WIDE;
        for (range_bytes, has_room) in [(RANGE_BYTES, true), (RANGE_BYTES_WIDE, false)] {
            let mut backlog = Backlog::with(20, range_bytes);
            backlog.set(Left { deliveries: 1, ranges: 1000 }, share);
            assert_eq!(backlog.has_room(), has_room, "{backlog:?}");
        }
    }
}
