//! An encoder of aggregates for tests: prost's derived messages, which the reader does not use.

use bytes::Bytes;
use prost::Message as _;

use super::{MAGIC, md5};

#[derive(Clone, PartialEq, prost::Message)]
pub(in crate::source::kinesis) struct AggregatedRecord {
    #[prost(string, repeated, tag = "1")]
    pub partition_key_table: Vec<String>,
    #[prost(string, repeated, tag = "2")]
    pub explicit_hash_key_table: Vec<String>,
    #[prost(message, repeated, tag = "3")]
    pub records: Vec<Record>,
}

/// What is `required` is optional here: prost does not look whether it is there.
#[derive(Clone, PartialEq, prost::Message)]
pub(in crate::source::kinesis) struct Record {
    #[prost(uint64, optional, tag = "1")]
    pub partition_key_index: Option<u64>,
    #[prost(uint64, optional, tag = "2")]
    pub explicit_hash_key_index: Option<u64>,
    #[prost(bytes = "bytes", optional, tag = "3")]
    pub data: Option<Bytes>,
    #[prost(message, repeated, tag = "4")]
    pub tags: Vec<Tag>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(in crate::source::kinesis) struct Tag {
    #[prost(string, optional, tag = "1")]
    pub key: Option<String>,
    #[prost(string, optional, tag = "2")]
    pub value: Option<String>,
}

/// With a digest that is right, whatever the message is.
pub(in crate::source::kinesis) fn sealed(message: &[u8]) -> Bytes {
    [&MAGIC, message, &md5(message)].concat().into()
}

pub(in crate::source::kinesis) fn aggregate_of(message: &AggregatedRecord) -> Bytes {
    sealed(&message.encode_to_vec())
}

pub(in crate::source::kinesis) fn one_record(data: &[u8]) -> AggregatedRecord {
    message(&["a"], &[], &[(0, None, data)])
}

pub(in crate::source::kinesis) fn message(
    keys: &[&str],
    explicit: &[&str],
    records: &[(u64, Option<u64>, &[u8])],
) -> AggregatedRecord {
    let table = |keys: &[&str]| keys.iter().map(|key| (*key).to_owned()).collect();
    let record = |(key, explicit, data): &(u64, Option<u64>, &[u8])| Record {
        partition_key_index: Some(*key),
        explicit_hash_key_index: *explicit,
        data: Some(Bytes::copy_from_slice(data)),
        tags: Vec::new(),
    };
    AggregatedRecord {
        partition_key_table: table(keys),
        explicit_hash_key_table: table(explicit),
        records: records.iter().map(record).collect(),
    }
}
