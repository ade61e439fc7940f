//! The HTTP endpoint: what is sent, which answers count, and where goes what is not taken.

mod answers;
mod child;
mod crash;
mod http2;
mod outage;
mod reload;
mod signature;

use std::path::Path;
use std::process::Command;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::support::endpoint::{answer, proper};
use crate::support::scratch::{InTheWay, append};
use crate::support::servers::{Server, certificates, free_port};
use crate::support::{Endpoint, Hydrant, Objects, Reaction, Scratch, blockable, config, directory, stream, wait_until};

const FAILED: &str = "http-endpoint-failed/";

/// `*.log` → the endpoint, with a backup.
fn to_endpoint(scratch: &Scratch, endpoint: &Endpoint, keys: Value) -> Value {
    let mut http = json!({ "url": endpoint.url(), "retry_seconds": 60, "response_timeout_seconds": 1 });
    let keys = keys.as_object().expect("keys").clone();
    http.as_object_mut().expect("keys").extend(keys);
    let mut stream = stream("web", &scratch.logs().join("*.log"), json!({ "http_endpoint": http }));
    stream["backup"] = directory(&scratch.backup());
    stream["backup"]["error_output_prefix"] = "!{firehose:error-output-type}/".into();
    config(scratch, [stream])
}

/// What is in the backup, an envelope each.
fn envelopes(scratch: &Scratch) -> Vec<Value> {
    let objects = Objects::read(&scratch.backup());
    assert!(objects.keys().all(|key| key.starts_with(FAILED)), "{:?}", objects.keys().collect::<Vec<_>>());
    objects.lines().iter().map(|line| serde_json::from_str(line).expect("an envelope")).collect()
}

fn raw(envelope: &Value) -> String {
    let raw = STANDARD.decode(envelope["rawData"].as_str().expect("a text")).expect("base64");
    String::from_utf8(raw).expect("the tests send text")
}

#[test]
fn a_request_is_as_the_specification_says() {
    let (scratch, endpoint) = (Scratch::new(), Endpoint::start());
    scratch.log("a.log", "one\n\ntwö\n");
    let keys = json!({ "access_key": "key 1", "common_attributes": { "team": "web" }, "headers": { "X-More": "yes" },
        "auth": { "bearer_token": "hunter2" } });
    Hydrant::drain(&scratch, &to_endpoint(&scratch, &endpoint, keys));
    endpoint.assert_no_complaints();
    let received = endpoint.received();
    let [request] = received.as_slice() else { panic!("one request, not {received:?}") };
    assert_eq!(request.line, "POST /in?source=hydrant HTTP/1.1");
    let header = |name: &str| request.headers.get(name).map(String::as_str);
    assert_eq!(header("x-amz-firehose-source-arn"), Some("arn:aws:firehose:local:000000000000:deliverystream/web"));
    assert_eq!(header("x-amz-firehose-access-key"), Some("key 1"));
    assert_eq!(header("x-amz-firehose-common-attributes"), Some(r#"{"commonAttributes":{"team":"web"}}"#));
    assert_eq!(header("user-agent"), Some("Amazon Kinesis Data Firehose Agent/1.0"));
    assert_eq!(header("content-length"), Some(request.body.len().to_string().as_str()));
    assert_eq!((header("content-encoding"), header("transfer-encoding")), (None, None));
    assert_eq!((header("x-more"), header("authorization")), (Some("yes"), Some("Bearer hunter2")));
    let version = uuid::Uuid::parse_str(&request.id).expect("a UUID").get_version_num();
    assert_eq!(version, 5);
    let data = |text: &str| json!({ "data": STANDARD.encode(text) });
    assert_eq!(request.json["records"], json!([data("one"), data(""), data("twö")]));
    assert!(Objects::read(&scratch.backup()).keys().next().is_none());
}

#[test]
fn a_request_is_compressed_delimited_and_backed_up_where_that_is_asked_for() {
    let (scratch, endpoint) = (Scratch::new(), Endpoint::start());
    scratch.log("a.log", "one\ntwo\n");
    let mut config = to_endpoint(&scratch, &endpoint, json!({ "content_encoding": "gzip" }));
    config["delivery_streams"][0]["output_delimiter"] = "\n".into();
    config["delivery_streams"][0]["backup"]["mode"] = "all".into();
    Hydrant::drain(&scratch, &config);
    endpoint.assert_no_complaints();
    assert_eq!(endpoint.received()[0].headers["content-encoding"], "gzip");
    assert_eq!(endpoint.lines(), ["one\n", "two\n"]);
    assert_eq!(Objects::read(&scratch.backup()).lines(), ["one", "two"]);
}

/// Each is one record of the protocol, however many a source record became.
#[test]
fn what_processing_makes_of_records_is_sent_one_by_one() {
    let (scratch, endpoint) = (Scratch::new(), Endpoint::start());
    scratch.log("a.log", "a,b\n1,2\n3,4\n");
    let mut config = to_endpoint(&scratch, &endpoint, json!({}));
    config["delivery_streams"][0]["processing"] = json!([{ "csv_to_json": { "columns": ["x", "y"] } }]);
    Hydrant::drain(&scratch, &config);
    endpoint.assert_no_complaints();
    assert_eq!(endpoint.lines(), [r#"{"x":"a","y":"b"}"#, r#"{"x":"1","y":"2"}"#, r#"{"x":"3","y":"4"}"#]);
}

#[test]
fn a_delivery_is_cut_into_requests_that_leave_in_order() {
    let (scratch, endpoint) = (Scratch::new(), Endpoint::start());
    let lines: Vec<_> = (0..2_500).map(|n| format!("line {n}")).collect();
    scratch.log("a.log", lines.join("\n") + "\n");
    Hydrant::drain(&scratch, &to_endpoint(&scratch, &endpoint, json!({ "max_records": 70 })));
    endpoint.assert_no_complaints();
    assert_eq!(endpoint.lines(), lines);
    assert!(endpoint.taken().len() >= 2_500 / 70);
    assert!(endpoint.received().iter().all(|request| request.records.len() <= 70));
}

#[test]
fn several_requests_are_under_way_where_that_is_asked_for() {
    let (scratch, endpoint) = (Scratch::new(), Endpoint::start());
    let lines: Vec<_> = (0..1_000).map(|n| format!("line {n:04}")).collect();
    scratch.log("a.log", lines.join("\n") + "\n");
    Hydrant::drain(&scratch, &to_endpoint(&scratch, &endpoint, json!({ "max_records": 50, "in_flight": 8 })));
    endpoint.assert_no_complaints();
    let mut found = endpoint.lines();
    found.sort();
    assert_eq!(found, lines);
}

/// The endpoint stands in for a proxy, which is asked for whole URLs.
#[test]
fn requests_go_by_a_proxy_that_is_told_who_asks() {
    let (scratch, endpoint) = (Scratch::new(), Endpoint::start());
    scratch.log("a.log", "one\n");
    let proxy = endpoint.url().replace("/in?source=hydrant", "");
    let keys =
        json!({ "url": "http://logs.example/in", "proxy": { "url": proxy, "username": "me", "password": "hunter2" } });
    Hydrant::drain(&scratch, &to_endpoint(&scratch, &endpoint, keys));
    let received = endpoint.received();
    assert_eq!(received[0].line, "POST http://logs.example/in HTTP/1.1");
    assert_eq!(received[0].headers["proxy-authorization"], format!("Basic {}", STANDARD.encode("me:hunter2")));
    assert_eq!(endpoint.lines(), ["one"]);
}

#[test]
fn a_server_and_a_client_show_each_other_certificates() {
    let (scratch, endpoint) = (Scratch::new(), Endpoint::start());
    scratch.log("a.log", "one\n");
    certificates(scratch.root(), "server-ca", "server");
    certificates(scratch.root(), "client-ca", "client");
    let port = free_port();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/servers/tls_proxy.py");
    let upstream = endpoint.url().replace("/in?source=hydrant", "");
    let mut command = Command::new("python3");
    command.arg(script).args([&port.to_string(), &upstream, "server.pem", "server.key", "client-ca.pem"]);
    let proxy = Server::start(&scratch, "proxy", command, port);
    let with = |authority: &str| {
        json!({
            "url": format!("https://127.0.0.1:{}/in", proxy.port),
            "auth": { "basic": { "username": "me", "password": "hunter2" } },
            "response_timeout_seconds": 10,
            "tls": { "ca_file": authority, "certificate_file": "client.pem", "key_file": "client.key" },
        })
    };
    let wrong = to_endpoint(&scratch, &endpoint, with("client-ca.pem"));
    let hydrant = Hydrant::run(&scratch, &wrong);
    wait_until("it does not trust the server", || hydrant.said("HttpEndpoint.SSLHandshakeFailure") > 0);
    hydrant.kill_9();
    Hydrant::drain(&scratch, &to_endpoint(&scratch, &endpoint, with("server-ca.pem")));
    endpoint.assert_no_complaints();
    assert_eq!(endpoint.lines(), ["one"]);
}

/// What an endpoint may do instead of a proper answer; each is a failure, and the same request comes again.
fn misbehaviour(n: usize, id: &str) -> Option<Reaction> {
    let json = ("Content-Type", "application/json");
    let body = |body: &str| Some(Reaction::Raw(answer(200, &[json], &body.replace("ID", id))));
    let good = format!(r#"{{"requestId":"{id}","timestamp":1}}"#);
    let raw = |headers: &str, body: &str| {
        Some(Reaction::Raw(
            format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n{headers}\r\n{body}").into_bytes(),
        ))
    };
    match n {
        0 => body(r#"{"requestId":"other","timestamp":1}"#),
        1 => body(r#"{"requestId":"ID","timestamp":1,"errorMessage":"no"}"#),
        2 => body(r#"{"requestId":"ID","timestamp":"1578090903599"}"#),
        3 => raw("Transfer-Encoding: chunked\r\n", &format!("{:x}\r\n{good}\r\n0\r\n\r\n", good.len())),
        4 => raw(&format!("Content-Encoding: gzip\r\nContent-Length: {}\r\n", good.len()), &good),
        5 => Some(Reaction::Raw(proper(201, id, &[]))),
        6 => Some(Reaction::Raw(proper(202, id, &[]))),
        7 => Some(Reaction::Raw(b"HTTP/1.1 204 No Content\r\n\r\n".to_vec())),
        8 => Some(Reaction::Refuse(301, &[("Location", "/elsewhere")])),
        9 => Some(Reaction::Refuse(307, &[("Location", "/elsewhere")])),
        10 => Some(Reaction::Stall(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 80\r\n\r\n{".to_vec(),
        )),
        11 => Some(Reaction::Stall(Vec::new())),
        12 => Some(Reaction::Reset),
        13 => Some(Reaction::AcceptSilently),
        14 => raw("Content-Length: 900\r\n", &good),
        15 => raw("Content-Length: 1048577\r\n", &format!("{good}{}", " ".repeat(1_048_577 - good.len()))),
        16 => body(r#"{"requestId":"ID","timestamp":1,"more":1}"#),
        17 => Some(Reaction::Raw(answer(200, &[("Content-Type", "text/plain")], &good))),
        18 => Some(Reaction::Raw(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 0\r\n\r\n".to_vec(),
        )),
        19 => Some(Reaction::Raw(b"SSH-2.0-OpenSSH_9.6\r\n".to_vec())),
        20 => Some(Reaction::Refuse(400, &[])),
        21 => Some(Reaction::Refuse(401, &[])),
        22 => Some(Reaction::Refuse(429, &[("Retry-After", "1")])),
        23 => Some(Reaction::Refuse(500, &[])),
        24 => Some(Reaction::Refuse(503, &[("Retry-After", "99999999999999999999")])),
        _ => None,
    }
}

#[test]
fn an_answer_that_breaks_the_rules_is_no_success_and_the_same_request_comes_again() {
    let (scratch, endpoint) = (Scratch::new(), Endpoint::start());
    scratch.log("a.log", "one\ntwo\n");
    endpoint.behave(|request, before| misbehaviour(before, &request.id).unwrap_or(Reaction::Accept));
    let finished = Hydrant::drain(&scratch, &to_endpoint(&scratch, &endpoint, json!({})));
    endpoint.assert_no_complaints();
    let received = endpoint.received();
    assert_eq!(received.len(), 26, "{received:#?}");
    assert!(received.iter().all(|request| request.id == received[0].id && request.line == received[0].line));
    assert_eq!(endpoint.lines(), ["one", "two"]);
    for code in [
        "InvalidResponseFromDestination",
        "DestinationException",
        "RequestTimeout",
        "ConnectionReset",
        "ResponseTooLarge",
    ] {
        assert!(finished.stderr.contains(&format!("HttpEndpoint.{code}")), "{code}:\n{}", finished.stderr);
    }
    assert!(!finished.stderr.contains("source=hydrant"), "a query may hold a key");
    assert!(Objects::read(&scratch.backup()).keys().next().is_none());
}

#[test]
fn what_is_too_large_is_halved_and_a_single_record_goes_to_the_error_output() {
    let (scratch, endpoint) = (Scratch::new(), Endpoint::start());
    let mut lines: Vec<_> = (0..40).map(|n| format!("line {n}")).collect();
    lines[17] = "x".repeat(2_000);
    scratch.log("a.log", lines.join("\n") + "\n");
    endpoint.behave(|request, _| match request.body.len() > 500 {
        true => Reaction::Refuse(413, &[]),
        false => Reaction::Accept,
    });
    Hydrant::drain(&scratch, &to_endpoint(&scratch, &endpoint, json!({})));
    endpoint.assert_no_complaints();
    let poison = lines.remove(17);
    assert_eq!(endpoint.lines(), lines);
    let envelopes = envelopes(&scratch);
    let [envelope] = envelopes.as_slice() else { panic!("one envelope, not {envelopes:?}") };
    assert_eq!(raw(envelope), poison);
    assert_eq!(
        (&envelope["errorCode"], &envelope["attemptsMade"]),
        (&json!("HttpEndpoint.DestinationException"), &json!(1))
    );
}

/// Larger than any request may hold, so it is never sent.
#[test]
fn a_record_over_the_protocols_limit_is_never_sent() {
    let (scratch, endpoint) = (Scratch::new(), Endpoint::start());
    let huge = "x".repeat(1_024_001);
    let largest = "y".repeat(1_024_000);
    scratch.log("a.log", format!("before\n{huge}\n{largest}\nafter\n"));
    let mut config = to_endpoint(&scratch, &endpoint, json!({}));
    config["delivery_streams"][0]["source"]["file"]["max_record_kb"] = 2_000.into();
    config["delivery_streams"][0]["buffering"] = json!({ "size_mb": 8, "interval_seconds": 1, "low_latency": true });
    Hydrant::drain(&scratch, &config);
    endpoint.assert_no_complaints();
    assert_eq!(endpoint.lines(), ["before", largest.as_str(), "after"]);
    let envelopes = envelopes(&scratch);
    assert_eq!(envelopes.iter().map(raw).collect::<Vec<_>>(), [huge]);
    assert_eq!(
        (&envelopes[0]["errorCode"], &envelopes[0]["attemptsMade"]),
        (&json!("Hydrant.RecordTooLarge"), &json!(0))
    );
}

#[test]
fn after_the_retry_duration_records_go_to_the_backup_in_firehoses_envelopes() {
    let (scratch, endpoint) = (Scratch::new(), Endpoint::start());
    scratch.log("a.log", "one\ntwo\n");
    endpoint.behave(|_, _| Reaction::Refuse(500, &[]));
    let config = to_endpoint(&scratch, &endpoint, json!({ "retry_seconds": 1 }));
    let hydrant = Hydrant::run(&scratch, &config);
    wait_until("they are in the backup", || Objects::read(&scratch.backup()).lines_total() == 2);
    let line = Objects::read(&scratch.backup()).lines()[0].clone();
    let fields = [
        "attemptsMade",
        "arrivalTimestamp",
        "errorCode",
        "errorMessage",
        "attemptEndingTimestamp",
        "rawData",
        "subsequenceNumber",
        "dataId",
    ];
    let places: Vec<_> = fields.iter().map(|field| line.find(&format!("\"{field}\":")).expect("a field")).collect();
    assert!(places.is_sorted(), "{line}");
    let envelopes = envelopes(&scratch);
    assert_eq!(envelopes.iter().map(raw).collect::<Vec<_>>(), ["one", "two"]);
    let envelope = &envelopes[0];
    assert_eq!(envelope["errorCode"], "HttpEndpoint.DestinationException");
    assert!(envelope["errorMessage"].as_str().expect("a text").contains("500: {\"requestId\""), "{envelope}");
    let attempts = endpoint.received().len() as u64;
    assert!(attempts >= 10, "delays of 100 ms for one second: {attempts}");
    assert_eq!(envelope["attemptsMade"].as_u64(), Some(attempts));
    let (arrival, ended) = (&envelope["arrivalTimestamp"], &envelope["attemptEndingTimestamp"]);
    assert!(arrival.as_u64() <= ended.as_u64() && arrival.as_u64() > Some(1_700_000_000_000), "{envelope}");

    // It is back: what comes now is taken.
    endpoint.behave(|_, _| Reaction::Accept);
    append(&scratch.logs().join("a.log"), "three\n");
    wait_until("it is taken", || endpoint.lines() == ["three"]);
    assert_eq!(hydrant.terminate().status.code(), Some(0));
    endpoint.assert_no_complaints();
}

#[test]
fn when_the_backup_is_away_too_the_stream_waits() {
    let (scratch, endpoint) = (Scratch::new(), Endpoint::start());
    scratch.log("a.log", "one\n");
    endpoint.behave(|request, _| match request.records[0] == b"one" {
        true => Reaction::Refuse(503, &[]),
        false => Reaction::Accept,
    });
    let mut config = to_endpoint(&scratch, &endpoint, json!({ "retry_seconds": 0 }));
    config["delivery_streams"][0]["backup"] = blockable(&scratch.backup());
    let in_the_way = InTheWay::of(&scratch.backup());
    let hydrant = Hydrant::run(&scratch, &config);
    wait_until("the backup was tried", || {
        hydrant.said("delivery failed; it is tried again") > 0 || hydrant.said("delivery refused") > 0
    });
    append(&scratch.logs().join("a.log"), "two\n");
    hydrant.wait_until_reading_halts();
    assert_eq!(endpoint.lines(), Vec::<String>::new(), "in order, so it waits");
    drop(in_the_way);
    wait_until("both have their fate", || {
        endpoint.lines() == ["two"] && Objects::read(&scratch.backup()).lines_total() == 1
    });
    assert_eq!(hydrant.terminate().status.code(), Some(0));
    let lines = Objects::read(&scratch.backup()).lines();
    assert_eq!(raw(&serde_json::from_str(&lines[0]).expect("an envelope")), "one");
    endpoint.assert_no_complaints();
}

#[test]
fn what_waits_at_the_end_of_a_life_comes_in_the_next_under_the_same_id() {
    let (scratch, endpoint) = (Scratch::new(), Endpoint::start());
    let lines: Vec<_> = (0..10).map(|n| format!("line {n}")).collect();
    scratch.log("a.log", lines.join("\n") + "\n");
    // The first of three requests is taken.
    endpoint.behave(|_, before| if before == 0 { Reaction::Accept } else { Reaction::Refuse(500, &[]) });
    let mut config = to_endpoint(&scratch, &endpoint, json!({ "max_records": 4 }));
    config["shutdown_timeout_seconds"] = 0.into();
    let hydrant = Hydrant::run(&scratch, &config);
    wait_until("the second was refused", || endpoint.received().len() >= 2);
    assert_eq!(hydrant.terminate().status.code(), Some(0));
    let before = endpoint.received();
    endpoint.behave(|_, _| Reaction::Accept);
    // Another limit changes nothing about what is journalled.
    config["delivery_streams"][0]["destination"]["http_endpoint"]["max_records"] = 3.into();
    Hydrant::drain(&scratch, &config);
    let after = endpoint.received().split_off(before.len());
    assert_eq!(after[0].id, before[1].id);
    assert_eq!(after.iter().map(|request| request.records.len()).collect::<Vec<_>>(), [4, 2]);
    assert_eq!(endpoint.lines(), lines);
    endpoint.assert_no_complaints();
}

/// Other requests would come of them: what was acknowledged stays so, the rest is new.
#[test]
fn with_another_processing_nothing_is_lost_and_nothing_acknowledged_comes_again() {
    let (scratch, endpoint) = (Scratch::new(), Endpoint::start());
    scratch.log("a.log", r#"{"n":0}"#.to_owned() + "\n" + r#"{"n":1}"# + "\n" + r#"{"n":2}"# + "\n");
    endpoint.behave(|_, before| if before == 0 { Reaction::Accept } else { Reaction::Refuse(500, &[]) });
    let mut config = to_endpoint(&scratch, &endpoint, json!({ "max_records": 1 }));
    config["shutdown_timeout_seconds"] = 0.into();
    let hydrant = Hydrant::run(&scratch, &config);
    wait_until("the second was refused", || endpoint.received().len() >= 2);
    hydrant.terminate().expect_code(0);
    endpoint.behave(|_, _| Reaction::Accept);
    config["delivery_streams"][0]["processing"] = json!([{ "json": { "rename": { "n": "m" } } }]);
    Hydrant::drain(&scratch, &config);
    assert_eq!(endpoint.lines(), [r#"{"n":0}"#, r#"{"m":1}"#, r#"{"m":2}"#]);
    endpoint.assert_no_complaints();
}

/// What is left of a delivery goes under ids of its own, without what was acknowledged.
#[test]
fn a_delivery_that_has_lost_records_goes_on_with_the_others() {
    let (scratch, endpoint) = (Scratch::new(), Endpoint::start());
    let lines = |name: &str| (0..5).map(|n| format!("{name} {n}")).collect::<Vec<_>>();
    for name in ["a", "b"] {
        scratch.log(&format!("{name}.log"), lines(name).join("\n") + "\n");
    }
    endpoint.behave(|_, before| if before == 0 { Reaction::Accept } else { Reaction::Refuse(500, &[]) });
    let mut config = to_endpoint(&scratch, &endpoint, json!({ "max_records": 4 }));
    config["shutdown_timeout_seconds"] = 0.into();
    // Both are in one delivery: four of one file, then the fifth with three of the other.
    config["delivery_streams"][0]["buffering"]["interval_seconds"] = 3.into();
    let hydrant = Hydrant::run(&scratch, &config);
    wait_until("the second was refused", || endpoint.received().len() >= 2);
    hydrant.terminate().expect_code(0);
    let (first, refused) = (endpoint.received().remove(0), endpoint.received().pop().expect("a request"));
    assert_eq!((first.records.len(), refused.records.len()), (4, 4));
    let (kept, lost) = if first.records[0].starts_with(b"a") { ("a", "b.log") } else { ("b", "a.log") };
    std::fs::remove_file(scratch.logs().join(lost)).expect("a log can be deleted");
    endpoint.behave(|_, _| Reaction::Accept);
    let finished = Hydrant::drain(&scratch, &config);
    assert_eq!(endpoint.lines(), lines(kept), "{finished}");
    assert!(endpoint.taken().iter().all(|(id, _)| *id != refused.id), "other records, another id");
    endpoint.assert_no_complaints();
}

/// Bodies are as large as memory lets them be, and envelopes are longer than what they hold.
#[test]
fn memory_is_bounded_however_much_is_sent_and_refused() {
    const MB: u64 = 1 << 20;
    const LIMIT_MB: u64 = 32;
    /// The binary itself in a debug build, the SDK, the journal, and an allocator's slack.
    const BESIDES_MB: u64 = 96;
    let (scratch, endpoint) = (Scratch::new(), Endpoint::start());
    let line = format!("{}\n", "0123456789abcdef".repeat(4));
    scratch.log("a.log", line.repeat(48 * MB as usize / line.len()));
    endpoint.behave(|_, before| if before % 3 == 0 { Reaction::Refuse(500, &[]) } else { Reaction::Accept });
    let keys =
        json!({ "retry_seconds": 0, "content_encoding": "gzip", "in_flight": 2, "response_timeout_seconds": 60 });
    let mut config = to_endpoint(&scratch, &endpoint, keys);
    config["memory_limit_mb"] = LIMIT_MB.into();
    config["delivery_streams"][0]["buffering"] = json!({ "size_mb": 32, "interval_seconds": 60 });
    let hydrant = Hydrant::run(&scratch, &config);
    let records = 48 * MB as usize / line.len();
    let mut peak = 0;
    wait_until("much of it is taken", || {
        peak = peak.max(hydrant.peak_memory());
        // What is buffered last waits for its interval.
        endpoint.count() > records / 3
    });
    println!("peak memory {} MB", peak / MB);
    assert!(peak < (LIMIT_MB + BESIDES_MB) * MB, "peak memory {} MB", peak / MB);
    assert_eq!(hydrant.terminate().status.code(), Some(0));
    assert_eq!(endpoint.count() + Objects::read(&scratch.backup()).lines_total(), records);
    endpoint.assert_no_complaints();
}

/// To a receiver that knows nothing of Firehose.
fn to_raw(scratch: &Scratch, endpoint: &Endpoint, format: &str) -> Value {
    to_endpoint(scratch, endpoint, json!({ "protocol": "raw", "format": format }))
}

#[test]
fn plain_requests_hold_records_in_each_format() {
    for (format, content_type, expected) in [
        ("ndjson", "application/x-ndjson", "{\"n\":1}\n{\"n\":2}\n"),
        ("json_array", "application/json", "[{\"n\":1},{\"n\":2}]"),
        ("lines", "text/plain; charset=utf-8", "{\"n\":1}\n{\"n\":2}\n"),
        ("bytes", "application/octet-stream", "{\"n\":1}{\"n\":2}"),
    ] {
        let (scratch, endpoint) = (Scratch::new(), Endpoint::start());
        scratch.log("a.log", "{\"n\":1}\n{\"n\":2}\n");
        Hydrant::drain(&scratch, &to_raw(&scratch, &endpoint, format));
        endpoint.assert_no_complaints();
        assert_eq!(endpoint.lines(), [expected], "{format}");
        let request = &endpoint.received()[0];
        assert_eq!(request.line, "POST /in?source=hydrant HTTP/1.1");
        assert_eq!(request.headers["content-type"], content_type);
        assert!(request.headers.keys().all(|name| !name.contains("firehose")), "{:?}", request.headers);
    }
}

#[test]
fn a_record_that_would_break_a_plain_body_fails_alone_and_the_status_counts() {
    let (scratch, endpoint) = (Scratch::new(), Endpoint::start());
    scratch.log("a.log", "{\"n\":1}\nno json\n{\"n\":2}\n");
    endpoint.behave(|_, before| match before {
        0 => Reaction::Refuse(200, &[]),
        1 => Reaction::Raw(b"HTTP/1.1 204 No Content\r\n\r\n".to_vec()),
        2 => Reaction::Refuse(503, &[]),
        _ => Reaction::AcceptPlainly,
    });
    let mut config = to_raw(&scratch, &endpoint, "json_array");
    let http = &mut config["delivery_streams"][0]["destination"]["http_endpoint"];
    (http["method"], http["success_codes"]) = ("PUT".into(), json!([201]));
    Hydrant::drain(&scratch, &config);
    endpoint.assert_no_complaints();
    assert_eq!(endpoint.lines(), ["[{\"n\":1}]", "[{\"n\":2}]"]);
    let received = endpoint.received();
    assert!(received.iter().all(|request| request.line.starts_with("PUT ")));
    let ids: Vec<_> = received.iter().map(|request| request.id.as_str()).collect();
    assert!(ids[..4].iter().all(|id| *id == ids[0]) && ids[4] != ids[0] && ids.len() == 5, "{ids:?}");
    let envelopes = envelopes(&scratch);
    assert_eq!(envelopes.iter().map(raw).collect::<Vec<_>>(), ["no json"]);
    assert_eq!(envelopes[0]["errorCode"], "Hydrant.RecordMisfits");
}
