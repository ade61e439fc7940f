//! What a file begins with that is no record: a byte order mark, a hole, header lines.
//!
//! ```text
//!   Mark ──▶ Hole ──▶ HoleAgain ──▶ Header (line by line) ──▶ records
//!    ▲        │          │
//!    └────────┴──────────┘ something was written into the hole
//! ```
//!
//! Always true: the preamble is found from the file's first byte on, whatever position reading begins at, so it is the same in
//! each life; and what the journal holds as a record is never part of it, as it was one by an earlier configuration. Nothing of
//! it is kept but the last header line.

use std::io;

use bytes::Bytes;
use tracing::warn;

use crate::config::encodings::MARK_BYTES_MAX;
use crate::record::NoHeader;

use super::search::{Search, Window};
use super::{Cutting, FileEnd, Read, Tail};

/// Bytes of a hole that are looked at together, and those of a preamble before other files get their turn.
const WINDOW: u64 = 128 << 10;
const STEP: u64 = 16 << 20;
/// Bytes of a header line that is kept.
const HEADER_MAX: u64 = 64 << 10;

/// How much of a preamble is known: everything up to the search's `line` belongs to it.
#[derive(Debug, Clone, Copy)]
pub struct Preamble {
    stage: Stage,
    /// NUL bytes that it begins with.
    hole: u64,
}

#[derive(Debug, Clone, Copy)]
enum Stage {
    Mark,
    /// NUL bytes that a writer without O_APPEND leaves behind when its file was truncated: it goes on at its old offset, in the
    /// middle of what it wrote, so no header follows. A single one is data: it had written more than that.
    Hole,
    /// A hole of `length` bytes, which a writer may have filled since they were read: up to `checked` they are NULs still.
    HoleAgain {
        length: u64,
        checked: u64,
    },
    /// So many lines are still to come.
    Header(u32),
}

/// How far one turn has led.
enum Progress {
    Through,
    NextStage(Stage),
    /// There is more to look at.
    Turn,
    /// The file ends here for now.
    FileEnd,
}

impl Preamble {
    /// The preamble of a file that is read from `position` on, where all that stands before may be a hole. `None` where the
    /// position is certainly behind it.
    pub fn of(position: u64, is_hole: bool, cutting: &Cutting) -> Option<Self> {
        let may_matter = position == 0 || is_hole || cutting.header_lines > 0 || cutting.other_order.is_some();
        may_matter.then(Self::default)
    }
}

impl Default for Preamble {
    fn default() -> Self {
        Self { stage: Stage::Mark, hole: 0 }
    }
}

impl Tail {
    /// The file was written to: where a hole was there may be data now.
    pub(super) fn look_at_hole_again(&mut self) {
        if let Some(Preamble { stage: Stage::Hole | Stage::HoleAgain { .. }, .. }) = self.preamble {
            self.search_again();
        }
    }

    /// Goes on with the preamble. `None` once it is behind `position`.
    pub(super) fn read_preamble(&mut self, mut preamble: Preamble, end: FileEnd) -> io::Result<Option<Read>> {
        let progress = self.pass_preamble(&mut preamble, end);
        self.preamble = Some(preamble);
        match progress? {
            Progress::Turn => Ok(Some(Read::Searching)),
            // What comes behind it later, the preamble goes on with.
            Progress::FileEnd if end == FileEnd::Final => Ok(self.skip(self.size, true, preamble.hole)),
            // What the journal holds is read again at once, whatever comes.
            Progress::FileEnd if self.cuts.front().is_some_and(|&held| held < self.size) => {
                Ok(self.skip(self.size, false, preamble.hole))
            }
            Progress::FileEnd => {
                self.search.searched_to = self.search.searched_to.max(self.size);
                Ok(Some(Read::Nothing))
            }
            Progress::Through | Progress::NextStage(_) => Ok(self.skip(self.search.line, false, preamble.hole)),
        }
    }

    /// Moves behind the preamble up to `known`, as far as the journal holds no record in it.
    fn skip(&mut self, known: u64, goes_on: bool, hole: u64) -> Option<Read> {
        let held = self.cuts.front().copied().unwrap_or(u64::MAX);
        let (start, end, search) = (self.position, known.min(held), self.search);
        self.advance(end.max(start));
        if goes_on && held >= known {
            self.search = search;
        } else {
            self.preamble = None;
        }
        if start == 0 && hole > 0 {
            warn!(path = %self.file.path().display(), nul_bytes = hole, "a file begins with NUL bytes; they are no record");
        }
        match start < end {
            true => Some(Read::Skipped { start, end }),
            false => self.preamble.map(|_| Read::Nothing),
        }
    }

    fn pass_preamble(&mut self, preamble: &mut Preamble, end: FileEnd) -> io::Result<Progress> {
        let turn_end = self.search.searched_to.saturating_add(STEP);
        let mut window = Window::default();
        loop {
            let progress = match preamble.stage {
                Stage::Mark => self.pass_mark(end)?,
                Stage::Hole => self.pass_hole(turn_end, end)?,
                Stage::HoleAgain { length, checked } => self.pass_hole_again(preamble, length, checked)?,
                Stage::Header(0) => Progress::Through,
                Stage::Header(lines) => self.pass_header_line(&mut window, lines, turn_end)?,
            };
            match progress {
                Progress::NextStage(stage) => preamble.stage = stage,
                Progress::Through | Progress::Turn | Progress::FileEnd => return Ok(progress),
            }
        }
    }

    fn pass_mark(&mut self, end: FileEnd) -> io::Result<Progress> {
        let mut start = Vec::new();
        self.fill(&mut start, 0, self.size.min(MARK_BYTES_MAX))?;
        let other_order = self.cutting.other_order.clone();
        let marks = [Some(self.cutting.mark()), other_order.as_ref().map(|cutting| cutting.mark())];
        let is_torn = |mark: &[u8]| start.len() < mark.len() && mark.starts_with(&start);
        if start.is_empty() || (end != FileEnd::Final && marks.into_iter().flatten().any(is_torn)) {
            return Ok(Progress::FileEnd);
        }
        let found = marks.into_iter().flatten().find(|mark| !mark.is_empty() && start.starts_with(mark));
        self.search = Search::at(found.map_or(0, |mark| mark.len() as u64));
        if let Some(other_order) = other_order {
            let is_other = match found {
                Some(mark) => Some(mark == other_order.mark()),
                None => self.file.order().map(|order| order == other_order.encoding()),
            };
            // A second turn finds the same mark.
            let _ = is_other.map(|is_other| {
                self.file.encoding.set(if is_other { other_order.encoding() } else { self.cutting.encoding() })
            });
            if is_other == Some(true) {
                self.cutting = other_order;
            }
        }
        let has_hole = found.is_none() && start.first() == Some(&0) && !self.cutting.has_nul_lines();
        Ok(Progress::NextStage(if has_hole { Stage::Hole } else { Stage::Header(self.cutting.header_lines) }))
    }

    /// A hole counts only when data follows: until then its end is not known.
    fn pass_hole(&mut self, turn_end: u64, file_end: FileEnd) -> io::Result<Progress> {
        let mut window = Vec::new();
        while self.search.searched_to < turn_end {
            let from = self.search.searched_to;
            window.clear();
            self.fill(&mut window, from, self.size.saturating_sub(from).min(WINDOW))?;
            let is_single = from <= self.cutting.unit();
            if window.is_empty() && !(is_single && file_end == FileEnd::Final) {
                return Ok(Progress::FileEnd);
            }
            match window.iter().position(|&byte| byte != 0) {
                None if !window.is_empty() => self.search.searched_to = from + window.len() as u64,
                at => {
                    let at = at.unwrap_or(0);
                    // Another hole may take the place of this one and of what comes behind it.
                    self.file.seen_ahead(from + at as u64, &window[at..]);
                    return Ok(Progress::NextStage(self.end_hole(from + at as u64)));
                }
            }
        }
        Ok(Progress::Turn)
    }

    /// The first byte that is no NUL is at `end`.
    fn end_hole(&mut self, end: u64) -> Stage {
        let unit = self.cutting.unit();
        // In UTF-16 a character may begin with a NUL byte.
        let whole = end - end % unit;
        if whole > unit {
            self.search.searched_to = end;
            return Stage::HoleAgain { length: whole, checked: 0 };
        }
        self.search = Search::at(0);
        Stage::Header(self.cutting.header_lines)
    }

    /// A file may have been given its size before it is filled. What was written into the hole meanwhile is no hole.
    fn pass_hole_again(&mut self, preamble: &mut Preamble, length: u64, mut checked: u64) -> io::Result<Progress> {
        let turn_end = checked.saturating_add(STEP).min(length);
        let mut window = Vec::new();
        while checked < turn_end {
            window.clear();
            self.fill(&mut window, checked, (turn_end - checked).min(WINDOW))?;
            if window.is_empty() {
                return Ok(Progress::Turn); // It has become shorter: the next look sees it.
            }
            if window.iter().any(|&byte| byte != 0) {
                self.search = Search::at(0);
                return Ok(Progress::NextStage(Stage::Mark));
            }
            checked += window.len() as u64;
        }
        if checked < length {
            preamble.stage = Stage::HoleAgain { length, checked };
            return Ok(Progress::Turn);
        }
        preamble.hole = length;
        self.search = Search::at(length);
        Ok(Progress::NextStage(Stage::Header(0)))
    }

    fn pass_header_line(&mut self, window: &mut Window, lines: u32, turn_end: u64) -> io::Result<Progress> {
        let Some(end) = self.next_line(window, self.size, turn_end)? else {
            let has_more = self.search.searched_to < self.size;
            return Ok(if has_more { Progress::Turn } else { Progress::FileEnd });
        };
        if lines == 1 {
            let (start, text_end) = (self.search.line, end - self.cutting.delimiter_len());
            let header = self.header(start, text_end - start)?;
            // It is read once, unless the file changes under our hands.
            let _ = self.file.header.set(header);
        }
        self.search = Search::at(end);
        Ok(Progress::NextStage(Stage::Header(lines - 1)))
    }

    /// Half a line would cut the last column's name short.
    fn header(&mut self, start: u64, length: u64) -> io::Result<Result<Bytes, NoHeader>> {
        if length > HEADER_MAX {
            let path = self.file.path();
            warn!(path = %path.display(), length, "a header line is longer than 64 KB; it can name no columns");
            return Ok(Err(NoHeader::TooLong));
        }
        let mut header = Vec::new();
        self.fill(&mut header, start, length)?;
        Ok(Ok(Bytes::from(header)))
    }
}
