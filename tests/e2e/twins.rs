//! Compressed twins of rotated files: what was read plain is not read again, and the rest is.

use std::fs;

use crate::support::config::blockable_directory;
use crate::support::packing::{Packer, gzip, gzip_of_two, zstd};
use crate::support::scratch::{InTheWay, append};
use crate::support::{Hydrant, Scene, Scratch, config, delivered_lines, journal, stream, wait_until};

const EVENT: &str = "a compressed file is taken up";

fn twin_of_a_file_that_was_read(extension: &str, packer: Packer) {
    let scene = Scene::new();
    scene.scratch.log("app.log", "1\n2\n");
    let hydrant = scene.run_impatient();
    scene.arrive(&["1", "2"]);
    scene.rename("app.log", "app.log.1");
    scene.compress("app.log.1", &format!("app.log.1.{extension}"), packer);
    scene.scratch.log("app.log", "3\n");
    scene.arrive(&["1", "2", "3"]);
    wait_until("the twin is known", || hydrant.said(EVENT) + hydrant.said("goes on in the copy") == 1);
    scene.append("app.log", "4\n");
    scene.arrive(&["1", "2", "3", "4"]);
    scene.ends_with(hydrant, &["1", "2", "3", "4"]);
}

#[test]
fn the_gzip_of_a_file_that_was_read_is_not_read_again() {
    twin_of_a_file_that_was_read("gz", gzip);
}

#[test]
fn the_gzip_of_several_members_of_a_file_that_was_read_is_not_read_again() {
    twin_of_a_file_that_was_read("gz", gzip_of_two);
}

#[test]
fn the_zstd_of_a_file_that_was_read_is_not_read_again() {
    twin_of_a_file_that_was_read("zst", zstd);
}

#[test]
fn a_file_compressed_while_down_after_it_was_read_is_not_read_again() {
    let scene = Scene::new();
    scene.scratch.log("app.log", "1\n2\n");
    scene.drain();
    // Two rotations: its name has moved on meanwhile.
    scene.compress("app.log", "app.log.2.gz", gzip);
    scene.scratch.log("app.log", "3\n");
    scene.drain();
    scene.arrive(&["1", "2", "3"]);
    scene.drain();
    scene.arrive(&["1", "2", "3"]);
}

#[test]
fn of_a_file_that_was_half_read_only_the_rest_is_read_from_its_twin() {
    let scene = Scene::new();
    scene.scratch.log("app.log", "1\n2\n");
    let hydrant = scene.run_impatient();
    scene.arrive(&["1", "2"]);
    hydrant.kill_9();
    scene.append("app.log", "3\n4\n");
    scene.compress("app.log", "app.log.1.gz", gzip_of_two);
    scene.scratch.log("app.log", "5\n");
    scene.drain();
    scene.arrive(&["1", "2", "3", "4", "5"]);
    scene.rename("app.log.1.gz", "app.log.2.gz");
    scene.drain();
    scene.arrive(&["1", "2", "3", "4", "5"]);
}

#[test]
fn a_sigkill_half_way_through_a_twin_loses_and_doubles_nothing() {
    let scratch = Scratch::new();
    let stream = stream("s", &scratch.logs().join("app.log*"), blockable_directory(&scratch.out()));
    let config = config(&scratch, [stream]);
    let lines: Vec<String> = (0..60_000).map(|n| format!("line {n:06} of a log that is compressed")).collect();
    let text = |lines: &[String]| lines.iter().map(|line| format!("{line}\n")).collect::<String>();
    let log = scratch.log("app.log", text(&lines[..100]));
    Hydrant::drain(&scratch, &config);
    append(&log, text(&lines[100..]));
    let packed = gzip(&fs::read(&log).expect("the log"));
    fs::remove_file(&log).expect("the log removed");
    scratch.log("app.log.1.gz", packed);
    for _ in 0..3 {
        let hydrant = Hydrant::run(&scratch, &config);
        let before = delivered_lines(&scratch.out()).len();
        wait_until("some more is delivered", || {
            let now = delivered_lines(&scratch.out()).len();
            now > before || now == lines.len()
        });
        hydrant.kill_9();
    }
    // With deliveries that are journalled and cannot leave.
    let in_the_way =
        (delivered_lines(&scratch.out()).len() < lines.len()).then(|| InTheWay::of(&scratch.path("nowhere")));
    drop(in_the_way);
    Hydrant::drain(&scratch, &config);
    assert_eq!(delivered_lines(&scratch.out()), lines);
}

#[test]
fn a_compressed_file_that_was_never_seen_plain_is_read_from_its_beginning() {
    let scene = Scene::new();
    scene.scratch.log("app.log.2.gz", gzip_of_two(b"1\n2\n"));
    scene.scratch.log("app.log.1.zst", zstd(b"3\nno delimiter"));
    scene.drain();
    scene.arrive(&["1", "2", "3", "no delimiter"]);
    let hydrant = scene.run_impatient();
    scene.scratch.log("app.log.3.gz", gzip(b"4\n"));
    scene.arrive(&["1", "2", "3", "4", "no delimiter"]);
    // The name alone does not make it a compressed file.
    scene.scratch.log("app.log.gz", "5\nplain\n");
    scene.arrive(&["1", "2", "3", "4", "5", "no delimiter", "plain"]);
    scene.ends_with(hydrant, &["1", "2", "3", "4", "5", "no delimiter", "plain"]);
}

#[test]
fn a_compressed_file_is_read_when_it_is_whole() {
    let scene = Scene::new();
    let packed = gzip(b"1\n2\n3\n");
    let (head, tail) = packed.split_at(12);
    let hydrant = scene.run();
    let path = scene.scratch.log("app.log.gz", head);
    scene.scratch.log("app.log", "other\n");
    scene.arrive(&["other"]);
    append(&path, tail);
    scene.arrive(&["1", "2", "3", "other"]);
    assert_eq!(hydrant.said("is broken"), 0);
    hydrant.terminate().expect_code(0);
}

#[test]
fn a_compressed_file_that_stays_broken_is_read_as_far_as_it_goes_and_reported() {
    let scene = Scene::new();
    let whole = gzip(b"1\n2\n");
    scene.scratch.log("app.log.gz", [&whole[..], &whole[..8]].concat());
    let hydrant = scene.run_impatient();
    scene.arrive(&["1", "2"]);
    assert_eq!(hydrant.said("a compressed file is broken"), 1);
    hydrant.terminate().expect_code(0);
}

#[test]
fn the_twin_of_a_truncated_file_gives_back_what_was_not_read_of_it() {
    let scene = Scene::new();
    scene.scratch.log("app.log", "1\n2\n");
    let hydrant = scene.run_impatient();
    scene.arrive(&["1", "2"]);
    wait_until("all is settled", || journal::checkpoint(&scene.scratch, "app.log") == 4);
    hydrant.halt();
    scene.append("app.log", "3\n");
    let copy = scene.path("app.log.1.gz");
    fs::write(copy, gzip(&fs::read(scene.path("app.log")).expect("a log"))).expect("a compressed copy");
    fs::write(scene.path("app.log"), "4\n").expect("a log truncated and written");
    hydrant.go_on();
    scene.arrive(&["1", "2", "3", "4"]);
    assert_eq!(hydrant.said("lost_bytes"), 0);
    scene.ends_with(hydrant, &["1", "2", "3", "4"]);
}

#[test]
fn a_twin_is_not_known_by_the_head_of_a_line() {
    let scene = Scene::new();
    scene.scratch.log("app.log", "on");
    scene.drains_to(&["on"]);
    scene.remove("app.log");
    scene.scratch.log("app.log.1", "one\ntwo\n");
    scene.compress("app.log.1", "app.log.1.gz", gzip);
    scene.drains_to(&["on", "one", "two"]);
}

#[test]
fn a_twin_gives_back_what_was_read_and_not_journalled_before_a_sigkill() {
    let mut scene = Scene::with_two_lines();
    scene.config["delivery_streams"][0]["buffering"]["interval_seconds"] = 60.into();
    let hydrant = scene.run();
    wait_until("the log is known", || hydrant.said("a file is read that was not seen before") == 1);
    scene.compress("app.log", "app.log.gz", gzip);
    wait_until("the twin is taken up", || hydrant.said(EVENT) == 1);
    hydrant.kill_9();
    scene.drains_to(&["1", "2"]);
}

#[test]
fn a_short_text_whose_name_says_that_it_is_compressed_is_read() {
    let scene = Scene::new();
    scene.scratch.log("app.log.gz", "1\n");
    scene.scratch.log("app.log.zst", "22\n");
    scene.drain();
    scene.arrive(&["1", "22"]);
}
