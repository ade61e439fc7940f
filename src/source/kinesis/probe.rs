//! What a Kinesis source would find, without starting it.
//!
//! Always true: nothing is registered, made or changed, no shard is taken from whoever reads it, and the record that is
//! asked for is thrown away.

mod table;

pub use table::probe_table;

use super::client::KinesisClient;
use super::page::{ReadError, StartingPosition};
use super::polling::{PollingOptions, PollingReader};
use super::shards::{ShardFilter, ShardInfo};
use super::summary::StreamSummary;
use crate::config::model::{Consumer, KinesisSourceConfig};

const DESCRIBE_CONSUMER: &str = "DescribeStreamConsumer";
const HOUR_SECONDS: u64 = 3600;

/// What is in the way of reading.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error("the stream is {status}")]
    NoActiveStream { status: String },
    #[error("there is no shard `{shard}`, or all its records have expired; there are {known}")]
    NoShard { shard: String, known: String },
    #[error("the consumer `{name}` is being deleted")]
    DeletedConsumer { name: String },
}

/// What there is of the stream, in lines for people.
pub async fn probe(config: &KinesisSourceConfig) -> Result<Vec<String>, ProbeError> {
    look(&KinesisClient::open(config.service(), config.stream.clone()), config).await
}

async fn look(client: &KinesisClient, config: &KinesisSourceConfig) -> Result<Vec<String>, ProbeError> {
    let summary = client.summary().await?;
    // One that is updated, or created anew, is read as soon as it can be.
    if summary.status == "DELETING" {
        return Err(ProbeError::NoActiveStream { status: summary.status });
    }
    let shards = client.list_shards(&ShardFilter::All).await?;
    check_named(config, &shards)?;
    let consumer = match &config.consumer {
        Consumer::Polling { .. } => read(client, config, &shards).await?,
        Consumer::EnhancedFanOut { name, .. } => consumer(client, &summary, name).await?,
    };
    Ok(vec![shown(&summary, &shards), consumer])
}

fn shown(summary: &StreamSummary, shards: &[ShardInfo]) -> String {
    let open = shards.iter().filter(|shard| shard.ending_sequence_number.is_none()).count();
    let closed = shards.len() - open;
    let hours = summary.retention.as_secs() / HOUR_SECONDS;
    format!("open shards: {open}, closed ones that still hold records: {closed}; records are kept for {hours} hours")
}

/// Whether all shards are there that `shards` names.
fn check_named(config: &KinesisSourceConfig, shards: &[ShardInfo]) -> Result<(), ProbeError> {
    const KNOWN_MAX: usize = 10;
    let Some(missing) = config.shards.iter().find(|name| shards.iter().all(|shard| shard.id != **name)) else {
        return Ok(());
    };
    let mut known: Vec<_> = shards.iter().take(KNOWN_MAX).map(|shard| format!("`{}`", shard.id)).collect();
    if shards.len() > KNOWN_MAX {
        known.push(format!("{} more", shards.len() - KNOWN_MAX));
    }
    Err(ProbeError::NoShard { shard: missing.clone(), known: known.join(", ") })
}

/// Reads a record of a shard from where the source would begin.
async fn read(
    client: &KinesisClient,
    config: &KinesisSourceConfig,
    shards: &[ShardInfo],
) -> Result<String, ProbeError> {
    let named = shards.iter().find(|shard| config.shards.first() == Some(&shard.id));
    let open = shards.iter().find(|shard| shard.ending_sequence_number.is_none());
    let Some(shard) = named.or(open).or(shards.first()) else {
        return Ok("there is no shard to be read yet".to_owned());
    };
    let start = match config.initial_position {
        StartingPosition::Latest => StartingPosition::TrimHorizon,
        start => start,
    };
    let options = PollingOptions { max_records: 1, ..PollingOptions::default() };
    PollingReader::new(client.clone(), shard.id.clone(), start, options).next().await?;
    Ok(format!("{} can be read from {}", shard.id, config.initial_position_text()))
}

/// Whether the consumer is registered, or would be at the start.
async fn consumer(client: &KinesisClient, summary: &StreamSummary, name: &str) -> Result<String, ProbeError> {
    let send = async |sdk: aws_sdk_kinesis::Client| {
        sdk.describe_stream_consumer().stream_arn(&summary.arn).consumer_name(name).send().await
    };
    let status = match client.call(DESCRIBE_CONSUMER, send).await {
        Ok(answer) => answer.consumer_description.map(|consumer| consumer.consumer_status),
        Err(ReadError::NotFound { .. }) => None,
        Err(error) => return Err(error.into()),
    };
    match status {
        None => {
            let others = summary.consumers;
            Ok(format!("the consumer {name} is not registered yet, beside {others} others; that is done at the start"))
        }
        Some(aws_sdk_kinesis::types::ConsumerStatus::Deleting) => {
            Err(ProbeError::DeletedConsumer { name: name.to_owned() })
        }
        Some(_) => Ok(format!("the consumer {name} is registered")),
    }
}

#[cfg(test)]
mod tests;
