//! `json`: checks that records are JSON objects, and flattens, keeps, renames and removes members.
//!
//! Invariant: members stay in order and values keep their text, numbers all their digits; only white space between the
//! parts goes. Renaming and flattening never hide one member behind another of the same name: the record fails instead.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::ops::Range;

use serde::Serialize;

use super::json_scan::{Scanner, push_compact};
use super::json_text::push_string;
use super::pipeline::OUTPUT_BYTES_MAX;
use super::{ConfigError, Failure, Origin, Processor, Records};

mod pretty;

/// Checks that each record is one JSON object, and changes it. A path is a member's name, or the names on the way to it
/// with dots between them; lists are not gone into. All paths mean the record as it comes in; what is done to it is
/// done in this order: `remove`, `keep_only`, `rename`, `flatten`, `pretty`.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct JsonConfig {
    /// Paths of members to leave out.
    pub remove: Vec<String>,
    /// Paths of members to keep, with all that is in them; none keeps all.
    pub keep_only: Vec<String>,
    /// From a member's path to its new name in the same object.
    pub rename: Vec<(String, String)>,
    /// Whether members of nested objects become members of the record.
    pub flatten: Option<Flatten>,
    /// Several lines with indentation, as Kinesis Agent's PRETTYPRINT. Readers of one object a line cannot read that.
    pub pretty: bool,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Flatten {
    /// What stands between the names of a nested member; a dot by default.
    pub separator: String,
}

impl Default for Flatten {
    fn default() -> Self {
        Self { separator: String::from(".") }
    }
}

pub(super) struct Json {
    remove: HashSet<String>,
    keep_only: HashSet<String>,
    rename: HashMap<String, String>,
    /// Objects in which one of those paths goes on.
    on_the_way: HashSet<String>,
    flatten: Option<Flatten>,
    pretty: bool,
}

struct Member<'a> {
    name: Cow<'a, str>,
    value: Value<'a>,
}

enum Value<'a> {
    Object(Vec<Member<'a>>),
    /// Anything else, as it stands in the record.
    Other(&'a str),
}

impl Json {
    pub fn new(config: JsonConfig) -> Result<Self, ConfigError> {
        let from: Vec<String> = config.rename.iter().map(|(from, _)| from.clone()).collect();
        let lists = [("remove", &config.remove), ("keep_only", &config.keep_only), ("rename", &from)];
        for (key, paths) in lists {
            ConfigError::check_unique(key, paths)?;
            if paths.iter().any(String::is_empty) {
                return Err(ConfigError::new(key, format!("`{key}` has an empty path")));
            }
        }
        if config.flatten.as_ref().is_some_and(|flatten| flatten.separator.is_empty()) {
            return Err(ConfigError::new("flatten", "`separator` must not be empty"));
        }
        let prefixes =
            |path: &String| path.match_indices('.').map(|(dot, _)| path[..dot].to_owned()).collect::<Vec<_>>();
        Ok(Self {
            on_the_way: lists.iter().flat_map(|(_, paths)| paths.iter()).flat_map(prefixes).collect(),
            remove: config.remove.into_iter().collect(),
            keep_only: config.keep_only.into_iter().collect(),
            rename: config.rename.into_iter().collect(),
            flatten: config.flatten,
            pretty: config.pretty,
        })
    }
}

impl Processor for Json {
    fn process(&self, record: &[u8], _: &Origin<'_>, out: &mut Records) -> Result<(), Failure> {
        let mut scanner = Scanner::new(record)?;
        if scanner.peek() != Some(b'{') {
            return Err(scanner.failure("`{`"));
        }
        if self.pretty {
            let mut compact = Vec::with_capacity(record.len());
            self.push(&mut compact, scanner)?;
            pretty::push(out.buffer(), &compact)?;
        } else {
            self.push(out.buffer(), scanner)?;
        }
        out.end()
    }
}

impl Json {
    /// Takes the object and writes what becomes of it, in one line.
    fn push(&self, out: &mut Vec<u8>, mut scanner: Scanner<'_>) -> Result<(), Failure> {
        if self.only_checks() {
            let object = scanner.value()?;
            scanner.expect_end()?;
            if scanner.has_space() {
                push_compact(out, object);
            } else {
                out.extend_from_slice(object.as_bytes());
            }
            return Ok(());
        }
        let mut members = members(&mut scanner)?;
        scanner.expect_end()?;
        self.edit(&mut members, &mut String::new(), self.keep_only.is_empty())?;
        match &self.flatten {
            Some(flatten) => push_flat(out, &members, &flatten.separator),
            None => {
                push_object(out, &members);
                Ok(())
            }
        }
    }

    fn only_checks(&self) -> bool {
        self.remove.is_empty() && self.keep_only.is_empty() && self.rename.is_empty() && self.flatten.is_none()
    }

    /// Edits an object's members; `path` leads to it, with a dot at its end. `is_kept` says that a path of `keep_only`
    /// leads to the object or to one that it is in.
    fn edit(&self, members: &mut Vec<Member<'_>>, path: &mut String, is_kept: bool) -> Result<(), Failure> {
        let (len, mut renamed) = (path.len(), Vec::new());
        let mut kept = Vec::with_capacity(members.len());
        for mut member in members.drain(..) {
            path.truncate(len);
            path.push_str(&member.name);
            if self.remove.contains(path.as_str()) {
                continue;
            }
            let new_name = self.rename.get(path.as_str());
            if !self.edit_value(&mut member.value, path, is_kept)? {
                continue;
            }
            if let Some(name) = new_name {
                renamed.push(name.as_str());
                member.name = Cow::Owned(name.clone());
            }
            kept.push(member);
        }
        path.truncate(len);
        *members = kept;
        let is_twice = |name: &&&str| members.iter().filter(|member| member.name == **name).count() > 1;
        match renamed.iter().find(is_twice) {
            Some(name) => Err(Failure::new(format!("two members would be called `{path}{name}`"))),
            None => Ok(()),
        }
    }

    /// Edits the value that `path` leads to, and says whether it stays.
    fn edit_value(&self, value: &mut Value<'_>, path: &mut String, is_kept: bool) -> Result<bool, Failure> {
        let is_kept = is_kept || self.keep_only.contains(path.as_str());
        match value {
            Value::Object(members) if self.on_the_way.contains(path.as_str()) => {
                path.push('.');
                self.edit(members, path, is_kept)?;
                Ok(is_kept || !members.is_empty())
            }
            Value::Object(_) | Value::Other(_) => Ok(is_kept),
        }
    }
}

fn members<'a>(scanner: &mut Scanner<'a>) -> Result<Vec<Member<'a>>, Failure> {
    let mut found = Vec::new();
    scanner.object(|scanner, name| {
        let name = name_of(scanner, name)?;
        let is_object = scanner.peek() == Some(b'{');
        let value = if is_object { Value::Object(members(scanner)?) } else { Value::Other(scanner.value()?) };
        found.push(Member { name, value });
        Ok(())
    })?;
    Ok(found)
}

/// The name without its quotes and escapes.
fn name_of<'a>(scanner: &Scanner<'a>, quoted: &'a str) -> Result<Cow<'a, str>, Failure> {
    if !quoted.contains('\\') {
        return Ok(Cow::Borrowed(&quoted[1..quoted.len() - 1]));
    }
    serde_json::from_str(quoted)
        .map(Cow::Owned)
        .map_err(|_| scanner.failure("a name without half of a character before"))
}

fn push_object(out: &mut Vec<u8>, members: &[Member<'_>]) {
    out.push(b'{');
    for (index, member) in members.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        push_string(out, member.name.as_bytes());
        out.push(b':');
        match &member.value {
            Value::Object(members) => push_object(out, members),
            Value::Other(text) => push_compact(out, text),
        }
    }
    out.push(b'}');
}

fn push_flat(out: &mut Vec<u8>, members: &[Member<'_>], separator: &str) -> Result<(), Failure> {
    let mut flat = Flat { start: out.len(), out, separator, names: Vec::new() };
    flat.out.push(b'{');
    flat.push(members, &mut String::new())?;
    flat.out.push(b'}');
    let mut seen = HashSet::new();
    match flat.names.iter().map(|name| &flat.out[name.clone()]).find(|name| !seen.insert(*name)) {
        Some(twice) => Err(Failure::new(format!("two members would be called {}", String::from_utf8_lossy(twice)))),
        None => Ok(()),
    }
}

struct Flat<'o, 's> {
    out: &'o mut Vec<u8>,
    start: usize,
    separator: &'s str,
    /// Where in `out` the names are, with their quotes.
    names: Vec<Range<usize>>,
}

impl Flat<'_, '_> {
    fn push(&mut self, members: &[Member<'_>], prefix: &mut String) -> Result<(), Failure> {
        let len = prefix.len();
        for member in members {
            prefix.truncate(len);
            prefix.push_str(&member.name);
            match &member.value {
                Value::Object(members) if !members.is_empty() => {
                    prefix.push_str(self.separator);
                    self.push(members, prefix)?;
                }
                Value::Object(_) => self.push_member(prefix, "{}")?,
                Value::Other(text) => self.push_member(prefix, text)?,
            }
        }
        Ok(())
    }

    fn push_member(&mut self, name: &str, value: &str) -> Result<(), Failure> {
        // Many members in an object with a long name would each repeat it.
        if self.out.len() - self.start + name.len() > OUTPUT_BYTES_MAX {
            return Err(Failure::new(format!("the record is more than {} MB when flattened", OUTPUT_BYTES_MAX >> 20)));
        }
        if !self.names.is_empty() {
            self.out.push(b',');
        }
        let start = self.out.len();
        push_string(self.out, name.as_bytes());
        self.names.push(start..self.out.len());
        self.out.push(b':');
        push_compact(self.out, value);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
