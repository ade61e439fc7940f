//! The files of one source: found, recognised, opened, looked at, and let go.
//!
//! Always true: a file is in the journal before its first byte is read, all files of the first scan in one transaction; an
//! open file has exactly one partition. Nothing here waits for the stream: what it has to know is queued as events.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tracing::{debug, error, info, warn};
use walkdir::{DirEntryExt, WalkDir};

use crate::config::model::InitialPosition;
use crate::failpoint;
use crate::journal::{Journal, JournalError, NewPartition, PartitionRow};
use crate::record::{PartitionId, Position, SourcePartition};
use crate::source::{SourceContext, SourceError, SourceEvent};

use super::cutting::Cutting;
use super::discover::Discovery;
use super::identity::{Evidence, FileKey};
use super::tail::{CountedFile, Tail, TailedFile, has_room_for_another};
use super::watch::Watches;

/// How long a file that left the globs is kept open after its last growth; then its last line counts as complete.
const LINGER: Duration = Duration::from_secs(300);
const LINGER_DELETED: Duration = Duration::from_secs(30);
/// How long a file may be missing at the start before what it still owes is given up.
const MISSING_GRACE: Duration = Duration::from_secs(60);
/// After an error of the file system, until the file is tried again.
const ERROR_PAUSE: Duration = Duration::from_secs(1);
/// Names looked at when a renamed file is searched for.
const SEARCH_ENTRIES: usize = 100_000;
/// So many files each stream may open whatever the others have open.
const OPEN_MIN: usize = 8;

/// All files that one source knows.
pub struct Files {
    pub context: SourceContext,
    pub open: BTreeMap<PartitionId, OpenFile>,
    /// For the stream, in order.
    pub events: VecDeque<SourceEvent>,
    discovery: Discovery,
    watches: Watches,
    initial_position: InitialPosition,
    cutting: Arc<Cutting>,
    /// Read from the beginning whatever `initial_position` says: the journal was lost.
    is_from_beginning: bool,
    by_key: HashMap<FileKey, PartitionId>,
    /// Journalled partitions whose file is not open.
    dormant: Vec<PartitionRow>,
    /// Dormant partitions that the journal still needs positions of, until they are found or given up.
    missing: HashSet<PartitionId>,
    /// What cannot be opened, complained about once.
    refused: HashSet<PathBuf>,
    started: Instant,
    last_scan: Instant,
}

/// A file that is open.
pub struct OpenFile {
    pub tail: Tail,
    /// With `--drain`: where the present end was, and whether it has been reached.
    pub target: u64,
    pub is_done: bool,
    /// Whether the globs matched it at the last scan.
    is_matched: bool,
    last_growth: Instant,
    /// Not before this moment, after an error.
    not_before: Option<Instant>,
}

enum Found {
    Known(PartitionId),
    Dormant(PartitionRow, CountedFile),
    New(NewFile),
}

struct NewFile {
    file: CountedFile,
    path: PathBuf,
    key: FileKey,
    checkpoint: u64,
    evidence: Evidence,
}

impl Files {
    pub fn new(
        context: SourceContext,
        discovery: Discovery,
        watches: Watches,
        initial_position: InitialPosition,
        cutting: Arc<Cutting>,
    ) -> Self {
        let now = Instant::now();
        Self {
            context,
            open: BTreeMap::new(),
            events: VecDeque::new(),
            discovery,
            watches,
            initial_position,
            cutting,
            is_from_beginning: false,
            by_key: HashMap::new(),
            dormant: Vec::new(),
            missing: HashSet::new(),
            refused: HashSet::new(),
            started: now,
            last_scan: now,
        }
    }

    /// Takes up what the journal knows, and finds what is there now.
    pub fn begin(&mut self) -> Result<(), SourceError> {
        self.is_from_beginning = self.journal(|journal, _| journal.is_from_beginning())?;
        self.dormant = self.journal(|journal, stream| journal.partitions(stream))?;
        self.missing = self.dormant.iter().map(|row| row.id).filter(|id| self.context.cuts.contains_key(id)).collect();
        self.scan()?;
        self.find_renamed()?;
        for open in self.open.values_mut() {
            open.target = open.tail.size;
        }
        Ok(())
    }

    /// Scans the globs: files that are new are journalled together and opened.
    pub fn scan(&mut self) -> Result<(), SourceError> {
        self.watches.set(self.discovery.watched());
        self.last_scan = Instant::now();
        let (paths, errors) = self.discovery.scan();
        let mut refused = HashSet::new();
        for (path, error) in errors {
            self.refuse(&path, &error, &mut refused);
        }
        self.open.values_mut().for_each(|open| open.is_matched = false);
        let mut new: Vec<NewFile> = Vec::new();
        for path in paths {
            match self.recognise(&path, new.len()) {
                Ok(Some(Found::Known(id))) => self.seen_again(id, &path)?,
                Ok(Some(Found::Dormant(row, file))) => {
                    self.note_place(&row, &path)?;
                    self.open_partition(row.id, file, path, row.checkpoint);
                }
                Ok(Some(Found::New(file))) if !new.iter().any(|other| other.key == file.key) => new.push(file),
                Ok(Some(Found::New(_)) | None) => {}
                Err(error) => self.refuse(&path, &error, &mut refused),
            }
        }
        for path in self.refused.difference(&refused) {
            info!(path = %path.display(), "what could not be read is readable now, or gone");
        }
        self.context.counters.refused.store(refused.len() as u64, Ordering::Relaxed);
        self.refused = refused;
        if new.is_empty() && self.context.scanned {
            return Ok(());
        }
        let rows: Vec<_> = new.iter().map(NewFile::row).collect();
        let ids = self.journal(|journal, stream| journal.register(stream, &rows))?;
        self.context.scanned = true;
        for (id, file) in ids.into_iter().zip(new) {
            info!(path = %file.path.display(), position = file.checkpoint, "a file is read that was not seen before");
            self.open_partition(id, file.file, file.path, Position(file.checkpoint));
        }
        Ok(())
    }

    /// Whether it is time to scan again.
    pub fn is_scan_due(&self) -> bool {
        self.last_scan.elapsed() >= self.watches.scan_interval()
    }

    pub fn since_scan(&self) -> Duration {
        self.last_scan.elapsed()
    }

    /// How long to wait for events before open files are looked at anyway.
    pub fn look_interval(&self) -> Duration {
        self.watches.look_interval()
    }

    /// Looks at all open files: have they grown, were they truncated, are they still needed?
    pub fn look(&mut self) -> Result<(), SourceError> {
        let now = Instant::now();
        let (mut truncated, mut finished) = (Vec::new(), Vec::new());
        let mut behind = 0;
        for (&id, open) in &mut self.open {
            let before = open.tail.size;
            match open.tail.look() {
                Ok(true) => {
                    if open.tail.size > before {
                        open.last_growth = now;
                    }
                    behind += open.tail.behind();
                    if open.is_finished(now) {
                        finished.push(id);
                    }
                }
                Ok(false) => truncated.push(id),
                Err(error) => open.postpone(&error),
            }
        }
        self.context.counters.behind.store(behind, Ordering::Relaxed);
        for id in truncated {
            self.begin_truncated(id)?;
        }
        finished.into_iter().for_each(|id| self.close(id));
        Ok(())
    }

    /// What the journal needs of files that did not come back is given up: at once with `--drain`, else after a while.
    pub fn give_up_missing(&mut self) {
        if self.missing.is_empty() || (!self.context.drain && self.started.elapsed() < failpoint::wait(MISSING_GRACE)) {
            return;
        }
        let missing = std::mem::take(&mut self.missing);
        for row in self.dormant.iter().filter(|row| missing.contains(&row.id)) {
            let (partition, name, from) = (row.id, row.place.clone(), row.checkpoint);
            self.events.push_back(SourceEvent::Unreadable { partition, name, from, is_cut: false });
        }
    }

    /// What a path is: a file that is open, one whose checkpoint is in the journal, or a new one. `None` where nothing is.
    /// `new` files have been opened before it that have no partition yet.
    fn recognise(&mut self, path: &Path, new: usize) -> io::Result<Option<Found>> {
        let Some(metadata) = if_there(std::fs::metadata(path))? else { return Ok(None) };
        if let Some(&id) = self.by_key.get(&FileKey::of(&metadata)) {
            return Ok(Some(Found::Known(id)));
        }
        if !has_room_for_another() && self.open.len() + new >= OPEN_MIN {
            return Err(io::Error::other("as many files are open as the limit of descriptors allows"));
        }
        let Some(file) = if_there(File::open(path))?.map(CountedFile::new) else { return Ok(None) };
        let key = FileKey::of(&file.metadata()?);
        if let Some(&id) = self.by_key.get(&key) {
            return Ok(Some(Found::Known(id)));
        }
        if let Some(row) = self.take_dormant(key, &file) {
            return Ok(Some(Found::Dormant(row, file)));
        }
        let checkpoint = self.first_checkpoint(&file)?;
        let evidence = Evidence::take(&file, checkpoint)?;
        Ok(Some(Found::New(NewFile { file, path: path.to_owned(), key, checkpoint, evidence })))
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

    /// Where a file that is seen for the first time is read from.
    fn first_checkpoint(&self, file: &File) -> io::Result<u64> {
        let is_later = self.context.scanned || self.is_from_beginning;
        if is_later || self.initial_position == InitialPosition::TrimHorizon {
            return Ok(0);
        }
        self.cutting.last_line_end(file)
    }

    /// Files of the journal that the globs do not match any more are searched for by their inode numbers.
    fn find_renamed(&mut self) -> Result<(), SourceError> {
        if self.dormant.is_empty() {
            return Ok(());
        }
        let mut folders = self.discovery.search_folders();
        folders.extend(self.dormant.iter().filter_map(|row| Path::new(&row.place).parent().map(Path::to_owned)));
        folders.sort_unstable();
        folders.dedup();
        let wanted: HashSet<u64> = self.dormant.iter().map(|row| row.inode).collect();
        for folder in folders {
            let entries = WalkDir::new(folder).max_depth(4).into_iter().filter_map(Result::ok).take(SEARCH_ENTRIES);
            for entry in entries.filter(|entry| entry.file_type().is_file() && wanted.contains(&entry.ino())) {
                let Ok(Some(Found::Dormant(row, file))) = self.recognise(entry.path(), 0) else { continue };
                info!(path = %entry.path().display(), was = row.place, "a file was renamed; reading goes on in it");
                self.note_place(&row, entry.path())?;
                self.open_partition(row.id, file, entry.into_path(), row.checkpoint);
                if let Some(open) = self.open.get_mut(&row.id) {
                    open.is_matched = false;
                }
            }
        }
        Ok(())
    }

    fn open_partition(&mut self, id: PartitionId, file: CountedFile, path: PathBuf, at: Position) {
        let metadata = match file.metadata() {
            Ok(metadata) => metadata,
            Err(error) => {
                // The row is in the journal: the next start finds it again.
                warn!(path = %path.display(), %error, "an open file cannot be looked at");
                return;
            }
        };
        let (key, size) = (FileKey::of(&metadata), metadata.len());
        let file = Arc::new(TailedFile::new(id, key, file, path, at.0));
        self.missing.remove(&id);
        let mut cuts = self.context.cuts.remove(&id).unwrap_or_default();
        let partition: Arc<dyn SourcePartition> = file.clone();
        let name = partition.name();
        self.events.push_back(SourceEvent::Opened { partition, checkpoint: at });
        if cuts.iter().any(|cut| cut.0 > size) {
            // It was cut shorter while nobody looked: what the journal holds of the rest is gone.
            cuts.retain(|cut| cut.0 <= size);
            let from = Position(size.max(at.0));
            self.events.push_back(SourceEvent::Unreadable { partition: id, name, from, is_cut: true });
        }
        let mut tail = Tail::new(file, at.0, cuts.into_iter().map(|cut| cut.0).collect(), self.cutting.clone());
        tail.size = size;
        let last_growth = Instant::now();
        let open = OpenFile { tail, target: u64::MAX, is_done: false, is_matched: true, last_growth, not_before: None };
        self.open.insert(id, open);
        self.by_key.insert(key, id);
    }

    fn seen_again(&mut self, id: PartitionId, path: &Path) -> Result<(), SourceError> {
        let Some(open) = self.open.get_mut(&id) else { return Ok(()) };
        let was_matched = std::mem::replace(&mut open.is_matched, true);
        let stored = open.tail.file.path();
        // Of two names of one file the first one that the scan meets stays.
        if !was_matched && stored != path {
            open.tail.file.set_path(path);
            debug!(from = %stored.display(), to = %path.display(), "a file was renamed");
            let place = path.display().to_string();
            self.journal(|journal, _| journal.moved(id, &place))?;
        }
        Ok(())
    }

    fn note_place(&self, row: &PartitionRow, path: &Path) -> Result<(), SourceError> {
        let place = path.display().to_string();
        if row.place == place { Ok(()) } else { self.journal(|journal, _| journal.moved(row.id, &place)) }
    }

    /// A file that became shorter is a new partition from its beginning; what was not read of the old one is lost.
    fn begin_truncated(&mut self, id: PartitionId) -> Result<(), SourceError> {
        let Some(old) = self.open.remove(&id) else { return Ok(()) };
        let file = old.tail.file.clone();
        let (path, lost) = (file.path(), old.tail.behind());
        self.by_key.remove(&file.key);
        self.context.counters.lost_bytes.fetch_add(lost, Ordering::Relaxed);
        if lost > 0 {
            error!(path = %path.display(), lost_bytes = lost, "a file was truncated before all of it could be read");
        } else {
            info!(path = %path.display(), "a file was truncated; it is read from its beginning");
        }
        let (name, from) = (file.name(), Position(old.tail.position));
        self.events.push_back(SourceEvent::Unreadable { partition: id, name, from, is_cut: true });
        self.events.push_back(SourceEvent::Gone(id));
        let again = match file.file.try_clone() {
            Ok(again) => CountedFile::new(again),
            Err(error) => {
                warn!(path = %path.display(), %error, "a truncated file cannot be opened again; the next scan tries");
                return Ok(());
            }
        };
        let evidence = Evidence::take(&again, 0).map_or(String::new(), |evidence| evidence.to_json());
        let (device, inode) = (file.key.device, file.key.inode);
        let place = path.display().to_string();
        let row = NewPartition { place, device, inode, checkpoint: Position(0), evidence };
        let ids = self.journal(|journal, stream| journal.register(stream, std::slice::from_ref(&row)))?;
        if let Some(&id) = ids.first() {
            self.open_partition(id, again, path, Position(0));
        }
        Ok(())
    }

    /// Lets go of a file that nobody writes to or needs any more.
    fn close(&mut self, id: PartitionId) {
        let Some(open) = self.open.remove(&id) else { return };
        let file = &open.tail.file;
        self.by_key.remove(&file.key);
        let name = file.name();
        if open.tail.is_deleted {
            debug!(path = name, "a deleted file was read to its end");
            self.events.push_back(SourceEvent::Gone(id));
            return;
        }
        debug!(path = name, "a file that left the globs was read to its end");
        let position = Position(open.tail.position);
        self.dormant.push(PartitionRow {
            id,
            uuid: String::new(),
            place: name,
            device: file.key.device,
            inode: file.key.inode,
            checkpoint: position,
            evidence: file.evidence(position).unwrap_or_default(),
        });
    }

    fn refuse(&self, path: &Path, error: &io::Error, refused: &mut HashSet<PathBuf>) {
        if refused.insert(path.to_owned()) && !self.refused.contains(path) {
            warn!(path = %path.display(), %error, "it cannot be read; it is tried again");
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

impl OpenFile {
    /// Whether a read would bring something.
    pub fn is_due(&self, now: Instant, drain: bool) -> bool {
        if self.not_before.is_some_and(|moment| now < moment) {
            return false;
        }
        let is_complete = || self.is_left(now) || self.tail.quiet_at().is_some_and(|moment| now >= moment);
        if drain { !self.is_done } else { self.tail.has_news() || (self.tail.behind() > 0 && is_complete()) }
    }

    /// Whether nobody is expected to write to the file any more, so that its last line is complete as it stands.
    pub fn is_left(&self, now: Instant) -> bool {
        let linger = match (self.is_matched, self.tail.is_deleted) {
            (_, true) => LINGER_DELETED,
            (false, false) => LINGER,
            (true, false) => return false,
        };
        now.duration_since(self.last_growth) >= failpoint::wait(linger)
    }

    /// After an error of the file system: the file is left alone for a moment.
    pub fn postpone(&mut self, error: &io::Error) {
        warn!(path = self.tail.file.name(), %error, "a file cannot be read at this moment; it is tried again");
        self.not_before = Some(Instant::now() + ERROR_PAUSE);
    }

    fn is_finished(&self, now: Instant) -> bool {
        self.is_left(now) && self.tail.behind() == 0 && self.tail.file.is_settled(self.tail.position)
    }
}

impl NewFile {
    fn row(&self) -> NewPartition {
        NewPartition {
            place: self.path.display().to_string(),
            device: self.key.device,
            inode: self.key.inode,
            checkpoint: Position(self.checkpoint),
            evidence: self.evidence.to_json(),
        }
    }
}

/// What does not exist is no error.
fn if_there<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        result => result.map(Some),
    }
}
