//! Zstandard: each block is one frame with its content's size and checksum.
//!
//! Frames may follow each other in one file (RFC 8878), and every reader takes them as one. Not one of Firehose's formats.

use std::cell::RefCell;

use zstd::bulk::Compressor;
use zstd::zstd_safe::{CParameter, compress_bound};

use super::codec::{LibraryError, room};

/// A frame without content, for a payload without any: a file of no bytes is not a zstd file.
pub(super) const EMPTY: [u8; 13] = [0x28, 0xB5, 0x2F, 0xFD, 0x24, 0, 1, 0, 0, 0x99, 0xE9, 0xD8, 0x51];

thread_local! {
    /// One for all levels: zstd fits its tables to the level at each frame, inside the memory that it has already.
    static COMPRESSOR: RefCell<Option<Compressor<'static>>> = const { RefCell::new(None) };
}

/// Writes `input` to `out` as one frame and says how long it is. Fails when zstd gets no memory for its tables.
pub(super) fn encode(level: u8, input: &[u8], out: &mut Vec<u8>) -> Result<usize, LibraryError> {
    COMPRESSOR.with_borrow_mut(|kept| {
        let compressor = match kept {
            Some(compressor) => compressor,
            None => kept.insert(Compressor::new(level.into())?),
        };
        compressor.set_parameter(CParameter::CompressionLevel(level.into()))?;
        compressor.set_parameter(CParameter::ChecksumFlag(true))?;
        compressor.set_parameter(CParameter::ContentSizeFlag(true))?;
        Ok(compressor.compress_to_buffer(input, room(out, compress_bound(input.len())))?)
    })
}
