//! `hydrant transform` and `hydrant test`.

use std::ffi::OsStr;
use std::io::Write;

use serde_json::{Value, json};

use crate::support::hydrant::{binary, command};
use crate::support::{Finished, Hydrant, Objects, Scratch, config, write_config};

use super::{hostile, transformed};

fn hydrant(scratch: &Scratch, arguments: &[&str]) -> Finished {
    let arguments: Vec<_> = arguments.iter().map(OsStr::new).collect();
    Hydrant::start(scratch, &arguments, &[]).wait()
}

fn with_steps(scratch: &Scratch, steps: impl Into<Value>) {
    write_config(scratch, &config(scratch, [transformed(scratch, "s", steps)]));
}

#[test]
fn transform_shows_what_becomes_of_each_record() {
    let scratch = Scratch::new();
    scratch.log("s.log", "keep\nfail me\n\n");
    let steps = [
        hostile(&scratch, json!({ "transform": "fail", "when": "fail" }), json!({})),
        hostile(&scratch, json!({ "transform": "keys", "when": "keep", "amount": 1 }), json!({})),
    ];
    with_steps(&scratch, steps);
    let arguments = ["transform", "--config", "hydrant.yaml", "--stream", "s", "logs/s.log"];
    let text = hydrant(&scratch, &arguments).expect_code(0);
    let expected =
        "1\tok\tkeep\tk0=0\n2\tfailed\tLambda.ProcessingFailedStatus: `hostile.wasm`: no good\tfail me\n3\tok\t\n";
    assert_eq!(text.stdout, expected);
    assert!(text.stderr.contains("3 records: 2 leave, 0 dropped, 1 failed"), "{text}");

    let json = hydrant(&scratch, &[&arguments[..], &["--json"]].concat()).expect_code(0);
    let lines: Vec<Value> = json.stdout.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(lines[0]["outputs"], json!([{ "data": "keep", "partitionKeys": { "k0": "0" } }]));
    assert_eq!((&lines[1]["outcome"], &lines[1]["position"]), (&json!("failed"), &json!(5)));
    assert_eq!(lines.len(), 3);
    assert_eq!(Objects::read(&scratch.out()).len(), 0, "nothing is delivered");
}

#[test]
fn transform_reads_compressed_files_as_the_source_does() {
    let scratch = Scratch::new();
    let gzip = {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(b"one\ntwo\n").expect("compressed");
        encoder.finish().expect("compressed")
    };
    scratch.log("s.log.gz", &gzip);
    scratch.log("s.log.zst", zstd::encode_all(&b"one\ntwo\n"[..], 1).expect("compressed"));
    scratch.log("plain.gz", "one\ntwo\n");
    scratch.log("cut.gz", &gzip[..gzip.len() - 4]);
    with_steps(&scratch, json!([]));
    for name in ["s.log.gz", "s.log.zst", "plain.gz", "cut.gz"] {
        let file = format!("logs/{name}");
        let arguments = ["transform", "--config", "hydrant.yaml", "--stream", "s", &file];
        let finished = hydrant(&scratch, &arguments).expect_code(0);
        assert_eq!(finished.stdout, "1\tok\tone\n2\tok\ttwo\n", "{name}: {finished}");
        assert_eq!(finished.stderr.contains("a compressed file is broken"), name == "cut.gz", "{name}: {finished}");
    }
}

#[test]
fn transform_reads_a_pipe_to_its_end() {
    let scratch = Scratch::new();
    let pipe = scratch.path("pipe");
    rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR).expect("a pipe");
    with_steps(&scratch, json!([]));
    let arguments = ["transform", "--config", "hydrant.yaml", "--stream", "s", "pipe"];
    let arguments: Vec<_> = arguments.iter().map(OsStr::new).collect();
    let started = Hydrant::start(&scratch, &arguments, &[]);
    std::fs::write(&pipe, "one\ntwo\n").expect("written to the pipe");
    let finished = started.wait().expect_code(0);
    assert_eq!(finished.stdout, "1\tok\tone\n2\tok\ttwo\n", "{finished}");
}

/// So little address space that no memory can be set aside.
#[test]
fn transform_without_room_for_an_instance_does_not_blame_the_component() {
    let scratch = Scratch::new();
    scratch.log("s.log", "a\n");
    with_steps(&scratch, [hostile(&scratch, json!({}), json!({}))]);
    let mut command = command("sh", &scratch);
    command.args(["-euc", "ulimit -S -v 4000000; exec \"$0\" \"$@\""]).arg(binary());
    command.args(["transform", "--config", "hydrant.yaml", "--stream", "s", "logs/s.log"]);
    let finished = Hydrant::spawn(&scratch, command).wait().expect_code(1);
    assert!(finished.stderr.contains("no instance of the transform `hostile.wasm` can be made now"), "{finished}");
    assert!(!finished.stderr.contains("fails for every batch"), "{finished}");
}

#[test]
fn transform_measures_each_step() {
    let scratch = Scratch::new();
    scratch.log("s.log", "{\"a\":1}\n".repeat(100));
    with_steps(&scratch, [json!({ "json": {} }), hostile(&scratch, json!({}), json!({}))]);
    let arguments = ["transform", "--config", "hydrant.yaml", "--stream", "s", "--bench", "logs/s.log"];
    let finished = hydrant(&scratch, &arguments).expect_code(0);
    let rows: Vec<Vec<_>> = finished.stdout.lines().map(|line| line.split('\t').collect()).collect();
    assert_eq!((rows.len(), rows[1][1], rows[2][1]), (3, "json", "wasm"), "{finished}");
    assert!(
        rows[1..].iter().all(|row| row[2].parse::<f64>().is_ok_and(|rate| rate > 0.0) && row[6] == "100"),
        "{finished}"
    );
}

#[test]
fn transform_of_a_component_that_is_down_says_so() {
    let scratch = Scratch::new();
    scratch.log("s.log", "a\n");
    with_steps(&scratch, [hostile(&scratch, json!({ "init": "error" }), json!({}))]);
    let arguments = ["transform", "--config", "hydrant.yaml", "--stream", "s", "logs/s.log"];
    let finished = hydrant(&scratch, &arguments).expect_code(1);
    assert!(finished.stderr.contains("`init` failed: no, thank you"), "{finished}");
    let unknown = hydrant(&scratch, &["transform", "--config", "hydrant.yaml", "--stream", "x"]).expect_code(2);
    assert!(unknown.stderr.contains("there is no delivery stream `x`; there are `s`"), "{unknown}");
}

#[test]
fn pipeline_tests_pass_or_show_the_difference() {
    let scratch = Scratch::new();
    with_steps(&scratch, [hostile(&scratch, json!({ "transform": "split", "when": "many", "amount": 2 }), json!({}))]);
    let tests = r#"
config: hydrant.yaml
tests:
  - name: right
    stream: s
    records:
      - { input: plain, expect: { ok: plain } }
      - { input: { b: 1, a: [x] }, expect: { ok: { a: [x], b: 1 }, partition_keys: {} } }
      - { input: many, expect: { many: [{ ok: { of: many, part: 0 } }, { ok: { of: many, part: 1 } }] } }
  - name: wrong
    stream: s
    records:
      - { input: { a: 1, b: 2 }, expect: { ok: { a: 2, c: 3 } } }
      - { input: plain, expect: dropped }
      - { input: plain, expect: { failed: anything } }
      - { input: plain, expect: { ok: plain, partition_keys: { k: v } } }
"#;
    std::fs::write(scratch.path("tests.yaml"), tests).expect("written");
    let finished = hydrant(&scratch, &["test", "tests.yaml"]).expect_code(1);
    for expected in [
        "ok\ttests.yaml\tright",
        "FAILED\ttests.yaml\twrong",
        ".a: expected 2, got 1",
        ".b: not expected, got 2",
        ".c: expected 3, and it is not there",
        "expected  dropped",
        "expected  failed",
        "partition key k: expected v, and it is not there",
    ] {
        assert!(finished.stdout.contains(expected), "{expected}: {finished}");
    }
    assert!(finished.stderr.contains("1 passed, 1 failed"), "{finished}");
}

/// A stream with a key of jq's and a time in its prefix, converted to a column of integers.
fn partitioned(scratch: &Scratch) {
    let mut stream = transformed(scratch, "s", json!([]));
    stream["destination"]["directory"]["prefix"] =
        json!("p/customer=!{partitionKeyFromQuery:customer}/!{recordTime:HH}/!{timestamp:yyyy}/");
    stream["destination"]["directory"]["error_output_prefix"] = json!("failed/!{firehose:error-output-type}/");
    stream["partitioning"] = json!({ "keys": { "customer": ".customer" }, "record_time": { "field": "at" } });
    stream["format_conversion"] = json!({ "schema": { "inline": [{ "name": "n", "type": "int" }] } });
    write_config(scratch, &config(scratch, [stream]));
}

#[test]
fn transform_shows_the_partition_of_each_record() {
    let scratch = Scratch::new();
    partitioned(&scratch);
    let record = json!({ "customer": "a/b", "at": "2026-11-21T07:00:00Z", "n": 1 });
    scratch.log("s.log", format!("{record}\n{{\"customer\":null}}\n"));
    let arguments = ["transform", "--config", "hydrant.yaml", "--stream", "s", "logs/s.log"];
    let text = hydrant(&scratch, &arguments).expect_code(0);
    assert!(text.stdout.starts_with(&format!("1\tok\t{record}\tcustomer=a/b\t-> p/customer=a%2Fb/07/20")), "{text}");
    assert!(text.stdout.contains("2\tfailed\tDynamicPartitioning.MetadataExtractionFailed: "), "{text}");
    let json = hydrant(&scratch, &[&arguments[..], &["--json"]].concat()).expect_code(0);
    let first: Value = serde_json::from_str(json.stdout.lines().next().expect("a line")).expect("JSON");
    assert_eq!(first["outputs"][0]["partitionKeys"], json!({ "customer": "a/b" }));
    let prefix = first["outputs"][0]["prefix"].as_str().expect("a prefix");
    assert!(
        prefix.starts_with("p/customer=a%2Fb/07/20") && prefix.len() == "p/customer=a%2Fb/07/2026/".len(),
        "{prefix}"
    );
}

#[test]
fn keys_that_a_component_sets_stand_in_the_prefix() {
    let scratch = Scratch::new();
    let step = hostile(&scratch, json!({ "transform": "keys", "when": "keep", "amount": 2 }), json!({}));
    let mut stream = transformed(&scratch, "s", json!([step]));
    stream["destination"]["directory"]["prefix"] =
        json!("k0=!{partitionKeyFromLambda:k0}/k1=!{partitionKeyFromLambda:k1}/!{timestamp:yyyy}/");
    stream["destination"]["directory"]["error_output_prefix"] = json!("failed/!{firehose:error-output-type}/");
    scratch.log("s.log", "keep one\nno keys\nkeep two\n");
    Hydrant::drain(&scratch, &config(&scratch, [stream]));
    let objects = Objects::read(&scratch.out());
    let under = |folder: &str| {
        let bytes = objects.iter().find(|(key, _)| key.starts_with(folder)).expect("an object").1;
        String::from_utf8(bytes.to_vec()).expect("UTF-8")
    };
    assert_eq!(under("k0=0/k1=1/20"), "keep one\nkeep two\n");
    let failed = under("failed/metadata-extraction-failed/");
    assert!(failed.lines().count() == 1 && failed.contains("which no transform has set"), "{failed}");
    assert_eq!(objects.len(), 2);
}

#[test]
fn transform_shows_which_objects_of_a_record_are_rows() {
    let scratch = Scratch::new();
    let mut stream = transformed(&scratch, "s", json!([]));
    stream["format_conversion"] = json!({ "schema": { "inline": [{ "name": "n", "type": "int" }] } });
    write_config(&scratch, &config(&scratch, [stream]));
    scratch.log("s.log", "{\"n\":1} {\"n\":\"x\"} {\"n\":2}{\"n\":3}\n");
    let arguments = ["transform", "--config", "hydrant.yaml", "--stream", "s", "logs/s.log"];
    let text = hydrant(&scratch, &arguments).expect_code(0);
    let lines: Vec<_> = text.stdout.lines().collect();
    assert_eq!((lines.len(), lines[0], lines[1]), (3, "1\tok\t{\"n\":1}", "1\tok\t{\"n\":2}{\"n\":3}"), "{text}");
    assert!(lines[2].ends_with("\t{\"n\":\"x\"}"), "{text}");
}

#[test]
fn pipeline_tests_expect_partitions() {
    let scratch = Scratch::new();
    partitioned(&scratch);
    let tests = r#"
config: hydrant.yaml
tests:
  - name: right
    stream: s
    records:
      - input: { customer: a/b, at: "2026-11-21T07:00:00Z" }
        expect:
          ok: { customer: a/b, at: "2026-11-21T07:00:00Z" }
          partition_keys: { customer: a/b }
          prefix: p/customer=a%2Fb/07/2026/
      - { input: { customer: "" }, expect: { failed: not be null or empty, code: DynamicPartitioning.MetadataExtractionFailed } }
  - name: wrong
    stream: s
    records:
      - input: { customer: b, at: "2026-11-21T07:00:00Z" }
        expect:
          ok: { customer: b, at: "2026-11-21T07:00:00Z" }
          partition_keys: { customer: c, other: x }
          prefix: p/customer=b/08/2026/
"#;
    std::fs::write(scratch.path("tests.yaml"), tests).expect("written");
    let finished = hydrant(&scratch, &["test", "tests.yaml"]).expect_code(1);
    for expected in [
        "ok\ttests.yaml\tright",
        "partition key customer: expected c, got b",
        "partition key other: expected x, and it is not there",
        "prefix: expected p/customer=b/08/2026/, got p/customer=b/07/2026/",
    ] {
        assert!(finished.stdout.contains(expected), "{expected}: {finished}");
    }
    let beside =
        "tests:\n  - name: a\n    stream: s\n    records:\n      - { input: x, expect: { failed: x, prefix: p/ } }\n";
    std::fs::write(scratch.path("tests.yaml"), beside).expect("written");
    let refused = hydrant(&scratch, &["test", "tests.yaml"]).expect_code(2);
    assert!(refused.stderr.contains("`prefix` stands beside `ok` only"), "{refused}");
}

#[test]
fn mistakes_in_pipeline_tests_are_said_with_their_place() {
    let scratch = Scratch::new();
    with_steps(&scratch, json!([]));
    let tests = "config: hydrant.yaml\ntests:\n  - name: a\n    stream: s\n    records:\n      - { inputt: x, expect: { maybe: 1 } }\n";
    std::fs::write(scratch.path("tests.yaml"), tests).expect("written");
    let finished = hydrant(&scratch, &["test", "tests.yaml"]).expect_code(2);
    assert!(
        finished.stderr.contains("tests.yaml:6:") && finished.stderr.contains("did you mean `input`?"),
        "{finished}"
    );
}

#[test]
fn tests_that_test_nothing_are_mistakes() {
    let scratch = Scratch::new();
    with_steps(&scratch, json!([]));
    for (tests, mistake) in [
        ("", "the least is one test"),
        ("config: hydrant.yaml\ntests: []\n", "there is no test in it"),
        ("config: hydrant.yaml\ntests: [{ name: a, stream: s, records: [] }]\n", "there is no record in it"),
    ] {
        std::fs::write(scratch.path("tests.yaml"), tests).expect("written");
        let finished = hydrant(&scratch, &["test", "tests.yaml"]).expect_code(2);
        assert!(finished.stderr.contains(mistake), "{mistake}: {finished}");
    }
}
