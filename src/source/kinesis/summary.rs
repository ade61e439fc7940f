//! What the service says of the stream as a whole, and what time it is there.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use aws_sdk_kinesis::config::interceptors::BeforeDeserializationInterceptorContextRef;
use aws_sdk_kinesis::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_kinesis::error::BoxError;
use aws_sdk_kinesis::types::StreamDescriptionSummary;
use jiff::Timestamp;

use super::client::KinesisClient;
use super::page::ReadError;
use super::response::{Unreadable, date, timestamp};

const OPERATION: &str = "DescribeStreamSummary";
const HOUR: Duration = Duration::from_secs(3600);

/// A stream, at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamSummary {
    pub name: String,
    pub arn: String,
    /// Tells a stream from another one of its name. In whole milliseconds, equal for all who ask.
    pub created: Timestamp,
    /// `ACTIVE`, `UPDATING`: it can be read; `CREATING`, `DELETING`: it cannot.
    pub status: String,
    pub retention: Duration,
    pub open_shards: u32,
    /// Registered for enhanced fan-out.
    pub consumers: u32,
    /// The service's time when it answered, from the answer's `Date`, which has whole seconds, rounded down: what arrives
    /// after the call arrives then or later. Of a server that says no date it is this machine's time before the call.
    pub asked_at: Timestamp,
}

impl KinesisClient {
    /// The stream as it is now. 20 calls a second are allowed in an account: not for every shard.
    pub async fn summary(&self) -> Result<StreamSummary, ReadError> {
        let before = Timestamp::now();
        let answer_date = AnswerDate::default();
        let send = async |client: aws_sdk_kinesis::Client| {
            let request = client.describe_stream_summary();
            let request = request.set_stream_name(self.stream.name()).set_stream_arn(self.stream.arn());
            request.customize().interceptor(answer_date.clone()).send().await
        };
        let answer = self.call(OPERATION, send).await?;
        let asked_at = answer_date.get().and_then(|date| Timestamp::try_from(date).ok()).unwrap_or(before);
        let summary = answer.stream_description_summary.ok_or_else(|| "no description".to_owned());
        let summary = summary.and_then(|summary| read(summary, asked_at));
        summary.map_err(|reason| self.named(OPERATION).unexpected(&reason))
    }
}

fn read(summary: StreamDescriptionSummary, asked_at: Timestamp) -> Result<StreamSummary, Unreadable> {
    if summary.stream_arn.is_empty() {
        return Err("the stream has no ARN".to_owned());
    }
    let created = timestamp(&summary.stream_creation_timestamp);
    Ok(StreamSummary {
        name: summary.stream_name,
        arn: summary.stream_arn,
        created: created.ok_or_else(|| "the stream has no time of creation".to_owned())?,
        status: summary.stream_status.as_str().to_owned(),
        retention: HOUR * u32::try_from(summary.retention_period_hours).unwrap_or(0),
        open_shards: u32::try_from(summary.open_shard_count).unwrap_or(0),
        consumers: summary.consumer_count.and_then(|count| u32::try_from(count).ok()).unwrap_or(0),
        asked_at,
    })
}

/// Hears the `Date` of an answer.
#[derive(Debug, Clone, Default)]
struct AnswerDate(Arc<Mutex<Option<SystemTime>>>);

impl AnswerDate {
    fn get(&self) -> Option<SystemTime> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Intercept for AnswerDate {
    fn name(&self) -> &'static str {
        "AnswerDate"
    }

    fn read_before_deserialization(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = date(context.response());
        Ok(())
    }
}
