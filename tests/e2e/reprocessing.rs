//! Another processing after a crash: what was on its way, in whole or in parts, is never lost, whatever is known of it.
//!
//! Messages have up to two commas. `columns(1)` lets pass those with none, `columns(2)` those with one, and so on.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};

use crate::processing::{failures_in, lines_in};
use crate::recovery::killed_at;
use crate::support::s3::BUCKET;
use crate::support::{
    Fault, FaultProxy, Hydrant, S3Server, Scratch, config, fast_buffering, rng::seed, s3_destination, stream,
    wait_until,
};

fn columns(n: usize) -> Value {
    let names = &["x", "y", "z"][..n];
    json!({ "csv_to_json": { "columns": names, "quote": "", "extra": "error" } })
}

/// The same for each message of a subscription's batch.
fn messages_of(n: usize) -> Value {
    json!([{ "cloudwatch_logs": { "extract_message": true } }, columns(n)])
}

/// `7`, `7,7`, `7,7,7` for batch 7.
fn messages(n: u32) -> [String; 3] {
    [n.to_string(), format!("{n},{n}"), format!("{n},{n},{n}")]
}

fn batches(count: u32) -> String {
    let batch = |n: u32| {
        let event = |text: &String| json!({ "id": "0", "timestamp": 1, "message": text });
        let events: Vec<Value> = messages(n).iter().map(event).collect();
        json!({ "messageType": "DATA_MESSAGE", "owner": "1", "logGroup": "g", "logStream": "s",
                "subscriptionFilters": ["f"], "logEvents": events })
        .to_string()
    };
    (0..count).map(|n| batch(n) + "\n").collect()
}

/// How often each message was delivered, and how often it is in the error output. An envelope among what was delivered fails.
#[track_caller]
fn fates(delivered: (&Path, &str), failed: (&Path, &str)) -> BTreeMap<String, (u32, u32)> {
    let mut fates = BTreeMap::<String, (u32, u32)>::new();
    for line in lines_in(delivered.0, delivered.1) {
        let row: BTreeMap<String, Option<String>> = serde_json::from_str(&line).expect("a row of the CSV");
        assert!(!row.contains_key("rawData"), "an envelope was delivered: {line}");
        let values: Vec<String> = row.into_values().flatten().collect();
        fates.entry(values.join(",")).or_default().0 += 1;
    }
    for (raw, _) in failures_in(failed.0, failed.1) {
        // One that had failed before and passes now is kept as it would have been delivered.
        let raw = match serde_json::from_str::<BTreeMap<String, Option<String>>>(&raw) {
            Ok(row) => row.into_values().flatten().collect::<Vec<_>>().join(","),
            Err(_) => raw,
        };
        fates.entry(raw).or_default().1 += 1;
    }
    fates
}

#[track_caller]
fn assert_none_lost(fates: &BTreeMap<String, (u32, u32)>, expected: impl Iterator<Item = String>, when: &str) {
    let lost: Vec<String> = expected.filter(|message| !fates.contains_key(message)).collect();
    assert!(lost.is_empty(), "{when}: lost {lost:?}, there is {fates:?}");
}

/// A folder for what passes, another one for what fails, each with buffering of its own.
fn to_folders(scratch: &Scratch, processing: &Value, delivered: &Value, failed: &Value) -> Value {
    let destination = json!({ "directory": { "path": scratch.out(), "prefix": "ok/" } });
    let mut stream = stream("s", &scratch.logs().join("*.log"), destination);
    stream["processing"] = processing.clone();
    stream["buffering"] = delivered.clone();
    let directory = json!({ "path": scratch.backup(), "error_output_prefix": "errors/" });
    stream["backup"] = json!({ "mode": "failed_only", "buffering": failed, "directory": directory });
    config(scratch, [stream])
}

fn slow() -> Value {
    json!({ "size_mb": 5, "interval_seconds": 600 })
}

fn fates_in_folders(scratch: &Scratch) -> BTreeMap<String, (u32, u32)> {
    fates((&scratch.out(), "ok/"), (&scratch.backup(), "errors/"))
}

#[test]
fn a_part_that_passes_now_is_not_lost_when_only_the_delivered_ones_were_settled() {
    let scratch = Scratch::new();
    scratch.log("a.log", batches(1));
    let hydrant = Hydrant::run(&scratch, &to_folders(&scratch, &messages_of(1), &fast_buffering(), &slow()));
    wait_until("what passes is settled", || lines_in(&scratch.out(), "ok/").len() == 1 && hydrant.is_idle());
    assert!(hydrant.kill_9().killed());
    // One of the two that failed passes now, the other one still fails.
    Hydrant::drain(&scratch, &to_folders(&scratch, &messages_of(2), &fast_buffering(), &slow()));
    let fates = fates_in_folders(&scratch);
    let [one, two, three] = messages(0);
    assert_eq!((fates[&two], fates[&three]), ((1, 0), (0, 1)));
    assert!(fates[&one].0 >= 1, "{fates:?}");
}

#[test]
fn a_part_that_fails_now_is_not_lost_when_only_the_failed_ones_were_settled() {
    let scratch = Scratch::new();
    scratch.log("a.log", batches(1));
    let hydrant = Hydrant::run(&scratch, &to_folders(&scratch, &messages_of(2), &slow(), &fast_buffering()));
    wait_until("what fails is settled", || lines_in(&scratch.backup(), "errors/").len() == 1 && hydrant.is_idle());
    assert!(hydrant.kill_9().killed());
    Hydrant::drain(&scratch, &to_folders(&scratch, &messages_of(1), &slow(), &fast_buffering()));
    let fates = fates_in_folders(&scratch);
    let [one, two, three] = messages(0);
    assert_eq!((fates[&one], fates[&two]), ((1, 0), (0, 1)));
    assert!(fates[&three].1 >= 1, "{fates:?}");
}

#[test]
fn another_prefix_is_no_other_processing() {
    let scratch = Scratch::new();
    scratch.log("a.log", batches(1));
    let mut config = to_folders(&scratch, &messages_of(1), &fast_buffering(), &slow());
    let hydrant = Hydrant::run(&scratch, &config);
    wait_until("what passes is settled", || lines_in(&scratch.out(), "ok/").len() == 1 && hydrant.is_idle());
    assert!(hydrant.kill_9().killed());
    config["delivery_streams"][0]["destination"]["directory"]["prefix"] = "ok/other/".into();
    Hydrant::drain(&scratch, &config);
    let [one, two, three] = messages(0);
    let expected = [(one, (1, 0)), (two, (0, 1)), (three, (0, 1))];
    assert_eq!(fates_in_folders(&scratch), BTreeMap::from(expected), "each once");
}

/// A bucket in which nobody may ask what exists.
struct Refusing {
    scratch: Scratch,
    s3: S3Server,
    proxy: FaultProxy,
}

impl Refusing {
    fn start(log: &str) -> Self {
        let scratch = Scratch::new();
        scratch.log("a.log", log);
        let s3 = S3Server::start(&scratch.path("s3"));
        let proxy = FaultProxy::start(s3.address(), seed("looks are refused"), &[]);
        proxy.refuse_looks();
        Self { scratch, s3, proxy }
    }

    fn config(&self, processing: &Value) -> Value {
        let mut destination = s3_destination(&self.proxy.endpoint(), BUCKET);
        destination["s3"]["prefix"] = "ok/".into();
        destination["s3"]["error_output_prefix"] = "errors/".into();
        let mut stream = stream("s", &self.scratch.logs().join("*.log"), destination);
        stream["processing"] = processing.clone();
        config(&self.scratch, [stream])
    }

    /// Killed under one processing, perhaps once more under another one, then everything under the last.
    fn lives(&self, first: (&Value, &str), second: (&Value, Option<&str>), last: &Value) {
        killed_at(&self.scratch, &self.config(first.0), first.1);
        if let (processing, Some(failpoint)) = second {
            killed_at(&self.scratch, &self.config(processing), failpoint);
        }
        Hydrant::drain(&self.scratch, &self.config(last));
        assert!(self.proxy.met(Fault::AccessDenied) > 0, "it was asked, and refused");
    }

    #[track_caller]
    fn fates(&self) -> BTreeMap<String, (u32, u32)> {
        fates((&self.s3.bucket(), "ok/"), (&self.s3.bucket(), "errors/"))
    }
}

#[cfg(debug_assertions)]
const SECOND_KILLS: [Option<&str>; 4] =
    [None, Some("intent-committed:1"), Some("object-complete:1"), Some("settlement-committed:1")];

#[cfg(debug_assertions)]
#[test]
fn a_record_that_fails_now_leaves_the_pending_delivery_to_the_destination() {
    let (before, now) = (json!([columns(2)]), json!([columns(1)]));
    for first in ["intent-committed:1", "object-complete:1"] {
        for (n, second) in SECOND_KILLS.into_iter().enumerate() {
            let bucket = Refusing::start("1\n2,2\n3\n4,4\n");
            let last = if n % 2 == 0 { &now } else { &before };
            bucket.lives((&before, first), (&now, second), last);
            let (fates, when) = (bucket.fates(), format!("{first}, then {second:?}"));
            assert_none_lost(&fates, ["1", "2,2", "3", "4,4"].map(String::from).into_iter(), &when);
            assert_eq!((fates["1"], fates["3"]), ((1, 0), (1, 0)), "{when}");
            if second.is_none() {
                // Where the object was there, it stays as it was, and nobody may know.
                let delivered = u32::from(first == "object-complete:1");
                assert_eq!((fates["2,2"], fates["4,4"]), ((delivered, 1), (delivered, 1)), "{when}");
            }
        }
    }
}

#[cfg(debug_assertions)]
#[test]
fn a_record_that_is_too_long_now_leaves_the_pending_delivery_to_the_destination() {
    let long = "x".repeat(3_000);
    for first in ["intent-committed:1", "object-complete:1"] {
        let bucket = Refusing::start(&format!("1\n{long}\n2\n"));
        killed_at(&bucket.scratch, &bucket.config(&json!([columns(1)])), first);
        let mut shorter = bucket.config(&json!([columns(1)]));
        shorter["delivery_streams"][0]["source"]["file"]["max_record_kb"] = 2.into();
        Hydrant::drain(&bucket.scratch, &shorter);
        let delivered = lines_in(&bucket.s3.bucket(), "ok/");
        let expected = if first == "object-complete:1" { vec!["1", "2", &long] } else { vec!["1", "2"] };
        assert_eq!(delivered, expected.iter().map(|x| format!("{{\"x\":\"{x}\"}}")).collect::<Vec<_>>(), "{first}");
        let failed = lines_in(&bucket.s3.bucket(), "errors/");
        assert!(failed.len() == 1 && failed[0].contains("Hydrant.RecordTooLarge"), "{first}: {failed:?}");
    }
}

#[cfg(debug_assertions)]
#[test]
fn a_record_that_passes_now_stays_in_the_pending_delivery_of_the_error_output() {
    let (before, now) = (json!([columns(1)]), json!([columns(2)]));
    for first in ["intent-committed:1", "object-complete:1"] {
        for second in SECOND_KILLS {
            let bucket = Refusing::start("1,1\n2,2\n");
            bucket.lives((&before, first), (&now, second), &now);
            let expected = BTreeMap::from(["1,1", "2,2"].map(|message| (message.to_owned(), (0, 1))));
            assert_eq!(bucket.fates(), expected, "{first}, then {second:?}");
        }
    }
}

#[cfg(debug_assertions)]
#[test]
fn parts_in_pending_deliveries_are_not_lost_where_nobody_may_ask() {
    const BATCHES: u32 = 3;
    for (first, before, now) in [
        ("intent-committed:2", 1, 2),
        ("object-complete:1", 2, 1),
        ("object-complete:2", 1, 3),
        ("answer-received:1", 3, 1),
    ] {
        for (n, second) in SECOND_KILLS.into_iter().enumerate() {
            let bucket = Refusing::start(&batches(BATCHES));
            let (before, now) = (messages_of(before), messages_of(now));
            let last = if n % 2 == 0 { &now } else { &before };
            bucket.lives((&before, first), (&now, second), last);
            assert_none_lost(&bucket.fates(), (0..BATCHES).flat_map(messages), &format!("{first}, then {second:?}"));
        }
    }
}

#[cfg(debug_assertions)]
#[test]
fn under_the_same_processing_each_part_arrives_once_where_nobody_may_ask() {
    const BATCHES: u32 = 3;
    let processing = messages_of(2);
    for first in ["intent-committed:1", "intent-committed:2", "object-complete:1", "object-complete:2"] {
        let bucket = Refusing::start(&batches(BATCHES));
        bucket.lives((&processing, first), (&processing, Some("object-complete:1")), &processing);
        let expected = (0..BATCHES).flat_map(|n| {
            let [one, two, three] = messages(n);
            [(one, (1, 0)), (two, (1, 0)), (three, (0, 1))]
        });
        assert_eq!(bucket.fates(), expected.collect(), "{first}");
    }
}
