//! Records that are read again: in the batches of an earlier life, so that the same is made of them.
//!
//! Always true: records end where they would end without batches. A batch whose borders are no ends of records, or across
//! which the journal holds an end that is none now, does not fit the file: from there on none is asked for.

use std::io;

use crate::batches::{Batch, Told};
use crate::record::Position;
use crate::source::file::CHUNK_MAX;

use super::{Cut, Read, Tail};

/// Bytes behind a batch that are looked at first: whether a record of several lines ends, the next line says.
const AHEAD: u64 = 4 << 10;
/// Records that a chunk has at most.
const RECORDS_MAX: usize = CHUNK_MAX as usize / 8;

impl Tail {
    /// The batch of an earlier life that holds what was just read.
    pub fn batch_of(&self, read: &Read) -> Option<Batch> {
        match read {
            Read::Records { .. } | Read::Oversize { .. } => self.told_of_last,
            Read::Skipped { .. } | Read::Searching | Read::Nothing => None,
        }
    }

    /// How many bytes the next read may hold where records are not longer than `chunk`: what comes behind a border is read again
    /// in the next turn.
    pub(super) fn window(&self, chunk: u64) -> u64 {
        let is_multiline = self.cutting.is_multiline();
        match (self.batch_len(chunk), self.border()) {
            (Some(length), _) if is_multiline => chunk.max(length),
            (Some(length), _) => length,
            (None, Some(border)) => chunk.min(border - self.position + if is_multiline { AHEAD } else { 0 }),
            (None, None) => chunk,
        }
    }

    /// Where a record ends cannot be seen without what comes behind it, and to read that again, compressed content would have to be
    /// decompressed from its beginning, for each batch.
    fn is_too_costly(&self) -> bool {
        self.cutting.is_multiline() && self.file.content().is_ok_and(|content| content.is_unpacked())
    }

    fn border(&self) -> Option<u64> {
        self.told.border(Position::at(self.position)).map(Position::offset).filter(|_| !self.is_too_costly())
    }

    /// Bytes of the batch that begins at the position. One of a long record is read as any long record is.
    fn batch_len(&self, chunk: u64) -> Option<u64> {
        let length = self.told.end_of(Position::at(self.position))?.offset() - self.position;
        (length <= chunk.max(CHUNK_MAX) && !self.is_too_costly()).then_some(length)
    }

    /// Reads the batch that begins at the position, if there is one.
    pub(super) fn read_batch(&mut self, chunk: u64) -> io::Result<Option<Read>> {
        let Some(length) = self.batch_len(chunk) else { return Ok(None) };
        let is_cut = self.cuts.binary_search(&(self.position + length)).is_ok();
        let mut data = Vec::new();
        let Cut { mut ends, last_is_bare } = if self.cutting.is_multiline() {
            self.cut_ahead(&mut data, length, chunk.max(length))?
        } else {
            self.fill(&mut data, self.position, length)?;
            self.cutting.cut(&data, self.position, is_cut, RECORDS_MAX)
        };
        if ends.is_empty() {
            // A single one over the limit, or it does not fit. The next turn asks for the memory that it takes.
            self.is_long = true;
            return Ok(Some(Read::Searching));
        }
        let Some(last) = self.last_of_batch(&ends, length) else {
            if is_cut && self.cutting.is_multiline() {
                return Ok(None); // A single one that was waited for in vain: it ends at the cut.
            }
            self.told = Told::default();
            return Ok(Some(Read::Searching));
        };
        ends.truncate(last + 1);
        data.truncate(length as usize);
        Ok(Some(self.pass_records(data, ends, last_is_bare)))
    }

    /// Which of the ends is that of the batch; `None` if the batch does not fit.
    fn last_of_batch(&self, ends: &[u32], length: u64) -> Option<usize> {
        let end_at = |to: u64| u32::try_from(to).ok().and_then(|to| ends.binary_search(&to).ok());
        let mut inner = self.cuts.iter().map(|cut| cut - self.position).take_while(|&cut| cut < length);
        let last = end_at(length)?;
        inner.all(|cut| end_at(cut).is_some()).then_some(last)
    }

    /// The records of several lines at the position, of so many bytes as it takes to see that one ends behind `length` of them.
    fn cut_ahead(&mut self, data: &mut Vec<u8>, length: u64, window_max: u64) -> io::Result<Cut> {
        let mut window = (length + AHEAD).min(window_max);
        loop {
            *data = Vec::new(); // No more than was asked for.
            self.fill(data, self.position, self.behind().min(window))?;
            let cut = self.cutting.cut(data, self.position, false, RECORDS_MAX);
            let is_seen = cut.ends.iter().any(|&end| u64::from(end) >= length);
            if is_seen || window == window_max || window >= self.behind() {
                return Ok(cut);
            }
            window = (2 * window).min(window_max);
        }
    }

    /// What does not belong into a batch ends where one begins.
    pub(super) fn stop_at_border(&self, mut cut: Cut) -> Cut {
        let border = self.border().and_then(|border| u32::try_from(border - self.position).ok());
        if let Some(at) = border.and_then(|border| cut.ends.binary_search(&border).ok())
            && at + 1 < cut.ends.len()
        {
            cut.ends.truncate(at + 1);
            cut.last_is_bare = false;
        }
        cut
    }
}
