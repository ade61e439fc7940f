//! `add_metadata`: says in each record where it comes from.
//!
//! Invariant: a JSON object keeps its text, the metadata goes before its closing brace. What is known when the
//! processor is built (host, environment, EC2) is looked up then, and is the same for all records of a life.

use std::io::Write;

use serde::Serialize;

use super::json_scan::{Scanner, push_compact};
use super::json_text::push_string;
use super::{ConfigError, Failure, Origin, Processor, Records};
pub use surroundings::{Ec2Field, Ec2Metadata, Surroundings};

mod surroundings;

/// Adds members with metadata to each record, behind its own. Whether a record has members of these names already is
/// not looked at: of two, most readers take the last, which is the metadata. Only the braces at both ends of a record
/// are looked at; `json` before it checks the rest.
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
    /// When the record was read: RFC 3339 in UTC with milliseconds.
    IngestionTime,
    /// A JSON value, as its text.
    Static(String),
    /// An environment variable's value, read at the start; one that is not set is a mistake in the configuration.
    Environment(String),
    /// Metadata of the EC2 instance; null elsewhere, so that records have the same members everywhere.
    Ec2(Ec2Field),
}

impl AddMetadataConfig {
    /// Whether instance metadata have to be fetched for it.
    pub fn needs_ec2(&self) -> bool {
        self.fields.iter().any(|field| matches!(field.value, MetadataValue::Ec2(_)))
    }
}

pub(super) struct AddMetadata {
    /// The members with commas between them, without braces.
    pieces: Vec<Piece>,
    wrap: Option<String>,
}

enum Piece {
    /// Text that is the same for all records.
    Text(Vec<u8>),
    Path,
    Offset,
    IngestionTime,
}

impl AddMetadata {
    pub fn new(config: AddMetadataConfig, surroundings: &Surroundings<'_>) -> Result<Self, ConfigError> {
        check_names(&config)?;
        let (mut pieces, mut text) = (Vec::new(), Vec::new());
        if let Some(key) = &config.key {
            push_string(&mut text, key.as_bytes());
            text.extend_from_slice(b":{");
        }
        for (index, MetadataField { name, value }) in config.fields.iter().enumerate() {
            if index > 0 {
                text.push(b',');
            }
            push_string(&mut text, name.as_bytes());
            text.push(b':');
            if let Some(piece) = piece(name, value, surroundings, &mut text)? {
                pieces.extend([Piece::Text(std::mem::take(&mut text)), piece]);
            }
        }
        if config.key.is_some() {
            text.push(b'}');
        }
        pieces.push(Piece::Text(text));
        Ok(Self { pieces, wrap: config.wrap })
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
        MetadataValue::Host => push_string(text, surroundings.host.as_bytes()),
        MetadataValue::Static(json) => push_static(text, name, json)?,
        MetadataValue::Environment(variable) => {
            let unset = || ConfigError::new("fields", format!("the environment variable `{variable}` is not set"));
            push_string(text, (surroundings.environment)(variable).ok_or_else(unset)?.as_bytes());
        }
        MetadataValue::Ec2(field) => match surroundings.ec2.get(*field) {
            Some(value) => push_string(text, value.as_bytes()),
            None => text.extend_from_slice(b"null"),
        },
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
                self.push_members(buffer, origin);
                buffer.push(b',');
                push_string(buffer, wrap.as_bytes());
                buffer.push(b':');
                push_string(buffer, record);
            }
            None => {
                let members = open_object(record)?;
                buffer.extend_from_slice(members);
                if members.trim_ascii() != b"{" {
                    buffer.push(b',');
                }
                self.push_members(buffer, origin);
            }
        }
        buffer.push(b'}');
        out.end()
    }
}

/// The object without its closing brace and the white space around it.
fn open_object(record: &[u8]) -> Result<&[u8], Failure> {
    let object = record.trim_ascii();
    let open = object.strip_suffix(b"}").filter(|open| open.starts_with(b"{"));
    open.map(<[u8]>::trim_ascii_end).ok_or_else(|| {
        Failure::new(
            "the record is not a JSON object, so metadata cannot be added to it; `wrap` makes one of any record",
        )
    })
}

impl AddMetadata {
    fn push_members(&self, out: &mut Vec<u8>, origin: &Origin<'_>) {
        for piece in &self.pieces {
            let written = match piece {
                Piece::Text(text) => {
                    out.extend_from_slice(text);
                    Ok(())
                }
                Piece::Path => {
                    push_string(out, origin.name.as_bytes());
                    Ok(())
                }
                Piece::Offset => write!(out, "{}", origin.position),
                Piece::IngestionTime => write!(out, "\"{:.3}\"", origin.arrival),
            };
            written.expect("writing to memory cannot fail");
        }
    }
}

#[cfg(test)]
mod tests;
