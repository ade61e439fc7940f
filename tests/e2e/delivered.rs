//! `hydrant delivered`: status 0 only for files of which every delivery stream has delivered everything.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::Path;

use serde_json::{Value, json};

use crate::support::config::blockable_directory;
use crate::support::hydrant::write_config;
use crate::support::scratch::{InTheWay, append};
use crate::support::{
    Finished, Hydrant, Scratch, config, delivered_lines, directory, fast_buffering, objects::keys, stream, wait_until,
};

/// `hydrant delivered` with the configuration that the last `run` had.
fn delivered(scratch: &Scratch, options: &[&str], file: &Path) -> Finished {
    let path = scratch.path("hydrant.yaml");
    let mut args = vec!["delivered".as_ref(), "--config".as_ref(), path.as_os_str()];
    args.extend(options.iter().map(std::ffi::OsStr::new));
    args.push(file.as_os_str());
    Hydrant::start(scratch, &args, &[]).wait()
}

/// What it says of a file in each delivery stream, as [stream, state, [bytes, records] delivered, in flight and unread].
#[track_caller]
fn told(scratch: &Scratch, file: &Path, code: i32) -> Vec<Value> {
    let finished = delivered(scratch, &["--json"], file).expect_code(code);
    let lines = finished.stdout.lines().map(|line| serde_json::from_str::<Value>(line).expect("a JSON object"));
    lines
        .map(|line| {
            assert_eq!(line["file"], file.to_str().expect("names here are UTF-8"));
            let amount = |key: &str| json!([line[key]["bytes"], line[key]["records"]]);
            json!([line["stream"], line["state"], amount("delivered"), amount("in_flight"), amount("unread")])
        })
        .collect()
}

fn one_stream(scratch: &Scratch) -> Value {
    config(scratch, [stream("s", &scratch.logs().join("*.log"), directory(&scratch.out()))])
}

#[test]
fn a_file_is_delivered_when_all_of_it_is_and_its_half_line_is_unread() {
    let scratch = Scratch::new();
    let log = scratch.log("a.log", "one\ntwo\n");
    let config = one_stream(&scratch);
    Hydrant::drain(&scratch, &config);
    assert_eq!(told(&scratch, &log, 0), [json!(["s", "delivered", [8, 2], [0, 0], [0, 0]])]);
    let finished = delivered(&scratch, &[], &log).expect_code(0);
    let rows: Vec<Vec<&str>> = finished.stdout.lines().map(|line| line.split('\t').collect()).collect();
    let [header, row] = rows.as_slice() else { panic!("a header and a line: {finished}") };
    assert_eq!(header.len(), row.len());
    assert_eq!(row[1..], ["s", "delivered", "8", "8", "2", "0", "0", "0", "0", "0", "0"]);
    assert!(finished.stderr.is_empty(), "nothing to explain: {finished}");

    append(&log, "three\nha");
    assert_eq!(told(&scratch, &log, 1), [json!(["s", "not_delivered", [8, 2], [0, 0], [8, 2]])]);
    let hydrant = Hydrant::run(&scratch, &config);
    wait_until("the whole line is delivered", || delivered_lines(&scratch.out()).contains(&"three".to_owned()));
    hydrant.terminate().expect_code(0);
    assert_eq!(told(&scratch, &log, 1), [json!(["s", "not_delivered", [14, 3], [0, 0], [2, 1]])]);
    let quiet = delivered(&scratch, &["--quiet"], &log).expect_code(1);
    assert!(quiet.stdout.is_empty() && quiet.stderr.contains("2 bytes are unread"), "{quiet}");
}

#[test]
fn what_waits_for_its_destination_is_in_flight_and_then_delivered_while_the_daemon_runs() {
    let scratch = Scratch::new();
    let log = scratch.log("a.log", "one\ntwo\n");
    let in_the_way = InTheWay::of(&scratch.out());
    let glob = scratch.logs().join("*.log");
    let hydrant = Hydrant::run(&scratch, &config(&scratch, [stream("s", &glob, blockable_directory(&scratch.out()))]));
    let in_flight = [json!(["s", "not_delivered", [0, 0], [8, 2], [0, 0]])];
    wait_until("it is in flight", || scratch.state().exists() && told(&scratch, &log, 1) == in_flight);
    drop(in_the_way);
    wait_until("it is delivered", || delivered(&scratch, &["-q"], &log).status.success());
    assert_eq!(delivered_lines(&scratch.out()), ["one", "two"]);
    hydrant.terminate().expect_code(0);
}

#[test]
fn what_was_on_its_way_when_the_daemon_was_killed_is_in_flight() {
    let scratch = Scratch::new();
    let log = scratch.log("a.log", "one\ntwo\n");
    let config = one_stream(&scratch);
    for failpoint in ["intent-committed:1", "object-complete:1"] {
        let finished = Hydrant::run_with_env(&scratch, &config, &[("HYDRANT_FAILPOINT", failpoint)]).wait();
        assert!(finished.killed(), "{failpoint}: {finished}");
        let in_flight = [json!(["s", "not_delivered", [0, 0], [8, 2], [0, 0]])];
        assert_eq!(told(&scratch, &log, 1), in_flight, "{failpoint}");
    }
    Hydrant::drain(&scratch, &config);
    delivered(&scratch, &["--quiet"], &log).expect_code(0);
}

#[test]
fn every_stream_that_matches_the_file_counts() {
    let scratch = Scratch::new();
    let (both, one) = (scratch.log("a.log", "one\n"), scratch.log("b.log", "two\n"));
    let free = stream("free", &scratch.logs().join("*.log"), directory(&scratch.out()));
    Hydrant::drain(&scratch, &config(&scratch, [free.clone()]));
    let late = stream("late", &both, directory(&scratch.path("late")));
    write_config(&scratch, &config(&scratch, [free, late]));
    let never_seen = json!(["late", "never_seen", [0, 0], [0, 0], [4, 1]]);
    assert_eq!(told(&scratch, &both, 1), [json!(["free", "delivered", [4, 1], [0, 0], [0, 0]]), never_seen]);
    assert_eq!(told(&scratch, &one, 0).len(), 1);

    // Under another name, by which only one of the streams finds it, it is the same file.
    let link = scratch.path("link");
    std::os::unix::fs::symlink(&both, &link).expect("a link");
    assert_eq!(told(&scratch, &link, 1).len(), 2);
}

#[test]
fn a_file_that_is_not_known_is_not_delivered() {
    let scratch = Scratch::new();
    let log = scratch.log("a.log", "one\n");
    let config = one_stream(&scratch);
    write_config(&scratch, &config);
    assert_eq!(told(&scratch, &log, 1), [json!(["s", "never_seen", [0, 0], [0, 0], [4, 1]])], "no state yet");
    Hydrant::drain(&scratch, &config);
    let elsewhere = scratch.log("a.txt", "one\n");
    assert_eq!(told(&scratch, &elsewhere, 1), [json!([null, "not_read", [0, null], [0, null], [4, null]])]);
    for file in [scratch.logs().join("missing.log"), scratch.logs()] {
        let finished = delivered(&scratch, &[], &file).expect_code(1);
        assert!(finished.stdout.is_empty() && finished.stderr.contains(file.to_str().expect("UTF-8")), "{finished}");
    }
    assert!(!scratch.state().join("JOURNAL-WAS-LOST.txt").exists());
}

#[test]
fn a_file_renamed_out_of_the_glob_is_known_and_its_own_inode_with_other_bytes_is_not() {
    let scratch = Scratch::new();
    let log = scratch.log("a.log", "one\ntwo\n");
    Hydrant::drain(&scratch, &one_stream(&scratch));
    let rotated = scratch.logs().join("a.log.1");
    std::fs::rename(&log, &rotated).expect("the log renamed");
    assert_eq!(told(&scratch, &rotated, 0), [json!(["s", "delivered", [8, 2], [0, 0], [0, 0]])]);

    std::fs::rename(&rotated, &log).expect("the log renamed back");
    let file = OpenOptions::new().write(true).open(&log).expect("the log opened");
    file.write_all_at(b"two\none\n", 0).expect("the log written over");
    assert_eq!(told(&scratch, &log, 1), [json!(["s", "never_seen", [0, 0], [0, 0], [8, 2]])]);
}

#[test]
fn what_latest_skipped_is_never_delivered() {
    let scratch = Scratch::new();
    let log = scratch.log("a.log", "old\n");
    let mut stream = stream("s", &scratch.logs().join("*.log"), directory(&scratch.out()));
    stream["source"]["file"]["initial_position"] = "latest".into();
    let config = config(&scratch, [stream]);
    Hydrant::drain(&scratch, &config);
    append(&log, "new\n");
    Hydrant::drain(&scratch, &config);
    assert_eq!(told(&scratch, &log, 1), [json!(["s", "not_delivered", [4, 1], [0, 0], [0, 0]])]);
    let finished = delivered(&scratch, &["--json"], &log).expect_code(1);
    let line: Value = serde_json::from_str(&finished.stdout).expect("a JSON object");
    assert_eq!(line["skipped"], json!({"bytes": 4, "records": 1}));
    assert!(finished.stderr.contains("4 bytes were skipped at first sight"), "{finished}");

    // So it is if the journal is lost and the checkpoint copy is all there is.
    for suffix in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(scratch.state().join(format!("hydrant.db{suffix}")));
    }
    Hydrant::drain(&scratch, &config);
    assert_eq!(told(&scratch, &log, 1), [json!(["s", "not_delivered", [4, 1], [0, 0], [0, 0]])]);

    // A file that came later is read from its beginning.
    let later = scratch.log("b.log", "later\n");
    Hydrant::drain(&scratch, &config);
    delivered(&scratch, &["-q"], &later).expect_code(0);
}

#[test]
fn a_copy_in_the_backup_has_to_be_made_too() {
    let scratch = Scratch::new();
    let log = scratch.log("a.log", "");
    let mut stream = stream("s", &scratch.logs().join("*.log"), directory(&scratch.out()));
    let mut backup = blockable_directory(&scratch.backup());
    backup["mode"] = "all".into();
    backup["buffering"] = fast_buffering();
    stream["backup"] = backup;
    let config = config(&scratch, [stream]);
    let in_the_way = InTheWay::of(&scratch.backup());
    append(&log, "new\n");
    let hydrant = Hydrant::run(&scratch, &config);
    wait_until("the destination has it", || !keys(&scratch.out()).is_empty());
    let copy_in_flight = [json!(["s", "not_delivered", [0, 0], [4, 1], [0, 0]])];
    wait_until("its copy is in flight", || told(&scratch, &log, 1) == copy_in_flight);
    drop(in_the_way);
    wait_until("its copy is made", || delivered(&scratch, &["-q"], &log).status.success());
    assert_eq!(delivered_lines(&scratch.backup()), ["new"]);
    hydrant.terminate().expect_code(0);
}

#[test]
fn variables_of_processors_need_not_be_set() {
    let scratch = Scratch::new();
    let log = scratch.log("a.log", "one\n");
    let mut stream = stream("s", &log, directory(&scratch.out()));
    let fields = json!({"pod": {"environment": "HYDRANT_TEST_POD"}});
    stream["processing"] = json!([{"add_metadata": {"fields": fields, "key": "line"}}]);
    write_config(&scratch, &config(&scratch, [stream]));
    let path = scratch.path("hydrant.yaml");
    let args = ["check".as_ref(), "--config".as_ref(), path.as_os_str()];
    let checked = Hydrant::start(&scratch, &args, &[]).wait().expect_code(2);
    assert!(checked.stderr.contains("`HYDRANT_TEST_POD` is not set"), "{checked}");
    let drain = ["run".as_ref(), "--drain".as_ref(), "--config".as_ref(), path.as_os_str()];
    Hydrant::start(&scratch, &drain, &[("HYDRANT_TEST_POD", "a")]).wait().expect_code(0);
    delivered(&scratch, &["-q"], &log).expect_code(0);
}

#[test]
fn a_compressed_file_is_delivered_when_its_content_is() {
    let scratch = Scratch::new();
    let log = scratch.log("a.log", "one\ntwo\n");
    let config = config(&scratch, [stream("s", &scratch.logs().join("*.log*"), directory(&scratch.out()))]);
    Hydrant::drain(&scratch, &config);
    // The partition began as the plain file.
    let twin = scratch.logs().join("a.log.zst");
    std::fs::write(&twin, zstd::encode_all(&b"one\ntwo\n"[..], 1).expect("compressed lines")).expect("a twin");
    std::fs::remove_file(&log).expect("the log deleted");
    delivered(&scratch, &["-q"], &twin).expect_code(1);
    Hydrant::drain(&scratch, &config);
    assert_eq!(told(&scratch, &twin, 0), [json!(["s", "delivered", [8, 2], [0, 0], [0, 0]])]);
    delivered(&scratch, &["-q"], &twin).expect_code(0);
    assert_eq!(delivered_lines(&scratch.out()), ["one", "two"]);
}

#[test]
fn a_wrong_command_line_or_configuration_is_2() {
    let scratch = Scratch::new();
    let log = scratch.log("a.log", "one\n");
    write_config(&scratch, &one_stream(&scratch));
    delivered(&scratch, &["--json", "--quiet"], &log).expect_code(2);
    Hydrant::start(&scratch, &["delivered".as_ref()], &[]).wait().expect_code(2);
    std::fs::write(scratch.path("hydrant.yaml"), "delivery_streams: []\n").expect("a configuration");
    let finished = delivered(&scratch, &[], &log).expect_code(2);
    assert!(finished.stdout.is_empty() && finished.stderr.contains("hydrant.yaml:1"), "{finished}");
}
