//! The files of one configuration: their text for pointing into it, their lines that are never shown, their mistakes.

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::error::{ConfigError, ConfigErrors, Snippet};
use super::tree::{self, NODES_MAX, Node, Place};

/// A configuration of 1,000 delivery streams has a tenth of this.
pub(super) const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Bytes; a longer line does not fit a terminal, and finding a column in it takes its length.
const LINE_POINTED_INTO_MAX: usize = 10_000;
const LINE_SHOWN_MAX: usize = 400;

const LEAST: &str = "\
the least is one delivery stream:
delivery_streams:
  - name: web-access
    source: { file: { paths: /var/log/nginx/access.log } }
    destination: { directory: { path: /data/out } }";

const LEAST_SCHEMA: &str = "\
the least is one column:
columns:
  - { name: message, type: string }";

const LEAST_TESTS: &str = "\
the least is one test:
config: hydrant.yaml
tests:
  - name: it goes on as it is
    stream: web-access
    records:
      - { input: hello, expect: { ok: hello } }";

pub(super) struct Files {
    /// What is in them, and the least that one may hold.
    kind: (&'static str, &'static str),
    files: Vec<SourceFile>,
    problems: Vec<Problem>,
    /// What is left of [`NODES_MAX`] for all files together.
    nodes: usize,
}

struct SourceFile {
    path: PathBuf,
    text: String,
    /// The byte at which each line begins.
    lines: Vec<usize>,
    secret_lines: Vec<RangeInclusive<usize>>,
}

#[derive(PartialEq)]
struct Problem {
    place: Place,
    path: String,
    message: String,
    help: Option<String>,
}

impl Files {
    pub fn new() -> Self {
        Self::of_kind("configuration", LEAST)
    }

    pub fn of_schemas() -> Self {
        Self::of_kind("schema", LEAST_SCHEMA)
    }

    pub fn of_tests() -> Self {
        Self::of_kind("test file", LEAST_TESTS)
    }

    /// Given on a command line.
    pub fn of_options() -> Self {
        Self::of_kind("text", "for example `{ input: { deserializer: hive } }`")
    }

    fn of_kind(what: &'static str, least: &'static str) -> Self {
        Self { kind: (what, least), files: Vec::new(), problems: Vec::new(), nodes: NODES_MAX }
    }

    /// The file's tree; `None` with an error reported. `bytes` are `None` for a file that is too large to be read.
    pub fn add(&mut self, path: &Path, bytes: Option<Vec<u8>>) -> Option<Rc<Node>> {
        let file = self.files.len();
        self.files.push(SourceFile::new(path, String::new()));
        let start = Place { file, line: 1, column: 1, length: 1 };
        let Some(bytes) = bytes else {
            let message = format!("the file is larger than {} MB", FILE_BYTES_MAX / 1024 / 1024);
            let help = (self.kind.1 == LEAST).then(|| "split it up with `include`".to_owned());
            self.report(start, "", message, help);
            return None;
        };
        let text = match String::from_utf8(bytes) {
            Ok(text) => text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text),
            Err(error) => {
                let valid = error.utf8_error().valid_up_to();
                let before = String::from_utf8_lossy(&error.as_bytes()[..valid]).into_owned();
                let (line, column) = super::line_and_column(&before);
                let help = Some(format!("{}s are UTF-8", self.kind.0));
                self.report(Place { line, column, ..start }, "", "this byte is not UTF-8".to_owned(), help);
                return None;
            }
        };
        let tree::Parsed { root, errors, secret_lines } = tree::parse(&text, file, &mut self.nodes);
        self.files[file] = SourceFile { secret_lines, ..SourceFile::new(path, text) };
        if errors.is_empty() && root.as_ref().is_none_or(|root| root.is_nothing()) {
            let (what, least) = self.kind;
            self.report(start, "", format!("the {what} is empty"), Some(least.to_owned()));
            return None;
        }
        for error in errors {
            self.report(error.place, "", error.message, error.help);
        }
        root
    }

    pub fn report(&mut self, place: Place, path: &str, message: String, help: Option<String>) {
        self.problems.push(Problem { place, path: path.to_owned(), message, help });
    }

    pub fn has_problems(&self) -> bool {
        !self.problems.is_empty()
    }

    pub fn shown(&self, place: Place) -> String {
        let path = self.files.get(place.file).map(|file| file.path.display().to_string()).unwrap_or_default();
        format!("{path}:{}:{}", place.line, place.column)
    }

    /// The place of a byte of `scalar`, which begins at `place`; its start if it is not written there as it reads.
    pub fn place_inside(&self, place: Place, scalar: &str, offset: usize) -> Place {
        let in_line = || {
            let line = self.files.get(place.file)?.line(place.line)?;
            let (start, _) = line.char_indices().nth(place.column - 1)?;
            let (from_start, before) = (line.get(start..)?, scalar.get(..offset)?);
            let quotes = usize::from(from_start.starts_with(['"', '\'']));
            from_start.get(quotes..)?.starts_with(scalar).then_some(())?;
            Some(Place { column: place.column + quotes + before.chars().count(), length: 1, ..place })
        };
        in_line().unwrap_or(place)
    }

    /// Each mistake once, though an alias repeats it, in the order of the files and their lines.
    pub fn into_errors(mut self) -> ConfigErrors {
        let problems = std::mem::take(&mut self.problems);
        let mut seen = std::collections::BTreeSet::new();
        let mut problems: Vec<Problem> =
            problems.into_iter().filter(|problem| seen.insert((problem.place, problem.message.clone()))).collect();
        problems.sort_by_key(|problem| (problem.place.file, problem.place.line, problem.place.column));
        ConfigErrors::new(problems.into_iter().map(|problem| self.error(problem)))
    }

    fn error(&self, problem: Problem) -> ConfigError {
        let Problem { place, path: key, message, help } = problem;
        let file = self.files.get(place.file);
        ConfigError {
            file: file.map(|file| file.path.clone()).unwrap_or_default(),
            line: place.line,
            column: place.column,
            key,
            message,
            help,
            snippet: file.and_then(|file| file.snippet(place)),
        }
    }
}

impl SourceFile {
    fn new(path: &Path, text: String) -> Self {
        let bytes = text.as_bytes();
        let is_break = |at: &usize| bytes[*at] == b'\n' || (bytes[*at] == b'\r' && bytes.get(at + 1) != Some(&b'\n'));
        let lines = std::iter::once(0).chain((0..bytes.len()).filter(is_break).map(|at| at + 1)).collect();
        Self { path: path.to_owned(), text, lines, secret_lines: Vec::new() }
    }

    /// Without its end; `None` for one that is too long to look at.
    fn line(&self, number: usize) -> Option<&str> {
        let start = *self.lines.get(number.checked_sub(1)?)?;
        let end = self.lines.get(number).copied().unwrap_or(self.text.len());
        let line = self.text.get(start..end)?;
        (line.len() <= LINE_POINTED_INTO_MAX).then(|| line.trim_end_matches(['\n', '\r']))
    }

    fn snippet(&self, place: Place) -> Option<Snippet> {
        if self.secret_lines.iter().any(|lines| lines.contains(&place.line)) {
            return None;
        }
        let line = self.line(place.line)?;
        if line.is_empty() || line.len() > LINE_SHOWN_MAX || line.contains(|c: char| c.is_control() && c != '\t') {
            return None;
        }
        let byte_of = |column: usize| line.char_indices().nth(column).map_or(line.len(), |(byte, _)| byte);
        let start = byte_of(place.column - 1);
        let length = byte_of(place.column - 1 + place.length) - start;
        Some(Snippet { line: line.to_owned(), start, length })
    }
}
