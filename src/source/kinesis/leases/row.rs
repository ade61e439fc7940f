//! A lease as an item of DynamoDB, attribute by attribute as the KCL has it.
//!
//! What the KCL writes in any of its versions is understood, and what it would not understand is not written. A row that
//! is no lease says what it is instead; none is taken for absent because it cannot be read.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use bytes::Bytes;

use super::lease::{Checkpoint, Lease, PendingCheckpoint};
use crate::source::kinesis::page::HashKeyRange;

pub const LEASE_KEY: &str = "leaseKey";
pub const LEASE_OWNER: &str = "leaseOwner";
pub const LEASE_COUNTER: &str = "leaseCounter";
pub const OWNER_SWITCHES: &str = "ownerSwitchesSinceCheckpoint";
pub const CHECKPOINT: &str = "checkpoint";
pub const CHECKPOINT_SUB_SEQUENCE_NUMBER: &str = "checkpointSubSequenceNumber";
pub const PENDING_CHECKPOINT: &str = "pendingCheckpoint";
pub const PENDING_CHECKPOINT_SUB_SEQUENCE_NUMBER: &str = "pendingCheckpointSubSequenceNumber";
pub const PENDING_CHECKPOINT_STATE: &str = "pendingCheckpointState";
pub const PARENT_SHARD_IDS: &str = "parentShardId";
pub const CHILD_SHARD_IDS: &str = "childShardIds";
pub const STARTING_HASH_KEY: &str = "startingHashKey";
pub const ENDING_HASH_KEY: &str = "endingHashKey";
pub const CHECKPOINT_OWNER: &str = "checkpointOwner";
pub const ENTITY_TYPE: &str = "entityType";
/// In tables of applications that read several streams.
pub const STREAM_NAME: &str = "streamName";

/// What [`ENTITY_TYPE`] says of a lease, if anything.
const LEASE_ENTITY: &str = "LEASE";
/// No shard's id has it: it joins account, stream, time of creation and shard in a key of several streams' table.
const STREAM_SEPARATOR: char = ':';

/// The attributes of an item.
pub type Item = HashMap<String, AttributeValue>;

/// What an item of the lease table is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Row {
    Lease(Box<Lease>),
    /// Something else that the KCL keeps there: streams, a leader's lock, metrics, the state of migrations.
    Entity {
        key: String,
        entity_type: String,
    },
    /// A lease of a table that several streams share.
    OfStream {
        key: String,
        stream: String,
    },
    /// A lease, and not as the KCL writes one.
    Unreadable {
        key: String,
        reason: String,
    },
}

impl Row {
    /// `None` if it is anything else.
    pub fn into_lease(self) -> Option<Lease> {
        match self {
            Self::Lease(lease) => Some(*lease),
            Self::Entity { .. } | Self::OfStream { .. } | Self::Unreadable { .. } => None,
        }
    }
}

/// What an item is.
pub fn read(item: &Item) -> Row {
    let key = text(item, LEASE_KEY).ok().flatten().unwrap_or_default().to_owned();
    match text(item, ENTITY_TYPE) {
        Ok(None | Some(LEASE_ENTITY)) => {}
        Ok(Some(entity_type)) => return Row::Entity { key, entity_type: entity_type.to_owned() },
        Err(reason) => return Row::Unreadable { key, reason },
    }
    if let Some(stream) = stream(item, &key) {
        return Row::OfStream { key, stream };
    }
    match read_lease(item, &key) {
        Ok(lease) => Row::Lease(Box::new(lease)),
        Err(reason) => Row::Unreadable { key, reason },
    }
}

/// The attributes of a new row, without its key.
pub fn write(lease: &Lease) -> Vec<(&'static str, AttributeValue)> {
    let mut attributes = vec![
        (LEASE_COUNTER, n(lease.counter)),
        (OWNER_SWITCHES, n(lease.owner_switches)),
        (CHECKPOINT, s(lease.checkpoint)),
        (CHECKPOINT_SUB_SEQUENCE_NUMBER, n(lease.checkpoint.sub_sequence_number())),
    ];
    attributes.extend(lease.owner.iter().map(|owner| (LEASE_OWNER, s(owner))));
    attributes.extend(lease.pending.iter().flat_map(write_pending));
    // There are no empty sets in DynamoDB.
    attributes.extend(ss(&lease.parents).map(|parents| (PARENT_SHARD_IDS, parents)));
    attributes.extend(ss(&lease.children).map(|children| (CHILD_SHARD_IDS, children)));
    if let Some(range) = &lease.hash_keys {
        attributes.extend([(STARTING_HASH_KEY, s(range.start)), (ENDING_HASH_KEY, s(range.end))]);
    }
    attributes.extend(lease.checkpoint_owner.iter().map(|owner| (CHECKPOINT_OWNER, s(owner))));
    attributes
}

/// The attributes of what is being delivered.
pub fn write_pending(pending: &PendingCheckpoint) -> Vec<(&'static str, AttributeValue)> {
    let mut attributes = vec![
        (PENDING_CHECKPOINT, s(pending.checkpoint)),
        (PENDING_CHECKPOINT_SUB_SEQUENCE_NUMBER, n(pending.checkpoint.sub_sequence_number())),
    ];
    let state = pending.state.iter().map(|state| AttributeValue::B(Blob::new(state.to_vec())));
    attributes.extend(state.map(|state| (PENDING_CHECKPOINT_STATE, state)));
    attributes
}

pub fn s(text: impl ToString) -> AttributeValue {
    AttributeValue::S(text.to_string())
}

pub fn n(number: u64) -> AttributeValue {
    AttributeValue::N(number.to_string())
}

/// `None` for no texts.
pub fn ss(texts: &BTreeSet<String>) -> Option<AttributeValue> {
    (!texts.is_empty()).then(|| AttributeValue::Ss(texts.iter().cloned().collect()))
}

/// The text under a name; an error is a reason for people.
pub fn text<'a>(item: &'a Item, name: &str) -> Result<Option<&'a str>, String> {
    match item.get(name) {
        None | Some(AttributeValue::Null(_)) => Ok(None),
        Some(AttributeValue::S(text)) => Ok(Some(text)),
        Some(_) => Err(format!("`{name}` is not a string")),
    }
}

/// The stream whose lease it is, in a table of several.
fn stream(item: &Item, key: &str) -> Option<String> {
    match (text(item, STREAM_NAME), key.rsplit_once(STREAM_SEPARATOR)) {
        (Ok(Some(stream)), _) => Some(stream.to_owned()),
        (_, Some((stream, _))) => Some(stream.to_owned()),
        _ => None,
    }
}

fn read_lease(item: &Item, key: &str) -> Result<Lease, String> {
    if key.is_empty() {
        return Err(format!("there is no `{LEASE_KEY}`"));
    }
    Ok(Lease {
        key: key.into(),
        owner: owner(item, LEASE_OWNER)?,
        counter: number(item, LEASE_COUNTER)?.ok_or_else(|| format!("there is no `{LEASE_COUNTER}`"))?,
        checkpoint: checkpoint(item, CHECKPOINT, CHECKPOINT_SUB_SEQUENCE_NUMBER)?
            .ok_or_else(|| format!("there is no `{CHECKPOINT}`"))?,
        pending: pending(item)?,
        owner_switches: number(item, OWNER_SWITCHES)?.unwrap_or(0),
        parents: texts(item, PARENT_SHARD_IDS)?,
        children: texts(item, CHILD_SHARD_IDS)?,
        hash_keys: hash_keys(item)?,
        checkpoint_owner: owner(item, CHECKPOINT_OWNER)?,
    })
}

fn pending(item: &Item) -> Result<Option<PendingCheckpoint>, String> {
    let checkpoint = checkpoint(item, PENDING_CHECKPOINT, PENDING_CHECKPOINT_SUB_SEQUENCE_NUMBER)?;
    let state = match item.get(PENDING_CHECKPOINT_STATE) {
        Some(AttributeValue::B(state)) => Some(Bytes::copy_from_slice(state.as_ref())),
        // The KCL creates rows with a number here: a mistake of its own, which it cannot read itself.
        Some(AttributeValue::N(state) | AttributeValue::S(state)) => Some(Bytes::copy_from_slice(state.as_bytes())),
        _ => None,
    };
    Ok(checkpoint.map(|checkpoint| PendingCheckpoint { checkpoint, state }))
}

fn checkpoint(item: &Item, name: &str, sub_name: &str) -> Result<Option<Checkpoint>, String> {
    let sub_sequence_number = number(item, sub_name)?.unwrap_or(0);
    let Some(text) = text(item, name)?.filter(|text| !text.is_empty()) else { return Ok(None) };
    Checkpoint::parse(text, sub_sequence_number).map(Some).map_err(|error| format!("`{name}`: {error}"))
}

fn hash_keys(item: &Item) -> Result<Option<HashKeyRange>, String> {
    let hash_key = |name| match text(item, name)? {
        None | Some("") => Ok(None),
        Some(digits) => digits.parse::<u128>().map(Some).map_err(|_| format!("`{name}` is no number of 128 bits")),
    };
    Ok(match (hash_key(STARTING_HASH_KEY)?, hash_key(ENDING_HASH_KEY)?) {
        (Some(start), Some(end)) if start <= end => Some(HashKeyRange { start, end }),
        (Some(_), Some(_)) => return Err(format!("`{STARTING_HASH_KEY}` is behind `{ENDING_HASH_KEY}`")),
        // As the KCL takes it: one alone is none.
        _ => None,
    })
}

fn owner(item: &Item, name: &str) -> Result<Option<Arc<str>>, String> {
    Ok(text(item, name)?.filter(|owner| !owner.is_empty()).map(Arc::from))
}

fn number(item: &Item, name: &str) -> Result<Option<u64>, String> {
    match item.get(name) {
        None | Some(AttributeValue::Null(_)) => Ok(None),
        Some(AttributeValue::N(digits)) => {
            digits.parse().map(Some).map_err(|_| format!("`{name}` is no whole number: `{digits}`"))
        }
        Some(_) => Err(format!("`{name}` is not a number")),
    }
}

fn texts(item: &Item, name: &str) -> Result<BTreeSet<String>, String> {
    match item.get(name) {
        None | Some(AttributeValue::Null(_)) => Ok(BTreeSet::new()),
        Some(AttributeValue::Ss(texts)) => Ok(texts.iter().cloned().collect()),
        Some(_) => Err(format!("`{name}` is not a set of strings")),
    }
}

#[cfg(test)]
mod tests;
