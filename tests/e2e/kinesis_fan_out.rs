//! The reader of enhanced fan-out against a real server: as the server has it, and through the proxy, whose shards come to an end and
//! whose subscriptions are taken over.

use hydrant::sequence_number::SequenceNumber;
use hydrant::source::kinesis::client::{KinesisClient, StreamId};
use hydrant::source::kinesis::fan_out::{FanOutReader, consumer};
use hydrant::source::kinesis::page::{ReadError, StartingPosition};

use crate::support::kinesis::{KinesisStream, Placed, client};
use crate::support::{CallProxy, Kinesis};

const FIRST: &str = "shardId-000000000000";

fn reader(endpoint: &str, stream: &KinesisStream<'_>, consumer_arn: &str, start: StartingPosition) -> FanOutReader {
    let client = KinesisClient::new(client(endpoint), StreamId::Arn(stream.arn().to_owned()));
    FanOutReader::new(client, consumer_arn.to_owned(), FIRST.to_owned(), start)
}

/// So many records, or those up to the end of the shard.
async fn read(reader: &mut FanOutReader, count: usize) -> Vec<String> {
    let mut read = Vec::new();
    while read.len() < count {
        let page = reader.next().await.expect("a page");
        read.extend(page.records.iter().map(|record| record.sequence_number.to_string()));
        if page.ended.is_some() {
            break;
        }
    }
    read
}

fn numbers(placed: &[Placed]) -> Vec<String> {
    placed.iter().map(|place| place.sequence_number.clone()).collect()
}

#[test]
fn a_consumer_is_registered_read_with_and_deregistered() {
    let Some(server) = Kinesis::shared() else { return };
    let stream = server.stream(1);
    let placed = stream.put_numbers(0..50);
    let client = KinesisClient::new(client(&server.url()), StreamId::Name(stream.name().to_owned()));
    server.block_on(async {
        let arn = consumer::register(&client, stream.arn(), "hydrant").await.expect("a consumer");
        assert_eq!(consumer::register(&client, stream.arn(), "hydrant").await.expect("the same"), arn);
        let mut whole = reader(&server.url(), &stream, &arn, StartingPosition::TrimHorizon);
        assert_eq!(read(&mut whole, 50).await, numbers(&placed));

        consumer::deregister(&client, &arn).await.expect("it goes");
        let mut gone = reader(&server.url(), &stream, &arn, StartingPosition::TrimHorizon);
        let error = loop {
            match gone.next().await {
                Err(ReadError::InUse { .. }) | Ok(_) => {}
                Err(error) => break error,
            }
        };
        assert!(matches!(&error, ReadError::Refused { code, .. } if code == "ConsumerNotFound"), "{error:?}");
    });
}

#[test]
fn a_shard_is_read_to_its_end_from_every_position_over_cut_subscriptions() {
    let Some(server) = Kinesis::shared() else { return };
    let (stream, proxy) = (server.stream(1), CallProxy::start(server.port()));
    let placed = numbers(&stream.put_numbers(0..30));
    let children = stream.split(FIRST);
    let tenth: SequenceNumber = placed[10].parse().expect("a sequence number");
    let starts = [
        (StartingPosition::TrimHorizon, 0),
        (StartingPosition::At(tenth), 10),
        (StartingPosition::After(tenth), 11),
        (StartingPosition::AtTimestamp("2020-01-01T00:00:00Z".parse().expect("a time")), 0),
    ];
    for (number, (start, first)) in starts.into_iter().enumerate() {
        let arn = stream.register_consumer(&format!("consumer-{number}"));
        server.block_on(async {
            let mut reader = reader(&proxy.endpoint(), &stream, &arn, start);
            assert_eq!(read(&mut reader, usize::MAX).await, placed[first..], "{start:?}");
            let end = reader.next().await.expect("the end, again").ended.expect("an end");
            assert_eq!(end.iter().map(|child| child.id.clone()).collect::<Vec<_>>(), children);
        });
    }
}

#[test]
fn a_subscription_that_ends_or_breaks_goes_on_where_it_was() {
    let Some(server) = Kinesis::shared() else { return };
    let (stream, proxy) = (server.stream(1), CallProxy::start(server.port()));
    let arn = stream.register_consumer("hydrant");
    let mut reader = reader(&proxy.endpoint(), &stream, &arn, StartingPosition::TrimHorizon);
    for (round, breaks) in [false, true].into_iter().enumerate() {
        let placed = stream.put_numbers(round * 20..round * 20 + 20);
        assert_eq!(server.block_on(read(&mut reader, 20)), numbers(&placed));
        if breaks { proxy.cut() } else { proxy.end_subscriptions() }
    }
    let placed = stream.put_numbers(40..60);
    assert_eq!(server.block_on(read(&mut reader, 20)), numbers(&placed));
}
