//! Endpoints that keep HTTP's rules in other ways than most, or break them: nothing is lost, and what was taken is not sent again.

use std::time::Duration;

use serde_json::json;

use super::to_endpoint;
use crate::support::endpoint::proper;
use crate::support::{Endpoint, Hydrant, Interruption, Reaction, Scratch};

/// More than what sockets hold between two processes.
fn much() -> (Vec<String>, String) {
    let lines: Vec<_> = (0..16_000).map(|n| format!("{n:05} {}", "x".repeat(1_000))).collect();
    let text = lines.join("\n") + "\n";
    (lines, text)
}

fn keys_for_much() -> serde_json::Value {
    json!({ "max_records": 10_000, "response_timeout_seconds": 120, "write_timeout_seconds": 120 })
}

#[test]
fn a_redirect_to_another_host_is_not_followed() {
    let (scratch, endpoint, other) = (Scratch::new(), Endpoint::start(), Endpoint::start());
    scratch.log("a.log", "one\n");
    let location = other.url();
    endpoint.behave(move |_, before| match [301, 302, 303, 307, 308].get(before) {
        Some(status) => Reaction::Raw(
            format!("HTTP/1.1 {status} Elsewhere\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n").into_bytes(),
        ),
        None => Reaction::Accept,
    });
    Hydrant::drain(&scratch, &to_endpoint(&scratch, &endpoint, json!({ "access_key": "hush" })));
    endpoint.assert_no_complaints();
    assert_eq!((endpoint.lines(), endpoint.received().len()), (vec!["one".to_owned()], 6));
    assert_eq!(other.connections(), 0);
}

#[test]
fn answers_before_the_answer_are_passed_over() {
    let (scratch, endpoint) = (Scratch::new(), Endpoint::start());
    scratch.log("a.log", "one\n");
    endpoint.behave(|request, _| {
        let before = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </in>\r\n\r\n";
        Reaction::AcceptAs([&before[..], &proper(200, &request.id, &[])].concat())
    });
    Hydrant::drain(&scratch, &to_endpoint(&scratch, &endpoint, json!({})));
    endpoint.assert_no_complaints();
    assert_eq!((endpoint.lines(), endpoint.received().len()), (vec!["one".to_owned()], 1));
}

#[test]
fn a_connection_that_is_closed_between_two_requests_is_made_anew() {
    let (scratch, endpoint) = (Scratch::new(), Endpoint::start());
    let lines: Vec<_> = (0..40).map(|n| format!("line {n}")).collect();
    scratch.log("a.log", lines.join("\n") + "\n");
    endpoint.behave(|_, _| Reaction::AcceptAndClose);
    Hydrant::drain(&scratch, &to_endpoint(&scratch, &endpoint, json!({ "max_records": 4 })));
    endpoint.assert_no_complaints();
    assert_eq!(endpoint.lines(), lines);
    assert!(endpoint.connections() >= 10, "{}", endpoint.connections());
}

#[test]
fn a_connection_is_used_again() {
    let (scratch, endpoint) = (Scratch::new(), Endpoint::start());
    scratch.log("a.log", (0..40).map(|n| format!("line {n}\n")).collect::<String>());
    Hydrant::drain(&scratch, &to_endpoint(&scratch, &endpoint, json!({ "max_records": 4 })));
    assert_eq!((endpoint.received().len(), endpoint.connections()), (10, 1));
}

#[test]
fn a_slow_answer_is_an_answer() {
    let (scratch, endpoint) = (Scratch::new(), Endpoint::start());
    scratch.log("a.log", "one\n");
    endpoint.behave(|_, _| Reaction::AcceptSlowly(Duration::from_millis(30)));
    Hydrant::drain(&scratch, &to_endpoint(&scratch, &endpoint, json!({ "response_timeout_seconds": 120 })));
    assert_eq!((endpoint.lines(), endpoint.received().len()), (vec!["one".to_owned()], 1));
}

/// What is refused by its length alone is split at once, as its whole would not be read.
#[test]
fn an_answer_that_comes_before_the_body_was_read_counts() {
    let (scratch, endpoint) = (Scratch::new(), Endpoint::start());
    let (lines, text) = much();
    scratch.log("a.log", text);
    endpoint.interrupt(|before| match before {
        0 => Some(Interruption::Answer(proper(413, "", &[]))),
        1 => Some(Interruption::Answer(proper(500, "", &[]))),
        _ => None,
    });
    let mut config = to_endpoint(&scratch, &endpoint, keys_for_much());
    config["delivery_streams"][0]["buffering"] = json!({ "size_mb": 32, "interval_seconds": 1, "low_latency": true });
    let finished = Hydrant::drain(&scratch, &config);
    endpoint.assert_no_complaints();
    assert!(endpoint.lines() == lines, "{finished}");
    assert!(finished.stderr.contains("500: {"), "{finished}");
    assert!(endpoint.received().iter().all(|request| request.records.len() <= 5_000 || request.records.len() == 6_000));
}

/// Whether the answer is heard or the break of the connection: the records come again.
#[test]
fn an_answer_and_the_end_of_the_connection_before_the_body_was_read_lose_nothing() {
    let (scratch, endpoint) = (Scratch::new(), Endpoint::start());
    let (lines, text) = much();
    scratch.log("a.log", text);
    endpoint.interrupt(|before| match before {
        0 | 2 => Some(Interruption::AnswerAndClose(proper(413, "", &[]))),
        1 => Some(Interruption::AnswerAndClose(proper(200, "", &[]))),
        _ => None,
    });
    let mut config = to_endpoint(&scratch, &endpoint, keys_for_much());
    config["delivery_streams"][0]["buffering"] = json!({ "size_mb": 32, "interval_seconds": 1, "low_latency": true });
    let finished = Hydrant::drain(&scratch, &config);
    endpoint.assert_no_complaints();
    assert!(endpoint.lines() == lines, "{finished}");
}

#[test]
fn an_attempt_that_stands_still_ends_in_each_of_its_phases() {
    let (scratch, endpoint) = (Scratch::new(), Endpoint::start());
    let (lines, text) = much();
    scratch.log("a.log", text);
    endpoint.interrupt(|before| (before == 0).then_some(Interruption::StopReading));
    endpoint.behave(|_, before| match before {
        0 => Reaction::Stall(Vec::new()),
        1 => Reaction::Stall(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 80\r\n\r\n{".to_vec(),
        ),
        _ => Reaction::Accept,
    });
    let keys = json!({
        "response_timeout_seconds": 120,
        "write_timeout_seconds": 2,
        "first_byte_timeout_seconds": 5,
        "read_timeout_seconds": 1,
    });
    let mut config = to_endpoint(&scratch, &endpoint, keys);
    config["delivery_streams"][0]["buffering"] = json!({ "size_mb": 32, "interval_seconds": 1, "low_latency": true });
    let finished = Hydrant::drain(&scratch, &config);
    endpoint.assert_no_complaints();
    assert!(endpoint.lines() == lines, "{finished}");
    for phase in [
        "the endpoint took nothing more of the request for 2s",
        "the request was sent, and no answer of the endpoint began within 5s",
        "nothing more of the answer of the endpoint came for 1s",
    ] {
        assert!(finished.stderr.contains(phase), "{phase}:\n{finished}");
    }
}

#[test]
fn a_handshake_that_stands_still_ends_too() {
    let (scratch, endpoint) = (Scratch::new(), Endpoint::start());
    scratch.log("a.log", "one\n");
    // Connections are made by the kernel; nobody takes them.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("https://{}/in", silent.local_addr().expect("its address"));
    let config = to_endpoint(
        &scratch,
        &endpoint,
        json!({ "url": url, "connect_timeout_seconds": 1, "response_timeout_seconds": 120 }),
    );
    let hydrant = Hydrant::run(&scratch, &config);
    crate::support::wait_until("it is tried again", || hydrant.said("HttpEndpoint.ConnectionFailed") > 1);
    assert_eq!(hydrant.said("HttpEndpoint.RequestTimeout"), 0);
    hydrant.kill_9();
}
