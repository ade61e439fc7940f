//! `skip_empty`: drops records without content, for the source option of that name.
//!
//! Invariant: a record is dropped only if it has no bytes, or a lone carriage return of a CR LF line end.

use super::{Failure, Origin, Processor, Records};

pub(super) struct SkipEmpty;

impl Processor for SkipEmpty {
    fn process(&self, record: &[u8], _: &Origin<'_>, out: &mut Records) -> Result<(), Failure> {
        if matches!(record, b"" | b"\r") { Ok(()) } else { out.push(record) }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::all;
    use super::*;

    #[test]
    fn only_empty_lines_are_dropped() {
        for empty in [&b""[..], b"\r"] {
            assert_eq!(all(&SkipEmpty, empty).unwrap(), [""; 0]);
        }
        for kept in [" ", "a", "\r\r", "\n", "\0"] {
            assert_eq!(all(&SkipEmpty, kept.as_bytes()).unwrap(), [kept]);
        }
    }
}
