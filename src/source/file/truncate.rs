//! Cuts the beginning of a record that is over the limit down to a record of its own.
//!
//! Always true: what is left is no longer than what was given, ends with the terminator, and has no part of a character at
//! its end where the text is valid: in Shift_JIS such a part would take the terminator's first byte for its own rest.

use encoding_rs::{DecoderResult, Encoding, ISO_2022_JP, UTF_8, UTF_16BE, UTF_16LE};

/// Begins the sequences that change the character set in ISO-2022-JP, all of three bytes.
const ESCAPE: u8 = 0x1b;

/// Back to ASCII, in which a terminator in ISO-2022-JP begins.
const TO_ASCII: &[u8] = b"\x1b(B";

/// The longest character or escape of any encoding, in bytes.
const CHARACTER_MAX: usize = 4;

/// Makes room for the terminator, which is in the same encoding, and puts it at the end. Returns how many bytes of the record
/// are left before it.
pub fn truncate(head: &mut Vec<u8>, terminator: &[u8], encoding: &'static Encoding) -> usize {
    // A limit has at least 1 KB and a terminator at most 32 bytes.
    let needs_ascii = encoding == ISO_2022_JP && terminator.first().is_some_and(|&first| first != ESCAPE);
    let reset = if needs_ascii { TO_ASCII } else { b"" };
    let room = head.len().saturating_sub(reset.len() + terminator.len());
    let kept = whole_characters(&head[..room], encoding);
    head.truncate(kept);
    head.extend_from_slice(reset);
    head.extend_from_slice(terminator);
    kept
}

/// Length of `text` without the part of a character at its end.
fn whole_characters(text: &[u8], encoding: &'static Encoding) -> usize {
    match encoding {
        _ if encoding == UTF_8 => whole_utf_8(text),
        _ if encoding == UTF_16LE => whole_utf_16(text, u16::from_le_bytes),
        _ if encoding == UTF_16BE => whole_utf_16(text, u16::from_be_bytes),
        _ if encoding.is_single_byte() => text.len(),
        _ => whole_decoded(text, encoding),
    }
}

/// By what the decoder takes for unfinished, as lead bytes cannot be told from others by their values.
fn whole_decoded(text: &[u8], encoding: &'static Encoding) -> usize {
    let mut lengths = (text.len().saturating_sub(CHARACTER_MAX)..=text.len()).rev();
    lengths.find(|&length| is_whole(&text[..length], encoding)).unwrap_or(text.len())
}

/// Whether the decoder waits for nothing behind `text`.
fn is_whole(mut text: &[u8], encoding: &'static Encoding) -> bool {
    // Two escapes without a character between them are malformed.
    if encoding == ISO_2022_JP && matches!(text, [.., ESCAPE, _, _]) {
        return false;
    }
    let (mut decoder, mut sink) = (encoding.new_decoder_without_bom_handling(), [0; 4096]);
    while !text.is_empty() {
        let (_, read, _, _) = decoder.decode_to_utf8(text, &mut sink, false);
        text = &text[read..];
    }
    matches!(decoder.decode_to_utf8_without_replacement(b"", &mut sink, true).0, DecoderResult::InputEmpty)
}

fn whole_utf_8(text: &[u8]) -> usize {
    let is_first = |&at: &usize| text[at] & 0b1100_0000 != 0b1000_0000;
    let Some(last) = (text.len().saturating_sub(4)..text.len()).rev().find(is_first) else { return text.len() };
    match std::str::from_utf8(&text[last..]) {
        Err(error) if error.error_len().is_none() => last,
        Ok(_) | Err(_) => text.len(),
    }
}

fn whole_utf_16(text: &[u8], unit: fn([u8; 2]) -> u16) -> usize {
    let whole = text.len() - text.len() % 2;
    match text[..whole] {
        // The first half of a surrogate pair.
        [.., a, b] if (0xd800..0xdc00).contains(&unit([a, b])) => whole - 2,
        _ => whole,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::encodings::encoded;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_truncated_text_is_the_longest_one_that_fits(
            text in "[a-zé€𝄞]{0,30}",
            length in 0usize..80,
            terminator in "[!…]{0,2}",
        ) {
            for encoding in [UTF_8, UTF_16LE, UTF_16BE] {
                let (whole, end) = (encoded(&text, encoding).unwrap(), encoded(&terminator, encoding).unwrap());
                let mut head = whole[..length.min(whole.len())].to_vec();
                let room = head.len().saturating_sub(end.len());
                let kept = truncate(&mut head, &end, encoding);
                let prefixes = text.char_indices().map(|(at, c)| at + c.len_utf8()).chain([0]);
                let lengths = prefixes.map(|at| encoded(&text[..at], encoding).unwrap().len());
                prop_assert_eq!(kept, lengths.filter(|&length| length <= room).max().unwrap());
                prop_assert_eq!(&head[..kept], &whole[..kept]);
                prop_assert_eq!(&head[kept..], &end);
            }
        }
    }

    proptest! {
        #[test]
        fn a_text_in_another_encoding_is_cut_between_characters(
            text in "[aあ漢字ソ能]{0,30}",
            length in 0usize..80,
            terminator in "[!漢]{0,2}",
        ) {
            for label in ["shift_jis", "gb18030", "gbk", "big5", "euc-jp", "euc-kr", "iso-2022-jp"] {
                let encoding = Encoding::for_label(label.as_bytes()).unwrap();
                let Some(whole) = encoded(&text, encoding) else { continue };
                let end = encoded(&terminator, encoding).unwrap();
                let mut head = whole[..length.min(whole.len())].to_vec();
                prop_assume!(head.len() >= end.len() + TO_ASCII.len());
                let length = head.len();
                truncate(&mut head, &end, encoding);
                prop_assert!(head.len() <= length);
                let read = encoding.decode_without_bom_handling(&head).0;
                let cut = read.strip_suffix(terminator.as_str());
                prop_assert!(cut.is_some_and(|cut| text.starts_with(cut)), "{label}: {read:?}");
            }
        }
    }

    #[test]
    fn bytes_that_are_no_text_are_cut_where_the_limit_is() {
        let mut head = vec![0xa0; 100];
        assert_eq!(truncate(&mut head, b"!", UTF_8), 99);
        let mut head = b"caf\xe9".to_vec();
        assert_eq!(truncate(&mut head, b"", encoding_rs::WINDOWS_1252), 4);
    }
}
