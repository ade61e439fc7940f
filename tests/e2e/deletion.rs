//! `on_delivered: delete`: files go once they are delivered by every delivery stream and left alone, and only then.

use std::fs::{self, OpenOptions, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::support::config::blockable_directory;
use crate::support::scratch::{InTheWay, append};
use crate::support::{
    Hydrant, Scratch, config, delivered_lines, directory, fast_buffering, objects::keys, stream, wait_until,
};

/// Long waits are over at once.
const SHORT: [(&str, &str); 1] = [("HYDRANT_LINGER_MS", "50")];

/// Deletes what it has delivered at once.
fn deleting(name: &str, glob: &Path, destination: Value) -> Value {
    let mut stream = stream(name, glob, destination);
    stream["source"]["file"]["on_delivered"] = "delete".into();
    stream["source"]["file"]["delete_after_seconds"] = 0.into();
    stream
}

#[test]
fn delivered_files_go_and_all_others_stay() {
    let scratch = Scratch::new();
    let whole = scratch.log("whole.log", "one\n");
    let half = scratch.log("half.log", "two\nha");
    let empty = scratch.log("empty.log", "");
    let kept = scratch.log("kept.txt", "three\n");
    let target = scratch.path("target");
    std::fs::write(&target, "four\n").expect("a file elsewhere");
    let link = scratch.logs().join("link.log");
    std::os::unix::fs::symlink(&target, &link).expect("a link");
    let keeps = stream("keeps", &scratch.logs().join("*.txt"), directory(&scratch.out()));
    let deletes = deleting("deletes", &scratch.logs().join("*.log"), directory(&scratch.out()));
    let config = config(&scratch, [keeps, deletes]);
    let hydrant = Hydrant::run_with_env(&scratch, &config, &SHORT);
    wait_until("the delivered file is deleted", || !whole.exists());
    // The name goes before the log says so.
    wait_until("and that is said of this file", || {
        hydrant
            .stderr()
            .lines()
            .any(|line| line.contains("a file was deleted") && line.contains("whole.log") && line.contains("size=4"))
    });
    wait_until("all is delivered", || delivered_lines(&scratch.out()) == ["four", "one", "three", "two"]);
    // Once its line is whole it goes too; in the same look the others would have gone.
    append(&half, "lf\n");
    wait_until("the other one is deleted", || !half.exists());
    assert!(empty.exists() && kept.exists() && link.exists() && target.exists());
    hydrant.terminate().expect_code(0);
    assert_eq!(delivered_lines(&scratch.out()), ["four", "half", "one", "three", "two"]);
}

#[test]
fn a_file_that_got_its_size_first_goes_when_its_text_is_delivered_and_an_empty_one_stays() {
    let scratch = Scratch::new();
    let (filled, empty) = (scratch.log("a.log", "one\n\0\0\0\0"), scratch.log("b.log", "\0\0\0\0"));
    let deletes = deleting("s", &scratch.logs().join("*.log"), directory(&scratch.out()));
    let hydrant = Hydrant::run_with_env(&scratch, &config(&scratch, [deletes]), &SHORT);
    wait_until("the filled one is deleted", || !filled.exists());
    let marker = scratch.log("c.log", "two\n");
    wait_until("a file that came later is deleted", || !marker.exists());
    assert!(empty.exists(), "its writer has just begun it");
    fs::write(&empty, "three\n\0").expect("a log filled");
    wait_until("it is deleted", || !empty.exists());
    hydrant.terminate().expect_code(0);
    assert_eq!(delivered_lines(&scratch.out()), ["one", "three", "two"]);
}

#[test]
fn a_file_whose_beginning_was_skipped_stays() {
    let scratch = Scratch::new();
    let log = scratch.log("a.log", "old\n");
    let mut deletes = deleting("s", &scratch.logs().join("*.log"), directory(&scratch.out()));
    deletes["source"]["file"]["initial_position"] = "latest".into();
    let config = config(&scratch, [deletes]);
    let hydrant = Hydrant::run_with_env(&scratch, &config, &SHORT);
    wait_until("the first scan is journalled", || hydrant.said("a file is read that was not seen before") > 0);
    append(&log, "new\n");
    wait_until("it is delivered", || delivered_lines(&scratch.out()) == ["new"]);
    let later = scratch.log("b.log", "later\n");
    wait_until("a file that came later is deleted", || !later.exists());
    hydrant.terminate().expect_code(0);
    assert!(log.exists(), "nobody has its beginning");
}

#[test]
fn a_compressed_file_goes_when_its_content_is_delivered_and_a_broken_one_stays() {
    let scratch = Scratch::new();
    let packed = |lines: &[u8]| zstd::encode_all(lines, 1).expect("compressed lines");
    let broken = scratch.logs().join("a.log.zst");
    // The last bytes are missing of a second frame.
    let frames = [packed(b"one\n"), packed(b"two\n")].concat();
    fs::write(&broken, &frames[..frames.len() - 3]).expect("a broken file");
    let whole = scratch.logs().join("b.log.zst");
    fs::write(&whole, packed(b"three\n")).expect("a compressed file");
    let deletes = deleting("s", &scratch.logs().join("*.zst"), directory(&scratch.out()));
    let hydrant = Hydrant::run_with_env(&scratch, &config(&scratch, [deletes]), &SHORT);
    wait_until("the whole one is deleted", || !whole.exists());
    wait_until("the broken one is kept", || hydrant.said("a file is kept") == 1);
    assert!(broken.exists() && hydrant.stderr().contains("cannot be decompressed to its end"), "{}", hydrant.stderr());
    hydrant.terminate().expect_code(0);
    let lines = delivered_lines(&scratch.out());
    assert!(lines.contains(&"one".to_owned()) && lines.contains(&"three".to_owned()), "{lines:?}");
}

#[test]
fn a_file_waits_for_every_stream_that_reads_it_and_for_its_copies() {
    let scratch = Scratch::new();
    let log = scratch.log("a.log", "one\n");
    let marker = scratch.log("marker.log", "two\n");
    let (slow, copies) = (scratch.path("slow"), scratch.backup());
    let ways = [InTheWay::of(&slow), InTheWay::of(&copies)];
    let deletes = deleting("deletes", &scratch.logs().join("*.log"), directory(&scratch.out()));
    let mut slow = stream("slow", &log, blockable_directory(&slow));
    slow["backup"] = blockable_directory(&copies);
    slow["backup"]["mode"] = "all".into();
    slow["backup"]["buffering"] = fast_buffering();
    let hydrant = Hydrant::run_with_env(&scratch, &config(&scratch, [deletes, slow]), &SHORT);
    for in_the_way in ways {
        wait_until("a file that nobody else reads is deleted", || !marker.exists());
        assert!(log.exists(), "it is not delivered everywhere");
        std::fs::write(&marker, "again\n").expect("the next one");
        drop(in_the_way);
    }
    wait_until("it is deleted", || !log.exists());
    assert_eq!(delivered_lines(&scratch.path("slow")), ["one"]);
    assert_eq!(delivered_lines(&scratch.backup()), ["one"]);
    hydrant.terminate().expect_code(0);
}

#[test]
fn a_file_that_was_rotated_away_goes_before_one_that_is_only_quiet() {
    let scratch = Scratch::new();
    let log = scratch.log("a.log", "one\n");
    let mut stream = deleting("s", &scratch.logs().join("a.log*"), directory(&scratch.out()));
    stream["source"]["file"]["delete_after_seconds"] = 3600.into();
    let hydrant = Hydrant::run_with_env(&scratch, &config(&scratch, [stream]), &SHORT);
    wait_until("it is delivered", || delivered_lines(&scratch.out()) == ["one"]);
    let rotated = scratch.logs().join("a.log.1");
    let mut generation = 1;
    // It counts as rotated if it was seen under its first name: so rotate until one goes.
    wait_until("a rotated file is deleted", || {
        if hydrant.said("a file was deleted") > 0 {
            return true;
        }
        if !rotated.exists() && delivered_lines(&scratch.out()).len() == generation {
            std::fs::rename(&log, &rotated).expect("the log renamed");
            generation += 1;
            std::fs::write(&log, format!("line {generation}\n")).expect("the next log");
        }
        false
    });
    wait_until("the next one is delivered", || delivered_lines(&scratch.out()).len() == generation);
    assert!(log.exists() && !rotated.exists());
    hydrant.terminate().expect_code(0);
}

#[test]
fn a_file_stays_while_its_writer_has_it_open() {
    let scratch = Scratch::new();
    let (log, marker) = (scratch.log("a.log", ""), scratch.log("b.log", ""));
    let mut writer = OpenOptions::new().append(true).open(&log).expect("the log opened");
    writer.write_all(b"one\n").expect("a line");
    let deletes = deleting("s", &scratch.logs().join("*.log"), directory(&scratch.out()));
    let hydrant = Hydrant::run_with_env(&scratch, &config(&scratch, [deletes]), &SHORT);
    wait_until("it is delivered", || delivered_lines(&scratch.out()) == ["one"]);
    append(&marker, "two\n");
    wait_until("a file that came later is deleted", || !marker.exists());
    assert!(log.exists(), "somebody may still write to it");
    writer.write_all(b"three\n").expect("a late line");
    drop(writer);
    wait_until("it is deleted", || !log.exists());
    hydrant.terminate().expect_code(0);
    assert_eq!(delivered_lines(&scratch.out()), ["one", "three", "two"]);
}

#[test]
fn a_file_is_read_on_through_the_descriptor_when_it_has_lost_its_name() {
    let scratch = Scratch::new();
    let log = scratch.log("a.log", "one\n");
    let mut writer = OpenOptions::new().append(true).open(&log).expect("the log opened");
    let deletes = deleting("s", &scratch.logs().join("*.log"), directory(&scratch.out()));
    let hydrant = Hydrant::run(&scratch, &config(&scratch, [deletes]));
    wait_until("it is delivered", || delivered_lines(&scratch.out()) == ["one"]);
    // As Hydrant does where the kernel does not tell that somebody has it open.
    std::fs::remove_file(&log).expect("the log deleted");
    writer.write_all(b"two\n").expect("a late line");
    wait_until("the late line is delivered", || delivered_lines(&scratch.out()) == ["one", "two"]);
    hydrant.terminate().expect_code(0);
}

#[test]
fn a_crash_behind_a_deletion_leaves_nothing_to_do() {
    let scratch = Scratch::new();
    let log = scratch.log("a.log", "one\n");
    let deletes = deleting("s", &scratch.logs().join("*.log"), directory(&scratch.out()));
    let config = config(&scratch, [deletes]);
    for (failpoint, is_there) in [("before-deletion:1", true), ("after-deletion:1", false)] {
        let env = [SHORT[0], ("HYDRANT_FAILPOINT", failpoint)];
        let finished = Hydrant::run_with_env(&scratch, &config, &env).wait();
        assert!(finished.killed(), "{failpoint}: {finished}");
        assert_eq!(log.exists(), is_there, "{failpoint}");
    }
    let next = scratch.log("b.log", "two\n");
    let finished = Hydrant::drain(&scratch, &config);
    assert!(!finished.stderr.contains("ERROR"), "{finished}");
    assert_eq!(delivered_lines(&scratch.out()), ["one", "two"]);
    assert!(!next.exists(), "a drain deletes at its end");
}

#[test]
fn a_file_that_a_crash_left_on_its_way_is_brought_back() {
    let scratch = Scratch::new();
    let log = scratch.log("a.log", "one\n");
    let glob = scratch.logs().join("*.log");
    let deleting = config(&scratch, [deleting("s", &glob, directory(&scratch.out()))]);
    let keeping = config(&scratch, [stream("s", &glob, directory(&scratch.out()))]);
    let aside = scratch.logs().join(".hydrant-delete.a.log");
    let crash = || {
        let env = [SHORT[0], ("HYDRANT_FAILPOINT", "set-aside:1")];
        let finished = Hydrant::run_with_env(&scratch, &deleting, &env).wait();
        assert!(finished.killed() && aside.exists() && !log.exists(), "{finished}");
    };
    crash();
    // Also by a daemon that deletes nothing any more.
    let hydrant = Hydrant::run_with_env(&scratch, &keeping, &SHORT);
    wait_until("it is back", || hydrant.said("is back in its place") == 1);
    assert_eq!(fs::read_to_string(&log).expect("the log"), "one\n");
    hydrant.terminate().expect_code(0);
    crash();
    fs::write(&log, "two\n").expect("the next log");
    let hydrant = Hydrant::run_with_env(&scratch, &keeping, &SHORT);
    let restored = scratch.logs().join("a.log.restored-1");
    wait_until("it is back beside the next one", || restored.exists());
    wait_until("the next one is delivered", || delivered_lines(&scratch.out()) == ["one", "two"]);
    hydrant.terminate().expect_code(0);
    assert!(!aside.exists() && log.exists());
}

#[test]
fn what_becomes_of_files_is_no_new_configuration_to_the_journal() {
    let scratch = Scratch::new();
    let log = scratch.log("a.log", "one\n");
    let glob = scratch.logs().join("*.log");
    Hydrant::drain(&scratch, &config(&scratch, [stream("s", &glob, directory(&scratch.out()))]));
    append(&log, "two\n");
    Hydrant::drain(&scratch, &config(&scratch, [deleting("s", &glob, directory(&scratch.out()))]));
    let keys = keys(&scratch.out());
    assert!(keys.len() == 2 && keys.iter().all(|key| key.contains("/s-1-")), "the version stays: {keys:?}");
    assert!(!log.exists());
}

/// A folder from which nothing can be deleted while this lives: for root that takes a file system with attributes.
struct Unwritable(PathBuf);

impl Unwritable {
    fn make(folder: &Path) -> Option<Self> {
        let is_made = match rustix::process::geteuid().is_root() {
            true => Command::new("chattr").arg("+i").arg(folder).status().is_ok_and(|status| status.success()),
            false => fs::set_permissions(folder, Permissions::from_mode(0o555)).is_ok(),
        };
        is_made.then(|| Self(folder.to_owned()))
    }
}

impl Drop for Unwritable {
    fn drop(&mut self) {
        if rustix::process::geteuid().is_root() {
            let _ = Command::new("chattr").arg("-i").arg(&self.0).status();
        }
        let _ = fs::set_permissions(&self.0, Permissions::from_mode(0o755));
    }
}

#[test]
fn a_folder_that_lets_nothing_be_deleted_is_complained_about_once() {
    let scratch = Scratch::new();
    let log = scratch.log("fixed/a.log", "one\n");
    let Some(unwritable) = Unwritable::make(&scratch.logs().join("fixed")) else {
        println!("root can delete everywhere on this file system (no `chattr +i`): nothing to be seen here");
        return;
    };
    let deletes = deleting("s", &scratch.logs().join("**/*.log"), directory(&scratch.out()));
    let hydrant = Hydrant::run_with_env(&scratch, &config(&scratch, [deletes]), &SHORT);
    wait_until("it is complained about", || hydrant.said("cannot be deleted") > 0);
    for name in ["b.log", "c.log", "d.log"] {
        let next = scratch.log(name, "two\n");
        wait_until("a file elsewhere is deleted in a later look", || !next.exists());
    }
    assert_eq!((hydrant.said("cannot be deleted"), log.exists()), (1, true));
    drop(unwritable);
    wait_until("it is deleted", || !log.exists());
    hydrant.terminate().expect_code(0);
}
