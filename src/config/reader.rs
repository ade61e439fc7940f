//! Reads typed values out of the tree and collects what is wrong with them.
//!
//! Every method that returns `None` has reported why, once, at the place in the file; the caller goes on with the next
//! key, so that all mistakes come out together. A value that came out of a `${…}` is named in errors by what is written
//! in the file, and a secret is not named at all.

use std::cell::{Cell, RefCell};
use std::ops::RangeInclusive;

use super::files::Files;
use super::scalar::{self, Environment, Type};
use super::tree::{Entry, Kind, Node, Place, Scalar, Style};
use super::{key_shown, listed, quoted};

const QUOTED_NUMBER_HELP: &str = "take the quotes away: in quotes it is a string";

/// What all values of one configuration share.
pub(super) struct Reader<'a> {
    pub environment: &'a Environment,
    pub files: &'a RefCell<Files>,
    /// Globs compiled so far.
    globs: Cell<usize>,
}

/// A node that somebody wants to read, under the name it has for the operator.
#[derive(Clone)]
pub(super) struct Value<'a> {
    reader: &'a Reader<'a>,
    node: &'a Node,
    /// For a value that is not there, `key:` and nothing behind it.
    key_place: Place,
    path: String,
}

/// A mapping with its unknown keys reported already.
pub(super) struct Map<'a> {
    value: Value<'a>,
    entries: &'a [Entry],
    known: &'static [&'static str],
}

/// A scalar with its `${…}` replaced.
#[derive(Clone)]
pub(super) struct Text<'a> {
    pub value: Value<'a>,
    pub text: String,
    substituted: bool,
}

impl<'a> Reader<'a> {
    pub fn new(environment: &'a Environment, files: &'a RefCell<Files>) -> Self {
        Self { environment, files, globs: Cell::new(0) }
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

    /// Reports another kind of node, and every key that is not among `known`.
    pub fn map(&self, known: &'static [&'static str]) -> Option<Map<'a>> {
        let Kind::Map(entries) = &self.node.kind else {
            let allowed = format!("a mapping with {}", listed(known));
            self.wrong_kind(&allowed);
            return None;
        };
        let map = Map { value: self.clone(), entries, known };
        for entry in entries.iter().filter(|entry| !known.contains(&entry.key.as_str())) {
            map.report_unknown(entry);
        }
        Some(map)
    }

    /// The value of one key, of whatever else there is.
    pub fn key(&self, key: &'static str) -> Option<Value<'a>> {
        let Kind::Map(entries) = &self.node.kind else { return None };
        Map { value: self.clone(), entries, known: &[] }.find(key)
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

    fn scalar(&self, allowed: &str) -> Option<(Text<'a>, &'a Scalar)> {
        let Kind::Scalar(scalar) = &self.node.kind else {
            self.wrong_kind(allowed);
            return None;
        };
        match scalar::substitute(&scalar.text, self.reader.environment) {
            Ok((text, substituted)) => Some((Text { value: self.clone(), text, substituted }, scalar)),
            Err(error) => {
                self.problem_at(error.offset, error.message, Some(error.help));
                None
            }
        }
    }

    fn wrong_kind(&self, allowed: &str) {
        let (given, help) = match &self.node.kind {
            Kind::Scalar(scalar) if scalar.style == Style::Plain && scalar::core_schema(&scalar.text) == Type::Null => {
                ("nothing", Some("give a value, or take the key away".to_owned()))
            }
            Kind::Scalar(_) | Kind::List(_) | Kind::Map(_) => (self.node.kind_name(), None),
        };
        self.must_be(allowed, given, help);
    }

    fn must_be(&self, allowed: &str, given: &str, help: Option<String>) {
        let subject = if self.path.is_empty() { "the file".to_owned() } else { format!("`{}`", self.name()) };
        self.problem(format!("{subject} must be {allowed}, given {given}"), help);
    }

    /// At a byte of the scalar as it is written; at its start where the text has escapes or several lines.
    fn problem_at(&self, offset: usize, message: String, help: Option<String>) {
        let mut files = self.reader.files.borrow_mut();
        let place = match &self.node.kind {
            Kind::Scalar(scalar) => files.place_inside(self.place(), &scalar.text, offset),
            Kind::List(_) | Kind::Map(_) => self.place(),
        };
        files.report(place, &self.path, message, help);
    }

    fn is_secret(&self) -> bool {
        super::tree::looks_secret(self.name())
    }

    fn secret_or(&self, help: impl FnOnce() -> String) -> Option<String> {
        (!self.is_secret()).then(help)
    }

    /// `region: ${REGION:-}` with nothing in it is as good as no `region`.
    fn is_substituted_by_nothing(&self) -> bool {
        let Kind::Scalar(scalar) = &self.node.kind else { return false };
        scalar.style == Style::Plain
            && matches!(scalar::substitute(&scalar.text, self.reader.environment), Ok((text, true)) if text.is_empty())
    }
}

impl<'a> Text<'a> {
    /// The text itself if `is_allowed`, else an error that says what is.
    pub fn check(self, allowed: &str, is_allowed: impl Fn(&str) -> bool) -> Option<Self> {
        if is_allowed(&self.text) {
            return Some(self);
        }
        self.value.must_be(allowed, &self.given(Style::Verbatim), None);
        None
    }

    /// At a byte of the text. What the message says of the text is left out where the text came out of a `${…}`.
    pub fn problem_at(&self, offset: usize, message: String, help: Option<String>) {
        if self.substituted {
            let message = format!("`{}` breaks its rules, given {}", self.value.name(), self.shown());
            return self.value.problem(message, None);
        }
        match &self.value.node.kind {
            Kind::Scalar(scalar) if scalar.text == self.text => self.value.problem_at(offset, message, help),
            // `$$` has moved everything behind it.
            Kind::Scalar(_) | Kind::List(_) | Kind::Map(_) => self.value.problem(message, help),
        }
    }

    /// `\n` outside of double quotes is a backslash and an n: never meant.
    pub fn is_unescaped(&self) -> bool {
        let Kind::Scalar(scalar) = &self.value.node.kind else { return false };
        scalar.style != Style::DoubleQuoted && !self.substituted && self.text.contains('\\')
    }

    /// In backticks, for a message.
    pub fn shown(&self) -> String {
        match &self.value.node.kind {
            _ if self.value.is_secret() => "a secret that is not shown".to_owned(),
            Kind::Scalar(scalar) if self.substituted => format!("the value of {}", quoted(&scalar.text)),
            _ if self.text.is_empty() => "an empty string".to_owned(),
            Kind::Scalar(_) | Kind::List(_) | Kind::Map(_) => quoted(&self.text),
        }
    }

    fn given(&self, style: Style) -> String {
        if style != Style::Plain {
            return self.given_as("string");
        }
        match scalar::core_schema(&self.text) {
            Type::Null if !self.substituted => "nothing".to_owned(),
            Type::Null | Type::Boolean(_) | Type::Whole(_) | Type::Decimal(_) => self.shown(),
            Type::String => self.given_as("string"),
        }
    }

    fn given_as(&self, what: &str) -> String {
        let is_named_otherwise = self.substituted || self.text.is_empty() || self.value.is_secret();
        if is_named_otherwise { self.shown() } else { format!("the {what} {}", self.shown()) }
    }
}

impl<'a> Map<'a> {
    pub fn value(&self) -> &Value<'a> {
        &self.value
    }

    pub fn get(&self, key: &'static str) -> Option<Value<'a>> {
        debug_assert!(self.known.contains(&key), "`{key}` would be reported as unknown");
        self.find(key)
    }

    fn find(&self, key: &str) -> Option<Value<'a>> {
        let entry = self.entries.iter().find(|entry| entry.key == key)?;
        let value = self.value_of(entry);
        (!value.is_substituted_by_nothing()).then_some(value)
    }

    /// `Some(None)` without the key, `None` if what it holds was refused.
    pub fn optional<T>(&self, key: &'static str, read: impl FnOnce(&Value<'a>) -> Option<T>) -> Option<Option<T>> {
        match self.get(key) {
            Some(value) => read(&value).map(Some),
            None => Some(None),
        }
    }

    pub fn get_or<T>(&self, key: &'static str, default: T, read: impl FnOnce(&Value<'a>) -> Option<T>) -> Option<T> {
        self.optional(key, read).map(|value| value.unwrap_or(default))
    }

    pub fn required(&self, key: &'static str) -> Option<Value<'a>> {
        let value = self.get(key);
        if value.is_none() {
            let entry = self.entries.iter().find(|entry| entry.key == key);
            let (message, help) = match entry {
                Some(_) => (format!("`{key}` is empty"), None),
                None => (format!("{} needs `{key}`", self.subject()), None),
            };
            entry.map_or_else(|| self.value.clone(), |entry| self.value_of(entry)).problem(message, help);
        }
        value
    }

    /// The one key of `choices` that there has to be.
    pub fn exactly_one(&self, choices: &'static [&'static str]) -> Option<(&'static str, Value<'a>)> {
        let given = |entry: &'a Entry| Some((choices.iter().find(|choice| **choice == entry.key)?, entry));
        let mut given = self.entries.iter().filter_map(given);
        let Some((choice, entry)) = given.next() else {
            let message = match choices {
                [choice] => format!("{} needs `{choice}`", self.subject()),
                _ => format!("{} needs exactly one of {}", self.subject(), listed(choices)),
            };
            self.value.problem(message, None);
            return None;
        };
        if let Some((second, second_entry)) = given.next() {
            let message = format!("{} has `{choice}` already, `{second}` is one too many", self.subject());
            self.report_key(second_entry, message, Some(format!("exactly one of {}", listed(choices))));
        }
        Some((choice, self.value_of(entry)))
    }

    fn value_of(&self, entry: &'a Entry) -> Value<'a> {
        let path = self.path_of(entry);
        Value { reader: self.value.reader, node: &entry.value, key_place: entry.key_place, path }
    }

    fn path_of(&self, entry: &Entry) -> String {
        if self.value.path.is_empty() { entry.key.clone() } else { format!("{}.{}", self.value.path, entry.key) }
    }

    fn report_unknown(&self, entry: &Entry) {
        let mut help = format!("known keys: {}", listed(self.known));
        if let Some(nearest) = nearest(&entry.key, self.known) {
            help = format!("did you mean `{nearest}`? {help}");
        }
        let message = match self.value.path.as_str() {
            "" => format!("unknown key {}", key_shown(&entry.key)),
            path => format!("unknown key {} in `{path}`", key_shown(&entry.key)),
        };
        self.report_key(entry, message, Some(help));
    }

    fn report_key(&self, entry: &Entry, message: String, help: Option<String>) {
        let path = if super::is_key_like(&entry.key) { self.path_of(entry) } else { self.value.path.clone() };
        self.value.reader.files.borrow_mut().report(entry.key_place, &path, message, help);
    }

    fn subject(&self) -> String {
        if self.value.path.is_empty() { "the file".to_owned() } else { format!("`{}`", self.value.path) }
    }
}

/// The name that somebody who wrote `word` probably meant.
fn nearest<'n>(word: &str, names: &[&'n str]) -> Option<&'n str> {
    const SIMILARITY_MIN: f64 = 0.8;
    // A longer word is no misspelling, and comparing takes the product of the lengths.
    if word.len() > 64 {
        return None;
    }
    let word = word.to_lowercase();
    let similarity = |name: &&'n str| (strsim::jaro_winkler(&word, name), *name);
    let nearest = names.iter().map(similarity).max_by(|a, b| a.0.total_cmp(&b.0));
    nearest.filter(|(similarity, _)| *similarity >= SIMILARITY_MIN).map(|(_, name)| name)
}

fn escaped(text: &str) -> String {
    text.escape_debug().to_string()
}
