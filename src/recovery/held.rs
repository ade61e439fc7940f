//! What becomes of a record that is read again, by who holds it and by what processing makes of it now.
//!
//! Always true: a part of a record is left out only where a settled delivery holds it, and a pending delivery keeps a record
//! only if either of its objects is right: the one that an earlier life may have put, and the one that is formed now. Where
//! both cannot be had, nothing is lost and something may be doubled.
//!
//! A delivery that holds whole records speaks for all of each, however they were processed: it was their fate. One that holds
//! parts speaks for what the same processing makes of them: under another one the parts are others, and only where both
//! outputs of that earlier processing are settled is it known that nothing is missing.

use crate::journal::DeliveryRowId;

/// Who holds a record that the journal knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// It has had its fate, or its copy is made.
    Settled,
    /// It belongs into this delivery again.
    Pending(DeliveryRowId),
}

/// The processing by which parts were made, as a number of this life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MadeBy(pub u32);

impl MadeBy {
    /// That of this life.
    pub const NOW: Self = Self(0);
}

/// All that holds the records of a run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Held {
    /// By deliveries to the destination that hold these records whole.
    pub delivered: Option<Owner>,
    /// By deliveries of the error output that hold these records whole.
    pub failed: Option<Owner>,
    /// By deliveries that hold a part of each, for each processing that made such parts.
    pub parts: Vec<HeldParts>,
}

/// The two outputs to which the parts of a record went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeldParts {
    pub made_by: MadeBy,
    pub delivered: Option<Owner>,
    pub failed: Option<Owner>,
}

/// What processing makes of a record now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// All of it passes, or it is dropped.
    Passes,
    /// All of it fails.
    Fails,
    /// It became several, of which some pass and some fail.
    Splits,
}

/// Where what goes to one output belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    /// It is new.
    Nobody,
    Settled,
    Pending(DeliveryRowId),
    /// Passes now, and failed as a whole before: into that delivery of the error output, with a reason.
    PendingFailure(DeliveryRowId),
}

impl From<Option<Owner>> for Claim {
    fn from(owner: Option<Owner>) -> Self {
        match owner {
            None => Self::Nobody,
            Some(Owner::Settled) => Self::Settled,
            Some(Owner::Pending(row)) => Self::Pending(row),
        }
    }
}

/// What is done with the records of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    pub passing: Claim,
    pub failing: Claim,
    /// Pending deliveries that are formed without these records.
    pub left_out_of: Vec<DeliveryRowId>,
}

impl Held {
    pub fn decide(&self, outcome: Outcome) -> Decision {
        let (passing, failing) = self.claims(outcome);
        let goes_on = |row: &DeliveryRowId| {
            let kept = [Claim::Pending(*row), Claim::PendingFailure(*row)];
            kept.contains(&passing) || kept.contains(&failing)
        };
        let left_out_of = self.pending().filter(|row| !goes_on(row)).collect();
        Decision { passing, failing, left_out_of }
    }

    fn claims(&self, outcome: Outcome) -> (Claim, Claim) {
        if self.has_had_its_fate() {
            return (Claim::Settled, Claim::Settled);
        }
        match (outcome, self.delivered, self.failed) {
            (Outcome::Passes, Some(Owner::Pending(row)), _) => (Claim::Pending(row), Claim::Nobody),
            // An envelope has no place among the destination's records: such a delivery goes on without the record.
            (Outcome::Fails, _, Some(Owner::Pending(row))) => (Claim::Nobody, Claim::Pending(row)),
            (Outcome::Passes | Outcome::Splits, _, Some(Owner::Pending(row))) => {
                (Claim::PendingFailure(row), Claim::Pending(row))
            }
            (Outcome::Splits, _, _) => self.parts_of_now(),
            (Outcome::Passes | Outcome::Fails, _, _) => (Claim::Nobody, Claim::Nobody),
        }
    }

    fn has_had_its_fate(&self) -> bool {
        let settled = Some(Owner::Settled);
        let is_complete = |parts: &HeldParts| parts.delivered == settled && parts.failed == settled;
        self.delivered == settled || self.failed == settled || self.parts.iter().any(is_complete)
    }

    /// The same processing makes the same parts, and each output speaks for its own.
    fn parts_of_now(&self) -> (Claim, Claim) {
        let parts = self.parts.iter().find(|parts| parts.made_by == MadeBy::NOW);
        parts.map_or((Claim::Nobody, Claim::Nobody), |parts| (parts.delivered.into(), parts.failed.into()))
    }

    fn pending(&self) -> impl Iterator<Item = DeliveryRowId> {
        let parts = self.parts.iter().flat_map(|parts| [parts.delivered, parts.failed]);
        [self.delivered, self.failed].into_iter().chain(parts).filter_map(|owner| match owner {
            Some(Owner::Pending(row)) => Some(row),
            Some(Owner::Settled) | None => None,
        })
    }
}
