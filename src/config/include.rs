//! Which files a configuration includes.
//!
//! Bounded: a glob that walks half the disk or matches a thousand files is a mistake, not a configuration.

use std::path::{Path, PathBuf};

use walkdir::WalkDir;

use super::globs;
use super::reader::Value;
use super::scalar;
use super::text::Text;

const FILES_MAX: usize = 1000;
const ENTRIES_WALKED_MAX: usize = 10_000;

/// A file to read, and what named it.
pub(super) struct Included<'a> {
    pub path: PathBuf,
    pub named_by: Value<'a>,
}

/// The files in the order of the globs, and by name for each of them; none twice, and not `main` itself.
pub(super) fn included<'a>(include: &Value<'a>, main: &Path) -> Vec<Included<'a>> {
    let folder = main.parent().unwrap_or(Path::new(""));
    let mut files: Vec<Included<'a>> = Vec::new();
    for value in include.one_or_list() {
        let Some(text) = value.string("a path or a glob") else { continue };
        for path in matching(&text, folder) {
            let is_known = files.iter().map(|file| file.path.as_path()).chain([main]).any(|known| known == path);
            if !is_known {
                files.push(Included { path, named_by: value.clone() });
            }
        }
    }
    if files.len() > FILES_MAX {
        include.problem(format!("more than {FILES_MAX} files are included"), None);
        files.clear();
    }
    files
}

fn matching(text: &Text<'_>, folder: &Path) -> Vec<PathBuf> {
    if text.text.is_empty() {
        text.value.problem("`include` must be a path or a glob, given nothing", None);
        return Vec::new();
    }
    if !globs::is_glob(&text.text) {
        let path = folder.join(&text.text);
        if let Err(error) = path.metadata() {
            let message = format!("{} cannot be included: {}", text.shown(), scalar::reason(&error));
            text.value.problem(message, Some("a path counts from the folder of this file".to_owned()));
            return Vec::new();
        }
        return vec![path];
    }
    let pattern = globs::joined(folder, &text.text);
    let Some(glob) = globs::compiled(text, &pattern) else { return Vec::new() };
    let base = globs::literal_base(&pattern);
    let depth_max = match pattern.contains("**") {
        true => usize::MAX,
        false => globs::components(&pattern).count() - globs::components(&base.to_string_lossy()).count(),
    };
    walk(text, &base, depth_max, |path| glob.is_match(path))
}

fn walk(text: &Text<'_>, base: &Path, depth_max: usize, is_match: impl Fn(&Path) -> bool) -> Vec<PathBuf> {
    let mut paths = Vec::new();
    let entries = WalkDir::new(if base == Path::new("") { Path::new(".") } else { base });
    for (walked, entry) in entries.max_depth(depth_max).follow_links(true).sort_by_file_name().into_iter().enumerate() {
        if walked >= ENTRIES_WALKED_MAX {
            text.value.problem(format!("{} looks through more than {ENTRIES_WALKED_MAX} files", text.shown()), None);
            return Vec::new();
        }
        let entry = match entry {
            Ok(entry) => entry,
            Err(error) => {
                let is_missing = error.io_error().is_some_and(|error| error.kind() == std::io::ErrorKind::NotFound);
                if !is_missing {
                    let reason = error.io_error().map_or("its links form a circle".to_owned(), scalar::reason);
                    text.value.problem(format!("{} cannot be looked through: {reason}", text.shown()), None);
                }
                continue;
            }
        };
        // As in a shell: the swap files of editors are not meant.
        let is_hidden = entry.file_name().to_string_lossy().starts_with('.');
        let path = entry.path().strip_prefix("./").unwrap_or(entry.path());
        if !is_hidden && entry.file_type().is_file() && is_match(path) {
            paths.push(path.to_owned());
        }
    }
    paths
}
