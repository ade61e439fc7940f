//! A row of the lease table, and what is asked of it.

use std::collections::BTreeMap;

/// The output that has a copy of each record as it was read.
pub(super) const COPIES: u64 = 3;

/// By output the records that it holds; 0 is the error output.
pub(super) type Outputs = BTreeMap<u64, Vec<u64>>;

#[derive(Clone)]
pub(super) struct Row {
    pub(super) owner: Option<usize>,
    pub(super) counter: u64,
    /// So many records are settled, one more at `SHARD_END`; `None` is `LATEST`.
    pub(super) checkpoint: Option<u64>,
    pub(super) pending: Option<Pending>,
}

/// `pendingCheckpoint` and `pendingCheckpointState`.
#[derive(Clone)]
pub(super) enum Pending {
    Ours { start: Option<u64>, delivery: Option<Delivery> },
    Foreign { cut: u64 },
}

#[derive(Clone)]
pub(super) struct Delivery {
    pub(super) id: u64,
    pub(super) cut: u64,
    pub(super) batches: Vec<Batch>,
    /// In the code this is a digest.
    pub(super) outputs: Outputs,
}

/// Records that are processed together.
#[derive(Clone, Copy)]
pub(super) struct Batch {
    pub(super) start: u64,
    pub(super) end: u64,
    pub(super) arrival: u64,
    pub(super) has_failed: bool,
}

#[derive(Clone)]
pub(super) enum Change {
    Renew,
    Pend(Pending),
    Settle { cut: u64, dropped: Vec<u64> },
}

#[derive(Clone)]
pub(super) struct Update {
    pub(super) shard: usize,
    pub(super) worker: usize,
    pub(super) counter: u64,
    pub(super) change: Change,
}

impl Row {
    pub(super) fn delivery(&self) -> Option<&Delivery> {
        self.pending.as_ref().and_then(Pending::delivery)
    }
}

impl Pending {
    pub(super) fn delivery(&self) -> Option<&Delivery> {
        match self {
            Self::Ours { delivery, .. } => delivery.as_ref(),
            Self::Foreign { .. } => None,
        }
    }
}
