//! Where the text of a file ends: behind its last byte that is not NUL.
//!
//! Always true: NULs at the end of a file are no data. A program that gives its file a size first has not written them, and may yet
//! fill them or cut them off. The end is at a whole code unit. Where a delimiter has a NUL in it they are data, and the text ends
//! with the file. However many NULs there are, they are looked through for a small part of the time only.

use std::io::{self, Write};
use std::time::{Duration, Instant};

use rustix::fs::{SeekFrom, seek};

use crate::config::model::FileSourceConfig;

use super::content::Content;
use super::cutting::Cutting;

/// Bytes at the end that are looked at first: most files end with text.
const LAST: u64 = 64;
/// Bytes that are looked at together.
const WINDOW: u64 = 128 << 10;
/// Bytes behind the text in which the next of it is looked for.
const FOLLOWING: u64 = 4096;
/// All NULs are looked through again when so many times as long has passed as it took before.
const PAUSE_FACTOR: u32 = 20;
/// Pieces of a file between holes that are told apart; what comes behind them counts as one.
const PIECES_MAX: usize = 64;

/// Where the text of one file ends, as far as the last look has seen.
#[derive(Debug, Default)]
pub struct TextEnd {
    pub end: u64,
    /// The size of the file at that look.
    size: u64,
    /// When all NULs at the end were looked through, and how long that took.
    walked: Option<(Instant, Duration)>,
    /// They were not all looked through since the file was written to, and have to be.
    pub is_stale: bool,
}

impl TextEnd {
    /// Looks for it in a content that has `size` bytes by now; everything before `from` is text. `is_news` where it may have
    /// been written to since the last look.
    pub fn look(
        &mut self,
        content: &Content,
        cutting: &Cutting,
        (from, size): (u64, u64),
        is_news: bool,
    ) -> io::Result<()> {
        let now = Instant::now();
        let is_due = self.walked.is_none_or(|(last, took)| now.duration_since(last) >= took * PAUSE_FACTOR);
        let is_wanted = is_news || (self.is_stale && is_due);
        if !is_wanted {
            return Ok(());
        }
        let was = (self.end, std::mem::replace(&mut self.size, size));
        let Some(unit) = cutting.text_unit().filter(|_| !content.is_unpacked()) else {
            self.end = size;
            return Ok(());
        };
        let found = last_in(content, from.max(size.saturating_sub(LAST)), size)?;
        self.is_stale = found.is_none() && !is_due && was.0 <= size;
        let end = match found {
            Some(end) => end,
            None if self.is_stale => go_on_from(content, was, (from, size))?,
            None => {
                let end = last_text(content, from, size)?;
                self.walked = Some((now, now.elapsed()));
                end
            }
        };
        self.end = if end > from { end.next_multiple_of(unit).min(size) } else { end };
        Ok(())
    }

    /// Whether NULs come behind it.
    pub fn has_nuls(&self) -> bool {
        self.end < self.size
    }

    /// Whether text has come right behind it: nobody says of what is written through a memory map, or twice within a tick of
    /// the clock, that it was.
    pub fn goes_on(&self, content: &Content) -> io::Result<bool> {
        let to = self.size.min(self.end + FOLLOWING);
        Ok(self.end < to && last_in(content, self.end, to)?.is_some())
    }
}

/// Where the text of a content ends; everything before `from` is text.
pub fn text_end(content: &Content, cutting: &Cutting, from: u64) -> io::Result<u64> {
    let size = content.look()?.size;
    let mut text = TextEnd::default();
    text.look(content, cutting, (from.min(size), size), true)?;
    Ok(text.end)
}

/// Whether there is anything but NULs in a content.
pub fn has_text(content: &Content) -> io::Result<bool> {
    Ok(last_text(content, 0, content.look()?.size)? > 0)
}

/// Where it ends for who does not read the content.
pub fn text_end_by(config: &FileSourceConfig, content: &Content, from: u64) -> io::Result<u64> {
    text_end(content, &Cutting::new(config), from)
}

/// Where the text ends that ended at `was_end` when the file had `was_size` bytes, but for what was written further behind: it
/// follows what was written right behind it, up to the next NULs, or at the end of the file.
fn go_on_from(content: &Content, (was_end, was_size): (u64, u64), (from, size): (u64, u64)) -> io::Result<u64> {
    let new = was_size.clamp(from, size);
    let last = last_text(content, new, size)?;
    if last > new {
        return Ok(last);
    }
    let (mut end, mut window) = (was_end.max(from), FOLLOWING);
    while let Some(last) = last_in(content, end, size.min(end + window))? {
        (end, window) = (last, WINDOW);
    }
    Ok(end)
}

/// Behind the last byte between `from` and `to` that is no NUL, else `from`. Holes are passed over.
fn last_text(content: &Content, from: u64, to: u64) -> io::Result<u64> {
    for (start, end) in pieces(content, from, to).into_iter().rev() {
        let mut end = end;
        while end > start {
            let window = start.max(end.saturating_sub(WINDOW));
            if let Some(last) = last_in(content, window, end)? {
                return Ok(last);
            }
            end = window;
        }
    }
    Ok(from)
}

/// What is stored of a file between `from` and `to`, in order. A file system that knows no holes stores all of it.
fn pieces(content: &Content, from: u64, to: u64) -> Vec<(u64, u64)> {
    let mut pieces = Vec::new();
    let mut at = from;
    while at < to && pieces.len() < PIECES_MAX {
        let start = match seek(&**content.file, SeekFrom::Data(at)) {
            Ok(start) => start.max(at),
            Err(rustix::io::Errno::NXIO) => return pieces, // A hole up to the end.
            Err(_) => break,
        };
        if start >= to {
            return pieces;
        }
        let Ok(end) = seek(&**content.file, SeekFrom::Hole(start)) else { break };
        at = end.clamp(start + 1, to);
        pieces.push((start, at));
    }
    if at < to {
        pieces.push((at, to));
    }
    pieces
}

fn last_in(content: &Content, from: u64, to: u64) -> io::Result<Option<u64>> {
    let mut bytes = Vec::new();
    content.read(&mut bytes, from, to.saturating_sub(from))?;
    Ok(bytes.iter().rposition(|&byte| byte != 0).map(|at| from + at as u64 + 1))
}

/// How long some bytes are that come one after the other, and how far text goes in them.
#[derive(Debug, Default, Clone, Copy)]
pub struct Extent {
    pub length: u64,
    pub text: u64,
}

impl Extent {
    pub fn push(&mut self, bytes: &[u8]) {
        if let Some(last) = bytes.iter().rposition(|&byte| byte != 0) {
            self.text = self.length + last as u64 + 1;
        }
        self.length += bytes.len() as u64;
    }

    /// Where the text ends, as `cutting` reads it.
    pub fn text_end(self, cutting: &Cutting) -> u64 {
        cutting.text_unit().map_or(self.length, |unit| self.text.next_multiple_of(unit).min(self.length))
    }
}

impl Write for Extent {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.push(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::content::CountedFile;
    use super::super::cutting::tests::config;
    use super::*;
    use std::fs::File;
    use std::os::unix::fs::FileExt;

    fn content(file: &File) -> Content {
        Content::plain(CountedFile::new(file.try_clone().unwrap())).unwrap()
    }

    fn ends(bytes: &[u8], config: &FileSourceConfig) -> u64 {
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(bytes, 0).unwrap();
        text_end_by(config, &content(&file), 0).unwrap()
    }

    #[test]
    fn it_is_behind_the_last_byte_that_is_no_nul_at_a_whole_code_unit() {
        let plain = config("\n", 1000);
        for (bytes, end) in [(&b""[..], 0), (b"a\n", 2), (b"a\n\0", 2), (b"\0\0", 0), (b"\0a\0b\0\0\0", 4)] {
            assert_eq!(ends(bytes, &plain), end, "{bytes:?}");
        }
        for length in [63, 64, 65, 128 << 10, (128 << 10) + 1, 1 << 20] {
            assert_eq!(ends(&[&b"a\n"[..], &vec![0; length]].concat(), &plain), 2, "{length}");
        }
        let little = FileSourceConfig { encoding: encoding_rs::UTF_16LE, ..config("\n", 1000) };
        assert_eq!(ends(b"a\0\n\0", &little), 4);
        assert_eq!(ends(b"a\0\n\0\0\0\0\0", &little), 4);
        assert_eq!(ends(b"a\0\n\0\0\0\0", &little), 4);
        assert_eq!(ends(b"a\0\n", &little), 3, "half a code unit is all there is");
        let big = FileSourceConfig { encoding: encoding_rs::UTF_16BE, ..config("\n", 1000) };
        assert_eq!(ends(b"\0a\0\n\0\0", &big), 4);
        assert_eq!(ends(b"a\0\0\0", &big), 2);
    }

    #[test]
    fn nuls_of_a_delimiter_are_data() {
        assert_eq!(ends(b"a\0\0\0", &config("\0", 1000)), 4);
        assert_eq!(ends(b"a\n\0", &config("\n\0", 1000)), 3);
        let wide = FileSourceConfig { encoding: encoding_rs::UTF_16BE, ..config("\0", 1000) };
        assert_eq!(ends(b"\0a\0\0", &wide), 4);
    }

    #[test]
    fn it_is_found_before_and_behind_holes() {
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(b"one\n", 0).unwrap();
        file.set_len(64 << 30).unwrap();
        let end = || text_end_by(&config("\n", 1000), &content(&file), 0).unwrap();
        assert_eq!(end(), 4);
        file.write_all_at(b"two\n", 32 << 30).unwrap();
        assert_eq!(end(), (32 << 30) + 4);
    }

    #[test]
    fn many_nuls_are_not_looked_through_at_each_look() {
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(&vec![0; 1 << 20], 0).unwrap();
        let (content, cutting) = (content(&file), Cutting::new(&config("\n", 1000)));
        let mut text = TextEnd::default();
        text.look(&content, &cutting, (0, 1 << 20), true).unwrap();
        assert_eq!((text.end, text.goes_on(&content).unwrap()), (0, false));
        // As if that had taken long.
        text.walked = text.walked.map(|(at, _)| (at, Duration::from_secs(60)));
        file.write_all_at(&[b'x'; 10_000], 0).unwrap();
        file.write_all_at(b"y", 800_000).unwrap();
        assert!(text.goes_on(&content).unwrap());
        text.look(&content, &cutting, (0, 1 << 20), true).unwrap();
        assert_eq!((text.end, text.is_stale), (10_000, true), "what follows is seen");
        text.look(&content, &cutting, (0, 1 << 20), false).unwrap();
        assert_eq!(text.end, 10_000);
        text.walked = text.walked.map(|(at, _)| (at, Duration::ZERO));
        text.look(&content, &cutting, (0, 1 << 20), false).unwrap();
        assert_eq!((text.end, text.is_stale), (800_001, false), "and all in the end");
        file.write_all_at(b"z", (1 << 20) - 1).unwrap();
        text.look(&content, &cutting, (0, 1 << 20), true).unwrap();
        assert_eq!(text.end, 1 << 20);
    }
}
