//! Memory is bounded by configuration, whatever the input does and however dead the destinations are.

use std::io::Write;

use serde_json::{Value, json};

use crate::conversion::{converted, failed};
use crate::partition_columns::duckdb;
use crate::support::objects::keys;
use crate::support::s3::BUCKET;
use crate::support::{Fault, FaultProxy, Hydrant, S3Server, Scratch, config, s3_destination, stream, wait_until};

const MB: u64 = 1 << 20;
const LIMIT_MB: u64 = 100;
/// The binary itself in a debug build, the SDK, the journal, and an allocator's slack.
const BESIDES_MB: u64 = 96;

#[test]
fn ten_streams_with_a_dead_destination_stay_within_the_limit() {
    let scratch = Scratch::new();
    let s3 = S3Server::start(&scratch.path("s3"));
    let proxy = FaultProxy::start(s3.address(), 1, &[Fault::Hang, Fault::ResetAfterBody]);
    let streams = (0..10).map(|n| {
        let glob = scratch.logs().join(format!("{n}.log"));
        let mut stream = stream(&format!("s{n}"), &glob, s3_destination(&proxy.endpoint(), BUCKET));
        stream["compression"] = "gzip".into();
        stream["buffering"] = serde_json::json!({ "size_mb": 16, "interval_seconds": 1, "low_latency": true });
        stream
    });
    let mut config = config(&scratch, streams);
    config["memory_limit_mb"] = LIMIT_MB.into();
    let hydrant = Hydrant::run(&scratch, &config);

    // 300 MB: 30 to each stream, a megabyte at a time to each in turn.
    let line = format!("{}\n", "0123456789abcdef".repeat(64).split_at(1023).0);
    let megabyte = line.repeat(1024);
    let mut files: Vec<std::fs::File> = (0..10)
        .map(|n| std::fs::File::create_new(scratch.logs().join(format!("{n}.log"))).expect("a new log"))
        .collect();
    for _ in 0..30 {
        files.iter_mut().for_each(|file| file.write_all(megabyte.as_bytes()).expect("a log can be appended to"));
    }

    // It reads as far as it may, then it waits.
    let mut last = (0, std::time::Instant::now());
    wait_until("the reading has come to a halt", || {
        let read = hydrant.bytes_read() / MB;
        if read != last.0 {
            last = (read, std::time::Instant::now());
        }
        read > 0 && last.1.elapsed().as_secs() >= 5
    });
    let peak = hydrant.peak_memory();
    println!("read {} MB, peak memory {} MB", last.0, peak / MB);
    assert!(peak < (LIMIT_MB + BESIDES_MB) * MB, "peak memory {} MB", peak / MB);
    assert!(proxy.met(Fault::Hang) > 0, "it did try to deliver");
    hydrant.kill_9();

    // And nothing of it is lost.
    proxy.heal();
    Hydrant::drain(&scratch, &config);
    let objects = crate::support::Objects::read(&s3.bucket());
    let delivered: usize = objects.iter().map(|(_, data)| data.len()).sum();
    assert_eq!(delivered as u64, 300 * MB);
}

const CONVERTING_LIMIT_MB: u64 = 64;

/// Converts `log` into `columns`, asserts that it takes no more memory than it may, and returns what DuckDB answers.
fn convert(log: &str, rows: u64, columns: &[(String, &str)], query: &str) -> (Scratch, Option<Value>) {
    let scratch = Scratch::new();
    scratch.log("s.log", log);
    let columns: Vec<_> = columns.iter().map(|(name, data_type)| json!({ "name": name, "type": data_type })).collect();
    let more = json!({
        "format_conversion": { "schema": { "inline": columns } },
        "buffering": { "size_mb": 64, "interval_seconds": 0, "low_latency": true },
    });
    let mut config = converted(&scratch, "p/", &more);
    config["memory_limit_mb"] = CONVERTING_LIMIT_MB.into();
    let hydrant = Hydrant::run(&scratch, &config);
    let mut counted = std::collections::HashMap::<String, u64>::new();
    let mut peak = 0;
    wait_until("all rows are delivered", || {
        peak = hydrant.peak_memory();
        for key in keys(&scratch.out()).into_iter().filter(|key| key.ends_with(".parquet")) {
            counted.entry(key).or_insert_with_key(|key| row_count(&scratch.out().join(key)));
        }
        counted.values().sum::<u64>() == rows
    });
    peak = peak.max(hydrant.peak_memory());
    println!("{rows} rows of {} columns, peak memory {} MB", columns.len(), peak / MB);
    assert!(peak < (CONVERTING_LIMIT_MB + BESIDES_MB) * MB, "peak memory {} MB", peak / MB);
    hydrant.terminate();
    let answer = duckdb(&scratch, query);
    (scratch, answer)
}

fn row_count(path: &std::path::Path) -> u64 {
    use parquet::file::reader::{FileReader, SerializedFileReader};
    let file = std::fs::File::open(path).expect("an object");
    let file = SerializedFileReader::new(file).expect("a Parquet file");
    file.metadata().file_metadata().num_rows() as u64
}

fn wide(columns: usize, data_type: &str) -> Vec<(String, &str)> {
    (0..columns).map(|n| (format!("c{n}"), data_type)).collect()
}

#[test]
fn empty_objects_for_thousands_of_columns_take_no_more_memory() {
    let query = "select count(*), count(c0), count(c2999) from 'p/**/*.parquet'";
    let (_scratch, answer) = convert(&"{}\n".repeat(8_000), 8_000, &wide(3_000, "bigint"), query);
    assert_eq!(answer.unwrap_or_else(|| json!([[8_000, 0, 0]])), json!([[8_000, 0, 0]]));
}

#[test]
fn sparse_events_for_a_thousand_columns_take_no_more_memory() {
    let event = |n: usize| format!("{{\"c{}\":\"text {n}\",\"C{}\":\"{n}\"}}\n", n % 1_000, (n + 500) % 1_000);
    let log: String = (0..20_000).map(event).collect();
    let query = "select count(*), count(c7), min(c7), max(c507) from 'p/**/*.parquet'";
    let (_scratch, answer) = convert(&log, 20_000, &wide(1_000, "string"), query);
    let expected = json!([[20_000, 40, "10507", "text 9507"]]);
    assert_eq!(answer.unwrap_or_else(|| expected.clone()), expected);
}

#[test]
fn a_record_whose_rows_are_too_large_fails_alone() {
    let fields: Vec<_> = (0..500).map(|n| format!("f{n}:bigint")).collect();
    let data_type = format!("array<struct<{}>>", fields.join(","));
    let columns = [(String::from("a"), data_type.as_str())];
    let record = |items: usize, item: &str| format!("{{\"a\":[{}]}}", vec![item; items].join(","));
    // 4,000 bytes for each item; a record may take 16 MB.
    let (many, null) = (record(100_000, "{}"), record(100_000, "null"));
    let objects = record(2_000, "{}").repeat(10);
    let log = [r#"{"a":[{"f499":1}]}"#, &many, &record(4_000, "{}"), &null, r#"{"a":[{"f0":2}]}"#, &objects].join("\n");
    let query = "select len(a), a[1].f0, a[1].f499 from 'p/**/*.parquet' order by 1, 2";
    let (scratch, answer) = convert(&(log + "\n"), 5, &columns, query);
    let expected = json!([[1, 2, null], [1, null, 1], [2_000, null, null], [2_000, null, null], [4_000, null, null]]);
    assert_eq!(answer.unwrap_or_else(|| expected.clone()), expected);
    wait_until("the rest has failed", || failed(&scratch, "format-conversion-failed", "lastErrorMessage").len() == 10);
    let mut failed = failed(&scratch, "format-conversion-failed", "lastErrorMessage");
    failed.sort_by_key(|(raw, _)| raw.len());
    let raw: Vec<_> = failed.iter().map(|(raw, _)| raw.as_str()).collect();
    let (small, large) = raw.split_at(8);
    assert!(small.iter().all(|raw| *raw == record(2_000, "{}")) && large == [many.as_str(), null.as_str()]);
    assert!(failed.iter().all(|(_, reason)| reason.contains("more than 16 MB of memory")), "{}", failed[0].1);
}

#[test]
fn a_record_of_very_many_objects_fails_from_some_point_on() {
    let objects = "{}".repeat(50_000);
    let query = "select count(*) from 'p/**/*.parquet'";
    let (scratch, answer) = convert(&(objects.clone() + "\n{\"c1\":1}\n"), 2_098, &wide(1_000, "bigint"), query);
    assert_eq!(answer.unwrap_or_else(|| json!([[2_098]])), json!([[2_098]]));
    wait_until("the rest has failed", || {
        failed(&scratch, "format-conversion-failed", "lastErrorMessage").len() == 1_001
    });
    let mut failed = failed(&scratch, "format-conversion-failed", "lastErrorMessage");
    failed.sort_by_key(|(raw, _)| raw.len());
    assert_eq!(failed.iter().map(|(raw, _)| raw.len()).sum::<usize>(), objects.len() - 2 * 2_097);
    assert!(failed[1_000].1.contains("More than 1,000 objects"), "{}", failed[1_000].1);
}
