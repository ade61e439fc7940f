//! A schema and its input options, checked once: what every record is read by.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use crate::schema::{Column, Type};

use super::error::SchemaError;
use super::json_text::lower;
use super::options::{Deserializer, InputOptions, OnUnknownField};
use super::target::Target;
use super::timestamp::TimestampFormats;

/// In place of a column's number: a field that is passed over.
pub(super) const LEFT_OUT: u16 = u16::MAX;
/// Columns are numbered with 16 bits, of which one number stands for none.
const COLUMNS_MAX: usize = LEFT_OUT as usize - 1;

#[derive(Debug)]
pub(super) struct Rules {
    pub(super) columns: Vec<Column>,
    /// For each column.
    pub(super) targets: Vec<Target>,
    /// Bytes that each row takes in the columns, whatever is in it.
    pub(super) row_bytes: usize,
    /// From a key as [`Rules::key`] has it to the column's index.
    by_key: HashMap<String, usize>,
    left_out: HashSet<String>,
    pub(super) deserializer: Deserializer,
    is_case_insensitive: bool,
    has_dots_for_underscores: bool,
    pub(super) formats: TimestampFormats,
    pub(super) unknown: Unknown,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unknown {
    Ignore,
    Fail,
    /// The column that takes them.
    Rescue(usize),
}

impl Rules {
    pub(super) fn new(columns: &[Column], options: InputOptions) -> Result<Self, SchemaError> {
        if columns.is_empty() {
            return Err(SchemaError::NoColumns);
        }
        if columns.len() > COLUMNS_MAX {
            return Err(SchemaError::TooManyColumns { max: COLUMNS_MAX });
        }
        let mut rules = Self {
            columns: columns.to_vec(),
            targets: Vec::with_capacity(columns.len()),
            row_bytes: 0,
            by_key: HashMap::with_capacity(columns.len()),
            left_out: HashSet::new(),
            deserializer: options.deserializer,
            is_case_insensitive: options.case_insensitive,
            has_dots_for_underscores: options.convert_dots_in_json_keys_to_underscores,
            formats: TimestampFormats::new(options.timestamp_formats, options.deserializer),
            unknown: Unknown::Ignore,
        };
        rules.unknown = match options.on_unknown_field {
            OnUnknownField::Ignore => Unknown::Ignore,
            OnUnknownField::ErrorOutput => Unknown::Fail,
            OnUnknownField::Rescue(column) => {
                let fits =
                    |known: &Column| known.name == column && known.data_type == Type::String && !known.is_required;
                Unknown::Rescue(columns.iter().position(fits).ok_or(SchemaError::Rescue { column })?)
            }
        };
        for (index, column) in columns.iter().enumerate() {
            rules.check(column)?;
            let target = Target::new(&column.data_type, &|name| rules.key(name).into_owned());
            rules.row_bytes += target.bytes;
            rules.targets.push(target);
            if rules.unknown == Unknown::Rescue(index) {
                continue; // a field of its name is unknown like any other
            }
            let key = options.column_to_json_key.get(&column.name).unwrap_or(&column.name);
            let key = rules.key(key).into_owned();
            if let Some(&first) = rules.by_key.get(&key) {
                let (first, second) = (columns[first].name.clone(), column.name.clone());
                return Err(SchemaError::SameKey { first, second, key });
            }
            rules.by_key.insert(key, index);
        }
        for name in &options.left_out {
            let key = rules.key(options.column_to_json_key.get(name).unwrap_or(name)).into_owned();
            rules.left_out.insert(key);
        }
        let is_column =
            |name: &&String| options.left_out.contains(name) || columns.iter().any(|column| column.name == **name);
        match options.column_to_json_key.keys().find(|name| !is_column(name)) {
            Some(column) => Err(SchemaError::NoSuchColumn { column: column.clone() }),
            None => Ok(rules),
        }
    }

    fn check(&self, column: &Column) -> Result<(), SchemaError> {
        match self.deserializer {
            Deserializer::OpenX if has_binary(&column.data_type) => {
                Err(SchemaError::Binary { column: column.name.clone() })
            }
            Deserializer::Hive if column.name.contains('.') => Err(SchemaError::Dot { column: column.name.clone() }),
            Deserializer::OpenX | Deserializer::Hive => Ok(()),
        }
    }

    /// A key, or a field's name, in the form in which they are compared.
    pub(super) fn key<'a>(&self, key: &'a str) -> Cow<'a, str> {
        let key = if self.has_dots_for_underscores && key.contains('.') {
            Cow::Owned(key.replace('.', "_"))
        } else {
            Cow::Borrowed(key)
        };
        match key {
            key if !self.is_case_insensitive => key,
            Cow::Borrowed(key) => lower(key),
            Cow::Owned(key) => Cow::Owned(lower(&key).into_owned()),
        }
    }

    pub(super) fn column(&self, key: &str) -> Option<usize> {
        self.by_key.get(self.key(key).as_ref()).copied()
    }

    /// Whether a field that no column takes is known all the same, and no unknown field.
    pub(super) fn is_left_out(&self, key: &str) -> bool {
        !self.left_out.is_empty() && self.left_out.contains(self.key(key).as_ref())
    }

    /// Whether keys of maps, and of objects that become text, are written in lower case.
    pub(super) fn lowers_keys(&self) -> bool {
        self.is_case_insensitive && self.deserializer == Deserializer::OpenX
    }
}

fn has_binary(data_type: &Type) -> bool {
    match data_type {
        Type::Binary => true,
        Type::Array(item) => has_binary(item),
        Type::Map(key, value) => has_binary(key) || has_binary(value),
        Type::Struct(fields) => fields.iter().any(|field| has_binary(&field.data_type)),
        Type::Boolean
        | Type::TinyInt
        | Type::SmallInt
        | Type::Int
        | Type::BigInt
        | Type::Float
        | Type::Double
        | Type::Decimal { .. }
        | Type::String
        | Type::Char(_)
        | Type::Varchar(_)
        | Type::Date
        | Type::Timestamp => false,
    }
}
