//! Very many partitions: objects and the journal stay few and small, and each record arrives once, wherever a life ends.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use arrow_array::{Array, Int64Array};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::{Value, json};

use crate::support::journal::journal_path;
use crate::support::{Hydrant, Rng, Scratch, config, objects::keys, stream, wait_until};

const PARTITIONS: u64 = 577;
const MB: u64 = 1 << 20;

/// `logs/s.log` into Parquet: one column, and the folders that `prefix` makes.
fn partitioned(scratch: &Scratch, prefix: &str, partitioning: Value) -> Value {
    let destination =
        json!({ "directory": { "path": scratch.out(), "prefix": prefix, "error_output_prefix": "failed/" } });
    let mut stream = stream("s", &scratch.logs().join("s.log"), destination);
    stream["buffering"] = json!({ "size_mb": 128, "interval_seconds": 900 });
    stream["partitioning"] = partitioning;
    let columns = json!([{ "name": "n", "type": "bigint" }, { "name": "text", "type": "string" }]);
    stream["format_conversion"] = json!({ "schema": { "inline": columns } });
    config(scratch, [stream])
}

/// The numbers in the first column of all objects, by folder, and how many objects each folder has.
fn delivered(root: &Path) -> BTreeMap<String, (Vec<i64>, u64)> {
    let mut folders = BTreeMap::<String, (Vec<i64>, u64)>::new();
    for key in keys(root) {
        let (folder, _) = key.rsplit_once('/').expect("an object lies in a folder");
        let (numbers, objects) = folders.entry(folder.to_owned()).or_default();
        let bytes = std::fs::read(root.join(&key)).expect("an object");
        let reader = ParquetRecordBatchReaderBuilder::try_new(bytes::Bytes::from(bytes)).expect("a Parquet file");
        for batch in reader.build().expect("it can be read") {
            let batch = batch.expect("rows");
            let column = batch.column(0).as_any().downcast_ref::<Int64Array>().expect("a column of numbers").clone();
            numbers.extend(column.iter().map(|number| number.expect("a number")));
        }
        *objects += 1;
    }
    folders
}

fn padding(n: u64) -> String {
    format!("{:016x}", n.wrapping_mul(0x9e37_79b9_7f4a_7c15)).repeat(12)
}

/// Killed as soon as half is read, or half is delivered; with so little memory that rows go to the disk before objects are full.
#[test]
fn hundreds_of_partitions_have_few_objects_each_wherever_a_life_ends() {
    const RECORDS: u64 = 60_000;
    for failpoint in [None, Some("read:8"), Some("object-complete:288")] {
        if failpoint.is_some() && !cfg!(debug_assertions) {
            continue;
        }
        let scratch = Scratch::new();
        let mut log = String::new();
        for n in 0..RECORDS {
            let _ = writeln!(log, "{{\"n\":{n},\"p\":{},\"text\":\"{}\"}}", n * 7919 % PARTITIONS, padding(n));
        }
        scratch.log("s.log", log);
        let partitioning = json!({ "keys": { "p": ".p" }, "max_active": 600 });
        let mut config = partitioned(&scratch, "p=!{partitionKeyFromQuery:p}/", partitioning);
        config["memory_limit_mb"] = 16.into();
        if let Some(failpoint) = failpoint {
            let finished = Hydrant::begin_drain_with_env(&scratch, &config, &[("HYDRANT_FAILPOINT", failpoint)]).wait();
            assert!(finished.killed(), "{failpoint}: {finished}");
        }
        Hydrant::drain(&scratch, &config);
        let folders = delivered(&scratch.out());
        assert_eq!(folders.len() as u64, PARTITIONS, "{failpoint:?}");
        for (folder, (mut numbers, objects)) in folders {
            let p: u64 = folder.strip_prefix("p=").and_then(|p| p.parse().ok()).expect("a partition");
            numbers.sort_unstable();
            let expected: Vec<_> = (0..RECORDS).filter(|n| n * 7919 % PARTITIONS == p).map(|n| n as i64).collect();
            assert!(numbers == expected, "{failpoint:?}: {folder} has {} of {}", numbers.len(), expected.len());
            assert!(objects <= 2, "{failpoint:?}: {folder} has {objects} objects");
        }
    }
}

/// Nothing is due, and no buffer is full but the one of the last records: its object says that all before them was read.
#[test]
fn a_stream_whose_partitions_fill_its_memory_reads_on() {
    const OPEN: u64 = 200;
    // So much of each stays in memory as part of a file, if it is not made to leave.
    const EACH: u64 = 50;
    const TEXT: usize = 4096;
    let scratch = Scratch::new();
    let (mut log, mut rng) = (String::new(), Rng::new(1));
    let text = |rng: &mut Rng| (0..TEXT).map(|_| char::from(b'#' + rng.between(0, 57) as u8)).collect::<String>();
    for n in 0..OPEN * EACH {
        let _ = writeln!(log, "{{\"n\":{n},\"p\":{},\"text\":{}}}", n % OPEN, json!(text(&mut rng)));
    }
    for n in 0..600 {
        let _ = writeln!(log, "{{\"n\":{n},\"p\":\"last\",\"text\":{}}}", json!(text(&mut rng)));
    }
    scratch.log("s.log", log);
    let partitioning = json!({ "keys": { "p": ".p" } });
    let mut config = partitioned(&scratch, "p=!{partitionKeyFromQuery:p}/", partitioning);
    config["memory_limit_mb"] = 16.into();
    config["delivery_streams"][0]["buffering"]["size_mb"] = 2.into();
    let hydrant = Hydrant::run(&scratch, &config);
    wait_until("the last record has been read", || !keys(&scratch.out().join("p=last")).is_empty());
    assert_eq!(hydrant.said("sealed early"), 0, "{}", hydrant.stderr());
    hydrant.terminate().expect_code(0);
    let folders = delivered(&scratch.out());
    for p in 0..OPEN {
        let (numbers, _) = &folders[&format!("p={p}")];
        assert!(numbers.iter().copied().eq((0..OPEN * EACH).filter(|n| n % OPEN == p).map(|n| n as i64)), "{p}");
    }
    assert_eq!(folders.len() as u64, OPEN + 1);
}

/// The present is the year, so that it does not end while the test runs.
#[test]
fn what_is_late_is_gathered_for_its_grace_in_one_object() {
    let scratch = Scratch::new();
    let path = scratch.log("s.log", "");
    let partitioning = json!({ "record_time": { "field": "at", "formats": ["iso8601"] }, "grace_seconds": 12 });
    let mut config = partitioned(&scratch, "year=!{recordTime:yyyy}/", partitioning);
    let buffering = json!({ "size_mb": 1, "interval_seconds": 1, "low_latency": true });
    config["delivery_streams"][0]["buffering"] = buffering;
    let hydrant = Hydrant::run(&scratch, &config);
    let now = jiff::Timestamp::now().to_string();
    let present = format!("year={}", &now[..4]);
    let append = |n: u32, at: &str| {
        crate::support::scratch::append(&path, format!("{{\"n\":{n},\"at\":\"{at}\",\"text\":\"x\"}}\n"));
    };
    let objects = |folder: &str| keys(&scratch.out().join(folder)).len();
    append(1, "2020-01-01T10:00:00Z");
    append(2, &now);
    wait_until("the present is there", || objects(&present) == 1);
    assert_eq!(objects("year=2020"), 0, "what is late still waits");
    append(3, "2020-06-01T10:00:00Z");
    append(4, &now);
    wait_until("the present is there again", || objects(&present) == 2);
    wait_until("what is late is there", || objects("year=2020") > 0);
    let folders = delivered(&scratch.out());
    assert_eq!(folders["year=2020"], (vec![1, 3], 1));
    append(5, "2020-01-01T10:00:00Z");
    wait_until("what is later yet is there", || objects("year=2020") == 2);
    hydrant.terminate().expect_code(0);
    let (mut numbers, _) = delivered(&scratch.out())["year=2020"].clone();
    numbers.sort_unstable();
    assert_eq!(numbers, [1, 3, 5]);
}

#[test]
fn past_max_active_the_least_recently_used_partition_is_sealed() {
    let scratch = Scratch::new();
    let path = scratch.log("s.log", "");
    let partitioning = json!({ "keys": { "p": ".p" }, "max_active": 2 });
    let hydrant = Hydrant::run(&scratch, &partitioned(&scratch, "p=!{partitionKeyFromQuery:p}/", partitioning));
    let append = |lines: &[(u32, &str)]| {
        let line = |(n, p): &(u32, &str)| format!("{{\"n\":{n},\"p\":\"{p}\",\"text\":\"x\"}}\n");
        crate::support::scratch::append(&path, lines.iter().map(line).collect::<String>());
    };
    append(&[(1, "a"), (2, "b"), (3, "a"), (4, "c")]);
    wait_until("b makes room", || !keys(&scratch.out()).is_empty());
    append(&[(5, "a"), (6, "b")]);
    wait_until("c makes room", || keys(&scratch.out()).len() == 2);
    assert_eq!(delivered(&scratch.out()), BTreeMap::from([of("b", &[2], 1), of("c", &[4], 1)]));
    let finished = hydrant.terminate().expect_code(0);
    assert!(!finished.stderr.contains("ERROR"), "{finished}");
    let expected = [of("a", &[1, 3, 5], 1), of("b", &[2, 6], 2), of("c", &[4], 1)];
    let mut found = delivered(&scratch.out());
    found.values_mut().for_each(|(numbers, _)| numbers.sort_unstable());
    assert_eq!(found, BTreeMap::from(expected));
}

fn of(p: &str, numbers: &[i64], objects: u64) -> (String, (Vec<i64>, u64)) {
    (format!("p={p}"), (numbers.to_vec(), objects))
}

/// A day of hours by the records' own time.
#[test]
fn ten_thousand_partitions_over_a_day_leave_a_small_journal() {
    const CUSTOMERS: u64 = 417;
    const RECORDS_EACH: u64 = 3;
    let scratch = Scratch::new();
    let path = scratch.log("s.log", "");
    let partitioning = json!({
        "keys": { "customer": ".customer" },
        "record_time": { "field": "at", "formats": ["iso8601"] },
    });
    let prefix = "customer=!{partitionKeyFromQuery:customer}/hour=!{recordTime:yyyy-MM-dd-HH}/";
    let config = partitioned(&scratch, prefix, partitioning);
    let mut n = 0;
    for quarter in 0..4 {
        let mut log = String::new();
        for hour in quarter * 6..quarter * 6 + 6 {
            for record in 0..CUSTOMERS * RECORDS_EACH {
                let minute = record * 60 / (CUSTOMERS * RECORDS_EACH);
                let customer = record * 101 % CUSTOMERS;
                let _ = writeln!(
                    log,
                    "{{\"n\":{n},\"customer\":{customer},\"at\":\"2026-11-21T{hour:02}:{minute:02}:00Z\",\"text\":\"x\"}}"
                );
                n += 1;
            }
        }
        crate::support::scratch::append(&path, log);
        Hydrant::drain(&scratch, &config);
    }
    let folders = delivered(&scratch.out());
    assert_eq!(folders.len() as u64, 24 * CUSTOMERS);
    let mut numbers: Vec<_> = folders.values().flat_map(|(numbers, _)| numbers).copied().collect();
    numbers.sort_unstable();
    assert!(numbers.into_iter().eq(0..n), "each record once");
    let journal = std::fs::metadata(journal_path(&scratch)).expect("the journal").len();
    println!("the journal has {} KB", journal / 1024);
    assert!(journal < 100 * MB, "the journal has {} MB", journal / MB);
}
