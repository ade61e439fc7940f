//! `transcode`: records of another encoding become UTF-8, for the source option `encoding`.
//!
//! Invariant: what leaves is UTF-8. Malformed sequences become U+FFFD, so no record fails here.

use encoding_rs::{CoderResult, Encoding};
use serde::Serialize;

use super::{ConfigError, Failure, Origin, Processor, Records};

/// The encoding of the source's records.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TranscodeConfig {
    /// A label of the WHATWG encoding standard, such as `windows-1252`, `shift_jis`, `utf-16le`.
    pub encoding: String,
}

pub(super) struct Transcode {
    encoding: &'static Encoding,
}

impl Transcode {
    pub fn new(config: &TranscodeConfig) -> Result<Self, ConfigError> {
        let unknown = || {
            let message = format!("`{}` is not an encoding", config.encoding);
            ConfigError::new("encoding", message)
                .with_help("labels are those of https://encoding.spec.whatwg.org, such as `windows-1252` or `utf-16le`")
        };
        let encoding = Encoding::for_label_no_replacement(config.encoding.as_bytes()).ok_or_else(unknown)?;
        Ok(Self { encoding })
    }
}

impl Processor for Transcode {
    fn process(&self, record: &[u8], _: &Origin<'_>, out: &mut Records) -> Result<(), Failure> {
        // Each record begins anew: a stateful encoding is in its first state there, and byte order marks are the source's.
        let mut decoder = self.encoding.new_decoder_without_bom_handling();
        let mut rest = record;
        loop {
            let buffer = out.buffer();
            let start = buffer.len();
            let room = decoder.max_utf8_buffer_length(rest.len()).unwrap_or(rest.len()).clamp(64, 64 * 1024);
            buffer.resize(start + room, 0);
            let (result, read, written, _) = decoder.decode_to_utf8(rest, &mut buffer[start..], true);
            buffer.truncate(start + written);
            rest = &rest[read..];
            if result == CoderResult::InputEmpty {
                return out.end();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::testing::one;
    use super::*;

    fn transcode(encoding: &str) -> Transcode {
        Transcode::new(&TranscodeConfig { encoding: encoding.to_owned() }).unwrap()
    }

    #[test]
    fn records_become_utf_8() {
        assert_eq!(one(&transcode("latin1"), b"gr\xFC\xDFe \x80").unwrap(), "grüße €");
        assert_eq!(one(&transcode("Shift_JIS"), b"\x93\xFA\x96{").unwrap(), "日本");
        assert_eq!(one(&transcode("utf-16le"), b"a\0\xE4\0\x3D\xD8\x00\xDE").unwrap(), "aä😀");
        assert_eq!(one(&transcode("utf-16be"), b"\0a\0\xE4").unwrap(), "aä");
        assert_eq!(one(&transcode("latin1"), b"").unwrap(), "");
    }

    #[test]
    fn malformed_sequences_become_replacement_characters() {
        assert_eq!(one(&transcode("utf-16le"), b"a\0\x00\xD8b\0").unwrap(), "a\u{FFFD}b");
        assert_eq!(one(&transcode("utf-16le"), b"a\0b").unwrap(), "a\u{FFFD}");
        assert_eq!(one(&transcode("euc-jp"), b"a\xFFb").unwrap(), "a\u{FFFD}b");
    }

    #[test]
    fn an_unknown_encoding_is_a_mistake() {
        let error = Transcode::new(&TranscodeConfig { encoding: "latin-99".into() }).err().unwrap();
        assert_eq!((error.key, error.message.as_str()), ("encoding", "`latin-99` is not an encoding"));
    }

    proptest! {
        #[test]
        fn any_bytes_become_what_a_decoder_makes_of_the_whole(
            bytes in prop::collection::vec(any::<u8>(), 0..200), times in 1..2000usize,
            label in prop::sample::select(vec!["utf-8", "utf-16le", "gb18030", "iso-2022-jp", "koi8-r"])
        ) {
            let bytes = bytes.repeat(times);
            let expected = Encoding::for_label(label.as_bytes()).unwrap().decode_without_bom_handling(&bytes).0;
            prop_assert_eq!(one(&transcode(label), &bytes).unwrap(), expected);
        }
    }
}
