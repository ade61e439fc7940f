//! Who holds which records above the checkpoints.
//!
//! Pure. Always true: every position has the owners that the journal's deliveries gave it, and none before it was forgotten.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::positions::RecordSet;
use crate::record::{PartitionId, Position};

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
type Ranges = BTreeMap<u64, (u64, Owner)>;

/// The owners of all records above the checkpoints.
#[derive(Debug, Default)]
pub struct Owners {
    by_partition: HashMap<PartitionId, BTreeMap<Part, Ranges>>,
}

impl Owners {
    /// What one delivery holds: `part` of the records in `set`. No other delivery holds the same part of any of them.
    pub fn add(&mut self, part: Part, set: &RecordSet, owner: Owner) {
        for (partition, ranges) in set.iter() {
            let known = self.by_partition.entry(partition).or_default().entry(part.clone()).or_default();
            known.extend(ranges.iter().map(|range| (range.start.0, (range.end.0, owner))));
        }
    }

    /// The owner of one part of the record at `position`, and the position up to which that holds.
    pub fn at(&self, part: &Part, partition: PartitionId, position: Position) -> (Option<Owner>, Position) {
        let known = self.by_partition.get(&partition).and_then(|parts| parts.get(part));
        known.map_or((None, Position(u64::MAX)), |known| owner_at(known, position))
    }

    /// All who hold the record at `position`, and the position up to which that holds.
    pub fn held(&self, partition: PartitionId, position: Position) -> (Held, Position) {
        let (mut held, mut until) = (Held::default(), Position(u64::MAX));
        for (part, known) in self.by_partition.get(&partition).into_iter().flatten() {
            let (owner, part_until) = owner_at(known, position);
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
            while known.first_key_value().is_some_and(|(_, (end, _))| *end <= position.0) {
                known.pop_first();
            }
        }
        parts.retain(|_, known| !known.is_empty());
        if parts.is_empty() {
            self.by_partition.remove(&partition);
        }
    }

    /// What lay at `from` and behind it is gone; what comes there now is new.
    pub fn truncate(&mut self, partition: PartitionId, from: Position) {
        for known in self.by_partition.get_mut(&partition).into_iter().flat_map(BTreeMap::values_mut) {
            known.retain(|&start, (end, _)| {
                *end = (*end).min(from.0);
                start < *end
            });
        }
    }

    /// What pending deliveries held of `partition` is new, should it come back.
    pub fn forget_pending(&mut self, partition: PartitionId) {
        for known in self.by_partition.get_mut(&partition).into_iter().flat_map(BTreeMap::values_mut) {
            known.retain(|_, (_, owner)| *owner == Owner::Settled);
        }
    }

    /// Whether every record is new.
    pub fn is_empty(&self) -> bool {
        self.by_partition.is_empty()
    }

    /// How many ranges there are.
    pub fn ranges(&self) -> usize {
        self.by_partition.values().flat_map(BTreeMap::values).map(BTreeMap::len).sum()
    }
}

fn owner_at(known: &Ranges, position: Position) -> (Option<Owner>, Position) {
    if let Some((_, &(end, owner))) = known.range(..=position.0).next_back()
        && position.0 < end
    {
        return (Some(owner), Position(end));
    }
    let next = known.range(position.0..).next().map_or(Position(u64::MAX), |(&start, _)| Position(start));
    (None, next)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::DeliveryRowId;
    use crate::record::PositionRange;
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
                at = range.end.0;
                let owner = if is_settled { Owner::Settled } else { Owner::Pending(DeliveryRowId(index as i64)) };
                let mut set = RecordSet::default();
                set.add(file, range);
                owners.add(Part::Delivered, &set, owner);
                naive[range.start.0 as usize..range.end.0 as usize].fill(Some(owner));
            }
            owners.forget_before(file, Position(forget));
            owners.truncate(file, Position(truncate));
            naive[truncate as usize..].fill(None);
            let mut position = forget;
            while position < 150 {
                let (owner, until) = owners.at(&Part::Delivered, file, Position(position));
                prop_assert!(until.0 > position);
                for p in position..until.0.min(150) {
                    prop_assert_eq!(owner, naive[p as usize], "at {}", p);
                }
                position = until.0;
            }
            prop_assert_eq!(owners.at(&Part::Copied, file, Position(0)).0, None);
        }
    }
}
