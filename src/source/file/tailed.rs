//! A partition's file as everybody sees it: where it lies, what it is known by, and how far it was read.
//!
//! Always true: the hash covers exactly what was read, from the bytes that were read. The file behind a partition may change
//! (its copy goes on for it, or it is closed for a while); the partition and its positions never do.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use bytes::Bytes;
use encoding_rs::Encoding;

use crate::failpoint;
use crate::record::{NoHeader, PartitionId, PlacedEvidence, Position, SourcePartition};

use super::content::{Content, Seen};
use super::identity::{Evidence, FileKey};
use super::prefix::Prefix;
use super::read_so_far::{CHECKED, ReadSoFar};

/// Earlier names that are kept: the first one, which most copies extend, and the last ones.
const FORMER_MAX: usize = 4;
/// Bytes read at once to bring the hash up to the position.
const CATCH_UP: u64 = 1 << 20;

/// An open file; shared with whoever still needs its identity or its bytes.
pub struct TailedFile {
    pub id: PartitionId,
    place: Mutex<Place>,
    /// The journalled checkpoint, as far as the stream has told.
    checkpoint: AtomicU64,
    read: Mutex<ReadSoFar>,
    /// The last header line, once it has been read; none if it is too long to be kept.
    pub(super) header: OnceLock<Result<Bytes, NoHeader>>,
    /// What the byte order mark says, where it decides.
    pub(super) encoding: OnceLock<&'static Encoding>,
    /// What the mark of what it held before said: it counts where there is no other mark.
    former_order: OnceLock<&'static Encoding>,
}

struct Place {
    path: PathBuf,
    /// Earlier names: other copies were made of it under them.
    former: Vec<PathBuf>,
    key: FileKey,
    content: Option<Arc<Content>>,
}

impl TailedFile {
    /// `prefix` is the chain that the journal has for this partition; without one, it begins here.
    pub fn new(id: PartitionId, content: Arc<Content>, path: PathBuf, checkpoint: u64, prefix: Option<Prefix>) -> Self {
        let prefix = prefix.filter(|p| p.at() <= checkpoint).unwrap_or_else(|| Prefix::beginning_at(checkpoint));
        let is_plain = !content.is_unpacked();
        let file = Self {
            id,
            place: Mutex::new(Place { path, former: Vec::new(), key: content.key, content: Some(content) }),
            checkpoint: AtomicU64::new(checkpoint),
            read: Mutex::new(ReadSoFar {
                position: checkpoint,
                prefix: Some(prefix),
                recent: Vec::new(),
                ahead: (checkpoint, Vec::new()),
            }),
            header: OnceLock::new(),
            encoding: OnceLock::new(),
            former_order: OnceLock::new(),
        };
        if is_plain {
            // At most one block, while it is surely there: it may be truncated before more is read.
            file.passed_to(checkpoint);
            file.recall(checkpoint);
        }
        file
    }

    /// Where the hash was handed over with all that comes before `checkpoint`, the last bytes of that were not read yet.
    fn recall(&self, checkpoint: u64) {
        let mut read = self.read();
        let length = checkpoint.min(CHECKED as u64);
        let mut bytes = Vec::with_capacity(CHECKED);
        if read.recent.is_empty()
            && read.prefix.is_some()
            && self.content().is_ok_and(|content| content.read(&mut bytes, checkpoint - length, length).is_ok())
        {
            read.recent = bytes;
        }
    }

    /// The path under which it was seen last.
    pub fn path(&self) -> PathBuf {
        self.place().path.clone()
    }

    /// Whether that is the path under which it was seen last.
    pub fn is_called(&self, path: &Path) -> bool {
        self.place().path.as_os_str() == path.as_os_str()
    }

    pub fn set_path(&self, path: &Path) {
        let mut place = self.place();
        let former = std::mem::replace(&mut place.path, path.to_owned());
        place.note_former(former);
    }

    /// Before this life, or in another file, it was called so.
    pub fn was_called(&self, path: PathBuf) {
        self.place().note_former(path);
    }

    /// Before it was truncated, or in an earlier life, a byte order mark said so.
    pub fn was_in(&self, order: Option<&'static Encoding>) {
        // Of several the first one counts, and there is one only.
        let _ = order.map(|order| self.former_order.set(order));
    }

    /// What its byte order mark says, else that which it had before.
    pub fn order(&self) -> Option<&'static Encoding> {
        self.encoding.get().or(self.former_order.get()).copied()
    }

    /// The names that it had before.
    pub fn former_names(&self) -> Vec<String> {
        self.place().former.iter().map(|path| path.display().to_string()).collect()
    }

    /// Whether `is_it` is true of its name or of one that it had.
    pub fn is_or_was(&self, is_it: impl Fn(&Path) -> bool) -> bool {
        let place = self.place();
        is_it(&place.path) || place.former.iter().any(|path| is_it(path))
    }

    pub fn key(&self) -> FileKey {
        self.place().key
    }

    /// The open file; an error where it is closed at this moment.
    pub fn content(&self) -> io::Result<Arc<Content>> {
        self.place().content.clone().ok_or_else(|| io::Error::other("the file is closed"))
    }

    /// Goes on in another file, which holds the same up to the position.
    pub fn go_on_in(&self, content: Arc<Content>, path: &Path) {
        self.set_path(path);
        let mut place = self.place();
        place.key = content.key;
        place.content = Some(content);
    }

    /// The file behind it is not this partition's any more: nothing is read of it.
    pub fn detach(&self) {
        self.place().content = None;
    }

    /// Whether everything before `position` is settled.
    pub fn is_settled(&self, position: u64) -> bool {
        self.checkpoint.load(Ordering::Relaxed) >= position
    }

    pub fn checkpoint(&self) -> u64 {
        self.checkpoint.load(Ordering::Relaxed)
    }

    /// Where the next record begins.
    pub fn position(&self) -> u64 {
        self.read().position
    }

    pub fn look(&self) -> io::Result<Seen> {
        self.content()?.look()
    }

    /// `data` was read at `start`: all of it is behind the position now.
    pub fn passed(&self, start: u64, data: &[u8]) {
        let mut read = self.read();
        if read.position == start && self.catch_up(&mut read, start).is_ok() {
            read.push(data);
        }
    }

    /// Everything before `position` has been passed: what [`TailedFile::passed`] was not told is read again.
    pub fn passed_to(&self, position: u64) {
        let mut read = self.read();
        if self.catch_up(&mut read, position).is_err() {
            read.prefix = None;
            read.recent.clear();
        }
        read.position = position;
    }

    fn catch_up(&self, read: &mut ReadSoFar, to: u64) -> io::Result<()> {
        let Some(mut at) = read.prefix.as_ref().map(Prefix::at).filter(|&at| at < to) else { return Ok(()) };
        let content = self.content()?;
        read.recent.clear();
        let mut data = Vec::new();
        while at < to {
            data.clear();
            content.read(&mut data, at, (to - at).min(CATCH_UP))?;
            if data.is_empty() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            at += data.len() as u64;
            read.push(&data);
        }
        Ok(())
    }

    /// Whether the bytes just before the position are still those that were read, and where those say nothing, the bytes
    /// behind it those that were seen. Costs one read of [`CHECKED`] bytes each.
    pub fn is_unchanged(&self) -> io::Result<bool> {
        let read = self.read();
        let content = self.content()?;
        if content.is_unpacked() {
            return Ok(true);
        }
        let checked = read.checked();
        if !checked.is_empty() {
            let mut there = Vec::with_capacity(CHECKED);
            content.read(&mut there, read.position.saturating_sub(checked.len() as u64), checked.len() as u64)?;
            if there != checked {
                return Ok(false);
            }
        }
        read.has_ahead(&content)
    }

    /// The file was seen to have `size` bytes: where nothing of it was read that is more than NULs, it is known by what
    /// comes next.
    pub fn look_ahead(&self, size: u64) -> io::Result<()> {
        let mut read = self.read();
        let position = read.position;
        if !read.says_nothing() {
            read.ahead.1 = Vec::new();
            return Ok(());
        }
        match read.ahead.0 {
            at if at < position => read.ahead = (position, Vec::new()),
            at if at > position => return Ok(()), // Behind a hole.
            _ => {}
        }
        let known = read.ahead.1.len();
        let wanted = size.saturating_sub(position).min(CHECKED as u64) as usize;
        if known >= wanted {
            return Ok(());
        }
        let content = self.content()?;
        if !content.is_unpacked() {
            content.read(&mut read.ahead.1, position + known as u64, (wanted - known) as u64)?;
        }
        Ok(())
    }

    /// Whether the last bytes before the position are NULs, and so perhaps all of them.
    pub fn is_behind_hole(&self) -> bool {
        let read = self.read();
        !read.recent.is_empty() && read.says_nothing()
    }

    /// These bytes stand at `at`, where nothing before them is more than NULs.
    pub fn seen_ahead(&self, at: u64, bytes: &[u8]) {
        self.read().ahead = (at, bytes[..bytes.len().min(CHECKED)].to_vec());
    }

    /// Whether a copy has the bytes that were seen behind the position; false where none were that say something.
    pub fn is_ahead_in(&self, copy: &Content) -> bool {
        let read = self.read();
        read.ahead.1.iter().any(|&byte| byte != 0) && read.has_ahead(copy).unwrap_or(false)
    }

    /// The hash of what was read, ready to be compared with that of a copy; `None` where nothing was.
    pub fn prefix(&self) -> Option<Prefix> {
        let mut read = self.read();
        let position = read.position;
        if self.catch_up(&mut read, position).is_err() {
            return None;
        }
        read.prefix.clone().filter(|prefix| prefix.at() == position && position > 0)
    }

    /// The last bytes that were read, up to the position.
    pub fn recent(&self) -> Vec<u8> {
        self.read().recent.clone()
    }

    /// The file is quiet: only what [`TailedFile::is_unchanged`] needs is kept.
    pub fn rest(&self) {
        let mut read = self.read();
        if read.recent.len() > CHECKED {
            let from = read.recent.len() - CHECKED;
            read.recent = read.recent[from..].to_vec();
        }
    }

    fn place(&self) -> MutexGuard<'_, Place> {
        self.place.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self) -> MutexGuard<'_, ReadSoFar> {
        self.read.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    fn as_it_is(&self) -> Option<(String, FileKey, Arc<Content>)> {
        Some((self.path.display().to_string(), self.key, self.content.clone()?))
    }

    fn note_former(&mut self, path: PathBuf) {
        if path == self.path || self.former.contains(&path) {
            return;
        }
        if self.former.len() == FORMER_MAX {
            self.former.remove(1);
        }
        self.former.push(path);
    }
}

impl SourcePartition for TailedFile {
    fn id(&self) -> PartitionId {
        self.id
    }

    fn name(&self) -> String {
        self.path().display().to_string()
    }

    fn evidence(&self, checkpoint: Position) -> Option<PlacedEvidence> {
        let (place, key, content) = self.place().as_it_is()?;
        failpoint::gap("settling");
        let link = self.read().prefix.as_mut().and_then(|prefix| prefix.link_before(checkpoint.offset()));
        // A file that was cut shorter or rewritten meanwhile has no evidence for this place; the one before stays.
        let evidence = Evidence::take_of_read(&content, checkpoint.offset(), self.position(), link).ok()?;
        failpoint::gap("evidence");
        let is_there = self.is_unchanged().ok()?;
        let FileKey { device, inode } = key;
        is_there.then(|| PlacedEvidence {
            text: evidence.with_names(self.former_names()).with_order(self.order()).to_json(),
            place,
            device,
            inode,
        })
    }

    fn read_so_far(&self) -> Option<(Position, String)> {
        let read = self.read();
        let prefix = read.prefix.as_ref().filter(|prefix| prefix.at() == read.position && read.position > 0)?;
        Some((Position::at(read.position), prefix.to_text()))
    }

    fn settled(&self, checkpoint: Position) {
        self.checkpoint.fetch_max(checkpoint.offset(), Ordering::Relaxed);
    }

    fn header(&self) -> Result<Bytes, NoHeader> {
        self.header.get().cloned().unwrap_or(Err(NoHeader::NoneSkipped))
    }

    fn encoding(&self) -> Option<&'static Encoding> {
        self.encoding.get().copied()
    }
}
