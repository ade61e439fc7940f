//! Memory is bounded by configuration, whatever the input does and however dead the destinations are.

use std::io::Write;

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
