//! What can be wrong: with a schema, once, and with a record, alone.

use std::ops::Range;

/// Firehose's `lastErrorCode`, without its `DataFormatConversion.`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorCode {
    /// Not JSON.
    ParseError,
    /// JSON that does not fit the schema.
    MalformedData,
}

impl ErrorCode {
    /// As it stands in the envelope.
    pub fn name(self) -> &'static str {
        match self {
            Self::ParseError => "DataFormatConversion.ParseError",
            Self::MalformedData => "DataFormatConversion.MalformedData",
        }
    }
}

/// Why an object of a record is no row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    pub code: ErrorCode,
    /// `lastErrorMessage`; begins as Firehose's do.
    pub message: String,
    /// The failed object in the bytes that were decoded. Behind a syntax error nobody can tell where an object begins, so that
    /// it goes on to the record's end then.
    pub bytes: Range<usize>,
    /// What failures have in common, whatever values they have.
    pub cause: &'static str,
    /// Where it is one field's fault.
    pub misfit: Option<Box<Misfit>>,
}

/// Why a field does not fit. Paths are as in `user.addresses[0].floor`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Misfit {
    /// A value of this kind (`string`, `object`, …) cannot be of the type that is there.
    Value { path: String, data_type: String, kind: &'static str, cause: &'static str, reason: String },
    /// A required column has no value.
    Missing { column: String, data_type: String },
    /// No column takes the field.
    Unknown { path: String, kind: &'static str },
    /// A record's unknown fields do not fit the column that takes them.
    UnknownTooLong { column: String },
    /// With it the rows of its record would take more memory than those of one record may.
    TooLarge { max_mb: usize },
}

impl std::fmt::Display for Misfit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Value { path, data_type, kind, reason, .. } => {
                write!(f, "Column `{path}` of type {data_type} cannot take this {kind}: {reason}")
            }
            Self::Missing { column, data_type } => write!(f, "Column `{column}` of type {data_type} must have a value"),
            Self::Unknown { path, .. } => write!(f, "No column takes the field `{path}`"),
            Self::UnknownTooLong { .. } => f.write_str("The unknown fields are too long"),
            Self::TooLarge { max_mb } => write!(
                f,
                "The rows of the record take more than {max_mb} MB of memory, in which a null takes as much as a value"
            ),
        }
    }
}

impl Misfit {
    /// What misfits have in common, whatever values they have.
    fn cause(&self) -> &'static str {
        match self {
            Self::Value { cause, .. } => cause,
            Self::Missing { .. } => "no value",
            Self::Unknown { .. } => "unknown",
            Self::UnknownTooLong { .. } => "unknown and too long",
            Self::TooLarge { .. } => "too much memory",
        }
    }
}

impl Failure {
    /// `at` counts from the object's first byte, where it is known.
    pub(super) fn parse(cause: &'static str, at: Option<usize>, bytes: Range<usize>) -> Self {
        let at = at.map(|at| format!("At byte {at}: ")).unwrap_or_default();
        let message = format!("Encountered malformed JSON. {at}{cause}");
        Self { code: ErrorCode::ParseError, message, bytes, cause, misfit: None }
    }

    pub(super) fn misfit(misfit: Misfit, bytes: Range<usize>) -> Self {
        let message = format!("Data does not match the schema. {misfit}");
        let cause = misfit.cause();
        Self { code: ErrorCode::MalformedData, message, bytes, cause, misfit: Some(Box::new(misfit)) }
    }

    pub(super) fn mismatch(cause: &'static str, bytes: Range<usize>) -> Self {
        let message = format!("Data does not match the schema. {cause}");
        Self { code: ErrorCode::MalformedData, message, bytes, cause, misfit: None }
    }

    pub(super) fn shape(cause: &'static str, bytes: Range<usize>) -> Self {
        Self { code: ErrorCode::MalformedData, message: cause.to_owned(), bytes, cause, misfit: None }
    }
}

/// Why no record can be read with a schema: Firehose's `DataFormatConversion.InvalidSchema`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SchemaError {
    #[error("a schema without columns holds nothing")]
    NoColumns,
    #[error("more than {max} columns")]
    TooManyColumns { max: usize },
    #[error(
        "column `{column}` has a type that is not supported by org.openx.data.JsonSerDe: binary; \
         `deserializer: hive` reads it from base64"
    )]
    Binary { column: String },
    #[error("column `{column}` has a dot in its name, which `deserializer: hive` refuses")]
    Dot { column: String },
    #[error("the columns `{first}` and `{second}` are read from the same key `{key}`")]
    SameKey { first: String, second: String, key: String },
    #[error("`column_to_json_key` names a column `{column}` that the schema does not have")]
    NoSuchColumn { column: String },
    #[error("the column `{column}` for unknown fields is not in the schema, or is not of type string, or is required")]
    Rescue { column: String },
}
