//! The rate of a redrive.

use std::num::NonZeroU32;
use std::time::Duration;

use tokio::time::Instant;

/// So much time passes between two chunks at least, so that records come evenly.
const STEP: Duration = Duration::from_millis(250);

/// Lets no more than so many records pass in a second.
pub struct Pace {
    rate: Option<NonZeroU32>,
    next: Instant,
}

impl Pace {
    pub fn new(rate: Option<NonZeroU32>) -> Self {
        Self { rate, next: Instant::now() }
    }

    /// Whether so many records are enough for one chunk.
    pub fn is_enough(&self, records: usize) -> bool {
        self.rate.is_some_and(|rate| time_of(rate, records) >= STEP)
    }

    /// Waits until `records` more may pass.
    pub async fn wait(&mut self, records: usize) {
        let at = self.admit(Instant::now(), records);
        tokio::time::sleep_until(at).await;
    }

    /// When `records` may pass that are there now. What was not used before is not made up for.
    fn admit(&mut self, now: Instant, records: usize) -> Instant {
        let Some(rate) = self.rate else { return now };
        let at = self.next.max(now);
        self.next = at + time_of(rate, records);
        at
    }
}

fn time_of(rate: NonZeroU32, records: usize) -> Duration {
    Duration::from_secs_f64(records as f64 / f64::from(rate.get()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_records_pass_in_a_second_than_may() {
        let mut pace = Pace::new(NonZeroU32::new(100));
        assert!(!pace.is_enough(24) && pace.is_enough(25));
        let began = Instant::now();
        let mut now = began;
        for _ in 0..40 {
            now = pace.admit(now, 25);
        }
        assert_eq!((now - began).as_millis(), 9_750);
        now += Duration::from_secs(60);
        assert_eq!(pace.admit(now, 25), now);
        assert_eq!(pace.admit(now, 25), now + Duration::from_millis(250), "a pause is not made up for");
        let mut free = Pace::new(None);
        assert_eq!((free.admit(now, 1_000_000), free.is_enough(1_000_000)), (now, false));
    }
}
