//! Hydrant dies again and again, between any two steps of a delivery and at random moments, while records are put and shards are split
//! and merged: in the end every record is in exactly one object.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::json;

use super::{Clicks, assert_once};
use crate::crash::FAILPOINTS;
use crate::support::kinesis::{KinesisStream, Put, aggregates};
use crate::support::rng::seed;
use crate::support::wait::holds_within;
use crate::support::{DEADLINE, Hydrant, Kinesis, Objects, Rng};

const LIVES: u64 = 21;
/// Aggregates are made before the first life, and have numbers of their own.
const AGGREGATES: usize = 60;
const AGGREGATED: usize = 40;
const FIRST_AGGREGATED: usize = 1_000_000;

fn put(n: usize) -> Put {
    Put::new(format!("key-{n}"), format!("{{\"n\":{n},\"p\":{}}}", n % 7))
}

#[test]
fn kills_lose_and_double_nothing_of_shards_that_are_resharded() {
    kill_again_and_again("kills of a reader of shards", |stream, _| stream["compression"] = "gzip".into());
}

#[test]
fn kills_lose_and_double_nothing_of_shards_in_partitions() {
    kill_again_and_again("kills of a reader of shards with partitions", |stream, out| {
        stream["partitioning"] = json!({ "keys": { "p": ".p" } });
        stream["destination"]["directory"] = json!({
            "path": out,
            "prefix": "p=!{partitionKeyFromQuery:p}/",
            "error_output_prefix": "failed/!{firehose:error-output-type}/",
        });
    });
}

fn kill_again_and_again(name: &str, change: impl FnOnce(&mut serde_json::Value, &std::path::Path)) {
    let Some(server) = Kinesis::shared() else { return };
    let mut rng = Rng::new(seed(name));
    let groups: Vec<Vec<Put>> = (0..AGGREGATES).map(|group| aggregated(group, &mut rng)).collect();
    let Some(wholes) = aggregates(&groups) else { return };
    let stream = server.stream(2);
    let mut clicks = Clicks::of(&stream, &server.url());
    let out = clicks.scratch.out();
    change(clicks.delivery_stream(), &out);
    let (stop, writer_rng) = (AtomicBool::new(false), Rng::new(rng.next()));
    let (plain, whole, objects) = std::thread::scope(|threads| {
        let writer = threads.spawn(|| write(&stream, &wholes, &stop, writer_rng));
        let _stop = StopOnDrop(&stop);
        let mut objects = Objects::of(&out);
        for n in 0..LIVES {
            live(&clicks, n, &mut rng);
            objects.look();
            if n % 3 == 2 {
                reshard(&stream, &mut rng);
            }
        }
        stop.store(true, Ordering::Relaxed);
        let (plain, whole) = writer.join().expect("no panic");
        (plain, whole, objects)
    });
    clicks.drain();
    objects.check_unchanged();
    println!("{plain} plain records, {whole} aggregates, {} shards", stream.shards().len());
    let aggregated = (0..whole * AGGREGATED).map(|n| FIRST_AGGREGATED + n);
    let expected = (0..plain).chain(aggregated).map(|n| String::from_utf8(put(n).data).expect("text"));
    assert_once(&clicks.lines(), &expected.collect::<Vec<_>>());
}

/// All with the same hash key, so that no reshard makes it misrouted.
fn aggregated(group: usize, rng: &mut Rng) -> Vec<Put> {
    let hash = u128::from(rng.next()) << 64;
    let first = FIRST_AGGREGATED + group * AGGREGATED;
    (first..first + AGGREGATED).map(|n| put(n).with_hash(hash)).collect()
}

/// One life, to its failpoint or to a random moment.
fn live(clicks: &Clicks, n: u64, rng: &mut Rng) {
    let failpoint = (cfg!(debug_assertions) && n % 3 != 2).then(|| {
        let name = FAILPOINTS[(n - n / 3) as usize % FAILPOINTS.len()];
        format!("{name}:{}", rng.between(1, 4))
    });
    let env: Vec<_> = failpoint.iter().map(|point| ("HYDRANT_FAILPOINT", point.as_str())).collect();
    let mut hydrant = Hydrant::run_with_env(&clicks.scratch, &clicks.config, &env);
    let life = if failpoint.is_some() { DEADLINE } else { Duration::from_millis(rng.between(1, 1_500)) };
    let by_itself = hydrant.ends_within(life);
    assert_eq!(by_itself, failpoint.is_some(), "life {n}, failpoint {failpoint:?}");
    let finished = hydrant.kill_9();
    assert!(finished.killed(), "life {n}, failpoint {failpoint:?}: {finished}");
}

/// Splits an open shard, or merges two.
fn reshard(stream: &KinesisStream, rng: &mut Rng) {
    let mut open = stream.open_shards();
    open.sort_by_key(|shard| *shard.hash_keys.start());
    let at = rng.between(0, open.len() as u64 - 1) as usize;
    if open.len() < 3 || rng.one_in(2) && open.len() < 5 {
        stream.split(&open[at].id);
    } else {
        stream.merge(&open[at].id, &open[at + 1].id);
    }
}

/// Puts plain records and aggregates until it is stopped; how many of each.
fn write(stream: &KinesisStream, wholes: &[Put], stop: &AtomicBool, mut rng: Rng) -> (usize, usize) {
    let (mut plain, mut whole) = (0, 0);
    while !holds_within(Duration::from_millis(rng.between(1, 80)), || stop.load(Ordering::Relaxed)) {
        let more = rng.between(1, 60) as usize;
        let mut puts: Vec<_> = (plain..plain + more).map(put).collect();
        plain += more;
        if rng.one_in(4) && whole < wholes.len() {
            puts.insert(more / 2, wholes[whole].clone());
            whole += 1;
        }
        stream.put(&puts);
    }
    (plain, whole)
}

/// The writer ends when the killing ends, also when that is by a panic.
struct StopOnDrop<'a>(&'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
