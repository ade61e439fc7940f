//! More files than may be open: those that are quiet make room for others.
//!
//! Always true: a file is closed only when all of it is read and settled, and is opened again as soon as its size or its
//! modification time has changed. So every file is read, however few may be open, and what is closed owes nothing.

use std::fs::Metadata;
use std::time::{Duration, SystemTime};

use tracing::debug;

use crate::journal::{Beginning, NewPartition, PartitionRow};
use crate::record::{PartitionId, SourcePartition};

use super::content::has_room_for_another;
use super::files::Files;
use super::identity::FileKey;
use super::let_go::row_of;
use super::open_file::OpenFile;

/// So many files each stream may open whatever the others have open.
const OPEN_MIN: usize = 8;
/// Between two walks of the globs while files wait for others to be closed.
const SCAN_CROWDED: Duration = Duration::from_secs(1);

/// A file that was closed to make room, as it was then.
pub struct Resting {
    size: u64,
    modified: Option<SystemTime>,
}

impl Files {
    /// Whether another file may be opened, after a quiet one has been closed if need be. `new` files have been opened that
    /// have no partition yet.
    pub(super) fn make_room(&mut self, new: usize) -> bool {
        if has_room_for_another() || self.open.len() + new < OPEN_MIN {
            return true;
        }
        let may_rest = |(id, open): &(&PartitionId, &OpenFile)| {
            let is_shared = open.tail.file.content().is_ok_and(|content| content.is_shared());
            open.owes_nothing() && !is_shared && !self.copies.values().any(|copy| copy.is_of(**id))
        };
        let longest = self.open.iter().filter(may_rest).min_by_key(|(_, open)| open.last_growth).map(|(&id, _)| id);
        let has_room = longest.is_some_and(|id| self.rest(id));
        self.is_crowded |= !has_room;
        has_room
    }

    /// Closes a file that owes nothing. False when it has grown meanwhile.
    fn rest(&mut self, id: PartitionId) -> bool {
        let Some(open) = self.open.get_mut(&id) else { return false };
        let is_there = matches!(open.tail.look(), Ok(true));
        let metadata = open.tail.file.content().and_then(|content| content.file.metadata());
        let Ok(metadata) = metadata else { return false };
        if !is_there || !open.owes_nothing() {
            return false;
        }
        let Some(open) = self.open.remove(&id) else { return false };
        let (file, row) = (open.tail.file.clone(), row_of(&open));
        debug!(path = file.name(), "a quiet file is closed to make room for another");
        self.by_key.remove(&file.key());
        // The stream holds on to the partition, not to the descriptor.
        file.detach();
        self.resting.insert(file.key(), Resting { size: metadata.len(), modified: metadata.modified().ok() });
        self.dormant.push(row);
        true
    }

    /// Whether a file was closed to make room and is as it was then.
    pub(super) fn is_resting(&mut self, metadata: &Metadata) -> bool {
        let key = FileKey::of(metadata);
        let Some(resting) = self.resting.get(&key) else { return false };
        let is_unchanged = resting.size == metadata.len() && resting.modified == metadata.modified().ok();
        if !is_unchanged {
            self.resting.remove(&key);
        }
        is_unchanged
    }

    /// Whether files wait for others to be closed, and some could be by now.
    pub(super) fn can_make_room(&self) -> bool {
        self.is_crowded && self.since_scan() >= SCAN_CROWDED && self.open.values().any(OpenFile::owes_nothing)
    }

    /// Whether writing to closed files has to be looked for.
    pub fn has_resting(&self) -> bool {
        !self.resting.is_empty()
    }
}

/// The journal's row of a file that was seen first when no more could be opened.
pub fn unopened(id: PartitionId, new: NewPartition) -> PartitionRow {
    PartitionRow {
        id,
        uuid: String::new(),
        place: new.place,
        device: new.device,
        inode: new.inode,
        checkpoint: new.checkpoint,
        evidence: new.evidence,
        read_to: None,
        copy_of: None,
        gone_since: None,
        beginning: Beginning::default(), // The journal's own stays as it is.
    }
}
