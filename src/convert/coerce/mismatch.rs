//! What is said of a value that does not fit: where it stands, what it is, and why.

use super::super::error::Misfit;
use super::super::json::Value;
use super::super::number::NumberError;
use crate::schema::Type;

/// The way from a column to a value in it, innermost step first.
pub(in super::super) struct Path<'p> {
    parent: Option<&'p Path<'p>>,
    step: Step<'p>,
}

enum Step<'p> {
    Name(&'p str),
    Index(usize),
}

impl<'p> Path<'p> {
    pub(in super::super) fn column(name: &'p str) -> Self {
        Self { parent: None, step: Step::Name(name) }
    }

    pub(super) fn name(&'p self, name: &'p str) -> Path<'p> {
        Path { parent: Some(self), step: Step::Name(name) }
    }

    pub(super) fn index(&'p self, index: usize) -> Path<'p> {
        Path { parent: Some(self), step: Step::Index(index) }
    }
}

impl std::fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(parent) = self.parent {
            parent.fmt(f)?;
        }
        match self.step {
            Step::Name(name) if self.parent.is_some() => write!(f, ".{name}"),
            Step::Name(name) => f.write_str(name),
            Step::Index(index) => write!(f, "[{index}]"),
        }
    }
}

/// What most of a mismatch is made of; the path is added where it is known.
pub(super) struct Reason {
    /// The text without the value.
    cause: &'static str,
    text: String,
}

impl Reason {
    pub(super) fn new(cause: &'static str, text: String) -> Self {
        Self { cause, text }
    }
}

impl From<&'static str> for Reason {
    fn from(reason: &'static str) -> Self {
        Self::new(reason, reason.to_owned())
    }
}

pub(super) fn number_reason(text: &str, error: NumberError) -> Reason {
    match error {
        NumberError::Text => Reason::new("no number", format!("For input string: {}", shown(text))),
        NumberError::Fraction => Reason::new("no integer", format!("{} is no integer", shown(text))),
        NumberError::Range => Reason::new("out of range", format!("{} is out of range", shown(text))),
    }
}

/// The OpenX deserializer's own words.
pub(super) fn not_an_object(value: &Value<'_>) -> Reason {
    let (class, text) = match value {
        Value::Number(text) if text.contains(['.', 'e', 'E']) => ("java.lang.Double", *text),
        Value::Number(text) => ("java.lang.Long", *text),
        Value::String(text) => ("java.lang.String", text.as_ref()),
        Value::Bool(true) => ("java.lang.Boolean", "true"),
        Value::Bool(false) => ("java.lang.Boolean", "false"),
        Value::Null | Value::Array(_) | Value::Object(_) => ("java.lang.Object", ""),
    };
    Reason::new("no object", format!("Data is not JSONObject  but {class} with value {}", cut(text)))
}

/// In quotes, and not all of it if it is long: the envelope has the record.
pub(super) fn shown(text: &str) -> String {
    format!("\"{}\"", cut(text))
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

pub(super) fn mismatch(path: &Path<'_>, data_type: &Type, value: &Value<'_>, reason: Reason) -> Misfit {
    let Reason { cause, text: reason } = reason;
    Misfit::Value { path: path.to_string(), data_type: data_type.to_string(), kind: value.kind(), cause, reason }
}
