//! Patterns: a regular expression, with grok's references expanded, whose groups are the fields.
//!
//! Invariant: matching takes time linear in the record, so no record can hold the pipeline up.

use std::ops::Range;

use regex::{Captures, Regex, RegexBuilder};

use super::super::json_text::MemberNames;
use super::super::{ConfigError, Failure};
use super::grok::{self, Expanded};

pub(super) struct Pattern {
    /// Matches whole records only.
    whole: Regex,
    /// For each field the groups that may hold it; the first that took part does.
    fields: Vec<Vec<usize>>,
}

impl Pattern {
    /// The pattern and its fields' own names. Without named groups all groups are fields, and `field_names` names them.
    pub fn new(text: &str, field_names: &[String]) -> Result<(Self, Vec<String>), ConfigError> {
        let expanded = grok::expand(text)?;
        let whole = compile_whole(&expanded.regex)?;
        let (mut names, mut fields) = named_fields(&whole, &expanded);
        if names.is_empty() && !field_names.is_empty() {
            fields = (1..whole.captures_len()).map(|group| vec![group]).collect();
            names = (1..=fields.len()).map(|group| format!("group {group}")).collect();
        }
        if names.is_empty() {
            let help = "`(?<name>…)` or `%{PATTERN:name}` makes a field; `field_names` names groups without a name";
            return Err(ConfigError::new("pattern", "the pattern has no named group").with_help(help));
        }
        Ok((Self { whole, fields }, names))
    }

    /// Writes all members, without the closing brace.
    pub fn write(&self, line: &[u8], names: &MemberNames, out: &mut Vec<u8>) -> Result<(), Failure> {
        // Without a copy where the line is UTF-8.
        let line = String::from_utf8_lossy(line);
        let captures =
            self.whole.captures(&line).ok_or_else(|| Failure::new("the record does not match the pattern"))?;
        for (index, groups) in self.fields.iter().enumerate() {
            let value = groups.iter().find_map(|&group| range(&captures, group)).map(|range| &line.as_bytes()[range]);
            names.push(out, index, value);
        }
        Ok(())
    }
}

fn range(captures: &Captures<'_>, group: usize) -> Option<Range<usize>> {
    captures.get(group).map(|found| found.range())
}

/// The names of the fields and the groups of each.
fn named_fields(regex: &Regex, expanded: &Expanded) -> (Vec<String>, Vec<Vec<usize>>) {
    let (mut names, mut fields): (Vec<String>, Vec<Vec<usize>>) = Default::default();
    for (group, name) in regex.capture_names().enumerate() {
        let Some(name) = name.map(|name| expanded.field(name)) else { continue };
        match names.iter().position(|known| known == name) {
            Some(field) => fields[field].push(group),
            None => {
                names.push(name.to_owned());
                fields.push(vec![group]);
            }
        }
    }
    (names, fields)
}

fn compile_whole(pattern: &str) -> Result<Regex, ConfigError> {
    // Alone first: an error should show the pattern as it was written, and `a)(b` must be one.
    compile(pattern)?;
    // In verbose mode a comment at the pattern's end swallows what is put behind it, but for a line feed.
    compile(&format!(r"\A(?:{pattern})\z")).or_else(|_| compile(&format!("\\A(?:{pattern}\n)\\z")))
}

fn compile(pattern: &str) -> Result<Regex, ConfigError> {
    RegexBuilder::new(pattern).dot_matches_new_line(true).build().map_err(|error| {
        let reason = error.to_string();
        // The library's last line says what is wrong, those before draw the place.
        let reason = reason.lines().last().unwrap_or_default().trim_start_matches("error: ");
        let error = ConfigError::new("pattern", format!("the pattern is no regular expression: {reason}"));
        if reason.contains("look-around") || reason.contains("backreferences") {
            return error.with_help("neither exists here, so that every match takes linear time");
        }
        error
    })
}
