//! `source: { kinesis: … }`: what it means, and what does not go together with it.

use std::time::Duration;

use jiff::Timestamp;

use super::*;
use crate::config::model::{
    Consumer, DeliveryStreamConfig, KinesisSourceConfig, LeaseTableConfig, Leases, OnMisrouted, SourceConfig,
};
use crate::source::kinesis::client::StreamId;
use crate::source::kinesis::page::StartingPosition;

const ARN: &str = "arn:aws:kinesis:us-west-2:123456789012:stream/clicks";
const NUMBER: &str = "49590338271490256608559692538361571095921575989136588898";

/// One delivery stream for each, with these keys in `kinesis`, and what stands at the top.
fn text(sources: &[&str], top: &str) -> String {
    let stream = |(number, keys): (usize, &&str)| {
        format!(
            "  - name: web{number}
    source:
      kinesis: {{ {keys} }}
    destination: {{ directory: {{ path: /nowhere-else }} }}
"
        )
    };
    let streams: String = sources.iter().enumerate().map(stream).collect();
    format!("{top}\ndelivery_streams:\n{streams}")
}

fn stream(keys: &str) -> DeliveryStreamConfig {
    config(&text(&[keys], "")).delivery_streams.remove(0)
}

fn kinesis_of(stream: DeliveryStreamConfig) -> KinesisSourceConfig {
    match stream.source {
        SourceConfig::Kinesis(kinesis) => *kinesis,
        other @ (SourceConfig::File(_) | SourceConfig::Redrive(_)) => panic!("{other:?}"),
    }
}

fn kinesis(keys: &str) -> KinesisSourceConfig {
    kinesis_of(stream(keys))
}

fn table_of(kinesis: &KinesisSourceConfig) -> LeaseTableConfig {
    kinesis.lease_table().expect("a table").clone()
}

#[test]
fn the_least_reads_every_shard_from_its_beginning() {
    let kinesis = kinesis("stream: clicks");
    let expected = KinesisSourceConfig {
        stream: StreamId::Name("clicks".to_owned()),
        region: None,
        endpoint_url: None,
        assume_role: None,
        application_name: "web0".to_owned(),
        initial_position: StartingPosition::TrimHorizon,
        shards: Vec::new(),
        consumer: Consumer::Polling { records_max: 10_000, interval: Duration::from_secs(1) },
        on_misrouted: OnMisrouted::ErrorOutput,
        leases: Leases::Local,
    };
    assert_eq!(kinesis, expected);
    let source = stream("stream: clicks").source;
    assert_eq!(
        (source.place(), source.file(), source.skips_empty()),
        ("Kinesis stream clicks".to_owned(), None, false)
    );
    assert_eq!(source.encodings(), [encoding_rs::UTF_8]);
    assert!(!source.ends_records_with(b"") && !source.ends_records_with(b"\n"));
}

#[test]
fn every_key_is_read() {
    let kinesis = kinesis(&format!(
        "stream: '{ARN}', endpoint_url: 'http://127.0.0.1:4567', assume_role: {{ role_arn: 'arn:aws:iam::1:role/r',
        external_id: hunter2 }}, application_name: lake, initial_position: latest, consumer: enhanced_fan_out,
        consumer_name: lake-1, deregister_consumer: false, on_misrouted: deliver, leases: {{ dynamodb: {{ table: lake-leases,
        region: eu-west-1, endpoint_url: 'http://127.0.0.1:8000', assume_role: {{ role_arn: 'arn:aws:iam::2:role/r' }},
        failover_seconds: 5, max_leases: 4, max_leases_to_steal: 2, worker_id: one }} }}"
    ));
    assert_eq!((kinesis.stream_name(), kinesis.region.as_deref()), ("clicks", Some("us-west-2")));
    assert_eq!(kinesis.endpoint_url.as_deref(), Some("http://127.0.0.1:4567"));
    assert_eq!((kinesis.application_name.as_str(), kinesis.initial_position), ("lake", StartingPosition::Latest));
    assert_eq!(kinesis.consumer, Consumer::EnhancedFanOut { name: "lake-1".to_owned(), deregisters: false });
    assert_eq!(kinesis.on_misrouted, OnMisrouted::Deliver);
    let table = table_of(&kinesis);
    assert_eq!((table.table.as_str(), table.region.as_deref()), ("lake-leases", Some("eu-west-1")));
    assert_eq!(table.endpoint_url.as_deref(), Some("http://127.0.0.1:8000"));
    assert_eq!(table.assume_role.as_ref().map(|role| role.role_arn.as_str()), Some("arn:aws:iam::2:role/r"));
    assert_eq!((table.failover, table.leases_max, table.leases_to_steal_max), (Duration::from_secs(5), Some(4), 2));
    assert_eq!(table.worker_id.as_deref(), Some("one"));
    assert!(!format!("{kinesis:?}").contains(HIDDEN), "{kinesis:?}");
}

#[test]
fn a_polling_consumer_says_how_much_and_how_often() {
    let kinesis =
        kinesis("stream: clicks, consumer: polling, max_records: 100, poll_interval_ms: 200, on_misrouted: drop");
    let consumer = Consumer::Polling { records_max: 100, interval: Duration::from_millis(200) };
    assert_eq!((kinesis.consumer, kinesis.on_misrouted), (consumer, OnMisrouted::Drop));
}

#[test]
fn a_consumer_and_a_table_are_called_after_the_application() {
    let kinesis =
        kinesis("stream: clicks, application_name: lake, consumer: enhanced_fan_out, leases: { dynamodb: {} }");
    assert_eq!(kinesis.consumer, Consumer::EnhancedFanOut { name: "lake".to_owned(), deregisters: false });
    let table = table_of(&kinesis);
    assert_eq!((table.table.as_str(), table.failover, table.leases_max), ("lake", Duration::from_secs(10), None));
    assert_eq!((table.leases_to_steal_max, table.worker_id), (1, None));
    // A name in the file is not needed where there is no table.
    let consumer = self::kinesis("stream: clicks, consumer: enhanced_fan_out").consumer;
    assert_eq!(consumer, Consumer::EnhancedFanOut { name: "web0".to_owned(), deregisters: false });
    let consumer = self::kinesis("stream: clicks, consumer: enhanced_fan_out, deregister_consumer: true").consumer;
    assert_eq!(consumer, Consumer::EnhancedFanOut { name: "web0".to_owned(), deregisters: true });
}

#[test]
fn region_and_role_come_from_the_nearest_place_that_has_them() {
    const AWS: &str =
        "aws: { region: eu-west-1, endpoint_url: 'http://127.0.0.1:1', assume_role: { role_arn: 'arn:of:aws' } }";
    let with = |keys: &str| kinesis_of(config(&text(&[keys], AWS)).delivery_streams.remove(0));
    let shared = "application_name: lake, leases: { dynamodb: {} }";
    let plain = with(&format!("stream: clicks, {shared}"));
    assert_eq!(
        (plain.region.as_deref(), plain.endpoint_url.as_deref()),
        (Some("eu-west-1"), Some("http://127.0.0.1:1"))
    );
    let table = table_of(&plain);
    assert_eq!(
        (table.region, table.endpoint_url, table.assume_role),
        (plain.region, plain.endpoint_url, plain.assume_role)
    );
    let own = with(&format!("stream: '{ARN}', endpoint_url: 'http://127.0.0.1:2', {shared}"));
    let table = table_of(&own);
    assert_eq!((own.region.as_deref(), table.region.as_deref()), (Some("us-west-2"), Some("us-west-2")));
    let endpoints = (own.endpoint_url.as_deref(), table.endpoint_url.as_deref());
    assert_eq!(
        endpoints,
        (Some("http://127.0.0.1:2"), Some("http://127.0.0.1:1")),
        "Kinesis answers at its own address"
    );
    assert_eq!(with("stream: clicks, region: us-east-1").region.as_deref(), Some("us-east-1"));
    assert_eq!(with(&format!("stream: '{ARN}', region: us-west-2")).region.as_deref(), Some("us-west-2"));
}

#[test]
fn a_stream_is_read_from_where_its_reader_says() {
    let at = |position: &str| {
        kinesis(&format!("stream: clicks, shards: s-1, initial_position: {position}")).initial_position
    };
    let time = |text: &str| StartingPosition::AtTimestamp(text.parse::<Timestamp>().unwrap());
    assert_eq!(at("trim_horizon"), StartingPosition::TrimHorizon);
    assert_eq!(at("latest"), StartingPosition::Latest);
    assert_eq!(at("{ at_timestamp: 2026-11-21T10:00:00Z }"), time("2026-11-21T10:00:00Z"));
    assert_eq!(at("{ at_timestamp: '2026-11-21T10:00:00.1239+02:00' }"), time("2026-11-21T08:00:00.123Z"));
    assert_eq!(at("{ at_timestamp: 1795255200 }"), time("2026-11-21T10:00:00Z"));
    assert_eq!(at("{ at_timestamp: 1795255200.123 }"), time("2026-11-21T10:00:00.123Z"));
    assert_eq!(at(&format!("{{ at_sequence_number: '{NUMBER}' }}")), StartingPosition::At(NUMBER.parse().unwrap()));
    assert_eq!(
        at(&format!("{{ after_sequence_number: '{NUMBER}' }}")),
        StartingPosition::After(NUMBER.parse().unwrap())
    );
    // What comes out of a variable keeps its digits.
    assert_eq!(at("{ at_sequence_number: '${DIGITS}' }"), StartingPosition::At("123456".parse().unwrap()));
    let shards = kinesis("stream: clicks, shards: [shardId-000000000001, shardId-000000000000]").shards;
    assert_eq!(shards, ["shardId-000000000001", "shardId-000000000000"]);
}

#[test]
fn delivery_streams_share_a_stream_where_that_means_something() {
    let shared =
        |worker: &str| format!("stream: clicks, application_name: lake, leases: {{ dynamodb: {{ {worker} }} }}");
    for sources in [
        ["stream: clicks".to_owned(), "stream: clicks".to_owned()],
        ["stream: clicks, application_name: a".to_owned(), "stream: clicks, application_name: a".to_owned()],
        // Each has a name of its own by default.
        [
            "stream: clicks, consumer: enhanced_fan_out".to_owned(),
            "stream: clicks, consumer: enhanced_fan_out".to_owned(),
        ],
        [shared(""), shared("")],
        [shared("worker_id: a"), shared("worker_id: b")],
        [shared("worker_id: a"), shared("worker_id: a, table: other")],
        [shared("worker_id: a"), shared("worker_id: a, region: eu-west-1")],
    ] {
        config(&text(&[&sources[0], &sources[1]], ""));
    }
}

#[test]
fn mistakes_are_named_with_what_would_do() {
    let with = |keys: &str| text(&[&format!("stream: clicks, {keys}")], "");
    let table = |keys: &str| with(&format!("application_name: lake, leases: {{ dynamodb: {{ {keys} }} }}"));
    let fan_out = "stream: clicks, consumer: enhanced_fan_out, consumer_name: c";
    let shared = "application_name: lake, leases: { dynamodb: { worker_id: w } }";
    let cases = [
        (text(&["region: eu-west-1"], ""), "needs `stream`"),
        (text(&["stream: 'a/b'"], ""), "the name of a Kinesis stream, or its ARN"),
        (text(&["stream: 'arn:aws:firehose:eu-west-1:123456789012:stream/a'"], ""), "or its ARN such as"),
        (text(&["stream: 'arn:aws:kinesis:eu-west-1:123456789012:stream/a/consumer/b:1'"], ""), "or its ARN such as"),
        (text(&["stream: 12"], ""), "in quotes it is a string"),
        (
            text(&[&format!("stream: '{ARN}', region: eu-west-1")], ""),
            "`region` contradicts `stream`, given `eu-west-1`",
        ),
        (with("application_name: 'a b'"), "the name of an application"),
        (with("inital_position: latest"), "did you mean `initial_position`?"),
        (with("initial_position: LATEST"), "must be one of `trim_horizon`, `latest`, `{ at_timestamp"),
        (with("initial_position: [latest]"), "must be one of `trim_horizon`"),
        (with("initial_position: {}"), "needs exactly one of `at_timestamp`"),
        (with("initial_position: { at_time: 5 }"), "did you mean `at_timestamp`?"),
        (with("initial_position: { at_timestamp: 2026-11-21 }"), "a time with its zone"),
        (with("initial_position: { at_timestamp: '2026-11-21T10:00:00' }"), "a time with its zone"),
        (with("initial_position: { at_timestamp: 1795255200000 }"), "seconds since 1970 from 0 to"),
        (with("initial_position: { at_timestamp: '1969-12-31T23:59:59Z' }"), "a time with its zone"),
        (
            with(&format!("shards: a, initial_position: {{ at_sequence_number: {NUMBER} }}")),
            "a sequence number in quotes, as no number of YAML holds all its digits, given the number",
        ),
        (with("shards: a, initial_position: { at_sequence_number: '012' }"), "must be a sequence number"),
        (
            with("initial_position: { at_sequence_number: '12' }"),
            "a sequence number needs exactly one shard in `shards`",
        ),
        (
            with("shards: [a, b], initial_position: { after_sequence_number: '12' }"),
            "a sequence number needs exactly one shard in `shards`",
        ),
        (with("shards: []"), "at least one shard"),
        (with("shards: [a, a]"), "this shard is given twice"),
        (with("shards: ['a/b']"), "the id of a shard"),
        (with("consumer: fan_out"), "one of `polling`, `enhanced_fan_out`"),
        (with("consumer_name: c"), "`consumer_name` belongs to `consumer: enhanced_fan_out`"),
        (with("deregister_consumer: false"), "`deregister_consumer` belongs to `consumer: enhanced_fan_out`"),
        (with("consumer: enhanced_fan_out, max_records: 5"), "`max_records` belongs to `consumer: polling`"),
        (
            with("consumer: enhanced_fan_out, poll_interval_ms: 500"),
            "`poll_interval_ms` belongs to `consumer: polling`",
        ),
        (with("max_records: 10001"), "from 1 to 10000"),
        (with("poll_interval_ms: 199"), "a whole number of milliseconds from 200 to 60000"),
        (with("on_misrouted: backup"), "one of `error_output`, `drop`, `deliver`"),
        (with("leases: dynamodb"), "`local` or `{ dynamodb: { table: … } }`"),
        (with("leases: { dynamo: {} }"), "did you mean `dynamodb`?"),
        (with("leases: { dynamodb: {} }"), "leases in DynamoDB need an `application_name`"),
        (with("leases: { dynamodb: { table: lake } }"), "leases in DynamoDB need an `application_name`"),
        (with("application_name: ab, leases: { dynamodb: {} }"), "`application_name` is too short for the lease table"),
        (table("table: ab"), "the name of a table, 3 to 255 characters"),
        (table("table: abc, tabel: x"), "did you mean `table`?"),
        (table("failover_seconds: 0"), "from 1 to 3600"),
        (table("max_leases: 0"), "from 1 to 100000"),
        (table("max_leases_to_steal: 0"), "from 1 to 1000"),
        (table("worker_id: 'a b'"), "the name of a worker"),
        (
            with("application_name: lake, shards: a, leases: { dynamodb: {} }"),
            "`shards` does not go together with leases in DynamoDB",
        ),
        (
            with(
                "application_name: lake, consumer: enhanced_fan_out, deregister_consumer: true, leases: { dynamodb: {} }",
            ),
            "`deregister_consumer` does not go together with leases in DynamoDB",
        ),
        (
            text(&[&format!("stream: clicks, {shared}"), &format!("stream: clicks, {shared}")], ""),
            "another delivery stream is this worker of the table already, at hydrant.yaml:5:16",
        ),
        (
            text(&[&format!("stream: clicks, {shared}"), &format!("stream: views, {shared}")], ""),
            "another stream has its leases in this table already",
        ),
        (text(&[fan_out, fan_out], ""), "another delivery stream is this consumer of the stream already"),
        (
            text(&["stream: clicks"], "memory_limit_mb: 32"),
            "too little for 1 delivery stream and the largest records, 10 MB from Kinesis",
        ),
        (with("endpoint_url: 'http://u:hunter2@x'"), "must not hold credentials"),
    ];
    for (text, expected) in cases {
        let shown = errors(&text).to_string();
        assert!(shown.contains(expected), "{expected}: {shown}");
        assert!(!shown.contains(HIDDEN), "{shown}");
    }
}

#[test]
fn one_mistake_is_told_once() {
    for keys in [
        "stream: clicks, application_name: '', leases: { dynamodb: {} }",
        "stream: clicks, region: 'a b'",
        "stream: 'a/b', region: eu-west-1",
        "stream: clicks, application_name: 'a b', consumer: enhanced_fan_out",
        "stream: clicks, shards: [], initial_position: { at_sequence_number: '1' }",
    ] {
        let found = errors(&text(&[keys], ""));
        assert_eq!(found.errors().len(), 1, "{keys}: {found}");
    }
}

#[test]
fn metadata_are_those_of_the_source() {
    let with = |source: &str, field: &str| {
        let processing = format!("    processing: [{{ add_metadata: {{ fields: {{ from: {field} }} }} }}]\n");
        let destination = "    destination: { directory: { path: /nowhere-else } }\n";
        format!("delivery_streams:\n  - name: web\n    source: {{ {source} }}\n{processing}{destination}")
    };
    let (files, stream) = ("file: { paths: [/nowhere/*.log] }", "kinesis: { stream: clicks }");
    for (source, refused, allowed) in
        [(stream, "path", "shard_id"), (stream, "offset", "stream"), (files, "partition_key", "path")]
    {
        config(&with(source, allowed));
        let errors = errors(&with(source, refused)).to_string();
        assert!(errors.contains("what `add_metadata` puts into `from`"), "{errors}");
    }
}

/// Until shards can be divided, a configuration that wants it is right and cannot be run.
#[test]
fn a_lease_table_is_refused_where_it_would_run() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("hydrant.yaml");
    let source = "stream: clicks, region: eu-west-1, application_name: lake, leases: { dynamodb: {} }";
    let text = format!(
        "state_dir: {0}/state\ndelivery_streams:\n  - name: clicks\n    source: {{ kinesis: {{ {source} }} }}\n    \
         destination: {{ directory: {{ path: {0}/out }} }}\n",
        folder.path().display()
    );
    std::fs::write(&path, text).expect("a file");
    let refused = crate::config::load(&path).expect_err("it cannot be run").to_string();
    assert!(refused.contains("delivery stream `clicks`") && refused.contains("`leases: local`"), "{refused}");
    assert!(crate::config::load_to_check(&path).is_ok());
}
