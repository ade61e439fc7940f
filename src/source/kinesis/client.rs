//! The service's client of one stream, and what its errors mean.

use aws_sdk_kinesis::Client;

/// Calls about one stream.
#[derive(Debug, Clone)]
pub struct KinesisClient {
    pub(super) sdk: Client,
    pub(super) stream: StreamId,
}

/// How calls name the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StreamId {
    Name(String),
    /// `arn:aws:kinesis:<region>:<account>:stream/<name>`
    Arn(String),
}

impl KinesisClient {
    pub fn new(sdk: Client, stream: StreamId) -> Self {
        Self { sdk, stream }
    }
}
