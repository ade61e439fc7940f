//! Trying again, without end.
//!
//! A put is tried until it has succeeded or the delivery stream is cancelled; no error ends it, the class of the error
//! only says how soon the next attempt comes. Once one attempt's outcome is not known, every later attempt is told so.

use std::hash::{BuildHasher, RandomState};
use std::num::NonZeroU32;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::{AttemptError, BoxFuture, Destination, ErrorClass, Existence, Object, Put};

/// Environment variable with the longest delay between two attempts, in milliseconds. For tests only: with it, a
/// destination that is away is asked again and again.
pub const RETRY_MAX_VARIABLE: &str = "HYDRANT_RETRY_MAX_MS";

/// Environment variable by which the waits before attempts for requests pass so many times faster than they count. For tests only:
/// hours of an outage take seconds.
pub const RETRY_SPEED_VARIABLE: &str = "HYDRANT_RETRY_SPEED";

/// What bounds the delays beyond what the classes of errors say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RetryLimits {
    /// No delay is longer. `None` leaves it to the class of the error.
    pub delay_max: Option<Duration>,
    /// How many times faster than they count waits for receivers pass.
    pub speed: Option<NonZeroU32>,
}

impl RetryLimits {
    /// From [`RETRY_MAX_VARIABLE`] and [`RETRY_SPEED_VARIABLE`]; read once, at the start of the process. What is not a number is as
    /// if absent.
    pub fn from_env() -> Self {
        let value = |name| std::env::var(name).ok();
        Self::from_values(value(RETRY_MAX_VARIABLE).as_deref(), value(RETRY_SPEED_VARIABLE).as_deref())
    }

    fn from_values(millis: Option<&str>, speed: Option<&str>) -> Self {
        let millis = millis.and_then(|text| text.trim().parse().ok());
        Self { delay_max: millis.map(Duration::from_millis), speed: speed.and_then(|text| text.trim().parse().ok()) }
    }

    /// How long a wait takes that counts for so long.
    pub fn sped_up(self, time: Duration) -> Duration {
        self.speed.map_or(time, |speed| time / speed.get())
    }
}

/// The delays between the attempts for one object: exponential, with jitter over the whole range above the shortest.
#[derive(Debug)]
pub struct Backoff {
    limits: RetryLimits,
    last: Option<ErrorClass>,
    /// Errors in a row that count together.
    failures: u32,
}

impl Backoff {
    pub fn new(limits: RetryLimits) -> Self {
        Self { limits, last: None, failures: 0 }
    }

    /// How long to wait after an error of `class`. `random` is uniform in 0 to 1.
    ///
    /// Transient errors and throttling are both signs of a destination under stress and count together, so that a store
    /// that alternates between them is left alone for longer and longer. A refusal is another matter: what a person has
    /// changed shows at once.
    pub fn delay(&mut self, class: ErrorClass, random: f64) -> Duration {
        let related = self.last.is_some_and(|last| (last == ErrorClass::Denied) == (class == ErrorClass::Denied));
        self.failures = if related { self.failures.saturating_add(1) } else { 1 };
        self.last = Some(class);

        let (delay_min, delay_max) = bounds(class);
        // 2^16 times the shortest delay is beyond every longest one.
        let ceiling = delay_min.saturating_mul(1 << self.failures.min(16)).min(delay_max);
        let delay = delay_min + (ceiling - delay_min).mul_f64(random.clamp(0.0, 1.0));
        self.limits.delay_max.map_or(delay, |max| delay.min(max))
    }
}

/// Shortest and longest delay.
fn bounds(class: ErrorClass) -> (Duration, Duration) {
    match class {
        ErrorClass::Transient => (Duration::from_millis(100), Duration::from_secs(30)),
        ErrorClass::Throttled => (Duration::from_secs(1), Duration::from_secs(60)),
        ErrorClass::Denied => (Duration::from_secs(5), Duration::from_secs(60)),
    }
}

/// Hears of every attempt: for the log, the status and the account.
pub trait AttemptObserver: Send + Sync {
    /// Attempt number `attempt`, counted from 1, failed; the next one starts after `retry_in`.
    fn failed(&self, attempt: u32, error: &AttemptError, retry_in: Duration);

    fn succeeded(&self, attempt: u32, put: Put);
}

/// Puts `object` until it is there. `None` when cancelled: the attempt under way is dropped, and its outcome not known.
pub async fn put_until_done(
    destination: &dyn Destination,
    object: &Object,
    may_exist: bool,
    limits: RetryLimits,
    cancel: &CancellationToken,
    observer: &dyn AttemptObserver,
) -> Option<Put> {
    let mut may_exist = may_exist;
    let attempt = |ambiguous: bool| {
        may_exist |= ambiguous;
        destination.put(object, may_exist)
    };
    let (attempts, put) = until_answered(attempt, limits, cancel, observer).await?;
    observer.succeeded(attempts, put);
    Some(put)
}

/// Asks whether an object is there until there is an answer, which may be that one cannot ask. `None` when cancelled.
pub async fn exists_until_answered(
    destination: &dyn Destination,
    key: &str,
    limits: RetryLimits,
    cancel: &CancellationToken,
    observer: &dyn AttemptObserver,
) -> Option<Existence> {
    let (_, existence) = until_answered(|_| destination.exists(key), limits, cancel, observer).await?;
    Some(existence)
}

/// Makes attempts until one succeeds; each is told whether the one before it ended ambiguously.
async fn until_answered<'a, T>(
    mut attempt: impl FnMut(bool) -> BoxFuture<'a, Result<T, AttemptError>>,
    limits: RetryLimits,
    cancel: &CancellationToken,
    observer: &dyn AttemptObserver,
) -> Option<(u32, T)> {
    let mut backoff = Backoff::new(limits);
    let mut attempts = 0_u32;
    let mut ambiguous = false;
    while !cancel.is_cancelled() {
        attempts = attempts.saturating_add(1);
        let outcome = tokio::select! {
            biased; // an answer that has arrived is worth more than a prompt end
            outcome = attempt(ambiguous) => outcome,
            () = cancel.cancelled() => return None,
        };
        let error = match outcome {
            Ok(answer) => return Some((attempts, answer)),
            Err(error) => error,
        };
        ambiguous = error.ambiguous;
        let retry_in = backoff.delay(error.class, random());
        observer.failed(attempts, &error, retry_in);
        tokio::select! {
            () = cancel.cancelled() => return None,
            () = tokio::time::sleep(retry_in) => {}
        }
    }
    None
}

/// Uniform in 0 to 1; good enough to keep many clients apart.
pub fn random() -> f64 {
    let bits = RandomState::new().hash_one(std::thread::current().id());
    (bits >> 11) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encode::payload::Payload;
    use proptest::prelude::*;
    use std::collections::VecDeque;
    use std::path::Path;
    use std::sync::{Arc, Mutex};

    fn class() -> impl Strategy<Value = ErrorClass> {
        prop_oneof![Just(ErrorClass::Transient), Just(ErrorClass::Throttled), Just(ErrorClass::Denied)]
    }

    proptest! {
        #[test]
        fn every_delay_is_within_its_classs_bounds(steps in prop::collection::vec((class(), 0.0..=1.0), 0..200)) {
            let mut backoff = Backoff::new(RetryLimits::default());
            for (class, random) in steps {
                let delay = backoff.delay(class, random);
                let (delay_min, delay_max) = bounds(class);
                prop_assert!(delay_min <= delay && delay <= delay_max, "{class:?}: {delay:?}");
            }
        }

        #[test]
        fn a_limit_holds_for_every_delay(
            steps in prop::collection::vec((class(), 0.0..=1.0), 0..50),
            millis in 0_u64..10_000,
        ) {
            let delay_max = Duration::from_millis(millis);
            let mut backoff = Backoff::new(RetryLimits { delay_max: Some(delay_max), speed: None });
            for (class, random) in steps {
                prop_assert!(backoff.delay(class, random) <= delay_max);
            }
        }

        #[test]
        fn the_longest_delay_doubles_until_the_classs_maximum(class in class(), errors in 1_u32..100) {
            let mut backoff = Backoff::new(RetryLimits::default());
            let (delay_min, delay_max) = bounds(class);
            let mut before = delay_min;
            for _ in 0..errors {
                let delay = backoff.delay(class, 1.0);
                prop_assert_eq!(delay, (before * 2).min(delay_max));
                before = delay;
            }
        }
    }

    #[test]
    fn throttling_goes_on_from_transient_errors_and_a_refusal_starts_anew() {
        let mut backoff = Backoff::new(RetryLimits::default());
        for _ in 0..5 {
            backoff.delay(ErrorClass::Transient, 1.0);
        }
        assert_eq!(backoff.delay(ErrorClass::Throttled, 1.0), Duration::from_secs(60));
        assert_eq!(backoff.delay(ErrorClass::Denied, 1.0), Duration::from_secs(10));
        assert_eq!(backoff.delay(ErrorClass::Denied, 1.0), Duration::from_secs(20));
        assert_eq!(backoff.delay(ErrorClass::Transient, 1.0), Duration::from_millis(200));
    }

    #[test]
    fn the_variables_hold_milliseconds_and_a_factor() {
        let limits = RetryLimits::from_values(Some(" 20 "), Some("1000"));
        assert_eq!((limits.delay_max, limits.speed), (Some(Duration::from_millis(20)), NonZeroU32::new(1000)));
        assert_eq!(RetryLimits::from_values(Some("soon"), Some("0")), RetryLimits::default());
        assert_eq!(RetryLimits::from_values(None, None), RetryLimits::default());
    }

    #[test]
    fn randomness_is_spread_over_the_range() {
        let values: Vec<f64> = (0..200).map(|_| random()).collect();
        assert!(values.iter().all(|value| (0.0..1.0).contains(value)));
        assert!(values.iter().any(|value| *value < 0.25) && values.iter().any(|value| *value > 0.75));
    }

    /// Answers from a script, and hangs when it has come to its end.
    #[derive(Default)]
    struct Scripted {
        puts: Mutex<VecDeque<Result<Put, AttemptError>>>,
        asks: Mutex<VecDeque<Result<Existence, AttemptError>>>,
        /// What `may_exist` was at each put.
        may_exist: Mutex<Vec<bool>>,
    }

    impl Destination for Scripted {
        fn name(&self) -> String {
            "scripted".to_owned()
        }

        fn staging(&self) -> Option<&Path> {
            None
        }

        fn put<'a>(&'a self, _: &'a Object, may_exist: bool) -> BoxFuture<'a, Result<Put, AttemptError>> {
            self.may_exist.lock().unwrap().push(may_exist);
            let answer = self.puts.lock().unwrap().pop_front();
            Box::pin(async { answer.unwrap_or_else(|| panic!("one put too many")) })
        }

        fn exists<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<Existence, AttemptError>> {
            let answer = self.asks.lock().unwrap().pop_front();
            Box::pin(async {
                match answer {
                    Some(answer) => answer,
                    None => std::future::pending().await,
                }
            })
        }
    }

    /// Writes down what it hears, and can cancel at the first failure.
    #[derive(Default)]
    struct Heard {
        lines: Mutex<Vec<String>>,
        cancel: Option<CancellationToken>,
    }

    impl AttemptObserver for Heard {
        fn failed(&self, attempt: u32, error: &AttemptError, retry_in: Duration) {
            assert!(retry_in <= Duration::from_millis(1));
            self.lines.lock().unwrap().push(format!("{attempt} {}", error.code));
            if let Some(cancel) = &self.cancel {
                cancel.cancel();
            }
        }

        fn succeeded(&self, attempt: u32, put: Put) {
            self.lines.lock().unwrap().push(format!("{attempt} {put:?}"));
        }
    }

    fn error<T>(class: ErrorClass, code: &str, ambiguous: bool) -> Result<T, AttemptError> {
        Err(AttemptError { class, code: code.to_owned(), message: String::new(), ambiguous })
    }

    fn object() -> Object {
        Object { key: "k".to_owned(), payload: Arc::new(Payload::from_bytes("x")), content_encoding: None }
    }

    const AT_ONCE: RetryLimits = RetryLimits { delay_max: Some(Duration::from_millis(1)), speed: None };

    #[tokio::test]
    async fn errors_of_every_class_are_tried_again_and_doubt_once_raised_stays() {
        let destination = Scripted::default();
        destination.puts.lock().unwrap().extend([
            error(ErrorClass::Denied, "AccessDenied", false),
            error(ErrorClass::Transient, "Timeout", true),
            error(ErrorClass::Throttled, "SlowDown", false),
            Ok(Put::AlreadyThere),
        ]);
        let heard = Heard::default();
        let put = put_until_done(&destination, &object(), false, AT_ONCE, &CancellationToken::new(), &heard).await;
        assert_eq!(put, Some(Put::AlreadyThere));
        assert_eq!(*destination.may_exist.lock().unwrap(), [false, false, true, true]);
        assert_eq!(*heard.lines.lock().unwrap(), ["1 AccessDenied", "2 Timeout", "3 SlowDown", "4 AlreadyThere"]);
    }

    #[tokio::test]
    async fn cancellation_ends_the_waiting_between_attempts() {
        let destination = Scripted::default();
        destination.puts.lock().unwrap().push_back(error(ErrorClass::Transient, "Timeout", true));
        let cancel = CancellationToken::new();
        let heard = Heard { cancel: Some(cancel.clone()), ..Heard::default() };
        assert_eq!(put_until_done(&destination, &object(), true, AT_ONCE, &cancel, &heard).await, None);
        assert_eq!(*destination.may_exist.lock().unwrap(), [true]);
        // Cancelled already: not even one attempt.
        assert_eq!(put_until_done(&destination, &object(), true, AT_ONCE, &cancel, &heard).await, None);
        assert_eq!(destination.may_exist.lock().unwrap().len(), 1);
    }

    #[tokio::test]
    async fn existence_is_asked_until_answered_and_an_attempt_under_way_is_dropped_on_cancellation() {
        let destination = Scripted::default();
        destination
            .asks
            .lock()
            .unwrap()
            .extend([error(ErrorClass::Transient, "InternalError", false), Ok(Existence::Unknown)]);
        let cancel = CancellationToken::new();
        let heard = Heard::default();
        let answer = exists_until_answered(&destination, "k", AT_ONCE, &cancel, &heard).await;
        assert_eq!(answer, Some(Existence::Unknown));
        let (answer, ()) =
            tokio::join!(exists_until_answered(&destination, "k", AT_ONCE, &cancel, &heard), async { cancel.cancel() });
        assert_eq!(answer, None);
    }
}
