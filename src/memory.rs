//! The memory that the channels and buffers of all delivery streams may hold together.
//!
//! Always true: while no stream comes, what is granted never exceeds the limit, and a stream that stays within its guaranteed
//! share is never made to wait by another that is alive. Half of the limit is guaranteed in equal shares, the other half is
//! borrowed by whoever needs it. What a stream still holds after its end is borrowed until it is given back.
//! Bytes are granted once, when a source is about to read; behind that they only change hands ([`Permit::split`]), so no
//! stage can wait for memory that a later stage holds.

pub mod allocator;
pub mod blocks;
mod permit;

pub use permit::{Permit, guarded};

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// How long a waiting source goes without looking whether it has been told to stop.
const WAIT_STEP: Duration = Duration::from_millis(100);

/// The budget of the whole process.
#[derive(Clone)]
pub struct MemoryBudget(Arc<Budget>);

struct Budget {
    limit: u64,
    members: Mutex<Members>,
    freed: Condvar,
}

#[derive(Default)]
struct Members {
    next: u64,
    by_id: BTreeMap<u64, Member>,
}

struct Member {
    used: u64,
    /// Its stream has ended: it has no share any more, and is forgotten when nothing of it is used.
    has_left: bool,
    sealable: Arc<AtomicU64>,
    relief: Arc<Notify>,
}

/// One delivery stream's part in the budget, from its start to its end.
pub struct StreamBudget {
    id: u64,
    budget: Arc<Budget>,
    sealable: Arc<AtomicU64>,
    relief: Arc<Notify>,
}

impl MemoryBudget {
    /// A budget of `limit` bytes.
    pub fn new(limit: u64) -> Self {
        Self(Arc::new(Budget { limit, members: Mutex::default(), freed: Condvar::new() }))
    }

    /// A new member. The guaranteed shares of all are smaller from now on.
    pub fn join(&self) -> Arc<StreamBudget> {
        let mut members = self.0.members();
        let id = members.next;
        members.next += 1;
        let (sealable, relief) = (Arc::new(AtomicU64::new(0)), Arc::new(Notify::new()));
        let member = Member { used: 0, has_left: false, sealable: sealable.clone(), relief: relief.clone() };
        members.by_id.insert(id, member);
        Arc::new(StreamBudget { id, budget: self.0.clone(), sealable, relief })
    }

    /// Bytes that are granted at this moment, to all streams together.
    pub fn used(&self) -> u64 {
        self.0.members().by_id.values().map(|member| member.used).sum()
    }
}

impl Budget {
    fn members(&self) -> MutexGuard<'_, Members> {
        // The numbers are changed in single steps, so a panic elsewhere leaves them right.
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether `bytes` more for the member `id` stay within the rules.
    fn fits(&self, members: &Members, id: u64, bytes: u64) -> bool {
        let share = self.share(members);
        let (mut used_by_all, mut borrowed_by_all, mut borrowed_by_me, mut left_over) = (0, 0, 0, 0);
        for (&other, member) in &members.by_id {
            let used = if other == id { member.used + bytes } else { member.used };
            let borrowed = if member.has_left { used } else { used.saturating_sub(share) };
            used_by_all += used;
            borrowed_by_all += borrowed;
            if other == id {
                borrowed_by_me = borrowed;
            }
            if member.has_left {
                left_over += used;
            }
        }
        match borrowed_by_me {
            // What was a share when its stream ended may be more than there is to borrow.
            0 => left_over == 0 || used_by_all <= self.limit,
            _ => borrowed_by_all <= self.limit / 2,
        }
    }

    fn share(&self, members: &Members) -> u64 {
        let alive = members.by_id.values().filter(|member| !member.has_left).count();
        self.limit / 2 / alive.max(1) as u64
    }

    fn give_back(&self, id: u64, bytes: u64) {
        if bytes == 0 {
            return;
        }
        let mut members = self.members();
        if let Some(member) = members.by_id.get_mut(&id) {
            member.used = member.used.saturating_sub(bytes);
            if member.has_left && member.used == 0 {
                members.by_id.remove(&id);
            }
        }
        drop(members);
        self.freed.notify_all();
    }
}

impl StreamBudget {
    /// Waits until `bytes` may be held, and asks the stream with the largest open buffers to seal one meanwhile. Blocks
    /// the calling thread; `None` when `stop` was cancelled, or after `timeout`.
    pub fn acquire(&self, bytes: u64, stop: &CancellationToken, timeout: Duration) -> Option<Arc<Permit>> {
        let began = Instant::now();
        // What is larger than all there is would wait for ever: it is granted when nothing else is held.
        let wanted = bytes.min(self.budget.limit / 2);
        let mut members = self.budget.members();
        loop {
            if stop.is_cancelled() {
                return None;
            }
            if self.budget.fits(&members, self.id, wanted) {
                if let Some(member) = members.by_id.get_mut(&self.id) {
                    member.used += wanted;
                }
                let permit = Permit { id: self.id, budget: self.budget.clone(), bytes: AtomicU64::new(wanted) };
                return Some(Arc::new(permit));
            }
            let left = timeout.saturating_sub(began.elapsed());
            if left.is_zero() {
                return None;
            }
            let largest = members.by_id.values().max_by_key(|member| member.sealable.load(Ordering::Relaxed));
            if let Some(largest) = largest.filter(|member| member.sealable.load(Ordering::Relaxed) > 0) {
                largest.relief.notify_one();
            }
            members = self
                .budget
                .freed
                .wait_timeout(members, left.min(WAIT_STEP))
                .map_or_else(|e| e.into_inner().0, |(guard, _)| guard);
        }
    }

    /// Takes `bytes` whether they are there or not: for what processing has made of records beyond the memory that was
    /// granted for it. Reading waits until what is too much has been given back.
    pub fn overdraw(&self, bytes: u64) -> Permit {
        if let Some(member) = self.budget.members().by_id.get_mut(&self.id) {
            member.used += bytes;
        }
        Permit { id: self.id, budget: self.budget.clone(), bytes: AtomicU64::new(bytes) }
    }

    /// Makes `permit` cover exactly `bytes`, whether they are there or not: for what grows and shrinks with what is held, and is
    /// small beside it.
    pub fn cover(&self, permit: &Permit, bytes: u64) {
        match bytes.checked_sub(permit.bytes()) {
            Some(more) if more > 0 => permit.absorb(self.overdraw(more)),
            Some(_) => {}
            None => drop(permit.split(permit.bytes() - bytes)),
        }
    }

    /// Says how many bytes sealing this stream's largest buffers would set free.
    pub fn set_sealable(&self, bytes: u64) {
        self.sealable.store(bytes, Ordering::Relaxed);
    }

    /// Resolves when memory is short and this stream holds the largest buffers.
    pub async fn relief_wanted(&self) {
        self.relief.notified().await;
    }

    /// Bytes that this stream is guaranteed, whatever the others do.
    pub fn share(&self) -> u64 {
        self.budget.share(&self.budget.members())
    }
}

impl Drop for StreamBudget {
    fn drop(&mut self) {
        let mut members = self.budget.members();
        match members.by_id.get_mut(&self.id) {
            Some(member) if member.used > 0 => {
                member.has_left = true;
                member.sealable.store(0, Ordering::Relaxed);
            }
            _ => drop(members.by_id.remove(&self.id)),
        }
        drop(members);
        self.budget.freed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MB: u64 = 1 << 20;
    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn a_stream_that_borrows_all_leaves_the_others_their_share() {
        let budget = MemoryBudget::new(16 * MB);
        let (greedy, modest) = (budget.join(), budget.join());
        let go = CancellationToken::new();
        let held: Vec<_> = (0..12).map(|_| greedy.acquire(MB, &go, LONG).unwrap()).collect();
        let stopped = CancellationToken::new();
        stopped.cancel();
        assert!(greedy.acquire(MB, &stopped, LONG).is_none());
        assert!(greedy.acquire(MB, &go, Duration::ZERO).is_none());
        let share: Vec<_> = (0..4).map(|_| modest.acquire(MB, &go, LONG).unwrap()).collect();
        assert_eq!(budget.used(), 16 * MB);
        drop((held, share));
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn split_and_guarded_bytes_give_back_exactly_what_was_granted() {
        let budget = MemoryBudget::new(16 * MB);
        let member = budget.join();
        let permit = member.acquire(1000, &CancellationToken::new(), LONG).unwrap();
        let part = permit.split(300);
        assert_eq!((permit.bytes(), part.bytes(), budget.used()), (700, 300, 1000));
        assert_eq!(permit.split(900).bytes(), 700);
        let bytes = guarded(vec![1, 2, 3], Arc::new(part));
        let slice = bytes.slice(1..2);
        drop((bytes, permit));
        assert_eq!(budget.used(), 300);
        drop(slice);
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn a_permit_follows_what_it_covers_even_beyond_the_limit() {
        let budget = MemoryBudget::new(16 * MB);
        let member = budget.join();
        let permit = member.overdraw(0);
        for bytes in [0, 300, 300, 20 * MB, 7] {
            member.cover(&permit, bytes);
            assert_eq!((permit.bytes(), budget.used()), (bytes, bytes));
        }
        drop(permit);
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn whoever_waits_asks_the_largest_for_relief() {
        let budget = MemoryBudget::new(16 * MB);
        let (large, small) = (budget.join(), budget.join());
        let go = CancellationToken::new();
        let held: Vec<_> = (0..12).map(|_| large.acquire(MB, &go, LONG).unwrap()).collect();
        large.set_sealable(12 * MB);
        let share: Vec<_> = (0..4).map(|_| small.acquire(MB, &go, LONG).unwrap()).collect();
        let waiter = std::thread::spawn(move || small.acquire(MB, &CancellationToken::new(), LONG).is_some());
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(large.relief_wanted());
        drop(held);
        assert!(waiter.join().unwrap());
        drop(share);
    }

    #[test]
    fn what_a_stream_holds_after_its_end_counts_until_it_is_given_back() {
        let budget = MemoryBudget::new(16 * MB);
        let (ending, other) = (budget.join(), budget.join());
        let go = CancellationToken::new();
        let at_once = |member: &StreamBudget, bytes| member.acquire(bytes, &go, Duration::ZERO);
        let held = at_once(&ending, 8 * MB).unwrap();
        let late = at_once(&ending, 4 * MB).unwrap();
        ending.set_sealable(12 * MB);
        let sealable = ending.sealable.clone();
        drop(ending);
        assert_eq!((sealable.load(Ordering::Relaxed), budget.used()), (0, 12 * MB));
        let next = budget.join();
        assert_eq!((next.share(), other.share()), (4 * MB, 4 * MB));
        let share = at_once(&next, 4 * MB).unwrap();
        assert!(at_once(&next, MB).is_none(), "nothing is left to borrow");
        assert!(at_once(&other, MB).is_none(), "nothing is left at all");
        drop(held);
        let mine = at_once(&other, 4 * MB).unwrap();
        let borrowed = at_once(&next, 4 * MB).unwrap();
        assert!(at_once(&next, MB).is_none());
        assert_eq!(budget.0.members().by_id.len(), 3);
        drop(late);
        assert_eq!(budget.0.members().by_id.len(), 2);
        drop((share, mine, borrowed, next, other));
        assert_eq!(budget.0.members().by_id.len(), 0);
    }
}
