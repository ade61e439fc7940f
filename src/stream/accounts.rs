//! The accounts of a stream, held against what is on its way.

use std::sync::atomic::Ordering;

use tracing::error;

use crate::account::Account;
use crate::journal::Kind;

use super::Stream;

/// Records in sealed deliveries that are not settled.
#[derive(Default)]
pub(super) struct InFlight {
    pub(super) fate: u64,
    pub(super) copy: u64,
}

impl Stream {
    /// Compares the account: every record that was read must have a fate or be in flight.
    pub(super) fn compare(&mut self) {
        let open =
            |kind| self.open.values().filter(move |o| o.output.kind == kind).map(|o| o.buffer.records()).sum::<u64>();
        let reforming = |kind| {
            self.reforming.values().filter(move |r| r.pending.row.intent.kind == kind).map(|r| r.records).sum::<u64>()
        };
        let fate = open(Kind::Fate) + reforming(Kind::Fate) + self.in_flight.fate;
        let copy = open(Kind::Copy) + reforming(Kind::Copy) + self.in_flight.copy;
        self.fate.in_flight = fate;
        self.copy.in_flight = copy;
        for (what, account) in [("records", self.fate), ("copies", self.copy)] {
            if account.difference() != 0 {
                self.status.imbalances.fetch_add(1, Ordering::Relaxed);
                let difference = account.difference();
                error!(stream = %self.name, what, difference, %account, "the account of records does not balance");
            }
        }
        // What the source has counted and the stream has not taken yet waits in the channel.
        let waiting = self.status.source.records.load(Ordering::Relaxed) - self.read_before - self.fate.read;
        let with_waiting = |account: Account| Account {
            read: account.read + waiting,
            in_flight: account.in_flight + waiting,
            ..account
        };
        let copy = if self.makes_copies { with_waiting(self.copy) } else { self.copy };
        self.status.set_accounts(with_waiting(self.fate), copy);
    }
}
