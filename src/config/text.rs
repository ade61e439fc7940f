//! A scalar with its `${…}` replaced, which knows how to speak of itself.
//!
//! A value that came out of a `${…}` is named by what is written in the file, and a secret is not named at all.

use super::quoted;
use super::reader::Value;
use super::scalar::{self, Type};
use super::tree::{Kind, Style};

/// A scalar with its `${…}` replaced.
#[derive(Clone)]
pub(super) struct Text<'a> {
    pub value: Value<'a>,
    pub text: String,
    pub substituted: bool,
}

impl<'a> Text<'a> {
    /// The text itself if `is_allowed`, else an error that says what is.
    pub fn check(self, allowed: &str, is_allowed: impl Fn(&str) -> bool) -> Option<Self> {
        if is_allowed(&self.text) {
            return Some(self);
        }
        self.value.must_be(allowed, &self.given(Style::Verbatim), None);
        None
    }

    /// At a byte of the text. What the message says of the text is left out where the text came out of a `${…}`.
    pub fn problem_at(&self, offset: usize, message: String, help: Option<String>) {
        if self.substituted {
            let message = format!("`{}` breaks its rules, given {}", self.value.name(), self.shown());
            return self.value.problem(message, None);
        }
        match &self.value.node.kind {
            Kind::Scalar(scalar) if scalar.text == self.text => self.value.problem_at(offset, message, help),
            // `$$` has moved everything behind it.
            Kind::Scalar(_) | Kind::List(_) | Kind::Map(_) => self.value.problem(message, help),
        }
    }

    /// `\n` outside of double quotes is a backslash and an n: never meant.
    pub fn is_unescaped(&self) -> bool {
        let Kind::Scalar(scalar) = &self.value.node.kind else { return false };
        scalar.style != Style::DoubleQuoted && !self.substituted && self.text.contains('\\')
    }

    /// In backticks, for a message.
    pub fn shown(&self) -> String {
        match &self.value.node.kind {
            _ if self.value.is_secret() => "a secret that is not shown".to_owned(),
            Kind::Scalar(scalar) if self.substituted => format!("the value of {}", quoted(&scalar.text)),
            _ if self.text.is_empty() => "an empty string".to_owned(),
            Kind::Scalar(_) | Kind::List(_) | Kind::Map(_) => quoted(&self.text),
        }
    }

    pub fn given(&self, style: Style) -> String {
        if style != Style::Plain {
            return self.given_as("string");
        }
        match scalar::core_schema(&self.text) {
            Type::Null if !self.substituted => "nothing".to_owned(),
            Type::Null | Type::Boolean(_) | Type::Whole(_) | Type::Decimal(_) => self.shown(),
            Type::String => self.given_as("string"),
        }
    }

    pub fn given_as(&self, what: &str) -> String {
        let is_named_otherwise = self.substituted || self.text.is_empty() || self.value.is_secret();
        if is_named_otherwise { self.shown() } else { format!("the {what} {}", self.shown()) }
    }
}
