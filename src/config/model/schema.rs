//! Schema registries, and what a delivery stream's records are converted to.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;

use super::columns::PartitionColumns;
use super::{AssumeRole, Secret};
use crate::schema::{SchemaName, Table, Version};

/// One entry of `schema_registries`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct NamedRegistry {
    /// The key under `schema_registries`.
    pub name: String,
    pub config: RegistryConfig,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub enum RegistryConfig {
    Directory(DirectoryRegistryConfig),
    Glue(GlueConfig),
    Confluent(ConfluentConfig),
}

/// `<path>/<database>/<table>/<version>.yaml`
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DirectoryRegistryConfig {
    /// Absolute.
    pub path: PathBuf,
}

/// Glue's Data Catalog (tables) and Schema Registry (subjects).
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct GlueConfig {
    /// From here, else from `aws`; `None` leaves it to the SDK's default chain.
    pub region: Option<String>,
    pub endpoint_url: Option<String>,
    pub assume_role: Option<AssumeRole>,
    /// The account whose Data Catalog it is; `None` for the credentials' own.
    pub catalog_id: Option<String>,
    /// The Schema Registry in which subjects are looked up. Default `default-registry`, which is where AWS puts schemas
    /// that name none.
    pub schema_registry: String,
    /// For each answer. Default 10 seconds, 1 to 300.
    pub timeout: Duration,
}

/// A registry with Confluent's REST interface: also Redpanda, Karapace, Apicurio.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ConfluentConfig {
    /// Without a slash at its end.
    pub url: String,
    pub credentials: ConfluentCredentials,
    pub tls: TlsConfig,
    /// For each answer. Default 10 seconds, 1 to 300.
    pub timeout: Duration,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub enum ConfluentCredentials {
    None,
    Basic { username: String, password: Secret },
    Bearer(Secret),
}

/// PEM files; they are read when the registry is opened.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct TlsConfig {
    /// Certificate authorities, instead of the system's.
    pub ca: Option<PathBuf>,
    pub client: Option<ClientCertificate>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ClientCertificate {
    /// The certificate, and those between it and its authority.
    pub certificate: PathBuf,
    pub key: PathBuf,
}

/// `format_conversion`: each record becomes a row of a Parquet file.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FormatConversionConfig {
    pub schema: SchemaConfig,
    pub on_unknown_field: OnUnknownField,
    /// Whether partition columns are in the file; without it, as the schema has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub partition_columns: Option<PartitionColumns>,
    pub input: InputConfig,
    pub parquet: ParquetConfig,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub enum SchemaConfig {
    Inline(Table),
    Registry(Box<SchemaReference>),
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SchemaReference {
    /// In full: another address makes another configuration of the delivery stream.
    pub registry: NamedRegistry,
    pub name: SchemaName,
    pub version: Version,
}

/// What becomes of a field that no column takes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum OnUnknownField {
    /// It is left out, as Firehose does. The default.
    Ignore,
    /// The record fails.
    ErrorOutput,
    /// All of a record's unknown fields stand in this column as one JSON object. It is in the schema, a nullable `string`.
    Rescue { column: String },
}

/// How JSON is read.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct InputConfig {
    pub deserializer: Deserializer,
    /// Keys and columns are matched without regard to case. Default true.
    pub case_insensitive: bool,
    /// The key `a.b` belongs to the column `a_b`. Default false.
    pub dots_to_underscores: bool,
    /// From a column to the key that it is read from instead of its own name.
    pub column_to_json_key: BTreeMap<String, String>,
    /// Tried in order; empty for the deserializer's own.
    pub timestamp_formats: Vec<TimestampFormat>,
}

/// Which of Firehose's deserializers is followed where they differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Deserializer {
    /// Lenient: text becomes numbers, scalars become arrays. The default.
    OpenX,
    /// Strict.
    Hive,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum TimestampFormat {
    Iso8601,
    EpochSeconds,
    EpochMillis,
    /// `java.sql.Timestamp.valueOf`: `yyyy-[M]M-[d]d HH:mm:ss[.f…]`
    Sql,
    /// Joda-Time's, as Firehose's `TimestampFormats`.
    Pattern(String),
}

/// What Parquet files look like.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ParquetConfig {
    pub compression: ParquetCompression,
    /// Bytes of a row group, before compression. Default 16 MB, 1 to 1024.
    pub row_group_bytes: u64,
    /// Bytes of a page. Default 1024 KB, 64 to 16,384.
    pub page_bytes: u64,
    pub dictionary: Dictionary,
    /// Columns that get a Bloom filter, by name.
    pub bloom_filters: Vec<String>,
    pub writer_version: WriterVersion,
    pub statistics: Statistics,
    pub timestamps: Timestamps,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum ParquetCompression {
    None,
    /// The default, as in Firehose.
    Snappy,
    /// Level 1 to 9.
    Gzip {
        level: u8,
    },
    /// Level 1 to 22.
    Zstd {
        level: u8,
    },
    /// Raw LZ4 blocks (`LZ4_RAW`).
    Lz4,
}

impl fmt::Display for ParquetCompression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("no compression"),
            Self::Snappy => f.write_str("snappy"),
            Self::Gzip { level } => write!(f, "gzip level {level}"),
            Self::Zstd { level } => write!(f, "zstd level {level}"),
            Self::Lz4 => f.write_str("lz4"),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Dictionary {
    /// Where it makes a column smaller. The default.
    Auto,
    Always,
    Never,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum WriterVersion {
    V1,
    V2,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Statistics {
    None,
    /// For each column of a row group. The default.
    Chunk,
    /// And for each page.
    Page,
}

/// How a timestamp is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Timestamps {
    /// INT64, microseconds since 1970. The default.
    Micros,
    /// INT96, for Hive before 3 and Impala.
    Int96,
}

impl Default for InputConfig {
    fn default() -> Self {
        Self {
            deserializer: Deserializer::OpenX,
            case_insensitive: true,
            dots_to_underscores: false,
            column_to_json_key: BTreeMap::new(),
            timestamp_formats: Vec::new(),
        }
    }
}

impl Default for ParquetConfig {
    fn default() -> Self {
        Self {
            compression: ParquetCompression::Snappy,
            row_group_bytes: 16 << 20,
            page_bytes: 1 << 20,
            dictionary: Dictionary::Auto,
            bloom_filters: Vec::new(),
            writer_version: WriterVersion::V1,
            statistics: Statistics::Chunk,
            timestamps: Timestamps::Micros,
        }
    }
}
