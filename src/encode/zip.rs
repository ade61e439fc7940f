//! ZIP as Firehose writes it: an archive with one deflated entry, whose name is a UUID.
//!
//! The archive is written as it grows, without going back: the local header says that sizes and checksum follow the data
//! (a data descriptor), the blocks come next, and the trailer ends the deflate stream and holds the rest.
//!
//! Each block is raw deflate that begins with an empty window and ends with a sync flush, that is on a byte boundary and
//! without the final bit. So blocks can be put end to end, as pigz does, and the trailer's empty final block ends them.
//! This is why the archive is not written by the zip crate: its writer is one sequential deflate stream, in which no block
//! could be compressed beside another.
//!
//! Sizes have 32 bits in the format, which is plenty: a buffer ends at 128 MB and one record.

use std::cell::RefCell;

use flate2::{Compress, Compression, FlushCompress};
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::codec::{LibraryError, PerLevel, Totals, room};

/// Sizes and checksum follow the data (bit 3); names are UTF-8 (bit 11).
const FLAGS: u16 = 1 << 3 | 1 << 11;
const DEFLATED: u16 = 8;
/// Version of the format that a reader must know for deflate.
const VERSION: u16 = 20;
/// A final deflate block without content: final bit, fixed codes, end of block.
const FINAL_BLOCK: [u8; 2] = [0x03, 0x00];
const LOCAL_HEADER_LEN: usize = 30;

thread_local! {
    static COMPRESSORS: RefCell<PerLevel<Compress>> = const { RefCell::new(PerLevel::new()) };
}

/// Writes `input` to `out` as deflate blocks up to a sync flush and says how long they are. Levels are zlib's, 1 to 9.
pub(super) fn encode(level: u8, input: &[u8], out: &mut Vec<u8>) -> Result<usize, LibraryError> {
    COMPRESSORS.with_borrow_mut(|compressors| {
        let make = || Ok::<_, LibraryError>(Compress::new(Compression::new(level.into()), false));
        let compressor = compressors.get(level, make)?;
        // More than deflate needs for input that does not compress.
        deflate(compressor, input, out, input.len() + input.len() / 8 + 256)
    })
}

/// Starts with `bound` bytes of room, and takes more should they not do.
fn deflate(
    compressor: &mut Compress,
    input: &[u8],
    out: &mut Vec<u8>,
    mut bound: usize,
) -> Result<usize, LibraryError> {
    compressor.reset();
    loop {
        let (read, written) = (compressor.total_in() as usize, compressor.total_out() as usize);
        compressor.compress(&input[read..], &mut room(out, bound)[written..], FlushCompress::Sync)?;
        let written = compressor.total_out() as usize;
        // Only room that is left over shows that everything has been flushed.
        if written < bound {
            return Ok(written);
        }
        bound *= 2;
    }
}

/// The local header of the entry.
pub(super) fn header(entry_name: &str, at: Timestamp) -> Vec<u8> {
    let name = name_field(entry_name);
    let mut bytes = Vec::with_capacity(LOCAL_HEADER_LEN + name.len());
    bytes.extend(b"PK\x03\x04");
    put16(&mut bytes, [VERSION, FLAGS, DEFLATED]);
    put16(&mut bytes, dos_time(at));
    put32(&mut bytes, [0, 0, 0]); // checksum and sizes: in the data descriptor
    put16(&mut bytes, [name.len() as u16, 0]);
    bytes.extend(name);
    bytes
}

/// The end of the deflate stream, the data descriptor, the central directory and its end record.
pub(super) fn trailer(entry_name: &str, at: Timestamp, totals: &Totals) -> Vec<u8> {
    let name = name_field(entry_name);
    let size = |size: u64| u32::try_from(size).unwrap_or(u32::MAX);
    let output_len = totals.output_len + FINAL_BLOCK.len() as u64;
    let (output_field, input_field) = (size(output_len), size(totals.input_len));

    let mut bytes = FINAL_BLOCK.to_vec();
    bytes.extend(b"PK\x07\x08");
    put32(&mut bytes, [totals.crc32(), output_field, input_field]);

    let directory_start = bytes.len();
    let directory_offset = (LOCAL_HEADER_LEN + name.len() + bytes.len()) as u64 + totals.output_len;
    bytes.extend(b"PK\x01\x02");
    put16(&mut bytes, [VERSION, VERSION, FLAGS, DEFLATED]);
    put16(&mut bytes, dos_time(at));
    put32(&mut bytes, [totals.crc32(), output_field, input_field]);
    put16(&mut bytes, [name.len() as u16, 0, 0]); // name, extra field, comment
    put16(&mut bytes, [0, 0]); // disk, internal attributes
    put32(&mut bytes, [0, 0]); // external attributes, offset of the local header
    bytes.extend(name);
    let directory_len = bytes.len() - directory_start;

    bytes.extend(b"PK\x05\x06");
    put16(&mut bytes, [0, 0, 1, 1]); // disks, entries
    put32(&mut bytes, [directory_len as u32, size(directory_offset)]);
    put16(&mut bytes, [0]); // comment
    bytes
}

/// The format's limit is 65,535 bytes; ours are UUIDs.
fn name_field(entry_name: &str) -> &[u8] {
    &entry_name.as_bytes()[..entry_name.floor_char_boundary(u16::MAX.into())]
}

/// Time and date in UTC, in steps of two seconds, years 1980 to 2107.
fn dos_time(at: Timestamp) -> [u16; 2] {
    let at = at.to_zoned(TimeZone::UTC).datetime();
    if at.year() < 1980 {
        return [0, 1 << 5 | 1];
    }
    if at.year() > 2107 {
        return [23 << 11 | 59 << 5 | 29, 127 << 9 | 12 << 5 | 31];
    }
    let time = (at.hour() as u16) << 11 | (at.minute() as u16) << 5 | (at.second() as u16 / 2);
    let date = (at.year() as u16 - 1980) << 9 | (at.month() as u16) << 5 | at.day() as u16;
    [time, date]
}

fn put16<const N: usize>(bytes: &mut Vec<u8>, values: [u16; N]) {
    bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
}

fn put32<const N: usize>(bytes: &mut Vec<u8>, values: [u32; N]) {
    bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_gets_more_room_where_the_bound_is_too_low() {
        let input: Vec<u8> = (0..100_000u32).flat_map(|n| n.wrapping_mul(0x9E37_79B9).to_le_bytes()).collect();
        for bound in [1, 6, 4096, 400_000] {
            let (mut out, mut compressor) = (Vec::new(), Compress::new(Compression::new(6), false));
            let len = deflate(&mut compressor, &input, &mut out, bound).unwrap();
            let deflated = [&out[..len], &FINAL_BLOCK].concat();
            let mut inflated = vec![0; input.len() + 1];
            let mut reader = libdeflater::Decompressor::new();
            assert_eq!(reader.deflate_decompress(&deflated, &mut inflated).unwrap(), input.len(), "bound {bound}");
            assert!(inflated[..input.len()] == input, "bound {bound}");
        }
    }

    #[test]
    fn times_are_utc_and_stay_in_the_formats_years() {
        let fields = |text: &str| dos_time(text.parse().unwrap());
        assert_eq!(fields("2026-11-20T13:14:16+01:00"), [12 << 11 | 14 << 5 | 8, 46 << 9 | 11 << 5 | 20]);
        assert_eq!(fields("1970-01-01T00:00:00Z"), [0, 1 << 5 | 1]);
        assert_eq!(fields("2200-01-01T00:00:00Z"), fields("2107-12-31T23:59:59Z"));
    }

    #[test]
    fn a_name_that_is_too_long_is_cut_between_characters() {
        assert_eq!(name_field(&"é".repeat(40_000)).len(), 65_534);
    }
}
