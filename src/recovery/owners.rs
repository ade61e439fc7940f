//! Who holds which records above the checkpoints.
//!
//! Pure. Always true: every position has the owners that the journal's deliveries gave it, and none before it was forgotten.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::position::Kept;
use crate::positions::RecordSet;
use crate::record::{PartitionId, Position, PositionRange};

use super::held::{Held, HeldPart, MadeBy, Owner};

/// What of a record a delivery holds. A record that processing made several of may have gone to several outputs, and each asks on
/// its own.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    Delivered,
    Failed,
    Copied,
    /// Of a record that became several, what went to this output; the others went elsewhere.
    Partly(MadeBy, Arc<str>),
}

/// By the first position of a range: its end and its owner. Ranges do not overlap.
type Ranges<P> = BTreeMap<P, (P, Owner)>;

/// The ranges of one part, of a file as long as all of them are.
#[derive(Debug)]
enum Known {
    Offsets(Ranges<u64>),
    Positions(Ranges<Position>),
}

/// The owners of all records above the checkpoints.
#[derive(Debug, Default)]
pub struct Owners {
    by_partition: HashMap<PartitionId, BTreeMap<Part, Known>>,
}

impl Owners {
    /// What one delivery holds: `part` of the records in `set`. No other delivery holds the same part of any of them.
    pub fn add(&mut self, part: Part, set: &RecordSet, owner: Owner) {
        for (partition, ranges) in set.iter() {
            let known = self.by_partition.entry(partition).or_default().entry(part.clone()).or_default();
            ranges.iter().for_each(|range| known.insert(range, owner));
        }
    }

    /// The owner of one part of the record at `position`, and the position up to which that holds.
    pub fn at(&self, part: &Part, partition: PartitionId, position: Position) -> (Option<Owner>, Position) {
        let known = self.by_partition.get(&partition).and_then(|parts| parts.get(part));
        known.map_or((None, Position::MAX), |known| known.at(position))
    }

    /// All who hold the record at `position`, and the position up to which that holds.
    pub fn held(&self, partition: PartitionId, position: Position) -> (Held, Position) {
        let (mut held, mut until) = (Held::default(), Position::MAX);
        for (part, known) in self.by_partition.get(&partition).into_iter().flatten() {
            let (owner, part_until) = known.at(position);
            until = until.min(part_until);
            match part {
                Part::Delivered => held.delivered = owner,
                Part::Failed => held.failed = owner,
                Part::Copied => {}
                Part::Partly(made_by, output) => {
                    let part = |owner| HeldPart { made_by: *made_by, output: output.clone(), owner };
                    held.parts.extend(owner.map(part));
                }
            }
        }
        (held, until)
    }

    /// Nothing before `position` is asked for any more.
    pub fn forget_before(&mut self, partition: PartitionId, position: Position) {
        let Some(parts) = self.by_partition.get_mut(&partition) else { return };
        for known in parts.values_mut() {
            known.forget_before(position);
        }
        parts.retain(|_, known| !known.is_empty());
        if parts.is_empty() {
            self.by_partition.remove(&partition);
        }
    }

    /// What lay at `from` and behind it is gone; what comes there now is new.
    pub fn truncate(&mut self, partition: PartitionId, from: Position) {
        for known in self.by_partition.get_mut(&partition).into_iter().flat_map(BTreeMap::values_mut) {
            known.truncate(from);
        }
    }

    /// What pending deliveries held of `partition` is new, should it come back.
    pub fn forget_pending(&mut self, partition: PartitionId) {
        for known in self.by_partition.get_mut(&partition).into_iter().flat_map(BTreeMap::values_mut) {
            known.forget_pending();
        }
    }

    /// Whether every record is new.
    pub fn is_empty(&self) -> bool {
        self.by_partition.is_empty()
    }

    /// How many ranges there are.
    pub fn ranges(&self) -> usize {
        self.by_partition.values().flat_map(BTreeMap::values).map(Known::len).sum()
    }
}

impl Default for Known {
    fn default() -> Self {
        Self::Offsets(BTreeMap::new())
    }
}

/// The same on whichever ranges there are.
macro_rules! on_ranges {
    ($known:expr, $ranges:ident => $result:expr) => {
        match $known {
            Known::Offsets($ranges) => $result,
            Known::Positions($ranges) => $result,
        }
    };
}

impl Known {
    fn insert(&mut self, range: PositionRange, owner: Owner) {
        let PositionRange { start, end } = range;
        match self {
            Self::Offsets(ranges) if end.is_offset() => {
                ranges.insert(start.offset(), (end.offset(), owner));
            }
            Self::Offsets(ranges) => {
                let wide = ranges.iter().map(|(start, (end, owner))| (start.position(), (end.position(), *owner)));
                *self = Self::Positions(wide.chain([(start, (end, owner))]).collect());
            }
            Self::Positions(ranges) => {
                ranges.insert(start, (end, owner));
            }
        }
    }

    fn at(&self, position: Position) -> (Option<Owner>, Position) {
        on_ranges!(self, ranges => owner_at(ranges, position))
    }

    fn forget_before(&mut self, position: Position) {
        on_ranges!(self, ranges => forget_before(ranges, position));
    }

    fn truncate(&mut self, from: Position) {
        on_ranges!(self, ranges => truncate(ranges, from));
    }

    fn forget_pending(&mut self) {
        on_ranges!(self, ranges => ranges.retain(|_, (_, owner)| *owner == Owner::Settled));
    }

    fn len(&self) -> usize {
        on_ranges!(self, ranges => ranges.len())
    }

    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

fn owner_at<P: Kept>(ranges: &Ranges<P>, position: Position) -> (Option<Owner>, Position) {
    let position = P::of(position);
    if let Some((_, &(end, owner))) = ranges.range(..=position).next_back()
        && position < end
    {
        return (Some(owner), end.position());
    }
    (None, ranges.range(position..).next().map_or(Position::MAX, |(start, _)| start.position()))
}

fn forget_before<P: Kept>(ranges: &mut Ranges<P>, position: Position) {
    let position = P::of(position);
    while ranges.first_key_value().is_some_and(|(_, (end, _))| *end <= position) {
        ranges.pop_first();
    }
}

fn truncate<P: Kept>(ranges: &mut Ranges<P>, from: Position) {
    let from = P::of(from);
    ranges.retain(|&start, (end, _)| {
        *end = (*end).min(from);
        start < *end
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::DeliveryRowId;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_position_has_the_owner_that_was_added(
            steps in proptest::collection::vec((0u64..5, 1u64..6, any::<bool>()), 0..12),
            forget in 0u64..80,
            truncate in 0u64..80,
        ) {
            let file = PartitionId(3);
            let mut owners = Owners::default();
            let mut naive = vec![None; 200];
            let mut at = 0;
            for (index, (gap, length, is_settled)) in steps.into_iter().enumerate() {
                let range = PositionRange::new(at + gap, at + gap + length);
                at = range.end.offset();
                let owner = if is_settled { Owner::Settled } else { Owner::Pending(DeliveryRowId(index as i64)) };
                let mut set = RecordSet::default();
                set.add(file, range);
                owners.add(Part::Delivered, &set, owner);
                naive[range.start.offset() as usize..range.end.offset() as usize].fill(Some(owner));
            }
            owners.forget_before(file, Position::at(forget));
            owners.truncate(file, Position::at(truncate));
            naive[truncate as usize..].fill(None);
            let mut position = forget;
            while position < 150 {
                let (owner, until) = owners.at(&Part::Delivered, file, Position::at(position));
                prop_assert!(until.offset() > position);
                for p in position..until.offset().min(150) {
                    prop_assert_eq!(owner, naive[p as usize], "at {}", p);
                }
                position = until.offset();
            }
            prop_assert_eq!(owners.at(&Part::Copied, file, Position::at(0)).0, None);
        }
    }
}
