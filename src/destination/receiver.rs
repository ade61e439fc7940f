//! Receivers: destinations that take records, a request at a time, and judge them.
//!
//! A [`Receiver`] makes one attempt for one request and classifies the answer. The same request carries the same id and the same
//! records at each attempt, so a receiver can tell a repetition. What is retried, split or given up is decided outside.

use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;

use crate::requests::Limits;

use super::{AttemptError, BoxFuture};

/// How long requests are tried, and how many at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// From the first failure of a request on, without the time of waiting for answers.
    pub retry: Duration,
    /// Requests of one delivery stream that may be under way at a time; with 1 they leave in order.
    pub in_flight: usize,
}

/// What a receiver says of a request that it could judge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// All its records are delivered.
    Accepted,
    /// Nothing of it: less at a time may be taken.
    TooLarge,
}

/// An attempt that has failed.
#[derive(Debug, thiserror::Error)]
#[error("{error}")]
pub struct RequestError {
    pub error: AttemptError,
    /// What the receiver asks to be left alone for.
    pub retry_after: Option<Duration>,
}

/// Why a record does not fit; `None` of one that does.
pub type Misfit = fn(&[u8]) -> Option<&'static str>;

pub trait Receiver: Send + Sync + 'static {
    /// For people and logs, without secrets.
    fn name(&self) -> String;

    fn limits(&self) -> Limits;

    fn patience(&self) -> Patience;

    /// What tells of a record that it does not fit into the form of requests, and why: it is never sent, so that it harms itself
    /// alone. `None` where every record fits.
    fn misfits(&self) -> Option<Misfit>;

    /// The body of a request with the records of these frames. Burns CPU.
    fn body(&self, id: &str, frames: &[u8], now: Timestamp) -> Bytes;

    /// One attempt.
    fn send<'a>(&'a self, id: &'a str, body: Bytes) -> BoxFuture<'a, Result<Verdict, RequestError>>;
}
