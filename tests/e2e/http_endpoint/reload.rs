//! SIGHUP while requests are pending: the next life of the stream takes them over, with what has changed.

use std::collections::BTreeMap;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};

use super::{envelopes, raw, to_endpoint};
use crate::support::lines::{LineId, Rotation};
use crate::support::rng::seed;
use crate::support::scratch::append;
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
fn a_pending_request_goes_on_with_another_key_and_to_its_own_url() {
    const KEY: &str = "x-amz-firehose-access-key";
    let (scratch, old, new) = (Scratch::new(), Endpoint::start(), Endpoint::start());
    let log = scratch.log("a.log", "one\ntwo\n");
    old.behave(|_, _| Reaction::Refuse(500, &[]));
    let config = |endpoint: &Endpoint, key: &str| {
        at_once(to_endpoint(&scratch, endpoint, json!({ "access_key": key, "max_records": 1 })))
    };
    let hydrant = Hydrant::run(&scratch, &config(&old, "first"));
    wait_until("it is refused", || !old.received().is_empty());

    reload(&scratch, &hydrant, &config(&old, "second"));
    let has_key = |key: &str| old.received().last().is_some_and(|request| request.headers[KEY] == key);
    wait_until("the new key is used", || has_key("second"));

    reload(&scratch, &hydrant, &config(&new, "third"));
    append(&log, "three\n");
    wait_until("the newest key is used", || has_key("third"));
    let ids: Vec<_> = old.received().into_iter().map(|request| request.id).collect();
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    old.behave(|_, _| Reaction::Accept);
    wait_until("all are taken", || old.count() == 2 && new.count() == 1);
    assert_eq!((old.lines(), new.lines()), (vec!["one".to_owned(), "two".to_owned()], vec!["three".to_owned()]));
    hydrant.terminate().expect_code(0);
    old.assert_no_complaints();
    new.assert_no_complaints();
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

/// From one endpoint to the other and back, with other limits and keys, while lines are written and some requests fail.
#[test]
fn changes_while_requests_are_under_way_lose_and_double_nothing() {
    let (scratch, endpoints) = (Scratch::new(), [Endpoint::start(), Endpoint::start()]);
    let mut rng = Rng::new(seed("reload before endpoints"));
    for endpoint in &endpoints {
        endpoint.behave(|_, before| if before % 5 == 0 { Reaction::Refuse(503, &[]) } else { Reaction::Accept });
    }
    let config = |n: usize| {
        let keys = json!({ "access_key": format!("key {n}"), "max_records": 100 + n, "in_flight": 1 + n % 3 });
        at_once(to_endpoint(&scratch, &endpoints[n / 2 % 2], keys))
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
    let doubled: Vec<_> = found.iter().filter(|(_, count)| **count > 1).collect();
    assert!(doubled.is_empty(), "{} lines twice, the first {:?}", doubled.len(), doubled[0]);
    assert_eq!(found.len() as u64, log.next, "every line is taken");
    assert!(envelopes(&scratch).is_empty());
    endpoints.iter().for_each(Endpoint::assert_no_complaints);
}
