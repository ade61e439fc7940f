//! The clock that leases are counted by: it goes on while the process is stopped and while the machine sleeps, for others take
//! leases in that time.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Since the machine was started. Never goes back, and is set by nobody.
pub fn now() -> Duration {
    let since_boot = clock_gettime(ClockId::Boottime);
    let seconds = u64::try_from(since_boot.tv_sec).unwrap_or(0);
    let nanoseconds = u32::try_from(since_boot.tv_nsec).unwrap_or(0);
    Duration::new(seconds, nanoseconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_goes_on() {
        let before = now();
        assert!(before > Duration::ZERO && now() >= before);
    }
}
