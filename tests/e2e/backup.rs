//! The error output and the backup: what failed with the reason, and every source record where that is asked for.

use std::collections::BTreeMap;
use std::path::Path;

use base64::Engine;
use serde_json::{Value, json};

use crate::support::s3::BUCKET;
use crate::support::{
    Hydrant, Objects, S3Server, Scratch, config, delivered_lines, directory, fast_buffering, s3_destination, stream,
};

const MAX_RECORD_KB: usize = 2;

/// A record of five times the limit between two ordinary ones, in each of two files.
fn oversize_logs(scratch: &Scratch) -> Vec<u8> {
    let huge: Vec<u8> = (0..MAX_RECORD_KB * 5 * 1024).map(|n| b'a' + (n % 23) as u8).collect();
    let log = [b"before\n", huge.as_slice(), b"\nafter\n"].concat();
    scratch.log("a.log", log);
    scratch.log("b.log", "neighbour\n");
    huge
}

fn oversize_stream(scratch: &Scratch, destination: Value) -> Value {
    let mut stream = stream("s", &scratch.logs().join("*.log"), destination);
    stream["source"]["file"]["max_record_kb"] = MAX_RECORD_KB.into();
    stream
}

#[track_caller]
fn check_envelopes(root: &Path, folder: &str, huge: &[u8]) {
    let objects = Objects::read(root);
    let lines: Vec<(&str, &[u8])> = objects.iter().filter(|(key, _)| key.starts_with(folder)).collect();
    let [(key, data)] = lines[..] else {
        panic!("one object under {folder}, not {:?}", objects.keys().collect::<Vec<_>>())
    };
    let name = key.rsplit('/').next().expect("a name");
    assert!(!name.contains('.'), "error objects carry no extension: {key}");
    let text = std::str::from_utf8(data).expect("envelopes are JSON");
    assert_eq!(text.matches('\n').count(), 1, "one envelope, one line: {text}");
    let envelope: Value = serde_json::from_str(text).expect("an envelope is one JSON object");
    let fields: BTreeMap<&str, &Value> =
        envelope.as_object().expect("an object").iter().map(|(name, value)| (name.as_str(), value)).collect();
    assert_eq!(fields["errorCode"], "Hydrant.RecordTooLarge");
    let message = fields["errorMessage"].as_str().expect("a text");
    let numbers: Vec<&str> = message.split(|c: char| !c.is_ascii_digit()).collect();
    assert!(numbers.contains(&huge.len().to_string().as_str()), "the length is named: {message}");
    assert!(numbers.contains(&"7"), "the position is named: {message}");
    let raw = base64::engine::general_purpose::STANDARD.decode(fields["rawData"].as_str().expect("a text"));
    assert_eq!(raw.expect("base64"), &huge[..MAX_RECORD_KB * 1024]);
    assert!(fields["attemptsMade"].is_u64());
    for instant in ["arrivalTimestamp", "attemptEndingTimestamp"] {
        let millis = fields[instant].as_u64().expect("a number");
        assert!(
            (1_700_000_000_000..4_000_000_000_000).contains(&millis),
            "{instant} is in epoch milliseconds: {millis}"
        );
    }
}

#[test]
fn an_oversize_record_goes_to_the_error_output_beside_the_objects() {
    let scratch = Scratch::new();
    let huge = oversize_logs(&scratch);
    let destination = json!({ "directory": { "path": scratch.out(), "prefix": "web/" } });
    let finished = Hydrant::drain(&scratch, &config(&scratch, [oversize_stream(&scratch, destination)]));
    check_envelopes(&scratch.out(), "web/processing-failed/", &huge);
    let delivered = delivered_without_errors(&scratch.out());
    assert_eq!(delivered, ["after", "before", "neighbour"]);
    let cut = huge.len() - MAX_RECORD_KB * 1024;
    let said = finished.stdout + &finished.stderr;
    assert!(digits_only(&said).contains(&cut.to_string()), "the cut bytes are reported ({cut}):\n{said}");
}

/// Numbers may be grouped for people.
fn digits_only(text: &str) -> String {
    text.replace([',', '_', '\u{202f}', '\u{a0}'], "")
}

fn delivered_without_errors(root: &Path) -> Vec<String> {
    let mut lines: Vec<String> = Objects::read(root)
        .iter()
        .filter(|(key, _)| !key.contains("processing-failed"))
        .flat_map(|(_, data)| String::from_utf8_lossy(data).lines().map(str::to_owned).collect::<Vec<_>>())
        .collect();
    lines.sort();
    lines
}

#[test]
fn failed_only_keeps_just_the_failed_records_in_the_backup() {
    let scratch = Scratch::new();
    let huge = oversize_logs(&scratch);
    let mut stream = oversize_stream(&scratch, directory(&scratch.out()));
    stream["backup"] = json!({
        "mode": "failed_only",
        "buffering": fast_buffering(),
        "directory": { "path": scratch.backup(), "prefix": "web/" },
    });
    Hydrant::drain(&scratch, &config(&scratch, [stream]));
    assert_eq!(delivered_lines(&scratch.out()), ["after", "before", "neighbour"]);
    check_envelopes(&scratch.backup(), "web/processing-failed/", &huge);
    assert_eq!(Objects::read(&scratch.backup()).len(), 1);
}

#[test]
fn all_keeps_every_source_record_too() {
    let scratch = Scratch::new();
    let s3 = S3Server::start(&scratch.path("s3"));
    let huge = oversize_logs(&scratch);
    let mut stream = oversize_stream(&scratch, directory(&scratch.out()));
    let mut backup = s3_destination(&s3.endpoint(), BUCKET);
    backup["s3"]["prefix"] = "all/".into();
    backup["s3"]["error_output_prefix"] = "bad/!{firehose:error-output-type}/".into();
    backup["mode"] = "all".into();
    backup["compression"] = "gzip".into();
    backup["buffering"] = fast_buffering();
    stream["backup"] = backup;
    let config = config(&scratch, [stream]);
    Hydrant::drain(&scratch, &config);
    assert_eq!(delivered_lines(&scratch.out()), ["after", "before", "neighbour"]);
    check_envelopes(&s3.bucket(), "bad/processing-failed/", &huge);
    let copies: Vec<String> =
        delivered_without_errors(&s3.bucket()).into_iter().filter(|line| line.len() <= 10).collect();
    assert_eq!(copies, ["after", "before", "neighbour"], "a copy of each source record");
    let before: Vec<String> = Objects::read(&s3.bucket()).keys().map(str::to_owned).collect();
    Hydrant::drain(&scratch, &config);
    assert_eq!(Objects::read(&s3.bucket()).keys().collect::<Vec<_>>(), before, "nothing twice");
}
