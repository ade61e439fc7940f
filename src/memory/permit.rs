//! What was granted of the memory budget, on its way with the bytes that it covers.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::Budget;

/// Bytes granted to one stream; dropping it gives them back.
pub struct Permit {
    pub(super) id: u64,
    pub(super) budget: Arc<Budget>,
    pub(super) bytes: AtomicU64,
}

impl Permit {
    /// Bytes that this permit still covers.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Hands up to `bytes` of this permit on, for what was made from the bytes that it covers.
    pub fn split(&self, bytes: u64) -> Permit {
        let mut taken = 0;
        let _ = self.bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |have| {
            taken = bytes.min(have);
            Some(have - taken)
        });
        Permit { id: self.id, budget: self.budget.clone(), bytes: AtomicU64::new(taken) }
    }

    /// Takes over what another permit of the same stream covers.
    pub fn absorb(&self, other: Permit) {
        self.bytes.fetch_add(other.bytes.swap(0, Ordering::Relaxed), Ordering::Relaxed);
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.budget.give_back(self.id, *self.bytes.get_mut());
    }
}

/// Bytes with the permit for them: both go together, when the last slice of the bytes is dropped.
pub fn guarded(data: Vec<u8>, permit: Arc<Permit>) -> bytes::Bytes {
    struct Guarded(Vec<u8>, #[allow(dead_code, reason = "held for its drop")] Arc<Permit>);
    impl AsRef<[u8]> for Guarded {
        fn as_ref(&self) -> &[u8] {
            &self.0
        }
    }
    impl Drop for Guarded {
        fn drop(&mut self) {
            super::blocks::give_back(std::mem::take(&mut self.0));
        }
    }
    bytes::Bytes::from_owner(Guarded(data, permit))
}
