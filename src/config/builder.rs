//! Makes the tree out of the parser's events, and counts while it does.
//!
//! Nothing is built past [`NODES_MAX`] and [`DEPTH_MAX`]: the event that would pass them ends the reading.

use std::collections::{BTreeMap, HashMap};
use std::ops::RangeInclusive;
use std::rc::Rc;

use saphyr_parser::{Event, Parser, ScalarStyle, Span, Tag};

use super::quoted;
use super::tree::{DEPTH_MAX, Entry, Kind, NODES_MAX, Node, Place, Scalar, Style, TreeError, looks_secret};

const SUBSTITUTION_HELP: &str = "inside `{…}` and `[…]` a `${…}` has to be in quotes; for a number, write the mapping on \
                                 lines of its own instead";

pub(super) struct Builder<'a> {
    file: usize,
    nodes: &'a mut usize,
    frames: Vec<Frame>,
    anchors: BTreeMap<usize, Rc<Node>>,
    documents: usize,
    pub root: Option<Rc<Node>>,
    pub errors: Vec<TreeError>,
    pub secret_lines: Vec<RangeInclusive<usize>>,
}

/// A mistake that ends the reading.
pub(super) type Fatal = Box<TreeError>;

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

impl<'a> Builder<'a> {
    /// `nodes` is what is left of [`NODES_MAX`].
    pub fn new(file: usize, nodes: &'a mut usize) -> Self {
        Self {
            file,
            nodes,
            frames: Vec::new(),
            anchors: BTreeMap::new(),
            documents: 0,
            root: None,
            errors: Vec::new(),
            secret_lines: Vec::new(),
        }
    }

    pub fn run(&mut self, text: &str) -> Result<(), Fatal> {
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
