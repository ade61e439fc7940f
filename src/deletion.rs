//! Deletes files that every delivery stream has delivered whole, where `on_delivered: delete` says so.
//!
//! Always true: a file goes only if a stream with `on_delivered: delete` matches its path, every stream that reads or
//! matches it has its checkpoint at the file's end, it has been left alone for long enough, and the kernel says that nobody has
//! it open for writing or waits for that: a source may have closed it, and would not read on. In doubt it stays. How a file
//! goes, and what a crash on the way leaves, is told in `aside`.

mod aside;
mod writers;

use std::collections::{HashMap, HashSet};
use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::config::model::{DeliveryStreamConfig, OnDelivered};
use crate::delivered::{Reader, Readers, Standing};
use crate::failpoint;
use crate::journal::JournalView;
use crate::source::file::FileKey;
use writers::Writers;

/// Between two looks.
const INTERVAL: Duration = Duration::from_secs(30);
/// A file that was rotated away is left alone for so long, or for `delete_after_seconds` where that is less: its writer may
/// still have it open.
const ROTATED_QUIET: Duration = Duration::from_secs(300);

/// The delivery streams of the present configuration.
pub type Configured = watch::Receiver<Vec<DeliveryStreamConfig>>;

/// What one look remembers for the next.
pub struct Deletion {
    state_dir: PathBuf,
    /// All streams that read files; `None` where a glob cannot be used.
    readers: Option<Readers>,
    /// Whether any stream deletes files.
    deletes: bool,
    /// The path under which each stream first saw a file in this process: under another one it was rotated away.
    first_seen: HashMap<(String, FileKey), PathBuf>,
    /// What could not be deleted, complained about once.
    refused: HashSet<FileKey>,
    /// Compressed files that cannot be decompressed to their ends, so that this is not tried at each look.
    broken: HashSet<FileKey>,
}

/// A file that a stream with `on_delivered: delete` matches.
struct Candidate {
    key: FileKey,
    path: PathBuf,
    /// How long it has to be left alone: of several streams the longest counts.
    quiet: Duration,
}

/// Looks from time to time until it is told to stop.
pub async fn run(mut deletion: Deletion, mut configured: Configured, stop: CancellationToken) {
    // What an earlier life has left is brought back whether or not files are deleted now.
    let tidied = tokio::task::spawn_blocking(move || {
        deletion.tidy();
        deletion
    });
    deletion = crate::pool::join(tidied).await;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(failpoint::wait(INTERVAL)) => {}
        }
        if configured.has_changed().unwrap_or(false) {
            deletion.configure(&configured.borrow_and_update());
        }
        let (configured, stop) = (configured.clone(), stop.clone());
        let looked = tokio::task::spawn_blocking(move || {
            // Of another configuration other streams may read the file.
            deletion.look(|| !stop.is_cancelled() && matches!(configured.has_changed(), Ok(false)));
            deletion
        });
        deletion = crate::pool::join(looked).await;
    }
}

impl Deletion {
    pub fn new(state_dir: PathBuf, streams: &[DeliveryStreamConfig]) -> Self {
        let mut deletion = Self {
            state_dir,
            readers: None,
            deletes: false,
            first_seen: HashMap::new(),
            refused: HashSet::new(),
            broken: HashSet::new(),
        };
        deletion.configure(streams);
        deletion
    }

    fn configure(&mut self, streams: &[DeliveryStreamConfig]) {
        let deletes = |stream: &DeliveryStreamConfig| {
            stream.source.file().is_some_and(|source| source.on_delivered != OnDelivered::Keep)
        };
        self.deletes = streams.iter().any(deletes);
        let readers = Readers::new(streams);
        self.readers = readers.inspect_err(|error| warn!(%error, "a glob cannot be used: no file is deleted")).ok();
    }

    /// Brings back the files whose deletion was interrupted. Blocks.
    fn tidy(&self) {
        let readers = self.readers.iter().flat_map(Readers::iter);
        readers.flat_map(Reader::left_aside).for_each(|aside| aside::bring_back_left(&aside));
    }

    /// Deletes what may be deleted now, for as long as `may_go_on`. Blocks.
    pub fn look(&mut self, may_go_on: impl Fn() -> bool) {
        self.tidy();
        let Some(mut readers) = self.readers.take_if(|_| self.deletes) else { return };
        readers.scan();
        let mut candidates = self.candidates(&readers);
        self.refused.retain(|key| candidates.contains_key(key));
        self.broken.retain(|key| candidates.contains_key(key));
        candidates.retain(|_, candidate| {
            plain_file(&candidate.path).is_ok_and(|found| found.is_some_and(|metadata| candidate.is_due(&metadata)))
        });
        let view = if candidates.is_empty() { Ok(None) } else { JournalView::read(&self.state_dir) };
        match view {
            Ok(view) => {
                let view = view.unwrap_or_default();
                let candidates = candidates.values().take_while(|_| may_go_on());
                candidates.for_each(|candidate| self.consider(candidate, &readers, &view));
            }
            Err(error) => {
                let error = crate::chain::chain(&error);
                warn!(error, "whether files are delivered cannot be read; they are kept for now");
            }
        }
        self.readers = Some(readers);
    }

    /// The files that streams with `on_delivered: delete` match.
    fn candidates(&mut self, readers: &Readers) -> HashMap<FileKey, Candidate> {
        let mut first_seen = HashMap::new();
        let mut candidates: HashMap<FileKey, Candidate> = HashMap::new();
        for reader in readers.iter() {
            let OnDelivered::Delete { after } = reader.source.on_delivered else { continue };
            for (&key, path) in reader.matched() {
                let name = (reader.stream.clone(), key);
                let first = self.first_seen.remove(&name).unwrap_or_else(|| path.to_owned());
                let quiet = if first == path { after } else { after.min(failpoint::wait(ROTATED_QUIET)) };
                let candidate =
                    candidates.entry(key).or_insert_with(|| Candidate { key, path: path.to_owned(), quiet });
                candidate.quiet = candidate.quiet.max(quiet);
                first_seen.insert(name, first);
            }
        }
        self.first_seen = first_seen;
        candidates
    }

    fn consider(&mut self, candidate: &Candidate, readers: &Readers, view: &JournalView) {
        let path = &candidate.path;
        if self.broken.contains(&candidate.key) {
            return;
        }
        match delete_if_delivered(candidate, readers, view) {
            Ok(Some(size)) => {
                info!(path = %path.display(), size, "a file was deleted: all of it is delivered");
            }
            Ok(None) => {}
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                self.broken.insert(candidate.key);
                warn!(path = %path.display(), %error, "a file is kept");
            }
            Err(error) => {
                if self.refused.insert(candidate.key) {
                    warn!(path = %path.display(), %error, "a delivered file cannot be deleted; it is tried again");
                }
            }
        }
    }
}

impl Candidate {
    /// Whether it was left alone for long enough. An empty file is one that its writer has just begun.
    fn is_due(&self, metadata: &Metadata) -> bool {
        metadata.len() > 0 && age(metadata) >= self.quiet
    }
}

/// Deletes a file if nothing speaks against it, and says how large it was.
fn delete_if_delivered(candidate: &Candidate, readers: &Readers, view: &JournalView) -> io::Result<Option<u64>> {
    let path = candidate.path.as_path();
    let Some(before) = plain_file(path)? else { return Ok(None) };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let standings = readers.standings(&file, path, view)?;
    let is_delivered = !standings.is_empty() && standings.iter().all(Standing::is_complete);
    let is_begun = standings.iter().any(|standing| standing.is_only_begun(&file).unwrap_or(true));
    if !is_delivered || is_begun || FileKey::of(&before) != candidate.key || !candidate.is_due(&before) {
        return Ok(None);
    }
    if !standings.iter().try_fold(true, |whole, standing| Ok::<_, io::Error>(whole && standing.is_whole(&file)?))? {
        let error = "it cannot be decompressed to its end; what could be is delivered";
        return Err(io::Error::new(io::ErrorKind::InvalidData, error));
    }
    let writers = Writers::keep_out(&file);
    if writers.are_unknown() {
        let error = "the kernel does not tell whether somebody has it open for writing: that takes the file's owner or \
                     CAP_LEASE, and a local file system";
        return Err(io::Error::new(io::ErrorKind::Unsupported, error));
    }
    if writers.is_open_for_writing() {
        debug!(path = %path.display(), "a delivered file is still open for writing");
        return Ok(None);
    }
    // Nothing may have happened to file and name since they were looked at.
    let is_same = |now: &Metadata| {
        let times = |metadata: &Metadata| (metadata.mtime(), metadata.mtime_nsec(), metadata.len());
        FileKey::of(now) == candidate.key && times(now) == times(&before)
    };
    if !is_same(&file.metadata()?) || !plain_file(path)?.is_some_and(|now| is_same(&now)) {
        return Ok(None);
    }
    failpoint::pass("before-deletion");
    let is_deleted = aside::delete(path, |found| found.is_file() && is_same(found) && writers.are_kept_out())?;
    failpoint::pass("after-deletion");
    Ok(is_deleted.then_some(before.len()))
}

/// What is at `path` if it is a file itself: a link is not ours to delete, nor what it leads to.
fn plain_file(path: &Path) -> io::Result<Option<Metadata>> {
    match std::fs::symlink_metadata(path) {
        Ok(metadata) => Ok(metadata.is_file().then_some(metadata)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// How long neither the content nor the name of a file has changed; no time at all for one from the future.
fn age(metadata: &Metadata) -> Duration {
    let changed = (metadata.mtime(), metadata.mtime_nsec()).max((metadata.ctime(), metadata.ctime_nsec()));
    let nanos = i128::from(changed.0) * 1_000_000_000 + i128::from(changed.1);
    let now = jiff::Timestamp::now().as_nanosecond();
    Duration::from_nanos(u64::try_from(now - nanos).unwrap_or(0))
}
