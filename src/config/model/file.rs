//! The file source: which files are read, what in them is a record, and what becomes of them.

use std::time::Duration;

use encoding_rs::Encoding;
use regex::bytes::Regex;
use serde::{Serialize, Serializer};

use crate::config::encodings;

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
    /// `encoding: utf-16`, `utf-16le` or `utf-16be`: each file's byte order mark decides, and without one the label; `utf-16` is
    /// little-endian.
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

impl FileSourceConfig {
    /// The encodings that its files may have, the first where they do not say which.
    pub fn encodings(&self) -> Vec<&'static Encoding> {
        let other = encodings::other_order(self.encoding).filter(|_| self.is_order_by_mark);
        std::iter::once(self.encoding).chain(other).collect()
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
pub(super) fn in_encoding(text: &[u8], encoding: &'static Encoding) -> Vec<u8> {
    encodings::encoded(&String::from_utf8_lossy(text), encoding).unwrap_or_else(|| text.to_vec())
}
