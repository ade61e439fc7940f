//! Aggregates of the KPL among plain records, and deliveries that end within one.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::{Clicks, FIRST, assert_once};
use crate::support::kinesis::{Put, aggregates};
use crate::support::{Hydrant, Kinesis, Objects};

const TOP: u128 = u128::MAX;

/// Records for the shard that has this hash.
fn users(range: std::ops::Range<usize>, hash: u128) -> Vec<Put> {
    range.map(|n| Put::new(format!("user-{n}"), format!("user {n:05}")).with_hash(hash)).collect()
}

fn texts<'a>(puts: impl IntoIterator<Item = &'a Put>) -> Vec<String> {
    puts.into_iter().map(|put| String::from_utf8(put.data.clone()).expect("the tests put text")).collect()
}

#[test]
fn aggregated_and_plain_records_are_delivered_one_by_one() {
    let Some(server) = Kinesis::shared() else { return };
    let stream = server.stream(2);
    let groups: Vec<_> = (0..20).map(|n| users(n * 30..n * 30 + n + 2, if n % 2 == 0 { 0 } else { TOP })).collect();
    let Some(wholes) = aggregates(&groups) else { return };
    let plain = users(10_000..10_020, TOP);
    let puts: Vec<_> = wholes.into_iter().zip(plain.clone()).flat_map(|(whole, plain)| [whole, plain]).collect();
    stream.put(&puts);
    let clicks = Clicks::of(&stream, &server.url());
    clicks.drains_to(&texts(groups.iter().flatten().chain(&plain)));
    // In the order of the shard, and of the aggregate.
    for (key, data) in Objects::read(&clicks.scratch.out()).iter() {
        let lines = std::str::from_utf8(data).expect("text").lines();
        let of_users = |belongs: fn(usize) -> bool| {
            let numbers = lines.clone().map(|line| line["user ".len()..].parse::<usize>().expect("a number"));
            numbers.filter(move |&n| belongs(n)).collect::<Vec<_>>()
        };
        assert!(of_users(|n| n < 10_000 && n / 30 % 2 == 0).is_sorted(), "{key}");
        assert!(of_users(|n| n < 10_000 && n / 30 % 2 == 1).is_sorted(), "{key}");
        assert!(of_users(|n| n >= 10_000).is_sorted(), "{key}");
    }
}

#[test]
fn what_only_looks_aggregated_is_delivered_as_it_is() {
    let Some(server) = Kinesis::shared() else { return };
    let stream = server.stream(1);
    let Some(whole) = aggregates(&[users(0..3, 0)]) else { return };
    let mut broken = whole[0].data.clone();
    *broken.last_mut().expect("a checksum") ^= 1;
    let short = b"\xf3\x89\x9a\xc2short".to_vec();
    stream.put(&[Put::new("a", broken.clone()), Put::new("a", short.clone()), Put::new("a", "plain")]);
    let clicks = Clicks::of(&stream, &server.url());
    clicks.drain();
    let expected: Vec<u8> =
        [broken, short, b"plain".to_vec()].iter().flat_map(|data| [data, &b"\n"[..]].concat()).collect();
    let delivered: Vec<u8> = Objects::read(&clicks.scratch.out()).iter().flat_map(|(_, data)| data.to_vec()).collect();
    assert_eq!(delivered, expected);
}

#[test]
fn a_misrouted_aggregate_goes_where_the_configuration_says() {
    let Some(server) = Kinesis::shared() else { return };
    let stream = server.stream(2);
    let misrouted = [users(0..3, 0), users(3..4, TOP), users(4..6, 0)].concat();
    let right = users(10..14, 0);
    let Some(wholes) = aggregates(&[misrouted.clone(), right.clone()]) else { return };
    stream.put(&wholes);
    for (way, delivers, fails) in [("error_output", false, 1), ("drop", false, 0), ("deliver", true, 0)] {
        let mut clicks = Clicks::of(&stream, &server.url()).with("on_misrouted", way);
        let out = clicks.scratch.out();
        clicks.delivery_stream()["destination"]["directory"] =
            json!({ "path": out, "prefix": "data/", "error_output_prefix": "failed/!{firehose:error-output-type}/" });
        let hydrant = clicks.drain();
        let expected = if delivers { [misrouted.clone(), right.clone()].concat() } else { right.clone() };
        assert_once(&Objects::read(&out.join("data")).lines(), &texts(&expected));
        let failed = Objects::read(&out.join("failed/processing-failed")).lines();
        assert_eq!(failed.len(), fails, "{way}: {hydrant}");
        for envelope in failed {
            let envelope: Value = serde_json::from_str(&envelope).expect("an envelope");
            let raw = STANDARD.decode(envelope["rawData"].as_str().expect("a text")).expect("base64");
            assert!(raw == wholes[0].data, "as it was read");
            assert_eq!(envelope["errorCode"], "Hydrant.MisroutedAggregate");
        }
    }
}

/// Four deliveries and a rest for each aggregate: wherever a life ends, the next one begins at the right sub-record.
#[test]
fn a_life_that_ends_within_an_aggregate_is_continued_there() {
    if !cfg!(debug_assertions) {
        return;
    }
    const EACH: usize = 450;
    let Some(server) = Kinesis::shared() else { return };
    let user = |n: usize| Put::new(format!("user-{n}"), format!("{n:05} {}", "x".repeat(1_000))).with_hash(0);
    let groups: Vec<Vec<_>> = (0..2).map(|group| (group * EACH..(group + 1) * EACH).map(user).collect()).collect();
    let Some(wholes) = aggregates(&groups) else { return };
    let stream = server.stream(1);
    assert_eq!(stream.put(&wholes)[0].shard, FIRST);
    let expected = texts(groups.iter().flatten());
    for point in ["sealed:3", "intent-committed:3", "object-complete:2", "settlement-committed:2", "object-complete:7"]
    {
        let mut clicks = Clicks::of(&stream, &server.url());
        clicks.delivery_stream()["buffering"]["interval_seconds"] = 900.into();
        let fail = [("HYDRANT_FAILPOINT", point)];
        let finished = Hydrant::begin_drain_with_env(&clicks.scratch, &clicks.config, &fail).wait();
        assert!(finished.killed(), "{point}: {finished}");
        let there = clicks.scratch.out();
        let there = Objects::read(&there).lines_total();
        assert!(there < 2 * EACH && (there == 0 || !there.is_multiple_of(EACH)), "{point}: {there} records are there");
        clicks.drains_to(&expected);
    }
}
