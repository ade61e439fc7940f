//! Kills between any two steps of a delivery to an endpoint: each line is taken once, by request id, or is in the backup.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use super::{envelopes, raw, to_endpoint};
use crate::support::lines::{LineId, Rotation};
use crate::support::rng::seed;
use crate::support::{DEADLINE, Endpoint, Hydrant, Log, Reaction, Rng, Scratch};

const FAILPOINTS: [&str; 11] = [
    "read",
    "sealed",
    "intent-committed",
    "request-sent",
    "request-decided",
    "request-journalled",
    "request-split",
    "child-journalled",
    "child-put",
    "answer-received",
    "settlement-committed",
];

/// Some requests are always refused, some are too large; what a request meets follows from its id, so that it is the same in every
/// life.
fn rule(id: &str, records: usize) -> Reaction {
    let number = id.bytes().fold(7_u64, |hash, byte| Rng::new(hash ^ u64::from(byte)).next());
    match number % 8 {
        0 => Reaction::Refuse(500, &[]),
        1 | 2 if records > 3 => Reaction::Refuse(413, &[]),
        _ => Reaction::Accept,
    }
}

fn kills(default: u64) -> u64 {
    let number = std::env::var("HYDRANT_CRASH_KILLS").ok();
    number.map_or(default, |text| text.parse().expect("HYDRANT_CRASH_KILLS is a number"))
}

#[test]
fn kills_lose_nothing_and_no_request_is_other_than_before() {
    let seed = seed("crash before an endpoint");
    run(seed, kills(60), json!({ "retry_seconds": 0, "max_records": 20 }), json!([]));
}

#[test]
fn kills_lose_nothing_with_a_transform_and_several_requests_under_way() {
    let seed = seed("crash before an endpoint, several under way");
    let component = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/components/hostile.wasm");
    let processing = json!([{ "wasm": { "component": component } }]);
    run(seed, kills(40), json!({ "retry_seconds": 0, "max_records": 20, "in_flight": 4 }), processing);
}

fn run(seed: u64, kills: u64, keys: Value, processing: Value) {
    let (scratch, endpoint, mut rng) = (Scratch::new(), Endpoint::start(), Rng::new(seed));
    endpoint.behave(|request, _| rule(&request.id, request.records.len()));
    let mut config = to_endpoint(&scratch, &endpoint, keys);
    config["delivery_streams"][0]["processing"] = processing;
    // Whoever reads both again may do so in other turns.
    let mut logs = ["app.log", "two.log"].map(|name| Log::create(&scratch.logs(), name, Rotation::OutOfTheGlob));
    let mut by_failpoint = 0;
    for n in 0..kills {
        logs.iter_mut().for_each(|log| log.append(rng.between(20, 200)));
        let failpoint = (cfg!(debug_assertions) && n % 3 != 2).then(|| {
            let name = FAILPOINTS[(n - n / 3) as usize % FAILPOINTS.len()];
            format!("{name}:{}", rng.between(1, 3))
        });
        let env: Vec<_> = failpoint.iter().map(|point| ("HYDRANT_FAILPOINT", point.as_str())).collect();
        let mut hydrant = Hydrant::run_with_env(&scratch, &config, &env);
        let life = match failpoint {
            // Not every life comes by every point.
            Some(_) => Duration::from_secs(3).min(DEADLINE),
            None => Duration::from_millis(rng.between(1, 800)),
        };
        by_failpoint += u64::from(hydrant.ends_within(life));
        let finished = hydrant.kill_9();
        assert!(finished.killed(), "kill {n}, failpoint {failpoint:?}: {finished}");
    }
    Hydrant::drain(&scratch, &config);
    endpoint.assert_no_complaints();
    let (taken, envelopes) = (endpoint.lines(), envelopes(&scratch));
    println!(
        "{kills} kills, of them {by_failpoint} at failpoints; {} lines taken in {} requests of {} that came, {} in the backup",
        taken.len(),
        endpoint.taken().len(),
        endpoint.received().len(),
        envelopes.len()
    );
    assert!(!envelopes.is_empty(), "some are refused");
    let mut found = BTreeMap::<LineId, u32>::new();
    for line in taken.into_iter().chain(envelopes.iter().map(raw)) {
        *found.entry(LineId::parse(&line).expect("a whole line")).or_default() += 1;
    }
    let doubled: Vec<_> = found.iter().filter(|(_, count)| **count > 1).collect();
    assert!(doubled.is_empty(), "{} lines twice, the first {:?}", doubled.len(), doubled[0]);
    assert_eq!(found.len() as u64, logs.iter().map(|log| log.next).sum::<u64>(), "every line has its fate");
}
