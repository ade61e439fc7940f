//! Truncated files and the copies made before: what was read is not read again, what was not is, or its loss is reported.

use std::fs;

use crate::support::{Hydrant, Scene, wait_until};

#[test]
fn a_truncated_files_copy_is_not_read_again() {
    let scene = Scene::new();
    scene.scratch.log("app.log", "1\n2\n");
    let hydrant = scene.run_impatient();
    scene.arrive(&["1", "2"]);
    scene.copy("app.log", "app.log.1");
    scene.truncate("app.log");
    scene.append("app.log", "3\n");
    scene.arrive(&["1", "2", "3"]);
    scene.ends_with(hydrant, &["1", "2", "3"]);
}

#[test]
fn what_truncation_would_have_lost_is_read_from_the_copy() {
    let scene = Scene::new();
    scene.scratch.log("app.log", "1\n2\n");
    let hydrant = scene.run_impatient();
    scene.arrive(&["1", "2"]);
    hydrant.halt();
    scene.append("app.log", "3\n4\n");
    scene.copy("app.log", "app.log.1");
    scene.truncate("app.log");
    scene.append("app.log", "5\n");
    hydrant.go_on();
    scene.arrive(&["1", "2", "3", "4", "5"]);
    scene.append("app.log", "6\n");
    scene.arrive(&["1", "2", "3", "4", "5", "6"]);
    assert_eq!(hydrant.said("lost_bytes"), 0);
    scene.ends_with(hydrant, &["1", "2", "3", "4", "5", "6"]);
}

#[test]
fn a_copy_made_while_down_is_known_after_a_sigkill() {
    let scene = Scene::new();
    scene.scratch.log("app.log", "1\n2\n");
    let hydrant = scene.run_impatient();
    scene.arrive(&["1", "2"]);
    hydrant.kill_9();
    scene.append("app.log", "3\n");
    scene.copy("app.log", "app.log.1");
    scene.truncate("app.log");
    scene.append("app.log", "other 1\nother 2\n");
    scene.drain();
    scene.arrive(&["1", "2", "3", "other 1", "other 2"]);
}

#[test]
fn a_copy_seen_before_its_original_is_truncated_while_down_is_known() {
    let scene = Scene::new();
    scene.scratch.log("app.log", "1\n2\n");
    let hydrant = scene.run_impatient();
    scene.arrive(&["1", "2"]);
    scene.copy("app.log", "app.log.1");
    wait_until("the copy is seen", || hydrant.said("a file is a copy of another one") == 1);
    hydrant.kill_9();
    scene.append("app.log.1", "3\n");
    scene.truncate("app.log");
    scene.drain();
    scene.arrive(&["1", "2", "3"]);
}

#[test]
fn truncation_to_the_same_or_to_a_larger_size_is_seen() {
    let scene = Scene::new();
    scene.scratch.log("app.log", "1\n2\n");
    let hydrant = scene.run_impatient();
    scene.arrive(&["1", "2"]);
    let rewrite = |text: &str| {
        hydrant.halt();
        scene.truncate("app.log");
        scene.append("app.log", text);
        hydrant.go_on();
    };
    rewrite("3\n4\n");
    scene.arrive(&["1", "2", "3", "4"]);
    rewrite("5\n6\n7\n");
    scene.arrive(&["1", "2", "3", "4", "5", "6", "7"]);
    scene.ends_with(hydrant, &["1", "2", "3", "4", "5", "6", "7"]);
}

#[test]
fn the_nuls_of_a_writer_without_append_are_skipped() {
    use std::os::unix::fs::FileExt;
    let scene = Scene::new();
    let path = scene.scratch.log("app.log", "1\n2\n");
    let writer = fs::OpenOptions::new().write(true).open(&path).expect("a writer that does not append");
    let hydrant = scene.run_impatient();
    scene.arrive(&["1", "2"]);
    scene.truncate("app.log");
    wait_until("the truncation is seen", || hydrant.said("a file was truncated") == 1);
    writer.write_all_at(b"3\n", 4).expect("a line at the old place");
    scene.arrive(&["1", "2", "3"]);
    hydrant.halt();
    scene.truncate("app.log");
    writer.write_all_at(b"4\n", 100_000).expect("a line far behind");
    hydrant.go_on();
    scene.arrive(&["1", "2", "3", "4"]);
    scene.settled("app.log", 100_002);
    hydrant.kill_9();
    scene.truncate("app.log");
    writer.write_all_at(b"5\n", 200_000).expect("a line far behind");
    scene.drain();
    scene.arrive(&["1", "2", "3", "4", "5"]);
}

#[test]
fn a_hole_that_has_grown_while_down_is_skipped_whole() {
    use std::os::unix::fs::FileExt;
    let scene = Scene::new();
    let path = scene.scratch.log("app.log", "");
    let writer = fs::OpenOptions::new().write(true).open(&path).expect("a writer that does not append");
    writer.write_all_at(b"the head of a li", 5_000).expect("half a line behind a hole");
    let hydrant = scene.run();
    wait_until("the hole is skipped", || hydrant.said("a file begins with NUL bytes") == 1);
    scene.settled("app.log", 5_000);
    hydrant.kill_9();
    scene.truncate("app.log");
    writer.write_all_at(b"1\n", 9_000).expect("a line far behind");
    scene.drains_to(&["1"]);
}

#[test]
fn a_shorter_file_with_a_hole_is_not_the_one_whose_delivery_was_not_settled() {
    use std::os::unix::fs::FileExt;
    let scene = Scene::new();
    let path = scene.scratch.log("app.log", "");
    let writer = fs::OpenOptions::new().write(true).open(&path).expect("a writer that does not append");
    writer.write_all_at(b"a line behind a hole\nanother\n", 5_000).expect("lines behind a hole");
    let failpoint = [("HYDRANT_FAILPOINT", "answer-received:1")];
    let hydrant = Hydrant::run_with_env(&scene.scratch, &scene.config, &failpoint);
    wait_until("it dies before it has settled the lines", || !hydrant.is_alive());
    assert!(hydrant.kill_9().killed());
    scene.truncate("app.log");
    writer.write_all_at(b"new\n", 5_010).expect("a line behind a larger hole");
    scene.drains_to(&["a line behind a hole", "another", "new"]);
}

#[test]
fn a_file_that_got_its_size_first_is_read_as_it_is_filled_and_not_again_when_it_is_cut_to_size() {
    use std::os::unix::fs::FileExt;
    let scene = Scene::new();
    let path = scene.scratch.log("app.log", "1\n\0\0\0\0\0\0\0\0");
    let writer = fs::OpenOptions::new().write(true).open(&path).expect("a writer that does not append");
    let hydrant = scene.run();
    scene.arrive(&["1"]);
    writer.write_all_at(b"2\n", 2).expect("a line where NULs were");
    scene.arrive(&["1", "2"]);
    writer.set_len(4).expect("a log cut to size");
    scene.append("app.log", "3\n");
    scene.arrive(&["1", "2", "3"]);
    assert_eq!(hydrant.said("lost_bytes"), 0);
    scene.ends_with(hydrant, &["1", "2", "3"]);
}

#[test]
fn a_truncated_file_keeps_its_byte_order_although_its_writer_makes_no_second_mark() {
    let big = |text: &str| text.encode_utf16().flat_map(u16::to_be_bytes).collect::<Vec<_>>();
    let mut scene = Scene::new();
    scene.config["delivery_streams"][0]["source"]["file"]["encoding"] = "utf-16".into();
    let path = scene.scratch.log("app.log", big("\u{feff}1\n"));
    let append = |text: &str| {
        let mut writer = fs::OpenOptions::new().append(true).open(&path).expect("a writer");
        std::io::Write::write_all(&mut writer, &big(text)).expect("a line");
    };
    let hydrant = scene.run();
    scene.arrive(&["1"]);
    scene.truncate("app.log");
    wait_until("the truncation is seen", || hydrant.said("a file was truncated") == 1);
    append("2\n");
    scene.arrive(&["1", "2"]);
    hydrant.kill_9();
    append("3\n");
    scene.drains_to(&["1", "2", "3"]);
    scene.truncate("app.log");
    append("4\n");
    scene.drains_to(&["1", "2", "3", "4"]);
    append("5\n");
    scene.drains_to(&["1", "2", "3", "4", "5"]);
}

/// A writer that takes its room some bytes at a time.
#[test]
fn a_file_that_gets_more_room_while_it_is_filled_is_read_line_by_line() {
    use std::os::unix::fs::FileExt;
    let scene = Scene::new();
    let path = scene.scratch.log("app.log", "1\n\0\0\0\0\0\0\0\0");
    let writer = fs::OpenOptions::new().write(true).open(&path).expect("a writer that does not append");
    let hydrant = scene.run();
    scene.arrive(&["1"]);
    writer.write_all_at(b"22222\n33333\n44444\n", 2).expect("lines where NULs were, and behind them");
    scene.arrive(&["1", "22222", "33333", "44444"]);
    scene.ends_with(hydrant, &["1", "22222", "33333", "44444"]);
}

/// What is settled, and what is left, are a header line: of a great many files.
#[test]
fn a_shorter_file_with_the_same_header_is_another_one_after_a_sigkill() {
    let mut scene = Scene::new();
    scene.config["delivery_streams"][0]["source"]["file"]["skip_header_lines"] = 1.into();
    let path = scene.scratch.log("app.log", "id,name\n");
    let hydrant = Hydrant::run_with_env(&scene.scratch, &scene.config, &[("HYDRANT_FAILPOINT", "object-complete:1")]);
    wait_until("the header is passed", || hydrant.said("a file is read that was not seen before") == 1);
    scene.append("app.log", "1,a\n2,b\n3,c\n");
    assert!(hydrant.wait().killed());
    fs::write(&path, "id,name\n4,d\n").expect("a log written anew");
    scene.drain();
    scene.arrive(&["1,a", "2,b", "3,c", "4,d"]);
}

#[test]
fn bytes_that_nobody_could_read_are_reported() {
    let scene = Scene::new();
    scene.scratch.log("app.log", "1\n");
    let hydrant = scene.run_impatient();
    scene.arrive(&["1"]);
    scene.append("app.log", "2\na line that never ends");
    // One write: whoever has seen its first line has seen all of it.
    scene.arrive(&["1", "2"]);
    scene.truncate("app.log");
    wait_until("the loss is in the log", || hydrant.said("lost_bytes=22") == 1);
    scene.ends_with(hydrant, &["1", "2"]);
}

#[test]
fn a_file_written_anew_while_down_is_read_from_its_beginning_though_its_inode_number_is_the_same() {
    let scene = Scene::new();
    let path = scene.scratch.log("app.log", "1\n2\n");
    scene.drain();
    fs::write(&path, "larger 1\nlarger 2\n").expect("a log written anew");
    scene.drain();
    fs::write(&path, "s\n").expect("a log written anew");
    scene.drain();
    scene.arrive(&["1", "2", "larger 1", "larger 2", "s"]);
}
