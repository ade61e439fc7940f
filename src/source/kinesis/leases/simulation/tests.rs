use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::test_runner::TestCaseError;

use super::*;

const FAILOVER: Duration = Duration::from_secs(10);
/// For a scan and the takes behind it, at the network's quietest.
const CYCLE_WORK: Duration = Duration::from_secs(2);

fn network(is_disturbed: bool) -> Network {
    let (lost, late) = if is_disturbed { (0.05, 0.02) } else { (0.0, 0.0) };
    Network {
        latency_min: Duration::from_millis(2),
        latency_max: Duration::from_millis(40),
        lost,
        late,
        late_max: FAILOVER * 2,
        timeout: FAILOVER / 5,
        rows_per_page: 7,
    }
}

fn clock(random: &mut Random) -> Clock {
    let offset = Duration::from_secs(random.next() % 1_000_000);
    // Two of them differ by 0.2 % at most, the margin is 0.25 %.
    Clock { offset, drift: random.fraction() * 2000.0 - 1000.0 }
}

#[derive(Debug, Clone)]
enum Step {
    Crash(usize),
    Start(usize),
    /// In tenths of the failover time.
    Pause(usize, u32),
    Split(usize),
    Release(usize),
    Calm,
}

fn steps() -> impl Strategy<Value = Vec<(u32, Step)>> {
    let step = prop_oneof![
        2 => (0..10_usize).prop_map(Step::Crash),
        2 => (0..10_usize).prop_map(Step::Start),
        4 => (0..10_usize, 1..60_u32).prop_map(|(place, tenths)| Step::Pause(place, tenths)),
        3 => (0..64_usize).prop_map(Step::Split),
        2 => (0..64_usize).prop_map(Step::Release),
        3 => Just(Step::Calm),
    ];
    prop::collection::vec((0..200_u32, step), 0..25)
}

struct Case {
    fleet: Fleet,
    rules: Rules,
    random: Random,
    lives: u32,
    shards: usize,
}

impl Case {
    fn new(seed: u64, shards: usize, workers: usize, rules: Rules, is_disturbed: bool) -> Self {
        let mut fleet = Fleet::new(rules.clone(), network(is_disturbed), seed);
        fleet.create_leases((0..shards).map(|shard| format!("shard-{shard:03}")));
        let mut case = Self { fleet, rules, random: Random(!seed), lives: 0, shards };
        for place in 0..10 {
            let clock = clock(&mut case.random);
            case.fleet.start(&format!("worker-{place}"), clock);
            if place >= workers {
                case.fleet.stop(place);
            }
        }
        case
    }

    /// Looks at every moment in which something happens, and at some between.
    fn run_for(&mut self, time: Duration) -> Result<(), TestCaseError> {
        let end = self.fleet.now + time;
        while self.fleet.now < end {
            let next = (self.fleet.now + FAILOVER / 50).min(end);
            self.fleet.run_until(next, |_| Ok::<(), TestCaseError>(()))?;
            for lease in self.fleet.table.rows() {
                let certain = self.fleet.certain_of(&lease.key);
                prop_assert!(certain.len() < 2, "{:?} are certain of {} at {:?}", certain, lease.key, self.fleet.now);
            }
        }
        Ok(())
    }

    fn step(&mut self, step: &Step) {
        let clock = clock(&mut self.random);
        match *step {
            Step::Crash(place) => self.fleet.stop(place),
            Step::Start(place) => {
                // Half of them under the id of the one that was killed.
                self.lives += self.random.next() as u32 % 2;
                self.fleet.start_again(place, &format!("worker-{place}.{}", self.lives), clock);
            }
            Step::Pause(place, tenths) => self.fleet.pause(place, FAILOVER / 10 * tenths),
            Step::Split(shard) => {
                let Some((key, place)) = self.owned(shard) else { return };
                let children = [self.shards, self.shards + 1].map(|shard| format!("shard-{shard:03}"));
                self.shards += 2;
                self.fleet.end_shard(place, &key, &children);
            }
            Step::Release(shard) => {
                if let Some((key, place)) = self.owned(shard) {
                    self.fleet.release(place, &key);
                }
            }
            Step::Calm => {}
        }
    }

    fn owned(&self, shard: usize) -> Option<(String, usize)> {
        let held: Vec<_> = (0..self.fleet.places.len())
            .filter_map(|place| Some((place, self.fleet.places[place].worker.as_ref()?)))
            .flat_map(|(place, worker)| worker.held.leases().map(move |lease| (lease.key.to_string(), place)))
            .collect();
        (!held.is_empty()).then(|| held[shard % held.len()].clone())
    }

    fn unfinished(&self) -> BTreeSet<&str> {
        let rows = self.fleet.table.rows().filter(|lease| lease.checkpoint != Checkpoint::ShardEnd);
        rows.map(|lease| &*lease.key).collect()
    }

    /// Those without an owner that lives and knows it.
    fn orphans(&self) -> Vec<&str> {
        let is_orphan = |key: &&str| {
            let owner = self.fleet.table.get(key).and_then(|lease| lease.owner.clone());
            !self.fleet.workers().any(|worker| Some(&worker.id) == owner.as_ref() && worker.held.holds(key))
        };
        self.unfinished().into_iter().filter(is_orphan).collect()
    }

    fn counts(&self) -> Vec<usize> {
        self.fleet.workers().map(|worker| worker.held.len()).collect()
    }

    fn is_balanced(&self) -> bool {
        let (leases, workers) = (self.unfinished().len(), self.counts().len());
        let (floor, ceil) = (leases / workers, leases.div_ceil(workers));
        self.counts().into_iter().all(|count| (floor..=ceil).contains(&count))
    }

    fn steals(&self) -> usize {
        self.fleet.workers().map(|worker| worker.steals).sum()
    }

    fn resume_all(&mut self) {
        for place in &mut self.fleet.places {
            place.paused_until = self.fleet.now.min(place.paused_until);
        }
    }
}

fn rules(max_leases_to_steal: usize) -> Rules {
    Rules { failover: FAILOVER, max_leases: usize::MAX, max_leases_to_steal }
}

/// The owner's time to notice, if the last of what was disturbed comes late to the table.
fn settle(case: &mut Case) -> Result<(), TestCaseError> {
    case.fleet.network = network(false);
    let late_max = network(true).late_max;
    case.run_for(late_max)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    /// Whatever happens, one worker at most is certain of a lease; when it is over, each lease is owned after twice the failover
    /// time and a cycle, and workers come to rest between floor and ceil.
    #[test]
    fn no_lease_has_two_owners_and_none_stays_without(
        seed: u64, shards in 1..40_usize, workers in 1..10_usize, steal_max in 1..3_usize, steps in steps()
    ) {
        let mut case = Case::new(seed, shards, workers, rules(steal_max), true);
        for (tenths, step) in &steps {
            case.step(step);
            case.run_for(FAILOVER / 10 * *tenths)?;
        }
        case.resume_all();
        if case.fleet.workers().next().is_none() {
            case.step(&Step::Start(0));
        }
        settle(&mut case)?;
        // The last change.
        if case.counts().len() > 1 {
            let place = case.fleet.places.iter().position(|place| place.worker.is_some()).unwrap();
            case.step(&Step::Crash(place));
        }
        case.run_for(FAILOVER * 2 + case.rules.take_interval_max() + CYCLE_WORK)?;
        prop_assert!(case.orphans().is_empty(), "without owner: {:?}", case.orphans());
        let cycles = case.unfinished().len().div_ceil(case.counts().len()) as u32 + 1;
        case.run_for(case.rules.take_interval_max() * cycles + CYCLE_WORK)?;
        prop_assert!(case.is_balanced(), "{:?} after {cycles} cycles", case.counts());
        let steals = case.steals();
        case.run_for(case.rules.take_interval_max() * 5)?;
        prop_assert_eq!(case.steals(), steals, "stolen at rest");
        prop_assert!(case.is_balanced(), "{:?}", case.counts());
    }
}
