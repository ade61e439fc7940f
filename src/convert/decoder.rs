//! From a record's bytes to rows.
//!
//! Always true: each object of a record becomes one row or one failure, and a failure leaves nothing in the columns.

use std::ops::Range;
use std::sync::Arc;

use crate::schema::Column as SchemaColumn;

use super::coerce::{Coercion, Path};
use super::column::{Column, Columns, Values};
use super::error::{Failure, Misfit, SchemaError};
use super::fast::{self, Speculation};
use super::json::{JsonError, Parser, Value};
use super::json_text;
use super::options::InputOptions;
use super::room::Room;
use super::rules::{Rules, Unknown};

/// A record of which more objects than that have failed fails from there on as a whole: what is said of a failure is longer than
/// the object may be.
const FAILURES_MAX: usize = 1_000;

/// Bytes of JSON that one set of columns takes: with it no offset is anywhere near `i32::MAX`.
pub(super) const INPUT_MAX: usize = 512 << 20;

const EMPTY: &str = "The record was empty or contained only whitespace.";
const TOO_MANY: &str = "More than 1,000 objects of the record failed, so that the rest of it does as a whole.";
const PRIMITIVE: &str = "The input JSON contained a primitive at the top level.";

/// Reads records by one schema. It learns from each record how the next is likely to look, so that one decoder for each source
/// of records is best; whatever it has learnt, it reads the same.
#[derive(Debug, Clone)]
pub struct Decoder {
    rules: Arc<Rules>,
    speculation: Option<Speculation>,
}

/// The columns have no room for more: write them out, or begin others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the columns hold {} MB of JSON already", INPUT_MAX >> 20)]
pub struct Full;

impl Decoder {
    /// # Errors
    ///
    /// A schema that no record can be read with: Firehose's `InvalidSchema`.
    pub fn new(columns: &[SchemaColumn], options: InputOptions) -> Result<Self, SchemaError> {
        let rules = Rules::new(columns, options)?;
        Ok(Self { speculation: Some(Speculation::new(&rules)), rules: Arc::new(rules) })
    }

    /// What the rows of one record of so many bytes may take.
    pub fn room(&self, json_bytes: usize) -> Room {
        Room::new(json_bytes, self.rules.row_bytes)
    }

    /// Bytes that each row takes in the columns, whatever is in it.
    pub fn row_bytes(&self) -> usize {
        self.rules.row_bytes
    }

    /// Empty columns for this schema. Any number of them may be filled by turns.
    pub fn columns(&self) -> Columns {
        Columns::new(&self.rules.columns)
    }

    /// Reads the record `data[record]`, with its delimiter or without, appends its objects to `columns` (made by
    /// [`Decoder::columns`] of a decoder of the same schema) and what fails to `failures`, in the record's order. Returns the
    /// rows that were added. A record without an object is a failure.
    ///
    /// Bytes behind the record mean nothing, but it is read a little faster if there are some: hand over the whole chunk.
    ///
    /// # Errors
    ///
    /// [`Full`], and nothing has been read.
    pub fn decode(
        &mut self,
        data: &[u8],
        record: Range<usize>,
        columns: &mut Columns,
        failures: &mut Vec<Failure>,
    ) -> Result<usize, Full> {
        let length = record.len();
        self.decode_within(data, record, columns, failures, &mut self.room(length))
    }

    /// The same for a record, or a part of one, that may take so much memory: an object for which there is no room fails.
    ///
    /// # Errors
    ///
    /// [`Full`], and nothing has been read.
    pub fn decode_within(
        &mut self,
        data: &[u8],
        record: Range<usize>,
        columns: &mut Columns,
        failures: &mut Vec<Failure>,
        room: &mut Room,
    ) -> Result<usize, Full> {
        let end = record.end.min(data.len());
        let length = end.saturating_sub(record.start);
        if columns.input_bytes + length > INPUT_MAX {
            if columns.input_bytes > 0 {
                return Err(Full);
            }
            failures.push(Failure::mismatch("The record is too long.", record));
            return Ok(0);
        }
        columns.input_bytes += length;
        let (rows, failed) = (columns.rows, failures.len());
        let mut at = fast::skip_blanks(data, record.start, end);
        while at < end {
            if failures.len() - failed >= FAILURES_MAX {
                failures.push(Failure::shape(TOO_MANY, at..end));
                break;
            }
            let after = match self.read_quickly(data, at, end, columns, room) {
                Some(after) => {
                    columns.rows += 1;
                    after
                }
                None => self.read_slowly(&data[..end], at, columns, failures, room),
            };
            at = fast::skip_blanks(data, after, end);
        }
        if columns.rows == rows && failures.len() == failed {
            failures.push(Failure::shape(EMPTY, record));
        }
        Ok(columns.rows - rows)
    }

    /// Every object goes the slow way: for tests that compare the two.
    #[cfg(test)]
    pub(super) fn without_speculation(mut self) -> Self {
        self.speculation = None;
        self
    }

    /// One object as it is expected; returns where it ends.
    #[inline]
    fn read_quickly(
        &mut self,
        data: &[u8],
        start: usize,
        end: usize,
        columns: &mut Columns,
        room: &mut Room,
    ) -> Option<usize> {
        let fast = self.speculation.as_mut()?;
        fast.room = *room;
        fast.room.take(1, self.rules.row_bytes).ok()?;
        let after = fast.object(&self.rules, data, start, end, columns)?;
        *room = fast.room;
        Some(after)
    }

    /// One object by the full rules, from `start` on; returns where it ends.
    #[cold]
    fn read_slowly(
        &self,
        data: &[u8],
        start: usize,
        columns: &mut Columns,
        failures: &mut Vec<Failure>,
        room: &mut Room,
    ) -> usize {
        columns.cut();
        let mut parser = Parser::new(data, start);
        let failure = match parser.value(0) {
            Ok(Value::Object(members)) => {
                let mut left = *room;
                match self.row(&members, columns, &mut left) {
                    Ok(()) => (columns.rows, *room) = (columns.rows + 1, left),
                    Err(misfit) => {
                        columns.cut();
                        failures.push(Failure::misfit(misfit, start..parser.at));
                    }
                }
                return parser.at;
            }
            // Text that begins with a number is no number.
            Ok(_) if fast::skip_blanks(data, parser.at, data.len()) < data.len() => {
                Failure::parse("an object is expected", None, start..data.len())
            }
            Ok(Value::Array(_)) => Failure::mismatch("An array stands at the top level.", start..data.len()),
            Ok(_) => Failure::shape(PRIMITIVE, start..data.len()),
            Err(JsonError { at, reason }) => Failure::parse(reason, Some(at - start), start..data.len()),
        };
        failures.push(failure);
        data.len()
    }

    fn row<'v>(
        &self,
        members: &'v [(std::borrow::Cow<'v, str>, Value<'v>)],
        columns: &mut Columns,
        room: &mut Room,
    ) -> Result<(), Misfit> {
        let mut coercion = Coercion::new(&self.rules, *room);
        coercion.room.take(1, self.rules.row_bytes)?;
        let mut values: Vec<Option<&Value<'_>>> = vec![None; self.rules.columns.len()];
        for (key, value) in members {
            match self.rules.column(key) {
                Some(index) => values[index] = Some(value),
                None if self.rules.is_left_out(key) => {}
                None => coercion.unknown_field(&Path::column(key), value)?,
            }
        }
        let known = self.rules.columns.iter().zip(&self.rules.targets);
        for (((known, target), column), value) in known.zip(&mut columns.columns).zip(values) {
            let path = Path::column(&known.name);
            match value {
                None | Some(Value::Null) if known.is_required => {
                    let (column, data_type) = (known.name.clone(), known.data_type.to_string());
                    return Err(Misfit::Missing { column, data_type });
                }
                Some(value) => coercion.push(column, target, value, &path)?,
                None => column.push_null(),
            }
        }
        *room = coercion.room;
        match (self.rules.unknown, coercion.unknown.first()) {
            (Unknown::Ignore, _) | (_, None) => Ok(()),
            (Unknown::Fail, Some((path, value))) => Err(Misfit::Unknown { path: path.clone(), kind: value.kind() }),
            (Unknown::Rescue(index), Some(_)) => match columns.columns.get_mut(index) {
                Some(column) => {
                    let too_long = || Misfit::UnknownTooLong { column: self.rules.columns[index].name.clone() };
                    rescue(column, &coercion.unknown).then_some(()).ok_or_else(too_long)
                }
                None => Ok(()),
            },
        }
    }
}

/// Puts unknown fields in place of the null that the column has got, if there is room for them.
fn rescue(column: &mut Column, unknown: &[(String, &Value<'_>)]) -> bool {
    let row = column.len() - 1;
    column.truncate(row);
    if let Values::Text(text) = &mut column.values {
        let unknown = json_text::last_of(unknown.iter().map(|(path, value)| (path.as_str(), *value)));
        json_text::write_members(&mut text.bytes, &unknown, false);
        if i32::try_from(text.bytes.len()).is_err() {
            return false;
        }
        text.close();
        column.validity.push_valid(row);
    }
    true
}
