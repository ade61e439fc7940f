//! A row of the lease table, with the KCL's words.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use crate::sequence_number::{NotASequenceNumber, SequenceNumber};
use crate::source::kinesis::page::HashKeyRange;

/// Who works on a shard, and how far it has been worked on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// `leaseKey`: the shard's id.
    pub key: Arc<str>,
    /// `leaseOwner`: the id of a worker; nobody owns a new lease, or one that was released.
    pub owner: Option<Arc<str>>,
    /// `leaseCounter`: grows with every renewal, take and checkpoint, and is what writes are conditional on. Others see by it that
    /// the owner lives.
    pub counter: u64,
    pub checkpoint: Checkpoint,
    /// What is being delivered: a successor finishes it first.
    pub pending: Option<PendingCheckpoint>,
    /// `ownerSwitchesSinceCheckpoint`
    pub owner_switches: u64,
    pub parents: BTreeSet<String>,
    /// Written at the shard's end.
    pub children: BTreeSet<String>,
    /// Absent in tables of the KCL before 2.3.
    pub hash_keys: Option<HashKeyRange>,
    /// `checkpointOwner`: a worker that a leader of the KCL 3 has asked to hand the lease over.
    pub checkpoint_owner: Option<Arc<str>>,
}

impl Lease {
    /// A lease that nobody has owned yet.
    pub fn new(key: &str, checkpoint: Checkpoint) -> Self {
        Self {
            key: key.into(),
            owner: None,
            counter: 0,
            checkpoint,
            pending: None,
            owner_switches: 0,
            parents: BTreeSet::new(),
            children: BTreeSet::new(),
            hash_keys: None,
            checkpoint_owner: None,
        }
    }

    pub fn is_owned_by(&self, worker: &str) -> bool {
        self.owner.as_deref() == Some(worker)
    }
}

/// Up to where a shard has been worked on. The order is the KCL's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Checkpoint {
    /// The time itself stands in the configuration, not in the table.
    AtTimestamp,
    TrimHorizon,
    Latest,
    /// The last settled record, inclusive: its sequence number, and its sub-sequence number in an aggregate.
    At(SequenceNumber, u64),
    ShardEnd,
}

impl Checkpoint {
    /// From `checkpoint` and `checkpointSubSequenceNumber`.
    pub fn parse(text: &str, sub_sequence_number: u64) -> Result<Self, NotACheckpoint> {
        Ok(match text {
            "AT_TIMESTAMP" => Self::AtTimestamp,
            "TRIM_HORIZON" => Self::TrimHorizon,
            "LATEST" => Self::Latest,
            "SHARD_END" => Self::ShardEnd,
            digits => {
                let number = digits.parse().map_err(|source| NotACheckpoint { text: digits.to_owned(), source })?;
                Self::At(number, sub_sequence_number)
            }
        })
    }

    /// `checkpointSubSequenceNumber`, 0 beside a sentinel.
    pub fn sub_sequence_number(&self) -> u64 {
        match self {
            Self::At(_, sub_sequence_number) => *sub_sequence_number,
            Self::AtTimestamp | Self::TrimHorizon | Self::Latest | Self::ShardEnd => 0,
        }
    }

    /// Whether nothing of the shard has been settled yet: where it begins is the initial position, or a parent's end.
    pub fn is_initial(&self) -> bool {
        *self <= Self::Latest
    }
}

/// `checkpoint`, without the sub-sequence number.
impl fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtTimestamp => f.write_str("AT_TIMESTAMP"),
            Self::TrimHorizon => f.write_str("TRIM_HORIZON"),
            Self::Latest => f.write_str("LATEST"),
            Self::At(number, _) => fmt::Display::fmt(number, f),
            Self::ShardEnd => f.write_str("SHARD_END"),
        }
    }
}

/// `pendingCheckpoint`, `pendingCheckpointSubSequenceNumber` and `pendingCheckpointState`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingCheckpoint {
    /// What the checkpoint becomes when all that belongs to it has been delivered.
    pub checkpoint: Checkpoint,
    /// Means something to its writer alone; the KCL's own rows may hold a number here.
    pub state: Option<Bytes>,
}

/// A text that is neither a sequence number nor one of the KCL's sentinels.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no checkpoint")]
pub struct NotACheckpoint {
    text: String,
    source: NotASequenceNumber,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn checkpoint() -> impl Strategy<Value = Checkpoint> {
        let at = ("[1-9][0-9]{0,128}|0", any::<u64>())
            .prop_map(|(number, sub)| Checkpoint::At(number.parse().unwrap(), sub));
        prop_oneof![
            Just(Checkpoint::AtTimestamp),
            Just(Checkpoint::TrimHorizon),
            Just(Checkpoint::Latest),
            at,
            Just(Checkpoint::ShardEnd)
        ]
    }

    proptest! {
        #[test]
        fn checkpoints_survive_their_text(checkpoint in checkpoint()) {
            let read = Checkpoint::parse(&checkpoint.to_string(), checkpoint.sub_sequence_number());
            prop_assert_eq!(read, Ok(checkpoint));
        }

        #[test]
        fn numbers_lie_between_the_sentinels(number in "[1-9][0-9]{0,128}|0", sub: u64) {
            let at = Checkpoint::parse(&number, sub).unwrap();
            prop_assert!(Checkpoint::AtTimestamp < Checkpoint::TrimHorizon && Checkpoint::TrimHorizon < Checkpoint::Latest);
            prop_assert!(Checkpoint::Latest < at && at < Checkpoint::ShardEnd);
            prop_assert!(!at.is_initial() && Checkpoint::Latest.is_initial() && !Checkpoint::ShardEnd.is_initial());
            prop_assert!(sub == u64::MAX || at < Checkpoint::parse(&number, sub + 1).unwrap());
        }
    }

    #[test]
    fn other_texts_are_refused() {
        for text in ["", "latest", "TRIM_HORIZON ", "12a"] {
            assert!(Checkpoint::parse(text, 0).is_err(), "{text:?}");
        }
    }
}
