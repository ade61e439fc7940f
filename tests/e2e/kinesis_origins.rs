//! What a record of a stream brings with it: into transforms and metadata, and through the processors that take it apart.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};

use crate::support::kinesis::{KinesisStream, Put, aggregates};
use crate::support::{Hydrant, Kinesis, Scratch, config, delivered_lines, directory, fast_buffering};

const FIRST: &str = "shardId-000000000000";

/// All of the stream through `processing`.
fn drained(scratch: &Scratch, server: &Kinesis, stream: &KinesisStream<'_>, processing: Value) -> Vec<Value> {
    let source = json!({ "stream": stream.name(), "region": "eu-west-1", "endpoint_url": server.url() });
    let delivery_stream = json!({
        "name": "clicks",
        "source": { "kinesis": source },
        "processing": processing,
        "buffering": fast_buffering(),
        "destination": directory(&scratch.out()),
    });
    Hydrant::drain(scratch, &config(scratch, [delivery_stream]));
    delivered_lines(&scratch.out()).iter().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

/// A component that says what it is given.
fn says_its_input() -> Value {
    let component = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/components/hostile.wasm");
    json!({ "wasm": { "component": component, "config": { "transform": "source" } } })
}

/// A plain record, and two in an aggregate; what is said of each.
fn put_some(stream: &KinesisStream<'_>) -> Option<Vec<Value>> {
    let user = |key: &str| Put::new(key, format!("{{\"of\":\"{key}\"}}"));
    let aggregate = aggregates(&[vec![user("b"), user("c")]])?;
    let placed = stream.put(&[vec![user("a")], aggregate].concat());
    let read = stream.read(FIRST);
    let said = |key: &str, at: usize, sub_sequence_number: u64| {
        assert_eq!(read[at].sequence_number, placed[at].sequence_number);
        json!({ "key": key, "number": placed[at].sequence_number, "sub": sub_sequence_number, "ms": read[at].arrival_ms })
    };
    Some(vec![said("a", 0, 0), said("b", 1, 0), said("c", 1, 1)])
}

#[test]
fn a_component_is_told_which_record_of_the_stream_it_has() {
    let Some(server) = Kinesis::shared() else { return };
    let (scratch, stream) = (Scratch::new(), server.stream(1));
    let Some(expected) = put_some(&stream) else { return };
    // Behind another component and a processor each is still its own.
    let lines = drained(&scratch, server, &stream, json!([says_its_input(), { "json": {} }, says_its_input()]));
    assert_eq!(lines.len(), 3, "{lines:?}");
    for (line, expected) in lines.iter().zip(expected) {
        let source = json!({
            "shard_id": FIRST, "partition_key": expected["key"],
            "sequence_number": expected["number"], "subsequence_number": expected["sub"],
        });
        let first: Value = serde_json::from_str(line["data"].as_str().expect("text")).expect("what the first one said");
        assert_eq!(first["data"], format!("{{\"of\":{}}}", expected["key"]));
        for said in [line, &first] {
            assert_eq!((&said["source"], &said["arrival_ms"]), (&source, &expected["ms"]), "{said}");
        }
    }
}

#[test]
fn metadata_say_which_record_of_the_stream_it_is() {
    let Some(server) = Kinesis::shared() else { return };
    let (scratch, stream) = (Scratch::new(), server.stream(1));
    let Some(expected) = put_some(&stream) else { return };
    let fields = json!({
        "stream": "stream", "shard": "shard_id", "key": "partition_key", "number": "sequence_number",
        "sub": "sub_sequence_number", "at": "approximate_arrival_timestamp",
    });
    let lines = drained(&scratch, server, &stream, json!([{ "add_metadata": { "fields": fields } }]));
    assert_eq!(lines.len(), 3, "{lines:?}");
    for (line, expected) in lines.iter().zip(expected) {
        let at: jiff::Timestamp = line["at"].as_str().expect("text").parse().expect("a time");
        assert_eq!(at.as_millisecond(), expected["ms"].as_i64().expect("a number"));
        let said = json!({
            "of": expected["key"], "stream": stream.name(), "shard": FIRST, "key": expected["key"],
            "number": expected["number"], "sub": expected["sub"], "at": line["at"],
        });
        assert_eq!(line, &said);
    }
}

#[test]
fn what_a_subscription_filter_has_put_is_decompressed_and_taken_apart() {
    let Some(server) = Kinesis::shared() else { return };
    let (scratch, stream) = (Scratch::new(), server.stream(1));
    let filtered = |of: u32| {
        let event = |n: u32| json!({ "id": n.to_string(), "timestamp": 1, "message": format!("{{\"n\":{n}}}{{\"n\":{}}}", n + 1) });
        let batch = json!({ "messageType": "DATA_MESSAGE", "owner": "1", "logGroup": "g", "logStream": "s",
                            "subscriptionFilters": ["f"], "logEvents": [event(of), event(of + 2)] });
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(batch.to_string().as_bytes()).expect("in memory");
        Put::new("logs", encoder.finish().expect("in memory"))
    };
    stream.put(&[filtered(0), filtered(4)]);
    let processing = json!([
        { "decompress": { "compression": "gzip" } },
        { "cloudwatch_logs": { "extract_message": true } },
        { "deaggregate_records": { "type": "json" } },
    ]);
    let lines = drained(&scratch, server, &stream, processing);
    assert_eq!(lines, (0..8).map(|n| json!({ "n": n })).collect::<Vec<_>>());
}
