//! What an operator chooses about reading JSON, as Firehose names it.

use std::collections::BTreeMap;

use super::joda::Pattern;

/// Which of Firehose's deserializers is followed: how a value is turned into a column's type where they differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Deserializer {
    /// `OpenXJsonSerDe`: lenient; text becomes numbers, scalars become arrays, objects become JSON text.
    #[default]
    OpenX,
    /// `HiveJsonSerDe`: strict.
    Hive,
}

/// One of the forms in which a timestamp may stand.
#[derive(Debug, Clone, PartialEq)]
pub enum TimestampFormat {
    /// ISO 8601 text with `T` or a blank, with `Z`, an offset, or without a zone, which is UTC then.
    Iso8601,
    /// Seconds since 1970, as a number or as text; a fraction counts.
    EpochSeconds,
    /// Milliseconds since 1970, as a number or as text. Hive's `millis`.
    EpochMillis,
    /// `java.sql.Timestamp.valueOf`: `yyyy-[M]M-[d]d HH:mm:ss[.f…]`, in UTC.
    Sql,
    /// A Joda-Time pattern.
    Pattern(Pattern),
}

/// What becomes of a field that no column takes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum OnUnknownField {
    /// It is dropped, as Firehose does.
    #[default]
    Ignore,
    /// The record fails.
    ErrorOutput,
    /// It is kept: the column of this name, which is of type string, holds all such fields of a record as one JSON object.
    /// A field in a struct stands there under its path, such as `user.addresses[0].floor`. Null where there are none.
    Rescue(String),
}

/// How JSON is read.
#[derive(Debug, Clone, PartialEq)]
pub struct InputOptions {
    pub deserializer: Deserializer,
    /// Keys are matched with columns, and with fields of structs, without regard to case.
    pub case_insensitive: bool,
    /// The key `a.b` belongs to the column `a_b`.
    pub convert_dots_in_json_keys_to_underscores: bool,
    /// From a column to the key that it is read from, in place of its own name.
    pub column_to_json_key: BTreeMap<String, String>,
    /// Tried in order. Empty for the deserializer's own: Firehose's forms for OpenX, [`TimestampFormat::Sql`] for Hive.
    pub timestamp_formats: Vec<TimestampFormat>,
    pub on_unknown_field: OnUnknownField,
    /// Columns that nothing is made of: their fields are known, and passed over.
    pub left_out: Vec<String>,
}

impl Default for InputOptions {
    fn default() -> Self {
        Self {
            deserializer: Deserializer::OpenX,
            case_insensitive: true,
            convert_dots_in_json_keys_to_underscores: false,
            column_to_json_key: BTreeMap::new(),
            timestamp_formats: Vec::new(),
            on_unknown_field: OnUnknownField::Ignore,
            left_out: Vec::new(),
        }
    }
}
