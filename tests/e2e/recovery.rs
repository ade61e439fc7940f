//! What a next start finds: another configuration, a journal that is no more, deliveries in the middle of their way.

use std::path::Path;

use serde_json::Value;

use crate::support::config::blockable_directory;
use crate::support::journal::{checkpoint, deliveries, journal_path};
use crate::support::lines::Rotation;
use crate::support::s3::BUCKET;
use crate::support::scratch::{InTheWay, append};
use crate::support::{
    Fault, FaultProxy, Finished, Hydrant, Ledger, Log, Objects, S3Server, Scratch, config, delivered_lines, directory,
    objects::keys, rng::seed, s3_destination, stream, wait_until,
};

/// Kills Hydrant at the first passing of the failpoint.
#[track_caller]
pub fn killed_at(scratch: &Scratch, config: &Value, failpoint: &str) -> Finished {
    let finished = Hydrant::run_with_env(scratch, config, &[("HYDRANT_FAILPOINT", failpoint)]).wait();
    assert!(finished.killed(), "the failpoint {failpoint} kills: {finished}");
    finished
}

/// After each kill comes a start with another compression and another prefix.
fn changes_between_kill_and_start(scratch: &Scratch, bucket: &Path, destination: &Value, rounds: usize) {
    let mut log = Log::create(&scratch.logs(), "app.log", Rotation::Shift);
    let kind = destination.as_object().and_then(|object| object.keys().next()).expect("one kind").clone();
    let shapes = [
        ("none", "a/"),
        ("gzip", "b/"),
        ("zstd", "b/"),
        ("snappy", "c/"),
        ("zip", "d/"),
        ("none", "e/"),
        ("gzip", "a/"),
    ];
    let points = [
        "read:1",
        "sealed:1",
        "intent-committed:1",
        "upload-started:1",
        "object-complete:1",
        "answer-received:1",
        "settlement-committed:1",
    ];
    let configs = shapes.map(|(compression, prefix)| {
        let mut destination = destination.clone();
        destination[kind.as_str()]["prefix"] = prefix.into();
        let mut stream = stream("s", &scratch.logs().join("*.log"), destination);
        stream["compression"] = compression.into();
        config(scratch, [stream])
    });
    for round in 0..rounds {
        for (n, point) in points.iter().enumerate() {
            log.append(1_500);
            killed_at(scratch, &configs[(n + round * 3) % configs.len()], point);
        }
    }
    Hydrant::drain(scratch, &configs[1]);
    Ledger::of(&[log]).assert_exactly_once(bucket);
}

#[cfg(debug_assertions)]
#[test]
fn another_compression_and_prefix_lose_and_double_nothing_in_a_directory() {
    let scratch = Scratch::new();
    changes_between_kill_and_start(&scratch, &scratch.out(), &directory(&scratch.out()), 2);
}

#[cfg(debug_assertions)]
#[test]
fn another_compression_and_prefix_lose_and_double_nothing_in_s3() {
    let scratch = Scratch::new();
    let s3 = S3Server::start(&scratch.path("s3"));
    changes_between_kill_and_start(&scratch, &s3.bucket(), &s3_destination(&s3.endpoint(), BUCKET), 1);
}

/// The answer of every put is lost, Hydrant is killed, and the next life has to find out what is there.
fn lost_answers(conditional_put: bool) {
    let scratch = Scratch::new();
    let s3 = S3Server::start(&scratch.path("s3"));
    let proxy = FaultProxy::start(s3.address(), seed("lost answers"), &[Fault::LostAnswer]);
    let mut log = Log::create(&scratch.logs(), "app.log", Rotation::Shift);
    let mut destination = s3_destination(&proxy.endpoint(), BUCKET);
    destination["s3"]["conditional_put"] = conditional_put.into();
    let config = config(&scratch, [stream("s", &scratch.logs().join("*.log"), destination)]);
    for _ in 0..4 {
        log.append(500);
        proxy.play(&[Fault::LostAnswer]);
        let objects = keys(&s3.bucket()).len();
        let hydrant = Hydrant::run(&scratch, &config);
        wait_until("an object is there of which Hydrant knows nothing", || keys(&s3.bucket()).len() > objects);
        hydrant.kill_9();
        let lost = proxy.met(Fault::LostAnswer);
        let hydrant = Hydrant::run(&scratch, &config);
        wait_until("the next life has asked, in vain", || proxy.met(Fault::LostAnswer) > lost + 1);
        hydrant.kill_9();
        proxy.heal();
        Hydrant::drain(&scratch, &config);
        Ledger::of(std::slice::from_ref(&log)).assert_exactly_once(&s3.bucket());
    }
}

#[test]
fn a_lost_answer_is_asked_for_by_a_conditional_put() {
    lost_answers(true);
}

#[test]
fn a_lost_answer_is_looked_up_where_puts_are_not_conditional() {
    lost_answers(false);
}

#[cfg(debug_assertions)]
#[test]
fn pending_deliveries_are_read_again_however_much_the_journal_holds() {
    const LINES: usize = 44_000;
    let scratch = Scratch::new();
    scratch.log("a.log", (0..LINES).map(|n| format!("{n:01000}\n")).collect::<String>());
    let mut stream = stream("s", &scratch.logs().join("*.log"), blockable_directory(&scratch.out()));
    stream["buffering"] = serde_json::json!({ "size_mb": 5, "interval_seconds": 600 });
    let config = config(&scratch, [stream]);
    let in_the_way = InTheWay::of(&scratch.out());
    let hydrant = Hydrant::run_with_env(&scratch, &config, &[("HYDRANT_UNPASSED_MAX", "2")]);
    wait_until("many deliveries are on their way", || {
        hydrant.said("delivery refused") > 0 && deliveries(&scratch) >= 8
    });
    assert!(hydrant.kill_9().killed());
    drop(in_the_way);
    let hydrant = Hydrant::run_with_env(&scratch, &config, &[("HYDRANT_UNPASSED_MAX", "2")]);
    let is_there = || delivered_lines(&scratch.out()).len() >= LINES / 9 * 8 && deliveries(&scratch) == 0;
    wait_until("all of them are settled", is_there);
    hydrant.terminate().expect_code(0);
    let expected: Vec<String> = (0..LINES).map(|n| format!("{n:01000}")).collect();
    assert!(delivered_lines(&scratch.out()) == expected, "each line once");
}

/// A log that was delivered, and more lines that were not.
fn delivered_and_more(scratch: &Scratch, config: &Value) -> Log {
    let mut log = Log::create(&scratch.logs(), "app.log", Rotation::Shift);
    log.append(1_000);
    Hydrant::drain(scratch, config);
    log.append(1_000);
    log
}

/// Nothing is skipped; what was delivered before may be there again.
#[track_caller]
fn assert_nothing_skipped(scratch: &Scratch, log: &Log) {
    let mut lines = Objects::read(&scratch.out()).lines();
    lines.dedup();
    assert_eq!(lines.len() as u64, log.next, "lines that are there at least once");
}

#[track_caller]
fn assert_set_aside(scratch: &Scratch, finished: &Finished) {
    let aside =
        keys(&scratch.state()).into_iter().any(|name| name.starts_with("hydrant.db.") || name.contains("corrupt"));
    assert!(aside, "the broken journal is kept under another name: {:?}", keys(&scratch.state()));
    assert!(finished.stderr.contains("hydrant.db"), "and that is said: {finished}");
}

#[test]
fn a_journal_of_garbage_is_set_aside_and_the_copy_of_its_checkpoints_used() {
    let scratch = Scratch::new();
    let config = config(&scratch, [stream("s", &scratch.logs().join("*.log"), directory(&scratch.out()))]);
    let mut log = delivered_and_more(&scratch, &config);
    std::fs::write(journal_path(&scratch), "garbage ".repeat(10_000)).expect("a journal overwritten");
    let finished = Hydrant::drain(&scratch, &config);
    assert_set_aside(&scratch, &finished);
    assert_nothing_skipped(&scratch, &log);
    // No crash loop: the next start finds a journal that is whole.
    let delivered = Objects::read(&scratch.out()).lines().len();
    log.append(100);
    Hydrant::drain(&scratch, &config);
    assert_nothing_skipped(&scratch, &log);
    assert_eq!(Objects::read(&scratch.out()).lines().len(), delivered + 100, "the new journal is believed");
}

#[test]
fn a_journal_cut_in_the_middle_is_survived() {
    let scratch = Scratch::new();
    let config = config(&scratch, [stream("s", &scratch.logs().join("*.log"), directory(&scratch.out()))]);
    let log = delivered_and_more(&scratch, &config);
    let bytes = std::fs::read(journal_path(&scratch)).expect("a journal");
    std::fs::write(journal_path(&scratch), &bytes[..bytes.len() / 2]).expect("half a journal");
    Hydrant::drain(&scratch, &config);
    assert_nothing_skipped(&scratch, &log);
}

#[test]
fn without_journal_and_copy_even_latest_begins_at_the_beginning() {
    let scratch = Scratch::new();
    let mut stream = stream("s", &scratch.logs().join("*.log"), directory(&scratch.out()));
    let trim_horizon = config(&scratch, [stream.clone()]);
    stream["source"]["file"]["initial_position"] = "latest".into();
    let latest = config(&scratch, [stream]);
    let log = delivered_and_more(&scratch, &trim_horizon);
    for name in keys(&scratch.state()) {
        let path = scratch.state().join(name);
        std::fs::write(path, "garbage ".repeat(1_000)).expect("a state file overwritten");
    }
    Hydrant::drain(&scratch, &latest);
    assert_nothing_skipped(&scratch, &log);
}

#[test]
fn an_emptied_journal_counts_as_lost_and_latest_skips_nothing() {
    let scratch = Scratch::new();
    let path = scratch.log("a.log", "old\n");
    let mut stream = stream("s", &scratch.logs().join("*.log"), directory(&scratch.out()));
    stream["source"]["file"]["initial_position"] = "latest".into();
    let config = config(&scratch, [stream]);
    let hydrant = Hydrant::run(&scratch, &config);
    wait_until("the old file is seen", || hydrant.said("a file is read that was not seen before") == 1);
    append(&path, "new 1\n");
    wait_until("what comes is delivered", || delivered_lines(&scratch.out()) == ["new 1"]);
    hydrant.kill_9();
    append(&path, "new 2\n");

    std::fs::write(journal_path(&scratch), "").expect("a journal emptied");
    for beside in ["hydrant.db-wal", "hydrant.db-shm", "checkpoints.json"] {
        let _ = std::fs::remove_file(scratch.state().join(beside));
    }
    let finished = Hydrant::drain(&scratch, &config);
    let delivered = delivered_lines(&scratch.out());
    for line in ["new 1", "new 2"] {
        assert!(delivered.iter().any(|delivered| delivered == line), "{line} is in {delivered:?}: {finished}");
    }
    let notice = scratch.state().join("JOURNAL-WAS-LOST.txt");
    assert!(notice.exists(), "{:?}: {finished}", keys(&scratch.state()));
}

#[cfg(debug_assertions)]
#[test]
fn a_sigkill_while_the_first_state_database_is_made_is_no_loss() {
    let scratch = Scratch::new();
    let path = scratch.log("a.log", "old\n");
    let mut stream = stream("s", &scratch.logs().join("*.log"), directory(&scratch.out()));
    stream["source"]["file"]["initial_position"] = "latest".into();
    let config = config(&scratch, [stream]);
    killed_at(&scratch, &config, "database-made:1");
    let finished = Hydrant::drain(&scratch, &config);
    assert!(!scratch.state().join("JOURNAL-WAS-LOST.txt").exists(), "{finished}");
    append(&path, "new\n");
    Hydrant::drain(&scratch, &config);
    assert_eq!(delivered_lines(&scratch.out()), ["new"]);
}

#[cfg(debug_assertions)]
#[test]
fn a_delivery_that_turned_out_to_have_arrived_leaves_the_journal() {
    let scratch = Scratch::new();
    let path = scratch.log("a.log", "one\ntwo\n");
    let config = config(&scratch, [stream("s", &scratch.logs().join("*.log"), directory(&scratch.out()))]);
    killed_at(&scratch, &config, "object-complete:1");
    assert_eq!(deliveries(&scratch), 1);
    let hydrant = Hydrant::run(&scratch, &config);
    let size = std::fs::metadata(path).expect("the log").len();
    wait_until("the checkpoint has passed it", || deliveries(&scratch) == 0 && checkpoint(&scratch, "a.log") == size);
    hydrant.terminate().expect_code(0);
    assert_eq!(delivered_lines(&scratch.out()), ["one", "two"]);
}
