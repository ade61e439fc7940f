//! A redrive with real folders, and its second run.

use std::path::Path;
use std::sync::atomic::Ordering;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::*;
use crate::config;
use crate::destination::retry::RetryLimits;
use crate::redrive::dry_run;
use crate::redrive::progress::Problem;

const UUID: &str = "0f8fad5b-d9cb-469f-a165-70867728950e";

fn config_of(folder: &Path, more: Value) -> Config {
    let mut stream = json!({
        "name": "web",
        "source": { "file": { "paths": [folder.join("*.log")] } },
        "destination": { "directory": { "path": folder.join("out"), "prefix": "data/" } },
        "backup": { "directory": { "path": folder.join("backup"), "error_output_prefix": "!{firehose:error-output-type}/" } },
    });
    stream.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let path = folder.join("hydrant.yaml");
    let config = json!({ "state_dir": folder.join("state"), "delivery_streams": [stream] });
    std::fs::write(&path, config.to_string()).unwrap();
    config::load(&path).unwrap_or_else(|errors| panic!("{errors}"))
}

/// An error object of so many lines.
fn put(folder: &Path, error_type: &str, number: u32, lines: &[String]) {
    let name = format!("web-1-2026-11-21-22-58-{number:02}-{UUID}");
    let folder = folder.join("backup").join(error_type);
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join(name), lines.join("\n")).unwrap();
}

fn envelope(raw: &str, code: &str) -> String {
    let raw = STANDARD.encode(raw);
    json!({ "rawData": raw, "errorCode": code, "errorMessage": "no", "attemptsMade": 3, "arrivalTimestamp": 1_700_000_000_000_i64,
        "attemptEndingTimestamp": 1 })
    .to_string()
}

fn job() -> Job {
    let began = Timestamp::now();
    Job { stream: "web".to_owned(), prefix: None, written_by: None, since: None, rate: None, began }
}

fn run_once(config: &Config) -> (Result<(), RedriveError>, Arc<Progress>) {
    let progress = Arc::new(Progress::default());
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let result = runtime.block_on(run(config, job(), progress.clone(), CancellationToken::new()));
    (result, progress)
}

/// Names and texts of all files below.
fn files(folder: &Path) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name().into_string().unwrap();
        if entry.path().is_dir() {
            found.extend(files(&entry.path()));
        } else {
            found.push((name, std::fs::read_to_string(entry.path()).unwrap()));
        }
    }
    found.sort();
    found
}

#[test]
fn what_can_be_sent_is_sent_once_from_where_it_failed_and_the_rest_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let config = config_of(folder.path(), json!({ "processing": [{ "json": { "remove": ["a"] } }] }));
    let lines = [
        envelope(r#"{"a":1,"b":2}"#, "Lambda.FunctionError"),
        "nonsense".to_owned(),
        String::new(),
        envelope(r#"{"a":1,"b":3}"#, "DynamicPartitioning.MetadataExtractionFailed"),
        envelope("no json", "Hydrant.ProcessingFailed"),
        String::new(),
    ];
    put(folder.path(), "processing-failed", 1, &lines);
    put(folder.path(), "http-endpoint-failed", 2, &[envelope(r#"{"a":1,"b":4}"#, "HttpEndpoint.RequestTimeout")]);
    put(folder.path(), "elsewhere", 3, &[envelope("{}", "x")]);
    let (result, progress) = run_once(&config);
    result.unwrap();
    let mut delivered: Vec<_> = files(&folder.path().join("out/data"))
        .into_iter()
        .flat_map(|(_, text)| text.lines().map(str::to_owned).collect::<Vec<_>>())
        .collect();
    delivered.sort();
    assert_eq!(delivered, [r#"{"a":1,"b":3}"#, r#"{"a":1,"b":4}"#, r#"{"b":2}"#]);
    assert!(files(&folder.path().join("out/data")).iter().all(|(name, _)| name.starts_with("web-1-")));
    let summary = progress.summary();
    assert_eq!((summary.objects, summary.objects_done, summary.objects_before), (2, 2, 0));
    assert_eq!((summary.read, summary.delivered, summary.failed_again, summary.unreadable), (4, 3, 1, 1));
    assert_eq!(summary.unreadable_lines[0].offset, Some(lines[0].len() as u64 + 1));
    let failed: Vec<_> = files(&folder.path().join("backup/processing-failed"));
    assert_eq!(failed.len(), 2);
    let again: Value =
        serde_json::from_str(failed.iter().find(|(name, _)| !name.ends_with(UUID)).unwrap().1.trim()).unwrap();
    assert_eq!((&again["attemptsMade"], &again["arrivalTimestamp"]), (&json!(4), &json!(1_700_000_000_000_i64)));
    assert_eq!(again["rawData"], STANDARD.encode("no json"));

    let (result, progress) = run_once(&config);
    result.unwrap();
    let summary = progress.summary();
    // What has failed again is an object of its own now.
    assert_eq!((summary.objects, summary.objects_before, summary.objects_done), (3, 2, 1));
    assert_eq!((summary.read, summary.delivered, summary.failed_again, summary.unreadable), (1, 0, 1, 0));
    assert_eq!(progress.skipped.load(Ordering::Relaxed), 0);
    assert_eq!(files(&folder.path().join("out/data")).iter().flat_map(|(_, text)| text.lines()).count(), 3);
}

#[test]
fn an_object_that_has_changed_is_not_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let config = config_of(folder.path(), json!({}));
    put(folder.path(), "http-endpoint-failed", 1, &[envelope("one", "HttpEndpoint.RequestTimeout")]);
    run_once(&config).0.unwrap();
    put(folder.path(), "http-endpoint-failed", 1, &[envelope("two", "HttpEndpoint.RequestTimeout"), "x".to_owned()]);
    let (result, progress) = run_once(&config);
    result.unwrap();
    let summary = progress.summary();
    assert_eq!((summary.objects_left, summary.read), (1, 0));
    let delivered: Vec<_> = files(&folder.path().join("out/data")).into_iter().map(|(_, text)| text).collect();
    assert_eq!(delivered, ["one\n"]);
}

#[test]
fn what_stands_before_damage_is_sent_once() {
    let folder = tempfile::tempdir().unwrap();
    let config = config_of(folder.path(), json!({}));
    // Bytes that hardly compress, so that half of the object holds about half of the records.
    let raw =
        |number: u64| (0..20).map(move |n| format!("{:x}", (number * 20 + n + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15)));
    let lines: Vec<_> =
        (0..200).map(|n| envelope(&raw(n).collect::<String>(), "HttpEndpoint.RequestTimeout")).collect();
    put(folder.path(), "http-endpoint-failed", 1, &[]);
    let path = folder.path().join("backup/http-endpoint-failed").join(format!("web-1-2026-11-21-22-58-01-{UUID}"));
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    std::io::Write::write_all(&mut encoder, lines.join("\n").as_bytes()).unwrap();
    let bytes = encoder.finish().unwrap();
    std::fs::write(path, &bytes[..bytes.len() / 2]).unwrap();
    for _ in 0..2 {
        let (result, progress) = run_once(&config);
        result.unwrap();
        assert_eq!(progress.summary().objects_left, 1);
        let delivered: usize =
            files(&folder.path().join("out/data")).iter().map(|(_, text)| text.lines().count()).sum();
        assert!((60..140).contains(&delivered), "{delivered}");
        let before = progress.summary().read;
        assert!(before == 0 || before == delivered as u64, "{before} of {delivered}");
    }
}

#[test]
fn that_an_object_is_missing_is_told_once() {
    let folder = tempfile::tempdir().unwrap();
    let config = config_of(folder.path(), json!({}));
    put(folder.path(), "http-endpoint-failed", 1, &[]);
    let path = folder.path().join("backup/http-endpoint-failed").join(format!("web-1-2026-11-21-22-58-01-{UUID}"));
    std::fs::write(&path, [0x1f, 0x8b, 8, 0]).unwrap();
    assert_eq!(run_once(&config).1.summary().objects_left, 1, "damaged");
    let elsewhere = json!({ "backup": { "directory": {
        "path": folder.path().join("new"), "error_output_prefix": "!{firehose:error-output-type}/" } } });
    let moved = config_of(folder.path(), elsewhere);
    let summary = run_once(&moved).1.summary();
    assert_eq!(summary.objects_left, 1);
    let Problem { object, reason, .. } = &summary.objects_left_named[0];
    assert!(object.contains("/backup/http-endpoint-failed/") && reason.contains("another place"), "{object} {reason}");
    assert_eq!(run_once(&moved).1.summary().objects_left, 0);
    // It is still there, so it is read again from where it was.
    let config = config_of(folder.path(), json!({}));
    assert_eq!(run_once(&config).1.summary().objects_left, 1);

    let path2 = folder.path().join("backup/http-endpoint-failed").join(format!("web-1-2026-11-21-22-58-02-{UUID}"));
    std::fs::write(&path2, [0x1f, 0x8b, 8, 0]).unwrap();
    assert_eq!(run_once(&config).1.summary().objects_left, 2);
    std::fs::remove_file(&path2).unwrap();
    assert_eq!(run_once(&config).1.summary().objects_left, 2);
    assert_eq!(run_once(&config).1.summary().objects_left, 1, "told before");
}

#[test]
fn a_dry_run_knows_what_was_redriven_before() {
    let folder = tempfile::tempdir().unwrap();
    let config = config_of(folder.path(), json!({}));
    let look = || {
        let progress = Progress::default();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (stream, show) = (&config.delivery_streams[0], &mut |_: &_, _, _| Ok(()));
        let (job, limits) = (Job { began: Timestamp::MAX, ..job() }, RetryLimits::default());
        runtime.block_on(dry_run::run(&job, &config.state_dir, stream, limits, &progress, show)).unwrap();
        let summary = progress.summary();
        (summary.objects, summary.objects_before, summary.read, summary.objects_left)
    };
    put(folder.path(), "http-endpoint-failed", 1, &[envelope("one", "HttpEndpoint.RequestTimeout")]);
    assert_eq!(look(), (1, 0, 1, 0));
    run_once(&config).0.unwrap();
    put(folder.path(), "http-endpoint-failed", 2, &[envelope("two", "HttpEndpoint.RequestTimeout")]);
    assert_eq!(look(), (2, 1, 1, 0));
    put(folder.path(), "http-endpoint-failed", 1, &[envelope("three", "HttpEndpoint.RequestTimeout")]);
    assert_eq!(look(), (2, 0, 1, 1));
}
