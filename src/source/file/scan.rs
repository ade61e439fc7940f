//! Walks of the globs: what is new is journalled and opened, what is known is followed.
//!
//! Always true: all files that one walk finds are journalled in one transaction before a byte of them is read; files that were
//! truncated are seen before new ones are compared with what there was.

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use tracing::{debug, info, warn};

use crate::failpoint;
use crate::journal::PartitionRow;
use crate::record::{PartitionId, Position};
use crate::source::SourceError;

use super::content::Content;
use super::crowd;
use super::discover::{Walk, by_path};
use super::files::{Files, names_of};
use super::identity::Evidence;
use super::names;
use super::origin::Origin;
use super::recognise::{Found, NewFile};

/// Where names change all the time, nothing waits for a walk that has missed none longer than so many.
const WALKS_IN_DOUBT_MAX: u8 = 5;
/// In one walk the folders are listed so often at most.
const LISTINGS_MAX: u32 = 8;

/// The files that one walk has met.
#[derive(Default)]
struct Met {
    new: Vec<NewFile>,
    refused: HashSet<PathBuf>,
    /// As they were listed last, but for those that were gone when they were to be opened.
    listed: Vec<(PathBuf, u64)>,
}

impl Files {
    /// Walks the globs, follows renames, opens what the journal knows, and says what is new.
    pub(super) fn find(&mut self) -> Result<Vec<NewFile>, SourceError> {
        self.watches.set(self.discovery.watched());
        self.last_scan = Instant::now();
        self.is_scan_wanted = false;
        let was_crowded = std::mem::take(&mut self.is_crowded);
        self.waiting = 0;
        self.open.values_mut().for_each(|open| open.is_matched = false);
        let mut met = Met::default();
        let mut is_whole = self.list(&mut met)?;
        // A file whose name changes between the listing and its opening is listed under a name that it has no more: it is there
        // under another one, and may be the one that a partition has to go on in.
        for _ in 1..LISTINGS_MAX {
            is_whole = is_whole || !self.may_go_on(&met.new) || self.list(&mut met)?;
        }
        self.walks_in_doubt = if is_whole { 0 } else { self.walks_in_doubt.saturating_add(1) };
        self.note_rotated();
        let Met { new, refused, .. } = met;
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

    /// Lists the folders and meets what was not listed before. Whether that was nothing.
    fn list(&mut self, met: &mut Met) -> Result<bool, SourceError> {
        let Walk { files, errors, has_links } = self.discovery.scan();
        failpoint::gap("walked");
        self.has_links = has_links;
        for (path, error) in errors {
            self.refuse(&path, &error, &mut met.refused);
        }
        let before = std::mem::take(&mut met.listed);
        let mut is_whole = true;
        for file in files {
            let is_known = before.binary_search_by(|other| by_path(other, &file)).is_ok();
            let is_there = is_known || self.meet(&file.0, met)?;
            is_whole &= is_known;
            if is_there {
                met.listed.push(file);
            }
        }
        Ok(is_whole)
    }

    /// A path that was listed. False when nothing is there any more.
    fn meet(&mut self, path: &Path, met: &mut Met) -> Result<bool, SourceError> {
        failpoint::gap("recognising");
        match self.recognise(path, met.new.len()) {
            Ok(Some(Found::Known(id))) => self.seen_again(id, path)?,
            Ok(Some(Found::Dormant(row, content))) => self.found_again(row, content, path.to_owned())?,
            Ok(Some(Found::New(file))) => match met.new.iter_mut().find(|new| new.content.key == file.content.key) {
                Some(new) => new.path = file.path,
                None => met.new.push(file),
            },
            Ok(Some(Found::Gone)) => return Ok(false),
            Ok(None) => {}
            Err(error) => self.refuse(path, &error, &mut met.refused),
        }
        Ok(true)
    }

    /// Whether a partition may have to go on in another file, so that none may be missed.
    fn may_go_on(&self, new: &[NewFile]) -> bool {
        !self.copies.is_empty() || !self.orphans.is_empty() || !(new.is_empty() || self.dormant.is_empty())
    }

    /// Whether the last walk may have missed a file, as names were changed meanwhile, and another walk is to be awaited.
    pub(super) fn may_have_missed(&self) -> bool {
        (1..WALKS_IN_DOUBT_MAX).contains(&self.walks_in_doubt)
    }

    /// Whether something may go on in a copy and waits for a walk that has missed none.
    pub fn waits_for_walk(&self) -> bool {
        self.may_have_missed() && !(self.copies.is_empty() && self.orphans.is_empty())
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
    pub(super) fn take_up(&mut self, mut found: Vec<NewFile>) -> Result<(), SourceError> {
        if !found.is_empty() {
            failpoint::gap("found");
            self.look_for_truncated()?; // Their copies may be among these.
        }
        // The longest first: a partition goes on in the one that holds most, and shorter ones are compared with that.
        found.sort_by_cached_key(|file| std::cmp::Reverse(file.content.look().map_or(0, |seen| seen.size)));
        let mut new = Vec::new();
        for mut file in found {
            failpoint::gap("comparing");
            // What was there at the first start is read as it is.
            let is_first = file.checkpoint > 0 || !self.context.scanned;
            match if is_first { Origin::Itself } else { self.origin(&file.content, &file.path) } {
                Origin::GoesOn(original) => self.go_on(original, file.content, file.path, None)?,
                Origin::CopyOf(original, shared) => {
                    file.become_copy(original, shared, self.order_of(original));
                    new.push(file);
                }
                Origin::Itself => new.push(file),
            }
        }
        if new.is_empty() && self.context.scanned {
            return Ok(());
        }
        failpoint::gap("registering");
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
            let order = file.evidence.order();
            self.open_partition(id, file.content, file.path, Position::at(file.checkpoint), None);
            self.was_in(id, order);
        }
        Ok(())
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

    fn seen_again(&mut self, id: PartitionId, path: &Path) -> Result<(), SourceError> {
        if let Some(copy) = self.copies.get_mut(&id) {
            copy.path = path.to_owned();
        }
        let Some(open) = self.open.get_mut(&id) else { return Ok(()) };
        let was_matched = std::mem::replace(&mut open.is_matched, true);
        // Of two names of one file the first one that the scan meets stays.
        if !was_matched && !open.tail.file.is_called(path) {
            if open.is_truncated() {
                // First it is another file, then that has another name: the copies of the old one extend the old name.
                self.is_scan_wanted = true;
                return Ok(());
            }
            let stored = open.tail.file.path();
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
}
