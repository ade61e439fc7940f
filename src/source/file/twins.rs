//! Compressed twins: rotated files that were compressed.
//!
//! Always true: a twin has its original's positions, so what was read of the one is not read of the other; nothing of a
//! compressed file is read before it is whole and it is known what it repeats. One that stays broken is read as far as it can be
//! decompressed, and the rest is reported.

use std::collections::HashMap;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::{error, info, warn};

use crate::failpoint;
use crate::journal::PartitionRow;
use crate::record::{PartitionId, Position, SourcePartition};
use crate::source::SourceError;

use super::alike::is_mere_head;
use super::content::{Content, CountedFile, Packing};
use super::copy::Copy;
use super::examine::{Examination, Examined, Examiner, KnownBy, Rival};
use super::files::{Files, names_of};
use super::identity::{Evidence, FileKey, Shared};
use super::names;
use super::prefix::Prefix;
use super::recognise::NewFile;
use super::tail::Tail;
use super::watch::Waker;

/// A compressed file that has not changed for so long may be whole.
const SETTLED: Duration = Duration::from_millis(500);
/// One that is not whole and has not changed for so long will not be.
const BROKEN: Duration = Duration::from_secs(60);
/// Fewer bytes of a file say too little of it.
const HASHED_MIN: u64 = 1024;

/// Compressed files of which it is not known yet what they are.
pub struct Twins {
    waker: Waker,
    examiner: Option<Examiner>,
    waiting: HashMap<FileKey, Twin>,
}

struct Twin {
    file: Arc<CountedFile>,
    path: PathBuf,
    packing: Packing,
    size: u64,
    last_change: Instant,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// It may be whole: to be examined when it has settled.
    New,
    Examined,
    /// It was not whole at this size.
    Broken,
}

impl Twin {
    /// Whether somebody has written to it since the last look: one that was not whole may be.
    fn has_grown(&self) -> bool {
        self.file.metadata().is_ok_and(|metadata| metadata.len() != self.size)
    }
}

impl Twins {
    pub fn new(waker: Waker) -> Self {
        Self { waker, examiner: None, waiting: HashMap::new() }
    }

    fn examiner(&mut self) -> io::Result<&Examiner> {
        if self.examiner.is_none() {
            self.examiner = Some(Examiner::start(self.waker.clone())?);
        }
        self.examiner.as_ref().ok_or_else(|| io::Error::other("no examiner"))
    }
}

impl Files {
    /// A compressed file that is not known: it waits until it is whole.
    pub(super) fn await_twin(&mut self, file: CountedFile, path: &Path, packing: Packing) -> io::Result<()> {
        let metadata = file.metadata()?;
        let key = FileKey::of(&metadata);
        if let Some(twin) = self.twins.waiting.get_mut(&key) {
            twin.path = path.to_owned();
            return Ok(());
        }
        let last_change = Instant::now();
        let (size, state, path) = (metadata.len(), State::New, path.to_owned());
        let twin = Twin { file: Arc::new(file), path, packing, size, last_change, state };
        self.twins.waiting.insert(key, twin);
        Ok(())
    }

    /// Examines twins that have settled, and decides about those that were examined.
    pub(super) fn look_at_twins(&mut self) -> Result<(), SourceError> {
        let mut due = Vec::new();
        // One that was deleted before it was whole holds nothing that anybody has.
        self.twins.waiting.retain(|_, twin| twin.file.metadata().map_or(true, |metadata| metadata.nlink() > 0));
        for (&key, twin) in &mut self.twins.waiting {
            let metadata = twin.file.metadata();
            let Ok(size) = metadata.map(|metadata| metadata.len()) else { continue };
            if size != twin.size && twin.state != State::Examined {
                (twin.size, twin.last_change, twin.state) = (size, Instant::now(), State::New);
            }
            let is_settled = twin.last_change.elapsed() >= SETTLED || self.context.drain;
            if twin.state == State::New && is_settled {
                twin.state = State::Examined;
                due.push(key);
            }
        }
        for key in due {
            self.examine(key);
        }
        while let Some(examined) = self.twins.examiner.as_ref().and_then(Examiner::next_done) {
            self.decide(examined)?;
        }
        self.give_up_broken()
    }

    fn examine(&mut self, key: FileKey) {
        let Some(twin) = self.twins.waiting.get(&key) else { return };
        let (file, path, packing) = (twin.file.clone(), twin.path.clone(), twin.packing);
        let rivals = self.rivals(&path);
        failpoint::gap("examining");
        let examination = Examination { file, path, packing, rivals };
        match self.twins.examiner() {
            Ok(examiner) => examiner.begin(examination),
            Err(error) => {
                warn!(%error, "a compressed file cannot be examined at this moment; it is tried again");
                if let Some(twin) = self.twins.waiting.get_mut(&key) {
                    (twin.state, twin.last_change) = (State::New, Instant::now());
                }
            }
        }
    }

    /// The partitions of which a compressed file of this name may be the twin.
    fn rivals(&self, path: &Path) -> Vec<Rival> {
        let of_tail = |tail: &Tail| {
            let id = tail.file.id;
            match tail.file.content() {
                Ok(content) if content.is_unpacked() => None,
                Ok(content) => Some(Rival { id, known_by: KnownBy::Content { content, read: tail.position } }),
                Err(_) => {
                    let (length, hash) = tail.file.read_so_far()?;
                    Some(Rival { id, known_by: KnownBy::Hash { length: length.offset(), hash } })
                }
            }
        };
        let of_row = |row: &PartitionRow| {
            let read = row.read_to.as_ref().map(|read| (read.position.offset(), read.hash.clone()));
            let (length, hash) = read.or_else(|| equal_part(row))?;
            Some(Rival { id: row.id, known_by: KnownBy::Hash { length, hash } })
        };
        let open = self
            .open
            .values()
            .filter(|open| open.tail.file.is_or_was(|name| names::is_twin(name, path, open.tail.is_deleted)));
        let orphans = self.orphans.iter().map(|orphan| &orphan.open);
        let orphans = orphans.filter(|open| open.tail.file.is_or_was(|name| names::is_twin(name, path, true)));
        let dormant =
            self.dormant.iter().filter(|row| names_of(row).iter().any(|name| names::is_twin(name, path, true)));
        let copies = self.copies.iter().filter(|(_, copy)| names::is_twin(&copy.path, path, true));
        let of_copy = |(&id, copy): (&PartitionId, &Copy)| {
            let content = copy.content.clone();
            (!content.is_unpacked()).then_some(Rival { id, known_by: KnownBy::Content { content, read: 0 } })
        };
        let files = open.chain(orphans).filter_map(|open| of_tail(&open.tail)).chain(dormant.filter_map(of_row));
        files.chain(copies.filter_map(of_copy)).collect()
    }

    fn decide(&mut self, examined: Examined) -> Result<(), SourceError> {
        failpoint::gap("examined");
        let Ok(metadata) = examined.file.metadata() else { return Ok(()) };
        let key = FileKey::of(&metadata);
        let Some(twin) = self.twins.waiting.get_mut(&key) else { return Ok(()) };
        if metadata.len() != twin.size {
            (twin.size, twin.last_change, twin.state) = (metadata.len(), Instant::now(), State::New);
            return Ok(()); // It has grown meanwhile.
        }
        // What they were compared with may not have been theirs any more.
        self.look_for_truncated()?;
        if self.orphans.iter().any(|orphan| examined.compared.contains(&orphan.open.tail.file.id)) {
            if let Some(twin) = self.twins.waiting.get_mut(&key) {
                twin.state = State::New;
            }
            return Ok(());
        }
        if examined.error.is_some() && !self.is_given_up(key) {
            if let Some(twin) = self.twins.waiting.get_mut(&key) {
                twin.state = State::Broken;
            }
            return Ok(());
        }
        self.twins.waiting.remove(&key);
        let path = examined.path.clone();
        if let Some(error) = &examined.error {
            let (unpacked, size) = (examined.extent.length, metadata.len());
            error!(path = %path.display(), %error, size, unpacked, "a compressed file is broken: what lies behind the decompressed bytes cannot be read");
        }
        let mut repeats = examined.repeats;
        // As much as was read of what it repeats is there, be it NULs.
        let read = repeats.iter().filter_map(|&(id, equal_to)| Some(self.read_of(id)?.min(equal_to))).max();
        let length = examined.extent.text_end(&self.cutting).max(read.unwrap_or(0));
        repeats.iter_mut().for_each(|(_, equal_to)| *equal_to = length.min(*equal_to));
        let Ok(content) = Content::unpacked(examined.file, examined.packing, length) else { return Ok(()) };
        repeats.retain(|&(id, equal_to)| !is_mere_head(&content, equal_to, &self.cutting, self.order_of(id)));
        self.take_up_twin(Arc::new(content), path, &repeats)
    }

    /// How much was read of a partition.
    fn read_of(&self, id: PartitionId) -> Option<u64> {
        let orphan = || self.orphans.iter().map(|orphan| &orphan.open).find(|open| open.tail.file.id == id);
        let open = self.open.get(&id).or_else(orphan).map(|open| open.tail.position);
        let row = || self.dormant.iter().find(|row| row.id == id)?.read_to.as_ref().map(|read| read.position.offset());
        open.or_else(row)
    }

    /// A compressed file goes on for the partition that it repeats, waits beside it while that is open, or is its own.
    fn take_up_twin(
        &mut self,
        content: Arc<Content>,
        path: PathBuf,
        repeats: &[(PartitionId, u64)],
    ) -> Result<(), SourceError> {
        let is_there = |id: &PartitionId| {
            self.open.contains_key(id)
                || self.dormant.iter().any(|row| row.id == *id)
                || self.orphans.iter().any(|orphan| orphan.open.tail.file.id == *id)
        };
        // Of a file and its copy, the twin goes on for the file.
        let is_copy = |id: PartitionId| self.dormant.iter().any(|row| row.id == id && row.copy_of.is_some());
        let best = repeats.iter().filter(|(id, _)| is_there(id)).max_by_key(|&&(id, equal)| (equal, !is_copy(id)));
        // What repeats a copy is one more copy of the same file.
        // It shares with the original what that copy is known to share, and no more.
        let copied =
            || repeats.iter().find_map(|(id, _)| self.copies.get(id).map(|copy| (copy.original, copy.known())));
        if let Some(&(id, _)) = best
            && !self.open.contains_key(&id)
        {
            return self.go_on(id, content, path, None);
        }
        let of_best = best.map(|&(id, equal_to)| (id, Shared { equal_to, needed: equal_to }));
        let original = of_best.or_else(copied);
        let Ok(evidence) = Evidence::take(&content, 0, Prefix::beginning_at(0).link_before(0)) else { return Ok(()) };
        let order = self.cutting.order_by_mark(&content);
        let evidence = evidence.with_order(order);
        let mut new = NewFile { content, path, checkpoint: 0, evidence, copy_of: None };
        if let Some((original, shared)) = original {
            new.become_copy(original, shared, self.order_of(original));
        }
        info!(path = %new.path.display(), is_twin = original.is_some(), "a compressed file is taken up");
        let row = new.row();
        let ids = self.journal(|journal, stream| journal.register(stream, std::slice::from_ref(&row)))?;
        let Some(&id) = ids.first() else { return Ok(()) };
        match new.copy_of {
            Some((original, shared)) => self.watch_copy(id, original, shared, new.content, new.path),
            None => self.open_partition(id, new.content, new.path, Position::BEGINNING, None),
        }
        Ok(())
    }

    /// Files that are not whole and have not changed for a long time are examined a last time.
    fn give_up_broken(&mut self) -> Result<(), SourceError> {
        let broken = self.twins.waiting.iter().filter(|(_, twin)| twin.state == State::Broken);
        let given_up: Vec<_> = broken.map(|(&key, _)| key).filter(|&key| self.is_given_up(key)).collect();
        for key in given_up {
            if let Some(twin) = self.twins.waiting.get_mut(&key) {
                twin.state = State::Examined;
            }
            self.examine(key);
        }
        Ok(())
    }

    /// Whether nobody is expected to write the rest of a file that is not whole. A drain leaves it for the next life.
    fn is_given_up(&self, key: FileKey) -> bool {
        let twin = self.twins.waiting.get(&key);
        twin.is_some_and(|twin| twin.last_change.elapsed() >= failpoint::wait(BROKEN))
    }

    /// Whether a compressed file that is being examined may be the copy that a truncated file waits for.
    pub(super) fn may_have_twin(&self, path: &Path) -> bool {
        let is_twin =
            |twin: &Twin| (twin.state != State::Broken || twin.has_grown()) && names::is_twin(path, &twin.path, true);
        self.twins.waiting.values().any(is_twin)
    }

    /// Whether a drain has to wait for an examination.
    pub fn has_twins_to_examine(&self) -> bool {
        self.twins.waiting.values().any(|twin| twin.state != State::Broken || twin.has_grown())
    }

    /// A compressed file that was there at the first start is skipped as a whole with `latest`, and so must be known at once.
    pub(super) fn unpacked_now(&self, file: CountedFile, path: &Path, packing: Packing) -> io::Result<Content> {
        let file = Arc::new(file);
        let examination = Examination { file: file.clone(), path: path.to_owned(), packing, rivals: Vec::new() };
        let never = std::sync::atomic::AtomicBool::new(false);
        let length = examination.run(&never).map_or(0, |examined| examined.extent.text_end(&self.cutting));
        Content::unpacked(file, packing, length)
    }
}

/// What is known of a copy whose file is not there: how much of it was settled as its original's, and the hash of that, or of
/// the end of it. `None` where that is too little to know a file by.
fn equal_part(row: &PartitionRow) -> Option<(u64, String)> {
    row.copy_of?;
    let evidence = Evidence::from_json(&row.evidence)?;
    let (length, hash) = evidence.whole()?;
    let hashed = length.checked_sub(Prefix::like(hash)?.at())?;
    let is_enough = hashed == length || hashed >= HASHED_MIN;
    (length > 0 && length == row.checkpoint.offset() && is_enough).then(|| (length, hash.to_owned()))
}
