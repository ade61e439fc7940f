//! What one worker has seen of the lease table, and since when.
//!
//! Times are of the worker's own clock alone, one that also counts while the machine sleeps; none stands in the table. A lease is
//! expired when its counter has not changed for the failover time since this worker saw it change, so a slow or late worker takes
//! later than it might, never sooner.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::lease::{Checkpoint, Lease};

/// A lease as it was last seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    pub owner: Option<Arc<str>>,
    pub counter: u64,
    /// When this counter was seen first: its owner renewed it then or before.
    pub since: Duration,
    /// At its shard's end: there is nothing to own.
    pub has_ended: bool,
}

impl Seen {
    fn of(lease: &Lease, now: Duration) -> Self {
        let has_ended = lease.checkpoint == Checkpoint::ShardEnd;
        Self { owner: lease.owner.clone(), counter: lease.counter, since: now, has_ended }
    }

    pub fn is_owned_by(&self, worker: &str) -> bool {
        self.owner.as_deref() == Some(worker)
    }

    /// Whether anybody may take it: nobody owns it, or its owner has not renewed it for the failover time.
    pub fn is_available(&self, failover: Duration, now: Duration) -> bool {
        self.owner.is_none() || now.saturating_sub(self.since) > failover
    }
}

#[derive(Debug, Clone, Default)]
pub struct View {
    seen: BTreeMap<Arc<str>, Seen>,
}

impl View {
    /// After a scan of the whole table; `now` is when its last answer had come.
    pub fn scanned(&mut self, leases: &[Lease], now: Duration) {
        let mut former = std::mem::take(&mut self.seen);
        for lease in leases {
            let seen = match former.remove(&lease.key) {
                Some(seen) if seen.counter == lease.counter => seen,
                Some(_) | None => Seen::of(lease, now),
            };
            self.seen.insert(Arc::clone(&lease.key), seen);
        }
    }

    /// After an answer that told one lease; `now` is when it had come.
    pub fn saw(&mut self, lease: &Lease, now: Duration) {
        let known = self.seen.get(&lease.key).is_some_and(|seen| seen.counter == lease.counter);
        if !known {
            self.seen.insert(Arc::clone(&lease.key), Seen::of(lease, now));
        }
    }

    pub fn is_gone(&mut self, key: &str) {
        self.seen.remove(key);
    }

    pub fn get(&self, key: &str) -> Option<&Seen> {
        self.seen.get(key)
    }

    /// Those that somebody can work on.
    pub fn unfinished(&self) -> impl Iterator<Item = (&Arc<str>, &Seen)> {
        self.seen.iter().filter(|(_, seen)| !seen.has_ended)
    }

    /// The workers that live, as far as leases tell, with the number of their leases; `me` in any case, with all that it owns.
    pub fn workers(&self, me: &Arc<str>, failover: Duration, now: Duration) -> BTreeMap<Arc<str>, usize> {
        let mut workers = BTreeMap::from([(Arc::clone(me), 0)]);
        for (_, seen) in self.unfinished() {
            let Some(owner) = &seen.owner else { continue };
            if owner == me || !seen.is_available(failover, now) {
                *workers.entry(Arc::clone(owner)).or_default() += 1;
            }
        }
        workers
    }
}
