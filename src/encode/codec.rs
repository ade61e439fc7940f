//! How the bytes of a payload are compressed.
//!
//! A payload is `header`, any number of blocks, `trailer`. The blocks are independent of each other: none needs the bytes,
//! the length or the state of the one before. So the blocks of one payload are compressed side by side on all cores while
//! records still arrive, and what is kept in memory is a few blocks, not a buffer. Three things must always hold, whatever
//! the codec:
//!
//! - a payload decodes to its blocks' input, end to end, in order, with the format's usual readers;
//! - a payload without any block, or of empty blocks only, is a valid file of the format that decodes to nothing;
//! - equal input encodes to equal bytes, whatever the thread has compressed before.
//!
//! Compressor states are large and costly to set up, so each thread keeps its own from block to block. A new codec is one
//! new file beside this one, one variant of [`Compression`] and its line in each `match` here.

use std::cell::RefCell;
use std::error::Error;

use jiff::Timestamp;

use super::{gzip, hadoop_snappy, snappy, zip, zstd};
use crate::config::model::Compression;

/// Bytes of input that a block aims at. A codec takes any size; much smaller ones compress worse.
pub const BLOCK: usize = 1 << 20;

/// What a thread keeps of its output buffer: enough for a block of the usual size that does not compress at all.
const OUT_KEPT: usize = 2 * BLOCK;

thread_local! {
    /// Output is written here, in room for the worst case, and leaves as an allocation of its own size.
    static OUT: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// One of the formats, with its level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Codec(Compression);

/// A block after compression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncodedBlock {
    pub bytes: Vec<u8>,
    /// Bytes before compression.
    pub input_len: u64,
    /// CRC-32 of the input for the codec that keeps one for the whole payload, zip; 0 for the others.
    pub crc32: u32,
}

/// What a trailer has to know of the blocks before it, added in the order of the payload.
#[derive(Debug, Clone, Default)]
pub struct Totals {
    pub blocks: u64,
    /// Bytes before compression.
    pub input_len: u64,
    /// Bytes of all blocks after compression, header and trailer not counted.
    pub output_len: u64,
    crc32: crc32fast::Hasher,
}

/// The compressing library gave up: zstd when it gets no memory. The other codecs are given room for their worst case,
/// so that they fail only by a mistake of theirs or ours. The thread's state is good for the next block all the same.
#[derive(Debug, thiserror::Error)]
#[error("cannot compress a block of {input_len} bytes with `{codec}`")]
pub struct EncodeError {
    pub codec: &'static str,
    pub input_len: usize,
    pub source: LibraryError,
}

/// What a compressing library reports, each with a type of its own.
pub type LibraryError = Box<dyn Error + Send + Sync>;

impl Codec {
    pub fn new(compression: Compression) -> Self {
        Self(compression)
    }

    /// Firehose's file extension, with its dot.
    pub fn extension(self) -> &'static str {
        match self.0 {
            Compression::None => "",
            Compression::Gzip { .. } => ".gz",
            Compression::Snappy | Compression::HadoopSnappy => ".snappy",
            Compression::Zip { .. } => ".zip",
            Compression::Zstd { .. } => ".zst",
        }
    }

    /// Firehose's `Content-Encoding` for objects in S3.
    pub fn content_encoding(self) -> Option<&'static str> {
        match self.0 {
            Compression::None => None,
            Compression::Gzip { .. } => Some("gzip"),
            Compression::Snappy => Some("snappy-java"),
            Compression::HadoopSnappy => Some("hadoop-snappy"),
            Compression::Zip { .. } => Some("zip"),
            Compression::Zstd { .. } => Some("zstd"),
        }
    }

    /// Whether blocks leave as they came, so that nobody needs to call [`Self::encode`] for a copy.
    pub fn is_identity(self) -> bool {
        self.0 == Compression::None
    }

    /// What stands before the first block. `entry_name` and `at` are for archives: the name and time of their one entry.
    pub fn header(self, entry_name: &str, at: Timestamp) -> Vec<u8> {
        match self.0 {
            Compression::None | Compression::Gzip { .. } | Compression::HadoopSnappy | Compression::Zstd { .. } => {
                Vec::new()
            }
            Compression::Snappy => snappy::HEADER.to_vec(),
            Compression::Zip { .. } => zip::header(entry_name, at),
        }
    }

    /// Compresses one block; an empty one becomes no bytes. This is CPU work for the compute pool.
    pub fn encode(self, input: &[u8]) -> Result<EncodedBlock, EncodeError> {
        let bytes = if input.is_empty() { Vec::new() } else { self.encode_bytes(input)? };
        let crc32 = if matches!(self.0, Compression::Zip { .. }) { crc32fast::hash(input) } else { 0 };
        Ok(EncodedBlock { bytes, input_len: input.len() as u64, crc32 })
    }

    /// What stands after the last block. `entry_name` and `at` are those that the header was made with.
    pub fn trailer(self, entry_name: &str, at: Timestamp, totals: &Totals) -> Vec<u8> {
        let nothing_written = totals.output_len == 0;
        match self.0 {
            Compression::None | Compression::Snappy | Compression::HadoopSnappy => Vec::new(),
            Compression::Gzip { .. } if nothing_written => gzip::EMPTY.to_vec(),
            Compression::Zstd { .. } if nothing_written => zstd::EMPTY.to_vec(),
            Compression::Gzip { .. } | Compression::Zstd { .. } => Vec::new(),
            Compression::Zip { .. } => zip::trailer(entry_name, at, totals),
        }
    }

    fn encode_bytes(self, input: &[u8]) -> Result<Vec<u8>, EncodeError> {
        OUT.with_borrow_mut(|out| {
            let (codec, encoded) = match self.0 {
                Compression::None => return Ok(input.to_vec()),
                Compression::Gzip { level } => ("gzip", gzip::encode(level, input, out)),
                Compression::Snappy => ("snappy", snappy::encode(input, out)),
                Compression::HadoopSnappy => ("hadoop_snappy", hadoop_snappy::encode(input, out)),
                Compression::Zip { level } => ("zip", zip::encode(level, input, out)),
                Compression::Zstd { level } => ("zstd", zstd::encode(level, input, out)),
            };
            let len = encoded.map_err(|source| EncodeError { codec, input_len: input.len(), source })?;
            let bytes = out[..len].to_vec();
            if out.len() > OUT_KEPT {
                *out = Vec::new(); // one huge record must not keep every thread's buffer large for ever
            }
            Ok(bytes)
        })
    }
}

impl Totals {
    pub fn add(&mut self, block: &EncodedBlock) {
        self.blocks += 1;
        self.input_len += block.input_len;
        self.output_len += block.bytes.len() as u64;
        self.crc32.combine(&crc32fast::Hasher::new_with_initial_len(block.crc32, block.input_len));
    }

    /// CRC-32 of all blocks' input, as if it had been computed in one go. Meaningful for zip only.
    pub fn crc32(&self) -> u32 {
        self.crc32.clone().finalize()
    }
}

/// The first `len` bytes of `out`, which grows where it has to; what they hold is left over from earlier blocks.
pub(super) fn room(out: &mut Vec<u8>, len: usize) -> &mut [u8] {
    if out.len() < len {
        out.resize(len, 0);
    }
    &mut out[..len]
}

/// A thread's compressor states, one for each level that it has met.
pub(super) struct PerLevel<T>(Vec<(u8, T)>);

impl<T> PerLevel<T> {
    pub(super) const fn new() -> Self {
        Self(Vec::new())
    }

    pub(super) fn get<E>(&mut self, level: u8, make: impl FnOnce() -> Result<T, E>) -> Result<&mut T, E> {
        let index = match self.0.iter().position(|(known, _)| *known == level) {
            Some(index) => index,
            None => {
                self.0.push((level, make()?));
                self.0.len() - 1
            }
        };
        Ok(&mut self.0[index].1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Compression; 6] = [
        Compression::None,
        Compression::Gzip { level: 1 },
        Compression::Snappy,
        Compression::HadoopSnappy,
        Compression::Zip { level: 6 },
        Compression::Zstd { level: 1 },
    ];

    #[test]
    fn extensions_and_content_encodings_are_firehoses() {
        let seen = ALL.map(|compression| {
            let codec = Codec::new(compression);
            (codec.extension(), codec.content_encoding())
        });
        let expected = [
            ("", None),
            (".gz", Some("gzip")),
            (".snappy", Some("snappy-java")),
            (".snappy", Some("hadoop-snappy")),
            (".zip", Some("zip")),
            (".zst", Some("zstd")),
        ];
        assert_eq!(seen, expected);
    }

    #[test]
    fn equal_input_encodes_to_equal_bytes_whatever_the_thread_did_before() {
        let first = b"a line of a log, and another line of a log\n".repeat(2000);
        let second: Vec<u8> = first.iter().rev().map(|byte| byte.wrapping_mul(31)).collect();
        for compression in ALL {
            let codec = Codec::new(compression);
            let before = codec.encode(&first).unwrap();
            codec.encode(&second).unwrap();
            Codec::new(Compression::Zstd { level: 7 }).encode(&second).unwrap();
            Codec::new(Compression::Gzip { level: 9 }).encode(&second).unwrap();
            assert_eq!(codec.encode(&first).unwrap(), before, "{compression:?}");
        }
    }

    #[test]
    fn a_huge_block_does_not_keep_the_threads_buffer_large() {
        let codec = Codec::new(Compression::Gzip { level: 1 });
        codec.encode(&vec![7; 5 * BLOCK]).unwrap();
        assert!(OUT.with_borrow(|out| out.capacity()) <= OUT_KEPT);
        codec.encode(&vec![7; BLOCK]).unwrap();
        assert!(OUT.with_borrow(|out| out.capacity()) >= BLOCK);
    }

    #[test]
    fn a_level_that_the_library_does_not_have_is_an_error() {
        let error = Codec::new(Compression::Gzip { level: 13 }).encode(b"x").unwrap_err();
        assert_eq!(error.to_string(), "cannot compress a block of 1 bytes with `gzip`");
    }

    proptest::proptest! {
        #[test]
        fn the_crc_of_the_blocks_is_that_of_the_whole(data: Vec<u8>, cuts: Vec<proptest::sample::Index>) {
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(data.len() + 1)).collect();
            cuts.sort_unstable();
            cuts.push(data.len());
            let (mut totals, mut start) = (Totals::default(), 0);
            for end in &cuts {
                let codec = Codec::new(Compression::Zip { level: 1 });
                totals.add(&codec.encode(&data[start..*end]).unwrap());
                start = *end;
            }
            proptest::prop_assert_eq!(totals.crc32(), crc32fast::hash(&data));
            proptest::prop_assert_eq!(totals.input_len, data.len() as u64);
            proptest::prop_assert_eq!(totals.blocks, cuts.len() as u64);
        }
    }
}
