//! Failed records on their way from lines into chunks.
//!
//! Pure. Always true: what is taken out covers one unbroken range of positions, and its records come in at the same stage. Each
//! record's range is its line.

use crate::error_type::METADATA_FAILED;
use crate::record::{Earlier, OldId};

use super::envelope::{Entry, Failed};

/// Records of lines that follow each other.
#[derive(Debug, Default)]
pub struct Gathered {
    /// Of the first line, and of what comes behind the last one.
    pub start: u64,
    pub end: u64,
    pub data: Vec<u8>,
    pub ends: Vec<u32>,
    /// Behind each line, counted from `start`.
    pub source_ends: Vec<u64>,
    pub earlier: Vec<Earlier>,
    /// All steps of processing are behind them.
    pub is_processed: bool,
}

/// Whether a record comes in behind all steps. With `needs_keys` what could not be placed is processed again.
pub fn is_processed(failed: &Failed, needs_keys: bool) -> bool {
    match failed.entry {
        Entry::Processing => false,
        Entry::Partitioning => !(needs_keys && failed.error_type == METADATA_FAILED),
        Entry::Destination => true,
    }
}

impl Gathered {
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    pub fn records(&self) -> usize {
        self.ends.len()
    }

    /// Whether a record of the line at `start` belongs to those that are here.
    pub fn goes_on(&self, start: u64, is_processed: bool) -> bool {
        self.is_empty() || (self.end == start && self.is_processed == is_processed)
    }

    /// Adds the record of the line from `start` to `end`, which goes on with those that are here.
    pub fn push(&mut self, start: u64, end: u64, is_processed: bool, failed: Failed) {
        if self.is_empty() {
            (self.start, self.is_processed) = (start, is_processed);
        }
        self.data.extend_from_slice(&failed.raw);
        self.ends.push(self.data.len() as u32);
        self.source_ends.push(end - self.start);
        let Failed { attempts, arrival_ms, old, .. } = failed;
        self.earlier.push(Earlier { attempts, arrival_ms, id: old });
        self.end = end;
    }

    /// Bytes of memory, so far as they grow with the records.
    pub fn memory(&self) -> u64 {
        let ids = self.earlier.iter().filter_map(|earlier| earlier.id.as_ref()).map(OldId::bytes).sum::<usize>();
        let each = size_of::<u32>() + size_of::<u64>() + size_of::<Earlier>();
        (self.data.capacity() + ids + each * self.earlier.capacity()) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(entry: Entry, error_type: &'static str, raw: &str) -> Failed {
        let raw = raw.as_bytes().to_vec();
        Failed { entry, error_type, code: String::new(), attempts: 2, arrival_ms: 7, raw, old: None }
    }

    #[test]
    fn a_record_comes_in_where_it_failed() {
        for (entry, error_type, plainly, with_keys) in [
            (Entry::Processing, "processing-failed", false, false),
            (Entry::Partitioning, "metadata-extraction-failed", true, false),
            (Entry::Partitioning, "format-conversion-failed", true, true),
            (Entry::Destination, "http-endpoint-failed", true, true),
        ] {
            let failed = failed(entry, error_type, "");
            assert_eq!(
                (is_processed(&failed, false), is_processed(&failed, true)),
                (plainly, with_keys),
                "{error_type}"
            );
        }
    }

    #[test]
    fn records_are_together_until_a_gap_or_another_stage() {
        let mut gathered = Gathered::default();
        assert!(gathered.goes_on(100, true));
        gathered.push(100, 140, true, failed(Entry::Destination, "", "abc"));
        assert!(gathered.goes_on(140, true) && !gathered.goes_on(140, false) && !gathered.goes_on(141, true));
        gathered.push(140, 150, true, failed(Entry::Destination, "", ""));
        assert_eq!((gathered.start, gathered.end, gathered.records()), (100, 150, 2));
        assert_eq!(
            (&gathered.data[..], &gathered.ends[..], &gathered.source_ends[..]),
            (&b"abc"[..], &[3, 3][..], &[40, 50][..])
        );
        assert_eq!(gathered.earlier[1], Earlier { attempts: 2, arrival_ms: 7, id: None });
    }
}
