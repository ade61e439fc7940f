//! Processors through the real binary: what becomes of records, of those that fail, and of both when the process is killed.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;

use base64::Engine;
use serde_json::{Value, json};

use crate::support::{Hydrant, Objects, Scratch, config, delivered_lines, fast_buffering, stream, wait_until};

/// Files of `*.log` through `processing` into `out`, failures beside the objects.
fn processed(scratch: &Scratch, processing: Value) -> Value {
    let destination =
        json!({ "directory": { "path": scratch.out(), "prefix": "ok/", "error_output_prefix": "errors/" } });
    let mut stream = stream("s", &scratch.logs().join("*.log"), destination);
    stream["processing"] = processing;
    stream
}

fn lines_under(scratch: &Scratch, folder: &str) -> Vec<String> {
    lines_in(&scratch.out(), folder)
}

/// The sorted lines of all objects whose keys begin with `prefix`.
pub fn lines_in(root: &Path, prefix: &str) -> Vec<String> {
    let mut lines: Vec<String> = Objects::read(root)
        .iter()
        .filter(|(key, _)| key.starts_with(prefix))
        .flat_map(|(_, data)| String::from_utf8_lossy(data).lines().map(str::to_owned).collect::<Vec<_>>())
        .collect();
    lines.sort();
    lines
}

/// (raw data, error message) of each failed record.
fn failures(scratch: &Scratch) -> Vec<(String, String)> {
    failures_in(&scratch.out(), "errors/")
}

/// The same of all objects whose keys begin with `prefix`, none of which may hold anything else.
#[track_caller]
pub fn failures_in(root: &Path, prefix: &str) -> Vec<(String, String)> {
    let envelope = |line: &String| {
        let envelope: Value = serde_json::from_str(line).expect("an envelope is one JSON object");
        assert_eq!(envelope["errorCode"], "Hydrant.ProcessingFailed");
        let raw = base64::engine::general_purpose::STANDARD.decode(envelope["rawData"].as_str().expect("a text"));
        let message = envelope["errorMessage"].as_str().expect("a text").to_owned();
        (String::from_utf8(raw.expect("base64")).expect("these are texts"), message)
    };
    let mut failures: Vec<_> = lines_in(root, prefix).iter().map(envelope).collect();
    failures.sort();
    failures
}

const ACCESS: &str = r#"203.0.113.9 - ana [10/Oct/2026:13:55:36 +0000] "GET /a HTTP/1.1" 200 2326"#;

#[test]
fn a_record_that_does_not_match_harms_itself_alone() {
    let scratch = Scratch::new();
    scratch.log("a.log", format!("{ACCESS}\nnot an access line\n{ACCESS}\n"));
    let processing = json!([{ "log_to_json": { "format": "common_apache_log" } }]);
    let finished = Hydrant::drain(&scratch, &config(&scratch, [processed(&scratch, processing)]));
    let expected = concat!(
        r#"{"host":"203.0.113.9","ident":null,"authuser":"ana","datetime":"10/Oct/2026:13:55:36 +0000","#,
        r#""request":"GET /a HTTP/1.1","response":"200","bytes":"2326"}"#
    );
    assert_eq!(lines_under(&scratch, "ok/"), [expected, expected]);
    let failed = failures(&scratch);
    let [(raw, message)] = failed.as_slice() else { panic!("one failure, not {failed:?}") };
    assert_eq!(raw, "not an access line");
    assert!(message.contains("log_to_json") && message.contains("a.log"), "{message}");
    let account = "3 read + 0 created = 2 delivered + 0 dropped + 1 failed + 0 skipped + 0 in flight";
    assert!(finished.stderr.contains(account), "{finished}");
}

#[test]
fn sub_records_become_records_and_what_is_no_object_fails_with_the_rest() {
    let scratch = Scratch::new();
    let good = (0..50).map(|n| format!("{{\"n\":{n},\"k\":\"x|\"}} {{\"n\":{n},\"k\":\"y\"}}\n")).collect::<String>();
    scratch.log("a.log", format!("{good}{{\"id\":1}}{{\"id\":}}{{\"id\":3}}\n"));
    let processing = json!([{ "deaggregate_records": { "type": "json" } }]);
    let finished = Hydrant::drain(&scratch, &config(&scratch, [processed(&scratch, processing)]));
    let mut expected: Vec<_> =
        (0..50).flat_map(|n| ["x|", "y"].map(|k| format!("{{\"n\":{n},\"k\":\"{k}\"}}"))).collect();
    expected.push("{\"id\":1}".to_owned());
    expected.sort();
    assert_eq!(lines_under(&scratch, "ok/"), expected);
    let failed = failures(&scratch);
    let [(raw, message)] = failed.as_slice() else { panic!("one failure, not {failed:?}") };
    assert_eq!(raw, "{\"id\":}{\"id\":3}");
    let reason =
        "`deaggregate_records`: the record is no sequence of JSON objects: expected a value at line 1, column 15";
    assert!(message.starts_with(reason), "{message}");
    assert!(finished.stderr.contains("= 101 delivered + 0 dropped + 1 failed + 0 skipped"), "{finished}");
}

#[test]
fn on_error_pass_hands_the_record_on_as_it_is() {
    let scratch = Scratch::new();
    scratch.log("a.log", "plain\n{\"a\":{\"b\":1}}\n");
    let processing = json!([{ "json": { "flatten": {}, "on_error": "pass" } }]);
    Hydrant::drain(&scratch, &config(&scratch, [processed(&scratch, processing)]));
    assert_eq!(lines_under(&scratch, ""), ["plain", r#"{"a.b":1}"#]);
}

#[test]
fn metadata_says_where_a_record_comes_from() {
    let scratch = Scratch::new();
    let path = scratch.log("a.log", "{\"n\":1}\n{\"n\":2}\n");
    let fields = json!({ "file": "path", "at": "offset", "team": { "static": "web" } });
    let processing = json!([{ "add_metadata": { "fields": fields } }]);
    Hydrant::drain(&scratch, &config(&scratch, [processed(&scratch, processing)]));
    let records: Vec<Value> =
        delivered_lines(&scratch.out()).iter().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let path = path.display().to_string();
    let expected = |n: u32, at: u32| json!({ "n": n, "file": path, "at": at, "team": "web" });
    assert_eq!(records, [expected(1, 0), expected(2, 8)]);
}

/// An instance metadata service that knows the region and the instance's id, on loopback.
fn metadata_service() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("its number");
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            let Ok(mut connection) = connection else { return };
            std::thread::spawn(move || while answer(&mut connection).is_some() {});
        }
    });
    address
}

/// Answers one request; `None` at the connection's end.
fn answer(connection: &mut TcpStream) -> Option<()> {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        connection.read_exact(&mut byte).ok()?;
        request.push(byte[0]);
    }
    let request = String::from_utf8_lossy(&request).into_owned();
    let path = request.split(' ').nth(1)?;
    let (status, body) = match path {
        "/latest/api/token" => ("200 OK", "token"),
        _ if !request.contains("x-aws-ec2-metadata-token: token") => ("401 Unauthorized", ""),
        "/latest/meta-data/instance-id" => ("200 OK", "i-0123"),
        "/latest/meta-data/placement/region" => ("200 OK", "eu-west-1"),
        "/latest/meta-data/tags/instance" => ("200 OK", "Name\nteam"),
        "/latest/meta-data/tags/instance/Name" => ("200 OK", "web 1"),
        "/latest/meta-data/tags/instance/team" => ("200 OK", "shop"),
        _ => ("404 Not Found", ""),
    };
    let head = format!(
        "HTTP/1.1 {status}\r\nx-aws-ec2-metadata-token-ttl-seconds: 300\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    connection.write_all((head + body).as_bytes()).ok()
}

#[test]
fn the_ec2_instance_names_itself_in_the_records() {
    let scratch = Scratch::new();
    scratch.log("a.log", "{}\n");
    let fields = json!({ "id": { "ec2": "instance_id" }, "region": { "ec2": "region" }, "zone": { "ec2": "availability_zone" },
                         "tags": { "ec2": "tags" } });
    let config = config(&scratch, [processed(&scratch, json!([{ "add_metadata": { "fields": fields } }]))]);
    let endpoint = format!("http://{}", metadata_service());
    let env = [("AWS_EC2_METADATA_SERVICE_ENDPOINT", endpoint.as_str()), ("AWS_EC2_METADATA_DISABLED", "false")];
    let hydrant = Hydrant::run_with_env(&scratch, &config, &env);
    let expected = r#"{"id":"i-0123","region":"eu-west-1","tags":{"name":"web 1","team":"shop"},"zone":null}"#;
    wait_until("the record is there", || lines_under(&scratch, "ok/") == [expected]);
    hydrant.terminate().expect_code(0);
}

#[test]
fn a_kinesis_agents_options_give_what_the_agent_gives() {
    let scratch = Scratch::new();
    scratch.log("a.log", "\"team\":\"x\",\"n\":[1,{}]\n");
    let fields = json!({ "team": { "static": { "name": "web", "size": 3, "on": [true, null, 1.50] } } });
    let processing =
        json!([{ "add_brackets": {} }, { "add_metadata": { "fields": fields } }, { "json": { "pretty": true } }]);
    Hydrant::drain(&scratch, &config(&scratch, [processed(&scratch, processing)]));
    let objects: Vec<u8> = Objects::read(&scratch.out()).iter().flat_map(|(_, data)| data.to_vec()).collect();
    let expected = r#"{
  "n" : [ 1, { } ],
  "team" : {
    "name" : "web",
    "on" : [ true, null, 1.5 ],
    "size" : 3
  }
}
"#;
    assert_eq!(String::from_utf8(objects).expect("a text"), expected);
}

#[test]
fn a_backup_of_all_records_holds_them_as_they_were_read() {
    let scratch = Scratch::new();
    scratch.log("a.log", "x,y\nz\n");
    let processing = json!([{ "csv_to_json": { "columns": ["one", "two"] } }]);
    let mut stream = processed(&scratch, processing);
    stream["backup"] =
        json!({ "mode": "all", "buffering": fast_buffering(), "directory": { "path": scratch.backup() } });
    Hydrant::drain(&scratch, &config(&scratch, [stream]));
    assert_eq!(lines_under(&scratch, "ok/"), [r#"{"one":"x","two":"y"}"#, r#"{"one":"z","two":null}"#]);
    assert_eq!(delivered_lines(&scratch.backup()), ["x,y", "z"]);
}

#[test]
fn columns_can_be_named_by_the_header_of_each_file() {
    let scratch = Scratch::new();
    scratch.log("a.log", "one,two\n1,2\n");
    scratch.log("b.log", "three\n3\n");
    let mut stream = processed(&scratch, json!([{ "csv_to_json": { "columns": "header" } }]));
    stream["source"]["file"]["skip_header_lines"] = 1.into();
    Hydrant::drain(&scratch, &config(&scratch, [stream]));
    assert_eq!(lines_under(&scratch, "ok/"), [r#"{"one":"1","two":"2"}"#, r#"{"three":"3"}"#]);
}

#[test]
fn a_backup_of_text_in_another_encoding_can_be_read_in_it() {
    let scratch = Scratch::new();
    let utf_16: Vec<u8> = "one\ntwo\nlast".encode_utf16().flat_map(u16::to_le_bytes).collect();
    scratch.log("a.log", &utf_16);
    let mut stream = processed(&scratch, json!([]));
    stream["source"]["file"]["encoding"] = "utf-16le".into();
    stream["backup"] =
        json!({ "mode": "all", "buffering": fast_buffering(), "directory": { "path": scratch.backup() } });
    Hydrant::drain(&scratch, &config(&scratch, [stream]));
    assert_eq!(lines_under(&scratch, "ok/"), ["last", "one", "two"]);
    let copies: Vec<u8> = Objects::read(&scratch.backup()).iter().flat_map(|(_, data)| data.to_vec()).collect();
    assert_eq!(copies, [utf_16, vec![b'\n', 0]].concat());
}

#[test]
fn text_in_another_encoding_arrives_as_utf_8_and_empty_lines_can_be_left_out() {
    let scratch = Scratch::new();
    let text = "grün\n\nЖ\n";
    let utf_16: Vec<u8> = std::iter::once(0xfeff).chain(text.encode_utf16()).flat_map(u16::to_le_bytes).collect();
    scratch.log("a.log", utf_16);
    let mut stream = processed(&scratch, json!([]));
    stream["source"]["file"]["encoding"] = "utf-16".into();
    stream["source"]["file"]["skip_empty"] = true.into();
    let finished = Hydrant::drain(&scratch, &config(&scratch, [stream]));
    assert_eq!(lines_under(&scratch, "ok/"), ["grün", "Ж"]);
    assert!(finished.stderr.contains("3 read + 0 created = 2 delivered + 1 dropped"), "{finished}");
}

/// A subscription's batch of three messages, the second of which is no JSON, and an event without a message.
#[cfg(debug_assertions)]
fn batch(n: u32) -> String {
    let event = |id: u32, message: &str| json!({ "id": id.to_string(), "timestamp": 1, "message": message });
    let messages = [format!("{{\"n\":{n},\"k\":0}}"), format!("bad {n}"), format!("{{\"n\":{n},\"k\":2}}")];
    let mut events: Vec<Value> = messages.iter().enumerate().map(|(k, text)| event(k as u32, text)).collect();
    events.insert(1, json!({ "no message": n }));
    json!({ "messageType": "DATA_MESSAGE", "owner": "1", "logGroup": "g", "logStream": "s",
            "subscriptionFilters": ["f"], "logEvents": events })
    .to_string()
}

#[cfg(debug_assertions)]
#[test]
fn a_record_that_became_several_is_delivered_once_in_each_output_whenever_the_process_is_killed() {
    const BATCHES: u32 = 400;
    for failpoint in [
        "sealed:1",
        "sealed:2",
        "intent-committed:1",
        "intent-committed:2",
        "object-complete:1",
        "object-complete:2",
        "answer-received:1",
        "settlement-committed:1",
        "settlement-committed:2",
    ] {
        let scratch = Scratch::new();
        scratch.log("a.log", (0..BATCHES).map(|n| batch(n) + "\n").collect::<String>());
        let processing = json!([{ "cloudwatch_logs": { "extract_message": true } }, { "json": {} }]);
        let config = config(&scratch, [processed(&scratch, processing)]);
        crate::recovery::killed_at(&scratch, &config, failpoint);
        Hydrant::drain(&scratch, &config);

        let mut ok = BTreeMap::new();
        for line in lines_under(&scratch, "ok/") {
            *ok.entry(line).or_insert(0) += 1;
        }
        let expected = (0..BATCHES).flat_map(|n| [0, 2].map(|k| (format!("{{\"n\":{n},\"k\":{k}}}"), 1))).collect();
        assert_eq!(ok, expected, "killed at {failpoint}");
        let failed: Vec<String> = failures(&scratch).into_iter().map(|(raw, _)| raw).collect();
        let of_batch = |n| [format!("bad {n}"), format!("{{\"no message\":{n}}}")];
        let mut expected: Vec<String> = (0..BATCHES).flat_map(of_batch).collect();
        expected.sort();
        assert_eq!(failed, expected, "killed at {failpoint}");
    }
}

#[test]
fn what_passes_of_a_record_is_not_lost_when_its_failed_part_was_settled_and_the_configuration_changes() {
    let scratch = Scratch::new();
    let event = |id: &str, message: &str| json!({ "id": id, "timestamp": 1, "message": message });
    let events = [event("0", "{\"a\":1}"), event("1", "not json")];
    let batch = json!({ "messageType": "DATA_MESSAGE", "owner": "1", "logGroup": "g", "logStream": "s",
                        "subscriptionFilters": ["f"], "logEvents": events });
    scratch.log("a.log", format!("{batch}\n"));
    let split = json!({ "cloudwatch_logs": { "extract_message": true } });
    let mut stream = processed(&scratch, json!([split.clone(), { "json": {} }]));
    stream["buffering"] = json!({ "size_mb": 5, "interval_seconds": 600 });
    stream["backup"] =
        json!({ "mode": "failed_only", "buffering": fast_buffering(), "directory": { "path": scratch.backup() } });
    let hydrant = Hydrant::run(&scratch, &config(&scratch, [stream.clone()]));
    wait_until("the failed part is settled", || delivered_lines(&scratch.backup()).len() == 1 && hydrant.is_idle());
    assert!(hydrant.kill_9().killed());
    stream["processing"] = json!([split]);
    Hydrant::drain(&scratch, &config(&scratch, [stream]));
    assert_eq!(lines_under(&scratch, "ok/"), ["not json", r#"{"a":1}"#]);
    assert_eq!(delivered_lines(&scratch.backup()).len(), 1);
}

#[cfg(debug_assertions)]
#[test]
fn one_failed_record_does_not_hold_reading_back_until_its_buffer_is_due() {
    const RECORDS: usize = 100;
    let scratch = Scratch::new();
    let record = format!("{{\"a\":\"{}\"}}\n", "x".repeat(100_000));
    scratch.log("a.log", format!("bad\n{}", record.repeat(RECORDS)));
    let mut stream = processed(&scratch, json!([{ "json": {} }]));
    stream["backup"] = json!({
        "mode": "failed_only",
        "buffering": { "size_mb": 5, "interval_seconds": 900 },
        "directory": { "path": scratch.backup() },
    });
    let hydrant = Hydrant::run_with_env(&scratch, &config(&scratch, [stream]), &[("HYDRANT_UNPASSED_MAX", "20")]);
    wait_until("all good records are there", || lines_under(&scratch, "ok/").len() == RECORDS);
    assert_eq!(delivered_lines(&scratch.backup()).len(), 1);
    hydrant.terminate().expect_code(0);
}
