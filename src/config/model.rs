//! The configuration after parsing: every value is in range, every expression parsed, every default filled in.
//!
//! Behind these types nobody checks again. What is written in YAML and how it maps to them is `parse.rs`' business.
//! `Serialize` exists for one purpose: the fingerprint by which the journal tells one version of a delivery stream's
//! configuration from the next.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize, Serializer};

use crate::partition::{PrefixTemplate, TimeZoneName};

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
    /// One byte or several, never empty. Default "\n".
    pub record_delimiter: Vec<u8>,
    /// Bytes; a longer record goes to the error output. `max_record_kb` × 1024. Default 1000 KB, 1 to 10,000.
    pub max_record_bytes: u64,
    /// How long the journal remembers a file that is gone, so that a copy or compressed twin that comes late is not read
    /// again. `forget_after_hours`, 1 to 8,760. Default 168 hours, the seven days of Kinesis Agent's checkpoints.
    #[serde(skip)] // It changes nothing of what is delivered, so it makes no new version of the stream.
    pub forget_after: Duration,
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
