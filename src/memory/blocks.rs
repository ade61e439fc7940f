//! Byte buffers that are used again. What the system gives anew is zeroed page by page at its first touch, which costs as much as
//! copying a chunk three times.
//!
//! Always true: at most [`SPARES_MAX`] buffers of [`CAPACITY_MAX`] bytes are kept, in all streams together.

use std::sync::{Mutex, PoisonError};

/// A chunk takes three on its way through a component, and a few chunks are on their way.
const SPARES_MAX: usize = 8;
/// A smaller one comes from the allocator's own store.
const CAPACITY_MIN: usize = 128 * 1024;
/// What is made of a chunk of 1 MiB fits in.
const CAPACITY_MAX: usize = 2 * 1024 * 1024;
/// Capacities are multiples of it: a buffer that is a few bytes too small for the next chunk would be of no use.
const STEP: usize = 128 * 1024;

static SPARES: Mutex<Vec<Vec<u8>>> = Mutex::new(Vec::new());

/// An empty buffer for at least `capacity` bytes, and for no more than twice as many.
pub fn take(capacity: usize) -> Vec<u8> {
    if !(CAPACITY_MIN..=CAPACITY_MAX).contains(&capacity) {
        return Vec::with_capacity(capacity);
    }
    let mut spares = SPARES.lock().unwrap_or_else(PoisonError::into_inner);
    let fits = |spare: &Vec<u8>| (capacity..=2 * capacity).contains(&spare.capacity());
    let fitting = spares.iter().enumerate().filter(|(_, spare)| fits(spare));
    match fitting.min_by_key(|(_, spare)| spare.capacity()).map(|(at, _)| at) {
        Some(at) => spares.swap_remove(at),
        None => Vec::with_capacity(capacity.next_multiple_of(STEP)),
    }
}

/// Takes back a buffer that nobody needs any more, wherever it comes from.
pub fn give_back(mut buffer: Vec<u8>) {
    if (CAPACITY_MIN..=CAPACITY_MAX).contains(&buffer.capacity()) {
        buffer.clear();
        let mut spares = SPARES.lock().unwrap_or_else(PoisonError::into_inner);
        if spares.len() < SPARES_MAX {
            spares.push(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_is_empty_and_large_enough() {
        for capacity in [0, 1, CAPACITY_MIN, CAPACITY_MAX, CAPACITY_MAX + 1] {
            for _ in 0..2 * SPARES_MAX {
                let mut buffer = take(capacity);
                assert!(buffer.is_empty() && (capacity..=2 * capacity).contains(&buffer.capacity()));
                buffer.push(1);
                give_back(buffer);
            }
        }
        assert!(SPARES.lock().unwrap().len() <= SPARES_MAX);
    }
}
