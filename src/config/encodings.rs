//! The encodings of the WHATWG Encoding Standard as a tailing reader needs them: by label, and with the delimiters that can
//! be found in them without decoding.
//!
//! Always true: a delimiter that is let through means the same wherever its bytes stand at a whole code unit, so a search may
//! begin anywhere.

use encoding_rs::{BIG5, EUC_JP, EUC_KR, Encoding, GB18030, GBK, ISO_2022_JP, SHIFT_JIS, UTF_8, UTF_16BE, UTF_16LE};

/// Labels that somebody may have meant.
pub(super) const COMMON: &[&str] = &[
    "utf-8",
    "utf-16",
    "utf-16le",
    "utf-16be",
    "ascii",
    "latin1",
    "iso-8859-1",
    "iso-8859-2",
    "iso-8859-3",
    "iso-8859-4",
    "iso-8859-5",
    "iso-8859-6",
    "iso-8859-7",
    "iso-8859-8",
    "iso-8859-10",
    "iso-8859-13",
    "iso-8859-14",
    "iso-8859-15",
    "iso-8859-16",
    "windows-874",
    "windows-1250",
    "windows-1251",
    "windows-1252",
    "windows-1253",
    "windows-1254",
    "windows-1255",
    "windows-1256",
    "windows-1257",
    "windows-1258",
    "cp1252",
    "ibm866",
    "koi8-r",
    "koi8-u",
    "macintosh",
    "x-mac-cyrillic",
    "gbk",
    "gb2312",
    "gb18030",
    "big5",
    "euc-jp",
    "iso-2022-jp",
    "shift_jis",
    "euc-kr",
];

/// The encoding with this label, and whether a byte order mark decides which of two it is.
pub(super) fn by_label(label: &str) -> Option<(&'static Encoding, bool)> {
    let encoding = Encoding::for_label_no_replacement(label.as_bytes())?;
    Some((encoding, other_order(encoding).is_some()))
}

/// UTF-16 in the other byte order, whose mark is no character in this one.
pub fn other_order(encoding: &'static Encoding) -> Option<&'static Encoding> {
    match encoding {
        _ if encoding == UTF_16LE => Some(UTF_16BE),
        _ if encoding == UTF_16BE => Some(UTF_16LE),
        _ => None,
    }
}

/// Length of the code units that a delimiter begins at, in bytes.
pub fn unit(encoding: &'static Encoding) -> usize {
    if encoding == UTF_16LE || encoding == UTF_16BE { 2 } else { 1 }
}

/// The longest of them, GB18030's.
pub const MARK_BYTES_MAX: u64 = 4;

/// The byte order mark that files in this encoding may begin with.
pub fn mark(encoding: &'static Encoding) -> &'static [u8] {
    match encoding {
        _ if encoding == UTF_8 => b"\xef\xbb\xbf",
        _ if encoding == UTF_16LE => b"\xff\xfe",
        _ if encoding == UTF_16BE => b"\xfe\xff",
        _ if encoding == GB18030 => b"\x84\x31\x95\x33",
        _ => b"",
    }
}

/// A text in an encoding; `None` where the encoding cannot say it.
pub fn encoded(text: &str, encoding: &'static Encoding) -> Option<Vec<u8>> {
    if encoding == UTF_16LE {
        return Some(text.encode_utf16().flat_map(u16::to_le_bytes).collect());
    }
    if encoding == UTF_16BE {
        return Some(text.encode_utf16().flat_map(u16::to_be_bytes).collect());
    }
    let (bytes, _, is_lossy) = encoding.encode(text);
    (!is_lossy).then(|| bytes.into_owned())
}

/// Whether these bytes mean this delimiter wherever they stand. They do if the first one is never a later byte of another
/// character: what follows it then begins a character.
pub(super) fn is_unambiguous(delimiter: &[u8], encoding: &'static Encoding) -> bool {
    let Some(&first) = delimiter.first() else { return false };
    // From https://encoding.spec.whatwg.org/#legacy-multi-byte-chinese-(simplified)-encodings and what follows there: the
    // lowest byte that may be a later byte of a character.
    let lowest_trail = match encoding {
        // GBK is decoded as GB18030, whose four-byte characters have digits in them.
        _ if encoding == GBK || encoding == GB18030 => 0x30,
        _ if encoding == BIG5 || encoding == SHIFT_JIS => 0x40,
        _ if encoding == EUC_KR => 0x41,
        _ if encoding == EUC_JP => 0x80,
        // Between escape sequences every visible byte is half of a character.
        _ if encoding == ISO_2022_JP => return first < 0x1b && delimiter.iter().all(|&byte| byte < 0x1b),
        _ => return true,
    };
    first < lowest_trail
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn common_labels_are_known_ones() {
        for label in COMMON {
            assert!(by_label(label).is_some(), "{label}");
        }
        assert_eq!(by_label("UTF-16"), Some((UTF_16LE, true)));
        assert_eq!(by_label("utf-16le"), Some((UTF_16LE, true)));
        assert_eq!(by_label("utf-16be"), Some((UTF_16BE, true)));
        assert_eq!(by_label("iso-2022-kr"), None, "it stands for the replacement decoder");
    }

    #[test]
    fn no_character_holds_an_unambiguous_ascii_byte() {
        let multi_byte = [BIG5, EUC_JP, EUC_KR, GB18030, GBK, SHIFT_JIS, ISO_2022_JP];
        let texts = (0x80..0x1_1000u32).filter_map(char::from_u32).map(String::from);
        for text in texts {
            for encoding in multi_byte {
                let Some(bytes) = encoded(&text, encoding) else { continue };
                // ISO-2022-JP: the escape sequences around it are no part of a line.
                let inner = if encoding == ISO_2022_JP { &bytes[3.min(bytes.len())..] } else { &bytes[..] };
                for &byte in inner.iter().filter(|&&byte| byte != 0x1b) {
                    let is_ascii_escape = encoding == ISO_2022_JP && b"(B".contains(&byte);
                    assert!(
                        is_ascii_escape || !is_unambiguous(&[byte], encoding) || byte >= 0x80 || inner.len() == 1,
                        "{byte:#x} of {text} in {}",
                        encoding.name()
                    );
                }
            }
        }
    }

    #[test]
    fn text_is_encoded_unit_by_unit_or_refused() {
        assert_eq!(encoded("\n", UTF_16LE).unwrap(), b"\n\0");
        assert_eq!(encoded("\n", UTF_16BE).unwrap(), b"\0\n");
        assert_eq!(encoded("é", encoding_rs::WINDOWS_1252).unwrap(), b"\xe9");
        assert_eq!(encoded("あ", encoding_rs::WINDOWS_1252), None);
    }
}
