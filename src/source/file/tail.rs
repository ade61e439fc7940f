//! One file that is being read: from its position to its present end, a chunk of whole records at a time.
//!
//! Always true: `position` is where the next record begins, or the file's preamble goes on. What cannot be read yet (a last
//! line without its delimiter) is read again later; a record that is longer than a chunk is first searched for its end in a
//! small window, so a record of any length costs no more memory than its limit.

mod again;
mod preamble;
mod search;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use crate::batches::{Batch, Told};
use crate::failpoint;
use crate::memory::blocks;
use crate::record::Position;

use super::content::Seen;
use super::cutting::{Cut, Cutting};
use super::tailed::TailedFile;
use super::text::TextEnd;
use preamble::Preamble;
use search::Search;

/// The reading side of a [`TailedFile`].
pub struct Tail {
    pub file: Arc<TailedFile>,
    pub position: u64,
    cutting: Arc<Cutting>,
    /// What the file begins with that is no record, until it is behind us.
    preamble: Option<Preamble>,
    search: Search,
    /// The record at `position` does not end within a chunk.
    is_long: bool,
    /// Where records must end, ascending, all at or behind `position`.
    cuts: VecDeque<u64>,
    /// In which batches records were read before.
    pub told: Told,
    /// The one that holds what was read last.
    told_of_last: Option<Batch>,
    /// Where the file ended at the last look: NULs at its end are none of it.
    pub size: u64,
    text: TextEnd,
    /// What the last look saw.
    seen: Option<Seen>,
    /// Bytes behind the position that were seen and are gone, although the file is the same.
    cut_off: u64,
    /// When a look found more than the one before.
    grown: Instant,
    /// When the file was written to last, by its own account.
    pub modified: Option<SystemTime>,
    /// Whether the file had no name any more at the last look.
    pub is_deleted: bool,
}

/// What one look at a file brought.
pub enum Read {
    /// `data` holds whole records that end at `ends`; the last one has no delimiter if `last_is_bare`. In the source they end
    /// at `end`.
    Records { start: u64, end: u64, data: Vec<u8>, ends: Vec<u32>, last_is_bare: bool },
    /// A record over the limit, of `length` bytes without its delimiter.
    Oversize { start: u64, end: u64, head: Vec<u8>, length: u64 },
    /// No records are here.
    Skipped { start: u64, end: u64 },
    /// What is searched for was not found yet; there is more to search.
    Searching,
    /// No complete record is there.
    Nothing,
}

/// What the file's present end means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileEnd {
    /// More may come, also to the last record.
    Open,
    /// Nothing has come for long: the last record is complete with its last whole line.
    Quiet,
    /// Nothing more is expected: the last record is complete as it stands.
    Final,
}

impl Tail {
    pub fn new(file: Arc<TailedFile>, position: u64, mut cuts: Vec<u64>, cutting: Arc<Cutting>) -> Self {
        cuts.retain(|&cut| cut >= position);
        cuts.sort_unstable();
        cuts.dedup();
        // Since the last life a stale writer may have made a longer one of it.
        let preamble = Preamble::of(position, file.is_behind_hole(), &cutting);
        let modified = file.look().ok().and_then(|seen| seen.modified);
        let mut tail = Self {
            position,
            search: Search::at(if preamble.is_some() { 0 } else { position }),
            is_long: false,
            preamble,
            cutting,
            cuts: cuts.into(),
            told: Told::default(),
            told_of_last: None,
            size: position,
            text: TextEnd::default(),
            grown: Instant::now(),
            seen: None,
            cut_off: 0,
            modified,
            is_deleted: false,
            file,
        };
        // Where this fails, so does the first look.
        let _ = tail.file.look().and_then(|seen| tail.look_at_text(&seen, true));
        tail.size = tail.text.end.max(position);
        tail
    }

    /// Looks at the file. `Ok(false)` when what was read or searched is not there any more: it was truncated, or written
    /// anew. Then [`Tail::behind`] says how much of it was not read.
    pub fn look(&mut self) -> io::Result<bool> {
        let seen = self.file.look()?;
        failpoint::gap("seen");
        self.is_deleted = !seen.is_named;
        self.modified = seen.modified;
        let (before, is_written) = (self.text.end, self.seen != Some(seen));
        // One of which nothing was read is another file when it has become shorter: nothing says that it is the same.
        let known_to = if self.position == 0 { before } else { self.position };
        if seen.size < known_to.max(self.search.searched_to) || (is_written && !self.file.is_unchanged()?) {
            // What a read saw meanwhile may be less than what was there.
            self.size = self.size.max(before);
            return Ok(false);
        }
        let is_news = is_written || (self.text.has_nuls() && self.text.goes_on(&*self.file.content()?)?);
        if is_news || self.text.is_stale {
            self.look_at_text(&seen, is_news)?;
        }
        self.cut_off += before.saturating_sub(seen.size);
        if self.text.end > self.size {
            self.grown = Instant::now();
        }
        if is_news {
            self.look_at_hole_again();
        }
        if self.text.end < self.search.searched_to {
            self.search_again(); // What was not read yet was wiped out.
        }
        self.seen = Some(seen);
        self.size = self.text.end;
        Ok(true)
    }

    /// Looks where the text ends. What the journal holds as a record counts as text, too.
    fn look_at_text(&mut self, seen: &Seen, is_news: bool) -> io::Result<()> {
        let held = self.cuts.iter().rev().find(|&&cut| cut <= seen.size).copied().unwrap_or(0);
        let from = held.max(self.position).min(seen.size);
        self.text.look(&*self.file.content()?, &self.cutting, (from, seen.size), is_news)?;
        if is_news { self.file.look_ahead(self.text.end) } else { Ok(()) }
    }

    /// The search begins again at the position, or with what the file begins with that is no record.
    fn search_again(&mut self) {
        if self.preamble.is_some() {
            self.preamble = Some(Preamble::default());
        }
        self.search = Search::at(if self.preamble.is_some() { 0 } else { self.position });
        self.is_long = false;
    }

    /// The file behind the partition is another one now, equal up to the position.
    pub fn turn_to_other_file(&mut self) {
        self.search_again();
        self.seen = None;
        self.text = TextEnd::default();
        self.size = self.position;
        self.is_deleted = false;
    }

    /// Whether the file has bytes that were not looked at yet.
    pub fn has_news(&self) -> bool {
        self.size > self.search.searched_to.max(self.position)
    }

    /// Whether the next looks may find text although nobody writes to the file.
    pub fn may_have_more(&self) -> bool {
        self.text.is_stale
    }

    /// When the last record is complete up to its last whole line, although more lines might belong to it. A line without
    /// its end behind that does not hold it back.
    pub fn quiet_at(&self) -> Option<Instant> {
        let timeout = self.cutting.timeout?;
        let is_searched = self.search.searched_to >= self.size && self.preamble.is_none();
        let waits = is_searched && self.search.line > self.position;
        waits.then(|| self.grown + timeout)
    }

    /// Bytes that are there and not read.
    pub fn behind(&self) -> u64 {
        self.size.saturating_sub(self.position)
    }

    /// Bytes that were seen, were not read, and have been cut off from the file since this was asked last.
    pub fn take_cut_off(&mut self) -> u64 {
        std::mem::take(&mut self.cut_off)
    }

    pub fn cutting(&self) -> &Arc<Cutting> {
        &self.cutting
    }

    /// How many bytes the next [`Tail::read`] will hold at most.
    pub fn next_size(&self, chunk: u64) -> u64 {
        if self.is_searching() {
            // A long record: itself, or its beginning.
            return (self.cutting.max_record + self.cutting.delimiter_len()).min(self.behind()).max(chunk);
        }
        self.behind().min(self.window(chunk))
    }

    /// Reads up to `chunk` bytes of records.
    pub fn read(&mut self, chunk: u64, end: FileEnd) -> io::Result<Read> {
        if self.size < self.search.searched_to {
            return Ok(Read::Nothing); // It was truncated since the last look: the next one says so.
        }
        if let Some(preamble) = self.preamble
            && let Some(read) = self.read_preamble(preamble, end)?
        {
            return Ok(read);
        }
        self.pass_cuts();
        if self.is_searching() {
            return self.read_long(end);
        }
        if let Some(read) = self.read_batch(chunk)? {
            return Ok(read);
        }
        let window = self.window(chunk);
        let length = self.behind().min(window);
        let mut data = blocks::take(length as usize);
        self.fill(&mut data, self.position, length)?;
        let records_max = (data.len() / 8).max(16);
        let mut cut = self.cutting.cut(&data, self.position, false, records_max);
        if let Some(early) = self.early_cut(&cut.ends, data.len()) {
            data.truncate(early);
            cut = self.cutting.cut(&data, self.position, true, records_max);
        }
        let Cut { ends, last_is_bare } = self.stop_at_border(cut);
        let Some(&whole) = ends.last() else {
            self.is_long = self.behind() > window;
            return match (data.is_empty(), self.is_long) {
                (true, _) => Ok(Read::Nothing),
                // It takes more memory than a chunk: that is asked for before the next turn.
                (false, true) => Ok(Read::Searching),
                (false, false) => {
                    drop(data);
                    self.read_long(end)
                }
            };
        };
        data.truncate(whole as usize);
        Ok(self.pass_records(data, ends, last_is_bare))
    }

    /// The first cut within so many bytes at which none of these records ends; where there are any, one before the last of them.
    fn early_cut(&self, ends: &[u32], length: usize) -> Option<usize> {
        let bound = ends.last().map_or(length, |&end| end as usize - 1);
        let mut cuts = self.cuts.iter().filter_map(|cut| usize::try_from(cut - self.position).ok());
        let mut left = ends;
        cuts.by_ref().take_while(|&cut| cut <= bound).find(|&cut| {
            left = &left[left.partition_point(|&end| (end as usize) < cut)..];
            left.first().is_none_or(|&end| end as usize != cut)
        })
    }

    /// Whole records from the position on, which is behind them afterwards.
    fn pass_records(&mut self, data: Vec<u8>, ends: Vec<u32>, last_is_bare: bool) -> Read {
        let start = self.position;
        self.file.passed(start, &data);
        self.advance(start + data.len() as u64);
        Read::Records { start, end: self.position, data, ends, last_is_bare }
    }

    /// Whether only the end of the next record is looked for.
    fn is_searching(&self) -> bool {
        self.is_long || self.search.searched_to > self.position
    }

    /// Finds the end of one record that is long or not complete, and reads it once its end is known.
    fn read_long(&mut self, end: FileEnd) -> io::Result<Read> {
        let cut = self.cuts.front().copied().filter(|&cut| cut <= self.size);
        let bound = cut.unwrap_or(self.size);
        let end = if cut.is_some() { FileEnd::Final } else { end };
        let Some(found) = self.find_end(bound, end)? else {
            return Ok(if self.search.searched_to < bound { Read::Searching } else { Read::Nothing });
        };
        // Should what follows fail, the end is searched for again.
        self.search = Search::at(self.position);
        let (start, max_record) = (self.position, self.cutting.max_record);
        let length = (found.end - start).saturating_sub(if found.is_bare { 0 } else { self.cutting.delimiter_len() });
        let last_is_bare = found.is_bare || found.is_early;
        let delimiter_len = if last_is_bare { 0 } else { self.cutting.delimiter_len() };
        let wanted = if length > max_record { max_record } else { length + delimiter_len };
        let mut data = Vec::new();
        self.fill(&mut data, start, wanted)?;
        if (data.len() as u64) < wanted {
            return Ok(Read::Nothing); // It has become shorter under our hands: the next look sees it.
        }
        if length > max_record {
            self.advance(found.end);
            return Ok(Read::Oversize { start, end: found.end, head: data, length });
        }
        self.file.passed(start, &data);
        self.advance(found.end);
        let ends = vec![data.len() as u32];
        Ok(Read::Records { start, end: found.end, data, ends, last_is_bare })
    }

    fn advance(&mut self, position: u64) {
        self.file.passed_to(position);
        self.told_of_last = self.told.holding(Position::at(self.position), Position::at(position));
        self.position = position;
        self.search = Search::at(position);
        self.is_long = false;
        self.pass_cuts();
    }

    /// From here on only cuts behind `position` are asked for.
    fn pass_cuts(&mut self) {
        while self.cuts.front().is_some_and(|&cut| cut <= self.position) {
            self.cuts.pop_front();
        }
        self.told.pass(Position::at(self.position));
    }

    /// Appends up to `length` bytes at `at`, fewer where the file ends.
    fn fill(&mut self, data: &mut Vec<u8>, at: u64, length: u64) -> io::Result<()> {
        let base = data.len();
        self.file.content()?.read(data, at, length)?;
        failpoint::gap("filled");
        if !self.file.is_unchanged()? {
            // It was written anew since the last look, before these bytes were read: they are not this partition's.
            data.truncate(base);
            self.size = self.position;
        } else if data.len() - base < length as usize {
            // It has become shorter since the last look; the next one says what that means.
            self.size = self.size.min(at + (data.len() - base) as u64);
        }
        Ok(())
    }
}
