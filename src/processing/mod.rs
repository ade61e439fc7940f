//! The record processors: what becomes of a record between its source and its buffer.
//!
//! Invariant: a record that goes in comes out as one record, as several, as none because its processor says so (a control
//! message, an empty line), or as a failure with a reason. Nothing is dropped silently, and no bytes make a processor panic.
//!
//! A processor is one file, one variant of [`ProcessorConfig`] and one arm of its `build`, and its keys in the configuration.
//! Records are processed a chunk at a time on the compute pool ([`Processing`]); [`Stage`] keeps the chunks in order.

use jiff::Timestamp;

use crate::record::NoHeader;

mod add_brackets;
mod add_metadata;
mod append_delimiter;
mod chunks;
mod cloudwatch_logs;
mod config;
mod csv_to_json;
mod decompress;
mod ec2;
mod json;
mod json_scan;
mod json_text;
mod log_to_json;
mod pipeline;
mod records;
mod single_line;
mod skip_empty;
mod stage;
#[cfg(test)]
mod testing;
mod transcode;

pub use add_metadata::{
    AddMetadataConfig, Ec2Field, Ec2Metadata, MetadataField, MetadataValue, OnExisting, Surroundings,
};
pub use append_delimiter::AppendDelimiterConfig;
pub use chunks::Processing;
pub use cloudwatch_logs::CloudwatchLogsConfig;
pub use config::{ConfigError, OnError, ProcessorConfig, StepConfig};
pub use csv_to_json::{Columns, CsvToJsonConfig, ExtraColumns};
pub use decompress::{DecompressConfig, RecordCompression};
pub use json::{Flatten, JsonConfig};
pub use log_to_json::{LogFormat, LogLayout, LogToJsonConfig};
pub use pipeline::{OUTPUT_BYTES_MAX, Pipeline, Scratch};
pub use records::{Mark, Records};
pub use single_line::SingleLineConfig;
pub use stage::{Arrival, FailedRecord, Processed, Stage};
pub use transcode::TranscodeConfig;

/// Where a record comes from, for processors that say so.
#[derive(Debug, Clone, Copy)]
pub struct Origin<'a> {
    /// The file's path.
    pub name: &'a str,
    /// The record's first byte in it.
    pub position: u64,
    /// When it was read.
    pub arrival: Timestamp,
    /// The file's last skipped header line without its line end.
    pub header: Result<&'a [u8], NoHeader>,
}

/// Why a record failed: the text goes into the error output's `errorMessage`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    pub message: String,
}

impl Failure {
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into() }
    }
}

/// Turns records into records, one at a time and without a memory of earlier ones.
pub trait Processor: Send + Sync {
    /// Appends what becomes of `record` (its bytes without delimiter) to `out`: one record, several, or none (dropped).
    /// After an error the pipeline takes back what was appended, so that nothing of it is left in `out`.
    fn process(&self, record: &[u8], origin: &Origin<'_>, out: &mut Records) -> Result<(), Failure>;
}
