//! The file source: tails every file that its globs match, through rotation, for as long as somebody needs it.
//!
//! Always true: a file is journalled before its first byte is read, all files of the first scan in one transaction; records
//! of one file leave in order; a file stays open until its positions are settled. One thread per delivery stream: it
//! waits for file system events, or for the poll interval, and gives each file with news one chunk in turn.

mod discover;
mod identity;
mod tail;
mod watch;

pub use watch::Waker;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tracing::{debug, error, info, warn};
use walkdir::{DirEntryExt, WalkDir};

use crate::config::model::{FileSourceConfig, InitialPosition};
use crate::failpoint;
use crate::journal::{Journal, JournalError, NewPartition, PartitionRow};
use crate::memory::guarded;
use crate::record::{Chunk, OversizeRecord, PartitionId, Position, SourcePartition};

use super::{SourceContext, SourceError, SourceEvent};
use discover::Discovery;
use identity::{Evidence, FileKey};
use tail::{Cutting, Read, Tail, TailedFile};
use watch::Watches;

/// Largest chunk, and the smallest that a small `memory_limit_mb` leads to.
const CHUNK_MAX: u64 = 1 << 20;
const CHUNK_MIN: u64 = 64 << 10;
/// What a chunk costs beside its bytes.
const CHUNK_OVERHEAD: u64 = 1024;
/// Events of one file come in bursts: after a walk of the globs, at least so long until the next one.
const SCAN_PAUSE: Duration = Duration::from_millis(50);
/// How long a file that left the globs is kept open after its last growth, once all of it is settled.
const LINGER: Duration = Duration::from_secs(300);
const LINGER_DELETED: Duration = Duration::from_secs(30);
/// How long a file may be missing at the start before what it still owes is given up.
const MISSING_GRACE: Duration = Duration::from_secs(60);
/// After an error of the file system, until the file is tried again.
const ERROR_PAUSE: Duration = Duration::from_secs(1);
/// Names looked at when a renamed file is searched for.
const SEARCH_ENTRIES: usize = 100_000;

/// One delivery stream's files.
pub struct FileSource {
    config: FileSourceConfig,
    context: SourceContext,
    discovery: Discovery,
    cutting: Cutting,
    waker: Waker,
    watches: Watches,
    chunk: u64,
    /// Read whatever `initial_position` says from the beginning: the journal was lost.
    from_beginning: bool,
    active: BTreeMap<PartitionId, Active>,
    by_key: HashMap<FileKey, PartitionId>,
    /// Journalled partitions whose file is not open.
    dormant: Vec<PartitionRow>,
    /// Dormant partitions that the journal still needs positions of, until they are found or given up.
    missing: HashSet<PartitionId>,
    started: Instant,
    last_scan: Instant,
    /// Paths that were complained about.
    refused: HashSet<PathBuf>,
}

/// A file that is open.
struct Active {
    tail: Tail,
    /// Whether the globs matched it at the last walk.
    is_matched: bool,
    last_growth: Instant,
    /// Not before this moment, after an error.
    not_before: Option<Instant>,
    /// With `--drain`: where the present end was, and whether it has been reached.
    target: u64,
    is_done: bool,
}

/// Whether a step of the source could be made or the stream has ended.
type Flow = std::ops::ControlFlow<()>;
const GO_ON: Flow = Flow::Continue(());
const STOP: Flow = Flow::Break(());

impl FileSource {
    /// A source for valid configuration; nothing is opened yet.
    pub fn new(config: FileSourceConfig, context: SourceContext) -> Result<Self, globset::Error> {
        let waker = Waker::default();
        // A chunk and what comes of it must fit the guaranteed share several times.
        let chunk = (context.budget.share() / 16 / context.copies).clamp(CHUNK_MIN, CHUNK_MAX);
        let now = Instant::now();
        Ok(Self {
            discovery: Discovery::new(&config)?,
            cutting: Cutting::new(&config.record_delimiter, config.max_record_bytes),
            watches: Watches::new(&waker),
            waker,
            chunk,
            from_beginning: false,
            active: BTreeMap::new(),
            by_key: HashMap::new(),
            dormant: Vec::new(),
            missing: HashSet::new(),
            started: now,
            last_scan: now,
            refused: HashSet::new(),
            config,
            context,
        })
    }

    /// With this the source can be woken to see that it shall stop.
    pub fn waker(&self) -> Waker {
        self.waker.clone()
    }

    /// Reads until it is told to stop, or with `drain` until the present end. Blocks its thread.
    pub fn run(mut self) -> Result<(), SourceError> {
        self.from_beginning = self.journal(|journal, _| journal.is_from_beginning())?;
        self.dormant = self.journal(|journal, stream| journal.partitions(stream))?;
        self.missing = self.dormant.iter().map(|row| row.id).filter(|id| self.context.cuts.contains_key(id)).collect();
        if self.scan()?.is_break() || self.find_renamed()?.is_break() {
            return Ok(());
        }
        for active in self.active.values_mut() {
            active.target = active.tail.size;
        }
        loop {
            if self.give_up_missing().is_break() || self.look()?.is_break() {
                return Ok(());
            }
            while self.active.values().any(|active| active.is_due(self.context.drain)) {
                if self.read_round()?.is_break() {
                    return Ok(());
                }
            }
            if self.context.drain && self.active.values().all(|active| active.is_done) {
                return Ok(());
            }
            let reasons = self.waker.wait(self.watches.look_interval());
            if self.context.stop.is_cancelled() {
                return Ok(());
            }
            let since_scan = self.last_scan.elapsed();
            let is_due = reasons.names || since_scan >= self.watches.scan_interval();
            if self.context.drain || !is_due {
                continue;
            }
            std::thread::sleep(SCAN_PAUSE.saturating_sub(since_scan));
            if self.scan()?.is_break() {
                return Ok(());
            }
        }
    }

    /// Walks the globs: files that are new are journalled together and opened.
    fn scan(&mut self) -> Result<Flow, SourceError> {
        self.watches.set(self.discovery.watched());
        self.last_scan = Instant::now();
        let (paths, errors) = self.discovery.scan();
        for (path, error) in errors {
            if self.refused.insert(path.clone()) {
                warn!(path = %path.display(), %error, "the folder cannot be read; it is tried again");
            }
        }
        self.active.values_mut().for_each(|active| active.is_matched = false);
        let mut new = Vec::new();
        for path in paths {
            if let Some(found) = self.recognise(&path) {
                match found {
                    Found::Known(id) => self.seen_again(id, &path)?,
                    Found::Dormant(row, file) => {
                        if self.activate(row.id, file, path, row.checkpoint)?.is_break() {
                            return Ok(STOP);
                        }
                    }
                    Found::New(file, key) => {
                        if !new.iter().any(|(_, _, other, _, _)| *other == key) {
                            match self.first_checkpoint(&file).and_then(|at| Ok((at, Evidence::take(&file, at)?))) {
                                Ok((at, evidence)) => new.push((file, path, key, at, evidence)),
                                Err(error) => self.refuse(&path, &error),
                            }
                        }
                    }
                }
            }
        }
        let rows: Vec<_> = new
            .iter()
            .map(|(_, path, key, checkpoint, evidence)| NewPartition {
                place: path.display().to_string(),
                device: key.device,
                inode: key.inode,
                checkpoint: Position(*checkpoint),
                evidence: evidence.to_json(),
            })
            .collect();
        if !rows.is_empty() || !self.context.scanned {
            let ids = self.journal(|journal, stream| journal.register(stream, &rows))?;
            self.context.scanned = true;
            for (id, (file, path, _, checkpoint, _)) in ids.into_iter().zip(new) {
                info!(path = %path.display(), position = checkpoint, "a file is read that was not seen before");
                if self.activate(id, file, path, Position(checkpoint))?.is_break() {
                    return Ok(STOP);
                }
            }
        }
        Ok(GO_ON)
    }

    /// What a path is: a file that is open, one whose checkpoint is in the journal, or a new one.
    fn recognise(&mut self, path: &Path) -> Option<Found> {
        let known = |this: &Self, key| this.by_key.get(&key).map(|&id| Found::Known(id));
        let metadata = std::fs::metadata(path).ok()?;
        if let Some(found) = known(self, FileKey { device: metadata.dev(), inode: metadata.ino() }) {
            return Some(found);
        }
        let opened = File::open(path).and_then(|file| Ok((file.metadata()?, file)));
        let (metadata, file) = match opened {
            Ok(opened) => opened,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => {
                self.refuse(path, &error);
                return None;
            }
        };
        if self.refused.remove(path) {
            info!(path = %path.display(), "the file can be read now");
        }
        let key = FileKey { device: metadata.dev(), inode: metadata.ino() };
        if let Some(found) = known(self, key) {
            return Some(found);
        }
        match self.take_dormant(key, &file) {
            Some(row) => Some(Found::Dormant(row, file)),
            None => Some(Found::New(file, key)),
        }
    }

    /// The journalled partition that `file` is, the one seen last first.
    fn take_dormant(&mut self, key: FileKey, file: &File) -> Option<PartitionRow> {
        let is_it = |row: &PartitionRow| {
            row.device == key.device
                && row.inode == key.inode
                && match Evidence::from_json(&row.evidence) {
                    Some(evidence) => evidence.matches(file, row.checkpoint.0).unwrap_or(false),
                    None => file.metadata().is_ok_and(|metadata| metadata.len() >= row.checkpoint.0),
                }
        };
        let index = self.dormant.iter().rposition(is_it)?;
        Some(self.dormant.remove(index))
    }

    /// Files of the journal that the globs do not match any more are searched for by their inode numbers.
    fn find_renamed(&mut self) -> Result<Flow, SourceError> {
        if self.dormant.is_empty() {
            return Ok(GO_ON);
        }
        let mut folders = self.discovery.search_folders();
        folders.extend(self.dormant.iter().filter_map(|row| Path::new(&row.place).parent().map(Path::to_owned)));
        folders.sort_unstable();
        folders.dedup();
        let wanted: HashSet<u64> = self.dormant.iter().map(|row| row.inode).collect();
        for folder in folders {
            let entries = WalkDir::new(folder).max_depth(4).into_iter().filter_map(Result::ok).take(SEARCH_ENTRIES);
            for entry in entries.filter(|entry| entry.file_type().is_file() && wanted.contains(&entry.ino())) {
                if let Some(Found::Dormant(row, file)) = self.recognise(entry.path()) {
                    info!(path = %entry.path().display(), was = row.place, "a file was renamed; reading goes on in it");
                    if self.activate(row.id, file, entry.into_path(), row.checkpoint)?.is_break() {
                        return Ok(STOP);
                    }
                    if let Some(active) = self.active.get_mut(&row.id) {
                        active.is_matched = false;
                    }
                }
            }
        }
        Ok(GO_ON)
    }

    /// What the journal needs of files that did not come back is given up: at once with `--drain`, else after a while.
    fn give_up_missing(&mut self) -> Flow {
        if self.missing.is_empty() || (!self.context.drain && self.started.elapsed() < MISSING_GRACE) {
            return GO_ON;
        }
        let missing = std::mem::take(&mut self.missing);
        for row in self.dormant.iter().filter(|row| missing.contains(&row.id)) {
            let event = SourceEvent::Unreadable { partition: row.id, name: row.place.clone(), from: row.checkpoint };
            if self.send(event).is_break() {
                return STOP;
            }
        }
        GO_ON
    }

    fn activate(&mut self, id: PartitionId, file: File, path: PathBuf, at: Position) -> Result<Flow, SourceError> {
        let metadata = match file.metadata() {
            Ok(metadata) => metadata,
            Err(error) => {
                self.refuse(&path, &error);
                return Ok(GO_ON);
            }
        };
        let key = FileKey { device: metadata.dev(), inode: metadata.ino() };
        let file = TailedFile { id, key, file, path: Mutex::new(path), checkpoint: AtomicU64::new(at.0) };
        let file = Arc::new(file);
        self.missing.remove(&id);
        let mut cuts = self.context.cuts.remove(&id).unwrap_or_default();
        let partition: Arc<dyn SourcePartition> = file.clone();
        if self.send(SourceEvent::Opened { partition: partition.clone(), checkpoint: at }).is_break() {
            return Ok(STOP);
        }
        let size = metadata.len();
        if cuts.iter().any(|cut| cut.0 > size) {
            // It was cut shorter while nobody looked: what the journal holds of the rest is gone.
            cuts.retain(|cut| cut.0 <= size);
            let from = Position(size.max(at.0));
            let event = SourceEvent::Unreadable { partition: id, name: partition.name(), from };
            if self.send(event).is_break() {
                return Ok(STOP);
            }
        }
        let mut tail = Tail::new(file, at.0, cuts.into_iter().map(|cut| cut.0).collect());
        tail.size = size;
        let active = Active {
            tail,
            is_matched: true,
            last_growth: Instant::now(),
            not_before: None,
            target: u64::MAX,
            is_done: false,
        };
        self.active.insert(id, active);
        self.by_key.insert(key, id);
        Ok(GO_ON)
    }

    fn seen_again(&mut self, id: PartitionId, path: &Path) -> Result<(), SourceError> {
        let Some(active) = self.active.get_mut(&id) else { return Ok(()) };
        let was_matched = std::mem::replace(&mut active.is_matched, true);
        let stored = active.tail.file.path.lock().unwrap_or_else(PoisonError::into_inner).clone();
        // Two names of one file take turns here: the first one that the walk meets stays.
        if !was_matched && stored != path {
            let file = active.tail.file.clone();
            *file.path.lock().unwrap_or_else(PoisonError::into_inner) = path.to_owned();
            debug!(from = %stored.display(), to = %path.display(), "a file was renamed");
            let place = path.display().to_string();
            self.journal(|journal, _| journal.moved(id, &place))?;
        }
        Ok(())
    }

    /// Looks at all open files: have they grown, were they truncated, are they still needed?
    fn look(&mut self) -> Result<Flow, SourceError> {
        let now = Instant::now();
        let mut truncated = Vec::new();
        let mut finished = Vec::new();
        let mut behind = 0;
        for (&id, active) in &mut self.active {
            let before = active.tail.size;
            match active.tail.look() {
                Ok(true) => {
                    if active.tail.size > before {
                        active.last_growth = now;
                    }
                    behind += active.tail.behind();
                    if active.is_finished(now) {
                        finished.push(id);
                    }
                }
                Ok(false) => truncated.push(id),
                Err(error) => active.postpone(&error),
            }
        }
        self.context.counters.behind.store(behind, Ordering::Relaxed);
        for id in truncated {
            if self.begin_truncated(id)?.is_break() {
                return Ok(STOP);
            }
        }
        for id in finished {
            if self.close(id).is_break() {
                return Ok(STOP);
            }
        }
        Ok(GO_ON)
    }

    /// A file that became shorter is a new partition from its beginning; what was not read of the old one is lost.
    fn begin_truncated(&mut self, id: PartitionId) -> Result<Flow, SourceError> {
        let Some(old) = self.active.remove(&id) else { return Ok(GO_ON) };
        let file = old.tail.file.clone();
        let path = file.path.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let lost = old.tail.behind();
        self.by_key.remove(&file.key);
        self.context.counters.lost_bytes.fetch_add(lost, Ordering::Relaxed);
        if lost > 0 {
            error!(path = %path.display(), lost_bytes = lost, "a file was truncated before all of it could be read");
        } else {
            info!(path = %path.display(), "a file was truncated; it is read from its beginning");
        }
        if self.send(SourceEvent::Gone(id)).is_break() {
            return Ok(STOP);
        }
        let again = match file.file.try_clone() {
            Ok(again) => again,
            Err(error) => {
                self.refuse(&path, &error);
                return Ok(GO_ON);
            }
        };
        let evidence = Evidence::take(&again, 0).map_or(String::new(), |evidence| evidence.to_json());
        let row = NewPartition {
            place: path.display().to_string(),
            device: file.key.device,
            inode: file.key.inode,
            checkpoint: Position(0),
            evidence,
        };
        let ids = self.journal(|journal, stream| journal.register(stream, std::slice::from_ref(&row)))?;
        match ids.first() {
            Some(&id) => self.activate(id, again, path, Position(0)),
            None => Ok(GO_ON),
        }
    }

    /// Lets go of a file that nobody writes to or needs any more.
    fn close(&mut self, id: PartitionId) -> Flow {
        let Some(active) = self.active.remove(&id) else { return GO_ON };
        let file = &active.tail.file;
        self.by_key.remove(&file.key);
        let name = file.name();
        if active.tail.is_deleted() {
            debug!(path = name, "a deleted file was read to its end");
            return self.send(SourceEvent::Gone(id));
        }
        debug!(path = name, "a file that left the globs was read to its end");
        let position = Position(active.tail.position);
        self.dormant.push(PartitionRow {
            id,
            uuid: String::new(),
            place: name,
            device: file.key.device,
            inode: file.key.inode,
            checkpoint: position,
            evidence: file.evidence(position).unwrap_or_default(),
        });
        GO_ON
    }

    /// Gives each file that has something one chunk.
    fn read_round(&mut self) -> Result<Flow, SourceError> {
        let due: Vec<PartitionId> =
            self.active.iter().filter(|(_, active)| active.is_due(self.context.drain)).map(|(&id, _)| id).collect();
        for id in due {
            if self.context.stop.is_cancelled() || self.read_one(id).is_break() {
                return Ok(STOP);
            }
        }
        Ok(GO_ON)
    }

    fn read_one(&mut self, id: PartitionId) -> Flow {
        let context = &self.context;
        let Some(active) = self.active.get_mut(&id) else { return GO_ON };
        if context.drain && active.tail.position >= active.target {
            active.is_done = true;
            return GO_ON;
        }
        // Bytes, at most half as much again for the ends of the records, and that for each buffer they go to.
        let size = active.tail.next_size(self.chunk, &self.cutting);
        let wanted = (size + size / 2 + CHUNK_OVERHEAD) * context.copies;
        let Some(permit) = context.budget.acquire(wanted, &context.stop) else { return STOP };
        let read = match active.tail.read(self.chunk, &self.cutting, context.drain) {
            Ok(read) => read,
            Err(error) => {
                active.postpone(&error);
                return GO_ON;
            }
        };
        let arrival = jiff::Timestamp::now();
        let partition: Arc<dyn SourcePartition> = active.tail.file.clone();
        let event = match read {
            Read::Records { start, data, ends, last_is_bare } => {
                let kept = (data.capacity() + 4 * ends.capacity()) as u64 + CHUNK_OVERHEAD;
                drop(permit.split(wanted.saturating_sub(kept * context.copies)));
                context.counters.records.fetch_add(ends.len() as u64, Ordering::Relaxed);
                context.counters.bytes.fetch_add(data.len() as u64, Ordering::Relaxed);
                context
                    .counters
                    .behind
                    .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |behind| {
                        Some(behind.saturating_sub(data.len() as u64))
                    })
                    .ok();
                SourceEvent::Chunk(Chunk {
                    partition,
                    start: Position(start),
                    data: guarded(data, permit.clone()),
                    ends: Arc::new(ends),
                    delimiter_len: self.config.record_delimiter.len() as u32,
                    last_is_bare,
                    arrival,
                    permit,
                })
            }
            Read::Oversize { start, end, head, length } => {
                // The envelope is a third longer than what it holds.
                let more = (head.len() as u64 * 2).saturating_sub(permit.bytes());
                if more > 0 {
                    let Some(more) = context.budget.acquire(more, &context.stop) else { return STOP };
                    permit.absorb(more.split(u64::MAX));
                }
                let cut = length - head.len() as u64;
                context.counters.records.fetch_add(1, Ordering::Relaxed);
                context.counters.bytes.fetch_add(end - start, Ordering::Relaxed);
                context.counters.cut_bytes.fetch_add(cut, Ordering::Relaxed);
                warn!(path = partition.name(), position = start, length, cut_bytes = cut, "a record is over the limit");
                let range = crate::record::PositionRange::new(start, end);
                SourceEvent::Oversize(OversizeRecord {
                    partition,
                    range,
                    head: Bytes::from(head),
                    length,
                    arrival,
                    permit,
                })
            }
            Read::Searching => return GO_ON,
            Read::Nothing => {
                active.is_done = context.drain;
                return GO_ON;
            }
        };
        if context.drain && active.tail.behind() == 0 {
            active.is_done = true;
        }
        failpoint::pass("read");
        self.send(event)
    }

    /// Where a file that is seen for the first time is read from.
    fn first_checkpoint(&self, file: &File) -> io::Result<u64> {
        let is_later = self.context.scanned || self.from_beginning;
        if is_later || self.config.initial_position == InitialPosition::TrimHorizon {
            return Ok(0);
        }
        last_record_end(file, self.cutting.delimiter.needle())
    }

    fn send(&self, event: SourceEvent) -> Flow {
        // The stream has ended when nobody receives any more.
        if self.context.events.blocking_send(event).is_ok() { GO_ON } else { STOP }
    }

    fn refuse(&mut self, path: &Path, error: &io::Error) {
        if self.refused.insert(path.to_owned()) {
            warn!(path = %path.display(), %error, "the file cannot be read; it is tried again");
        }
    }

    /// A call of the journal, repeated while its disk is full.
    fn journal<T>(&self, call: impl Fn(&Journal, i64) -> Result<T, JournalError>) -> Result<T, SourceError> {
        loop {
            match call(&self.context.journal, self.context.stream) {
                Err(JournalError::Disk(error)) if !self.context.stop.is_cancelled() => {
                    error!(%error, "the state database cannot be written; waiting");
                    std::thread::sleep(ERROR_PAUSE);
                }
                result => return Ok(result?),
            }
        }
    }
}

enum Found {
    Known(PartitionId),
    Dormant(PartitionRow, File),
    New(File, FileKey),
}

impl Active {
    /// Whether a read would bring something.
    fn is_due(&self, drain: bool) -> bool {
        if self.not_before.is_some_and(|moment| Instant::now() < moment) {
            return false;
        }
        if drain { !self.is_done } else { self.tail.has_news() }
    }

    /// Whether nobody will need the file any more.
    fn is_finished(&self, now: Instant) -> bool {
        let linger = match (self.is_matched, self.tail.is_deleted()) {
            (_, true) => LINGER_DELETED,
            (false, false) => LINGER,
            (true, false) => return false,
        };
        let is_settled = self.tail.file.checkpoint.load(Ordering::Relaxed) >= self.tail.position;
        is_settled && self.tail.behind() == 0 && now.duration_since(self.last_growth) >= linger
    }

    fn postpone(&mut self, error: &io::Error) {
        warn!(path = self.tail.file.name(), %error, "a file cannot be read at this moment; it is tried again");
        self.not_before = Some(Instant::now() + ERROR_PAUSE);
    }
}

/// The position behind the last delimiter of a file: 0 where there is none.
fn last_record_end(file: &File, delimiter: &[u8]) -> io::Result<u64> {
    const WINDOW: u64 = 64 << 10;
    let finder = memchr::memmem::FinderRev::new(delimiter);
    let mut end = file.metadata()?.len();
    let mut window = Vec::new();
    while end > 0 {
        let start = end.saturating_sub(WINDOW);
        window.resize((end - start) as usize, 0);
        file.read_exact_at(&mut window, start)?;
        if let Some(at) = finder.rfind(&window) {
            return Ok(start + (at + delimiter.len()) as u64);
        }
        // A delimiter may lie across the border of two windows.
        end = if start == 0 { 0 } else { start + delimiter.len() as u64 - 1 };
        if end >= start + window.len() as u64 {
            break;
        }
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn the_last_record_ends_behind_the_last_delimiter() {
        let mut file = tempfile::tempfile().unwrap();
        assert_eq!(last_record_end(&file, b"\n").unwrap(), 0);
        file.write_all(b"no delimiter").unwrap();
        assert_eq!(last_record_end(&file, b"\n").unwrap(), 0);
        file.write_all(b"\nand a rest").unwrap();
        assert_eq!(last_record_end(&file, b"\n").unwrap(), 13);
        let mut long = vec![b'x'; 200_000];
        long[65_535] = b'\r';
        long[65_536] = b'\n';
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&long).unwrap();
        assert_eq!(last_record_end(&file, b"\r\n").unwrap(), 65_537);
    }
}
