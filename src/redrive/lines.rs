//! The lines of an error object, with their places.
//!
//! Always true: a line is held whole or not at all, and one that is longer than any envelope may be is passed over.

use bytes::{Bytes, BytesMut};

use super::objects::{ObjectError, ObjectReader};

/// An envelope holds a record of 10,000 KB in base64, and a message.
pub const LINE_BYTES_MAX: usize = 16 << 20;

/// One line, without its line end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Of its first byte, and of the one behind its line end.
    pub start: u64,
    pub end: u64,
    /// `None` for one of more than [`LINE_BYTES_MAX`].
    pub bytes: Option<Bytes>,
}

/// Cuts what a reader reads.
pub struct Lines {
    reader: ObjectReader,
    buffer: BytesMut,
    /// Offset of the first byte in `buffer`.
    start: u64,
    /// Bytes of `buffer` that hold no line end.
    searched: usize,
    /// Bytes of a line that is too long, which are no longer held.
    dropped: u64,
}

impl Lines {
    /// Goes on at `start`, where the reader stands.
    pub fn new(reader: ObjectReader, start: u64) -> Self {
        Self { reader, buffer: BytesMut::new(), start, searched: 0, dropped: 0 }
    }

    /// The next line that is not blank; the last one need not end. `None` at the end of the object.
    pub async fn next(&mut self) -> Result<Option<Line>, ObjectError> {
        loop {
            if let Some(end) = memchr::memchr(b'\n', &self.buffer[self.searched..]) {
                let line = self.take(self.searched + end + 1);
                if !is_blank(&line) {
                    return Ok(Some(line));
                }
                continue;
            }
            if self.buffer.len() > LINE_BYTES_MAX {
                self.dropped += self.buffer.len() as u64;
                self.buffer.clear();
            }
            self.searched = self.buffer.len();
            match self.reader.next().await? {
                Some(bytes) => self.buffer.extend_from_slice(&bytes),
                None if self.buffer.is_empty() && self.dropped == 0 => return Ok(None),
                None => {
                    let line = self.take(self.buffer.len());
                    return Ok(Some(line).filter(|line| !is_blank(line)));
                }
            }
        }
    }

    /// Everything up to `len` bytes from now is a line.
    fn take(&mut self, len: usize) -> Line {
        let bytes = self.buffer.split_to(len).freeze();
        let end = self.start + self.dropped + len as u64;
        let text = bytes.strip_suffix(b"\n").unwrap_or(&bytes).len();
        let is_whole = self.dropped == 0 && text <= LINE_BYTES_MAX;
        let line = Line { start: self.start, end, bytes: is_whole.then(|| bytes.slice(..text)) };
        (self.start, self.searched, self.dropped) = (end, 0, 0);
        line
    }
}

fn is_blank(line: &Line) -> bool {
    line.bytes.as_ref().is_some_and(|bytes| bytes.trim_ascii().is_empty())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::destination::retry::RetryLimits;
    use crate::redrive::objects::testing::InMemory;

    async fn lines(content: &[u8], from: u64) -> Vec<Line> {
        let (objects, object) = InMemory::new(content);
        let reader = ObjectReader::open(Arc::new(objects), object, from, RetryLimits::default()).await.unwrap();
        let mut lines = Lines::new(reader, from);
        let mut all = Vec::new();
        while let Some(line) = lines.next().await.unwrap() {
            all.push(line);
        }
        all
    }

    fn line(start: u64, end: u64, bytes: &'static [u8]) -> Line {
        Line { start, end, bytes: Some(Bytes::from_static(bytes)) }
    }

    #[tokio::test]
    async fn the_last_line_need_not_end_and_blank_ones_are_none() {
        assert_eq!(lines(b"", 0).await, []);
        assert_eq!(lines(b"\n \r\n\n", 0).await, []);
        assert_eq!(lines(b"{}\n\n{1}", 0).await, [line(0, 3, b"{}"), line(4, 7, b"{1}")]);
        assert_eq!(lines(b"{}\n\n{1}\n", 3).await, [line(4, 8, b"{1}")]);
    }

    #[tokio::test]
    async fn a_line_that_is_too_long_is_passed_over() {
        for len in [LINE_BYTES_MAX, LINE_BYTES_MAX + 1, 3 * LINE_BYTES_MAX] {
            let mut content = vec![b'a'; len];
            content.extend_from_slice(b"\n{}\n");
            let found = lines(&content, 0).await;
            let end = len as u64 + 1;
            assert_eq!((found[0].start, found[0].end, found[0].bytes.is_some()), (0, end, len <= LINE_BYTES_MAX));
            assert_eq!(found[1..], [line(end, end + 3, b"{}")]);
            assert_eq!(lines(&content[..len], 0).await[0].end, len as u64);
        }
    }

    proptest! {
        #[test]
        fn lines_are_the_same_from_any_line_on(content in "[a\n ]{0,60}") {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let all = runtime.block_on(lines(content.as_bytes(), 0));
            let texts: Vec<_> = all.iter().map(|line| line.bytes.clone().unwrap()).collect();
            let expected: Vec<_> = content.split('\n').filter(|line| !line.trim().is_empty()).collect();
            prop_assert_eq!(texts, expected);
            for (index, line) in all.iter().enumerate() {
                prop_assert_eq!(&runtime.block_on(lines(content.as_bytes(), line.end))[..], &all[index + 1..]);
            }
        }
    }
}
