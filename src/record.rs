//! Records on their way: chunks of them, where they came from, and which positions they cover.
//!
//! Records never travel one by one. A [`Chunk`] is one contiguous buffer with the ends of its records, and it covers one
//! unbroken range of positions of one source partition. Nothing in this module knows what a source or a destination is.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;

/// A place in a source partition, ordered as the source is read: for a file, a byte offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Position(pub u64);

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Positions from `start` up to, but without, `end`. Never empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PositionRange {
    pub start: Position,
    pub end: Position,
}

impl PositionRange {
    pub fn new(start: u64, end: u64) -> Self {
        debug_assert!(start < end, "an empty range of positions");
        Self { start: Position(start), end: Position(end) }
    }
}

/// The journal's number for a source partition: one file of one delivery stream, from its creation to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PartitionId(pub i64);

/// What the rest of the code may ask of a source partition that is being read.
pub trait SourcePartition: Send + Sync {
    /// The journal's number for it.
    fn id(&self) -> PartitionId;
    /// A name for people, for example the file's path.
    fn name(&self) -> String;
    /// What the source wants to find beside the checkpoint when it looks for this partition again; `None` leaves what is
    /// stored as it is. For a file: hashes of its first bytes and of those before `checkpoint`.
    fn evidence(&self, checkpoint: Position) -> Option<String>;
    /// How much of it has been read by now, with the hash by which a copy of that is known; `None` where there is none.
    fn read_so_far(&self) -> Option<(Position, String)> {
        None
    }
    /// Everything before `checkpoint` is settled: the source may let go of it.
    fn settled(&self, checkpoint: Position);
}

/// Some records of one source partition, in order and without a gap.
#[derive(Clone)]
pub struct Chunk {
    pub partition: Arc<dyn SourcePartition>,
    /// Position of the first byte of `data`.
    pub start: Position,
    /// Records with their delimiters, end to end.
    pub data: Bytes,
    /// For each record the offset in `data` just behind its delimiter; the last one is `data.len()`. Never empty.
    pub ends: Arc<Vec<u32>>,
    /// Length of the delimiter at the end of each record.
    pub delimiter_len: u32,
    /// Whether the last record ends without a delimiter, as the last line of a file may.
    pub last_is_bare: bool,
    /// When the records were read: Firehose's approximate arrival time.
    pub arrival: Timestamp,
    /// Memory that this chunk holds; given back when the last clone is dropped.
    pub permit: Arc<crate::memory::Permit>,
}

impl Chunk {
    pub fn records(&self) -> usize {
        self.ends.len()
    }

    /// Offset in `data` at which record `index` begins.
    pub fn record_start(&self, index: usize) -> u32 {
        if index == 0 { 0 } else { self.ends[index - 1] }
    }

    /// The positions that the records `from..to` cover.
    pub fn range(&self, from: usize, to: usize) -> PositionRange {
        let base = self.start.0;
        PositionRange::new(base + u64::from(self.record_start(from)), base + u64::from(self.ends[to - 1]))
    }

    /// The records `from..to` with their delimiters.
    pub fn bytes(&self, from: usize, to: usize) -> Bytes {
        self.data.slice(self.record_start(from) as usize..self.ends[to - 1] as usize)
    }
}

/// A record that is longer than the source's limit; only its beginning is kept.
#[derive(Clone)]
pub struct OversizeRecord {
    pub partition: Arc<dyn SourcePartition>,
    /// The whole record with its delimiter.
    pub range: PositionRange,
    /// The record's first bytes, as many as the limit allows.
    pub head: Bytes,
    /// The record's length without its delimiter, in bytes.
    pub length: u64,
    pub arrival: Timestamp,
    pub permit: Arc<crate::memory::Permit>,
}
