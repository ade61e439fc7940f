//! The files of one source: found, opened, and followed.
//!
//! Always true: a file is in the journal before its first byte is read, all files of the first scan in one transaction; an
//! open file has exactly one partition. Nothing here waits for the stream: what it has to know is queued as events.
//!
//! What the globs match says `scan`, what a path is `recognise`, which files hold the same `copies` and `twins`, and when a file is
//! done with `let_go`.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::warn;

use crate::config::model::InitialPosition;
use crate::journal::{Journal, JournalError, NewPartition, PartitionRow};
use crate::record::{PartitionId, Position, SourcePartition};
use crate::source::{SourceContext, SourceError, SourceEvent};

use super::SCAN_PAUSE;
use super::content::Content;
use super::copy::Copy;
use super::crowd::Resting;
use super::cutting::{Cutting, Order};
use super::discover::Discovery;
use super::identity::{Evidence, FileKey};
use super::let_go::Orphan;
use super::open_file::{ERROR_PAUSE, OpenFile};
use super::prefix::Prefix;
use super::share::Share;
use super::tail::Tail;
use super::tailed::TailedFile;
use super::twins::Twins;
use super::watch::Watches;

/// All files that one source knows.
pub struct Files {
    pub context: SourceContext,
    pub open: BTreeMap<PartitionId, OpenFile>,
    /// For the stream, in order.
    pub events: VecDeque<SourceEvent>,
    pub(super) discovery: Discovery,
    /// Whether the last walk has met links.
    pub(super) has_links: bool,
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
    pub(super) refused: HashSet<PathBuf>,
    pub(super) started: Instant,
    pub(super) last_scan: Instant,
    /// So many walks in a row may have missed a file.
    pub(super) walks_in_doubt: u8,
    pub(super) last_forgetting: Option<Instant>,
    /// Something was seen that only a scan can explain.
    pub is_scan_wanted: bool,
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
            walks_in_doubt: 0,
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
        let waited = self.waits_for_walk();
        self.orphans.iter_mut().for_each(|orphan| orphan.is_searched = true);
        let new = self.find()?;
        self.take_up(new)?;
        self.give_up_orphans()?;
        if waited && !self.waits_for_walk() {
            // A drain would not look again.
            self.look_at_copies()?;
            self.read_shared()?;
        }
        Ok(())
    }

    /// Whether it is time to scan again.
    pub fn is_scan_due(&self) -> bool {
        self.is_scan_wanted
            || self.waits_for_walk()
            || self.can_make_room()
            || self.last_scan.elapsed() >= self.watches.scan_interval()
    }

    pub fn since_scan(&self) -> Duration {
        self.last_scan.elapsed()
    }

    /// How long to wait for events before open files are looked at anyway.
    pub fn look_interval(&self) -> Duration {
        if self.waits_for_walk() {
            return SCAN_PAUSE;
        }
        let is_waiting =
            self.is_crowded || !self.copies.is_empty() || !self.orphans.is_empty() || self.has_twins_to_examine();
        self.watches.look_interval(!is_waiting && !self.has_links && self.open.values().all(OpenFile::is_quiet))
    }

    /// The names that the journal has for a partition count when its copies are looked for, and so does the byte order that it
    /// had.
    pub(super) fn was_called(&self, row: &PartitionRow) {
        if let Some(open) = self.open.get(&row.id) {
            names_of(row).into_iter().for_each(|name| open.tail.file.was_called(name));
        }
        self.was_in(row.id, Evidence::from_json(&row.evidence).and_then(|evidence| evidence.order()));
    }

    /// What a truncated file is in, if nothing else says so.
    pub(super) fn was_in(&self, id: PartitionId, order: Order) {
        if let Some(open) = self.open.get(&id) {
            open.tail.file.was_in(order);
        }
    }

    /// The byte order of a partition's content, as far as a mark has decided on it.
    pub(super) fn order_of(&self, id: PartitionId) -> Order {
        let orphan = || self.orphans.iter().map(|orphan| &orphan.open).find(|open| open.tail.file.id == id);
        let open = || self.open.get(&id).or_else(orphan)?.tail.file.order();
        let copy = || self.copies.get(&id)?.order();
        let row = || Evidence::from_json(&self.dormant.iter().find(|row| row.id == id)?.evidence)?.order();
        open().or_else(copy).or_else(row)
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
        // With `latest` nothing reads the mark before there is something behind it, and then it may be gone.
        let order = self.cutting.order_by_mark(&content);
        let file = Arc::new(TailedFile::new(id, content, path, at.offset(), prefix));
        file.was_in(order);
        self.missing.remove(&id);
        self.unfound.remove(&id);
        let mut cuts = self.context.cuts.remove(&id).unwrap_or_default();
        let partition: Arc<dyn SourcePartition> = file.clone();
        let name = partition.name();
        self.events.push_back(SourceEvent::Opened { partition, checkpoint: at });
        if cuts.iter().any(|cut| cut.offset() > size) {
            // It was cut shorter while nobody looked: what the journal holds of the rest is gone.
            cuts.retain(|cut| cut.offset() <= size);
            let from = Position::at(size.max(at.offset()));
            self.events.push_back(SourceEvent::Unreadable { partition: id, name, from, is_cut: true });
        }
        let mut tail =
            Tail::new(file, at.offset(), cuts.into_iter().map(|cut| cut.offset()).collect(), self.cutting.clone());
        tail.told = self.context.told.take(id);
        self.open.insert(id, OpenFile::new(tail));
        self.by_key.insert(key, id);
    }

    /// A call of the journal, repeated while its disk is full.
    pub(super) fn journal<T>(&self, call: impl Fn(&Journal, i64) -> Result<T, JournalError>) -> Result<T, SourceError> {
        loop {
            match call(&self.context.journal, self.context.stream) {
                Err(JournalError::Disk(error)) if !self.context.stop.is_cancelled() => {
                    self.context.journal.say(&error, "seen");
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
