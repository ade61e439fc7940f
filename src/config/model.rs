//! The configuration after parsing: every value is in range, every expression parsed, every default filled in.
//!
//! Behind these types nobody checks again. What is written in YAML and how it maps to them is `parse.rs`' business.
//! `Serialize` exists for one purpose: the fingerprint by which the journal tells one version of a delivery stream's
//! configuration from the next.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use encoding_rs::{Encoding, UTF_8, UTF_16BE};
use regex::bytes::Regex;
use serde::{Deserialize, Serialize, Serializer};

use super::encodings;
use crate::partition::{PrefixTemplate, TimeZoneName};
use crate::processing::{OnError, ProcessorConfig, StepConfig, TranscodeConfig};

/// The whole configuration of one daemon.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Folder of the journal, its lock, and payloads waiting for their upload. Default `/var/lib/hydrant`.
    pub state_dir: PathBuf,
    /// How long a shutdown may spend on delivering what is buffered. Default 30 seconds, 0 to 3600.
    pub shutdown_timeout: Duration,
    /// Bytes that all channels and buffers of all delivery streams may hold together. Default 512 MB, 16 to 65,536.
    pub memory_limit: u64,
    /// At least one; names are unique.
    pub delivery_streams: Vec<DeliveryStreamConfig>,
}

/// One delivery stream: a source, what is done with its records, and where they go.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DeliveryStreamConfig {
    /// 1 to 64 characters of `[a-zA-Z0-9_.-]`, as Firehose's names.
    pub name: String,
    pub source: SourceConfig,
    /// In order; none leaves records as they are.
    pub processing: Vec<StepConfig>,
    pub buffering: BufferingHints,
    pub compression: Compression,
    /// Put after each record that does not end with it already. Default "\n", "" is Firehose's plain concatenation.
    pub output_delimiter: Vec<u8>,
    pub destination: DestinationConfig,
    pub backup: Option<BackupConfig>,
    /// Where the failed records' envelopes go: already decided from `backup` and `error_output_prefix`.
    pub error_output: ErrorOutputConfig,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub enum SourceConfig {
    File(FileSourceConfig),
}

/// Tails every file that matches one of `paths` and none of `exclude`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FileSourceConfig {
    /// Globs (`*`, `?`, `[a-z]`, `{a,b}`, `**` for any number of folders); relative ones count from the working folder.
    pub paths: Vec<String>,
    /// Globs matched against the whole path, and against the file name alone where they have no `/`.
    pub exclude: Vec<String>,
    pub initial_position: InitialPosition,
    /// One byte or several, never empty, in UTF-8: in the files it stands in their encoding. Default "\n".
    pub record_delimiter: Vec<u8>,
    /// Bytes in the file's encoding; what happens to a longer record `on_oversize` says. `max_record_kb` × 1024. Default
    /// 1000 KB, 1 to 10,000.
    pub max_record_bytes: u64,
    /// How long the journal remembers a file that is gone, so that a copy or compressed twin that comes late is not read
    /// again. `forget_after_hours`, 1 to 8,760. Default 168 hours, the seven days of Kinesis Agent's checkpoints.
    #[serde(skip)] // It changes nothing of what is delivered, so it makes no new version of the stream.
    pub forget_after: Duration,
    pub on_oversize: OnOversize,
    /// With it a record is several lines, else each line is one.
    pub multiline: Option<Multiline>,
    /// So many lines at the beginning of each file are no records. Default 0, to 1000. In a file that begins with NUL bytes
    /// none: its writer goes on in the middle of what it wrote before the file was truncated.
    pub skip_header_lines: u32,
    /// Any label of the WHATWG Encoding Standard, for example `windows-1252`. Default `utf-8`, which transcodes nothing. A
    /// byte order mark that belongs to the encoding is no part of the first record.
    pub encoding: &'static Encoding,
    /// `encoding: utf-16`, without `le` or `be`: each file's byte order mark decides, and without one it is little-endian.
    pub is_order_by_mark: bool,
    /// Whether records without a byte, or with nothing but a carriage return, are left out. Default false.
    pub skip_empty: bool,
    /// Of the files with something new the one with the oldest modification time is read to its present end first. Default
    /// false: each file gets its turn.
    pub oldest_first: bool,
    /// Changes no record, so it is no other configuration to the journal.
    #[serde(skip)]
    pub on_delivered: OnDelivered,
}

/// What happens to a record that is longer than `max_record_kb`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum OnOversize {
    /// It goes to the error output, with its beginning and its length. The default.
    ErrorOutput,
    /// Its beginning is delivered as a record, never cut within a character of UTF-8 or UTF-16. `terminator` ends it, inside
    /// the limit: up to 16 bytes, in UTF-8. Default none: Hydrant's records carry no delimiter, and with the default
    /// `output_delimiter` what is delivered ends in "\n" as Kinesis Agent's truncated records do.
    Truncate { terminator: Vec<u8> },
}

/// Which lines together are a record. The first line that is read of a file always begins one.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Multiline {
    pub rule: MultilineRule,
    /// The last record of a file is complete when nothing has come behind its last line end for so long. Default 1 second,
    /// 1 to 3,600,000 milliseconds: longer than a program pauses between two lines of one record, shorter than anybody waits.
    pub timeout: Duration,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub enum MultilineRule {
    /// `multiline_start`: a line in which this matches begins a record.
    Start(LinePattern),
    /// `multiline_continue`: a line in which this matches belongs to the record before it.
    Continue(LinePattern),
}

/// A regular expression that is looked for in a line without its delimiter. In UTF-8 files it sees the bytes, else the line
/// in UTF-8; of a line over `max_record_kb` only what is within it.
#[derive(Debug, Clone)]
pub struct LinePattern(pub Regex);

impl PartialEq for LinePattern {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

impl Serialize for LinePattern {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.as_str())
    }
}

/// What becomes of a file that every delivery stream has delivered whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnDelivered {
    Keep,
    /// Deleted once it was rotated away or has not changed for `after`. `delete_after_seconds`, default 3600, 0 to 30 days.
    Delete {
        after: Duration,
    },
}

/// Where a file that was there at the delivery stream's first start is read from. Later files start at their beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum InitialPosition {
    TrimHorizon,
    Latest,
}

/// A buffer is sealed when either limit is reached, whichever comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct BufferingHints {
    /// Size of the buffered records before compression, in bytes. 1 to 128 MB, default 5; from 0.1 with `low_latency`.
    pub size: u64,
    /// Age of the oldest buffered record. 60 to 900 seconds, default 300; from 0 with `low_latency`.
    pub interval: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Compression {
    None,
    /// Level 1 to 12 of libdeflate.
    Gzip {
        level: u8,
    },
    /// snappy-java's stream, as Firehose writes it.
    Snappy,
    HadoopSnappy,
    /// An archive with one entry; level 1 to 9 of zlib.
    Zip {
        level: u8,
    },
    /// Level 1 to 19 of zstd.
    Zstd {
        level: u8,
    },
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub enum DestinationConfig {
    S3(S3Config, ObjectLayout),
    Directory(DirectoryConfig, ObjectLayout),
}

/// How the keys of one destination's objects are made.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ObjectLayout {
    /// Already Firehose's default (`yyyy/MM/dd/HH/`) where none was given or where it has to be appended.
    pub prefix: PrefixTemplate,
    /// Replaces the compression's own extension, for example `.json.gz`.
    pub file_extension: Option<String>,
    pub time_zone: TimeZoneName,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DirectoryConfig {
    /// Absolute; made when it is not there.
    pub path: PathBuf,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct S3Config {
    pub bucket: String,
    /// From the destination, else from `aws`; `None` leaves it to the SDK's default chain.
    pub region: Option<String>,
    pub endpoint_url: Option<String>,
    pub assume_role: Option<AssumeRole>,
    /// Default false: the bucket is part of the host name.
    pub force_path_style: bool,
    /// For example `STANDARD_IA`; any value, for stores other than AWS' too.
    pub storage_class: Option<String>,
    pub sse: Option<ServerSideEncryption>,
    /// A canned ACL, for example `bucket-owner-full-control`.
    pub acl: Option<String>,
    /// Default true: `If-None-Match: *`. False for stores that do not know it: a pending object is looked up first.
    pub conditional_put: bool,
    /// Time for one attempt, before what the payload's size adds to it. Default 60 seconds, 1 to 3600.
    pub request_timeout: Duration,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AssumeRole {
    pub role_arn: String,
    pub external_id: Option<Secret>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum ServerSideEncryption {
    /// `sse: s3`, AES256 with keys of the service.
    S3,
    /// `sse: { kms_key_id: … }`
    Kms { key_id: String },
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BackupConfig {
    pub mode: BackupMode,
    pub buffering: BufferingHints,
    pub compression: Compression,
    pub destination: DestinationConfig,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum BackupMode {
    FailedOnly,
    /// Every source record as it was read, too.
    All,
}

/// Where failed records' envelopes go: the backup's place if there is one, else the destination's own.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ErrorOutputConfig {
    /// The layout's prefix is the evaluated default or `error_output_prefix`; error objects carry no extension.
    pub destination: DestinationConfig,
    pub buffering: BufferingHints,
}

/// A value that is never shown: not in logs, errors, status, nor in the journal (its hash only).
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(xxhash_rust::xxh3::xxh3_64(self.0.as_bytes()))
    }
}

/// As an operator writes it: `gzip level 1`.
impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("no compression"),
            Self::Gzip { level } => write!(f, "gzip level {level}"),
            Self::Snappy => f.write_str("snappy"),
            Self::HadoopSnappy => f.write_str("hadoop_snappy"),
            Self::Zip { level } => write!(f, "zip level {level}"),
            Self::Zstd { level } => write!(f, "zstd level {level}"),
        }
    }
}

impl DeliveryStreamConfig {
    /// Everything that is done to a record in `encoding` between its source and its buffer.
    pub fn steps(&self, encoding: &'static Encoding) -> Vec<StepConfig> {
        let SourceConfig::File(file) = &self.source;
        let transcode = TranscodeConfig { encoding: encoding.name().to_owned() };
        let transcode = (encoding != UTF_8).then_some(ProcessorConfig::Transcode(transcode));
        let skip_empty = file.skip_empty.then_some(ProcessorConfig::SkipEmpty);
        let of_source = transcode.into_iter().chain(skip_empty);
        let of_source = of_source.map(|processor| StepConfig { processor, on_error: OnError::ErrorOutput });
        of_source.chain(self.processing.iter().cloned()).collect()
    }
}

impl FileSourceConfig {
    /// The encodings that its files may have, the first where they do not say which.
    pub fn encodings(&self) -> Vec<&'static Encoding> {
        if self.is_order_by_mark { vec![self.encoding, UTF_16BE] } else { vec![self.encoding] }
    }

    /// The record delimiter as it stands in files of this encoding.
    pub fn delimiter_in(&self, encoding: &'static Encoding) -> Vec<u8> {
        in_encoding(&self.record_delimiter, encoding)
    }

    /// A text of the configuration as it stands in files of this encoding.
    pub fn in_encoding(&self, text: &[u8], encoding: &'static Encoding) -> Vec<u8> {
        in_encoding(text, encoding)
    }
}

impl OnOversize {
    /// What ends a truncated record, as it stands in files of this encoding.
    pub fn terminator_in(&self, encoding: &'static Encoding) -> Vec<u8> {
        match self {
            Self::ErrorOutput => Vec::new(),
            Self::Truncate { terminator } => in_encoding(terminator, encoding),
        }
    }
}

/// UTF-8 in another encoding. What the encoding does not have was refused when the configuration was read.
fn in_encoding(text: &[u8], encoding: &'static Encoding) -> Vec<u8> {
    encodings::encoded(&String::from_utf8_lossy(text), encoding).unwrap_or_else(|| text.to_vec())
}

impl DestinationConfig {
    /// Where its objects go, for people.
    pub fn place(&self) -> String {
        match self {
            Self::S3(s3, _) => format!("s3://{}", s3.bucket),
            Self::Directory(directory, _) => directory.path.display().to_string(),
        }
    }

    pub fn layout(&self) -> &ObjectLayout {
        match self {
            Self::S3(_, layout) | Self::Directory(_, layout) => layout,
        }
    }
}
