//! The speculative decoder: one pass over an object, straight into the columns.
//!
//! It takes what well-behaved programs write, and gives up on anything else: a value that is not written as its column likes
//! it best is read by the slow path's own parser and coercion, and where an object as a whole is unusual (an escape in a key,
//! the same key twice, an unknown field that matters, a value missing that is required, an error) the object is left to the
//! slow path altogether. So it decides nothing itself: what it takes is what the slow path would have made.
//!
//! It may look past the object's end, at bytes of the records behind it, so that no scan needs a special case for the last
//! bytes; an object that would not end where it has to is no object.

use std::ops::Range;

use super::coerce::{Coercion, Path};
use super::column::{Column, Columns, Values};
use super::json::{Parser, Value};
use super::keys::{self, Keys, Read, START};
use super::room::Room;
use super::rules::{LEFT_OUT, Rules, Unknown};
use super::timestamp::Epoch;
use crate::schema::Type;

mod minute;
mod values;

use minute::Minute;
use values::{double, float, followed, integer, string};

/// What speculation learns from one object for the next.
#[derive(Debug, Clone)]
pub(super) struct Speculation {
    keys: Keys,
    kinds: Vec<Kind>,
    minute: Minute,
    /// Strings of fields that no column takes are checked here.
    scratch: Vec<u8>,
    /// What the object may take, and then what is left of it.
    pub(super) room: Room,
}

/// How a column's values are usually written.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Text,
    /// The least and the greatest.
    Int(i32, i32),
    Long,
    Float,
    Double,
    Boolean,
    Timestamp {
        has_iso: bool,
        has_sql: bool,
        epoch: Option<Epoch>,
    },
    /// Read by the slow path's parser.
    General,
}

impl Speculation {
    pub(super) fn new(rules: &Rules) -> Self {
        let kind = |data_type: &Type| match data_type {
            Type::String => Kind::Text,
            Type::TinyInt => Kind::Int(i8::MIN.into(), i8::MAX.into()),
            Type::SmallInt => Kind::Int(i16::MIN.into(), i16::MAX.into()),
            Type::Int => Kind::Int(i32::MIN, i32::MAX),
            Type::BigInt => Kind::Long,
            Type::Float => Kind::Float,
            Type::Double => Kind::Double,
            Type::Boolean => Kind::Boolean,
            Type::Timestamp => Kind::Timestamp {
                has_iso: rules.formats.has_plain_iso(),
                has_sql: rules.formats.has_plain_sql(),
                epoch: rules.formats.epoch(),
            },
            Type::Decimal { .. }
            | Type::Char(_)
            | Type::Varchar(_)
            | Type::Binary
            | Type::Date
            | Type::Array(_)
            | Type::Map(..)
            | Type::Struct(_) => Kind::General,
        };
        Self {
            keys: Keys::new(),
            kinds: rules.columns.iter().map(|column| kind(&column.data_type)).collect(),
            minute: Minute::new(),
            scratch: Vec::new(),
            room: Room::default(),
        }
    }

    /// Appends the object that begins at `start` and returns where it ends, if that is not behind `end`. On `None` the columns
    /// may hold a part of it.
    pub(super) fn object(
        &mut self,
        rules: &Rules,
        data: &[u8],
        start: usize,
        end: usize,
        columns: &mut Columns,
    ) -> Option<usize> {
        let rows = columns.rows;
        let (mut before, mut at, mut pushed) = (START, start, 0);
        loop {
            let (id, column, value_at) = match self.keys.expected(before, data, at) {
                Some(expected) => expected,
                None => match self.keys.read(rules, before, data, at)? {
                    Read::Key(id, column, at) => (id, column, at),
                    Read::End(after) => {
                        at = after;
                        break;
                    }
                },
            };
            at = match column {
                Some(LEFT_OUT) => self.skip(data, value_at, end)?,
                Some(index) => {
                    pushed += 1;
                    let index = usize::from(index);
                    self.value(rules, data, value_at, end, index, columns.columns.get_mut(index)?, rows)?
                }
                None if rules.unknown == Unknown::Ignore => self.skip(data, value_at, end)?,
                None => return None,
            };
            before = id;
            if data.get(at) == Some(&b'}') {
                at += 1;
                break;
            }
        }
        if at > end {
            return None;
        }
        if pushed < columns.columns.len() {
            for (column, known) in columns.columns.iter_mut().zip(&rules.columns) {
                if column.len() == rows {
                    if known.is_required {
                        return None;
                    }
                    column.push_null();
                }
            }
        }
        Some(at)
    }

    /// Appends the value at `at` to a column, which must not have one for this row yet, and returns where it ends.
    #[inline(always)]
    #[expect(clippy::too_many_arguments, reason = "it is inlined into its one caller")]
    fn value(
        &mut self,
        rules: &Rules,
        data: &[u8],
        at: usize,
        end: usize,
        index: usize,
        column: &mut Column,
        rows: usize,
    ) -> Option<usize> {
        let quick = match (*self.kinds.get(index)?, &mut column.values) {
            (Kind::Text, Values::Text(text)) => {
                if text.offsets.len() != rows {
                    return None;
                }
                if data.get(at) == Some(&b'"') {
                    let after = string(data, at + 1, &mut text.bytes)?;
                    text.close();
                    Some(after)
                } else {
                    None
                }
            }
            (Kind::Long, Values::Long(values)) => {
                push(values, rows, integer(data, at).and_then(|(value, after)| followed(data, value, after)))?
            }
            (Kind::Int(min, max), Values::Int(values)) => {
                let value = integer(data, at).and_then(|(value, after)| followed(data, value, after));
                let range = i64::from(min)..=i64::from(max);
                push(
                    values,
                    rows,
                    value.filter(|(value, _)| range.contains(value)).map(|(v, after)| (v as i32, after)),
                )?
            }
            (Kind::Double, Values::Double(values)) => push(values, rows, double(data, at))?,
            (Kind::Float, Values::Float(values)) => push(values, rows, float(data, at))?,
            (Kind::Boolean, Values::Boolean(values)) => {
                let rest = data.get(at..)?;
                let value = if rest.starts_with(b"true") {
                    Some((true, at + 4))
                } else if rest.starts_with(b"false") {
                    Some((false, at + 5))
                } else {
                    None
                };
                push(values, rows, value)?
            }
            (Kind::Timestamp { has_iso, has_sql, epoch }, Values::Long(values)) => {
                let value = match data.get(at) {
                    Some(b'"') => self.minute.timestamp(data, at, has_iso, has_sql),
                    _ => epoch.and_then(|epoch| {
                        let (value, after) = integer(data, at)?;
                        followed(data, epoch.micros(value)?, after)
                    }),
                };
                push(values, rows, value)?
            }
            _ => None,
        };
        match quick {
            Some(after) => {
                column.validity.push_valid(rows);
                Some(after)
            }
            None => general(rules, data, at..end, index, column, rows, &mut self.room),
        }
    }

    /// Where the value at `at`, which nobody takes, ends. It must be JSON all the same.
    fn skip(&mut self, data: &[u8], at: usize, end: usize) -> Option<usize> {
        if data.get(at) == Some(&b'"') {
            self.scratch.clear();
            return string(data, at + 1, &mut self.scratch);
        }
        let mut parser = Parser::new(data.get(..end)?, at);
        parser.value(1).ok()?;
        Some(parser.at)
    }
}

/// Appends a value if there is one; `None` at all if the row has one already.
#[inline(always)]
fn push<T>(values: &mut Vec<T>, rows: usize, value: Option<(T, usize)>) -> Option<Option<usize>> {
    if values.len() != rows {
        return None;
    }
    Some(value.map(|(value, after)| {
        values.push(value);
        after
    }))
}

/// As the slow path would do it, for one value.
#[inline(never)]
fn general(
    rules: &Rules,
    data: &[u8],
    Range { start, end }: Range<usize>,
    index: usize,
    column: &mut Column,
    rows: usize,
    room: &mut Room,
) -> Option<usize> {
    let known = rules.columns.get(index)?;
    if column.len() != rows {
        return None;
    }
    let mut parser = Parser::new(data.get(..end)?, start);
    let value = parser.value(1).ok()?;
    if value == Value::Null && known.is_required {
        return None;
    }
    let mut coercion = Coercion::new(rules, *room);
    coercion.push(column, rules.targets.get(index)?, &value, &Path::column(&known.name)).ok()?;
    *room = coercion.room;
    // Fields in structs that somebody wants to know of are told by the slow path.
    coercion.unknown.is_empty().then_some(parser.at)
}

/// Where blanks end.
pub(super) fn skip_blanks(data: &[u8], at: usize, end: usize) -> usize {
    keys::skip_blanks(data, at).min(end)
}
