//! The leases that a worker owns as far as it knows, and whether it may be certain of it.
//!
//! Invariant: of two workers never both are certain of the same lease. A renewal counts from when it was sent, so others see it
//! later than its sender counts from, and nobody else is certain before a failover time has passed since it was seen. This holds
//! through crashes, pauses of any length and lost answers, as long as clocks run at the same speed, give or take the margin.
//!
//! A lease has one update under way at a time, because the next one's counter follows from its answer.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::lease::{Checkpoint, Lease};
use super::operation::{Answer, Change, Update};
use super::rules::Rules;

#[derive(Debug, Clone)]
struct Held {
    lease: Lease,
    /// When the last update that succeeded was sent.
    renewed_at: Duration,
    certain_from: Duration,
    /// When the first update at this counter was sent, of which no answer has come.
    tried_at: Option<Duration>,
    is_under_way: bool,
}

/// What an answer means for the ownership.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ownership {
    /// The update was written.
    Kept,
    /// The update was not written, or nobody knows, but an earlier one was, whose answer was lost: ask again.
    Again,
    /// Somebody else's now, or not there any more.
    Lost,
    /// The shard's end was written: nobody needs the lease.
    Ended,
    /// Of a lease that has been lost, and maybe taken again, in the meantime.
    Stale,
}

#[derive(Debug, Clone)]
pub struct HeldLeases {
    me: Arc<str>,
    rules: Rules,
    held: BTreeMap<Arc<str>, Held>,
}

impl HeldLeases {
    pub fn new(me: Arc<str>, rules: Rules) -> Self {
        Self { me, rules, held: BTreeMap::new() }
    }

    /// After a take: when it was sent (the first time, if an answer was lost), and from when on this worker is certain.
    pub fn add(&mut self, lease: Lease, sent_at: Duration, certain_from: Duration) {
        let key = Arc::clone(&lease.key);
        let held = Held { lease, renewed_at: sent_at, certain_from, tried_at: None, is_under_way: false };
        self.held.insert(key, held);
    }

    pub fn holds(&self, key: &str) -> bool {
        self.held.contains_key(key)
    }

    pub fn get(&self, key: &str) -> Option<&Lease> {
        self.held.get(key).map(|held| &held.lease)
    }

    pub fn leases(&self) -> impl Iterator<Item = &Lease> {
        self.held.values().map(|held| &held.lease)
    }

    pub fn len(&self) -> usize {
        self.held.len()
    }

    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// Whether no other worker can be certain of the lease at this moment. What must not be done twice waits for it: a worker that
    /// was paused, or cannot reach the table, is certain of nothing until it has renewed.
    pub fn is_certain(&self, key: &str, now: Duration) -> bool {
        self.held.get(key).is_some_and(|held| {
            held.certain_from <= now && now + self.rules.margin() < held.renewed_at + self.rules.failover
        })
    }

    /// Those to be renewed now. Whatever else was written renews a lease, too.
    pub fn due(&self, now: Duration) -> Vec<Arc<str>> {
        let is_due = |held: &&Held| !held.is_under_way && held.renewed_at + self.rules.renew_interval() <= now;
        self.held.values().filter(is_due).map(|held| Arc::clone(&held.lease.key)).collect()
    }

    /// Begins an update of a lease; `None` if it is not held, or another update of it is under way.
    pub fn begin(&mut self, key: &str, change: Change, now: Duration) -> Option<Update> {
        let held = self.held.get_mut(key).filter(|held| !held.is_under_way)?;
        held.is_under_way = true;
        held.tried_at.get_or_insert(now);
        let (key, worker) = (Arc::clone(&held.lease.key), Arc::clone(&self.me));
        Some(Update { key, worker, counter: held.lease.counter, change })
    }

    /// Begins to give a lease up: from here on the worker is certain of it no more. `None` as with [`Self::begin`].
    pub fn release(&mut self, key: &str, now: Duration) -> Option<Update> {
        let update = self.begin(key, Change::Release, now)?;
        self.held.remove(key);
        Some(update)
    }

    /// Takes what the table said to an update that was sent then.
    pub fn answered(&mut self, update: &Update, answer: &Answer, sent_at: Duration) -> Ownership {
        let Some(held) = self.of(update) else { return Ownership::Stale };
        match answer {
            Answer::Written(lease) if lease.checkpoint == Checkpoint::ShardEnd => {
                self.held.remove(&update.key);
                Ownership::Ended
            }
            Answer::Written(lease) => {
                held.renew(lease, sent_at);
                Ownership::Kept
            }
            Answer::Refused(Some(lease)) if update.was_written(lease) => {
                // Which of the tries it was nobody knows: the first is the one that promises least.
                let sent_at = held.tried_at.unwrap_or(held.renewed_at);
                held.renew(lease, sent_at);
                Ownership::Again
            }
            Answer::Refused(_) => {
                self.held.remove(&update.key);
                Ownership::Lost
            }
        }
    }

    /// No answer has come: the update may have been written, or may be yet.
    pub fn unanswered(&mut self, update: &Update) {
        if let Some(held) = self.of(update) {
            held.is_under_way = false;
        }
    }

    /// The counter only grows, so an update of a lease that was lost and taken again has a lower one.
    fn of(&mut self, update: &Update) -> Option<&mut Held> {
        self.held.get_mut(&update.key).filter(|held| held.lease.counter == update.counter)
    }
}

impl Held {
    fn renew(&mut self, lease: &Lease, sent_at: Duration) {
        self.lease = lease.clone();
        (self.renewed_at, self.tried_at, self.is_under_way) = (sent_at, None, false);
    }
}
