//! Record format conversion, as Firehose has it: from JSON to columns to Parquet. Pure: no I/O but a sink, no clock.
//!
//! Invariant: every object of a record becomes a row or a [`Failure`] that names its bytes and the reason, whatever the bytes
//! are; neither changes another row.
//!
//! ```text
//! record ──Decoder──▶ Columns ──ParquetWriter──▶ sink
//!            │ fast.rs: what is expected          │ a row group at a time
//!            ▼ coerce.rs: everything else
//!         Failure
//! ```
//!
//! - [`Decoder`] reads records by a schema's columns and [`InputOptions`]. Speculation (`fast`, `keys`, `scan`) takes what
//!   programs usually write; the parser in `json` and the rules in `coerce` decide what is meant by anything. Both give the
//!   same rows, which a property test holds them to.
//! - [`Columns`] are rows in plain vectors. They are taken back by [`Columns::truncate`] and know the memory they hold.
//! - [`FileSchema`] has the types in the file, [`Encodings`] are chosen by looking at the first rows, and [`ParquetWriter`]
//!   writes row groups, each of which leaves when it is closed.

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
mod room;
mod rules;
mod samples;
mod scan;
mod target;
mod time_text;
mod timestamp;
mod writer;

pub use column::Columns;
pub use decoder::{Decoder, Full};
pub use encodings::Encodings;
pub use error::{ErrorCode, Failure, Misfit, SchemaError};
pub use file_schema::FileSchema;
pub use joda::{Pattern, PatternError};
pub use number::NumberError;
pub use options::{Deserializer, InputOptions, OnUnknownField, TimestampFormat};
pub use parquet_options::{Compression, Dictionary, ParquetOptions, Statistics, TimestampType, WriterVersion};
pub use room::Room;
pub use samples::{NoSample, Samples};
pub use timestamp::TimestampFormats;
pub use writer::{ParquetWriter, WriteError, Written};

#[cfg(test)]
mod tests;
