//! Rotation by rename and create: the renamed file is read to its end, wherever it went and whenever that was.

use crate::support::lines::Rotation;
use crate::support::{Hydrant, Ledger, Log, Objects, Scratch, config, directory, stream, wait_until};

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
