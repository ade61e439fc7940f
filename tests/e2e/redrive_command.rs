//! `hydrant redrive` as a command: what it shows, what it says, and how it ends.

use std::ffi::OsStr;
use std::path::Path;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::admin::{free_address, get, post, wait_for};
use crate::support::{
    Finished, Hydrant, S3Server, Scratch, config, delivered_lines, directory, objects::keys, s3_destination, stream,
    wait_until, write_config,
};

const UUID: &str = "0f8fad5b-d9cb-469f-a165-70867728950e";

/// `hydrant redrive` of the stream `web` with these options.
fn redrive(scratch: &Scratch, options: &[&str]) -> Finished {
    let path = scratch.path("hydrant.yaml");
    let mut args: Vec<&OsStr> = ["redrive", "--stream", "web", "--config"].iter().map(OsStr::new).collect();
    args.push(path.as_os_str());
    args.extend(options.iter().map(OsStr::new));
    Hydrant::start(scratch, &args, &[]).wait()
}

/// A folder for the state database, as an installation leaves it.
fn with_state(scratch: &Scratch) {
    std::fs::create_dir_all(scratch.state()).expect("a folder");
}

/// Error objects below `errors/` in the place of the records.
fn configuration(scratch: &Scratch, mut destination: Value) -> Value {
    let place = destination.as_object_mut().and_then(|place| place.values_mut().next()).expect("a place");
    place["prefix"] = json!("data/");
    place["error_output_prefix"] = json!("errors/!{firehose:error-output-type}/!{timestamp:yyyy}/");
    config(scratch, [stream("web", &scratch.logs().join("*.log"), destination)])
}

/// What has been delivered, sorted: the names of objects of one second are in no order.
fn delivered(scratch: &Scratch) -> Vec<String> {
    let mut lines = delivered_lines(&scratch.out().join("data"));
    lines.sort_unstable();
    lines
}

/// An error object as Firehose writes it, with its name.
fn put(place: &Path, error_type: &str, stream: &str, lines: &[String]) -> String {
    let key = format!("errors/{error_type}/2026/{stream}-1-2026-11-21-10-00-00-{UUID}");
    let path = place.join(&key);
    std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder of error objects");
    std::fs::write(path, lines.concat()).expect("an error object");
    key
}

fn failed(raw: &str) -> String {
    let code = "Lambda.FunctionError";
    format!(
        "{{\"rawData\":\"{raw}\",\"errorCode\":\"{code}\",\"errorMessage\":\"no\",\"attemptsMade\":4,\
         \"arrivalTimestamp\":1700000000123,\"attemptEndingTimestamp\":1700000000456,\"lambdaARN\":\"a\"}}\n"
    )
}

/// One object with two failed records and a line that is none, and one of another delivery stream.
fn put_objects(place: &Path) -> String {
    put(place, "processing-failed", "other", &[failed("b3RoZXI=")]);
    put(place, "processing-failed", "web", &[failed("b25l"), String::from("no envelope\n"), failed("dHdv")])
}

#[test]
fn a_dry_run_shows_what_is_there_and_changes_nothing() {
    let scratch = Scratch::new();
    let server = S3Server::start(&scratch.path("s3"));
    for (place, destination) in
        [(scratch.out(), directory(&scratch.out())), (server.bucket(), s3_destination(&server.endpoint(), "lake"))]
    {
        write_config(&scratch, &configuration(&scratch, destination));
        let key = put_objects(&place);
        // What was delivered is no error object, whatever it looks like.
        std::fs::create_dir_all(place.join("data")).expect("a folder");
        std::fs::write(place.join(format!("data/web-1-2026-11-21-10-00-00-{UUID}")), failed("b25l"))
            .expect("an object");

        let finished = redrive(&scratch, &["--dry-run"]).expect_code(0);
        let lines: Vec<&str> = finished.stdout.lines().collect();
        let [header, object] = lines[..] else { panic!("{finished}") };
        assert_eq!(header, "object\tsize\tmodified\trecords\tunreadable", "{finished}");
        assert!(object.starts_with(&format!("{key}\t")) && object.ends_with("\t2\t1"), "{finished}");
        for said in ["1 error object,", "Lambda.FunctionError", "2  failed records would be sent again", "at byte "] {
            assert!(finished.stderr.contains(said), "`{said}`: {finished}");
        }
        let finished = redrive(&scratch, &["--dry-run", "--json"]).expect_code(0);
        let summary: Value = serde_json::from_str(&finished.stdout).expect("one JSON object");
        let code = json!([{ "error_type": "processing-failed", "code": "Lambda.FunctionError", "records": 2 }]);
        assert_eq!((&summary["read"], &summary["unreadable"], &summary["codes"]), (&json!(2), &json!(1), &code));
        assert!(!scratch.state().exists(), "a dry run has no use for a state database");
    }
}

#[test]
fn a_selection_is_by_prefix_time_and_writer() {
    let scratch = Scratch::new();
    write_config(&scratch, &configuration(&scratch, directory(&scratch.out())));
    put_objects(&scratch.out());
    let read = |options: &[&str]| {
        let finished = redrive(&scratch, &[&["--dry-run", "--json"], options].concat()).expect_code(0);
        serde_json::from_str::<Value>(&finished.stdout).expect("one JSON object")["read"].as_u64()
    };
    assert_eq!(read(&["--written-by", "other"]), Some(1));
    assert_eq!(read(&["--prefix", "errors/"]), Some(2));
    assert_eq!(read(&["--prefix", "errors/http-endpoint-failed/"]), Some(0));
    assert_eq!(read(&["--since", "1h"]), Some(2));
    let object = scratch.out().join(put(&scratch.out(), "processing-failed", "web", &[failed("b25l")]));
    let old = std::fs::File::options().write(true).open(object).expect("the object");
    let time = std::time::SystemTime::now() - std::time::Duration::from_secs(7200);
    old.set_modified(time).expect("an older object");
    assert_eq!((read(&["--since", "1h"]), read(&["--since", "3h"])), (Some(0), Some(1)));
}

#[test]
fn a_wrong_command_line_is_2() {
    let scratch = Scratch::new();
    write_config(&scratch, &configuration(&scratch, directory(&scratch.out())));
    for options in [&["--since", "soon"][..], &["--since", "2999-01-01"], &["--rate", "0"], &["--all"]] {
        redrive(&scratch, options).expect_code(2);
    }
    let path = scratch.path("hydrant.yaml");
    let args = ["redrive".as_ref(), "--stream".as_ref(), "webb".as_ref(), "--config".as_ref(), path.as_os_str()];
    let finished = Hydrant::start(&scratch, &args, &[]).wait().expect_code(2);
    assert!(finished.stderr.contains("`webb`") && finished.stderr.contains("web"), "{finished}");
}

#[test]
fn without_a_daemon_the_command_does_it_and_a_second_time_nothing() {
    let scratch = Scratch::new();
    write_config(&scratch, &configuration(&scratch, directory(&scratch.out())));
    put_objects(&scratch.out());
    let finished = redrive(&scratch, &[]).expect_code(1);
    assert!(finished.stderr.contains("nothing of this stream is known") && !scratch.state().exists(), "{finished}");
    with_state(&scratch);
    let finished = redrive(&scratch, &["--json"]).expect_code(1);
    let summary: Value = serde_json::from_str(&finished.stdout).expect("one JSON object");
    assert_eq!((&summary["read"], &summary["delivered"], &summary["unreadable"]), (&json!(2), &json!(2), &json!(1)));
    assert!(finished.stderr.contains("lines that cannot be sent again"), "{finished}");
    assert_eq!(delivered(&scratch), ["one", "two"]);
    let again = redrive(&scratch, &[]).expect_code(0);
    assert!(again.stderr.contains("1  objects whose records were redriven before"), "{again}");
    assert_eq!(delivered(&scratch), ["one", "two"], "{again}");
}

#[test]
fn a_daemon_is_told_at_its_admin_address() {
    let scratch = Scratch::new();
    let address = free_address();
    let mut config = configuration(&scratch, directory(&scratch.out()));
    config["admin"] = json!({ "listen": address });
    put(&scratch.out(), "processing-failed", "web", &[failed("b25l"), failed("dHdv")]);
    let hydrant = Hydrant::run(&scratch, &config);
    wait_for(address);
    let finished = redrive(&scratch, &["--json"]).expect_code(0);
    let summary: Value = serde_json::from_str(&finished.stdout).expect("one JSON object");
    assert_eq!((&summary["read"], &summary["delivered"]), (&json!(2), &json!(2)), "{finished}");
    assert_eq!(delivered(&scratch), ["one", "two"]);
    redrive(&scratch, &[]).expect_code(0);
    assert_eq!(delivered(&scratch), ["one", "two"]);
    hydrant.terminate().expect_code(0);
}

#[test]
fn a_daemon_that_cannot_be_told_is_left_alone() {
    let scratch = Scratch::new();
    put_objects(&scratch.out());
    let hydrant = Hydrant::run(&scratch, &configuration(&scratch, directory(&scratch.out())));
    wait_until("the daemon runs", || hydrant.said("state database") > 0);
    let finished = redrive(&scratch, &[]).expect_code(1);
    assert!(finished.stderr.contains("admin: { listen:") && finished.stderr.contains("SIGHUP"), "{finished}");

    // Nobody listens there, and then a daemon of somebody else.
    let address = free_address();
    let mut config = configuration(&scratch, directory(&scratch.out()));
    config["admin"] = json!({ "listen": address });
    write_config(&scratch, &config);
    let finished = redrive(&scratch, &[]).expect_code(1);
    assert!(finished.stderr.contains("does not answer"), "{finished}");
    let other = Scratch::new();
    let mut of_other = configuration(&other, directory(&other.out()));
    of_other["admin"] = json!({ "listen": address });
    let neighbour = Hydrant::run(&other, &of_other);
    wait_for(address);
    let finished = redrive(&scratch, &[]).expect_code(1);
    assert!(finished.stderr.contains("another hydrant listens"), "{finished}");
    assert!(delivered(&scratch).is_empty());
    neighbour.terminate().expect_code(0);
    hydrant.terminate().expect_code(0);
}

#[test]
fn what_fails_again_is_in_the_error_output_with_more_attempts() {
    let scratch = Scratch::new();
    let mut config = configuration(&scratch, directory(&scratch.out()));
    config["delivery_streams"][0]["processing"] = json!([{ "json": {} }]);
    write_config(&scratch, &config);
    with_state(&scratch);
    let key = put(&scratch.out(), "processing-failed", "web", &[failed("b25l"), failed("e30=")]);
    let finished = redrive(&scratch, &["--json"]).expect_code(1);
    let summary: Value = serde_json::from_str(&finished.stdout).expect("one JSON object");
    assert_eq!((&summary["delivered"], &summary["failed_again"]), (&json!(1), &json!(1)), "{finished}");
    assert_eq!(delivered(&scratch), ["{}"]);

    let errors = keys(&scratch.out()).into_iter().filter(|found| found.starts_with("errors/") && *found != key);
    let again: Vec<_> = errors.collect();
    let [again] = again.as_slice() else { panic!("{again:?}") };
    let line = std::fs::read_to_string(scratch.out().join(again)).expect("an error object");
    let envelope: Value = serde_json::from_str(&line).expect("an envelope");
    let expected = (&json!("b25l"), &json!(5), &json!(1_700_000_000_123_u64));
    assert_eq!((&envelope["rawData"], &envelope["attemptsMade"], &envelope["arrivalTimestamp"]), expected, "{line}");

    // Mended, only that one is sent.
    write_config(&scratch, &configuration(&scratch, directory(&scratch.out())));
    redrive(&scratch, &[]).expect_code(0);
    assert_eq!(delivered(&scratch), ["one", "{}"]);
}

#[test]
fn the_command_waits_for_a_daemon_that_is_killed_and_started_again() {
    let scratch = Scratch::new();
    let address = free_address();
    let mut config = configuration(&scratch, directory(&scratch.out()));
    config["admin"] = json!({ "listen": address });
    let lines: Vec<String> = ["YQ==", "Yg==", "Yw==", "ZA==", "ZQ==", "Zg=="].map(failed).to_vec();
    put(&scratch.out(), "processing-failed", "web", &lines);
    let hydrant = Hydrant::run(&scratch, &config);
    wait_for(address);
    let path = scratch.path("hydrant.yaml");
    let mut args: Vec<&OsStr> = ["redrive", "--stream", "web", "--rate", "2", "--config"].map(OsStr::new).to_vec();
    args.push(path.as_os_str());
    let command = Hydrant::start(&scratch, &args, &[]);
    wait_until("some records are delivered", || !delivered(&scratch).is_empty());
    hydrant.kill_9();
    let hydrant = Hydrant::run(&scratch, &config);
    let finished = command.wait().expect_code(0);
    assert!(hydrant.said("a redrive that was interrupted goes on") == 1, "{finished}");
    assert_eq!(delivered(&scratch), ["a", "b", "c", "d", "e", "f"]);
    hydrant.terminate().expect_code(0);
}

/// `hydrant redrive` of `web` that goes on beside the test.
fn begin(scratch: &Scratch, options: &[&str]) -> Hydrant {
    let path = scratch.path("hydrant.yaml");
    let mut args: Vec<&OsStr> = ["redrive", "--stream", "web", "--config"].map(OsStr::new).to_vec();
    args.push(path.as_os_str());
    args.extend(options.iter().map(OsStr::new));
    Hydrant::start(scratch, &args, &[])
}

/// An object with so many failed records, of which every fourth fails again where records have to be JSON.
fn put_many(place: &Path, count: usize) {
    let lines: Vec<String> = (0..count).map(|n| failed(if n % 4 == 3 { "b25l" } else { "e30=" })).collect();
    put(place, "processing-failed", "web", &lines);
}

/// A daemon's configuration where `put_many` has put records.
fn served(scratch: &Scratch, size_mb: u64) -> (Value, std::net::SocketAddr) {
    let address = free_address();
    let mut config = configuration(scratch, directory(&scratch.out()));
    config["admin"] = json!({ "listen": address });
    config["delivery_streams"][0]["processing"] = json!([{ "json": {} }]);
    config["delivery_streams"][0]["buffering"] =
        json!({ "size_mb": size_mb, "interval_seconds": 0, "low_latency": true });
    (config, address)
}

#[test]
fn a_reload_in_the_middle_counts_each_record_once() {
    let scratch = Scratch::new();
    let (mut config, address) = served(&scratch, 1);
    put_many(&scratch.out(), 400);
    let hydrant = Hydrant::run(&scratch, &config);
    wait_for(address);
    let command = begin(&scratch, &["--rate", "100", "--json"]);
    for times in 1..=3 {
        let begun = delivered(&scratch).len();
        wait_until("more is delivered", || delivered(&scratch).len() > begun);
        config["delivery_streams"][0]["buffering"]["size_mb"] = json!(1 + times);
        write_config(&scratch, &config);
        hydrant.signal(Signal::HUP);
        wait_until("it is taken up", || hydrant.said("the configuration was read again") == times);
    }
    let finished = command.wait().expect_code(1);
    let summary: Value = serde_json::from_str(&finished.stdout).expect("one JSON object");
    let figures = ["read", "delivered", "failed_again", "skipped", "objects_done"].map(|name| summary[name].as_u64());
    assert_eq!(figures, [400, 300, 100, 0, 1].map(Some), "{finished}");
    assert_eq!(summary["codes"][0]["records"], json!(400), "{finished}");
    assert_eq!(delivered(&scratch).len(), 300);
    hydrant.terminate().expect_code(0);
}

#[test]
fn a_stream_that_leaves_the_configuration_lets_its_redrive_wait() {
    let scratch = Scratch::new();
    let (config, address) = served(&scratch, 1);
    put_many(&scratch.out(), 400);
    let mut without = config.clone();
    without["delivery_streams"][0]["name"] = json!("other");
    let hydrant = Hydrant::run(&scratch, &config);
    wait_for(address);
    let command = begin(&scratch, &["--rate", "100"]);
    wait_until("some is delivered", || !delivered(&scratch).is_empty());
    write_config(&scratch, &without);
    hydrant.signal(Signal::HUP);
    let finished = command.wait().expect_code(1);
    assert!(finished.stderr.contains("is not in the configuration of the daemon"), "{finished}");
    hydrant.terminate().expect_code(0);

    // A daemon that starts without the stream waits as well.
    let hydrant = Hydrant::run(&scratch, &without);
    wait_for(address);
    let state = || get(address, "/redrive").expect("an answer").json()["redrives"][0]["state"].clone();
    assert!(state()["waiting"]["reason"].is_string(), "{}", state());
    write_config(&scratch, &config);
    hydrant.signal(Signal::HUP);
    wait_until("it goes on to its end", || state() == "done");
    assert_eq!(delivered(&scratch).len(), 300);
    hydrant.terminate().expect_code(0);
}

#[test]
fn what_cannot_succeed_is_refused_and_not_journalled() {
    let scratch = Scratch::new();
    let (config, address) = served(&scratch, 1);
    put_many(&scratch.out(), 4);
    write_config(&scratch, &config);
    with_state(&scratch);
    for options in [&["--prefix", "/x"][..], &["--prefix", "../x/"], &["--prefix", "../x/", "--dry-run"]] {
        let finished = redrive(&scratch, options).expect_code(2);
        assert!(finished.stderr.contains("is no beginning of names below"), "{finished}");
    }
    let hydrant = Hydrant::run(&scratch, &config);
    wait_for(address);
    let answer = post(address, "/redrive", r#"{"stream":"web","prefix":"../x/"}"#).expect("an answer");
    assert_eq!(answer.status, 400, "{answer:?}");
    assert_eq!(get(address, "/redrive").expect("an answer").json(), json!({ "redrives": [] }));
    hydrant.terminate().expect_code(0);
    Hydrant::drain(&scratch, &config);
}

#[test]
fn a_hangup_ends_it_and_the_next_one_goes_on() {
    let scratch = Scratch::new();
    write_config(&scratch, &configuration(&scratch, directory(&scratch.out())));
    with_state(&scratch);
    put_many(&scratch.out(), 100);
    let command = begin(&scratch, &["--rate", "4"]);
    wait_until("some is delivered", || !delivered(&scratch).is_empty());
    command.signal(Signal::HUP);
    let finished = command.wait().expect_code(1);
    assert!(finished.stderr.contains("stopped before everything was sent"), "{finished}");
    redrive(&scratch, &[]).expect_code(0);
    assert_eq!(delivered(&scratch).len(), 100);
}

#[test]
fn nobody_has_to_listen_on_standard_error() {
    let scratch = Scratch::new();
    write_config(&scratch, &configuration(&scratch, directory(&scratch.out())));
    put_many(&scratch.out(), 4);
    for (stream, code) in [("web", 0), ("webb", 2)] {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let mut command = crate::support::hydrant::command(crate::support::hydrant::binary(), &scratch);
        command.args(["redrive", "--dry-run", "--json", "--stream", stream, "--config"]);
        command.arg(scratch.path("hydrant.yaml")).stdout(std::process::Stdio::null()).stderr(writer);
        assert_eq!(command.status().expect("the command").code(), Some(code), "{stream}");
    }
}

#[test]
fn what_failed_again_before_the_daemon_was_killed_is_not_forgotten() {
    let scratch = Scratch::new();
    let (config, address) = served(&scratch, 1);
    let lines: Vec<String> = (0..8).map(|n| failed(if n == 0 { "b25l" } else { "e30=" })).collect();
    put(&scratch.out(), "processing-failed", "web", &lines);
    let hydrant = Hydrant::run(&scratch, &config);
    wait_for(address);
    let command = begin(&scratch, &["--rate", "2"]);
    let report = || get(address, "/redrive").expect("an answer").json()["redrives"][0]["summary"].clone();
    wait_until("it has failed again", || report()["failed_again"] == 1);
    // The command has asked meanwhile.
    let settled = delivered(&scratch).len();
    wait_until("more is delivered", || delivered(&scratch).len() >= settled + 2);
    hydrant.kill_9();
    let hydrant = Hydrant::run(&scratch, &config);
    let finished = command.wait().expect_code(1);
    assert!(finished.stderr.contains("1 records had failed again by then"), "{finished}");
    assert_eq!(delivered(&scratch).len(), 7);
    hydrant.terminate().expect_code(0);
}
