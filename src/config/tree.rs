//! YAML as a tree whose every node knows its place in the file.
//!
//! The tree is bounded whatever the text holds: an alias shares its anchor's nodes, yet they count again towards
//! [`NODES_MAX`], and nesting ends at [`DEPTH_MAX`]. Mistakes that leave the rest readable (a duplicate key, a tag) are
//! collected; the others end the reading.

use std::ops::RangeInclusive;
use std::rc::Rc;

use super::builder::Builder;

/// Nodes of all files of one configuration, aliases expanded. A delivery stream has about 30.
pub(super) const NODES_MAX: usize = 100_000;

/// Lists and mappings inside each other. The deepest configuration has about ten.
pub(super) const DEPTH_MAX: usize = 64;

/// What a secret's key holds, in any case.
const SECRET_WORDS: [&str; 9] =
    ["key", "token", "secret", "password", "passwd", "credential", "external_id", "external-id", "authorization"];

/// Where something stands. Lines and columns count from 1, columns and length in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub file: usize,
    pub line: usize,
    pub column: usize,
    pub length: usize,
}

pub(super) struct Node {
    pub place: Place,
    pub kind: Kind,
    /// This node and all below it.
    pub size: usize,
}

pub(super) enum Kind {
    Scalar(Scalar),
    List(Vec<Rc<Node>>),
    Map(Vec<Entry>),
}

pub(super) struct Scalar {
    pub text: String,
    pub style: Style,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    /// Typed by what it looks like.
    Plain,
    /// A string whatever it looks like, without escapes.
    Verbatim,
    /// A string in double quotes.
    DoubleQuoted,
}

pub(super) struct Entry {
    pub key: String,
    pub key_place: Place,
    pub value: Rc<Node>,
}

/// Something wrong with the YAML itself.
pub(super) struct TreeError {
    pub place: Place,
    pub message: String,
    pub help: Option<String>,
}

/// What became of one file's text.
pub(super) struct Parsed {
    /// `None` only together with errors.
    pub root: Option<Rc<Node>>,
    pub errors: Vec<TreeError>,
    /// Lines that no snippet may show.
    pub secret_lines: Vec<RangeInclusive<usize>>,
}

/// `nodes` is what is left of [`NODES_MAX`].
pub(super) fn parse(text: &str, file: usize, nodes: &mut usize) -> Parsed {
    let mut builder = Builder::new(file, nodes);
    if let Some(error) = control_character(text, file) {
        builder.errors.push(error);
    } else if let Err(error) = builder.run(text) {
        builder.errors.push(*error);
    }
    let Builder { root, errors, mut secret_lines, .. } = builder;
    if root.is_none() || !errors.is_empty() {
        secret_lines.extend(lines_from_first_secret_word(text));
    }
    Parsed { root, errors, secret_lines }
}

/// Whether a value under this key is kept off every screen. Better one too many.
pub(super) fn looks_secret(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    key != "kms_key_id" && SECRET_WORDS.iter().any(|word| key.contains(word))
}

impl Node {
    /// Nothing at all, as behind `key:`.
    pub fn is_nothing(&self) -> bool {
        matches!(&self.kind, Kind::Scalar(scalar) if scalar.text.is_empty() && scalar.style == Style::Plain)
    }

    /// For messages: what there is instead of what should be there.
    pub fn kind_name(&self) -> &'static str {
        match &self.kind {
            Kind::Scalar(_) => "a single value",
            Kind::List(_) => "a list",
            Kind::Map(_) => "a mapping",
        }
    }
}

/// The parser takes a NUL for the end of the file and would leave out the rest without a word.
fn control_character(text: &str, file: usize) -> Option<TreeError> {
    let is_refused = |c: char| c.is_ascii_control() && !matches!(c, '\n' | '\r' | '\t');
    let offset = text.find(is_refused)?;
    let (before, found) = text.split_at(offset);
    let code = found.chars().next().map_or(0, u32::from);
    let (line, column) = super::line_and_column(before);
    let message = format!("the control character U+{code:04X} is not allowed in YAML");
    let help = Some(format!("in double quotes, write `\\x{code:02X}`"));
    Some(TreeError { place: Place { file, line, column, length: 1 }, message, help })
}

/// Where the keys are not known for certain, every line from the first one with a secret's word may hold the secret.
fn lines_from_first_secret_word(text: &str) -> Option<RangeInclusive<usize>> {
    let line = text.split(['\n', '\r']).position(looks_secret)?;
    // `\r\n` counted twice would come too late: count breaks as the parser does.
    let before: usize = text.split(['\n', '\r']).take(line).map(|line| line.len() + 1).sum();
    Some(super::line_and_column(text.get(..before)?).0..=usize::MAX)
}
