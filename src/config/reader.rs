//! Reads typed values out of the tree and collects what is wrong with them.
//!
//! Every method that returns `None` has reported why, once, at the place in the file; the caller goes on with the next
//! key, so that all mistakes come out together.

use std::cell::{Cell, OnceCell, RefCell};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use super::files::Files;
use super::listed;
use super::map::nearest;
use super::scalar::{self, Environment, SubstitutionError, Type};
use super::text::Text;
use super::tree::{self, Kind, Node, Place, Scalar, Style};

const QUOTED_NUMBER_HELP: &str = "take the quotes away: in quotes it is a string";

/// What all values of one configuration share.
pub(super) struct Reader<'a> {
    pub environment: &'a Environment,
    pub files: &'a RefCell<Files>,
    /// Whether `${…}` is replaced.
    substitutes: bool,
    /// Globs compiled so far.
    globs: Cell<usize>,
    /// Known before the first delivery stream is read.
    pub state_dir: OnceCell<PathBuf>,
}

/// A node that somebody wants to read, under the name it has for the operator.
#[derive(Clone)]
pub(super) struct Value<'a> {
    pub(super) reader: &'a Reader<'a>,
    pub(super) node: &'a Node,
    /// For a value that is not there, `key:` and nothing behind it.
    pub(super) key_place: Place,
    pub(super) path: String,
}

impl<'a> Reader<'a> {
    pub fn new(environment: &'a Environment, files: &'a RefCell<Files>) -> Self {
        Self { environment, files, substitutes: true, globs: Cell::new(0), state_dir: OnceCell::new() }
    }

    /// For a file in which a dollar is a dollar.
    pub fn literal(environment: &'a Environment, files: &'a RefCell<Files>) -> Self {
        Self { substitutes: false, ..Self::new(environment, files) }
    }

    fn substitute(&self, text: &str) -> Result<(String, bool), SubstitutionError> {
        if self.substitutes { scalar::substitute(text, self.environment) } else { Ok((text.to_owned(), false)) }
    }

    pub fn root(&'a self, node: &'a Node) -> Value<'a> {
        Value { reader: self, node, key_place: node.place, path: String::new() }
    }
}

impl<'a> Value<'a> {
    /// `size_mb` or `paths[1]`: enough beside a line and column.
    pub fn name(&self) -> &str {
        self.path.rsplit('.').next().unwrap_or_default()
    }

    pub fn environment(&self) -> &'a Environment {
        self.reader.environment
    }

    /// Where the daemon keeps what it has to remember.
    pub fn state_dir(&self) -> &'a Path {
        self.reader.state_dir.get().map_or(Path::new("."), PathBuf::as_path)
    }

    /// How many globs have been compiled, with the one for which this is asked.
    pub fn count_glob(&self) -> usize {
        self.reader.globs.set(self.reader.globs.get() + 1);
        self.reader.globs.get()
    }

    pub fn place(&self) -> Place {
        if self.node.is_nothing() { self.key_place } else { self.node.place }
    }

    /// `web.yaml:12:5`, for a message about another place.
    pub fn place_shown(&self) -> String {
        self.reader.files.borrow().shown(self.place())
    }

    pub fn problem(&self, message: impl Into<String>, help: impl Into<Option<String>>) {
        self.reader.files.borrow_mut().report(self.place(), &self.path, message.into(), help.into());
    }

    pub fn is_list(&self) -> bool {
        matches!(self.node.kind, Kind::List(_))
    }

    pub fn is_map(&self) -> bool {
        matches!(self.node.kind, Kind::Map(_))
    }

    /// Whether it is written as a number, in no quotes.
    pub fn is_number(&self) -> bool {
        let Kind::Scalar(scalar) = &self.node.kind else { return false };
        let text = self.reader.substitute(&scalar.text);
        scalar.style == Style::Plain && text.is_ok_and(|(text, _)| scalar::core_schema(&text).is_number())
    }

    /// The items of a list.
    pub fn list(&self, allowed: &str) -> Option<Vec<Value<'a>>> {
        let Kind::List(items) = &self.node.kind else {
            self.wrong_kind(allowed);
            return None;
        };
        Some(self.items(items))
    }

    /// The items of a list, or the one value that stands for a list of one.
    pub fn one_or_list(&self) -> Vec<Value<'a>> {
        match &self.node.kind {
            Kind::List(items) => self.items(items),
            Kind::Scalar(_) | Kind::Map(_) => vec![self.clone()],
        }
    }

    fn items(&self, items: &'a [std::rc::Rc<Node>]) -> Vec<Value<'a>> {
        let item = |(index, node): (usize, &'a std::rc::Rc<Node>)| Value {
            reader: self.reader,
            node,
            key_place: node.place,
            path: format!("{}[{index}]", self.path),
        };
        items.iter().enumerate().map(item).collect()
    }

    /// A string; numbers and booleans that are not in quotes are refused unless they came out of a `${…}`.
    pub fn string(&self, allowed: &str) -> Option<Text<'a>> {
        let (text, scalar) = self.scalar(allowed)?;
        let kind = if scalar.style == Style::Plain { scalar::core_schema(&text.text) } else { Type::String };
        match kind {
            _ if text.substituted => Some(text),
            Type::String => Some(text),
            Type::Null => {
                self.wrong_kind(allowed);
                None
            }
            Type::Boolean(_) | Type::Whole(_) | Type::Decimal(_) => {
                let what = if matches!(kind, Type::Boolean(_)) { "boolean" } else { "number" };
                let help = self.secret_or(|| format!("in quotes it is a string: `\"{}\"`", escaped(&text.text)));
                self.problem(format!("`{}` must be {allowed}, given {}", self.name(), text.given_as(what)), help);
                None
            }
        }
    }

    /// A string that is not empty and would not break a header or a URL: visible ASCII without blanks.
    pub fn word(&self, allowed: &str) -> Option<Text<'a>> {
        let text = self.string(allowed)?;
        text.check(allowed, |text| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic()))
    }

    pub fn boolean(&self) -> Option<bool> {
        let (text, scalar) = self.scalar("`true` or `false`")?;
        if let (Type::Boolean(boolean), Style::Plain) = (scalar::core_schema(&text.text), scalar.style) {
            return Some(boolean);
        }
        let help = "`true` or `false`, without quotes".to_owned();
        self.problem(format!("`{}` must be a boolean, given {}", self.name(), text.given(scalar.style)), help);
        None
    }

    pub fn whole(&self, range: RangeInclusive<i64>, unit: &str) -> Option<i64> {
        self.whole_or(range, unit, None)
    }

    /// `help` for a number that is too small or has a fraction.
    pub fn whole_or(&self, range: RangeInclusive<i64>, unit: &str, help: Option<&str>) -> Option<i64> {
        let allowed = format!("a whole number{unit} from {} to {}", range.start(), range.end());
        let (text, scalar) = self.scalar(&allowed)?;
        let help = match (scalar::core_schema(&text.text), scalar.style) {
            (Type::Whole(number), Style::Plain) if range.contains(&number) => return Some(number),
            (Type::Whole(number), Style::Plain) => help.filter(|_| number < *range.start()),
            (Type::Decimal(_), Style::Plain) => help,
            (kind, _) => kind.is_number().then_some(QUOTED_NUMBER_HELP),
        };
        self.must_be(&allowed, &text.given(scalar.style), help.map(str::to_owned));
        None
    }

    /// `help` for a number that is too small.
    pub fn decimal(&self, range: RangeInclusive<f64>, unit: &str, help: Option<&str>) -> Option<f64> {
        let allowed = format!("a number{unit} from {} to {}", range.start(), range.end());
        let (text, scalar) = self.scalar(&allowed)?;
        let number = match (scalar::core_schema(&text.text), scalar.style) {
            (Type::Whole(number), Style::Plain) => Ok(number as f64),
            (Type::Decimal(number), Style::Plain) => Ok(number),
            (kind, _) => Err(kind),
        };
        let help = match number {
            Ok(number) if range.contains(&number) => return Some(number),
            Ok(number) => help.filter(|_| number < *range.start()),
            Err(kind) => kind.is_number().then_some(QUOTED_NUMBER_HELP),
        };
        self.must_be(&allowed, &text.given(scalar.style), help.map(str::to_owned));
        None
    }

    pub fn one_of<T: Copy>(&self, choices: &[(&str, T)]) -> Option<T> {
        let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
        let allowed = format!("one of {}", listed(&names));
        let text = self.string(&allowed)?;
        if let Some((_, choice)) = choices.iter().find(|(name, _)| *name == text.text) {
            return Some(*choice);
        }
        let nearest = if text.substituted { None } else { nearest(&text.text, &names) };
        self.must_be(&allowed, &text.given(Style::Verbatim), nearest.map(|name| format!("did you mean `{name}`?")));
        None
    }

    pub(super) fn scalar(&self, allowed: &str) -> Option<(Text<'a>, &'a Scalar)> {
        let Kind::Scalar(scalar) = &self.node.kind else {
            self.wrong_kind(allowed);
            return None;
        };
        match self.reader.substitute(&scalar.text) {
            Ok((text, substituted)) => Some((Text { value: self.clone(), text, substituted }, scalar)),
            Err(error) => {
                self.problem_at(error.offset, error.message, Some(error.help));
                None
            }
        }
    }

    pub(super) fn wrong_kind(&self, allowed: &str) {
        let (given, help) = match &self.node.kind {
            Kind::Scalar(scalar) if scalar.style == Style::Plain && scalar::core_schema(&scalar.text) == Type::Null => {
                ("nothing", Some("give a value, or take the key away".to_owned()))
            }
            Kind::Scalar(_) | Kind::List(_) | Kind::Map(_) => (self.node.kind_name(), None),
        };
        self.must_be(allowed, given, help);
    }

    pub(super) fn must_be(&self, allowed: &str, given: &str, help: Option<String>) {
        let subject = if self.path.is_empty() { "the file".to_owned() } else { format!("`{}`", self.name()) };
        self.problem(format!("{subject} must be {allowed}, given {given}"), help);
    }

    /// At a byte of the scalar as it is written; at its start where the text has escapes or several lines.
    pub(super) fn problem_at(&self, offset: usize, message: String, help: Option<String>) {
        let mut files = self.reader.files.borrow_mut();
        let place = match &self.node.kind {
            Kind::Scalar(scalar) => files.place_inside(self.place(), &scalar.text, offset),
            Kind::List(_) | Kind::Map(_) => self.place(),
        };
        files.report(place, &self.path, message, help);
    }

    pub(super) fn is_secret(&self) -> bool {
        tree::looks_secret(self.name())
    }

    fn secret_or(&self, help: impl FnOnce() -> String) -> Option<String> {
        (!self.is_secret()).then(help)
    }

    /// `region: ${REGION:-}` with nothing in it is as good as no `region`.
    pub(super) fn is_substituted_by_nothing(&self) -> bool {
        let Kind::Scalar(scalar) = &self.node.kind else { return false };
        scalar.style == Style::Plain
            && matches!(self.reader.substitute(&scalar.text), Ok((text, true)) if text.is_empty())
    }
}

fn escaped(text: &str) -> String {
    text.escape_debug().to_string()
}
