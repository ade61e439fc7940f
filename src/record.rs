//! Records on their way: chunks of them, where they came from, and which positions they cover.
//!
//! Records never travel one by one. A [`Chunk`] is one contiguous buffer with the ends of its records, and it covers one
//! unbroken range of positions of one source partition. Nothing in this module knows what a source or a destination is.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::convert::Columns;
use crate::partition::Partition;
pub use crate::position::{Position, PositionRange};

/// The time in whole milliseconds.
pub fn now() -> Timestamp {
    let now = Timestamp::now();
    Timestamp::from_millisecond(now.as_millisecond()).unwrap_or(now)
}

/// The journal's number for a source partition: one file of one delivery stream, from its creation to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PartitionId(pub i64);

/// Why a source partition has no header line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoHeader {
    #[error("the source skips no header lines")]
    NoneSkipped,
    #[error("the header line is longer than 64 KB")]
    TooLong,
}

/// What a source wants to find beside a checkpoint, and where it was taken. The partition may have gone on elsewhere before it
/// is stored: there it would be wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlacedEvidence {
    pub text: String,
    /// As in the journal's row of the partition.
    pub place: String,
    pub device: u64,
    pub inode: u64,
}

/// A shard of a stream, by its names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShardNames {
    pub stream: String,
    pub shard_id: String,
}

/// What the rest of the code may ask of a source partition that is being read.
pub trait SourcePartition: Send + Sync {
    /// The journal's number for it.
    fn id(&self) -> PartitionId;
    /// A name for people, for example the file's path.
    fn name(&self) -> String;
    /// Which shard it is, where the source is a stream.
    fn shard(&self) -> Option<&ShardNames> {
        None
    }
    /// Tells it from all others in every journal; `None` where it has nothing but its number in this one.
    fn identity(&self) -> Option<u64> {
        None
    }
    /// What the source wants to find beside the checkpoint when it looks for this partition again; `None` leaves what is
    /// stored as it is. For a file: hashes of its first bytes and of those before `checkpoint`.
    fn evidence(&self, checkpoint: Position) -> Option<PlacedEvidence>;
    /// How much of it has been read by now, with the hash by which a copy of that is known; `None` where there is none.
    fn read_so_far(&self) -> Option<(Position, String)> {
        None
    }
    /// The last header line that was skipped, as it stands in the source and without its line end, for the names of columns.
    /// It is whole: of a line over 64 KB nothing is kept.
    fn header(&self) -> Result<Bytes, NoHeader> {
        Err(NoHeader::NoneSkipped)
    }
    /// How the source's text is encoded, where the source itself says so (a byte order mark); else the configuration does.
    fn encoding(&self) -> Option<&'static encoding_rs::Encoding> {
        None
    }
    /// Everything before `checkpoint` is settled: the source may let go of it.
    fn settled(&self, checkpoint: Position);
}

/// What is known of a record that had failed before and is sent again.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Earlier {
    /// Attempts that were made with it.
    pub attempts: u32,
    /// When it arrived at first, in milliseconds since 1970.
    pub arrival_ms: i64,
    pub id: Option<OldId>,
}

/// Under which name the destination may know a record already.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum OldId {
    /// An HTTP endpoint's `dataId`.
    Endpoint { data_id: String },
    /// A document, and the index that it was meant for.
    Document {
        /// `None` where the cluster was to make one.
        id: Option<String>,
        index: String,
    },
}

impl OldId {
    /// Bytes of memory beside its own.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Endpoint { data_id } => data_id.len(),
            Self::Document { id, index } => id.as_ref().map_or(0, String::len) + index.len(),
        }
    }
}

impl Earlier {
    /// As it goes with the record: never empty.
    pub fn encode(&self) -> Vec<u8> {
        // Texts and numbers always serialize.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// `None` of no bytes.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }

    /// When the record arrived at first.
    pub fn arrival(&self) -> Option<Timestamp> {
        Timestamp::from_millisecond(self.arrival_ms).ok()
    }
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
    /// Length of the delimiter at the end of each record, in bytes of the source's encoding.
    pub delimiter_len: u32,
    /// Whether the last record ends without a delimiter, as the last line of a file may. Reading again, nothing in the source
    /// may say that a record ends there: the journal keeps the place.
    pub last_is_bare: bool,
    /// Where each record ends in the source, counted from `start`, if that is not where it ends in `data`.
    pub source_ends: Option<SourceEnds>,
    /// What processing has left: `data` holds for each record of the source so many records, none or several too, and
    /// their bytes as they leave, delimiters included.
    pub made: Option<Arc<Vec<u32>>>,
    /// Where each of the records that processing has left ends in `data`, for a destination that takes them one by one.
    pub record_ends: Option<Arc<Vec<u32>>>,
    /// To which partition of the destination each record belongs, where it has such.
    pub partitions: Option<Arc<Partitions>>,
    /// What record format conversion has made of the records, in place of `data`, which is empty then; `ends` still counts the
    /// bytes that the rows were made of.
    pub rows: Option<Arc<Rows>>,
    /// When the records were read: Firehose's approximate arrival time, in whole milliseconds as the journal keeps it.
    pub arrival: Timestamp,
    /// When something of it had failed in processing, now or in an earlier life; in whole milliseconds, too.
    pub failed_at: Option<Timestamp>,
    /// What a stream says of its records, where one is the source.
    pub origins: Option<Origins>,
    /// Of records that had failed before: for each of the source what is known of it.
    pub earlier: Option<Arc<Vec<Earlier>>>,
    /// The steps of processing are behind these records already.
    pub is_processed: bool,
    /// Memory that this chunk holds; given back when the last clone is dropped.
    pub permit: Arc<crate::memory::Permit>,
}

/// Where each record of a chunk ends in its source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourceEnds {
    /// Counted from where the chunk starts.
    Offsets(Arc<Vec<u64>>),
    Positions(Arc<Vec<Position>>),
}

impl SourceEnds {
    fn of(&self, records: Range<usize>, moved: u64) -> Self {
        match self {
            Self::Offsets(ends) => Self::Offsets(Arc::new(ends[records].iter().map(|end| end - moved).collect())),
            Self::Positions(ends) => Self::Positions(Arc::new(ends[records].to_vec())),
        }
    }
}

/// What a stream says of the records of a chunk beside their numbers. What is made of one record does not change it.
#[derive(Debug, Clone)]
pub struct Origins {
    all: Arc<OriginsOfChunk>,
    /// Of the chunk's first record.
    first: usize,
}

/// As they are gathered.
#[derive(Debug, Default)]
pub struct OriginsOfChunk {
    partition_keys: String,
    key_ends: Vec<u32>,
    arrivals_ms: Vec<i64>,
}

impl OriginsOfChunk {
    /// Adds those of the next record.
    pub fn push(&mut self, partition_key: &str, arrival: Timestamp) {
        self.partition_keys.push_str(partition_key);
        self.key_ends.push(self.partition_keys.len() as u32);
        self.arrivals_ms.push(arrival.as_millisecond());
    }

    /// Bytes of memory.
    pub fn memory(&self) -> usize {
        self.partition_keys.capacity() + 4 * self.key_ends.capacity() + 8 * self.arrivals_ms.capacity()
    }
}

impl From<OriginsOfChunk> for Origins {
    fn from(all: OriginsOfChunk) -> Self {
        Self { all: Arc::new(all), first: 0 }
    }
}

impl Origins {
    fn from(&self, index: usize) -> Self {
        Self { all: self.all.clone(), first: self.first + index }
    }

    /// Those of record `index` alone.
    pub fn only(&self, index: usize) -> Self {
        let mut one = OriginsOfChunk::default();
        one.push(self.partition_key(index), self.arrival(index).unwrap_or_default());
        one.into()
    }

    /// Of record `index`.
    pub fn partition_key(&self, index: usize) -> &str {
        let (all, at) = (&self.all, self.first + index);
        let start = at.checked_sub(1).and_then(|before| all.key_ends.get(before)).map_or(0, |&end| end as usize);
        all.key_ends.get(at).and_then(|&end| all.partition_keys.get(start..end as usize)).unwrap_or_default()
    }

    /// When record `index` arrived at the stream.
    pub fn arrival(&self, index: usize) -> Option<Timestamp> {
        Timestamp::from_millisecond(*self.all.arrivals_ms.get(self.first + index)?).ok()
    }
}

/// Partitions of a chunk's records.
#[derive(Debug, Default)]
pub struct Partitions {
    pub all: Vec<Partition>,
    /// For each record of the source which of them; meaningless for one that left nothing.
    pub of: Vec<u32>,
}

impl Partitions {
    fn of(&self, records: Range<usize>) -> Self {
        Self { all: self.all.clone(), of: self.of[records].to_vec() }
    }
}

/// Rows of a chunk's records.
#[derive(Debug)]
pub struct Rows {
    /// Maybe with rows of other records, too.
    pub columns: Arc<Columns>,
    /// The first row.
    pub start: u32,
    /// For each record of the source the rows up to its end.
    pub ends: Vec<u32>,
}

impl Rows {
    /// The rows of the records `from..to`.
    pub fn range(&self, from: usize, to: usize) -> Range<usize> {
        self.end(from)..self.end(to)
    }

    /// Behind the last row of the records before `index`.
    fn end(&self, index: usize) -> usize {
        (if index == 0 { self.start } else { self.ends[index - 1] }) as usize
    }

    fn of(&self, records: Range<usize>) -> Self {
        let start = self.end(records.start) as u32;
        Self { columns: self.columns.clone(), start, ends: self.ends[records].to_vec() }
    }
}

/// What leaves apart from a chunk.
#[derive(Debug, Clone)]
pub enum Content {
    /// As they leave, delimiters included.
    Bytes(Bytes),
    /// Made of so many bytes of JSON.
    Rows(Arc<Columns>, u64),
}

impl Content {
    /// Bytes as the buffering hints count them.
    pub fn len(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Rows(_, bytes) => *bytes,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Chunk {
    pub fn records(&self) -> usize {
        self.ends.len()
    }

    /// Whether both are one chunk: clones, not parts of it.
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.ends, &other.ends)
    }

    /// Offset in `data` at which record `index` begins.
    pub fn record_start(&self, index: usize) -> u32 {
        if index == 0 { 0 } else { self.ends[index - 1] }
    }

    /// Bytes of the records `from..to` in `data`.
    pub fn len(&self, from: usize, to: usize) -> u64 {
        u64::from(self.ends[to - 1] - self.record_start(from))
    }

    /// How many records leave for the source's records `from..to`.
    pub fn made(&self, from: usize, to: usize) -> u64 {
        match &self.made {
            Some(made) => made[from..to].iter().map(|&made| u64::from(made)).sum(),
            None => (to - from) as u64,
        }
    }

    /// The partition of the records from `from` on, and up to which record before `to` they all belong to it.
    pub fn partition_of(&self, from: usize, to: usize) -> (Option<&Partition>, usize) {
        let Some(partitions) = &self.partitions else { return (None, to) };
        let of = partitions.of[from];
        let others = (from..to).find(|&index| partitions.of[index] != of && self.made(index, index + 1) > 0);
        (partitions.all.get(of as usize), others.unwrap_or(to))
    }

    /// The position at which the source's record `index` begins.
    pub fn position(&self, index: usize) -> Position {
        if index == 0 { self.start } else { self.end_position(index - 1) }
    }

    /// The position behind the source's record `index`.
    pub fn end_position(&self, index: usize) -> Position {
        match &self.source_ends {
            None => self.start.plus(u64::from(self.ends[index])),
            Some(SourceEnds::Offsets(ends)) => self.start.plus(ends[index]),
            Some(SourceEnds::Positions(ends)) => ends[index],
        }
    }

    /// Where each record ends in the source, told apart from `ends`.
    pub fn every_source_end(&self) -> SourceEnds {
        self.source_ends
            .clone()
            .unwrap_or_else(|| SourceEnds::Offsets(Arc::new(self.ends.iter().map(|&end| u64::from(end)).collect())))
    }

    /// By what record `index` is known; see [`PositionRange::record`].
    pub fn record_position(&self, index: usize) -> Position {
        self.range(index, index + 1).record()
    }

    /// How many records, from the record `from` on, end at `until` or before it; at least one.
    pub fn records_until(&self, from: usize, until: Position) -> usize {
        let whole = match &self.source_ends {
            Some(SourceEnds::Positions(ends)) => ends[from..].partition_point(|&end| end <= until),
            _ if !until.is_offset() => self.records() - from,
            Some(SourceEnds::Offsets(ends)) => ends[from..].partition_point(|&end| self.start.plus(end) <= until),
            None => self.ends[from..].partition_point(|&end| self.start.plus(u64::from(end)) <= until),
        };
        whole.max(1)
    }

    /// Whether nothing in the source says that the record before `index` ends there.
    pub fn is_cut(&self, index: usize) -> bool {
        self.last_is_bare && index == self.records()
    }

    /// The positions that the records `from..to` cover.
    pub fn range(&self, from: usize, to: usize) -> PositionRange {
        PositionRange { start: self.position(from), end: self.end_position(to - 1) }
    }

    /// The records `from..to` with their delimiters.
    pub fn bytes(&self, from: usize, to: usize) -> Bytes {
        self.data.slice(self.record_start(from) as usize..self.ends[to - 1] as usize)
    }

    /// The records before `index`; at least one.
    pub fn until(&self, index: usize) -> Self {
        if index == self.records() {
            return self.clone();
        }
        Self {
            data: if self.rows.is_some() { Bytes::new() } else { self.data.slice(..self.ends[index - 1] as usize) },
            ends: Arc::new(self.ends[..index].to_vec()),
            last_is_bare: false,
            source_ends: self.source_ends.as_ref().map(|ends| ends.of(0..index, 0)),
            made: self.made.as_ref().map(|made| Arc::new(made[..index].to_vec())),
            record_ends: self.record_ends.as_ref().map(|ends| Arc::new(ends[..self.made(0, index) as usize].to_vec())),
            partitions: self.partitions.as_ref().map(|partitions| Arc::new(partitions.of(0..index))),
            rows: self.rows.as_ref().map(|rows| Arc::new(rows.of(0..index))),
            earlier: self.earlier.as_ref().map(|earlier| Arc::new(earlier[..index].to_vec())),
            ..self.clone()
        }
    }

    /// The records from `index` on; at least one.
    pub fn from(&self, index: usize) -> Self {
        let (start, base) = (self.position(index), self.record_start(index));
        let moved = start.bytes_from(self.start);
        Self {
            start,
            data: if self.rows.is_some() { Bytes::new() } else { self.data.slice(base as usize..) },
            ends: Arc::new(self.ends[index..].iter().map(|end| end - base).collect()),
            source_ends: self.source_ends.as_ref().map(|ends| ends.of(index..self.records(), moved)),
            made: self.made.as_ref().map(|made| Arc::new(made[index..].to_vec())),
            record_ends: self.record_ends.as_ref().map(|ends| {
                let ends = &ends[self.made(0, index) as usize..];
                Arc::new(ends.iter().map(|end| end - base).collect())
            }),
            partitions: self.partitions.as_ref().map(|partitions| Arc::new(partitions.of(index..self.records()))),
            rows: self.rows.as_ref().map(|rows| Arc::new(rows.of(index..self.records()))),
            origins: self.origins.as_ref().map(|origins| origins.from(index)),
            earlier: self.earlier.as_ref().map(|earlier| Arc::new(earlier[index..].to_vec())),
            ..self.clone()
        }
    }

    /// When record `index` arrived: at the stream, where that says it.
    pub fn arrival(&self, index: usize) -> Timestamp {
        self.origins.as_ref().and_then(|origins| origins.arrival(index)).unwrap_or(self.arrival)
    }

    /// The partition key of record `index`; empty where the source has none.
    pub fn partition_key(&self, index: usize) -> &str {
        self.origins.as_ref().map(|origins| origins.partition_key(index)).unwrap_or_default()
    }

    /// What is known of record `index`, if it had failed before.
    pub fn earlier(&self, index: usize) -> Option<&Earlier> {
        self.earlier.as_deref()?.get(index)
    }

    /// Record `index` without its delimiter. Not for what processing has made.
    pub fn record(&self, index: usize) -> &[u8] {
        let is_bare = self.last_is_bare && index + 1 == self.records();
        let end = self.ends[index] - if is_bare { 0 } else { self.delimiter_len };
        &self.data[self.record_start(index) as usize..end as usize]
    }
}

/// A record that goes to the error output as its source has read it, before any processing.
#[derive(Clone)]
pub struct RefusedRecord {
    pub partition: Arc<dyn SourcePartition>,
    /// The whole record with its delimiter.
    pub range: PositionRange,
    /// The record's first bytes, as many as the limit allows.
    pub head: Bytes,
    /// The record's length without its delimiter, in bytes.
    pub length: u64,
    pub why: Refusal,
    pub arrival: Timestamp,
    /// When it was found to be so, if that was in an earlier life.
    pub failed_at: Option<Timestamp>,
    pub permit: Arc<crate::memory::Permit>,
}

/// Why a record is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// It is longer than the source's limit; only its beginning is kept.
    TooLong,
    /// All of it is kept. The code is what stands in the envelope, the reason is for people.
    Unfit { code: &'static str, reason: String },
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::convert::{Decoder, InputOptions};
    use crate::memory::MemoryBudget;
    use crate::schema;

    struct Nowhere;

    impl SourcePartition for Nowhere {
        fn id(&self) -> PartitionId {
            PartitionId(1)
        }

        fn name(&self) -> String {
            String::new()
        }

        fn evidence(&self, _: Position) -> Option<PlacedEvidence> {
            None
        }

        fn settled(&self, _: Position) {}
    }

    /// Three records of 10 bytes each, with one row, none, and two.
    fn converted() -> Chunk {
        let columns = [schema::Column::nullable("n", "int".parse().unwrap())];
        let mut decoder = Decoder::new(&columns, InputOptions::default()).unwrap();
        let mut rows = decoder.columns();
        decoder.decode(br#"{"n":1}{"n":2}{"n":3}"#, 0..21, &mut rows, &mut Vec::new()).unwrap();
        let names = ["a", "b"].map(|name| Partition::from_values(vec![name.to_owned()]));
        let budget = MemoryBudget::new(1 << 20).join();
        Chunk {
            partition: Arc::new(Nowhere),
            start: Position::at(100),
            data: Bytes::new(),
            ends: Arc::new(vec![10, 20, 30]),
            delimiter_len: 1,
            last_is_bare: false,
            source_ends: None,
            made: Some(Arc::new(vec![1, 0, 2])),
            record_ends: None,
            partitions: Some(Arc::new(Partitions { all: names.to_vec(), of: vec![0, 0, 1] })),
            rows: Some(Arc::new(Rows { columns: Arc::new(rows), start: 0, ends: vec![1, 1, 3] })),
            origins: None,
            earlier: None,
            is_processed: false,
            arrival: Timestamp::UNIX_EPOCH,
            failed_at: None,
            permit: budget.acquire(1, &CancellationToken::new(), Duration::from_secs(1)).unwrap(),
        }
    }

    #[test]
    fn a_part_of_a_chunk_has_its_own_rows_and_partitions() {
        let whole = converted();
        let of = |chunk: &Chunk, index: usize| {
            let rows = chunk.rows.as_ref().unwrap().range(index, index + 1);
            (chunk.position(index).offset(), rows, chunk.partition_of(index, index + 1).0.unwrap().values()[0].clone())
        };
        let (first, rest) = (whole.until(1), whole.from(1));
        assert_eq!((first.records(), rest.records()), (1, 2));
        assert_eq!(of(&first, 0), of(&whole, 0));
        assert_eq!([of(&rest, 0), of(&rest, 1)], [of(&whole, 1), of(&whole, 2)]);
        assert_eq!(of(&rest.from(1), 0), (120, 1..3, String::from("b")));
    }
}
