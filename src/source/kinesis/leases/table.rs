//! The lease table in DynamoDB.
//!
//! Every change is one update of one row, conditional on the counter that this worker has seen, and makes the counter grow: of all
//! that were begun from one state of a row at most one is made, however late a lost request arrives. Whatever changes a lease that
//! this worker holds is conditional on its being the owner, too.
//!
//! An answer that was lost is asked for again by the same update. If its condition fails then, the row itself tells
//! whether it was made: it has this worker as its owner, the next counter and what was to be written.

mod asked;
mod call;
mod change;
mod error;
mod failure;
mod leader;
mod scan;
mod setup;
mod update;

pub use call::{Limits, connect};
pub use error::TableError;
pub use leader::Assignment;
pub use scan::{Scan, UnreadableRow};

use std::collections::BTreeSet;
use std::sync::Arc;

use aws_sdk_dynamodb::Client;
use bytes::Bytes;

use super::lease::{Checkpoint, Lease, PendingCheckpoint};
use super::row::{self, Item, Row, n, s, ss};
use call::{Deadline, insist};
use change::Proof;
use failure::Failure;
use update::Update;

/// The table as one worker sees it.
#[derive(Debug, Clone)]
pub struct DynamoDbTable {
    client: Client,
    name: String,
    worker: Arc<str>,
    limits: Limits,
}

/// What a change came to.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "whoever has lost a lease must not work on it"]
pub enum Outcome {
    /// Made. The lease as it is now.
    Done(Lease),
    /// Not made: the row is another one than it was thought to be. As it is now; `None` if it is gone or cannot be read. If its
    /// owner is this worker all the same, an earlier change of its own has been made whose answer it did not wait for.
    Lost(Option<Lease>),
}

impl DynamoDbTable {
    /// Calls nobody yet.
    pub fn new(client: Client, name: &str, worker: &str, limits: Limits) -> Self {
        Self { client, name: name.to_owned(), worker: worker.into(), limits }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// The row of a key, read consistently; `None` if there is none.
    pub async fn get(&self, key: &str) -> Result<Option<Row>, TableError> {
        let item = self.item(&self.name, row::LEASE_KEY, key, Deadline::of_call(&self.limits)).await?;
        Ok(item.as_ref().map(row::read))
    }

    /// A new row, unless there is one of this key.
    pub async fn create(&self, lease: &Lease) -> Result<Outcome, TableError> {
        let new = Update::default().if_absent(row::LEASE_KEY);
        let update = row::write(lease).into_iter().fold(new, |update, (name, value)| update.set(name, value));
        self.change(update, lease.clone(), Proof::Repetition).await
    }

    /// The owner lives.
    pub async fn renew(&self, lease: &Lease) -> Result<Outcome, TableError> {
        let (update, after) = self.owned(lease);
        self.change_own(lease, update, after, Proof::Counter).await
    }

    /// The lease becomes this worker's, whosever it was.
    pub async fn take(&self, lease: &Lease) -> Result<Outcome, TableError> {
        let (update, mut after) = next(lease);
        let mut update = update.set(row::LEASE_OWNER, s(&self.worker)).remove(row::CHECKPOINT_OWNER);
        if lease.owner.as_ref().is_some_and(|owner| *owner != self.worker) {
            update = update.add(row::OWNER_SWITCHES, n(1));
            after.owner_switches += 1;
        }
        (after.owner, after.checkpoint_owner) = (Some(self.worker.clone()), None);
        self.change(update, after, Proof::Counter).await
    }

    /// The lease becomes nobody's, so that another worker need not wait until it expires.
    ///
    /// Whatever the counter: a change of this worker's own that it heard nothing of does not keep it.
    pub async fn release(&self, lease: &Lease) -> Result<Outcome, TableError> {
        let mut held = lease.clone();
        loop {
            let (update, mut after) = self.owned(&held);
            (after.owner, after.checkpoint_owner) = (None, None);
            let update = update.remove(row::LEASE_OWNER).remove(row::CHECKPOINT_OWNER);
            match self.change_own(&held, update, after, Proof::Content).await? {
                Outcome::Lost(Some(found)) if found.is_owned_by(&self.worker) && found.counter > held.counter => {
                    held = found;
                }
                outcome => return Ok(outcome),
            }
        }
    }

    /// What is being delivered, before it is: up to `cut`, as the delivery of this id. A successor finishes it first.
    pub async fn prepare(&self, lease: &Lease, cut: Checkpoint, delivery_id: Bytes) -> Result<Outcome, TableError> {
        if lease.pending.is_some() {
            return Err(out_of_order(lease, "what was prepared before is not finished"));
        }
        forward(lease, cut)?;
        let (update, mut after) = self.owned(lease);
        let pending = PendingCheckpoint { checkpoint: cut, state: Some(delivery_id) };
        let update =
            row::write_pending(&pending).into_iter().fold(update, |update, (name, value)| update.set(name, value));
        after.pending = Some(pending);
        self.change_own(lease, update, after, Proof::Content).await
    }

    /// What was prepared up to `cut` has been delivered: the checkpoint moves there.
    pub async fn finish(&self, lease: &Lease, cut: Checkpoint) -> Result<Outcome, TableError> {
        if lease.pending.as_ref().is_none_or(|pending| pending.checkpoint != cut) {
            return Err(out_of_order(lease, "it was not prepared up to there"));
        }
        self.checkpoint(lease, cut).await
    }

    /// The checkpoint moves, and what was prepared, if anything was, is given up.
    pub async fn checkpoint(&self, lease: &Lease, checkpoint: Checkpoint) -> Result<Outcome, TableError> {
        forward(lease, checkpoint)?;
        let (update, after) = self.moved(lease, checkpoint);
        self.change_own(lease, update, after, Proof::Content).await
    }

    /// Everything up to the shard's end has been delivered; these shards go on where it ends.
    pub async fn shard_end(&self, lease: &Lease, children: &BTreeSet<String>) -> Result<Outcome, TableError> {
        let (mut update, mut after) = self.moved(lease, Checkpoint::ShardEnd);
        if let Some(children) = ss(children) {
            update = update.set(row::CHILD_SHARD_IDS, children);
        }
        if !children.is_empty() {
            after.children.clone_from(children);
        }
        self.change_own(lease, update, after, Proof::Content).await
    }

    /// Deletes the row if it is as it was; whether it is gone.
    pub async fn delete(&self, lease: &Lease) -> Result<bool, TableError> {
        let attempt = || async move {
            let delete = self.client.delete_item().table_name(&self.name).key(row::LEASE_KEY, s(&lease.key));
            let delete = delete
                .condition_expression("attribute_not_exists(#key) OR #counter = :counter")
                .expression_attribute_names("#key", row::LEASE_KEY)
                .expression_attribute_names("#counter", row::LEASE_COUNTER)
                .expression_attribute_values(":counter", n(lease.counter));
            match delete.send().await {
                Ok(_) => Ok(true),
                Err(error)
                    if error.as_service_error().is_some_and(|error| error.is_conditional_check_failed_exception()) =>
                {
                    Ok(false)
                }
                Err(error) => Err(Failure::from(error)),
            }
        };
        insist(&self.name, Deadline::of_call(&self.limits), attempt).await
    }

    /// A change of a lease that this worker holds.
    fn owned(&self, lease: &Lease) -> (Update, Lease) {
        let (update, mut after) = next(lease);
        after.owner = Some(self.worker.clone());
        (update.if_is(row::LEASE_OWNER, s(&self.worker)), after)
    }

    fn moved(&self, lease: &Lease, checkpoint: Checkpoint) -> (Update, Lease) {
        let (update, mut after) = self.owned(lease);
        let update = update.settle(checkpoint);
        (after.checkpoint, after.pending, after.owner_switches) = (checkpoint, None, 0);
        (update, after)
    }

    /// An item, read consistently.
    async fn item(
        &self,
        table: &str,
        key_name: &str,
        key: &str,
        deadline: Deadline,
    ) -> Result<Option<Item>, TableError> {
        let attempt = || async move {
            let get = self.client.get_item().table_name(table).key(key_name, s(key)).consistent_read(true);
            Ok(get.send().await?.item)
        };
        Ok(insist(table, deadline, attempt).await?.filter(|item| !item.is_empty()))
    }
}

/// A change of this very state of the row.
fn next(lease: &Lease) -> (Update, Lease) {
    let after = Lease { counter: lease.counter.saturating_add(1), ..lease.clone() };
    let update = Update::default().if_is(row::LEASE_COUNTER, n(lease.counter));
    (update.set(row::LEASE_COUNTER, n(after.counter)), after)
}

/// A checkpoint never goes back: what lies between would be delivered again.
fn forward(lease: &Lease, checkpoint: Checkpoint) -> Result<(), TableError> {
    if checkpoint < lease.checkpoint {
        return Err(out_of_order(lease, "its checkpoint would go back"));
    }
    Ok(())
}

fn out_of_order(lease: &Lease, reason: &'static str) -> TableError {
    TableError::OutOfOrder { key: lease.key.to_string(), reason }
}
