//! The lease table, looked at again and again while a fleet works: who has which lease, since when, and up to where.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use hydrant::source::kinesis::leases::lease::{Checkpoint, Lease};
use hydrant::source::kinesis::leases::row::{self, Row as Found};

use crate::support::dynamodb::Table;
use crate::support::wait::holds_within;

const BETWEEN_SCANS: Duration = Duration::from_millis(50);

/// Every lease of the table, by its shard. What is no lease is passed over.
#[track_caller]
pub fn leases(table: &Table<'_>) -> BTreeMap<String, Lease> {
    let lease = |(key, item)| match row::read(&BTreeMap::into_iter(item).collect()) {
        Found::Lease(lease) => Some((key, *lease)),
        Found::Entity { .. } => None,
        other => panic!("{other:?} is not as the KCL writes it"),
    };
    table.rows().into_iter().filter_map(lease).collect()
}

/// Those that somebody can work on.
pub fn unfinished(table: &Table<'_>) -> BTreeMap<String, Lease> {
    let mut leases = leases(table);
    leases.retain(|_, lease| lease.checkpoint != Checkpoint::ShardEnd);
    leases
}

/// How many unfinished leases each worker has; `None` is nobody.
pub fn owned(table: &Table<'_>) -> BTreeMap<Option<String>, usize> {
    let mut owned = BTreeMap::new();
    for lease in unfinished(table).into_values() {
        *owned.entry(lease.owner.map(|owner| owner.to_string())).or_default() += 1;
    }
    owned
}

/// Whether these workers, and nobody else, have all leases, none more than one more than another.
pub fn is_balanced(table: &Table<'_>, workers: &[&str]) -> bool {
    let owned = owned(table);
    let total: usize = owned.values().sum();
    let (floor, ceil) = (total / workers.len(), total.div_ceil(workers.len()));
    let has_share = |worker: &&str| owned.get(&Some((*worker).to_owned())).is_some_and(|n| (floor..=ceil).contains(n));
    total > 0 && owned.len() == workers.len() && workers.iter().all(has_share)
}

/// A state of a lease that was seen, and when it was seen first.
struct Seen {
    at: Instant,
    lease: Lease,
}

/// Looks at the table until it is told to stop, in a thread of the test's.
pub struct Watch<'a> {
    table: &'a Table<'a>,
    history: Mutex<History>,
    is_over: AtomicBool,
}

#[derive(Default)]
struct History {
    leases: BTreeMap<String, Vec<Seen>>,
    last_scan: Option<Instant>,
    /// What was not seen for this long may have been so for as long as it was not looked at.
    longest_gap: Duration,
}

impl<'a> Watch<'a> {
    pub fn new(table: &'a Table<'a>) -> Self {
        Self { table, history: Mutex::default(), is_over: AtomicBool::new(false) }
    }

    pub fn run(&self) {
        while !holds_within(BETWEEN_SCANS, || self.is_over.load(Ordering::Relaxed)) {
            let leases = leases(self.table);
            self.history().take(leases, Instant::now());
        }
    }

    pub fn stop(&self) {
        self.is_over.store(true, Ordering::Relaxed);
    }

    fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().expect("no holder panics")
    }

    /// A counter stands still while nobody owns the lease, or its owner does not live: never for longer than this.
    #[track_caller]
    pub fn check_standstills(&self, longest: Duration) {
        let history = self.history();
        let end = history.last_scan.expect("a scan");
        let longest = longest + history.longest_gap * 2;
        for (shard, states) in &history.leases {
            let ends = states.iter().skip(1).map(|next| next.at).chain([end]);
            for (state, until) in
                states.iter().zip(ends).filter(|(seen, _)| seen.lease.checkpoint != Checkpoint::ShardEnd)
            {
                let still = until - state.at;
                assert!(still <= longest, "{shard} stood still for {still:?}, not {longest:?}: {:?}", state.lease);
            }
        }
    }

    /// Whoever has lost a lease writes no checkpoint any more: none goes back, and what was begun is finished as it was begun.
    #[track_caller]
    pub fn check_checkpoints(&self) {
        for (shard, states) in &self.history().leases {
            for pair in states.windows(2) {
                let (before, after) = (&pair[0].lease, &pair[1].lease);
                assert!(before.counter < after.counter, "{shard}: {before:?}, then {after:?}");
                assert!(before.checkpoint <= after.checkpoint, "{shard}: {before:?}, then {after:?}");
                if let Some(pending) = &before.pending
                    && after.checkpoint == before.checkpoint
                {
                    assert_eq!(after.pending.as_ref(), Some(pending), "{shard}: {before:?}, then {after:?}");
                }
            }
        }
    }

    /// Who has had a lease in any state that was seen.
    pub fn owners_of(&self, shard: &str) -> Vec<String> {
        let history = self.history();
        let owners = history.leases.get(shard).into_iter().flatten();
        let mut owners: Vec<_> = owners.filter_map(|seen| seen.lease.owner.as_deref().map(str::to_owned)).collect();
        owners.dedup();
        owners
    }
}

impl History {
    fn take(&mut self, leases: BTreeMap<String, Lease>, now: Instant) {
        let gap = self.last_scan.map_or(Duration::ZERO, |last| now - last);
        self.longest_gap = self.longest_gap.max(gap);
        self.last_scan = Some(now);
        // The lease of a shard that is over may be deleted, and never comes back.
        for (shard, lease) in leases {
            let states = self.leases.entry(shard).or_default();
            if states.last().is_none_or(|seen| seen.lease.counter != lease.counter) {
                states.push(Seen { at: now, lease });
            }
        }
    }
}

/// It ends with this value, however the test does.
pub struct Watching<'a, 'b>(pub &'a Watch<'b>);

impl Drop for Watching<'_, '_> {
    fn drop(&mut self) {
        self.0.stop();
    }
}
