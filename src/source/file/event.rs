//! What was read, counted, as an event for the stream.
//!
//! Always true: each position that was read is counted once, and leaves in exactly one event.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use jiff::Timestamp;
use tracing::warn;

use crate::batches::Batch;
use crate::config::model::OnOversize;
use crate::memory::{Permit, guarded};
use crate::record::{self, Chunk, Position, PositionRange, Refusal, RefusedRecord, SourceEnds, SourcePartition};

use super::cutting::Cutting;
use super::tail::Read;
use super::tailed::TailedFile;
use super::truncate::truncate;
use super::{FileSource, SourceEvent};

/// What a chunk costs beside its bytes.
pub const CHUNK_OVERHEAD: u64 = 1024;

/// Records that were read, and where they end in the source.
struct Records {
    start: u64,
    end: u64,
    data: Vec<u8>,
    ends: Vec<u32>,
    last_is_bare: bool,
}

/// When records that were read arrived, and when some of them failed if they did before.
#[derive(Clone, Copy)]
struct Times {
    arrival: Timestamp,
    failed_at: Option<Timestamp>,
}

/// A record over the limit, and its beginning.
struct Oversize {
    start: u64,
    end: u64,
    head: Vec<u8>,
    length: u64,
}

impl FileSource {
    /// `None` where nothing was read. `told` is the batch of an earlier life that holds what was read.
    pub(super) fn event(
        &self,
        file: Arc<TailedFile>,
        cutting: &Cutting,
        (read, told): (Read, Option<Batch>),
        permit: Arc<Permit>,
    ) -> Option<SourceEvent> {
        let times = Times::of(told);
        match read {
            Read::Searching | Read::Nothing => None,
            Read::Skipped { start, end } => {
                self.count(0, end - start);
                Some(SourceEvent::Skipped { partition: file.id, range: PositionRange::new(start, end) })
            }
            Read::Records { start, end, data, ends, last_is_bare } => {
                let records = Records { start, end, data, ends, last_is_bare };
                Some(SourceEvent::Chunk(self.chunk_of(file, cutting, (records, times), permit)))
            }
            Read::Oversize { start, end, head, length } => {
                Some(self.oversize(file, cutting, (Oversize { start, end, head, length }, times), permit))
            }
        }
    }

    fn chunk_of(
        &self,
        partition: Arc<TailedFile>,
        cutting: &Cutting,
        (records, times): (Records, Times),
        permit: Arc<Permit>,
    ) -> Chunk {
        let Records { start, end, data, ends, last_is_bare } = records;
        self.cover(&permit, (data.capacity() + 4 * ends.capacity()) as u64);
        self.count(ends.len() as u64, end - start);
        // Only a single record ends in the source elsewhere than in the data.
        let source_ends = (end - start != data.len() as u64).then(|| SourceEnds::Offsets(Arc::new(vec![end - start])));
        Chunk {
            partition,
            start: Position::at(start),
            data: guarded(data, permit.clone()),
            ends: Arc::new(ends),
            source_ends,
            delimiter_len: cutting.delimiter_len() as u32,
            last_is_bare,
            made: None,
            record_ends: None,
            partitions: None,
            rows: None,
            origins: None,
            earlier: None,
            is_processed: false,
            arrival: times.arrival,
            failed_at: times.failed_at,
            permit,
        }
    }

    fn oversize(
        &self,
        partition: Arc<TailedFile>,
        cutting: &Cutting,
        (record, times): (Oversize, Times),
        permit: Arc<Permit>,
    ) -> SourceEvent {
        let Oversize { start, end, mut head, length } = record;
        let kept = match &self.on_oversize {
            OnOversize::ErrorOutput => head.len(),
            OnOversize::Truncate { .. } => {
                truncate(&mut head, &self.on_oversize.terminator_in(cutting.encoding()), cutting.encoding())
            }
        };
        let (path, cut_bytes) = (partition.name(), length - kept as u64);
        self.files.context.counters.cut_bytes.fetch_add(cut_bytes, Ordering::Relaxed);
        if let OnOversize::Truncate { .. } = self.on_oversize {
            warn!(path, position = start, length, cut_bytes, "a record is over the limit; it is truncated");
            let ends = vec![head.len() as u32];
            let records = Records { start, end, data: head, ends, last_is_bare: true };
            return SourceEvent::Chunk(self.chunk_of(partition, cutting, (records, times), permit));
        }
        warn!(path, position = start, length, cut_bytes, "a record is over the limit");
        self.count(1, end - start);
        self.cover(&permit, head.capacity() as u64);
        let (range, head) = (PositionRange::new(start, end), Bytes::from(head));
        let Times { arrival, failed_at } = times;
        SourceEvent::Refused(RefusedRecord {
            partition,
            range,
            head,
            length,
            why: Refusal::TooLong,
            arrival,
            failed_at,
            permit,
        })
    }

    /// Makes the permit what `bytes` take in all buffers that they go to. It may cover less where that is more than half of all
    /// memory: reading waits then until it has been given back.
    fn cover(&self, permit: &Permit, bytes: u64) {
        let context = &self.files.context;
        let (covered, kept) = (permit.bytes(), (bytes + CHUNK_OVERHEAD) * context.copies);
        drop(permit.split(covered.saturating_sub(kept)));
        permit.absorb(context.budget.overdraw(kept.saturating_sub(covered)));
    }

    fn count(&self, records: u64, bytes: u64) {
        let counters = &self.files.context.counters;
        counters.records.fetch_add(records, Ordering::Relaxed);
        counters.bytes.fetch_add(bytes, Ordering::Relaxed);
        counters.behind.store(counters.behind.load(Ordering::Relaxed).saturating_sub(bytes), Ordering::Relaxed);
    }
}

impl Times {
    /// Those of an earlier life, else now.
    fn of(told: Option<Batch>) -> Self {
        let at = |ms| Timestamp::from_millisecond(ms).ok();
        Self {
            arrival: told.and_then(|batch| at(batch.arrival_ms)).unwrap_or_else(record::now),
            failed_at: told.and_then(|batch| batch.failed_ms).and_then(at),
        }
    }
}
