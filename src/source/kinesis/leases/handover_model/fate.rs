//! What has become of each record, and what is wrong about it.

use std::collections::BTreeMap;

use super::table::COPIES;
use super::world::{Record, World};

impl World {
    /// Whoever reads a child finds all records of its parents where they belong.
    pub(super) fn expect_parents(&mut self, shard: usize) {
        let found = self.found(false);
        for &parent in &self.shards[shard].parents {
            let is_missing = |record: &u64| {
                let record = (parent, *record);
                !found.contains_key(&record) && !self.dropped.contains(&record) && !self.by_java.contains(&record)
            };
            if (self.shards[parent].start..self.shards[parent].records).any(|record| is_missing(&record)) {
                self.wrong = Some(format!("shard {shard} is read before its parent {parent} is delivered"));
            }
        }
    }

    /// How often each record is in the outputs of fates, or has been copied.
    fn found(&self, is_copied: bool) -> BTreeMap<Record, u32> {
        let mut found = BTreeMap::new();
        let objects = self.objects.values().chain(&self.taken_away);
        for object in objects.filter(|object| (object.output == COPIES) == is_copied) {
            for &record in &object.records {
                *found.entry((object.shard, record)).or_default() += 1;
            }
        }
        found
    }

    /// What is wrong in the end; `None` if nothing is.
    pub(super) fn wrong(&self) -> Option<String> {
        if self.wrong.is_some() {
            return self.wrong.clone();
        }
        if self.objects.values().chain(&self.taken_away).any(|object| !object.records.is_sorted()) {
            return Some("an object is out of order".to_owned());
        }
        let (found, copies) = (self.found(false), self.found(true));
        for (number, shard) in self.shards.iter().enumerate() {
            for record in (shard.start..shard.records).map(|record| (number, record)) {
                if self.dropped.contains(&record) && !self.droppable.contains(&record) {
                    return Some(format!("{record:?} is taken for dropped"));
                }
                let is_dropped = self.dropped.contains(&record);
                let fates = found.get(&record).copied().unwrap_or(0) + u32::from(is_dropped);
                let copies = copies.get(&record).copied().unwrap_or(0);
                for times in [Some(fates), self.has_copies.then_some(copies)].into_iter().flatten() {
                    match times {
                        0 if !self.by_java.contains(&record) => return Some(format!("{record:?} is lost")),
                        2.. if !self.given_up.contains(&record) => return Some(format!("{record:?} is doubled")),
                        _ => {}
                    }
                }
            }
        }
        None
    }
}
