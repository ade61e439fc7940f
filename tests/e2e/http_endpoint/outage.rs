//! An endpoint that is away for long, and its return.
//!
//! Waits pass a thousand times faster than they count, so that an hour is a few seconds.

use std::time::Duration;

use serde_json::json;

use super::{envelopes, to_endpoint};
use crate::support::{Endpoint, Hydrant, Reaction, Scratch};

/// Firehose's delays, and none of the tests' own limits.
const FAST: [(&str, &str); 2] = [("HYDRANT_RETRY_MAX_MS", ""), ("HYDRANT_RETRY_SPEED", "1000")];

/// Seven delays from 1 to 64 seconds, then two minutes each.
const ATTEMPTS_IN_AN_HOUR: usize = 7 + 29;

#[test]
fn after_an_hour_of_500_the_same_request_is_taken() {
    let (scratch, endpoint) = (Scratch::new(), Endpoint::start());
    scratch.log("a.log", "one\ntwo\n");
    endpoint.behave(|_, before| match before < ATTEMPTS_IN_AN_HOUR {
        true => Reaction::Refuse(500, &[]),
        false => Reaction::Accept,
    });
    let config = to_endpoint(&scratch, &endpoint, json!({ "retry_seconds": 7200, "response_timeout_seconds": 60 }));
    Hydrant::begin_drain_with_env(&scratch, &config, &FAST).wait().expect_code(0);
    endpoint.assert_no_complaints();
    let received = endpoint.received();
    assert_eq!(received.len(), ATTEMPTS_IN_AN_HOUR + 1);
    assert!(received.iter().all(|request| request.id == received[0].id));
    assert_eq!(endpoint.lines(), ["one", "two"]);
    assert!(envelopes(&scratch).is_empty());
}

#[test]
fn five_minutes_are_ten_attempts() {
    let (scratch, endpoint) = (Scratch::new(), Endpoint::start());
    scratch.log("a.log", "one\n");
    endpoint.behave(|_, _| Reaction::Refuse(500, &[]));
    let config = to_endpoint(&scratch, &endpoint, json!({ "retry_seconds": 300, "response_timeout_seconds": 60 }));
    Hydrant::begin_drain_with_env(&scratch, &config, &FAST).wait().expect_code(0);
    assert_eq!(endpoint.received().len(), 10);
    assert_eq!(envelopes(&scratch)[0]["attemptsMade"], 10);
}

#[test]
fn retry_after_is_honoured_in_seconds_and_as_a_date() {
    let (scratch, endpoint) = (Scratch::new(), Endpoint::start());
    scratch.log("a.log", "one\n");
    // The endpoint's clock is wrong by decades; what it means is a minute.
    const DATE: (&str, &str) = ("Date", "Fri, 31 Dec 1999 23:59:30 GMT");
    endpoint.behave(|_, before| match before {
        0 => Reaction::Refuse(429, &[("Retry-After", "45")]),
        1 => Reaction::Refuse(503, &[DATE, ("Retry-After", "Sat, 01 Jan 2000 00:00:30 GMT")]),
        _ => Reaction::Accept,
    });
    let config = to_endpoint(&scratch, &endpoint, json!({ "retry_seconds": 300, "response_timeout_seconds": 60 }));
    let finished = Hydrant::begin_drain_with_env(&scratch, &config, &FAST).wait().expect_code(0);
    for wait in ["retry_in=45ms", "retry_in=60ms"] {
        assert!(finished.stderr.contains(wait), "{wait}:\n{finished}");
    }
    assert_eq!((endpoint.lines(), endpoint.received().len()), (vec!["one".to_owned()], 3));
}

/// In the outage one request at a time is tried; at its end the first one is alone, and each answer lets one more come at most.
#[test]
fn an_endpoint_that_is_back_is_not_met_by_all_that_has_waited() {
    const IN_FLIGHT: usize = 8;
    const REFUSED: usize = 3 * IN_FLIGHT;
    let (scratch, endpoint) = (Scratch::new(), Endpoint::start());
    let lines: Vec<_> = (0..200).map(|n| format!("line {n:03}")).collect();
    scratch.log("a.log", lines.join("\n") + "\n");
    endpoint.behave(|_, before| match before < REFUSED {
        true => Reaction::Refuse(503, &[]),
        false => Reaction::AcceptSlowly(Duration::from_millis(5)),
    });
    let keys = json!({ "max_records": 1, "in_flight": IN_FLIGHT, "response_timeout_seconds": 60 });
    let finished = Hydrant::drain(&scratch, &to_endpoint(&scratch, &endpoint, keys));
    endpoint.assert_no_complaints();
    let mut found = endpoint.lines();
    found.sort();
    assert_eq!(found, lines);
    let under_way = endpoint.under_way();
    assert!(under_way[IN_FLIGHT..=REFUSED].iter().all(|count| *count == 1), "{under_way:?}");
    for (after, count) in under_way[REFUSED..].iter().enumerate() {
        let answered = after + 1 - count;
        assert!(*count <= (1 + answered).min(IN_FLIGHT), "{count} with {answered} answers: {under_way:?}\n{finished}");
    }
    assert!(under_way.iter().skip(REFUSED).any(|count| *count > 1), "it is as fast as before in the end");
}
