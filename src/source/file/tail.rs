//! One file that is being read: from its position to its present end, a chunk of whole records at a time.
//!
//! Always true: `position` is where the next record begins, and no delimiter begins between it and `searched_to`. What
//! cannot be read yet (a last line without its delimiter) is read again later; a record that is longer than a chunk is
//! first searched for its end in a small window, so a line of any length costs no more memory than its limit.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use memchr::memmem;

use super::content::Seen;
use super::tailed::TailedFile;

/// Window in which the end of a long record is searched for.
const WINDOW: usize = 128 << 10;
/// Bytes searched for the end of a long record before other files get their turn.
const SEARCH_STEP: u64 = 16 << 20;

/// How records are cut out of the bytes.
#[derive(Clone)]
pub struct Cutting {
    pub delimiter: Arc<memmem::Finder<'static>>,
    pub max_record: u64,
}

impl Cutting {
    pub fn new(delimiter: &[u8], max_record: u64) -> Self {
        Self { delimiter: Arc::new(memmem::Finder::new(delimiter).into_owned()), max_record }
    }

    fn len(&self) -> u64 {
        self.delimiter.needle().len() as u64
    }

    fn has_end(&self, data: &[u8]) -> bool {
        self.delimiter.find(data).is_some()
    }

    /// Appends the ends of the records that `data` begins with, at most `records_max`; stops before a record that is over
    /// the limit.
    fn ends(&self, data: &[u8], ends: &mut Vec<u32>, records_max: usize) {
        let needle = self.delimiter.needle();
        let limit = (self.max_record + self.len()).min(u64::from(u32::MAX)) as u32;
        let mut start = 0u32;
        let mut take = |end: u32| {
            let fits = end - start <= limit && ends.len() < records_max;
            if fits {
                ends.push(end);
                start = end;
            }
            fits
        };
        match needle {
            [byte] => {
                for at in memchr::memchr_iter(*byte, data) {
                    if !take(at as u32 + 1) {
                        break;
                    }
                }
            }
            _ => {
                for at in self.delimiter.find_iter(data) {
                    if !take((at + needle.len()) as u32) {
                        break;
                    }
                }
            }
        }
    }
}

/// The reading side of a [`TailedFile`].
pub struct Tail {
    pub file: Arc<TailedFile>,
    pub position: u64,
    searched_to: u64,
    /// Where records must end, ascending, all behind `position`.
    cuts: VecDeque<u64>,
    /// Size at the last look.
    pub size: u64,
    /// What the last look saw.
    seen: Option<Seen>,
    /// Whether the file had no name any more at the last look.
    pub is_deleted: bool,
}

/// What one look at a file brought.
pub enum Read {
    /// `data` holds whole records that end at `ends`; the last one has no delimiter if `last_is_bare`.
    Records { start: u64, data: Vec<u8>, ends: Vec<u32>, last_is_bare: bool },
    /// A record over the limit, of `length` bytes without its delimiter.
    Oversize { start: u64, end: u64, head: Vec<u8>, length: u64 },
    /// A long record's end was not found yet; there is more to search.
    Searching,
    /// No complete record is there.
    Nothing,
}

impl Tail {
    pub fn new(file: Arc<TailedFile>, position: u64, mut cuts: Vec<u64>) -> Self {
        cuts.retain(|&cut| cut > position);
        cuts.sort_unstable();
        cuts.dedup();
        Self { file, position, searched_to: position, cuts: cuts.into(), size: position, seen: None, is_deleted: false }
    }

    /// Looks at the file. `Ok(false)` when what was read is not there any more: it was truncated, or written anew.
    pub fn look(&mut self) -> io::Result<bool> {
        let seen = self.file.look()?;
        self.is_deleted = !seen.is_named;
        if seen.size < self.position {
            return Ok(false);
        }
        if self.seen != Some(seen) && !self.file.is_unchanged()? {
            return Ok(false);
        }
        self.seen = Some(seen);
        self.size = seen.size;
        Ok(true)
    }

    /// The file behind the partition is another one now, equal up to the position.
    pub fn turn_to_other_file(&mut self) {
        self.searched_to = self.position;
        self.seen = None;
        self.size = self.position;
        self.is_deleted = false;
    }

    /// Whether the file has bytes that were not looked at yet.
    pub fn has_news(&self) -> bool {
        self.size > self.searched_to.max(self.position)
    }

    /// Bytes that are there and not read.
    pub fn behind(&self) -> u64 {
        self.size.saturating_sub(self.position)
    }

    /// How many bytes the next [`Tail::read`] will hold at most.
    pub fn next_size(&self, chunk: u64, cutting: &Cutting) -> u64 {
        if self.searched_to > self.position {
            // A long record: itself, or its beginning.
            return (cutting.max_record + cutting.len()).min(self.behind()).max(chunk);
        }
        self.behind().min(chunk)
    }

    /// Reads up to `chunk` bytes of records. `is_final` says that the file's present end is the end of a record.
    pub fn read(&mut self, chunk: u64, cutting: &Cutting, is_final: bool) -> io::Result<Read> {
        if self.searched_to > self.position {
            return self.read_long(cutting, is_final);
        }
        let mut data = Vec::new();
        self.fill(&mut data, self.position, self.behind().min(chunk))?;
        // A record must end at the next cut; nothing behind it is looked at in this turn.
        let cut = self.cuts.front().map(|cut| cut - self.position).filter(|&cut| cut <= data.len() as u64);
        if let Some(cut) = cut {
            data.truncate(cut as usize);
        }
        let mut ends = Vec::with_capacity(data.len() / 128 + 1);
        cutting.ends(&data, &mut ends, (data.len() / 8).max(16));
        let mut whole = ends.last().map_or(0, |&end| end as usize);
        let rest = data.len() - whole;
        let mut last_is_bare = false;
        if cut.is_some() && rest > 0 && rest as u64 <= cutting.max_record && !cutting.has_end(&data[whole..]) {
            ends.push(data.len() as u32);
            whole = data.len();
            last_is_bare = true;
        }
        if ends.is_empty() {
            self.searched_to = self.position;
            return if data.is_empty() { Ok(Read::Nothing) } else { self.read_long(cutting, is_final) };
        }
        data.truncate(whole);
        let start = self.position;
        self.file.passed(start, &data);
        self.advance(start + whole as u64);
        Ok(Read::Records { start, data, ends, last_is_bare })
    }

    /// Finds the end of one record that is long or not complete, and reads it once its end is known.
    fn read_long(&mut self, cutting: &Cutting, is_final: bool) -> io::Result<Read> {
        let search_end = self.searched_to.max(self.position).saturating_add(SEARCH_STEP);
        let cut = self.cuts.front().copied().filter(|&cut| cut <= self.size);
        let bound = cut.unwrap_or(self.size);
        let Some((end, has_delimiter)) = self.find_end(cutting, bound, search_end, cut.is_some() || is_final)? else {
            return Ok(if self.searched_to < bound { Read::Searching } else { Read::Nothing });
        };
        let start = self.position;
        let length = end - start - if has_delimiter { cutting.len() } else { 0 };
        let mut data = Vec::new();
        self.fill(&mut data, start, (end - start).min(cutting.max_record + cutting.len()))?;
        if length > cutting.max_record {
            data.truncate(cutting.max_record as usize);
            self.advance(end);
            return Ok(Read::Oversize { start, end, head: data, length });
        }
        if data.len() as u64 != end - start {
            return Ok(Read::Nothing); // It has become shorter under our hands: the next look sees it.
        }
        self.file.passed(start, &data);
        self.advance(end);
        let ends = vec![data.len() as u32];
        Ok(Read::Records { start, data, ends, last_is_bare: !has_delimiter })
    }

    /// The position behind the record that begins at `position`, and whether it ends with the delimiter. Searches up to
    /// `bound`, and in this turn no further than `search_end`; where `at_bound` the bound itself ends the record.
    fn find_end(
        &mut self,
        cutting: &Cutting,
        bound: u64,
        search_end: u64,
        at_bound: bool,
    ) -> io::Result<Option<(u64, bool)>> {
        let overlap = cutting.len() - 1;
        let mut window = Vec::with_capacity(WINDOW);
        loop {
            let from = self.searched_to.saturating_sub(overlap).max(self.position);
            window.clear();
            self.fill(&mut window, from, bound.saturating_sub(from).min(WINDOW as u64))?;
            if let Some(at) = cutting.delimiter.find(&window) {
                return Ok(Some((from + at as u64 + cutting.len(), true)));
            }
            self.searched_to = (from + window.len() as u64).max(self.searched_to);
            if self.searched_to >= bound || window.len() as u64 <= overlap {
                let ends_here = at_bound && self.searched_to >= bound && bound > self.position;
                return Ok(ends_here.then_some((bound, false)));
            }
            if self.searched_to >= search_end {
                return Ok(None);
            }
        }
    }

    fn advance(&mut self, position: u64) {
        self.file.passed_to(position);
        self.position = position;
        self.searched_to = position;
        while self.cuts.front().is_some_and(|&cut| cut <= position) {
            self.cuts.pop_front();
        }
    }

    /// Appends up to `length` bytes at `at`, fewer where the file ends.
    fn fill(&mut self, data: &mut Vec<u8>, at: u64, length: u64) -> io::Result<()> {
        let base = data.len();
        self.file.content()?.read(data, at, length)?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::PartitionId;
    use crate::source::file::content::{Content, CountedFile};
    use proptest::prelude::*;
    use std::fs::File;
    use std::os::unix::fs::FileExt;
    use std::path::PathBuf;

    fn tail(file: &File, position: u64, cuts: Vec<u64>) -> Tail {
        let content = Content::plain(CountedFile::new(file.try_clone().unwrap())).unwrap();
        let file = TailedFile::new(PartitionId(1), Arc::new(content), PathBuf::from("test"), 0, None);
        Tail::new(Arc::new(file), position, cuts)
    }

    /// Everything that can be read now, as (start, end, data without delimiter or None if oversize).
    fn drain(tail: &mut Tail, chunk: u64, cutting: &Cutting, is_final: bool) -> Vec<(u64, u64, Option<Vec<u8>>)> {
        let mut records = Vec::new();
        assert!(tail.look().unwrap());
        loop {
            match tail.read(chunk, cutting, is_final).unwrap() {
                Read::Records { start, data, ends, last_is_bare } => {
                    let mut from = 0;
                    for (index, &end) in ends.iter().enumerate() {
                        let bare = last_is_bare && index + 1 == ends.len();
                        let text = &data[from as usize..end as usize];
                        let text = if bare { text } else { &text[..text.len() - cutting.len() as usize] };
                        records.push((start + u64::from(from), start + u64::from(end), Some(text.to_vec())));
                        from = end;
                    }
                    assert_eq!(from as usize, data.len());
                }
                Read::Oversize { start, end, head, length } => {
                    assert_eq!(head.len() as u64, cutting.max_record);
                    assert!(length > cutting.max_record);
                    records.push((start, end, None));
                }
                Read::Searching => {}
                Read::Nothing => return records,
            }
        }
    }

    /// The records of `content`, cut by the plainest means.
    fn naive(
        content: &[u8],
        delimiter: &[u8],
        max: usize,
        cuts: &[u64],
        is_final: bool,
    ) -> Vec<(u64, u64, Option<Vec<u8>>)> {
        let mut records = Vec::new();
        let mut start = 0;
        while start < content.len() {
            let bound = cuts.iter().map(|&c| c as usize).find(|&c| c > start && c <= content.len());
            let rest = &content[start..bound.unwrap_or(content.len())];
            let found = rest.windows(delimiter.len()).position(|w| w == delimiter);
            let (text, end) = match found {
                Some(at) => (&rest[..at], start + at + delimiter.len()),
                None if bound.is_some() || is_final => (rest, start + rest.len()),
                None => break,
            };
            records.push((start as u64, end as u64, (text.len() <= max).then(|| text.to_vec())));
            start = end;
        }
        records
    }

    proptest! {
        #[test]
        fn records_are_cut_as_the_plainest_reader_cuts_them(
            pieces in proptest::collection::vec("[ab;]{0,12}", 0..20),
            two in any::<bool>(),
            max in 1u64..12,
            chunk in 1u64..40,
            cuts in proptest::collection::vec(1u64..120, 0..3),
            torn in proptest::collection::vec(0.0f64..1.0, 0..4),
        ) {
            let delimiter: &[u8] = if two { b";;" } else { b";" };
            let content = pieces.concat().into_bytes();
            let cutting = Cutting::new(delimiter, max);
            let mut sorted = cuts.clone();
            sorted.sort_unstable();
            // Cuts are ends of records that were read before, so they lie within what was there.
            sorted.retain(|&cut| cut <= content.len() as u64);
            let file = tempfile::tempfile().unwrap();
            let mut tail = tail(&file, 0, sorted.clone());
            let mut records = Vec::new();
            let mut ends: Vec<usize> = torn.iter().map(|part| (part * content.len() as f64) as usize).collect();
            ends.push(content.len());
            ends.sort_unstable();
            let mut written = 0;
            for end in ends {
                file.write_all_at(&content[written..end], written as u64).unwrap();
                written = end;
                records.extend(drain(&mut tail, chunk, &cutting, false));
            }
            records.extend(drain(&mut tail, chunk, &cutting, true));
            prop_assert_eq!(records, naive(&content, delimiter, max as usize, &sorted, true));
        }
    }

    #[test]
    fn a_line_waits_for_its_delimiter_and_is_not_read_twice() {
        let file = tempfile::tempfile().unwrap();
        let cutting = Cutting::new(b"\n", 1000);
        let mut tail = tail(&file, 0, Vec::new());
        file.write_all_at(b"one\ntw", 0).unwrap();
        assert_eq!(drain(&mut tail, 1024, &cutting, false), [(0, 4, Some(b"one".to_vec()))]);
        assert!(!tail.has_news());
        file.write_all_at(b"o\n", 6).unwrap();
        assert_eq!(drain(&mut tail, 1024, &cutting, false), [(4, 8, Some(b"two".to_vec()))]);
    }

    #[test]
    fn a_file_that_became_shorter_is_reported() {
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(b"one\ntwo\n", 0).unwrap();
        let mut tail = tail(&file, 0, Vec::new());
        drain(&mut tail, 1024, &Cutting::new(b"\n", 1000), false);
        file.set_len(3).unwrap();
        assert!(!tail.look().unwrap());
    }
}
