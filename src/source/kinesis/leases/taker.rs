//! Which leases a worker takes: the KCL's balance, decided from what it has seen.
//!
//! Where it comes to rest every worker has between floor and ceil of leases / workers: while somebody has more than the target
//! (the ceil), somebody has less and steals; while somebody lacks two of it, somebody has all of it and is stolen from. Each steal
//! moves a lease to a worker that had at least two fewer, so it does come to rest. A worker gains one steal a cycle until it lacks
//! at most one, and nobody with less than the target is stolen from, so this takes ceil(leases / workers) cycles when cycles do not
//! run into each other.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::lease::Lease;
use super::operation::{Answer, Change, Update};
use super::rules::Rules;
use super::view::{Seen, View};

/// How many takes are decided at a time, and may be asked for at once. After them the worker knows more: those that were refused
/// tell of other workers.
pub const TAKES_AT_ONCE: usize = 20;
/// How often a steal is tried again: a renewal between the scan and the steal is likely, three in a row are not.
const STEAL_RETRIES: usize = 3;
/// Leases that nobody has taken for so many failover times are taken past the target.
const VERY_OLD: u32 = 3;

/// A take that has been decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Take {
    pub update: Update,
    /// From whom, if that worker lives as far as is known.
    pub stolen_from: Option<Arc<str>>,
    /// Until then the former owner may be certain of the lease; the new one is from then on.
    pub certain_from: Duration,
}

/// One cycle of taking: after a scan [`Self::next`] says what to take, until it says nothing. What came of each take goes to
/// [`Self::answered`].
#[derive(Debug)]
pub struct TakeCycle {
    me: Arc<str>,
    rules: Rules,
    /// Each is tried once in a cycle, but for steals.
    tried: BTreeSet<Arc<str>>,
    /// Something was free: then nothing is stolen.
    had_available: bool,
    steals: usize,
    steal_retries: usize,
    steals_again: Vec<Take>,
}

impl TakeCycle {
    pub fn new(me: Arc<str>, rules: Rules) -> Self {
        let (tried, steals_again) = (BTreeSet::new(), Vec::new());
        Self { me, rules, tried, had_available: false, steals: 0, steal_retries: 0, steals_again }
    }

    /// What to take next; `holds` says whether this worker knows that it owns a lease. Empty: the cycle is over.
    pub fn next(
        &mut self,
        view: &View,
        holds: impl Fn(&str) -> bool,
        now: Duration,
        random: &mut impl FnMut() -> u64,
    ) -> Vec<Take> {
        let again = std::mem::take(&mut self.steals_again);
        if !again.is_empty() {
            return again;
        }
        let mut takes = self.unheld(view, holds);
        if takes.is_empty() {
            takes = self.available(view, now, random);
        }
        if takes.is_empty() && !self.had_available {
            takes = self.steals(view, now, random);
        }
        self.tried.extend(takes.iter().map(|take| Arc::clone(&take.update.key)));
        takes
    }

    /// What the table said to a take, `None` if nothing. Gives the lease if it is this worker's now.
    pub fn answered(&mut self, take: Take, answer: Option<Answer>, view: &mut View, now: Duration) -> Option<Lease> {
        match answer? {
            Answer::Written(lease) => {
                view.saw(&lease, now);
                Some(lease)
            }
            Answer::Refused(None) => {
                view.is_gone(&take.update.key);
                None
            }
            Answer::Refused(Some(lease)) => {
                view.saw(&lease, now);
                if take.update.was_written(&lease) {
                    return Some(lease);
                }
                self.steal_again(take, &lease, now);
                None
            }
        }
    }

    /// The answer to the take was lost, or this worker was started again under the same id.
    fn unheld(&self, view: &View, holds: impl Fn(&str) -> bool) -> Vec<Take> {
        let unheld = view.unfinished().filter(|(key, seen)| seen.is_owned_by(&self.me) && !holds(key));
        let untried = unheld.filter(|(key, _)| !self.tried.contains(*key));
        untried.take(TAKES_AT_ONCE).map(|(key, seen)| self.take(key, seen, None)).collect()
    }

    fn available(&mut self, view: &View, now: Duration, random: &mut impl FnMut() -> u64) -> Vec<Take> {
        let failover = self.rules.failover;
        let (mut very_old, mut others) = (Vec::new(), Vec::new());
        for (key, seen) in view.unfinished() {
            let is_candidate = !seen.is_owned_by(&self.me) && seen.is_available(failover, now);
            if !is_candidate || self.tried.contains(key) {
                continue;
            }
            let is_very_old = now.saturating_sub(seen.since) > failover * VERY_OLD;
            if is_very_old { &mut very_old } else { &mut others }.push((key, seen));
        }
        self.had_available |= !very_old.is_empty() || !others.is_empty();
        let (mine, target) = (self.mine(view), self.target(view, now));
        let past_target = very_old.len().min(self.rules.max_leases.saturating_sub(mine));
        let count = target.saturating_sub(mine).max(past_target).min(TAKES_AT_ONCE);
        // Shuffled, so that workers do not all contend for the same ones.
        shuffle(&mut very_old, random);
        shuffle(&mut others, random);
        very_old.into_iter().chain(others).take(count).map(|(key, seen)| self.take(key, seen, None)).collect()
    }

    /// From the worker with most leases, one of them by lot, if it has more than the target; or as many, if this worker lacks two.
    fn steals(&mut self, view: &View, now: Duration, random: &mut impl FnMut() -> u64) -> Vec<Take> {
        let workers = view.workers(&self.me, self.rules.failover, now);
        let (mine, target) = (self.mine(view), self.target(view, now));
        let missing = target.saturating_sub(mine);
        let most = workers.iter().filter(|(worker, _)| **worker != self.me).map(|(_, count)| *count).max().unwrap_or(0);
        let mut count = most.saturating_sub(target).min(missing);
        if missing > 1 && most == target {
            count = 1;
        }
        count = count.min(self.rules.max_leases_to_steal.saturating_sub(self.steals));
        if count == 0 {
            return Vec::new();
        }
        let mut richest: Vec<&Arc<str>> = workers
            .iter()
            .filter(|(worker, count)| **count == most && **worker != self.me)
            .map(|(worker, _)| worker)
            .collect();
        shuffle(&mut richest, random);
        let Some(&victim) = richest.first() else { return Vec::new() };
        let theirs = view.unfinished().filter(|(key, seen)| seen.is_owned_by(victim) && !self.tried.contains(*key));
        let mut theirs: Vec<_> = theirs.collect();
        shuffle(&mut theirs, random);
        self.steals += count;
        theirs.into_iter().take(count).map(|(key, seen)| self.take(key, seen, Some(victim))).collect()
    }

    /// Its owner has renewed the lease since the scan: what was decided still holds.
    fn steal_again(&mut self, take: Take, lease: &Lease, now: Duration) {
        let is_same = take.stolen_from.is_some() && take.stolen_from == lease.owner;
        if is_same && self.steal_retries < STEAL_RETRIES {
            self.steal_retries += 1;
            let certain_from = now + self.rules.failover;
            let update = Update { counter: lease.counter, ..take.update };
            self.steals_again.push(Take { update, certain_from, ..take });
        }
    }

    /// Those at their shard's end do not count, for there is nothing to work on. The KCL counts them, until they are deleted.
    fn target(&self, view: &View, now: Duration) -> usize {
        let workers = view.workers(&self.me, self.rules.failover, now).len();
        view.unfinished().count().div_ceil(workers).min(self.rules.max_leases)
    }

    fn mine(&self, view: &View) -> usize {
        view.unfinished().filter(|(_, seen)| seen.is_owned_by(&self.me)).count()
    }

    fn take(&self, key: &Arc<str>, seen: &Seen, stolen_from: Option<&Arc<str>>) -> Take {
        // One that released a lease was certain of it no more. Any other was, at the longest, until the failover time after its
        // last renewal, and that was seen later than it was sent.
        let certain_from = if seen.owner.is_some() { seen.since + self.rules.failover } else { Duration::ZERO };
        let (key, worker) = (Arc::clone(key), Arc::clone(&self.me));
        let update = Update { key, worker, counter: seen.counter, change: Change::Take };
        Take { update, stolen_from: stolen_from.cloned(), certain_from }
    }
}

/// Fisher and Yates.
fn shuffle<T>(items: &mut [T], random: &mut impl FnMut() -> u64) {
    for last in (1..items.len()).rev() {
        items.swap(last, (random() % (last as u64 + 1)) as usize);
    }
}
