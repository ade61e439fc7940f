//! Where a new file comes from: it is the copy of one that is known, or a file of its own.
//!
//! Always true: a file is taken for a copy only if its name extends one that the original has or had, and if nothing in it
//! differs from what was read of that. In doubt it is a file of its own, and read.

use std::path::Path;

use crate::journal::PartitionRow;
use crate::record::PartitionId;

use super::alike::{begins_like, holds_all, holds_read, was_like};
use super::content::Content;
use super::files::{Files, names_of};
use super::identity::{Shared, extend};
use super::let_go::Orphan;
use super::names;
use super::open_file::OpenFile;
use super::text::text_end;

/// Where a new file comes from.
pub enum Origin {
    /// This partition goes on in it.
    GoesOn(PartitionId),
    /// It holds the same as this partition as far as is known.
    CopyOf(PartitionId, Shared),
    Itself,
}

/// An origin is better if all that was read is known to be in the file, and the more that was.
type Rank = (bool, u64);

impl Files {
    /// Of several partitions the new file may be a copy of, the one of which most was read.
    pub(super) fn origin(&self, content: &Content, path: &Path) -> Origin {
        let Ok(size) = text_end(content, &self.cutting, 0) else { return Origin::Itself };
        let orphans = self.orphans.iter().filter_map(|orphan| self.orphan_origin(orphan, content, path));
        let dormant = self.dormant.iter().filter_map(|row| self.dormant_origin(row, content, path));
        let open = self.open.values().filter_map(|open| open_origin(open, content, path, size));
        let best = orphans.chain(dormant).chain(open).max_by_key(|&(rank, _)| rank);
        best.map_or_else(|| self.shorter_copy(content, path, size), |(_, origin)| origin)
    }

    fn orphan_origin(&self, orphan: &Orphan, content: &Content, path: &Path) -> Option<(Rank, Origin)> {
        let tail = &orphan.open.tail;
        if !tail.file.is_or_was(|name| names::extends(name, path)) || !holds_all(tail, content) {
            return None;
        }
        let (id, read) = (tail.file.id, tail.position);
        // A twin that is being examined may hold more, or a copy that the walk has missed or was made since it began; they are no
        // copies of a shorter one.
        let waits = !orphan.is_searched || self.may_have_missed() || self.may_have_twin(&tail.file.path());
        let shared = Shared { equal_to: read, needed: read };
        Some(((true, read), if waits { Origin::CopyOf(id, shared) } else { Origin::GoesOn(id) }))
    }

    fn dormant_origin(&self, row: &PartitionRow, content: &Content, path: &Path) -> Option<(Rank, Origin)> {
        if !names_of(row).iter().any(|name| names::extends(name, path)) {
            return None;
        }
        let read = row.read_to.as_ref().map_or(0, |read| read.position.offset());
        let holds_read = holds_read(row, content, &self.cutting);
        let origin = match holds_read {
            true if self.may_go_on_in_longer(row) => Origin::CopyOf(row.id, Shared { equal_to: read, needed: read }),
            true => Origin::GoesOn(row.id),
            // It may be the beginning of what the twin holds.
            false if self.may_go_on_in_twin(row) => {
                Origin::CopyOf(row.id, Shared { equal_to: 0, needed: row.checkpoint.offset() })
            }
            false => return None,
        };
        Some(((holds_read, read), origin))
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
        let shared = Shared { equal_to: size, needed: size };
        let original = self.orphans.iter().find(is_it);
        original.map_or(Origin::Itself, |orphan| Origin::CopyOf(orphan.open.tail.file.id, shared))
    }
}

fn open_origin(open: &OpenFile, content: &Content, path: &Path, size: u64) -> Option<(Rank, Origin)> {
    let tail = &open.tail;
    if !tail.file.is_or_was(|name| names::extends(name, path)) {
        return None;
    }
    let equal_to = begins_like(open, content, size).or_else(|| was_like(open, content))?;
    let needed = if tail.position == 0 { tail.size.max(1) } else { tail.position };
    Some(((true, tail.position), Origin::CopyOf(tail.file.id, Shared { equal_to, needed })))
}
