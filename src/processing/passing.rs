//! Records between two steps: each with the source record it was made from and its partition keys.
//!
//! Invariant: sources never descend, and there is one source and one set of keys for each record.

use std::sync::Arc;

use crate::memory::blocks;

use super::wasm::Record;
use super::{Failure, Mark, OUTPUT_BYTES_MAX, Records};

/// Names and values for the destination's prefix, each name once.
pub type PartitionKeys = Vec<(String, String)>;

/// Records on their way through the steps of a stream.
#[derive(Default)]
pub struct Passing {
    pub records: Records,
    /// Indices in the chunk.
    pub sources: Vec<u32>,
    /// `None` where no step has set any.
    pub keys: Vec<Option<Arc<PartitionKeys>>>,
    /// Of all keys that were set here.
    key_bytes: usize,
}

/// What a record costs beside its bytes: its end, its source, its keys' place, and a view of it for the next step.
const RECORD_BYTES: usize = 64;

/// What of a source record has failed, with the bytes that the failing step had got.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedPart {
    pub source: u32,
    pub data: Vec<u8>,
    pub failure: Failure,
}

impl Passing {
    /// Makes room for about so many bytes as `given` has, where there is no record yet.
    pub fn reserve(&mut self, given: &[Record<'_>]) {
        let bytes: usize = given.iter().map(|record| record.data.len()).sum();
        if self.records.is_empty() {
            let old = std::mem::replace(self.records.buffer(), blocks::take(bytes + bytes / 8));
            blocks::give_back(old);
        }
    }

    pub fn push(&mut self, record: &[u8], source: u32, keys: Option<Arc<PartitionKeys>>) -> Result<(), Failure> {
        self.records.push(record)?;
        self.name_last(source, keys);
        Ok(())
    }

    /// Takes all records of a step at once, as the first ones: `data` has them end to end.
    pub fn begin_with(
        &mut self,
        data: Vec<u8>,
        ends: Vec<u32>,
        named: impl Iterator<Item = (u32, Option<Arc<PartitionKeys>>)>,
    ) {
        blocks::give_back(std::mem::take(self.records.buffer()));
        self.records = Records::of_parts(data, ends);
        (self.sources, self.keys) = named.unzip();
    }

    /// Says for all records that were appended to `records` since the last call where they come from.
    pub fn name_last(&mut self, source: u32, keys: Option<Arc<PartitionKeys>>) {
        let records = self.records.len();
        self.sources.resize(records, source);
        self.keys.resize(records, keys);
    }

    /// Counts keys that a step has made for one record.
    pub fn add_key_bytes(&mut self, keys: &PartitionKeys) {
        self.key_bytes += keys.iter().map(|(name, value)| name.len() + value.len() + RECORD_BYTES).sum::<usize>();
    }

    /// Whether more has been made than may be held, however small the records are.
    pub fn is_too_large(&self) -> bool {
        self.records.bytes() + self.key_bytes + self.sources.len() * RECORD_BYTES > OUTPUT_BYTES_MAX
    }

    pub fn mark(&self) -> Mark {
        self.records.mark()
    }

    /// Forgets everything that was appended since `mark`.
    pub fn truncate(&mut self, mark: Mark) {
        self.records.truncate(mark);
        self.sources.truncate(self.records.len());
        self.keys.truncate(self.records.len());
    }

    /// Each record's bytes, source and keys.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], u32, &Option<Arc<PartitionKeys>>)> {
        let named = self.sources.iter().copied().zip(&self.keys);
        self.records.iter().zip(named).map(|(record, (source, keys))| (record, source, keys))
    }
}

impl Drop for Passing {
    fn drop(&mut self) {
        blocks::give_back(std::mem::take(self.records.buffer()));
    }
}

/// The keys that a record has after a step has set `new` ones: they replace those of the same name.
pub fn merged(old: Option<&Arc<PartitionKeys>>, new: Vec<(String, String)>) -> Option<Arc<PartitionKeys>> {
    if new.is_empty() {
        return old.cloned();
    }
    let mut keys: PartitionKeys = old.map_or_else(Vec::new, |old| old.to_vec());
    for (name, value) in new {
        match keys.iter_mut().find(|(known, _)| *known == name) {
            Some(known) => known.1 = value,
            None => keys.push((name, value)),
        }
    }
    Some(Arc::new(keys))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_without_a_byte_and_keys_count_too() {
        let mut passing = Passing::default();
        let records = OUTPUT_BYTES_MAX / RECORD_BYTES;
        (0..records).for_each(|_| passing.push(b"", 0, None).unwrap());
        assert!(!passing.is_too_large());
        passing.add_key_bytes(&vec![(String::from("a"), String::new())]);
        assert!(passing.is_too_large());
    }

    #[test]
    fn keys_stay_unless_they_are_replaced() {
        let pairs =
            |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect::<Vec<_>>();
        let first = merged(None, pairs(&[("a", "1"), ("b", "2"), ("a", "3")]));
        assert_eq!(*first.clone().unwrap(), pairs(&[("a", "3"), ("b", "2")]));
        let second = merged(first.as_ref(), pairs(&[("b", "x"), ("c", "y")]));
        assert_eq!(*second.unwrap(), pairs(&[("a", "3"), ("b", "x"), ("c", "y")]));
        assert!(merged(None, Vec::new()).is_none());
    }
}
