//! What a page of a shard becomes: chunks of records, what is refused, and positions that hold nothing.
//!
//! Pure. Always true: the pieces of all pages follow each other without a gap, from the position that the shard was opened at; a
//! record that was read before is in none of them; a piece of records ends where a batch of an earlier life ends.

#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use bytes::Bytes;
use jiff::Timestamp;

use crate::batches::{Batch, Told};
use crate::config::model::OnMisrouted;
use crate::record::{OriginsOfChunk, Position, PositionRange};
use crate::sequence_number::SequenceNumber;

use super::aggregation::{self, Aggregate, Opened};
use super::page::{HashKeyRange, StreamRecord};

/// Code of an aggregate that holds records of another shard.
pub const MISROUTED: &str = "Hydrant.MisroutedAggregate";
/// Code of an aggregate whose records cannot be told.
pub const BROKEN: &str = "Hydrant.BrokenAggregate";

/// Part of a shard.
#[derive(Debug)]
pub enum Piece {
    Records(Gathered),
    /// Nothing leaves of this.
    Skipped {
        range: PositionRange,
        why: Skip,
    },
    Refused(Refused),
}

/// A record of the stream that goes to the error output as it is.
#[derive(Debug)]
pub struct Refused {
    pub range: PositionRange,
    pub data: Bytes,
    pub arrival: Timestamp,
    pub code: &'static str,
    pub reason: String,
    /// When that was found, if it was in an earlier life.
    pub failed_at: Option<Timestamp>,
}

/// Why nothing leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Skip {
    /// An aggregate without records.
    Empty,
    /// So many records of an aggregate that belong elsewhere, as configured.
    Dropped(u64),
    /// They were read in an earlier life, and have expired.
    Expired,
}

/// Records that follow each other.
#[derive(Debug)]
pub struct Gathered {
    pub start: Position,
    pub data: Vec<u8>,
    pub ends: Vec<u32>,
    /// Where each record ends in the shard.
    pub source_ends: Vec<Position>,
    pub origins: OriginsOfChunk,
    /// Of the first record.
    pub arrival: Timestamp,
    /// The batch of an earlier life in which these records were processed.
    pub batch: Option<Batch>,
}

impl Gathered {
    fn at(start: Position, arrival: Timestamp) -> Self {
        Self {
            start,
            data: Vec::new(),
            ends: Vec::new(),
            source_ends: Vec::new(),
            origins: OriginsOfChunk::default(),
            arrival,
            batch: None,
        }
    }

    pub fn records(&self) -> usize {
        self.ends.len()
    }

    /// Bytes of memory.
    pub fn memory(&self) -> u64 {
        let each = size_of::<u32>() * self.ends.capacity() + size_of::<Position>() * self.source_ends.capacity();
        (self.data.capacity() + each + self.origins.memory()) as u64
    }
}

/// Cuts one shard.
#[derive(Debug)]
pub struct Cutter {
    /// Everything before it is in a piece.
    position: Position,
    /// Ends of what the journal holds, ascending, all behind the position.
    cuts: VecDeque<Position>,
    told: Told,
    hash_keys: HashKeyRange,
    on_misrouted: OnMisrouted,
    bytes_max: usize,
    gathered: Option<Gathered>,
    pieces: Vec<Piece>,
}

/// How a shard is cut.
#[derive(Debug, Clone, Copy)]
pub struct Cutting {
    pub hash_keys: HashKeyRange,
    pub on_misrouted: OnMisrouted,
    /// A piece is finished when it has reached so many bytes.
    pub bytes_max: usize,
}

impl Cutter {
    pub fn new(position: Position, mut cuts: Vec<Position>, told: Told, cutting: Cutting) -> Self {
        cuts.sort_unstable();
        cuts.dedup();
        let Cutting { hash_keys, on_misrouted, bytes_max } = cutting;
        let mut cutter = Self {
            position,
            cuts: cuts.into(),
            told,
            hash_keys,
            on_misrouted,
            bytes_max,
            gathered: None,
            pieces: Vec::new(),
        };
        cutter.pass();
        cutter
    }

    /// Behind the last record that is in a piece.
    pub fn position(&self) -> Position {
        self.position
    }

    /// What the next records of the shard become. Burns CPU.
    pub fn cut(&mut self, records: Vec<StreamRecord>) -> Vec<Piece> {
        for record in records {
            self.add(record);
        }
        self.finish();
        std::mem::take(&mut self.pieces)
    }

    /// Whether the journal holds records behind the position: at the end of the shard they have expired.
    pub fn waits_for_more(&self) -> bool {
        !self.cuts.is_empty()
    }

    fn add(&mut self, record: StreamRecord) {
        let number = record.sequence_number;
        match aggregation::open(&record.data, &self.hash_keys) {
            Opened::Plain => {
                let StreamRecord { arrival, partition_key, data, .. } = &record;
                self.push(Position::behind(number, 0), data, partition_key, arrival.unwrap_or_default());
            }
            Opened::Aggregate(aggregate) => self.push_all(&record, &aggregate),
            // Once something of it was given away, the rest is, too.
            Opened::Misrouted(aggregate, _)
                if self.on_misrouted == OnMisrouted::Deliver || self.has_begun(number, &aggregate) =>
            {
                self.push_all(&record, &aggregate);
            }
            Opened::Misrouted(aggregate, _) if self.on_misrouted == OnMisrouted::Drop => {
                self.skip(last_of(&record, &aggregate), Skip::Dropped(aggregate.len() as u64));
            }
            Opened::Misrouted(aggregate, misroute) => {
                self.refuse(last_of(&record, &aggregate), record, MISROUTED, misroute.to_string());
            }
            Opened::Broken(broken) => {
                self.refuse(Position::behind(number, 0), record, BROKEN, broken.to_string());
            }
        }
    }

    /// Whether an earlier life has taken the aggregate apart: it was read up to a record of it, or the journal holds a part.
    fn has_begun(&self, number: SequenceNumber, aggregate: &Aggregate) -> bool {
        let is_within =
            |cut: &Position| cut.sequence_number() == number && *cut < Position::behind(number, aggregate.last());
        self.position.sequence_number() == number
            || self.cuts.iter().take_while(|cut| cut.sequence_number() <= number).any(is_within)
    }

    fn push_all(&mut self, record: &StreamRecord, aggregate: &Aggregate) {
        let (number, arrival) = (record.sequence_number, record.arrival.unwrap_or_default());
        if aggregate.is_empty() {
            return self.skip(Position::behind(number, 0), Skip::Empty);
        }
        let is_begun = self.position.sequence_number() == number;
        let first = if is_begun { self.position.offset() as usize } else { 0 };
        for user in aggregate.records_from(first) {
            self.push(Position::behind(number, user.sub_sequence_number), user.data, &user.partition_key, arrival);
        }
    }

    fn push(&mut self, end: Position, data: &[u8], partition_key: &str, arrival: Timestamp) {
        if end <= self.position {
            return; // Read before.
        }
        self.pass_holes(end);
        let start = self.position;
        let gathered = self.gathered.get_or_insert_with(|| Gathered::at(start, arrival));
        gathered.data.extend_from_slice(data);
        gathered.ends.push(gathered.data.len() as u32);
        gathered.source_ends.push(end);
        gathered.origins.push(partition_key, arrival);
        self.position = end;
        if self.is_enough() {
            self.finish();
        }
    }

    /// Nothing up to `end` leaves.
    fn skip(&mut self, end: Position, why: Skip) {
        if end <= self.position {
            return;
        }
        if why != Skip::Expired {
            self.pass_holes(end);
        }
        self.finish();
        self.pieces.push(Piece::Skipped { range: PositionRange { start: self.position, end }, why });
        self.position = end;
        self.pass();
    }

    fn refuse(&mut self, end: Position, record: StreamRecord, code: &'static str, reason: String) {
        if end <= self.position {
            return;
        }
        self.pass_holes(end);
        self.finish();
        let range = PositionRange { start: self.position, end };
        let (data, arrival) = (record.data, record.arrival.unwrap_or_default());
        let batch = self.told.holding(range.start, range.end);
        let failed_at = batch.and_then(|batch| Timestamp::from_millisecond(batch.failed_ms?).ok());
        self.pieces.push(Piece::Refused(Refused { range, data, arrival, code, reason, failed_at }));
        self.position = end;
        self.pass();
    }

    /// Records that an earlier life has read ended before the one that ends at `end`, and are not there any more: they have expired.
    fn pass_holes(&mut self, end: Position) {
        let before = self.cuts.iter().take_while(|&&cut| cut < end).last().copied();
        if let Some(cut) = before.filter(|&cut| cut > self.position) {
            self.skip(cut, Skip::Expired);
        }
    }

    /// Whether what has gathered is a piece: as it was before, or as large as one may be.
    fn is_enough(&self) -> bool {
        let Some(gathered) = &self.gathered else { return false };
        match (self.told.end_of(gathered.start), self.told.border(gathered.start)) {
            (Some(end), _) => self.position >= end,
            (None, Some(border)) if self.position >= border => true,
            (None, _) => gathered.data.len() >= self.bytes_max,
        }
    }

    /// What has gathered is a piece.
    fn finish(&mut self) {
        if let Some(mut gathered) = self.gathered.take() {
            gathered.batch = self.told.holding(gathered.start, self.position);
            self.pieces.push(Piece::Records(gathered));
        }
        self.pass();
    }

    fn pass(&mut self) {
        while self.cuts.front().is_some_and(|&cut| cut <= self.position) {
            self.cuts.pop_front();
        }
        if self.gathered.is_none() {
            self.told.pass(self.position);
        }
    }
}

/// Where the last record of an aggregate ends.
fn last_of(record: &StreamRecord, aggregate: &Aggregate) -> Position {
    Position::behind(record.sequence_number, aggregate.last())
}
