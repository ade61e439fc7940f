//! Whether objects could be written into a folder.
//!
//! Always true: nothing is left behind. A folder that is not there yet is not made; the one above it is tried in its place.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use uuid::Uuid;

use crate::destination::{AttemptError, ErrorClass};
use crate::rename::{Renamed, rename_without_replace};

use super::files::failed;

/// What was found, a line for people each. `wanted` is what there should be room for.
pub fn probe(folder: &Path, wanted: u64) -> Result<Vec<String>, AttemptError> {
    let there = folder.ancestors().find(|above| fs::symlink_metadata(above).is_ok()).unwrap_or(folder);
    let metadata = fs::metadata(there).map_err(|error| failed("look at the folder", there, &error))?;
    if !metadata.is_dir() {
        return Err(failed("make the folder", folder, &Errno::NOTDIR.into()));
    }
    write_and_rename(there)?;
    let free = room(there, wanted)?;
    let written = match there == folder {
        true => "can be written".to_owned(),
        false => format!("is not there yet and can be made in {}", there.display()),
    };
    Ok(vec![format!("{written}, {free}")])
}

/// What each object needs: a file, and a rename that replaces nothing.
fn write_and_rename(folder: &Path) -> Result<(), AttemptError> {
    let name = format!(".hydrant-check-{}", Uuid::new_v4());
    let (first, last) = (Removed(folder.join(&name)), Removed(folder.join(name + "-renamed")));
    let cannot = |error: std::io::Error| failed("write", &first.0, &error);
    let mut file = OpenOptions::new().write(true).create_new(true).open(&first.0).map_err(cannot)?;
    file.write_all(b"hydrant check --online\n").and_then(|()| file.sync_all()).map_err(cannot)?;
    match rename_without_replace(&first.0, &last.0) {
        Ok(Renamed::Done | Renamed::NameTaken) => Ok(()),
        Err(error) => Err(failed("give an object its name", &last.0, &error)),
    }
}

fn room(folder: &Path, wanted: u64) -> Result<String, AttemptError> {
    let found = rustix::fs::statvfs(folder).map_err(|errno| failed("look for room in", folder, &errno.into()))?;
    let free = found.f_bavail.saturating_mul(found.f_frsize);
    if free >= wanted {
        return Ok(format!("{} free", size(free)));
    }
    let message =
        format!("only {} are free in `{}`, and one buffer may have {}", size(free), folder.display(), size(wanted));
    Err(AttemptError { class: ErrorClass::Transient, code: "ENOSPC".to_owned(), message, ambiguous: false })
}

fn size(bytes: u64) -> String {
    let mb = bytes >> 20;
    if mb < 10_240 { format!("{mb} MB") } else { format!("{} GB", mb >> 10) }
}

/// A file that goes with this value.
struct Removed(PathBuf);

impl Drop for Removed {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_left_behind_and_nothing_is_made() {
        let root = tempfile::tempdir().unwrap();
        let lines = probe(root.path(), 1).unwrap();
        assert!(lines[0].starts_with("can be written, ") && lines[0].ends_with("B free"), "{lines:?}");
        let lines = probe(&root.path().join("a/b"), 1).unwrap();
        assert!(lines[0].starts_with("is not there yet and can be made in "), "{lines:?}");
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_file_in_the_way_and_want_of_room_are_told() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("file"), "").unwrap();
        assert_eq!(probe(&root.path().join("file/out"), 1).unwrap_err().code, "ENOTDIR");
        assert_eq!(probe(root.path(), u64::MAX).unwrap_err().code, "ENOSPC");
    }
}
