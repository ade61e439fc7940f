//! The file source: tails every file that its globs match, through rotation, for as long as somebody needs it.
//!
//! Always true: records of one file leave in order, and rotation is followed whatever reading has to wait for: while the
//! stream takes nothing and while memory is short, files are still found, opened and looked at. One thread per delivery
//! stream: it waits for file system events, or for the poll interval, and gives each file with news one chunk in turn.

mod alike;
mod content;
mod copies;
mod discover;
mod examine;
mod files;
mod identity;
mod let_go;
mod names;
mod prefix;
mod recognise;
mod tail;
mod tailed;
mod twins;
mod watch;

pub use watch::Waker;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::sync::mpsc::error::TrySendError;
use tracing::warn;

use crate::config::model::FileSourceConfig;
use crate::failpoint;
use crate::memory::{Permit, guarded};
use crate::record::{Chunk, OversizeRecord, PartitionId, Position, PositionRange, SourcePartition};

use super::{SourceContext, SourceError, SourceEvent};
use discover::Discovery;
use files::Files;
use tail::{Cutting, Read};
use twins::Twins;
use watch::Watches;

/// Largest chunk, and the smallest that a small `memory_limit_mb` leads to.
const CHUNK_MAX: u64 = 1 << 20;
const CHUNK_MIN: u64 = 64 << 10;
/// What a chunk costs beside its bytes.
const CHUNK_OVERHEAD: u64 = 1024;
/// Events of one file come in bursts: after a scan of the globs, at least so long until the next one.
const SCAN_PAUSE: Duration = Duration::from_millis(50);
/// While there is something to do or to wait for, files are looked at so often.
const TEND_INTERVAL: Duration = Duration::from_millis(100);

/// One delivery stream's files.
pub struct FileSource {
    files: Files,
    cutting: Cutting,
    delimiter_len: u32,
    waker: Waker,
    chunk: u64,
    /// Files with news that have not had their turn in this round.
    due: VecDeque<PartitionId>,
    last_look: Instant,
    /// Names have changed since the last scan.
    is_scan_wanted: bool,
    runtime: Handle,
}

/// Whether the source goes on or the stream has ended.
type Flow = std::ops::ControlFlow<()>;
const GO_ON: Flow = Flow::Continue(());
const STOP: Flow = Flow::Break(());

impl FileSource {
    /// A source for valid configuration; nothing is opened yet. Called within the async runtime.
    pub fn new(config: FileSourceConfig, context: SourceContext) -> Result<Self, globset::Error> {
        let waker = Waker::default();
        // A chunk and what comes of it must fit the guaranteed share several times.
        let chunk = (context.budget.share() / 16 / context.copies).clamp(CHUNK_MIN, CHUNK_MAX);
        let (discovery, watches) = (Discovery::new(&config)?, Watches::new(&waker));
        let delimiter = &config.record_delimiter;
        Ok(Self {
            files: Files::new(
                context,
                discovery,
                watches,
                config.initial_position,
                delimiter,
                config.forget_after,
                Twins::new(waker.clone()),
            ),
            cutting: Cutting::new(delimiter, config.max_record_bytes),
            delimiter_len: delimiter.len() as u32,
            waker,
            chunk,
            due: VecDeque::new(),
            last_look: Instant::now(),
            is_scan_wanted: false,
            runtime: Handle::current(),
        })
    }

    /// With this the source can be woken to see that it shall stop.
    pub fn waker(&self) -> Waker {
        self.waker.clone()
    }

    /// Reads until it is told to stop, or with `drain` until the present end. Blocks its thread.
    pub fn run(mut self) -> Result<(), SourceError> {
        self.files.begin()?;
        loop {
            if self.tend()?.is_break() || self.flush()?.is_break() {
                return Ok(());
            }
            if let Some(id) = self.next_due() {
                self.read_one(id)?;
                continue;
            }
            let waits_for_copies = !self.files.orphans.is_empty() || self.files.has_twins_to_examine();
            if self.files.context.drain && !waits_for_copies && self.files.open.values().all(|open| open.is_done) {
                self.files.events.push_back(SourceEvent::End);
                return self.flush().map(|_| ());
            }
            let reasons = self.waker.wait(self.files.look_interval());
            self.is_scan_wanted |= reasons.names;
            self.files.look()?;
            self.last_look = Instant::now();
        }
    }

    /// What must not wait for the stream: looks at open files and scans the globs when it is time.
    fn tend(&mut self) -> Result<Flow, SourceError> {
        if self.files.context.stop.is_cancelled() {
            return Ok(STOP);
        }
        if self.last_look.elapsed() >= TEND_INTERVAL {
            self.is_scan_wanted |= self.waker.wait(Duration::ZERO).names;
            self.files.look()?;
            self.last_look = Instant::now();
        }
        self.files.give_up_missing()?;
        let is_due = self.is_scan_wanted || self.files.is_scan_due();
        // A drain reads what it found; only the copy of a truncated file is looked for again.
        if is_due && (!self.files.context.drain || self.files.is_scan_wanted) {
            std::thread::sleep(SCAN_PAUSE.saturating_sub(self.files.since_scan()));
            self.is_scan_wanted = false;
            self.files.scan()?;
        }
        Ok(GO_ON)
    }

    /// Hands the queued events to the stream, and tends the files while it does not take them.
    fn flush(&mut self) -> Result<Flow, SourceError> {
        while let Some(event) = self.files.events.pop_front() {
            let event = match self.files.context.events.try_send(event) {
                Ok(()) => continue,
                Err(TrySendError::Closed(_)) => return Ok(STOP),
                Err(TrySendError::Full(event)) => event,
            };
            self.files.events.push_front(event);
            let sender = self.files.context.events.clone();
            let room = async { tokio::time::timeout(TEND_INTERVAL, sender.reserve()).await };
            match self.runtime.block_on(room) {
                Ok(Ok(room)) => {
                    if let Some(event) = self.files.events.pop_front() {
                        room.send(event);
                    }
                }
                Ok(Err(_)) => return Ok(STOP),
                Err(_) => {
                    if self.tend()?.is_break() {
                        return Ok(STOP);
                    }
                }
            }
        }
        Ok(GO_ON)
    }

    /// The next file with news, each in its turn.
    fn next_due(&mut self) -> Option<PartitionId> {
        let (now, drain) = (Instant::now(), self.files.context.drain);
        if self.due.is_empty() {
            self.due = self.files.open.iter().filter(|(_, open)| open.is_due(now, drain)).map(|(&id, _)| id).collect();
        }
        self.due.pop_front()
    }

    /// Reads one chunk of a file and queues it.
    fn read_one(&mut self, id: PartitionId) -> Result<(), SourceError> {
        let Some((permit, wanted)) = self.memory_for(id)? else { return Ok(()) };
        let (context, now) = (&self.files.context, Instant::now());
        let Some(open) = self.files.open.get_mut(&id) else { return Ok(()) };
        if context.drain && open.tail.position >= open.target {
            open.is_done = true;
            return Ok(());
        }
        let is_final = context.drain || open.is_left(now);
        let read = match open.tail.read(self.chunk, &self.cutting, is_final) {
            Ok(read) => read,
            Err(error) => {
                open.postpone(&error);
                return Ok(());
            }
        };
        if context.drain && (open.tail.behind() == 0 || matches!(read, Read::Nothing)) {
            open.is_done = true;
        }
        let partition: Arc<dyn SourcePartition> = open.tail.file.clone();
        let Some(event) = self.event(partition, read, permit, wanted)? else { return Ok(()) };
        failpoint::pass("read");
        self.files.events.push_back(event);
        Ok(())
    }

    /// Memory for the next read of a file: its bytes, at most half as much again for the ends of the records, and that for
    /// each buffer they go to. Files are tended while there is none; `None` when the file is gone or the source stops.
    fn memory_for(&mut self, id: PartitionId) -> Result<Option<(Arc<Permit>, u64)>, SourceError> {
        loop {
            let context = &self.files.context;
            let Some(open) = self.files.open.get(&id) else { return Ok(None) };
            let size = open.tail.next_size(self.chunk, &self.cutting);
            let wanted = (size + size / 2 + CHUNK_OVERHEAD) * context.copies;
            if let Some(permit) = context.budget.acquire(wanted, &context.stop, TEND_INTERVAL) {
                return Ok(Some((permit, wanted)));
            }
            if self.tend()?.is_break() {
                return Ok(None);
            }
        }
    }

    /// What was read, counted, as an event for the stream.
    fn event(
        &mut self,
        partition: Arc<dyn SourcePartition>,
        read: Read,
        permit: Arc<Permit>,
        wanted: u64,
    ) -> Result<Option<SourceEvent>, SourceError> {
        let counters = self.files.context.counters.clone();
        let arrival = jiff::Timestamp::now();
        let event = match read {
            Read::Searching | Read::Nothing => return Ok(None),
            Read::Records { start, data, ends, last_is_bare } => {
                let kept = (data.capacity() + 4 * ends.capacity()) as u64 + CHUNK_OVERHEAD;
                drop(permit.split(wanted.saturating_sub(kept * self.files.context.copies)));
                let bytes = data.len() as u64;
                counters.records.fetch_add(ends.len() as u64, Ordering::Relaxed);
                counters.bytes.fetch_add(bytes, Ordering::Relaxed);
                counters.behind.store(counters.behind.load(Ordering::Relaxed).saturating_sub(bytes), Ordering::Relaxed);
                SourceEvent::Chunk(Chunk {
                    partition,
                    start: Position(start),
                    data: guarded(data, permit.clone()),
                    ends: Arc::new(ends),
                    delimiter_len: self.delimiter_len,
                    last_is_bare,
                    arrival,
                    permit,
                })
            }
            Read::Oversize { start, end, head, length } => {
                let cut = length - head.len() as u64;
                counters.records.fetch_add(1, Ordering::Relaxed);
                counters.bytes.fetch_add(end - start, Ordering::Relaxed);
                counters.cut_bytes.fetch_add(cut, Ordering::Relaxed);
                warn!(path = partition.name(), position = start, length, cut_bytes = cut, "a record is over the limit");
                let range = PositionRange::new(start, end);
                let head = Bytes::from(head);
                SourceEvent::Oversize(OversizeRecord { partition, range, head, length, arrival, permit })
            }
        };
        Ok(Some(event))
    }
}
