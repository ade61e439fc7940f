//! What is read of a shard at a time, however it is read.

use bytes::Bytes;
use jiff::Timestamp;

use crate::sequence_number::SequenceNumber;

/// A record as the stream holds it: it may be an aggregate of several.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamRecord {
    pub sequence_number: SequenceNumber,
    /// The service's `ApproximateArrivalTimestamp`, in whole milliseconds; `None` where an answer has none.
    pub arrival: Option<Timestamp>,
    pub partition_key: String,
    pub data: Bytes,
}

/// Records of one shard, one after the other.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Page {
    /// Maybe none, with more behind them all the same.
    pub records: Vec<StreamRecord>,
    /// From where fan-out goes on: it moves on without records, too. `None` with polling, and at the end of a shard.
    pub continuation: Option<SequenceNumber>,
    /// How far behind the newest record of the shard this is; 0 is caught up.
    pub behind_ms: Option<u64>,
    /// The shard is closed and this was the last of it: those that go on where it ends, maybe unknown (empty).
    pub ended: Option<Vec<ChildShard>>,
}

/// A shard that goes on where a closed one ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChildShard {
    pub id: String,
    pub parents: Vec<String>,
    pub hash_keys: HashKeyRange,
}

/// The hashes of the partition keys whose records go to a shard, both ends included: 0 to 2¹²⁸ − 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HashKeyRange {
    pub start: u128,
    pub end: u128,
}

impl HashKeyRange {
    pub const ALL: Self = Self { start: 0, end: u128::MAX };

    pub fn holds(&self, hash: u128) -> bool {
        (self.start..=self.end).contains(&hash)
    }
}

/// From where a shard is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartingPosition {
    /// The oldest record that is still there.
    TrimHorizon,
    /// Behind the newest record.
    Latest,
    /// The first record that arrived then or later.
    AtTimestamp(Timestamp),
    /// This record, or the first behind where it was.
    At(SequenceNumber),
    /// The record behind this one.
    After(SequenceNumber),
}

/// Why a shard cannot be read at this moment, or at all.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// Worth another try after a pause: throttling, an answer that did not come, a fault of the service. A reader has tried
    /// some times by itself before it says so.
    #[error("{message}")]
    Again { code: String, message: String, is_throttled: bool },
    /// The shard, or the whole stream, is not there any more.
    #[error("{message}")]
    NotFound { message: String },
    /// Permissions, a key of KMS, an argument: nothing changes until a person acts. It is tried again all the same, seldom.
    #[error("{message}")]
    Refused { code: String, message: String },
    /// Another consumer of the same name has taken the shard over (fan-out).
    #[error("another reader of this consumer holds the shard: {message}")]
    InUse { message: String },
}
