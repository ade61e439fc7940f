//! Partitions that go on in another file: the copy or the compressed twin of one that is gone or was truncated.
//!
//! Always true: a partition goes on only in a file that holds everything that was read of it, at the same position. The
//! journal knows of it, and no more of the other file's own row, before anything is read there.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use tracing::info;

use crate::failpoint;
use crate::journal::{NewPartition, PartitionRow};
use crate::record::{PartitionId, Position, SourcePartition};
use crate::source::SourceError;

use super::alike::holds_all;
use super::content::Content;
use super::copy::Copy;
use super::files::{Files, names_of};
use super::identity::Evidence;
use super::tail::Tail;

impl Files {
    /// The longest copy of a partition in which it can go on, as all that was read is in it.
    pub(super) fn copy_to_go_on_in(&self, original: &Tail) -> Option<PartitionId> {
        let copies = self.copies.iter().filter(|(_, copy)| copy.original == original.file.id);
        let can = copies.filter(|(_, copy)| holds_all(original, &copy.content));
        can.max_by_key(|(_, copy)| copy.content.look().map_or(0, |seen| seen.size)).map(|(&id, _)| id)
    }

    /// Whether a compressed file is being examined that may hold all of a file that is gone, and so more than its copies.
    pub(super) fn may_go_on_in_twin(&self, row: &PartitionRow) -> bool {
        names_of(row).iter().any(|name| self.may_have_twin(name))
    }

    /// Whether there may be a longer copy of a file that is gone than those that are known.
    pub(super) fn may_go_on_in_longer(&self, row: &PartitionRow) -> bool {
        self.may_have_missed() || self.may_go_on_in_twin(row)
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
        failpoint::gap("going-on");
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
            let evidence =
                file.evidence(Position::at(file.checkpoint())).map_or(String::new(), |evidence| evidence.text);
            let to = new_place(&content, &path, evidence);
            return self.journal(|journal, _| journal.goes_on(id, &to, copy));
        }
        let Some(index) = self.dormant.iter().position(|row| row.id == id) else { return Ok(()) };
        let row = self.dormant.remove(index);
        let known = Evidence::from_json(&row.evidence);
        let mut prefix = known.as_ref().and_then(Evidence::prefix);
        let order = known.as_ref().and_then(Evidence::order);
        let link = prefix.as_mut().and_then(|prefix| prefix.link_before(row.checkpoint.offset()));
        let names = names_of(&row).iter().map(|name| name.display().to_string()).collect();
        let evidence = Evidence::take(&content, row.checkpoint.offset(), link);
        let evidence =
            evidence.map_or(String::new(), |evidence| evidence.with_names(names).with_order(order).to_json());
        let to = new_place(&content, &path, evidence);
        self.journal(|journal, _| journal.goes_on(id, &to, copy))?;
        self.open_partition(id, content, path, row.checkpoint, prefix);
        self.was_called(&row);
        Ok(())
    }
}

fn new_place(content: &Content, path: &Path, evidence: String) -> NewPartition {
    let (device, inode) = (content.key.device, content.key.inode);
    let place = path.display().to_string();
    NewPartition { place, device, inode, checkpoint: Position::BEGINNING, evidence, copy_of: None }
}
