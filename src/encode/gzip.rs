//! GZIP: each block is one member (RFC 1952), compressed by libdeflate.
//!
//! Members may follow each other in one file, and gzip, Athena, Spark, DuckDB and Python read such files as one. A member
//! carries no time and no name, so equal input stays equal output.

use std::cell::RefCell;

use libdeflater::{CompressionLvl, CompressionLvlError, Compressor};

use super::codec::{LibraryError, PerLevel, room};

/// A member without content, for a payload without any: a file of no bytes is not a gzip file.
pub(super) const EMPTY: [u8; 20] = [0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 0, 0xFF, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0];

thread_local! {
    static COMPRESSORS: RefCell<PerLevel<Compressor>> = const { RefCell::new(PerLevel::new()) };
}

/// Writes `input` to `out` as one member and says how long it is. Levels are libdeflate's, 1 to 12.
pub(super) fn encode(level: u8, input: &[u8], out: &mut Vec<u8>) -> Result<usize, LibraryError> {
    COMPRESSORS.with_borrow_mut(|compressors| {
        let compressor = compressors.get(level, || compressor(level))?;
        let bound = compressor.gzip_compress_bound(input.len());
        Ok(compressor.gzip_compress(input, room(out, bound))?)
    })
}

fn compressor(level: u8) -> Result<Compressor, LibraryError> {
    let level = CompressionLvl::new(level.into())
        .map_err(|CompressionLvlError::InvalidValue| format!("libdeflate has no level {level}"))?;
    Ok(Compressor::new(level))
}
