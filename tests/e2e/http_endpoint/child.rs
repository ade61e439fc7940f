//! The one object that holds what was not taken of a delivery: in S3, and when the configuration changes while it is pending.

use serde_json::{Value, json};

use super::{envelopes, raw, to_endpoint};
use crate::support::rng::seed;
use crate::support::s3::BUCKET;
use crate::support::scratch::InTheWay;
use crate::support::{
    Endpoint, Fault, FaultProxy, Hydrant, Objects, Reaction, S3Server, Scratch, blockable, s3_destination, wait_until,
};

/// Refuses every record with this in it.
fn refuse(endpoint: &Endpoint, what: &'static str) {
    endpoint.behave(move |request, _| {
        match request.records.iter().any(|record| String::from_utf8_lossy(record).contains(what)) {
            true => Reaction::Refuse(500, &[]),
            false => Reaction::Accept,
        }
    });
}

fn sorted<T: Ord>(mut items: Vec<T>) -> Vec<T> {
    items.sort();
    items
}

#[test]
fn it_is_put_once_into_s3_whatever_becomes_of_the_answers() {
    assert!((0..40).any(|_| is_put_once()), "some put was disturbed");
}

/// Whether its put was disturbed.
fn is_put_once() -> bool {
    let (scratch, endpoint) = (Scratch::new(), Endpoint::start());
    let s3 = S3Server::start(&scratch.path("s3"));
    let faults = [Fault::LostAnswer, Fault::InternalError, Fault::ResetAfterBody, Fault::Pass];
    let proxy = FaultProxy::start(s3.address(), seed("a child in S3"), &faults);
    let lines: Vec<_> =
        (0..60).map(|n| if n % 6 == 0 { format!("bad {n:02}") } else { format!("good {n:02}") }).collect();
    scratch.log("a.log", lines.join("\n") + "\n");
    refuse(&endpoint, "bad");
    let mut config = to_endpoint(&scratch, &endpoint, json!({ "retry_seconds": 0, "max_records": 1, "in_flight": 4 }));
    let mut backup = s3_destination(&proxy.endpoint(), BUCKET);
    backup["error_output_prefix"] = "failed/!{firehose:error-output-type}/".into();
    config["delivery_streams"][0]["backup"] = backup;
    Hydrant::drain(&scratch, &config);
    endpoint.assert_no_complaints();
    let (bad, good): (Vec<_>, Vec<_>) = lines.into_iter().partition(|line| line.starts_with("bad"));
    assert_eq!(sorted(endpoint.lines()), good);
    let objects = Objects::read(&s3.bucket());
    assert!(
        objects.keys().all(|key| key.starts_with("failed/http-endpoint-failed/web-")),
        "{:?}",
        objects.keys().collect::<Vec<_>>()
    );
    let envelopes: Vec<Value> =
        objects.lines().iter().map(|line| serde_json::from_str(line).expect("an envelope")).collect();
    assert_eq!(sorted(envelopes.iter().map(raw).collect()), bad);
    faults[..3].iter().any(|fault| proxy.met(*fault) > 0)
}

fn records(scratch: &Scratch) {
    scratch.log("a.log", (0..6).map(|n| format!("{{\"n\":{n}}}\n")).collect::<String>());
}

/// `n` is renamed, so that other bytes come of each record.
fn renaming(mut config: Value) -> Value {
    config["delivery_streams"][0]["processing"] = json!([{ "json": { "rename": { "n": "m" } } }]);
    config
}

/// Nobody has what it would hold: its records are new, and go to the endpoint as they are now.
#[test]
fn with_another_processing_a_child_that_is_not_there_is_given_up_for_its_records() {
    let (scratch, endpoint) = (Scratch::new(), Endpoint::start());
    records(&scratch);
    refuse(&endpoint, "\"n\":2");
    let mut config = to_endpoint(&scratch, &endpoint, json!({ "retry_seconds": 0, "max_records": 1 }));
    config["delivery_streams"][0]["backup"] = blockable(&scratch.backup());
    let in_the_way = InTheWay::of(&scratch.backup());
    let hydrant = Hydrant::run(&scratch, &config);
    wait_until("the backup is tried", || hydrant.said("delivery refused") > 0);
    assert_eq!(endpoint.count(), 5, "all others are taken");
    hydrant.kill_9();
    drop(in_the_way);
    endpoint.behave(|_, _| Reaction::Accept);
    Hydrant::drain(&scratch, &renaming(config));
    let expected = [0, 1, 3, 4, 5].map(|n| format!("{{\"n\":{n}}}")).into_iter().chain(["{\"m\":2}".to_owned()]);
    assert_eq!(endpoint.lines(), expected.collect::<Vec<_>>());
    assert_eq!(Objects::read(&scratch.backup()).lines_total(), 0);
    endpoint.assert_no_complaints();
}

/// Its records have their fate: they are not sent again, whatever would come of them now.
#[cfg(debug_assertions)]
#[test]
fn with_another_processing_a_child_that_is_there_stays_the_fate_of_its_records() {
    let (scratch, endpoint) = (Scratch::new(), Endpoint::start());
    records(&scratch);
    refuse(&endpoint, "\"n\":2");
    let config = to_endpoint(&scratch, &endpoint, json!({ "retry_seconds": 0, "max_records": 1 }));
    crate::recovery::killed_at(&scratch, &config, "child-put:1");
    endpoint.behave(|_, _| Reaction::Accept);
    Hydrant::drain(&scratch, &renaming(config));
    assert_eq!(envelopes(&scratch).iter().map(raw).collect::<Vec<_>>(), ["{\"n\":2}"]);
    let taken = sorted(endpoint.lines());
    let number = |line: &String| line.bytes().find(u8::is_ascii_digit).expect("a number") - b'0';
    assert_eq!(taken.iter().map(number).collect::<Vec<_>>(), [0, 1, 3, 4, 5], "{taken:?}");
    endpoint.assert_no_complaints();
}
