//! The crash harness: a writer appends numbered lines and rotates, Hydrant dies again and again, and in the end every
//! line is in exactly one object.
//!
//! Half of the kills come from inside, at failpoints between any two steps of a delivery; the others at random moments.
//! `HYDRANT_CRASH_KILLS` sets their number, `HYDRANT_TEST_SEED` repeats a run's choices (not the machine's timing).

use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::Value;

use crate::support::lines::{Rotation, present_file_was_delivered};
use crate::support::rng::seed;
use crate::support::s3::BUCKET;
use crate::support::wait::holds_within;
use crate::support::{
    DEADLINE, Fault, FaultProxy, Hydrant, Ledger, Log, Objects, Rng, S3Server, Scratch, config, directory,
    s3_destination, stream,
};

/// Where a debug build kills itself when `HYDRANT_FAILPOINT` names one of them and a count.
pub const FAILPOINTS: [&str; 7] = [
    "read",
    "sealed",
    "intent-committed",
    "upload-started",
    "object-complete",
    "answer-received",
    "settlement-committed",
];

fn kills(default: u64) -> u64 {
    let number = std::env::var("HYDRANT_CRASH_KILLS").ok();
    number.map_or(default, |text| text.parse().expect("HYDRANT_CRASH_KILLS is a number"))
}

#[test]
fn kills_lose_and_double_nothing_in_a_directory() {
    let seed = seed("crash into a directory");
    let scratch = Scratch::new();
    let destination = directory(&scratch.out());
    Harness::new(&scratch, &scratch.out(), destination, seed, kills(60)).run();
}

#[test]
fn kills_lose_and_double_nothing_in_s3() {
    let seed = seed("crash into S3");
    let scratch = Scratch::new();
    let s3 = S3Server::start(&scratch.path("s3"));
    let destination = s3_destination(&s3.endpoint(), BUCKET);
    Harness::new(&scratch, &s3.bucket(), destination, seed, kills(40)).run();
}

#[test]
fn kills_between_faults_lose_and_double_nothing_in_s3() {
    let seed = seed("crash between faults");
    let scratch = Scratch::new();
    let s3 = S3Server::start(&scratch.path("s3"));
    let faults = [Fault::FLEETING.as_slice(), &[Fault::Pass; 6]].concat();
    let proxy = FaultProxy::start(s3.address(), seed, &faults);
    let mut destination = s3_destination(&proxy.endpoint(), BUCKET);
    destination["s3"]["request_timeout_seconds"] = 1.into();
    Harness::new(&scratch, &s3.bucket(), destination, seed, kills(20)).run_then(|| proxy.heal());
    for fault in Fault::FLEETING {
        println!("{fault:?} met {} times", proxy.met(fault));
    }
}

/// What is read again is read in the batches of earlier lives, and checkpoints wait for whole ones.
#[test]
fn kills_lose_and_double_nothing_with_a_transform_in_the_path() {
    let seed = seed("crash with a transform");
    let scratch = Scratch::new();
    let component = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/components/hostile.wasm");
    // It passes every record on as it is.
    let processing = serde_json::json!([{ "wasm": { "component": component } }]);
    let bucket = scratch.out();
    Harness { processing, ..Harness::new(&scratch, &bucket, directory(&bucket), seed, kills(30)) }.run();
}

/// Rows of some fifty partitions, in Parquet.
#[test]
fn kills_lose_and_double_nothing_in_partitions_of_parquet() {
    let seed = seed("crash with partitions of Parquet");
    let scratch = Scratch::new();
    let bucket = scratch.out();
    let mut destination = directory(&bucket);
    destination["directory"]["prefix"] = "length=!{partitionKeyFromQuery:length}/".into();
    destination["directory"]["error_output_prefix"] = "failed/!{firehose:error-output-type}/".into();
    let more = serde_json::json!({
        "partitioning": { "keys": { "length": "(.line | length) % 50" } },
        "format_conversion": { "schema": { "inline": [{ "name": "line", "type": "string" }] } },
    });
    // The line becomes a field.
    let processing = serde_json::json!([{ "log_to_json": { "pattern": "(?<line>.*)" } }]);
    Harness { processing, more, ..Harness::new(&scratch, &bucket, destination, seed, kills(30)) }.run();
}

/// Each line becomes three rows, of which no two go to the same of some fifty partitions.
#[test]
fn kills_lose_and_double_nothing_of_a_record_that_is_split_over_partitions() {
    let seed = seed("crash with split records");
    let scratch = Scratch::new();
    let bucket = scratch.out();
    let mut destination = directory(&bucket);
    destination["directory"]["prefix"] =
        "part=!{partitionKeyFromQuery:part}/length=!{partitionKeyFromQuery:length}/".into();
    destination["directory"]["error_output_prefix"] = "failed/!{firehose:error-output-type}/".into();
    let more = serde_json::json!({
        "partitioning": { "keys": { "part": ".part", "length": "(.of | length) % 17" } },
        "format_conversion": { "schema": { "inline": [
            { "name": "of", "type": "string" }, { "name": "part", "type": "int" },
        ] } },
    });
    let component = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/components/hostile.wasm");
    let split = serde_json::json!({ "component": component, "config": { "transform": "split", "amount": 3 } });
    let processing = serde_json::json!([{ "wasm": split }]);
    let harness = Harness::new(&scratch, &bucket, destination, seed, kills(30));
    Harness { processing, more, folders: &["part=0", "part=1", "part=2"], ..harness }.run();
}

struct Harness<'a> {
    scratch: &'a Scratch,
    bucket: &'a Path,
    /// Of the bucket: each has every line once.
    folders: &'a [&'a str],
    destination: Value,
    processing: Value,
    /// Of the delivery stream.
    more: Value,
    seed: u64,
    kills: u64,
}

impl<'a> Harness<'a> {
    fn new(scratch: &'a Scratch, bucket: &'a Path, destination: Value, seed: u64, kills: u64) -> Self {
        Self {
            scratch,
            bucket,
            folders: &[""],
            destination,
            processing: serde_json::json!([]),
            more: serde_json::json!({}),
            seed,
            kills,
        }
    }

    fn run(self) {
        self.run_then(|| ());
    }

    /// Kills and restarts, then lets `heal` mend the destination, drains, and checks every line.
    fn run_then(self, heal: impl FnOnce()) {
        let mut rng = Rng::new(self.seed);
        let config = self.config(&mut rng);
        let writer = Writer::new(self.scratch, self.bucket, rng.next());
        let by_failpoint = std::thread::scope(|threads| {
            threads.spawn(|| writer.write());
            let _stop = StopOnDrop(&writer.stop);
            self.kill_again_and_again(&config, &mut rng)
        });
        println!("{} kills, of them {by_failpoint} at failpoints", self.kills);
        heal();
        Hydrant::drain(self.scratch, &config);
        let (ledger, objects) = writer.finish();
        println!("{} lines, {} objects seen on the way", ledger.total(), objects.len());
        assert!(ledger.total() > self.kills * 10, "the writer wrote");
        objects.check_unchanged();
        for folder in self.folders {
            ledger.assert_exactly_once(&self.bucket.join(folder));
        }
    }

    fn config(&self, rng: &mut Rng) -> Value {
        let logs = self.scratch.logs();
        let mut stream = stream("crash", &logs.join("app*.log*"), self.destination.clone());
        stream["source"]["file"]["paths"] = serde_json::json!([logs.join("app*.log*"), logs.join("out.log")]);
        stream["processing"] = self.processing.clone();
        let compression = if rng.one_in(2) { "gzip" } else { "none" };
        match self.more.as_object().filter(|more| !more.is_empty()) {
            Some(more) => more.iter().for_each(|(key, value)| stream[key] = value.clone()),
            None => stream["compression"] = compression.into(),
        }
        config(self.scratch, [stream])
    }

    /// Every other kill comes from a failpoint, each in its turn; the rest at a random moment of the life.
    fn kill_again_and_again(&self, config: &Value, rng: &mut Rng) -> u64 {
        let mut by_failpoint = 0;
        for n in 0..self.kills {
            let failpoint = (cfg!(debug_assertions) && n % 2 == 0).then(|| {
                let name = FAILPOINTS[(n / 2) as usize % FAILPOINTS.len()];
                format!("{name}:{}", rng.between(1, if name == "read" { 12 } else { 5 }))
            });
            let env: Vec<_> = failpoint.iter().map(|point| ("HYDRANT_FAILPOINT", point.as_str())).collect();
            let mut hydrant = Hydrant::run_with_env(self.scratch, config, &env);
            let life = match failpoint {
                Some(_) => DEADLINE,
                None => Duration::from_millis(rng.between(1, 1_000)),
            };
            let by_itself = hydrant.ends_within(life);
            assert_eq!(by_itself, failpoint.is_some(), "kill {n}, failpoint {failpoint:?}");
            let finished = hydrant.kill_9();
            assert!(finished.killed(), "kill {n}, failpoint {failpoint:?}: {finished}");
            by_failpoint += u64::from(by_itself);
        }
        by_failpoint
    }
}

/// Writes in its own thread until it is stopped, and keeps the account.
struct Writer<'a> {
    stop: AtomicBool,
    state: Mutex<(Vec<Log>, Objects, Rng)>,
    scratch: &'a Scratch,
}

impl<'a> Writer<'a> {
    fn new(scratch: &'a Scratch, bucket: &Path, seed: u64) -> Self {
        let logs = vec![
            Log::create(&scratch.logs(), "app.log", Rotation::Shift),
            Log::create(&scratch.logs(), "app-two.log", Rotation::Shift),
            Log::create(&scratch.logs(), "out.log", Rotation::OutOfTheGlob),
        ];
        let state = Mutex::new((logs, Objects::of(bucket), Rng::new(seed)));
        Self { stop: AtomicBool::new(false), state, scratch }
    }

    fn write(&self) {
        let mut state = self.state.lock().expect("no holder panics");
        let (logs, objects, rng) = &mut *state;
        loop {
            let pause = Duration::from_millis(rng.between(1, 60));
            if holds_within(pause, || self.stop.load(Ordering::Relaxed)) {
                return;
            }
            let n = rng.between(0, logs.len() as u64) as usize;
            let log = &mut logs[n];
            log.append_in_two_writes(rng.between(1, 120), rng);
            if rng.one_in(20) {
                objects.look();
                // A file that nobody has seen cannot be followed out of the glob.
                if log.rotation() == Rotation::Shift || present_file_was_delivered(log, objects) {
                    log.rotate();
                }
            }
        }
    }

    fn finish(self) -> (Ledger, Objects) {
        let (logs, mut objects, _) = self.state.into_inner().expect("no holder panics");
        println!(
            "rotations: {:?}, in {}",
            logs.iter().map(|log| log.generation).collect::<Vec<_>>(),
            self.scratch.root().display()
        );
        objects.look();
        (Ledger::of(&logs), objects)
    }
}

/// The writer ends when the killing ends, also when that is by a panic.
struct StopOnDrop<'a>(&'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
