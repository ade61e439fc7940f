//! Reads one shard by GetRecords, within what the service gives to a shard.
//!
//! Always true: pages follow each other without a gap and without an overlap, whatever fails between them. An iterator may
//! be used again: records whose answer was lost come with the next one.

mod pace;
mod place;

pub use pace::ShardLimits;

use std::time::{Duration, Instant};

use aws_sdk_kinesis::operation::get_records::GetRecordsOutput;
use aws_sdk_kinesis::types::ShardIteratorType;

use super::client::KinesisClient;
use super::error::class;
use super::page::{Page, ReadError, StartingPosition, StreamRecord};
use super::response::{Unreadable, behind_ms, child_shards, date_time, records};
use crate::destination::retry::random;
use pace::{Pace, Served};
use place::{Answer, Place};

const GET_RECORDS: &str = "GetRecords";
const GET_SHARD_ITERATOR: &str = "GetShardIterator";
/// From so many errors in a row on the caller hears of each.
const FAILURES_TOLD: u32 = 3;
/// Iterators that have expired in a row, before it is an error.
const EXPIRIES_MAX: u32 = 3;

/// How a shard is polled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PollingOptions {
    /// Of one call, 1 to 10,000.
    pub max_records: u32,
    /// Between two calls where the first has read all there was. Behind, the limits of the shard decide.
    pub poll_interval: Duration,
    pub limits: ShardLimits,
}

impl Default for PollingOptions {
    /// The service's most, and one call a second, so that five consumers can share a shard.
    fn default() -> Self {
        Self { max_records: 10_000, poll_interval: Duration::from_secs(1), limits: ShardLimits::default() }
    }
}

/// One shard, page by page.
#[derive(Debug)]
pub struct PollingReader {
    client: KinesisClient,
    place: Place,
    pace: Pace,
    /// GetShardIterator has a limit of its own, as high as that of GetRecords.
    iterator_pause: Duration,
    iterator_asked: Option<Instant>,
    /// In a row.
    expiries: u32,
}

impl PollingReader {
    /// Begins anywhere but at [`StartingPosition::Latest`]: an iterator that expires before a record came has to begin where
    /// the first one began, and the newest record is another one by then. `latest` is a time, the service's at first sight.
    pub fn new(client: KinesisClient, shard_id: String, start: StartingPosition, options: PollingOptions) -> Self {
        let pace = Pace::new(options.limits, options.poll_interval, options.max_records, client.retry_limits);
        Self {
            client,
            place: Place::new(shard_id, start),
            pace,
            iterator_pause: options.limits.call_interval,
            iterator_asked: None,
            expiries: 0,
        }
    }

    /// Waits until the next call may begin, which [`Self::next`] does as well: for who takes memory for an answer only then.
    /// Cancel-safe.
    pub async fn wait(&self) {
        if self.place.ended().is_none() {
            sleep_until(self.pace.next_call()).await;
        }
    }

    /// The next page, which may be empty: waits as long as the limits, the interval or the last error ask for. After an
    /// error it may be called again at once; after the end it gives the end again.
    ///
    /// Cancel-safe: nothing changes but by an answer that was taken whole.
    pub async fn next(&mut self) -> Result<Page, ReadError> {
        loop {
            if let Some(children) = self.place.ended() {
                return Ok(Page { ended: Some(children.to_vec()), ..Page::default() });
            }
            self.wait().await;
            match self.attempt().await {
                Ok(page) => return Ok(page),
                Err(error) if self.is_renewal(&error) => self.place.drop_iterator(),
                Err(error) => {
                    self.failed(&error);
                    if !matches!(error, ReadError::Again { .. }) || self.pace.failures() >= FAILURES_TOLD {
                        return Err(error);
                    }
                }
            }
        }
    }

    async fn attempt(&mut self) -> Result<Page, ReadError> {
        if self.place.iterator(Instant::now()).is_none() {
            self.renew().await?;
        }
        let begun = Instant::now();
        self.pace.begin(begun);
        let answer = self.get_records(begun).await?;
        let page = self.take(answer, begun).map_err(|reason| self.client.named(GET_RECORDS).unexpected(&reason))?;
        self.expiries = 0;
        let is_behind = page.behind_ms.map_or(!page.records.is_empty(), |millis| millis > 0);
        self.pace.answered(Instant::now(), Served { bytes: bytes(&page.records), is_behind });
        Ok(page)
    }

    /// Asks for an iterator right behind what was read.
    async fn renew(&mut self) -> Result<(), ReadError> {
        sleep_until(self.iterator_asked.map(|asked| asked + self.iterator_pause)).await;
        let asked = Instant::now();
        self.iterator_asked = Some(asked);
        let iterator = self.get_shard_iterator().await?;
        self.place.set_iterator(iterator, asked);
        Ok(())
    }

    async fn get_shard_iterator(&self) -> Result<String, ReadError> {
        let (kind, sequence_number, time) = match self.place.position() {
            StartingPosition::TrimHorizon => (ShardIteratorType::TrimHorizon, None, None),
            StartingPosition::AtTimestamp(time) => (ShardIteratorType::AtTimestamp, None, Some(date_time(time))),
            StartingPosition::At(number) => (ShardIteratorType::AtSequenceNumber, Some(number), None),
            StartingPosition::After(number) => (ShardIteratorType::AfterSequenceNumber, Some(number), None),
            StartingPosition::Latest => {
                let reason = "`latest` is no place that can be found again: a time is needed";
                return Err(self.client.named(GET_SHARD_ITERATOR).invalid(reason));
            }
        };
        let send = async |client: aws_sdk_kinesis::Client| {
            let request = client.get_shard_iterator().shard_id(self.place.shard_id()).shard_iterator_type(kind);
            let request = request.set_stream_name(self.client.stream.name()).set_stream_arn(self.client.stream.arn());
            let number = sequence_number.map(|number| number.to_string());
            request.set_starting_sequence_number(number).set_timestamp(time).send().await
        };
        let answer = self.client.call(GET_SHARD_ITERATOR, send).await?;
        let iterator = answer.shard_iterator.filter(|iterator| !iterator.is_empty());
        iterator.ok_or_else(|| self.client.named(GET_SHARD_ITERATOR).unexpected("no iterator"))
    }

    async fn get_records(&self, now: Instant) -> Result<GetRecordsOutput, ReadError> {
        let iterator = self.place.iterator(now).map(str::to_owned);
        let limit = i32::try_from(self.pace.records()).unwrap_or(i32::MAX);
        let send = async |client: aws_sdk_kinesis::Client| {
            // The ARN leads to the right endpoint, and may be asked for by policies.
            let request = client.get_records().set_stream_arn(self.client.stream.arn());
            request.set_shard_iterator(iterator).limit(limit).send().await
        };
        self.client.call(GET_RECORDS, send).await
    }

    fn take(&mut self, answer: GetRecordsOutput, begun: Instant) -> Result<Page, Unreadable> {
        let answer = Answer {
            records: records(answer.records)?,
            next_iterator: answer.next_shard_iterator.filter(|iterator| !iterator.is_empty()),
            behind_ms: behind_ms(answer.millis_behind_latest),
            children: child_shards(answer.child_shards.unwrap_or_default()).unwrap_or_default(),
        };
        self.place.take(answer, begun)
    }

    /// An iterator gets old where the caller is held up. That is no error, unless new ones are old as well.
    fn is_renewal(&mut self, error: &ReadError) -> bool {
        let is_expired = matches!(error, ReadError::Again { code, .. } if code == "ExpiredIteratorException");
        self.expiries += u32::from(is_expired);
        is_expired && self.expiries < EXPIRIES_MAX
    }

    fn failed(&mut self, error: &ReadError) {
        // A throttled or unanswered call leaves the iterator as good as it was; else a new one may be accepted.
        let is_kept = matches!(error, ReadError::Again { code, .. } if code != "ExpiredIteratorException");
        if !is_kept {
            self.place.drop_iterator();
        }
        self.pace.failed(Instant::now(), class(error), random());
    }
}

async fn sleep_until(time: Option<Instant>) {
    if let Some(time) = time {
        tokio::time::sleep_until(time.into()).await;
    }
}

/// As the service counts them.
fn bytes(records: &[StreamRecord]) -> u64 {
    records.iter().map(|record| (record.data.len() + record.partition_key.len()) as u64).sum()
}

#[cfg(test)]
mod tests;
