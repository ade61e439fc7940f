//! Copies, also those that a crash, a rotation or their own lines make hard to know: no line is lost or doubled.

use std::fs;

use crate::support::packing::gzip;
use crate::support::scratch::InTheWay;
use crate::support::{Hydrant, Scene, delivered_lines, journal, wait_until};

const COPY: &str = "a file is a copy of another one";

#[test]
fn a_copy_without_truncation_is_not_read_but_what_is_written_to_it_is() {
    let scene = Scene::new();
    scene.scratch.log("app.log", "1\n2\n");
    let hydrant = scene.run_impatient();
    scene.arrive(&["1", "2"]);
    scene.copy("app.log", "app.log.1");
    scene.append("app.log", "3\n");
    scene.arrive(&["1", "2", "3"]);
    wait_until("the copy is seen", || hydrant.said("a file is a copy of another one") == 1);
    scene.append("app.log.1", "own 1\n");
    scene.append("app.log", "4\n");
    scene.arrive(&["1", "2", "3", "4", "own 1"]);
    scene.append("app.log.1", "own 2\n");
    scene.arrive(&["1", "2", "3", "4", "own 1", "own 2"]);
    hydrant.kill_9();
    scene.append("app.log.1", "own 3\n");
    scene.drain();
    scene.arrive(&["1", "2", "3", "4", "own 1", "own 2", "own 3"]);
}

#[test]
fn a_copy_that_is_still_being_made_is_not_read() {
    let scene = Scene::new();
    scene.scratch.log("app.log", "1\n2\n3\n");
    let hydrant = scene.run();
    scene.arrive(&["1", "2", "3"]);
    scene.scratch.log("app.log.1", "");
    wait_until("the copy is seen", || hydrant.said("a file is a copy of another one") == 1);
    scene.append("app.log.1", "1\n2");
    scene.append("app.log", "4\n");
    scene.arrive(&["1", "2", "3", "4"]);
    scene.append("app.log.1", "\n3\n");
    scene.append("app.log", "5\n");
    scene.arrive(&["1", "2", "3", "4", "5"]);
    scene.ends_with(hydrant, &["1", "2", "3", "4", "5"]);
}

#[test]
fn a_copy_that_ends_in_the_middle_of_a_line_for_long_is_none_of_its_own() {
    let scene = Scene::with_two_lines();
    let hydrant = scene.run_impatient();
    scene.arrive(&["1", "2"]);
    scene.scratch.log("app.log-copy", "1\n2");
    wait_until("the copy is seen", || hydrant.said(COPY) == 1);
    // It is as it was for longer than a copy that is whole would wait.
    scene.scratch.log("app.log.2", "1\n");
    let alone = format!("place = '{}' AND copy_of IS NULL", scene.path("app.log.2").display());
    wait_until("the whole one stands alone", || journal::partitions(&scene.scratch, &alone) == 1);
    scene.append("app.log-copy", "\n");
    scene.ends_with(hydrant, &["1", "2"]);
}

#[test]
fn a_copy_whose_name_does_not_extend_its_originals_is_read() {
    let scene = Scene::new();
    scene.scratch.log("app.log.1", "1\n2\n");
    let hydrant = scene.run_impatient();
    scene.arrive(&["1", "2"]);
    scene.copy("app.log.1", "app.log.2");
    scene.ends_with(hydrant, &["1", "1", "2", "2"]);
}

#[test]
fn a_file_that_is_gone_goes_on_in_its_twin_and_not_in_a_shorter_copy() {
    let scene = Scene::with_two_lines();
    let hydrant = scene.run();
    scene.arrive(&["1", "2"]);
    hydrant.kill_9();
    scene.copy("app.log", "app.log-copy");
    scene.append("app.log", "3\n");
    scene.rename("app.log", "app.log.1");
    scene.compress("app.log.1", "app.log.1.gz", gzip);
    scene.drains_to(&["1", "2", "3"]);
}

#[test]
fn a_truncated_file_goes_on_in_its_twin_and_not_in_a_shorter_copy() {
    let scene = Scene::with_two_lines();
    let hydrant = scene.run();
    scene.arrive(&["1", "2"]);
    hydrant.halt();
    scene.copy("app.log", "app.log-copy");
    scene.append("app.log", "3\n");
    scene.copy("app.log", "app.log.1");
    scene.truncate("app.log");
    scene.compress("app.log.1", "app.log.1.gz", gzip);
    hydrant.go_on();
    scene.arrive(&["1", "2", "3"]);
    assert_eq!(hydrant.said("lost_bytes"), 0);
    scene.ends_with(hydrant, &["1", "2", "3"]);
}

#[test]
fn the_twin_of_a_copy_is_not_read() {
    for is_down in [false, true] {
        let scene = Scene::with_two_lines();
        let hydrant = scene.run();
        scene.arrive(&["1", "2"]);
        scene.copy("app.log", "app.log-copy");
        wait_until("the copy is seen", || hydrant.said(COPY) == 1);
        scene.append("app.log", "3\n");
        scene.arrive(&["1", "2", "3"]);
        if is_down {
            hydrant.terminate().expect_code(0);
            // The copy is compared, and that it is settled is journalled.
            scene.drain();
            scene.compress("app.log-copy", "app.log-copy.gz", gzip);
        } else {
            scene.compress("app.log-copy", "app.log-copy.gz", gzip);
            wait_until("the twin is taken up", || hydrant.said("a compressed file is taken up") == 1);
            hydrant.terminate().expect_code(0);
        }
        scene.drains_to(&["1", "2", "3"]);
    }
}

#[test]
fn lines_of_a_copys_own_are_whole_where_more_of_its_original_was_delivered_before_a_crash() {
    let scene = Scene::with_two_lines();
    let failpoint = [("HYDRANT_FAILPOINT", "answer-received:2")];
    let hydrant = Hydrant::run_with_env(&scene.scratch, &scene.config, &failpoint);
    scene.arrive(&["1", "2"]);
    scene.copy("app.log", "app.log-copy");
    wait_until("the copy is seen", || hydrant.said(COPY) == 1);
    scene.append("app.log", "3333\n");
    wait_until("it dies before it has settled the line", || !hydrant.is_alive());
    assert!(hydrant.kill_9().killed());
    scene.arrive(&["1", "2", "3333"]);
    fs::write(scene.path("app.log"), "").expect("a log truncated");
    scene.append("app.log-copy", "a line of its own\n");
    scene.drains_to(&["1", "2", "3333", "a line of its own"]);
}

#[test]
fn the_head_of_a_line_is_no_copy_of_every_file_that_begins_so() {
    let scene = Scene::with_two_lines();
    scene.append("app.log", "3\n");
    let hydrant = scene.run();
    scene.arrive(&["1", "2", "3"]);
    hydrant.terminate().expect_code(0);
    scene.scratch.log("app.log.1", "1");
    scene.drains_to(&["1", "1", "2", "3"]);
}

#[test]
fn a_copy_is_known_by_a_name_that_its_original_had_before_a_sigkill() {
    let scene = Scene::with_two_lines();
    let hydrant = scene.run();
    scene.arrive(&["1", "2"]);
    scene.rename("app.log", "app.log-1");
    let place = format!("place = '{}'", scene.path("app.log-1").display());
    wait_until("the rename is seen", || journal::partitions(&scene.scratch, &place) == 1);
    hydrant.kill_9();
    fs::copy(scene.path("app.log-1"), scene.path("app.log-copy")).expect("a log copied");
    scene.drains_to(&["1", "2"]);
}

#[test]
fn a_copy_with_less_than_was_read_is_compared_with_the_twin_of_its_original() {
    let scene = Scene::with_two_lines();
    scene.append("app.log", "3\n");
    let hydrant = scene.run();
    scene.arrive(&["1", "2", "3"]);
    hydrant.kill_9();
    scene.compress("app.log", "app.log.gz", gzip);
    scene.scratch.log("app.log-copy", "1\n2\n");
    scene.drains_to(&["1", "2", "3"]);
}

#[test]
fn a_copy_that_waited_for_the_twin_of_another_file_is_read_in_the_same_drain() {
    let scene = Scene::with_two_lines();
    scene.drain();
    scene.compress("app.log", "app.log.gz", gzip);
    scene.scratch.log("app.log", "3\n4\n");
    scene.scratch.log("app.log-copy", "3\n4\na line of its own\n");
    scene.drains_to(&["1", "2", "3", "4", "a line of its own"]);
}

#[test]
fn a_file_that_begins_like_the_head_of_a_line_is_no_copy_of_what_had_no_more() {
    let scene = Scene::new();
    scene.scratch.log("app.log", "on");
    scene.drains_to(&["on"]);
    scene.remove("app.log");
    scene.scratch.log("app.log.1", "one\ntwo\n");
    scene.drains_to(&["on", "one", "two"]);
}

#[test]
fn what_a_copy_shares_is_known_after_a_sigkill_before_it_was_settled() {
    let scene = Scene::blockable();
    scene.scratch.log("app.log", "1\n2\n");
    let in_the_way = InTheWay::of(&scene.scratch.out());
    let hydrant = scene.run();
    wait_until("the first lines are on their way", || hydrant.said("ENOTDIR") > 0);
    scene.copy("app.log", "app.log-copy");
    wait_until("the copy is seen", || hydrant.said(COPY) == 1);
    scene.append("app.log", "3\n");
    wait_until("all lines are on their way", || journal::deliveries(&scene.scratch) == 2);
    hydrant.kill_9();
    scene.remove("app.log");
    scene.append("app.log-copy", "a line of its own\n");
    drop(in_the_way);
    let finished = scene.drain();
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
    scene.append("app.log", "1\n2\n");
    scene.copy("app.log", "app.log.1");
    wait_until("it dies before anything is journalled of the lines", || !hydrant.is_alive());
    let was_seen = hydrant.said(COPY) == 1;
    assert!(hydrant.kill_9().killed());
    assert!(was_seen, "the copy was seen");
    fs::write(scene.path("app.log"), "").expect("a log truncated");
    scene.drains_to(&["1", "2"]);
}

#[test]
fn a_file_with_a_larger_hole_is_no_copy_of_one_of_which_only_the_hole_was_settled() {
    use std::os::unix::fs::FileExt;
    let scene = Scene::new();
    let path = scene.scratch.log("app.log", "");
    let writer = fs::OpenOptions::new().write(true).open(&path).expect("a writer that does not append");
    writer.write_all_at(b"the head of a li", 5_000).expect("half a line behind a hole");
    let failpoint = [("HYDRANT_FAILPOINT", "answer-received:1")];
    let hydrant = Hydrant::run_with_env(&scene.scratch, &scene.config, &failpoint);
    wait_until("the hole is skipped", || hydrant.said("a file begins with NUL bytes") == 1);
    scene.settled("app.log", 5_000);
    scene.append("app.log", "ne\n");
    wait_until("it dies before it has settled the line", || !hydrant.is_alive());
    assert!(hydrant.kill_9().killed());
    scene.remove("app.log");
    scene.scratch.log("app.log.1", [&[0; 9_000][..], b"1\n"].concat());
    // As long as it is not known what this is, every other file may be the beginning of it.
    scene.scratch.log("app.log.2.gz", gzip(b"2\n"));
    scene.drains_to(&["1", "2", "the head of a line"]);
}

#[test]
fn a_header_that_was_taken_for_a_copy_is_read_when_other_lines_follow_after_a_sigkill() {
    let scene = Scene::with_two_lines();
    let hydrant = scene.run();
    scene.arrive(&["1", "2"]);
    scene.scratch.log("app.log.1", "1\n");
    wait_until("it is taken for a copy", || hydrant.said(COPY) == 1);
    let settled = format!("place = '{}' AND checkpoint = 2", scene.path("app.log.1").display());
    wait_until("that is journalled", || journal::partitions(&scene.scratch, &settled) == 1);
    hydrant.kill_9();
    scene.append("app.log.1", "other\n");
    scene.drains_to(&["1", "1", "2", "other"]);
}

/// Such a file may be a copy that has got lines of its own, so what both have is delivered once.
#[test]
fn a_header_that_is_all_of_another_file_is_delivered_once_if_the_name_extends_that_ones() {
    for is_gone in [false, true] {
        let scene = Scene::new();
        scene.scratch.log("app.log", "header\n");
        let hydrant = scene.run();
        scene.arrive(&["header"]);
        hydrant.terminate().expect_code(0);
        if is_gone {
            scene.remove("app.log");
        }
        scene.scratch.log("app.log.1", "header\n1\n");
        scene.drains_to(&["1", "header"]);
    }
}

#[test]
fn a_header_is_read_in_each_file_with_other_lines_behind_it_or_with_a_name_of_its_own() {
    for (one, text, other) in [("app.log", "header\n1\n", "app.log.1"), ("app.log.1", "header\n", "app.log.2")] {
        let scene = Scene::new();
        scene.scratch.log(one, text);
        let first: Vec<&str> = text.lines().collect();
        let hydrant = scene.run();
        scene.arrive(&first);
        scene.scratch.log(other, "header\n2\n");
        let all = [&first[..], &["2", "header"]].concat();
        scene.arrive(&all);
        scene.ends_with(hydrant, &all);
    }
}

#[test]
fn what_was_not_read_of_a_truncated_file_is_read_from_a_copy_that_holds_only_some_of_it() {
    let mut scene = Scene::new();
    scene.config["delivery_streams"][0]["source"]["file"]["multiline_start"] = "^A".into();
    scene.config["delivery_streams"][0]["source"]["file"]["multiline_timeout_ms"] = 600_000.into();
    scene.scratch.log("app.log", "A 1\n");
    let hydrant = scene.run();
    wait_until("it is known", || hydrant.said("a file is read that was not seen before") == 1);
    scene.copy("app.log", "app.log-copy");
    wait_until("the copy is seen", || hydrant.said(COPY) == 1);
    scene.append("app.log", "more\n");
    // Its bytes are seen when another file of the same walk is.
    scene.scratch.log("app.log.other", "A 2\nA 3\n");
    scene.arrive(&["A 2"]);
    scene.truncate("app.log");
    wait_until("the loss is in the log", || hydrant.said("lost_bytes=9") == 1);
    hydrant.terminate().expect_code(0);
    scene.drains_to(&["A 1", "A 2", "A 3"]);
}
