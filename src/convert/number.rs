//! Numbers as text: exact, without a way through floating point.

use std::cmp::Ordering;

/// Why a number does not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NumberError {
    /// Not a number at all.
    Text,
    /// A fraction where there may be none.
    Fraction,
    /// Too large for the type.
    Range,
}

/// A number's text, taken apart.
#[derive(Debug, Clone, Copy)]
pub(super) struct Number<'a> {
    is_negative: bool,
    whole: &'a [u8],
    fraction: &'a [u8],
    exponent: i64,
}

/// What becomes of digits that there is no room for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Excess {
    Refuse,
    /// Half up, away from zero, as Hive does.
    Round,
    Cut,
}

/// Exponents are held within this: everything beyond is far out of any range.
const EXPONENT_MAX: i64 = 1_000_000;

impl<'a> Number<'a> {
    /// What Java reads as a number, and so more than JSON has: a plus sign, leading zeros, `.5` and `5.`.
    pub(super) fn parse(text: &'a str) -> Result<Self, NumberError> {
        let bytes = text.as_bytes();
        let (is_negative, rest) = match bytes {
            [b'-', rest @ ..] => (true, rest),
            [b'+', rest @ ..] => (false, rest),
            rest => (false, rest),
        };
        let (whole, rest) = split_digits(rest);
        let (fraction, rest) = match rest {
            [b'.', rest @ ..] => split_digits(rest),
            rest => (&rest[..0], rest),
        };
        if whole.is_empty() && fraction.is_empty() {
            return Err(NumberError::Text);
        }
        let exponent = match rest {
            [] => 0,
            [b'e' | b'E', rest @ ..] => exponent(rest)?,
            _ => return Err(NumberError::Text),
        };
        Ok(Self { is_negative, whole, fraction, exponent })
    }

    /// This number times `10^scale` as an integer.
    pub(super) fn scaled(&self, scale: u32, excess: Excess) -> Result<i128, NumberError> {
        let digits = || self.whole.iter().chain(self.fraction).map(|digit| i128::from(digit - b'0'));
        let leading = digits().take_while(|&digit| digit == 0).count();
        let total = self.whole.len() + self.fraction.len();
        if leading == total {
            return Ok(0);
        }
        // The point stands so many digits behind the first digit that counts.
        let kept = self.whole.len() as i64 - leading as i64 + self.exponent + i64::from(scale);
        if kept > 39 {
            return Err(NumberError::Range);
        }
        let mut significant = digits().skip(leading);
        let mut value: i128 = 0;
        for _ in 0..kept.max(0) {
            let digit = significant.next().unwrap_or(0);
            value = value.checked_mul(10).and_then(|value| value.checked_add(digit)).ok_or(NumberError::Range)?;
        }
        // With a negative count, zeros stand between the point and the first of the digits that are left.
        let first_left = if kept < 0 { 0 } else { significant.next().unwrap_or(0) };
        match excess {
            Excess::Refuse if first_left != 0 || kept < 0 || significant.any(|digit| digit != 0) => {
                return Err(NumberError::Fraction);
            }
            Excess::Round if first_left >= 5 => value = value.checked_add(1).ok_or(NumberError::Range)?,
            Excess::Refuse | Excess::Round | Excess::Cut => {}
        }
        Ok(if self.is_negative { -value } else { value })
    }

    /// An integer without loss: `1.0` and `1e3` are integers, `1.5` is none.
    pub(super) fn integer(&self) -> Result<i64, NumberError> {
        i64::try_from(self.scaled(0, Excess::Refuse)?).map_err(|_| NumberError::Range)
    }

    /// How the number's size compares with an integer of Java's epoch rule: seconds below it, milliseconds from it on.
    pub(super) fn cmp_abs(&self, limit: i128) -> Ordering {
        match self.scaled(0, Excess::Cut) {
            Ok(whole) => whole.abs().cmp(&limit),
            Err(_) => Ordering::Greater,
        }
    }
}

/// An infinite result is none: the number is too large.
pub(super) fn double(text: &str) -> Result<f64, NumberError> {
    let value: f64 = text.parse().map_err(|_| NumberError::Text)?;
    if value.is_finite() { Ok(value) } else { Err(NumberError::Range) }
}

/// Rounded once, from the text.
pub(super) fn float(text: &str) -> Result<f32, NumberError> {
    let value: f32 = text.parse().map_err(|_| NumberError::Text)?;
    if value.is_finite() { Ok(value) } else { Err(NumberError::Range) }
}

/// The largest unscaled value of a decimal.
pub(super) fn decimal_max(precision: u8) -> i128 {
    10i128.checked_pow(u32::from(precision)).map_or(i128::MAX, |power| power - 1)
}

fn split_digits(bytes: &[u8]) -> (&[u8], &[u8]) {
    let end = bytes.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(bytes.len());
    bytes.split_at(end)
}

fn exponent(bytes: &[u8]) -> Result<i64, NumberError> {
    let (is_negative, rest) = match bytes {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        rest => (false, rest),
    };
    let (digits, rest) = split_digits(rest);
    if digits.is_empty() || !rest.is_empty() {
        return Err(NumberError::Text);
    }
    let size = digits.iter().fold(0i64, |size, digit| (size * 10 + i64::from(digit - b'0')).min(EXPONENT_MAX));
    Ok(if is_negative { -size } else { size })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn scaled(text: &str, scale: u32, excess: Excess) -> Result<i128, NumberError> {
        Number::parse(text)?.scaled(scale, excess)
    }

    #[test]
    fn integers_are_exact_or_refused() {
        let integer = |text: &str| Number::parse(text).and_then(|number| number.integer());
        for (text, expected) in [
            ("0", Ok(0)),
            ("-0", Ok(0)),
            ("-0.0e5", Ok(0)),
            ("9223372036854775807", Ok(i64::MAX)),
            ("-9223372036854775808", Ok(i64::MIN)),
            ("9223372036854775808", Err(NumberError::Range)),
            ("1.0", Ok(1)),
            ("12.50e1", Ok(125)),
            ("1e3", Ok(1000)),
            ("1000e-3", Ok(1)),
            ("1.5", Err(NumberError::Fraction)),
            ("1e-1", Err(NumberError::Fraction)),
            ("0.01", Err(NumberError::Fraction)),
            ("1e99999999999999999999", Err(NumberError::Range)),
            ("1e-99999999999999999999", Err(NumberError::Fraction)),
            ("0e99999999999999999999", Ok(0)),
            ("+7", Ok(7)),
            ("007", Ok(7)),
            (".5e1", Ok(5)),
            ("5.", Ok(5)),
            ("", Err(NumberError::Text)),
            (".", Err(NumberError::Text)),
            ("1e", Err(NumberError::Text)),
            (" 1", Err(NumberError::Text)),
            ("0x10", Err(NumberError::Text)),
        ] {
            assert_eq!(integer(text), expected, "{text}");
        }
    }

    #[test]
    fn a_decimal_is_rounded_half_up_to_its_scale_as_in_hive() {
        for (text, scale, expected) in [
            ("1.005", 2, Ok(101)),
            ("-1.005", 2, Ok(-101)),
            ("1.0049999", 2, Ok(100)),
            ("0.05", 1, Ok(1)),
            ("0.005", 1, Ok(0)),
            ("0.04", 1, Ok(0)),
            ("5e-1", 0, Ok(1)),
            ("99999999999999999999999999999999999999", 0, Ok(decimal_max(38))),
            ("1e38", 0, Ok(decimal_max(38) + 1)),
            ("1e39", 0, Err(NumberError::Range)),
        ] {
            assert_eq!(scaled(text, scale, Excess::Round), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_number_written_with_any_exponent_is_the_same(value in any::<i64>(), zeros in 0..8usize, shift in -30..30i64) {
            // The digits with the point moved by `shift`, made good by the exponent.
            let digits = value.unsigned_abs().to_string();
            let sign = if value < 0 { "-" } else { "" };
            let point = digits.len() as i64 - shift;
            let text = if point <= 0 {
                format!("{sign}0.{}{digits}{}e{shift}", "0".repeat(-point as usize), "0".repeat(zeros))
            } else if point as usize >= digits.len() {
                format!("{sign}{digits}{}.{}e{shift}", "0".repeat(point as usize - digits.len()), "0".repeat(zeros))
            } else {
                let (whole, fraction) = digits.split_at(point as usize);
                format!("{sign}{whole}.{fraction}{}e{shift}", "0".repeat(zeros))
            };
            prop_assert_eq!(Number::parse(&text).and_then(|number| number.integer()), Ok(value), "{}", text);
        }
    }
}
