//! How files end: truncated, deleted, rotated out of the globs, or missing at the start.
//!
//! Always true: what was not read of a file is read from a copy if there is one; if not, its loss is reported with the number
//! of bytes, never silent. A file that is still being written to is never let go.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tracing::{debug, error, info};

use crate::failpoint;
use crate::journal::{Beginning, NewPartition, PartitionRow, ReadTo};
use crate::record::{PartitionId, Position, SourcePartition};
use crate::source::{SourceError, SourceEvent};

use super::files::Files;
use super::identity::{Evidence, FileKey};
use super::open_file::OpenFile;
use super::prefix::Prefix;

/// How long a file may be missing at the start before what it still owes is given up.
const MISSING_GRACE: Duration = Duration::from_secs(60);
/// Between two times at which the journal forgets files that are gone.
const FORGET_INTERVAL: Duration = Duration::from_secs(600);
/// Files that are gone and remembered, at most: the journal stays small where hundreds of files come and go each second.
const REMEMBERED_MAX: u32 = 10_000;
/// A file that has not grown for so long is quiet.
const QUIET: Duration = Duration::from_secs(60);

/// A partition whose file was truncated: its rest is in a copy that the next scan finds, or lost.
pub struct Orphan {
    pub open: OpenFile,
    /// Bytes of it that may still be in the file, which is read from its beginning.
    pub kept: u64,
    /// Whether a walk of the globs has begun since: whoever truncates a file has copied it before.
    pub is_searched: bool,
}

impl Files {
    /// Looks at all open files: have they grown, were they truncated, are they still needed?
    pub fn look(&mut self) -> Result<(), SourceError> {
        let now = Instant::now();
        let (mut truncated, mut finished) = (Vec::new(), Vec::new());
        let (mut behind, mut cut_off) = (0, Vec::new());
        for (&id, open) in &mut self.open {
            let before = open.tail.size;
            match open.tail.look() {
                Ok(true) => {
                    if open.tail.size != before {
                        open.last_growth = now;
                    } else if now.duration_since(open.last_growth) > QUIET {
                        open.tail.file.rest();
                    }
                    behind += open.tail.behind();
                    match open.tail.take_cut_off() {
                        0 => {}
                        lost => cut_off.push((open.tail.file.name(), lost)),
                    }
                    if open.is_finished(now) {
                        finished.push(id);
                    }
                }
                Ok(false) => truncated.push(id),
                Err(error) => open.postpone(&error),
            }
        }
        failpoint::gap("looked");
        self.context.counters.behind.store(behind, Ordering::Relaxed);
        cut_off.iter().for_each(|(path, lost)| self.report_lost(path, *lost));
        for id in truncated {
            self.begin_truncated(id)?;
        }
        for id in finished {
            self.close(id)?;
        }
        self.look_at_twins()?;
        self.look_at_copies()?;
        self.read_shared()
    }

    /// Sees truncation before new files are compared with what there was.
    pub(super) fn look_for_truncated(&mut self) -> Result<(), SourceError> {
        let truncated: Vec<_> =
            self.open.iter_mut().filter_map(|(&id, open)| open.is_truncated().then_some(id)).collect();
        truncated.into_iter().try_for_each(|id| self.begin_truncated(id))
    }

    /// A file that became shorter or other is a new partition from its beginning. The old one waits for a walk that may
    /// find its copy: whoever truncates a file has copied it before.
    fn begin_truncated(&mut self, id: PartitionId) -> Result<(), SourceError> {
        let Some(old) = self.open.remove(&id) else { return Ok(()) };
        let (file, path) = (old.tail.file.clone(), old.tail.file.path());
        let Ok(content) = file.content() else { return Ok(()) };
        if content.is_shared() {
            // The partition that reads the rest of the file sees what it is now.
            file.detach();
            self.orphans.push(Orphan { open: old, kept: 0, is_searched: false });
            self.is_scan_wanted = true;
            return Ok(());
        }
        failpoint::gap("truncated");
        self.by_key.remove(&content.key);
        info!(path = %path.display(), read = old.tail.position, "a file was truncated; it is read from its beginning");
        // Where nothing was read of it, it may only have become shorter.
        let is_shorter = old.tail.position == 0 && file.is_unchanged().unwrap_or(false);
        let kept = content.look().map_or(0, |seen| if is_shorter { seen.size } else { 0 });
        file.detach();
        // What is not read by now would be of the new content; a copy has it, or nobody. One that is known already may be older
        // than that which was made for the truncation.
        self.orphans.push(Orphan { open: old, kept, is_searched: false });
        self.is_scan_wanted = true;
        let chain = Prefix::beginning_at(0).link_before(0);
        let order = self.cutting.order_by_mark(&content).or_else(|| file.order());
        let evidence = Evidence::take(&content, 0, chain);
        let evidence = evidence.map_or(String::new(), |evidence| evidence.with_order(order).to_json());
        let FileKey { device, inode } = content.key;
        let place = path.display().to_string();
        let row = NewPartition { place, device, inode, checkpoint: Position::BEGINNING, evidence, copy_of: None };
        let ids = self.journal(|journal, stream| journal.register(stream, std::slice::from_ref(&row)))?;
        failpoint::gap("registered");
        if let Some(&id) = ids.first() {
            self.open_partition(id, content, path, Position::BEGINNING, None);
            self.was_in(id, order);
        }
        Ok(())
    }

    /// No new copy of a truncated file has been found: it goes on in one that is known, or what was not read of it is lost.
    pub fn give_up_orphans(&mut self) -> Result<(), SourceError> {
        for orphan in std::mem::take(&mut self.orphans) {
            let may_come = self.may_have_missed() || self.may_have_twin(&orphan.open.tail.file.path());
            if !orphan.is_searched || may_come {
                self.orphans.push(orphan);
                self.is_scan_wanted = true;
                continue;
            }
            if let Some(copy) = self.copy_to_go_on_in(&orphan.open.tail) {
                let id = orphan.open.tail.file.id;
                self.orphans.push(orphan);
                self.go_on_in_copy(id, copy)?;
                continue;
            }
            let Some(Orphan { open, kept, .. }) = self.go_on_in_share(orphan) else { continue };
            let (id, name, from) = (open.tail.file.id, open.tail.file.name(), Position::at(open.tail.position));
            self.report_lost(&name, open.tail.behind().saturating_sub(kept));
            self.events.push_back(SourceEvent::Unreadable { partition: id, name, from, is_cut: true });
            self.end(&open);
        }
        Ok(())
    }

    pub(super) fn report_lost(&self, path: &str, lost_bytes: u64) {
        if lost_bytes == 0 {
            return;
        }
        self.context.counters.lost_bytes.fetch_add(lost_bytes, Ordering::Relaxed);
        error!(path, lost_bytes, "a file was truncated before all of it could be read: at least these bytes are lost");
    }

    /// Lets go of a file that nobody writes to or needs any more.
    fn close(&mut self, id: PartitionId) -> Result<(), SourceError> {
        let Some(open) = self.open.remove(&id) else { return Ok(()) };
        let file = open.tail.file.clone();
        let is_shared = file.content().is_ok_and(|content| content.is_shared());
        if is_shared {
            self.end(&open);
            return Ok(());
        }
        failpoint::gap("closing");
        self.by_key.remove(&file.key());
        if let Some(copy) = self.copy_to_go_on_in(&open.tail) {
            self.open.insert(id, open);
            return self.go_on_in_copy(id, copy);
        }
        if open.tail.is_deleted {
            debug!(path = file.name(), "a deleted file was read to its end");
            self.end(&open);
        } else {
            debug!(path = file.name(), "a file that left the globs was read to its end");
            let row = row_of(&open);
            self.dormant.push(row);
        }
        Ok(())
    }

    /// The partition's file will never be there again. A late twin of it may be.
    fn end(&mut self, open: &OpenFile) {
        self.events.push_back(SourceEvent::Gone(open.tail.file.id));
        let ended = PartitionRow { device: 0, inode: 0, gone_since: Some(now_ms()), ..row_of(open) };
        self.dormant.push(ended);
        if self.dormant.len() > 2 * REMEMBERED_MAX as usize {
            let mut surplus = self.dormant.len() - REMEMBERED_MAX as usize;
            self.dormant.retain(|row| {
                let is_surplus = surplus > 0 && row.gone_since.is_some();
                surplus -= usize::from(is_surplus);
                !is_surplus
            });
        }
    }

    /// What the journal needs of files that did not come back is given up: at once with `--drain`, else after a while.
    /// Files that did not come back count as gone from then on.
    pub fn give_up_missing(&mut self) -> Result<(), SourceError> {
        let is_over = self.context.drain || self.started.elapsed() >= failpoint::wait(MISSING_GRACE);
        if !is_over
            || self.has_twins_to_examine()
            || self.waits_for_walk()
            || self.last_forgetting.is_some_and(|last| last.elapsed() < FORGET_INTERVAL)
        {
            return Ok(());
        }
        let missing = std::mem::take(&mut self.missing);
        for row in self.dormant.iter().filter(|row| missing.contains(&row.id)) {
            let (partition, name, from) = (row.id, row.place.clone(), row.checkpoint);
            self.events.push_back(SourceEvent::Unreadable { partition, name, from, is_cut: false });
        }
        let is_first = self.last_forgetting.is_none();
        self.last_forgetting = Some(Instant::now());
        if is_first {
            self.mark_missing()?;
        }
        self.forget()
    }

    /// Journalled files that neither a glob nor the search for renamed ones has found.
    fn mark_missing(&mut self) -> Result<(), SourceError> {
        let now = now_ms();
        let mut gone = Vec::new();
        for row in self.dormant.iter_mut().filter(|row| self.unfound.contains(&row.id)) {
            row.gone_since = Some(now);
            gone.push(row.id);
        }
        self.unfound.clear();
        if gone.is_empty() { Ok(()) } else { self.journal(|journal, _| journal.mark_gone(&gone, now, false)) }
    }

    fn forget(&mut self) -> Result<(), SourceError> {
        let living: Vec<_> = self.open.keys().chain(self.copies.keys()).copied().collect();
        let before = now_ms().saturating_sub(i64::try_from(self.forget_after.as_millis()).unwrap_or(i64::MAX));
        let forgotten = self.journal(|journal, stream| journal.forget_gone(stream, &living, before, REMEMBERED_MAX))?;
        if !forgotten.is_empty() {
            debug!(files = forgotten.len(), "files that are gone are forgotten");
            self.dormant.retain(|row| !forgotten.contains(&row.id));
        }
        Ok(())
    }
}

/// What the journal has, or will have when all is settled, of a file that is let go.
pub fn row_of(open: &OpenFile) -> PartitionRow {
    let file = &open.tail.file;
    let position = Position::at(open.tail.position);
    let key = file.key();
    PartitionRow {
        id: file.id,
        uuid: String::new(),
        place: file.name(),
        device: key.device,
        inode: key.inode,
        checkpoint: position,
        evidence: file.evidence(position).map_or(String::new(), |evidence| evidence.text),
        read_to: file.read_so_far().map(|(position, hash)| ReadTo { position, hash }),
        copy_of: None,
        gone_since: None,
        beginning: Beginning::default(), // The journal's own stays as it is.
    }
}

pub fn now_ms() -> i64 {
    Timestamp::now().as_millisecond()
}
