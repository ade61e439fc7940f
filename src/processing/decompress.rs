//! `decompress`: Firehose's Decompression.
//!
//! Invariant: a record leaves whole or fails: truncated, corrupt or oversize data never leaves in part.

use std::io::Read;

use flate2::read::MultiGzDecoder;
use serde::Serialize;

use super::{Failure, Origin, Processor, Records};

/// What one record may become, in bytes: a few KB of GZIP can hold many GB.
const DECOMPRESSED_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Decompresses each record's data.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct DecompressConfig {
    /// How records are compressed: `gzip`, as CloudWatch Logs sends them.
    pub compression: RecordCompression,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RecordCompression {
    /// RFC 1952; of several members too.
    Gzip,
}

pub(super) struct Decompress {
    compression: RecordCompression,
}

impl Decompress {
    pub fn new(config: DecompressConfig) -> Self {
        Self { compression: config.compression }
    }
}

impl Processor for Decompress {
    fn process(&self, record: &[u8], _: &Origin<'_>, out: &mut Records) -> Result<(), Failure> {
        match self.compression {
            RecordCompression::Gzip => gunzip(record, out.buffer())?,
        }
        out.end()
    }
}

fn gunzip(record: &[u8], out: &mut Vec<u8>) -> Result<(), Failure> {
    if !record.starts_with(&[0x1F, 0x8B]) {
        return Err(Failure::new("the record is not GZIP: it does not begin with 1f 8b"));
    }
    let start = out.len();
    MultiGzDecoder::new(record)
        .take(DECOMPRESSED_BYTES_MAX as u64 + 1)
        .read_to_end(out)
        .map_err(|error| Failure::new(format!("the record's GZIP data is truncated or corrupt: {error}")))?;
    if out.len() - start > DECOMPRESSED_BYTES_MAX {
        let limit = DECOMPRESSED_BYTES_MAX >> 20;
        return Err(Failure::new(format!("the record is more than {limit} MB when decompressed")));
    }
    Ok(())
}

#[cfg(test)]
pub(super) mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;
    use proptest::prelude::*;

    use super::super::testing::{all, one};
    use super::*;

    const GZIP: Decompress = Decompress { compression: RecordCompression::Gzip };

    pub fn gzip(data: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::new(6));
        encoder.write_all(data).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn all_members_are_decompressed() {
        assert_eq!(one(&GZIP, &gzip(b"one record")).unwrap(), "one record");
        assert_eq!(one(&GZIP, &[gzip(b"one "), gzip(b""), gzip(b"record")].concat()).unwrap(), "one record");
        assert_eq!(one(&GZIP, &gzip(b"")).unwrap(), "");
    }

    #[test]
    fn what_is_not_gzip_fails_with_a_reason() {
        for record in [&b""[..], b"plain", b"\x1F"] {
            assert_eq!(all(&GZIP, record).unwrap_err(), "the record is not GZIP: it does not begin with 1f 8b");
        }
        let whole = gzip(b"one record");
        let mut corrupt = whole.clone();
        corrupt[12] ^= 0x55;
        let second_is_garbage = [&whole[..], b"garbage"].concat();
        for record in [&whole[..whole.len() - 1], &whole[..12], &whole[..2], &corrupt, &second_is_garbage] {
            let reason = all(&GZIP, record).unwrap_err();
            assert!(reason.starts_with("the record's GZIP data is truncated or corrupt: "), "{reason}");
        }
    }

    #[test]
    fn a_bomb_fails_and_takes_no_more_memory_than_the_limit() {
        let exactly = gzip(&vec![b'x'; DECOMPRESSED_BYTES_MAX]);
        assert_eq!(one(&GZIP, &exactly).unwrap().len(), DECOMPRESSED_BYTES_MAX);
        let bomb = gzip(&vec![0; 4 * DECOMPRESSED_BYTES_MAX]);
        let mut out = Records::default();
        let failure = GZIP.process(&bomb, &super::super::testing::origin(), &mut out).unwrap_err();
        assert_eq!(failure.message, "the record is more than 16 MB when decompressed");
        assert_eq!(out.bytes(), DECOMPRESSED_BYTES_MAX + 1);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let mut out = Records::default();
            let gzipped = [&[0x1F, 0x8B, 8, 0], &bytes[..]].concat();
            let _ = GZIP.process(&gzipped, &super::super::testing::origin(), &mut out);
        }
    }
}
