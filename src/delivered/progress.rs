//! How far one delivery stream has come with one file.
//!
//! Pure. Always true: every position of the file has exactly one state, and is delivered only if nothing that the journal
//! holds contradicts it: a pending delivery outweighs a settled one, and with copies in a backup both must be settled.

use crate::journal::{FileRow, Held, Kind};
use crate::record::PositionRange;

/// What became of some positions of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// The destination, or the error output, has acknowledged it, and its copy if one is made.
    Delivered,
    /// Never read: `initial_position: latest` has begun behind it.
    Skipped,
    /// In a journalled delivery that is not settled.
    InFlight,
    /// All else: not read, or in an open buffer.
    Unread,
}

/// Positions in the same state. Their ends are the ends of records, but for that of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    pub range: PositionRange,
    pub state: State,
}

/// One file as one delivery stream has read it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// Bytes in the file, without the NULs behind its text.
    pub size: u64,
    /// Everything before it is settled, but for what was skipped, and what another partition owes.
    pub checkpoint: u64,
    /// In order and without a gap, from 0 to `size`.
    pub parts: Vec<Part>,
}

/// How many deliveries of each kind hold a position.
#[derive(Default)]
struct Holders {
    pending: i64,
    settled_fate: i64,
    settled_copy: i64,
}

impl Progress {
    /// Of a file of `size` bytes. `needs_copies` where a backup takes every record too.
    pub fn new(row: &FileRow, size: u64, needs_copies: bool) -> Self {
        let checkpoint = row.checkpoint.offset().min(size);
        let mut progress = Self { size, checkpoint, parts: Vec::new() };
        let skipped = row.skipped.offset().min(checkpoint);
        let owed = row.owed.offset().clamp(skipped, checkpoint);
        progress.push(0, skipped, State::Skipped);
        progress.push(skipped, owed, State::Unread);
        progress.push(owed, checkpoint, State::Delivered);
        let (mut at, mut holders) = (checkpoint, Holders::default());
        for (position, change) in borders(&row.held, checkpoint, size) {
            progress.push(at, position, holders.state(needs_copies));
            at = position;
            holders.change(change);
        }
        progress.push(at, size, holders.state(needs_copies));
        progress
    }

    /// Whether all of it is delivered: the checkpoint is at its end. That settled deliveries hold all the rest is not
    /// enough, as what was made from one record may lie in several of them.
    pub fn is_complete(&self) -> bool {
        self.checkpoint == self.size && self.parts.iter().all(|part| part.state == State::Delivered)
    }

    /// Bytes in this state.
    pub fn bytes(&self, state: State) -> u64 {
        let parts = self.parts.iter().filter(|part| part.state == state);
        parts.map(|part| part.range.end.offset() - part.range.start.offset()).sum()
    }

    fn push(&mut self, start: u64, end: u64, state: State) {
        if start < end {
            self.parts.push(Part { range: PositionRange::new(start, end), state });
        }
    }
}

/// A holder that begins (1) or ends (-1) at a position.
struct Change<'a> {
    held: &'a Held,
    by: i64,
}

/// Where holders begin and end behind the checkpoint, in order.
fn borders(held: &[Held], checkpoint: u64, size: u64) -> Vec<(u64, Change<'_>)> {
    let mut borders = Vec::new();
    for held in held {
        for range in &held.ranges {
            let clip = |position: u64| position.clamp(checkpoint, size);
            borders.push((clip(range.start.offset()), Change { held, by: 1 }));
            borders.push((clip(range.end.offset()), Change { held, by: -1 }));
        }
    }
    borders.sort_by_key(|&(position, _)| position);
    borders
}

impl Holders {
    fn change(&mut self, change: Change<'_>) {
        let count = match (change.held.settled, change.held.kind) {
            (false, _) => &mut self.pending,
            (true, Kind::Fate) => &mut self.settled_fate,
            (true, Kind::Copy) => &mut self.settled_copy,
        };
        *count += change.by;
    }

    fn state(&self, needs_copies: bool) -> State {
        if self.pending > 0 {
            State::InFlight
        } else if self.settled_fate > 0 && (self.settled_copy > 0 || !needs_copies) {
            State::Delivered
        } else {
            State::Unread
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{PartitionId, Position};
    use proptest::prelude::*;

    fn held() -> impl Strategy<Value = Held> {
        let ranges = proptest::collection::vec((0u64..8, 1u64..8), 0..4);
        (any::<bool>(), any::<bool>(), 0u64..50, ranges).prop_map(|(is_copy, settled, start, steps)| {
            let mut at = start;
            let range = |(gap, length): (u64, u64)| {
                let range = PositionRange::new(at + gap, at + gap + length);
                at = range.end.offset();
                range
            };
            let ranges = steps.into_iter().map(range).collect();
            Held { kind: if is_copy { Kind::Copy } else { Kind::Fate }, settled, ranges }
        })
    }

    fn naive(row: &FileRow, position: u64, needs_copies: bool) -> State {
        let holds =
            |held: &&Held| held.ranges.iter().any(|r| r.start.offset() <= position && position < r.end.offset());
        let holders: Vec<&Held> = row.held.iter().filter(holds).collect();
        let is_settled = |kind| holders.iter().any(|held| held.settled && held.kind == kind);
        if position < row.skipped.offset().min(row.checkpoint.offset()) {
            State::Skipped
        } else if position < row.owed.offset().min(row.checkpoint.offset()) {
            State::Unread
        } else if position < row.checkpoint.offset() {
            State::Delivered
        } else if holders.iter().any(|held| !held.settled) {
            State::InFlight
        } else if is_settled(Kind::Fate) && (!needs_copies || is_settled(Kind::Copy)) {
            State::Delivered
        } else {
            State::Unread
        }
    }

    proptest! {
        #[test]
        fn every_position_has_the_state_that_its_holders_give_it(
            held in proptest::collection::vec(held(), 0..6),
            checkpoint in 0u64..60,
            skipped in prop_oneof![Just(0u64), 0u64..70],
            owed in prop_oneof![Just(0u64), 0u64..70],
            size in 0u64..90,
            needs_copies in any::<bool>(),
        ) {
            let evidence = String::new();
            let row = FileRow {
                partition: PartitionId(1),
                stream: "s".into(),
                checkpoint: Position::at(checkpoint),
                skipped: Position::at(skipped),
                owed: Position::at(owed),
                evidence,
                held,
            };
            let progress = Progress::new(&row, size, needs_copies);
            let mut at = 0;
            for part in &progress.parts {
                prop_assert_eq!(part.range.start.offset(), at);
                at = part.range.end.offset();
                for position in part.range.start.offset()..at {
                    prop_assert_eq!(part.state, naive(&row, position, needs_copies), "at {}", position);
                }
            }
            prop_assert_eq!(at, size);
            let states = [State::Delivered, State::Skipped, State::InFlight, State::Unread];
            prop_assert_eq!(states.iter().map(|&state| progress.bytes(state)).sum::<u64>(), size);
            let is_whole = (0..size).all(|position| naive(&row, position, needs_copies) == State::Delivered);
            prop_assert_eq!(progress.is_complete(), checkpoint >= size && is_whole);
        }
    }
}
