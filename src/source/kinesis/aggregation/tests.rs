//! Properties of aggregates, and what is no proper one.

use bytes::Bytes;
use proptest::prelude::*;
use proptest::sample::Index;
use prost::Message as _;

use super::encoder::{AggregatedRecord, Record, Tag, aggregate_of, message, one_record, sealed};
use super::message::Record as ReadRecord;
use super::*;

fn open_anywhere(data: &Bytes) -> Opened {
    open(data, &HashKeyRange::ALL)
}

fn broken(sub_sequence_number: u64, fault: Fault) -> Opened {
    Opened::Broken(Broken { sub_sequence_number, fault })
}

/// Aggregates as a producer makes them.
fn aggregated() -> impl Strategy<Value = AggregatedRecord> {
    let tag = ("[a-z]{0,3}", prop::option::of(".{0,3}")).prop_map(|(key, value)| Tag { key: Some(key), value });
    let record = (any::<Index>(), prop::option::of(any::<Index>()), prop::collection::vec(any::<u8>(), 0..20));
    let records = prop::collection::vec((record, prop::collection::vec(tag, 0..2)), 0..12);
    let explicit = prop::collection::vec(any::<u128>().prop_map(|key| key.to_string()), 1..4);
    (prop::collection::vec(".{0,6}", 1..4), explicit, records).prop_map(|(keys, explicit, records)| {
        let record = |((key, own, data), tags): ((Index, Option<Index>, Vec<u8>), Vec<Tag>)| Record {
            partition_key_index: Some(key.index(keys.len()) as u64),
            explicit_hash_key_index: own.map(|index| index.index(explicit.len()) as u64),
            data: Some(data.into()),
            tags,
        };
        let records = records.into_iter().map(record).collect();
        AggregatedRecord { partition_key_table: keys, explicit_hash_key_table: explicit, records }
    })
}

/// Partition key, explicit hash key and data of each record.
type Content = Vec<(String, Option<String>, Vec<u8>)>;

fn content(message: &AggregatedRecord) -> Content {
    let record = |record: &Record| {
        let explicit = |index: u64| message.explicit_hash_key_table[index as usize].clone();
        let key = message.partition_key_table[record.partition_key_index() as usize].clone();
        (key, record.explicit_hash_key_index.map(explicit), record.data().to_vec())
    };
    message.records.iter().map(record).collect()
}

fn opened(aggregate: &Aggregate) -> Content {
    let owned = |record: UserRecord<'_>| {
        let explicit = record.explicit_hash_key.map(|key| key.into_owned());
        (record.partition_key.into_owned(), explicit, record.data.to_vec())
    };
    aggregate.records().map(owned).collect()
}

/// The number of the first record that is outside, one after the other.
fn first_outside(content: &Content, shard: &HashKeyRange) -> Option<u64> {
    let hash = |(key, explicit, _): &(String, Option<String>, Vec<u8>)| match explicit {
        Some(explicit) => explicit.parse().unwrap(),
        None => Md5::digest(key).iter().fold(0, |hash, byte| hash * 256 + u128::from(*byte)),
    };
    content.iter().position(|record| !(shard.start <= hash(record) && hash(record) <= shard.end)).map(|at| at as u64)
}

proptest! {
    #[test]
    fn what_was_packed_comes_out(message in aggregated(), from in 0usize..14) {
        let data = aggregate_of(&message);
        let Opened::Aggregate(aggregate) = open_anywhere(&data) else { panic!("{:?}", open_anywhere(&data)) };
        let expected = content(&message);
        prop_assert_eq!(opened(&aggregate), expected.clone());
        prop_assert_eq!(aggregate.len(), expected.len());
        let numbers: Vec<_> = aggregate.records_from(from).map(|record| record.sub_sequence_number).collect();
        prop_assert_eq!(numbers, (from as u64..expected.len() as u64).collect::<Vec<_>>());
    }

    #[test]
    fn the_order_of_tables_and_records_does_not_matter(message in aggregated()) {
        let AggregatedRecord { partition_key_table, explicit_hash_key_table, records } = message.clone();
        let records = AggregatedRecord { records, ..AggregatedRecord::default() };
        let tables = AggregatedRecord { partition_key_table, explicit_hash_key_table, ..AggregatedRecord::default() };
        let turned = sealed(&[records.encode_to_vec(), tables.encode_to_vec()].concat());
        let Opened::Aggregate(aggregate) = open_anywhere(&turned) else { panic!("{:?}", open_anywhere(&turned)) };
        prop_assert_eq!(opened(&aggregate), content(&message));
    }

    #[test]
    fn one_record_outside_the_shard_misroutes_all_of_them(message in aggregated(), one: u128, other: u128) {
        let shard = HashKeyRange { start: one.min(other), end: one.max(other) };
        let expected = content(&message);
        match (open(&aggregate_of(&message), &shard), first_outside(&expected, &shard)) {
            (Opened::Aggregate(aggregate), None) => prop_assert_eq!(opened(&aggregate), expected),
            (Opened::Misrouted(aggregate, Misroute { sub_sequence_number }), Some(first)) => {
                prop_assert_eq!((sub_sequence_number, opened(&aggregate)), (first, expected));
            }
            other => prop_assert!(false, "{other:?}"),
        }
    }

    #[test]
    fn a_bit_that_has_turned_over_leaves_a_plain_record(message in aggregated(), at: Index, bit in 0u8..8) {
        let mut data = aggregate_of(&message).to_vec();
        let at = at.index(data.len());
        data[at] ^= 1 << bit;
        prop_assert_eq!(open_anywhere(&data.into()), Opened::Plain);
    }

    #[test]
    fn what_is_cut_off_leaves_a_plain_record(message in aggregated(), at: Index) {
        let data = aggregate_of(&message);
        prop_assert_eq!(open_anywhere(&data.slice(..at.index(data.len()))), Opened::Plain);
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
        prop_assert_eq!(open_anywhere(&Bytes::from(bytes.clone())), Opened::Plain);
        look(&open_anywhere(&sealed(&bytes)));
    }

    #[test]
    fn what_prost_takes_is_taken(message in aggregated(), changes in prop::collection::vec((any::<Index>(), any::<u8>()), 1..4)) {
        let mut bytes = message.encode_to_vec();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let ours = open_anywhere(&sealed(&bytes));
        look(&ours);
        let Ok(theirs) = AggregatedRecord::decode(&bytes[..]) else { return Ok(()) };
        let has_key = |tag: &Tag| tag.key.is_some();
        let is_record = |record: &Record| record.partition_key_index.is_some() && record.data.is_some() && record.tags.iter().all(has_key);
        prop_assert_eq!(ours == Opened::Plain, !theirs.records.iter().all(is_record), "{:?}", theirs);
        if let Opened::Aggregate(ours) | Opened::Misrouted(ours, _) = ours {
            prop_assert_eq!(opened(&ours), content(&theirs));
        }
    }
}

/// At all that can be looked at.
fn look(record: &Opened) {
    if let Opened::Aggregate(aggregate) | Opened::Misrouted(aggregate, _) = record {
        assert_eq!(opened(aggregate).len(), aggregate.len());
    }
}

#[test]
fn magic_and_sixteen_bytes_are_too_few() {
    assert_eq!(open_anywhere(&sealed(b"")), Opened::Plain);
    assert_eq!(open_anywhere(&Bytes::from_static(&MAGIC)), Opened::Plain);
    assert_eq!(open_anywhere(&sealed(b"\x0A")), Opened::Plain);
    // A partition key of no length, and no record.
    let Opened::Aggregate(none) = open_anywhere(&sealed(b"\x0A\x00")) else { panic!("it is an aggregate") };
    assert!(none.is_empty() && none.get(0).is_none() && none.records().next().is_none());
}

#[test]
fn a_message_without_a_required_field_is_plain() {
    let whole = one_record(b"x");
    let changes: [fn(&mut Record); 3] = [
        |record| record.partition_key_index = None,
        |record| record.data = None,
        |record| record.tags = vec![Tag { key: None, value: Some("b".into()) }],
    ];
    for change in changes {
        let mut message = whole.clone();
        change(&mut message.records[0]);
        assert_eq!(open_anywhere(&aggregate_of(&message)), Opened::Plain, "{message:?}");
    }
}

#[test]
fn a_key_that_is_not_there_breaks_the_aggregate() {
    for (index, fault) in
        [(1, Fault::NoPartitionKey), (1 << 32, Fault::NoPartitionKey), (u64::MAX, Fault::NoPartitionKey)]
    {
        let message = message(&["a"], &[], &[(0, None, b"one"), (index, None, b"two")]);
        assert_eq!(open_anywhere(&aggregate_of(&message)), broken(1, fault));
    }
    let message = message(&["a"], &["1"], &[(0, Some(1), b"one")]);
    assert_eq!(open_anywhere(&aggregate_of(&message)), broken(0, Fault::NoExplicitHashKey));
}

#[test]
fn an_explicit_hash_key_is_a_number_that_may_be_in_no_shard() {
    for (key, expected) in
        [("x", Err(())), ("", Err(())), ("-1", Ok(())), ("340282366920938463463374607431768211456", Ok(()))]
    {
        let message = message(&["a"], &["1", key], &[(0, Some(0), b"one"), (0, Some(1), b"two")]);
        match (open_anywhere(&aggregate_of(&message)), expected) {
            (Opened::Misrouted(_, Misroute { sub_sequence_number: 1 }), Ok(())) => {}
            (result, Err(())) => assert_eq!(result, broken(1, Fault::NotANumber)),
            (result, Ok(())) => panic!("{key:?}: {result:?}"),
        }
    }
}

#[test]
fn a_fault_behind_a_record_of_another_shard_is_a_fault_all_the_same() {
    let message = message(&["a"], &["7"], &[(0, Some(0), b"one"), (1, None, b"two")]);
    let shard = HashKeyRange { start: 8, end: 9 };
    assert_eq!(open(&aggregate_of(&message), &shard), broken(1, Fault::NoPartitionKey));
}

#[test]
fn a_key_that_is_not_utf_8_is_read_as_the_kcl_reads_it() {
    let mut bytes = one_record(b"x").encode_to_vec();
    let at = bytes.iter().position(|byte| *byte == b'a').unwrap();
    bytes[at] = 0xFF;
    let hash = hash_of("\u{FFFD}");
    let Opened::Aggregate(aggregate) = open(&sealed(&bytes), &HashKeyRange { start: hash, end: hash }) else {
        panic!("it is an aggregate of that shard")
    };
    assert_eq!(aggregate.get(0).unwrap().partition_key, "\u{FFFD}");
}

#[test]
fn unknown_fields_are_ignored_and_groups_bounded() {
    let message = one_record(b"x").encode_to_vec();
    let table: [(&[u8], bool); 5] = [
        (&[0x48, 1], true),             // number 9, a varint
        (&[0x4D, 1, 2, 3, 4], true),    // four bytes
        (&[0x08, 1], true),             // number 1, not as a text
        (&[0x4B, 0x48, 1, 0x4C], true), // a group
        (&[0x4B, 0x48, 1], false),      // without its end
    ];
    for (field, is_taken) in table {
        let record = open_anywhere(&sealed(&[&message, field].concat()));
        assert_eq!(matches!(record, Opened::Aggregate(_)), is_taken, "{field:?}");
    }
    assert_eq!(open_anywhere(&sealed(&vec![0x4B; 1 << 20])), Opened::Plain);
}

#[test]
fn lengths_that_lie_cost_nothing() {
    for length in [
        &[0x7F][..],
        &[0xFF; 9],
        &[0xFF, 0xFF, 0xFF, 0xFF, 0x0F],
        &[0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 1],
    ] {
        for field in [0x0A, 0x12, 0x1A] {
            assert_eq!(open_anywhere(&sealed(&[&[field], length, b"abc"].concat())), Opened::Plain);
        }
    }
}

#[test]
fn a_key_longer_than_the_service_takes_breaks_the_aggregate() {
    let long = "1".repeat(KEY_BYTES_MAX + 1);
    let of = |key: u64, own: Option<u64>| message(&["a", &long], &["1", &long], &[(key, own, b"x")]);
    for (message, expected) in
        [(of(1, None), true), (of(1, Some(0)), true), (of(0, Some(1)), true), (of(0, Some(0)), false)]
    {
        let record = open_anywhere(&aggregate_of(&message));
        assert_eq!(record == broken(0, Fault::LongKey), expected, "{record:?}");
    }
}

#[test]
fn memory_is_a_small_multiple_of_the_record() {
    let smallest = message(&["a"], &[], &[(0, None, b"")]).encode_to_vec();
    let (table, record) = smallest.split_at(3);
    for (name, message) in [
        ("partition keys", b"\x0A\x00".repeat(500_000)),
        ("explicit hash keys", b"\x12\x00".repeat(500_000)),
        ("records", [table, &record.repeat(200_000)].concat()),
    ] {
        let data = sealed(&message);
        let Opened::Aggregate(aggregate) = open_anywhere(&data) else { panic!("{name}: {:?}", open_anywhere(&data)) };
        assert!(aggregate.memory() < 10 * data.len(), "{name}: {} of {}", aggregate.memory(), data.len());
    }
    // What is invalid in the end takes no more before that.
    assert_eq!(open_anywhere(&sealed(&b"\x1A\x00".repeat(500_000))), Opened::Plain);
    assert!(size_of::<ReadRecord>() + 2 * size_of::<Span>() <= 40);
}
