//! Takes a file out of its place before it is deleted, so that only the file that was looked at is.
//!
//! Always true: a name is never unlinked while others use it. The file is renamed to a name that is ours, looked at there, and
//! unlinked, or brought back without replacing anything. After a crash on the way it is found under that name and brought back.

use std::fs::{self, Metadata};
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;
use tracing::{info, warn};

use crate::failpoint;
use crate::rename::{Renamed, rename_without_replace};
use crate::source::file::{FileKey, aside_of, original_of};

/// Deletes what is at `path` if `is_it`; else it stays, or is there again. Says whether it was deleted.
pub fn delete(path: &Path, is_it: impl Fn(&Metadata) -> bool) -> io::Result<bool> {
    let Some(aside) = aside_of(path) else { return Ok(false) };
    if !set_aside(path, &aside)? {
        return Ok(false);
    }
    failpoint::pass("set-aside");
    let deleted = match fs::symlink_metadata(&aside) {
        Ok(found) if is_it(&found) => fs::remove_file(&aside).map(|()| true),
        Ok(_) => Ok(false),
        Err(error) => Err(error),
    };
    if !matches!(deleted, Ok(true)) {
        bring_back(&aside)?;
    }
    deleted
}

/// Brings back what an earlier life has left under a name of ours.
pub fn bring_back_left(aside: &Path) {
    match bring_back(aside) {
        Ok(Some(path)) => info!(path = %path.display(), "a file whose deletion was interrupted is back in its place"),
        Ok(None) => {}
        Err(error) => {
            warn!(path = %aside.display(), %error, "a file whose deletion was interrupted cannot be brought back");
        }
    }
}

/// False where nothing is there any more, or something has the name aside: the next look brings that back.
fn set_aside(path: &Path, aside: &Path) -> io::Result<bool> {
    let renamed = match renameat_with(CWD, path, CWD, aside, RenameFlags::NOREPLACE) {
        // Network file systems and old kernels. Nobody but us uses that name.
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => match fs::symlink_metadata(aside) {
            Ok(_) => return Ok(false),
            Err(error) if error.kind() == io::ErrorKind::NotFound => fs::rename(path, aside),
            Err(error) => Err(error),
        },
        renamed => renamed.map_err(io::Error::from),
    };
    match renamed {
        Ok(()) => Ok(true),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::AlreadyExists) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Where the file is now; `None` where it had its own name still, or is not there any more.
fn bring_back(aside: &Path) -> io::Result<Option<PathBuf>> {
    let Some(path) = original_of(aside) else { return Ok(None) };
    let Some(left) = if_there(aside)? else { return Ok(None) };
    if if_there(&path)?.is_some_and(|there| FileKey::of(&there) == FileKey::of(&left)) {
        // A hard link that took the place of a rename. The file keeps its own name.
        return fs::remove_file(aside).map(|()| None);
    }
    if let Renamed::Done = rename_without_replace(aside, &path)? {
        return Ok(Some(path));
    }
    for number in 1u32.. {
        let other = PathBuf::from(format!("{}.restored-{number}", path.display()));
        if let Renamed::Done = rename_without_replace(aside, &other)? {
            warn!(path = %other.display(), "a file that was to be deleted is kept: another one has taken its name");
            return Ok(Some(other));
        }
    }
    Ok(None)
}

fn if_there(path: &Path) -> io::Result<Option<Metadata>> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        found => found.map(Some),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<(String, String)> {
        let entries = fs::read_dir(folder).unwrap().map(Result::unwrap);
        let name =
            |entry: fs::DirEntry| (entry.file_name().into_string().unwrap(), fs::read_to_string(entry.path()).unwrap());
        let mut names: Vec<_> = entries.map(name).collect();
        names.sort();
        names
    }

    fn pair(name: &str, content: &str) -> (String, String) {
        (name.into(), content.into())
    }

    #[test]
    fn a_file_that_took_the_name_in_the_last_instant_is_not_deleted() {
        let folder = tempfile::tempdir().unwrap();
        let (log, rotated) = (folder.path().join("app.log"), folder.path().join("app.log.1"));
        fs::write(&rotated, "old").unwrap();
        let old = FileKey::of(&fs::metadata(&rotated).unwrap());
        fs::write(&log, "new").unwrap();
        // As logrotate does behind our look.
        fs::rename(&log, &rotated).unwrap();
        assert!(!delete(&rotated, |found| FileKey::of(found) == old).unwrap());
        assert_eq!(names(folder.path()), [pair("app.log.1", "new")]);
        assert!(delete(&rotated, |found| found.len() == 3).unwrap());
        assert_eq!(names(folder.path()), []);
        assert!(!delete(&rotated, |_| true).unwrap(), "nothing is there");
    }

    #[test]
    fn what_is_brought_back_replaces_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("app.log");
        for content in ["one", "two"] {
            fs::write(&path, content).unwrap();
            let replaced = |_: &Metadata| {
                fs::write(&path, "new").unwrap();
                false
            };
            assert!(!delete(&path, replaced).unwrap());
        }
        let left = [pair("app.log", "new"), pair("app.log.restored-1", "one"), pair("app.log.restored-2", "two")];
        assert_eq!(names(folder.path()), left);
    }

    #[test]
    fn a_second_name_of_the_same_file_goes_and_the_file_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("app.log");
        fs::write(&path, "one").unwrap();
        fs::hard_link(&path, aside_of(&path).unwrap()).unwrap();
        assert!(!delete(&path, |_| true).unwrap(), "the name aside is taken");
        bring_back_left(&aside_of(&path).unwrap());
        assert_eq!(names(folder.path()), [pair("app.log", "one")]);
    }
}
