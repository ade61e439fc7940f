//! Shards that are split and merged while they are read: parents before their children, and each record once.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::{Clicks, FIRST, assert_once, numbers};
use crate::support::kinesis::{KinesisStream, Put};
use crate::support::wait::holds_within;
use crate::support::{Kinesis, Objects, wait_until};

const KEYS: usize = 24;

/// So many records of each partition key, numbered within it.
fn rounds(range: std::ops::Range<usize>) -> Vec<Put> {
    let of_round = |round| (0..KEYS).map(move |key| Put::new(format!("key-{key}"), format!("{key} {round:08}")));
    range.flat_map(of_round).collect()
}

fn texts(puts: &[Put]) -> Vec<String> {
    puts.iter().map(|put| String::from_utf8(put.data.clone()).expect("the tests put text")).collect()
}

/// Puts round after round until it is stopped; how many it were.
fn put_under_load(stream: &KinesisStream, stop: &AtomicBool) -> usize {
    let mut round = 0;
    while !holds_within(Duration::from_millis(10), || stop.load(Ordering::Relaxed)) {
        stream.put(&rounds(round..round + 4));
        round += 4;
    }
    round
}

/// The numbers of a key rise within each object, and no object has one that lies between those of another.
fn assert_ordered(objects: &Objects) {
    let mut spans = BTreeMap::<String, Vec<[String; 2]>>::new();
    for (object, data) in objects.iter() {
        let mut of_keys = BTreeMap::<&str, Vec<&str>>::new();
        for line in std::str::from_utf8(data).expect("text").lines() {
            let (key, number) = line.split_once(' ').expect("a key and a number");
            of_keys.entry(key).or_default().push(number);
        }
        for (key, numbers) in of_keys {
            assert!(numbers.is_sorted(), "key {key} is out of order in {object}: {numbers:?}");
            let span = [numbers[0], numbers[numbers.len() - 1]].map(str::to_owned);
            spans.entry(key.to_owned()).or_default().push(span);
        }
    }
    for (key, mut spans) in spans {
        spans.sort();
        for pair in spans.windows(2) {
            assert!(pair[0][1] < pair[1][0], "objects cross for key {key}: {pair:?}");
        }
    }
}

#[test]
fn splits_and_merges_under_load_keep_the_order_of_a_key_and_each_record_once() {
    let Some(server) = Kinesis::shared() else { return };
    let stream = server.stream(2);
    let clicks = Clicks::of(&stream, &server.url());
    let (hydrant, stop) = (clicks.run(), AtomicBool::new(false));
    let last = std::thread::scope(|threads| {
        let writer = threads.spawn(|| put_under_load(&stream, &stop));
        let [low, high] = stream.split(FIRST);
        let [inner, _] = stream.split(&high);
        stream.merge(&low, &inner);
        stream.update_shard_count(6);
        stream.update_shard_count(3);
        wait_until("records come from behind a reshard", || Objects::read(&clicks.scratch.out()).len() > 0);
        stop.store(true, Ordering::Relaxed);
        writer.join().expect("no panic")
    });
    let expected = texts(&rounds(0..last));
    clicks.arrive(&expected);
    hydrant.terminate().expect_code(0);
    clicks.drains_to(&expected);
    assert_ordered(&Objects::read(&clicks.scratch.out()));
}

/// Nobody waits for the interval: the buffers are sealed where the parents end.
#[test]
fn children_do_not_wait_for_the_buffers_of_their_parents() {
    let Some(server) = Kinesis::shared() else { return };
    let stream = server.stream(1);
    let mut clicks = Clicks::of(&stream, &server.url());
    clicks.delivery_stream()["buffering"] = serde_json::json!({ "size_mb": 128, "interval_seconds": 900 });
    let hydrant = clicks.run();
    let mut parent = FIRST.to_owned();
    for round in 0..3 {
        stream.put_numbers(round * 20..round * 20 + 20);
        let [low, high] = stream.split(&parent);
        clicks.arrive(&numbers(0..round * 20 + 20));
        parent = stream.merge(&low, &high);
    }
    stream.put_numbers(60..80);
    hydrant.terminate().expect_code(0);
    clicks.drain();
    assert_once(&clicks.lines(), &numbers(0..80));
}
