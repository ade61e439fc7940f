//! While a destination is away, reading waits; what happens to the files meanwhile is seen all the same.

use std::path::Path;

use crate::support::config::blockable_directory;
use crate::support::lines::Rotation;
use crate::support::scratch::{InTheWay, append};
use crate::support::{Hydrant, Ledger, Log, Objects, Scratch, config, delivered_lines, journal, stream, wait_until};

/// Far more than buffers and deliveries under way hold with `config_of_little_memory`.
const BACKLOG_LINES: u64 = 40_000;

fn config_of_little_memory(scratch: &Scratch, glob: &str) -> serde_json::Value {
    let mut config = config(scratch, [stream("s", &scratch.logs().join(glob), blockable_directory(&scratch.out()))]);
    config["memory_limit_mb"] = 16.into();
    config
}

/// Started, and come to a halt in the middle of a file.
fn halted(scratch: &Scratch, config: &serde_json::Value, file: &Path) -> Hydrant {
    let hydrant = Hydrant::run(scratch, config);
    wait_until("the destination refuses", || hydrant.said("ENOTDIR") > 0);
    hydrant.wait_until_reading_halts();
    let size = std::fs::metadata(file).expect("the log").len();
    assert!(hydrant.bytes_read() < size, "it waits before it has read all {size} bytes");
    hydrant
}

#[test]
fn files_that_come_and_are_renamed_while_reading_waits_are_delivered() {
    let scratch = Scratch::new();
    let in_the_way = InTheWay::of(&scratch.out());
    let mut log = Log::create(&scratch.logs(), "app.log", Rotation::OutOfTheGlob);
    log.append(BACKLOG_LINES);
    let config = config_of_little_memory(&scratch, "app.log");
    let hydrant = halted(&scratch, &config, &scratch.logs().join("app.log"));
    for files in 2..=3 {
        log.rotate();
        log.append(10);
        wait_until("the new file is seen", || hydrant.said("a file is read that was not seen before") == files);
    }
    drop(in_the_way);
    let ledger = Ledger::of(&[log]);
    wait_until("all is delivered", || Objects::read(&scratch.out()).lines_total() as u64 >= ledger.total());
    hydrant.terminate().expect_code(0);
    ledger.assert_exactly_once(&scratch.out());
}

#[test]
fn a_file_truncated_while_reading_waits_is_given_up_and_holds_up_nothing() {
    let scratch = Scratch::new();
    let in_the_way = InTheWay::of(&scratch.out());
    let old = |n: u64| format!("old {n:08} {}", "x".repeat(100));
    let path = scratch.log("a.log", (0..BACKLOG_LINES).map(|n| old(n) + "\n").collect::<String>());
    let hydrant = halted(&scratch, &config_of_little_memory(&scratch, "*.log"), &path);

    std::fs::File::options().write(true).open(&path).and_then(|file| file.set_len(0)).expect("a log cut to nothing");
    let reports = |line: &str| line.contains("truncated") && line.contains("lost_bytes=") && line.contains("ERROR");
    wait_until("the loss is in the log", || hydrant.stderr().lines().any(reports));
    drop(in_the_way);
    append(&path, "new 1\nnew 2\n");
    scratch.log("b.log", "other 1\nother 2\n");
    let is_new = |line: &String| !line.starts_with("old ");
    wait_until("what came later is delivered", || {
        delivered_lines(&scratch.out()).into_iter().filter(is_new).eq(["new 1", "new 2", "other 1", "other 2"])
    });
    wait_until("it rests", || hydrant.is_idle());
    hydrant.terminate().expect_code(0);

    // Of the old lines a beginning is there, each once; the end of it may have been cut within a line.
    let delivered = delivered_lines(&scratch.out());
    let old_lines: Vec<&String> = delivered.iter().filter(|line| !is_new(line)).collect();
    assert!(old_lines.len() > 100 && old_lines.len() < BACKLOG_LINES as usize, "{} old lines", old_lines.len());
    for (n, line) in old_lines.iter().enumerate() {
        let is_last = n + 1 == old_lines.len();
        assert!(**line == old(n as u64) || is_last, "line {n}: {line}");
    }
}

fn partitions_at(scratch: &Scratch, name: &str, condition: &str) -> u64 {
    let place = scratch.logs().join(name);
    journal::partitions(scratch, &format!("place = '{}' AND {condition}", place.display()))
}

#[test]
fn what_is_truncated_before_anything_of_it_was_read_is_reported_unless_a_copy_has_it() {
    let scratch = Scratch::new();
    let in_the_way = InTheWay::of(&scratch.out());
    let path = scratch.log("a.log", (0..BACKLOG_LINES).map(|n| format!("old {n:0108}\n")).collect::<String>());
    let hydrant = halted(&scratch, &config_of_little_memory(&scratch, "*.log*"), &path);

    let lost = scratch.log("b.log", "lost 1\nlost 2\n");
    let kept = scratch.log("c.log", "kept 1\nkept 2\n");
    wait_until("both are known", || hydrant.said("a file is read that was not seen before") == 3);
    std::fs::write(&lost, "new b\n").expect("a log written anew, and smaller");
    wait_until("the loss is in the log", || hydrant.said("lost_bytes=14") == 1);
    std::fs::copy(&kept, scratch.logs().join("c.log.1")).expect("a log copied");
    std::fs::write(&kept, "new c\n").expect("a log written anew, and smaller");
    // A copy that has got lines of its own since has it as well.
    let shared = scratch.log("d.log", "shared 1\nshared 2\n");
    wait_until("it is known", || partitions_at(&scratch, "d.log", "checkpoint = 0") == 1);
    std::fs::copy(&shared, scratch.logs().join("d.log-copy")).expect("a log copied");
    wait_until("the copy is known", || partitions_at(&scratch, "d.log-copy", "copy_of IS NOT NULL") == 1);
    append(&scratch.logs().join("d.log-copy"), "own\n");
    wait_until("it stands alone", || partitions_at(&scratch, "d.log-copy", "copy_of IS NULL AND checkpoint = 18") == 1);
    std::fs::write(&shared, "new d\n").expect("a log written anew, and smaller");
    wait_until("that is seen", || {
        hydrant.said("what was not read of a truncated file is read from what was its copy") == 1
    });
    drop(in_the_way);
    let is_new = |line: &String| !line.starts_with("old ");
    let expected = ["kept 1", "kept 2", "new b", "new c", "new d", "own", "shared 1", "shared 2"];
    wait_until("what is left is delivered", || delivered_lines(&scratch.out()).into_iter().filter(is_new).eq(expected));
    wait_until("the large one too", || Objects::read(&scratch.out()).lines_total() as u64 == BACKLOG_LINES + 8);
    assert_eq!(hydrant.said("lost_bytes="), 1);
    hydrant.terminate().expect_code(0);
}
