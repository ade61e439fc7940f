//! What a redrive was asked for, and which objects it means.

use std::collections::BTreeSet;
use std::num::NonZeroU32;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::config::model::DeliveryStreamConfig;
use crate::partition::{ERROR_OUTPUT_TYPES, PrefixTemplate};

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
#[derive(Debug, Clone, PartialEq)]
pub struct Selection {
    /// With one of them their keys begin. None of them begins with another.
    pub prefixes: Vec<String>,
    /// With what they begin as somebody has asked for it.
    asked: Option<String>,
    template: PrefixTemplate,
    written_by: String,
    since: Option<Timestamp>,
    until: Timestamp,
}

/// Whose a listed object is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    /// One that the redrive reads: old enough, young enough, and an error object of the stream itself.
    Own,
    /// The records of another stream have no business in this one.
    Another,
    /// Another stream may have written it just as well.
    Unclear,
}

impl Whose {
    /// What to tell people of an object that is [`Whose::Unclear`].
    pub const UNCLEAR: &str = "its key does not tell where the name of its delivery stream begins; \
        give `--prefix` with all that stands before the name";
}

impl Selection {
    pub fn new(job: &Job, stream: &DeliveryStreamConfig) -> Self {
        let template = stream.error_output.destination.layout().prefix.clone();
        let prefixes = match &job.prefix {
            Some(prefix) => vec![prefix.clone()],
            None => prefixes(template.text()),
        };
        let written_by = job.written_by.clone().unwrap_or_else(|| stream.name.clone());
        Self { prefixes, asked: job.prefix.clone(), template, written_by, since: job.since, until: job.began }
    }

    /// Whether a listed object is one that the redrive reads.
    pub fn whose(&self, object: &ErrorObject) -> Whose {
        let is_of_the_time = object.modified < self.until && self.since.is_none_or(|since| object.modified >= since);
        if is_of_the_time { self.by_key(&object.key) } else { Whose::Another }
    }

    fn by_key(&self, key: &str) -> Whose {
        let by_template = self.by_template(key);
        let has_decided = by_template.len() == 1;
        match (has_decided, by_template.contains(self.written_by.as_str())) {
            (true, true) => Whose::Own,
            (true, false) => Whose::Another,
            (false, _) if self.is_as_asked(key) => Whose::Own,
            (false, true) => Whose::Unclear,
            (false, false) => Whose::Another,
        }
    }

    /// The delivery streams that may have written an object, if the template has made its key.
    fn by_template<'a>(&self, key: &'a str) -> BTreeSet<&'a str> {
        let ends = self.template.ends(key, &error_types());
        let names = ends.into_iter().filter_map(|end| key.get(end..)).filter(|name| !name.contains('/'));
        names.filter_map(stream_of).filter(|stream| !stream.is_empty()).collect()
    }

    /// Whether the stream's name stands right behind the prefix that was asked for, or behind the last slash after it.
    fn is_as_asked(&self, key: &str) -> bool {
        let rest = self.asked.as_ref().and_then(|prefix| key.strip_prefix(prefix.as_str()));
        let (Some(rest), Some(name)) = (rest, key.rsplit('/').next()) else { return false };
        stream_of(name) == Some(&self.written_by) || (!rest.contains('/') && stream_of(rest) == Some(&self.written_by))
    }
}

fn error_types() -> Vec<&'static str> {
    ERROR_OUTPUT_TYPES.into_iter().chain(OLD_ERROR_OUTPUT_TYPES).collect()
}

/// With what keys begin that a template makes: as far as it is known, which for the type is one of a few.
fn prefixes(template: &str) -> Vec<String> {
    let literal = |text: &str| text.split("!{").next().unwrap_or_default().to_owned();
    let before = literal(template);
    let Some(behind) = template[before.len()..].strip_prefix(ERROR_OUTPUT_TYPE) else { return vec![before] };
    error_types().into_iter().map(|error_type| format!("{before}{error_type}{}", literal(behind))).collect()
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
    use crate::partition::PrefixKind;

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

    const TAIL: &str = "-1-2026-11-21-22-58-00-0f8fad5b-d9cb-469f-a165-70867728950e";

    fn selection(template: &str, asked: Option<&str>, written_by: &str) -> Selection {
        Selection {
            prefixes: Vec::new(),
            asked: asked.map(str::to_owned),
            template: PrefixTemplate::parse(template, PrefixKind::ErrorOutput).unwrap(),
            written_by: written_by.to_owned(),
            since: None,
            until: Timestamp::MAX,
        }
    }

    #[test]
    fn only_objects_of_the_time_are_read() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let object = |second| ErrorObject {
            key: format!("errors/web{TAIL}"),
            size: 1,
            modified: at(second),
            etag: String::new(),
        };
        let selection = Selection { since: Some(at(100)), until: at(200), ..selection("errors/", None, "web") };
        for (second, whose) in [(99, Whose::Another), (100, Whose::Own), (199, Whose::Own), (200, Whose::Another)] {
            assert_eq!(selection.whose(&object(second)), whose, "{second}");
        }
    }

    #[test]
    fn only_objects_that_the_template_made_for_the_stream_are_read() {
        use Whose::{Another, Own, Unclear};
        for (template, beginning, whose) in [
            ("errors/", "errors/web", Own),
            ("errors/", "errors/my-web", Another),
            ("errors/", "errors/more/web", Another),
            ("", "web", Own),
            ("errors/!{firehose:error-output-type}-", "errors/processing-failed-web", Own),
            ("errors/!{firehose:error-output-type}-", "errors/elasticsearch-failed-web", Own),
            ("errors/!{firehose:error-output-type}-", "errors/processing-failed-my-web", Another),
            ("errors/!{firehose:error-output-type}-", "errors/web", Another),
            ("!{timestamp:yyyy/MM/dd/}!{firehose:error-output-type}/", "2026/11/21/processing-failed/web", Own),
            ("!{timestamp:yyyy/MM/dd/}!{firehose:error-output-type}/", "2026/11/21/web", Another),
            ("!{timestamp:yyyy/MM/dd/}!{firehose:error-output-type}/", "2026/11/x1/processing-failed/web", Another),
            ("!{timestamp:yyyy/MM/dd/}!{firehose:error-output-type}/", "2026/11/21/data/web", Another),
            ("e/!{timestamp:MMMM}/!{firehose:error-output-type}/", "e/November/processing-failed/web", Own),
            ("e/!{firehose:random-string}!{firehose:error-output-type}", "e/aB345678901processing-failedweb", Own),
            ("e/!{firehose:random-string}!{firehose:error-output-type}", "e/aB3processing-failedweb", Another),
            ("e/!{firehose:error-output-type}/!{timestamp:HH}", "e/processing-failed/12web", Own),
            ("e/!{firehose:error-output-type}/!{timestamp:HH}", "e/processing-failed/121web", Another),
            // The hour 1 and a stream `2web`, or the hour 12 and `web`.
            ("e/!{firehose:error-output-type}/!{timestamp:H}", "e/processing-failed/12web", Unclear),
            ("e/!{firehose:error-output-type}/!{timestamp:H}", "e/processing-failed/1web", Own),
            ("e/!{firehose:error-output-type}/!{timestamp:EEEE}-", "e/processing-failed/Monday-web", Own),
            ("e/!{firehose:error-output-type}/!{timestamp:EEEE}-", "e/processing-failed/Monday-a-web", Unclear),
        ] {
            assert_eq!(selection(template, None, "web").by_key(&format!("{beginning}{TAIL}")), whose, "{beginning}");
        }
    }

    #[test]
    fn a_prefix_that_was_asked_for_decides_what_the_template_does_not() {
        use Whose::{Another, Own, Unclear};
        let (dash, hour) = ("errors/!{firehose:error-output-type}-", "e/!{firehose:error-output-type}/!{timestamp:H}");
        for (template, asked, beginning, whose) in [
            (dash, "firehose/", "firehose/2026/11/web", Own),
            (dash, "firehose/", "firehose/2026/11/my-web", Another),
            (dash, "firehose/x-", "firehose/x-web", Own),
            (dash, "firehose/x-", "firehose/x-my-web", Another),
            (dash, "errors/processing-failed-my-", "errors/processing-failed-my-web", Another),
            (hour, "e/processing-failed/12", "e/processing-failed/12web", Own),
            (hour, "e/processing-failed/", "e/processing-failed/12web", Unclear),
        ] {
            let selection = selection(template, Some(asked), "web");
            assert_eq!(selection.by_key(&format!("{beginning}{TAIL}")), whose, "{asked} {beginning}");
        }
    }
}
