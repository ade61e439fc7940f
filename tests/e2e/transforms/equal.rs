//! What a killed life was about to deliver, the next one delivers: the same records, and the same bytes for each, although what
//! is made of them follows from clocks, random numbers, arrival and batches.
//!
//! Both lives dump each payload before it leaves, under its key.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};
use serde_json::{Value, json};

use crate::support::hydrant::write_config;
use crate::support::journal::journal_path;
use crate::support::objects::keys;
use crate::support::s3::BUCKET;
use crate::support::scratch::{InTheWay, append};
use crate::support::{
    DEADLINE, FaultProxy, Finished, Hydrant, Objects, S3Server, Scratch, config, s3_destination, wait_until,
};

use super::{delivered, drain, hostile, lines_under, transformed};

const LIVES: [&str; 2] = ["first", "second"];

/// Everything that a component can ask for, in each record.
fn stamp(scratch: &Scratch) -> Value {
    hostile(scratch, json!({ "transform": "stamp" }), json!({ "batch_mb": 0.2, "timeout_ms": 20_000 }))
}

/// A stream `s` whose deliveries are sealed for their size or at the end.
fn slow(scratch: &Scratch, size_mb: f64, steps: impl Into<Value>) -> Value {
    let mut stream = transformed(scratch, "s", steps);
    stream["buffering"] = json!({ "size_mb": size_mb, "interval_seconds": 600, "low_latency": true });
    stream
}

/// A life that keeps what it is about to deliver.
fn live(scratch: &Scratch, config: &Value, life: &str, options: &[&str], failpoint: Option<&str>) -> Hydrant {
    let path = write_config(scratch, config);
    let options = ["run"].iter().chain(options).chain(&["--config"]).map(OsStr::new);
    let args: Vec<_> = options.chain([path.as_os_str()]).collect();
    let dumps = dumps_of(scratch, life);
    let dumps = dumps.to_str().expect("names here are UTF-8");
    let env = [("HYDRANT_DUMP_DIR", dumps)].into_iter().chain(failpoint.map(|point| ("HYDRANT_FAILPOINT", point)));
    Hydrant::start(scratch, &args, &env.collect::<Vec<_>>())
}

fn dumps_of(scratch: &Scratch, life: &str) -> PathBuf {
    scratch.path(&format!("dumps-{life}"))
}

/// A drain that dies at the failpoint.
#[track_caller]
fn killed(scratch: &Scratch, config: &Value, failpoint: &str) -> Finished {
    let finished = live(scratch, config, LIVES[0], &["--drain"], Some(failpoint)).wait();
    assert!(finished.killed(), "the failpoint {failpoint} kills: {finished}");
    finished
}

#[track_caller]
fn drained(scratch: &Scratch, config: &Value) -> Finished {
    live(scratch, config, LIVES[1], &["--drain"], None).wait().expect_code(0)
}

fn lines(payload: &[u8]) -> Vec<String> {
    String::from_utf8_lossy(payload).lines().map(str::to_owned).collect()
}

/// What of the first life the second one has formed again, by key: the same bytes of the same records. Says how many records.
#[track_caller]
fn assert_equal(scratch: &Scratch, finished: &Finished) -> BTreeMap<String, usize> {
    let [first, second] = LIVES.map(|life| Objects::read(&dumps_of(scratch, life)));
    let second: BTreeMap<_, _> = second.iter().collect();
    let mut equal = BTreeMap::new();
    for (key, payload) in first.iter() {
        let Some(again) = second.get(key) else { continue };
        let (mut before, mut after) = (lines(payload), lines(again));
        before.sort();
        after.sort();
        let other = before.iter().zip(&after).find(|(before, after)| before != after);
        assert_eq!(before.len(), after.len(), "records of {key}: {finished}");
        assert_eq!(other, None, "{key}: {finished}");
        equal.insert(key.to_owned(), before.len());
    }
    assert!(!equal.is_empty(), "the second life forms nothing again: {finished}");
    equal
}

/// The objects are what was dumped, and each of `records` is in one of them once.
#[track_caller]
fn assert_exactly_once(scratch: &Scratch, bucket: &Path, records: impl Iterator<Item = String>) {
    let objects = Objects::read(bucket);
    let lives = LIVES.map(|life| Objects::read(&dumps_of(scratch, life)));
    for (key, object) in objects.iter() {
        let is_dumped = |dumps: &Objects| dumps.iter().any(|(dump, payload)| dump == key && payload == object);
        assert!(lives.iter().any(is_dumped), "{key} is what a life was about to deliver");
    }
    let mut found: Vec<_> = objects.iter().flat_map(|(_, object)| lines(object)).map(|line| data(&line)).collect();
    found.sort();
    let mut expected: Vec<_> = records.collect();
    expected.sort();
    let other = found.iter().zip(&expected).find(|(found, expected)| found != expected);
    assert_eq!((found.len(), other), (expected.len(), None));
}

fn stamp_of(line: &str) -> Value {
    serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
}

fn data(line: &str) -> String {
    stamp_of(line)["data"].as_str().unwrap_or_else(|| panic!("a stamp: {line}")).to_owned()
}

/// Deliveries that are not settled.
fn pending(scratch: &Scratch) -> u64 {
    let query = "SELECT count(*) FROM delivery WHERE settled = 0";
    journal(scratch).query_row(query, [], |row| row.get(0)).expect("the documented columns")
}

fn journal(scratch: &Scratch) -> Connection {
    let connection = Connection::open_with_flags(journal_path(scratch), OpenFlags::SQLITE_OPEN_READ_ONLY)
        .expect("the journal can be opened");
    connection.busy_timeout(DEADLINE).expect("a deadline");
    connection
}

/// Journalled batches of deliveries that are not settled: how many in all, and how many bytes they take.
fn journalled(scratch: &Scratch) -> (u64, u64) {
    let query = "SELECT (SELECT coalesce(sum(batches), 0) FROM delivery), coalesce(sum(length(batches)), 0) FROM delivery_records";
    journal(scratch).query_row(query, [], |row| Ok((row.get(0)?, row.get(1)?))).expect("the documented columns")
}

fn record(n: usize) -> String {
    format!("{n:07} {}", "x".repeat(80 + n % 40))
}

fn text(numbers: std::ops::Range<usize>) -> String {
    numbers.map(|n| record(n) + "\n").collect()
}

/// Chunks of 1 MB, of which each is sealed into several deliveries; and more lines, which come between the lives.
fn chunks_and_seals_within(failpoint: &str) {
    const LINES: usize = 14_000;
    let scratch = Scratch::new();
    let path = scratch.log("s.log", text(0..LINES));
    let config = config(&scratch, [slow(&scratch, 0.5, [stamp(&scratch)])]);
    killed(&scratch, &config, failpoint);
    append(&path, text(LINES..LINES + 2_000));
    let finished = drained(&scratch, &config);
    assert_equal(&scratch, &finished);
    assert_exactly_once(&scratch, &scratch.out(), (0..LINES + 2_000).map(record));
}

#[test]
fn seals_within_a_chunk_when_the_first_intent_is_committed() {
    chunks_and_seals_within("intent-committed:1");
}

#[test]
fn seals_within_a_chunk_when_some_deliveries_are_settled() {
    chunks_and_seals_within("intent-committed:6");
}

/// Of one chunk more is made than may be held: its rest is processed on its own.
#[test]
fn a_chunk_of_which_very_much_is_made() {
    const LINES: usize = 40_000;
    let scratch = Scratch::new();
    let line = |n: usize| format!("{n:015}");
    let lines = |numbers: std::ops::Range<usize>| numbers.map(|n| line(n) + "\n").collect::<String>();
    let path = scratch.log("s.log", lines(0..LINES));
    let stamp = hostile(&scratch, json!({ "transform": "stamp" }), json!({ "timeout_ms": 20_000 }));
    let config = config(&scratch, [slow(&scratch, 1.0, [stamp])]);
    killed(&scratch, &config, "intent-committed:8");
    append(&path, lines(LINES..LINES + 1_000));
    let finished = drained(&scratch, &config);
    let equal: usize = assert_equal(&scratch, &finished).into_values().sum();
    println!("{equal} records are equal");
    assert_exactly_once(&scratch, &scratch.out(), (0..LINES + 1_000).map(line));
}

/// What the log had at each moment is what was read, line by line.
#[test]
fn trickled_lines_of_several_files() {
    let scratch = Scratch::new();
    let files: Vec<_> = (0..3).map(|n| scratch.log(&format!("s{n}.log"), "")).collect();
    let config = config(&scratch, [slow(&scratch, 0.1, [stamp(&scratch)])]);
    let mut hydrant = live(&scratch, &config, LIVES[0], &[], Some("intent-committed:2"));
    wait_until("all files are seen", || hydrant.said("a file is read that was not seen before") == 3);
    let mut written = 0;
    while !hydrant.ends_within(Duration::from_millis(5)) {
        append(&files[written % 3], text(written..written + 1));
        written += 1;
        assert!(written < 20_000, "two deliveries of 0.1 MB");
    }
    assert!(hydrant.wait().killed());
    let (batches, bytes) = journalled(&scratch);
    assert!(batches > 10, "{batches} batches in the journal");
    println!("{batches} batches take {bytes} bytes in the journal");
    assert!(bytes <= batches * 8, "{bytes} bytes for {batches} batches");
    for file in &files {
        append(file, text(written..written + 50));
        written += 50;
    }
    let finished = drained(&scratch, &config);
    assert_equal(&scratch, &finished);
    assert_exactly_once(&scratch, &scratch.out(), (0..written).map(record));
    assert_eq!(journalled(&scratch), (0, 0), "what is settled has no batches any more");
}

/// A second component, given more than it takes in one call of what the first has made of one record.
#[test]
fn a_second_step_after_a_split() {
    let scratch = Scratch::new();
    scratch.log("s.log", text(0..40));
    let split = hostile(&scratch, json!({ "transform": "split", "amount": 300 }), json!({}));
    let config = config(&scratch, [slow(&scratch, 0.5, [split, stamp(&scratch)])]);
    killed(&scratch, &config, "intent-committed:3");
    let finished = drained(&scratch, &config);
    assert_equal(&scratch, &finished);
    let all = lines_under(&scratch, "s/ok/");
    assert_eq!(all.len(), 40 * 300);
}

#[test]
fn batches_that_begin_with_the_same_record_have_random_numbers_of_their_own() {
    let scratch = Scratch::new();
    // Each becomes more than one call takes; and two files are read at the same time.
    let amount = 10_500;
    let split = json!({ "transform": "split", "amount": amount });
    scratch.log("s1.log", "a\n");
    scratch.log("s2.log", "a\n");
    let in_time = json!({ "timeout_ms": 20_000 });
    let stamp = hostile(&scratch, json!({ "transform": "stamp" }), in_time.clone());
    let steps = [hostile(&scratch, split, in_time), stamp];
    let finished = drain(&scratch, steps);
    let lines = delivered(&scratch, "s");
    let numbers: BTreeSet<_> = lines.iter().map(|line| stamp_of(line)["random_number"].to_string()).collect();
    assert_eq!((lines.len(), numbers.len()), (2 * amount, 2 * amount), "{finished}");
}

/// Both outputs of a stream, one of which holds envelopes.
#[test]
fn failed_records_too() {
    const LINES: usize = 3_000;
    let scratch = Scratch::new();
    scratch.log("s.log", text(0..LINES));
    let refuse = hostile(&scratch, json!({ "transform": "fail", "when": "7 x" }), json!({}));
    let mut stream = slow(&scratch, 5.0, [refuse, stamp(&scratch)]);
    stream["destination"]["directory"]["prefix"] = "p/ok/".into();
    stream["destination"]["directory"]["error_output_prefix"] = "p/errors/".into();
    let config = config(&scratch, [stream]);
    // At the end both are sealed, and neither arrives before the other one's intent.
    let in_the_way = InTheWay::of(&scratch.out());
    killed(&scratch, &config, "intent-committed:2");
    drop(in_the_way);
    let finished = drained(&scratch, &config);
    let equal = assert_equal(&scratch, &finished);
    let errors: Vec<_> =
        equal.iter().filter(|(key, _)| key.contains("/errors/")).map(|(_, &records)| records).collect();
    assert_eq!((equal.len(), errors), (2, vec![LINES / 10]), "{finished}");
    assert_eq!(lines_under(&scratch, "p/ok/").len(), LINES / 10 * 9);
}

/// The last third of a batch is on its way to the error output when all that went to the destination is settled. Both parts of
/// each record fail, and the envelopes have them as the second component made them.
#[test]
fn when_the_beginning_of_a_batch_is_settled() {
    const LINES: usize = 3_000;
    let scratch = Scratch::new();
    scratch.log("s.log", text(0..LINES));
    let split = hostile(&scratch, json!({ "transform": "split", "amount": 2 }), json!({}));
    let when = r#"{\"of\":\"0002"#;
    let refuse = hostile(&scratch, json!({ "transform": "fail", "when": when }), json!({}));
    let mut stream = slow(&scratch, 5.0, [split, stamp(&scratch), refuse]);
    stream["destination"]["directory"]["error_output_prefix"] = "p/".into();
    stream["buffering"]["interval_seconds"] = 0.2.into();
    let config = config(&scratch, [stream]);
    let in_the_way = InTheWay::of(&scratch.out());
    let hydrant = live(&scratch, &config, LIVES[0], &[], None);
    wait_until("one delivery waits for what is in its way", || {
        lines_under(&scratch, "s/ok/").len() == 2 * (LINES - 1_000)
            && hydrant.said("delivery refused") > 0
            && pending(&scratch) == 1
    });
    assert!(hydrant.kill_9().killed());
    drop(in_the_way);
    let finished = drained(&scratch, &config);
    let equal: Vec<_> = assert_equal(&scratch, &finished).into_values().collect();
    assert_eq!(equal, [2_000], "{finished}");
    let delivered = ["s/ok/", "p/"].map(|folder| lines_under(&scratch, folder).len());
    assert_eq!(delivered, [2 * (LINES - 1_000), 2_000], "{finished}");
}

/// Whether it arrived cannot be asked: the second life puts it once more, on condition.
#[test]
fn a_lost_answer() {
    const LINES: usize = 3_000;
    let scratch = Scratch::new();
    let s3 = S3Server::start(&scratch.path("s3"));
    let proxy = FaultProxy::start(s3.address(), 1, &[]);
    let path = scratch.log("s.log", text(0..LINES));
    let mut stream = slow(&scratch, 0.5, [stamp(&scratch)]);
    stream["destination"] = s3_destination(&proxy.endpoint(), BUCKET);
    let config = config(&scratch, [stream]);
    killed(&scratch, &config, "object-complete:1");
    let complete = keys(&s3.bucket());
    assert!(!complete.is_empty(), "an object is there of which the journal knows nothing");
    proxy.refuse_looks();
    append(&path, text(LINES..LINES + 500));
    let finished = drained(&scratch, &config);
    let equal = assert_equal(&scratch, &finished);
    assert!(complete.iter().all(|key| equal.contains_key(key)), "{complete:?} in {equal:?}: {finished}");
    assert_exactly_once(&scratch, &s3.bucket(), (0..LINES + 500).map(record));
}

/// In a folder, too, where what is complete is taken away again so that the second life has to form it.
#[test]
fn an_object_that_is_complete_and_unheard_of() {
    const LINES: usize = 6_000;
    let scratch = Scratch::new();
    scratch.log("s1.log", text(0..LINES / 2));
    scratch.log("s2.log", text(LINES / 2..LINES));
    let config = config(&scratch, [slow(&scratch, 0.5, [stamp(&scratch)])]);
    killed(&scratch, &config, "object-complete:1");
    let complete = keys(&scratch.out());
    complete.iter().for_each(|key| std::fs::remove_file(scratch.out().join(key)).expect("an object removed"));
    let finished = drained(&scratch, &config);
    let equal = assert_equal(&scratch, &finished);
    assert!(complete.iter().all(|key| equal.contains_key(key)), "{complete:?} in {equal:?}: {finished}");
    assert_exactly_once(&scratch, &scratch.out(), (0..LINES).map(record));
}

/// What follows from the arrival alone.
#[test]
fn the_time_of_ingestion() {
    const LINES: usize = 4_000;
    let scratch = Scratch::new();
    let path = scratch.log("s.log", text(0..LINES));
    let fields = json!({ "read_at": "ingestion_time", "at": "offset" });
    let step = json!({ "add_metadata": { "fields": fields, "wrap": "data" } });
    let config = config(&scratch, [slow(&scratch, 0.1, [step])]);
    killed(&scratch, &config, "intent-committed:2");
    append(&path, text(LINES..LINES + 500));
    let finished = drained(&scratch, &config);
    assert_equal(&scratch, &finished);
    assert_exactly_once(&scratch, &scratch.out(), (0..LINES + 500).map(record));
}

/// The journal's batches are of no use: the same records are delivered all the same.
#[test]
fn damaged_batches_lose_and_double_nothing() {
    const LINES: usize = 4_000;
    for damage in ["NULL", "X'0102'", "X'FFFF'"] {
        let scratch = Scratch::new();
        let path = scratch.log("s.log", text(0..LINES));
        let config = config(&scratch, [slow(&scratch, 0.5, [stamp(&scratch)])]);
        killed(&scratch, &config, "intent-committed:2");
        let connection = Connection::open(journal_path(&scratch)).expect("the journal of nobody");
        let changed = connection.execute(&format!("UPDATE delivery_records SET batches = {damage}"), []);
        assert!(changed.expect("a damage done") > 0);
        drop(connection);
        append(&path, text(LINES..LINES + 500));
        drained(&scratch, &config);
        assert_exactly_once(&scratch, &scratch.out(), (0..LINES + 500).map(record));
    }
}
