//! A bound for what is said of a failure that many meet, again and again.
//!
//! Always true: of one trouble there is a line when it begins, and one a minute while it lasts, however many wait for its end.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

const INTERVAL: Duration = Duration::from_secs(60);

/// What those who meet the same trouble share.
#[derive(Debug, Default)]
pub struct LogLimit(Mutex<Option<Said>>);

#[derive(Debug)]
struct Said {
    at: Instant,
    /// Failures since.
    unsaid: u64,
}

impl LogLimit {
    /// A failure. If it is to be said now: how many there were since the last line, with this one.
    pub fn failed(&self) -> Option<u64> {
        self.failed_at(Instant::now())
    }

    fn failed_at(&self, now: Instant) -> Option<u64> {
        let mut said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let failures = match said.as_mut() {
            Some(last) if now.duration_since(last.at) < INTERVAL => {
                last.unsaid += 1;
                return None;
            }
            // What was before a long silence is over.
            Some(last) if now.duration_since(last.at) < INTERVAL * 2 => last.unsaid + 1,
            Some(_) | None => 1,
        };
        *said = Some(Said { at: now, unsaid: 0 });
        Some(failures)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_failure_is_said_and_then_one_a_minute_with_a_count() {
        let (limit, start) = (LogLimit::default(), Instant::now());
        let failed = |second: u64| limit.failed_at(start + Duration::from_secs(second));
        assert_eq!(failed(0), Some(1));
        for second in 1..60 {
            assert_eq!(failed(second), None);
        }
        assert_eq!((failed(60), failed(61), failed(119)), (Some(60), None, None));
        assert_eq!(failed(121), Some(3));
        assert_eq!((failed(150), failed(300), failed(301)), (None, Some(1), None), "another trouble");
    }
}
