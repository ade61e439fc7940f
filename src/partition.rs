//! Where an object goes: prefix expressions, time zones and object keys, by Firehose's rules.
//!
//! What must always hold: a prefix that was parsed evaluates, at any instant and in any time zone, to a text that fits
//! a key and cannot leave its bucket or folder; whatever breaks a rule is found when the configuration is read, with its
//! place in the text. Nothing in here reads a clock or makes randomness: instant and random text come in as arguments.

mod escape;
mod java_time;
mod key;
mod partitioner;
mod prefix;
mod query;
mod record_time;
mod time_zone;
mod zone_names;

pub use key::{check_file_extension, object_key, random_string};
pub use partitioner::{COMPONENT_BYTES_MAX, Partition, PartitionError, Partitioner};
pub use prefix::{Dynamic, ERROR_OUTPUT_TYPES, IndexTemplate, PrefixKind, PrefixTemplate, Rotation, is_index_name};
pub use query::{Query, QueryError, ValueError};
pub use record_time::{RecordTime, RecordTimeError};
pub use time_zone::TimeZoneName;

/// A prefix, time zone or file extension that breaks a rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct PrefixError {
    /// The byte in the given text at which the mistake begins; at most its length.
    pub offset: usize,
    /// What is wrong.
    pub message: String,
    /// What is allowed, or what to do.
    pub help: String,
}

impl PrefixError {
    fn new(offset: usize, message: impl Into<String>, help: impl Into<String>) -> Self {
        Self { offset, message: message.into(), help: help.into() }
    }
}

/// The candidate that somebody who wrote `word` probably meant.
fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.trim().to_lowercase();
    candidates
        .into_iter()
        .map(|candidate| (strsim::normalized_damerau_levenshtein(&word, &candidate.to_lowercase()), candidate))
        .filter(|(similarity, _)| *similarity >= 0.5)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}

/// `names` in backticks, for a sentence.
fn listed(names: &[&str]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}
