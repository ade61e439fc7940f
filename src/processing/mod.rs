//! The record processors: what becomes of a record between its source and its buffer.
//!
//! Invariant: a record that goes in comes out as one record, as several, as none because its processor says so (a control
//! message, an empty line), or as a failure with a reason. Nothing is dropped silently, and no bytes make a processor panic.
//!
//! `wasm` is the one step that takes records a batch at a time; [`Sequence`] puts it between the others.
//!
//! A processor is one file, one variant of [`ProcessorConfig`] and one arm of its `build`, and its keys in the configuration.
//! Records are processed a chunk at a time on the compute pool ([`Processing`]); [`Stage`] keeps the chunks in order.

use std::sync::Arc;

use jiff::Timestamp;

use crate::envelope::DataCatalogTable;
use crate::partition::PartitionError;
use crate::record::{Chunk, NoHeader, Position, ShardNames};

mod add_brackets;
mod add_metadata;
mod append_delimiter;
mod chunks;
mod cloudwatch_logs;
mod config;
mod conversion;
mod csv_to_json;
mod deaggregate_records;
mod decompress;
mod ec2;
mod json;
mod json_scan;
mod json_text;
mod log_to_json;
mod passing;
mod patient;
mod pipeline;
mod records;
mod sequence;
mod single_line;
mod skip_empty;
mod stage;
#[cfg(test)]
mod testing;
mod transcode;
mod try_out;
pub mod wasm;

pub use add_metadata::{
    AddMetadataConfig, Ec2Field, Ec2Metadata, MetadataField, MetadataValue, OnExisting, ShardField, Surroundings,
};
pub use append_delimiter::AppendDelimiterConfig;
pub use chunks::{Next, Processing, Progress, Shape, Work};
pub use cloudwatch_logs::CloudwatchLogsConfig;
pub use config::{ConfigError, OnError, ProcessorConfig, StepConfig};
pub use conversion::Conversion;
pub use csv_to_json::{Columns, CsvToJsonConfig, ExtraColumns};
pub use deaggregate_records::DeaggregateRecordsConfig;
pub use decompress::{DecompressConfig, RecordCompression};
pub use json::{Flatten, JsonConfig};
pub use log_to_json::{LogFormat, LogLayout, LogToJsonConfig};
pub use passing::{FailedPart, PartitionKeys, Passing};
pub use pipeline::{OUTPUT_BYTES_MAX, Pipeline, Scratch};
pub use records::{Mark, Records};
pub use sequence::Sequence;
pub use single_line::SingleLineConfig;
pub use stage::{Apart, Arrival, Goal, Processed, Stage};
pub use transcode::TranscodeConfig;
pub use try_out::{Down, Fate, Leaving};

/// Where a record comes from, for processors that say so.
#[derive(Debug, Clone, Copy)]
pub struct Origin<'a> {
    /// The file's path.
    pub name: &'a str,
    /// Where the source is a stream.
    pub shard: Option<&'a ShardNames>,
    /// Empty where the source is none.
    pub partition_key: &'a str,
    /// The record's first byte in the file, or its numbers in a shard.
    pub position: Position,
    /// When it was read, or arrived at the stream.
    pub arrival: Timestamp,
    /// The file's last skipped header line without its line end.
    pub header: Result<&'a [u8], NoHeader>,
}

impl<'a> Origin<'a> {
    /// Of record `index` of the chunk that this is the origin of.
    fn of_record(self, chunk: &'a Chunk, index: usize) -> Self {
        let (position, arrival) = (chunk.record_position(index), chunk.arrival(index));
        Self { position, arrival, partition_key: chunk.partition_key(index), ..self }
    }
}

/// Why a record failed, as the error output says it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// `errorMessage`.
    pub message: String,
    pub code: ErrorCode,
    /// `attemptsMade`.
    pub attempts: u32,
    /// `lambdaARN`: the component, where it was one.
    pub arn: Option<Arc<str>>,
    /// `dataCatalogTable`: what the record could not be converted by.
    pub table: Option<Arc<DataCatalogTable>>,
}

/// `errorCode`. Firehose's own where the failure is one that Firehose knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorCode {
    /// A processor has refused the record.
    ProcessingFailed,
    /// A component has died on it, taken too much, or given an answer that cannot be read.
    TransformFailed,
    /// A component has said `processing-failed`.
    TransformRefused,
    /// No partition can be found for it.
    NoPartition,
    /// Record format conversion cannot read it as JSON.
    NotJson,
    /// It does not fit the schema.
    NotInSchema,
}

impl ErrorCode {
    /// Where what fails so goes.
    pub fn error_type(self) -> ErrorType {
        match self {
            Self::ProcessingFailed | Self::TransformFailed | Self::TransformRefused => ErrorType::Processing,
            Self::NoPartition => ErrorType::Metadata,
            Self::NotJson | Self::NotInSchema => ErrorType::Conversion,
        }
    }
}

/// The error output to which a failure belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ErrorType {
    Processing,
    /// Of dynamic partitioning.
    Metadata,
    /// Of record format conversion.
    Conversion,
}

impl ErrorType {
    /// As Firehose calls it in prefixes: `!{firehose:error-output-type}`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Processing => crate::error_type::PROCESSING_FAILED,
            Self::Metadata => crate::error_type::METADATA_FAILED,
            Self::Conversion => crate::error_type::CONVERSION_FAILED,
        }
    }
}

impl Failure {
    /// A processor's.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), code: ErrorCode::ProcessingFailed, attempts: 1, arn: None, table: None }
    }

    /// Of a record that belongs to no partition.
    pub fn of_partitioning(error: &PartitionError) -> Self {
        Self { code: ErrorCode::NoPartition, ..Self::new(error.to_string()) }
    }

    /// The same of a record with which so many attempts had been made before.
    pub fn after(self, attempts: u32) -> Self {
        Self { attempts: self.attempts.saturating_add(attempts), ..self }
    }

    /// A component's.
    pub fn of_transform(message: String, code: ErrorCode, attempts: u32, arn: Arc<str>) -> Self {
        Self { message, code, attempts, arn: Some(arn), table: None }
    }
}

/// Turns records into records, one at a time and without a memory of earlier ones.
pub trait Processor: Send + Sync {
    /// Appends what becomes of `record` (its bytes without delimiter) to `out`: one record, several, or none (dropped).
    /// After an error the pipeline takes back what was appended, so that nothing of it is left in `out`.
    fn process(&self, record: &[u8], origin: &Origin<'_>, out: &mut Records) -> Result<(), Failure>;

    /// The same, of a processor that makes several records of one, any of which may fail alone: such a part is given to `refuse`.
    fn process_parts(
        &self,
        record: &[u8],
        origin: &Origin<'_>,
        out: &mut Records,
        refuse: &mut Refuse<'_>,
    ) -> Result<(), Failure> {
        let _ = refuse;
        self.process(record, origin, out)
    }
}

/// Takes a part of a record that has failed, and appends to the output what goes on of it all the same.
pub type Refuse<'r> = dyn FnMut(&[u8], Failure, &mut Records) -> Result<(), Failure> + 'r;
