//! Sources: where records come from.
//!
//! A source reads chunks of records, in order within each source partition, and can read any partition again from a
//! position. What it has not been able to read it says; it never skips. It waits where the channel or the memory budget
//! makes it wait, and that is all the backpressure there is.
//!
//! A new source is one file or folder, one variant of [`SourceConfig`] and one line of [`open`].

pub mod file;
pub mod kinesis;

use std::collections::HashMap;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::batches::ToldOf;
use crate::config::model::SourceConfig;
use crate::destination::AttemptError;
use crate::journal::{Journal, JournalError};
use crate::memory::StreamBudget;
use crate::record::{Chunk, PartitionId, Position, PositionRange, RefusedRecord, SourcePartition};
use crate::redrive::{Progress, RedriveSource};
use file::FileSource;
use kinesis::KinesisSource;

/// One delivery stream's source, ready to read.
pub trait Source: Send {
    /// Reads until it is told to stop, or with `drain` until the present end. Blocks its thread, which it has for itself: a
    /// source waits for most of its life.
    fn run(self: Box<Self>) -> Result<(), SourceError>;

    /// To be called once `stop` was cancelled, from another thread, where the source waits for something else.
    fn waker(&self) -> Box<dyn FnOnce() + Send> {
        Box::new(|| {})
    }
}

/// The source of a configuration; nothing is read yet. Called within the async runtime.
pub fn open(config: &SourceConfig, context: SourceContext) -> Result<Box<dyn Source>, OpenError> {
    Ok(match config {
        SourceConfig::File(file) => Box::new(FileSource::new(file.clone(), context)?),
        SourceConfig::Kinesis(kinesis) => Box::new(KinesisSource::new(kinesis.as_ref().clone(), context)),
        SourceConfig::Redrive(redrive) => Box::new(RedriveSource::new(redrive.as_ref().clone(), context)),
    })
}

/// Why a source cannot be begun.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("a glob of the source cannot be used")]
    Glob(#[from] globset::Error),
}

/// What a source tells its delivery stream, in order.
pub enum SourceEvent {
    /// A partition is read from `checkpoint` on. Comes before its first records.
    Opened {
        partition: Arc<dyn SourcePartition>,
        checkpoint: Position,
    },
    Chunk(Chunk),
    Refused(RefusedRecord),
    /// These positions hold no record: header lines, a byte order mark.
    Skipped {
        partition: PartitionId,
        range: PositionRange,
    },
    /// What a pending delivery still needs at `from` or behind it cannot be read again.
    Unreadable {
        partition: PartitionId,
        name: String,
        from: Position,
        /// The partition was found, and ends there: what was settled behind it is no part of it any more. Else it was not
        /// found at all, and may come back as it was.
        is_cut: bool,
    },
    /// The partition has been read to its end and will never be there again.
    Gone(PartitionId),
    /// Others wait for this partition to be settled: buffers with records of it are sealed at once.
    Awaited(PartitionId),
    /// Nothing more can be read before some of what was read is settled.
    WaitsForRoom,
    /// Everything was read that there was: the last event of a drain.
    End,
}

/// What a source gets from its delivery stream.
pub struct SourceContext {
    /// For logs.
    pub stream_name: String,
    /// The stream's row in the journal, and whether its first scan is behind it.
    pub stream: i64,
    pub scanned: bool,
    pub journal: Journal,
    pub budget: Arc<StreamBudget>,
    /// Into how many buffers each record goes: for so many times its size memory is taken.
    pub copies: u64,
    /// Positions at which records must end whatever the delimiter says: the ends of what the journal holds.
    pub cuts: HashMap<PartitionId, Vec<Position>>,
    /// In which batches the same is to be read again.
    pub told: ToldOf,
    pub events: mpsc::Sender<SourceEvent>,
    /// Stop reading; what was read is still delivered.
    pub stop: CancellationToken,
    /// Read to the present end, then stop.
    pub drain: bool,
    pub counters: Arc<SourceCounters>,
}

/// What a source counts, at the edge: what left it towards the stream, and what it knows to be waiting.
#[derive(Debug, Default)]
pub struct SourceCounters {
    pub records: AtomicU64,
    pub bytes: AtomicU64,
    /// Bytes that are in the source and not read yet, as far as it is known.
    pub behind: AtomicU64,
    /// For each shard that is being read, how many milliseconds it is behind its newest record, as its stream has said last.
    pub shards_behind_ms: Mutex<HashMap<PartitionId, u64>>,
    /// How many shards are in which state, once that is known.
    pub shards: Mutex<Option<ShardCounts>>,
    /// Bytes of oversize records past the limit, kept nowhere.
    pub cut_bytes: AtomicU64,
    /// Bytes that disappeared before they could be read.
    pub lost_bytes: AtomicU64,
    /// Files and folders that match and cannot be opened at this moment.
    pub refused: AtomicU64,
    /// What a redrive has done so far; of other sources there is none.
    pub redrive: Option<Arc<Progress>>,
}

/// How many shards of a stream are in which state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardCounts {
    pub reading: u64,
    /// Their parents come first, or the service does not know them yet.
    pub waiting: u64,
    /// Nothing more will come from them.
    pub finished: u64,
}

impl SourceCounters {
    /// No shard is being read yet, or not any more.
    pub fn forget_shards(&self) {
        lock(&self.shards_behind_ms).clear();
        *lock(&self.shards) = None;
    }

    pub fn set_shards(&self, counts: ShardCounts) {
        *lock(&self.shards) = Some(counts);
    }

    /// `None` where the source has no shards, or does not know them yet.
    pub fn shards(&self) -> Option<ShardCounts> {
        *lock(&self.shards)
    }

    /// A shard is so far behind its newest record; `None`: it is not read any more, or the stream does not say it.
    pub fn set_behind(&self, shard: PartitionId, behind_ms: Option<u64>) {
        let mut behind = lock(&self.shards_behind_ms);
        match behind_ms {
            Some(millis) => drop(behind.insert(shard, millis)),
            None => drop(behind.remove(&shard)),
        }
    }

    /// The largest `MillisBehindLatest` of all shards that are being read; `None` where there is none.
    pub fn millis_behind_latest(&self) -> Option<u64> {
        lock(&self.shards_behind_ms).values().copied().max()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What ends a source before its time. The stream is started again from its checkpoint.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    #[error("the source could not journal what it found")]
    Journal(#[from] JournalError),
    #[error("the error objects cannot be read")]
    ErrorObjects(#[source] AttemptError),
}
