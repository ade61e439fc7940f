//! SIGTERM delivers what is buffered, SIGHUP takes up a changed configuration and nothing else.

use std::os::unix::net::UnixDatagram;

use rustix::process::Signal;
use serde_json::json;

use crate::support::hydrant::{config_path, write_config};
use crate::support::lines::Rotation;
use crate::support::s3::BUCKET;
use crate::support::scratch::append;
use crate::support::{
    DEADLINE, Fault, FaultProxy, Hydrant, Ledger, Log, Objects, S3Server, Scratch, config, delivered_lines, directory,
    objects::keys, s3_destination, stream, wait_until,
};

#[test]
fn sigterm_delivers_what_is_buffered() {
    let scratch = Scratch::new();
    let mut log = Log::create(&scratch.logs(), "app.log", Rotation::Shift);
    log.append(20_000);
    let size = std::fs::metadata(scratch.logs().join("app.log")).expect("the log").len();
    let mut stream = stream("s", &scratch.logs().join("*.log"), directory(&scratch.out()));
    stream["buffering"] = json!({ "size_mb": 100, "interval_seconds": 900 });
    let config = config(&scratch, [stream]);
    let hydrant = Hydrant::run(&scratch, &config);
    wait_until("the log has been read", || hydrant.bytes_read() >= size);
    assert_eq!(keys(&scratch.out()), Vec::<String>::new(), "neither limit is reached");
    hydrant.terminate().expect_code(0);
    // What it read besides the log at its start, and what was still on its way, may be missing here: not most of it.
    let delivered = Objects::read(&scratch.out()).lines().len();
    assert!(delivered > 10_000, "only {delivered} lines of 20000 at the end of the first life");
    Hydrant::drain(&scratch, &config);
    Ledger::of(&[log]).assert_exactly_once(&scratch.out());
}

#[test]
fn sigterm_ends_in_time_when_the_destination_is_dead_and_loses_nothing() {
    let scratch = Scratch::new();
    let s3 = S3Server::start(&scratch.path("s3"));
    let proxy = FaultProxy::start(s3.address(), 1, &[Fault::Hang]);
    let mut log = Log::create(&scratch.logs(), "app.log", Rotation::Shift);
    log.append(1_000);
    let destination = s3_destination(&proxy.endpoint(), BUCKET);
    let mut config = config(&scratch, [stream("s", &scratch.logs().join("*.log"), destination)]);
    config["shutdown_timeout_seconds"] = 1.into();
    let hydrant = Hydrant::run(&scratch, &config);
    wait_until("it has tried", || proxy.met(Fault::Hang) > 0);
    hydrant.terminate().expect_code(0);
    assert_eq!(keys(&s3.bucket()), Vec::<String>::new());
    proxy.heal();
    Hydrant::drain(&scratch, &config);
    Ledger::of(&[log]).assert_exactly_once(&s3.bucket());
}

#[test]
fn a_second_sigterm_ends_it_at_once() {
    let scratch = Scratch::new();
    scratch.log("a.log", "one\n");
    let glob = scratch.logs().join("*.log");
    let mut dead = config(&scratch, [stream("s", &glob, s3_destination("http://127.0.0.1:9", "lake"))]);
    dead["shutdown_timeout_seconds"] = 3600.into();
    let hydrant = Hydrant::run(&scratch, &dead);
    wait_until("it has tried", || hydrant.stderr().contains("WARN"));
    hydrant.signal(Signal::TERM);
    // The first signal must have been taken before the second counts as one.
    let seen = hydrant.stderr().len();
    wait_until("it has heard", || hydrant.stderr().len() > seen);
    hydrant.terminate();
}

#[test]
fn systemd_is_told_when_it_is_ready_and_when_it_stops() {
    let scratch = Scratch::new();
    scratch.log("a.log", "one\n");
    let path = scratch.path("notify");
    let socket = UnixDatagram::bind(&path).expect("a socket in the scratch folder");
    socket.set_read_timeout(Some(DEADLINE)).expect("a deadline");
    let config = config(&scratch, [stream("s", &scratch.logs().join("*.log"), directory(&scratch.out()))]);
    let env = [("NOTIFY_SOCKET", path.to_str().expect("UTF-8"))];
    let hydrant = Hydrant::run_with_env(&scratch, &config, &env);
    let told = |what: &str| {
        let mut message = [0; 4096];
        loop {
            let length = socket.recv(&mut message).unwrap_or_else(|error| panic!("waiting for {what}: {error}"));
            if String::from_utf8_lossy(&message[..length]).lines().any(|line| line == what) {
                return;
            }
        }
    };
    told("READY=1");
    // Whoever says that it is ready can be stopped properly from that moment on.
    hydrant.terminate().expect_code(0);
    told("STOPPING=1");
}

#[test]
fn sighup_adds_a_stream_and_changes_one() {
    let scratch = Scratch::new();
    let log = scratch.log("a.log", "first\n");
    let glob = scratch.logs().join("*.log");
    let to = |name: &str, folder: &str| stream(name, &glob, directory(&scratch.out().join(folder)));
    let lines = |folder: &str| delivered_lines(&scratch.out().join(folder));

    let hydrant = Hydrant::run(&scratch, &config(&scratch, [to("same", "same"), to("moved", "old")]));
    wait_until("both deliver", || lines("same") == ["first"] && lines("old") == ["first"]);

    write_config(&scratch, &config(&scratch, [to("same", "same"), to("moved", "new"), to("added", "added")]));
    hydrant.signal(Signal::HUP);
    wait_until("the added stream reads from the start", || lines("added") == ["first"]);
    append(&log, "second\n");
    wait_until("the moved stream goes on in its new folder", || lines("new") == ["second"]);
    wait_until("the others too", || lines("same") == ["first", "second"] && lines("added") == ["first", "second"]);
    assert_eq!(lines("old"), ["first"]);

    write_config(&scratch, &config(&scratch, [to("same", "same")]));
    hydrant.signal(Signal::HUP);
    // A stream that was removed may still take a line until the signal is heard; one that stayed takes all.
    append(&log, "third\n");
    wait_until("the remaining stream delivers", || lines("same") == ["first", "second", "third"]);
    hydrant.terminate().expect_code(0);
}

#[test]
fn sighup_with_an_invalid_file_changes_nothing() {
    let scratch = Scratch::new();
    let log = scratch.log("a.log", "first\n");
    let config = config(&scratch, [stream("s", &scratch.logs().join("*.log"), directory(&scratch.out()))]);
    let hydrant = Hydrant::run(&scratch, &config);
    wait_until("it delivers", || delivered_lines(&scratch.out()) == ["first"]);
    std::fs::write(config_path(&scratch), "delivery_streems: []\n").expect("the configuration written");
    hydrant.signal(Signal::HUP);
    wait_until("the mistake is reported", || hydrant.stderr().contains("delivery_streems"));
    append(&log, "second\n");
    wait_until("it goes on as before", || delivered_lines(&scratch.out()) == ["first", "second"]);
    hydrant.terminate().expect_code(0);
}

/// Stopped where it reads its configuration for the first time, which may take as long as its components take to compile.
fn loading(scratch: &Scratch) -> Hydrant {
    scratch.log("a.log", "first\n");
    let config = config(scratch, [stream("s", &scratch.logs().join("*.log"), directory(&scratch.out()))]);
    let hydrant = Hydrant::run_with_env(scratch, &config, &[("HYDRANT_STOP", "load:1")]);
    hydrant.wait_until_halted();
    hydrant
}

#[test]
fn sighup_while_the_configuration_is_loaded_is_a_reload_afterwards() {
    let scratch = Scratch::new();
    let hydrant = loading(&scratch);
    hydrant.signal(Signal::HUP);
    hydrant.go_on();
    wait_until("it has reloaded", || hydrant.said("the configuration was read again") == 1);
    wait_until("it delivers", || delivered_lines(&scratch.out()) == ["first"]);
    hydrant.terminate().expect_code(0);
}

#[test]
fn sigterm_while_the_configuration_is_loaded_ends_it_in_order() {
    let scratch = Scratch::new();
    let hydrant = loading(&scratch);
    hydrant.signal(Signal::TERM);
    hydrant.go_on();
    hydrant.wait().expect_code(0);
}
