//! `single_line`: joins the lines of a multi-line record.
//!
//! Invariant: each line break (LF, or CR LF) becomes one separator, also where lines are empty, so that with `trim: false`
//! and a separator that occurs nowhere else the lines can be told apart again.

use serde::Serialize;

use super::pipeline::OUTPUT_BYTES_MAX;
use super::{Failure, Origin, Processor, Records};

/// Joins the lines of a multi-line record. The agent's SINGLELINE is `separator: ""`, its ESCAPE_NEW_LINE
/// `separator: '\\n'` (in single quotes, so two backslashes and an n), its NO_TRIM `trim: false`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SingleLineConfig {
    /// Whether white space at both ends of each line is left out.
    pub trim: bool,
    /// What stands between two lines instead of the line break; a space by default, so that words stay apart.
    pub separator: String,
}

impl Default for SingleLineConfig {
    fn default() -> Self {
        Self { trim: true, separator: String::from(" ") }
    }
}

pub(super) struct SingleLine {
    config: SingleLineConfig,
}

impl SingleLine {
    pub fn new(config: SingleLineConfig) -> Self {
        Self { config }
    }
}

impl Processor for SingleLine {
    fn process(&self, record: &[u8], _: &Origin<'_>, out: &mut Records) -> Result<(), Failure> {
        let mut start = 0;
        let bytes_before = out.bytes();
        for line_feed in memchr::memchr_iter(b'\n', record) {
            out.append(self.line(&record[start..line_feed]));
            out.append(self.config.separator.as_bytes());
            start = line_feed + 1;
            // Many empty lines and a long separator would be more than memory holds.
            if out.bytes() - bytes_before > OUTPUT_BYTES_MAX {
                let limit = OUTPUT_BYTES_MAX >> 20;
                return Err(Failure::new(format!("the record's lines are more than {limit} MB when joined")));
            }
        }
        out.append(self.line(&record[start..]));
        out.end()
    }
}

impl SingleLine {
    fn line<'a>(&self, line: &'a [u8]) -> &'a [u8] {
        if self.config.trim { line.trim_ascii() } else { line.strip_suffix(b"\r").unwrap_or(line) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::testing::one;
    use super::*;

    const TRACE: &[u8] = b"Exception in main\r\n\tat a.b(C.java:1)\r\n\r\n  at d.e(F.java:2) \r";

    fn joined(trim: bool, separator: &str, record: &[u8]) -> String {
        one(&SingleLine::new(SingleLineConfig { trim, separator: separator.to_owned() }), record).unwrap()
    }

    #[test]
    fn lines_are_trimmed_and_joined() {
        let default = SingleLine::new(SingleLineConfig::default());
        assert_eq!(one(&default, TRACE).unwrap(), "Exception in main at a.b(C.java:1)  at d.e(F.java:2)");
        assert_eq!(one(&default, b" single ").unwrap(), "single");
        assert_eq!(one(&default, b"").unwrap(), "");
    }

    #[test]
    fn the_agents_options_can_be_had() {
        assert_eq!(joined(true, "", b"a \n b"), "ab");
        assert_eq!(joined(false, "", b"a \n b"), "a  b");
        assert_eq!(joined(true, r"\\n", b"a \r\n b"), r"a\\nb");
    }

    #[test]
    fn a_carriage_return_belongs_to_its_line_break() {
        assert_eq!(joined(false, "|", TRACE), "Exception in main|\tat a.b(C.java:1)||  at d.e(F.java:2) ");
        assert_eq!(joined(false, "|", b"progress 1%\rprogress 2%\n"), "progress 1%\rprogress 2%|");
    }

    #[test]
    fn a_record_that_grows_too_much_fails() {
        let long = SingleLine::new(SingleLineConfig { trim: true, separator: "-".repeat(1 << 20) });
        assert_eq!(one(&long, &[b'\n'; 63]).unwrap().len(), 63 << 20);
        let reason = one(&long, &[b'\n'; 100]).unwrap_err();
        assert_eq!(reason, "the record's lines are more than 64 MB when joined");
    }

    proptest! {
        #[test]
        fn untrimmed_lines_can_be_told_apart_again(lines in prop::collection::vec("[a-z ]{0,5}", 1..8)) {
            let record = lines.join("\n");
            let split: Vec<_> = joined(false, "|", record.as_bytes()).split('|').map(str::to_owned).collect();
            prop_assert_eq!(split, lines);
        }
    }
}
