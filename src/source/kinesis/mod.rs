//! Kinesis Data Streams: every shard of a stream is a source partition.
//!
//! Facts of the service are those of its API model, 2013-12-02.

pub mod client;
pub mod leases;
pub mod page;
