//! What wakes a file source: inotify where it works, polling where it does not.
//!
//! Events carry no information that is relied upon; they only say that a look is worth while. A look that nobody asked for
//! comes after a poll interval all the same, so a lost event costs time and nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use notify::event::{EventKind, ModifyKind};
use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tracing::{info, warn};

/// Between two looks at open files when nothing wakes us: watched with nothing to wait for, watched, and not watched.
const LOOK_QUIET: Duration = Duration::from_secs(10);
const LOOK_WATCHED: Duration = Duration::from_secs(1);
const LOOK_POLLING: Duration = Duration::from_millis(200);
/// Between two walks of the globs: watched, and not watched.
const SCAN_WATCHED: Duration = Duration::from_secs(10);
const SCAN_POLLING: Duration = Duration::from_secs(1);

/// File systems that other machines or processes may write to without an event here, by their `f_type`
/// (<https://man7.org/linux/man-pages/man2/statfs.2.html>): NFS, SMB and CIFS, FUSE and virtiofs, 9P, Ceph, AFS, Lustre, GPFS,
/// OCFS2, VirtualBox' shared folders.
const REMOTE: [u32; 12] = [
    0x6969,
    0x517b,
    0xff53_4d42,
    0xfe53_4d42,
    0x6573_5546,
    0x0102_1997,
    0x00c3_6400,
    0x5346_414f,
    0x0bd0_0bd0,
    0x4750_4653,
    0x7461_636f,
    0x786f_4256,
];

/// Collects the reasons to look.
#[derive(Clone, Default)]
pub struct Waker(Arc<Signal>);

#[derive(Default)]
struct Signal {
    reasons: Mutex<Reasons>,
    changed: Condvar,
}

/// Why the source was woken.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Reasons {
    /// Something was written.
    pub written: bool,
    /// A name came, went or changed, or events were lost.
    pub names: bool,
    /// Somebody else (the one who stops the source) wants attention.
    pub called: bool,
}

impl Waker {
    /// Wakes the source for another reason than the file system.
    pub fn call(&self) {
        self.set(|reasons| reasons.called = true);
    }

    /// Waits for a reason, at most for `timeout`, and takes them all.
    pub fn wait(&self, timeout: Duration) -> Reasons {
        let deadline = Instant::now() + timeout;
        let mut reasons = self.reasons();
        while *reasons == Reasons::default() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            let woken = self.0.changed.wait_timeout(reasons, left);
            reasons = woken.map_or_else(|poison| poison.into_inner().0, |(guard, _)| guard);
        }
        std::mem::take(&mut *reasons)
    }

    fn set(&self, change: impl FnOnce(&mut Reasons)) {
        change(&mut self.reasons());
        self.0.changed.notify_all();
    }

    fn reasons(&self) -> MutexGuard<'_, Reasons> {
        self.0.reasons.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn event(&self, event: notify::Result<notify::Event>) {
        match event {
            Ok(event) if event.need_rescan() => self.set(|reasons| reasons.names = true),
            Ok(event) => match event.kind {
                // Our own reading makes these.
                EventKind::Access(_) | EventKind::Modify(ModifyKind::Metadata(_)) => {}
                EventKind::Modify(ModifyKind::Name(_)) | EventKind::Create(_) | EventKind::Remove(_) => {
                    self.set(|reasons| reasons.names = true);
                }
                EventKind::Modify(_) | EventKind::Any | EventKind::Other => self.set(|reasons| reasons.written = true),
            },
            Err(_) => self.set(|reasons| reasons.names = true),
        }
    }
}

/// The watches of one source.
pub struct Watches {
    watcher: Option<RecommendedWatcher>,
    /// What is watched, with the inode number by which a folder is known that was made again under its name.
    watched: BTreeMap<(PathBuf, bool), u64>,
    /// Folders that could not be watched.
    refused: BTreeSet<PathBuf>,
    /// Folders of which not all events are seen here.
    remote: BTreeSet<PathBuf>,
}

impl Watches {
    pub fn new(waker: &Waker) -> Self {
        let waker = waker.clone();
        let watcher = match notify::recommended_watcher(move |event| waker.event(event)) {
            Ok(watcher) => Some(watcher),
            Err(error) => {
                warn!(%error, "no file system events here; polling instead");
                None
            }
        };
        Self { watcher, watched: BTreeMap::new(), refused: BTreeSet::new(), remote: BTreeSet::new() }
    }

    /// Watches exactly `folders`, as far as the system lets us.
    pub fn set(&mut self, folders: Vec<(PathBuf, bool)>) {
        let Some(watcher) = &mut self.watcher else { return };
        let folders: BTreeSet<_> = folders.into_iter().collect();
        let before = std::mem::take(&mut self.watched);
        for gone in before.keys().filter(|folder| !folders.contains(*folder)) {
            // It may be gone from the file system as well.
            let _ = watcher.unwatch(&gone.0);
        }
        for folder in folders {
            let Ok(inode) = std::fs::metadata(&folder.0).map(|metadata| metadata.ino()) else { continue };
            if before.get(&folder) == Some(&inode) {
                self.watched.insert(folder, inode);
                continue;
            }
            let mode = if folder.1 { RecursiveMode::Recursive } else { RecursiveMode::NonRecursive };
            match watcher.watch(&folder.0, mode) {
                Ok(()) => {
                    if self.refused.remove(&folder.0) {
                        info!(folder = %folder.0.display(), "the folder is watched now");
                    }
                    if is_remote(&folder.0) && self.remote.insert(folder.0.clone()) {
                        info!(folder = %folder.0.display(), "a network file system: polling, too");
                    }
                    self.watched.insert(folder, inode);
                }
                Err(error) => {
                    if self.refused.insert(folder.0.clone()) {
                        warn!(folder = %folder.0.display(), %error, "the folder cannot be watched; polling instead");
                    }
                }
            }
        }
    }

    /// How long to wait for events before open files are looked at anyway. `is_quiet`: each of them lies in a folder that is
    /// watched, and none of them waits for anything but to be written to.
    pub fn look_interval(&self, is_quiet: bool) -> Duration {
        match (self.is_reliable(), is_quiet) {
            (true, true) => LOOK_QUIET,
            (true, false) => LOOK_WATCHED,
            (false, _) => LOOK_POLLING,
        }
    }

    /// How long to wait for events before the globs are walked anyway.
    pub fn scan_interval(&self) -> Duration {
        if self.is_reliable() { SCAN_WATCHED } else { SCAN_POLLING }
    }

    fn is_reliable(&self) -> bool {
        self.watcher.is_some() && self.refused.is_empty() && self.remote.is_empty()
    }
}

fn is_remote(folder: &Path) -> bool {
    rustix::fs::statfs(folder).is_ok_and(|statfs| REMOTE.contains(&(statfs.f_type as u32)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use notify::event::{DataChange, Flag};

    #[test]
    fn an_overflow_of_the_event_queue_and_an_error_mean_that_any_name_may_have_changed() {
        let waker = Waker::default();
        let nothing = || waker.wait(Duration::ZERO);
        waker.event(Ok(notify::Event::new(EventKind::Other).set_flag(Flag::Rescan)));
        assert!(nothing().names);
        waker.event(Err(notify::Error::generic("an error")));
        assert!(nothing().names);
        waker.event(Ok(notify::Event::new(EventKind::Modify(ModifyKind::Data(DataChange::Any)))));
        assert_eq!(nothing(), Reasons { written: true, ..Reasons::default() });
        assert_eq!(nothing(), Reasons::default(), "each reason is taken once");
    }
}
