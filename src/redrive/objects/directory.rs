//! Objects as files in a local folder.
//!
//! Always true: keys come in the order that S3 gives them, of bytes over the whole key; below the prefix no symbolic link to
//! a folder is followed, so there is no circle.

use std::collections::BTreeSet;
use std::fs::{self, DirEntry, File};
use std::io::{self, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use jiff::Timestamp;
use tokio::io::AsyncReadExt;

use crate::destination::directory::STAGING_FOLDER;
use crate::destination::{AttemptError, BoxFuture, ErrorClass};

use super::{Body, ErrorObject, ObjectError, Objects, Page};

/// Keys of one page. Every page looks at all names once more.
const PAGE_KEYS: usize = 10_000;

/// A folder that error objects were delivered to.
pub(super) struct Directory {
    root: PathBuf,
    page_keys: usize,
}

impl Directory {
    pub fn new(root: &Path) -> Self {
        Self { root: root.to_owned(), page_keys: PAGE_KEYS }
    }

    #[cfg(test)]
    pub fn with_pages_of(root: &Path, page_keys: usize) -> Self {
        Self { root: root.to_owned(), page_keys }
    }

    fn scan(&self, prefix: &str, after: &str) -> Scan<'_> {
        let (prefix, after) = (prefix.to_owned(), after.to_owned());
        Scan { root: &self.root, prefix, after, keys_max: self.page_keys, keys: BTreeSet::new() }
    }
}

impl Objects for Directory {
    fn name(&self) -> String {
        self.root.display().to_string()
    }

    fn page<'a>(&'a self, prefix: &'a str, after: &'a str) -> BoxFuture<'a, Result<Page, AttemptError>> {
        let of_task = Self { root: self.root.clone(), page_keys: self.page_keys };
        let (prefix, after) = (prefix.to_owned(), after.to_owned());
        let page = move || of_task.scan(&prefix, &after).page();
        Box::pin(crate::pool::join(tokio::task::spawn_blocking(page)))
    }

    fn body<'a>(&'a self, object: &'a ErrorObject, from: u64) -> BoxFuture<'a, Result<Body, ObjectError>> {
        let (path, object) = (self.root.join(&object.key), object.clone());
        Box::pin(async move {
            let left = object.size.saturating_sub(from);
            let opened = tokio::task::spawn_blocking(move || open(&path, &object, from));
            let file = tokio::fs::File::from_std(crate::pool::join(opened).await?);
            // What somebody appends now is not part of the object.
            Ok(Box::pin(file.take(left)) as Body)
        })
    }
}

fn open(path: &Path, object: &ErrorObject, from: u64) -> Result<File, ObjectError> {
    let cannot = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => ObjectError::Gone,
        _ => failed("read an object", path, &error).into(),
    };
    let mut file = File::open(path).map_err(cannot)?;
    let metadata = file.metadata().map_err(cannot)?;
    if !metadata.is_file() || (metadata.size(), etag(&metadata)) != (object.size, object.etag.clone()) {
        return Err(ObjectError::Changed);
    }
    file.seek(SeekFrom::Start(from)).map_err(cannot)?;
    Ok(file)
}

/// The folder in which all keys are that begin with `prefix`.
pub(super) fn check<'a>(root: &Path, prefix: &'a str) -> Result<&'a str, AttemptError> {
    let folder = prefix.rfind('/').map_or("", |slash| &prefix[..=slash]);
    let is_below = Path::new(folder).components().all(|part| matches!(part, Component::Normal(_)));
    if is_below { Ok(folder) } else { Err(outside(prefix, root)) }
}

/// Files have no other mark of their content that costs nothing.
fn etag(metadata: &fs::Metadata) -> String {
    format!("{}.{:09}", metadata.mtime(), metadata.mtime_nsec())
}

/// One look at all names under a prefix, of which it keeps the smallest.
struct Scan<'a> {
    root: &'a Path,
    prefix: String,
    after: String,
    keys_max: usize,
    keys: BTreeSet<String>,
}

impl Scan<'_> {
    fn page(mut self) -> Result<Page, AttemptError> {
        let folder = check(self.root, &self.prefix)?.to_owned();
        self.folder(&folder)?;
        let next = (self.keys.len() == self.keys_max).then(|| self.keys.last().cloned()).flatten();
        let mut objects = Vec::with_capacity(self.keys.len());
        for key in &self.keys {
            objects.extend(self.object(key)?);
        }
        Ok(Page { objects, next })
    }

    /// Looks at a folder by its key, which is empty or ends with a slash.
    fn folder(&mut self, folder: &str) -> Result<(), AttemptError> {
        let path = self.root.join(folder);
        let cannot = |error: io::Error| failed("list the folder", &path, &error);
        let entries = match fs::read_dir(&path) {
            Ok(entries) => entries,
            // Somebody cleans up, or nothing has failed yet.
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Ok(());
            }
            Err(error) => return Err(cannot(error)),
        };
        let mut folders = BTreeSet::new();
        for entry in entries {
            let entry = entry.map_err(cannot)?;
            let Some(name) = entry.file_name().to_str().map(str::to_owned) else {
                tracing::warn!(path = %entry.path().display(), "its name is not UTF-8, so it is no object");
                continue;
            };
            match kind(&entry).map_err(cannot)? {
                Kind::Folder if folder.is_empty() && name == STAGING_FOLDER => {}
                Kind::Folder => drop(folders.insert(format!("{folder}{name}/"))),
                Kind::File => self.file(format!("{folder}{name}")),
                Kind::Other => {}
            }
        }
        for folder in &folders {
            if self.is_wanted(folder) {
                self.folder(folder)?;
            }
        }
        Ok(())
    }

    /// Whether there may be keys for the page in a folder: all of them begin with its own.
    fn is_wanted(&self, folder: &str) -> bool {
        let is_before = folder < self.after.as_str() && !self.after.starts_with(folder);
        let may_match = self.prefix.starts_with(folder) || self.is_under_prefix(folder);
        may_match && !is_before && self.has_room_for(folder)
    }

    fn file(&mut self, key: String) {
        if self.is_under_prefix(&key) && key > self.after && self.has_room_for(&key) {
            self.keys.insert(key);
            if self.keys.len() > self.keys_max {
                self.keys.pop_last();
            }
        }
    }

    fn is_under_prefix(&self, key: &str) -> bool {
        key.starts_with(&self.prefix)
    }

    fn has_room_for(&self, key: &str) -> bool {
        self.keys.len() < self.keys_max || self.keys.last().is_some_and(|last| key < last.as_str())
    }

    /// `None` for what has been removed meanwhile.
    fn object(&self, key: &str) -> Result<Option<ErrorObject>, AttemptError> {
        let path = self.root.join(key);
        let metadata = match fs::metadata(&path) {
            Ok(metadata) if metadata.is_file() => metadata,
            Ok(_) => return Ok(None),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed("look at an object", &path, &error)),
        };
        let modified = metadata.modified().ok().and_then(|time| Timestamp::try_from(time).ok());
        let (size, etag) = (metadata.size(), etag(&metadata));
        Ok(modified.map(|modified| ErrorObject { key: key.to_owned(), size, modified, etag }))
    }
}

/// Who can do something about it: time, or a person.
fn failed(doing: &str, path: &Path, error: &io::Error) -> AttemptError {
    use io::ErrorKind::{InvalidFilename, InvalidInput, NotADirectory, PermissionDenied};
    let (class, advice) = match error.kind() {
        PermissionDenied => (ErrorClass::Denied, "; let the user that hydrant runs as read there"),
        InvalidFilename | InvalidInput | NotADirectory => (ErrorClass::Denied, ""),
        _ => (ErrorClass::Transient, ""),
    };
    let message = format!("cannot {doing} `{}`: {error}{advice}", path.display());
    AttemptError { class, code: "FileSystem".to_owned(), message, ambiguous: false }
}

enum Kind {
    Folder,
    /// A symbolic link to a file, too.
    File,
    Other,
}

fn kind(entry: &DirEntry) -> io::Result<Kind> {
    let found = entry.file_type()?;
    Ok(match found {
        found if found.is_dir() => Kind::Folder,
        found if found.is_file() || found.is_symlink() => Kind::File,
        _ => Kind::Other,
    })
}

/// The code of a prefix that no key begins with.
pub(crate) const INVALID_PREFIX: &str = "InvalidPrefix";

fn outside(prefix: &str, root: &Path) -> AttemptError {
    let message = format!("the prefix `{prefix}` is no beginning of names below `{}`", root.display());
    AttemptError { class: ErrorClass::Denied, code: INVALID_PREFIX.to_owned(), message, ambiguous: false }
}
