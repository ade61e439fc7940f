//! When to subscribe, where from, and what to say of failures. Without I/O and clock.

use std::time::Duration;

use tokio::time::Instant;

use crate::source::kinesis::error::Call;
use crate::source::kinesis::page::{Page, ReadError, StartingPosition};

/// A longer pause does not help against throttling: the limit is one call a second.
const THROTTLED_DOUBLINGS_MAX: u32 = 4;

/// Times of the service, and how patient a reader is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Before this has passed since a subscription was accepted, another one is answered with ResourceInUseException.
    pub interval: Duration,
    /// Between calls while the service throttles, at first; doubled with each failure.
    pub throttled_pause: Duration,
    /// Without an event for so long while the reader listens, a subscription counts as dead. The service has events every
    /// few seconds; the KCL waits for so long, too.
    pub silence: Duration,
    /// Failures in a row before one is told.
    pub tries: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(5),
            throttled_pause: Duration::from_secs(1),
            silence: Duration::from_secs(35),
            tries: 3,
        }
    }
}

/// What becomes of one shard's subscriptions.
#[derive(Debug)]
pub(super) struct Plan {
    limits: Limits,
    from: StartingPosition,
    /// Not before this may the service be asked. `None` before the first failure or subscription.
    due: Option<Instant>,
    /// The present subscription has had an event.
    has_heard: bool,
    failures: u32,
    /// The last event was an end without children.
    is_doubtful: bool,
}

impl Plan {
    pub fn new(from: StartingPosition, limits: Limits) -> Self {
        Self { limits, from, due: None, has_heard: false, failures: 0, is_doubtful: false }
    }

    /// Where the next subscription begins.
    pub fn from(&self) -> StartingPosition {
        self.from
    }

    /// When the next call may go out.
    pub fn due(&self) -> Instant {
        self.due.unwrap_or_else(Instant::now)
    }

    /// A call goes out.
    pub fn called(&mut self) {
        self.has_heard = false;
    }

    /// The service has answered with a subscription, which it has counted from a moment before `now`.
    pub fn accepted(&mut self, now: Instant) {
        self.wait_until(now + self.limits.interval);
    }

    /// A page will be handed out. Its end is taken away where it is doubtful: without the shards that go on, the service
    /// has to say it twice, because what comes behind an end that is none would be lost.
    pub fn taken(&mut self, mut page: Page) -> Page {
        (self.has_heard, self.failures) = (true, 0);
        if let Some(continuation) = page.continuation {
            // As the KCL does. With AT, servers whose continuation is the last record would send it twice.
            self.from = StartingPosition::After(continuation);
            self.is_doubtful = false;
        } else if let Some(record) = page.records.last() {
            self.from = StartingPosition::After(record.sequence_number);
        }
        let has_children = page.ended.as_ref().is_some_and(|children| !children.is_empty());
        if page.ended.is_some() && !has_children && !std::mem::replace(&mut self.is_doubtful, true) {
            page.ended = None;
        }
        page
    }

    /// The service has closed the subscription, as it does after five minutes. Without one event it is a failure.
    pub fn closed(&self, call: &Call<'_>) -> Result<(), ReadError> {
        if self.has_heard {
            return Ok(());
        }
        Err(call.unexpected("the subscription was closed before its first event"))
    }

    /// Whether the failure of a call or of a subscription is to be told.
    pub fn failed(&mut self, now: Instant, error: &ReadError) -> bool {
        self.failures += 1;
        self.wait_until(now + self.pause(error));
        let is_enough = match error {
            ReadError::NotFound { .. } | ReadError::Refused { .. } => true,
            // Another reader has subscribed; to take the shard back from it would begin a quarrel without end.
            ReadError::InUse { .. } if self.has_heard => true,
            ReadError::InUse { .. } | ReadError::Again { .. } => self.failures >= self.limits.tries,
        };
        if is_enough {
            self.failures = 0;
        }
        is_enough
    }

    fn pause(&self, error: &ReadError) -> Duration {
        match error {
            ReadError::Again { is_throttled: true, .. } => {
                self.limits.throttled_pause * (1 << (self.failures - 1).min(THROTTLED_DOUBLINGS_MAX))
            }
            // It broke in the middle: the rule counts from its beginning.
            ReadError::Again { .. } if self.has_heard => Duration::ZERO,
            // The service may have accepted what looks like a failure from here.
            ReadError::Again { .. } | ReadError::InUse { .. } => self.limits.interval,
            ReadError::NotFound { .. } | ReadError::Refused { .. } => self.limits.interval,
        }
    }

    fn wait_until(&mut self, time: Instant) {
        self.due = self.due.max(Some(time));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::sequence_number::SequenceNumber;

    const CALL: Call<'_> = Call { operation: "SubscribeToShard", stream: "clicks" };

    #[derive(Debug, Clone)]
    enum Step {
        Accepted,
        Event,
        Closed,
        Failed(Failure),
    }

    #[derive(Debug, Clone, Copy, PartialEq)]
    enum Failure {
        Throttled,
        Again,
        InUse,
        Refused,
        NotFound,
    }

    impl Failure {
        fn error(self) -> ReadError {
            let (code, message) = (String::new(), String::new());
            match self {
                Self::Throttled => ReadError::Again { code, message, is_throttled: true },
                Self::Again => ReadError::Again { code, message, is_throttled: false },
                Self::InUse => ReadError::InUse { message },
                Self::Refused => ReadError::Refused { code, message },
                Self::NotFound => ReadError::NotFound { message },
            }
        }
    }

    fn step() -> impl Strategy<Value = Step> {
        let failure = prop::sample::select(vec![
            Failure::Throttled,
            Failure::Again,
            Failure::InUse,
            Failure::Refused,
            Failure::NotFound,
        ]);
        prop_oneof![
            2 => Just(Step::Accepted),
            3 => Just(Step::Event),
            1 => Just(Step::Closed),
            3 => failure.prop_map(Step::Failed),
        ]
    }

    fn number(value: u64) -> SequenceNumber {
        value.to_string().parse().unwrap()
    }

    fn page(continuation: Option<u64>) -> Page {
        let ended = continuation.is_none().then(Vec::new);
        Page { continuation: continuation.map(number), ended, ..Page::default() }
    }

    proptest! {
        /// Whatever happens, in whichever order, and however long it takes.
        #[test]
        fn the_service_is_never_asked_too_soon_nor_at_another_place(
            steps in prop::collection::vec((step(), 0u64..8_000), 1..60)
        ) {
            let limits = Limits::default();
            let mut plan = Plan::new(StartingPosition::Latest, limits);
            let mut now = Instant::now();
            let (mut accepted, mut from, mut silent_failures) = (None::<Instant>, StartingPosition::Latest, 0);
            plan.called();
            let mut heard = false;
            for (index, (step, millis)) in steps.into_iter().enumerate() {
                now += Duration::from_millis(millis);
                let failure = match step {
                    Step::Accepted => {
                        (accepted, heard) = (Some(now), false);
                        plan.called();
                        plan.accepted(now);
                        continue;
                    }
                    Step::Event => {
                        let continuation = index as u64 + 1;
                        prop_assert!(plan.taken(page(Some(continuation))).ended.is_none());
                        from = StartingPosition::After(number(continuation));
                        (heard, silent_failures) = (true, 0);
                        continue;
                    }
                    Step::Closed => match plan.closed(&CALL) {
                        Ok(()) => continue,
                        Err(_) => Failure::Again,
                    },
                    Step::Failed(failure) => failure,
                };
                silent_failures += 1;
                let is_told = plan.failed(now, &failure.error());
                let at_once = matches!(failure, Failure::Refused | Failure::NotFound) || failure == Failure::InUse && heard;
                prop_assert_eq!(is_told, at_once || silent_failures == limits.tries);
                if is_told {
                    silent_failures = 0;
                }
                prop_assert_eq!(plan.from(), from);
                let since_accepted = accepted.map_or(now, |accepted| accepted + limits.interval);
                prop_assert!(plan.due() >= since_accepted);
                if failure == Failure::Throttled || !heard {
                    prop_assert!(plan.due() >= now + limits.throttled_pause);
                }
                prop_assert!(plan.due() <= now + limits.throttled_pause * 16, "a reader does not sleep for ever");
                (heard, accepted) = (false, accepted);
                plan.called();
            }
        }
    }

    #[test]
    fn an_end_has_to_be_said_twice_in_a_row() {
        let mut plan = Plan::new(StartingPosition::TrimHorizon, Limits::default());
        assert!(plan.taken(page(None)).ended.is_none());
        assert!(plan.taken(page(Some(1))).ended.is_none());
        assert!(plan.taken(page(None)).ended.is_none());
        assert!(plan.taken(page(None)).ended.is_some());
    }

    #[test]
    fn throttling_doubles_the_pause() {
        let limits = Limits { tries: 100, ..Limits::default() };
        let mut plan = Plan::new(StartingPosition::TrimHorizon, limits);
        let now = Instant::now();
        for pause in [1, 2, 4, 8, 16, 16] {
            plan.failed(now, &Failure::Throttled.error());
            assert_eq!(plan.due(), now + Duration::from_secs(pause));
        }
    }
}
