//! Files that were copies: what they share with a partition whose file is gone is read for that one.
//!
//! Always true: the beginning of a former copy belongs to its original, the rest is its own; each is read by its partition
//! alone. What the original has not settled when its file is gone is read from the copy, up to where both are equal. The
//! journal knows of it as long as it is owed, so it is so in each life.

use std::path::PathBuf;
use std::sync::Arc;

use tracing::info;

use crate::journal::PartitionRow;
use crate::record::{PartitionId, SourcePartition};
use crate::source::SourceError;

use super::content::Content;
use super::files::Files;
use super::identity::Evidence;
use super::let_go::Orphan;

/// A file of its own that begins with what another partition reads.
pub struct Share {
    /// That other partition.
    pub from: PartitionId,
    pub with: PartitionId,
    pub end: u64,
}

impl Share {
    /// What a partition shares, as the journal knows it.
    pub fn of(row: &PartitionRow) -> Option<Self> {
        let end = row.beginning.shared_to.offset();
        row.beginning.shared_with.filter(|_| end > 0).map(|from| Self { from, with: row.id, end })
    }
}

impl Files {
    /// Opens partitions whose file is gone where it is shared.
    pub(super) fn read_shared(&mut self) -> Result<(), SourceError> {
        for share in std::mem::take(&mut self.shares) {
            let open = self.open.get(&share.from);
            let is_there = open.is_some_and(|open| !open.tail.file.is_settled(share.end));
            let is_orphan = self.orphans.iter().any(|orphan| orphan.open.tail.file.id == share.from);
            let Some(index) = self.dormant.iter().position(|row| row.id == share.from) else {
                if is_there || is_orphan {
                    self.shares.push(share); // Its file may go before it is settled.
                }
                continue;
            };
            let row = &self.dormant[index];
            // Of what has ended in this life, all was read.
            let is_owed = row.gone_since.is_none() && row.checkpoint.offset() < share.end;
            if !is_owed {
                continue;
            }
            if self.may_go_on_in_twin(row) {
                self.shares.push(share);
                continue;
            }
            let Some((content, path)) = self.shared_content(&share) else { continue };
            let row = self.dormant.remove(index);
            let prefix = Evidence::from_json(&row.evidence).and_then(|evidence| evidence.prefix());
            info!(path = %path.display(), was = row.place, to = share.end, "what a file that is gone still owes is read from what was its copy");
            let key = content.key;
            self.open_partition(row.id, content, path, row.checkpoint, prefix);
            self.by_key.insert(key, share.with);
            self.was_called(&row);
            if let Some(open) = self.open.get_mut(&row.id) {
                open.is_matched = false;
            }
        }
        Ok(())
    }

    /// What was not read of a truncated file may stand in one that was its copy. Gives it back if not.
    pub(super) fn go_on_in_share(&mut self, mut orphan: Orphan) -> Option<Orphan> {
        let (id, tail) = (orphan.open.tail.file.id, &mut orphan.open.tail);
        let shares = self.shares.iter().filter(|share| share.from == id && share.end > tail.position);
        let Some(share) = shares.max_by_key(|share| share.end) else { return Some(orphan) };
        let Some((content, path)) = self.shared_content(share) else { return Some(orphan) };
        info!(path = %path.display(), to = share.end, "what was not read of a truncated file is read from what was its copy");
        self.report_lost(&tail.file.name(), tail.size.saturating_sub(share.end));
        tail.file.go_on_in(content, &path);
        tail.turn_to_other_file();
        orphan.open.is_matched = false;
        self.open.insert(id, orphan.open);
        None
    }

    fn shared_content(&self, share: &Share) -> Option<(Arc<Content>, PathBuf)> {
        let file = &self.open.get(&share.with)?.tail.file;
        let content = file.content().ok().filter(|content| !content.is_unpacked())?;
        Some((Arc::new(content.up_to(share.end)), file.path()))
    }
}
