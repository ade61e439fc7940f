//! Many delivery streams in one daemon: the trouble of one is not the trouble of the others.

use std::io::Write;
use std::time::Duration;

use crate::support::config::blockable_directory;
use crate::support::journal;
use crate::support::scratch::{InTheWay, append};
use crate::support::{Hydrant, Scratch, config, delivered_lines, objects::keys, stream, wait_until};

/// A stream of `<name>*.log` into the folder of its name.
fn named(scratch: &Scratch, name: &str) -> serde_json::Value {
    let glob = scratch.logs().join(format!("{name}*.log"));
    stream(name, &glob, blockable_directory(&scratch.out().join(name)))
}

fn delivered(scratch: &Scratch, name: &str) -> Vec<String> {
    delivered_lines(&scratch.out().join(name))
}

/// Puts a file where the destination has the folder in which it forms objects.
fn hide_own_folder(scratch: &Scratch, name: &str) {
    let own = scratch.out().join(name).join(".hydrant");
    let _ = std::fs::remove_dir_all(&own);
    std::fs::create_dir_all(scratch.out().join(name)).expect("the destination's folder");
    std::fs::write(own, "").expect("a file in the way");
}

/// Far more files in `many` than may be open, and one in `few`.
fn too_many_files(scratch: &Scratch) -> serde_json::Value {
    for n in 0..200 {
        scratch.log(&format!("many{n:03}.log"), format!("many {n}\n"));
    }
    scratch.log("few.log", "few\n");
    config(scratch, [named(scratch, "many"), named(scratch, "few")])
}

const OPEN_FILES: u32 = 96;
const AT_THE_LIMIT: &str = "more files match than the limit of descriptors allows";

#[test]
fn a_stream_with_more_files_than_may_be_open_reads_them_all_and_holds_up_no_other() {
    let scratch = Scratch::new();
    let config = too_many_files(&scratch);
    let hydrant = Hydrant::run_with_open_files(&scratch, &config, OPEN_FILES, &[]);
    wait_until("the limit is in the log", || hydrant.said(AT_THE_LIMIT) > 0);
    wait_until("the other stream delivers", || delivered(&scratch, "few") == ["few"]);
    wait_until("it delivers all of its own files", || delivered(&scratch, "many").len() == 200);
    // Those that were closed are noticed again.
    for n in [0, 100, 199] {
        append(&scratch.logs().join(format!("many{n:03}.log")), format!("later {n}\n"));
    }
    wait_until("what comes later is delivered", || delivered(&scratch, "many").len() == 203);
    hydrant.terminate().expect_code(0);
    Hydrant::drain(&scratch, &config);
    assert_eq!(delivered(&scratch, "few"), ["few"]);
    assert_eq!(delivered(&scratch, "many").len(), 203, "nothing is lost or doubled when more may be open");
}

#[test]
fn a_drain_reads_more_files_than_may_be_open() {
    let scratch = Scratch::new();
    let mut config = too_many_files(&scratch);
    config["delivery_streams"][0]["buffering"] = serde_json::json!({ "size_mb": 5, "interval_seconds": 300 });
    let drain = Hydrant::run_with_open_files(&scratch, &config, OPEN_FILES, &["--drain"]);
    let finished = drain.wait().expect_code(0);
    assert!(finished.stderr.contains(AT_THE_LIMIT), "{finished}");
    assert_eq!(delivered(&scratch, "few"), ["few"]);
    assert_eq!(delivered(&scratch, "many").len(), 200);
    Hydrant::drain(&scratch, &config);
    assert_eq!(delivered(&scratch, "many").len(), 200);
}

#[test]
fn latest_skips_what_was_there_also_of_files_that_cannot_be_open_at_first() {
    let scratch = Scratch::new();
    let mut config = too_many_files(&scratch);
    let file = &mut config["delivery_streams"][0]["source"]["file"];
    file["initial_position"] = "latest".into();
    file["paths"] = serde_json::json!([scratch.logs().join("many*")]);
    for n in 0..50 {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(format!("packed {n}\n").as_bytes()).expect("in memory");
        scratch.log(&format!("many-packed{n}.gz"), gzip.finish().expect("in memory"));
    }
    let hydrant = Hydrant::run_with_open_files(&scratch, &config, OPEN_FILES, &[]);
    wait_until("the first scan is over", || hydrant.said(AT_THE_LIMIT) > 0);
    for n in 0..200 {
        append(&scratch.logs().join(format!("many{n:03}.log")), format!("later {n}\n"));
    }
    wait_until("what comes later is delivered", || delivered(&scratch, "many").len() >= 200);
    hydrant.terminate().expect_code(0);
    Hydrant::drain(&scratch, &config);
    let delivered = delivered(&scratch, "many");
    assert!(delivered.len() == 200 && delivered.iter().all(|line| line.starts_with("later ")), "{delivered:?}");
}

#[test]
fn more_streams_than_an_async_runtime_has_blocking_threads_all_deliver() {
    let scratch = Scratch::new();
    let names: Vec<String> = (0..530).map(|n| format!("s{n:03}")).collect();
    for name in &names {
        scratch.log(&format!("{name}.log"), format!("of {name}\n"));
    }
    let mut config = config(&scratch, names.iter().map(|name| named(&scratch, name)));
    config["memory_limit_mb"] = 5_300.into();
    let hydrant = Hydrant::run(&scratch, &config);
    wait_until("every stream has delivered", || keys(&scratch.out()).len() >= names.len());
    hydrant.terminate().expect_code(0);
    for name in &names {
        assert_eq!(delivered(&scratch, name), [format!("of {name}")]);
    }
}

#[test]
fn a_drain_can_be_stopped_when_one_stream_is_done_and_another_hangs() {
    let scratch = Scratch::new();
    scratch.log("done.log", "done\n");
    scratch.log("hangs.log", "hangs\n");
    let in_the_way = InTheWay::of(&scratch.out().join("hangs"));
    let mut config = config(&scratch, [named(&scratch, "done"), named(&scratch, "hangs")]);
    config["shutdown_timeout_seconds"] = 1.into();
    let mut hydrant = Hydrant::begin_drain(&scratch, &config);
    wait_until("one stream is done", || delivered(&scratch, "done") == ["done"]);
    wait_until("its checkpoint is stored", || journal::checkpoint(&scratch, "done.log") == 5);
    let refusals = hydrant.said("ENOTDIR");
    wait_until("the other has tried some more", || hydrant.said("ENOTDIR") > refusals + 3);
    hydrant.signal(rustix::process::Signal::TERM);
    assert!(hydrant.ends_within(Duration::from_secs(12)), "the timeout is one second");
    let finished = hydrant.wait().expect_code(1);
    assert!(!finished.stderr.contains("panicked"), "{finished}");

    drop(in_the_way);
    Hydrant::drain(&scratch, &config);
    assert_eq!(delivered(&scratch, "done"), ["done"]);
    assert_eq!(delivered(&scratch, "hangs"), ["hangs"]);
}

#[test]
fn a_drain_delivers_the_other_streams_when_one_cannot_work_at_all() {
    let scratch = Scratch::new();
    scratch.log("broken.log", "broken\n");
    scratch.log("slow.log", "slow\n");
    hide_own_folder(&scratch, "broken");
    let in_the_way = InTheWay::of(&scratch.out().join("slow"));
    let config = config(&scratch, [named(&scratch, "broken"), named(&scratch, "slow")]);
    let hydrant = Hydrant::begin_drain(&scratch, &config);
    wait_until("the broken one is given up", || hydrant.said("begins again from its checkpoints") >= 5);
    let refusals = hydrant.said("ENOTDIR");
    wait_until("the slow one goes on", || hydrant.said("ENOTDIR") > refusals);
    drop(in_the_way);
    let finished = hydrant.wait().expect_code(1);
    assert_eq!(delivered(&scratch, "slow"), ["slow"]);
    let last = finished.stderr.lines().rev().find(|line| line.contains("ERROR")).expect("an error at the end");
    assert!(last.contains("broken"), "{finished}");
}

#[test]
fn many_streams_whose_payloads_cannot_be_written_are_stopped_within_one_timeout() {
    let scratch = Scratch::new();
    let names = ["a", "b", "c", "d"];
    let mut config = config(
        &scratch,
        names.map(|name| {
            let mut stream = named(&scratch, name);
            stream["buffering"] = serde_json::json!({ "size_mb": 20, "interval_seconds": 900 });
            stream
        }),
    );
    config["shutdown_timeout_seconds"] = 1.into();
    for name in names {
        scratch.log(&format!("{name}.log"), "first\n");
    }
    let mut hydrant = Hydrant::run(&scratch, &config);
    wait_until("all streams have begun", || hydrant.said("a file is read that was not seen before") == names.len());
    for name in names {
        hide_own_folder(&scratch, name);
    }
    // More than a payload and what waits before it hold, so that the stream itself comes to a halt.
    let megabytes = format!("{}\n", "x".repeat(1023)).repeat(16 << 10);
    for name in names {
        scratch.log(&format!("{name}-more.log"), &megabytes);
    }
    wait_until("all of them hang", || {
        names.iter().all(|name| {
            let hangs = |line: &str| line.contains("cannot be written") && line.contains(&format!("/out/{name}/"));
            hydrant.stderr().lines().any(hangs)
        })
    });
    hydrant.wait_until_reading_halts();
    hydrant.signal(rustix::process::Signal::TERM);
    assert!(hydrant.ends_within(Duration::from_secs(12)), "the timeout is one second");
    hydrant.wait().expect_code(0);
}
