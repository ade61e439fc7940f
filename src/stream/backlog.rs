//! How much of a stream the journal may hold before reading waits.
//!
//! Always true: what a next start would have to remember of the deliveries in the journal fits into half of the memory that this
//! stream is guaranteed. So a stream whose records fail in turn, behind a delivery that is stuck, does not take its next life's
//! memory away.

use crate::batches::BATCH_BYTES;
use crate::journal::Left;

/// Deliveries that may be in the journal, settled ones behind one that is stuck included.
pub const DELIVERIES_MAX: u64 = 4096;
/// What a range of the journal takes after a start: with its owner, in the set of its delivery, and as two places where records
/// have to end.
pub const RANGE_BYTES: u64 = 112;
/// Batches of a delivery that is to be formed again take as much as one range.
pub const BATCHES_IN_RANGE: usize = 2;
const _: () = assert!(BATCHES_IN_RANGE as u64 * BATCH_BYTES <= RANGE_BYTES);

/// What the journal holds, against what it may.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Backlog {
    left: Left,
    max: Left,
}

impl Backlog {
    /// Nothing yet, of `deliveries_max`.
    pub fn new(deliveries_max: u64) -> Self {
        Self { left: Left::default(), max: Left { deliveries: deliveries_max, ranges: u64::MAX } }
    }

    /// After a settlement; `share` are the bytes that the stream is guaranteed.
    pub fn set(&mut self, left: Left, share: u64) {
        self.left = left;
        self.max.ranges = share / 2 / RANGE_BYTES;
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
            let mut backlog = Backlog::new(20);
            assert!(backlog.has_room() && !backlog.is_half_full());
            backlog.set(Left { deliveries, ranges }, share);
            assert_eq!((backlog.is_half_full(), backlog.has_room()), (is_half_full, has_room), "{backlog:?}");
        }
    }
}
