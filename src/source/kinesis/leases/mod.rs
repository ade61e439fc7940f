//! Leases: how several workers divide the shards of a stream among themselves, through a table in the KCL's format.
//!
//! The algorithm is the KCL's without its leader, so that Java workers may share the table: [`lease`] is a row of it.

pub mod lease;
