//! `hydrant new-transform`: a project of a transform component.
//!
//! Always true: nothing that is there is changed. A folder is made, or an empty one filled, and never a file replaced.

mod templates;

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, ValueEnum};

/// Makes a project of a transform component in DIR, which builds and passes its own test at once.
///
/// Its README has the commands. The folder's name is the project's: lower case letters, digits and hyphens.
#[derive(Args)]
#[command(after_help = "Example:
  hydrant new-transform --language rust geo-lookup && cd geo-lookup && cargo test")]
pub struct Arguments {
    /// What it is written in.
    #[arg(long, value_enum)]
    language: Language,
    /// The project's folder; one that is there must be empty.
    #[arg(value_name = "DIR")]
    dir: PathBuf,
}

#[derive(Clone, Copy, ValueEnum)]
enum Language {
    Rust,
    Javascript,
    Python,
    C,
}

/// Why there is no project.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(
        "`{name}` cannot be a project's name: it begins with a lower case letter, and lower case letters, digits and \
         hyphens follow, at most {NAME_BYTES_MAX} in all"
    )]
    Name { name: String },
    #[error(
        "`{name}` is a word that Rust and Cargo keep for themselves, or a crate that the project needs; name the folder otherwise"
    )]
    Taken { name: String },
    #[error("{} is not empty; name a folder that is not there yet", dir.display())]
    NotEmpty { dir: PathBuf },
    #[error("{} cannot be written", path.display())]
    Write { path: PathBuf, source: io::Error },
}

const NAME_BYTES_MAX: usize = 64;

/// What no crate of the template's can be called: keywords, Cargo's own folders, crates that come with Rust, and what it needs.
#[rustfmt::skip]
const TAKEN_IN_RUST: &[&str] = &[
    "abstract", "as", "async", "await", "become", "box", "break", "const", "continue", "crate", "do", "dyn", "else", "enum",
    "extern", "false", "final", "fn", "for", "gen", "if", "impl", "in", "let", "loop", "macro", "match", "mod", "move", "mut",
    "override", "priv", "pub", "ref", "return", "self", "static", "struct", "super", "trait", "true", "try", "type", "typeof",
    "unsafe", "unsized", "use", "virtual", "where", "while", "yield",
    "build", "deps", "examples", "incremental",
    "alloc", "core", "proc-macro", "std", "test",
    "serde-json", "wit-bindgen",
];

pub fn run(arguments: &Arguments) -> ExitCode {
    match make(&arguments.dir, arguments.language) {
        Ok(()) => {
            eprintln!("{} is ready; its README.md says how to test and build it", arguments.dir.display());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{}", crate::chain::chain(&error));
            ExitCode::from(match error {
                Error::Name { .. } | Error::Taken { .. } | Error::NotEmpty { .. } => super::WRONG,
                Error::Write { .. } => super::FAILED,
            })
        }
    }
}

fn make(dir: &Path, language: Language) -> Result<(), Error> {
    let name = name(dir, language)?;
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| Error::Write { path, source }
    };
    fs::create_dir_all(dir).map_err(failed(dir))?;
    if fs::read_dir(dir).map_err(failed(dir))?.next().is_some() {
        return Err(Error::NotEmpty { dir: dir.to_owned() });
    }
    for (file, content) in templates::files(language) {
        let path = dir.join(file);
        write(&path, &fill(content, &name)).map_err(failed(&path))?;
    }
    Ok(())
}

/// The project is called as its folder is.
fn name(dir: &Path, language: Language) -> Result<String, Error> {
    let named = std::path::absolute(dir).unwrap_or_else(|_| dir.to_owned());
    let name = named.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let is_usable = name.len() <= NAME_BYTES_MAX
        && name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    match language {
        _ if !is_usable => Err(Error::Name { name }),
        Language::Rust if TAKEN_IN_RUST.contains(&name.as_str()) => Err(Error::Taken { name }),
        // There it is a file's name, and no more.
        Language::Rust | Language::Javascript | Language::Python | Language::C => Ok(name),
    }
}

/// Puts the name in its places; what is no text has none.
fn fill(content: &[u8], name: &str) -> Vec<u8> {
    match std::str::from_utf8(content) {
        Ok(text) => text.replace("{{name}}", name).replace("{{lib}}", &name.replace('-', "_")).into_bytes(),
        Err(_) => content.to_vec(),
    }
}

fn write(path: &Path, content: &[u8]) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    OpenOptions::new().write(true).create_new(true).open(path)?.write_all(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_names_no_project_is_refused() {
        for dir in ["Geo", "2nd", "geo_lookup", "geo lookup", "käse", "/", "a/..", &"x".repeat(65)] {
            assert!(matches!(name(Path::new(dir), Language::Rust), Err(Error::Name { .. })), "{dir}");
        }
        assert_eq!(name(Path::new("some/where/geo-2/"), Language::Rust).unwrap(), "geo-2");
    }

    #[test]
    fn a_name_that_no_crate_can_have_is_refused_for_rust_alone() {
        for dir in ["self", "test", "core", "wit-bindgen"] {
            assert!(matches!(name(Path::new(dir), Language::Rust), Err(Error::Taken { .. })), "{dir}");
            assert_eq!(name(Path::new(dir), Language::Python).unwrap(), dir);
        }
    }

    #[test]
    fn every_template_has_its_name_the_interface_and_a_readme() {
        for language in Language::value_variants() {
            let files: Vec<_> = templates::files(*language).collect();
            let has = |name| files.iter().any(|(file, _)| *file == name);
            assert!(has("README.md") && has("wit/transform.wit") && has(".gitignore"));
            for (file, content) in files {
                let filled = fill(content, "geo-2");
                let leaves = |place: &str| filled.windows(place.len()).any(|part| part == place.as_bytes());
                assert!(!leaves("{{name}}") && !leaves("{{lib}}"), "{file}");
            }
        }
    }
}
