//! The file source: tails every file that its globs match, through rotation, for as long as somebody needs it.
//!
//! Always true: records of one file leave in order, and rotation is followed whatever reading has to wait for: while the
//! stream takes nothing and while memory is short, files are still found, opened and looked at. One thread per delivery
//! stream: it waits for file system events, or for the poll interval, and gives each file with news one chunk in turn.

mod alike;
mod content;
mod copies;
mod copy;
mod counting;
mod crowd;
mod cutting;
mod discover;
mod event;
mod examine;
mod files;
mod go_on;
mod identity;
mod let_go;
mod names;
mod open_file;
mod origin;
mod prefix;
mod probe;
mod read_once;
mod read_so_far;
mod recognise;
mod scan;
mod share;
mod tail;
mod tailed;
mod text;
mod truncate;
mod twins;
mod watch;

pub use content::{Content, CountedFile, Packing};
pub use counting::for_each_record;
pub use discover::Discovery;
pub use identity::{Evidence, FileKey};
pub use names::{aside_of, original_of};
pub use probe::probe;
pub use read_once::{Piece, for_each_chunk};
pub use text::text_end_by;
use watch::Waker;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::mpsc::error::TrySendError;

use crate::config::model::{FileSourceConfig, OnOversize};
use crate::failpoint;
use crate::memory::Permit;
use crate::record::PartitionId;

use super::{Source, SourceContext, SourceError, SourceEvent};
use cutting::Cutting;
use files::Files;
use open_file::OpenFile;
use tail::{FileEnd, Read};
use twins::Twins;
use watch::Watches;

/// Largest chunk, and the smallest that a small `memory_limit_mb` leads to.
const CHUNK_MAX: u64 = 1 << 20;
const CHUNK_MIN: u64 = 64 << 10;
/// Events of one file come in bursts: after a scan of the globs, at least so long until the next one.
const SCAN_PAUSE: Duration = Duration::from_millis(50);
/// While there is something to do or to wait for, files are looked at so often.
const TEND_INTERVAL: Duration = Duration::from_millis(100);
/// Nobody waits for a last record for less.
const QUIET_STEP: Duration = Duration::from_millis(10);

/// One delivery stream's files.
pub struct FileSource {
    files: Files,
    on_oversize: OnOversize,
    waker: Waker,
    chunk: u64,
    /// Files with news that have not had their turn in this round.
    due: VecDeque<PartitionId>,
    oldest_first: bool,
    /// With `oldest_first` the file whose turn it is, and where its present end was when that began.
    turn: Option<(PartitionId, u64)>,
    /// Files may wait for more lines of their last record.
    is_multiline: bool,
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
        let cutting = Arc::new(Cutting::new(&config));
        Ok(Self {
            files: Files::new(
                context,
                discovery,
                watches,
                config.initial_position,
                cutting,
                config.forget_after,
                Twins::new(waker.clone()),
            ),
            on_oversize: config.on_oversize,
            waker,
            chunk,
            due: VecDeque::new(),
            oldest_first: config.oldest_first,
            turn: None,
            is_multiline: config.multiline.is_some(),
            last_look: Instant::now(),
            is_scan_wanted: false,
            runtime: Handle::current(),
        })
    }

    fn read_all(mut self) -> Result<(), SourceError> {
        self.files.begin()?;
        loop {
            if self.tend()?.is_break() || self.flush()?.is_break() {
                return Ok(());
            }
            if let Some(id) = self.next_due() {
                self.read_one(id)?;
                continue;
            }
            let waits_for_copies =
                !self.files.orphans.is_empty() || self.files.has_twins_to_examine() || self.files.waits_for_walk();
            if self.files.context.drain && !waits_for_copies && self.files.open.values().all(|open| open.is_done) {
                if !self.files.is_crowded {
                    self.files.events.push_back(SourceEvent::End);
                    return self.flush().map(|_| ());
                }
                self.files.events.push_back(SourceEvent::WaitsForRoom);
                if self.flush()?.is_break() {
                    return Ok(());
                }
            }
            let reasons = self.waker.wait(self.files.look_interval().min(self.until_quiet()));
            self.is_scan_wanted |= reasons.names || (reasons.written && self.files.has_resting());
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
            let reasons = self.waker.wait(Duration::ZERO);
            self.is_scan_wanted |= reasons.names || (reasons.written && self.files.has_resting());
            self.files.look()?;
            self.last_look = Instant::now();
        }
        self.files.give_up_missing()?;
        let is_due = self.is_scan_wanted || self.files.is_scan_due();
        // A drain reads what it found; only the copy of a truncated file is looked for again, and what there was no room for.
        let may_scan = !self.files.context.drain
            || self.files.is_scan_wanted
            || self.files.waits_for_walk()
            || self.files.is_crowded;
        if is_due && may_scan {
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

    /// How long until some file's last record is complete because no more lines have come.
    fn until_quiet(&self) -> Duration {
        if !self.is_multiline {
            return Duration::MAX;
        }
        let quiet = self.files.open.values().filter_map(|open| open.tail.quiet_at()).min();
        // One that is over is that of a file that cannot be read at this moment.
        quiet.map_or(Duration::MAX, |moment| moment.saturating_duration_since(Instant::now()).max(QUIET_STEP))
    }

    /// The next file with news: each in its turn, or the oldest one.
    fn next_due(&mut self) -> Option<PartitionId> {
        let (now, drain) = (Instant::now(), self.files.context.drain);
        if self.oldest_first {
            return self.next_oldest(now);
        }
        if self.due.is_empty() {
            self.due = self.files.open.iter().filter(|(_, open)| open.is_due(now, drain)).map(|(&id, _)| id).collect();
        }
        self.due.pop_front()
    }

    /// The file whose turn it is, until it has been read to where its end was then; after it the one written to longest ago.
    fn next_oldest(&mut self, now: Instant) -> Option<PartitionId> {
        let drain = self.files.context.drain;
        let goes_on = |&(id, target): &(PartitionId, u64)| {
            self.files.open.get(&id).is_some_and(|open| open.tail.position < target && open.is_due(now, drain))
        };
        self.turn = self.turn.filter(goes_on).or_else(|| {
            let due = self.files.open.iter().filter(|(_, open)| open.is_due(now, drain));
            let (&id, open) = due.min_by_key(|(_, open)| open.tail.modified)?;
            Some((id, open.tail.size))
        });
        self.turn.map(|(id, _)| id)
    }

    /// Reads one chunk of a file and queues it.
    fn read_one(&mut self, id: PartitionId) -> Result<(), SourceError> {
        let Some((permit, size)) = self.memory_for(id)? else { return Ok(()) };
        let (context, now) = (&self.files.context, Instant::now());
        let Some(open) = self.files.open.get_mut(&id) else { return Ok(()) };
        if context.drain && open.tail.position >= open.target {
            open.is_done = true;
            return Ok(());
        }
        failpoint::gap("reading");
        let end = file_end(open, now, context.drain);
        if open.tail.next_size(self.chunk) > size {
            return Ok(()); // More is there now than memory was asked for: its next turn asks again.
        }
        let read = match end.and_then(|end| open.tail.read(self.chunk, end)) {
            Ok(read) => read,
            Err(error) => {
                open.postpone(&error);
                return Ok(());
            }
        };
        if context.drain && (open.tail.behind() == 0 || matches!(read, Read::Nothing)) {
            open.is_done = true;
        }
        let (partition, cutting, told) =
            (open.tail.file.clone(), open.tail.cutting().clone(), open.tail.batch_of(&read));
        let Some(event) = self.event(partition, &cutting, (read, told), permit) else { return Ok(()) };
        failpoint::pass("read");
        self.files.events.push_back(event);
        Ok(())
    }

    /// Memory for the next read of a file: its bytes, at most half as much again for the ends of the records, and that for
    /// each buffer they go to; with the number of these bytes. Files are tended while there is none; `None` when the file is
    /// gone or the source stops.
    fn memory_for(&mut self, id: PartitionId) -> Result<Option<(Arc<Permit>, u64)>, SourceError> {
        loop {
            let context = &self.files.context;
            let Some(open) = self.files.open.get(&id) else { return Ok(None) };
            let size = open.tail.next_size(self.chunk);
            let wanted = (size + size / 2 + event::CHUNK_OVERHEAD) * context.copies;
            if let Some(permit) = context.budget.acquire(wanted, &context.stop, TEND_INTERVAL) {
                return Ok(Some((permit, size)));
            }
            if self.tend()?.is_break() {
                return Ok(None);
            }
        }
    }
}

impl Source for FileSource {
    fn run(self: Box<Self>) -> Result<(), SourceError> {
        self.read_all()
    }

    fn waker(&self) -> Box<dyn FnOnce() + Send> {
        let waker = self.waker.clone();
        Box::new(move || waker.call())
    }
}

/// What the file's present end means for its last record.
fn file_end(open: &mut OpenFile, now: Instant, drain: bool) -> std::io::Result<FileEnd> {
    if drain || open.is_left(now) {
        return Ok(FileEnd::Final);
    }
    if open.tail.quiet_at().is_none_or(|moment| now < moment) {
        return Ok(FileEnd::Open);
    }
    // Another line may have come since the last look. A truncated file is left to the next one.
    let is_whole = open.tail.look()?;
    let is_quiet = is_whole && open.tail.quiet_at().is_some_and(|moment| now >= moment);
    Ok(if is_quiet { FileEnd::Quiet } else { FileEnd::Open })
}
