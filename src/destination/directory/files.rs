//! The file system calls of the directory destination: a file set aside durably, a rename that replaces nothing, and
//! what an operator has to know when one of them fails.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use uuid::Uuid;

use crate::destination::{AttemptError, ErrorClass, Put};
use crate::encode::payload::Payload;

/// Bytes that are copied at a time.
const COPY_BYTES: usize = 1 << 20;

/// A file in the staging folder with a whole payload, whose data is durable.
pub(super) struct StagedFile {
    path: PathBuf,
    /// Made by this attempt, and removed with it unless it has got its final name.
    temporary: bool,
}

impl StagedFile {
    /// Takes a payload's own file as it is. `None` when the file is no longer under its name.
    pub(super) fn adopt(path: &Path, file: &File, len: u64) -> Result<Option<Self>, AttemptError> {
        let described = file.metadata().map_err(|error| failed("look at the payload", path, &error))?;
        let named = match fs::symlink_metadata(path) {
            Ok(named) => named,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed("look at the payload", path, &error)),
        };
        if (named.dev(), named.ino()) != (described.dev(), described.ino()) {
            return Ok(None);
        }
        if described.len() != len {
            return Err(damaged(path, len));
        }
        if let Err(error) = file.sync_all() {
            // The kernel reports a failed write once: a second sync of this file would succeed without the data. With
            // its name gone, the next attempt writes the content anew.
            let _ = fs::remove_file(path);
            return Err(failed("write the payload to disk", path, &error));
        }
        Ok(Some(Self { path: path.to_owned(), temporary: false }))
    }

    /// Writes a payload into a new file in `folder`.
    pub(super) fn write(folder: &Path, payload: &Payload) -> Result<Self, AttemptError> {
        let path = folder.join(format!("{}.put", Uuid::new_v4()));
        let cannot = |error: io::Error| failed("write", &path, &error);
        let mut target = OpenOptions::new().write(true).create_new(true).open(&path).map_err(cannot)?;
        let staged = Self { path: path.clone(), temporary: true };
        for part in payload.parts().unwrap_or_default() {
            target.write_all(part).map_err(cannot)?;
        }
        if let Some((source_path, source)) = payload.file() {
            copy(source_path, source, payload.len(), &mut target, &path)?;
        }
        target.sync_all().map_err(cannot)?;
        Ok(staged)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for StagedFile {
    fn drop(&mut self) {
        if self.temporary {
            // After a rename there is nothing under this name; what cannot be removed now is swept at the next start.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Copies the first `len` bytes, by offset: the descriptor's cursor may be somebody else's.
fn copy(source_path: &Path, source: &File, len: u64, target: &mut File, path: &Path) -> Result<(), AttemptError> {
    let mut block = vec![0; COPY_BYTES.min(usize::try_from(len).unwrap_or(COPY_BYTES))];
    let mut offset = 0;
    while offset < len {
        let wanted = block.len().min(usize::try_from(len - offset).unwrap_or(block.len()));
        let read = match source.read_at(&mut block[..wanted], offset) {
            Ok(0) => return Err(damaged(source_path, len)),
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(failed("read the payload", source_path, &error)),
        };
        target.write_all(&block[..read]).map_err(|error| failed("write", path, &error))?;
        offset += read as u64;
    }
    Ok(())
}

/// A folder whose entries can be made durable, even after it has been removed.
pub(super) struct OpenFolder<'a> {
    path: &'a Path,
    file: File,
}

impl<'a> OpenFolder<'a> {
    pub(super) fn open(path: &'a Path) -> Result<Self, AttemptError> {
        let file = File::open(path).map_err(|error| failed("open the folder", path, &error))?;
        Ok(Self { path, file })
    }

    pub(super) fn sync(&self) -> Result<(), AttemptError> {
        match self.file.sync_all() {
            Ok(()) => Ok(()),
            // A file system that does not sync folders does what it can by itself.
            Err(error) if error.raw_os_error() == Some(Errno::INVAL.raw_os_error()) => Ok(()),
            Err(error) => Err(failed("sync the folder", self.path, &error)),
        }
    }

    /// Makes the name of an object durable that stands in the folder already. If that fails the outcome is open; the
    /// next attempt finds the object and comes here again.
    pub(super) fn settle(&self, put: Put) -> Result<Put, AttemptError> {
        self.sync().map_err(|error| AttemptError { ambiguous: true, ..error })?;
        Ok(put)
    }
}

/// Classifies an error by who can do something about it: time, or a person.
pub(super) fn failed(doing: &str, path: &Path, error: &io::Error) -> AttemptError {
    use ErrorClass::{Denied, Transient};
    let errno = error.raw_os_error().map(Errno::from_raw_os_error);
    let (class, code, advice) = match errno {
        Some(Errno::NOSPC) => (Transient, "ENOSPC", "it goes on when there is room"),
        Some(Errno::DQUOT) => (Transient, "EDQUOT", "it goes on when the quota has room"),
        Some(Errno::IO) => (Transient, "EIO", "look at the disk's health"),
        Some(Errno::MFILE) => (Transient, "EMFILE", "raise the limit of open files (`ulimit -n`, `LimitNOFILE=`)"),
        Some(Errno::NFILE) => (Transient, "ENFILE", "raise the system's limit of open files (`fs.file-max`)"),
        Some(Errno::NOMEM) => (Transient, "ENOMEM", ""),
        Some(Errno::NOENT) => (Transient, "ENOENT", "something removed it meanwhile"),
        Some(Errno::STALE) => (Transient, "ESTALE", "the network file system has changed under it"),
        Some(Errno::TIMEDOUT) => (Transient, "ETIMEDOUT", "the network file system does not answer"),
        Some(Errno::ACCESS) => (Denied, "EACCES", "let the user that hydrant runs as write there"),
        Some(Errno::PERM) => (
            Denied,
            "EPERM",
            "let the user that hydrant runs as write there; neither append-only or immutable attributes nor a file \
             system without hard links will do",
        ),
        Some(Errno::ROFS) => {
            (Denied, "EROFS", "mount the file system for writing, or give hydrant's unit access to it")
        }
        Some(Errno::NOTDIR | Errno::EXIST) => (Denied, "ENOTDIR", "a file is in the way of a folder; move it away"),
        Some(Errno::ISDIR) => (Denied, "EISDIR", "a folder is in the way of a file; move it away"),
        Some(Errno::NAMETOOLONG) => (Denied, "ENAMETOOLONG", "shorten the prefix; a name has at most 255 bytes"),
        Some(Errno::LOOP) => (Denied, "ELOOP", "the links lead in a circle"),
        Some(Errno::XDEV) => (Denied, "EXDEV", "keep all folders below the destination's path on one file system"),
        Some(Errno::FBIG) => (Denied, "EFBIG", "the file system or `ulimit -f` does not allow a file of that size"),
        Some(Errno::MLINK) => (Denied, "EMLINK", "the folder is full"),
        Some(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => {
            (Denied, "EOPNOTSUPP", "use a file system with renames that do not replace, or with hard links")
        }
        Some(_) | None => (Transient, "EOTHER", ""),
    };
    let mut message = format!("cannot {doing} `{}`: {error}", path.display());
    if !advice.is_empty() {
        message = format!("{message}; {advice}");
    }
    AttemptError { class, code: code.to_owned(), message, ambiguous: false }
}

/// Somebody else has written to the payload. Its records are still in their source.
fn damaged(path: &Path, len: u64) -> AttemptError {
    let message = format!(
        "the payload `{}` no longer has its {len} bytes, so it is not delivered; restart hydrant to form it again \
         from the source",
        path.display()
    );
    AttemptError { class: ErrorClass::Denied, code: "PayloadDamaged".to_owned(), message, ambiguous: false }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_say_where_and_what_to_do() {
        for (errno, class, code) in [
            (Errno::NOSPC, ErrorClass::Transient, "ENOSPC"),
            (Errno::DQUOT, ErrorClass::Transient, "EDQUOT"),
            (Errno::IO, ErrorClass::Transient, "EIO"),
            (Errno::MFILE, ErrorClass::Transient, "EMFILE"),
            (Errno::ACCESS, ErrorClass::Denied, "EACCES"),
            (Errno::PERM, ErrorClass::Denied, "EPERM"),
            (Errno::ROFS, ErrorClass::Denied, "EROFS"),
            (Errno::NOTDIR, ErrorClass::Denied, "ENOTDIR"),
            (Errno::PIPE, ErrorClass::Transient, "EOTHER"),
        ] {
            let error = failed("write", Path::new("/data/out"), &errno.into());
            assert_eq!((error.class, error.code.as_str()), (class, code));
            assert!(error.message.starts_with("cannot write `/data/out`: "), "{}", error.message);
        }
    }

    #[test]
    fn a_staged_file_goes_with_its_attempt() {
        let folder = tempfile::tempdir().unwrap();
        let staged = StagedFile::write(folder.path(), &Payload::from_bytes("abc")).unwrap();
        assert_eq!(fs::read(staged.path()).unwrap(), b"abc");
        drop(staged);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
