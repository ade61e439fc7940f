//! Which file is which: files that only look alike, under one name or several, gone and made again.

use std::fs;

use crate::support::scratch::append;
use crate::support::{Hydrant, Scene, Scratch, config, delivered_lines, directory, journal, stream, wait_until};

#[test]
fn files_with_the_same_beginning_are_all_read() {
    let scene = Scene::new();
    let header = format!("{}\n", "h".repeat(5_000));
    scene.scratch.log("app.log", format!("{header}1\n"));
    let hydrant = scene.run_impatient();
    scene.arrive(&[header.trim_end(), "1"]);
    scene.scratch.log("app.log.other", format!("{header}2\n"));
    scene.arrive(&[header.trim_end(), header.trim_end(), "1", "2"]);
    // First the header alone, as if it were a copy that is being made.
    scene.scratch.log("app.log.later", &header);
    scene.append("app.log.later", "3\n");
    let all = [header.trim_end(), header.trim_end(), header.trim_end(), "1", "2", "3"];
    scene.arrive(&all);
    scene.ends_with(hydrant, &all);
}

/// `gone_since` is set back by more than the configured hours, as if the time had passed.
#[test]
fn a_file_that_is_gone_is_remembered_for_a_while_and_then_forgotten() {
    let scene = Scene::new();
    scene.scratch.log("app.log.gone", "1\n");
    scene.scratch.log("app.log", "2\n");
    let hydrant = scene.run_impatient();
    scene.arrive(&["1", "2"]);
    scene.remove("app.log.gone");
    let count = |condition: &str| journal::partitions(&scene.scratch, condition);
    wait_until("it is known to be gone", || count("gone_since IS NOT NULL") == 1);
    hydrant.terminate().expect_code(0);
    scene.drain();
    assert_eq!(count("1"), 2);
    let set_back = "UPDATE source_partition SET gone_since = gone_since - 169 * 3600 * 1000, checkpoint = checkpoint";
    rusqlite::Connection::open(journal::journal_path(&scene.scratch))
        .expect("the journal")
        .execute(set_back, [])
        .expect("set back");
    scene.drain();
    assert_eq!((count("1"), count("gone_since IS NULL")), (1, 1), "the living one is kept");
    scene.arrive(&["1", "2"]);
}

#[test]
fn a_file_made_again_under_its_name_is_read_from_its_beginning() {
    let scene = Scene::new();
    let path = scene.scratch.log("app.log", "1\n2\n");
    let hydrant = scene.run_impatient();
    scene.arrive(&["1", "2"]);
    fs::remove_file(&path).expect("a log removed");
    scene.scratch.log("app.log", "1\n2\n3\n");
    scene.arrive(&["1", "1", "2", "2", "3"]);
    scene.settled("app.log", 6);
    hydrant.kill_9();
    // While down, with the same inode number where the file system gives it again, larger and smaller.
    fs::remove_file(&path).expect("a log removed");
    scene.scratch.log("app.log", "larger 1\nlarger 2\n");
    scene.drain();
    scene.arrive(&["1", "1", "2", "2", "3", "larger 1", "larger 2"]);
    fs::remove_file(&path).expect("a log removed");
    scene.scratch.log("app.log", "s\n");
    scene.drain();
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
    let hydrant = scene.run_impatient();
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
    let hydrant = scene.run_impatient();
    scene.arrive(&["1"]);
    fs::create_dir(&away).expect("a folder");
    fs::write(away.join("file"), "2\n").expect("a log");
    fs::set_permissions(&away, fs::Permissions::from_mode(0o755)).expect("permissions");
    scene.append("app.log", "3\n");
    // Any event in the folder makes it look again.
    scene.scratch.log("app.log.event", "4\n");
    scene.arrive(&["1", "2", "3", "4"]);
    hydrant.terminate().expect_code(0);
}

#[test]
fn hundreds_of_small_files_that_come_and_go_are_all_read() {
    let scene = Scene::new();
    let hydrant = scene.run_impatient();
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
fn a_name_that_cannot_be_read_is_complained_about_once_and_read_when_it_can_be() {
    let scene = Scene::new();
    // A link in a circle is an error to root too, whom no permission stops.
    let circle = scene.path("app.log.circle");
    std::os::unix::fs::symlink(&circle, &circle).expect("a link to itself");
    scene.scratch.log("app.log", "1\n");
    let hydrant = scene.run_impatient();
    scene.arrive(&["1"]);
    scene.scratch.log("app.log.other", "2\n");
    scene.arrive(&["1", "2"]);
    assert_eq!(hydrant.said("it cannot be read; it is tried again"), 1);
    fs::remove_file(&circle).expect("the link removed");
    fs::write(&circle, "3\n").expect("a log in its place");
    scene.arrive(&["1", "2", "3"]);
    hydrant.terminate().expect_code(0);
}
