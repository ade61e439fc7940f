//! `add_brackets`: Kinesis Agent's ADDBRACKETS, for programs that write the members of an object without its braces.
//!
//! Invariant: the record's text is unchanged between the braces. What is in it is not looked at: `json` behind it checks it.

use super::{Failure, Origin, Processor, Records};

/// Puts `{` before and `}` behind each record.
pub(super) struct AddBrackets;

impl Processor for AddBrackets {
    fn process(&self, record: &[u8], _: &Origin<'_>, out: &mut Records) -> Result<(), Failure> {
        out.append(b"{");
        out.append(record.strip_suffix(b"\n").unwrap_or(record));
        out.append(b"}");
        out.end()
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::one;
    use super::*;

    #[test]
    fn a_record_gets_braces_around_it() {
        for (record, expected) in [(r#""a":1"#, r#"{"a":1}"#), ("", "{}"), ("x\n", "{x}"), ("x\ny\n\n", "{x\ny\n}")] {
            assert_eq!(one(&AddBrackets, record.as_bytes()).unwrap(), expected);
        }
    }
}
