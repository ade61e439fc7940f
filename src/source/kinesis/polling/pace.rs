//! When a shard may be asked for records again.
//!
//! Pure: the time comes in as an argument. Always true: between two calls lies the time that the limit of calls asks for;
//! after an answer, its bytes have had the time that the limit of bytes asks for; after an error, its delay has passed.

use std::time::{Duration, Instant};

use crate::destination::ErrorClass;
use crate::destination::retry::{Backoff, RetryLimits};

/// The service serves an answer somewhere between the call and its arrival; a slow transfer is no late serving.
const SERVING_MAX: Duration = Duration::from_millis(500);

/// What a shard gives to all its consumers together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShardLimits {
    /// Between the beginnings of two calls.
    pub call_interval: Duration,
    pub bytes_per_second: u64,
}

impl Default for ShardLimits {
    /// The service's: 5 calls and 2 MiB in a second. The calls are a little further apart, for they take different times to
    /// arrive.
    fn default() -> Self {
        Self { call_interval: Duration::from_millis(210), bytes_per_second: 2 << 20 }
    }
}

/// What an answer has held.
#[derive(Debug, Clone, Copy)]
pub struct Served {
    pub bytes: u64,
    /// There is more.
    pub is_behind: bool,
}

#[derive(Debug)]
pub struct Pace {
    limits: ShardLimits,
    poll_interval: Duration,
    retry_limits: RetryLimits,
    backoff: Backoff,
    /// Errors in a row.
    failures: u32,
    /// When the last call began.
    sent: Option<Instant>,
    /// Until then no call begins.
    rests_until: Option<Instant>,
    /// Then the service has given as many bytes as it may have.
    paid_at: Option<Instant>,
    records_max: u32,
    /// Of a call at this moment.
    records: u32,
}

impl Pace {
    pub fn new(limits: ShardLimits, poll_interval: Duration, records_max: u32, retry_limits: RetryLimits) -> Self {
        let records_max = records_max.max(1);
        Self {
            limits,
            poll_interval,
            retry_limits,
            backoff: Backoff::new(retry_limits),
            failures: 0,
            sent: None,
            rests_until: None,
            paid_at: None,
            records_max,
            records: records_max,
        }
    }

    /// When the next call may begin; `None` is at once.
    pub fn next_call(&self) -> Option<Instant> {
        self.rests_until.max(self.paid_at)
    }

    /// How many records the next call asks for. Fewer after answers that did not come: on a slow line 10 MB take longer than
    /// any call may.
    pub fn records(&self) -> u32 {
        self.records
    }

    /// Errors in a row so far.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// A call begins. If nobody waits for its answer, it has been made all the same.
    pub fn begin(&mut self, now: Instant) {
        self.sent = Some(now);
        self.rests_until = self.rests_until.max(Some(now + self.limits.call_interval));
    }

    pub fn answered(&mut self, now: Instant, served: Served) {
        self.backoff = Backoff::new(self.retry_limits);
        self.failures = 0;
        self.records = self.records.saturating_mul(2).min(self.records_max);
        let sent = self.sent.unwrap_or(now);
        let served_at = now.min(sent + SERVING_MAX);
        self.paid_at =
            Some(self.paid_at.map_or(served_at, |paid_at| paid_at.max(served_at)) + self.price(served.bytes));
        if !served.is_behind {
            self.rests_until = self.rests_until.max(Some(sent + self.poll_interval));
        }
    }

    /// `random` is uniform in 0 to 1.
    pub fn failed(&mut self, now: Instant, class: ErrorClass, random: f64) {
        self.failures = self.failures.saturating_add(1);
        if class == ErrorClass::Transient {
            self.records = (self.records / 2).max(1);
        }
        self.rests_until = self.rests_until.max(Some(now + self.backoff.delay(class, random)));
    }

    fn price(&self, bytes: u64) -> Duration {
        let nanos = u128::from(bytes) * 1_000_000_000 / u128::from(self.limits.bytes_per_second.max(1));
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const POLL_INTERVAL: Duration = Duration::from_secs(1);

    #[derive(Debug, Clone)]
    enum Step {
        Answer {
            after: Duration,
            bytes: u64,
            is_behind: bool,
        },
        Error {
            after: Duration,
            class: ErrorClass,
            random: f64,
        },
        /// Nobody waits for the answer any more.
        Dropped {
            after: Duration,
        },
        /// The reader is not asked for a while.
        HeldUp(Duration),
    }

    fn millis(range: std::ops::Range<u64>) -> impl Strategy<Value = Duration> {
        range.prop_map(Duration::from_millis)
    }

    fn step() -> impl Strategy<Value = Step> {
        let class = prop_oneof![Just(ErrorClass::Transient), Just(ErrorClass::Throttled), Just(ErrorClass::Denied)];
        prop_oneof![
            6 => (millis(0..3000), 0u64..10 << 20, any::<bool>())
                .prop_map(|(after, bytes, is_behind)| Step::Answer { after, bytes, is_behind }),
            2 => (millis(0..3000), class, 0.0..1.0)
                .prop_map(|(after, class, random)| Step::Error { after, class, random }),
            1 => millis(0..3000).prop_map(|after| Step::Dropped { after }),
            1 => millis(0..9000).prop_map(Step::HeldUp),
        ]
    }

    fn pace() -> Pace {
        Pace::new(ShardLimits::default(), POLL_INTERVAL, 10_000, RetryLimits::default())
    }

    proptest! {
        #[test]
        fn no_limit_of_the_service_is_passed(steps in prop::collection::vec(step(), 1..60)) {
            let mut now = Instant::now();
            let mut pace = pace();
            let (mut calls, mut served): (Vec<Instant>, Vec<(Instant, u64)>) = (Vec::new(), Vec::new());
            for step in steps {
                now = pace.next_call().map_or(now, |next| next.max(now));
                let owed: u64 = served.iter().map(|(_, bytes)| bytes).sum();
                let first = served.first().map_or(now, |(at, _)| *at);
                prop_assert!(owed as f64 <= (now - first).as_secs_f64() * f64::from(2 << 20) + 1.0, "{owed} bytes");
                if let Step::HeldUp(time) = step {
                    now += time;
                    continue;
                }
                pace.begin(now);
                calls.push(now);
                prop_assert!((1..=10_000).contains(&pace.records()));
                match step {
                    Step::Answer { after, bytes, is_behind } => {
                        let sent = now;
                        now += after;
                        let paid = pace.paid_at;
                        pace.answered(now, Served { bytes, is_behind });
                        served.push((sent, bytes));
                        let next = pace.next_call().unwrap();
                        let price = Duration::from_secs_f64(bytes as f64 / f64::from(2 << 20));
                        let latest = paid.map_or(now, |paid| paid.max(now)) + price + Duration::from_millis(1);
                        let rest = if is_behind { Duration::from_millis(210) } else { POLL_INTERVAL };
                        prop_assert!(is_behind || next >= sent + POLL_INTERVAL);
                        prop_assert!(next <= latest.max(sent + rest), "it waits for nothing");
                    }
                    Step::Error { after, class, random } => {
                        now += after;
                        pace.failed(now, class, random);
                        let pause = if class == ErrorClass::Transient { 100 } else { 1000 };
                        prop_assert!(pace.next_call().unwrap() >= now + Duration::from_millis(pause));
                    }
                    Step::Dropped { after } => now += after,
                    Step::HeldUp(_) => {}
                }
            }
            for six in calls.windows(6) {
                prop_assert!(six[5] - six[0] > Duration::from_secs(1), "more than five calls in a second");
            }
        }
    }

    #[test]
    fn ten_megabytes_are_followed_by_five_seconds() {
        let (mut pace, now) = (pace(), Instant::now());
        pace.begin(now);
        pace.answered(now, Served { bytes: 10 << 20, is_behind: true });
        assert_eq!(pace.next_call(), Some(now + Duration::from_secs(5)));
        // A slow transfer has passed some of them.
        let (mut pace, later) = (self::pace(), now + Duration::from_secs(4));
        pace.begin(now);
        pace.answered(later, Served { bytes: 10 << 20, is_behind: true });
        assert_eq!(pace.next_call(), Some(now + Duration::from_millis(5500)));
    }

    #[test]
    fn answers_that_do_not_come_are_asked_for_with_fewer_records() {
        let (mut pace, now) = (pace(), Instant::now());
        pace.failed(now, ErrorClass::Throttled, 0.0);
        assert_eq!(pace.records(), 10_000);
        let asked = std::iter::repeat_with(|| {
            pace.failed(now, ErrorClass::Transient, 0.0);
            pace.records()
        });
        assert_eq!(asked.take(15).collect::<Vec<_>>()[11..], [2, 1, 1, 1]);
        assert_eq!(pace.failures(), 16);
        (0..14).for_each(|_| pace.answered(now, Served { bytes: 0, is_behind: true }));
        assert_eq!((pace.records(), pace.failures()), (10_000, 0));
    }
}
