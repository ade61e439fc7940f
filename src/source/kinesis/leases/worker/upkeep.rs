//! Sees to it that there is a lease for each shard that is to be read, and none for those that nobody needs.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::time::Duration;

use tokio::time::sleep;
use tracing::{debug, info, warn};

use super::{Desk, ListShards};
use crate::source::kinesis::leases::lease::Lease;
use crate::source::kinesis::leases::operation::LeaseTable;
use crate::source::kinesis::leases::sync::{child_leases, finished_leases, first_leases, missing_leases};
use crate::source::kinesis::page::ChildShard;

/// Between two looks at whether a merge's other parent has a lease, and between two scans while leases wait for their parents: the
/// KCL's.
const POLL_INTERVAL_MAX: Duration = Duration::from_secs(10);

impl<T, S> Desk<T, S>
where
    T: LeaseTable<Error: Display + Send> + Send + Sync + 'static,
    S: ListShards<Error: Display + Send> + Send + Sync + 'static,
{
    /// Creates what the scanned table lacks and deletes what it needs no more; whether it is worth another scan. An error is a
    /// reason for people.
    pub(super) async fn synchronize(&self, leases: &[Lease]) -> Result<bool, String> {
        if leases.is_empty() {
            let shards = self.shards.at_initial().await.map_err(|error| error.to_string())?;
            let Some(first) = first_leases(&shards, self.config.initial) else {
                return Err(String::from("the shards that were listed do not cover all hash keys"));
            };
            return self.create(&first).await;
        }
        let shards = self.shards.all().await.map_err(|error| error.to_string())?;
        let keys: BTreeSet<&str> = leases.iter().map(|lease| &*lease.key).collect();
        let is_created = self.create(&missing_leases(&shards, &keys, self.config.initial)).await?;
        let listed: BTreeSet<&str> = shards.iter().map(|shard| shard.id.as_str()).collect();
        for lease in finished_leases(leases, |id| listed.contains(id)) {
            self.table.delete_ended(&lease.key).await.map_err(|error| error.to_string())?;
            info!(shard_id = %lease.key, "the lease of a finished shard is deleted");
        }
        Ok(is_created)
    }

    /// In their order; whether any is new.
    async fn create(&self, leases: &[Lease]) -> Result<bool, String> {
        let mut is_any_new = false;
        for lease in leases {
            let is_new = self.table.create(lease).await.map_err(|error| error.to_string())?;
            if is_new {
                info!(shard_id = %lease.key, checkpoint = %lease.checkpoint, "a lease is created");
            }
            is_any_new |= is_new;
        }
        Ok(is_any_new)
    }

    /// Until there is a lease for each child of a shard.
    pub(super) async fn make_child_leases(&self, children: &[ChildShard]) {
        while !children.is_empty() {
            match self.try_child_leases(children).await {
                Ok(true) => return,
                Ok(false) => {
                    debug!("a merge waits for the lease of its other parent");
                    sleep(self.poll_interval()).await;
                }
                Err(error) => {
                    warn!(error, "leases of child shards could not be created");
                    sleep(self.pause()).await;
                }
            }
        }
    }

    async fn try_child_leases(&self, children: &[ChildShard]) -> Result<bool, String> {
        let leases = self.table.scan().await.map_err(|error| error.to_string())?;
        let has_lease = |id: &str| leases.iter().any(|lease| &*lease.key == id);
        let parents = || children.iter().flat_map(|child| &child.parents);
        // What is listed matters only where a parent has no lease.
        let mut listed = BTreeSet::new();
        if !parents().all(|parent| has_lease(parent)) {
            let shards = self.shards.all().await.map_err(|error| error.to_string())?;
            listed.extend(shards.into_iter().map(|shard| shard.id));
        }
        let Some(lacking) = child_leases(children, has_lease, |id| listed.contains(id)) else { return Ok(false) };
        self.create(&lacking).await.map(|_| true)
    }

    pub(super) fn poll_interval(&self) -> Duration {
        self.config.rules.failover.min(POLL_INTERVAL_MAX)
    }
}
