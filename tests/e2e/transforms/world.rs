//! What a component sees, what it says of records, and where its code is kept.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::support::Scratch;

use super::{delivered, drain, failed, hostile};

#[track_caller]
fn one_answer(behaviour: Value) -> Value {
    let scratch = Scratch::new();
    scratch.log("s.log", "record\n");
    let finished = drain(&scratch, [hostile(&scratch, behaviour, json!({}))]);
    let lines = delivered(&scratch, "s");
    let [line] = lines.as_slice() else { panic!("one record, not {lines:?}\n{finished}") };
    serde_json::from_str(line).expect("JSON")
}

#[test]
fn the_world_of_a_component_is_empty() {
    let seen = one_answer(json!({ "transform": "world" }));
    let nothing = json!({
        "environment": 0, "arguments": 0, "current_folder": false, "root_folder": false, "file": false,
        "write": false, "stdin": 0, "connect": false, "resolve": false,
    });
    assert_eq!(seen, nothing);
}

#[test]
fn a_sleep_is_over_at_once_and_the_clocks_have_moved_on() {
    let began = std::time::SystemTime::now();
    let seen = one_answer(json!({ "transform": "clocks", "amount": 86_400 }));
    let number = |name: &str| seen[name].as_u64().unwrap_or_else(|| panic!("{name} in {seen}"));
    assert!(number("slept_ns") >= 86_400 * 1_000_000_000 && number("first_ns") < 1_000_000, "{seen}");
    assert!(number("wall_later_ms") - number("wall_ms") >= 86_400_000, "{seen}");
    let began_ms = began.duration_since(std::time::UNIX_EPOCH).expect("a clock").as_millis() as u64;
    assert!(
        (began_ms..began_ms + 600_000).contains(&number("wall_ms")),
        "the wall clock begins at the arrival: {seen}"
    );
}

#[test]
fn a_record_comes_with_its_place() {
    let scratch = Scratch::new();
    let path = scratch.log("s.log", "first\nsecond\n");
    drain(&scratch, [hostile(&scratch, json!({ "transform": "source" }), json!({}))]);
    let lines = delivered(&scratch, "s");
    let second: Value = serde_json::from_str(&lines[1]).expect("JSON");
    assert_eq!(second["data"], "second");
    assert_eq!(second["source"], json!({ "path": path, "offset": 6 }));
    assert!(second["arrival_ms"].as_u64().is_some_and(|ms| ms > 1_700_000_000_000), "{second}");
}

#[test]
fn fresh_instances_know_nothing_and_reused_ones_remember() {
    for (instances, expected) in [("fresh", 1), ("reuse", 2)] {
        let scratch = Scratch::new();
        // Two batches: the first record fills one.
        let lines = format!("{}\nlast\n", "x".repeat(250_000));
        scratch.log("s.log", lines);
        let limits = json!({ "instances": instances, "batch_mb": 0.2 });
        drain(&scratch, [hostile(&scratch, json!({ "transform": "calls" }), limits)]);
        let lines = delivered(&scratch, "s");
        let calls: Value = serde_json::from_str(&lines[1]).expect("JSON");
        assert_eq!(calls["calls"], expected, "{instances}");
    }
}

#[test]
fn a_record_becomes_several_or_none_between_other_processors() {
    let scratch = Scratch::new();
    scratch.log("s.log", "a,1\nb,2\n");
    let steps = [
        json!({ "csv_to_json": { "columns": ["name", "count"] } }),
        hostile(&scratch, json!({ "transform": "split", "when": "a", "amount": 3 }), json!({})),
        hostile(&scratch, json!({ "transform": "drop", "when": "\"part\":1" }), json!({})),
        json!({ "add_metadata": { "fields": { "at": "offset" } } }),
    ];
    let finished = drain(&scratch, steps);
    let lines: Vec<Value> =
        delivered(&scratch, "s").iter().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let seen: Vec<_> = lines.iter().map(|line| (line["part"].as_u64(), line["at"].as_u64())).collect();
    // Both have an "a" in them: "name".
    assert_eq!(seen, [(Some(0), Some(0)), (Some(2), Some(0)), (Some(0), Some(4)), (Some(2), Some(4))], "{finished}");
    assert_eq!(failed(&scratch, "s").len(), 0);
    assert!(finished.stderr.contains("2 read + 2 created = 4 delivered + 0 dropped"), "{finished}");
}

/// Another life might see the component live: after a crash nobody could say which parts were delivered.
#[test]
fn a_record_of_which_one_part_kills_a_component_fails_as_a_whole() {
    let scratch = Scratch::new();
    scratch.log("s.log", "a\nb\n");
    let steps = [
        hostile(&scratch, json!({ "transform": "split", "when": "a", "amount": 3 }), json!({})),
        hostile(&scratch, json!({ "transform": "trap", "when": "\"part\":1" }), json!({})),
    ];
    let finished = drain(&scratch, steps);
    assert_eq!(delivered(&scratch, "s"), ["b"], "{finished}");
    let failed = failed(&scratch, "s");
    let [failed] = failed.as_slice() else { panic!("one record fails, not {failed:?}") };
    assert_eq!((failed.raw.as_str(), failed.code.as_str()), ("a", "Lambda.FunctionError"), "{failed:?}");
    assert!(failed.message.contains("so all of it does"), "{failed:?}");
    assert!(finished.stderr.contains("2 read + 0 created = 1 delivered + 0 dropped + 1 failed"), "{finished}");
}

fn cached(scratch: &Scratch) -> Vec<PathBuf> {
    let folder = std::fs::read_dir(scratch.path("state").join("components")).expect("a folder of compiled code");
    let mut files: Vec<_> = folder.map(|entry| entry.expect("an entry").path()).collect();
    files.sort();
    files
}

#[test]
fn compiled_code_is_kept_and_believed_only_if_it_is_whole_and_nobody_elses() {
    let scratch = Scratch::new();
    let step = || [hostile(&scratch, json!({}), json!({}))];
    scratch.log("s1.log", "one\n");
    drain(&scratch, step());
    let [file] = cached(&scratch).try_into().expect("one file");

    scratch.log("s2.log", "two\n");
    let finished = drain(&scratch, step());
    assert!(!finished.stderr.contains("compiled anew"), "{finished}");

    let mut bytes = std::fs::read(&file).expect("read");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&file, bytes).expect("written");
    scratch.log("s3.log", "three\n");
    let finished = drain(&scratch, step());
    assert!(finished.stderr.contains("damaged or not this user's own: compiled anew"), "{finished}");
    assert_eq!(cached(&scratch).len(), 1, "the damaged file is replaced");

    let folder = scratch.path("state").join("components");
    std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o777)).expect("a mode set");
    scratch.log("s4.log", "four\n");
    let finished = drain(&scratch, step());
    assert!(finished.stderr.contains("damaged or not this user's own: compiled anew"), "{finished}");
    let mut lines = delivered(&scratch, "s");
    lines.sort();
    assert_eq!(lines, ["four", "one", "three", "two"]);
}
