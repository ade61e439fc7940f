//! Which file names a rotation makes out of another: only files of such names are compared with each other.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Endings of compressed twins.
const PACKED: [&str; 3] = [".gz", ".zst", ".zstd"];

/// Before the name of a file while it is being deleted: no glob matches such a name.
const ASIDE: &str = ".hydrant-delete.";

/// The name that a file has while it is being deleted, in the same folder; `None` for what has no name.
pub fn aside_of(path: &Path) -> Option<PathBuf> {
    let mut aside = OsString::from(ASIDE);
    aside.push(path.file_name()?);
    Some(path.with_file_name(aside))
}

/// The name that a file had before it was to be deleted; `None` if this is no such file.
pub fn original_of(aside: &Path) -> Option<PathBuf> {
    let name = aside.file_name()?.as_bytes().strip_prefix(ASIDE.as_bytes()).filter(|name| !name.is_empty())?;
    Some(aside.with_file_name(OsStr::from_bytes(name)))
}

/// Whether a copy of `original` may be called `copy`: `app.log` → `app.log.1`, `app.log-20261121`, `app-20261121.log`. The
/// folder does not count.
pub fn extends(original: &Path, copy: &Path) -> bool {
    let (original, copy) = (name(original), name(copy));
    if original.is_empty() || copy.len() <= original.len() {
        return false;
    }
    // logrotate's `extension`: the date stands before it.
    let is_dated = original.rsplit_once('.').is_some_and(|(stem, extension)| {
        !stem.is_empty()
            && copy
                .strip_prefix(stem)
                .and_then(|rest| rest.strip_suffix(extension))
                .is_some_and(|date| date.starts_with(['-', '.', '_']) && date.ends_with('.'))
    });
    copy.starts_with(&original) || is_dated
}

/// The log that a rotation has given this name to: `app.log.1` → `app.log`. `None` for a name without a number or date.
pub fn rotated_from(path: &Path) -> Option<PathBuf> {
    let name = name(path);
    let log = stem(&name);
    (log != name).then(|| path.with_file_name(log))
}

/// Whether the compressed `twin` may hold what `original` held: `app.log.1` → `app.log.1.gz`, and as long as the original is
/// not there any more, any other number or date of the same rotation: `app.log.1` → `app.log.2.gz`.
pub fn is_twin(original: &Path, twin: &Path, is_gone: bool) -> bool {
    let (original, twin) = (name(original), name(twin));
    let plain = unpacked(&twin);
    plain != twin
        && (plain == original
            || extends(Path::new(&original), Path::new(plain))
            || (is_gone && !stem(&original).is_empty() && stem(plain) == stem(unpacked(&original))))
}

fn name(path: &Path) -> String {
    path.file_name().map(OsStr::to_string_lossy).unwrap_or_default().into_owned()
}

fn unpacked(name: &str) -> &str {
    PACKED.iter().find_map(|ending| name.strip_suffix(ending)).unwrap_or(name)
}

/// Without the numbers and dates of rotations: `app.log.1` and `app.log-20261121` are `app.log`.
fn stem(name: &str) -> &str {
    let mut stem = name;
    while let Some((rest, last)) = stem.rsplit_once(['.', '-', '_']) {
        if rest.is_empty() || last.is_empty() || !last.bytes().all(|byte| byte.is_ascii_digit()) {
            break;
        }
        stem = rest;
    }
    stem
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_extends_the_name_of_its_original() {
        let extends = |original: &str, copy: &str| extends(Path::new(original), Path::new(copy));
        for copy in ["app.log.1", "app.log-20261121", "/other/app.log.1", "app-20261121.log", "app.2.log"] {
            assert!(extends("/logs/app.log", copy), "{copy}");
        }
        for other in ["app.log", "app.lo", "other.log.1", "application.log", "app-1.txt", ""] {
            assert!(!extends("app.log", other), "{other}");
        }
        assert!(!extends("app.log.1", "app.log.2"));
        assert!(!extends("app.log.1", "app.log"));
    }

    #[test]
    fn a_twin_has_the_name_of_its_original_or_of_the_same_rotation() {
        let is_twin = |original: &str, twin: &str, is_gone| is_twin(Path::new(original), Path::new(twin), is_gone);
        assert!(is_twin("app.log", "app.log.gz", false));
        assert!(is_twin("app.log.1", "app.log.1.zst", false));
        assert!(is_twin("app.log", "app.log.1.gz", false));
        assert!(is_twin("app.log-1", "app.log-20261121.gz", true));
        assert!(is_twin("app.log.1", "app.log.2.gz", true));
        assert!(!is_twin("app.log.1", "app.log.2.gz", false));
        assert!(!is_twin("app.log.1", "app.log.2", true));
        assert!(!is_twin("app.log", "other.log.gz", true));
    }
}
