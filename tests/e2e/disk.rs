//! A full disk pauses the delivery stream, which goes on when there is room.
//!
//! The disk is a small tmpfs that only the child sees, in a mount namespace of its own; the test looks into it through
//! `/proc/<pid>/root`.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::support::hydrant::{binary, command, write_config};
use crate::support::lines::Rotation;
use crate::support::{Hydrant, Ledger, Log, Objects, Scratch, config, directory, stream, wait_until};

/// Where namespaces may not be made there is no small disk; where servers are required that fails.
fn namespaces_work() -> bool {
    let probe = Command::new("unshare").args(["--mount", "--map-root-user", "true"]).output();
    if probe.is_ok_and(|output| output.status.success()) {
        return true;
    }
    assert!(std::env::var("HYDRANT_REQUIRE_SERVERS").as_deref() != Ok("1"), "`unshare --mount --map-root-user` fails");
    eprintln!("skipped, `unshare --mount --map-root-user` fails: allow user namespaces, or run as root");
    false
}

/// `hydrant run` with 4 MB of room in `folder`.
fn run_on_a_small_disk(scratch: &Scratch, config: &Value, folder: &Path) -> Hydrant {
    std::fs::create_dir_all(folder).expect("a folder to mount on");
    let config = write_config(scratch, config);
    let mut command = command("unshare", scratch);
    command.args(["--mount", "--map-root-user", "sh", "-euc"]);
    command.arg("mount -t tmpfs -o size=4m tmpfs \"$1\"; touch \"$1/mounted\"; exec \"$2\" run --config \"$3\"");
    command.arg("sh").arg(folder).arg(binary()).arg(config);
    Hydrant::spawn(scratch, command)
}

/// The folder as the child sees it, once its disk is there.
fn inside(hydrant: &Hydrant, folder: &Path) -> PathBuf {
    let root = PathBuf::from(format!("/proc/{}/root", hydrant.pid()));
    let folder = root.join(folder.strip_prefix("/").expect("an absolute path"));
    wait_until("the small disk is mounted", || folder.join("mounted").exists());
    std::fs::remove_file(folder.join("mounted")).expect("the mark is ours");
    folder
}

/// Fills what room there is.
fn fill(folder: &Path) -> PathBuf {
    let path = folder.join("ballast");
    let mut file = File::create(&path).expect("a file on the small disk");
    for size in [64 << 10, 4 << 10, 256, 1] {
        while file.write_all(&vec![b'x'; size]).is_ok() {}
    }
    path
}

/// Everything written so far but the ballast; uncompressed, so that much is needed.
fn all_is_there(ledger: &Ledger, folder: &Path) -> bool {
    ledger.verify(&Objects::read(folder)).is_ok()
}

#[test]
fn a_full_destination_pauses_the_stream() {
    if !namespaces_work() {
        return;
    }
    let scratch = Scratch::new();
    let mut log = Log::create(&scratch.logs(), "a.log", Rotation::Shift);
    let config = config(&scratch, [stream("s", &scratch.logs().join("*.log"), directory(&scratch.out()))]);
    let hydrant = run_on_a_small_disk(&scratch, &config, &scratch.out());
    let out = inside(&hydrant, &scratch.out());
    let ballast = fill(&out);
    log.append(5_000);
    wait_until("the full disk is in the log", || hydrant.stderr().contains("ENOSPC"));
    std::fs::remove_file(ballast).expect("the ballast is ours");
    let ledger = Ledger::of(&[log]);
    wait_until("all is delivered", || all_is_there(&ledger, &out));
    hydrant.terminate().expect_code(0);
}

#[test]
fn a_full_state_dir_pauses_the_stream() {
    if !namespaces_work() {
        return;
    }
    let scratch = Scratch::new();
    let mut log = Log::create(&scratch.logs(), "a.log", Rotation::Shift);
    let config = config(&scratch, [stream("s", &scratch.logs().join("*.log"), directory(&scratch.out()))]);
    let hydrant = run_on_a_small_disk(&scratch, &config, &scratch.state());
    let state = inside(&hydrant, &scratch.state());
    log.append(100);
    let ledger = Ledger::of(std::slice::from_ref(&log));
    wait_until("it works while there is room", || all_is_there(&ledger, &scratch.out()));
    let ballast = fill(&state);
    let said = hydrant.stderr().len();
    // SQLite may have room left in files of its own: write until it has used that up.
    wait_until("the full disk is in the log", || {
        log.append(20);
        hydrant.stderr().len() > said
    });
    log.append(500);
    std::fs::remove_file(ballast).expect("the ballast is ours");
    let ledger = Ledger::of(&[log]);
    wait_until("all is delivered", || all_is_there(&ledger, &scratch.out()));
    hydrant.terminate().expect_code(0);
}
