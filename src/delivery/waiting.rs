//! Requests of a delivery that wait for an attempt.
//!
//! Always true: they are taken in the order of their records as far as they are due, and those of which an attempt took the others
//! go among themselves.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::destination::outage::Tries;

use super::parts::Part;

/// Memory of one, with what is on the heap for it; one that was rejected takes less.
pub(super) const BYTES: u64 = 320;

#[derive(Debug, Clone)]
pub(super) struct Waiting {
    pub(super) part: Part,
    pub(super) tries: Tries,
    /// Made for its records.
    pub(super) attempts: u32,
    /// When it may be tried again.
    pub(super) due: Option<Instant>,
    /// It was left by an attempt in which other records were judged.
    pub(super) is_left: bool,
}

#[derive(Debug, Default)]
pub(super) struct Queue(BTreeMap<u64, Waiting>);

impl Waiting {
    pub(super) fn new(part: Part, tries: Tries) -> Self {
        Self { part, tries, attempts: 0, due: None, is_left: false }
    }

    fn is_due(&self, now: Instant) -> bool {
        self.due.is_none_or(|due| due <= now)
    }
}

impl Queue {
    pub(super) fn push(&mut self, waiting: Waiting) {
        self.0.insert(waiting.part.request.first, waiting);
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Some that go into one attempt of up to so many bytes, or a single one; none if none is due.
    pub(super) fn take(&mut self, now: Instant, bytes_max: Option<u64>) -> Vec<Waiting> {
        let (mut firsts, mut bytes, mut is_left) = (Vec::new(), 0, None);
        for (&first, waiting) in self.0.iter().filter(|(_, waiting)| waiting.is_due(now)) {
            if *is_left.get_or_insert(waiting.is_left) != waiting.is_left {
                continue;
            }
            bytes += waiting.part.bytes();
            if !firsts.is_empty() && bytes_max.is_none_or(|max| bytes > max) {
                break;
            }
            firsts.push(first);
        }
        firsts.iter().filter_map(|first| self.0.remove(first)).collect()
    }

    /// How long until one is due; `None` if there is none at all.
    pub(super) fn due_in(&self, now: Instant) -> Option<Duration> {
        let due = |waiting: &Waiting| waiting.due.map_or(Duration::ZERO, |due| due.saturating_duration_since(now));
        self.0.values().map(due).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::destination::retry::RetryLimits;
    use crate::requests::{Cut, Request};
    use proptest::prelude::*;

    fn waiting(first: u64, bytes: u64, due: Option<Instant>, is_left: bool) -> Waiting {
        let cut = Cut { first, end: first + 1, payload: 0..bytes, is_refused: false, is_continued: false };
        let tries = Tries::new(Duration::ZERO, RetryLimits::default());
        Waiting { due, is_left, ..Waiting::new(Part { request: Request::planned(first, first + 1), cut }, tries) }
    }

    proptest! {
        #[test]
        fn what_is_due_goes_in_order_and_within_the_bytes(
            all in prop::collection::vec((1u64..10, 0u64..3, any::<bool>()), 0..30),
            bytes_max in prop::option::of(1u64..30),
        ) {
            let now = Instant::now();
            let mut queue = Queue::default();
            for (first, &(bytes, seconds, is_left)) in (0..).zip(&all) {
                let due = (seconds > 0).then(|| now + Duration::from_secs(seconds - 1));
                queue.push(waiting(first, bytes, due, is_left));
            }
            let (mut taken, before) = (Vec::new(), queue.len());
            loop {
                let some = queue.take(now, bytes_max);
                let bytes: u64 = some.iter().map(|one| one.part.bytes()).sum();
                prop_assert!(some.len() <= 1 || bytes_max.is_some_and(|max| bytes <= max));
                prop_assert!(some.iter().map(|one| one.part.request.first).is_sorted());
                prop_assert!(some.windows(2).all(|two| two[0].is_left == two[1].is_left));
                prop_assert!(some.iter().all(|one| one.due.is_none_or(|due| due <= now)));
                if some.is_empty() {
                    break;
                }
                taken.extend(some);
            }
            prop_assert_eq!(taken.len(), all.iter().filter(|(_, seconds, _)| *seconds < 2).count());
            prop_assert_eq!(queue.len(), before - taken.len());
            let expected = all.iter().any(|(_, seconds, _)| *seconds == 2).then(|| Duration::from_secs(1));
            prop_assert_eq!(queue.due_in(now), expected);
        }
    }
}
