//! The account of records: what a delivery stream has read in this life of the process, and what became of each record.
//!
//! Counted at the edges, each figure by whoever does the thing: what is read by the source, what is delivered by the lane
//! that wrote it, what is in flight by the buffers. So the sum can be wrong, and a difference is an error that is reported.

use std::fmt;

/// read + created by processors = delivered + dropped + failed to the error output + skipped + in flight.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Account {
    pub read: u64,
    pub created: u64,
    pub delivered: u64,
    pub dropped: u64,
    pub failed: u64,
    /// Found to be in a settled delivery of an earlier life.
    pub skipped: u64,
    pub in_flight: u64,
}

impl Account {
    /// Records that appeared (positive) or vanished (negative); 0 when the account balances.
    pub fn difference(&self) -> i64 {
        let fates = self.delivered + self.dropped + self.failed + self.skipped + self.in_flight;
        fates.wrapping_sub(self.read + self.created) as i64
    }

    /// Both accounts as one.
    pub fn plus(self, other: Self) -> Self {
        Self {
            read: self.read + other.read,
            created: self.created + other.created,
            delivered: self.delivered + other.delivered,
            dropped: self.dropped + other.dropped,
            failed: self.failed + other.failed,
            skipped: self.skipped + other.skipped,
            in_flight: self.in_flight + other.in_flight,
        }
    }
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { read, created, delivered, dropped, failed, skipped, in_flight } = self;
        write!(
            f,
            "{read} read + {created} created = {delivered} delivered + {dropped} dropped + {failed} failed \
             + {skipped} skipped + {in_flight} in flight"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_account_balances_only_if_every_record_has_one_fate() {
        let account = Account { read: 10, delivered: 6, failed: 1, skipped: 2, in_flight: 1, ..Account::default() };
        assert_eq!(account.difference(), 0);
        assert_eq!(Account { delivered: 5, ..account }.difference(), -1);
        assert_eq!(Account { failed: 3, ..account }.difference(), 2);
    }
}
