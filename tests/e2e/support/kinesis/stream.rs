//! One stream on the server: what is put into it, how its shards are divided, and what is in it.

use std::ops::RangeInclusive;

use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::{
    ConsumerStatus, PutRecordsRequestEntry, Record, ScalingType, ShardIteratorType, StreamStatus,
};

use super::Kinesis;
use crate::support::wait::wait_until;

/// What PutRecords takes in one call, in records and, with room to spare, in bytes.
const PUT_RECORDS: usize = 500;
const PUT_BYTES: usize = 4 << 20;

/// A record to put.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Put {
    pub partition_key: String,
    /// In place of the MD5 of the partition key.
    pub explicit_hash_key: Option<u128>,
    pub data: Vec<u8>,
}

impl Put {
    pub fn new(partition_key: impl Into<String>, data: impl Into<Vec<u8>>) -> Self {
        Self { partition_key: partition_key.into(), explicit_hash_key: None, data: data.into() }
    }

    /// The same record, for the shard that has this hash.
    pub fn with_hash(self, hash: u128) -> Self {
        Self { explicit_hash_key: Some(hash), ..self }
    }
}

/// Where the service has put a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    pub shard: String,
    pub sequence_number: String,
}

/// A record as the service gives it back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Read {
    pub shard: String,
    pub sequence_number: String,
    pub partition_key: String,
    pub data: Vec<u8>,
    pub arrival_ms: i64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shard {
    pub id: String,
    /// Two of a merged one, none of those that the stream began with.
    pub parents: Vec<String>,
    pub hash_keys: RangeInclusive<u128>,
    pub is_open: bool,
}

/// It is deleted with this value.
pub struct KinesisStream<'a> {
    server: &'a Kinesis,
    name: String,
    arn: String,
}

impl<'a> KinesisStream<'a> {
    pub(super) fn create(server: &'a Kinesis, name: String, shards: usize) -> Self {
        let create = server.client.create_stream().stream_name(&name).shard_count(shards as i32);
        server.block_on(create.send()).expect("a stream made");
        let mut stream = Self { server, name, arn: String::new() };
        stream.wait_until_active();
        let summary = stream.server.client.describe_stream_summary().stream_name(&stream.name).send();
        let summary = server.block_on(summary).expect("a description").stream_description_summary.expect("a summary");
        stream.arn = summary.stream_arn;
        stream
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn arn(&self) -> &str {
        &self.arn
    }

    /// Puts them one after the other, up to 500 in a call; where each has gone. What is refused is put again behind the rest of its
    /// call, as every producer does it.
    pub fn put(&self, records: &[Put]) -> Vec<Placed> {
        let mut placed = vec![None; records.len()];
        let mut waiting: Vec<usize> = (0..records.len()).collect();
        while !waiting.is_empty() {
            let rest = waiting.split_off(one_call(records, &waiting));
            let refused = self.put_once(records, &waiting, &mut placed);
            waiting = refused.into_iter().chain(rest).collect();
        }
        placed.into_iter().map(|place| place.expect("none waits any more")).collect()
    }

    /// Numbered records, each under a partition key of its own.
    pub fn put_numbers(&self, numbers: std::ops::Range<usize>) -> Vec<Placed> {
        self.put(&numbers.map(|n| Put::new(format!("key-{n}"), format!("{{\"n\":{n}}}"))).collect::<Vec<_>>())
    }

    /// Those that were refused.
    fn put_once(&self, records: &[Put], which: &[usize], placed: &mut [Option<Placed>]) -> Vec<usize> {
        let entries = which.iter().map(|&at| entry(&records[at])).collect();
        let put = self.server.client.put_records().stream_name(&self.name).set_records(Some(entries));
        let answer = self.server.block_on(put.send()).expect("records put");
        assert_eq!(answer.records.len(), which.len(), "an answer for each");
        let mut refused = Vec::new();
        for (&at, record) in which.iter().zip(answer.records) {
            match (record.shard_id, record.sequence_number) {
                (Some(shard), Some(sequence_number)) => placed[at] = Some(Placed { shard, sequence_number }),
                _ => refused.push(at),
            }
        }
        refused
    }

    /// Those that are there, also the closed ones.
    pub fn shards(&self) -> Vec<Shard> {
        let (mut shards, mut token) = (Vec::new(), None);
        loop {
            let list = self.server.client.list_shards();
            let list = match token {
                None => list.stream_name(&self.name),
                token => list.set_next_token(token),
            };
            let page = self.server.block_on(list.send()).expect("shards listed");
            shards.extend(page.shards.unwrap_or_default().into_iter().map(shard));
            token = page.next_token;
            if token.is_none() {
                return shards;
            }
        }
    }

    pub fn open_shards(&self) -> Vec<Shard> {
        self.shards().into_iter().filter(|shard| shard.is_open).collect()
    }

    /// Splits a shard in the middle of its hash keys; its children, the lower one first.
    pub fn split(&self, id: &str) -> [String; 2] {
        let shard = self.shards().into_iter().find(|shard| shard.id == id).expect("the shard is there");
        let (low, high) = shard.hash_keys.into_inner();
        let split = self.server.client.split_shard().stream_name(&self.name).shard_to_split(id);
        let split = split.new_starting_hash_key((low + (high - low) / 2 + 1).to_string());
        self.server.block_on(split.send()).expect("a shard split");
        self.wait_until_active();
        self.children(id).try_into().expect("two children")
    }

    /// Merges two neighbours; their child.
    pub fn merge(&self, id: &str, adjacent: &str) -> String {
        let merge = self.server.client.merge_shards().stream_name(&self.name);
        let merge = merge.shard_to_merge(id).adjacent_shard_to_merge(adjacent);
        self.server.block_on(merge.send()).expect("shards merged");
        self.wait_until_active();
        let [child] = self.children(id).try_into().expect("one child");
        child
    }

    /// UpdateShardCount: as many splits and merges as it takes.
    pub fn update_shard_count(&self, shards: usize) {
        let update = self.server.client.update_shard_count().stream_name(&self.name).target_shard_count(shards as i32);
        self.server.block_on(update.scaling_type(ScalingType::UniformScaling).send()).expect("a number of shards set");
        self.wait_until_active();
        assert_eq!(self.open_shards().len(), shards, "as many as were asked for");
    }

    /// Those that go on where this one ends, by their hash keys.
    pub fn children(&self, id: &str) -> Vec<String> {
        let mut shards = self.shards();
        shards.retain(|shard| shard.parents.iter().any(|parent| parent == id));
        shards.sort_by_key(|shard| *shard.hash_keys.start());
        shards.into_iter().map(|shard| shard.id).collect()
    }

    /// All records that are in a shard, in their order.
    pub fn read(&self, shard: &str) -> Vec<Read> {
        let start = self.server.client.get_shard_iterator().stream_name(&self.name).shard_id(shard);
        let start = start.shard_iterator_type(ShardIteratorType::TrimHorizon).send();
        let mut iterator = self.server.block_on(start).expect("an iterator").shard_iterator;
        let mut read = Vec::new();
        while let Some(from) = iterator {
            let page = self.server.client.get_records().shard_iterator(from).limit(10_000).send();
            let page = self.server.block_on(page).expect("a page of records");
            let is_end = page.records.is_empty() && page.millis_behind_latest == Some(0);
            read.extend(page.records.into_iter().map(|record| self::read(shard, record)));
            iterator = page.next_shard_iterator.filter(|_| !is_end);
        }
        read
    }

    /// All records of all shards, shard by shard.
    pub fn read_all(&self) -> Vec<Read> {
        self.shards().iter().flat_map(|shard| self.read(&shard.id)).collect()
    }

    /// A consumer for enhanced fan-out, once it is active; its ARN.
    pub fn register_consumer(&self, name: &str) -> String {
        let register = self.server.client.register_stream_consumer().stream_arn(&self.arn).consumer_name(name);
        let consumer = self.server.block_on(register.send()).expect("a consumer registered").consumer;
        wait_until("the consumer is active", || self.consumer(name) == Some(ConsumerStatus::Active));
        consumer.expect("the consumer").consumer_arn
    }

    /// `None` where there is no such consumer.
    pub fn consumer(&self, name: &str) -> Option<ConsumerStatus> {
        let list = self.server.client.list_stream_consumers().stream_arn(&self.arn).send();
        let consumers = self.server.block_on(list).expect("consumers listed").consumers.unwrap_or_default();
        consumers.into_iter().find(|consumer| consumer.consumer_name == name).map(|consumer| consumer.consumer_status)
    }

    pub fn deregister_consumer(&self, name: &str) {
        let deregister = self.server.client.deregister_stream_consumer().stream_arn(&self.arn).consumer_name(name);
        self.server.block_on(deregister.send()).expect("a consumer deregistered");
        wait_until("the consumer is gone", || self.consumer(name).is_none());
    }

    fn wait_until_active(&self) {
        wait_until("the stream is active", || {
            let summary = self.server.client.describe_stream_summary().stream_name(&self.name).send();
            let summary = self.server.block_on(summary).expect("a description").stream_description_summary;
            summary.expect("a summary").stream_status == StreamStatus::Active
        });
    }
}

impl Drop for KinesisStream<'_> {
    fn drop(&mut self) {
        let delete = self.server.client.delete_stream().stream_name(&self.name).enforce_consumer_deletion(true);
        let _ = self.server.block_on(delete.send());
    }
}

fn shard(shard: aws_sdk_kinesis::types::Shard) -> Shard {
    let hash_keys = shard.hash_key_range.expect("a range");
    let hash = |text: String| text.parse().expect("a hash key");
    Shard {
        id: shard.shard_id,
        parents: shard.parent_shard_id.into_iter().chain(shard.adjacent_parent_shard_id).collect(),
        hash_keys: hash(hash_keys.starting_hash_key)..=hash(hash_keys.ending_hash_key),
        is_open: shard.sequence_number_range.expect("a range").ending_sequence_number.is_none(),
    }
}

fn read(shard: &str, record: Record) -> Read {
    let arrival = record.approximate_arrival_timestamp.expect("a time of arrival");
    Read {
        shard: shard.to_owned(),
        sequence_number: record.sequence_number,
        partition_key: record.partition_key.expect("a partition key"),
        data: record.data.into_inner(),
        // Seconds as a float, so maybe some nanoseconds less than the millisecond that is meant.
        arrival_ms: (arrival.as_secs_f64() * 1e3).round() as i64,
    }
}

fn entry(record: &Put) -> PutRecordsRequestEntry {
    let entry = PutRecordsRequestEntry::builder()
        .partition_key(&record.partition_key)
        .set_explicit_hash_key(record.explicit_hash_key.map(|hash| hash.to_string()))
        .data(Blob::new(record.data.clone()));
    entry.build().expect("a partition key and data")
}

/// How many of them go into one call.
fn one_call(records: &[Put], waiting: &[usize]) -> usize {
    let mut bytes = 0;
    let fit = waiting.iter().take(PUT_RECORDS).take_while(|&&at| {
        bytes += records[at].data.len() + records[at].partition_key.len();
        bytes <= PUT_BYTES
    });
    fit.count().max(1)
}
