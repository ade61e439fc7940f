//! Where reading begins, where a drain ends, and where a restart goes on.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::json;

use super::{Clicks, FIRST, SECOND, assert_once, delivery_stream, numbers};
use crate::support::kinesis::KinesisStream;
use crate::support::{CallProxy, Hydrant, Kinesis, Objects, Scratch, config, directory, wait_until};

/// The server's clock is ours.
fn clock_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is past 1970").as_millis() as i64
}

/// When the newest record arrived.
fn newest_ms(stream: &KinesisStream) -> i64 {
    stream.read_all().iter().map(|read| read.arrival_ms).max().expect("a record")
}

/// What comes from now on arrives later than what is there.
fn part(stream: &KinesisStream) {
    let newest = newest_ms(stream);
    wait_until("the clock has gone on", || clock_ms() > newest);
}

#[test]
fn a_drain_reads_every_shard_that_was_ever_there_and_ends() {
    let Some(server) = Kinesis::shared() else { return };
    let stream = server.stream(3);
    let clicks = Clicks::of(&stream, &server.url());
    clicks.drains_to(&[]);
    stream.put_numbers(0..100);
    let children = stream.split(FIRST);
    stream.put_numbers(100..200);
    clicks.drains_to(&numbers(0..200));
    stream.merge(&children[0], &children[1]);
    stream.put_numbers(200..300);
    clicks.drains_to(&numbers(0..300));
}

/// Closed shards of three generations, and some of them never had a record.
#[test]
fn a_reshard_before_the_first_start_hides_nothing() {
    let Some(server) = Kinesis::shared() else { return };
    let stream = server.stream(2);
    stream.split(SECOND);
    stream.put_numbers(0..50);
    stream.update_shard_count(6);
    stream.update_shard_count(3);
    stream.put_numbers(50..100);
    Clicks::of(&stream, &server.url()).drains_to(&numbers(0..100));
}

/// Rounded down to a whole second; until a record has come there is no checkpoint that could hold the place.
#[test]
fn latest_is_fixed_at_first_sight() {
    let Some(server) = Kinesis::shared() else { return };
    let (stream, proxy) = (server.stream(2), CallProxy::start(server.port()));
    stream.put_numbers(0..20);
    let newest = newest_ms(&stream);
    wait_until("another second has begun", || clock_ms() / 1_000 > newest / 1_000);
    let clicks = Clicks::of(&stream, &proxy.endpoint()).with("initial_position", "latest");
    let hydrant = clicks.run();
    wait_until("shards are read", || proxy.count("GetRecords") > 0);
    hydrant.kill_9();
    stream.put_numbers(20..40);
    part(&stream);
    clicks.drains_to(&numbers(20..40));
    // What a reshard makes is read from its beginning.
    stream.split(FIRST);
    stream.put_numbers(40..60);
    clicks.drains_to(&numbers(20..60));
}

#[test]
fn at_timestamp_reads_what_arrived_then_or_later_in_parents_and_children() {
    let Some(server) = Kinesis::shared() else { return };
    let stream = server.stream(2);
    let mut begins = Vec::new();
    for round in 0..3 {
        let placed = stream.put_numbers(round * 20..round * 20 + 20);
        let read = stream.read_all();
        let first =
            read.iter().filter(|read| placed.iter().any(|placed| placed.sequence_number == read.sequence_number));
        begins.push(first.map(|read| read.arrival_ms).min().expect("a record"));
        part(&stream);
        if round == 1 {
            stream.split(FIRST);
        }
    }
    for (round, begin) in begins.into_iter().enumerate() {
        let clicks = Clicks::of(&stream, &server.url());
        let clicks = clicks.with("initial_position", json!({ "at_timestamp": begin as f64 / 1e3 }));
        clicks.drains_to(&numbers(round * 20..60));
    }
}

#[test]
fn a_sequence_number_is_where_a_single_shard_begins() {
    let Some(server) = Kinesis::shared() else { return };
    let stream = server.stream(2);
    stream.put_numbers(0..60);
    let shard = stream.read(SECOND);
    stream.split(SECOND);
    stream.put_numbers(60..80);
    for (kind, first) in [("at_sequence_number", 7), ("after_sequence_number", 8)] {
        let clicks = Clicks::of(&stream, &server.url()).with("shards", json!([SECOND]));
        let clicks = clicks.with("initial_position", json!({ kind: shard[7].sequence_number }));
        let rest = shard[first..].iter().map(|read| String::from_utf8(read.data.clone()).expect("text"));
        clicks.drains_to(&rest.collect::<Vec<_>>());
    }
}

/// Two read the same stream, each with checkpoints of its own.
#[test]
fn delivery_streams_read_several_streams() {
    let Some(server) = Kinesis::shared() else { return };
    let (scratch, one, two) = (Scratch::new(), server.stream(1), server.stream(3));
    let folder = |name: &str| scratch.out().join(name);
    let read = |name: &str, stream| delivery_stream(name, stream, &server.url(), directory(&folder(name)));
    let mut config = config(&scratch, [read("a", &one), read("b", &two), read("c", &two)]);
    config["delivery_streams"][2]["source"]["kinesis"]["initial_position"] = "trim_horizon".into();
    one.put_numbers(0..30);
    two.put_numbers(30..90);
    for _ in 0..2 {
        Hydrant::drain(&scratch, &config);
        for (name, expected) in [("a", 0..30), ("b", 30..90), ("c", 30..90)] {
            assert_once(&Objects::read(&folder(name)).lines(), &numbers(expected));
        }
    }
}

#[test]
fn a_restart_goes_on_behind_the_checkpoint() {
    let Some(server) = Kinesis::shared() else { return };
    let stream = server.stream(2);
    let clicks = Clicks::of(&stream, &server.url());
    for life in 0..4 {
        let hydrant = clicks.run();
        stream.put_numbers(life * 50..life * 50 + 50);
        clicks.arrive(&numbers(0..life * 50 + 50));
        if life % 2 == 0 {
            hydrant.terminate().expect_code(0);
        } else {
            assert!(hydrant.kill_9().killed());
        }
    }
    clicks.drains_to(&numbers(0..200));
}
