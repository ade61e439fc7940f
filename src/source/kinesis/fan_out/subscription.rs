//! One subscription: the call that begins it, and its events.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::config::StalledStreamProtectionConfig;
use aws_sdk_kinesis::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_kinesis::primitives::event_stream::EventReceiver;
use aws_sdk_kinesis::types::error::SubscribeToShardEventStreamError;
use aws_sdk_kinesis::types::{
    ShardIteratorType, StartingPosition as SdkPosition, SubscribeToShardEvent, SubscribeToShardEventStream,
};
use aws_smithy_types::event_stream::RawMessage;
use tokio::time::Instant;

use super::consumer;
use crate::aws::failure::chain;
use crate::source::kinesis::client::KinesisClient;
use crate::source::kinesis::error;
use crate::source::kinesis::page::{ReadError, StartingPosition};
use crate::source::kinesis::response::date_time;

pub(super) const OPERATION: &str = "SubscribeToShard";

pub(super) type Receiver = EventReceiver<SubscribeToShardEventStream, SubscribeToShardEventStreamError>;

/// A call under way: what becomes of the connection, and of the call. Kept by the reader, so that a [`next`](super::FanOutReader::next)
/// that is dropped does not drop a subscription which the service has counted.
pub(super) type Call = Pin<Box<dyn Future<Output = (Option<Client>, Result<Receiver, ReadError>)> + Send>>;

pub(super) struct Target {
    pub consumer_arn: String,
    pub shard_id: String,
}

/// Subscribes over `connection`, or over one of its own.
pub(super) fn call(
    client: KinesisClient,
    mut connection: Option<Client>,
    target: Target,
    from: StartingPosition,
) -> Call {
    Box::pin(async move {
        let outcome = client
            .call(OPERATION, async |shared: Client| {
                let own = connection.get_or_insert_with(|| connect(&shared));
                let request = own.subscribe_to_shard().consumer_arn(&target.consumer_arn).shard_id(&target.shard_id);
                request.starting_position(position(from)).send().await
            })
            .await;
        let outcome = match outcome {
            Ok(output) => Ok(output.event_stream),
            Err(error) => Err(judge(&client, &target.consumer_arn, error).await),
        };
        (connection, outcome)
    })
}

/// What an error within a subscription means, as the outcome of a call.
pub(super) fn verdict(
    client: KinesisClient,
    connection: Option<Client>,
    consumer_arn: String,
    error: ReadError,
) -> Call {
    Box::pin(async move { (connection, Err(judge(&client, &consumer_arn, error).await)) })
}

/// The service says the same of a shard and of a consumer that are not there. Only a shard is over then; one whose consumer
/// was deregistered still has its records.
async fn judge(client: &KinesisClient, consumer_arn: &str, error: ReadError) -> ReadError {
    if !matches!(error, ReadError::NotFound { .. }) {
        return error;
    }
    match consumer::check(client, consumer_arn).await {
        Ok(()) => error,
        Err(error) => error,
    }
}

/// A client with connections of its own and everything else of `shared`.
fn connect(shared: &Client) -> Client {
    // An event stream may rest for as long as it likes.
    let config = shared.config().to_builder().stalled_stream_protection(StalledStreamProtectionConfig::disabled());
    Client::from_conf(config.build())
}

/// Whether the connection is good for another call: it has brought an answer, and not one about credentials.
pub(super) fn leaves_connection(error: &ReadError) -> bool {
    match error {
        ReadError::NotFound { .. } | ReadError::InUse { .. } => true,
        ReadError::Again { code, .. } => !matches!(code.as_str(), "Timeout" | "NoAnswer" | "UnexpectedAnswer"),
        ReadError::Refused { .. } => false,
    }
}

fn position(from: StartingPosition) -> SdkPosition {
    let position = SdkPosition::builder();
    let position = match from {
        StartingPosition::TrimHorizon => position.r#type(ShardIteratorType::TrimHorizon),
        StartingPosition::Latest => position.r#type(ShardIteratorType::Latest),
        StartingPosition::AtTimestamp(time) => {
            position.r#type(ShardIteratorType::AtTimestamp).timestamp(date_time(time))
        }
        StartingPosition::At(number) => {
            position.r#type(ShardIteratorType::AtSequenceNumber).sequence_number(number.to_string())
        }
        StartingPosition::After(number) => {
            position.r#type(ShardIteratorType::AfterSequenceNumber).sequence_number(number.to_string())
        }
    };
    position.build().expect("a starting position with its type is complete")
}

/// A subscription that the service has accepted.
pub(super) struct Subscription {
    receiver: Receiver,
    silence: Silence,
}

/// A subscription that came to an end before its time.
pub(super) enum Cut {
    Silent(Duration),
    Failed(SdkError<SubscribeToShardEventStreamError, RawMessage>),
}

impl Subscription {
    pub fn new(receiver: Receiver, silence_max: Duration) -> Self {
        Self { receiver, silence: Silence { max: silence_max, left: silence_max } }
    }

    /// `None` when the service has closed it. May be dropped at any await.
    pub async fn next(&mut self) -> Result<Option<SubscribeToShardEvent>, Cut> {
        loop {
            let listening = self.silence.listen();
            let received = tokio::time::timeout_at(listening.deadline(), self.receiver.recv()).await;
            drop(listening);
            let event = received.map_err(|_| Cut::Silent(self.silence.max))?.map_err(Cut::Failed)?;
            self.silence.left = self.silence.max;
            match event {
                Some(SubscribeToShardEventStream::SubscribeToShardEvent(event)) => return Ok(Some(event)),
                Some(_) => {} // A kind of event that came after this client.
                None => return Ok(None),
            }
        }
    }
}

impl Cut {
    pub fn error(&self, call: &error::Call<'_>) -> ReadError {
        let error = match self {
            Self::Silent(limit) => return call.unexpected(&format!("no event for {limit:?}")),
            Self::Failed(error) => error,
        };
        // The kind of an exception stands in the frame's headers; its payload has the message.
        if let (SdkError::ServiceError(exception), Some(code)) = (error, header(error, ":exception-type")) {
            return call.refused_in_stream(None, &code, exception.err().message().unwrap_or_default());
        }
        // What the model does not know is the service's own fault.
        match header(error, ":error-code") {
            Some(code) => {
                call.refused_in_stream(Some(500), &code, &header(error, ":error-message").unwrap_or_default())
            }
            None => call.unexpected(&chain(error)),
        }
    }
}

fn header(error: &SdkError<SubscribeToShardEventStreamError, RawMessage>, name: &str) -> Option<String> {
    let message = match error.raw_response()? {
        RawMessage::Decoded(message) => message,
        _ => return None,
    };
    let header = message.headers().iter().find(|header| header.name().as_str() == name)?;
    header.value().as_string().ok().map(|text| text.as_str().to_owned())
}

/// How much longer nothing may come. Only time in which somebody listens counts: a caller that has no room for records lets
/// the subscription rest.
struct Silence {
    max: Duration,
    left: Duration,
}

struct Listening<'a> {
    silence: &'a mut Silence,
    since: Instant,
}

impl Silence {
    fn listen(&mut self) -> Listening<'_> {
        Listening { silence: self, since: Instant::now() }
    }
}

impl Listening<'_> {
    fn deadline(&self) -> Instant {
        self.since + self.silence.left
    }
}

impl Drop for Listening<'_> {
    fn drop(&mut self) {
        self.silence.left = self.silence.left.saturating_sub(self.since.elapsed());
    }
}
