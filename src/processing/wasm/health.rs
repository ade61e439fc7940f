//! Whether a component works at all.
//!
//! Always true: one success, of however small a part of a batch, and the component counts as working. After three whole batches
//! in a row without one it is down: no batch is taken apart any more, and what comes waits or is diverted. A record that has
//! passed once tells the one from the other: while that one passes, the component works and the records are at fault, up to [`POISON_MAX`] of them.

use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use crate::record::{Origins, Position};

use super::call::{Batch, Given, Place};
use super::world::Seed;

/// Whole batches in a row without a success.
const FAILURES_MAX: u32 = 3;
const DELAY_MIN: Duration = Duration::from_secs(1);
const DELAY_MAX: Duration = Duration::from_secs(60);
/// How often it is said that a component is down.
const SHOUT_EVERY: Duration = Duration::from_secs(30);

/// A run of poison longer than that is a component that does not work.
const POISON_MAX: usize = 1_000;
/// A longer record is not kept to probe with.
const PROBE_BYTES_MAX: usize = 64 * 1024;

#[derive(Default)]
pub(super) struct Health {
    state: Mutex<State>,
    /// A record that has passed.
    probe: OnceLock<Probe>,
    works_again: Notify,
}

/// A record to try whether a component works.
pub(super) struct Probe {
    pub data: Vec<u8>,
    pub position: Position,
    /// The file's path, or the shard.
    pub name: String,
    /// The record's own, where it is one of a shard.
    pub origins: Option<Origins>,
    pub seed: Seed,
}

impl Probe {
    fn of(given: &Given<'_>, batch: Batch<'_>) -> Self {
        let (name, origins) = match batch.place {
            Place::File { path } => (path, None),
            Place::Shard { shard_id, origins } => (shard_id, Some(origins.only(given.source as usize))),
        };
        Self { data: given.data.to_vec(), position: given.position, name: name.to_owned(), origins, seed: batch.seed }
    }

    /// As the one record of a batch.
    pub fn batch(&self) -> (Batch<'_>, Given<'_>) {
        let place = match &self.origins {
            Some(origins) => Place::Shard { shard_id: &self.name, origins },
            None => Place::File { path: &self.name },
        };
        (Batch { place, seed: self.seed }, Given { data: &self.data, position: self.position, source: 0 })
    }
}

#[derive(Default)]
struct State {
    failures: u32,
    /// In the batches that failed without a success since the last one.
    records: usize,
    delay: Duration,
    shouted: Option<Instant>,
}

impl Health {
    /// Whether the last batch failed whole: the next one should not take a core from others.
    pub fn is_doubtful(&self) -> bool {
        self.with(|state| state.failures > 0)
    }

    pub fn is_down(&self) -> bool {
        self.with(|state| state.failures >= FAILURES_MAX)
    }

    /// Some record has passed. Returns whether the component was down until now.
    pub fn succeeded(&self) -> bool {
        let was_down = self.with(|state| {
            let was_down = state.failures >= FAILURES_MAX;
            *state = State::default();
            was_down
        });
        if was_down {
            self.works_again.notify_waiters();
        }
        was_down
    }

    /// Remembers a record that has passed; the first one is as good as any.
    pub fn passed(&self, given: &Given<'_>, batch: Batch<'_>) {
        if given.data.len() <= PROBE_BYTES_MAX {
            self.probe.get_or_init(|| Probe::of(given, batch));
        }
    }

    pub fn probe(&self) -> Option<&Probe> {
        self.probe.get()
    }

    /// A whole batch of so many records without a success.
    pub fn failed(&self, records: usize) {
        self.with(|state| {
            state.failures = (state.failures + 1).min(FAILURES_MAX);
            state.records = state.records.saturating_add(records);
        });
    }

    /// Whether these records and all that failed since the last success are few enough to be no more than a run of poison.
    pub fn may_spare(&self, records: usize) -> bool {
        self.with(|state| state.records.saturating_add(records) <= POISON_MAX)
    }

    /// It fails whatever the records are.
    pub fn is_broken(&self) {
        self.with(|state| state.failures = FAILURES_MAX);
    }

    /// How long to wait before the next attempt; each time longer.
    pub fn next_delay(&self) -> Duration {
        self.with(|state| {
            state.delay = (state.delay * 2).clamp(DELAY_MIN, DELAY_MAX);
            state.delay
        })
    }

    /// Whether it is time to say that the component is down.
    pub fn may_shout(&self) -> bool {
        self.with(|state| {
            let may = state.shouted.is_none_or(|at| at.elapsed() >= SHOUT_EVERY);
            if may {
                state.shouted = Some(Instant::now());
            }
            may
        })
    }

    /// Returns after `delay`, or earlier when another batch has succeeded. Cancel-safe.
    pub async fn wait(&self, delay: Duration) {
        let _ = tokio::time::timeout(delay, self.works_again.notified()).await;
    }

    fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_failures_in_a_row_are_too_many_and_one_success_is_enough() {
        let health = Health::default();
        health.failed(1);
        health.failed(1);
        assert!(health.is_doubtful() && !health.is_down() && !health.succeeded());
        (0..3).for_each(|_| health.failed(1));
        assert!(health.is_down() && health.succeeded() && !health.is_doubtful());
        health.is_broken();
        assert!(health.is_down());
    }

    #[test]
    fn a_run_of_poison_is_spared_up_to_a_length() {
        let health = Health::default();
        assert!(health.may_spare(POISON_MAX) && !health.may_spare(POISON_MAX + 1));
        health.failed(POISON_MAX - 1);
        assert!(health.may_spare(1) && !health.may_spare(2));
        health.succeeded();
        assert!(health.may_spare(POISON_MAX));
    }

    #[test]
    fn delays_grow_up_to_a_minute_and_begin_anew_after_a_success() {
        let health = Health::default();
        let seconds: Vec<_> = (0..8).map(|_| health.next_delay().as_secs()).collect();
        assert_eq!(seconds, [1, 2, 4, 8, 16, 32, 60, 60]);
        health.succeeded();
        assert_eq!(health.next_delay().as_secs(), 1);
    }
}
