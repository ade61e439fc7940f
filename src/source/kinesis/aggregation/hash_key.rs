//! Hash keys, which say to which shard a record belongs.

use super::md5;

/// The hash key of a record without an explicit one.
pub fn hash_of(partition_key: &str) -> u128 {
    u128::from_be_bytes(md5(partition_key.as_bytes()))
}

/// A text that is no whole number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NotANumber;

/// An explicit hash key as the KCL reads it: a decimal number, maybe with a sign and leading zeros; `None` if it is below 0 or
/// above 2¹²⁸ − 1, which is in the range of no shard.
pub(super) fn explicit(key: &[u8]) -> Result<Option<u128>, NotANumber> {
    let (is_negative, digits) = match key {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(NotANumber);
    }
    let add = |number: u128, digit: &u8| number.checked_mul(10)?.checked_add(u128::from(digit - b'0'));
    Ok(digits.iter().try_fold(0, add).filter(|number| !is_negative || *number == 0))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_partition_key_has_the_services_hash() {
        // What `echo -n 123 | md5sum` prints.
        assert_eq!(hash_of("123"), 0x202c_b962_ac59_075b_964b_0715_2d23_4b70);
        assert_eq!(hash_of(""), 0xd41d_8cd9_8f00_b204_e980_0998_ecf8_427e);
    }

    #[test]
    fn explicit_hash_keys_are_whole_numbers() {
        let table: [(&str, Result<Option<u128>, NotANumber>); 14] = [
            ("0", Ok(Some(0))),
            ("-0", Ok(Some(0))),
            ("007", Ok(Some(7))),
            ("+7", Ok(Some(7))),
            ("340282366920938463463374607431768211455", Ok(Some(u128::MAX))),
            ("340282366920938463463374607431768211456", Ok(None)),
            (&"9".repeat(1000), Ok(None)),
            ("-1", Ok(None)),
            ("", Err(NotANumber)),
            ("-", Err(NotANumber)),
            ("+-1", Err(NotANumber)),
            ("1 ", Err(NotANumber)),
            ("0x1", Err(NotANumber)),
            (&("9".repeat(1000) + "a"), Err(NotANumber)),
        ];
        for (text, expected) in table {
            assert_eq!(explicit(text.as_bytes()), expected, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn numbers_are_themselves(number: u128, zeros in 0usize..50) {
            prop_assert_eq!(explicit(format!("{}{number}", "0".repeat(zeros)).as_bytes()), Ok(Some(number)));
        }
    }
}
