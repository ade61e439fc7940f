//! `add_metadata`: says in each record where it comes from.
//!
//! Invariant: what leaves is a JSON object in which no name of the metadata stands twice. A record's own members keep
//! their text and their order, the metadata go before the closing brace. What is known when the processor is built (host,
//! environment, EC2) is looked up then, and is the same for all records of a life.

use std::io::Write;

use serde::Serialize;

use super::json_scan::{Scanner, push_compact};
use super::json_text::push_string;
use super::{ConfigError, Failure, Origin, Processor, Records};
pub use surroundings::{Ec2Field, Ec2Metadata, Surroundings};

mod object;
mod surroundings;

/// Adds members with metadata to each record, behind its own.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AddMetadataConfig {
    /// The members, in order.
    pub fields: Vec<MetadataField>,
    /// The name of one member that has all the others in it; without it they are members of the record.
    pub key: Option<String>,
    /// For records that are not JSON: the name of the member that gets the record as a string, behind the metadata, as
    /// Kinesis Agent's ADDMETADATA does with `data`. Every record is wrapped then, JSON or not. Bytes that are not UTF-8
    /// become U+FFFD.
    pub wrap: Option<String>,
    /// What becomes of a member of the record that has a name of the metadata.
    pub on_existing: OnExisting,
}

/// Two members of one name are read differently by each reader, or not at all, so one of them goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum OnExisting {
    /// The metadata takes its place, as Kinesis Agent does it: what a record says of its origin cannot be forged.
    #[default]
    Replace,
    /// The record's own stays, and that of the metadata is left out.
    Keep,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct MetadataField {
    pub name: String,
    pub value: MetadataValue,
}

/// What a member of the metadata says.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum MetadataValue {
    /// The name of the machine.
    Host,
    /// The path of the file, as a string.
    Path,
    /// The offset in bytes of the record's beginning in its file, as a number.
    Offset,
    /// When the record was read, or arrived at the stream: RFC 3339 in UTC with milliseconds.
    IngestionTime,
    /// Where the source is a stream; null elsewhere, as in a redrive.
    Shard(ShardField),
    /// A JSON value, as its text.
    Static(String),
    /// An environment variable's value, read at the start; one that is not set is a mistake in the configuration.
    Environment(String),
    /// Metadata of the EC2 instance; null elsewhere, so that records have the same members everywhere.
    Ec2(Ec2Field),
}

/// What a record of a stream says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ShardField {
    /// The stream's name.
    Stream,
    ShardId,
    /// Its own, not that of the aggregated record in which it came.
    PartitionKey,
    /// As a string: no number of JSON's readers holds so many digits.
    SequenceNumber,
    /// As a number: its place in an aggregated record, 0 for any other.
    SubSequenceNumber,
    /// RFC 3339 in UTC with milliseconds.
    ApproximateArrivalTimestamp,
}

impl MetadataValue {
    /// Whether only a file has it.
    pub fn is_of_files(&self) -> bool {
        matches!(self, Self::Path | Self::Offset)
    }

    /// Whether only a stream has it.
    pub fn is_of_streams(&self) -> bool {
        matches!(self, Self::Shard(_))
    }
}

impl AddMetadataConfig {
    /// Whether instance metadata have to be fetched for it.
    pub fn needs_ec2(&self) -> bool {
        self.fields.iter().any(|field| matches!(field.value, MetadataValue::Ec2(_)))
    }

    /// Whether it says when records were read.
    pub fn depends_on_arrival(&self) -> bool {
        self.fields.iter().any(|field| field.value == MetadataValue::IngestionTime)
    }
}

pub(super) struct AddMetadata {
    /// In order; with `key` the one that has all the others in it.
    members: Vec<Member>,
    wrap: Option<String>,
    on_existing: OnExisting,
}

struct Member {
    name: String,
    /// The name and the value as JSON.
    pieces: Vec<Piece>,
}

enum Piece {
    /// Text that is the same for all records.
    Text(Vec<u8>),
    Path,
    Offset,
    IngestionTime,
    Shard(ShardField),
}

impl AddMetadata {
    pub fn new(config: AddMetadataConfig, surroundings: &Surroundings<'_>) -> Result<Self, ConfigError> {
        check_names(&config)?;
        let member = |field: &MetadataField| Member::new(field, surroundings);
        let mut members = config.fields.iter().map(member).collect::<Result<Vec<_>, _>>()?;
        if let Some(key) = config.key {
            members = vec![Member::nested(key, members)];
        }
        Ok(Self { members, wrap: config.wrap, on_existing: config.on_existing })
    }
}

impl Member {
    fn new(field: &MetadataField, surroundings: &Surroundings<'_>) -> Result<Self, ConfigError> {
        let mut text = Vec::new();
        push_string(&mut text, field.name.as_bytes());
        text.push(b':');
        let piece = piece(&field.name, &field.value, surroundings, &mut text)?;
        Ok(Self { name: field.name.clone(), pieces: std::iter::once(Piece::Text(text)).chain(piece).collect() })
    }

    /// A member with all of `members` in it.
    fn nested(name: String, members: Vec<Member>) -> Self {
        let mut text = Vec::new();
        push_string(&mut text, name.as_bytes());
        text.extend_from_slice(b":{");
        let mut pieces = vec![Piece::Text(text)];
        for (index, member) in members.into_iter().enumerate() {
            pieces.extend((index > 0).then(|| Piece::Text(b",".to_vec())));
            pieces.extend(member.pieces);
        }
        pieces.push(Piece::Text(b"}".to_vec()));
        Self { name, pieces }
    }
}

fn check_names(config: &AddMetadataConfig) -> Result<(), ConfigError> {
    let mut names: Vec<String> = config.fields.iter().map(|field| field.name.clone()).collect();
    if names.is_empty() {
        return Err(ConfigError::new("fields", "`fields` must have at least one field"));
    }
    ConfigError::check_unique("fields", &names)?;
    if let Some(key) = &config.key {
        names = vec![key.clone()];
    }
    match config.wrap.as_ref().filter(|wrap| names.contains(wrap)) {
        Some(wrap) => Err(ConfigError::new("wrap", format!("`wrap` is `{wrap}`, as the metadata has it already"))),
        None => Ok(()),
    }
}

/// Writes a value that all records share to `text`, or gives the piece that stands for it.
fn piece(
    name: &str,
    value: &MetadataValue,
    surroundings: &Surroundings<'_>,
    text: &mut Vec<u8>,
) -> Result<Option<Piece>, ConfigError> {
    match value {
        MetadataValue::Path => return Ok(Some(Piece::Path)),
        MetadataValue::Offset => return Ok(Some(Piece::Offset)),
        MetadataValue::IngestionTime => return Ok(Some(Piece::IngestionTime)),
        MetadataValue::Shard(field) => return Ok(Some(Piece::Shard(*field))),
        MetadataValue::Host => push_string(text, surroundings.host.as_bytes()),
        MetadataValue::Static(json) => push_static(text, name, json)?,
        MetadataValue::Environment(variable) => {
            let unset = || ConfigError::new("fields", format!("the environment variable `{variable}` is not set"));
            push_string(text, (surroundings.environment)(variable).ok_or_else(unset)?.as_bytes());
        }
        MetadataValue::Ec2(field) => surroundings.ec2.push(*field, text),
    }
    Ok(None)
}

fn push_static(text: &mut Vec<u8>, name: &str, json: &str) -> Result<(), ConfigError> {
    let scan = || {
        let mut scanner = Scanner::new(json.as_bytes())?;
        let value = scanner.value()?;
        scanner.expect_end().map(|()| value)
    };
    let value = scan().map_err(|_: Failure| {
        ConfigError::new("fields", format!("the value of `{name}` is not JSON, given {json:?}"))
    })?;
    push_compact(text, value);
    Ok(())
}

impl Processor for AddMetadata {
    fn process(&self, record: &[u8], origin: &Origin<'_>, out: &mut Records) -> Result<(), Failure> {
        let buffer = out.buffer();
        match &self.wrap {
            Some(wrap) => {
                buffer.push(b'{');
                self.push_members(buffer, origin, |_| true);
                buffer.push(b',');
                push_string(buffer, wrap.as_bytes());
                buffer.push(b':');
                push_string(buffer, record);
            }
            None => self.extend_object(buffer, record, origin)?,
        }
        buffer.push(b'}');
        out.end()
    }
}

impl AddMetadata {
    /// The object with the metadata behind its own members, without its closing brace.
    fn extend_object(&self, out: &mut Vec<u8>, record: &[u8], origin: &Origin<'_>) -> Result<(), Failure> {
        let names = || self.members.iter().map(|member| member.name.as_str());
        let existing = object::names_in(record, names())
            .map_err(|failure| Failure::new(format!("{}; `wrap` makes an object of any record", failure.message)))?;
        let start = out.len();
        if existing.is_empty() || self.on_existing == OnExisting::Keep {
            out.extend_from_slice(object::open(record));
        } else {
            object::push_without(out, record, &existing)?;
        }
        let is_added = |name: &str| self.on_existing == OnExisting::Replace || !existing.contains(&name);
        if out.len() - start > 1 && names().any(is_added) {
            out.push(b',');
        }
        self.push_members(out, origin, is_added);
        Ok(())
    }

    /// Those of the members that `is_added` takes, with commas between them.
    fn push_members(&self, out: &mut Vec<u8>, origin: &Origin<'_>, is_added: impl Fn(&str) -> bool) {
        for (index, member) in self.members.iter().filter(|member| is_added(&member.name)).enumerate() {
            if index > 0 {
                out.push(b',');
            }
            for piece in &member.pieces {
                piece.push(out, origin);
            }
        }
    }
}

impl Piece {
    fn push(&self, out: &mut Vec<u8>, origin: &Origin<'_>) {
        let written = match self {
            Self::Text(text) => {
                out.extend_from_slice(text);
                Ok(())
            }
            Self::Path => {
                push_string(out, origin.name.as_bytes());
                Ok(())
            }
            Self::Offset => write!(out, "{}", origin.position),
            Self::IngestionTime => write!(out, "\"{:.3}\"", origin.arrival),
            Self::Shard(field) => field.push(out, origin),
        };
        written.expect("writing to memory cannot fail");
    }
}

impl ShardField {
    fn push(self, out: &mut Vec<u8>, origin: &Origin<'_>) -> std::io::Result<()> {
        let (Some(shard), Some((number, sub_sequence_number))) = (origin.shard, origin.position.record()) else {
            return out.write_all(b"null");
        };
        match self {
            Self::Stream => push_string(out, shard.stream.as_bytes()),
            Self::ShardId => push_string(out, shard.shard_id.as_bytes()),
            Self::PartitionKey => push_string(out, origin.partition_key.as_bytes()),
            Self::SequenceNumber => write!(out, "\"{number}\"")?,
            Self::SubSequenceNumber => write!(out, "{sub_sequence_number}")?,
            Self::ApproximateArrivalTimestamp => write!(out, "\"{:.3}\"", origin.arrival)?,
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
