//! What an operator chooses about writing Parquet.

/// How pages are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Compression {
    None,
    #[default]
    Snappy,
    /// Level 0 to 9; 6 is the library's own.
    Gzip {
        level: u8,
    },
    /// Level 1 to 22. On logs 1 is better than 3 in speed and in size.
    Zstd {
        level: u8,
    },
    /// `LZ4_RAW`, not the older framing that only Hadoop reads.
    Lz4,
}

/// Whether repeating values are written once for each row group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Dictionary {
    /// Where the first rows repeat values. Other columns are delta-encoded if that makes them smaller, as it does times and
    /// counters; and with snappy and LZ4, columns that they shrink by less than a sixth are left uncompressed.
    #[default]
    Auto,
    Always,
    Never,
}

/// Of data pages. Version 2 is not read by old Hive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WriterVersion {
    #[default]
    V1,
    V2,
}

/// How timestamps stand in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TimestampType {
    /// INT64 in microseconds, adjusted to UTC.
    #[default]
    Int64Micros,
    /// INT96, as Firehose and old Hive write them. Deprecated; without statistics.
    Int96,
}

/// Least and greatest values, by which readers skip what they need not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Statistics {
    None,
    /// Of each column of a row group.
    #[default]
    Chunk,
    /// And of each page.
    Page,
}

/// How Parquet is written.
#[derive(Debug, Clone, PartialEq)]
pub struct ParquetOptions {
    pub compression: Compression,
    /// A row group is closed when it has grown to this, encoded and compressed, in MB of 1024 × 1024 bytes.
    pub row_group_mb: u32,
    /// Size at which a page is closed, before compression, in KB of 1024 bytes.
    pub page_kb: u32,
    pub dictionary: Dictionary,
    /// Columns that get Bloom filters, by name; in a struct by the path in the file, such as `user.id`.
    pub bloom_filters: Vec<String>,
    pub writer_version: WriterVersion,
    pub statistics: Statistics,
    pub timestamps: TimestampType,
}

impl Default for ParquetOptions {
    fn default() -> Self {
        Self {
            compression: Compression::Snappy,
            row_group_mb: 16,
            page_kb: 1024,
            dictionary: Dictionary::Auto,
            bloom_filters: Vec::new(),
            writer_version: WriterVersion::V1,
            statistics: Statistics::default(),
            timestamps: TimestampType::Int64Micros,
        }
    }
}
