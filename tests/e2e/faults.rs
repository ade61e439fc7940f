//! S3 behind a fault proxy: every line exactly once at the end, memory within its limit all the while.

use crate::support::lines::Rotation;
use crate::support::rng::seed;
use crate::support::s3::BUCKET;
use crate::support::{
    Fault, FaultProxy, Hydrant, Ledger, Log, Objects, Rng, S3Server, Scratch, config, s3_destination, stream,
    wait_until,
};

const MEMORY_LIMIT_MB: u64 = 32;
/// The binary itself in a debug build, the SDK, the journal, and an allocator's slack.
const MEMORY_BESIDES_MB: u64 = 96;

/// A stream through the proxy while it plays these faults; ends when each has been met this often.
fn survives(test: &str, faults: &[Fault], times: u64) {
    let seed = seed(test);
    let mut rng = Rng::new(seed);
    let scratch = Scratch::new();
    let s3 = S3Server::start(&scratch.path("s3"));
    let proxy = FaultProxy::start(s3.address(), seed, &[faults, &[Fault::Pass; 2]].concat());
    let mut logs: Vec<Log> =
        ["a.log", "b.log", "c.log"].map(|name| Log::create(&scratch.logs(), name, Rotation::Shift)).into();
    let mut destination = s3_destination(&proxy.endpoint(), BUCKET);
    destination["s3"]["request_timeout_seconds"] = 1.into();
    let mut stream = stream("s", &scratch.logs().join("*.log*"), destination);
    stream["compression"] = "gzip".into();
    let mut config = config(&scratch, [stream]);
    config["memory_limit_mb"] = MEMORY_LIMIT_MB.into();

    let hydrant = Hydrant::run(&scratch, &config);
    let mut rounds = 0;
    wait_until("every fault has been met", || {
        for log in &mut logs {
            log.append_in_two_writes(rng.between(1, 60), &mut rng);
            if rounds % 100 == 99 {
                log.rotate();
            }
        }
        rounds += 1;
        faults.iter().all(|fault| proxy.met(*fault) >= times)
    });
    proxy.heal();
    let ledger = Ledger::of(&logs);
    wait_until("everything has arrived", || {
        let mut objects = Objects::of(&s3.bucket());
        objects.look();
        objects.lines_total() as u64 >= ledger.total()
    });
    let peak = hydrant.peak_memory() >> 20;
    hydrant.terminate().expect_code(0);
    ledger.assert_exactly_once(&s3.bucket());
    println!("{} lines, peak memory {peak} MB", ledger.total());
    assert!(peak < MEMORY_LIMIT_MB + MEMORY_BESIDES_MB, "peak memory {peak} MB");
}

#[test]
fn every_fleeting_fault_is_survived() {
    survives("every fleeting fault", &Fault::FLEETING, 3);
}

#[test]
fn a_server_that_only_hangs_for_a_while_is_survived() {
    survives("hangs", &[Fault::Hang], 3);
}

#[test]
fn lost_answers_are_asked_for_again() {
    survives("lost answers", &[Fault::LostAnswer], 10);
}

#[test]
fn access_denied_for_a_while_is_waited_out() {
    survives("access denied", &[Fault::AccessDenied], 2);
}

#[test]
fn a_missing_bucket_is_waited_for() {
    survives("missing bucket", &[Fault::NoSuchBucket], 2);
}

#[test]
fn what_a_person_must_act_on_is_shouted_about() {
    for (fault, code) in [(Fault::AccessDenied, "AccessDenied"), (Fault::NoSuchBucket, "NoSuchBucket")] {
        let scratch = Scratch::new();
        let s3 = S3Server::start(&scratch.path("s3"));
        let proxy = FaultProxy::start(s3.address(), 1, &[fault]);
        let mut log = Log::create(&scratch.logs(), "a.log", Rotation::Shift);
        log.append(100);
        let destination = s3_destination(&proxy.endpoint(), BUCKET);
        let config = config(&scratch, [stream("shouting", &scratch.logs().join("*.log"), destination)]);
        let hydrant = Hydrant::run(&scratch, &config);
        let shouts = |line: &str| line.contains("ERROR") && line.contains(code) && line.contains("shouting");
        wait_until("it is an error in the log", || hydrant.stderr().lines().any(shouts));
        proxy.heal();
        let ledger = Ledger::of(&[log]);
        wait_until("all has arrived", || ledger.verify(&Objects::read(&s3.bucket())).is_ok());
        hydrant.terminate().expect_code(0);
    }
}
