//! A service that fails, throttles, hangs or is away: records come late, and once.

use super::{Clicks, FIRST, SECOND, numbers};
use crate::support::{CallFault, CallProxy, Kinesis, Objects, wait_until};

/// What a call may meet and be asked again for.
const PASSING: [CallFault; 8] = [
    CallFault::THROTTLED,
    CallFault::EXPIRED_ITERATOR,
    CallFault::INTERNAL_FAILURE,
    CallFault::UNAVAILABLE,
    CallFault::LIMIT_EXCEEDED,
    CallFault::CutBefore,
    CallFault::LostAnswer,
    CallFault::CutWithin(40),
];

#[test]
fn faults_between_pages_lose_and_double_nothing() {
    let Some(server) = Kinesis::shared() else { return };
    let (stream, proxy) = (server.stream(2), CallProxy::start(server.port()));
    stream.put_numbers(0..100);
    proxy.rule(|call| match call.operation.as_str() {
        "GetRecords" if call.number % 2 == 1 => PASSING[call.number / 2 % PASSING.len()].clone(),
        "GetShardIterator" | "ListShards" | "DescribeStreamSummary" if call.number == 0 => CallFault::INTERNAL_FAILURE,
        "GetShardIterator" | "ListShards" | "DescribeStreamSummary" if call.number == 1 => CallFault::LostAnswer,
        _ => CallFault::Pass,
    });
    let clicks = Clicks::of(&stream, &proxy.endpoint()).with("max_records", 7);
    let hydrant = clicks.run();
    clicks.arrive(&numbers(0..100));
    stream.split(FIRST);
    stream.put_numbers(100..150);
    clicks.arrive(&numbers(0..150));
    wait_until("every fault was met", || PASSING.iter().all(|fault| proxy.met(fault) > 0));
    hydrant.terminate().expect_code(0);
    clicks.drains_to(&numbers(0..150));
}

/// Whether it is refused, unanswered, or answered by half.
#[test]
fn a_shard_that_cannot_be_read_stops_no_other() {
    let Some(server) = Kinesis::shared() else { return };
    for fault in [CallFault::INTERNAL_FAILURE, CallFault::Hang, CallFault::StallWithin(40)] {
        let (stream, proxy) = (server.stream(2), CallProxy::start(server.port()));
        let hurt = fault.clone();
        proxy.rule(move |call| match (call.operation.as_str(), call.shard.as_deref()) {
            ("GetRecords", Some(SECOND)) => hurt.clone(),
            _ => CallFault::Pass,
        });
        let clicks = Clicks::of(&stream, &proxy.endpoint());
        let hydrant = clicks.run();
        wait_until("the shard has failed", || proxy.met(&fault) > 0);
        stream.put_numbers(0..60);
        let of_first = stream.read(FIRST).into_iter().map(|read| String::from_utf8(read.data).expect("text"));
        clicks.arrive(&of_first.collect::<Vec<_>>());
        proxy.heal();
        proxy.cut();
        clicks.arrive(&numbers(0..60));
        hydrant.terminate().expect_code(0);
        clicks.drains_to(&numbers(0..60));
    }
}

#[test]
fn a_daemon_that_starts_before_the_service_finds_it_later() {
    let Some(server) = Kinesis::shared() else { return };
    let (stream, proxy) = (server.stream(2), CallProxy::start(server.port()));
    stream.put_numbers(0..40);
    proxy.rule(|_| CallFault::CutBefore);
    let clicks = Clicks::of(&stream, &proxy.endpoint());
    let hydrant = clicks.run();
    wait_until("it has asked in vain", || proxy.count("DescribeStreamSummary") >= 3);
    assert!(hydrant.is_alive() && Objects::read(&clicks.scratch.out()).len() == 0);
    proxy.heal();
    clicks.arrive(&numbers(0..40));
    hydrant.terminate().expect_code(0);
    clicks.drains_to(&numbers(0..40));
}
