//! Record format conversion: from JSON to columns to Parquet.

mod append;
mod arrays;
mod civil;
mod coerce;
mod column;
mod decoder;
mod encodings;
mod error;
mod fast;
mod file_schema;
mod int96;
mod joda;
mod json;
mod json_text;
mod keys;
mod number;
mod options;
mod parquet_options;
mod rules;
mod scan;
mod time_text;
mod timestamp;
mod writer;

pub use column::Columns;
pub use decoder::{Decoder, Full};
pub use encodings::Encodings;
pub use error::{ErrorCode, Failure, SchemaError};
pub use file_schema::FileSchema;
pub use joda::{Pattern, PatternError};
pub use options::{Deserializer, InputOptions, OnUnknownField, TimestampFormat};
pub use parquet_options::{Compression, Dictionary, ParquetOptions, TimestampType, WriterVersion};
pub use timestamp::TimestampFormats;
pub use writer::{ParquetWriter, WriteError, Written};

#[cfg(test)]
mod tests;
