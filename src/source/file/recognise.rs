//! What a path is: a file that is open, one whose checkpoint is in the journal, or one that was never seen.
//!
//! Always true: a file is taken for a journalled one only if device, inode and content say so; in doubt it is new, and read.

use std::collections::HashSet;
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tracing::info;
use walkdir::{DirEntryExt, WalkDir};

use crate::config::model::InitialPosition;
use crate::failpoint;
use crate::journal::{NewPartition, PartitionRow};
use crate::record::{PartitionId, Position};
use crate::source::SourceError;

use super::alike::copy_evidence;
use super::content::{Content, CountedFile, Packing};
use super::cutting::Order;
use super::files::Files;
use super::identity::{Evidence, FileKey, Shared};
use super::prefix::Prefix;
use super::text::has_text;

/// Names looked at when a renamed file is searched for.
const SEARCH_ENTRIES: usize = 100_000;
/// So often it is searched for at most, while names change.
const SEARCHES_MAX: u32 = 8;

pub enum Found {
    Known(PartitionId),
    Dormant(PartitionRow, Arc<Content>),
    New(NewFile),
    /// Nothing is there any more.
    Gone,
}

/// A file that no partition of the journal is.
pub struct NewFile {
    pub content: Arc<Content>,
    pub path: PathBuf,
    pub checkpoint: u64,
    pub evidence: Evidence,
    pub copy_of: Option<(PartitionId, Shared)>,
}

impl NewFile {
    /// It is a copy of that partition, which has this byte order, as far as is known.
    pub fn become_copy(&mut self, original: PartitionId, shared: Shared, order: Order) {
        self.copy_of = Some((original, shared));
        // Where none can be taken now, what they share is compared again in the next life.
        let order = self.evidence.order().or(order);
        if let Ok(evidence) = copy_evidence(&self.content, shared, order) {
            self.evidence = evidence;
        }
    }

    pub fn row(&self) -> NewPartition {
        NewPartition {
            place: self.path.display().to_string(),
            device: self.content.key.device,
            inode: self.content.key.inode,
            checkpoint: Position::at(self.checkpoint),
            evidence: self.evidence.to_json(),
            copy_of: self.copy_of.map(|(original, _)| original),
        }
    }
}

impl Files {
    /// `None` where it is not to be read by now. `new` files have been opened before it that have no partition yet.
    pub(super) fn recognise(&mut self, path: &Path, new: usize) -> io::Result<Option<Found>> {
        let Some(metadata) = if_there(std::fs::metadata(path))? else { return Ok(Some(Found::Gone)) };
        if let Some(&id) = self.by_key.get(&FileKey::of(&metadata)) {
            return Ok(Some(Found::Known(id)));
        }
        failpoint::gap("named");
        if self.is_resting(&metadata) {
            return Ok(None);
        }
        if !self.make_room(new) {
            self.waiting += 1;
            return if self.context.scanned { Ok(None) } else { self.note_unopened(path) };
        }
        let Some(file) = if_there(File::open(path))?.map(CountedFile::new) else { return Ok(Some(Found::Gone)) };
        failpoint::gap("opened");
        let content = match Packing::of(path, &file)? {
            None if Packing::is_begun(path, &file)? => return Ok(None),
            None => Arc::new(Content::plain(file)?),
            Some(packing) => match self.known_packed(&file, packing) {
                Some((row, unpacked)) => {
                    let content = Content::unpacked(Arc::new(file), packing, unpacked)?;
                    return Ok(Some(Found::Dormant(row, Arc::new(content))));
                }
                None if self.context.scanned || self.initial_position == InitialPosition::TrimHorizon => {
                    return self.await_twin(file, path, packing).map(|()| None);
                }
                None => Arc::new(self.unpacked_now(file, path, packing)?),
            },
        };
        if let Some(&id) = self.by_key.get(&content.key) {
            return Ok(Some(Found::Known(id)));
        }
        if let Some(row) = self.take_dormant(&content, path) {
            return Ok(Some(Found::Dormant(row, content)));
        }
        self.new_file(content, path).map(|new| Some(Found::New(new)))
    }

    /// The first scan journals all files that it finds, also those that have to wait until others are closed.
    fn note_unopened(&mut self, path: &Path) -> io::Result<Option<Found>> {
        let Some(file) = if_there(File::open(path))?.map(CountedFile::new) else { return Ok(None) };
        let content = match Packing::of(path, &file)? {
            None => Content::plain(file)?,
            Some(_) if self.initial_position == InitialPosition::TrimHorizon => return Ok(None),
            Some(packing) => self.unpacked_now(file, path, packing)?,
        };
        let new = self.new_file(content.into(), path)?;
        let key = new.content.key;
        if !self.unopened.iter().any(|other| other.device == key.device && other.inode == key.inode) {
            self.unopened.push(new.row());
        }
        Ok(None)
    }

    fn new_file(&self, content: Arc<Content>, path: &Path) -> io::Result<NewFile> {
        let checkpoint = self.first_checkpoint(&content)?;
        let evidence = Evidence::take(&content, checkpoint, Prefix::beginning_at(checkpoint).link_before(checkpoint))?;
        // Its mark may be gone before anything of it is settled.
        let evidence =
            evidence.with_order(self.cutting.order_by_mark(&content).or_else(|| self.order_before(&content)));
        Ok(NewFile { content, path: path.to_owned(), checkpoint, evidence, copy_of: None })
    }

    /// The byte order of what the file held before it was truncated.
    fn order_before(&self, content: &Content) -> Order {
        let is_of_inode = |row: &&PartitionRow| row.device == content.key.device && row.inode == content.key.inode;
        let evidence =
            self.dormant.iter().rev().filter(is_of_inode).filter_map(|row| Evidence::from_json(&row.evidence));
        evidence.filter(|evidence| evidence.is_of_birth(content)).find_map(|evidence| evidence.order())
    }

    /// The journalled partition that the file is, the one seen last first.
    fn take_dormant(&mut self, content: &Content, path: &Path) -> Option<PartitionRow> {
        let file = &content.file;
        let is_it = |row: &PartitionRow| {
            row.device == content.key.device
                && row.inode == content.key.inode
                && match Evidence::from_json(&row.evidence) {
                    Some(evidence) => {
                        // An inode number alone proves nothing, with the same name neither: what was empty and holds
                        // something now may be a copy, and is read as a new file if not. What left the globs would not be.
                        let is_same = || Path::new(&row.place) == path && !has_text(content).unwrap_or(true);
                        let is_known_copy = || row.copy_of.is_some() && evidence.is_of_birth(content);
                        (!evidence.is_void() || is_same() || is_known_copy() || !self.discovery.is_match(path))
                            && evidence.packed().is_none()
                            && evidence.matches(content, row.checkpoint.offset(), row.read_to.as_ref()).unwrap_or(false)
                    }
                    None => file.metadata().is_ok_and(|metadata| metadata.len() >= row.checkpoint.offset()),
                }
        };
        let index = self.dormant.iter().rposition(is_it)?;
        Some(self.dormant.remove(index))
    }

    /// The journalled partition that a compressed file is, and to how many bytes it decompresses.
    fn known_packed(&mut self, file: &CountedFile, packing: Packing) -> Option<(PartitionRow, u64)> {
        let key = FileKey::of(&file.metadata().ok()?);
        let content = Content::unpacked(Arc::new(CountedFile::new(file.try_clone().ok()?)), packing, 0).ok()?;
        let is_it = |row: &PartitionRow| {
            let evidence =
                Evidence::from_json(&row.evidence).filter(|_| row.device == key.device && row.inode == key.inode)?;
            let packed = evidence.packed()?;
            evidence.matches(&content, row.checkpoint.offset(), None).ok()?.then_some(packed.unpacked)
        };
        let (index, unpacked) = self.dormant.iter().enumerate().rev().find_map(|(n, row)| Some((n, is_it(row)?)))?;
        Some((self.dormant.remove(index), unpacked))
    }

    /// Where a file that is seen for the first time is read from.
    fn first_checkpoint(&self, content: &Content) -> io::Result<u64> {
        let is_later = self.context.scanned || self.is_from_beginning;
        if is_later || self.initial_position == InitialPosition::TrimHorizon {
            return Ok(0);
        }
        self.cutting.last_line_end(content, self.order_before(content), content.look()?.size)
    }

    /// Files of the journal that the globs do not match any more are searched for by their inode numbers.
    /// Those that the globs have found, under their own names or behind links, are judged already: `new` ones are new.
    pub(super) fn find_renamed(&mut self, new: &[NewFile]) -> Result<(), SourceError> {
        for _ in 0..SEARCHES_MAX {
            if !self.search_renamed(new)? {
                break;
            }
        }
        Ok(())
    }

    /// Whether one that was searched for had another name when it was to be opened.
    fn search_renamed(&mut self, new: &[NewFile]) -> Result<bool, SourceError> {
        let wanted: HashSet<u64> =
            self.dormant.iter().filter(|row| row.gone_since.is_none()).map(|row| row.inode).collect();
        if wanted.is_empty() {
            return Ok(false);
        }
        let mut folders = self.discovery.search_folders();
        folders.extend(self.dormant.iter().filter_map(|row| Path::new(&row.place).parent().map(Path::to_owned)));
        folders.sort_unstable();
        folders.dedup();
        let mut has_missed = false;
        for folder in folders {
            let entries = WalkDir::new(folder).max_depth(4).into_iter().filter_map(Result::ok).take(SEARCH_ENTRIES);
            for entry in entries.filter(|entry| entry.file_type().is_file() && wanted.contains(&entry.ino())) {
                failpoint::gap("searching");
                let Ok(metadata) = entry.path().symlink_metadata() else {
                    has_missed = true;
                    continue;
                };
                has_missed |= metadata.ino() != entry.ino();
                if is_among(new, FileKey::of(&metadata)) {
                    continue;
                }
                let found = self.recognise(entry.path(), 0);
                has_missed |= matches!(found, Ok(Some(Found::Gone)));
                let Ok(Some(Found::Dormant(row, content))) = found else { continue };
                info!(path = %entry.path().display(), was = row.place, "a file was renamed; reading goes on in it");
                let id = row.id;
                self.found_again(row, content, entry.into_path())?;
                if let Some(open) = self.open.get_mut(&id) {
                    open.is_matched = false;
                }
            }
        }
        Ok(has_missed)
    }
}

fn is_among(new: &[NewFile], key: FileKey) -> bool {
    new.iter().any(|file| file.content.key == key)
}

/// What does not exist is no error.
pub fn if_there<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        result => result.map(Some),
    }
}
