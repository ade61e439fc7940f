//! Sample records for a schema, read as the conversion reads JSON.

use crate::schema::Sample;

use super::fast;
use super::json::{JsonError, Parser, Value};

/// The values of one record, one after another. Behind what is no JSON, or no object, there are no more: nobody can tell where
/// the next one begins.
pub struct Samples<'a> {
    record: &'a [u8],
    at: usize,
}

/// Why the rest of a record is no JSON.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no JSON: at byte {at}: {reason}")]
pub struct NoSample {
    /// From 1.
    pub at: usize,
    pub reason: &'static str,
}

impl<'a> Samples<'a> {
    pub fn new(record: &'a [u8]) -> Self {
        Self { record, at: 0 }
    }
}

impl Iterator for Samples<'_> {
    type Item = Result<Sample, NoSample>;

    fn next(&mut self) -> Option<Self::Item> {
        self.at = fast::skip_blanks(self.record, self.at, self.record.len());
        if self.at >= self.record.len() {
            return None;
        }
        let mut parser = Parser::new(self.record, self.at);
        let value = parser.value(0);
        self.at = if let Ok(Value::Object(_)) = value { parser.at } else { self.record.len() };
        Some(value.map(sample).map_err(|JsonError { at, reason }| NoSample { at: at + 1, reason }))
    }
}

fn sample(value: Value<'_>) -> Sample {
    match value {
        Value::Null => Sample::Null,
        Value::Bool(value) => Sample::Boolean(value),
        Value::Number(text) => number(text),
        Value::String(text) => Sample::Text(text.into_owned()),
        Value::Array(items) => Sample::Array(items.into_iter().map(sample).collect()),
        Value::Object(members) => {
            Sample::Object(members.into_iter().map(|(name, value)| (name.into_owned(), sample(value))).collect())
        }
    }
}

fn number(text: &str) -> Sample {
    if let Ok(integer) = text.parse() {
        return Sample::Integer(integer);
    }
    if let Ok(large) = text.parse() {
        return Sample::Large(large);
    }
    match text.parse::<f64>() {
        Ok(fraction) if fraction.is_finite() => Sample::Fraction(fraction),
        Ok(_) | Err(_) => Sample::Immense(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_written_as_it_was_read() {
        let text = r#"{"b":1,"a":[null,true,-1.5,18446744073709551615,"x"],"A":{}}"#;
        let sample = Samples::new(text.as_bytes()).next().unwrap().unwrap();
        assert_eq!(serde_json::to_string(&sample).unwrap(), text);
    }

    #[test]
    fn a_record_is_read_up_to_what_is_no_object() {
        let read = |text: &str| Samples::new(text.as_bytes()).collect::<Vec<_>>();
        let object = |value| Ok(Sample::Object(vec![(String::from("a"), value)]));
        assert_eq!(read(" "), []);
        assert_eq!(read(r#"{"a":1} {"a":-0}"#), [object(Sample::Integer(1)), object(Sample::Integer(0))]);
        assert_eq!(read(r#"{"a":1E400}"#), [object(Sample::Immense(String::from("1E400")))]);
        assert_eq!(
            read(r#"{"a":1}[1]{"a":1}"#),
            [object(Sample::Integer(1)), Ok(Sample::Array(vec![Sample::Integer(1)]))]
        );
        let lone = NoSample { at: 7, reason: "half of a surrogate pair stands alone" };
        assert_eq!(read(r#"{"a":"\ud800"}{"a":1}"#), [Err(lone.clone())]);
        assert_eq!(lone.to_string(), "no JSON: at byte 7: half of a surrogate pair stands alone");
    }
}
