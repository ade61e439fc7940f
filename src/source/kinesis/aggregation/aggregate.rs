//! The user records of one aggregate.

use std::borrow::Cow;

use bytes::Bytes;

use super::hash_key::{self, NotANumber};
use super::message::{Message, Record, Span};
use super::{Broken, Fault, HashKeyRange, KEY_BYTES_MAX, Misroute};

/// An opened aggregate. Each of its records has its keys, and they have the right form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Aggregate {
    data: Bytes,
    message: Message,
}

/// What the user gave to the producer. Sequence number and arrival are those of the aggregate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserRecord<'a> {
    pub sub_sequence_number: u64,
    pub partition_key: Cow<'a, str>,
    pub explicit_hash_key: Option<Cow<'a, str>>,
    pub data: &'a [u8],
}

impl Aggregate {
    pub(super) fn new(data: Bytes, message: Message) -> Self {
        Self { data, message }
    }

    /// How many records it holds; none is possible.
    pub fn len(&self) -> usize {
        self.message.records.len()
    }

    /// The sub-sequence number of the last record; 0 where there is none.
    pub fn last(&self) -> u64 {
        (self.len() as u64).saturating_sub(1)
    }

    pub fn is_empty(&self) -> bool {
        self.message.records.is_empty()
    }

    /// The record of this sub-sequence number.
    pub fn get(&self, sub_sequence_number: usize) -> Option<UserRecord<'_>> {
        let record = self.message.records.get(sub_sequence_number)?;
        let text = |key: Span| String::from_utf8_lossy(key.of(&self.data));
        let explicit_hash_key = match record.explicit_hash_key {
            Some(index) => Some(text(key_at(&self.message.explicit_hash_keys, index)?)),
            None => None,
        };
        Some(UserRecord {
            sub_sequence_number: sub_sequence_number as u64,
            partition_key: text(key_at(&self.message.partition_keys, record.partition_key)?),
            explicit_hash_key,
            data: record.data.of(&self.data),
        })
    }

    /// All records in order of their sub-sequence numbers.
    pub fn records(&self) -> impl Iterator<Item = UserRecord<'_>> {
        self.records_from(0)
    }

    /// The records that are left if those before this sub-sequence number have been taken.
    pub fn records_from(&self, sub_sequence_number: usize) -> impl Iterator<Item = UserRecord<'_>> {
        (sub_sequence_number..self.len()).filter_map(|index| self.get(index))
    }

    /// Bytes that it takes besides those of the record that it was opened from.
    pub fn memory(&self) -> usize {
        let Message { partition_keys, explicit_hash_keys, records } = &self.message;
        let keys = partition_keys.capacity() + explicit_hash_keys.capacity();
        keys * size_of::<Span>() + records.capacity() * size_of::<Record>()
    }

    /// The first record that does not belong to `shard`, if none of them is broken.
    pub(super) fn first_outside(&self, shard: &HashKeyRange) -> Result<Option<Misroute>, Broken> {
        let mut places = Places::new(&self.data, &self.message, shard);
        let mut first = None;
        for (record, sub_sequence_number) in self.message.records.iter().zip(0..) {
            let is_inside = places.holds(record).map_err(|fault| Broken { sub_sequence_number, fault })?;
            if !is_inside && first.is_none() {
                first = Some(Misroute { sub_sequence_number });
            }
        }
        Ok(first)
    }
}

/// Whether keys belong to a shard. Each is looked at once, however many records have it.
struct Places<'a> {
    data: &'a [u8],
    message: &'a Message,
    shard: &'a HashKeyRange,
    partition_keys: Vec<Option<bool>>,
    explicit_hash_keys: Vec<Option<bool>>,
}

impl<'a> Places<'a> {
    fn new(data: &'a [u8], message: &'a Message, shard: &'a HashKeyRange) -> Self {
        let partition_keys = vec![None; message.partition_keys.len()];
        let explicit_hash_keys = vec![None; message.explicit_hash_keys.len()];
        Self { data, message, shard, partition_keys, explicit_hash_keys }
    }

    fn holds(&mut self, record: &Record) -> Result<bool, Fault> {
        let partition_key = key_at(&self.message.partition_keys, record.partition_key).ok_or(Fault::NoPartitionKey)?;
        let partition_key = self.short(partition_key)?;
        let Some(index) = record.explicit_hash_key else {
            let place = &mut self.partition_keys[record.partition_key as usize];
            let hash = || hash_key::hash_of(&String::from_utf8_lossy(partition_key));
            return Ok(*place.get_or_insert_with(|| self.shard.holds(hash())));
        };
        let key = key_at(&self.message.explicit_hash_keys, index).ok_or(Fault::NoExplicitHashKey)?;
        if let Some(known) = self.explicit_hash_keys[index as usize] {
            return Ok(known);
        }
        let hash = hash_key::explicit(self.short(key)?).map_err(|NotANumber| Fault::NotANumber)?;
        let is_inside = hash.is_some_and(|hash| self.shard.holds(hash));
        self.explicit_hash_keys[index as usize] = Some(is_inside);
        Ok(is_inside)
    }

    fn short(&self, key: Span) -> Result<&'a [u8], Fault> {
        if key.len() > KEY_BYTES_MAX { Err(Fault::LongKey) } else { Ok(key.of(self.data)) }
    }
}

fn key_at(table: &[Span], index: u32) -> Option<Span> {
    table.get(index as usize).copied()
}
