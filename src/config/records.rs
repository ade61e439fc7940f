//! The keys of a file source that say how files fall into records.

use std::time::Duration;

use encoding_rs::{Encoding, UTF_8};
use regex::bytes::RegexBuilder;

use super::encodings;
use super::file_source::delimiter;
use super::map::{Map, nearest};
use super::model::{LinePattern, Multiline, MultilineRule, OnOversize};
use super::reader::Value;
use super::text::Text;
use super::tree::Style;

const MULTILINE_TIMEOUT_DEFAULT: Duration = Duration::from_millis(1000);
/// A compiled pattern may take so many bytes.
const PATTERN_BYTES_MAX: usize = 4 << 20;

/// `encoding`, and whether a byte order mark decides on the order.
pub(super) fn encoding(source: &Map<'_>) -> Option<(&'static Encoding, bool)> {
    source.get_or("encoding", (UTF_8, false), |value| {
        const ALLOWED: &str = "a label of the WHATWG Encoding Standard, as `utf-8` or `windows-1252`";
        let text = value.string(ALLOWED)?;
        let encoding = encodings::by_label(&text.text);
        if encoding.is_none() {
            let nearest = if text.substituted { None } else { nearest(&text.text, encodings::COMMON) };
            let help = nearest.map(|name| format!("did you mean `{name}`?"));
            value.must_be(ALLOWED, &text.given(Style::Verbatim), help);
        }
        encoding
    })
}

/// `record_delimiter` as the operator writes it, if it can be found in files of this encoding.
pub(super) fn record_delimiter(source: &Map<'_>, encoding: Option<&'static Encoding>) -> Option<Vec<u8>> {
    source.get_or("record_delimiter", b"\n".to_vec(), |value| {
        let text = delimiter(value, 1)?;
        let Some(encoding) = encoding else { return Some(text.into_bytes()) };
        let bytes = encoded(value, &text, encoding)?;
        if !encodings::is_unambiguous(&bytes, encoding) {
            let message = format!("`record_delimiter` may be a part of other characters in {}", encoding.name());
            value.problem(message, Some("it may begin with a line end, a blank or a control character".to_owned()));
            return None;
        }
        Some(text.into_bytes())
    })
}

/// `multiline_start`, `multiline_continue` and `multiline_timeout_ms`.
pub(super) fn multiline(source: &Map<'_>) -> Option<Option<Multiline>> {
    let timeout = source.get_or("multiline_timeout_ms", MULTILINE_TIMEOUT_DEFAULT, |value| {
        let millis = value.whole(1..=3_600_000, " of milliseconds")?;
        Some(Duration::from_millis(millis.unsigned_abs()))
    });
    let (starts, continues) = (source.get("multiline_start"), source.get("multiline_continue"));
    let rule = match (&starts, &continues) {
        (Some(_), Some(other)) => {
            let message = "`multiline_start` and `multiline_continue` are two ways to say the same";
            other.problem(message, Some("take one of them away".to_owned()));
            return None;
        }
        (Some(value), None) => MultilineRule::Start(pattern(value)?),
        (None, Some(value)) => MultilineRule::Continue(pattern(value)?),
        (None, None) => {
            if let Some(value) = source.get("multiline_timeout_ms") {
                let message = "`multiline_timeout_ms` needs `multiline_start` or `multiline_continue` beside it";
                value.problem(message, None);
                return None;
            }
            return Some(None);
        }
    };
    Some(Some(Multiline { rule, timeout: timeout? }))
}

fn pattern(value: &Value<'_>) -> Option<LinePattern> {
    let text: Text<'_> =
        value.string("a regular expression")?.check("a regular expression", |text| !text.is_empty())?;
    match RegexBuilder::new(&text.text).size_limit(PATTERN_BYTES_MAX).build() {
        Ok(regex) => Some(LinePattern(regex)),
        Err(error) => {
            let reason = error.to_string();
            // The last line says what is wrong; those before it show where, for a terminal of its own.
            let reason = reason.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
            let reason = if text.substituted { String::new() } else { format!(": {reason}") };
            value.problem(format!("`{}` is no regular expression{reason}", value.name()), None);
            None
        }
    }
}

/// `on_oversize` and `truncated_record_terminator`.
pub(super) fn on_oversize(source: &Map<'_>, encoding: Option<&'static Encoding>) -> Option<OnOversize> {
    let is_truncated =
        source.get_or("on_oversize", false, |value| value.one_of(&[("error_output", false), ("truncate", true)]));
    let terminator = source.get_or("truncated_record_terminator", Vec::new(), |value| {
        let text = delimiter(value, 0)?;
        if let Some(encoding) = encoding {
            encoded(value, &text, encoding)?;
        }
        Some(text.into_bytes())
    });
    match (is_truncated?, source.get("truncated_record_terminator")) {
        (true, _) => Some(OnOversize::Truncate { terminator: terminator? }),
        (false, Some(value)) => {
            value.problem("`truncated_record_terminator` needs `on_oversize: truncate` beside it", None);
            None
        }
        (false, None) => Some(OnOversize::ErrorOutput),
    }
}

fn encoded(value: &Value<'_>, text: &str, encoding: &'static Encoding) -> Option<Vec<u8>> {
    let bytes = encodings::encoded(text, encoding);
    if bytes.is_none() {
        let message = format!("`{}` has a character that {} does not have", value.name(), encoding.name());
        value.problem(message, None);
    }
    bytes
}
