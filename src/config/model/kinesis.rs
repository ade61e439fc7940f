//! The Kinesis source: which stream is read, from where, by what kind of consumer, and who divides its shards.

use std::time::Duration;

use serde::{Serialize, Serializer};

use super::AssumeRole;
use crate::source::kinesis::client::{ServiceConfig, StreamId};
use crate::source::kinesis::page::StartingPosition;

/// Reads every shard of a stream, each a source partition of its own.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct KinesisSourceConfig {
    /// A name of 1 to 128 characters of `[a-zA-Z0-9_.-]`, or the ARN of a stream.
    #[serde(serialize_with = "stream_id")]
    pub stream: StreamId,
    /// In this order: `region`, that of the ARN, that of `aws`. `None`: the SDK's chain decides.
    pub region: Option<String>,
    pub endpoint_url: Option<String>,
    pub assume_role: Option<AssumeRole>,
    /// The KCL's: whoever has the same one shares the work. 1 to 128 characters as in names of streams. Default the delivery
    /// stream's name; with a lease table it has to be given, as all workers must agree on it.
    pub application_name: String,
    /// Where the shards that are there at the first start are read from; their children begin at their beginning. Default
    /// `trim_horizon`. Sequence numbers only with exactly one shard in `shards`.
    #[serde(serialize_with = "position")]
    pub initial_position: StartingPosition,
    /// Only these, and none of their children; never with a lease table. Empty, the default: all there are and will be.
    pub shards: Vec<String>,
    /// Changes nothing of what is delivered, so it makes no new version of the delivery stream.
    #[serde(skip)]
    pub consumer: Consumer,
    pub on_misrouted: OnMisrouted,
    pub leases: Leases,
}

/// How records get here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Consumer {
    Polling {
        /// Of one call, 1 to 10,000. Default 10,000, which is the service's own limit.
        records_max: u32,
        /// Between two calls for a shard that is caught up. 200 to 60,000 ms: the service allows five calls a second for a
        /// shard, whoever makes them, and an iterator lives for five minutes. Default 1000, as Firehose reads: one call a
        /// second leaves four to others. (The KCL's 1500 would make each record half a second later.)
        interval: Duration,
    },
    /// Shards send, each with a throughput of the consumer's own.
    EnhancedFanOut {
        /// Registered at the stream under this name. As names of streams; default `application_name`.
        name: String,
        /// Whether the registration is taken back at the end. Default false: the next start finds it.
        deregisters: bool,
    },
}

/// What becomes of an aggregated record in which the hash of a partition key is not of the shard: the producer has put it
/// there for a shard that is no more, and its records are not where their keys belong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum OnMisrouted {
    /// The whole aggregate, as it was read. The default: the KCL drops it, and here nothing is lost.
    ErrorOutput,
    /// As the KCL does; counted as dropped.
    Drop,
    /// Its records are delivered like those of any other aggregate.
    Deliver,
}

/// Who says which worker reads a shard, and up to where it was read.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub enum Leases {
    /// One Hydrant reads all shards; checkpoints are in its journal.
    Local,
    /// Workers divide the shards by a table in the KCL's format, which has the checkpoints.
    DynamoDb(Box<LeaseTableConfig>),
}

/// `leases: { dynamodb: … }`: the table, and how its leases are taken. Only the table itself tells one version of a delivery
/// stream from the next: workers of one fleet may differ in the rest.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LeaseTableConfig {
    /// 3 to 255 characters as in names of streams. Default `application_name`.
    pub table: String,
    /// Default that of the stream.
    pub region: Option<String>,
    /// Default that of `aws`, never that of the source, at which Kinesis answers.
    pub endpoint_url: Option<String>,
    /// Default that of the source.
    pub assume_role: Option<AssumeRole>,
    /// A lease whose counter has stood still for so long is anybody's. The same for all workers: whoever renews more slowly
    /// loses its leases. 1 to 3600 seconds, default 10.
    #[serde(skip)]
    pub failover: Duration,
    /// That this worker holds at a time, 1 to 100,000; `None`, the default, is no limit. A fleet whose workers may not hold all
    /// leases together leaves shards unread.
    #[serde(skip)]
    pub leases_max: Option<u32>,
    /// In one cycle, 1 to 1000, default 1 as the KCL's: each steal costs a hand-over.
    #[serde(skip)]
    pub leases_to_steal_max: u32,
    /// This worker's name in the table, 1 to 128 visible characters. `None`, the default: host name and a random part, new at
    /// each start, so that two workers never have the same.
    #[serde(skip)]
    pub worker_id: Option<String>,
}

impl KinesisSourceConfig {
    /// What a record can have at most, by the service's limit: no configuration of ours makes it less.
    pub const RECORD_BYTES_MAX: u64 = 10 << 20;

    /// For people.
    pub fn place(&self) -> String {
        format!("Kinesis stream {}", self.stream.as_str())
    }

    /// Without its ARN.
    pub fn stream_name(&self) -> &str {
        match &self.stream {
            StreamId::Name(name) => name,
            StreamId::Arn(arn) => arn.rsplit('/').next().unwrap_or(arn),
        }
    }

    /// As far as the configuration tells: a name may be another account's.
    pub fn is_same_stream(&self, other: &Self) -> bool {
        let is_same_name = match (&self.stream, &other.stream) {
            (StreamId::Arn(one), StreamId::Arn(other)) => one == other,
            (StreamId::Name(_), _) | (_, StreamId::Name(_)) => self.stream_name() == other.stream_name(),
        };
        is_same_name && (&self.region, &self.endpoint_url) == (&other.region, &other.endpoint_url)
    }

    /// Where Kinesis is, and who calls it.
    pub fn service(&self) -> ServiceConfig {
        ServiceConfig {
            region: self.region.clone(),
            endpoint_url: self.endpoint_url.clone(),
            assume_role: self.assume_role.clone(),
        }
    }

    /// The table, where there is one.
    pub fn lease_table(&self) -> Option<&LeaseTableConfig> {
        match &self.leases {
            Leases::DynamoDb(table) => Some(table),
            Leases::Local => None,
        }
    }

    /// With nothing but what decides over what becomes of a record. From where it came, who has read it and when it was asked
    /// for has no part in that.
    pub fn without_place(&self) -> Self {
        Self {
            stream: StreamId::Name(String::new()),
            region: None,
            endpoint_url: None,
            assume_role: None,
            application_name: String::new(),
            initial_position: StartingPosition::TrimHorizon,
            shards: Vec::new(),
            consumer: self.consumer.clone(),
            on_misrouted: self.on_misrouted,
            leases: Leases::Local,
        }
    }

    /// `initial_position` as it is written.
    pub fn initial_position_text(&self) -> String {
        position_text(&self.initial_position)
    }
}

impl LeaseTableConfig {
    /// Where DynamoDB is, and who calls it.
    pub fn service(&self) -> ServiceConfig {
        ServiceConfig {
            region: self.region.clone(),
            endpoint_url: self.endpoint_url.clone(),
            assume_role: self.assume_role.clone(),
        }
    }

    pub fn is_same_table(&self, other: &Self) -> bool {
        (&self.table, &self.region, &self.endpoint_url) == (&other.table, &other.region, &other.endpoint_url)
    }
}

fn position_text(position: &StartingPosition) -> String {
    match position {
        StartingPosition::TrimHorizon => "trim_horizon".to_owned(),
        StartingPosition::Latest => "latest".to_owned(),
        StartingPosition::AtTimestamp(timestamp) => format!("at_timestamp {timestamp}"),
        StartingPosition::At(number) => format!("at_sequence_number {number}"),
        StartingPosition::After(number) => format!("after_sequence_number {number}"),
    }
}

fn stream_id<S: Serializer>(stream: &StreamId, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(stream.as_str())
}

fn position<S: Serializer>(position: &StartingPosition, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&position_text(position))
}
