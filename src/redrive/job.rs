//! What a redrive was asked for, and which objects it means.

use std::num::NonZeroU32;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::config::model::{DeliveryStreamConfig, ErrorOutputConfig};
use crate::partition::ERROR_OUTPUT_TYPES;

use super::objects::ErrorObject;

/// As Firehose named OpenSearch's error output before 2021, and as its guide spells the folders.
const OLD_ERROR_OUTPUT_TYPES: [&str; 3] =
    ["elasticsearch-failed", "elasticsearch_failed", "AmazonOpenSearchService_failed"];
const ERROR_OUTPUT_TYPE: &str = "!{firehose:error-output-type}";

/// One redrive, as it is asked for and journalled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Job {
    /// The delivery stream that the records go through.
    pub stream: String,
    /// With what the keys of the objects begin; without it, as the stream's `error_output_prefix` does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// The delivery stream that has written the objects, if it is another one: Firehose's, for example.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub written_by: Option<String>,
    /// Older objects are left alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// Records a second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<NonZeroU32>,
    /// Younger objects are left alone: the redrive's own are among them.
    pub began: Timestamp,
}

impl Job {
    /// When a redrive begins that was asked for at `at`: with the next second, as object stores tell the time of an object in
    /// whole ones. What is there by then is read, and nothing is sent before.
    pub fn beginning(at: Timestamp) -> Timestamp {
        Timestamp::from_second(at.as_second() + 1).unwrap_or(at)
    }
}

/// The objects that a redrive reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selection {
    /// With one of them their keys begin. None of them begins with another.
    pub prefixes: Vec<String>,
    written_by: String,
    /// Whether the name of an object may begin with something else than its stream's.
    has_name_prefix: bool,
    since: Option<Timestamp>,
    until: Timestamp,
}

impl Selection {
    pub fn new(job: &Job, stream: &DeliveryStreamConfig) -> Self {
        let template = template(&stream.error_output);
        let prefixes = match &job.prefix {
            Some(prefix) => vec![prefix.clone()],
            None => prefixes(template),
        };
        Self {
            prefixes,
            written_by: job.written_by.clone().unwrap_or_else(|| stream.name.clone()),
            has_name_prefix: !template.is_empty() && !template.ends_with('/'),
            since: job.since,
            until: job.began,
        }
    }

    /// Whether a listed object is one that the redrive reads: it is old enough, young enough, and this stream's own. The
    /// records of another one have no business in this one.
    pub fn holds(&self, object: &ErrorObject) -> bool {
        object.modified < self.until
            && self.since.is_none_or(|since| object.modified >= since)
            && self.is_own(&object.key)
    }

    fn is_own(&self, key: &str) -> bool {
        let name = key.rsplit('/').next().unwrap_or_default();
        match stream_of(name) {
            Some(stream) if self.has_name_prefix => stream.ends_with(&self.written_by),
            Some(stream) => stream == self.written_by,
            None => false,
        }
    }
}

fn template(error_output: &ErrorOutputConfig) -> &str {
    error_output.destination.layout().prefix.text()
}

/// With what keys begin that a template makes: as far as it is known, which for the type is one of a few.
fn prefixes(template: &str) -> Vec<String> {
    let literal = |text: &str| text.split("!{").next().unwrap_or_default().to_owned();
    let before = literal(template);
    let Some(behind) = template[before.len()..].strip_prefix(ERROR_OUTPUT_TYPE) else { return vec![before] };
    let types = ERROR_OUTPUT_TYPES.iter().chain(&OLD_ERROR_OUTPUT_TYPES);
    types.map(|error_type| format!("{before}{error_type}{}", literal(behind))).collect()
}

/// The delivery stream in an object's name: `<stream>-<version>-<yyyy-MM-dd-HH-mm-ss>-<uuid>`, with any extension.
fn stream_of(name: &str) -> Option<&str> {
    const TIME: &str = "0000-00-00-00-00-00";
    const UUID: &str = "00000000-0000-0000-0000-000000000000";
    let is_like = |text: &str, like: &str, is_digit: fn(&u8) -> bool| {
        text.len() == like.len()
            && text.bytes().zip(like.bytes()).all(|(c, like)| if like == b'-' { c == b'-' } else { is_digit(&c) })
    };
    // The stream's name may hold all of it, too: the last one counts.
    (0..name.len()).rev().filter(|&at| name.is_char_boundary(at)).find_map(|at| {
        let (head, tail) = name.split_at(at);
        let time = tail.strip_prefix('-')?.get(..TIME.len())?;
        let uuid = tail.get(1 + TIME.len()..)?.strip_prefix('-')?;
        let extension = uuid.get(UUID.len()..)?;
        let (stream, version) = head.rsplit_once('-')?;
        let is_whole = is_like(time, TIME, u8::is_ascii_digit)
            && is_like(&uuid[..UUID.len()], UUID, u8::is_ascii_hexdigit)
            && (extension.is_empty() || extension.starts_with('.'))
            && !version.is_empty()
            && version.bytes().all(|c| c.is_ascii_digit());
        is_whole.then_some(stream)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_type_is_part_of_the_prefix_where_it_comes_first() {
        let types = ERROR_OUTPUT_TYPES.len() + OLD_ERROR_OUTPUT_TYPES.len();
        for (template, count, one) in [
            ("errors/", 1, "errors/"),
            ("", 1, ""),
            ("errors/!{timestamp:yyyy}/!{firehose:error-output-type}/", 1, "errors/"),
            ("web/!{firehose:error-output-type}/!{timestamp:yyyy/MM/dd/HH}/", types, "web/http-endpoint-failed/"),
            ("!{firehose:error-output-type}", types, "processing-failed"),
            ("e/!{firehose:error-output-type}-of-", types, "e/elasticsearch-failed-of-"),
        ] {
            let found = prefixes(template);
            assert_eq!(found.len(), count, "{template}: {found:?}");
            assert!(found.iter().any(|prefix| prefix == one), "{template}: {found:?}");
            let is_free = |one: &String| found.iter().filter(|other| other.starts_with(one)).count() == 1;
            assert!(found.iter().all(is_free), "{template}: {found:?}");
        }
    }

    #[test]
    fn the_stream_is_known_by_the_objects_name() {
        let tail = "-3-2026-11-21-22-58-00-0f8fad5b-d9cb-469f-a165-70867728950e";
        assert_eq!(stream_of(&format!("web-access{tail}")), Some("web-access"));
        assert_eq!(stream_of(&format!("web-access{tail}.gz")), Some("web-access"));
        assert_eq!(stream_of(&format!("web-1-2026-11-21-22-58-00{tail}")), Some("web-1-2026-11-21-22-58-00"));
        for name in ["", "web", "web-3-2026-11-21-22-58-00", &format!("web-{tail}"), &format!("é{}x", &tail[2..])] {
            assert_ne!(stream_of(name), Some("web"), "{name}");
        }
        assert_eq!(stream_of(&format!("web-x{}", &tail[2..])), None);
        assert_eq!(stream_of(&format!("web{tail}0")), None);
    }

    #[test]
    fn only_objects_of_the_stream_and_of_the_time_are_read() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let object = |stream: &str, second| ErrorObject {
            key: format!("errors/{stream}-1-2026-11-21-22-58-00-0f8fad5b-d9cb-469f-a165-70867728950e"),
            size: 1,
            modified: at(second),
            etag: String::new(),
        };
        let selection = Selection {
            prefixes: Vec::new(),
            written_by: "web".to_owned(),
            has_name_prefix: false,
            since: Some(at(100)),
            until: at(200),
        };
        assert!(selection.holds(&object("web", 100)) && selection.holds(&object("web", 199)));
        assert!(!selection.holds(&object("web", 99)) && !selection.holds(&object("web", 200)));
        assert!(!selection.holds(&object("my-web", 150)) && !selection.holds(&object("web-2", 150)));
        assert!(Selection { has_name_prefix: true, ..selection }.holds(&object("http-endpoint-failed-web", 150)));
    }
}
