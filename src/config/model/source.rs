//! The sources of delivery streams, and what the rest of the code has to know of any of them.

use encoding_rs::{Encoding, UTF_8};
use serde::Serialize;

use super::file::in_encoding;
use super::{FileSourceConfig, KinesisSourceConfig, RedriveSourceConfig};

/// Where the records of a delivery stream come from.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub enum SourceConfig {
    File(FileSourceConfig),
    Kinesis(Box<KinesisSourceConfig>),
    /// Never written by an operator: what a redrive reads, in place of the delivery stream's own source.
    Redrive(Box<RedriveSourceConfig>),
}

impl SourceConfig {
    /// The files, where it is files that are read.
    pub fn file(&self) -> Option<&FileSourceConfig> {
        match self {
            Self::File(file) => Some(file),
            Self::Kinesis(_) | Self::Redrive(_) => None,
        }
    }

    /// For people.
    pub fn place(&self) -> String {
        match self {
            Self::File(file) => file.paths.join(", "),
            Self::Kinesis(kinesis) => kinesis.place(),
            Self::Redrive(redrive) => format!("error objects of {}", redrive.stream),
        }
    }

    /// How its records may be encoded, the first where they do not say it themselves.
    pub fn encodings(&self) -> Vec<&'static Encoding> {
        match self {
            Self::File(file) => file.encodings(),
            // Whatever the producers have put: nothing is transcoded.
            Self::Kinesis(_) => vec![UTF_8],
            Self::Redrive(redrive) => vec![redrive.encoding],
        }
    }

    /// Whether records without a byte, or with nothing but a carriage return, are left out.
    pub fn skips_empty(&self) -> bool {
        match self {
            Self::File(file) => file.skip_empty,
            Self::Kinesis(_) => false,
            Self::Redrive(redrive) => redrive.skip_empty,
        }
    }

    /// A text of the configuration in the encoding in which records are read.
    pub fn in_encoding(&self, text: &[u8]) -> Vec<u8> {
        in_encoding(text, self.encodings().first().copied().unwrap_or(UTF_8))
    }

    /// Whether records end with these very bytes when they are read. In UTF-16 they are others than in UTF-8.
    pub fn ends_records_with(&self, delimiter: &[u8]) -> bool {
        match self {
            Self::File(file) => file.delimiter_in(file.encoding) == delimiter,
            // Records come one by one, with nothing between them.
            Self::Kinesis(_) | Self::Redrive(_) => false,
        }
    }

    /// Without what only says where records come from.
    pub fn without_place(&self) -> Self {
        match self {
            // Whatever else comes into the source's configuration counts, until somebody knows that it need not.
            Self::File(file) => Self::File(FileSourceConfig { paths: Vec::new(), exclude: Vec::new(), ..file.clone() }),
            Self::Kinesis(kinesis) => Self::Kinesis(Box::new(kinesis.without_place())),
            Self::Redrive(_) => self.clone(),
        }
    }
}
