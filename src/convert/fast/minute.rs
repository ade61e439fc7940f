//! Timestamps: in a log most of them are of the same minute as the one before, so that sixteen bytes are compared at once.

use super::super::{civil, scan};
use super::values::POWERS;

/// The date, hour and minute of the last timestamp, as text and in microseconds since 1970. The text is always a valid one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Minute {
    text: [u8; 16],
    micros: i64,
}

impl Minute {
    pub(super) fn new() -> Self {
        Self { text: *b"1970-01-01T00:00", micros: 0 }
    }

    /// `"yyyy-MM-ddTHH:mm:ss[.f…]Z"`, or with a blank and without a zone, in at most a block; and where it ends.
    #[inline(always)]
    pub(super) fn timestamp(&mut self, data: &[u8], at: usize, has_iso: bool, has_sql: bool) -> Option<(i64, usize)> {
        let block = scan::block(data, at)?;
        let text: &[u8; 16] = block[1..].first_chunk()?;
        if u128::from_le_bytes(*text) != u128::from_le_bytes(self.text) {
            self.learn(text)?;
        }
        let is_iso = block[11] == b'T';
        if !(if is_iso { has_iso } else { has_sql }) {
            return None;
        }
        let (tens, ones) = (block[18].wrapping_sub(b'0'), block[19].wrapping_sub(b'0'));
        if block[17] != b':' || tens > 5 || ones > 9 {
            return None;
        }
        let mut micros = self.micros + i64::from(tens * 10 + ones) * 1_000_000;
        let mut end = 20;
        if block[20] == b'.' {
            let (count, value) = scan::digits(*block[21..].first_chunk()?);
            micros += match count {
                1..=6 => (value * POWERS[6 - count as usize]) as i64,
                7 => (value / 10) as i64,
                _ => return None,
            };
            end = 21 + count as usize;
        }
        if is_iso {
            if block[end] != b'Z' {
                return None;
            }
            end += 1;
        }
        (block[end] == b'"').then_some((micros, at + end + 1))
    }

    /// Another minute than the last time.
    #[inline(never)]
    fn learn(&mut self, text: &[u8; 16]) -> Option<()> {
        let number = |at: usize, length: usize| {
            let digits = text.get(at..at + length)?;
            digits
                .iter()
                .try_fold(0, |number, digit| digit.is_ascii_digit().then(|| number * 10 + u32::from(digit - b'0')))
        };
        let is_date = text[4] == b'-' && text[7] == b'-' && matches!(text[10], b'T' | b' ') && text[13] == b':';
        let days = civil::days(number(0, 4)? as i32, number(5, 2)?, number(8, 2)?)?;
        let micros = civil::micros(days, number(11, 2)?, number(14, 2)?, 0, 0)?;
        is_date.then(|| *self = Self { text: *text, micros })
    }
}
