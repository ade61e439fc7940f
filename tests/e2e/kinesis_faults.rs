//! The proxy before Kinesis and DynamoDB: every fault does what its name says, to the calls that it is meant for.

#![allow(clippy::result_large_err, reason = "the SDK's errors")]

use std::sync::Arc;

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::error::ProvideErrorMetadata;
use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::{ShardIteratorType, StartingPosition};

use crate::support::kinesis::{KinesisStream, client};
use crate::support::{CallFault, CallProxy, DynamoDb, Kinesis, wait_until};

const FIRST: &str = "shardId-000000000000";
const SECOND: &str = "shardId-000000000001";

fn put(server: &Kinesis, stream: &KinesisStream, client: &Client) -> Result<(), Option<String>> {
    let put = client.put_record().stream_name(stream.name()).partition_key("a").data(Blob::new("data"));
    server.block_on(put.send()).map(drop).map_err(|error| error.code().map(str::to_owned))
}

#[test]
fn every_fault_does_what_its_name_says() {
    let Some(server) = Kinesis::shared() else { return };
    let (stream, proxy) = (server.stream(1), CallProxy::start(server.port()));
    let client = client(&proxy.endpoint());
    let coded = |code: &str| Err(Some(code.to_owned()));
    let expected = [
        (CallFault::Pass, Ok(()), 1),
        (CallFault::THROTTLED, coded("ProvisionedThroughputExceededException"), 0),
        (CallFault::INTERNAL_FAILURE, coded("InternalFailure"), 0),
        (CallFault::UNAVAILABLE, coded("ServiceUnavailable"), 0),
        (CallFault::Answer(400, r#"{"__type":"Odd"}"#.to_owned()), coded("Odd"), 0),
        (CallFault::CutBefore, Err(None), 0),
        (CallFault::LostAnswer, Err(None), 1),
        (CallFault::CutWithin(5), Err(None), 1),
        (CallFault::Pass, Ok(()), 1),
    ];
    let mut there = 0;
    for (number, (fault, outcome, more)) in expected.into_iter().enumerate() {
        proxy.next("PutRecord", [fault.clone()]);
        assert_eq!(put(server, &stream, &client), outcome, "{fault:?}");
        there += more;
        assert_eq!(stream.read(FIRST).len(), there, "{fault:?}");
        assert_eq!((proxy.count("PutRecord"), proxy.waiting()), (number + 1, 0));
        assert!(proxy.met(&fault) > 0);
    }
}

#[test]
fn what_hangs_hangs_until_it_is_cut() {
    let Some(server) = Kinesis::shared() else { return };
    let (stream, proxy) = (server.stream(1), Arc::new(CallProxy::start(server.port())));
    for (fault, there) in [(CallFault::Hang, 0), (CallFault::StallWithin(0), 1), (CallFault::StallWithin(5), 2)] {
        proxy.next("PutRecord", [fault.clone()]);
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| put(server, &stream, &client(&proxy.endpoint())));
            wait_until("the call is with the server", || proxy.met(&fault) == 1 && stream.read(FIRST).len() == there);
            assert!(!waiting.is_finished(), "{fault:?}");
            proxy.cut();
            assert_eq!(waiting.join().expect("no panic"), Err(None), "{fault:?}");
        });
    }
}

#[test]
fn faults_find_the_shard_of_an_iterator() {
    let Some(server) = Kinesis::shared() else { return };
    let (stream, proxy) = (server.stream(2), CallProxy::start(server.port()));
    stream.put_numbers(0..100);
    let client = client(&proxy.endpoint());
    proxy.next_of("GetRecords", SECOND, [CallFault::Pass, CallFault::EXPIRED_ITERATOR]);
    let read = |shard: &str| {
        let start = client.get_shard_iterator().stream_name(stream.name()).shard_id(shard);
        let start = start.shard_iterator_type(ShardIteratorType::TrimHorizon).send();
        let mut iterator = server.block_on(start).expect("an iterator").shard_iterator;
        for _ in 0..3 {
            let page = client.get_records().limit(5).shard_iterator(iterator.expect("another one")).send();
            match server.block_on(page) {
                Ok(page) => iterator = page.next_shard_iterator,
                Err(error) => return error.code().map(str::to_owned),
            }
        }
        None
    };
    assert_eq!(read(FIRST), None);
    assert_eq!(read(SECOND), Some("ExpiredIteratorException".to_owned()));
    assert_eq!([proxy.count_of("GetRecords", FIRST), proxy.count_of("GetRecords", SECOND)], [3, 2]);

    proxy.rule(|call| match (call.operation.as_str(), call.number) {
        ("GetRecords", number) if number.is_multiple_of(2) => CallFault::THROTTLED,
        _ => CallFault::Pass,
    });
    assert_eq!(read(FIRST), None.or(Some("ProvisionedThroughputExceededException".to_owned())), "the fifth call");
    proxy.heal();
    assert_eq!(read(SECOND), None);
    assert!(proxy.calls().iter().all(|call| call.shard.is_some()));
}

#[test]
fn a_subscription_comes_as_it_goes_and_ends_with_the_children() {
    let Some(server) = Kinesis::shared() else { return };
    let (stream, proxy) = (server.stream(1), CallProxy::start(server.port()));
    let (consumer, client) = (stream.register_consumer("hydrant"), client(&proxy.endpoint()));
    let subscribe = || {
        let position = StartingPosition::builder().r#type(ShardIteratorType::TrimHorizon).build().expect("a type");
        let subscribe = client.subscribe_to_shard().consumer_arn(&consumer).shard_id(FIRST);
        server.block_on(subscribe.starting_position(position).send())
    };
    proxy.next("SubscribeToShard", [CallFault::IN_USE]);
    let refused = subscribe().map(drop).map_err(|error| error.code().map(str::to_owned));
    assert_eq!(refused, Err(Some("ResourceInUseException".to_owned())));

    let mut events = subscribe().expect("a subscription").event_stream;
    let mut next = || server.block_on(events.recv());
    for round in 0..3 {
        stream.put_numbers(round..round + 1);
        // An answer that is held back would never come: its end is minutes away.
        loop {
            let event = next().expect("an event").expect("no end");
            if !event.as_subscribe_to_shard_event().expect("an event with records").records.is_empty() {
                break;
            }
        }
    }
    stream.split(FIRST);
    let children = loop {
        let event = next().expect("an event").expect("an event with the children");
        let event = event.as_subscribe_to_shard_event().expect("an event with records").clone();
        if let Some(children) = event.child_shards.filter(|children| !children.is_empty()) {
            break children;
        }
    };
    assert_eq!(children.len(), 2);
    assert!(next().expect("an end").is_none());
}

#[test]
fn subscriptions_are_ended_cut_and_taken_over() {
    let Some(server) = Kinesis::shared() else { return };
    let (stream, proxy) = (server.stream(1), CallProxy::start(server.port()));
    let (consumer, client) = (stream.register_consumer("hydrant"), client(&proxy.endpoint()));
    stream.put_numbers(0..1);
    let subscribe = || {
        let position = StartingPosition::builder().r#type(ShardIteratorType::Latest).build().expect("a type");
        let subscribe = client.subscribe_to_shard().consumer_arn(&consumer).shard_id(FIRST);
        server.block_on(subscribe.starting_position(position).send())
    };
    let mut first = subscribe().expect("a subscription").event_stream;
    let event = server.block_on(first.recv()).expect("an event").expect("no end");
    let event = event.as_subscribe_to_shard_event().expect("an event with records");
    assert!(event.records.is_empty() && !event.continuation_sequence_number.is_empty(), "{event:?}");
    let refused = subscribe().map(drop).map_err(|error| error.code().map(str::to_owned));
    assert_eq!(refused, Err(Some("ResourceInUseException".to_owned())), "too soon");
    let mut second = None;
    wait_until("the shard is taken over", || {
        second = subscribe().ok();
        second.is_some()
    });
    let thrown = loop {
        match server.block_on(first.recv()) {
            Ok(event) => assert!(event.is_some(), "an exception comes before the end"),
            Err(thrown) => break thrown,
        }
    };
    assert!(format!("{thrown:?}").contains("ResourceInUseException"), "{thrown:?}");

    proxy.end_subscriptions();
    let mut second = second.expect("a subscription").event_stream;
    while server.block_on(second.recv()).expect("an event").is_some() {}

    let mut third = subscribe().expect("a subscription").event_stream;
    proxy.cut();
    while let Ok(Some(_)) = server.block_on(third.recv()) {}

    proxy.next("SubscribeToShard", [CallFault::Exception("InternalFailureException")]);
    let mut events = subscribe().expect("a subscription").event_stream;
    let thrown = server.block_on(events.recv()).expect_err("an exception");
    assert!(format!("{thrown:?}").contains("InternalFailureException"), "{thrown:?}");
}

#[test]
fn a_lease_is_known_by_its_key() {
    let Some(server) = DynamoDb::shared() else { return };
    let (table, proxy) = (server.table(), CallProxy::start(server.port()));
    table.create();
    let client = crate::support::dynamodb::client(&proxy.endpoint());
    proxy.next_of("UpdateItem", "two", [CallFault::LostAnswer]);
    let update = |key: &str| {
        let update = client.update_item().table_name(table.name());
        server.block_on(update.key("leaseKey", crate::support::dynamodb::s(key)).send()).is_ok()
    };
    assert_eq!([update("one"), update("two"), update("two")], [true, false, true]);
    assert_eq!(table.rows().len(), 2, "the lost answer was to a call that the server has seen");
    assert_eq!([proxy.count_of("UpdateItem", "one"), proxy.count_of("UpdateItem", "two")], [1, 2]);
}
