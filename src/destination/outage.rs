//! Firehose's way of trying a request again, and what is done while a receiver is away.
//!
//! Always true: a request is given up only after an attempt of its own, and not before the retry duration is over, its own or the
//! outage's; a wait that has begun is completed and followed by an attempt. The time of waiting for answers counts where a receiver
//! says so. While several attempts in a row have failed, one at a time is made and the others wait for it; when one succeeds, what
//! has waited is sent at a growing [pace](super::pace).

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Mutex as Turn, MutexGuard as Probe, Semaphore, SemaphorePermit};

use super::pace::Pace;
use super::retry::RetryLimits;

const DELAY_MIN: Duration = Duration::from_secs(1);
const DELAY_MAX: Duration = Duration::from_secs(120);
const JITTER: f64 = 0.15;
/// So many attempts in a row make an outage.
const FAILURES_MIN: u32 = 3;

/// The attempts for one request. Pure.
#[derive(Debug, Clone)]
pub struct Tries {
    retry: Duration,
    limits: RetryLimits,
    failures: u32,
    waited: Duration,
}

impl Tries {
    pub fn new(retry: Duration, limits: RetryLimits) -> Self {
        Self { retry, limits, failures: 0, waited: Duration::ZERO }
    }

    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// An attempt has failed: how long to wait before the next one, or `None` when the duration is over. `took` is how long it
    /// took, where that counts; `random` is uniform in 0 to 1.
    pub fn failed(&mut self, took: Duration, retry_after: Option<Duration>, random: f64) -> Option<Duration> {
        let exponent = self.failures.min(16);
        self.failures = self.failures.saturating_add(1);
        self.waited += took;
        if self.waited >= self.retry {
            return None;
        }
        let delay = DELAY_MIN.saturating_mul(1 << exponent).min(DELAY_MAX);
        let delay = delay.mul_f64(1.0 - JITTER + 2.0 * JITTER * random.clamp(0.0, 1.0));
        // Nobody is left alone for longer than the records would be tried at all.
        let asked = retry_after.unwrap_or_default().min(self.retry.max(DELAY_MAX));
        let delay = self.limits.delay_max.map_or(delay.max(asked), |max| delay.max(asked).min(max));
        self.waited += delay;
        Some(self.limits.sped_up(delay))
    }
}

/// What the requests of one receiver know of each other's failures, and how many of them may be under way.
#[derive(Debug)]
pub struct Outage {
    slots: Semaphore,
    state: Mutex<State>,
    probe: Turn<()>,
}

#[derive(Debug)]
struct State {
    failures: u32,
    waited: Duration,
    pace: Pace,
    /// Slots that there are, taken or not.
    slots: usize,
}

/// The right to have a request under way.
#[derive(Debug)]
pub struct Slot<'a> {
    outage: &'a Outage,
    permit: Option<SemaphorePermit<'a>>,
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        let mut state = self.outage.state();
        if state.slots > state.pace.in_flight() {
            state.slots -= 1;
            self.permit.take().into_iter().for_each(SemaphorePermit::forget);
        }
    }
}

impl Outage {
    pub fn new(in_flight: usize) -> Self {
        let pace = Pace::new(in_flight);
        let slots = pace.in_flight();
        let state = State { failures: 0, waited: Duration::ZERO, pace, slots };
        Self { slots: Semaphore::new(slots), state: Mutex::new(state), probe: Turn::default() }
    }

    /// Waits until one more request may be under way.
    pub async fn slot(&self) -> Slot<'_> {
        // It is never closed.
        Slot { outage: self, permit: self.slots.acquire().await.ok() }
    }

    /// Bytes of an attempt, of which so many are wanted while all goes well.
    pub fn bytes(&self, wanted: u64) -> u64 {
        self.state().pace.bytes(wanted)
    }

    /// The right to make an attempt: at once while all is well, else in turn. With it in turn, how long to wait before a first
    /// attempt.
    pub async fn admit(&self, limits: RetryLimits) -> Option<(Probe<'_, ()>, Duration)> {
        if !self.is_open() {
            return None;
        }
        let probe = self.probe.lock().await;
        // The one before may have found that it is over.
        let pause =
            if self.is_open() { limits.delay_max.map_or(DELAY_MIN, |max| max.min(DELAY_MIN)) } else { Duration::ZERO };
        Some((probe, limits.sped_up(pause)))
    }

    pub fn succeeded(&self) {
        let mut state = self.state();
        (state.failures, state.waited) = (0, Duration::ZERO);
        self.change_pace(&mut state, Pace::succeeded);
    }

    pub fn failed(&self) {
        let mut state = self.state();
        state.failures = state.failures.saturating_add(1);
        if state.failures == FAILURES_MIN {
            self.change_pace(&mut state, Pace::stopped);
        }
    }

    /// The receiver asks for less at a time.
    pub fn pushed_back(&self) {
        self.change_pace(&mut self.state(), Pace::pushed_back);
    }

    /// It has answered that an attempt of so many bytes, with several requests, is too large.
    pub fn was_too_large(&self, bytes: u64) {
        let mut state = self.state();
        (state.failures, state.waited) = (0, Duration::ZERO);
        state.pace.was_too_large(bytes);
    }

    fn change_pace(&self, state: &mut State, change: fn(&mut Pace)) {
        change(&mut state.pace);
        let wanted = state.pace.in_flight();
        if wanted > state.slots {
            self.slots.add_permits(wanted - state.slots);
            state.slots = wanted;
        } else {
            // Those that are taken go when they are given back.
            state.slots -= self.slots.forget_permits(state.slots - wanted);
        }
    }

    pub fn has_waited(&self, time: Duration) {
        self.state().waited += time;
    }

    /// Whether it has lasted longer than requests are tried.
    pub fn is_longer_than(&self, retry: Duration) -> bool {
        let state = self.state();
        state.failures >= FAILURES_MIN && state.waited >= retry
    }

    fn is_open(&self) -> bool {
        self.state().failures >= FAILURES_MIN
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Numbers that are changed in single steps.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// All delays without jitter until it is given up.
    fn delays(retry: u64) -> Vec<u64> {
        let mut tries = Tries::new(seconds(retry), RetryLimits::default());
        std::iter::from_fn(|| tries.failed(Duration::ZERO, None, 0.5))
            .map(|delay| delay.as_millis() as u64 / 1000)
            .collect()
    }

    #[test]
    fn delays_double_to_two_minutes_and_the_wait_that_has_begun_is_completed() {
        assert!(delays(0).is_empty());
        assert_eq!(delays(1), [1]);
        assert_eq!(delays(2), [1, 2]);
        assert_eq!(delays(300), [1, 2, 4, 8, 16, 32, 64, 120, 120]);
        // An hour of failures.
        assert_eq!(delays(3600).iter().sum::<u64>(), 127 + 29 * 120);
        assert_eq!(delays(7200).len(), 7 + 59);
    }

    proptest! {
        #[test]
        fn every_delay_has_its_jitter(randoms in prop::collection::vec(0.0..=1.0, 1..60)) {
            let mut tries = Tries::new(seconds(7200), RetryLimits::default());
            for (n, random) in randoms.into_iter().enumerate() {
                let Some(delay) = tries.failed(Duration::ZERO, None, random) else { break };
                let nominal = (1_u64 << n.min(16)).min(120) as f64;
                prop_assert!((0.849..=1.151).contains(&(delay.as_secs_f64() / nominal)), "{delay:?}");
            }
        }
    }

    #[test]
    fn what_a_receiver_asks_for_is_honoured_within_bounds() {
        let mut tries = Tries::new(seconds(600), RetryLimits::default());
        assert_eq!(tries.failed(Duration::ZERO, Some(seconds(7)), 0.5), Some(seconds(7)));
        assert_eq!(
            tries.failed(Duration::ZERO, Some(seconds(1)), 0.5),
            Some(seconds(2)),
            "never sooner than it would be"
        );
        assert_eq!(tries.failed(Duration::ZERO, Some(seconds(86_400)), 0.5), Some(seconds(600)));
        assert_eq!(tries.failed(Duration::ZERO, Some(seconds(7)), 0.5), None);
        let mut short = Tries::new(seconds(10), RetryLimits::default());
        assert_eq!(short.failed(Duration::ZERO, Some(seconds(86_400)), 0.5), Some(seconds(120)));
        assert_eq!(short.failures(), 1);
    }

    #[test]
    fn attempts_are_part_of_the_duration_where_they_count() {
        let mut tries = Tries::new(seconds(10), RetryLimits::default());
        assert_eq!(tries.failed(seconds(4), None, 0.5), Some(seconds(1)));
        assert_eq!(tries.failed(seconds(4), None, 0.5), Some(seconds(2)));
        assert_eq!(tries.failed(seconds(1), None, 0.5), None);
        let mut none = Tries::new(Duration::ZERO, RetryLimits::default());
        assert_eq!(none.failed(seconds(1), None, 0.5), None);
    }

    #[tokio::test]
    async fn after_an_outage_slots_come_back_one_by_one() {
        let outage = Outage::new(3);
        let taken = (outage.slot().await, outage.slot().await, outage.slot().await);
        (0..3).for_each(|_| outage.failed());
        drop(taken);
        let only = outage.slot().await;
        let another = || tokio::time::timeout(Duration::from_millis(20), outage.slot());
        assert!(another().await.is_err(), "one at a time");
        outage.succeeded();
        let second = outage.slot().await;
        assert!(another().await.is_err(), "then two");
        drop((only, second));
        (0..2).for_each(|_| outage.succeeded());
        let all = (outage.slot().await, outage.slot().await, outage.slot().await);
        assert!(another().await.is_err(), "never more than may be");
        drop(all);
    }

    #[tokio::test]
    async fn in_an_outage_one_request_at_a_time_is_tried_until_one_succeeds() {
        let outage = Outage::new(2);
        let limits = RetryLimits::default();
        outage.failed();
        outage.failed();
        assert!(outage.admit(limits).await.is_none());
        outage.failed();
        let (probe, pause) = outage.admit(limits).await.unwrap();
        assert_eq!(pause, DELAY_MIN);
        assert!(tokio::time::timeout(Duration::from_millis(20), outage.admit(limits)).await.is_err(), "in turn");
        outage.has_waited(seconds(299));
        assert!(!outage.is_longer_than(seconds(300)));
        outage.has_waited(seconds(1));
        assert!(outage.is_longer_than(seconds(300)));
        drop(probe);
        let waiting = outage.admit(limits).await.unwrap();
        outage.succeeded();
        drop(waiting);
        assert!(outage.admit(limits).await.is_none());
        assert!(!outage.is_longer_than(Duration::ZERO));
    }
}
