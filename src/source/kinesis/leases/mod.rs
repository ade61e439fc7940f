//! Leases: how several workers divide the shards of a stream among themselves, through a table in the KCL's format.
//!
//! The algorithm is the KCL's without its leader, so that Java workers may share the table. What is decided here knows neither
//! network nor clock: times and random numbers are arguments, what to write is data.
//!
//! - [`lease`] is a row of the table, [`operation`] what is asked of the table, and what it means.
//! - [`rules`] says how often and how much.
//! - [`view`] is what a worker has seen of the table; from it [`taker`] decides which leases to take.
//! - [`held`] are the leases that a worker owns, which it renews, and of which it is certain or not.
//! - [`sync`] says which leases there should be.
//! - [`simulation`] is a fleet of such workers in memory.
//! - `handover_model` is how a worker finishes what another one has begun to deliver: a model, and a search for counterexamples.
//!
//! [`row`] is how DynamoDB has a lease, [`table`] asks it. [`worker`] does all this beside real time, by its [`clock`].

pub mod clock;
#[cfg(test)]
mod handover_model;
pub mod held;
pub mod lease;
pub mod operation;
pub mod row;
pub mod rules;
pub mod simulation;
pub mod sync;
pub mod table;
pub mod taker;
pub mod view;
pub mod worker;
