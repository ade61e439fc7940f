//! Columns that we own: plain vectors, so that a row is undone by cutting them.
//!
//! Always true between two records: every column of [`Columns`] has [`Columns::rows`] values, whatever failed before.

use crate::schema::{self, Type};

/// Columns of more than so many bytes leave no room behind: the next ones are hardly as large, and who keeps it does not count it.
const ROOM_MAX: usize = 6 << 20;

/// Rows, column by column. Made by [`super::Decoder::columns`], filled by [`super::Decoder::decode`].
#[derive(Debug, Clone, PartialEq)]
pub struct Columns {
    pub(super) columns: Vec<Column>,
    pub(super) rows: usize,
    /// Bytes of JSON since the columns were empty: bounds every offset.
    pub(super) input_bytes: usize,
}

#[derive(Debug, Clone)]
pub(super) struct Column {
    pub(super) validity: Validity,
    pub(super) values: Values,
}

/// Which values are there. Nothing is kept as long as all of them are.
#[derive(Debug, Clone, Default)]
pub(super) struct Validity {
    /// A bit for each value, the first one lowest; empty while no value is null.
    bits: Vec<u8>,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Values {
    Boolean(Vec<bool>),
    /// Tinyint, smallint, int; date as days since 1970.
    Int(Vec<i32>),
    /// Bigint; timestamp as microseconds since 1970.
    Long(Vec<i64>),
    Float(Vec<f32>),
    Double(Vec<f64>),
    /// The digits as an integer.
    Decimal(Vec<i128>),
    /// UTF-8 text, or bytes.
    Text(Text),
    List(Offsets, Box<Column>),
    Map(Offsets, Box<(Column, Column)>),
    /// How many, and their fields.
    Struct(usize, Vec<Column>),
}

/// Where each value begins, and at last where the last one ends.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Offsets(pub(super) Vec<i32>);

#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Text {
    pub(super) offsets: Offsets,
    pub(super) bytes: Vec<u8>,
}

impl Columns {
    pub(super) fn new(columns: &[schema::Column]) -> Self {
        let columns = columns.iter().map(|column| Column::new(&column.data_type)).collect();
        Self { columns, rows: 0, input_bytes: 0 }
    }

    pub fn rows(&self) -> usize {
        self.rows
    }

    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// Bytes of memory that the columns hold.
    pub fn memory(&self) -> usize {
        self.columns.iter().map(Column::memory).sum()
    }

    /// Of that, what the rows take that there are.
    pub fn filled(&self) -> usize {
        self.columns.iter().map(Column::filled).sum()
    }

    /// Takes back all rows after the first `rows`.
    pub fn truncate(&mut self, rows: usize) {
        if rows == 0 {
            self.input_bytes = 0;
        }
        self.rows = self.rows.min(rows);
        self.cut();
    }

    /// Undoes a row that was begun.
    pub(super) fn cut(&mut self) {
        for column in &mut self.columns {
            column.truncate(self.rows);
        }
    }

    /// A copy of the first rows, at most so many.
    pub(super) fn first(&self, rows: usize) -> Self {
        let mut first = self.clone();
        first.truncate(rows);
        first
    }

    /// Empty columns of the same types, with room for as much as these hold; without, if that is very much.
    pub fn emptied(&self) -> Self {
        let has_room = self.filled() <= ROOM_MAX;
        let columns = self.columns.iter().map(|column| column.emptied(has_room)).collect();
        Self { columns, rows: 0, input_bytes: 0 }
    }
}

impl Column {
    pub(super) fn new(data_type: &Type) -> Self {
        let values = match data_type {
            Type::Boolean => Values::Boolean(Vec::new()),
            Type::TinyInt | Type::SmallInt | Type::Int | Type::Date => Values::Int(Vec::new()),
            Type::BigInt | Type::Timestamp => Values::Long(Vec::new()),
            Type::Float => Values::Float(Vec::new()),
            Type::Double => Values::Double(Vec::new()),
            Type::Decimal { .. } => Values::Decimal(Vec::new()),
            Type::String | Type::Char(_) | Type::Varchar(_) | Type::Binary => Values::Text(Text::default()),
            Type::Array(item) => Values::List(Offsets::default(), Box::new(Self::new(item))),
            Type::Map(key, value) => Values::Map(Offsets::default(), Box::new((Self::new(key), Self::new(value)))),
            Type::Struct(fields) => Values::Struct(0, fields.iter().map(|field| Self::new(&field.data_type)).collect()),
        };
        Self { validity: Validity::default(), values }
    }

    pub(super) fn len(&self) -> usize {
        match &self.values {
            Values::Boolean(values) => values.len(),
            Values::Int(values) => values.len(),
            Values::Long(values) => values.len(),
            Values::Float(values) => values.len(),
            Values::Double(values) => values.len(),
            Values::Decimal(values) => values.len(),
            Values::Text(text) => text.offsets.len(),
            Values::List(offsets, _) | Values::Map(offsets, _) => offsets.len(),
            Values::Struct(len, _) => *len,
        }
    }

    pub(super) fn truncate(&mut self, len: usize) {
        match &mut self.values {
            Values::Boolean(values) => values.truncate(len),
            Values::Int(values) => values.truncate(len),
            Values::Long(values) => values.truncate(len),
            Values::Float(values) => values.truncate(len),
            Values::Double(values) => values.truncate(len),
            Values::Decimal(values) => values.truncate(len),
            Values::Text(text) => text.truncate(len),
            Values::List(offsets, items) => {
                let end = offsets.truncate(len);
                items.truncate(end);
            }
            Values::Map(offsets, entries) => {
                let end = offsets.truncate(len);
                entries.0.truncate(end);
                entries.1.truncate(end);
            }
            Values::Struct(known, fields) => {
                *known = len.min(*known);
                fields.iter_mut().for_each(|field| field.truncate(len));
            }
        }
        self.validity.truncate(len);
    }

    pub(super) fn push_null(&mut self) {
        self.validity.push_null(self.len());
        match &mut self.values {
            Values::Boolean(values) => values.push(false),
            Values::Int(values) => values.push(0),
            Values::Long(values) => values.push(0),
            Values::Float(values) => values.push(0.0),
            Values::Double(values) => values.push(0.0),
            Values::Decimal(values) => values.push(0),
            Values::Text(text) => text.close(),
            Values::List(offsets, items) => offsets.close(items.len()),
            Values::Map(offsets, entries) => offsets.close(entries.0.len()),
            Values::Struct(len, fields) => {
                *len += 1;
                fields.iter_mut().for_each(Self::push_null);
            }
        }
    }

    /// A value that has a size of its own, so that equal values have equal bits: all not-numbers are one, both zeros are.
    pub(super) fn bits(&self, index: usize) -> i128 {
        let float = |value: f64| if value.is_nan() { f64::NAN } else { value + 0.0 };
        match &self.values {
            Values::Boolean(values) => values[index].into(),
            Values::Int(values) => values[index].into(),
            Values::Long(values) => values[index].into(),
            Values::Float(values) => float(values[index].into()).to_bits().into(),
            Values::Double(values) => float(values[index]).to_bits().into(),
            Values::Decimal(values) => values[index],
            Values::Text(_) | Values::List(..) | Values::Map(..) | Values::Struct(..) => index as i128,
        }
    }

    fn memory(&self) -> usize {
        let values = match &self.values {
            Values::Boolean(values) => values.capacity(),
            Values::Int(values) => values.capacity() * size_of::<i32>(),
            Values::Long(values) => values.capacity() * size_of::<i64>(),
            Values::Float(values) => values.capacity() * size_of::<f32>(),
            Values::Double(values) => values.capacity() * size_of::<f64>(),
            Values::Decimal(values) => values.capacity() * size_of::<i128>(),
            Values::Text(text) => text.offsets.memory() + text.bytes.capacity(),
            Values::List(offsets, items) => offsets.memory() + items.memory(),
            Values::Map(offsets, entries) => offsets.memory() + entries.0.memory() + entries.1.memory(),
            Values::Struct(_, fields) => fields.iter().map(Self::memory).sum(),
        };
        values + self.validity.bits.capacity() + size_of::<Self>()
    }

    /// Of that, what the values take that there are.
    fn filled(&self) -> usize {
        let values = match &self.values {
            Values::Boolean(values) => values.len(),
            Values::Int(values) => values.len() * size_of::<i32>(),
            Values::Long(values) => values.len() * size_of::<i64>(),
            Values::Float(values) => values.len() * size_of::<f32>(),
            Values::Double(values) => values.len() * size_of::<f64>(),
            Values::Decimal(values) => values.len() * size_of::<i128>(),
            Values::Text(text) => text.offsets.len() * size_of::<i32>() + text.bytes.len(),
            Values::List(offsets, items) => offsets.len() * size_of::<i32>() + items.filled(),
            Values::Map(offsets, entries) => offsets.len() * size_of::<i32>() + entries.0.filled() + entries.1.filled(),
            Values::Struct(_, fields) => fields.iter().map(Self::filled).sum(),
        };
        values + self.validity.bits.len()
    }

    /// An empty column of the same type, with room for as much as this one holds or without.
    fn emptied(&self, has_room: bool) -> Self {
        let room = |length: usize| if has_room { length } else { 0 };
        let values = match &self.values {
            Values::Boolean(values) => Values::Boolean(Vec::with_capacity(room(values.len()))),
            Values::Int(values) => Values::Int(Vec::with_capacity(room(values.len()))),
            Values::Long(values) => Values::Long(Vec::with_capacity(room(values.len()))),
            Values::Float(values) => Values::Float(Vec::with_capacity(room(values.len()))),
            Values::Double(values) => Values::Double(Vec::with_capacity(room(values.len()))),
            Values::Decimal(values) => Values::Decimal(Vec::with_capacity(room(values.len()))),
            Values::Text(text) => Values::Text(Text {
                offsets: text.offsets.emptied(has_room),
                // Strings are copied in blocks that reach past their ends.
                bytes: Vec::with_capacity(room(text.bytes.len() + text.bytes.len() / 16)),
            }),
            Values::List(offsets, items) => Values::List(offsets.emptied(has_room), Box::new(items.emptied(has_room))),
            Values::Map(offsets, entries) => Values::Map(
                offsets.emptied(has_room),
                Box::new((entries.0.emptied(has_room), entries.1.emptied(has_room))),
            ),
            Values::Struct(_, fields) => {
                Values::Struct(0, fields.iter().map(|field| field.emptied(has_room)).collect())
            }
        };
        Self { validity: Validity::default(), values }
    }
}

impl Default for Offsets {
    fn default() -> Self {
        Self(vec![0])
    }
}

impl Offsets {
    pub(super) fn len(&self) -> usize {
        self.0.len() - 1
    }

    pub(super) fn last(&self) -> usize {
        self.0.last().map_or(0, |&end| end as usize)
    }

    /// The value being built ends here. Never past `i32::MAX`: what is decoded into one set of columns is bounded.
    #[inline]
    pub(super) fn close(&mut self, end: usize) {
        self.0.push(end as i32);
    }

    /// Returns where the last value left ends.
    fn truncate(&mut self, len: usize) -> usize {
        self.0.truncate(len + 1);
        self.last()
    }

    fn emptied(&self, has_room: bool) -> Self {
        let mut offsets = Vec::with_capacity(if has_room { self.0.len() } else { 1 });
        offsets.push(0);
        Self(offsets)
    }

    fn memory(&self) -> usize {
        self.0.capacity() * size_of::<i32>()
    }
}

impl Text {
    /// The value being built ends where the bytes do.
    #[inline]
    pub(super) fn close(&mut self) {
        self.offsets.close(self.bytes.len());
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        self.close();
    }

    fn truncate(&mut self, len: usize) {
        let end = self.offsets.truncate(len);
        self.bytes.truncate(end);
    }
}

impl Validity {
    /// The value `index`, the one behind the last, is there.
    #[inline]
    pub(super) fn push_valid(&mut self, index: usize) {
        if !self.bits.is_empty() {
            self.set(index);
        }
    }

    #[cold]
    fn set(&mut self, index: usize) {
        match self.bits.get_mut(index / 8) {
            Some(byte) => *byte |= 1 << (index % 8),
            None => self.bits.push(0xff),
        }
    }

    pub(super) fn push_null(&mut self, index: usize) {
        self.bits.resize(index / 8 + 1, 0xff);
        if let Some(byte) = self.bits.get_mut(index / 8) {
            *byte &= !(1 << (index % 8));
        }
    }

    pub(super) fn is_valid(&self, index: usize) -> bool {
        self.bits.get(index / 8).is_none_or(|byte| byte & (1 << (index % 8)) != 0)
    }

    fn truncate(&mut self, len: usize) {
        self.bits.truncate(len.div_ceil(8));
    }

    pub(super) fn has_no_nulls(&self) -> bool {
        self.bits.is_empty()
    }

    /// The bits, if a value may be null.
    pub(super) fn into_bits(self) -> Option<Vec<u8>> {
        if self.bits.is_empty() { None } else { Some(self.bits) }
    }
}

/// By meaning: bits behind the last value say nothing.
impl PartialEq for Column {
    fn eq(&self, other: &Self) -> bool {
        let is_same = |index| self.validity.is_valid(index) == other.validity.is_valid(index);
        self.values == other.values && (0..self.len()).all(is_same)
    }
}
