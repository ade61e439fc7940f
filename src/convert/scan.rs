//! Many bytes at a time: where a string stops, whether text is the expected one, how many digits there are.
//!
//! On x86-64 by SSE2, which all of them have (AVX2 gained nothing measurable), elsewhere by words of 8 bytes.

/// What is looked at in one step.
pub(super) const BLOCK: usize = 32;

/// One bit for each byte of a block, the first one lowest.
pub(super) struct Stops {
    /// A quote, a backslash or a control character.
    pub(super) stop: u32,
    /// No ASCII.
    pub(super) high: u32,
}

#[cfg(target_arch = "x86_64")]
mod lanes {
    //! SSE2. What is loaded comes in as numbers, so that no pointer is involved.

    use std::arch::x86_64::{
        __m128i, _mm_cmpeq_epi8, _mm_min_epu8, _mm_movemask_epi8, _mm_or_si128, _mm_set_epi64x, _mm_set1_epi8,
    };

    use super::{BLOCK, Stops, word};

    #[inline(always)]
    pub(in super::super) fn stops(block: &[u8; BLOCK]) -> Stops {
        // SAFETY: SSE2 is a part of x86-64; there is no other requirement.
        unsafe { stops_sse2(block) }
    }

    #[inline(always)]
    pub(in super::super) fn equal(block: &[u8; BLOCK], other: &[u8; BLOCK]) -> u32 {
        // SAFETY: as above.
        unsafe { equal_sse2(block, other) }
    }

    #[inline]
    #[target_feature(enable = "sse2")]
    fn stops_sse2(block: &[u8; BLOCK]) -> Stops {
        let (low, high) = (load(block, 0), load(block, 16));
        Stops { stop: mask(stop(low), stop(high)), high: mask(low, high) }
    }

    #[inline]
    #[target_feature(enable = "sse2")]
    fn equal_sse2(block: &[u8; BLOCK], other: &[u8; BLOCK]) -> u32 {
        mask(_mm_cmpeq_epi8(load(block, 0), load(other, 0)), _mm_cmpeq_epi8(load(block, 16), load(other, 16)))
    }

    #[inline]
    #[target_feature(enable = "sse2")]
    fn stop(bytes: __m128i) -> __m128i {
        let quote = _mm_cmpeq_epi8(bytes, _mm_set1_epi8(b'"' as i8));
        let backslash = _mm_cmpeq_epi8(bytes, _mm_set1_epi8(b'\\' as i8));
        let control = _mm_cmpeq_epi8(_mm_min_epu8(bytes, _mm_set1_epi8(0x1f)), bytes);
        _mm_or_si128(_mm_or_si128(quote, backslash), control)
    }

    #[inline]
    #[target_feature(enable = "sse2")]
    fn load(block: &[u8; BLOCK], at: usize) -> __m128i {
        _mm_set_epi64x(word(block, at + 8) as i64, word(block, at) as i64)
    }

    #[inline]
    #[target_feature(enable = "sse2")]
    fn mask(low: __m128i, high: __m128i) -> u32 {
        (_mm_movemask_epi8(low) as u32) | ((_mm_movemask_epi8(high) as u32) << 16)
    }
}

#[cfg(not(target_arch = "x86_64"))]
use portable as lanes;

#[cfg(any(test, not(target_arch = "x86_64")))]
mod portable {
    //! The same for other processors, in words of 8 bytes.

    use super::{BLOCK, Stops, word};

    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGHS: u64 = 0x8080_8080_8080_8080;

    /// The highest bit of each byte that is zero, exactly.
    fn zeros(word: u64) -> u64 {
        !(((word & !HIGHS) + !HIGHS) | word) & HIGHS
    }

    /// The highest bits of the eight bytes, side by side.
    fn gather(highs: u64) -> u32 {
        ((highs >> 7).wrapping_mul(0x0102_0408_1020_4080) >> 56) as u32
    }

    fn each(block: &[u8; BLOCK], mut highs_of: impl FnMut(u64, usize) -> u64) -> u32 {
        (0..BLOCK / 8)
            .fold(0, |mask, index| mask | (gather(highs_of(word(block, index * 8), index * 8)) << (index * 8)))
    }

    pub(in super::super) fn stops(block: &[u8; BLOCK]) -> Stops {
        let stop = each(block, |word, _| {
            let quote = zeros(word ^ (ONES * u64::from(b'"')));
            let backslash = zeros(word ^ (ONES * u64::from(b'\\')));
            let control = zeros(word & (ONES * 0xe0));
            quote | backslash | control
        });
        Stops { stop, high: each(block, |word, _| word & HIGHS) }
    }

    pub(in super::super) fn equal(block: &[u8; BLOCK], other: &[u8; BLOCK]) -> u32 {
        each(block, |bytes, at| zeros(bytes ^ word(other, at)))
    }
}

pub(super) use lanes::{equal, stops};

#[inline(always)]
fn word(block: &[u8; BLOCK], at: usize) -> u64 {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&block[at..at + 8]);
    u64::from_le_bytes(bytes)
}

/// The block at `at`, if `data` goes on for so long.
#[inline(always)]
pub(super) fn block(data: &[u8], at: usize) -> Option<&[u8; BLOCK]> {
    data.get(at..)?.first_chunk()
}

/// The leading decimal digits of eight bytes: how many, and the number that they write.
#[inline(always)]
pub(super) fn digits(bytes: [u8; 8]) -> (u32, u64) {
    let text = u64::from_le_bytes(bytes);
    let values = text ^ 0x3030_3030_3030_3030;
    // A byte that is no digit is above 9 now: its highest bit gets set, by itself or by the addition.
    let others = (values.wrapping_add(0x7676_7676_7676_7676) | values) & 0x8080_8080_8080_8080;
    let count = others.trailing_zeros() / 8;
    if count == 0 {
        return (0, 0);
    }
    // The digits move up, so that zeros stand before them.
    let mut number = values << (64 - 8 * count);
    number = number.wrapping_mul(10).wrapping_add(number >> 8);
    let low = (number & 0x0000_00ff_0000_00ff).wrapping_mul(0x000f_4240_0000_0064);
    let high = ((number >> 16) & 0x0000_00ff_0000_00ff).wrapping_mul(0x0000_2710_0000_0001);
    (count, (low.wrapping_add(high)) >> 32)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn is_stop(byte: u8) -> bool {
        byte == b'"' || byte == b'\\' || byte < 0x20
    }

    fn mask(block: &[u8; BLOCK], is: impl Fn(usize) -> bool) -> u32 {
        (0..block.len()).fold(0, |mask, index| mask | (u32::from(is(index)) << index))
    }

    proptest! {
        #[test]
        fn both_ways_find_the_same_stops(block: [u8; BLOCK], other: [u8; BLOCK], same in any::<[bool; BLOCK]>()) {
            let expected = mask(&block, |index| is_stop(block[index]));
            prop_assert_eq!(stops(&block).stop, expected);
            prop_assert_eq!(portable::stops(&block).stop, expected);
            let expected = mask(&block, |index| block[index] >= 0x80);
            prop_assert_eq!(stops(&block).high, expected);
            prop_assert_eq!(portable::stops(&block).high, expected);
            let mut other = other;
            (0..BLOCK).filter(|&index| same[index]).for_each(|index| other[index] = block[index]);
            let expected = mask(&block, |index| block[index] == other[index]);
            prop_assert_eq!(equal(&block, &other), expected);
            prop_assert_eq!(portable::equal(&block, &other), expected);
        }

        #[test]
        fn digits_are_counted_and_read(number in 0..100_000_000u64, width in 1..9usize, rest: [u8; 8]) {
            let text = format!("{:0width$}", number % 10u64.pow(width as u32));
            let mut bytes = rest;
            bytes[..width].copy_from_slice(text.as_bytes());
            let count = bytes.iter().take_while(|byte| byte.is_ascii_digit()).count();
            let expected = std::str::from_utf8(&bytes[..count]).unwrap().parse::<u64>().unwrap();
            prop_assert_eq!(digits(bytes), (count as u32, expected));
        }
    }

    #[test]
    fn every_byte_is_told_apart() {
        for byte in 0..=255u8 {
            let block = [byte; BLOCK];
            assert_eq!(stops(&block).stop != 0, is_stop(byte), "{byte}");
            assert_eq!(portable::stops(&block).stop, stops(&block).stop, "{byte}");
            assert_eq!(digits([byte; 8]).0 > 0, byte.is_ascii_digit(), "{byte}");
        }
    }
}
