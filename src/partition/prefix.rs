//! Prefix expressions: `!{namespace:value}` in the prefixes of objects and of error outputs.
//!
//! What must always hold: every expression of one evaluation tells the same instant; a parsed template evaluates
//! without failing, to at most 512 bytes, with neither a `..` component nor a leading `/`. Expressions end at their first `}`,
//! even in quotes. An empty prefix counts as none.

mod index;

pub(super) use index::{INDEX_BYTES_MAX, index_part};
pub use index::{IndexTemplate, Rotation, is_index_name};

use std::collections::BTreeSet;

use serde::{Serialize, Serializer};

use super::java_time::{Moment, TimePattern};
use super::key::RANDOM_CHARS;
use super::{PrefixError, TimeZoneName, listed, nearest};

/// What can stand for `!{firehose:error-output-type}`.
pub const ERROR_OUTPUT_TYPES: [&str; 7] = [
    "processing-failed",
    "format-conversion-failed",
    "AmazonOpenSearchService-failed",
    "splunk-failed",
    "http-endpoint-failed",
    "metadata-extraction-failed",
    "decompression-failed",
];

const CHARS_MAX: usize = 1024;
/// Firehose says characters. S3 counts a key's bytes, 1,024 of them, and the suffix needs its own.
const EVALUATED_BYTES_MAX: usize = 512;
const NAMESPACES: [&str; 5] =
    ["timestamp", "firehose", "partitionKeyFromQuery", "partitionKeyFromLambda", "recordTime"];
const RANDOM_STRING: &str = "random-string";
const ERROR_OUTPUT_TYPE: &str = "error-output-type";
const DEFAULT_TIME: &str = "!{timestamp:yyyy/MM/dd/HH}/";

/// Which expressions are allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PrefixKind {
    /// Of a destination's or a backup's objects.
    Prefix,
    /// Of failed records' objects.
    ErrorOutput,
    /// The name of an index.
    Index,
}

/// A prefix, ready to be evaluated.
#[derive(Debug, Clone, PartialEq)]
pub struct PrefixTemplate {
    text: String,
    pieces: Vec<Piece>,
    dynamic: Vec<(usize, Dynamic)>,
}

/// An expression whose value comes from the record: it decides to which partition the record belongs.
#[derive(Debug, Clone, PartialEq)]
pub enum Dynamic {
    /// `!{partitionKeyFromQuery:name}`.
    Query(String),
    /// `!{partitionKeyFromLambda:name}`: set by a transform.
    Lambda(String),
    /// `!{recordTime:pattern}`.
    RecordTime(RecordTimePattern),
}

impl Dynamic {
    /// A text as its values are in their slashes and dots: those of keys are never empty, and never only dots.
    fn like(&self) -> String {
        match self {
            Self::Query(_) | Self::Lambda(_) => String::from("D"),
            Self::RecordTime(pattern) => pattern.0.longest(),
        }
    }
}

/// How the time of a record is written.
#[derive(Debug, Clone, PartialEq)]
pub struct RecordTimePattern(TimePattern);

impl RecordTimePattern {
    /// `at` in `zone`, written as the pattern says.
    pub fn print(&self, at: jiff::Timestamp, zone: &TimeZoneName) -> String {
        let mut out = String::new();
        self.0.print(&Moment::new(at, zone), &mut out);
        out
    }

    /// Microseconds since 1970 likewise. `None` outside of the years -9999 to 9999.
    pub fn print_micros(&self, micros: i64, zone: &TimeZoneName) -> Option<String> {
        let mut out = String::new();
        self.0.print(&Moment::of_micros(micros, zone)?, &mut out);
        Some(out)
    }
}

#[derive(Debug, Clone, PartialEq)]
enum Piece {
    Literal(String),
    Time(TimePattern),
    RandomString,
    ErrorOutputType,
    /// In place of it stands the value with that number, which is like this text in its slashes and dots.
    Dynamic(usize, String),
}

impl PrefixTemplate {
    /// Takes the text as it is; the defaults are the business of `for_destination` and `for_error_output`.
    pub fn parse(text: &str, kind: PrefixKind) -> Result<Self, PrefixError> {
        check_text(text)?;
        let Pieces { pieces, dynamic } = pieces(text, kind)?;
        check_evaluated(&pieces)?;
        let pieces = pieces.into_iter().map(|(_, piece)| piece).collect();
        let template = Self { text: text.to_owned(), pieces, dynamic };
        if kind == PrefixKind::ErrorOutput && template.has_expressions() && !template.has_error_output_type() {
            let message = "an error output prefix with expressions must contain `!{firehose:error-output-type}`";
            let help = "add it, for example `errors/!{firehose:error-output-type}/!{timestamp:yyyy/MM/dd}/`";
            return Err(PrefixError::new(0, message, help));
        }
        Ok(template)
    }

    /// The destination's prefix as Firehose completes it: none is the time `yyyy/MM/dd/HH/`, one without any expression
    /// gets that time behind it (no slash is put between), one with expressions stays as it is.
    pub fn for_destination(given: Option<&str>) -> Result<Self, PrefixError> {
        let given = Self::parse(given.unwrap_or_default(), PrefixKind::Prefix)?;
        if given.has_expressions() {
            return Ok(given);
        }
        Self::parse_completed(&given.text, DEFAULT_TIME, PrefixKind::Prefix)
    }

    /// The error output's prefix: as given, without any time added; if none is, `<prefix><type>/yyyy/MM/dd/HH/`.
    ///
    /// `destination_prefix` is the destination's as it was given, not completed. A mistake in it is returned with its
    /// place in it, as `for_destination` does.
    pub fn for_error_output(given: Option<&str>, destination_prefix: Option<&str>) -> Result<Self, PrefixError> {
        if let Some(given) = given.filter(|given| !given.is_empty()) {
            return Self::parse(given, PrefixKind::ErrorOutput);
        }
        let prefix = Self::parse(destination_prefix.unwrap_or_default(), PrefixKind::Prefix)?;
        if prefix.has_expressions() {
            let message = "an error output prefix is needed, because the prefix contains expressions";
            let help = "set it, for example to `errors/!{firehose:error-output-type}/!{timestamp:yyyy/MM/dd}/`";
            return Err(PrefixError::new(0, message, help));
        }
        let completion = format!("!{{firehose:{ERROR_OUTPUT_TYPE}}}/{DEFAULT_TIME}");
        Self::parse_completed(&prefix.text, &completion, PrefixKind::ErrorOutput)
    }

    /// The text as it was given and completed.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether the text has any expression, one from its completion too.
    pub fn has_expressions(&self) -> bool {
        self.pieces.iter().any(|piece| !matches!(piece, Piece::Literal(_)))
    }

    /// The expressions whose values come from records, each once, with its first place in the text.
    pub fn dynamic(&self) -> impl ExactSizeIterator<Item = (usize, &Dynamic)> {
        self.dynamic.iter().map(|(offset, dynamic)| (*offset, dynamic))
    }

    /// Whether some of those values are set by transforms.
    pub fn needs_transform_keys(&self) -> bool {
        self.dynamic.iter().any(|(_, dynamic)| matches!(dynamic, Dynamic::Lambda(_)))
    }

    /// The folders of the prefix and the beginning of the object's name: how long each may be, and which values of keys, by their
    /// numbers in [`PrefixTemplate::dynamic`], make it longer. Everything else counts with its longest text.
    pub fn components(&self) -> Vec<(usize, Vec<usize>)> {
        let mut components = vec![(0, Vec::new())];
        let mut last = 0;
        for piece in &self.pieces {
            if let Piece::Dynamic(index, _) = piece
                && !matches!(self.dynamic[*index].1, Dynamic::RecordTime(_))
            {
                components[last].1.push(*index);
                continue;
            }
            for (number, part) in piece.longest().split('/').enumerate() {
                if number > 0 {
                    components.push((0, Vec::new()));
                    last += 1;
                }
                components[last].0 += part.len();
            }
        }
        components
    }

    /// Names before the `=` of folders, as Hive has them: `day=!{timestamp:yyyy-MM-dd}/`.
    pub fn hive_columns(&self) -> Vec<String> {
        let like: String = self.pieces.iter().map(Piece::longest).collect();
        // What stands behind the last `/` is the beginning of the object's name.
        let folders = like.rsplit_once('/').map_or("", |(folders, _)| folders);
        let names = folders.split('/').filter_map(|folder| folder.split_once('='));
        names.map(|(name, _)| name.to_owned()).filter(|name| !name.is_empty()).collect()
    }

    /// The prefix of one object. `at` is the arrival of its oldest record; `error_type` one of [`ERROR_OUTPUT_TYPES`]
    /// for an error output, `None` for other objects, whose templates do not ask for it. `random` gives the random strings,
    /// a new one for each occurrence. `values` are those of [`PrefixTemplate::dynamic`], in that order, escaped.
    pub fn evaluate(
        &self,
        at: jiff::Timestamp,
        zone: &TimeZoneName,
        error_type: Option<&str>,
        values: &[String],
        random: &mut dyn FnMut() -> String,
    ) -> String {
        let moment = Moment::new(at, zone);
        let mut out = String::new();
        for piece in &self.pieces {
            match piece {
                Piece::Literal(text) => out.push_str(text),
                Piece::Time(pattern) => pattern.print(&moment, &mut out),
                Piece::RandomString => out.push_str(&random()),
                Piece::ErrorOutputType => out.push_str(error_type.unwrap_or_default()),
                Piece::Dynamic(index, _) => out.push_str(values.get(*index).map_or("", String::as_str)),
            }
        }
        out
    }

    /// Where in a key such a prefix may end, with one of these error output types in it. There may be more places than there have
    /// been prefixes, never fewer. Templates of error outputs have no values of keys.
    pub fn ends(&self, key: &str, error_types: &[&str]) -> BTreeSet<usize> {
        let mut ends = BTreeSet::from([0]);
        for piece in &self.pieces {
            let from = |at: usize| -> BTreeSet<usize> {
                let rest = key.get(at..).unwrap_or_default();
                let behind = |text: &str| rest.starts_with(text).then(|| at + text.len());
                match piece {
                    Piece::Literal(text) => behind(text).into_iter().collect(),
                    Piece::Time(pattern) => pattern.ends(key, at),
                    Piece::RandomString => {
                        let random = rest.get(..RANDOM_CHARS);
                        random.filter(|text| text.bytes().all(|c| c.is_ascii_alphanumeric())).and_then(behind)
                    }
                    .into_iter()
                    .collect(),
                    Piece::ErrorOutputType => error_types.iter().filter_map(|name| behind(name)).collect(),
                    Piece::Dynamic(..) => BTreeSet::new(),
                }
            };
            ends = ends.into_iter().flat_map(from).collect();
        }
        ends
    }

    fn has_error_output_type(&self) -> bool {
        self.pieces.contains(&Piece::ErrorOutputType)
    }

    /// The limit of a text's length counts for what was given alone, so it is not looked at again.
    fn parse_completed(given: &str, completion: &str, kind: PrefixKind) -> Result<Self, PrefixError> {
        let text = format!("{given}{completion}");
        let Pieces { pieces, dynamic } = pieces(&text, kind)?;
        check_evaluated(&pieces).map_err(|error| PrefixError { offset: error.offset.min(given.len()), ..error })?;
        Ok(Self { text, pieces: pieces.into_iter().map(|(_, piece)| piece).collect(), dynamic })
    }
}

impl Serialize for PrefixTemplate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl Piece {
    /// A text at least as long as what the piece can become, and like it in its slashes and dots.
    fn longest(&self) -> String {
        match self {
            Self::Literal(text) => text.clone(),
            Self::Time(pattern) => pattern.longest(),
            Self::RandomString => "R".repeat(11),
            Self::Dynamic(_, like) => like.clone(),
            Self::ErrorOutputType => {
                ERROR_OUTPUT_TYPES.iter().max_by_key(|name| name.len()).copied().unwrap_or_default().to_owned()
            }
        }
    }
}

fn check_text(text: &str) -> Result<(), PrefixError> {
    if let Some((offset, _)) = text.char_indices().nth(CHARS_MAX) {
        let message = format!("the prefix is longer than {CHARS_MAX} characters");
        return Err(PrefixError::new(offset, message, "shorten it; once evaluated it may have 512 bytes at most"));
    }
    if let Some((offset, c)) = text.char_indices().find(|(_, c)| c.is_control()) {
        let message = format!("the prefix contains the control character `{}`", c.escape_default());
        return Err(PrefixError::new(offset, message, "remove it"));
    }
    check_components(text).map_err(|(offset, message, help)| PrefixError::new(offset, message, help))
}

fn check_components(text: &str) -> Result<(), (usize, &'static str, &'static str)> {
    if text.starts_with('/') {
        let help = "remove the first `/`: it would make a folder without a name";
        return Err((0, "the prefix begins with `/`", help));
    }
    let mut offset = 0;
    for component in text.split('/') {
        if matches!(component, "." | "..") {
            let help = "write the path without `.` and `..`: a prefix cannot leave its bucket or folder";
            return Err((offset, "the prefix has a folder `.` or `..`", help));
        }
        offset += component.len() + 1;
    }
    Ok(())
}

/// What quotes in a time pattern and neighbouring expressions make must keep to the rules for text, too.
fn check_evaluated(pieces: &[(usize, Piece)]) -> Result<(), PrefixError> {
    let mut evaluated = String::new();
    let mut starts = Vec::new(); // of each piece, there and in the text
    for (offset, piece) in pieces {
        starts.push((evaluated.len(), *offset));
        evaluated.push_str(&piece.longest());
    }
    let in_text =
        |place: usize| starts.iter().rev().find(|(start, _)| *start <= place).map_or(0, |(_, offset)| *offset);
    if evaluated.len() > EVALUATED_BYTES_MAX {
        let message = format!("the prefix can become {} bytes long when it is evaluated", evaluated.len());
        let help = format!("shorten it: {EVALUATED_BYTES_MAX} bytes are the limit, whatever the time and its zone");
        return Err(PrefixError::new(in_text(EVALUATED_BYTES_MAX), message, help));
    }
    check_components(&evaluated).map_err(|(place, message, help)| {
        PrefixError::new(in_text(place), format!("{message} when it is evaluated"), help)
    })
}

/// A text in pieces, each with its place.
#[derive(Default)]
struct Pieces {
    pieces: Vec<(usize, Piece)>,
    dynamic: Vec<(usize, Dynamic)>,
}

enum Expression {
    Static(Piece),
    Dynamic(Dynamic),
}

fn pieces(text: &str, kind: PrefixKind) -> Result<Pieces, PrefixError> {
    let mut all = Pieces::default();
    let mut position = 0;
    while position < text.len() {
        let literal_end = text[position..].find("!{").map_or(text.len(), |found| position + found);
        if literal_end > position {
            all.pieces.push((position, Piece::Literal(text[position..literal_end].to_owned())));
        }
        if literal_end == text.len() {
            break;
        }
        let inner = literal_end + 2;
        let end = expression_end(text, inner)?;
        let piece = match expression(&text[inner..end], inner, kind)? {
            Expression::Static(piece) => piece,
            Expression::Dynamic(dynamic) => {
                let like = dynamic.like();
                Piece::Dynamic(all.index_of(inner, dynamic), like)
            }
        };
        all.pieces.push((literal_end, piece));
        position = end + 1;
    }
    Ok(all)
}

impl Pieces {
    fn index_of(&mut self, offset: usize, dynamic: Dynamic) -> usize {
        self.dynamic.iter().position(|(_, known)| *known == dynamic).unwrap_or_else(|| {
            self.dynamic.push((offset, dynamic));
            self.dynamic.len() - 1
        })
    }
}

/// Where the expression's `}` is.
fn expression_end(text: &str, inner: usize) -> Result<usize, PrefixError> {
    let end = text[inner..].find('}').map(|found| inner + found);
    if let Some(nested) = text[inner..end.unwrap_or(text.len())].find("!{") {
        let help = "end the expression before it with `}`; expressions cannot stand in one another, nor be quoted";
        return Err(PrefixError::new(inner + nested, "`!{` may only begin an expression", help));
    }
    end.ok_or_else(|| {
        let help = "end it with `}`, for example `!{timestamp:yyyy}`; `!{` cannot be text";
        PrefixError::new(inner - 2, "the expression is not closed", help)
    })
}

/// `body` is what stands between `!{` and `}`, at `offset`.
fn expression(body: &str, offset: usize, kind: PrefixKind) -> Result<Expression, PrefixError> {
    let Some((namespace, value)) = body.split_once(':') else {
        let help = "an expression is `!{namespace:value}`, for example `!{timestamp:yyyy}`";
        return Err(PrefixError::new(offset, format!("the expression `{body}` has no `:`"), help));
    };
    let value_offset = offset + namespace.len() + 1;
    match namespace {
        "timestamp" => Ok(Expression::Static(Piece::Time(time_pattern(value, value_offset)?))),
        "firehose" => Ok(Expression::Static(firehose(value, value_offset, kind)?)),
        "partitionKeyFromQuery" | "partitionKeyFromLambda" | "recordTime" if kind == PrefixKind::ErrorOutput => {
            let message = format!("`{namespace}` is not allowed in an error output prefix");
            Err(PrefixError::new(offset, message, "remove it: failed records have no partition keys"))
        }
        "recordTime" => {
            Ok(Expression::Dynamic(Dynamic::RecordTime(RecordTimePattern(time_pattern(value, value_offset)?))))
        }
        "partitionKeyFromQuery" => Ok(Expression::Dynamic(Dynamic::Query(key_name(value, value_offset)?))),
        "partitionKeyFromLambda" => Ok(Expression::Dynamic(Dynamic::Lambda(key_name(value, value_offset)?))),
        _ => {
            let help = match nearest(namespace, NAMESPACES) {
                Some(known) => format!("did you mean `{known}`?"),
                None => format!("the namespaces are {}", listed(&NAMESPACES)),
            };
            Err(PrefixError::new(offset, format!("unknown namespace `{namespace}`"), help))
        }
    }
}

fn firehose(value: &str, offset: usize, kind: PrefixKind) -> Result<Piece, PrefixError> {
    match (value, kind) {
        (_, PrefixKind::Index) => {
            let message = "`firehose` is not allowed in the name of an index";
            Err(PrefixError::new(offset - "firehose:".len(), message, "times and partition keys are"))
        }
        (RANDOM_STRING, _) => Ok(Piece::RandomString),
        (ERROR_OUTPUT_TYPE, PrefixKind::ErrorOutput) => Ok(Piece::ErrorOutputType),
        (ERROR_OUTPUT_TYPE, PrefixKind::Prefix) => {
            let message = format!("`{ERROR_OUTPUT_TYPE}` is allowed in an error output prefix only");
            Err(PrefixError::new(offset, message, "remove it here: delivered records have no error"))
        }
        _ => {
            let known = [RANDOM_STRING, ERROR_OUTPUT_TYPE];
            let help = match nearest(value, known) {
                Some(known) => format!("did you mean `{known}`?"),
                None => format!("the values are {}", listed(&known)),
            };
            Err(PrefixError::new(offset, format!("unknown value `{value}` of the namespace `firehose`"), help))
        }
    }
}

fn time_pattern(value: &str, offset: usize) -> Result<TimePattern, PrefixError> {
    TimePattern::parse(value).map_err(|error| PrefixError { offset: offset + error.offset, ..error })
}

fn key_name(value: &str, offset: usize) -> Result<String, PrefixError> {
    if value.is_empty() {
        let help = "write the key's name behind the `:`, for example `!{partitionKeyFromQuery:customer}`";
        return Err(PrefixError::new(offset, "the partition key has no name", help));
    }
    Ok(value.to_owned())
}

#[cfg(test)]
mod rules;
