//! Strings and numbers as they are usually written, read without a look back.
//!
//! Each returns where it ends; `None` for whatever is written otherwise, which is for somebody else to read.

use super::super::{json, scan};

/// Appends the string behind the quote before `at` and returns where it ends.
#[inline(always)]
pub(super) fn string(data: &[u8], mut at: usize, out: &mut Vec<u8>) -> Option<usize> {
    let start = out.len();
    let mut high = 0;
    loop {
        let Some(block) = scan::block(data, at) else {
            return string_at_end(data, at, start, out);
        };
        // The whole block, for that is one copy of a fixed length; what is too much goes again.
        out.extend_from_slice(block);
        let stops = scan::stops(block);
        if stops.stop == 0 {
            high |= stops.high;
            at += scan::BLOCK;
            continue;
        }
        let length = stops.stop.trailing_zeros();
        high |= stops.high & ((1 << length) - 1);
        out.truncate(out.len() - scan::BLOCK + length as usize);
        at += length as usize;
        match data[at] {
            b'"' => break,
            b'\\' => at = unescape(data, at, out)?,
            _ => return None,
        }
    }
    if high != 0 { utf8(out, start).then_some(at + 1) } else { Some(at + 1) }
}

#[inline(always)]
fn unescape(data: &[u8], at: usize, out: &mut Vec<u8>) -> Option<usize> {
    let sign = match data.get(at + 1)? {
        b'"' => b'"',
        b'\\' => b'\\',
        b'/' => b'/',
        b'n' => b'\n',
        b't' => b'\t',
        b'r' => b'\r',
        _ => {
            let (sign, end) = json::escape(data, at).ok()?;
            out.extend_from_slice(sign.encode_utf8(&mut [0; 4]).as_bytes());
            return Some(end);
        }
    };
    out.push(sign);
    Some(at + 2)
}

/// The same within the last bytes that there are.
#[cold]
fn string_at_end(data: &[u8], mut at: usize, start: usize, out: &mut Vec<u8>) -> Option<usize> {
    loop {
        match *data.get(at)? {
            b'"' => return utf8(out, start).then_some(at + 1),
            b'\\' => at = unescape(data, at, out)?,
            0..0x20 => return None,
            byte => {
                out.push(byte);
                at += 1;
            }
        }
    }
}

#[cold]
fn utf8(out: &[u8], start: usize) -> bool {
    out.get(start..).is_some_and(|text| std::str::from_utf8(text).is_ok())
}

#[inline(always)]
fn eight(data: &[u8], at: usize) -> Option<[u8; 8]> {
    data.get(at..)?.first_chunk().copied()
}

/// If a number ends at `after`, and not only its digits.
#[inline(always)]
pub(super) fn followed<T>(data: &[u8], value: T, after: usize) -> Option<(T, usize)> {
    matches!(data.get(after), Some(b',' | b'}')).then_some((value, after))
}

pub(super) const POWERS: [u64; 9] = [1, 10, 100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000];

/// Up to 16 digits: the number, how many, and where they end. A number does not begin with a zero.
#[inline(always)]
fn whole(data: &[u8], at: usize) -> Option<(u64, u32, usize)> {
    let (count, value) = scan::digits(eight(data, at)?);
    if count == 8 {
        let (more, low) = scan::digits(eight(data, at + 8)?);
        return (data[at] != b'0').then_some((value * POWERS[more as usize] + low, 8 + more, at + 8 + more as usize));
    }
    let is_number = count == 1 || (count > 1 && data[at] != b'0');
    is_number.then_some((value, count, at + count as usize))
}

/// An integer of up to 16 digits.
#[inline(always)]
pub(super) fn integer(data: &[u8], at: usize) -> Option<(i64, usize)> {
    let is_negative = data.get(at) == Some(&b'-');
    let (value, _, after) = whole(data, at + usize::from(is_negative))?;
    let value = value as i64;
    Some((if is_negative { -value } else { value }, after))
}

/// A number without an exponent: its digits, how many there are, and how many of them stand behind the point.
#[inline(always)]
fn fixed(data: &[u8], at: usize) -> Option<(bool, u64, u32, u32, usize)> {
    let is_negative = data.get(at) == Some(&b'-');
    let (value, count, after) = whole(data, at + usize::from(is_negative))?;
    if data.get(after) != Some(&b'.') {
        return followed(data, (), after).map(|((), after)| (is_negative, value, count, 0, after));
    }
    let (behind, fraction) = scan::digits(eight(data, after + 1)?);
    let end = after + 1 + behind as usize;
    if behind == 0 || count + behind > 16 {
        return None;
    }
    let value = value * POWERS[behind as usize] + fraction;
    followed(data, (), end).map(|((), end)| (is_negative, value, count + behind, behind, end))
}

/// Exact where digits and power of ten both are: then one division rounds correctly.
#[inline(always)]
pub(super) fn double(data: &[u8], at: usize) -> Option<(f64, usize)> {
    let (is_negative, value, digits, behind, after) = fixed(data, at)?;
    if digits > 15 {
        return None;
    }
    let size = value as f64 / POWERS[behind as usize] as f64;
    Some((if is_negative { -size } else { size }, after))
}

#[inline(always)]
pub(super) fn float(data: &[u8], at: usize) -> Option<(f32, usize)> {
    let (is_negative, value, digits, behind, after) = fixed(data, at)?;
    if digits > 7 {
        return None;
    }
    let size = value as f32 / POWERS[behind as usize] as f32;
    Some((if is_negative { -size } else { size }, after))
}
