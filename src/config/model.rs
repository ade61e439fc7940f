//! The configuration after parsing: every value is in range, every expression parsed, every default filled in.
//!
//! Behind these types nobody checks again. What is written in YAML and how it maps to them is `parse.rs`' business.
//! `Serialize` exists for one purpose: the fingerprint by which the journal tells one version of a delivery stream's
//! configuration from the next.

mod columns;
mod destination;
mod file;
mod http_endpoint;
mod kinesis;
mod opensearch;
mod redrive;
mod schema;
mod source;

pub use columns::{FileColumns, PartitionColumns};
pub use destination::{
    AssumeRole, DestinationConfig, DirectoryConfig, ObjectLayout, ObjectStoreConfig, S3Config, ServerSideEncryption,
};
pub use file::{FileSourceConfig, InitialPosition, LinePattern, Multiline, MultilineRule, OnDelivered, OnOversize};
pub use http_endpoint::{EndpointAuth, EndpointUrl, HttpEndpointConfig, Method, Protocol, ProxyConfig, RawFormat};
pub use kinesis::{Consumer, KinesisSourceConfig, LeaseTableConfig, Leases, OnMisrouted};
pub use opensearch::{DocumentId, DocumentsConfig, OpenSearchConfig};
pub use redrive::RedriveSourceConfig;
pub use schema::{
    ClientCertificate, ConfluentConfig, ConfluentCredentials, Deserializer, Dictionary, DirectoryRegistryConfig,
    FormatConversionConfig, GlueConfig, InputConfig, NamedRegistry, OnUnknownField, ParquetCompression, ParquetConfig,
    RegistryConfig, SchemaConfig, SchemaReference, Statistics, TimestampFormat, Timestamps, TlsConfig, WriterVersion,
};
pub use source::SourceConfig;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use encoding_rs::{Encoding, UTF_8};
use serde::{Deserialize, Serialize, Serializer};

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
    /// Where the daemon can be asked how it is, and told to redrive. Nowhere by default: a second daemon on the machine would be
    /// in the way of the first.
    pub admin: Option<AdminConfig>,
    /// In the order of the file; names are unique. A delivery stream holds its own copy of the one that it uses.
    pub schema_registries: Vec<NamedRegistry>,
    /// At least one; names are unique.
    pub delivery_streams: Vec<DeliveryStreamConfig>,
}

/// `admin`: an HTTP server of the daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AdminConfig {
    /// Default 127.0.0.1:9600. At any address, only this machine may tell the daemon to do something.
    pub listen: SocketAddr,
}

impl AdminConfig {
    pub const LISTEN_DEFAULT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9600);
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
    /// None with `format_conversion`, where Parquet has its own.
    pub compression: Compression,
    /// Records become rows of Parquet files.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub format_conversion: Option<FormatConversionConfig>,
    pub partitioning: Option<PartitioningConfig>,
    /// Put after each record that does not end with it already. Default "\n", "" is Firehose's plain concatenation; "" with
    /// `http_endpoint` and `opensearch`, where each record is told from the next.
    pub output_delimiter: Vec<u8>,
    pub destination: DestinationConfig,
    pub backup: Option<BackupConfig>,
    /// Where the failed records' envelopes go: already decided from `backup` and `error_output_prefix`.
    pub error_output: ErrorOutputConfig,
}

/// `partitioning`: one buffer, and objects of its own, for each combination of values.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PartitioningConfig {
    /// Names and jq programs.
    pub keys: Vec<(String, String)>,
    pub record_time: Option<RecordTimeConfig>,
    /// Partitions that may have a buffer at a time; 1 to 5,000, default 500. One more seals the one that was used least recently.
    pub active_max: usize,
    /// How much longer than its interval a buffer waits whose record time is not now; 0 to 86,400 seconds, default 0.
    pub grace: Duration,
}

/// Where a record's own time stands.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RecordTimeConfig {
    /// A field's name, or names with dots between them.
    pub field: String,
    /// Tried in order.
    pub formats: Vec<TimestampFormat>,
}

/// A buffer is sealed when either limit is reached, whichever comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct BufferingHints {
    /// Size of the buffered records before compression, in bytes. 1 to 128 MB, default 5, 128 with `format_conversion`; from
    /// 0.1 with `low_latency`.
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
pub struct BackupConfig {
    pub mode: BackupMode,
    pub buffering: BufferingHints,
    pub compression: Compression,
    pub destination: ObjectStoreConfig,
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
    pub destination: ObjectStoreConfig,
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
    /// After which its objects are called: a redrive goes by the name of its delivery stream.
    pub fn object_name(&self) -> &str {
        self.redriven().unwrap_or(&self.name)
    }

    /// Of a redrive, the delivery stream whose records it sends.
    pub fn redriven(&self) -> Option<&str> {
        match &self.source {
            SourceConfig::File(_) | SourceConfig::Kinesis(_) => None,
            SourceConfig::Redrive(redrive) => Some(&redrive.stream),
        }
    }

    /// Everything that is done to a record in `encoding` between its source and its buffer.
    pub fn steps(&self, encoding: &'static Encoding) -> Vec<StepConfig> {
        let transcode = TranscodeConfig { encoding: encoding.name().to_owned() };
        let transcode = (encoding != UTF_8).then_some(ProcessorConfig::Transcode(transcode));
        let skip_empty = self.source.skips_empty().then_some(ProcessorConfig::SkipEmpty);
        let of_source = transcode.into_iter().chain(skip_empty);
        let of_source = of_source.map(|processor| StepConfig { processor, on_error: OnError::ErrorOutput });
        of_source.chain(self.processing.iter().cloned()).collect()
    }
}
