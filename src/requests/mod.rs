//! Requests: what a delivery becomes for a destination that takes records and judges them.
//!
//! Always true: the requests of a delivery hold each of its records once and in order; where they begin and end is journalled
//! before the first of them is sent, and so is every split; one that is acknowledged or has failed for good stays so, in later
//! lives too. What has failed for good leaves in one object, the *child* of the delivery, whose key is journalled before it is
//! put; the delivery is settled when all its requests are acknowledged or in its child, and the child is there.
//!
//! ```text
//!   planned ──accepted──▶ acknowledged ─────────────────────────┐
//!      │ │                                                      ├──▶ settled
//!      │ └──retry duration over, one record too large──▶ failed ──child journalled, put──▶ ┘
//!      └──too large──▶ two planned halves
//! ```
//!
//! Where each record is judged on its own, an attempt carries several planned requests, and what is said of their records cuts them
//! into runs that go these ways: all of one answer is journalled in one transaction.

mod cut;
mod judged;
mod plan;
mod whole;

pub use cut::{Cut, Cutter, Finder, Item, Limits};
pub use judged::{Piece, Said, pieces};
pub use plan::{Child, Reason, Request, RequestState, done_of, id, is_plan_of};
pub use whole::Whole;
