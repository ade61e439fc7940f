//! Aggregates that the library of the awslabs has made.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::Value;

use super::encoder::{aggregate_of, one_record};
use super::*;

const GOLDEN: &str = include_str!("golden/aggregates.tsv");

fn base64(text: &str) -> Bytes {
    STANDARD.decode(text).unwrap().into()
}

/// User records as JSON, and their aggregate.
fn aggregates() -> impl Iterator<Item = (Vec<Value>, Bytes)> {
    let lines = GOLDEN.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| {
        let (records, aggregate) = line.split_once('\t').unwrap();
        (serde_json::from_str(records).unwrap(), base64(aggregate))
    })
}

#[test]
fn aggregates_of_another_library_are_opened() {
    let mut opened = 0;
    for (expected, aggregate) in aggregates() {
        let Opened::Aggregate(aggregate) = open(&aggregate, &HashKeyRange::ALL) else { panic!("{aggregate:?}") };
        assert_eq!(aggregate.len(), expected.len());
        for (record, expected) in aggregate.records().zip(&expected) {
            assert_eq!(record.partition_key, expected["partition_key"].as_str().unwrap());
            assert_eq!(record.explicit_hash_key.as_deref(), expected["explicit_hash_key"].as_str());
            assert_eq!(record.data, base64(expected["data"].as_str().unwrap()));
        }
        opened += 1;
    }
    assert_eq!(opened, 7);
}

#[test]
fn what_is_in_an_aggregate_is_not_opened_again() {
    let nested = aggregates().nth(1).map(|(_, aggregate)| aggregate).unwrap();
    let outer = aggregate_of(&one_record(&nested));
    let Opened::Aggregate(outer) = open(&outer, &HashKeyRange::ALL) else { panic!("{outer:?}") };
    assert_eq!(outer.records().map(|record| record.data).collect::<Vec<_>>(), [&nested[..]]);
}
