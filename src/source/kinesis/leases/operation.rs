//! What is asked of the lease table: conditional updates of one lease, as data, with what they mean.
//!
//! Whatever changes a lease adds one to its counter, and every update is conditional on the counter, so that of two workers that
//! have seen the same row one succeeds.

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::Arc;

use super::lease::{Checkpoint, Lease, PendingCheckpoint};

/// Succeeds if the lease's counter still is `counter` and, unless it is a take, `worker` is its owner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Update {
    pub key: Arc<str>,
    pub worker: Arc<str>,
    /// As it was last seen; the update makes it one more.
    pub counter: u64,
    pub change: Change,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// The owner says that it lives.
    Renew,
    /// The worker becomes the owner, whoever is.
    Take,
    /// Nobody is the owner any more (the KCL's evict).
    Release,
    /// What is delivered from here on has this cut.
    Pend(PendingCheckpoint),
    /// All up to here is settled, what was pending too. The children are those of a shard that has ended.
    Settle { checkpoint: Checkpoint, children: BTreeSet<String> },
}

/// What the table says to an update.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The lease as it is now.
    Written(Lease),
    /// The condition did not hold: the lease as it is, `None` if there is none.
    Refused(Option<Lease>),
}

impl Update {
    pub fn holds(&self, lease: &Lease) -> bool {
        let is_owner = self.change == Change::Take || lease.is_owned_by(&self.worker);
        lease.counter == self.counter && is_owner
    }

    /// What a lease becomes for which the condition holds.
    pub fn apply(&self, lease: &mut Lease) {
        lease.counter += 1;
        match &self.change {
            Change::Renew => {}
            Change::Take => {
                lease.checkpoint_owner = None;
                let former = lease.owner.replace(Arc::clone(&self.worker));
                lease.owner_switches += u64::from(former.is_some_and(|former| former != self.worker));
            }
            Change::Release => (lease.owner, lease.checkpoint_owner) = (None, None),
            Change::Pend(pending) => lease.pending = Some(pending.clone()),
            Change::Settle { checkpoint, children } => {
                (lease.checkpoint, lease.pending, lease.owner_switches) = (*checkpoint, None, 0);
                lease.children.extend(children.iter().cloned());
            }
        }
    }

    /// Whether a refused update was written all the same, by an earlier try whose answer was lost: nobody else makes this worker the
    /// owner. What that try said, a checkpoint for example, the row tells.
    pub fn was_written(&self, row: &Lease) -> bool {
        self.change != Change::Release && row.is_owned_by(&self.worker) && row.counter == self.counter + 1
    }
}

/// The table that the workers of an application share.
pub trait LeaseTable {
    type Error;

    /// All leases, each as it was at some moment of the call.
    fn scan(&self) -> impl Future<Output = Result<Vec<Lease>, Self::Error>> + Send;

    /// False if there is one of this key already.
    fn create(&self, lease: &Lease) -> impl Future<Output = Result<bool, Self::Error>> + Send;

    fn update(&self, update: &Update) -> impl Future<Output = Result<Answer, Self::Error>> + Send;

    /// Deletes a lease that is at its shard's end, or else does nothing.
    fn delete_ended(&self, key: &str) -> impl Future<Output = Result<(), Self::Error>> + Send;
}
