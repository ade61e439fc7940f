//! Sequence numbers of Kinesis: whole numbers of up to 129 decimal digits, ordered by their value.
//!
//! The service gives them 56 digits as a rule, which is more than any integer of the language holds.

use std::fmt;
use std::str::FromStr;

/// Digits that one of the service may have: its API's pattern is `0|([1-9]\d{0,128})`.
pub const DIGITS_MAX: usize = 129;
/// Decimal digits that are taken at a time, and the number behind the last of them.
const STEP_DIGITS: usize = 19;
const STEP: u64 = 10u64.pow(STEP_DIGITS as u32);
const LIMBS: usize = 7;
/// Room for the digits of all limbs.
pub const DIGITS_ROOM: usize = 8 * STEP_DIGITS;

/// A sequence number. The default is 0, which comes before every one that the service gives.
///
/// Limbs of 64 bits with the highest first, so that the derived order is that of the values; 129 digits take 429 bits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct SequenceNumber([u64; LIMBS]);

/// A text that is no sequence number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a sequence number has 1 to {DIGITS_MAX} decimal digits and no leading zero")]
pub struct NotASequenceNumber;

impl SequenceNumber {
    pub const ZERO: Self = Self([0; LIMBS]);
    /// Higher than any that the service can give.
    pub const MAX: Self = Self([u64::MAX; LIMBS]);

    pub fn is_zero(&self) -> bool {
        *self == Self::ZERO
    }

    /// The limbs of 64 bits, the highest first.
    pub fn limbs(&self) -> &[u64; LIMBS] {
        &self.0
    }

    /// The opposite of [`Self::limbs`].
    pub fn from_limbs(limbs: [u64; LIMBS]) -> Self {
        Self(limbs)
    }

    /// Its decimal digits, written to `room`.
    pub fn digits(self, room: &mut [u8; DIGITS_ROOM]) -> &str {
        let (mut rest, mut at) = (self, room.len());
        while at > 0 {
            let mut step = rest.divide();
            for _ in 0..STEP_DIGITS {
                at -= 1;
                room[at] = b'0' + (step % 10) as u8;
                step /= 10;
            }
            if rest.is_zero() {
                break;
            }
        }
        let start = room[at..].iter().position(|&digit| digit != b'0').map_or(room.len() - 1, |zeros| at + zeros);
        std::str::from_utf8(&room[start..]).unwrap_or_default()
    }

    fn multiply_and_add(&mut self, factor: u64, addend: u64) -> Option<()> {
        let mut carry = u128::from(addend);
        for limb in self.0.iter_mut().rev() {
            let sum = u128::from(*limb) * u128::from(factor) + carry;
            (*limb, carry) = (sum as u64, sum >> 64);
        }
        (carry == 0).then_some(())
    }

    /// Divides by [`STEP`] and gives the remainder.
    fn divide(&mut self) -> u64 {
        let mut remainder = 0u128;
        for limb in &mut self.0 {
            let dividend = remainder << 64 | u128::from(*limb);
            *limb = (dividend / u128::from(STEP)) as u64;
            remainder = dividend % u128::from(STEP);
        }
        remainder as u64
    }
}

impl FromStr for SequenceNumber {
    type Err = NotASequenceNumber;

    fn from_str(text: &str) -> Result<Self, NotASequenceNumber> {
        let digits = text.as_bytes();
        let has_form = (1..=DIGITS_MAX).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit);
        if !has_form || (digits[0] == b'0' && digits.len() > 1) {
            return Err(NotASequenceNumber);
        }
        let mut number = Self::ZERO;
        let first = digits.len() % STEP_DIGITS;
        let (head, tail) = digits.split_at(first);
        for digits in std::iter::once(head).chain(tail.chunks(STEP_DIGITS)) {
            let value = digits.iter().fold(0, |value, digit| value * 10 + u64::from(digit - b'0'));
            number.multiply_and_add(10u64.pow(digits.len() as u32), value).ok_or(NotASequenceNumber)?;
        }
        Ok(number)
    }
}

impl fmt::Display for SequenceNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad_integral(true, "", self.digits(&mut [0; DIGITS_ROOM]))
    }
}

impl fmt::Debug for SequenceNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn numbers_survive_their_text(text in "[1-9][0-9]{0,128}|0") {
            let number: SequenceNumber = text.parse().unwrap();
            prop_assert_eq!(number.to_string(), text);
            prop_assert_eq!(SequenceNumber::from_limbs(*number.limbs()), number);
        }

        #[test]
        fn they_are_ordered_by_value(one in "[1-9][0-9]{0,128}|0", other in "[1-9][0-9]{0,128}|0") {
            let parsed = (one.parse::<SequenceNumber>().unwrap(), other.parse::<SequenceNumber>().unwrap());
            prop_assert_eq!(parsed.0.cmp(&parsed.1), (one.len(), &one).cmp(&(other.len(), &other)));
        }
    }

    #[test]
    fn the_largest_and_the_smallest_have_their_places() {
        let largest: SequenceNumber = "9".repeat(DIGITS_MAX).parse().unwrap();
        assert_eq!(largest.to_string(), "9".repeat(DIGITS_MAX));
        assert!(SequenceNumber::ZERO < largest && largest < SequenceNumber::MAX);
        let real: SequenceNumber = "49590338271490256608559692538361571095921575989136588898".parse().unwrap();
        let next: SequenceNumber = "49590338271490256608559692538361571095921575989136588899".parse().unwrap();
        assert!(real < next && next < largest);
    }

    #[test]
    fn what_is_no_sequence_number_is_refused() {
        for text in ["", "00", "01", "-1", "+1", "1a", " 1", "٣", &"1".repeat(DIGITS_MAX + 1)] {
            assert_eq!(text.parse::<SequenceNumber>(), Err(NotASequenceNumber), "{text:?}");
        }
    }
}
