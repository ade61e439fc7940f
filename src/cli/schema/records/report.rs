//! What is said of records that were checked: the rows that do not fit, and how many for each reason.

use std::collections::BTreeMap;
use std::io::{self, BufWriter, Stdout, Write};

use serde_json::{Map, Value as Json, json};

use super::super::super::transform::bytes;
use super::super::table;
use crate::convert::{Failure, Misfit};
use crate::schema::Schema;

/// More reasons are counted as one.
const REASONS_MAX: usize = 1_000;
/// Of them the most frequent are told on their own.
const REASONS_SHOWN: usize = 20;

/// Collects verdicts; rows that do not fit are printed as they come with JSON, and in the end without.
pub(super) struct Report {
    /// Of rows that are shown; `None` for all of them as JSON.
    limit: Option<usize>,
    out: BufWriter<Stdout>,
    shown: Vec<[String; 6]>,
    records: u64,
    fitting: u64,
    rows: u64,
    rows_failed: u64,
    reasons: BTreeMap<Reason, Count>,
    /// Of reasons that are not kept.
    others: u64,
}

/// What was made of one record.
pub(super) struct Verdict<'v> {
    pub line: u64,
    pub text: &'v [u8],
    pub rows: usize,
    pub failures: &'v [Failure],
}

/// What rows have in common that are counted together.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Reason {
    column: String,
    data_type: String,
    kind: &'static str,
    code: &'static str,
    cause: &'static str,
}

struct Count {
    rows: u64,
    first_line: u64,
    /// Of the first.
    reason: String,
}

/// A row that does not fit, taken apart.
struct Told {
    line: u64,
    /// From 1.
    byte: usize,
    column: String,
    data_type: String,
    kind: &'static str,
    reason: String,
}

impl Report {
    pub fn new(limit: Option<usize>) -> Self {
        Self {
            limit,
            out: BufWriter::new(io::stdout()),
            shown: Vec::new(),
            records: 0,
            fitting: 0,
            rows: 0,
            rows_failed: 0,
            reasons: BTreeMap::new(),
            others: 0,
        }
    }

    pub fn all_fit(&self) -> bool {
        self.fitting == self.records
    }

    pub fn take(&mut self, verdict: Verdict<'_>) -> io::Result<()> {
        let Verdict { line, text, rows, failures } = verdict;
        self.records += 1;
        self.fitting += u64::from(failures.is_empty());
        self.rows += rows as u64;
        for failure in failures {
            let told = Told::of(line, failure);
            self.count(&told, failure.code.name(), failure.cause);
            if self.limit.is_none() {
                let mut object = told.json();
                object.insert(String::from("errorCode"), Json::from(failure.code.name()));
                object.insert(String::from("errorMessage"), Json::from(failure.message.as_str()));
                object.extend(bytes(text.get(failure.bytes.clone()).unwrap_or_default()));
                writeln!(self.out, "{}", Json::Object(object))?;
            }
            self.show(told);
        }
        Ok(())
    }

    /// A line that was not read.
    pub fn too_long(&mut self, line: u64, limit_mb: usize) -> io::Result<()> {
        self.records += 1;
        let reason = format!("the line is longer than {limit_mb} MB");
        let told = Told { line, byte: 1, column: String::new(), data_type: String::new(), kind: "", reason };
        self.count(&told, crate::envelope::RECORD_TOO_LARGE, "too long");
        if self.limit.is_none() {
            let mut object = told.json();
            object.insert(String::from("errorCode"), Json::from(crate::envelope::RECORD_TOO_LARGE));
            object.insert(String::from("errorMessage"), Json::from(told.reason.as_str()));
            writeln!(self.out, "{}", Json::Object(object))?;
        }
        self.show(told);
        Ok(())
    }

    /// Prints what there is to print, and the counts.
    pub fn finish(&mut self, schema: &Schema) -> io::Result<()> {
        self.out.flush()?;
        if !self.shown.is_empty() {
            table::print(["line", "byte", "column", "type", "value", "reason"], &self.shown)?;
        }
        let Self { records, fitting, rows, rows_failed, .. } = self;
        eprintln!("{schema}: {fitting} of {records} records fit; {rows} rows do, {rows_failed} do not");
        let mut reasons: Vec<_> = self.reasons.iter().collect();
        reasons.sort_by_key(|(_, count)| std::cmp::Reverse(count.rows));
        let untold = reasons.iter().skip(REASONS_SHOWN).map(|(_, count)| count.rows).sum::<u64>() + self.others;
        for (reason, count) in reasons.into_iter().take(REASONS_SHOWN) {
            eprintln!("  {}", said(reason, count));
        }
        if untold > 0 {
            eprintln!("  {untold} for other reasons");
        }
        match self.limit {
            Some(limit) if self.shown.len() < *rows_failed as usize => {
                eprintln!(
                    "{limit} of {rows_failed} rows that do not fit are shown; --limit shows more, --json all of them"
                );
            }
            Some(_) | None => {}
        }
        Ok(())
    }

    fn show(&mut self, told: Told) {
        let Told { line, byte, column, data_type, kind, reason } = told;
        if self.limit.is_some_and(|limit| self.shown.len() < limit) {
            self.shown.push([line.to_string(), byte.to_string(), column, data_type, kind.to_owned(), reason]);
        }
    }

    fn count(&mut self, told: &Told, code: &'static str, cause: &'static str) {
        self.rows_failed += 1;
        let reason = Reason {
            column: without_indices(&told.column),
            data_type: told.data_type.clone(),
            kind: told.kind,
            code,
            cause,
        };
        if let Some(count) = self.reasons.get_mut(&reason) {
            count.rows += 1;
        } else if self.reasons.len() < REASONS_MAX {
            self.reasons.insert(reason, Count { rows: 1, first_line: told.line, reason: told.reason.clone() });
        } else {
            self.others += 1;
        }
    }
}

impl Told {
    fn of(line: u64, failure: &Failure) -> Self {
        let (column, data_type, kind, reason) = match failure.misfit.as_deref() {
            Some(Misfit::Value { path, data_type, kind, reason, .. }) => {
                (path.clone(), data_type.clone(), *kind, reason.clone())
            }
            Some(Misfit::Missing { column, data_type }) => {
                (column.clone(), data_type.clone(), "", String::from("it must have a value"))
            }
            Some(Misfit::Unknown { path, kind }) => {
                (path.clone(), String::new(), *kind, String::from("no column takes the field"))
            }
            Some(Misfit::UnknownTooLong { column }) => {
                (column.clone(), String::new(), "", String::from("the unknown fields are too long"))
            }
            Some(Misfit::TooLarge { .. }) | None => (String::new(), String::new(), "", failure.message.clone()),
        };
        Self { line, byte: failure.bytes.start + 1, column, data_type, kind, reason }
    }

    fn json(&self) -> Map<String, Json> {
        let text = |text: &str| if text.is_empty() { Json::Null } else { Json::from(text) };
        let fields = [
            ("line", json!(self.line)),
            ("byte", json!(self.byte)),
            ("column", text(&self.column)),
            ("type", text(&self.data_type)),
            ("value", text(self.kind)),
            ("reason", text(&self.reason)),
        ];
        fields.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
    }
}

/// One line for people; names and values of records may hold anything.
fn said(reason: &Reason, count: &Count) -> String {
    let of = match (reason.column.as_str(), reason.data_type.as_str(), reason.kind) {
        ("", ..) => String::new(),
        (column, "", kind) => format!("{column}, {kind}: "),
        (column, data_type, "") => format!("{column} ({data_type}): "),
        (column, data_type, kind) => format!("{column} ({data_type}), {kind}: "),
    };
    let text = format!("{} × {of}{}; first in line {}", count.rows, count.reason, count.first_line);
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// `tags[]` for `tags[17]`: one place of a schema.
fn without_indices(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    let mut is_index = false;
    for c in path.chars() {
        is_index = (is_index || c == '[') && c != ']';
        if !is_index || c == '[' {
            out.push(c);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_of_a_list_are_counted_together() {
        assert_eq!(without_indices("user.tags[17][0].x"), "user.tags[][].x");
        assert_eq!(without_indices("plain"), "plain");
    }
}
