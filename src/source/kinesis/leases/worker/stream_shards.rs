//! The shards of a Kinesis stream, as a worker wants them listed.

use super::ListShards;
use crate::source::kinesis::client::KinesisClient;
use crate::source::kinesis::leases::sync::ListedShard;
use crate::source::kinesis::page::ReadError;
use crate::source::kinesis::shards::{ShardFilter, ShardInfo};

/// A stream that is read from an initial position.
pub struct StreamShards {
    client: KinesisClient,
    initial: ShardFilter,
}

impl StreamShards {
    /// `initial` is what was open at the initial position.
    pub fn new(client: KinesisClient, initial: ShardFilter) -> Self {
        Self { client, initial }
    }

    async fn list(&self, filter: &ShardFilter) -> Result<Vec<ListedShard>, ReadError> {
        Ok(self.client.list_shards(filter).await?.into_iter().map(ListedShard::from).collect())
    }
}

impl ListShards for StreamShards {
    type Error = ReadError;

    async fn at_initial(&self) -> Result<Vec<ListedShard>, ReadError> {
        self.list(&self.initial).await
    }

    async fn all(&self) -> Result<Vec<ListedShard>, ReadError> {
        self.list(&ShardFilter::All).await
    }
}

impl From<ShardInfo> for ListedShard {
    fn from(shard: ShardInfo) -> Self {
        Self {
            id: shard.id,
            parents: shard.parent.into_iter().chain(shard.adjacent_parent).collect(),
            hash_keys: shard.hash_keys,
            starting: shard.starting_sequence_number,
            is_open: shard.ending_sequence_number.is_none(),
        }
    }
}
