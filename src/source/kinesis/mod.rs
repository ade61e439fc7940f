//! Kinesis Data Streams: every shard of a stream is a source partition.
//!
//! Facts of the service are those of its API model, 2013-12-02.

pub mod client;
mod error;
pub mod page;
pub mod polling;
pub mod probe;
mod response;
pub mod shards;
pub mod summary;

#[cfg(test)]
pub(crate) mod testing;
