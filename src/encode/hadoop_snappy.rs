//! Snappy as Hadoop's `SnappyCodec` reads it: the layout of its `BlockCompressorStream`.
//!
//! Frames of `[u32 BE length before compression][u32 BE length of the chunk][raw snappy chunk]`, without header, trailer
//! and checksum; a payload without any block has no bytes. The layout allows several chunks in a frame and leaves their
//! size open. We write what snappy-java's Hadoop-compatible writer writes: one chunk of at most 32 KiB of input in each
//! frame. That stays under the smallest buffer that a reader may have, and simple readers, python-snappy's for one, know
//! no other shape.

use super::codec::LibraryError;
use super::snappy::encode_chunks;

/// Writes `input` to `out` as frames and says how long they are together.
pub(super) fn encode(input: &[u8], out: &mut Vec<u8>) -> Result<usize, LibraryError> {
    encode_chunks(input, out, u32::to_be_bytes)
}
