//! The source records that a request holds whole, as the journal has them.
//!
//! A delivery may be judged record by record, so that there are as many of these as it has records: they stay encoded.

use crate::positions::{RecordSet, decode_ranges, encode_ranges, put_varint, take_varint};
use crate::record::{PartitionId, PositionRange};

/// For each partition its number, the length of its ranges' byte string, and that.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Whole(Box<[u8]>);

impl Whole {
    pub fn of(records: &RecordSet) -> Self {
        let mut bytes = Vec::new();
        for (partition, ranges) in records.iter() {
            let ranges = encode_ranges(ranges);
            put_varint(&mut bytes, partition.0.unsigned_abs());
            put_varint(&mut bytes, ranges.len() as u64);
            bytes.extend(ranges);
        }
        Self(bytes.into())
    }

    /// `None` of bytes that are not of this form.
    pub fn from_bytes(bytes: Vec<u8>) -> Option<Self> {
        decode(&bytes)?;
        Some(Self(bytes.into()))
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The ranges in their partitions.
    pub fn ranges(&self) -> Vec<(PartitionId, PositionRange)> {
        decode(&self.0).unwrap_or_default()
    }
}

fn decode(mut bytes: &[u8]) -> Option<Vec<(PartitionId, PositionRange)>> {
    let mut all = Vec::new();
    while !bytes.is_empty() {
        let partition = PartitionId(i64::try_from(take_varint(&mut bytes)?).ok()?);
        let length = usize::try_from(take_varint(&mut bytes)?).ok()?;
        let (ranges, rest) = bytes.split_at_checked(length)?;
        all.extend(decode_ranges(ranges)?.into_iter().map(|range| (partition, range)));
        bytes = rest;
    }
    Some(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn records_come_back(steps in prop::collection::vec((1i64..4, 1u64..1000, 1u64..1000), 0..20)) {
            let (mut set, mut at) = (RecordSet::default(), 0);
            for (partition, gap, length) in steps {
                set.add(PartitionId(partition), PositionRange::new(at + gap, at + gap + length));
                at += gap + length;
            }
            let whole = Whole::of(&set);
            prop_assert_eq!(Whole::from_bytes(whole.as_bytes().to_vec()), Some(whole.clone()));
            let expected: Vec<_> = set.iter().flat_map(|(id, ranges)| ranges.iter().map(move |r| (id, r))).collect();
            prop_assert_eq!(whole.ranges(), expected);
        }

        #[test]
        fn any_bytes_are_records_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let _ = Whole::from_bytes(bytes);
        }
    }
}
