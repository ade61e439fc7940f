//! What the lease table would be found to be.

use std::error::Error;
use std::time::Duration;

use aws_config::{BehaviorVersion, ConfigLoader};
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::ProvideErrorMetadata;
use aws_sdk_dynamodb::types::{KeyType, TableDescription, TableStatus};

use super::ProbeError;
use crate::aws::{self, failure};
use crate::config::model::LeaseTableConfig;

const REGION_OF_SERVERS_WITHOUT: &str = "us-east-1";
const LOOK_TIMEOUT: Duration = Duration::from_secs(30);
const LEASE_KEY: &str = "leaseKey";

/// What there is of the table, in lines for people. It is not made if it is not there.
pub async fn probe_table(config: &LeaseTableConfig) -> Result<Vec<String>, ProbeError> {
    look(config, aws_config::defaults(BehaviorVersion::latest())).await
}

pub(super) async fn look(config: &LeaseTableConfig, loader: ConfigLoader) -> Result<Vec<String>, ProbeError> {
    let client = connect(config, loader).await?;
    let request = client.describe_table().table_name(&config.table).send();
    let Ok(answer) = tokio::time::timeout(LOOK_TIMEOUT, request).await else {
        return Err(ProbeError::Table(format!("no answer within {LOOK_TIMEOUT:?}")));
    };
    match answer {
        Ok(answer) => judged(&answer.table.unwrap_or_else(|| TableDescription::builder().build())),
        Err(error) if error.code() == Some("ResourceNotFoundException") => {
            Ok(vec!["is not there yet; it is made at the start".to_owned()])
        }
        Err(error) => Err(ProbeError::Table(reason(&error))),
    }
}

async fn connect(config: &LeaseTableConfig, loader: ConfigLoader) -> Result<Client, ProbeError> {
    let region_default = config.endpoint_url.as_ref().map(|_| REGION_OF_SERVERS_WITHOUT);
    let found = aws::load(loader, config.region.as_deref(), region_default, config.assume_role.as_ref()).await;
    let found = found.ok_or_else(|| {
        let advice = "no region: set `region` in the source or in `aws`, or AWS_REGION in the environment";
        ProbeError::Table(advice.to_owned())
    })?;
    let mut client = aws_sdk_dynamodb::config::Builder::from(&found);
    if let Some(endpoint_url) = &config.endpoint_url {
        client = client.endpoint_url(endpoint_url);
    }
    Ok(Client::from_conf(client.build()))
}

/// Whether it can be what the KCL makes.
fn judged(table: &TableDescription) -> Result<Vec<String>, ProbeError> {
    if table.table_status == Some(TableStatus::Deleting) {
        return Err(ProbeError::Table("is being deleted".to_owned()));
    }
    match table.key_schema() {
        [key] if key.attribute_name == LEASE_KEY && key.key_type == KeyType::Hash => Ok(vec!["is there".to_owned()]),
        _ => {
            let reason = format!("is no lease table: its only key has to be the partition key `{LEASE_KEY}`");
            Err(ProbeError::Table(reason))
        }
    }
}

fn reason<E: ProvideErrorMetadata + Error + 'static>(error: &E) -> String {
    match (failure::without_credentials(error), error.code()) {
        (Some(without), _) => without.text,
        (None, Some(code)) => format!("{code}: {}", failure::clean(error.message().unwrap_or_default())),
        (None, None) => failure::chain(error),
    }
}
