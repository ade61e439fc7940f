//! How a fleet divides many shards: balance, steals and requests to the table for 100 workers and 5,000 shards.
//!
//! No network and no clock: the fleet of the property test, with the decisions that the daemon takes, in a time of its own.
//! `README.md` beside this folder says how to run it and how to read it.

use std::convert::Infallible;
use std::time::Duration;

use hydrant::source::kinesis::leases::rules::Rules;
use hydrant::source::kinesis::leases::simulation::worker::Clock;
use hydrant::source::kinesis::leases::simulation::{Fleet, Network, Requests};

const WORKERS: usize = 100;
const ADDED: usize = 10;
const SHARDS: usize = 5_000;
/// What a page of 1 MB holds of rows of some 380 bytes.
const ROWS_PER_PAGE: usize = 2_700;
const SECOND: Duration = Duration::from_secs(1);
/// After so many cycles the balance is shown.
const SHOWN: [u32; 6] = [1, 2, 5, 10, 20, 50];
/// When a case is given up.
const CYCLES_MAX: u32 = 200;
const REST: u32 = 60;

fn main() {
    println!(
        "| what changes, steals a cycle | all owned after | least–most leases after {SHOWN:?} cycles | in balance after | steals \
              | takes refused | busiest second: scans, takes, updates | a second at rest: scans, takes, updates |"
    );
    println!("| --- | --- | --- | --- | --- | --- | --- | --- |");
    for max_leases_to_steal in [1, 5] {
        let rules = Rules { max_leases_to_steal, ..Rules::default() };
        let mut fleet = Fleet::new(rules.clone(), network(), 7);
        fleet.create_leases((0..SHARDS).map(|shard| format!("shardId-{shard:012}")));
        for worker in 0..WORKERS {
            start(&mut fleet, worker);
        }
        let case = |what: &str| format!("{what}, {max_leases_to_steal}");
        measure(&mut fleet, &rules, &case("all start at once"));
        fleet.stop(0);
        measure(&mut fleet, &rules, &case("one is lost"));
        for worker in 0..ADDED {
            start(&mut fleet, WORKERS + worker);
        }
        measure(&mut fleet, &rules, &case("ten are added"));
    }
}

fn network() -> Network {
    Network {
        latency_min: Duration::from_millis(2),
        latency_max: Duration::from_millis(6),
        lost: 0.0,
        late: 0.0,
        late_max: Duration::ZERO,
        timeout: SECOND,
        rows_per_page: ROWS_PER_PAGE,
    }
}

fn start(fleet: &mut Fleet, worker: usize) {
    let drift = (worker % 11) as f64 * 20.0 - 100.0;
    fleet.start(&format!("worker-{worker}"), Clock { offset: SECOND * worker as u32, drift });
}

/// Runs until the fleet is in balance, then a while at rest.
fn measure(fleet: &mut Fleet, rules: &Rules, case: &str) {
    let (begin, steals, refused) = (fleet.now, steals(fleet), fleet.requests.takes_refused);
    let (mut owned, mut balanced, mut shown, mut busiest) = (None, None, Vec::new(), [0; 3]);
    let cycle = rules.take_interval_max();
    while fleet.now - begin < cycle * CYCLES_MAX && balanced.is_none() {
        let second = run_for(fleet, SECOND);
        let elapsed = fleet.now - begin;
        for (busiest, count) in busiest.iter_mut().zip(second) {
            *busiest = count.max(*busiest);
        }
        let counts: Vec<usize> = fleet.workers().map(|worker| worker.held.len()).collect();
        let (least, most) = (counts.iter().min().copied().unwrap_or(0), counts.iter().max().copied().unwrap_or(0));
        if owned.is_none() && counts.iter().sum::<usize>() >= SHARDS {
            owned = Some(elapsed);
        }
        let is_balanced = owned.is_some() && least >= SHARDS / counts.len() && most <= SHARDS.div_ceil(counts.len());
        balanced = is_balanced.then(|| balanced.unwrap_or(elapsed));
        if SHOWN.get(shown.len()).is_some_and(|cycles| elapsed >= cycle * *cycles) {
            shown.push(format!("{least}–{most}"));
        }
    }
    let steals = self::steals(fleet) - steals;
    let refused = fleet.requests.takes_refused - refused;
    let rest = run_for(fleet, SECOND * REST).map(|count| count / u64::from(REST));
    let after = |time: Option<Duration>| time.map_or("never".to_owned(), |time| format!("{} s", time.as_secs()));
    let cycles = |time: Option<Duration>| time.map_or(0.0, |time| time.as_secs_f64() / cycle.as_secs_f64());
    println!(
        "| {case} | {} | {} | {} ({:.0} cycles) | {steals} | {refused} | {} | {} |",
        after(owned),
        shown.join(", "),
        after(balanced),
        cycles(balanced),
        row(busiest),
        row(rest)
    );
}

/// Gives pages scanned, takes and other updates.
fn run_for(fleet: &mut Fleet, time: Duration) -> [u64; 3] {
    let Requests { scans, takes, updates, .. } = fleet.requests;
    let Ok(()) = fleet.run_until(fleet.now + time, |_| Ok::<(), Infallible>(()));
    [fleet.requests.scans - scans, fleet.requests.takes - takes, fleet.requests.updates - updates]
}

/// Of the workers that live: those of one that was lost before are in neither of two figures.
fn steals(fleet: &Fleet) -> usize {
    fleet.workers().map(|worker| worker.steals).sum()
}

fn row(counts: [u64; 3]) -> String {
    counts.map(|count| count.to_string()).join(", ")
}
