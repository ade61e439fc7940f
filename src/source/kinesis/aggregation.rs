//! Aggregates of the KPL: records of the stream that hold several records of the user.
//!
//! Behind four magic bytes an AggregatedRecord of protobuf, behind that its MD5 (the KPL's aggregation-format.md). Invariant:
//! whether a record is opened is decided before anything of it is given away, and what is not an aggregate without a fault
//! keeps all of its bytes. Opening copies no data, and takes less than ten times a record's size if nothing but tables is in it.

use bytes::Bytes;
use md5::{Digest, Md5};

use super::page::HashKeyRange;

mod aggregate;
#[cfg(test)]
pub(super) mod encoder;
#[cfg(test)]
mod golden;
mod hash_key;
mod message;
#[cfg(test)]
mod tests;

pub use aggregate::{Aggregate, UserRecord};
pub use hash_key::hash_of;

use message::{Message, Span};

const MAGIC: [u8; 4] = [0xF3, 0x89, 0x9A, 0xC2];
const DIGEST_BYTES: usize = 16;

/// What a record of the stream turned out to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Opened {
    /// No aggregate, whatever it looks like: its data are those of one user record, of sub-sequence number 0.
    Plain,
    /// Its user records, maybe none.
    Aggregate(Aggregate),
    /// Complete, but one of its records at least belongs to another shard: the KCL gives none of it to its processor.
    Misrouted(Aggregate, Misroute),
    /// Its digest is right and its records are not. The KCL gives those before the fault to its processor and loses the rest;
    /// here nothing is taken out of it.
    Broken(Broken),
}

/// The first record of an aggregate whose hash key is not in the shard's range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the hash key of user record {sub_sequence_number} of the aggregate is outside the shard's range")]
pub struct Misroute {
    pub sub_sequence_number: u64,
}

/// Why the user records of an aggregate cannot be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("user record {sub_sequence_number} of the aggregate {fault}")]
pub struct Broken {
    pub sub_sequence_number: u64,
    pub fault: Fault,
}

/// What is wrong with a user record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    #[error("has a partition key that is not in the aggregate's table")]
    NoPartitionKey,
    #[error("has an explicit hash key that is not in the aggregate's table")]
    NoExplicitHashKey,
    #[error("has an explicit hash key that is no number")]
    NotANumber,
    #[error("has a key of more than {KEY_BYTES_MAX} bytes")]
    LongKey,
}

/// The service takes partition keys of 256 characters, and the KPL no longer ones. Without a bound one key of many records
/// would be worth more memory and time than the whole aggregate.
pub const KEY_BYTES_MAX: usize = 1024;

/// Opens a record of `shard` as the KCL does (AggregatorUtil of 3.5). [`HashKeyRange::ALL`] takes a record of any shard.
///
/// - An aggregate begins with the magic bytes, more than 16 follow, the last 16 are the MD5 of those between, and those are a
///   message with all required fields. Everything else is plain.
/// - A user record's hash key is its explicit one, else the MD5 of its partition key. A negative explicit hash key, and one of
///   2¹²⁸ or more, is in no shard's range.
/// - Sub-sequence numbers count the records of the message from 0. An aggregate without any is one of none.
/// - Unknown fields and tags are ignored. Bytes of a key that are not UTF-8 are U+FFFD, for the MD5 too.
///
/// Other than the KCL, which notices a fault after it has given away what stands before, this reports one instead of anything
/// else; it finds one in a key of more than [`KEY_BYTES_MAX`] too, and takes an index of 2³² for what it is, not for 0.
pub fn open(data: &Bytes, shard: &HashKeyRange) -> Opened {
    let Some(message) = message_of(data).and_then(|span| Message::read(data, span).ok()) else {
        return Opened::Plain;
    };
    let aggregate = Aggregate::new(data.clone(), message);
    match aggregate.first_outside(shard) {
        Ok(None) => Opened::Aggregate(aggregate),
        Ok(Some(misroute)) => Opened::Misrouted(aggregate, misroute),
        Err(broken) => Opened::Broken(broken),
    }
}

/// Where the message stands in what says by its magic and its digest that it is an aggregate.
fn message_of(data: &[u8]) -> Option<Span> {
    let (message, digest) = data.strip_prefix(&MAGIC)?.split_last_chunk::<DIGEST_BYTES>()?;
    let is_aggregate = !message.is_empty() && md5(message) == *digest;
    // No record of the service comes near 4 GiB.
    is_aggregate.then(|| Span::new(MAGIC.len(), message.len()))?
}

fn md5(bytes: &[u8]) -> [u8; DIGEST_BYTES] {
    Md5::digest(bytes).into()
}
