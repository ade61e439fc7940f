//! How often and how much: the failover time and what follows from it.

use std::time::Duration;

/// The same for all workers of an application.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// A lease that has not been renewed for so long may be taken.
    pub failover: Duration,
    /// A worker owns no more leases than this.
    pub max_leases: usize,
    /// From workers that live, in one cycle.
    pub max_leases_to_steal: usize,
}

impl Default for Rules {
    /// The KCL's.
    fn default() -> Self {
        Self { failover: Duration::from_secs(10), max_leases: usize::MAX, max_leases_to_steal: 1 }
    }
}

impl Rules {
    /// By so much the clocks of two workers may differ in what they take for a failover time: the KCL's 25 ms in 10 s, a hundred
    /// times what a disciplined clock drifts.
    pub fn margin(&self) -> Duration {
        self.failover / 400
    }

    /// Between two renewals: two of them may fail before the lease expires.
    pub fn renew_interval(&self) -> Duration {
        self.failover / 3 - self.margin()
    }

    /// From the start of a cycle of taking to that of the next, of which `random` in 0 to 1 says where in its range. The longest is
    /// the KCL's, less its margin: with it an expired lease is owned within twice the failover time and a cycle. Shorter ones keep
    /// workers that were started together from going on together.
    pub fn take_interval(&self, random: f64) -> Duration {
        self.failover.mul_f64(2.0 - 0.2 * random.clamp(0.0, 1.0))
    }

    pub fn take_interval_max(&self) -> Duration {
        self.failover * 2
    }

    /// From a worker's start to its first cycle of taking.
    pub fn first_take(&self, random: f64) -> Duration {
        self.failover.mul_f64(0.1 * random.clamp(0.0, 1.0))
    }
}
