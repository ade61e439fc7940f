//! Which positions of a delivery stream's sources are still needed, and so where its checkpoints are.
//!
//! Pure: no I/O, no clock. Always true: the checkpoint of a source partition is the lowest position that some unsettled
//! holder (an open buffer or a journalled delivery) still needs, and where nobody needs any, the position read up to.
//! Holders settle in any order; a checkpoint never moves back, and never passes a record that is not settled.

use std::collections::{BTreeMap, BTreeSet};

use crate::positions::RecordSet;
use crate::record::{PartitionId, Position, PositionRange};

/// An open buffer or a delivery that was made from one: the same id from the first record to the settlement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HolderId(pub u64);

#[derive(Debug, Default)]
pub struct Ledger {
    partitions: BTreeMap<PartitionId, Progress>,
    /// For each holder the lowest position that it needs in each partition.
    holders: BTreeMap<HolderId, BTreeMap<PartitionId, Position>>,
}

#[derive(Debug, Default)]
struct Progress {
    read: Position,
    needed: BTreeSet<(Position, HolderId)>,
}

/// A source sent records that do not follow the ones before.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("records of partition {} begin at {found} where {expected} was due", partition.0)]
pub struct OutOfOrder {
    pub partition: PartitionId,
    pub expected: Position,
    pub found: Position,
}

impl Progress {
    fn checkpoint(&self) -> Position {
        self.needed.first().map_or(self.read, |&(position, _)| position.min(self.read))
    }
}

impl Ledger {
    /// Begins with a partition that will be read from `checkpoint` on. A partition that is known stays as it is.
    pub fn open(&mut self, partition: PartitionId, checkpoint: Position) {
        self.partitions.entry(partition).or_insert(Progress { read: checkpoint, needed: BTreeSet::new() });
    }

    /// The partition will not be read again, and nobody holds any of it.
    pub fn close(&mut self, partition: PartitionId) {
        self.partitions.remove(&partition);
    }

    /// The positions of `range` have been read and handed to their holders, or need none.
    pub fn read(&mut self, partition: PartitionId, range: PositionRange) -> Result<(), OutOfOrder> {
        let progress = self.partitions.entry(partition).or_default();
        if progress.read != range.start {
            return Err(OutOfOrder { partition, expected: progress.read, found: range.start });
        }
        progress.read = range.end;
        Ok(())
    }

    /// `holder` needs `range` until it is settled.
    pub fn hold(&mut self, holder: HolderId, partition: PartitionId, range: PositionRange) {
        let needs = self.holders.entry(holder).or_default();
        if needs.get(&partition).is_some_and(|&lowest| lowest <= range.start) {
            return;
        }
        let progress = self.partitions.entry(partition).or_default();
        if let Some(before) = needs.insert(partition, range.start) {
            progress.needed.remove(&(before, holder));
        }
        progress.needed.insert((range.start, holder));
    }

    /// `holder` needs all of `set`: a delivery found in the journal.
    pub fn hold_all(&mut self, holder: HolderId, set: &RecordSet) {
        for (partition, ranges) in set.iter() {
            if let Some(first) = ranges.first() {
                self.hold(holder, partition, first);
            }
        }
    }

    /// `holder` needs nothing any more. Returns the partitions whose checkpoint has moved.
    pub fn settle(&mut self, holder: HolderId) -> Vec<PartitionId> {
        let mut moved = Vec::new();
        for (partition, position) in self.holders.remove(&holder).unwrap_or_default() {
            let Some(progress) = self.partitions.get_mut(&partition) else { continue };
            let before = progress.checkpoint();
            progress.needed.remove(&(position, holder));
            if progress.checkpoint() > before {
                moved.push(partition);
            }
        }
        moved
    }

    /// The position from which `partition` would have to be read again.
    pub fn checkpoint(&self, partition: PartitionId) -> Position {
        self.partitions.get(&partition).map(Progress::checkpoint).unwrap_or_default()
    }

    /// The position up to which `partition` has been read.
    pub fn read_to(&self, partition: PartitionId) -> Position {
        self.partitions.get(&partition).map(|progress| progress.read).unwrap_or_default()
    }

    /// The holder that has been needed for the longest time: none that is newer can be the first to hold a checkpoint back.
    pub fn oldest_holder(&self) -> Option<HolderId> {
        self.holders.first_key_value().map(|(&holder, _)| holder)
    }

    /// Whether everything that was read of `partition` is settled.
    pub fn is_settled(&self, partition: PartitionId) -> bool {
        self.partitions.get(&partition).is_none_or(|progress| progress.needed.is_empty())
    }

    pub fn partitions(&self) -> impl Iterator<Item = PartitionId> {
        self.partitions.keys().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Every single position with the holders that need it.
    #[derive(Default)]
    struct Naive {
        read: BTreeMap<i64, u64>,
        needs: Vec<(i64, u64, u64)>, // partition, position, holder
    }

    impl Naive {
        fn checkpoint(&self, partition: i64) -> u64 {
            let needed = self.needs.iter().filter(|(p, _, _)| *p == partition).map(|(_, position, _)| *position);
            needed.chain([self.read.get(&partition).copied().unwrap_or(0)]).min().unwrap_or(0)
        }
    }

    #[derive(Debug, Clone)]
    enum Step {
        Read { partition: i64, length: u64, holders: Vec<u64> },
        Settle(u64),
        Again { partition: i64, holder: u64 },
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (1i64..4, 1u64..6, proptest::collection::vec(0u64..12, 0..3))
                .prop_map(|(partition, length, holders)| Step::Read { partition, length, holders }),
            2 => (0u64..12).prop_map(Step::Settle),
            1 => (1i64..4, 0u64..12).prop_map(|(partition, holder)| Step::Again { partition, holder }),
        ]
    }

    proptest! {
        #[test]
        fn checkpoint_is_the_lowest_needed_position(steps in proptest::collection::vec(step(), 1..80)) {
            let (mut ledger, mut naive) = (Ledger::default(), Naive::default());
            for step in steps {
                let before: Vec<u64> = (1..4).map(|p| naive.checkpoint(p)).collect();
                match step {
                    Step::Read { partition, length, holders } => {
                        let start = naive.read.get(&partition).copied().unwrap_or(0);
                        let range = PositionRange::new(start, start + length);
                        for holder in holders {
                            ledger.hold(HolderId(holder), PartitionId(partition), range);
                            naive.needs.extend((start..start + length).map(|at| (partition, at, holder)));
                        }
                        ledger.read(PartitionId(partition), range).unwrap();
                        naive.read.insert(partition, start + length);
                    }
                    Step::Settle(holder) => {
                        let moved = ledger.settle(HolderId(holder));
                        naive.needs.retain(|(_, _, h)| *h != holder);
                        for p in 1..4 {
                            let has_moved = naive.checkpoint(p) > before[p as usize - 1];
                            prop_assert_eq!(moved.contains(&PartitionId(p)), has_moved);
                        }
                    }
                    Step::Again { partition, holder } => {
                        let start = naive.read.get(&partition).copied().unwrap_or(0);
                        let wrong = PositionRange::new(start + 1, start + 2);
                        prop_assert!(ledger.read(PartitionId(partition), wrong).is_err());
                        let mut set = RecordSet::default();
                        if let Some((_, at, _)) = naive.needs.iter().find(|(p, _, h)| *p == partition && *h == holder) {
                            set.add(PartitionId(partition), PositionRange::new(*at, at + 1));
                        }
                        ledger.hold_all(HolderId(holder), &set); // what it holds already changes nothing
                    }
                }
                for p in 1..4 {
                    prop_assert_eq!(ledger.checkpoint(PartitionId(p)).offset(), naive.checkpoint(p));
                    prop_assert!(naive.checkpoint(p) >= before[p as usize - 1], "a checkpoint moved back");
                    let idle = !naive.needs.iter().any(|(q, _, _)| *q == p);
                    prop_assert_eq!(ledger.is_settled(PartitionId(p)), idle);
                }
            }
        }
    }
}
