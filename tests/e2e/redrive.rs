//! Redrive: what has failed arrives once the reason is gone, each record exactly once, whatever is killed meanwhile.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::conversion::columns;
use crate::support::admin::{free_address, get, post, wait_for};
use crate::support::hydrant::{config_path, write_config};
use crate::support::lines::{LineId, Rotation};
use crate::support::objects::{keys, rows};
use crate::support::rng::seed;
use crate::support::s3::BUCKET;
use crate::support::{
    DEADLINE, Endpoint, Hydrant, Log, Objects, Reaction, Rng, S3Server, Scratch, config, delivered_lines, directory,
    s3_destination, stream, wait_until,
};

pub const FAILPOINTS: [&str; 10] = [
    "objects-registered",
    "read",
    "sealed",
    "intent-committed",
    "request-sent",
    "request-journalled",
    "child-journalled",
    "child-put",
    "answer-received",
    "settlement-committed",
];

/// Points that a stream to objects comes by.
const FAILPOINTS_OF_OBJECTS: [&str; 7] = [
    "objects-registered",
    "read",
    "sealed",
    "intent-committed",
    "upload-started",
    "object-complete",
    "settlement-committed",
];

pub fn kills(default: u64) -> u64 {
    let number = std::env::var("HYDRANT_CRASH_KILLS").ok();
    number.map_or(default, |text| text.parse().expect("HYDRANT_CRASH_KILLS is a number"))
}

/// `hydrant redrive` of a delivery stream, with more options.
pub fn redrive(scratch: &Scratch, stream: &str, options: &[&str], env: &[(&str, &str)]) -> Hydrant {
    let path = config_path(scratch);
    let mut args =
        vec!["redrive".as_ref(), "--stream".as_ref(), stream.as_ref(), "--config".as_ref(), path.as_os_str()];
    args.extend(options.iter().map(std::ffi::OsStr::new));
    Hydrant::start(scratch, &args, env)
}

/// Redrives until nothing fails any more.
#[track_caller]
pub fn redrive_all(scratch: &Scratch, stream: &str) {
    for _ in 0..30 {
        let finished = redrive(scratch, stream, &[], &[]).wait();
        match finished.status.code() {
            Some(0) => return,
            Some(1) if finished.stderr.contains("failed again") => {}
            _ => panic!("{finished}"),
        }
    }
    panic!("records fail again and again");
}

/// `*.log` → the endpoint, with one attempt for each request.
fn to_endpoint(scratch: &Scratch, endpoint: &Endpoint) -> Value {
    let http = json!({ "url": endpoint.url(), "retry_seconds": 0, "max_records": 20, "response_timeout_seconds": 5 });
    let mut stream = stream("web", &scratch.logs().join("*.log"), json!({ "http_endpoint": http }));
    stream["backup"] = directory(&scratch.backup());
    stream["backup"]["error_output_prefix"] = "!{firehose:error-output-type}/!{timestamp:yyyy}/".into();
    config(scratch, [stream])
}

fn envelopes(scratch: &Scratch) -> Vec<Value> {
    let lines = Objects::read(&scratch.backup()).lines();
    lines.iter().map(|line| serde_json::from_str(line).expect("an envelope")).collect()
}

fn raw(envelope: &Value) -> String {
    let raw = STANDARD.decode(envelope["rawData"].as_str().expect("a text")).expect("base64");
    String::from_utf8(raw).expect("the tests send text")
}

/// Kills redrives, and daemons that finish what a killed one has begun, one after the other.
pub fn kill_again_and_again(
    scratch: &Scratch,
    stream: &str,
    points: &[&str],
    rng: &mut Rng,
    (kills, rate): (u64, &str),
) {
    let (mut by_failpoint, mut ended) = (0, 0);
    for n in 0..kills {
        let failpoint = (cfg!(debug_assertions) && n % 3 != 2)
            .then(|| format!("{}:{}", points[(n - n / 3) as usize % points.len()], rng.between(1, 3)));
        let env: Vec<_> = failpoint.iter().map(|point| ("HYDRANT_FAILPOINT", point.as_str())).collect();
        // Slow enough that most are killed in the middle.
        let rate = ["--rate", rate];
        let mut hydrant = match n % 4 {
            3 => {
                let path = config_path(scratch);
                Hydrant::start(scratch, &["run".as_ref(), "--config".as_ref(), path.as_os_str()], &env)
            }
            _ => redrive(scratch, stream, &rate, &env),
        };
        let life = match failpoint {
            // Not every life comes by every point.
            Some(_) => Duration::from_secs(3).min(DEADLINE),
            None => Duration::from_millis(rng.between(500, 2_500)),
        };
        let has_ended = hydrant.ends_within(life);
        let finished = hydrant.kill_9();
        by_failpoint += u64::from(has_ended && finished.killed());
        ended += u64::from(!finished.killed());
        let is_well = finished.killed() || matches!(finished.status.code(), Some(0 | 1));
        assert!(is_well && !finished.stderr.contains("does not balance"), "kill {n}, {failpoint:?}: {finished}");
    }
    assert!(ended <= kills / 2, "{ended} of {kills} were not killed in the middle");
    println!("{kills} kills, of them {by_failpoint} at failpoints; {ended} had come to their end before");
}

#[test]
fn what_an_absent_endpoint_has_not_taken_arrives_once_when_it_is_back() {
    let seed = seed("redrive to an endpoint");
    let (scratch, endpoint, mut rng) = (Scratch::new(), Endpoint::start(), Rng::new(seed));
    endpoint.behave(|_, _| Reaction::Refuse(503, &[]));
    let config = to_endpoint(&scratch, &endpoint);
    let mut log = Log::create(&scratch.logs(), "app.log", Rotation::OutOfTheGlob);
    let kills = kills(60);
    for _ in 0..kills.div_ceil(7) {
        log.append(500);
        Hydrant::drain(&scratch, &config);
    }
    let first = envelopes(&scratch);
    assert_eq!((first.len() as u64, endpoint.count()), (log.next, 0));

    // It is back, but for one request in eight; what a request meets follows from its id.
    endpoint.behave(|request, _| {
        let number = request.id.bytes().fold(7_u64, |hash, byte| Rng::new(hash ^ u64::from(byte)).next());
        match number % 8 {
            0 => Reaction::Refuse(500, &[]),
            1 if request.records.len() > 3 => Reaction::Refuse(413, &[]),
            _ => Reaction::Accept,
        }
    });
    kill_again_and_again(&scratch, "web", &FAILPOINTS, &mut rng, (kills, "100"));
    redrive_all(&scratch, "web");
    endpoint.assert_no_complaints();
    let mut found = BTreeMap::<LineId, u32>::new();
    for line in endpoint.lines() {
        *found.entry(LineId::parse(&line).expect("a whole line")).or_default() += 1;
    }
    let doubled: Vec<_> = found.iter().filter(|(_, count)| **count > 1).collect();
    assert!(doubled.is_empty(), "{} lines twice, the first {:?}", doubled.len(), doubled[0]);
    assert_eq!(found.len() as u64, log.next, "every line has arrived");

    // What failed again has its old id and arrival, and more attempts.
    let mut known = BTreeMap::<String, Vec<Value>>::new();
    for envelope in envelopes(&scratch) {
        known.entry(raw(&envelope)).or_default().push(envelope);
    }
    let again = known.values().filter(|all| all.len() > 1).count();
    assert!(again > 0 && known.len() as u64 == log.next);
    for all in known.values() {
        let of = |field: &str| all.iter().map(|envelope| envelope[field].to_string()).collect::<BTreeSet<_>>();
        assert_eq!((of("dataId").len(), of("arrivalTimestamp").len()), (1, 1), "{all:?}");
        assert_eq!(of("attemptsMade").len(), all.len(), "{all:?}");
    }

    let received = endpoint.received().len();
    let finished = redrive(&scratch, "web", &[], &[]).wait().expect_code(0);
    assert_eq!(endpoint.received().len(), received, "nothing is sent a second time: {finished}");
    assert!(finished.stderr.contains("redriven before"), "{finished}");
}

/// Four configurations of one delivery stream: three of them wrong, each at another stage.
fn stages(scratch: &Scratch, s3: &S3Server, processing: Value, key: &str, schema: Option<&[(&str, &str)]>) -> Value {
    let mut destination = s3_destination(&s3.endpoint(), BUCKET);
    destination["s3"]["prefix"] = "p/c=!{partitionKeyFromQuery:c}/".into();
    destination["s3"]["error_output_prefix"] = "failed/!{firehose:error-output-type}/".into();
    let mut stream = stream("web", &scratch.logs().join("*.log"), destination);
    stream["processing"] = processing;
    stream["partitioning"] = json!({ "keys": { "c": key } });
    if let Some(schema) = schema {
        stream["format_conversion"] = columns(schema);
    }
    let config = config(scratch, [stream]);
    write_config(scratch, &config);
    config
}

fn failed_lines(bucket: &Path, error_type: &str) -> usize {
    let folder = format!("failed/{error_type}/");
    let objects = keys(bucket).into_iter().filter(|key| key.starts_with(&folder));
    objects.map(|key| std::fs::read_to_string(bucket.join(key)).expect("an object").lines().count()).sum()
}

#[test]
fn what_a_wrong_configuration_has_failed_is_delivered_once_by_a_mended_one() {
    let seed = seed("redrive with mended configuration");
    let (scratch, mut rng) = (Scratch::new(), Rng::new(seed));
    let s3 = S3Server::start(&scratch.path("s3"));
    let csv = json!([{ "csv_to_json": { "columns": ["n", "c"] } }]);
    let kills = kills(40);
    // Of each kind, as many as are not sent before the last kill.
    let count = kills as usize * 18;
    let lines = |from: usize| (from..from + count).map(|n| format!("x{n},c{}\n", n % 3)).collect::<String>();
    scratch.log("a.log", lines(0));
    Hydrant::drain(&scratch, &stages(&scratch, &s3, json!([{ "json": {} }]), ".c", None));
    scratch.log("b.log", lines(count));
    Hydrant::drain(&scratch, &stages(&scratch, &s3, csv.clone(), ".d", None));
    scratch.log("c.log", lines(2 * count));
    Hydrant::drain(&scratch, &stages(&scratch, &s3, csv.clone(), ".c", Some(&[("n", "int"), ("c", "string")])));
    let bucket = s3.bucket();
    let by_type = |error_type: &str| failed_lines(&bucket, error_type);
    let types = ["processing-failed", "metadata-extraction-failed", "format-conversion-failed"];
    assert_eq!(types.map(by_type), [count; 3]);

    stages(&scratch, &s3, csv, ".c", Some(&[("n", "string"), ("c", "string")]));
    kill_again_and_again(&scratch, "web", &FAILPOINTS_OF_OBJECTS, &mut rng, (kills, "60"));
    redrive(&scratch, "web", &[], &[]).wait().expect_code(0);
    let mut found = Vec::new();
    for key in keys(&bucket).into_iter().filter(|key| key.starts_with("p/")) {
        for row in rows(&std::fs::read(bucket.join(&key)).expect("an object")) {
            let (n, c) = (row["n"].as_str().expect("a text"), row["c"].as_str().expect("a text"));
            assert!(key.starts_with(&format!("p/c={c}/web-")), "{key}: {row}");
            found.push(n.strip_prefix('x').and_then(|n| n.parse::<usize>().ok()).expect("a number"));
        }
    }
    found.sort_unstable();
    assert_eq!(found, (0..3 * count).collect::<Vec<_>>());
    assert_eq!(types.map(by_type), [count; 3], "nothing fails again");
}

#[test]
fn beside_its_stream_a_redrive_goes_on_through_a_reload_and_a_restart() {
    let (scratch, address) = (Scratch::new(), free_address());
    let lines = |name: &str, count: usize| (0..count).map(|n| format!("{name} {n:03}\n")).collect::<String>();
    let destination =
        json!({ "directory": { "path": scratch.out(), "prefix": "data/", "error_output_prefix": "errors/" } });
    let mut web = stream("web", &scratch.logs().join("*.log"), destination);
    web["processing"] = json!([{ "json": {} }]);
    scratch.log("a.log", lines("a", 300));
    Hydrant::drain(&scratch, &config(&scratch, [web.clone()]));
    web["processing"] = json!([]);
    let delivered = || delivered_lines(&scratch.out().join("data"));
    assert!(delivered().is_empty());

    let configured = |web: &Value| {
        let mut config = config(&scratch, [web.clone()]);
        config["admin"] = json!({ "listen": address });
        config
    };
    let hydrant = Hydrant::run(&scratch, &configured(&web));
    wait_for(address);
    let request = r#"{"stream":"web","rate":20}"#;
    assert_eq!(post(address, "/redrive", request).expect("an answer").status, 202);
    assert_eq!(post(address, "/redrive", request).expect("an answer").status, 409);
    assert_eq!(post(address, "/redrive", r#"{"stream":"app"}"#).expect("an answer").status, 404);
    scratch.log("b.log", lines("b", 10));
    wait_until("both are delivered", || {
        let delivered = delivered();
        let of = |name: &str| delivered.iter().filter(|line| line.starts_with(name)).count();
        of("a ") > 20 && of("b ") == 10
    });
    web["buffering"]["size_mb"] = 0.2.into();
    write_config(&scratch, &configured(&web));
    hydrant.signal(Signal::HUP);
    wait_until("the configuration was read again", || hydrant.said("the configuration was read again") > 0);
    let before = delivered().len();
    wait_until("it goes on", || delivered().len() > (before + 20).min(309));
    hydrant.terminate().expect_code(0);
    println!("{} of 310 were delivered before the restart", delivered().len());

    let hydrant = Hydrant::run(&scratch, &configured(&web));
    wait_for(address);
    wait_until("everything is delivered", || delivered().len() >= 310);
    wait_until("it has come to its end", || {
        let reports = get(address, "/redrive").expect("an answer").json();
        reports["redrives"].as_array().expect("a list").iter().all(|report| report["state"] == "done")
    });
    let found = delivered();
    let expected = lines("a", 300) + &lines("b", 10);
    assert_eq!(found, expected.lines().collect::<Vec<_>>());
    let finished = hydrant.terminate().expect_code(0);
    assert!(!finished.stderr.contains("does not balance"), "{finished}");
}
