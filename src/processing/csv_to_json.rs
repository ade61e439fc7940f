//! `csv_to_json`: each record is one row of CSV and becomes a JSON object.
//!
//! Invariant: a row's values are all in the object, or the row fails, unless `extra: drop` says otherwise. Quoting is that
//! of RFC 4180, and a row whose quotes do not add up fails instead of being guessed at.

use std::sync::{Arc, PoisonError, RwLock};

use memchr::memmem::Finder;
use serde::Serialize;

use super::json_text::{MemberNames, push_escaped};
use super::{ConfigError, Failure, Origin, Processor, Records};
use row::{Row, Value};

mod row;

/// The member that has a row's values beyond the last column.
const EXTRA: &str = "_extra";

/// Headers that are remembered; more files than that with different ones only cost time.
const HEADERS_MAX: usize = 64;

/// Turns rows of CSV into JSON objects. Values are strings. Columns that a row does not have are null, and so are empty
/// ones without quotes at its end (as Kinesis Agent has it); others that are empty are empty strings. A carriage return
/// at the end is ignored.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CsvToJsonConfig {
    /// What stands between two columns, one character or several; a comma by default. Not a regular expression, as the
    /// agent's is.
    pub delimiter: String,
    /// What is around a column that has delimiters or line breaks in it, `"` by default; doubled it stands for itself.
    /// One ASCII character, or none to take quotes as plain text.
    pub quote: Option<char>,
    /// Names of the columns.
    pub columns: Columns,
    /// What happens to values beyond the last column; `keep` by default, so that nothing is lost.
    pub extra: ExtraColumns,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Columns {
    /// From the file's header, for which its source must have `skip_header_lines`.
    Header,
    Names(Vec<String>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ExtraColumns {
    /// They are in a list `_extra`.
    Keep,
    /// The row goes to the error output.
    Error,
    /// They are left out, as the agent does.
    Drop,
}

impl CsvToJsonConfig {
    /// The defaults with these columns.
    pub fn of(columns: Columns) -> Self {
        Self { delimiter: String::from(","), quote: Some('"'), columns, extra: ExtraColumns::Keep }
    }
}

pub(super) struct CsvToJson {
    delimiter: Finder<'static>,
    quote: Option<u8>,
    columns: Source,
    extra: ExtraColumns,
}

enum Source {
    Names(MemberNames),
    Header(RwLock<Vec<KnownHeader>>),
}

/// A header's bytes and what they were read as.
type KnownHeader = (Box<[u8]>, Result<Arc<MemberNames>, Failure>);

impl CsvToJson {
    pub fn new(config: CsvToJsonConfig) -> Result<Self, ConfigError> {
        let quote = config.quote.map(quote_byte).transpose()?;
        check_delimiter(&config.delimiter, config.quote)?;
        let columns = match config.columns {
            Columns::Header => Source::Header(RwLock::default()),
            Columns::Names(names) => Source::Names(named(&names, config.extra)?),
        };
        let delimiter = Finder::new(config.delimiter.as_bytes()).into_owned();
        Ok(Self { delimiter, quote, columns, extra: config.extra })
    }
}

fn quote_byte(quote: char) -> Result<u8, ConfigError> {
    let byte = u8::try_from(quote).ok().filter(|byte| byte.is_ascii_graphic());
    byte.ok_or_else(|| ConfigError::new("quote", format!("`quote` must be one ASCII character, given {quote:?}")))
}

fn check_delimiter(delimiter: &str, quote: Option<char>) -> Result<(), ConfigError> {
    if delimiter.is_empty() {
        return Err(ConfigError::new("delimiter", "`delimiter` must not be empty"));
    }
    match quote.filter(|&quote| delimiter.contains(quote)) {
        Some(quote) => {
            Err(ConfigError::new("delimiter", format!("`delimiter` must not have the quote {quote:?} in it")))
        }
        None => Ok(()),
    }
}

fn named(names: &[String], extra: ExtraColumns) -> Result<MemberNames, ConfigError> {
    if names.is_empty() {
        return Err(ConfigError::new("columns", "`columns` must have at least one name"));
    }
    ConfigError::check_unique("columns", names)?;
    if extra == ExtraColumns::Keep && names.iter().any(|name| name == EXTRA) {
        let message = format!("a column is called `{EXTRA}`, as is the list of values beyond the last column");
        return Err(
            ConfigError::new("columns", message).with_help("`extra: error` or `extra: drop` makes no such list")
        );
    }
    Ok(MemberNames::new(names.iter().map(String::as_bytes)))
}

impl Processor for CsvToJson {
    fn process(&self, record: &[u8], origin: &Origin<'_>, out: &mut Records) -> Result<(), Failure> {
        let buffer = out.buffer();
        match &self.columns {
            Source::Names(names) => self.write(record, names, buffer)?,
            Source::Header(known) => self.write(record, &*self.header(known, origin)?, buffer)?,
        }
        out.end()
    }
}

impl CsvToJson {
    fn row<'a>(&'a self, record: &'a [u8]) -> Row<'a> {
        Row::new(record.strip_suffix(b"\r").unwrap_or(record), &self.delimiter, self.quote)
    }

    fn write(&self, record: &[u8], names: &MemberNames, out: &mut Vec<u8>) -> Result<(), Failure> {
        let mut columns = 0;
        // Empty values that are null if they turn out to be the row's last.
        let mut empty = 0;
        for value in self.row(record) {
            match value? {
                Value::Plain(b"") => empty += 1,
                value => {
                    for _ in 0..empty {
                        self.push(out, names, columns, Value::Plain(b""))?;
                        columns += 1;
                    }
                    empty = 0;
                    self.push(out, names, columns, value)?;
                    columns += 1;
                }
            }
        }
        if columns > names.len() && self.extra == ExtraColumns::Keep {
            out.push(b']');
        }
        for index in columns..names.len() {
            names.push(out, index, None);
        }
        out.push(b'}');
        Ok(())
    }

    fn push(&self, out: &mut Vec<u8>, names: &MemberNames, index: usize, value: Value<'_>) -> Result<(), Failure> {
        if index < names.len() {
            names.begin(out, index);
        } else {
            match self.extra {
                ExtraColumns::Drop => return Ok(()),
                ExtraColumns::Error => {
                    return Err(Failure::new(format!("the row has more than {} columns", names.len())));
                }
                ExtraColumns::Keep if index == names.len() => {
                    out.extend_from_slice(format!(",\"{EXTRA}\":[").as_bytes());
                }
                ExtraColumns::Keep => out.push(b','),
            }
        }
        out.push(b'"');
        value.pieces(self.quote).for_each(|piece| push_escaped(out, piece));
        out.push(b'"');
        Ok(())
    }

    fn header(&self, known: &RwLock<Vec<KnownHeader>>, origin: &Origin<'_>) -> Result<Arc<MemberNames>, Failure> {
        let no_header = |reason| Failure::new(format!("there is no header for the columns' names: {reason}"));
        let header = origin.header.map_err(no_header)?;
        let find = |known: &[KnownHeader]| {
            known.iter().find(|(bytes, _)| **bytes == *header).map(|(_, columns)| columns.clone())
        };
        if let Some(columns) = find(&known.read().unwrap_or_else(PoisonError::into_inner)) {
            return columns;
        }
        let columns = self.columns_of(header).map(Arc::new);
        let mut known = known.write().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= HEADERS_MAX {
            known.clear();
        }
        known.push((header.into(), columns.clone()));
        columns
    }

    fn columns_of(&self, header: &[u8]) -> Result<MemberNames, Failure> {
        let header = header.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(header);
        let name =
            |value: Result<Value<'_>, Failure>| Ok(String::from_utf8_lossy(&value?.text(self.quote)).into_owned());
        let names = self.row(header).map(name).collect::<Result<Vec<_>, Failure>>();
        let names = names.map_err(|failure| Failure::new(format!("the header is malformed: {failure}")))?;
        named(&names, self.extra).map_err(|error| Failure::new(format!("the header is unusable: {error}")))
    }
}

#[cfg(test)]
mod tests;
