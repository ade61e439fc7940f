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
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::{info, warn};

use crate::failpoint;
use crate::journal::{KnownBy, PartitionRow, ReadTo};
use crate::record::{PartitionId, Position};
use crate::source::SourceError;

use super::alike::{copy_evidence, holds_read, holds_settled, prefix_up_to};
use super::content::Content;
use super::copy::{Copy, Fate};
use super::files::Files;
use super::identity::{Evidence, Shared};
use super::origin::Origin;
use super::prefix::Prefix;
use super::share::Share;
use super::text::TextEnd;

/// A copy that is as it was for so long is not being written any more.
const QUIET: Duration = Duration::from_secs(300);

impl Files {
    /// Keeps a file that is equal to `original` so far, as its evidence in the journal says.
    pub(super) fn watch_copy(
        &mut self,
        id: PartitionId,
        original: PartitionId,
        shared: Shared,
        content: Arc<Content>,
        path: PathBuf,
    ) {
        let orphan = self.orphans.iter().map(|orphan| &orphan.open).find(|open| open.tail.file.id == original);
        let file = self.open.get(&original).or(orphan).map(|open| open.tail.file.clone());
        let former_order = self.cutting.order_by_mark(&content).or_else(|| self.order_of(original));
        self.by_key.insert(content.key, id);
        self.missing.remove(&id);
        let copy = Copy {
            original,
            file,
            content,
            path,
            former_order,
            shared,
            was_equal_to: 0,
            noted: (shared.equal_to, 0),
            is_second: false,
            size: 0,
            text: TextEnd::default(),
            seen: None,
            last_change: Instant::now(),
        };
        self.copies.insert(id, copy);
    }

    /// Keeps a copy that an earlier life has seen.
    pub(super) fn watch_copy_again(
        &mut self,
        row: &PartitionRow,
        original: PartitionId,
        content: Arc<Content>,
        path: PathBuf,
    ) {
        // The first versions stored only how much was equal and settled.
        let settled = Shared { equal_to: row.checkpoint.offset(), needed: row.checkpoint.offset() };
        let evidence = Evidence::from_json(&row.evidence);
        let known = evidence.as_ref().and_then(Evidence::shared).unwrap_or(settled);
        let equal_to = if content.is_unpacked() { known.equal_to } else { 0 };
        self.watch_copy(row.id, original, Shared { equal_to, ..known }, content, path);
        if let Some(copy) = self.copies.get_mut(&row.id) {
            copy.former_order = copy.former_order.or(evidence.and_then(|evidence| evidence.order()));
            copy.was_equal_to = known.equal_to;
            copy.noted = (known.equal_to, row.checkpoint.offset());
        }
    }

    /// Compares copies with their originals, some bytes further each time, and decides what becomes of them.
    pub(super) fn look_at_copies(&mut self) -> Result<(), SourceError> {
        let mut decided = Vec::new();
        let mut copies = std::mem::take(&mut self.copies);
        for (&id, copy) in &mut copies {
            failpoint::gap("copy");
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
            failpoint::gap("decided");
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
                Fate::Other => {
                    self.look_for_other(id)?;
                    is_one_left |= self.copies.contains_key(&id);
                }
            }
        }
        // It has another original now, or one that is open, to be compared with: a drain would not look again.
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
        copy.look(&self.cutting)?;
        let size = copy.size;
        let Some(open) = self.open.get(&copy.original) else {
            return Ok(match self.without_original(copy) {
                Fate::Copy => self.note_shared(id, copy),
                fate => Ok(fate),
            });
        };
        let file = copy.file.insert(open.tail.file.clone()).clone();
        if copy.shared.needed == 0 {
            // An earlier life had not compared it yet.
            copy.shared.needed = file.position().max(1);
        }
        if copy.content.is_unpacked() && copy.known().equal_to >= size {
            // It was compared when it was examined, and is whole: nothing of it is its own.
            return Ok(Ok(if file.is_settled(size) { Fate::Alone(size) } else { Fate::Copy }));
        }
        let fate = copy.compare(open, &self.cutting, self.context.drain)?;
        if !matches!(fate, Fate::Copy) {
            return Ok(Ok(fate));
        }
        let is_quiet = copy.last_change.elapsed() >= failpoint::wait(QUIET);
        if (self.context.drain || is_quiet) && copy.is_mere_head(open.tail.position, &self.cutting) {
            return Ok(Ok(Fate::Alone(0)));
        }
        let is_whole = || Ok::<_, io::Error>(self.cutting.last_line_end(&copy.content, copy.order(), size)? == size);
        if is_quiet && copy.shared.equal_to == size && file.is_settled(size) && is_whole()? {
            return Ok(Ok(Fate::Alone(size)));
        }
        Ok(self.note_shared(id, copy))
    }

    /// The journal has to know what a copy shares before its original can be gone: nobody could compare them then.
    fn note_shared(&self, id: PartitionId, copy: &mut Copy) -> Result<Fate, SourceError> {
        let Some(file) = copy.file.as_ref().filter(|_| !copy.content.is_unpacked()) else { return Ok(Fate::Copy) };
        let equal_to = copy.shared.equal_to;
        let settled = if file.is_settled(equal_to) { equal_to } else { copy.noted.1 };
        let is_news = equal_to == copy.size && equal_to > 0 && (equal_to, settled) != copy.noted;
        if let Some(evidence) = is_news.then(|| copy_evidence(&copy.content, copy.shared, copy.order()).ok()).flatten()
        {
            let evidence = evidence.to_json();
            self.journal(|journal, _| journal.still_copy(id, Position::at(settled), &evidence))?;
            copy.noted = (equal_to, settled);
        }
        Ok(Fate::Copy)
    }

    /// The original is not open: it waits for its copy, was not found at the start, or has ended.
    fn without_original(&self, copy: &Copy) -> Fate {
        let id = copy.original;
        if self.orphans.iter().any(|orphan| orphan.open.tail.file.id == id) {
            return Fate::Copy;
        }
        let known = copy.known().equal_to.min(copy.size);
        let Some(row) = self.dormant.iter().find(|row| row.id == id) else { return self.alone(copy, known) };
        if self.may_go_on_in_longer(row) {
            return Fate::Copy;
        }
        let settled = row.checkpoint.offset();
        if copy.is_mere_head(settled, &self.cutting) {
            return Fate::Alone(0);
        }
        // It has ended in this life. What is not settled can be read again here, should this life end first.
        if copy.file.as_ref().is_some_and(|file| !file.is_settled(copy.size.min(file.position()))) {
            return Fate::Copy;
        }
        let is_like_settled = holds_settled(row, &copy.content, &self.cutting);
        // Where it may have got lines of its own, what the journal holds behind the checkpoint would be looked for in them.
        let reaches_read = row.read_to.as_ref().is_some_and(|read| read.position.offset() <= copy.size);
        let holds_pending = known == 0 && is_like_settled && !reaches_read;
        // A whole twin has nothing of its own, and what the original owes is read nowhere else.
        let is_owed_twin = copy.content.is_unpacked() && known == copy.size && settled < known;
        if holds_read(row, &copy.content, &self.cutting) || holds_pending || is_owed_twin {
            return Fate::GoesOn;
        }
        let has_grown = known < copy.size;
        let known = if is_like_settled { known.max(settled) } else { known };
        // What was not read of a truncated file is read here, as far as it stands here.
        let known = copy.file.as_ref().map_or(known, |file| known.min(file.position()));
        // Seen while it was empty, it may have been taken for a copy of the wrong file.
        if known == 0 || has_grown && known < copy.shared.needed {
            return Fate::Other;
        }
        if known == settled { Fate::Alone(known) } else { self.alone(copy, known) }
    }

    /// What was not compared with the original may be the copy's own: in doubt it is read, from the beginning of a line.
    fn alone(&self, copy: &Copy, known: u64) -> Fate {
        Fate::Alone(self.cutting.last_line_end(&copy.content, copy.order(), known).unwrap_or(0))
    }

    /// A file that was still empty may have been taken for a copy of the wrong one.
    fn look_for_other(&mut self, id: PartitionId) -> Result<(), SourceError> {
        let Some(copy) = self.copies.remove(&id) else { return Ok(()) };
        // One that was empty so far has nothing of what it seemed to be a copy of.
        let order = copy.order().filter(|_| copy.known().equal_to > 0);
        let Copy { content, path, is_second, .. } = copy;
        match if is_second { Origin::Itself } else { self.origin(&content, &path) } {
            Origin::GoesOn(original) => self.go_on(original, content, path, Some(id)),
            Origin::CopyOf(original, shared) => {
                let evidence = copy_evidence(&content, shared, self.order_of(original));
                let evidence = evidence.map_or(String::new(), |evidence| evidence.to_json());
                self.journal(|journal, _| journal.copies(id, original, &evidence))?;
                self.watch_copy(id, original, shared, content, path);
                if let Some(copy) = self.copies.get_mut(&id) {
                    copy.is_second = true;
                }
                Ok(())
            }
            Origin::Itself => {
                info!(path = %path.display(), "a file is not the copy that it seemed to be; it is read");
                self.watch_copy(id, id, Shared::default(), content, path);
                if let Some(copy) = self.copies.get_mut(&id) {
                    copy.former_order = copy.former_order.or(order);
                }
                self.stand_alone(id, 0)
            }
        }
    }

    fn stand_alone(&mut self, id: PartitionId, from: u64) -> Result<(), SourceError> {
        let Some(copy) = self.copies.remove(&id) else { return Ok(()) };
        let order = copy.order();
        let Copy { original, content, path, .. } = copy;
        let prefix = prefix_up_to(&content, from);
        let evidence = prefix.clone().and_then(|mut prefix| {
            let evidence = Evidence::take(&content, from, prefix.link_before(from)).ok()?;
            Some(evidence.with_order(order).to_json())
        });
        // What it shares with its original counts as read: a later copy or twin of it is known by that as well.
        let hash = prefix.as_ref().filter(|prefix| prefix.at() == from && from > 0).map(Prefix::to_text);
        let read_to = hash.map(|hash| ReadTo { position: Position::at(from), hash });
        let known = KnownBy { partition: id, evidence: None, read_to };
        let evidence = evidence.unwrap_or_default();
        self.journal(|journal, _| journal.stands_alone(&known, Position::at(from), &evidence))?;
        self.shares.push(Share { from: original, with: id, end: from });
        self.open_partition(id, content, path, Position::at(from), prefix);
        self.was_in(id, order);
        Ok(())
    }
}
