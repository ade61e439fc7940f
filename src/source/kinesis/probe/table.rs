//! What the lease table would be found to be.

use std::collections::BTreeSet;
use std::time::Duration;

use aws_config::{BehaviorVersion, ConfigLoader};
use aws_sdk_dynamodb::types::TableStatus;

use crate::config::model::LeaseTableConfig;
use crate::source::kinesis::leases::lease::Checkpoint;
use crate::source::kinesis::leases::table::{Assignment, DynamoDbTable, Limits, Scan, TableError, connect};

/// Somebody waits for the answer.
const LIMITS: Limits = Limits {
    attempt: Duration::from_secs(5),
    call: Duration::from_secs(15),
    long_call: Duration::from_secs(15),
    new_table: Duration::ZERO,
};
/// Nothing is changed in anybody's name.
const NO_WORKER: &str = "";

/// What there is of the table, in lines for people. It is not made if it is not there.
pub async fn probe_table(config: &LeaseTableConfig, application: &str) -> Result<Vec<String>, TableError> {
    look(config, application, aws_config::defaults(BehaviorVersion::latest())).await
}

pub(super) async fn look(
    config: &LeaseTableConfig,
    application: &str,
    loader: ConfigLoader,
) -> Result<Vec<String>, TableError> {
    let (region, endpoint_url) = (config.region.as_deref(), config.endpoint_url.as_deref());
    let client = connect(loader, region, endpoint_url, config.assume_role.as_ref()).await;
    let client = client.ok_or_else(|| TableError::without_region(&config.table))?;
    let table = DynamoDbTable::new(client, &config.table, NO_WORKER, LIMITS);
    match table.status().await? {
        None => Ok(vec!["is not there yet; it is made at the start".to_owned()]),
        Some(TableStatus::Creating) => Ok(vec!["is being made".to_owned()]),
        Some(TableStatus::Deleting) => Ok(vec!["is being deleted; it is made again at the start".to_owned()]),
        Some(_) => read(&table, application).await,
    }
}

/// What is in it, unless hydrant may not work with that.
async fn read(table: &DynamoDbTable, application: &str) -> Result<Vec<String>, TableError> {
    let assignment = table.assignment(application).await?;
    let mut scan = table.scan().await?;
    if let Some(row) = scan.unreadable.pop() {
        return Err(TableError::Unreadable { table: table.name().to_owned(), key: row.key, reason: row.reason });
    }
    let mut lines = vec![shown(&scan)];
    if assignment == Assignment::ByWorkersUntilMigrated {
        let advice =
            "KCL 3 workers change to leader assignment as soon as hydrant is away; keep them in 2.x compatibility mode";
        lines.push(advice.to_owned());
    }
    Ok(lines)
}

fn shown(scan: &Scan) -> String {
    let (ended, open): (Vec<_>, Vec<_>) =
        scan.leases.iter().partition(|lease| lease.checkpoint == Checkpoint::ShardEnd);
    let owners: BTreeSet<_> = open.iter().filter_map(|lease| lease.owner.as_deref()).collect();
    let unowned = open.iter().filter(|lease| lease.owner.is_none()).count();
    format!(
        "is there; leases: {}, their owners: {}, without an owner: {unowned}, of ended shards besides: {}",
        open.len(),
        owners.len(),
        ended.len()
    )
}
