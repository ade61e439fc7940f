//! Files that hold the same: copies, what is read of them, and partitions that go on in their copy.
//!
//! Always true: what a copy shares with its original is read once. As long as the original is there, it is read from the
//! original, and nothing of the copy; when the original is truncated, its partition goes on in the copy at the same position;
//! when the copy differs from what was read of the original, it is no copy, and when it differs behind that, the rest is its own.
//!
//! ```text
//!   new file ──its name extends a known one, and it is equal so far──▶ copy
//!   copy ──original truncated or gone──▶ the original's partition goes on in it (its own row is deleted)
//!        ──it differs, or the original's end was settled behind its own──▶ a partition of its own from there
//! ```

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::{info, warn};

use crate::failpoint;
use crate::journal::{KnownBy, NewPartition, PartitionRow, ReadTo};
use crate::record::{PartitionId, Position, SourcePartition};
use crate::source::SourceError;

use super::alike::{
    begins_like, equal_up_to, evidence_at, holds_all, holds_read, holds_settled, prefix_up_to, was_like,
};
use super::content::Content;
use super::cutting::Cutting;
use super::files::{Files, OpenFile, names_of};
use super::identity::{Evidence, extend};
use super::let_go::Orphan;
use super::names;
use super::prefix::Prefix;
use super::tail::Tail;
use super::tailed::TailedFile;

/// Bytes compared in one look, so that a large copy holds up nothing.
const STEP: u64 = 16 << 20;
/// A copy that is as it was for so long is not being written any more.
const QUIET: Duration = Duration::from_secs(300);

/// A file that is equal to another partition's as far as both go.
pub struct Copy {
    pub original: PartitionId,
    /// The original, once it was open in this life.
    file: Option<Arc<TailedFile>>,
    pub content: Arc<Content>,
    pub path: PathBuf,
    /// A file that differs before this position is no copy.
    needed: u64,
    /// Whether it was taken for a copy of another one before: the next mistake is the last.
    is_second: bool,
    equal_to: u64,
    /// What the journal knows to be equal and settled.
    stored: u64,
    size: u64,
    last_change: Instant,
}

/// Where a new file comes from.
pub enum Origin {
    /// This partition goes on in it.
    GoesOn(PartitionId),
    /// It holds the same as this partition as far as is known.
    CopyOf(PartitionId),
    Itself,
}

/// What becomes of a copy.
enum Fate {
    Copy,
    /// It stands alone from this position on.
    Alone(u64),
    /// The original's partition goes on in it.
    GoesOn,
    /// It is no copy of this one.
    Other,
}

impl Files {
    /// Of several partitions the new file may be a copy of, the one of which most was read.
    pub(super) fn origin(&self, content: &Content, path: &Path) -> Origin {
        let Ok(size) = content.look().map(|seen| seen.size) else { return Origin::Itself };
        let orphan = self.orphans.iter().filter_map(|orphan| {
            let tail = &orphan.open.tail;
            let is_it =
                tail.file.is_or_was(|name| names::extends(name, path)) && holds_all(tail, content);
            is_it.then(|| (tail.position, Origin::GoesOn(tail.file.id)))
        });
        let dormant = self.dormant.iter().filter_map(|row| {
            let is_it = names_of(row).iter().any(|name| names::extends(name, path)) && holds_read(row, content);
            let origin = if self.may_go_on_in_twin(row) { Origin::CopyOf(row.id) } else { Origin::GoesOn(row.id) };
            is_it.then(|| (row.read_to.as_ref().map_or(0, |read| read.position.0), origin))
        });
        let open = self.open.values().filter_map(|open| {
            let tail = &open.tail;
            let is_it = tail.file.is_or_was(|name| names::extends(name, path))
                && (begins_like(open, content, size) || was_like(open, content));
            is_it.then(|| (tail.position, Origin::CopyOf(tail.file.id)))
        });
        let best = orphan.chain(dormant).chain(open).max_by_key(|&(position, _)| position);
        best.map_or_else(|| self.shorter_copy(content, path, size), |(_, origin)| origin)
    }

    /// A copy of a truncated file that was made before the last lines were written which we have read: those are still in
    /// memory, and with them the copy has to have the hash of all that was read.
    fn shorter_copy(&self, content: &Content, path: &Path, size: u64) -> Origin {
        let is_it = |orphan: &&Orphan| {
            let tail = &orphan.open.tail;
            let Some(whole) = tail.file.prefix().filter(|_| size > 0 && size < tail.position) else { return false };
            let (recent, missing) = (tail.file.recent(), (tail.position - size) as usize);
            let mut prefix = whole.again();
            missing <= recent.len()
                && tail.file.is_or_was(|name| names::extends(name, path))
                && prefix.at() <= size
                && extend(&mut prefix, content, size).is_ok()
                && {
                    prefix.update(&recent[recent.len() - missing..]);
                    prefix.hash() == whole.hash()
                }
        };
        self.orphans.iter().find(is_it).map_or(Origin::Itself, |orphan| Origin::CopyOf(orphan.open.tail.file.id))
    }

    /// Keeps a file that is equal to `original` so far. `verified` is what an earlier life had compared and settled.
    pub(super) fn watch_copy(
        &mut self,
        id: PartitionId,
        original: PartitionId,
        verified: u64,
        content: Arc<Content>,
        path: PathBuf,
    ) {
        let orphan = self.orphans.iter().map(|orphan| &orphan.open).find(|open| open.tail.file.id == original);
        let file = self.open.get(&original).or(orphan).map(|open| open.tail.file.clone());
        let row = self.dormant.iter().find(|row| row.id == original);
        let settled = row.map_or(0, |row| row.checkpoint.0);
        let needed = self.open.get(&original).map_or(settled, |open| match open.tail.position {
            0 => open.tail.size.max(1),
            read => read,
        });
        let needed = if verified > 0 { verified } else { needed };
        // A copy of a truncated file was compared with all that was read of it.
        let equal_to = orphan.and_then(|_| content.look().ok()).map_or(0, |seen| seen.size);
        self.by_key.insert(content.key, id);
        self.missing.remove(&id);
        let copy = Copy {
            original,
            file,
            content,
            path,
            needed,
            is_second: false,
            equal_to,
            stored: verified,
            size: 0,
            last_change: Instant::now(),
        };
        self.copies.insert(id, copy);
    }

    /// The longest copy of a partition in which it can go on, as all that was read is in it.
    pub(super) fn copy_to_go_on_in(&self, original: &Tail) -> Option<PartitionId> {
        let copies = self.copies.iter().filter(|(_, copy)| copy.original == original.file.id);
        let can = copies.filter(|(_, copy)| holds_all(original, &copy.content));
        can.max_by_key(|(_, copy)| copy.content.look().map_or(0, |seen| seen.size)).map(|(&id, _)| id)
    }

    /// Whether a compressed file is being examined that may hold all of a file that is gone, and so more than its copies.
    fn may_go_on_in_twin(&self, row: &PartitionRow) -> bool {
        names_of(row).iter().any(|name| self.may_have_twin(name))
    }

    pub(super) fn go_on_in_copy(&mut self, original: PartitionId, copy: PartitionId) -> Result<(), SourceError> {
        let Some(Copy { content, path, .. }) = self.copies.remove(&copy) else { return Ok(()) };
        self.go_on(original, content, path, Some(copy))
    }

    /// A partition goes on in another file, which holds all that was read of it. `copy` is that file's own row.
    pub(super) fn go_on(
        &mut self,
        id: PartitionId,
        content: Arc<Content>,
        path: PathBuf,
        copy: Option<PartitionId>,
    ) -> Result<(), SourceError> {
        info!(path = %path.display(), "a file is a copy of one that is not there any more; its reading goes on in the copy");
        self.by_key.insert(content.key, id);
        if let Some(index) = self.orphans.iter().position(|orphan| orphan.open.tail.file.id == id) {
            self.open.insert(id, self.orphans.swap_remove(index).open);
        }
        if let Some(open) = self.open.get_mut(&id) {
            let file = open.tail.file.clone();
            file.go_on_in(content.clone(), &path);
            open.tail.turn_to_other_file();
            open.last_growth = Instant::now();
            open.is_matched = true;
            let evidence = file.evidence(Position(file.checkpoint())).unwrap_or_default();
            let to = new_place(&content, &path, evidence);
            return self.journal(|journal, _| journal.goes_on(id, &to, copy));
        }
        let Some(index) = self.dormant.iter().position(|row| row.id == id) else { return Ok(()) };
        let row = self.dormant.remove(index);
        let mut prefix = Evidence::from_json(&row.evidence).and_then(|evidence| evidence.prefix());
        let link = prefix.as_mut().and_then(|prefix| prefix.link_before(row.checkpoint.0));
        let names = names_of(&row).iter().map(|name| name.display().to_string()).collect();
        let evidence = Evidence::take(&content, row.checkpoint.0, link);
        let evidence = evidence.map_or(String::new(), |evidence| evidence.with_names(names).to_json());
        let to = new_place(&content, &path, evidence);
        self.journal(|journal, _| journal.goes_on(id, &to, copy))?;
        self.open_partition(id, content, path, row.checkpoint, prefix);
        self.was_called(&row);
        Ok(())
    }

    /// Compares copies with their originals, some bytes further each time, and decides what becomes of them.
    pub(super) fn look_at_copies(&mut self) -> Result<(), SourceError> {
        let mut decided = Vec::new();
        let mut copies = std::mem::take(&mut self.copies);
        for (&id, copy) in &mut copies {
            match self.look_at_copy(id, copy) {
                Ok(Ok(Fate::Copy)) => {}
                Ok(Ok(fate)) => decided.push((id, fate)),
                Ok(Err(error)) => return self.keep(copies, Err(error)),
                Err(error) => warn!(path = %copy.path.display(), %error, "a copy cannot be read; it is tried again"),
            }
        }
        self.keep(copies, Ok(()))?;
        self.decide_copies(decided)
    }

    fn decide_copies(&mut self, mut decided: Vec<(PartitionId, Fate)>) -> Result<(), SourceError> {
        // The longest first: what the others hold of their own is found by comparing them with it.
        decided.sort_by_key(|(id, _)| std::cmp::Reverse(self.copies.get(id).map_or(0, |copy| copy.size)));
        let mut is_one_left = false;
        for (id, fate) in decided {
            match fate {
                Fate::Copy => {}
                Fate::GoesOn => {
                    let Some(original) = self.copies.get(&id).map(|copy| copy.original) else { continue };
                    if self.open.contains_key(&original) {
                        is_one_left = true;
                        continue;
                    }
                    self.go_on_in_copy(original, id)?;
                }
                Fate::Alone(from) => self.stand_alone(id, from)?,
                Fate::Other => self.look_for_other(id)?,
            }
        }
        // It has an open original now to be compared with: a drain would not look again.
        if is_one_left { self.look_at_copies() } else { Ok(()) }
    }

    fn keep(
        &mut self,
        copies: BTreeMap<PartitionId, Copy>,
        result: Result<(), SourceError>,
    ) -> Result<(), SourceError> {
        self.copies = copies;
        result
    }

    fn look_at_copy(&mut self, id: PartitionId, copy: &mut Copy) -> io::Result<Result<Fate, SourceError>> {
        let size = copy.content.look()?.size;
        if size != copy.size {
            copy.size = size;
            copy.last_change = Instant::now();
        }
        let Some(open) = self.open.get(&copy.original) else {
            return Ok(Ok(self.without_original(copy)));
        };
        let file = copy.file.insert(open.tail.file.clone()).clone();
        if copy.needed == 0 {
            // An earlier life had not compared it yet.
            copy.needed = file.position().max(1);
        }
        if copy.content.is_unpacked() {
            // It was compared when it was examined, and is whole: nothing of it is its own.
            return Ok(Ok(if file.is_settled(size) { Fate::Alone(size) } else { Fate::Copy }));
        }
        let fate = copy.compare(open, &self.cutting, self.context.drain)?;
        let is_quiet = copy.last_change.elapsed() >= failpoint::wait(QUIET);
        if matches!(fate, Fate::Copy)
            && (self.context.drain || is_quiet)
            && copy.is_mere_head(open.tail.position, &self.cutting)
        {
            return Ok(Ok(Fate::Alone(0)));
        }
        let is_settled = copy.equal_to == size && file.is_settled(size);
        if !matches!(fate, Fate::Copy) || !is_settled {
            return Ok(Ok(fate));
        }
        if is_quiet {
            return Ok(Ok(Fate::Alone(size)));
        }
        if copy.stored < size {
            let evidence = evidence_at(&copy.content, size)?;
            copy.stored = size;
            return Ok(self
                .journal(|journal, _| journal.still_copy(id, Position(size), &evidence))
                .map(|()| Fate::Copy));
        }
        Ok(Ok(Fate::Copy))
    }

    /// The original is not open: it waits for its copy, was not found at the start, or has ended.
    fn without_original(&self, copy: &Copy) -> Fate {
        let id = copy.original;
        if self.orphans.iter().any(|orphan| orphan.open.tail.file.id == id) {
            return Fate::Copy;
        }
        if let Some(file) = &copy.file {
            // It has ended in this life, and was read further than this copy goes; what is not settled can be read again here.
            if copy.is_mere_head(file.position(), &self.cutting) {
                return Fate::Alone(0);
            }
            let end = copy.size.min(file.position());
            // What was not compared with it by then may be the copy's own: in doubt it is read.
            let from = self.cutting.last_line_end(&copy.content, end.min(copy.equal_to)).unwrap_or(0);
            return if file.is_settled(end) { Fate::Alone(from) } else { Fate::Copy };
        }
        let Some(row) = self.dormant.iter().find(|row| row.id == id) else { return Fate::Alone(0) };
        if self.may_go_on_in_twin(row) {
            return Fate::Copy;
        }
        if copy.is_mere_head(row.checkpoint.0, &self.cutting) {
            return Fate::Alone(0);
        }
        let is_known = copy.stored > 0 && copy.stored == copy.size;
        let is_like_settled = holds_settled(row, &copy.content);
        // Where it has got lines of its own, what the journal holds behind the checkpoint would be looked for in them.
        let reaches_read = row.read_to.as_ref().is_some_and(|read| read.position.0 <= copy.size);
        let has_grown = copy.stored > 0 && copy.stored < copy.size;
        if holds_read(row, &copy.content) || is_like_settled && !reaches_read && !has_grown {
            Fate::GoesOn
        } else if is_known && row.checkpoint.0 >= copy.size {
            Fate::Alone(copy.size)
        } else {
            let settled = if is_like_settled { row.checkpoint.0 } else { 0 };
            Fate::Alone(copy.stored.min(copy.size).max(settled))
        }
    }

    /// A file that was still empty may have been taken for a copy of the wrong one.
    fn look_for_other(&mut self, id: PartitionId) -> Result<(), SourceError> {
        let Some(Copy { content, path, is_second, .. }) = self.copies.remove(&id) else { return Ok(()) };
        match if is_second { Origin::Itself } else { self.origin(&content, &path) } {
            Origin::GoesOn(original) => self.go_on(original, content, path, Some(id)),
            Origin::CopyOf(original) => {
                self.journal(|journal, _| journal.copies(id, original))?;
                self.watch_copy(id, original, 0, content, path);
                if let Some(copy) = self.copies.get_mut(&id) {
                    copy.is_second = true;
                }
                Ok(())
            }
            Origin::Itself => {
                info!(path = %path.display(), "a file is not the copy that it seemed to be; it is read");
                self.watch_copy(id, id, 0, content, path);
                self.stand_alone(id, 0)
            }
        }
    }

    fn stand_alone(&mut self, id: PartitionId, from: u64) -> Result<(), SourceError> {
        let Some(Copy { content, path, .. }) = self.copies.remove(&id) else { return Ok(()) };
        let prefix = prefix_up_to(&content, from);
        let evidence = prefix.clone().and_then(|mut prefix| {
            Evidence::take(&content, from, prefix.link_before(from)).ok().map(|evidence| evidence.to_json())
        });
        // What it shares with its original counts as read: a later copy or twin of it is known by that as well.
        let hash = prefix.as_ref().filter(|prefix| prefix.at() == from && from > 0).map(Prefix::to_text);
        let read_to = hash.map(|hash| ReadTo { position: Position(from), hash });
        let known = KnownBy { partition: id, evidence, read_to };
        self.journal(|journal, _| journal.stands_alone(&known, Position(from)))?;
        self.open_partition(id, content, path, Position(from), prefix);
        Ok(())
    }
}

impl Copy {
    pub fn is_of(&self, original: PartitionId) -> bool {
        self.original == original
    }

    /// Whether it holds no more than the head of the first line of a file of which more was read: any file of that log begins
    /// so, and nobody is completing this one.
    fn is_mere_head(&self, read: u64, cutting: &Cutting) -> bool {
        let is_shorter = self.size > 0 && self.size < read;
        is_shorter && cutting.last_line_end(&self.content, self.size).is_ok_and(|end| end == 0)
    }

    /// Compares on from where it is equal. The copy's size was taken before that of the original, so a copy that is longer
    /// has got bytes of its own.
    fn compare(&mut self, original: &OpenFile, cutting: &Cutting, is_whole: bool) -> io::Result<Fate> {
        let other = original.tail.file.content()?;
        let end = other.look()?.size;
        let bound = self.size.min(end);
        let limit = if is_whole { bound } else { bound.min(self.equal_to.saturating_add(STEP)) };
        if self.size < self.equal_to {
            return Ok(Fate::Alone(0)); // It was truncated itself: what it holds now is new.
        }
        let before = self.equal_to;
        self.equal_to = equal_up_to(&self.content, &other, before, limit)?;
        if self.equal_to == bound && self.size <= end || self.equal_to == limit && limit < bound {
            return Ok(Fate::Copy);
        }
        if end < original.tail.position || !original.tail.file.is_unchanged()? {
            self.equal_to = before;
            return Ok(Fate::Copy); // The original was truncated just now: the next look sees it.
        }
        if self.equal_to < self.needed {
            return Ok(Fate::Other);
        }
        cutting.last_line_end(&self.content, self.equal_to).map(Fate::Alone)
    }
}

fn new_place(content: &Content, path: &Path, evidence: String) -> NewPartition {
    let (device, inode) = (content.key.device, content.key.inode);
    let place = path.display().to_string();
    NewPartition { place, device, inode, checkpoint: Position(0), evidence, copy_of: None }
}
