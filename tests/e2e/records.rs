//! How the bytes of a file fall into records, seen from the objects.

use std::path::Path;
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use crate::support::scratch::append;
use crate::support::{
    Hydrant, Objects, Scratch, config, delivered_lines, directory, objects::keys, stream, wait_until,
};

/// A stream whose file source has these keys too.
fn with(scratch: &Scratch, keys: &Value) -> Value {
    let mut stream = stream("s", &scratch.logs().join("*.log"), directory(&scratch.out()));
    for (key, value) in keys.as_object().expect("a mapping") {
        stream["source"]["file"][key] = value.clone();
    }
    stream
}

/// All objects end to end, in the order of their keys.
fn delivered(root: &Path) -> String {
    Objects::read(root).iter().map(|(_, data)| String::from_utf8_lossy(data).into_owned()).collect()
}

/// All records of a stream with the output delimiter `#\n`, sorted.
fn records(root: &Path) -> Vec<String> {
    let text = delivered(root);
    let mut records: Vec<String> = text.split_terminator("#\n").map(str::to_owned).collect();
    records.sort();
    records
}

#[test]
fn lines_that_belong_together_are_one_record_and_the_last_one_waits_for_more() {
    let scratch = Scratch::new();
    let log = scratch.log("a.log", "1 one\n  more\n2 two\n");
    let mut stream = with(&scratch, &json!({ "multiline_start": r"^\d", "multiline_timeout_ms": 300 }));
    stream["output_delimiter"] = "#\n".into();
    let config = config(&scratch, [stream]);
    let hydrant = Hydrant::run(&scratch, &config);
    wait_until("both records", || records(&scratch.out()) == ["1 one\n  more", "2 two"]);
    append(&log, "3 three\n  to");
    append(&log, "rn\n");
    wait_until("the third", || records(&scratch.out()) == ["1 one\n  more", "2 two", "3 three\n  torn"]);
    append(&log, "4 four\n  half");
    hydrant.terminate().expect_code(0);
    assert_eq!(records(&scratch.out()).len(), 3, "what is torn waits");
    append(&log, " a line\n");
    Hydrant::drain(&scratch, &config);
    assert_eq!(records(&scratch.out())[3..], ["4 four\n  half a line"]);
}

#[test]
fn lines_that_go_on_belong_to_the_record_before() {
    let scratch = Scratch::new();
    scratch.log("a.log", "  first\none\n  more\n  and more\ntwo");
    let mut stream = with(&scratch, &json!({ "multiline_continue": "^ " }));
    stream["output_delimiter"] = "#\n".into();
    Hydrant::drain(&scratch, &config(&scratch, [stream]));
    assert_eq!(records(&scratch.out()), ["  first", "one\n  more\n  and more", "two"]);
}

#[test]
fn a_record_of_several_lines_over_the_limit_fails_as_one() {
    let scratch = Scratch::new();
    let long = format!("1 long\n{}2 short\n", "  more\n".repeat(50_000));
    let end = long.len() - "2 short\n".len();
    scratch.log("a.log", long);
    let mut stream = with(&scratch, &json!({ "multiline_start": r"^\d", "max_record_kb": 10 }));
    stream["destination"]["directory"]["error_output_prefix"] = "errors/".into();
    Hydrant::drain(&scratch, &config(&scratch, [stream]));
    let objects = Objects::read(&scratch.out());
    let of_errors = |errors: bool| objects.iter().filter(move |(key, _)| key.starts_with("errors/") == errors);
    assert_eq!(of_errors(false).map(|(_, data)| data).collect::<Vec<_>>(), [b"2 short\n"]);
    let envelopes: Vec<_> = of_errors(true).map(|(_, data)| String::from_utf8_lossy(data)).collect();
    assert!(envelopes.len() == 1 && envelopes[0].contains(&format!("position 0 to {end} of")), "{envelopes:?}");
}

#[test]
fn a_header_that_arrives_in_pieces_is_skipped_in_each_file_and_each_life() {
    let scratch = Scratch::new();
    let log = scratch.log("a.log", "# made by a test\nid,");
    scratch.log("b.log", "# made by another\nid,name\n2,b\n");
    scratch.log("short.log", "# no more than this\n");
    let config = config(&scratch, [with(&scratch, &json!({ "skip_header_lines": 2 }))]);
    let hydrant = Hydrant::run(&scratch, &config);
    wait_until("the whole file", || delivered_lines(&scratch.out()) == ["2,b"]);
    append(&log, "na");
    append(&log, "me\n1,a\n");
    wait_until("the torn one", || delivered_lines(&scratch.out()) == ["1,a", "2,b"]);
    hydrant.kill_9();
    append(&log, "3,c\n");
    Hydrant::drain(&scratch, &config);
    append(&log, "4,d\n");
    Hydrant::drain(&scratch, &config);
    assert_eq!(delivered_lines(&scratch.out()), ["1,a", "2,b", "3,c", "4,d"]);
}

/// In UTF-16LE: a mark, a line that is too long, which holds the bytes of a line feed at odd places only, and a short one.
#[test]
fn a_line_of_utf_16_ends_at_a_whole_line_feed() {
    let scratch = Scratch::new();
    let text = format!("\u{feff}{}\nshort\n", "\u{0a00}".repeat(600));
    scratch.log("a.log", text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>());
    let mut stream = with(&scratch, &json!({ "encoding": "utf-16", "max_record_kb": 1 }));
    stream["destination"]["directory"]["error_output_prefix"] = "errors/".into();
    Hydrant::drain(&scratch, &config(&scratch, [stream]));
    let objects = Objects::read(&scratch.out());
    let errors: Vec<_> = objects.iter().filter(|(key, _)| key.starts_with("errors/")).collect();
    assert_eq!(errors.len(), 1, "{:?}", objects.keys().collect::<Vec<_>>());
    let envelope: Value = serde_json::from_slice(errors[0].1).expect("one envelope");
    let message = envelope["errorMessage"].as_str().expect("a message");
    assert!(message.contains("1200 bytes long") && message.contains("position 2 to 1204 of"), "{message}");
}

#[test]
fn a_record_over_the_limit_is_truncated_between_two_characters() {
    let scratch = Scratch::new();
    let log = scratch.log("a.log", format!("before\nx{}\nafter\n", "é".repeat(5000)));
    let keys = json!({ "max_record_kb": 1, "on_oversize": "truncate", "truncated_record_terminator": "…" });
    let config = config(&scratch, [with(&scratch, &keys)]);
    let said = Hydrant::drain(&scratch, &config).stderr;
    // 1024 bytes less 3 for the terminator, in whole characters.
    let truncated = format!("x{}…", "é".repeat(510));
    assert_eq!(delivered(&scratch.out()), format!("before\n{truncated}\nafter\n"));
    assert!(said.contains("it is truncated") && said.contains("cut_bytes=8980"), "{said}");
    append(&log, "later\n");
    Hydrant::drain(&scratch, &config);
    assert_eq!(delivered_lines(&scratch.out()), ["after", "before", "later", &truncated]);
}

#[test]
fn a_delimiter_torn_between_its_bytes_is_one_and_empty_records_count() {
    let scratch = Scratch::new();
    let log = scratch.log("a.log", "one\r");
    let mut stream = with(&scratch, &json!({ "record_delimiter": "\r\n" }));
    stream["output_delimiter"] = "#\n".into();
    let _hydrant = Hydrant::run(&scratch, &config(&scratch, [stream]));
    let other = scratch.log("b.log", "other\r\n");
    wait_until("it runs", || records(&scratch.out()) == ["other"]);
    append(&log, "\n\r\ntw\no\0\r");
    wait_until("whole records", || records(&scratch.out()) == ["", "one", "other"]);
    append(&log, "\n");
    append(&other, "\r\n");
    wait_until("the rest", || records(&scratch.out()) == ["", "", "one", "other", "tw\no\0"]);
}

#[test]
fn a_terminator_stays_whole_behind_half_a_character_of_an_old_encoding() {
    let scratch = Scratch::new();
    // U+FEFF, an `a` and two thousand of U+6F22, each of two bytes, the second of which could be a letter.
    let text = [b"\x84\x31\x95\x33a".as_slice(), &b"\x9d\x68".repeat(2000), b"\nb\n"].concat();
    scratch.log("a.log", text);
    let keys = json!({ "encoding": "gb18030", "max_record_kb": 1, "on_oversize": "truncate",
                       "truncated_record_terminator": "END" });
    Hydrant::drain(&scratch, &config(&scratch, [with(&scratch, &keys)]));
    assert_eq!(delivered(&scratch.out()), format!("a{}END\nb\n", "\u{6f22}".repeat(510)));
}

#[test]
fn nul_bytes_that_a_truncation_has_left_are_no_record() {
    let scratch = Scratch::new();
    let log = scratch.log("a.log", vec![0; 5000]);
    scratch.log("b.log", "other\n");
    let config = config(&scratch, [with(&scratch, &json!({}))]);
    let hydrant = Hydrant::run(&scratch, &config);
    wait_until("it runs", || delivered_lines(&scratch.out()) == ["other"]);
    append(&log, "one\n");
    wait_until("what comes behind them", || delivered_lines(&scratch.out()) == ["one", "other"]);
    assert_eq!(hydrant.said("begins with NUL bytes"), 1);
    hydrant.terminate().expect_code(0);
}

#[test]
fn oldest_first_reads_the_file_to_its_end_that_was_written_longest_ago() {
    let scratch = Scratch::new();
    let now = SystemTime::now();
    for (name, age) in [("a", 100), ("b", 300), ("c", 200)] {
        let log = scratch.log(&format!("{name}.log"), format!("{name:<99}\n").repeat(30_000));
        let file = std::fs::File::options().write(true).open(log).expect("the log");
        file.set_modified(now - Duration::from_secs(age)).expect("a time for it");
    }
    let mut stream = with(&scratch, &json!({ "oldest_first": true }));
    stream["buffering"] = json!({ "size_mb": 64, "interval_seconds": 900 });
    Hydrant::drain(&scratch, &config(&scratch, [stream]));
    assert_eq!(keys(&scratch.out()).len(), 1);
    let text = delivered(&scratch.out());
    let mut order: Vec<&str> = text.lines().map(str::trim_end).collect();
    assert_eq!(order.len(), 90_000);
    order.dedup();
    assert_eq!(order, ["b", "c", "a"]);
}
