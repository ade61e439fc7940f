//! The Kinesis server of the tests: it does what these tests rely on, as the service documents it.

use aws_sdk_kinesis::primitives::DateTime;
use aws_sdk_kinesis::types::builders::StartingPositionBuilder;
use aws_sdk_kinesis::types::{
    ChildShard, ShardFilter, ShardFilterType, ShardIteratorType, StartingPosition, SubscribeToShardEventStream,
};

use crate::support::Kinesis;
use crate::support::kinesis::{KinesisStream, Put, Read, aggregates};

const FIRST: &str = "shardId-000000000000";

/// The data of all records from there on, and what the last page says of the children.
fn read_from(
    server: &Kinesis,
    stream: &KinesisStream,
    shard: &str,
    kind: ShardIteratorType,
    sequence_number: Option<&str>,
    at_ms: Option<i64>,
) -> (Vec<String>, Option<Vec<ChildShard>>) {
    let start = server.client().get_shard_iterator().stream_name(stream.name()).shard_id(shard);
    let start = start.shard_iterator_type(kind).set_starting_sequence_number(sequence_number.map(str::to_owned));
    let start = start.set_timestamp(at_ms.map(DateTime::from_millis));
    let mut iterator = server.block_on(start.send()).expect("an iterator").shard_iterator;
    let (mut read, mut children) = (Vec::new(), None);
    while let Some(from) = iterator {
        // One by one, so that a page is not all there is.
        let page = server.block_on(server.client().get_records().shard_iterator(from).limit(3).send()).expect("a page");
        let is_end = page.records.is_empty() && page.millis_behind_latest == Some(0);
        read.extend(page.records.iter().map(|record| text(record.data.as_ref())));
        children = page.child_shards;
        iterator = page.next_shard_iterator.filter(|_| !is_end);
    }
    (read, children)
}

fn text(data: &[u8]) -> String {
    String::from_utf8(data.to_vec()).expect("the tests put text")
}

fn texts(read: &[Read]) -> Vec<String> {
    read.iter().map(|read| text(&read.data)).collect()
}

#[test]
fn a_shard_is_read_from_every_starting_position() {
    let Some(server) = Kinesis::shared() else { return };
    let stream = server.stream(1);
    assert!(stream.arn().starts_with("arn:aws:kinesis:eu-west-1:"), "{}", stream.arn());
    let placed = stream.put_numbers(0..10);
    let read = stream.read(FIRST);
    let all = texts(&read);
    assert_eq!(all, (0..10).map(|n| format!("{{\"n\":{n}}}")).collect::<Vec<_>>());
    let numbers: Vec<_> = read.iter().map(|read| &read.sequence_number).collect();
    assert_eq!(numbers, placed.iter().map(|placed| &placed.sequence_number).collect::<Vec<_>>());

    let from = |kind, number, at_ms| read_from(server, &stream, FIRST, kind, number, at_ms).0;
    let fifth = Some(placed[4].sequence_number.as_str());
    assert_eq!(from(ShardIteratorType::TrimHorizon, None, None), all);
    assert_eq!(from(ShardIteratorType::AtSequenceNumber, fifth, None), all[4..]);
    assert_eq!(from(ShardIteratorType::AfterSequenceNumber, fifth, None), all[5..]);
    assert_eq!(from(ShardIteratorType::Latest, None, None), all[10..]);
    let last = read[9].arrival_ms;
    assert_eq!(from(ShardIteratorType::AtTimestamp, None, Some(last + 1)), all[10..]);
    assert_eq!(from(ShardIteratorType::AtTimestamp, None, Some(read[0].arrival_ms - 1)), all);
    let since = read.iter().position(|read| read.arrival_ms >= last).expect("the last one");
    assert_eq!(from(ShardIteratorType::AtTimestamp, None, Some(last)), all[since..]);
}

#[test]
fn what_is_put_into_many_shards_is_read_back_once_and_in_order() {
    let Some(server) = Kinesis::shared() else { return };
    let stream = server.stream(3);
    let placed = stream.put_numbers(0..1_700);
    let read = stream.read_all();
    assert_eq!(read.len(), placed.len());
    for shard in stream.shards() {
        let wanted: Vec<_> = placed.iter().filter(|placed| placed.shard == shard.id).collect();
        let found: Vec<_> = read.iter().filter(|read| read.shard == shard.id).collect();
        assert!(!wanted.is_empty(), "keys go everywhere");
        let wanted: Vec<_> = wanted.iter().map(|placed| &placed.sequence_number).collect();
        assert_eq!(found.iter().map(|read| &read.sequence_number).collect::<Vec<_>>(), wanted);
    }
}

#[test]
fn a_closed_shard_ends_with_its_children() {
    let Some(server) = Kinesis::shared() else { return };
    let stream = server.stream(1);
    stream.put_numbers(0..5);
    let [low, high] = stream.split(FIRST);
    let after = stream.put_numbers(5..25);
    assert!(after.iter().all(|placed| placed.shard == low || placed.shard == high), "the parent is closed");
    assert!(after.iter().any(|placed| placed.shard == low) && after.iter().any(|placed| placed.shard == high));

    let ended = |shard: &str| read_from(server, &stream, shard, ShardIteratorType::TrimHorizon, None, None);
    let (read, children) = ended(FIRST);
    assert_eq!(read.len(), 5);
    let children = children.expect("the children of a closed shard");
    let ids: Vec<_> = children.iter().map(|child| child.shard_id.as_str()).collect();
    assert_eq!(ids, [&low, &high]);
    assert!(children.iter().all(|child| child.parent_shards == [FIRST]), "{children:?}");
    assert_eq!(children[0].hash_key_range.as_ref().expect("a range").starting_hash_key, "0");

    let merged = stream.merge(&low, &high);
    for parent in [&low, &high] {
        let (_, children) = ended(parent);
        let [child] = &children.expect("the child of a closed shard")[..] else { panic!("one child") };
        assert_eq!(child.shard_id, merged);
        let mut parents = child.parent_shards.clone();
        parents.sort();
        assert_eq!(parents, [low.clone(), high.clone()]);
    }
    let (_, children) = ended(&merged);
    assert_eq!(children.unwrap_or_default(), [], "an open shard has none");
    assert_eq!(stream.shards().len(), 4);
    let [open] = &stream.open_shards()[..] else { panic!("one open shard") };
    assert_eq!((&open.id, open.parents.len(), &open.hash_keys), (&merged, 2, &(0..=u128::MAX)));
    assert_eq!(stream.read_all().len(), 25);
}

#[test]
fn shards_are_listed_by_filters() {
    let Some(server) = Kinesis::shared() else { return };
    let stream = server.stream(2);
    stream.update_shard_count(4);
    assert_eq!(stream.shards().len(), 6);
    let listed = |kind: ShardFilterType, after: Option<&str>| {
        let filter = ShardFilter::builder().r#type(kind).set_shard_id(after.map(str::to_owned)).build();
        let list = server.client().list_shards().stream_name(stream.name());
        let list = list.shard_filter(filter.expect("a type")).send();
        server.block_on(list).expect("shards").shards.unwrap_or_default().len()
    };
    assert_eq!(listed(ShardFilterType::AtLatest, None), 4, "the open ones");
    assert_eq!(listed(ShardFilterType::FromTrimHorizon, None), 6, "all");
    assert_eq!(listed(ShardFilterType::AfterShardId, Some("shardId-000000000001")), 4);
    let paged = server.client().list_shards().stream_name(stream.name()).max_results(4).send();
    assert!(server.block_on(paged).expect("shards").next_token.is_some(), "in pages");
}

fn subscription(kind: ShardIteratorType) -> StartingPositionBuilder {
    StartingPosition::builder().r#type(kind)
}

#[test]
fn fan_out_pushes_records() {
    let Some(server) = Kinesis::shared() else { return };
    let stream = server.stream(1);
    let placed = stream.put_numbers(0..5);
    let consumer = stream.register_consumer("hydrant");
    let subscribe = |position: StartingPositionBuilder| {
        let subscribe = server.client().subscribe_to_shard().consumer_arn(&consumer).shard_id(FIRST);
        let subscribe = subscribe.starting_position(position.build().expect("a type"));
        server.block_on(subscribe.send()).expect("a subscription").event_stream
    };
    let mut events = subscribe(subscription(ShardIteratorType::TrimHorizon));
    let next = |events: &mut aws_sdk_kinesis::primitives::event_stream::EventReceiver<_, _>| match server
        .block_on(events.recv())
        .expect("an event")?
    {
        SubscribeToShardEventStream::SubscribeToShardEvent(event) => Some(event),
        other => panic!("{other:?}"),
    };
    let (mut read, mut continuation) = (Vec::new(), String::new());
    while read.len() < 5 {
        let event = next(&mut events).expect("more events");
        read.extend(event.records.iter().map(|record| record.sequence_number.clone()));
        continuation = event.continuation_sequence_number;
    }
    assert_eq!(read, placed.iter().map(|placed| placed.sequence_number.clone()).collect::<Vec<_>>());
    assert!(!continuation.is_empty());

    stream.put_numbers(5..10);
    while read.len() < 10 {
        let event = next(&mut events).expect("more events");
        read.extend(event.records.iter().map(|record| record.sequence_number.clone()));
    }
    stream.deregister_consumer("hydrant");
}

#[test]
fn aggregates_go_where_they_are_sent() {
    let Some(server) = Kinesis::shared() else { return };
    let stream = server.stream(2);
    let user = |n: usize| Put::new(format!("user-{n}"), format!("data-{n}"));
    let top = u128::MAX;
    let groups = [vec![user(0), user(1)], vec![user(2).with_hash(0), user(3).with_hash(top)], vec![user(4)]];
    let Some(mut puts) = aggregates(&groups) else { return };
    assert_eq!(puts[1].explicit_hash_key, Some(0), "that of its first record");
    puts[2] = puts[2].clone().with_hash(top);
    let placed = stream.put(&puts);
    assert_eq!([&placed[1].shard, &placed[2].shard], [FIRST, "shardId-000000000001"]);
    let read = stream.read_all();
    for (put, group) in puts.iter().zip(&groups) {
        assert!(put.data.starts_with(b"\xf3\x89\x9a\xc2"), "the KPL's magic number");
        for record in group {
            assert!(memchr::memmem::find(&put.data, &record.data).is_some());
        }
        assert!(read.iter().any(|read| read.data == put.data), "as it was put");
    }
}
