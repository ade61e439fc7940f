//! Waiting: always for a condition, always with a deadline.
//!
//! The sleep between two looks in [`holds_within`] is the only one in these tests, but for those of the model's writer and of
//! the subscriptions to a Kinesis shard that a proxy makes.

use std::time::{Duration, Instant};

/// Far longer than anything here takes, also on a slow machine with ten times more to do than it can; whoever waits this long has
/// found a bug.
pub const DEADLINE: Duration = Duration::from_secs(300);

const BETWEEN_LOOKS: Duration = Duration::from_millis(5);

/// Looks until the condition holds or the time is over; says which.
pub fn holds_within(time: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + time;
    loop {
        if condition() {
            return true;
        }
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return false;
        }
        std::thread::sleep(BETWEEN_LOOKS.min(left));
    }
}

/// Waits until the condition holds, and fails the test when it does not in time.
#[track_caller]
pub fn wait_until(what: &str, condition: impl FnMut() -> bool) {
    assert!(holds_within(DEADLINE, condition), "waited {DEADLINE:?} in vain: {what}");
}
