//! The shards of a stream, as the service lists them: those whose records are not all past their retention.
//!
//! A list is whole or it is an error: a shard that is missing from it would be taken for one that is gone.

use aws_sdk_kinesis::operation::list_shards::ListShardsOutput;
use aws_sdk_kinesis::types;
use jiff::Timestamp;

use super::client::KinesisClient;
use super::error::class;
use super::page::{HashKeyRange, ReadError};
use super::response::{Unreadable, date_time, hash_keys, sequence_number};
use crate::destination::retry::{Backoff, random};
use crate::sequence_number::SequenceNumber;

const OPERATION: &str = "ListShards";
/// The most that the service gives at a time.
const PAGE_SHARDS: i32 = 1000;
/// A page is asked for so many times before the list is given up.
const TRIES_MAX: u32 = 4;
/// A list is begun so many times; its tokens live for five minutes.
const LISTS_MAX: u32 = 3;

/// A shard of the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShardInfo {
    pub id: String,
    /// It goes on where this one ended, which may have gone from the list.
    pub parent: Option<String>,
    /// The other one, where two were merged.
    pub adjacent_parent: Option<String>,
    pub hash_keys: HashKeyRange,
    pub starting_sequence_number: SequenceNumber,
    /// `None` while it is open.
    pub ending_sequence_number: Option<SequenceNumber>,
}

/// Which shards are listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ShardFilter {
    /// Those that were open at the oldest record of the stream, and all later ones: all that can be read.
    All,
    /// Those that were open at the oldest record of the stream.
    AtTrimHorizon,
    /// Those that are open now.
    AtLatest,
    /// Those that were open then.
    AtTimestamp(Timestamp),
    /// Those that were open then, and all later ones.
    FromTimestamp(Timestamp),
    /// Those whose ids come behind this one.
    AfterShardId(String),
}

/// What became of a list.
enum Listed {
    Whole(Vec<ShardInfo>),
    /// Its token has expired.
    Expired(ReadError),
}

impl KinesisClient {
    /// All shards that pass the filter, in the service's order.
    pub async fn list_shards(&self, filter: &ShardFilter) -> Result<Vec<ShardInfo>, ReadError> {
        let mut lists = 0;
        loop {
            lists += 1;
            match self.list(filter).await? {
                Listed::Whole(shards) => return Ok(shards),
                Listed::Expired(error) if lists == LISTS_MAX => return Err(error),
                Listed::Expired(_) => {}
            }
        }
    }

    async fn list(&self, filter: &ShardFilter) -> Result<Listed, ReadError> {
        let (mut shards, mut token) = (Vec::new(), None::<String>);
        loop {
            let page = match self.shards_page(filter, token.as_deref()).await {
                Ok(page) => page,
                Err(error) if is_expired_token(&error) => return Ok(Listed::Expired(error)),
                Err(error) => return Err(error),
            };
            for shard in page.shards.unwrap_or_default() {
                shards.push(read(shard).map_err(|reason| self.named(OPERATION).unexpected(&reason))?);
            }
            match page.next_token {
                None => return Ok(Listed::Whole(shards)),
                Some(next) if token.as_deref() == Some(next.as_str()) => {
                    return Err(self.named(OPERATION).unexpected("a page leads to itself"));
                }
                Some(next) => token = Some(next),
            }
        }
    }

    /// One page, asked for again where that may help: a list of many pages would hardly ever be whole else.
    async fn shards_page(&self, filter: &ShardFilter, token: Option<&str>) -> Result<ListShardsOutput, ReadError> {
        let mut backoff = Backoff::new(self.retry_limits);
        for _ in 1..TRIES_MAX {
            match self.shards_page_once(filter, token).await {
                Err(error) if matches!(error, ReadError::Again { .. }) && !is_expired_token(&error) => {
                    tokio::time::sleep(backoff.delay(class(&error), random())).await;
                }
                outcome => return outcome,
            }
        }
        self.shards_page_once(filter, token).await
    }

    async fn shards_page_once(&self, filter: &ShardFilter, token: Option<&str>) -> Result<ListShardsOutput, ReadError> {
        let filter = asked(filter).map_err(|reason| self.named(OPERATION).invalid(&reason))?;
        let send = async |client: aws_sdk_kinesis::Client| {
            let request = client.list_shards().max_results(PAGE_SHARDS);
            let request = match token {
                // The token says the stream and the filter by itself; the service refuses both together.
                Some(token) => request.next_token(token),
                None => {
                    let request = request.set_stream_name(self.stream.name()).set_stream_arn(self.stream.arn());
                    request.set_shard_filter(filter)
                }
            };
            request.send().await
        };
        self.call(OPERATION, send).await
    }
}

fn is_expired_token(error: &ReadError) -> bool {
    matches!(error, ReadError::Again { code, .. } if code == "ExpiredNextTokenException")
}

/// `None` is the service's default.
fn asked(filter: &ShardFilter) -> Result<Option<types::ShardFilter>, String> {
    use types::ShardFilterType as Type;
    let builder = types::ShardFilter::builder();
    let builder = match filter {
        ShardFilter::All => return Ok(None),
        ShardFilter::AtTrimHorizon => builder.r#type(Type::AtTrimHorizon),
        ShardFilter::AtLatest => builder.r#type(Type::AtLatest),
        ShardFilter::AtTimestamp(time) => builder.r#type(Type::AtTimestamp).timestamp(date_time(*time)),
        ShardFilter::FromTimestamp(time) => builder.r#type(Type::FromTimestamp).timestamp(date_time(*time)),
        ShardFilter::AfterShardId(id) => builder.r#type(Type::AfterShardId).shard_id(id),
    };
    builder.build().map(Some).map_err(|error| error.to_string())
}

fn read(shard: types::Shard) -> Result<ShardInfo, Unreadable> {
    if shard.shard_id.is_empty() {
        return Err("a shard has no id".to_owned());
    }
    let range = shard.sequence_number_range.ok_or_else(|| "a shard has no sequence numbers".to_owned())?;
    Ok(ShardInfo {
        hash_keys: hash_keys(shard.hash_key_range.as_ref())?,
        starting_sequence_number: sequence_number(&range.starting_sequence_number)?,
        ending_sequence_number: range.ending_sequence_number.as_deref().map(sequence_number).transpose()?,
        id: shard.shard_id,
        parent: shard.parent_shard_id,
        adjacent_parent: shard.adjacent_parent_shard_id,
    })
}
