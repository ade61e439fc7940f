//! `append_delimiter`: Firehose's AppendDelimiterToRecord.
//!
//! Invariant: what leaves ends with the delimiter, and a record that ended with it is unchanged.

use serde::Serialize;

use super::{ConfigError, Failure, Origin, Processor, Records};

/// Ends each record with a delimiter. Only needed where `output_delimiter` is another one or empty.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AppendDelimiterConfig {
    /// Appended to a record that does not end with it already; a line feed by default.
    pub delimiter: String,
}

impl Default for AppendDelimiterConfig {
    fn default() -> Self {
        Self { delimiter: String::from("\n") }
    }
}

pub(super) struct AppendDelimiter {
    delimiter: Vec<u8>,
}

impl AppendDelimiter {
    pub fn new(config: AppendDelimiterConfig) -> Result<Self, ConfigError> {
        if config.delimiter.is_empty() {
            return Err(ConfigError::new("delimiter", "`delimiter` must not be empty"));
        }
        Ok(Self { delimiter: config.delimiter.into_bytes() })
    }
}

impl Processor for AppendDelimiter {
    fn process(&self, record: &[u8], _: &Origin<'_>, out: &mut Records) -> Result<(), Failure> {
        out.append(record);
        if !record.ends_with(&self.delimiter) {
            out.append(&self.delimiter);
        }
        out.end()
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::one;
    use super::*;

    #[test]
    fn a_record_ends_with_the_delimiter_once() {
        let lines = AppendDelimiter::new(AppendDelimiterConfig::default()).unwrap();
        for (record, expected) in [("a", "a\n"), ("a\n", "a\n"), ("", "\n"), ("a\nb", "a\nb\n")] {
            assert_eq!(one(&lines, record.as_bytes()).unwrap(), expected);
        }
        let crlf = AppendDelimiter::new(AppendDelimiterConfig { delimiter: "\r\n".into() }).unwrap();
        assert_eq!(one(&crlf, b"a\n").unwrap(), "a\n\r\n");
    }

    #[test]
    fn an_empty_delimiter_is_a_mistake() {
        let error = AppendDelimiter::new(AppendDelimiterConfig { delimiter: String::new() }).err().unwrap();
        assert_eq!((error.key, error.message.as_str()), ("delimiter", "`delimiter` must not be empty"));
    }
}
