//! Globs over paths, as they stand in a configuration.
//!
//! `*` and `?` stay inside one folder, `**` crosses folders.

use std::path::{Path, PathBuf};

use globset::{GlobBuilder, GlobSet};

use super::text::Text;

/// A path cannot be longer on Linux.
const GLOB_BYTES_MAX: usize = 4096;

/// Of all delivery streams together. Compiling is what takes longest in a configuration, ten times as long as its YAML.
const GLOBS_MAX: usize = 5000;

const HELP: &str = "`*` and `?` match inside one folder, `**/` any number of folders, `[a-z]` one character, `{a,b}` \
                    either; a backslash before one of these takes it literally";

pub(super) fn is_glob(text: &str) -> bool {
    text.contains(is_special)
}

fn is_special(c: char) -> bool {
    matches!(c, '*' | '?' | '[' | ']' | '{' | '}' | '\\')
}

/// The matcher for `pattern`, which was made out of `text`; reports why there is none.
pub(super) fn compiled(text: &Text<'_>, pattern: &str) -> Option<GlobSet> {
    if pattern.len() > GLOB_BYTES_MAX {
        text.value.problem(format!("`{}` is longer than {GLOB_BYTES_MAX} bytes", text.value.name()), None);
        return None;
    }
    let globs = text.value.count_glob();
    if globs > GLOBS_MAX {
        if globs == GLOBS_MAX + 1 {
            text.value.problem(format!("the configuration has more than {GLOBS_MAX} globs"), None);
        }
        return None;
    }
    // A set of one: compiling a single `Glob` panics on alternatives that are nested too deeply.
    let glob = GlobBuilder::new(pattern).literal_separator(true).build();
    match glob.and_then(|glob| GlobSet::builder().add(glob).build()) {
        Ok(glob) => Some(glob),
        Err(error) => {
            let reason = match error.kind() {
                globset::ErrorKind::Regex(_) => "it is too complex".to_owned(),
                kind => kind.to_string(),
            };
            let message = format!("{} is not a glob: {reason}", text.shown());
            text.problem_at(0, message, Some(HELP.to_owned()));
            None
        }
    }
}

/// `glob`, counted from `folder`, whose own name is taken literally; without the `.` and empty components that no path
/// on disk has.
pub(super) fn joined(folder: &Path, glob: &str) -> String {
    let mut joined = String::new();
    if !glob.starts_with('/') {
        for c in folder.to_string_lossy().chars() {
            if is_special(c) {
                joined.push('\\');
            }
            joined.push(c);
        }
        // Behind nothing it would be the root.
        if !joined.is_empty() {
            joined.push('/');
        }
    }
    joined.push_str(glob);
    let root = if joined.starts_with('/') { "/" } else { "" };
    root.to_owned() + &components(&joined).collect::<Vec<_>>().join("/")
}

pub(super) fn components(pattern: &str) -> impl Iterator<Item = &str> {
    pattern.split('/').filter(|component| !matches!(*component, "" | "."))
}

/// The folder that holds everything that `pattern` can match: its components before the first special one, without
/// the last component of all.
pub(super) fn literal_base(pattern: &str) -> PathBuf {
    let root = if pattern.starts_with('/') { "/" } else { "" };
    let Some((folders, _)) = pattern.rsplit_once('/') else { return PathBuf::new() };
    let literals = components(folders).map_while(literal);
    literals.fold(PathBuf::from(root), |base, component| base.join(component))
}

/// The one path that `pattern` matches, if it is no more than that.
pub(super) fn literal(pattern: &str) -> Option<String> {
    let mut literal = String::new();
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => literal.push(chars.next()?),
            c if is_special(c) => return None,
            c => literal.push(c),
        }
    }
    Some(literal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_base_of_a_glob_ends_before_its_first_special_component() {
        let cases = [
            ("/var/log/nginx/access*.log", "/var/log/nginx"),
            ("/var/log/app.log", "/var/log"),
            ("/var/*/app/app.log", "/var"),
            ("/**/*.log", "/"),
            ("/a\\*b/c.log", "/a*b"),
            ("logs/*.log", "logs"),
            ("*.log", ""),
        ];
        for (pattern, base) in cases {
            assert_eq!(literal_base(pattern), Path::new(base), "{pattern}");
        }
    }

    #[test]
    fn a_folder_of_any_name_is_taken_literally() {
        assert_eq!(joined(Path::new("/a[1]/b"), "*.log"), "/a\\[1\\]/b/*.log");
        assert_eq!(joined(Path::new("/a"), "/b/*.log"), "/b/*.log");
        assert_eq!(joined(Path::new("/"), "*.log"), "/*.log");
        assert_eq!(joined(Path::new(""), "*.log"), "*.log");
        assert_eq!(joined(Path::new("./a//b"), "./../*.log"), "a/b/../*.log");
    }
}
