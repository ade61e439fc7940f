//! What the journal keeps of a shard beside its checkpoint.

use jiff::Timestamp;

use crate::sequence_number::SequenceNumber;
use crate::source::kinesis::page::{HashKeyRange, StartingPosition};

/// Where a shard begins that has no checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    TrimHorizon,
    /// `latest`, too, which is the service's time at first sight.
    AtTimestamp(Timestamp),
    At(SequenceNumber),
    After(SequenceNumber),
}

impl From<Start> for StartingPosition {
    fn from(start: Start) -> Self {
        match start {
            Start::TrimHorizon => Self::TrimHorizon,
            Start::AtTimestamp(time) => Self::AtTimestamp(time),
            Start::At(number) => Self::At(number),
            Start::After(number) => Self::After(number),
        }
    }
}

/// How a shard ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct End {
    /// Whether any record of it was read.
    pub gave_records: bool,
    /// It expired before it was read to its end.
    pub is_lost: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowState {
    /// A parent is not over yet; the start may still change.
    Waiting,
    /// It may be read, and maybe it was.
    Ready,
    /// It was read to its end, or has expired before, and all that was read of it is settled.
    Finished(End),
}

/// A shard as the journal keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    pub id: String,
    /// While the shard waits, the parents that the stream names; from then on those of them that were read before it.
    pub parents: Vec<String>,
    pub hash_keys: HashKeyRange,
    pub start: Start,
    pub state: RowState,
}

/// What has to be journalled, in one transaction.
#[must_use = "a shard is read only when it is journalled"]
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// Rows that are new or have changed: each shard once.
    pub put: Vec<Row>,
    /// Shards whose rows are needed no more.
    pub forget: Vec<String>,
    /// Not a change of the journal: shards that expired before they were read to their end. That is to be reported, and what was
    /// read of them is to be sealed and settled like that of one that was read to its end.
    pub lost: Vec<String>,
}

impl Changes {
    pub fn is_empty(&self) -> bool {
        self.put.is_empty() && self.forget.is_empty() && self.lost.is_empty()
    }

    /// Puts a row in place of an earlier one of the same shard.
    pub(super) fn replace(&mut self, row: Row) {
        match self.put.iter_mut().find(|earlier| earlier.id == row.id) {
            Some(earlier) => *earlier = row,
            None => self.put.push(row),
        }
    }
}
