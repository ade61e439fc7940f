//! The search for the end of one record, of any length, in a small window.
//!
//! Always true: the lines between `position` and `line` are whole and belong to the record at `position`, and no delimiter
//! begins between `line` and `searched_to`, but for one that reaches past `searched_to`. What was searched is not searched again.

use std::io;

use super::{FileEnd, Tail};

/// Bytes that are looked at together.
const WINDOW: u64 = 128 << 10;
/// Bytes searched before other files get their turn.
const SEARCH_STEP: u64 = 16 << 20;

/// How far a file has been searched.
#[derive(Debug, Clone, Copy)]
pub struct Search {
    /// Where the line begins whose end is searched for.
    pub line: u64,
    /// Up to here the file has been there: one that ends before it was truncated.
    pub searched_to: u64,
}

/// The end of a record.
pub struct End {
    /// Behind the delimiter, or where the record ends without one.
    pub end: u64,
    pub is_bare: bool,
    /// It ends with a line, but what comes behind it may not say that it does.
    pub is_early: bool,
}

/// Bytes of the file from `from` on.
#[derive(Default)]
pub struct Window {
    from: u64,
    data: Vec<u8>,
}

impl Search {
    pub fn at(position: u64) -> Self {
        Self { line: position, searched_to: position }
    }
}

impl Window {
    fn end(&self) -> u64 {
        self.from + self.data.len() as u64
    }

    /// The bytes from `start` to `end`, if they are all here.
    fn slice(&self, start: u64, end: u64) -> Option<&[u8]> {
        let from = start.checked_sub(self.from)? as usize;
        self.data.get(from..(end - self.from) as usize)
    }
}

impl Tail {
    /// The end of the record at `position`, looked for up to `bound`, whose meaning is `at_bound`. `None` when it is not found
    /// yet; then everything up to `searched_to` has been searched.
    pub(super) fn find_end(&mut self, bound: u64, at_bound: FileEnd) -> io::Result<Option<End>> {
        let search_end = self.search.searched_to.saturating_add(SEARCH_STEP);
        let mut window = Window::default();
        while let Some(end) = self.next_line(&mut window, bound, search_end)? {
            let line = self.search.line;
            if !self.cutting.is_multiline() {
                return Ok(Some(End { end, is_bare: false, is_early: false }));
            }
            let text_end = end - self.cutting.delimiter_len();
            if line > self.position && self.begins(&window, line, text_end)? {
                return Ok(Some(End { end: line, is_bare: false, is_early: false }));
            }
            self.search = Search::at(end);
        }
        let Search { line, searched_to, .. } = self.search;
        if searched_to < bound || bound == self.position {
            return Ok(None);
        }
        let is_torn = line < bound;
        Ok(match at_bound {
            FileEnd::Final if is_torn && line > self.position && self.begins(&window, line, bound)? => {
                // The whole line may tell otherwise.
                Some(End { end: line, is_bare: false, is_early: true })
            }
            FileEnd::Final => Some(End { end: bound, is_bare: is_torn, is_early: !is_torn }),
            // A line that is not whole begins the next record.
            FileEnd::Quiet if line > self.position => Some(End { end: line, is_bare: false, is_early: true }),
            FileEnd::Quiet | FileEnd::Open => None,
        })
    }

    /// The end of the line at `search.line`, behind its delimiter, that lies before `bound`. Searches no further than
    /// `search_end` and the window that this falls into.
    pub(super) fn next_line(&mut self, window: &mut Window, bound: u64, search_end: u64) -> io::Result<Option<u64>> {
        let overlap = self.cutting.delimiter_len() - 1;
        loop {
            let from = self.search.searched_to.saturating_sub(overlap).max(self.search.line);
            if let Some(rest) = window.slice(from, window.end().max(from))
                && let Some(at) = self.cutting.find(rest, from)
            {
                return Ok(Some(from + at as u64 + self.cutting.delimiter_len()));
            }
            self.search.searched_to = self.search.searched_to.max(window.end());
            if self.search.searched_to >= bound || self.search.searched_to >= search_end {
                return Ok(None);
            }
            window.from = self.search.searched_to.saturating_sub(overlap).max(self.search.line);
            window.data.clear();
            self.fill(&mut window.data, window.from, (bound - window.from).min(WINDOW))?;
            if window.data.len() as u64 <= overlap && window.end() < bound {
                return Ok(None); // It has become shorter: the next look sees it.
            }
        }
    }

    /// Whether the line from `line` to `end` begins a record. Of a long one its beginning tells.
    fn begins(&mut self, window: &Window, line: u64, end: u64) -> io::Result<bool> {
        let end = end.min(line + self.cutting.max_record);
        if let Some(text) = window.slice(line, end) {
            return Ok(self.cutting.begins(text));
        }
        let mut text = Vec::new();
        self.fill(&mut text, line, end - line)?;
        Ok(self.cutting.begins(&text))
    }
}
