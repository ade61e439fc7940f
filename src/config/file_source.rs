//! `source: { file: … }`: which files are tailed, and how they fall into records.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use globset::GlobSet;

use super::globs;
use super::map::Map;
use super::model::{FileSourceConfig, InitialPosition, OnDelivered};
use super::reader::Value;
use super::records;
use super::text::Text;

const MAX_RECORD_KB_DEFAULT: i64 = 1000;
const FORGET_AFTER_HOURS_DEFAULT: i64 = 168;
const DELIMITER_BYTES_MAX: usize = 16;
const KEYS: &[&str] = &[
    "paths",
    "exclude",
    "initial_position",
    "record_delimiter",
    "multiline_start",
    "multiline_continue",
    "multiline_timeout_ms",
    "skip_header_lines",
    "max_record_kb",
    "on_oversize",
    "truncated_record_terminator",
    "encoding",
    "skip_empty",
    "oldest_first",
    "on_delivered",
    "delete_after_seconds",
    "forget_after_hours",
];
/// A writer that is only slow keeps its file for an hour.
const DELETE_AFTER_DEFAULT: i64 = 3600;
const DELETE_AFTER_MAX: i64 = 30 * 24 * 3600;

/// The source, and its globs for the checks against what Hydrant itself writes.
pub(super) struct FileSource<'a> {
    pub config: FileSourceConfig,
    pub watched: Vec<Watched<'a>>,
    pub excluded: Excluded,
}

pub(super) struct Watched<'a> {
    pub text: Text<'a>,
    pub glob: GlobSet,
    pub base: PathBuf,
}

/// The globs of `exclude`, matched as the source matches them.
#[derive(Default)]
pub(super) struct Excluded {
    whole: Vec<GlobSet>,
    names: Vec<GlobSet>,
}

impl Excluded {
    pub fn is_match(&self, path: &Path) -> bool {
        let is_name_excluded = |name: &std::ffi::OsStr| self.names.iter().any(|glob| glob.is_match(name));
        self.whole.iter().any(|glob| glob.is_match(path)) || path.file_name().is_some_and(is_name_excluded)
    }
}

pub(super) fn file_source<'a>(value: &Value<'a>) -> Option<FileSource<'a>> {
    let source = value.map(KEYS)?;
    let watched = source.required("paths").and_then(|paths| paths_of(&paths));
    let exclude = source.get_or("exclude", <(Vec<String>, Excluded)>::default(), excluded);
    let initial_position = source.get_or("initial_position", InitialPosition::TrimHorizon, |value| {
        value.one_of(&[("trim_horizon", InitialPosition::TrimHorizon), ("latest", InitialPosition::Latest)])
    });
    let encoding = records::encoding(&source);
    let record_delimiter = records::record_delimiter(&source, encoding.map(|(encoding, _)| encoding));
    let multiline = records::multiline(&source);
    let skip_header_lines =
        source.get_or("skip_header_lines", 0, |value| u32::try_from(value.whole(0..=1000, "")?).ok());
    let max_record_kb = source.get_or("max_record_kb", MAX_RECORD_KB_DEFAULT, |value| value.whole(1..=10_000, ""));
    let forget_after_hours =
        source.get_or("forget_after_hours", FORGET_AFTER_HOURS_DEFAULT, |value| value.whole(1..=8760, ""));
    let on_oversize = records::on_oversize(&source, encoding.map(|(encoding, _)| encoding));
    let skip_empty = source.get_or("skip_empty", false, Value::boolean);
    let oldest_first = source.get_or("oldest_first", false, Value::boolean);
    let on_delivered = on_delivered(&source);
    let (watched, (exclude, excluded), (encoding, is_order_by_mark)) = (watched?, exclude?, encoding?);
    let config = FileSourceConfig {
        paths: watched.iter().map(|(path, _)| path.clone()).collect(),
        exclude,
        initial_position: initial_position?,
        record_delimiter: record_delimiter?,
        max_record_bytes: max_record_kb?.unsigned_abs() * 1024,
        forget_after: Duration::from_secs(forget_after_hours?.unsigned_abs() * 3600),
        on_oversize: on_oversize?,
        multiline: multiline?,
        skip_header_lines: skip_header_lines?,
        encoding,
        is_order_by_mark,
        skip_empty: skip_empty?,
        oldest_first: oldest_first?,
        on_delivered: on_delivered?,
    };
    Some(FileSource { config, watched: watched.into_iter().map(|(_, watched)| watched).collect(), excluded })
}

/// `on_delivered`, and `delete_after_seconds` that belongs to one of its choices.
fn on_delivered(source: &Map<'_>) -> Option<OnDelivered> {
    let deletes = source.get_or("on_delivered", false, |value| value.one_of(&[("keep", false), ("delete", true)]));
    let after = source.get_or("delete_after_seconds", DELETE_AFTER_DEFAULT, |value| {
        let seconds = value.whole(0..=DELETE_AFTER_MAX, " of seconds")?;
        if deletes == Some(false) {
            let help = "`on_delivered: delete` beside it, or take the key away".to_owned();
            value.problem("`delete_after_seconds` means nothing while files are kept", Some(help));
            return None;
        }
        Some(seconds)
    });
    let after = Duration::from_secs(after?.unsigned_abs());
    Some(if deletes? { OnDelivered::Delete { after } } else { OnDelivered::Keep })
}

/// `record_delimiter`, `output_delimiter` or another text put between or behind records.
pub(super) fn delimiter(value: &Value<'_>, bytes_min: usize) -> Option<String> {
    let allowed = format!("a string of {bytes_min} to {DELIMITER_BYTES_MAX} bytes");
    let text = value.string(&allowed)?;
    if text.is_unescaped() {
        let message = format!("`{}` has a backslash outside of double quotes, where it escapes nothing", value.name());
        value.problem(message, Some("in double quotes `\"\\n\"` is a line feed, `\"\\\\\"` a backslash".to_owned()));
        return None;
    }
    let text = text.check(&allowed, |text| (bytes_min..=DELIMITER_BYTES_MAX).contains(&text.len()))?;
    Some(text.text)
}

/// Each path absolute, with its matcher.
fn paths_of<'a>(paths: &Value<'a>) -> Option<Vec<(String, Watched<'a>)>> {
    let values = paths.one_or_list();
    if values.is_empty() {
        paths.problem("`paths` must have at least one glob", None);
        return None;
    }
    // All of them are looked at before the first mistake ends it.
    let watched: Vec<Option<(String, Watched<'a>)>> = values.iter().map(watched_path).collect();
    watched.into_iter().collect()
}

fn watched_path<'a>(value: &Value<'a>) -> Option<(String, Watched<'a>)> {
    let text = value.string("a path or a glob")?;
    if text.text.is_empty() || text.text.ends_with('/') {
        let message = format!("`{}` must name files, given {}", value.name(), text.shown());
        value.problem(message, Some("`/var/log/app/*.log` is every log file of a folder".to_owned()));
        return None;
    }
    let path = globs::joined(&value.environment().working_folder, &text.text);
    let glob = globs::compiled(&text, &path)?;
    let base = globs::literal_base(&path);
    if let Some((message, help)) = unreadable(&text, &path, &base) {
        value.problem(message, help);
        return None;
    }
    Some((path, Watched { text, glob, base }))
}

/// Message and help for what is there, but cannot be read. What is not there yet is the source's business.
fn unreadable(text: &Text<'_>, path: &str, base: &Path) -> Option<(String, Option<String>)> {
    const PERMISSION_HELP: &str = "the user that runs Hydrant must be allowed to read it";
    let is_refused = |error: &io::Error| error.kind() == io::ErrorKind::PermissionDenied;
    if let Err(error) = fs::read_dir(base)
        && is_refused(&error)
    {
        let message = format!("{} is unreadable: permission denied for its folder", text.shown());
        return Some((message, Some(PERMISSION_HELP.to_owned())));
    }
    let literal = globs::literal(path)?;
    let metadata = fs::metadata(&literal).ok()?;
    if metadata.is_dir() {
        let message = format!("{} is a folder, `{}` names files", text.shown(), text.value.name());
        return Some((
            message,
            Some("`/*` behind it means all files in it, `/**/*` those of its folders too".to_owned()),
        ));
    }
    let refused = metadata.is_file() && fs::File::open(&literal).is_err_and(|error| is_refused(&error));
    refused.then(|| (format!("{} is unreadable: permission denied", text.shown()), Some(PERMISSION_HELP.to_owned())))
}

fn excluded(exclude: &Value<'_>) -> Option<(Vec<String>, Excluded)> {
    let (mut globs, mut excluded, mut all_right) = (Vec::new(), Excluded::default(), true);
    for value in exclude.one_or_list() {
        let Some((glob, matcher)) = excluded_glob(&value) else {
            all_right = false;
            continue;
        };
        let kind = if glob.contains('/') { &mut excluded.whole } else { &mut excluded.names };
        kind.push(matcher);
        globs.push(glob);
    }
    all_right.then_some((globs, excluded))
}

fn excluded_glob(value: &Value<'_>) -> Option<(String, GlobSet)> {
    let text = value.string("a glob")?.check("a glob", |text| !text.is_empty())?;
    let is_anywhere = !text.text.contains('/') || text.text.starts_with("**/");
    let glob =
        if is_anywhere { text.text.clone() } else { globs::joined(&value.environment().working_folder, &text.text) };
    let matcher = globs::compiled(&text, &glob)?;
    Some((glob, matcher))
}
