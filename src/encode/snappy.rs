//! Snappy as Firehose writes it: snappy-java's (xerial's) stream, not the official framing format.
//!
//! The header once, then any number of `[i32 BE length of the chunk][raw snappy chunk]`, without trailer and checksum. A
//! chunk holds at most 32 KiB of input, which is snappy-java's default; readers take whatever length each chunk says.

use std::cell::RefCell;

use snap::raw::{Encoder, max_compress_len};

use super::codec::{LibraryError, room};

/// Magic, version 1, oldest version that can read this: 1.
pub(super) const HEADER: [u8; 16] = *b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01";

/// Bytes of input in one chunk; the last chunk of a block may be shorter.
const CHUNK: usize = 32 * 1024;

thread_local! {
    static ENCODER: RefCell<Encoder> = RefCell::new(Encoder::new());
}

/// Writes `input` to `out` as chunks and says how long they are together.
pub(super) fn encode(input: &[u8], out: &mut Vec<u8>) -> Result<usize, LibraryError> {
    encode_chunks(input, out, |_| [])
}

/// Writes chunks that have, before the length that every chunk has, what `preamble` makes of their input's length.
pub(super) fn encode_chunks<const N: usize>(
    input: &[u8],
    out: &mut Vec<u8>,
    preamble: impl Fn(u32) -> [u8; N],
) -> Result<usize, LibraryError> {
    let head = N + 4;
    let out = room(out, input.len().div_ceil(CHUNK) * (head + max_compress_len(CHUNK)));
    let mut end = 0;
    ENCODER.with_borrow_mut(|encoder| {
        for chunk in input.chunks(CHUNK) {
            let len = encoder.compress(chunk, &mut out[end + head..])?;
            // Both lengths fit: a chunk is 32 KiB before compression and less than 40 KiB after it.
            out[end..end + N].copy_from_slice(&preamble(chunk.len() as u32));
            out[end + N..end + head].copy_from_slice(&(len as u32).to_be_bytes());
            end += head + len;
        }
        Ok(end)
    })
}
