//! Which files the globs of a source match at this moment.

use std::cmp::Ordering;
use std::io;
use std::path::{Component, Path, PathBuf};

use globset::{Glob, GlobBuilder, GlobSet, GlobSetBuilder};
use walkdir::{DirEntryExt, WalkDir};

use crate::config::model::FileSourceConfig;

use super::names::{aside_of, original_of};

/// The globs of one source, ready to be walked.
pub struct Discovery {
    patterns: Vec<Pattern>,
    exclude: GlobSet,
    /// Patterns without a `/`, matched against the file name.
    exclude_names: GlobSet,
}

/// What a walk of the globs has found.
#[derive(Default)]
pub struct Walk {
    /// All files that match, in the order of their paths, each with the inode number that its name stood for.
    pub files: Vec<(PathBuf, u64)>,
    /// The folders that could not be read, with the reason.
    pub errors: Vec<(PathBuf, io::Error)>,
    /// Whether some are links: what is written to those, no watch of their folder sees.
    pub has_links: bool,
}

/// The order of a walk's files. Byte by byte, as comparing ten thousand paths by their components takes long.
pub fn by_path((one, inode): &(PathBuf, u64), (other, other_inode): &(PathBuf, u64)) -> Ordering {
    one.as_os_str().cmp(other.as_os_str()).then(inode.cmp(other_inode))
}

struct Pattern {
    /// The folders above the first wildcard.
    base: PathBuf,
    /// How many levels below `base` a match may be; `None` with `**`.
    depth: Option<usize>,
    matcher: GlobSet,
}

impl Discovery {
    /// Relative patterns count from the working folder.
    pub fn new(config: &FileSourceConfig) -> Result<Self, globset::Error> {
        let patterns = config.paths.iter().map(|path| Pattern::new(path)).collect::<Result<_, _>>()?;
        let (mut exclude, mut exclude_names) = (GlobSetBuilder::new(), GlobSetBuilder::new());
        for pattern in &config.exclude {
            if pattern.contains('/') {
                exclude.add(glob(&absolute(Path::new(pattern)).to_string_lossy())?);
            } else {
                exclude_names.add(glob(pattern)?);
            }
        }
        Ok(Self { patterns, exclude: exclude.build()?, exclude_names: exclude_names.build()? })
    }

    /// Walks the globs.
    pub fn scan(&self) -> Walk {
        let Walk { mut files, mut errors, mut has_links } = Walk::default();
        for pattern in &self.patterns {
            let walk = WalkDir::new(&pattern.base).follow_links(true).max_depth(pattern.depth.unwrap_or(usize::MAX));
            for entry in walk {
                match entry {
                    Ok(entry) => {
                        let path = entry.path();
                        if entry.file_type().is_file() && pattern.matcher.is_match(path) && !self.is_excluded(path) {
                            has_links |= entry.path_is_symlink();
                            let inode = entry.ino();
                            files.push((entry.into_path(), inode));
                        }
                    }
                    Err(error) => {
                        let path = error.path().unwrap_or(&pattern.base).to_owned();
                        let error = error.into_io_error().unwrap_or_else(|| io::Error::other("a loop of links"));
                        // What is not there yet may come, and what went away between two looks is no fault.
                        if error.kind() != io::ErrorKind::NotFound {
                            errors.push((path, error));
                        }
                    }
                }
            }
        }
        files.sort_unstable_by(by_path);
        files.dedup_by(|one, other| one.0 == other.0);
        Walk { files, errors, has_links }
    }

    /// Files that match under the names that they had before they were to be deleted.
    pub fn left_aside(&self) -> Vec<PathBuf> {
        let is_left = |pattern: &Pattern, path: &Path| {
            original_of(path).is_some_and(|path| pattern.matcher.is_match(&path) && !self.is_excluded(&path))
        };
        let mut files = Vec::new();
        for pattern in &self.patterns {
            let base = if pattern.depth == Some(0) { aside_of(&pattern.base) } else { Some(pattern.base.clone()) };
            let Some(base) = base else { continue };
            let walk = WalkDir::new(base).follow_links(true).max_depth(pattern.depth.unwrap_or(usize::MAX));
            // What cannot be read is complained about by the source.
            let entries = walk.into_iter().filter_map(Result::ok);
            files.extend(entries.map(walkdir::DirEntry::into_path).filter(|path| is_left(pattern, path)));
        }
        files.sort_unstable();
        files.dedup();
        files
    }

    /// The folders to be watched, with whether what lies below them counts as well. Where one does not exist yet, the
    /// nearest folder above it that does.
    pub fn watched(&self) -> Vec<(PathBuf, bool)> {
        let mut folders: Vec<(PathBuf, bool)> = Vec::new();
        for pattern in &self.patterns {
            let recursive = pattern.depth != Some(1) && pattern.depth != Some(0);
            let base = if pattern.depth == Some(0) { parent(&pattern.base) } else { pattern.base.clone() };
            match base.ancestors().find(|folder| folder.is_dir()) {
                Some(folder) if folder == base => folders.push((base, recursive)),
                Some(folder) => folders.push((folder.to_owned(), false)),
                None => {}
            }
        }
        folders.sort();
        folders.dedup();
        folders
    }

    /// Folders in which a file may lie that was renamed out of the globs.
    pub fn search_folders(&self) -> Vec<PathBuf> {
        let mut folders: Vec<PathBuf> = self
            .patterns
            .iter()
            .map(|pattern| if pattern.depth == Some(0) { parent(&pattern.base) } else { pattern.base.clone() })
            .collect();
        folders.sort_unstable();
        folders.dedup();
        folders
    }

    /// Whether the globs match a path, be there a file or not.
    pub fn is_match(&self, path: &Path) -> bool {
        let path = absolute(path);
        self.patterns.iter().any(|pattern| pattern.matcher.is_match(&path)) && !self.is_excluded(&path)
    }

    fn is_excluded(&self, path: &Path) -> bool {
        original_of(path).is_some()
            || self.exclude.is_match(path)
            || path.file_name().is_some_and(|name| self.exclude_names.is_match(name))
    }
}

impl Pattern {
    fn new(text: &str) -> Result<Self, globset::Error> {
        let whole = absolute(Path::new(text));
        let mut base = PathBuf::new();
        let mut below = 0;
        let mut recursive = false;
        for component in whole.components() {
            let part = component.as_os_str().to_string_lossy();
            if below > 0 || part.contains(['*', '?', '[', '{', '\\']) {
                below += 1;
                recursive |= part.contains("**");
            } else {
                base.push(component);
            }
        }
        // `{a/b,c}` may hold slashes of different number: any depth.
        recursive |= text.contains('{') && text.contains('/');
        let depth = (!recursive).then_some(below);
        // A set of one: unlike a single matcher it reports a pattern that is too large.
        let matcher = GlobSetBuilder::new().add(glob(&whole.to_string_lossy())?).build()?;
        Ok(Self { base, depth, matcher })
    }
}

fn glob(pattern: &str) -> Result<Glob, globset::Error> {
    GlobBuilder::new(pattern).literal_separator(true).build()
}

/// The path from the root, without `.` and with `..` as it stands.
fn absolute(path: &Path) -> PathBuf {
    let whole = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    whole.components().filter(|component| !matches!(component, Component::CurDir)).collect()
}

fn parent(path: &Path) -> PathBuf {
    path.parent().unwrap_or(Path::new("/")).to_owned()
}

#[cfg(test)]
mod tests {
    use super::super::cutting::tests::config;
    use super::*;

    fn found(root: &Path, paths: &[&str], exclude: &[&str]) -> Vec<String> {
        let config = FileSourceConfig {
            paths: paths.iter().map(|path| format!("{}/{path}", root.display())).collect(),
            exclude: exclude.iter().map(|path| path.replace("ROOT", &root.display().to_string())).collect(),
            ..config("\n", 1000)
        };
        let Walk { files, errors, .. } = Discovery::new(&config).unwrap().scan();
        assert!(errors.is_empty(), "{errors:?}");
        files.iter().map(|(file, _)| file.strip_prefix(root).unwrap().display().to_string()).collect()
    }

    #[test]
    fn what_was_being_deleted_is_found_by_its_former_name() {
        let root = tempfile::tempdir().unwrap();
        let aside = root.path().join(".hydrant-delete.a.log");
        std::fs::write(&aside, "x").unwrap();
        let left = |path: &str| {
            let config =
                FileSourceConfig { paths: vec![root.path().join(path).display().to_string()], ..config("\n", 9) };
            Discovery::new(&config).unwrap().left_aside()
        };
        assert_eq!(
            (left("a.log"), left("*.log"), left("**/a*")),
            (vec![aside.clone()], vec![aside.clone()], vec![aside])
        );
        assert_eq!((left("b.log"), left("*.txt"), left(".hydrant*")), (vec![], vec![], vec![]));
    }

    #[test]
    fn globs_find_what_they_say_and_nothing_else() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        for file in ["a.log", "b.log", "b.log.1", "sub/c.log", "sub/deep/d.log", "sub/deep/e.tmp"] {
            std::fs::create_dir_all(root.join(file).parent().unwrap()).unwrap();
            std::fs::write(root.join(file), b"x").unwrap();
        }
        assert_eq!(found(root, &["a.log"], &[]), ["a.log"]);
        assert_eq!(found(root, &["*.log"], &[]), ["a.log", "b.log"]);
        assert_eq!(found(root, &["b.log*", "a.*"], &[]), ["a.log", "b.log", "b.log.1"]);
        assert_eq!(found(root, &["*/*.log"], &[]), ["sub/c.log"]);
        assert_eq!(found(root, &["**/*.log"], &[]), ["a.log", "b.log", "sub/c.log", "sub/deep/d.log"]);
        assert_eq!(found(root, &["**/*"], &["*.tmp", "ROOT/sub/c.*", "b.log.?"]), ["a.log", "b.log", "sub/deep/d.log"]);
        assert_eq!(found(root, &["{a,b}.log"], &[]), ["a.log", "b.log"]);
        std::fs::rename(root.join("b.log"), root.join(".hydrant-delete.b.log")).unwrap();
        assert_eq!(found(root, &["*", ".*"], &[]), ["a.log", "b.log.1"], "what is being deleted is nobody's");
        assert_eq!(found(root, &["missing/*.log"], &[]), Vec::<String>::new());
    }
}
