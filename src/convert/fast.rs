//! The speculative decoder: one pass over an object, straight into the columns.
//!
//! It takes what well-behaved programs write, and gives up on anything else: a value that is not written as its column likes
//! it best is read by the slow path's own parser and coercion, and where an object as a whole is unusual (an escape in a key,
//! the same key twice, an unknown field that matters, a value missing that is required, an error) the object is left to the
//! slow path altogether. So it decides nothing itself: what it takes is what the slow path would have made.
//!
//! It may look past the object's end, at bytes of the records behind it, so that no scan needs a special case for the last
//! bytes; an object that would not end where it has to is no object.

use super::coerce::{Coercion, Path};
use super::column::{Column, Columns, Values};
use super::json::{self, Parser, Value};
use super::keys::{self, Keys, Read, START};
use super::rules::{Rules, Unknown};
use super::scan;
use super::timestamp::Epoch;
use crate::schema::Type;

/// What speculation learns from one object for the next.
#[derive(Debug, Clone)]
pub(super) struct Speculation {
    keys: Keys,
    kinds: Vec<Kind>,
    minute: Minute,
    /// Strings of fields that no column takes are checked here.
    scratch: Vec<u8>,
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

/// The date, hour and minute of the last timestamp, as text and in microseconds since 1970. The text is always a valid one.
#[derive(Debug, Clone, Copy)]
struct Minute {
    text: [u8; 16],
    micros: i64,
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
            minute: Minute { text: *b"1970-01-01T00:00", micros: 0 },
            scratch: Vec::new(),
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
            None => general(rules, data, at, end, index, column, rows),
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
    at: usize,
    end: usize,
    index: usize,
    column: &mut Column,
    rows: usize,
) -> Option<usize> {
    let known = rules.columns.get(index)?;
    if column.len() != rows {
        return None;
    }
    let mut parser = Parser::new(data.get(..end)?, at);
    let value = parser.value(1).ok()?;
    if value == Value::Null && known.is_required {
        return None;
    }
    let mut coercion = Coercion { rules, unknown: Vec::new() };
    coercion.push(column, &known.data_type, &value, &Path::column(&known.name)).ok()?;
    // Fields in structs that somebody wants to know of are told by the slow path.
    coercion.unknown.is_empty().then_some(parser.at)
}

/// Appends the string behind the quote before `at` and returns where it ends.
#[inline(always)]
fn string(data: &[u8], mut at: usize, out: &mut Vec<u8>) -> Option<usize> {
    let start = out.len();
    let mut high = 0;
    loop {
        let Some(block) = scan::block(data, at) else {
            return string_at_end(data, at, start, out);
        };
        // The whole block, for that is one copy of a fixed length; what is too much goes again.
        out.extend_from_slice(block);
        let stops = scan::stops(block);
        if stops.stop == 0 {
            high |= stops.high;
            at += scan::BLOCK;
            continue;
        }
        let length = stops.stop.trailing_zeros();
        high |= stops.high & ((1 << length) - 1);
        out.truncate(out.len() - scan::BLOCK + length as usize);
        at += length as usize;
        match data[at] {
            b'"' => break,
            b'\\' => at = unescape(data, at, out)?,
            _ => return None,
        }
    }
    if high != 0 { utf8(out, start).then_some(at + 1) } else { Some(at + 1) }
}

#[inline(always)]
fn unescape(data: &[u8], at: usize, out: &mut Vec<u8>) -> Option<usize> {
    let sign = match data.get(at + 1)? {
        b'"' => b'"',
        b'\\' => b'\\',
        b'/' => b'/',
        b'n' => b'\n',
        b't' => b'\t',
        b'r' => b'\r',
        _ => {
            let (sign, end) = json::escape(data, at).ok()?;
            out.extend_from_slice(sign.encode_utf8(&mut [0; 4]).as_bytes());
            return Some(end);
        }
    };
    out.push(sign);
    Some(at + 2)
}

/// The same within the last bytes that there are.
#[cold]
fn string_at_end(data: &[u8], mut at: usize, start: usize, out: &mut Vec<u8>) -> Option<usize> {
    loop {
        match *data.get(at)? {
            b'"' => return utf8(out, start).then_some(at + 1),
            b'\\' => at = unescape(data, at, out)?,
            0..0x20 => return None,
            byte => {
                out.push(byte);
                at += 1;
            }
        }
    }
}

#[cold]
fn utf8(out: &[u8], start: usize) -> bool {
    out.get(start..).is_some_and(|text| std::str::from_utf8(text).is_ok())
}

#[inline(always)]
fn eight(data: &[u8], at: usize) -> Option<[u8; 8]> {
    data.get(at..)?.first_chunk().copied()
}

/// If a number ends at `after`, and not only its digits.
#[inline(always)]
fn followed<T>(data: &[u8], value: T, after: usize) -> Option<(T, usize)> {
    matches!(data.get(after), Some(b',' | b'}')).then_some((value, after))
}

const POWERS: [u64; 9] = [1, 10, 100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000];

/// Up to 16 digits: the number, how many, and where they end. A number does not begin with a zero.
#[inline(always)]
fn whole(data: &[u8], at: usize) -> Option<(u64, u32, usize)> {
    let (count, value) = scan::digits(eight(data, at)?);
    if count == 8 {
        let (more, low) = scan::digits(eight(data, at + 8)?);
        return (data[at] != b'0').then_some((value * POWERS[more as usize] + low, 8 + more, at + 8 + more as usize));
    }
    let is_number = count == 1 || (count > 1 && data[at] != b'0');
    is_number.then_some((value, count, at + count as usize))
}

/// An integer of up to 16 digits.
#[inline(always)]
fn integer(data: &[u8], at: usize) -> Option<(i64, usize)> {
    let is_negative = data.get(at) == Some(&b'-');
    let (value, _, after) = whole(data, at + usize::from(is_negative))?;
    let value = value as i64;
    Some((if is_negative { -value } else { value }, after))
}

/// A number without an exponent: its digits, how many there are, and how many of them stand behind the point.
#[inline(always)]
fn fixed(data: &[u8], at: usize) -> Option<(bool, u64, u32, u32, usize)> {
    let is_negative = data.get(at) == Some(&b'-');
    let (value, count, after) = whole(data, at + usize::from(is_negative))?;
    if data.get(after) != Some(&b'.') {
        return followed(data, (), after).map(|((), after)| (is_negative, value, count, 0, after));
    }
    let (behind, fraction) = scan::digits(eight(data, after + 1)?);
    let end = after + 1 + behind as usize;
    if behind == 0 || count + behind > 16 {
        return None;
    }
    let value = value * POWERS[behind as usize] + fraction;
    followed(data, (), end).map(|((), end)| (is_negative, value, count + behind, behind, end))
}

/// Exact where digits and power of ten both are: then one division rounds correctly.
#[inline(always)]
fn double(data: &[u8], at: usize) -> Option<(f64, usize)> {
    let (is_negative, value, digits, behind, after) = fixed(data, at)?;
    if digits > 15 {
        return None;
    }
    let size = value as f64 / POWERS[behind as usize] as f64;
    Some((if is_negative { -size } else { size }, after))
}

#[inline(always)]
fn float(data: &[u8], at: usize) -> Option<(f32, usize)> {
    let (is_negative, value, digits, behind, after) = fixed(data, at)?;
    if digits > 7 {
        return None;
    }
    let size = value as f32 / POWERS[behind as usize] as f32;
    Some((if is_negative { -size } else { size }, after))
}

impl Minute {
    /// `"yyyy-MM-ddTHH:mm:ss[.f…]Z"`, or with a blank and without a zone, in at most a block; and where it ends.
    #[inline(always)]
    fn timestamp(&mut self, data: &[u8], at: usize, has_iso: bool, has_sql: bool) -> Option<(i64, usize)> {
        let block = scan::block(data, at)?;
        let text: &[u8; 16] = block[1..].first_chunk()?;
        if u128::from_le_bytes(*text) != u128::from_le_bytes(self.text) {
            self.learn(text)?;
        }
        let is_iso = block[11] == b'T';
        if !(if is_iso { has_iso } else { has_sql }) {
            return None;
        }
        let (tens, ones) = (block[18].wrapping_sub(b'0'), block[19].wrapping_sub(b'0'));
        if block[17] != b':' || tens > 5 || ones > 9 {
            return None;
        }
        let mut micros = self.micros + i64::from(tens * 10 + ones) * 1_000_000;
        let mut end = 20;
        if block[20] == b'.' {
            let (count, value) = scan::digits(*block[21..].first_chunk()?);
            micros += match count {
                1..=6 => (value * POWERS[6 - count as usize]) as i64,
                7 => (value / 10) as i64,
                _ => return None,
            };
            end = 21 + count as usize;
        }
        if is_iso {
            if block[end] != b'Z' {
                return None;
            }
            end += 1;
        }
        (block[end] == b'"').then_some((micros, at + end + 1))
    }

    /// Another minute than the last time.
    #[inline(never)]
    fn learn(&mut self, text: &[u8; 16]) -> Option<()> {
        let number = |at: usize, length: usize| {
            let digits = text.get(at..at + length)?;
            digits
                .iter()
                .try_fold(0, |number, digit| digit.is_ascii_digit().then(|| number * 10 + u32::from(digit - b'0')))
        };
        let is_date = text[4] == b'-' && text[7] == b'-' && matches!(text[10], b'T' | b' ') && text[13] == b':';
        let days = super::civil::days(number(0, 4)? as i32, number(5, 2)?, number(8, 2)?)?;
        let micros = super::civil::micros(days, number(11, 2)?, number(14, 2)?, 0, 0)?;
        is_date.then(|| *self = Self { text: *text, micros })
    }
}

/// Where blanks end.
pub(super) fn skip_blanks(data: &[u8], at: usize, end: usize) -> usize {
    keys::skip_blanks(data, at).min(end)
}
