//! One conditional change of one row: made, or found out to have been made, or lost.

use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::ReturnValue;
use aws_sdk_dynamodb::types::ReturnValuesOnConditionCheckFailure::AllOld;
use aws_sdk_dynamodb::types::error::ConditionalCheckFailedException;

use super::call::{Deadline, insist_and_tell};
use super::error::TableError;
use super::failure::Failure;
use super::row::{self, Item, Row, s};
use super::update::Update;
use super::{DynamoDbTable, Outcome};
use crate::source::kinesis::leases::lease::Lease;

/// By what a row shows that it was this change that was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Proof {
    /// Owner and counter: only the owner itself moves the one without the other.
    Counter,
    /// The checkpoints, too.
    Content,
    /// All that, and that the change was sent before: nobody owns a new row, and others make the same.
    Repetition,
}

impl Proof {
    fn shows(self, found: &Lease, after: &Lease, is_repeated: bool) -> bool {
        let is_counted = (&found.owner, found.counter) == (&after.owner, after.counter);
        let is_same = (found.checkpoint, &found.pending) == (after.checkpoint, &after.pending);
        match self {
            Self::Counter => is_counted,
            Self::Content => is_counted && is_same,
            Self::Repetition => is_counted && is_same && is_repeated,
        }
    }
}

/// What became of a change, as far as its answer tells.
pub(super) enum Sent {
    /// It was made; the row as it is now.
    Made(Item),
    /// Its condition did not hold; `None` if the row is gone or cannot be read.
    Failed(Option<Box<Lease>>),
}

/// One try that was answered.
enum Answer {
    Made(Item),
    /// With the row, where the server tells.
    ConditionFailed(Option<Item>),
}

impl DynamoDbTable {
    /// A change of a lease that this worker holds. Of another one it knows without asking that it would not be made.
    pub(super) async fn change_own(
        &self,
        lease: &Lease,
        update: Update,
        after: Lease,
        proof: Proof,
    ) -> Result<Outcome, TableError> {
        if lease.is_owned_by(&self.worker) {
            return self.change(update, after, proof).await;
        }
        Ok(Outcome::Lost(self.get(&lease.key).await?.and_then(Row::into_lease)))
    }

    /// Makes a change, or finds out that it was made. `after` is the lease then.
    pub(super) async fn change(&self, update: Update, after: Lease, proof: Proof) -> Result<Outcome, TableError> {
        let (sent, is_repeated) = self.send(&after.key, &update).await?;
        Ok(match sent {
            Sent::Made(_) => Outcome::Done(after),
            Sent::Failed(Some(found)) if proof.shows(&found, &after, is_repeated) => Outcome::Done(*found),
            Sent::Failed(found) => Outcome::Lost(found.map(|lease| *lease)),
        })
    }

    /// Sends a change until it is answered, and says whether a try before the last one may have made it.
    pub(super) async fn send(&self, key: &str, update: &Update) -> Result<(Sent, bool), TableError> {
        let deadline = Deadline::of_call(&self.limits);
        let (answer, is_repeated) = insist_and_tell(&self.name, deadline, || self.update(key, update)).await?;
        let item = match answer {
            Answer::Made(item) => return Ok((Sent::Made(item), is_repeated)),
            Answer::ConditionFailed(Some(item)) => Some(item),
            // Not every server says what the row is.
            Answer::ConditionFailed(None) => {
                let found = self.item(&self.name, row::LEASE_KEY, key, deadline.and_an_attempt());
                found.await.map_err(TableError::of_a_change)?
            }
        };
        Ok((Sent::Failed(item.and_then(|item| row::read(&item).into_lease()).map(Box::new)), is_repeated))
    }

    async fn update(&self, key: &str, update: &Update) -> Result<Answer, Failure> {
        let call = self.client.update_item().table_name(&self.name).key(row::LEASE_KEY, s(key));
        let call = call
            .set_update_expression(update.expression())
            .set_condition_expression(update.condition())
            .set_expression_attribute_names(Some(update.names.clone()))
            .set_expression_attribute_values(Some(update.values.clone()))
            .return_values(ReturnValue::AllNew)
            .return_values_on_condition_check_failure(AllOld);
        match call.send().await {
            Ok(answer) => Ok(Answer::Made(answer.attributes.unwrap_or_default())),
            Err(error) => match error.as_service_error().and_then(condition_failed) {
                Some(failed) => Ok(Answer::ConditionFailed(failed.item().filter(|item| !item.is_empty()).cloned())),
                None => Err(Failure::from(error)),
            },
        }
    }
}

fn condition_failed(error: &UpdateItemError) -> Option<&ConditionalCheckFailedException> {
    match error {
        UpdateItemError::ConditionalCheckFailedException(failed) => Some(failed),
        _ => None,
    }
}
