//! Rotation by rename and create: the renamed file is read to its end, wherever it went and whenever that was.

use std::fs::File;
use std::io::Write;

use crate::support::lines::Rotation;
use crate::support::{Hydrant, Ledger, Log, Objects, Scratch, config, delivered_lines, directory, stream, wait_until};

fn rotates_while_running(rotation: Rotation, glob: &str) {
    let scratch = Scratch::new();
    let mut log = Log::create(&scratch.logs(), "app.log", rotation);
    let config = config(&scratch, [stream("s", &scratch.logs().join(glob), directory(&scratch.out()))]);
    let hydrant = Hydrant::run(&scratch, &config);
    for _ in 0..4 {
        log.append(400);
        arrives(&scratch, &log);
        // The last lines of the old file are written when nobody has looked at it since.
        log.append(50);
        log.rotate();
        log.append(50);
        arrives(&scratch, &log);
    }
    hydrant.terminate().expect_code(0);
    Ledger::of(&[log]).assert_exactly_once(&scratch.out());
}

fn rotates_while_down(rotation: Rotation, glob: &str) {
    let scratch = Scratch::new();
    let mut log = Log::create(&scratch.logs(), "app.log", rotation);
    let config = config(&scratch, [stream("s", &scratch.logs().join(glob), directory(&scratch.out()))]);
    log.append(400);
    let hydrant = Hydrant::run(&scratch, &config);
    arrives(&scratch, &log);
    hydrant.kill_9();
    log.append(300);
    log.rotate();
    log.append(300);
    Hydrant::drain(&scratch, &config);
    Ledger::of(&[log]).assert_exactly_once(&scratch.out());
}

#[track_caller]
fn arrives(scratch: &Scratch, log: &Log) {
    let ledger = Ledger::of(std::slice::from_ref(log));
    wait_until("all lines so far are delivered", || ledger.verify(&Objects::read(&scratch.out())).is_ok());
}

/// Lines through the old descriptor: right after the rename, when the new file is known, and while Hydrant is down.
fn written_late(to: &str, glob: &str) {
    let scratch = Scratch::new();
    let path = scratch.log("app.log", "1\n");
    let mut writer = File::options().append(true).open(&path).expect("a writer");
    let mut write = |line: &str| writer.write_all(line.as_bytes()).expect("a late line");
    let config = config(&scratch, [stream("s", &scratch.logs().join(glob), directory(&scratch.out()))]);
    let hydrant = Hydrant::run(&scratch, &config);
    let arrive = |lines: &[&str]| wait_until("they arrive", || delivered_lines(&scratch.out()) == lines);
    arrive(&["1"]);
    std::fs::rename(&path, scratch.logs().join(to)).expect("a log renamed");
    write("2 late\n");
    scratch.log("app.log", "3 new\n");
    arrive(&["1", "2 late", "3 new"]);
    write("4 late\n");
    arrive(&["1", "2 late", "3 new", "4 late"]);
    hydrant.kill_9();
    write("5 late\n");
    Hydrant::drain(&scratch, &config);
    arrive(&["1", "2 late", "3 new", "4 late", "5 late"]);
}

#[test]
fn lines_that_are_written_late_to_a_shifted_file_are_read() {
    written_late("app.log.1", "app.log*");
}

#[test]
fn lines_that_are_written_late_to_a_file_out_of_the_glob_are_read() {
    written_late("old.log", "app.log");
}

#[test]
fn a_shifted_file_is_not_read_again() {
    rotates_while_running(Rotation::Shift, "app.log*");
}

#[test]
fn a_file_renamed_out_of_the_glob_is_read_to_its_end() {
    rotates_while_running(Rotation::OutOfTheGlob, "app.log");
}

#[test]
fn a_file_shifted_while_down_keeps_its_place() {
    rotates_while_down(Rotation::Shift, "app.log*");
}

#[test]
fn a_file_renamed_out_of_the_glob_while_down_is_read_to_its_end() {
    rotates_while_down(Rotation::OutOfTheGlob, "app.log");
}
