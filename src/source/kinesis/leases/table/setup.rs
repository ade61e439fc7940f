//! The lease table is made if it is not there, and looked at if it is.
//!
//! Any number of workers may do so at the same moment: one makes it, and all wait until it can be used.

use std::time::Duration;

use aws_sdk_dynamodb::error::ProvideErrorMetadata;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType, TableDescription, TableStatus,
};
use tokio::time::{Instant, sleep};

use super::DynamoDbTable;
use super::call::{Deadline, insist};
use super::error::TableError;
use super::failure::Failure;
use crate::source::kinesis::leases::row::LEASE_KEY;

const BETWEEN_LOOKS_MIN: Duration = Duration::from_millis(50);
const BETWEEN_LOOKS_MAX: Duration = Duration::from_secs(5);

impl DynamoDbTable {
    /// Makes the table if it is not there, and waits until it can be used. Whether it was this call that made it.
    pub async fn prepare_table(&self) -> Result<bool, TableError> {
        let end = Instant::now() + self.limits.new_table;
        let (mut is_asked_for, mut is_made, mut pause) = (false, false, BETWEEN_LOOKS_MIN);
        loop {
            let state = match self.describe().await? {
                Some(table) => {
                    check_keys(&table).map_err(|reason| self.other_shape(reason))?;
                    table.table_status
                }
                // A new table may take a moment to be seen.
                None if is_asked_for => Some(TableStatus::Creating),
                None => {
                    is_made = self.create_table().await?;
                    is_asked_for = true;
                    continue;
                }
            };
            match state {
                Some(TableStatus::Active | TableStatus::Updating) => return Ok(is_made),
                Some(TableStatus::Creating) => {}
                // One that is on its way out is made again once it has gone.
                Some(TableStatus::Deleting) => is_asked_for = false,
                state => return Err(self.not_usable(state)),
            }
            if Instant::now() + pause >= end {
                return Err(self.not_in_time());
            }
            sleep(pause).await;
            pause = (pause * 2).min(BETWEEN_LOOKS_MAX);
        }
    }

    /// The state of the table as it is, in which it can be used at once or soon; `None` if there is none. Makes nothing.
    pub async fn status(&self) -> Result<Option<TableStatus>, TableError> {
        let Some(table) = self.describe().await? else { return Ok(None) };
        check_keys(&table).map_err(|reason| self.other_shape(reason))?;
        match table.table_status {
            Some(
                status @ (TableStatus::Active | TableStatus::Updating | TableStatus::Creating | TableStatus::Deleting),
            ) => Ok(Some(status)),
            status => Err(self.not_usable(status)),
        }
    }

    async fn describe(&self) -> Result<Option<TableDescription>, TableError> {
        let attempt = || async move { Ok(self.client.describe_table().table_name(&self.name).send().await?) };
        match insist(&self.name, Deadline::of_long_call(&self.limits), attempt).await {
            Ok(answer) => Ok(answer.table),
            Err(TableError::Missing { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whether it was made by this call, as far as that is known.
    async fn create_table(&self) -> Result<bool, TableError> {
        let key = KeySchemaElement::builder().attribute_name(LEASE_KEY).key_type(KeyType::Hash).build();
        let key_type =
            AttributeDefinition::builder().attribute_name(LEASE_KEY).attribute_type(ScalarAttributeType::S).build();
        let (key, key_type) =
            (key.map_err(|error| self.unbuilt(&error))?, key_type.map_err(|error| self.unbuilt(&error))?);
        let (key, key_type) = (&key, &key_type);
        let attempt = || async move {
            let create = self.client.create_table().table_name(&self.name).billing_mode(BillingMode::PayPerRequest);
            match create.key_schema(key.clone()).attribute_definitions(key_type.clone()).send().await {
                Ok(_) => Ok(true),
                // Another worker was faster, or an earlier try of this one.
                Err(error) if error.code() == Some("ResourceInUseException") => Ok(false),
                Err(error) => Err(Failure::from(error)),
            }
        };
        insist(&self.name, Deadline::of_long_call(&self.limits), attempt).await
    }

    fn other_shape(&self, reason: String) -> TableError {
        TableError::OtherShape { table: self.name.clone(), reason }
    }

    fn unbuilt(&self, error: &dyn std::error::Error) -> TableError {
        self.refused("NotBuilt", error.to_string())
    }

    fn not_usable(&self, state: Option<TableStatus>) -> TableError {
        let state = state.map_or_else(|| String::from("unknown"), |state| state.as_str().to_owned());
        self.refused("TableStatus", format!("its state is {state}, in which it can be neither read nor written"))
    }

    fn not_in_time(&self) -> TableError {
        TableError::Unanswered {
            table: self.name.clone(),
            message: format!("it has not become active within {:?}", self.limits.new_table),
            is_throttled: false,
            maybe_done: true,
        }
    }

    fn refused(&self, code: &str, message: String) -> TableError {
        TableError::Refused { table: self.name.clone(), code: code.to_owned(), message, maybe_done: false }
    }
}

/// Whether its key is that of a lease table; an error is a reason for people.
fn check_keys(table: &TableDescription) -> Result<(), String> {
    let [key] = table.key_schema() else {
        let keys: Vec<_> = table.key_schema().iter().map(|key| format!("`{}`", key.attribute_name())).collect();
        return Err(format!("its key is made of {}", keys.join(" and ")));
    };
    if key.attribute_name() != LEASE_KEY {
        return Err(format!("its partition key is `{}`", key.attribute_name()));
    }
    let definition = table.attribute_definitions().iter().find(|definition| definition.attribute_name() == LEASE_KEY);
    match definition.map(AttributeDefinition::attribute_type) {
        Some(ScalarAttributeType::S) => Ok(()),
        other => Err(format!("its `{LEASE_KEY}` is of type {}", other.map_or("unknown", ScalarAttributeType::as_str))),
    }
}
