//! The records of a file, found as the source would find them, for whoever counts them.
//!
//! Always true: a file is cut as it is when it is read from its beginning to its present end, where the last record ends
//! with or without a delimiter; memory is that of one chunk, or of one record at its limit.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use encoding_rs::Encoding;

use crate::config::model::FileSourceConfig;
use crate::record::PartitionId;

use super::CHUNK_MAX;
use super::content::Content;
use super::cutting::Cutting;
use super::tail::{FileEnd, Read, Tail};
use super::tailed::TailedFile;

/// Calls `found` with the position of each record in the first `size` bytes of a file, whose byte order is `order` if no mark
/// says otherwise. Records end at `cuts`, too. Blocks.
pub fn for_each_record(
    content: Arc<Content>,
    config: &FileSourceConfig,
    order: Option<&'static Encoding>,
    size: u64,
    cuts: Vec<u64>,
    mut found: impl FnMut(u64),
) -> io::Result<()> {
    let cutting = Arc::new(Cutting::new(config));
    // Nobody knows this partition: it is read for its records alone.
    let file = TailedFile::new(PartitionId(0), content, PathBuf::new(), 0, None);
    file.was_in(order);
    let mut tail = Tail::new(Arc::new(file), 0, cuts, cutting);
    tail.size = size;
    loop {
        match tail.read(CHUNK_MAX, FileEnd::Final)? {
            Read::Records { start, ends, .. } => {
                found(start);
                // Each record but the last is followed by another one.
                ends.iter().rev().skip(1).rev().for_each(|&end| found(start + u64::from(end)));
            }
            Read::Oversize { start, .. } => found(start),
            Read::Searching | Read::Skipped { .. } => {}
            Read::Nothing => return Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::cutting::tests::config;
    use super::*;
    use crate::source::file::content::CountedFile;
    use std::os::unix::fs::FileExt;

    fn positions(content: &[u8], size: u64, cuts: &[u64]) -> Vec<u64> {
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(content, 0).unwrap();
        let mut positions = Vec::new();
        let content = Arc::new(Content::plain(CountedFile::new(file)).unwrap());
        for_each_record(content, &config("\n", 5), None, size, cuts.to_vec(), |at| positions.push(at)).unwrap();
        positions
    }

    #[test]
    fn short_long_empty_and_unfinished_records_count_once_each() {
        let content = b"one\n\nlonger than five\ntwo\nhal";
        assert_eq!(positions(content, 29, &[]), [0, 4, 5, 22, 26]);
        assert_eq!(positions(content, 27, &[]), [0, 4, 5, 22, 26], "what lies behind the size is not looked at");
        assert_eq!(positions(content, 29, &[24]), [0, 4, 5, 22, 24, 26], "a record ends where the journal says");
        assert_eq!(positions(b"", 0, &[]), Vec::<u64>::new());
    }
}
