//! The files of one source: found, opened, and followed.
//!
//! Always true: a file is in the journal before its first byte is read, all files of the first scan in one transaction; an
//! open file has exactly one partition. Nothing here waits for the stream: what it has to know is queued as events.
//!
//! What a path is says `recognise`, which files hold the same `copies` and `twins`, and when a file is done with `let_go`.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tracing::{debug, error, info, warn};

use crate::config::model::InitialPosition;
use crate::journal::{Journal, JournalError, NewPartition, PartitionRow};
use crate::record::{PartitionId, Position, SourcePartition};
use crate::source::{SourceContext, SourceError, SourceEvent};

use super::content::Content;
use super::copies::Copy;
use super::crowd::{self, Resting};
use super::cutting::Cutting;
use super::discover::{Discovery, Walk};
use super::identity::{Evidence, FileKey};
use super::let_go::Orphan;
use super::names;
use super::origin::Origin;
use super::prefix::Prefix;
use super::recognise::{Found, NewFile};
use super::share::Share;
use super::tail::Tail;
use super::tailed::TailedFile;
use super::twins::Twins;
use super::watch::Watches;

/// After an error of the file system, until the file is tried again.
const ERROR_PAUSE: Duration = Duration::from_secs(1);

/// All files that one source knows.
pub struct Files {
    pub context: SourceContext,
    pub open: BTreeMap<PartitionId, OpenFile>,
    /// For the stream, in order.
    pub events: VecDeque<SourceEvent>,
    pub(super) discovery: Discovery,
    /// Whether the last walk has met links.
    has_links: bool,
    pub(super) watches: Watches,
    pub(super) initial_position: InitialPosition,
    pub(super) cutting: Arc<Cutting>,
    /// How long files that are gone are remembered.
    pub(super) forget_after: Duration,
    /// Read from the beginning whatever `initial_position` says: the journal was lost.
    pub(super) is_from_beginning: bool,
    pub(super) by_key: HashMap<FileKey, PartitionId>,
    /// Files that may hold no more than another one.
    pub(super) copies: BTreeMap<PartitionId, Copy>,
    /// Files that were copies and are partitions of their own now.
    pub(super) shares: Vec<Share>,
    /// Partitions whose file was truncated and whose rest a copy may hold.
    pub orphans: Vec<Orphan>,
    /// Compressed files of which it is not known yet what they are.
    pub(super) twins: Twins,
    /// Journalled partitions whose file is not open.
    pub(super) dormant: Vec<PartitionRow>,
    /// Dormant partitions that the journal still needs positions of, until they are found or given up.
    pub(super) missing: HashSet<PartitionId>,
    /// Dormant partitions that were not found when the source began.
    pub(super) unfound: HashSet<PartitionId>,
    /// Files that were closed to make room for others.
    pub(super) resting: HashMap<FileKey, Resting>,
    /// Files that the first scan has found and could not keep open, to be journalled with the others.
    pub(super) unopened: Vec<NewPartition>,
    /// Files that the last scan has left out because as many are open as may be; whether there were any.
    pub(super) waiting: usize,
    pub is_crowded: bool,
    /// What cannot be opened, complained about once.
    refused: HashSet<PathBuf>,
    pub(super) started: Instant,
    last_scan: Instant,
    pub(super) last_forgetting: Option<Instant>,
    /// Something was seen that only a scan can explain.
    pub is_scan_wanted: bool,
}

/// A file that is open.
pub struct OpenFile {
    pub tail: Tail,
    /// With `--drain`: where the present end was, and whether it has been reached.
    pub target: u64,
    pub is_done: bool,
    /// Whether the globs matched it at the last scan.
    pub(super) is_matched: bool,
    /// Whether it is a rotated file, as far as the last scan has looked.
    pub(super) is_rotated: bool,
    pub(super) last_growth: Instant,
    /// Not before this moment, after an error.
    pub(super) not_before: Option<Instant>,
}

impl Files {
    pub fn new(
        context: SourceContext,
        discovery: Discovery,
        watches: Watches,
        initial_position: InitialPosition,
        cutting: Arc<Cutting>,
        forget_after: Duration,
        twins: Twins,
    ) -> Self {
        let now = Instant::now();
        Self {
            context,
            open: BTreeMap::new(),
            events: VecDeque::new(),
            discovery,
            has_links: false,
            watches,
            initial_position,
            cutting,
            forget_after,
            is_from_beginning: false,
            by_key: HashMap::new(),
            copies: BTreeMap::new(),
            shares: Vec::new(),
            orphans: Vec::new(),
            twins,
            dormant: Vec::new(),
            missing: HashSet::new(),
            unfound: HashSet::new(),
            resting: HashMap::new(),
            unopened: Vec::new(),
            waiting: 0,
            is_crowded: false,
            refused: HashSet::new(),
            started: now,
            last_scan: now,
            last_forgetting: None,
            is_scan_wanted: false,
        }
    }

    /// Takes up what the journal knows, and finds what is there now.
    pub fn begin(&mut self) -> Result<(), SourceError> {
        self.is_from_beginning = self.journal(|journal, _| journal.is_from_beginning())?;
        self.dormant = self.journal(|journal, stream| journal.partitions(stream))?;
        self.shares = self.dormant.iter().filter_map(Share::of).collect();
        self.missing = self.dormant.iter().map(|row| row.id).filter(|id| self.context.cuts.contains_key(id)).collect();
        let new = self.find()?;
        // Whatever is still there somewhere is found before copies of it are looked for.
        self.find_renamed(&new)?;
        self.take_up(new)?;
        self.look()?;
        self.unfound = self.dormant.iter().filter(|row| row.gone_since.is_none()).map(|row| row.id).collect();
        for open in self.open.values_mut() {
            open.target = open.tail.size;
        }
        Ok(())
    }

    /// Scans the globs: files that are new are journalled together and opened.
    pub fn scan(&mut self) -> Result<(), SourceError> {
        self.orphans.iter_mut().for_each(|orphan| orphan.is_searched = true);
        let new = self.find()?;
        self.take_up(new)?;
        self.give_up_orphans()
    }

    /// Walks the globs, follows renames, opens what the journal knows, and says what is new.
    fn find(&mut self) -> Result<Vec<NewFile>, SourceError> {
        self.watches.set(self.discovery.watched());
        self.last_scan = Instant::now();
        self.is_scan_wanted = false;
        let Walk { files: paths, errors, has_links } = self.discovery.scan();
        self.has_links = has_links;
        let mut refused = HashSet::new();
        let was_crowded = std::mem::take(&mut self.is_crowded);
        self.waiting = 0;
        for (path, error) in errors {
            self.refuse(&path, &error, &mut refused);
        }
        self.open.values_mut().for_each(|open| open.is_matched = false);
        let mut new: Vec<NewFile> = Vec::new();
        for path in paths {
            match self.recognise(&path, new.len()) {
                Ok(Some(Found::Known(id))) => self.seen_again(id, &path)?,
                Ok(Some(Found::Dormant(row, content))) => self.found_again(row, content, path)?,
                Ok(Some(Found::New(file))) if !new.iter().any(|other| other.content.key == file.content.key) => {
                    new.push(file);
                }
                Ok(Some(Found::New(_)) | None) => {}
                Err(error) => self.refuse(&path, &error, &mut refused),
            }
        }
        self.note_rotated();
        for path in self.refused.difference(&refused) {
            info!(path = %path.display(), "what could not be read is readable now, or gone");
        }
        self.context.counters.refused.store((refused.len() + self.waiting) as u64, Ordering::Relaxed);
        if self.is_crowded && !was_crowded {
            let waiting = self.waiting;
            warn!(
                waiting,
                "more files match than the limit of descriptors allows to be open: some wait until others are delivered; \
                 raise the limit (`ulimit -n`, `LimitNOFILE=`)"
            );
        }
        self.refused = refused;
        Ok(new)
    }

    /// Which files with an unfinished line a rotation has put aside: another file has the log's name now.
    fn note_rotated(&mut self) {
        if self.open.values().all(|open| open.tail.behind() == 0) {
            return;
        }
        let paths: HashSet<PathBuf> = self.open.values().map(|open| open.tail.file.path()).collect();
        for open in self.open.values_mut() {
            let (file, path) = (&open.tail.file, open.tail.file.path());
            let is_others = |name: &Path| name != path && paths.contains(name);
            let log = names::rotated_from(&path);
            open.is_rotated = file.is_or_was(is_others) || log.is_some_and(|log| is_others(&log));
        }
    }

    /// New files go on for a partition they are a copy of, wait beside it, or are partitions of their own.
    fn take_up(&mut self, mut found: Vec<NewFile>) -> Result<(), SourceError> {
        if !found.is_empty() {
            self.look_for_truncated()?; // Their copies may be among these.
        }
        // The longest first: a partition goes on in the one that holds most, and shorter ones are compared with that.
        found.sort_by_key(|file| std::cmp::Reverse(file.content.look().map_or(0, |seen| seen.size)));
        let mut new = Vec::new();
        for mut file in found {
            // What was there at the first start is read as it is.
            let is_first = file.checkpoint > 0 || !self.context.scanned;
            match if is_first { Origin::Itself } else { self.origin(&file.content, &file.path) } {
                Origin::GoesOn(original) => self.go_on(original, file.content, file.path, None)?,
                Origin::CopyOf(original, shared) => {
                    file.become_copy(original, shared);
                    new.push(file);
                }
                Origin::Itself => new.push(file),
            }
        }
        if new.is_empty() && self.context.scanned {
            return Ok(());
        }
        let unopened = std::mem::take(&mut self.unopened);
        let rows: Vec<_> = new.iter().map(NewFile::row).chain(unopened.iter().cloned()).collect();
        let ids = self.journal(|journal, stream| journal.register(stream, &rows))?;
        self.context.scanned = true;
        let later = ids.iter().skip(new.len()).zip(unopened);
        self.dormant.extend(later.map(|(&id, new)| crowd::unopened(id, new)));
        for (id, file) in ids.into_iter().zip(new) {
            let path = file.path.display();
            if let Some((original, shared)) = file.copy_of {
                info!(%path, "a file is a copy of another one as far as that was read; what is more in it is read");
                self.watch_copy(id, original, shared, file.content, file.path);
                continue;
            }
            info!(%path, position = file.checkpoint, "a file is read that was not seen before");
            self.open_partition(id, file.content, file.path, Position(file.checkpoint), None);
        }
        Ok(())
    }

    /// Whether it is time to scan again.
    pub fn is_scan_due(&self) -> bool {
        self.is_scan_wanted || self.can_make_room() || self.last_scan.elapsed() >= self.watches.scan_interval()
    }

    pub fn since_scan(&self) -> Duration {
        self.last_scan.elapsed()
    }

    /// How long to wait for events before open files are looked at anyway.
    pub fn look_interval(&self) -> Duration {
        let is_waiting =
            self.is_crowded || !self.copies.is_empty() || !self.orphans.is_empty() || self.has_twins_to_examine();
        self.watches.look_interval(!is_waiting && !self.has_links && self.open.values().all(OpenFile::is_quiet))
    }

    /// A file whose checkpoint is in the journal is there again.
    pub(super) fn found_again(
        &mut self,
        row: PartitionRow,
        content: Arc<Content>,
        path: PathBuf,
    ) -> Result<(), SourceError> {
        let place = path.display().to_string();
        if row.place != place || row.gone_since.is_some() {
            let former: Vec<_> = names_of(&row).iter().map(|name| name.display().to_string()).collect();
            self.journal(|journal, _| journal.moved(row.id, &place, &former))?;
        }
        match row.copy_of {
            Some(original) => self.watch_copy_again(&row, original, content, path),
            None => {
                let prefix = Evidence::from_json(&row.evidence).and_then(|evidence| evidence.prefix());
                self.open_partition(row.id, content, path, row.checkpoint, prefix);
                self.was_called(&row);
            }
        }
        Ok(())
    }

    /// The names that the journal has for a partition count when its copies are looked for.
    pub(super) fn was_called(&self, row: &PartitionRow) {
        if let Some(open) = self.open.get(&row.id) {
            names_of(row).into_iter().for_each(|name| open.tail.file.was_called(name));
        }
    }

    /// `prefix` is the chain of hashes that goes with the checkpoint, where the journal has one.
    pub(super) fn open_partition(
        &mut self,
        id: PartitionId,
        content: Arc<Content>,
        path: PathBuf,
        at: Position,
        prefix: Option<Prefix>,
    ) {
        let (key, size) = match content.look() {
            Ok(seen) => (content.key, seen.size),
            Err(error) => {
                // The row is in the journal: the next start finds it again.
                warn!(path = %path.display(), %error, "an open file cannot be looked at");
                return;
            }
        };
        let file = Arc::new(TailedFile::new(id, content, path, at.0, prefix));
        self.missing.remove(&id);
        self.unfound.remove(&id);
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
        self.open.insert(id, OpenFile::new(tail));
        self.by_key.insert(key, id);
    }

    fn seen_again(&mut self, id: PartitionId, path: &Path) -> Result<(), SourceError> {
        if let Some(copy) = self.copies.get_mut(&id) {
            copy.path = path.to_owned();
        }
        let Some(open) = self.open.get_mut(&id) else { return Ok(()) };
        let was_matched = std::mem::replace(&mut open.is_matched, true);
        let stored = open.tail.file.path();
        // Of two names of one file the first one that the scan meets stays.
        if !was_matched && stored != path {
            if open.is_truncated() {
                // First it is another file, then that has another name: the copies of the old one extend the old name.
                self.is_scan_wanted = true;
                return Ok(());
            }
            open.tail.file.set_path(path);
            debug!(from = %stored.display(), to = %path.display(), "a file was renamed");
            let (place, former) = (path.display().to_string(), open.tail.file.former_names());
            self.journal(|journal, _| journal.moved(id, &place, &former))?;
        }
        Ok(())
    }

    fn refuse(&self, path: &Path, error: &io::Error, refused: &mut HashSet<PathBuf>) {
        if refused.insert(path.to_owned()) && !self.refused.contains(path) {
            warn!(path = %path.display(), %error, "it cannot be read; it is tried again");
        }
    }

    /// A call of the journal, repeated while its disk is full.
    pub(super) fn journal<T>(&self, call: impl Fn(&Journal, i64) -> Result<T, JournalError>) -> Result<T, SourceError> {
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

/// The names that a partition had, the last one last.
pub fn names_of(row: &PartitionRow) -> Vec<PathBuf> {
    let evidence = Evidence::from_json(&row.evidence);
    let former = evidence.iter().flat_map(Evidence::names).map(PathBuf::from);
    former.chain([PathBuf::from(&row.place)]).collect()
}

impl OpenFile {
    pub(super) fn new(tail: Tail) -> Self {
        let last_growth = Instant::now();
        Self {
            tail,
            target: u64::MAX,
            is_done: false,
            is_matched: true,
            is_rotated: false,
            last_growth,
            not_before: None,
        }
    }

    /// Whether a look finds that what was read is not there any more.
    pub(super) fn is_truncated(&mut self) -> bool {
        let before = self.tail.size;
        let seen = self.tail.look();
        if self.tail.size != before {
            self.last_growth = Instant::now();
        }
        matches!(seen, Ok(false))
    }

    /// Whether it waits for nothing but to be written to.
    fn is_quiet(&self) -> bool {
        self.is_matched && self.owes_nothing()
    }

    /// Whether all of it is read and settled.
    pub(super) fn owes_nothing(&self) -> bool {
        !self.tail.is_deleted && self.tail.behind() == 0 && self.tail.file.is_settled(self.tail.position)
    }

    /// Whether a read would bring something.
    pub fn is_due(&self, now: Instant, drain: bool) -> bool {
        if self.not_before.is_some_and(|moment| now < moment) {
            return false;
        }
        let is_complete = || self.is_left(now) || self.tail.quiet_at().is_some_and(|moment| now >= moment);
        if drain { !self.is_done } else { self.tail.has_news() || (self.tail.behind() > 0 && is_complete()) }
    }

    /// After an error of the file system: the file is left alone for a moment.
    pub fn postpone(&mut self, error: &io::Error) {
        warn!(path = self.tail.file.name(), %error, "a file cannot be read at this moment; it is tried again");
        self.not_before = Some(Instant::now() + ERROR_PAUSE);
    }
}
