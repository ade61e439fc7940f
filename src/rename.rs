//! Renames that replace nothing.
//!
//! Always true: whatever had the final name before has it afterwards, and nothing is ever without a name.

use std::fs;
use std::io;
use std::path::Path;

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

/// What came of a rename.
pub enum Renamed {
    Done,
    /// Something has the name already. Nothing has changed.
    NameTaken,
}

/// Gives a file its final name in one step, and never takes that name from another file.
pub fn rename_without_replace(from: &Path, to: &Path) -> io::Result<Renamed> {
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        Ok(()) => Ok(Renamed::Done),
        Err(Errno::EXIST) => Ok(Renamed::NameTaken),
        // Network file systems and old kernels.
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => link_and_unlink(from, to),
        Err(errno) => Err(errno.into()),
    }
}

/// The same where renames always replace: a hard link does not.
fn link_and_unlink(from: &Path, to: &Path) -> io::Result<Renamed> {
    match fs::hard_link(from, to) {
        Ok(()) => {
            // The file is complete whether or not its first name goes; that is swept at the next start.
            let _ = fs::remove_file(from);
            Ok(Renamed::Done)
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(Renamed::NameTaken),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neither_way_of_renaming_replaces_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let (first, second, name) = (folder.path().join("1"), folder.path().join("2"), folder.path().join("name"));
        for rename in [rename_without_replace, link_and_unlink] {
            fs::write(&first, b"first").unwrap();
            fs::write(&second, b"second").unwrap();
            assert!(matches!(rename(&first, &name).unwrap(), Renamed::Done));
            assert!(matches!(rename(&second, &name).unwrap(), Renamed::NameTaken));
            assert_eq!(fs::read(&name).unwrap(), b"first");
            assert!(!first.exists() && second.exists());
            assert_eq!(rename(&first, &folder.path().join("other")).err().unwrap().kind(), io::ErrorKind::NotFound);
            fs::remove_file(&name).unwrap();
        }
    }
}
