//! Without file system events: lines, new files and rotation are seen all the same.
//!
//! The limits are lowered for a user namespace of its own, so nothing else on the machine is concerned.

use std::process::Command;

use crate::support::lines::Rotation;
use crate::support::{Hydrant, Ledger, Log, Objects, Scratch, config, directory, stream, wait_until};

/// Whether limits can be lowered here; where tests must not be skipped, it has to be so.
fn can_lower_limits() -> bool {
    let output = Command::new("unshare").args(["--user", "--map-root-user", "true"]).output();
    if output.as_ref().is_ok_and(|output| output.status.success()) {
        return true;
    }
    let required = std::env::var("HYDRANT_REQUIRE_SERVERS").is_ok_and(|value| value == "1");
    assert!(!required, "no user namespaces here, and HYDRANT_REQUIRE_SERVERS=1: {output:?}");
    eprintln!("skipped: `unshare --user` is not allowed here");
    false
}

/// A daemon under `limit` of zero sees all that happens to a log, after it has said that it polls.
fn polls(limit: &str, says: &str) {
    if !can_lower_limits() {
        return;
    }
    let scratch = Scratch::new();
    let mut log = Log::create(&scratch.logs(), "app.log", Rotation::Shift);
    log.append(100);
    let config = config(&scratch, [stream("s", &scratch.logs().join("*.log*"), directory(&scratch.out()))]);
    let hydrant = Hydrant::run_with_limit(&scratch, &config, limit);
    let delivered = |log: &Log| Objects::read(&scratch.out()).lines_total() as u64 == log.next;
    wait_until("what was there is delivered", || delivered(&log));
    assert_eq!(hydrant.said(says), 1);
    log.append(100);
    wait_until("what was appended is delivered", || delivered(&log));
    log.rotate();
    log.append(100);
    wait_until("the new file is delivered", || delivered(&log));
    hydrant.terminate().expect_code(0);
    Ledger::of(&[log]).assert_exactly_once(&scratch.out());
}

#[test]
fn without_an_inotify_instance_files_are_polled() {
    polls("max_inotify_instances", "no file system events here; polling instead");
}

#[test]
fn without_a_watch_left_files_are_polled() {
    polls("max_inotify_watches", "the folder cannot be watched; polling instead");
}
