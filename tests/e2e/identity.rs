//! Which file is which: copies, truncation, files that only look alike, live and across a SIGKILL.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;

use crate::support::scratch::append;
use crate::support::{Hydrant, Scratch, config, delivered_lines, directory, journal, stream, wait_until};

/// One stream of `app.log*`.
struct Scene {
    scratch: Scratch,
    config: Value,
}

impl Scene {
    fn new() -> Self {
        let scratch = Scratch::new();
        let config = config(&scratch, [stream("s", &scratch.logs().join("app.log*"), directory(&scratch.out()))]);
        Self { scratch, config }
    }

    fn run(&self) -> Hydrant {
        Hydrant::run_with_env(&self.scratch, &self.config, &[("HYDRANT_LINGER_MS", "300")])
    }

    fn path(&self, name: &str) -> PathBuf {
        self.scratch.logs().join(name)
    }

    fn lines(&self) -> Vec<String> {
        delivered_lines(&self.scratch.out())
    }

    #[track_caller]
    fn arrive(&self, expected: &[&str]) {
        let mut expected = expected.to_vec();
        expected.sort_unstable();
        wait_until(&format!("{expected:?} are delivered"), || self.lines().len() >= expected.len());
        assert_eq!(self.lines(), expected);
    }

    /// The checkpoint of the file of this name is there.
    #[track_caller]
    fn settled(&self, name: &str, position: u64) {
        wait_until("its checkpoint is stored", || journal::checkpoint(&self.scratch, name) == position);
    }

    /// Ends it, and looks that a drain finds nothing more but `more`.
    #[track_caller]
    fn ends_with(&self, hydrant: Hydrant, all: &[&str]) {
        hydrant.terminate().expect_code(0);
        Hydrant::drain(&self.scratch, &self.config);
        self.arrive(all);
    }

    fn copy(&self, from: &str, to: &str) {
        fs::copy(self.path(from), self.path(to)).expect("a log copied");
    }

    fn truncate(&self, name: &str) {
        fs::OpenOptions::new().write(true).truncate(true).open(self.path(name)).expect("a log truncated");
    }
}

#[test]
fn a_truncated_files_copy_is_not_read_again() {
    let scene = Scene::new();
    scene.scratch.log("app.log", "1\n2\n");
    let hydrant = scene.run();
    scene.arrive(&["1", "2"]);
    scene.copy("app.log", "app.log.1");
    scene.truncate("app.log");
    append(&scene.path("app.log"), "3\n");
    scene.arrive(&["1", "2", "3"]);
    scene.ends_with(hydrant, &["1", "2", "3"]);
}

#[test]
fn what_truncation_would_have_lost_is_read_from_the_copy() {
    let scene = Scene::new();
    scene.scratch.log("app.log", "1\n2\n");
    let hydrant = scene.run();
    scene.arrive(&["1", "2"]);
    hydrant.signal(rustix::process::Signal::STOP);
    append(&scene.path("app.log"), "3\n4\n");
    scene.copy("app.log", "app.log.1");
    scene.truncate("app.log");
    append(&scene.path("app.log"), "5\n");
    hydrant.signal(rustix::process::Signal::CONT);
    scene.arrive(&["1", "2", "3", "4", "5"]);
    append(&scene.path("app.log"), "6\n");
    scene.arrive(&["1", "2", "3", "4", "5", "6"]);
    assert_eq!(hydrant.said("lost_bytes"), 0);
    scene.ends_with(hydrant, &["1", "2", "3", "4", "5", "6"]);
}

#[test]
fn a_copy_made_while_down_is_known_after_a_sigkill() {
    let scene = Scene::new();
    scene.scratch.log("app.log", "1\n2\n");
    let hydrant = scene.run();
    scene.arrive(&["1", "2"]);
    hydrant.kill_9();
    append(&scene.path("app.log"), "3\n");
    scene.copy("app.log", "app.log.1");
    scene.truncate("app.log");
    append(&scene.path("app.log"), "other 1\nother 2\n");
    Hydrant::drain(&scene.scratch, &scene.config);
    scene.arrive(&["1", "2", "3", "other 1", "other 2"]);
}

#[test]
fn a_copy_seen_before_its_original_is_truncated_while_down_is_known() {
    let scene = Scene::new();
    scene.scratch.log("app.log", "1\n2\n");
    let hydrant = scene.run();
    scene.arrive(&["1", "2"]);
    scene.copy("app.log", "app.log.1");
    wait_until("the copy is seen", || hydrant.said("a file is a copy of another one") == 1);
    hydrant.kill_9();
    append(&scene.path("app.log.1"), "3\n");
    scene.truncate("app.log");
    Hydrant::drain(&scene.scratch, &scene.config);
    scene.arrive(&["1", "2", "3"]);
}

#[test]
fn a_copy_without_truncation_is_not_read_but_what_is_written_to_it_is() {
    let scene = Scene::new();
    scene.scratch.log("app.log", "1\n2\n");
    let hydrant = scene.run();
    scene.arrive(&["1", "2"]);
    scene.copy("app.log", "app.log.1");
    append(&scene.path("app.log"), "3\n");
    scene.arrive(&["1", "2", "3"]);
    wait_until("the copy is seen", || hydrant.said("a file is a copy of another one") == 1);
    append(&scene.path("app.log.1"), "own 1\n");
    append(&scene.path("app.log"), "4\n");
    scene.arrive(&["1", "2", "3", "4", "own 1"]);
    append(&scene.path("app.log.1"), "own 2\n");
    scene.arrive(&["1", "2", "3", "4", "own 1", "own 2"]);
    hydrant.kill_9();
    append(&scene.path("app.log.1"), "own 3\n");
    Hydrant::drain(&scene.scratch, &scene.config);
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
    append(&scene.path("app.log.1"), "1\n2");
    append(&scene.path("app.log"), "4\n");
    scene.arrive(&["1", "2", "3", "4"]);
    append(&scene.path("app.log.1"), "\n3\n");
    append(&scene.path("app.log"), "5\n");
    scene.arrive(&["1", "2", "3", "4", "5"]);
    scene.ends_with(hydrant, &["1", "2", "3", "4", "5"]);
}

#[test]
fn files_with_the_same_beginning_are_all_read() {
    let scene = Scene::new();
    let header = format!("{}\n", "h".repeat(5_000));
    scene.scratch.log("app.log", format!("{header}1\n"));
    let hydrant = scene.run();
    scene.arrive(&[header.trim_end(), "1"]);
    scene.scratch.log("app.log.other", format!("{header}2\n"));
    scene.arrive(&[header.trim_end(), header.trim_end(), "1", "2"]);
    // First the header alone, as if it were a copy that is being made.
    scene.scratch.log("app.log.later", &header);
    append(&scene.path("app.log.later"), "3\n");
    let all = [header.trim_end(), header.trim_end(), header.trim_end(), "1", "2", "3"];
    scene.arrive(&all);
    scene.ends_with(hydrant, &all);
}

#[test]
fn truncation_to_the_same_or_to_a_larger_size_is_seen() {
    let scene = Scene::new();
    scene.scratch.log("app.log", "1\n2\n");
    let hydrant = scene.run();
    scene.arrive(&["1", "2"]);
    let rewrite = |text: &str| {
        hydrant.signal(rustix::process::Signal::STOP);
        scene.truncate("app.log");
        append(&scene.path("app.log"), text);
        hydrant.signal(rustix::process::Signal::CONT);
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
    let hydrant = scene.run();
    scene.arrive(&["1", "2"]);
    scene.truncate("app.log");
    wait_until("the truncation is seen", || hydrant.said("a file was truncated") == 1);
    writer.write_all_at(b"3\n", 4).expect("a line at the old place");
    scene.arrive(&["1", "2", "3"]);
    hydrant.signal(rustix::process::Signal::STOP);
    scene.truncate("app.log");
    writer.write_all_at(b"4\n", 100_000).expect("a line far behind");
    hydrant.signal(rustix::process::Signal::CONT);
    scene.arrive(&["1", "2", "3", "4"]);
    scene.settled("app.log", 100_002);
    hydrant.kill_9();
    scene.truncate("app.log");
    writer.write_all_at(b"5\n", 200_000).expect("a line far behind");
    Hydrant::drain(&scene.scratch, &scene.config);
    scene.arrive(&["1", "2", "3", "4", "5"]);
}

#[test]
fn bytes_that_nobody_could_read_are_reported() {
    let scene = Scene::new();
    scene.scratch.log("app.log", "1\n");
    let hydrant = scene.run();
    scene.arrive(&["1"]);
    append(&scene.path("app.log"), "2\na line that never ends");
    // One write: whoever has seen its first line has seen all of it.
    scene.arrive(&["1", "2"]);
    scene.truncate("app.log");
    wait_until("the loss is in the log", || hydrant.said("lost_bytes=22") == 1);
    scene.ends_with(hydrant, &["1", "2"]);
}

/// `gone_since` is set back by more than the configured hours, as if the time had passed.
#[test]
fn a_file_that_is_gone_is_remembered_for_a_while_and_then_forgotten() {
    let scene = Scene::new();
    scene.scratch.log("app.log.gone", "1\n");
    scene.scratch.log("app.log", "2\n");
    let hydrant = scene.run();
    scene.arrive(&["1", "2"]);
    fs::remove_file(scene.path("app.log.gone")).expect("a log removed");
    let count = |condition: &str| journal::partitions(&scene.scratch, condition);
    wait_until("it is known to be gone", || count("gone_since IS NOT NULL") == 1);
    hydrant.terminate().expect_code(0);
    Hydrant::drain(&scene.scratch, &scene.config);
    assert_eq!(count("1"), 2);
    let set_back = "UPDATE source_partition SET gone_since = gone_since - 169 * 3600 * 1000, checkpoint = checkpoint";
    rusqlite::Connection::open(journal::journal_path(&scene.scratch))
        .expect("the journal")
        .execute(set_back, [])
        .expect("set back");
    Hydrant::drain(&scene.scratch, &scene.config);
    assert_eq!((count("1"), count("gone_since IS NULL")), (1, 1), "the living one is kept");
    scene.arrive(&["1", "2"]);
}

#[test]
fn a_file_made_again_under_its_name_is_read_from_its_beginning() {
    let scene = Scene::new();
    let path = scene.scratch.log("app.log", "1\n2\n");
    let hydrant = scene.run();
    scene.arrive(&["1", "2"]);
    fs::remove_file(&path).expect("a log removed");
    scene.scratch.log("app.log", "1\n2\n3\n");
    scene.arrive(&["1", "1", "2", "2", "3"]);
    scene.settled("app.log", 6);
    hydrant.kill_9();
    // While down, with the same inode number where the file system gives it again, larger and smaller.
    fs::remove_file(&path).expect("a log removed");
    scene.scratch.log("app.log", "larger 1\nlarger 2\n");
    Hydrant::drain(&scene.scratch, &scene.config);
    scene.arrive(&["1", "1", "2", "2", "3", "larger 1", "larger 2"]);
    fs::remove_file(&path).expect("a log removed");
    scene.scratch.log("app.log", "s\n");
    Hydrant::drain(&scene.scratch, &scene.config);
    scene.arrive(&["1", "1", "2", "2", "3", "larger 1", "larger 2", "s"]);
}

#[test]
fn a_symlink_that_turns_to_another_file_leads_to_both() {
    let scratch = Scratch::new();
    let (a, b, link) = (scratch.path("a"), scratch.path("b"), scratch.logs().join("current.log"));
    fs::write(&a, "a 1\n").expect("a log");
    fs::write(&b, "b 1\n").expect("a log");
    std::os::unix::fs::symlink(&a, &link).expect("a link");
    let config = config(&scratch, [stream("s", &link, directory(&scratch.out()))]);
    let hydrant = Hydrant::run(&scratch, &config);
    let arrive = |lines: &[&str]| wait_until("they arrive", || delivered_lines(&scratch.out()) == lines);
    arrive(&["a 1"]);
    append(&a, "a 2\n");
    std::os::unix::fs::symlink(&b, scratch.path("next")).expect("a link");
    fs::rename(scratch.path("next"), &link).expect("the link turned");
    arrive(&["a 1", "a 2", "b 1"]);
    append(&a, "a 3\n");
    append(&b, "b 2\n");
    arrive(&["a 1", "a 2", "a 3", "b 1", "b 2"]);
    hydrant.terminate().expect_code(0);
}

#[test]
fn a_deleted_file_is_read_to_its_end() {
    use std::io::Write;
    let scene = Scene::new();
    let path = scene.scratch.log("app.log", "1\n");
    let mut writer = fs::OpenOptions::new().append(true).open(&path).expect("a writer");
    let hydrant = scene.run();
    scene.arrive(&["1"]);
    fs::remove_file(&path).expect("a log removed");
    writer.write_all(b"2\n").expect("a late line");
    scene.arrive(&["1", "2"]);
    hydrant.terminate().expect_code(0);
}

#[test]
fn a_file_that_becomes_readable_later_is_read() {
    use std::os::unix::fs::PermissionsExt;
    let scene = Scene::new();
    // Root may read everything, so a name that leads nowhere stands for a file that cannot be opened.
    let away = scene.scratch.path("away");
    std::os::unix::fs::symlink(away.join("file"), scene.path("app.log.link")).expect("a link");
    scene.scratch.log("app.log", "1\n");
    let hydrant = scene.run();
    scene.arrive(&["1"]);
    fs::create_dir(&away).expect("a folder");
    fs::write(away.join("file"), "2\n").expect("a log");
    fs::set_permissions(&away, fs::Permissions::from_mode(0o755)).expect("permissions");
    append(&scene.path("app.log"), "3\n");
    // Any event in the folder makes it look again.
    scene.scratch.log("app.log.event", "4\n");
    scene.arrive(&["1", "2", "3", "4"]);
    hydrant.terminate().expect_code(0);
}

#[test]
fn hundreds_of_small_files_that_come_and_go_are_all_read() {
    let scene = Scene::new();
    let hydrant = scene.run();
    let mut expected = Vec::new();
    for n in 0..600 {
        scene.scratch.log(&format!("app.log-20261121-{n:04}"), format!("line {n:04}\n"));
        expected.push(format!("line {n:04}"));
    }
    wait_until("all are delivered", || scene.lines().len() >= expected.len());
    assert_eq!(scene.lines(), expected);
    hydrant.terminate().expect_code(0);
}

#[test]
fn a_file_written_anew_while_down_is_read_from_its_beginning_though_its_inode_number_is_the_same() {
    let scene = Scene::new();
    let path = scene.scratch.log("app.log", "1\n2\n");
    Hydrant::drain(&scene.scratch, &scene.config);
    fs::write(&path, "larger 1\nlarger 2\n").expect("a log written anew");
    Hydrant::drain(&scene.scratch, &scene.config);
    fs::write(&path, "s\n").expect("a log written anew");
    Hydrant::drain(&scene.scratch, &scene.config);
    scene.arrive(&["1", "2", "larger 1", "larger 2", "s"]);
}

#[test]
fn a_copy_whose_name_does_not_extend_its_originals_is_read() {
    let scene = Scene::new();
    scene.scratch.log("app.log.1", "1\n2\n");
    let hydrant = scene.run();
    scene.arrive(&["1", "2"]);
    scene.copy("app.log.1", "app.log.2");
    scene.ends_with(hydrant, &["1", "1", "2", "2"]);
}

#[test]
fn a_name_that_cannot_be_read_is_complained_about_once_and_read_when_it_can_be() {
    let scene = Scene::new();
    // A link in a circle is an error to root too, whom no permission stops.
    let circle = scene.path("app.log.circle");
    std::os::unix::fs::symlink(&circle, &circle).expect("a link to itself");
    scene.scratch.log("app.log", "1\n");
    let hydrant = scene.run();
    scene.arrive(&["1"]);
    scene.scratch.log("app.log.other", "2\n");
    scene.arrive(&["1", "2"]);
    assert_eq!(hydrant.said("it cannot be read; it is tried again"), 1);
    fs::remove_file(&circle).expect("the link removed");
    fs::write(&circle, "3\n").expect("a log in its place");
    scene.arrive(&["1", "2", "3"]);
    hydrant.terminate().expect_code(0);
}
