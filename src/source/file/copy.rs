//! One copy: what it shares with its original, compared byte by byte while both are there.
//!
//! Always true: everything before `shared.equal_to` was compared in this life with what was read of the original or stood behind
//! that. A compressed copy was compared when it was examined.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use crate::failpoint;
use crate::record::PartitionId;

use super::alike::equal_up_to;
use super::content::{Content, Seen};
use super::cutting::{Cutting, Order};
use super::identity::Shared;
use super::open_file::OpenFile;
use super::tailed::TailedFile;
use super::text::TextEnd;

/// Bytes compared in one look, so that a large copy holds up nothing.
const STEP: u64 = 16 << 20;
/// A file that is equal to another partition's as far as both go.
pub struct Copy {
    pub original: PartitionId,
    /// The original, once it was open in this life.
    pub(super) file: Option<Arc<TailedFile>>,
    pub content: Arc<Content>,
    pub path: PathBuf,
    /// The byte order that it had before, or its mark says.
    pub(super) former_order: Order,
    /// What was compared in this life.
    pub(super) shared: Shared,
    /// Up to where it was equal in an earlier life. Its original may have been written anew since.
    pub(super) was_equal_to: u64,
    /// Up to where the journal knows it to be equal, and how much of that to be settled.
    pub(super) noted: (u64, u64),
    /// Whether it was taken for a copy of another one before: the next mistake is the last.
    pub(super) is_second: bool,
    /// Where it ends, without NULs at its end.
    pub(super) size: u64,
    pub(super) text: TextEnd,
    pub(super) seen: Option<Seen>,
    pub(super) last_change: Instant,
}

/// What becomes of a copy.
pub(super) enum Fate {
    Copy,
    /// It stands alone from this position on.
    Alone(u64),
    /// The original's partition goes on in it.
    GoesOn,
    /// It is no copy of this one.
    Other,
}

impl Copy {
    pub fn is_of(&self, original: PartitionId) -> bool {
        self.original == original
    }

    /// The byte order of its content, if no mark of its own says another one: it is that of its original.
    pub(super) fn order(&self) -> Order {
        self.former_order.or_else(|| self.file.as_ref()?.order())
    }

    /// Looks how much it holds by now. A copy may get its size before it is made, too.
    pub(super) fn look(&mut self, cutting: &Cutting) -> io::Result<()> {
        let seen = self.content.look()?;
        let is_news = self.seen.replace(seen) != Some(seen) || self.text.goes_on(&self.content)?;
        let from = self.shared.equal_to.min(seen.size);
        self.text.look(&self.content, cutting, (from, seen.size), is_news)?;
        if self.text.end != self.size {
            self.size = self.text.end;
            self.last_change = Instant::now();
        }
        Ok(())
    }

    /// What it is known to share with its original, as this life or an earlier one has compared them.
    pub(super) fn known(&self) -> Shared {
        Shared { equal_to: self.shared.equal_to.max(self.was_equal_to), ..self.shared }
    }

    /// Whether it holds no more than the head of the first line of a file of which more was read: any file of that log begins
    /// so, and nobody is completing this one.
    pub(super) fn is_mere_head(&self, read: u64, cutting: &Cutting) -> bool {
        let is_shorter = self.size > 0 && self.size < read;
        is_shorter && cutting.last_line_end(&self.content, self.order(), self.size).is_ok_and(|end| end == 0)
    }

    /// Compares on from where it is equal. The copy's size was taken before that of the original, so a copy that is longer
    /// has got bytes of its own.
    pub(super) fn compare(&mut self, original: &OpenFile, cutting: &Cutting, is_whole: bool) -> io::Result<Fate> {
        let other = original.tail.file.content()?;
        let end = other.look()?.size;
        let bound = self.size.min(end);
        let before = self.shared.equal_to;
        let limit = if is_whole { bound } else { bound.min(before.saturating_add(STEP)) };
        if self.size < before {
            return Ok(Fate::Alone(0)); // It was truncated itself: what it holds now is new.
        }
        failpoint::gap("comparing-copy");
        let equal_to = equal_up_to(&self.content, &other, before, limit)?;
        failpoint::gap("compared-copy");
        if end < original.tail.position.max(original.tail.size) || !original.tail.file.is_unchanged()? {
            return Ok(Fate::Copy); // The original was truncated just now: the next look sees it.
        }
        self.shared.equal_to = equal_to;
        if equal_to == bound && self.size <= end || equal_to == limit && limit < bound {
            return Ok(Fate::Copy);
        }
        if equal_to < self.shared.needed {
            return Ok(Fate::Other);
        }
        cutting.last_line_end(&self.content, self.order(), equal_to).map(Fate::Alone)
    }
}
