//! How the bytes of a file fall into records.
//!
//! Pure. Always true: a line ends behind its delimiter, which stands at a whole code unit counted from the file's beginning;
//! a record is one line, or with a multi-line rule the lines up to the next one that begins a record. So from the start of any
//! record on the same bytes fall into the same records, however they arrive.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use encoding_rs::{Encoding, UTF_8};
use memchr::memmem;

use crate::config::encodings;
use crate::config::model::{FileSourceConfig, LinePattern, MultilineRule};

use super::content::Content;

/// Bytes of a content that are looked at together.
const WINDOW: u64 = 64 << 10;

/// The byte order that a mark decided on, as the encoding that it means; `None` where none has.
pub type Order = Option<&'static Encoding>;

/// How records are cut out of the bytes of files in one encoding.
pub struct Cutting {
    /// In the files' encoding.
    delimiter: memmem::Finder<'static>,
    /// A delimiter begins at a multiple of so many bytes from the file's beginning.
    unit: u64,
    encoding: &'static Encoding,
    multiline: Option<MultilineRule>,
    /// How long a last record of several lines waits for another line; `None` where each line is a record.
    pub timeout: Option<Duration>,
    /// Bytes; without the delimiter.
    pub max_record: u64,
    pub header_lines: u32,
    /// For files whose byte order mark says that they are in the other order; `None` where the mark does not decide.
    pub other_order: Option<Arc<Cutting>>,
}

/// The whole records at the beginning of some data.
pub struct Cut {
    /// For each record the offset just behind it.
    pub ends: Vec<u32>,
    /// The last one has no delimiter.
    pub last_is_bare: bool,
}

/// Where records end, as long as there is room for them and none is too long.
struct Ends {
    list: Vec<u32>,
    start: u32,
    limit: u32,
    max: usize,
}

impl Cutting {
    pub fn new(config: &FileSourceConfig) -> Self {
        let other = config.encodings().get(1).copied();
        let other_order = other.map(|encoding| Arc::new(Self::in_encoding(config, encoding)));
        Self { other_order, ..Self::in_encoding(config, config.encoding) }
    }

    fn in_encoding(config: &FileSourceConfig, encoding: &'static Encoding) -> Self {
        Self {
            delimiter: memmem::Finder::new(&config.delimiter_in(encoding)).into_owned(),
            unit: encodings::unit(encoding) as u64,
            encoding,
            multiline: config.multiline.as_ref().map(|multiline| multiline.rule.clone()),
            timeout: config.multiline.as_ref().map(|multiline| multiline.timeout),
            max_record: config.max_record_bytes,
            header_lines: config.skip_header_lines,
            other_order: None,
        }
    }

    /// Length of a delimiter in bytes.
    pub fn delimiter_len(&self) -> u64 {
        self.delimiter.needle().len() as u64
    }

    pub fn encoding(&self) -> &'static Encoding {
        self.encoding
    }

    pub fn unit(&self) -> u64 {
        self.unit
    }

    /// The byte order mark that a file may begin with.
    pub fn mark(&self) -> &'static [u8] {
        encodings::mark(self.encoding)
    }

    /// Whether a NUL byte may begin a line end: a file may then begin with empty lines that look like a hole.
    pub fn has_nul_lines(&self) -> bool {
        self.unit == 1 && self.delimiter.needle().first() == Some(&0)
    }

    /// The bytes of a code unit, at which the text of a file ends that has NULs behind it; `None` where those are data, as a
    /// delimiter has some.
    pub fn text_unit(&self) -> Option<u64> {
        let mut units = self.delimiter.needle().chunks(self.unit as usize);
        let has_nul = units.any(|unit| unit.iter().all(|&byte| byte == 0));
        (!has_nul).then_some(self.unit)
    }

    /// Offset of the first delimiter in `data`, which lies at `at` in the file.
    pub fn find(&self, data: &[u8], at: u64) -> Option<usize> {
        let mut from = 0;
        loop {
            let found = from + self.delimiter.find(&data[from..])?;
            if self.unit == 1 || (at + found as u64).is_multiple_of(self.unit) {
                return Some(found);
            }
            from = found + 1;
        }
    }

    /// Whether a line, without its delimiter, begins a record.
    pub fn begins(&self, line: &[u8]) -> bool {
        match &self.multiline {
            None => true,
            Some(MultilineRule::Start(pattern)) => self.matches(pattern, line),
            Some(MultilineRule::Continue(pattern)) => !self.matches(pattern, line),
        }
    }

    fn matches(&self, pattern: &LinePattern, line: &[u8]) -> bool {
        let line = &line[..line.len().min(self.max_record as usize)];
        if self.encoding == UTF_8 {
            return pattern.0.is_match(line);
        }
        pattern.0.is_match(self.encoding.decode_without_bom_handling(line).0.as_bytes())
    }

    pub fn is_multiline(&self) -> bool {
        self.multiline.is_some()
    }

    /// The records that `data` begins with, at most `records_max`, up to one that is over the limit; with a multi-line rule but
    /// for the last one. `data` lies at `at` in the file, begins with a record, and ends with one if `is_end`.
    pub fn cut(&self, data: &[u8], at: u64, is_end: bool, records_max: usize) -> Cut {
        let limit = (self.max_record + self.delimiter_len()).min(u64::from(u32::MAX)) as u32;
        let list = Vec::with_capacity(data.len() / 128 + 1);
        let mut ends = Ends { list, start: 0, limit, max: records_max };
        if self.is_multiline() {
            self.group_lines(data, at, &mut ends);
            return Cut { ends: ends.list, last_is_bare: false };
        }
        let is_through = self.each_line(data, at, |end| ends.push(end));
        let rest = data.len() as u64 - u64::from(ends.start);
        let has_bare = is_end && is_through && (1..=self.max_record).contains(&rest);
        let last_is_bare = has_bare && ends.push(data.len() as u32);
        Cut { ends: ends.list, last_is_bare }
    }

    /// Pushes the ends of all records but the last one, whose lines may go on.
    fn group_lines(&self, data: &[u8], at: u64, ends: &mut Ends) {
        let delimiter_len = self.delimiter.needle().len();
        let mut line = 0;
        self.each_line(data, at, |end| {
            let text = &data[line as usize..end as usize - delimiter_len];
            let goes_on = line == ends.start || !self.begins(text) || ends.push(line);
            line = end;
            goes_on
        });
    }

    /// Calls `take` with the end of each line until it answers false; whether it never did.
    fn each_line(&self, data: &[u8], at: u64, mut take: impl FnMut(u32) -> bool) -> bool {
        if let [byte] = self.delimiter.needle() {
            return memchr::memchr_iter(*byte, data).all(|end| take(end as u32 + 1));
        }
        let mut from = 0;
        while let Some(found) = self.find(&data[from..], at + from as u64) {
            from += found + self.delimiter.needle().len();
            if !take(from as u32) {
                return false;
            }
        }
        true
    }

    /// The position behind the last delimiter that lies before `end`: 0 where there is none. `order` is the byte order of a
    /// content without a mark, where it is known.
    pub fn last_line_end(&self, content: &Content, order: Order, mut end: u64) -> io::Result<u64> {
        let cutting = self.in_order_of(content, order);
        let finder = memmem::FinderRev::new(cutting.delimiter.needle());
        let mut window = Vec::new();
        while end > 0 {
            let start = end.saturating_sub(WINDOW);
            window.clear();
            content.read(&mut window, start, end - start)?;
            let mut to = window.len();
            while let Some(at) = finder.rfind(&window[..to]) {
                if (start + at as u64).is_multiple_of(cutting.unit) {
                    return Ok(start + at as u64 + cutting.delimiter_len());
                }
                to = at + finder.needle().len() - 1;
            }
            // A delimiter may lie across the border of two windows.
            end = if start == 0 { 0 } else { start + cutting.delimiter_len() - 1 };
            if end >= start + window.len() as u64 {
                break;
            }
        }
        Ok(0)
    }

    /// Whether `end` lies in the middle of a content's first line: something of that comes before it, and more behind it.
    pub fn is_in_first_line(&self, content: &Content, order: Order, end: u64) -> io::Result<bool> {
        let cutting = self.in_order_of(content, order);
        let overlap = cutting.delimiter_len() - 1;
        let mut at = if begins_with(content, cutting.mark()) { cutting.mark().len() as u64 } else { 0 };
        let mut has_text = false;
        let mut window = Vec::new();
        while at < end {
            window.clear();
            content.read(&mut window, at, (end - at).min(WINDOW))?;
            if cutting.find(&window, at).is_some() {
                return Ok(false);
            }
            has_text |= window.iter().any(|&byte| byte != 0); // A hole is no line.
            let read = window.len() as u64;
            if at + read >= end || read <= overlap {
                break;
            }
            at += read - overlap;
        }
        Ok(has_text && content.look()?.size > end)
    }

    /// The byte order that a content's mark decides on.
    pub fn order_by_mark(&self, content: &Content) -> Order {
        let mut orders = [self, self.other_order.as_deref()?].into_iter();
        orders.find(|cutting| begins_with(content, cutting.mark())).map(Self::encoding)
    }

    /// With the byte order that the content's mark says, else with `order`.
    fn in_order_of(&self, content: &Content, order: Order) -> &Self {
        let order = self.order_by_mark(content).or(order);
        let other = self.other_order.as_deref().filter(|other| order == Some(other.encoding));
        other.unwrap_or(self)
    }
}

impl Ends {
    /// False when there is no room for another record, or the one that ends here is too long.
    fn push(&mut self, end: u32) -> bool {
        let fits = end - self.start <= self.limit && self.list.len() < self.max;
        if fits {
            self.list.push(end);
            self.start = end;
        }
        fits
    }
}

fn begins_with(content: &Content, mark: &[u8]) -> bool {
    let mut start = Vec::with_capacity(mark.len());
    content.read(&mut start, 0, mark.len() as u64).is_ok() && start == mark
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::config::model::{InitialPosition, Multiline, OnDelivered, OnOversize};
    use crate::source::file::content::CountedFile;
    use encoding_rs::{UTF_16BE, UTF_16LE};
    use std::io::Write;

    /// A file source with nothing special about it.
    pub fn config(delimiter: &str, max_record: u64) -> FileSourceConfig {
        FileSourceConfig {
            paths: Vec::new(),
            exclude: Vec::new(),
            initial_position: InitialPosition::TrimHorizon,
            record_delimiter: delimiter.as_bytes().to_vec(),
            max_record_bytes: max_record,
            on_oversize: OnOversize::ErrorOutput,
            multiline: None,
            skip_header_lines: 0,
            encoding: UTF_8,
            is_order_by_mark: false,
            skip_empty: false,
            oldest_first: false,
            on_delivered: OnDelivered::Keep,
            forget_after: Duration::from_secs(3600),
        }
    }

    pub fn pattern(text: &str) -> LinePattern {
        LinePattern(regex::bytes::Regex::new(text).unwrap())
    }

    fn last_line_end(cutting: &Cutting, bytes: &[u8], before: usize) -> u64 {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        let content = Content::plain(CountedFile::new(file)).unwrap();
        cutting.last_line_end(&content, None, before as u64).unwrap()
    }

    #[test]
    fn the_last_record_ends_behind_the_last_delimiter() {
        let lines = Cutting::new(&config("\n", 1000));
        assert_eq!(last_line_end(&lines, b"", 0), 0);
        assert_eq!(last_line_end(&lines, b"no delimiter", 12), 0);
        assert_eq!(last_line_end(&lines, b"no delimiter\nand a rest", 23), 13);
        assert_eq!(last_line_end(&lines, b"one\ntwo\nthree\n", 7), 4);
        let mut long = vec![b'x'; 200_000];
        long[65_535] = b'\r';
        long[65_536] = b'\n';
        let crlf = Cutting::new(&config("\r\n", 1000));
        assert_eq!(last_line_end(&crlf, &long, long.len()), 65_537);
    }

    #[test]
    fn a_position_in_the_first_line_has_some_of_it_before_and_more_behind() {
        let is_in = |cutting: &Cutting, bytes: &[u8], end| {
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(bytes).unwrap();
            cutting.is_in_first_line(&Content::plain(CountedFile::new(file)).unwrap(), None, end).unwrap()
        };
        let lines = Cutting::new(&config("\n", 1000));
        assert!(is_in(&lines, b"one\ntwo\n", 1));
        assert!(is_in(&lines, b"one\ntwo\n", 3));
        assert!(!is_in(&lines, b"one\ntwo\n", 0));
        assert!(!is_in(&lines, b"one\ntwo\n", 4));
        assert!(!is_in(&lines, b"one\ntwo\n", 5));
        assert!(!is_in(&lines, b"one", 3), "nothing comes behind it");
        assert!(!is_in(&lines, b"\0\0\0one\n", 3), "a hole is no line");
        assert!(is_in(&lines, b"\0\0\0one\n", 4));
        assert!(!is_in(&lines, b"\xef\xbb\xbfone\n", 3), "nor is a mark");
        let mut long = vec![b'x'; 200_000];
        long[65_535] = b'\r';
        long[65_536] = b'\n';
        let crlf = Cutting::new(&config("\r\n", 1000));
        assert!(is_in(&crlf, &long, 65_536));
        assert!(!is_in(&crlf, &long, 65_537));
        assert!(is_in(&lines, &vec![b'x'; 200_000], 199_999));
    }

    #[test]
    fn in_utf_16_a_line_end_stands_at_an_even_place() {
        let by_mark = FileSourceConfig { encoding: UTF_16LE, is_order_by_mark: true, ..config("\n", 1000) };
        let cutting = Cutting::new(&by_mark);
        // U+0A61, then U+000A: the first 0A 00 pair begins at an odd place.
        assert_eq!(cutting.cut(b"\x61\x0a\x00\x61\x0a\x00x", 0, false, 10).ends, [6]);
        assert_eq!(cutting.find(b"\x0a\x00\x0a\x00", 1), None);
        assert_eq!(last_line_end(&cutting, b"\x61\x0a\x0a\x00\x61\x0a\x00\x61", 8), 4);
        assert_eq!(last_line_end(&cutting, b"\xfe\xff\x00\x0a\x00\x61\x0a\x00", 8), 4);
    }

    #[test]
    fn without_a_mark_the_order_that_it_had_counts() {
        let by_mark = FileSourceConfig { encoding: UTF_16LE, is_order_by_mark: true, ..config("\n", 1000) };
        let cutting = Cutting::new(&by_mark);
        let look = |bytes: &[u8], order, end| {
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(bytes).unwrap();
            let content = Content::plain(CountedFile::new(file)).unwrap();
            let is_in = cutting.is_in_first_line(&content, order, end).unwrap();
            (cutting.order_by_mark(&content), cutting.last_line_end(&content, order, end).unwrap(), is_in)
        };
        let big = b"\x00a\x00\x0a\x00b\x00\x0a";
        assert_eq!(look(big, Some(UTF_16BE), 4), (None, 4, false));
        assert_eq!(look(big, Some(UTF_16LE), 4), (None, 0, true));
        assert_eq!(look(big, None, 4), (None, 0, true));
        let marked = b"\xff\xfea\x00\x0a\x00b\x00";
        assert_eq!(look(marked, Some(UTF_16BE), 6), (Some(UTF_16LE), 6, false), "its own mark counts first");
    }

    #[test]
    fn a_pattern_sees_the_line_in_utf_8_whatever_its_encoding() {
        let rule = MultilineRule::Start(pattern("^Ä"));
        let multiline = Some(Multiline { rule, timeout: Duration::from_secs(1) });
        let latin = FileSourceConfig { encoding: encoding_rs::WINDOWS_1252, multiline, ..config("\n", 1000) };
        assert!(Cutting::new(&latin).begins(b"\xc4h"));
        assert!(!Cutting::new(&latin).begins(b"h\xc4"));
        let wide = FileSourceConfig { encoding: UTF_16LE, ..latin };
        assert!(Cutting::new(&wide).begins(b"\xc4\x00h\x00"));
        assert!(!Cutting::new(&wide).begins(b"\xc3\x00\xc4\x00"));
    }
}
