//! Positions as the database keeps them: an integer, and a text that is ordered as sequence numbers are.
//!
//! The text is empty in files; else how many digits there are, in three of them, and the digits.

use crate::record::Position;
use crate::sequence_number::SequenceNumber;

/// How many digits say how many there are.
const LENGTH_DIGITS: usize = 3;

/// Offset and sequence number.
pub(super) fn columns(position: Position) -> (i64, String) {
    (position.offset() as i64, sequence_text(position.sequence_number()))
}

/// The opposite of [`columns`]; `None` for a text that is none of these.
pub(super) fn position(offset: i64, sequence_number: &str) -> Option<Position> {
    if sequence_number.is_empty() {
        return Some(Position::at(offset as u64));
    }
    let number = sequence_number.get(LENGTH_DIGITS..)?.parse().ok()?;
    (sequence_text(number) == sequence_number).then(|| Position::of_parts(number, offset as u64))
}

fn sequence_text(number: SequenceNumber) -> String {
    if number.is_zero() {
        return String::new();
    }
    let digits = number.to_string();
    format!("{:0LENGTH_DIGITS$}{digits}", digits.len())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn place() -> impl Strategy<Value = Position> {
        ("0|[1-9][0-9]{0,128}", 0u64..1 << 62)
            .prop_map(|(number, offset)| Position::of_parts(number.parse().unwrap(), offset))
    }

    proptest! {
        #[test]
        fn positions_survive_and_keep_their_order(one in place(), other in place()) {
            let (kept_one, kept_other) = (columns(one), columns(other));
            prop_assert_eq!(position(kept_one.0, &kept_one.1), Some(one));
            prop_assert_eq!((kept_one.1, kept_one.0).cmp(&(kept_other.1, kept_other.0)), one.cmp(&other));
        }
    }

    #[test]
    fn what_is_no_sequence_number_is_refused() {
        for text in ["1", "05", "056", "003x12", "é123"] {
            assert_eq!(position(1, text), None, "{text}");
        }
    }
}
