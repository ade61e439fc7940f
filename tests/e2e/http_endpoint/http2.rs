//! HTTP/2, which a server and Hydrant agree upon in the TLS handshake.

use serde_json::json;

use super::to_endpoint;
use crate::support::servers::certificates;
use crate::support::{Endpoint, Hydrant, Reaction, Scratch};

#[test]
fn records_are_sent_over_http_2_where_the_server_speaks_it() {
    let scratch = Scratch::new();
    certificates(scratch.root(), "server-ca", "server");
    let endpoint = Endpoint::start_http2(scratch.root());
    let lines: Vec<_> = (0..200).map(|n| format!("line {n:03} {}", "x".repeat(2_000))).collect();
    scratch.log("a.log", lines.join("\n") + "\n");
    // Refused, a stream that is reset, and bodies of more than one frame.
    endpoint.behave(|_, before| match before {
        0 => Reaction::Refuse(503, &[]),
        1 => Reaction::Reset,
        _ => Reaction::Accept,
    });
    let keys = json!({
        "tls": { "ca_file": "server-ca.pem" },
        "max_records": 10,
        "in_flight": 4,
        "response_timeout_seconds": 60,
    });
    let finished = Hydrant::drain(&scratch, &to_endpoint(&scratch, &endpoint, keys));
    endpoint.assert_no_complaints();
    let mut found = endpoint.lines();
    found.sort();
    assert_eq!(found, lines);
    let received = endpoint.received();
    assert!(received.iter().all(|request| request.line.ends_with("HTTP/2.0")), "{:?}", received[0].line);
    for code in ["HttpEndpoint.DestinationException", "HttpEndpoint.ConnectionReset"] {
        assert!(finished.stderr.contains(code), "{code}:\n{finished}");
    }
    // Those that are made at once do not know of each other.
    assert!(received.len() >= 20 && endpoint.connections() <= 4, "{}", endpoint.connections());
}
