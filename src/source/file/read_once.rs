//! A file's records in chunks, as the source would read them, for whoever wants to see what becomes of them.
//!
//! Always true: the file is read from its beginning to its present end, where the last record ends with or without a
//! delimiter; nothing is remembered of it.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio_util::sync::CancellationToken;
use tracing::error;

use crate::config::model::{FileSourceConfig, OnOversize};
use crate::memory::StreamBudget;
use crate::record::{self, Chunk, PartitionId, Position, SourceEnds};

use super::CHUNK_MAX;
use super::content::{Content, CountedFile, Packing};
use super::cutting::Cutting;
use super::tail::{FileEnd, Read, Tail};
use super::tailed::TailedFile;
use super::text::Extent;
use super::truncate::truncate;

/// What was read.
pub enum Piece {
    Chunk(Chunk),
    /// A record that is longer than the source's limit.
    Oversize {
        start: u64,
        /// Bytes, without the delimiter.
        length: u64,
    },
}

/// Calls `take` with all records of a file, until it answers with an error. `name` is what the records say of their source.
/// Blocks.
pub fn for_each_chunk<E: From<io::Error>>(
    file: File,
    name: PathBuf,
    config: &FileSourceConfig,
    budget: &StreamBudget,
    mut take: impl FnMut(Piece) -> Result<(), E>,
) -> Result<(), E> {
    let cutting = Arc::new(Cutting::new(config));
    let content = Arc::new(content(CountedFile::new(file), &name, &cutting)?);
    let partition = Arc::new(TailedFile::new(PartitionId(0), content, name, 0, None));
    let mut tail = Tail::new(partition.clone(), 0, Vec::new(), cutting);
    tail.look()?;
    loop {
        let (start, end, data, ends, last_is_bare) = match tail.read(CHUNK_MAX, FileEnd::Final)? {
            Read::Nothing => return Ok(()),
            Read::Searching | Read::Skipped { .. } => continue,
            Read::Records { start, end, data, ends, last_is_bare } => (start, end, data, ends, last_is_bare),
            Read::Oversize { start, end, mut head, length } => {
                let OnOversize::Truncate { .. } = config.on_oversize else {
                    take(Piece::Oversize { start, length })?;
                    continue;
                };
                let encoding = tail.cutting().encoding();
                truncate(&mut head, &config.on_oversize.terminator_in(encoding), encoding);
                let ends = vec![head.len() as u32];
                (start, end, head, ends, true)
            }
        };
        let permit = budget.acquire(1, &CancellationToken::new(), Duration::MAX);
        let permit = permit.ok_or_else(|| io::Error::other("no memory is granted"))?;
        take(Piece::Chunk(Chunk {
            partition: partition.clone(),
            start: Position::at(start),
            source_ends: (end - start != data.len() as u64).then(|| SourceEnds::Offsets(Arc::new(vec![end - start]))),
            data: Bytes::from(data),
            ends: Arc::new(ends),
            delimiter_len: tail.cutting().delimiter_len() as u32,
            last_is_bare,
            made: None,
            record_ends: None,
            partitions: None,
            rows: None,
            origins: None,
            earlier: None,
            is_processed: false,
            arrival: record::now(),
            failed_at: None,
            permit,
        }))?;
    }
}

/// As the source would open a file of this name. Of a compressed one that is broken there is what can be decompressed.
fn content(file: CountedFile, name: &Path, cutting: &Cutting) -> io::Result<Content> {
    let Some(packing) = Packing::of(name, &file)? else { return Content::plain(file) };
    let (file, mut extent) = (Arc::new(file), Extent::default());
    if let Err(error) = io::copy(&mut packing.decoder(file.clone())?, &mut extent) {
        let (path, unpacked) = (name.display(), extent.length);
        error!(%path, %error, unpacked, "a compressed file is broken: what lies behind the decompressed bytes cannot be read");
    }
    Content::unpacked(file, packing, extent.text_end(cutting))
}
