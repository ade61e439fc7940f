//! The service's answers, parsed once: behind this, sequence numbers are numbers and hash keys are integers.
//!
//! What cannot be read is an error of the whole answer, which is asked for again: a record that was skipped would be lost.

use std::time::SystemTime;

use aws_sdk_kinesis::config::http::HttpResponse;
use aws_sdk_kinesis::primitives::{DateTime, DateTimeFormat};
use aws_sdk_kinesis::types;
use bytes::Bytes;
use jiff::Timestamp;

use super::page::{ChildShard, HashKeyRange, StreamRecord};
use crate::aws::failure::clean;
use crate::sequence_number::SequenceNumber;

/// Of what cannot be read, so much is shown.
const SHOWN_MAX: usize = 150;

/// Parts of an answer that cannot be what the service has sent. The text is a reason for people.
pub(super) type Unreadable = String;

/// A record, without copying its data.
pub(super) fn record(record: types::Record) -> Result<StreamRecord, Unreadable> {
    Ok(StreamRecord {
        sequence_number: sequence_number(&record.sequence_number)?,
        arrival: record.approximate_arrival_timestamp.and_then(|arrival| timestamp(&arrival)),
        // A stream that distributes its records by itself has some without.
        partition_key: record.partition_key.unwrap_or_default(),
        data: Bytes::from(record.data.into_inner()),
    })
}

/// All of them, or none.
pub(super) fn records(records: Vec<types::Record>) -> Result<Vec<StreamRecord>, Unreadable> {
    records.into_iter().map(record).collect()
}

pub(super) fn child_shard(child: types::ChildShard) -> Result<ChildShard, Unreadable> {
    if child.shard_id.is_empty() {
        return Err("a child shard has no id".to_owned());
    }
    let hash_keys = hash_keys(child.hash_key_range.as_ref())?;
    Ok(ChildShard { id: child.shard_id, parents: child.parent_shards, hash_keys })
}

pub(super) fn child_shards(children: Vec<types::ChildShard>) -> Result<Vec<ChildShard>, Unreadable> {
    children.into_iter().map(child_shard).collect()
}

pub(super) fn hash_keys(range: Option<&types::HashKeyRange>) -> Result<HashKeyRange, Unreadable> {
    let range = range.ok_or_else(|| "a shard has no range of hash keys".to_owned())?;
    Ok(HashKeyRange { start: hash_key(&range.starting_hash_key)?, end: hash_key(&range.ending_hash_key)? })
}

fn hash_key(text: &str) -> Result<u128, Unreadable> {
    text.parse().map_err(|_| format!("`{}` is no hash key", shown(text)))
}

pub(super) fn sequence_number(text: &str) -> Result<SequenceNumber, Unreadable> {
    text.parse().map_err(|error| format!("`{}`: {error}", shown(text)))
}

/// To the nearest millisecond, for answers hold seconds as floating point numbers: cut off, .123 would be .122. `None` beyond
/// the calendar.
pub(super) fn timestamp(time: &DateTime) -> Option<Timestamp> {
    let millis = (time.as_nanos() + 500_000).div_euclid(1_000_000);
    Timestamp::from_millisecond(i64::try_from(millis).ok()?).ok()
}

/// Exact to a nanosecond; the service keeps milliseconds.
pub(super) fn date_time(time: Timestamp) -> DateTime {
    DateTime::from_nanos(time.as_nanosecond()).unwrap_or_else(|_| DateTime::from_secs(time.as_second()))
}

/// Negative is caught up: clocks differ.
pub(super) fn behind_ms(millis: Option<i64>) -> Option<u64> {
    millis.map(|millis| u64::try_from(millis).unwrap_or(0))
}

/// The service's time when it answered, in whole seconds, rounded down.
pub(super) fn date(response: &HttpResponse) -> Option<SystemTime> {
    let date = DateTime::from_str(response.headers().get("date")?, DateTimeFormat::HttpDate).ok()?;
    SystemTime::try_from(date).ok()
}

fn shown(text: &str) -> String {
    clean(text).chars().take(SHOWN_MAX).collect()
}

#[cfg(test)]
mod tests {
    use aws_sdk_kinesis::primitives::Blob;

    use super::*;

    fn given(sequence_number: &str) -> types::Record {
        let record = types::Record::builder().sequence_number(sequence_number).data(Blob::new("data"));
        record
            .partition_key("k")
            .approximate_arrival_timestamp(DateTime::from_millis(1_700_000_000_123))
            .build()
            .unwrap()
    }

    #[test]
    fn a_record_keeps_all_it_has() {
        let read = record(given("49590338271490256608559692538361571095921575989136588898")).unwrap();
        assert_eq!(read.sequence_number.to_string(), "49590338271490256608559692538361571095921575989136588898");
        assert_eq!((read.data.as_ref(), read.partition_key.as_str()), (&b"data"[..], "k"));
        assert_eq!(read.arrival.unwrap().as_millisecond(), 1_700_000_000_123);
    }

    #[test]
    fn one_record_without_a_sequence_number_makes_the_answer_unreadable() {
        for text in ["", "x", "-1", "01"] {
            let reason = records(vec![given("1"), given(text)]).unwrap_err();
            assert!(reason.contains("a sequence number has"), "{reason}");
        }
    }

    #[test]
    fn a_child_needs_its_id_and_its_hash_keys() {
        let range = |start: &str, end: &str| {
            types::HashKeyRange::builder().starting_hash_key(start).ending_hash_key(end).build().unwrap()
        };
        let child = |id: &str, range| {
            let child = types::ChildShard::builder().shard_id(id).parent_shards("shardId-0").set_hash_key_range(range);
            child_shard(child.build().unwrap())
        };
        let all = child("shardId-1", Some(range("0", "340282366920938463463374607431768211455"))).unwrap();
        assert_eq!((all.hash_keys, all.parents), (HashKeyRange::ALL, vec!["shardId-0".to_owned()]));
        assert!(child("", Some(range("0", "1"))).is_err());
        assert!(child("shardId-1", None).is_err());
        assert!(child("shardId-1", Some(range("0", "340282366920938463463374607431768211456"))).is_err());
    }

    #[test]
    fn times_survive_both_ways() {
        let time: Timestamp = "2026-01-02T03:04:05.678Z".parse().unwrap();
        assert_eq!(timestamp(&date_time(time)), Some(time));
        assert_eq!(timestamp(&DateTime::from_secs(i64::MAX)), None);
        assert_eq!(timestamp(&DateTime::from_secs_f64(1_700_000_000.123)).unwrap().as_millisecond(), 1_700_000_000_123);
        assert_eq!((behind_ms(Some(-5)), behind_ms(Some(7)), behind_ms(None)), (Some(0), Some(7), None));
    }
}
