//! Registered consumers of a stream: those who read with throughput of their own.

use std::time::Duration;

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::types::ConsumerStatus;
use tokio::time::Instant;

use crate::source::kinesis::client::KinesisClient;
use crate::source::kinesis::page::ReadError;

/// How long a registration is waited for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// Between two questions. The service answers 20 a second for all consumers of a stream.
    pub interval: Duration,
    /// For a limit: 5 calls a second, and 5 consumers that are being created, are soon below again; 20 consumers are not.
    pub limited: Duration,
    /// For a consumer that is being created or deleted.
    pub total: Duration,
}

/// Code of the refusal where the consumer is not registered any more.
const NOT_REGISTERED: &str = "ConsumerNotFound";

const PATIENCE: Patience =
    Patience { interval: Duration::from_secs(1), limited: Duration::from_secs(30), total: Duration::from_secs(180) };

/// Registers the consumer and waits until it can be used; gives its ARN. One of the name that is there is taken over as it
/// is: workers of one application share it. May be dropped at any await.
pub async fn register(client: &KinesisClient, stream_arn: &str, name: &str) -> Result<String, ReadError> {
    register_within(client, stream_arn, name, PATIENCE).await
}

/// Takes the registration away, for all who use it. One that is not there any more is no error.
pub async fn deregister(client: &KinesisClient, consumer_arn: &str) -> Result<(), ReadError> {
    let request = async |client: Client| client.deregister_stream_consumer().consumer_arn(consumer_arn).send().await;
    match client.call("DeregisterStreamConsumer", request).await {
        Ok(_) | Err(ReadError::NotFound { .. }) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Whether the consumer is there; if not, an error that says so.
pub(super) async fn check(client: &KinesisClient, consumer_arn: &str) -> Result<(), ReadError> {
    let request = async |client: Client| client.describe_stream_consumer().consumer_arn(consumer_arn).send().await;
    let reason = match client.call("DescribeStreamConsumer", request).await.map(|answer| answer.consumer_description) {
        Ok(Some(found)) if found.consumer_status == ConsumerStatus::Deleting => "it is being deregistered".to_owned(),
        Ok(_) => return Ok(()),
        Err(ReadError::NotFound { message }) => message,
        Err(error) => return Err(error),
    };
    let message = format!("the consumer `{consumer_arn}` is not registered any more: {reason}");
    Err(ReadError::Refused { code: NOT_REGISTERED.to_owned(), message })
}

/// Whether a reader has ended because its consumer is not registered any more: a new registration is another consumer.
pub fn is_missing(error: &ReadError) -> bool {
    matches!(error, ReadError::Refused { code, .. } if code == NOT_REGISTERED)
}

pub(super) async fn register_within(
    client: &KinesisClient,
    stream_arn: &str,
    name: &str,
    patience: Patience,
) -> Result<String, ReadError> {
    let begun = Instant::now();
    loop {
        let pending = match find(client, stream_arn, name).await {
            Ok(Found::Active(arn)) => return Ok(arn),
            Ok(Found::Pending(status)) => Pending::Status(status),
            Ok(Found::Nothing) => match create(client, stream_arn, name).await {
                Ok(()) => Pending::Status(ConsumerStatus::Creating),
                Err(error) => Pending::after(error)?,
            },
            Err(error) => Pending::after(error)?,
        };
        pending.check(begun.elapsed(), name, patience)?;
        tokio::time::sleep(patience.interval).await;
    }
}

enum Found {
    Nothing,
    Active(String),
    Pending(ConsumerStatus),
}

async fn find(client: &KinesisClient, stream_arn: &str, name: &str) -> Result<Found, ReadError> {
    let request = async |client: Client| {
        client.describe_stream_consumer().stream_arn(stream_arn).consumer_name(name).send().await
    };
    match client.call("DescribeStreamConsumer", request).await.map(|answer| answer.consumer_description) {
        Ok(Some(found)) if found.consumer_status == ConsumerStatus::Active => Ok(Found::Active(found.consumer_arn)),
        Ok(Some(found)) => Ok(Found::Pending(found.consumer_status)),
        // Where the stream itself is not there, the registration will say so.
        Ok(None) | Err(ReadError::NotFound { .. }) => Ok(Found::Nothing),
        Err(error) => Err(error),
    }
}

async fn create(client: &KinesisClient, stream_arn: &str, name: &str) -> Result<(), ReadError> {
    let request = async |client: Client| {
        client.register_stream_consumer().stream_arn(stream_arn).consumer_name(name).send().await
    };
    client.call("RegisterStreamConsumer", request).await.map(|_| ())
}

/// Why a registration is not there yet.
enum Pending {
    Status(ConsumerStatus),
    /// The service has a fault, or another worker was faster.
    Again(ReadError),
    Limited(String),
}

impl Pending {
    fn after(error: ReadError) -> Result<Self, ReadError> {
        match error {
            ReadError::Again { message, is_throttled: true, .. } => Ok(Self::Limited(message)),
            ReadError::Again { .. } | ReadError::InUse { .. } => Ok(Self::Again(error)),
            ReadError::NotFound { .. } | ReadError::Refused { .. } => Err(error),
        }
    }

    /// An error where the patience is over.
    fn check(self, waited: Duration, name: &str, patience: Patience) -> Result<(), ReadError> {
        match self {
            Self::Limited(message) if waited >= patience.limited => Err(ReadError::Refused {
                code: "LimitExceededException".to_owned(),
                message: format!(
                    "the consumer `{name}` cannot be registered: {message}; a stream has at most 20 consumers (50 with \
                     On-demand Advantage): deregister one that nobody uses, name one that is there as `consumer_name`, \
                     or read with `consumer: polling`"
                ),
            }),
            Self::Again(error) if waited >= patience.limited => Err(error),
            Self::Status(status) if waited >= patience.total => Err(ReadError::Again {
                code: "ConsumerNotActive".to_owned(),
                message: format!("the consumer `{name}` is still {status} after {waited:.0?}"),
                is_throttled: false,
            }),
            Self::Limited(_) | Self::Again(_) | Self::Status(_) => Ok(()),
        }
    }
}
