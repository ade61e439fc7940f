//! The bare compressors: a file is read in pieces, compressed, and the output counted and thrown away.
//!
//! Nobody can deliver for less, so this is what Hydrant is held against. Pieces are those that Hydrant compresses: 1 MiB,
//! except flate2's, which is one stream, as in most agents.

use std::error::Error;
use std::fmt;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;
use std::process::Command;

use crate::process::{self, Usage};

const PIECE: usize = 1 << 20;
const SNAPPY_CHUNK: usize = 32 << 10;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Codec {
    /// Reads and writes, to compare delivery without compression with.
    Copy,
    /// zlib-rs, one stream of gzip.
    Flate2(i32),
    /// Independent gzip members.
    Libdeflate(i32),
    Snappy,
    Zstd(i32),
}

impl Codec {
    fn name(self) -> &'static str {
        match self {
            Self::Copy => "copy",
            Self::Flate2(_) => "flate2",
            Self::Libdeflate(_) => "libdeflate",
            Self::Snappy => "snappy",
            Self::Zstd(_) => "zstd",
        }
    }

    fn level(self) -> i32 {
        match self {
            Self::Copy | Self::Snappy => 0,
            Self::Flate2(level) | Self::Libdeflate(level) | Self::Zstd(level) => level,
        }
    }

    fn parse(name: &str, level: i32) -> Result<Self, Box<dyn Error>> {
        [Self::Copy, Self::Flate2(level), Self::Libdeflate(level), Self::Snappy, Self::Zstd(level)]
            .into_iter()
            .find(|codec| codec.name() == name)
            .ok_or_else(|| format!("unknown codec `{name}`").into())
    }
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Copy => write!(f, "bare read and write"),
            Self::Snappy => write!(f, "bare snap"),
            Self::Flate2(level) => write!(f, "bare flate2 (zlib-rs) {level}"),
            Self::Libdeflate(level) => write!(f, "bare libdeflate {level}"),
            Self::Zstd(level) => write!(f, "bare zstd {level}"),
        }
    }
}

/// Runs a codec over the first `limit` bytes of a file, in a process of its own, and says what it cost and how many
/// bytes came out.
pub fn run(codec: Codec, input: &Path, limit: u64, scratch: &Path) -> Result<(Usage, u64), Box<dyn Error>> {
    let said = scratch.join("bare-said");
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["--bare", codec.name(), &codec.level().to_string()]).arg(input).arg(limit.to_string());
    command.current_dir(scratch);
    let usage = process::run(&mut command, &said)?;
    let output = std::fs::read_to_string(&said)?;
    let length = output.trim().parse().map_err(|_| format!("the bare run said `{output}`"))?;
    Ok((usage, length))
}

/// The other side of `run`.
pub fn child(codec: &str, level: &str, input: &str, limit: &str) -> Result<(), Box<dyn Error>> {
    let codec = Codec::parse(codec, level.parse()?)?;
    let input = File::open(input)?.take(limit.parse()?);
    println!("{}", compress(codec, input)?);
    Ok(())
}

fn compress(codec: Codec, input: impl Read) -> Result<u64, Box<dyn Error>> {
    match codec {
        Codec::Copy => {
            let mut copy = File::create("bare-copy")?;
            let length = each_piece(input, |piece| copy.write_all(piece).map(|()| piece.len()))?;
            copy.sync_all()?;
            std::fs::remove_file("bare-copy")?;
            Ok(length)
        }
        Codec::Flate2(level) => {
            let level = flate2::Compression::new(level.unsigned_abs());
            let mut encoder = flate2::write::GzEncoder::new(Counter(0), level);
            each_piece(input, |piece| encoder.write_all(piece).map(|()| 0))?;
            Ok(encoder.finish()?.0)
        }
        Codec::Libdeflate(level) => {
            let level = libdeflater::CompressionLvl::new(level).map_err(|_| "libdeflate has no such level")?;
            let mut compressor = libdeflater::Compressor::new(level);
            let mut out = vec![0; compressor.gzip_compress_bound(PIECE)];
            each_piece(input, |piece| compressor.gzip_compress(piece, &mut out).map_err(io::Error::other))
        }
        Codec::Snappy => {
            let mut encoder = snap::raw::Encoder::new();
            let mut out = vec![0; snap::raw::max_compress_len(SNAPPY_CHUNK)];
            each_piece(input, |piece| {
                piece
                    .chunks(SNAPPY_CHUNK)
                    .map(|chunk| encoder.compress(chunk, &mut out).map_err(io::Error::other))
                    .sum()
            })
        }
        Codec::Zstd(level) => {
            let mut compressor = zstd::bulk::Compressor::new(level)?;
            let mut out = vec![0; zstd::zstd_safe::compress_bound(PIECE)];
            each_piece(input, |piece| compressor.compress_to_buffer(piece, &mut out[..]))
        }
    }
}

/// Hands the input on piece by piece and adds up what `use_piece` answers.
fn each_piece(
    mut input: impl Read,
    mut use_piece: impl FnMut(&[u8]) -> io::Result<usize>,
) -> Result<u64, Box<dyn Error>> {
    let mut piece = Vec::with_capacity(PIECE);
    let mut total = 0;
    loop {
        piece.clear();
        input.by_ref().take(PIECE as u64).read_to_end(&mut piece)?;
        if piece.is_empty() {
            return Ok(total);
        }
        total += use_piece(&piece)? as u64;
    }
}

struct Counter(u64);

impl Write for Counter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
