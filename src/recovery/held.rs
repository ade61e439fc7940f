//! What becomes of a record that is read again, by who holds it and by what processing makes of it now.
//!
//! Always true: a part of a record is left out only where a settled delivery holds it, and a pending delivery keeps a record
//! only if either of its objects is right: the one that an earlier life may have put, and the one that is formed now. Where
//! both cannot be had, nothing is lost and something may be doubled.
//!
//! A delivery that holds whole records speaks for all of each, however they were processed: it was their fate. One that holds
//! parts speaks for what the same processing makes of them: under another one the parts are others, and only where both
//! outputs of that earlier processing are settled is it known that nothing is missing.

use std::sync::Arc;

use crate::error_type::PROCESSING_FAILED;
use crate::journal::DeliveryRowId;
use crate::output::DESTINATION;

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
pub struct MadeBy {
    pub number: u32,
    /// Its parts go to the destination and to the error output of processing, and nowhere else.
    pub has_two_outputs: bool,
}

impl MadeBy {
    /// Whether it is that of this life.
    pub fn is_now(self) -> bool {
        self.number == 0
    }
}

/// All that holds the records of a run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Held {
    /// By deliveries to the destination that hold these records whole.
    pub delivered: Option<Owner>,
    /// By deliveries of an error output that hold these records whole.
    pub failed: Option<Owner>,
    /// By deliveries that hold a part of each.
    pub parts: Vec<HeldPart>,
}

/// What of a record went to one output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldPart {
    pub made_by: MadeBy,
    /// As [`crate::journal::Intent::route`] has it.
    pub output: Arc<str>,
    pub owner: Owner,
}

/// What processing makes of a record now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// All of it passes to one output, or it is dropped.
    Passes,
    /// All of it fails, in one way.
    Fails,
    /// It became several that go to different outputs.
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

impl From<Owner> for Claim {
    fn from(owner: Owner) -> Self {
        match owner {
            Owner::Settled => Self::Settled,
            Owner::Pending(row) => Self::Pending(row),
        }
    }
}

/// What is done with the records of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    rule: Rule,
    /// Pending deliveries that are formed without these records.
    pub left_out_of: Vec<DeliveryRowId>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Rule {
    /// The same for whatever is made of them.
    All(Claim),
    /// They failed as a whole before, in that delivery.
    Failed(DeliveryRowId),
    /// Each output asks on its own.
    ByOutput(Vec<(Arc<str>, Owner)>),
}

impl Decision {
    /// Where what goes to `output` belongs; `is_error` says whether it is an error output.
    pub fn claim(&self, output: &str, is_error: bool) -> Claim {
        match &self.rule {
            Rule::All(claim) => *claim,
            Rule::Failed(row) if is_error => Claim::Pending(*row),
            Rule::Failed(row) => Claim::PendingFailure(*row),
            Rule::ByOutput(parts) => {
                let part = parts.iter().find(|(known, _)| **known == *output);
                part.map_or(Claim::Nobody, |(_, owner)| Claim::from(*owner))
            }
        }
    }

    fn keeps(&self, row: DeliveryRowId) -> bool {
        match &self.rule {
            Rule::All(claim) => *claim == Claim::Pending(row),
            Rule::Failed(failed) => *failed == row,
            Rule::ByOutput(parts) => parts.iter().any(|(_, owner)| *owner == Owner::Pending(row)),
        }
    }
}

impl Held {
    pub fn decide(&self, outcome: Outcome) -> Decision {
        let mut decision = Decision { rule: self.rule(outcome), left_out_of: Vec::new() };
        decision.left_out_of = self.pending().filter(|row| !decision.keeps(*row)).collect();
        decision
    }

    fn rule(&self, outcome: Outcome) -> Rule {
        if self.has_had_its_fate() {
            return Rule::All(Claim::Settled);
        }
        match (outcome, self.delivered, self.failed) {
            (Outcome::Passes, Some(Owner::Pending(row)), _) => Rule::All(Claim::Pending(row)),
            // An envelope has no place among the destination's records: such a delivery goes on without the record.
            (_, _, Some(Owner::Pending(row))) => Rule::Failed(row),
            (Outcome::Splits, _, _) => Rule::ByOutput(self.parts_of_now()),
            (Outcome::Passes | Outcome::Fails, _, _) => Rule::All(Claim::Nobody),
        }
    }

    fn has_had_its_fate(&self) -> bool {
        let settled = Some(Owner::Settled);
        let is_settled = |made_by, output: &str| {
            let part = self.parts.iter().find(|part| part.made_by == made_by && *part.output == *output);
            part.is_some_and(|part| part.owner == Owner::Settled)
        };
        let is_complete = |part: &HeldPart| {
            let made_by = part.made_by;
            made_by.has_two_outputs && is_settled(made_by, DESTINATION) && is_settled(made_by, PROCESSING_FAILED)
        };
        self.delivered == settled || self.failed == settled || self.parts.iter().any(is_complete)
    }

    /// The same processing makes the same parts, and each output speaks for its own.
    fn parts_of_now(&self) -> Vec<(Arc<str>, Owner)> {
        let parts = self.parts.iter().filter(|part| part.made_by.is_now());
        parts.map(|part| (part.output.clone(), part.owner)).collect()
    }

    fn pending(&self) -> impl Iterator<Item = DeliveryRowId> {
        let parts = self.parts.iter().map(|part| Some(part.owner));
        [self.delivered, self.failed].into_iter().chain(parts).filter_map(|owner| match owner {
            Some(Owner::Pending(row)) => Some(row),
            Some(Owner::Settled) | None => None,
        })
    }
}
