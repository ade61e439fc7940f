//! What the tasks of a worker and the handles of its leases know together.
//!
//! Invariant: whether a lease is held, whether its handle says so, and what has been told of it change together, under one lock.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

use super::shard_lease::ShardLease;
use super::{Event, HeldLease, WorkerConfig};
use crate::source::kinesis::leases::clock;
use crate::source::kinesis::leases::held::{HeldLeases, Ownership};
use crate::source::kinesis::leases::lease::Lease;
use crate::source::kinesis::leases::operation::{Answer, Update};
use crate::source::kinesis::leases::view::View;

#[derive(Debug)]
pub struct Shared {
    state: Mutex<State>,
    /// A shard has ended: its children may be worked on.
    pub ended: Notify,
}

#[derive(Debug)]
pub struct State {
    pub held: HeldLeases,
    pub view: View,
    kept: BTreeMap<Arc<str>, Kept>,
    events: mpsc::UnboundedSender<Event>,
}

/// A lease that has a keeper.
#[derive(Debug)]
struct Kept {
    hold: Hold,
    /// Until it is told.
    handle: Option<ShardLease>,
    /// Somebody works on it, and wants to know when it is lost.
    is_told: bool,
}

/// One time of holding a lease, from a take until it is lost or given up.
#[derive(Debug, Clone)]
pub struct Hold {
    pub key: Arc<str>,
    /// It is over.
    pub lost: CancellationToken,
    /// Its keeper has had an answer.
    pub answered: Arc<Notify>,
}

impl Hold {
    pub fn new(key: Arc<str>) -> Self {
        Self { key, lost: CancellationToken::new(), answered: Arc::new(Notify::new()) }
    }

    fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.answered, &other.answered)
    }
}

impl Shared {
    pub fn new(config: &WorkerConfig, events: mpsc::UnboundedSender<Event>) -> Self {
        let held = HeldLeases::new(Arc::clone(&config.id), config.rules.clone());
        let state = State { held, view: View::default(), kept: BTreeMap::new(), events };
        Self { state: Mutex::new(state), ended: Notify::new() }
    }

    /// For a moment: nobody waits for anything meanwhile.
    pub fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn is_certain(&self, hold: &Hold) -> bool {
        let state = self.lock();
        !hold.lost.is_cancelled() && state.held.is_certain(&hold.key, clock::now())
    }

    /// What an answer means for this hold; if it is over, that is known from here on.
    pub fn answered(&self, hold: &Hold, update: &Update, answer: &Answer, sent_at: Duration) -> Ownership {
        let mut state = self.lock();
        if hold.lost.is_cancelled() {
            return Ownership::Stale;
        }
        let ownership = state.held.answered(update, answer, sent_at);
        match ownership {
            Ownership::Kept | Ownership::Again => {}
            Ownership::Ended => {
                if let Answer::Written(lease) = answer {
                    state.view.saw(lease, clock::now());
                }
                state.forget(hold);
                self.ended.notify_one();
            }
            Ownership::Lost | Ownership::Stale => state.lose(hold),
        }
        drop(state);
        hold.answered.notify_waiters();
        ownership
    }
}

impl State {
    /// Whether a lease is held, or is being given up.
    pub fn is_kept(&self, key: &str) -> bool {
        self.kept.contains_key(key)
    }

    /// After a take. What was held of the same lease before is over: somebody else had it in between.
    pub fn keep(&mut self, lease: Lease, sent_at: Duration, certain_from: Duration, handle: ShardLease) {
        let key = Arc::clone(&lease.key);
        if let Some(former) = self.kept.get(&key).map(|kept| kept.hold.clone()) {
            self.lose(&former);
        }
        self.held.add(lease, sent_at, certain_from);
        self.kept.insert(key, Kept { hold: handle.hold.clone(), handle: Some(handle), is_told: false });
    }

    /// Tells those whose parents have ended or are gone.
    pub fn tell_ready(&mut self) {
        let (held, view) = (&self.held, &self.view);
        for (key, kept) in &mut self.kept {
            let Some(lease) = held.get(key).filter(|_| kept.handle.is_some()) else { continue };
            let is_done = |parent: &String| view.get(parent).is_none_or(|seen| seen.has_ended);
            if !lease.parents.iter().all(is_done) {
                continue;
            }
            if let Some(handle) = kept.handle.take() {
                kept.is_told = true;
                // Nobody listens any more: then the handle goes, and the lease with it.
                let _ = self.events.send(Event::Held(HeldLease { lease: lease.clone(), handle }));
            }
        }
    }

    /// Whether some wait for their parents.
    pub fn has_untold(&self) -> bool {
        self.kept.values().any(|kept| kept.handle.is_some())
    }

    /// Gives those up that nobody has been told of.
    pub fn drop_untold(&mut self) {
        self.kept.values_mut().for_each(|kept| drop(kept.handle.take()));
    }

    /// Whoever works on it knows that it goes.
    pub fn give_up(&mut self, hold: &Hold) {
        if let Some(kept) = self.kept.get_mut(&hold.key).filter(|kept| kept.hold.is(hold)) {
            kept.is_told = false;
        }
    }

    /// The lease is somebody else's.
    pub fn lose(&mut self, hold: &Hold) {
        let is_told = self.kept.get(&hold.key).is_some_and(|kept| kept.hold.is(hold) && kept.is_told);
        if self.forget(hold) && is_told {
            let _ = self.events.send(Event::Lost(Arc::clone(&hold.key)));
        }
    }

    /// The hold is over; false if it was before.
    pub fn forget(&mut self, hold: &Hold) -> bool {
        let was_held = self.kept.get(&hold.key).is_some_and(|kept| kept.hold.is(hold));
        hold.lost.cancel();
        if was_held {
            self.kept.remove(&hold.key);
        }
        was_held
    }
}
