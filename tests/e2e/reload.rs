//! SIGHUP while deliveries are under way: the next life of a stream takes over what the last one has not finished.

use std::path::Path;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use crate::support::hydrant::write_config;
use crate::support::lines::Rotation;
use crate::support::objects::{keys, rows};
use crate::support::rng::seed;
use crate::support::s3::BUCKET;
use crate::support::scratch::append;
use crate::support::wait::holds_within;
use crate::support::{
    Fault, FaultProxy, Hydrant, Ledger, Log, Rng, S3Server, Scratch, config, directory, s3_destination, stream,
    wait_until,
};

/// A configuration that differs from those beside it in where and how objects are written.
fn variant(scratch: &Scratch, n: usize, shutdown_timeout: u64, destination: &Value) -> Value {
    let mut destination = destination.clone();
    for kind in ["directory", "s3"] {
        if let Some(destination) = destination.get_mut(kind) {
            destination["prefix"] = format!("v{n}/").into();
        }
    }
    let mut stream = stream("s", &scratch.logs().join("*.log"), destination);
    stream["compression"] = ["none", "gzip", "zstd"][n % 3].into();
    stream["buffering"] = serde_json::json!({ "size_mb": 0.1, "interval_seconds": 0, "low_latency": true });
    let mut config = config(scratch, [stream]);
    config["shutdown_timeout_seconds"] = shutdown_timeout.into();
    config
}

/// How a daemon's configuration is changed again and again.
struct Reloads<'a> {
    scratch: &'a Scratch,
    destination: Value,
    bucket: &'a Path,
    shutdown_timeout: u64,
    times: usize,
}

impl Reloads<'_> {
    fn variant(&self, n: usize) -> Value {
        variant(self.scratch, n, self.shutdown_timeout, &self.destination)
    }

    /// Lines are written all the while; in the end `heal` mends the destination, and a drain brings what is left.
    fn run_then(self, test: &str, heal: impl FnOnce()) {
        let mut rng = Rng::new(seed(test));
        let mut log = Log::create(&self.scratch.logs(), "app.log", Rotation::Shift);
        let hydrant = Hydrant::run(self.scratch, &self.variant(0));
        wait_until("it reads", || hydrant.said("a file is read that was not seen before") == 1);
        for n in 1..=self.times {
            log.append(4_000);
            let pause = Duration::from_millis(rng.between(0, 60));
            assert!(!holds_within(pause, || !hydrant.is_alive()), "it goes on");
            write_config(self.scratch, &self.variant(n));
            hydrant.signal(Signal::HUP);
            wait_until("the change is taken up", || hydrant.said("the configuration was read again") == n);
        }
        heal();
        let finished = hydrant.terminate().expect_code(0);
        assert!(!finished.stderr.contains("panicked"), "{finished}");
        Hydrant::drain(self.scratch, &self.variant(self.times));
        Ledger::of(&[log]).assert_exactly_once(self.bucket);
    }
}

fn into_a_directory(test: &str, shutdown_timeout: u64, times: usize) {
    let scratch = Scratch::new();
    let destination = directory(&scratch.out());
    Reloads { scratch: &scratch, destination, bucket: &scratch.out(), shutdown_timeout, times }.run_then(test, || ());
}

/// Into Parquet by twenty partitions; columns and prefix differ from one variant to the next, and no buffer is due.
fn partitioned(scratch: &Scratch, n: usize, shutdown_timeout: u64) -> Value {
    let prefix = format!("v{n}/p=!{{partitionKeyFromQuery:p}}/");
    let destination = serde_json::json!({ "directory": {
        "path": scratch.out(), "prefix": prefix, "error_output_prefix": "failed/",
    } });
    let mut stream = stream("s", &scratch.logs().join("s.log"), destination);
    stream["buffering"] = serde_json::json!({ "size_mb": 128, "interval_seconds": 900 });
    stream["partitioning"] = serde_json::json!({ "keys": { "p": ".n % 20" } });
    let mut columns = vec![serde_json::json!({ "name": "n", "type": "bigint" })];
    if n % 2 == 1 {
        columns.push(serde_json::json!({ "name": "text", "type": "string" }));
    }
    stream["format_conversion"] = serde_json::json!({ "schema": { "inline": columns } });
    let mut config = config(scratch, [stream]);
    config["shutdown_timeout_seconds"] = shutdown_timeout.into();
    config
}

#[test]
fn open_partitions_of_parquet_lose_and_double_nothing_when_schema_and_prefix_change() {
    const RELOADS: usize = 8;
    for shutdown_timeout in [0, 10] {
        let scratch = Scratch::new();
        let path = scratch.log("s.log", "");
        let mut written = 0;
        let mut write = |count: u64| {
            let line = |n| format!("{{\"n\":{n},\"text\":\"{}\"}}\n", "x".repeat(100));
            append(&path, (written..written + count).map(line).collect::<String>());
            written += count;
            written
        };
        let mut rng = Rng::new(seed("reload of open partitions"));
        write(100);
        let hydrant = Hydrant::run(&scratch, &partitioned(&scratch, 0, shutdown_timeout));
        wait_until("it reads", || hydrant.said("a file is read that was not seen before") == 1);
        for n in 1..=RELOADS {
            write(5_000);
            let pause = Duration::from_millis(rng.between(0, 120));
            assert!(!holds_within(pause, || !hydrant.is_alive()), "it goes on");
            write_config(&scratch, &partitioned(&scratch, n, shutdown_timeout));
            hydrant.signal(Signal::HUP);
            wait_until("the change is taken up", || hydrant.said("the configuration was read again") == n);
        }
        let written = write(100);
        let finished = hydrant.terminate().expect_code(0);
        assert!(!finished.stderr.contains("panicked"), "{finished}");
        Hydrant::drain(&scratch, &partitioned(&scratch, RELOADS, shutdown_timeout));
        let mut numbers = Vec::new();
        for key in keys(&scratch.out()) {
            let (variant, partition) = key[1..].split_once("/p=").expect("a prefix");
            let has_text = variant.parse::<usize>().expect("a number") % 2 == 1;
            let partition: u64 = partition.split_once('/').and_then(|(p, _)| p.parse().ok()).expect("a partition");
            for row in rows(&std::fs::read(scratch.out().join(&key)).expect("an object")) {
                let number = row["n"].as_u64().expect("a number");
                assert_eq!((number % 20, row.get("text").is_some()), (partition, has_text), "{key}");
                numbers.push(number);
            }
        }
        numbers.sort_unstable();
        assert!(numbers.iter().copied().eq(0..written), "{} of {written} rows", numbers.len());
    }
}

#[test]
fn changes_that_abandon_what_is_under_way_lose_and_double_nothing() {
    into_a_directory("reload at once", 0, 20);
}

#[test]
fn changes_that_wait_for_what_is_under_way_lose_and_double_nothing() {
    into_a_directory("reload within a second", 1, 10);
}

#[test]
fn changes_while_answers_are_lost_lose_and_double_nothing() {
    let test = "reload while answers are lost";
    let scratch = Scratch::new();
    let s3 = S3Server::start(&scratch.path("s3"));
    let proxy = FaultProxy::start(s3.address(), seed(test), &[Fault::LostAnswer, Fault::Hang, Fault::Pass]);
    let mut destination = s3_destination(&proxy.endpoint(), BUCKET);
    destination["s3"]["request_timeout_seconds"] = 1.into();
    let bucket = s3.bucket();
    let reloads = Reloads { scratch: &scratch, destination, bucket: &bucket, shutdown_timeout: 0, times: 4 };
    reloads.run_then(test, || proxy.heal());
}
