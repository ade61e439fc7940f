//! Files that get their size first and are filled later: what nobody has written to them is no record and no loss.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;

use serde_json::Value;

use crate::support::hydrant::write_config;
use crate::support::packing::gzip;
use crate::support::{Finished, Hydrant, Scene, wait_until};

/// A scene whose `app.log` has this text and NULs up to a size, and the writer that fills it.
fn preallocated(text: &str, size: u64) -> (Scene, File) {
    let scene = Scene::new();
    let path = scene.scratch.log("app.log", text);
    let writer = OpenOptions::new().write(true).open(&path).expect("a writer that does not append");
    writer.set_len(size).expect("a log given its size");
    (scene, writer)
}

fn delivered(scene: &Scene, name: &str) -> Finished {
    let (config, file) = (write_config(&scene.scratch, &scene.config), scene.path(name));
    let args = ["delivered".as_ref(), "--json".as_ref(), "--config".as_ref(), config.as_os_str(), file.as_os_str()];
    Hydrant::start(&scene.scratch, &args, &[]).wait()
}

#[cfg(debug_assertions)]
#[test]
fn it_is_the_same_file_when_it_is_filled_after_a_sigkill_during_the_first_delivery() {
    for failpoint in ["sealed:1", "intent-committed:1", "object-complete:1", "answer-received:1"] {
        let (scene, writer) = preallocated("1\n", 300);
        let env = [("HYDRANT_FAILPOINT", failpoint)];
        let finished = Hydrant::run_with_env(&scene.scratch, &scene.config, &env).wait();
        assert!(finished.killed(), "{failpoint}: {finished}");
        writer.write_all_at(b"2\n", 2).expect("a line where NULs were");
        let finished = scene.drain();
        assert!(!finished.stderr.contains("lost_bytes"), "{failpoint}: {finished}");
        scene.drains_to(&["1", "2"]);
    }
}

#[test]
fn nuls_behind_its_text_are_no_loss_when_it_is_truncated() {
    let (scene, writer) = preallocated("1\n", 300);
    let hydrant = scene.run();
    scene.arrive(&["1"]);
    writer.set_len(0).expect("a log truncated");
    wait_until("the truncation is seen", || hydrant.said("a file was truncated") == 1);
    scene.append("app.log", "2\n");
    scene.arrive(&["1", "2"]);
    let finished = hydrant.terminate().expect_code(0);
    assert!(!finished.stderr.contains("lost_bytes"), "{finished}");
    scene.drains_to(&["1", "2"]);
}

#[test]
fn what_of_its_text_was_not_read_is_lost_when_it_is_truncated() {
    let (scene, writer) = preallocated("1\ntorn", 300);
    let hydrant = scene.run();
    scene.arrive(&["1"]);
    writer.set_len(0).expect("a log truncated");
    wait_until("the loss is in the log", || hydrant.said("lost_bytes=4") == 1);
    scene.ends_with(hydrant, &["1"]);
}

#[test]
fn an_empty_one_that_is_cut_is_the_same_file() {
    let (scene, writer) = preallocated("", 300);
    let hydrant = scene.run();
    wait_until("it is known", || hydrant.said("a file is read that was not seen before") == 1);
    writer.set_len(100).expect("a log cut");
    writer.write_all_at(b"1\n", 0).expect("a line where NULs were");
    scene.arrive(&["1"]);
    writer.set_len(2).expect("a log cut to size");
    scene.append("app.log", "2\n");
    scene.arrive(&["1", "2"]);
    assert_eq!((hydrant.said("a file was truncated"), hydrant.said("lost_bytes")), (0, 0));
    scene.ends_with(hydrant, &["1", "2"]);
}

#[test]
fn a_drain_leaves_its_nuls_and_reads_what_fills_them_later() {
    let (scene, writer) = preallocated("1\n2", 100_000);
    scene.drains_to(&["1", "2"]);
    writer.write_all_at(b"\n3\n", 3).expect("lines where NULs were");
    // The end of the line that was delivered without it is an empty one.
    scene.drains_to(&["", "1", "2", "3"]);
    let finished = delivered(&scene, "app.log").expect_code(0);
    let line: Value = serde_json::from_str(&finished.stdout).expect("a JSON object");
    assert_eq!((&line["size"], &line["delivered"]["bytes"]), (&6.into(), &6.into()), "{finished}");
    writer.write_all_at(b"4", 6).expect("half a line");
    let finished = delivered(&scene, "app.log").expect_code(1);
    assert!(finished.stderr.contains("1 bytes are unread"), "{finished}");
}

#[test]
fn a_rotated_one_ends_with_its_text_and_keeps_nobody_busy() {
    let (scene, writer) = preallocated("1\n", 100_000);
    let hydrant = scene.run_impatient();
    scene.arrive(&["1"]);
    scene.rename("app.log", "app.log.1");
    scene.scratch.log("app.log", "2\nha");
    scene.rename("app.log", "app.log.2");
    scene.scratch.log("app.log", "3\n");
    // The last line of the other one says that the time is over for both.
    scene.arrive(&["1", "2", "3", "ha"]);
    wait_until("it waits", || hydrant.is_idle());
    writer.write_all_at(b"4\n", 2).expect("a late line where NULs were");
    scene.arrive(&["1", "2", "3", "4", "ha"]);
    scene.ends_with(hydrant, &["1", "2", "3", "4", "ha"]);
}

#[test]
fn its_compressed_twin_brings_nothing_new() {
    let (scene, _) = preallocated("1\n2\n", 100_000);
    scene.drains_to(&["1", "2"]);
    scene.rename("app.log", "app.log.1");
    scene.compress("app.log.1", "app.log.1.gz", gzip);
    scene.drains_to(&["1", "2"]);
    delivered(&scene, "app.log.1.gz").expect_code(0);
}

#[test]
fn a_compressed_one_that_was_never_seen_plain_ends_with_its_text() {
    let scene = Scene::new();
    std::fs::write(scene.path("app.log.1.gz"), gzip(b"1\n2\0\0\0\0\0\0")).expect("a compressed log");
    scene.drains_to(&["1", "2"]);
    delivered(&scene, "app.log.1.gz").expect_code(0);
}

#[test]
fn the_room_of_a_huge_one_is_not_read() {
    let (scene, writer) = preallocated("1\n", 8 << 30);
    let hydrant = scene.run();
    scene.arrive(&["1"]);
    for n in 2..10u8 {
        writer.write_all_at(format!("{n}\n").as_bytes(), 2 * u64::from(n - 1)).expect("a line where NULs were");
        wait_until("it is delivered", || scene.lines().len() == usize::from(n));
    }
    assert!(hydrant.bytes_read() < 64 << 20, "{} bytes", hydrant.bytes_read());
    scene.ends_with(hydrant, &["1", "2", "3", "4", "5", "6", "7", "8", "9"]);
}

/// NULs that are written take long to look through, so that is not done at each look.
#[cfg(debug_assertions)]
#[test]
fn what_is_written_far_behind_its_text_is_read_although_it_is_deleted_at_once() {
    let scene = Scene::new();
    let path = scene.scratch.log("app.log", [b"1\n".as_slice(), &[0; 32 << 20]].concat());
    let writer = OpenOptions::new().write(true).open(&path).expect("a writer that does not append");
    let hydrant = scene.run_impatient();
    scene.arrive(&["1"]);
    writer.write_all_at(b"2\n", 2).expect("a line right behind the text");
    scene.arrive(&["1", "2"]);
    writer.write_all_at(b"3\n", 200_000).expect("a line that nobody looks for yet");
    scene.remove("app.log");
    wait_until("the line is read", || scene.lines().iter().any(|line| line.ends_with('3')));
    hydrant.terminate().expect_code(0);
}
