//! SIGHUP while requests are pending: the next life of the stream takes them over, with what has changed.

use std::collections::BTreeMap;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};

use super::{envelopes, raw, to_endpoint};
use crate::support::lines::{LineId, Rotation};
use crate::support::rng::seed;
use crate::support::wait::holds_within;
use crate::support::{Endpoint, Hydrant, Log, Reaction, Rng, Scratch, wait_until, write_config};

/// What is under way is not waited for.
fn at_once(mut config: Value) -> Value {
    config["shutdown_timeout_seconds"] = 0.into();
    config
}

fn reload(scratch: &Scratch, hydrant: &Hydrant, config: &Value) {
    const READ_AGAIN: &str = "the configuration was read again";
    let before = hydrant.said(READ_AGAIN);
    write_config(scratch, config);
    hydrant.signal(Signal::HUP);
    wait_until("the change is taken up", || hydrant.said(READ_AGAIN) > before);
}

#[test]
fn a_pending_request_goes_on_with_another_key() {
    const KEY: &str = "x-amz-firehose-access-key";
    let (scratch, endpoint) = (Scratch::new(), Endpoint::start());
    scratch.log("a.log", "one\ntwo\n");
    endpoint.behave(|_, _| Reaction::Refuse(500, &[]));
    let config = |key: &str| at_once(to_endpoint(&scratch, &endpoint, json!({ "access_key": key, "max_records": 1 })));
    let hydrant = Hydrant::run(&scratch, &config("first"));
    wait_until("it is refused", || !endpoint.received().is_empty());
    reload(&scratch, &hydrant, &config("second"));
    let has_key = |key: &str| endpoint.received().last().is_some_and(|request| request.headers[KEY] == key);
    wait_until("the new key is used", || has_key("second"));
    let ids: Vec<_> = endpoint.received().into_iter().map(|request| request.id).collect();
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    endpoint.behave(|_, _| Reaction::Accept);
    wait_until("all are taken", || endpoint.count() == 2);
    hydrant.terminate().expect_code(0);
    assert_eq!(endpoint.lines(), ["one", "two"]);
    endpoint.assert_no_complaints();
}

/// Two requests of a delivery, of which the first is taken; then `change` is made to the endpoint's keys, and nothing is refused.
#[track_caller]
fn what_waits_goes_on_after(change: impl FnOnce(&mut Value, &Endpoint), expected: (&[&str], &[&str])) -> Endpoint {
    let (scratch, old, new) = (Scratch::new(), Endpoint::start(), Endpoint::start());
    scratch.log("a.log", "one\ntwo\n");
    old.behave(|request, _| match request.records[0].as_slice() {
        b"one" => Reaction::Accept,
        _ => Reaction::Refuse(500, &[]),
    });
    let keys = json!({ "max_records": 1, "auth": { "bearer_token": "hunter2" } });
    let mut config = at_once(to_endpoint(&scratch, &old, keys));
    let hydrant = Hydrant::run(&scratch, &config);
    wait_until("the second is refused", || old.received().len() >= 2);
    hydrant.terminate().expect_code(0);
    let before = old.received().len();
    old.behave(|_, _| Reaction::Accept);
    change(&mut config["delivery_streams"][0]["destination"]["http_endpoint"], &new);
    Hydrant::drain(&scratch, &config);
    assert_eq!((old.lines(), new.lines()), (owned(expected.0), owned(expected.1)));
    assert!(envelopes(&scratch).is_empty());
    old.assert_no_complaints();
    new.assert_no_complaints();
    let first = old.received().into_iter().nth(1).expect("it was refused");
    for request in old.received().into_iter().skip(before).chain(new.received()) {
        assert_ne!(request.id, first.id, "another request");
        assert!(request.line.contains("?source="), "with its query: {}", request.line);
    }
    old
}

fn owned(lines: &[&str]) -> Vec<String> {
    lines.iter().map(|&line| line.to_owned()).collect()
}

#[test]
fn what_was_not_acknowledged_goes_to_the_new_url() {
    what_waits_goes_on_after(|http, new| http["url"] = new.url().into(), (&["one"], &["two"]));
}

#[test]
fn with_another_query_what_was_not_acknowledged_goes_there() {
    let change = |http: &mut Value, _: &Endpoint| {
        let url = http["url"].as_str().expect("a text").replace("?source=hydrant", "?source=other");
        http["url"] = url.into();
    };
    let old = what_waits_goes_on_after(change, (&["one", "two"], &[]));
    assert_eq!(old.received().pop().expect("a request").line, "POST /in?source=other HTTP/1.1");
}

#[test]
fn a_pending_request_is_given_up_by_the_new_retry_duration() {
    let (scratch, endpoint) = (Scratch::new(), Endpoint::start());
    scratch.log("a.log", "one\ntwo\n");
    endpoint.behave(|_, _| Reaction::Refuse(500, &[]));
    let config = |seconds: u32| at_once(to_endpoint(&scratch, &endpoint, json!({ "retry_seconds": seconds })));
    let hydrant = Hydrant::run(&scratch, &config(7200));
    wait_until("it is refused", || !endpoint.received().is_empty());
    assert!(envelopes(&scratch).is_empty());
    reload(&scratch, &hydrant, &config(0));
    wait_until("they are in the backup", || envelopes(&scratch).len() == 2);
    hydrant.terminate().expect_code(0);
    assert_eq!(envelopes(&scratch).iter().map(raw).collect::<Vec<_>>(), ["one", "two"]);
}

#[test]
fn changes_while_requests_are_under_way_lose_and_double_nothing() {
    let found = changes_while_requests_are_under_way(&[Endpoint::start()]);
    let doubled: Vec<_> = found.iter().filter(|(_, count)| **count > 1).collect();
    assert!(doubled.is_empty(), "{} lines twice, the first {:?}", doubled.len(), doubled[0]);
}

#[test]
fn from_one_endpoint_to_the_other_and_back_loses_nothing() {
    changes_while_requests_are_under_way(&[Endpoint::start(), Endpoint::start()]);
}

/// With other limits and keys each time, while lines are written and some requests fail. How often each line was taken.
fn changes_while_requests_are_under_way(endpoints: &[Endpoint]) -> BTreeMap<LineId, u32> {
    let scratch = Scratch::new();
    let mut rng = Rng::new(seed("reload before endpoints"));
    for endpoint in endpoints {
        endpoint.behave(|_, before| if before % 5 == 0 { Reaction::Refuse(503, &[]) } else { Reaction::Accept });
    }
    let config = |n: usize| {
        let keys = json!({ "access_key": format!("key {n}"), "max_records": 100 + n, "in_flight": 1 + n % 3 });
        at_once(to_endpoint(&scratch, &endpoints[n / 2 % endpoints.len()], keys))
    };
    let mut log = Log::create(&scratch.logs(), "app.log", Rotation::Shift);
    let hydrant = Hydrant::run(&scratch, &config(0));
    wait_until("it reads", || hydrant.said("a file is read that was not seen before") == 1);
    for n in 1..12 {
        log.append(2_000);
        let pause = Duration::from_millis(rng.between(0, 100));
        assert!(!holds_within(pause, || !hydrant.is_alive()), "it goes on");
        reload(&scratch, &hydrant, &config(n));
    }
    hydrant.terminate().expect_code(0);
    Hydrant::drain(&scratch, &config(11));
    let mut found = BTreeMap::<LineId, u32>::new();
    for line in endpoints.iter().flat_map(Endpoint::lines) {
        *found.entry(LineId::parse(&line).expect("a whole line")).or_default() += 1;
    }
    assert_eq!(found.len() as u64, log.next, "every line is taken");
    assert!(envelopes(&scratch).is_empty());
    endpoints.iter().for_each(Endpoint::assert_no_complaints);
    found
}
