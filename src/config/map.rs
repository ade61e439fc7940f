//! A mapping and its keys: those that have to be there, those that may, and those that nobody knows.

use super::reader::Value;
use super::tree::{Entry, Kind};
use super::{is_key_like, key_shown, listed};

/// A mapping with its unknown keys reported already.
pub(super) struct Map<'a> {
    value: Value<'a>,
    entries: &'a [Entry],
    known: &'static [&'static str],
}

impl<'a> Value<'a> {
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

    /// Keys that the operator chooses, with their values, in the order of the file.
    pub fn named(&self, allowed: &str) -> Option<Vec<(&'a str, Value<'a>)>> {
        let Kind::Map(entries) = &self.node.kind else {
            self.wrong_kind(allowed);
            return None;
        };
        let map = Map { value: self.clone(), entries, known: &[] };
        Some(entries.iter().map(|entry| (entry.key.as_str(), map.value_of(entry))).collect())
    }

    /// The value of one key, of whatever else there is.
    pub fn key(&self, key: &'static str) -> Option<Value<'a>> {
        let Kind::Map(entries) = &self.node.kind else { return None };
        Map { value: self.clone(), entries, known: &[] }.find(key)
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
        let path = if is_key_like(&entry.key) { self.path_of(entry) } else { self.value.path.clone() };
        self.value.reader.files.borrow_mut().report(entry.key_place, &path, message, help);
    }

    fn subject(&self) -> String {
        if self.value.path.is_empty() { "the file".to_owned() } else { format!("`{}`", self.value.path) }
    }
}

/// The name that somebody who wrote `word` probably meant.
pub(super) fn nearest<'n>(word: &str, names: &[&'n str]) -> Option<&'n str> {
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
