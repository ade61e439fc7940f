//! Kinesis Data Streams: every shard of a stream is a source partition.
//!
//! [`source`] decides which shards are read, by their [`lineage`]; each is read by a task of its own ([`reading`]), page after page, by
//! [`polling`] or by enhanced [`fan_out`]; [`cutting`] makes chunks of the pages, and takes records of the KPL apart
//! ([`aggregation`]). [`rows`] is what the journal keeps of a shard. Several workers divide the shards by [`leases`].
//!
//! Facts of the service are those of its API model, 2013-12-02.

mod advice;
pub mod aggregation;
pub mod client;
mod cutting;
mod error;
pub mod fan_out;
pub mod leases;
pub mod lineage;
mod memory;
pub mod page;
mod patience;
pub mod polling;
pub mod probe;
mod reading;
mod registration;
mod response;
mod rows;
mod shard;
pub mod shards;
mod source;
pub mod summary;

#[cfg(test)]
pub(crate) mod testing;

pub use cutting::{BROKEN, MISROUTED};
pub use source::KinesisSource;
