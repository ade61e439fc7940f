//! Copies that a crash, a rotation or their own lines make hard to know: no line is lost or doubled.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::support::config::blockable_directory;
use crate::support::scratch::{InTheWay, append};
use crate::support::{Hydrant, Scratch, config, delivered_lines, directory, journal, stream, wait_until};

const COPY: &str = "a file is a copy of another one";

struct Scene {
    scratch: Scratch,
    config: Value,
}

impl Scene {
    /// A log with two lines.
    fn new() -> Self {
        Self::of(directory)
    }

    /// The same, and a file may be put in the way of its objects.
    fn blockable() -> Self {
        Self::of(blockable_directory)
    }

    fn of(destination: fn(&Path) -> Value) -> Self {
        let scratch = Scratch::new();
        let config = config(&scratch, [stream("s", &scratch.logs().join("app.log*"), destination(&scratch.out()))]);
        scratch.log("app.log", "1\n2\n");
        Self { scratch, config }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.scratch.logs().join(name)
    }

    fn copy(&self, to: &str) {
        fs::copy(self.path("app.log"), self.path(to)).expect("a log copied");
    }

    /// What gzip does.
    fn compress(&self, name: &str) {
        use std::io::Write;
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        gzip.write_all(&fs::read(self.path(name)).expect("a log read")).expect("memory takes all");
        fs::write(self.path(&format!("{name}.gz")), gzip.finish().expect("memory takes all")).expect("a twin");
        fs::remove_file(self.path(name)).expect("a log removed");
    }

    #[track_caller]
    fn arrive(&self, expected: &[&str]) {
        let lines = || delivered_lines(&self.scratch.out());
        wait_until(&format!("{expected:?} are delivered"), || lines().len() >= expected.len());
        assert_eq!(lines(), expected);
    }

    #[track_caller]
    fn drains_to(&self, all: &[&str]) {
        Hydrant::drain(&self.scratch, &self.config);
        assert_eq!(delivered_lines(&self.scratch.out()), all);
        Hydrant::drain(&self.scratch, &self.config);
        assert_eq!(delivered_lines(&self.scratch.out()), all);
    }
}

#[test]
fn a_file_that_is_gone_goes_on_in_its_twin_and_not_in_a_shorter_copy() {
    let scene = Scene::new();
    let hydrant = Hydrant::run(&scene.scratch, &scene.config);
    scene.arrive(&["1", "2"]);
    hydrant.kill_9();
    scene.copy("app.log-copy");
    append(&scene.path("app.log"), "3\n");
    fs::rename(scene.path("app.log"), scene.path("app.log.1")).expect("a log renamed");
    scene.compress("app.log.1");
    scene.drains_to(&["1", "2", "3"]);
}

#[test]
fn the_twin_of_a_copy_is_not_read() {
    for is_down in [false, true] {
        let scene = Scene::new();
        let hydrant = Hydrant::run(&scene.scratch, &scene.config);
        scene.arrive(&["1", "2"]);
        scene.copy("app.log-copy");
        wait_until("the copy is seen", || hydrant.said(COPY) == 1);
        append(&scene.path("app.log"), "3\n");
        scene.arrive(&["1", "2", "3"]);
        if is_down {
            hydrant.terminate().expect_code(0);
            // The copy is compared, and that it is settled is journalled.
            Hydrant::drain(&scene.scratch, &scene.config);
            scene.compress("app.log-copy");
        } else {
            scene.compress("app.log-copy");
            wait_until("the twin is taken up", || hydrant.said("a compressed file is taken up") == 1);
            hydrant.terminate().expect_code(0);
        }
        scene.drains_to(&["1", "2", "3"]);
    }
}

#[test]
fn lines_of_a_copys_own_are_whole_where_more_of_its_original_was_delivered_before_a_crash() {
    let scene = Scene::new();
    let failpoint = [("HYDRANT_FAILPOINT", "answer-received:2")];
    let hydrant = Hydrant::run_with_env(&scene.scratch, &scene.config, &failpoint);
    scene.arrive(&["1", "2"]);
    scene.copy("app.log-copy");
    wait_until("the copy is seen", || hydrant.said(COPY) == 1);
    append(&scene.path("app.log"), "3333\n");
    wait_until("it dies before it has settled the line", || !hydrant.is_alive());
    assert!(hydrant.kill_9().killed());
    scene.arrive(&["1", "2", "3333"]);
    fs::write(scene.path("app.log"), "").expect("a log truncated");
    append(&scene.path("app.log-copy"), "a line of its own\n");
    scene.drains_to(&["1", "2", "3333", "a line of its own"]);
}

#[test]
fn the_head_of_a_line_is_no_copy_of_every_file_that_begins_so() {
    let scene = Scene::new();
    append(&scene.path("app.log"), "3\n");
    let hydrant = Hydrant::run(&scene.scratch, &scene.config);
    scene.arrive(&["1", "2", "3"]);
    hydrant.terminate().expect_code(0);
    scene.scratch.log("app.log.1", "1");
    scene.drains_to(&["1", "1", "2", "3"]);
}

#[test]
fn a_copy_is_known_by_a_name_that_its_original_had_before_a_sigkill() {
    let scene = Scene::new();
    let hydrant = Hydrant::run(&scene.scratch, &scene.config);
    scene.arrive(&["1", "2"]);
    fs::rename(scene.path("app.log"), scene.path("app.log-1")).expect("a log renamed");
    let place = format!("place = '{}'", scene.path("app.log-1").display());
    wait_until("the rename is seen", || journal::partitions(&scene.scratch, &place) == 1);
    hydrant.kill_9();
    fs::copy(scene.path("app.log-1"), scene.path("app.log-copy")).expect("a log copied");
    scene.drains_to(&["1", "2"]);
}

#[test]
fn a_copy_with_less_than_was_read_is_compared_with_the_twin_of_its_original() {
    let scene = Scene::new();
    append(&scene.path("app.log"), "3\n");
    let hydrant = Hydrant::run(&scene.scratch, &scene.config);
    scene.arrive(&["1", "2", "3"]);
    hydrant.kill_9();
    scene.compress("app.log");
    scene.scratch.log("app.log-copy", "1\n2\n");
    scene.drains_to(&["1", "2", "3"]);
}

#[test]
fn what_a_copy_shares_is_known_after_a_sigkill_before_it_was_settled() {
    let scene = Scene::blockable();
    let in_the_way = InTheWay::of(&scene.scratch.out());
    let hydrant = Hydrant::run(&scene.scratch, &scene.config);
    wait_until("the first lines are on their way", || hydrant.said("ENOTDIR") > 0);
    scene.copy("app.log-copy");
    wait_until("the copy is seen", || hydrant.said(COPY) == 1);
    append(&scene.path("app.log"), "3\n");
    wait_until("all lines are on their way", || journal::deliveries(&scene.scratch) == 2);
    hydrant.kill_9();
    fs::remove_file(scene.path("app.log")).expect("a log removed");
    append(&scene.path("app.log-copy"), "a line of its own\n");
    drop(in_the_way);
    let finished = Hydrant::drain(&scene.scratch, &scene.config);
    assert!(finished.stderr.contains("lost_bytes=2"), "{finished}");
    assert_eq!(delivered_lines(&scene.scratch.out()), ["1", "2", "a line of its own"]);
    scene.drains_to(&["1", "2", "a line of its own"]);
}

#[test]
fn what_nobody_has_read_of_a_truncated_file_is_read_from_the_copy_after_a_sigkill() {
    let scene = Scene::blockable();
    scene.scratch.log("app.log", "");
    let hydrant = Hydrant::run_with_env(&scene.scratch, &scene.config, &[("HYDRANT_FAILPOINT", "sealed:1")]);
    wait_until("the empty file is known", || hydrant.said("a file is read that was not seen before") == 1);
    append(&scene.path("app.log"), "1\n2\n");
    scene.copy("app.log.1");
    wait_until("it dies before anything is journalled of the lines", || !hydrant.is_alive());
    let was_seen = hydrant.said(COPY) == 1;
    assert!(hydrant.kill_9().killed());
    assert!(was_seen, "the copy was seen");
    fs::write(scene.path("app.log"), "").expect("a log truncated");
    scene.drains_to(&["1", "2"]);
}

#[test]
fn a_header_that_was_taken_for_a_copy_is_read_when_other_lines_follow_after_a_sigkill() {
    let scene = Scene::new();
    let hydrant = Hydrant::run(&scene.scratch, &scene.config);
    scene.arrive(&["1", "2"]);
    scene.scratch.log("app.log.1", "1\n");
    wait_until("it is taken for a copy", || hydrant.said(COPY) == 1);
    let settled = format!("place = '{}' AND checkpoint = 2", scene.path("app.log.1").display());
    wait_until("that is journalled", || journal::partitions(&scene.scratch, &settled) == 1);
    hydrant.kill_9();
    append(&scene.path("app.log.1"), "other\n");
    scene.drains_to(&["1", "1", "2", "other"]);
}
