//! What a fleet's worker asks of its table, as DynamoDB does it.
//!
//! A refusal is told as it is, also where an earlier try of the same call was made: from when on a lease counts is decided by the
//! asker, who knows when it asked first.

use super::change::Sent;
use super::error::TableError;
use super::row::{self, Row, n, s, ss};
use super::update::Update;
use super::{DynamoDbTable, Outcome};
use crate::source::kinesis::leases::lease::{Checkpoint, Lease};
use crate::source::kinesis::leases::operation::{self, Answer, Change, LeaseTable};

impl LeaseTable for DynamoDbTable {
    type Error = TableError;

    /// Without those that cannot be read: of their shards no lease can be created either.
    async fn scan(&self) -> Result<Vec<Lease>, TableError> {
        Ok(DynamoDbTable::scan(self).await?.leases)
    }

    async fn create(&self, lease: &Lease) -> Result<bool, TableError> {
        match DynamoDbTable::create(self, lease).await? {
            Outcome::Done(_) => Ok(true),
            Outcome::Lost(_) => Ok(false),
        }
    }

    async fn update(&self, update: &operation::Update) -> Result<Answer, TableError> {
        let mut change = changed(update);
        if update.change == Change::Take {
            // Whether the owner changes stands in the row alone; its counter pins it.
            let found = self.get(&update.key).await?.and_then(Row::into_lease);
            match found {
                Some(lease) if lease.counter == update.counter => {
                    let is_switch = lease.owner.is_some_and(|former| former != update.worker);
                    change = if is_switch { change.add(row::OWNER_SWITCHES, n(1)) } else { change };
                }
                found => return Ok(Answer::Refused(found)),
            }
        }
        match self.send(&update.key, &change).await?.0 {
            Sent::Failed(found) => Ok(Answer::Refused(found.map(|lease| *lease))),
            Sent::Made(item) => match row::read(&item) {
                Row::Lease(lease) => Ok(Answer::Written(*lease)),
                Row::Unreadable { key, reason } => {
                    Err(TableError::Unreadable { table: self.name.clone(), key, reason })
                }
                Row::Entity { key, .. } | Row::OfStream { key, .. } => {
                    let reason = String::from("it is no lease any more");
                    Err(TableError::Unreadable { table: self.name.clone(), key, reason })
                }
            },
        }
    }

    async fn delete_ended(&self, key: &str) -> Result<(), TableError> {
        match self.get(key).await?.and_then(Row::into_lease) {
            Some(lease) if lease.checkpoint == Checkpoint::ShardEnd => self.delete(&lease).await.map(drop),
            _ => Ok(()),
        }
    }
}

fn changed(update: &operation::Update) -> Update {
    let counted = Update::default()
        .if_is(row::LEASE_COUNTER, n(update.counter))
        .set(row::LEASE_COUNTER, n(update.counter.saturating_add(1)));
    let owned = || counted.clone().if_is(row::LEASE_OWNER, s(&update.worker));
    match &update.change {
        Change::Renew => owned(),
        Change::Take => counted.set(row::LEASE_OWNER, s(&update.worker)).remove(row::CHECKPOINT_OWNER),
        Change::Release => owned().remove(row::LEASE_OWNER).remove(row::CHECKPOINT_OWNER),
        Change::Pend(pending) => {
            let change = match pending.state {
                Some(_) => owned(),
                None => owned().remove(row::PENDING_CHECKPOINT_STATE),
            };
            row::write_pending(pending).into_iter().fold(change, |change, (name, value)| change.set(name, value))
        }
        Change::Settle { checkpoint, children } => {
            let change = owned().settle(*checkpoint);
            // A set grows by what is added to it.
            ss(children).into_iter().fold(change, |change, children| change.add(row::CHILD_SHARD_IDS, children))
        }
    }
}
