//! Destinations: where a finished object goes, or records in requests.
//!
//! A [`Destination`] makes one attempt and classifies the answer; [`retry`] wraps it from outside, without end. A put is
//! atomic and keeps the first object under a key, so the same delivery may be put any number of times. No destination
//! knows a source, a buffer or the journal. A [`receiver::Receiver`] takes records instead, and is retried by [`outage`]'s rules.

#[cfg(test)]
pub(crate) mod contract;
pub mod directory;
mod http_client;
pub mod http_endpoint;
pub mod opensearch;
pub mod outage;
mod pace;
mod phases;
mod reach;
pub mod receiver;
pub mod retry;
pub mod s3;
mod sigv4;

use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;

use crate::encode::payload::Payload;

pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// One object on its way. Key and content never change from attempt to attempt.
pub struct Object {
    /// Relative to the bucket or folder; at most 1,024 bytes.
    pub key: String,
    pub payload: Arc<Payload>,
    /// For S3's `Content-Encoding` header.
    pub content_encoding: Option<&'static str>,
}

/// A put that left exactly one complete object under the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Put {
    Created,
    /// An object was there already: an earlier attempt's, whose answer was lost. It was not replaced.
    AlreadyThere,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Existence {
    Present,
    Absent,
    /// The destination does not let us ask (403 on HEAD).
    Unknown,
}

/// Why an attempt failed, as far as the next one is concerned. None of them ends the retrying.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorClass {
    /// Time-outs, resets, 5xx, a full disk: soon again.
    Transient,
    /// 503 SlowDown, 429: again, more slowly.
    Throttled,
    /// 403, a missing bucket, no credentials, a folder that may not be written: a person must act; slowly, and shouted about.
    Denied,
}

#[derive(Debug, thiserror::Error)]
#[error("{code}: {message}")]
pub struct AttemptError {
    pub class: ErrorClass,
    /// Short and stable, for example `SlowDown`, `NoSuchBucket`, `Timeout`, `ENOSPC`.
    pub code: String,
    /// What happened and where, without secrets.
    pub message: String,
    /// The object may have arrived all the same: the answer was lost, or there was none.
    pub ambiguous: bool,
}

pub trait Destination: Send + Sync + 'static {
    /// For people and logs: `s3://bucket` or the folder.
    fn name(&self) -> String;

    /// A folder in which payloads may be formed so that putting them is a rename; `None` for destinations that are not
    /// a file system.
    fn staging(&self) -> Option<&Path>;

    /// One attempt. `may_exist` says that an earlier attempt's outcome is not known, be it this life's or a past one's.
    fn put<'a>(&'a self, object: &'a Object, may_exist: bool) -> BoxFuture<'a, Result<Put, AttemptError>>;

    /// Whether a complete object is there under the key.
    fn exists<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Existence, AttemptError>>;
}
