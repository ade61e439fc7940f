//! One shard on its way into the stream: page after page, until it ends, or until a drain has read what was there.
//!
//! Always true: memory for a page is granted before it is asked for, and a page is read only when all of the one before was taken.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::mpsc;
use tracing::{error, info, warn};

use crate::failpoint;
use crate::log_limit::LogLimit;
use crate::memory::{Permit, guarded};
use crate::pool::join;
use crate::record::{Chunk, Position, PositionRange, Refusal, RefusedRecord, SourceEnds, SourcePartition};
use crate::source::{SourceCounters, SourceEvent};

use super::cutting::{Cutter, Gathered, Piece, Refused, Skip};
use super::fan_out::{FanOutReader, consumer};
use super::memory::{Ended, Gate};
use super::page::{ChildShard, Page, ReadError, StreamRecord};
use super::polling::PollingReader;
use super::shard::Shard;

/// The largest answer of GetRecords.
const PAGE_BYTES_MAX: u64 = 10 << 20;
/// What a shard takes in a second, and the largest record besides.
const SHARD_BYTES_A_SECOND: u64 = 1 << 20;
/// From here on cutting is no work for an async thread.
const LARGE_PAGE_BYTES: usize = 64 << 10;
/// How long nobody tries again what only a person can mend.
const REFUSED_PAUSE: Duration = Duration::from_secs(10);

/// What a shard's reader tells the source.
#[derive(Debug)]
pub enum Told {
    /// There is nothing more: up to where it was read.
    ReadToEnd { shard_id: String, read_to: Position, children: Vec<ChildShard> },
    /// There is no such shard.
    NotFound { shard_id: String, cutter: Box<Cutter> },
    /// Somebody has deregistered this consumer; the shard is still there.
    NoConsumer { shard_id: String, consumer_arn: String, cutter: Box<Cutter> },
    /// A drain has read what was there when it began.
    Drained { shard_id: String },
}

/// How pages are read.
pub enum Reader {
    Polling(PollingReader),
    FanOut(FanOutReader),
}

/// What the readers of a source share.
pub struct Shared {
    pub stream_name: String,
    pub gate: Gate,
    pub events: mpsc::Sender<SourceEvent>,
    pub told: mpsc::UnboundedSender<Told>,
    pub counters: Arc<SourceCounters>,
    /// With `drain`: the service's time when the source began.
    pub drain_from: Option<Timestamp>,
    pub troubles: LogLimit,
    pub absences: LogLimit,
    pub drops: LogLimit,
}

/// Where the records of one shard go.
pub struct Outlet {
    pub shared: Arc<Shared>,
    pub shard: Arc<Shard>,
}

/// Reads one shard.
pub struct Reading {
    pub outlet: Outlet,
    pub reader: Reader,
    /// `None` only while a page is being cut.
    pub cutter: Option<Cutter>,
    pub checkpoint: Position,
    /// What was read up to there, in an earlier life or by an earlier reader, is behind us.
    pub behind: Position,
    /// When the last page came that had caught up.
    pub caught_up: Option<Instant>,
}

impl Reading {
    /// To the end of the shard, or of a drain; earlier only when nobody takes its records.
    pub async fn run(mut self) {
        let told = self.read().await;
        self.outlet.shared.counters.set_behind(self.outlet.shard.id(), None);
        if let Ok(told) = told {
            // Nobody listens when the source has ended.
            let _ = self.outlet.shared.told.send(told);
        }
    }

    async fn read(&mut self) -> Result<Told, Ended> {
        let (partition, checkpoint) = (self.outlet.shard.clone(), self.checkpoint);
        self.outlet.send(SourceEvent::Opened { partition, checkpoint }).await?;
        loop {
            let told = match self.next().await? {
                Ok((page, granted)) => self.take(page, &granted).await?,
                Err(trouble) => match self.stop(&trouble).await? {
                    Some(told) => Some(told),
                    None => {
                        self.wait(&trouble).await;
                        None
                    }
                },
            };
            if let Some(told) = told {
                return Ok(told);
            }
        }
    }

    /// The next page, with memory for it. What is asked for has its memory before; what the service sends by itself, which is one
    /// event at a time, when it has come.
    async fn next(&mut self) -> Result<Result<(Page, Arc<Permit>), ReadError>, Ended> {
        let expected = self.expected();
        match &mut self.reader {
            Reader::Polling(reader) => {
                reader.wait().await;
                let granted = self.outlet.shared.gate.enter(expected).await?;
                Ok(reader.next().await.map(|page| (page, granted)))
            }
            Reader::FanOut(reader) => match reader.next().await {
                Ok(page) => {
                    let bytes = page.records.iter().map(|record| record.data.len() as u64).sum();
                    Ok(Ok((page, self.outlet.shared.gate.enter(bytes).await?)))
                }
                Err(error) => Ok(Err(error)),
            },
        }
    }

    /// What the next answer of GetRecords can hold at most.
    fn expected(&self) -> u64 {
        self.caught_up.map_or(PAGE_BYTES_MAX, |at| {
            let seconds = at.elapsed().as_secs() + 2;
            PAGE_BYTES_MAX.min(seconds.saturating_mul(SHARD_BYTES_A_SECOND))
        })
    }

    /// Whether another try of this reader is in vain.
    async fn stop(&mut self, trouble: &ReadError) -> Result<Option<Told>, Ended> {
        let shard_id = self.outlet.shard_id();
        match (trouble, &self.reader) {
            (ReadError::NotFound { message }, _) => {
                if let Some(times) = self.outlet.shared.absences.failed() {
                    let stream = &self.outlet.shared.stream_name;
                    warn!(
                        stream,
                        shard = shard_id,
                        reason = message,
                        times,
                        "a shard is not found; it is read again if it is listed"
                    );
                }
                self.outlet.send(SourceEvent::Awaited(self.outlet.shard.id())).await?;
                Ok(self.cutter.take().map(|cutter| Told::NotFound { shard_id, cutter: Box::new(cutter) }))
            }
            (_, Reader::FanOut(reader)) if consumer::is_missing(trouble) => {
                let consumer_arn = reader.consumer_arn().to_owned();
                let cutter = self.cutter.take().map(Box::new);
                Ok(cutter.map(|cutter| Told::NoConsumer { shard_id, consumer_arn, cutter }))
            }
            _ => Ok(None),
        }
    }

    async fn wait(&mut self, trouble: &ReadError) {
        if let Some(times) = self.outlet.shared.troubles.failed() {
            let (stream, shard) = (&self.outlet.shared.stream_name, self.outlet.shard.shard_id());
            error!(stream, shard, %trouble, times, "a shard cannot be read now; it is tried again");
        }
        if matches!(trouble, ReadError::Refused { .. }) {
            tokio::time::sleep(REFUSED_PAUSE).await;
        }
    }

    /// Hands the page on. Says when there is nothing more to read.
    async fn take(&mut self, page: Page, granted: &Permit) -> Result<Option<Told>, Ended> {
        let Page { records, behind_ms, ended, continuation: _ } = page;
        let newest = records.iter().filter_map(|record| record.arrival).max();
        self.caught_up = (behind_ms == Some(0)).then(Instant::now);
        self.outlet.shared.counters.set_behind(self.outlet.shard.id(), behind_ms);
        self.look_for_loss(&records);
        for piece in self.cut(records).await {
            self.outlet.hand_on(piece, granted).await?;
        }
        if let Some(children) = ended {
            return self.end(children).await.map(Some);
        }
        let is_drained = self.outlet.shared.drain_from.is_some_and(|from| behind_ms == Some(0) || newest >= Some(from));
        Ok(is_drained.then(|| Told::Drained { shard_id: self.outlet.shard_id() }))
    }

    /// The shard goes on behind its checkpoint: the record that ends there is still in it, unless it has expired, and with it maybe
    /// others that nobody has read.
    fn look_for_loss(&mut self, records: &[StreamRecord]) {
        let Some(first) = records.first() else { return };
        if let Some((checkpoint, _)) = std::mem::take(&mut self.behind).record()
            && first.sequence_number > checkpoint
        {
            let (stream, shard, found) =
                (&self.outlet.shared.stream_name, self.outlet.shard.shard_id(), first.sequence_number);
            error!(
                stream, shard, %checkpoint, %found,
                "the record at the checkpoint of a shard has expired: records behind it may have expired unread; \
                 raise the stream's retention if Hydrant may be away for so long"
            );
        }
    }

    async fn cut(&mut self, records: Vec<StreamRecord>) -> Vec<Piece> {
        let Some(mut cutter) = self.cutter.take() else { return Vec::new() };
        let bytes: usize = records.iter().map(|record| record.data.len()).sum();
        let (cutter, pieces) = if bytes < LARGE_PAGE_BYTES {
            let pieces = cutter.cut(records);
            (cutter, pieces)
        } else {
            let cutting = tokio::task::spawn_blocking(move || {
                let pieces = cutter.cut(records);
                (cutter, pieces)
            });
            join(cutting).await
        };
        self.cutter = Some(cutter);
        pieces
    }

    /// The shard is over.
    async fn end(&mut self, children: Vec<ChildShard>) -> Result<Told, Ended> {
        let (shard_id, read_to) = (self.outlet.shard_id(), self.position());
        info!(stream = self.outlet.shared.stream_name, shard = shard_id, "a shard was read to its end");
        let partition = self.outlet.shard.id();
        if self.cutter.as_ref().is_some_and(Cutter::waits_for_more) {
            let name = self.outlet.shard.name();
            self.outlet.send(SourceEvent::Unreadable { partition, name, from: read_to, is_cut: true }).await?;
        }
        self.outlet.send(SourceEvent::Awaited(partition)).await?;
        Ok(Told::ReadToEnd { shard_id, read_to, children })
    }

    fn position(&self) -> Position {
        self.cutter.as_ref().map(Cutter::position).unwrap_or_default()
    }
}

impl Outlet {
    async fn hand_on(&self, piece: Piece, granted: &Permit) -> Result<(), Ended> {
        match piece {
            Piece::Records(gathered) => {
                let permit = self.shared.gate.part(granted, gathered.memory());
                let counters = &self.shared.counters;
                counters.records.fetch_add(gathered.records() as u64, Ordering::Relaxed);
                counters.bytes.fetch_add(gathered.data.len() as u64, Ordering::Relaxed);
                failpoint::pass("read");
                self.send(SourceEvent::Chunk(chunk_of(self.shard.clone(), gathered, permit))).await
            }
            Piece::Skipped { range, why } => {
                self.report_skip(range, why);
                self.send(SourceEvent::Skipped { partition: self.shard.id(), range }).await
            }
            Piece::Refused(Refused { range, data, arrival, code, reason, failed_at }) => {
                let permit = self.shared.gate.part(granted, data.len() as u64);
                let (partition, length) = (self.shard.clone(), data.len() as u64);
                let why = Refusal::Unfit { code, reason };
                self.shared.counters.records.fetch_add(1, Ordering::Relaxed);
                self.shared.counters.bytes.fetch_add(length, Ordering::Relaxed);
                let record = RefusedRecord { partition, range, head: data, length, why, arrival, failed_at, permit };
                self.send(SourceEvent::Refused(record)).await
            }
        }
    }

    fn report_skip(&self, range: PositionRange, why: Skip) {
        let (stream, shard, at) = (&self.shared.stream_name, self.shard.shard_id(), range.end);
        match why {
            Skip::Empty => {}
            Skip::Dropped(records) => {
                if let Some(times) = self.shared.drops.failed() {
                    warn!(stream, shard, %at, records, times, "an aggregate with records of another shard is dropped, as configured");
                }
            }
            Skip::Expired => {
                error!(stream, shard, from = %range.start, to = %at, "records that were read before have expired meanwhile");
            }
        }
    }

    fn shard_id(&self) -> String {
        self.shard.shard_id().to_owned()
    }

    async fn send(&self, event: SourceEvent) -> Result<(), Ended> {
        self.shared.events.send(event).await.map_err(|_| Ended)
    }
}

fn chunk_of(partition: Arc<Shard>, gathered: Gathered, permit: Arc<Permit>) -> Chunk {
    let Gathered { start, data, ends, source_ends, origins, arrival, batch } = gathered;
    let at = |ms| Timestamp::from_millisecond(ms).ok();
    Chunk {
        partition,
        start,
        data: guarded(data, permit.clone()),
        ends: Arc::new(ends),
        delimiter_len: 0,
        last_is_bare: false,
        source_ends: Some(SourceEnds::Positions(Arc::new(source_ends))),
        made: None,
        record_ends: None,
        partitions: None,
        rows: None,
        origins: Some(origins.into()),
        earlier: None,
        is_processed: false,
        arrival: batch.and_then(|batch| at(batch.arrival_ms)).unwrap_or(arrival),
        failed_at: batch.and_then(|batch| batch.failed_ms).and_then(at),
        permit,
    }
}
