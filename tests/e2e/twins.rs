//! Compressed twins of rotated files: what was read plain is not read again, and the rest is.

use std::fs;
use std::io::Write;
use std::path::PathBuf;

use serde_json::Value;

use crate::support::config::blockable_directory;
use crate::support::scratch::{InTheWay, append};
use crate::support::{Hydrant, Scratch, config, delivered_lines, directory, journal, stream, wait_until};

const EVENT: &str = "a compressed file is taken up";

struct Scene {
    scratch: Scratch,
    config: Value,
}

/// Compresses to a file's whole content.
type Packer = fn(&[u8]) -> Vec<u8>;

impl Scene {
    fn new() -> Self {
        let scratch = Scratch::new();
        let config = config(&scratch, [stream("s", &scratch.logs().join("app.log*"), directory(&scratch.out()))]);
        Self { scratch, config }
    }

    fn run(&self) -> Hydrant {
        Hydrant::run_with_env(&self.scratch, &self.config, &[("HYDRANT_LINGER_MS", "500")])
    }

    fn path(&self, name: &str) -> PathBuf {
        self.scratch.logs().join(name)
    }

    #[track_caller]
    fn arrive(&self, expected: &[&str]) {
        let lines = || delivered_lines(&self.scratch.out());
        wait_until(&format!("{expected:?} are delivered"), || lines().len() >= expected.len());
        assert_eq!(lines(), expected);
    }

    /// What gzip does: a twin beside the file, written in pieces, then the file removed.
    fn compress(&self, name: &str, to: &str, packer: Packer) {
        let packed = packer(&fs::read(self.path(name)).expect("a log read"));
        let (head, tail) = packed.split_at(packed.len() / 2);
        fs::write(self.path(to), head).expect("half a twin");
        append(&self.path(to), tail);
        fs::remove_file(self.path(name)).expect("a log removed");
    }

    fn rename(&self, from: &str, to: &str) {
        fs::rename(self.path(from), self.path(to)).expect("a log renamed");
    }

    #[track_caller]
    fn ends_with(&self, hydrant: Hydrant, all: &[&str]) {
        hydrant.terminate().expect_code(0);
        Hydrant::drain(&self.scratch, &self.config);
        self.arrive(all);
        Hydrant::drain(&self.scratch, &self.config);
        self.arrive(all);
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).expect("memory takes all");
    encoder.finish().expect("memory takes all")
}

/// Two members, the border in the middle of a line.
fn gzip_of_two(bytes: &[u8]) -> Vec<u8> {
    let (one, other) = bytes.split_at(bytes.len() / 2);
    [gzip(one), gzip(other)].concat()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 3).expect("memory takes all")
}

fn twin_of_a_file_that_was_read(extension: &str, packer: Packer) {
    let scene = Scene::new();
    scene.scratch.log("app.log", "1\n2\n");
    let hydrant = scene.run();
    scene.arrive(&["1", "2"]);
    scene.rename("app.log", "app.log.1");
    scene.compress("app.log.1", &format!("app.log.1.{extension}"), packer);
    scene.scratch.log("app.log", "3\n");
    scene.arrive(&["1", "2", "3"]);
    wait_until("the twin is known", || hydrant.said(EVENT) + hydrant.said("goes on in the copy") == 1);
    append(&scene.path("app.log"), "4\n");
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
    Hydrant::drain(&scene.scratch, &scene.config);
    // Two rotations: its name has moved on meanwhile.
    scene.compress("app.log", "app.log.2.gz", gzip);
    scene.scratch.log("app.log", "3\n");
    Hydrant::drain(&scene.scratch, &scene.config);
    scene.arrive(&["1", "2", "3"]);
    Hydrant::drain(&scene.scratch, &scene.config);
    scene.arrive(&["1", "2", "3"]);
}

#[test]
fn of_a_file_that_was_half_read_only_the_rest_is_read_from_its_twin() {
    let scene = Scene::new();
    scene.scratch.log("app.log", "1\n2\n");
    let hydrant = scene.run();
    scene.arrive(&["1", "2"]);
    hydrant.kill_9();
    append(&scene.path("app.log"), "3\n4\n");
    scene.compress("app.log", "app.log.1.gz", gzip_of_two);
    scene.scratch.log("app.log", "5\n");
    Hydrant::drain(&scene.scratch, &scene.config);
    scene.arrive(&["1", "2", "3", "4", "5"]);
    scene.rename("app.log.1.gz", "app.log.2.gz");
    Hydrant::drain(&scene.scratch, &scene.config);
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
    Hydrant::drain(&scene.scratch, &scene.config);
    scene.arrive(&["1", "2", "3", "no delimiter"]);
    let hydrant = scene.run();
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
    let hydrant = Hydrant::run(&scene.scratch, &scene.config);
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
    let hydrant = scene.run();
    scene.arrive(&["1", "2"]);
    assert_eq!(hydrant.said("a compressed file is broken"), 1);
    hydrant.terminate().expect_code(0);
}

#[test]
fn the_twin_of_a_truncated_file_gives_back_what_was_not_read_of_it() {
    let scene = Scene::new();
    scene.scratch.log("app.log", "1\n2\n");
    let hydrant = scene.run();
    scene.arrive(&["1", "2"]);
    wait_until("all is settled", || journal::checkpoint(&scene.scratch, "app.log") == 4);
    hydrant.signal(rustix::process::Signal::STOP);
    append(&scene.path("app.log"), "3\n");
    let copy = scene.path("app.log.1.gz");
    fs::write(copy, gzip(&fs::read(scene.path("app.log")).expect("a log"))).expect("a compressed copy");
    fs::write(scene.path("app.log"), "4\n").expect("a log truncated and written");
    hydrant.signal(rustix::process::Signal::CONT);
    scene.arrive(&["1", "2", "3", "4"]);
    assert_eq!(hydrant.said("lost_bytes"), 0);
    scene.ends_with(hydrant, &["1", "2", "3", "4"]);
}
