//! YAML as a tree whose every node knows its place in the file.
//!
//! The tree is bounded whatever the text holds: an alias shares its anchor's nodes, yet they count again towards
//! [`NODES_MAX`], and nesting ends at [`DEPTH_MAX`]. Mistakes that leave the rest readable (a duplicate key, a tag) are
//! collected; the others end the reading.

use std::collections::{BTreeMap, HashMap};
use std::ops::RangeInclusive;
use std::rc::Rc;

use saphyr_parser::{Event, Parser, ScalarStyle, Span, Tag};

use super::quoted;

/// Nodes of all files of one configuration, aliases expanded. A delivery stream has about 30.
pub(super) const NODES_MAX: usize = 100_000;

/// Lists and mappings inside each other. The deepest configuration has about ten.
pub(super) const DEPTH_MAX: usize = 64;

/// What a secret's key holds, in any case.
const SECRET_WORDS: [&str; 8] =
    ["key", "token", "secret", "password", "passwd", "credential", "external_id", "external-id"];

const SUBSTITUTION_HELP: &str = "inside `{…}` and `[…]` a `${…}` has to be in quotes; for a number, write the mapping on \
                                 lines of its own instead";

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
    size: usize,
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
    let mut builder = Builder {
        file,
        nodes,
        frames: Vec::new(),
        anchors: BTreeMap::new(),
        documents: 0,
        root: None,
        errors: Vec::new(),
        secret_lines: Vec::new(),
    };
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

/// A list or mapping whose end has not come yet.
struct Frame {
    anchor: usize,
    place: Place,
    size: usize,
    content: Content,
}

enum Content {
    List(Vec<Rc<Node>>),
    Map { entries: Vec<Entry>, lines_of_keys: HashMap<String, usize>, key: PendingKey },
}

enum PendingKey {
    /// The next node is a key.
    None,
    Scalar(String, Place),
    /// A duplicate, or not a scalar: reported already, its value is left out.
    Refused,
}

struct Builder<'a> {
    file: usize,
    nodes: &'a mut usize,
    frames: Vec<Frame>,
    anchors: BTreeMap<usize, Rc<Node>>,
    documents: usize,
    root: Option<Rc<Node>>,
    errors: Vec<TreeError>,
    secret_lines: Vec<RangeInclusive<usize>>,
}

type Fatal = Box<TreeError>;

impl Builder<'_> {
    fn run(&mut self, text: &str) -> Result<(), Fatal> {
        let mut parser = Parser::new_from_str(text);
        while let Some(event) = parser.next_event() {
            let (event, span) = event.map_err(|error| {
                let place = place_at(self.file, error.marker().line(), error.marker().col(), 1);
                let line = text.lines().nth(place.line - 1).unwrap_or_default();
                fatal(
                    place,
                    format!("not valid YAML: {}", error.info()),
                    line.contains("${").then_some(SUBSTITUTION_HELP),
                )
            })?;
            self.take(event, span)?;
        }
        Ok(())
    }

    fn take(&mut self, event: Event<'_>, span: Span) -> Result<(), Fatal> {
        let length = if span.start.line() == span.end.line() { span.len() } else { 1 };
        let place = place_at(self.file, span.start.line(), span.start.col(), length);
        match event {
            Event::DocumentStart(_) => {
                self.documents += 1;
                if self.documents > 1 {
                    let help = "remove the `---` line and what follows it, or move that to an included file";
                    return Err(fatal(place, "a configuration is one YAML document, this is a second one", Some(help)));
                }
            }
            Event::Scalar(text, style, anchor, tag) => {
                let style = self.style(style, tag.as_deref(), place);
                if text.split_once("://").is_some_and(|(_, rest)| rest.contains('@')) {
                    self.secret_lines.push(span.start.line()..=span.end.line());
                }
                let kind = Kind::Scalar(Scalar { text: text.into_owned(), style });
                self.add(Node { place, kind, size: 1 }, anchor, span.end.line())?;
            }
            Event::SequenceStart(anchor, tag) => {
                self.check_tag(tag.as_deref(), &["seq"], place);
                self.open(anchor, place, Content::List(Vec::new()))?;
            }
            Event::MappingStart(anchor, tag) => {
                self.check_tag(tag.as_deref(), &["map"], place);
                let (entries, lines_of_keys) = (Vec::new(), HashMap::new());
                self.open(anchor, place, Content::Map { entries, lines_of_keys, key: PendingKey::None })?;
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(span.end.line())?,
            Event::Alias(anchor) => {
                let Some(node) = self.anchors.get(&anchor).cloned() else {
                    return Err(fatal(place, "this alias stands inside what it refers to", None));
                };
                self.count(node.size, place)?;
                self.attach(node, place, span.end.line());
            }
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => {}
        }
        Ok(())
    }

    fn open(&mut self, anchor: usize, place: Place, content: Content) -> Result<(), Fatal> {
        if self.frames.len() >= DEPTH_MAX {
            return Err(fatal(place, format!("more than {DEPTH_MAX} lists and mappings inside each other"), None));
        }
        self.count(1, place)?;
        self.frames.push(Frame { anchor, place, size: 1, content });
        Ok(())
    }

    fn close(&mut self, line_end: usize) -> Result<(), Fatal> {
        let Some(Frame { anchor, place, size, content }) = self.frames.pop() else { return Ok(()) };
        let kind = match content {
            Content::List(items) => Kind::List(items),
            Content::Map { entries, .. } => Kind::Map(entries),
        };
        self.anchor_and_attach(Node { place, kind, size }, anchor, line_end);
        Ok(())
    }

    fn add(&mut self, node: Node, anchor: usize, line_end: usize) -> Result<(), Fatal> {
        self.count(node.size, node.place)?;
        self.anchor_and_attach(node, anchor, line_end);
        Ok(())
    }

    fn anchor_and_attach(&mut self, node: Node, anchor: usize, line_end: usize) {
        let place = node.place;
        let node = Rc::new(node);
        if anchor > 0 {
            self.anchors.insert(anchor, Rc::clone(&node));
        }
        self.attach(node, place, line_end);
    }

    /// Puts a complete node where it belongs: under its parent, as its parent's next key, or at the root.
    fn attach(&mut self, node: Rc<Node>, place: Place, line_end: usize) {
        let Some(frame) = self.frames.last_mut() else {
            self.root = Some(node);
            return;
        };
        frame.size += node.size;
        let (entries, lines_of_keys, key) = match &mut frame.content {
            Content::List(items) => return items.push(node),
            Content::Map { entries, lines_of_keys, key } => (entries, lines_of_keys, key),
        };
        match std::mem::replace(key, PendingKey::None) {
            PendingKey::Refused => {}
            PendingKey::Scalar(text, key_place) => {
                if looks_secret(&text) {
                    self.secret_lines.push(key_place.line..=line_end.max(key_place.line));
                    // An alias' value stands elsewhere.
                    self.secret_lines.push(node.place.line..=node.place.line);
                }
                entries.push(Entry { key: text, key_place, value: node });
            }
            PendingKey::None => {
                let refusal = match &node.kind {
                    Kind::List(_) | Kind::Map(_) => {
                        Some(format!("a key must be a single word, given {}", node.kind_name()))
                    }
                    Kind::Scalar(scalar) => lines_of_keys
                        .insert(scalar.text.clone(), place.line)
                        .map(|line| format!("{} was given before, in line {line}", super::key_shown(&scalar.text))),
                };
                *key = match (refusal, &node.kind) {
                    (None, Kind::Scalar(scalar)) => PendingKey::Scalar(scalar.text.clone(), place),
                    (refusal, _) => {
                        let message = refusal.unwrap_or_default();
                        self.errors.push(TreeError { place, message, help: None });
                        PendingKey::Refused
                    }
                };
            }
        }
    }

    fn count(&mut self, nodes: usize, place: Place) -> Result<(), Fatal> {
        let left = self.nodes.checked_sub(nodes).ok_or_else(|| {
            let help = "aliases count as what they stand for";
            fatal(place, format!("the configuration has more than {NODES_MAX} values"), Some(help))
        })?;
        *self.nodes = left;
        Ok(())
    }

    fn style(&mut self, style: ScalarStyle, tag: Option<&Tag>, place: Place) -> Style {
        self.check_tag(tag, &["str", "int", "float", "bool", "null"], place);
        match tag {
            // `! 5` and `!!str 5` are strings.
            Some(tag) if !tag.is_yaml_core_schema() || tag.suffix == "str" => Style::Verbatim,
            Some(_) => Style::Plain,
            None => match style {
                ScalarStyle::Plain => Style::Plain,
                ScalarStyle::DoubleQuoted => Style::DoubleQuoted,
                ScalarStyle::SingleQuoted | ScalarStyle::Literal | ScalarStyle::Folded => Style::Verbatim,
            },
        }
    }

    fn check_tag(&mut self, tag: Option<&Tag>, allowed: &[&str], place: Place) {
        let Some(tag) = tag else { return };
        let core = tag.is_yaml_core_schema();
        if (core && allowed.contains(&tag.suffix.as_str())) || (tag.handle.is_empty() && tag.suffix == "!") {
            return;
        }
        let name = if core { format!("!!{}", tag.suffix) } else { tag.to_string() };
        let help = Some("write the value without a tag".to_owned());
        self.errors.push(TreeError { place, message: format!("the tag {} means nothing here", quoted(&name)), help });
    }
}

fn place_at(file: usize, line: usize, column_from_0: usize, length: usize) -> Place {
    Place { file, line: line.max(1), column: column_from_0 + 1, length }
}

fn fatal(place: Place, message: impl Into<String>, help: Option<&str>) -> Fatal {
    Box::new(TreeError { place, message: message.into(), help: help.map(str::to_owned) })
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
