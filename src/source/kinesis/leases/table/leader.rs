//! Whether an elected leader of KCL 3 assigns the table's leases.
//!
//! From 3.0 on a Java fleet keeps in an item with the key `Migration3.0` which algorithm its workers follow: until 3.4 in a table
//! named after the application, later in the lease table itself. It alone tells: a leader's lock stays behind after a
//! roll-back, workers' metrics are there before the switch, and in the first phase of a migration there is no such item,
//! and everybody follows the algorithm of 2.x, as hydrant does.

use tracing::warn;

use super::DynamoDbTable;
use super::call::Deadline;
use super::error::TableError;
use super::row::{self, Item};

/// What the KCL puts behind the application's name.
const COORDINATOR_TABLE: &str = "-CoordinatorState";
const COORDINATOR_KEY: &str = "key";
/// Which version's algorithms the fleet follows.
pub(super) const MIGRATION_KEY: &str = "Migration3.0";
const CLIENT_VERSION: &str = "cv";
/// The lock of the elected leader.
pub(super) const LEADER_KEY: &str = "Leader";

/// Who says which worker has which lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Assignment {
    /// Each worker takes its own, as in 1.x and 2.x.
    ByWorkers,
    /// Still so; KCL 3 changes to a leader of its own accord once all owners of leases report metrics, which hydrant does not.
    ByWorkersUntilMigrated,
}

impl DynamoDbTable {
    /// Who assigns the leases of `application`; an error if a leader does. To be asked from time to time: a migration may
    /// begin at any moment.
    pub async fn assignment(&self, application: &str) -> Result<Assignment, TableError> {
        let mut found = self.assignment_in(&self.name, row::LEASE_KEY).await?;
        let mut companions = vec![format!("{application}{COORDINATOR_TABLE}")];
        if application != self.name {
            companions.push(format!("{}{COORDINATOR_TABLE}", self.name));
        }
        for companion in companions {
            match self.assignment_in(&companion, COORDINATOR_KEY).await {
                Ok(assignment) => found = found.max(assignment),
                Err(TableError::Missing { .. }) => {}
                // Hydrant has no need of the table but for this question.
                Err(TableError::Refused { message, .. }) => {
                    warn!(table = companion, message, "cannot see whether a leader of KCL 3 assigns the leases");
                }
                Err(error) => return Err(error),
            }
        }
        Ok(found.unwrap_or(Assignment::ByWorkers))
    }

    async fn assignment_in(&self, table: &str, key: &str) -> Result<Option<Assignment>, TableError> {
        let deadline = Deadline::of_long_call(&self.limits);
        if let Some(migration) = self.item(table, key, MIGRATION_KEY, deadline).await? {
            return migrated(&migration).map(Some).map_err(|sign| self.led(table, MIGRATION_KEY, &sign));
        }
        match self.item(table, key, LEADER_KEY, deadline).await? {
            Some(_) => Err(self.led(table, LEADER_KEY, "a leader's lock, and nothing says that its time is over")),
            None => Ok(None),
        }
    }

    pub(super) fn led(&self, place: &str, key: &str, sign: &str) -> TableError {
        TableError::Led { table: self.name.clone(), sign: format!("item `{key}` of table `{place}`: {sign}") }
    }
}

/// What the item says; an error is a sign of a leader.
pub(super) fn migrated(item: &Item) -> Result<Assignment, String> {
    match row::text(item, CLIENT_VERSION)? {
        Some("CLIENT_VERSION_INIT" | "CLIENT_VERSION_2X") => Ok(Assignment::ByWorkers),
        Some("CLIENT_VERSION_UPGRADE_FROM_2X") => Ok(Assignment::ByWorkersUntilMigrated),
        Some(version) => Err(format!("`{CLIENT_VERSION}` is `{version}`")),
        None => Err(format!("it has no `{CLIENT_VERSION}`")),
    }
}
