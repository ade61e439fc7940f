//! Receivers: destinations that take records, a request at a time, and judge them.
//!
//! A [`Receiver`] makes one attempt and classifies the answer. Some judge a request as a whole: it carries the same id and the same
//! records at each attempt, so that a receiver can tell a repetition. Others judge each record of an attempt, and records may be
//! gathered otherwise for the next one. What is retried, split or given up is decided outside.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;

use crate::encode::frames::Frame;
use crate::requests::{Limits, Reason};

use super::{AttemptError, BoxFuture};

/// How long requests are tried, and how many at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    pub retry: Duration,
    /// Whether the time of attempts is part of `retry`, or only that of waiting for the next one.
    pub counts_attempts: bool,
    /// Requests of one delivery stream that may be under way at a time; with 1 they leave in order.
    pub in_flight: usize,
}

/// What a receiver says of an attempt that it could judge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// All its records are delivered.
    Accepted,
    /// Nothing of it: less at a time may be taken.
    TooLarge,
    /// Runs of records in the request's order, together as many as it has. Records without a judgement are tried again.
    Each(Vec<Judged>),
}

/// What is said of some records that follow each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judged {
    pub records: u64,
    pub judgement: Judgement,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Judgement {
    Accepted,
    /// For good: they go to the error output at once.
    Refused(Grounds),
    /// They may be taken later, and are tried again without the others; the grounds of the last attempt count when they are given
    /// up.
    Later(Grounds),
}

/// Why a record was not taken.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Grounds {
    /// As it stands in the error output. `429` of what may be taken later asks for less at a time, too.
    pub code: String,
    /// 1 KB at most.
    pub message: String,
}

/// An attempt that has failed. One of the class [`Throttled`](super::ErrorClass::Throttled) asks for less at a time.
#[derive(Debug, thiserror::Error)]
#[error("{error}")]
pub struct RequestError {
    pub error: AttemptError,
    /// What the receiver asks to be left alone for.
    pub retry_after: Option<Duration>,
}

/// Why a record does not fit; `None` of one that does.
pub type Misfit = Arc<dyn Fn(&[u8]) -> Option<&'static str> + Send + Sync>;

pub trait Receiver: Send + Sync + 'static {
    /// For people and logs, without secrets.
    fn name(&self) -> String;

    /// What one request holds. Where records are judged one by one, requests are what attempts are put together from: small ones
    /// let an attempt be of any size.
    fn limits(&self) -> Limits;

    fn patience(&self) -> Patience;

    /// What tells of a record that it does not fit into the form of requests, and why: it is never sent, so that it harms itself
    /// alone. `None` where every record fits.
    fn misfits(&self) -> Option<Misfit>;

    /// Whom a delivery is addressed to besides the place itself, journalled with it: the index. Empty where there is nobody.
    /// `at` is the arrival of its oldest record, `values` are those of its partition.
    fn addressee(&self, at: Timestamp, values: &[String]) -> String;

    /// How many bytes of records one attempt should carry while all goes well; `None` where each request is an attempt of its own.
    fn batch_bytes(&self) -> Option<u64>;

    /// The body of an attempt with the records of these frames, which are several pieces in their order. Burns CPU. `id` is the
    /// request's where each is an attempt of its own.
    fn body(&self, id: &str, to: &str, frames: &[&[u8]], now: Timestamp) -> Bytes;

    /// One attempt with so many records.
    fn send<'a>(
        &'a self,
        id: &'a str,
        to: &'a str,
        body: Bytes,
        records: u64,
    ) -> BoxFuture<'a, Result<Verdict, RequestError>>;

    /// Why a single record goes to the error output that was answered with [`Verdict::TooLarge`].
    fn too_large(&self) -> Grounds;

    /// The line of the error output for a record that was not taken.
    fn envelope(&self, to: &str, frame: &Frame<'_>, reason: &Reason) -> Bytes;

    /// The error output type: `http-endpoint-failed`.
    fn error_type(&self) -> &'static str;
}
