mod again;
mod preamble;
mod truncated;

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::time::Duration;

use encoding_rs::{UTF_16BE, UTF_16LE};
use proptest::prelude::*;

use super::*;
use crate::config::model::{FileSourceConfig, Multiline, MultilineRule};
use crate::record::{NoHeader, PartitionId, SourcePartition};
use crate::source::file::content::{Content, CountedFile};
use crate::source::file::cutting::tests::{config, pattern};

/// (start, end, data without delimiter or `None` if oversize, whether nothing in the source says that it ends there).
type Record = (u64, u64, Option<Vec<u8>>, bool);

fn tail(file: &File, position: u64, cuts: Vec<u64>, config: &FileSourceConfig) -> Tail {
    let content = Content::plain(CountedFile::new(file.try_clone().unwrap())).unwrap();
    let file = TailedFile::new(PartitionId(1), Arc::new(content), PathBuf::from("test"), 0, None);
    Tail::new(Arc::new(file), position, cuts, Arc::new(Cutting::new(config)))
}

/// Everything that can be read now. Positions leave without a gap, and no more is read than was asked for before.
fn drain(tail: &mut Tail, chunk: u64, file_end: FileEnd) -> Vec<Record> {
    let mut records = Vec::new();
    let mut at = tail.position;
    assert!(tail.look().unwrap());
    loop {
        let granted = tail.next_size(chunk);
        match tail.read(chunk, file_end).unwrap() {
            Read::Records { start, end, data, ends, last_is_bare } => {
                // A buffer that is used again may be larger: see `blocks`.
                assert!(data.len() as u64 <= granted, "{} bytes for {granted}", data.len());
                assert!(data.capacity() as u64 <= 2 * granted, "{} bytes for {granted}", data.capacity());
                assert_eq!(start, at);
                let (last, mut from) = (ends.len() - 1, 0);
                for (index, &to) in ends.iter().enumerate() {
                    let bare = last_is_bare && index == last;
                    let text = &data[from as usize..to as usize];
                    let text = if bare { text } else { &text[..text.len() - tail.cutting().delimiter_len() as usize] };
                    let record_end = if index == last { end } else { start + u64::from(to) };
                    records.push((start + u64::from(from), record_end, Some(text.to_vec()), bare));
                    from = to;
                }
                assert_eq!(from as usize, data.len());
                at = end;
            }
            Read::Oversize { start, end, head, length } => {
                assert_eq!(start, at);
                assert_eq!(head.len() as u64, tail.cutting.max_record);
                assert!(head.capacity() as u64 <= granted, "{} bytes for {granted}", head.capacity());
                assert!(length > tail.cutting.max_record);
                records.push((start, end, None, true));
                at = end;
            }
            Read::Skipped { start, end } => {
                assert_eq!(start, at);
                assert!(end > start);
                at = end;
            }
            Read::Searching => {}
            Read::Nothing => return records,
        }
    }
}

/// How records are cut, for a reader that has everything before it.
struct Naive<'a> {
    content: &'a [u8],
    delimiter: &'a [u8],
    unit: usize,
    mark: &'a [u8],
    header_lines: u32,
    begins: &'a dyn Fn(&[u8]) -> bool,
    max: usize,
}

impl Naive<'_> {
    /// Behind the delimiter that ends the line at `from`, if it ends before `to`.
    fn line_end(&self, from: usize, to: usize) -> Option<usize> {
        let is_delimiter = |&at: &usize| at % self.unit == 0 && self.content[at..to].starts_with(self.delimiter);
        (from..to).find(is_delimiter).map(|at| at + self.delimiter.len())
    }

    fn preamble(&self) -> usize {
        if !self.mark.is_empty() && self.content.starts_with(self.mark) {
            return self.header(self.mark.len());
        }
        let nuls = self.content.iter().take_while(|&&byte| byte == 0).count();
        match nuls - nuls % self.unit {
            // A single one is data.
            _ if nuls <= self.unit => self.header(0),
            _ if nuls == self.content.len() => nuls,
            whole if whole <= self.unit => self.header(0),
            whole => whole,
        }
    }

    fn header(&self, from: usize) -> usize {
        let end = |at, _| self.line_end(at, self.content.len());
        (0..self.header_lines).try_fold(from, end).unwrap_or(self.content.len())
    }

    fn records(&self, cuts: &[u64]) -> Vec<(u64, u64, Option<Vec<u8>>)> {
        let mut records = Vec::new();
        let preamble = self.preamble();
        let mut start = cuts.iter().map(|&cut| cut as usize).find(|&cut| cut < preamble).unwrap_or(preamble);
        while start < self.content.len() {
            let bound = cuts.iter().map(|&cut| cut as usize).find(|&cut| cut > start).unwrap_or(self.content.len());
            let (mut end, mut text_end) = (start, start);
            while end < bound {
                let (line_end, line_text_end) = match self.line_end(end, bound) {
                    Some(line_end) => (line_end, line_end - self.delimiter.len()),
                    None => (bound, bound),
                };
                let line = &self.content[end..line_text_end];
                if end > start && (self.begins)(&line[..line.len().min(self.max)]) {
                    break;
                }
                (end, text_end) = (line_end, line_text_end);
            }
            let text = &self.content[start..text_end];
            records.push((start as u64, end as u64, (text.len() <= self.max).then(|| text.to_vec())));
            start = end;
        }
        records
    }
}

#[derive(Debug, Clone, Copy)]
enum Rule {
    EachLine,
    Start,
    Continue,
}

impl Rule {
    fn begins(self, line: &[u8], is_wide: bool) -> bool {
        let first = match (is_wide, line) {
            (false, [b'a', ..]) | (true, [b'a', 0, ..]) => true,
            (_, _) => false,
        };
        match self {
            Self::EachLine => true,
            Self::Start => first,
            Self::Continue => !first,
        }
    }

    fn multiline(self) -> Option<Multiline> {
        let rule = match self {
            Self::EachLine => return None,
            Self::Start => MultilineRule::Start(pattern("^a")),
            Self::Continue => MultilineRule::Continue(pattern("^a")),
        };
        Some(Multiline { rule, timeout: Duration::from_secs(1) })
    }
}

fn rule() -> impl Strategy<Value = Rule> {
    prop_oneof![Just(Rule::EachLine), Just(Rule::Start), Just(Rule::Continue)]
}

/// Where a file's writes end, the last one at its end.
fn writes(parts: &[f64], length: usize) -> Vec<usize> {
    let mut ends: Vec<usize> = parts.iter().map(|part| (part * length as f64) as usize).collect();
    ends.push(length);
    ends.sort_unstable();
    ends
}

fn encoded(text: &str, is_wide: bool) -> Vec<u8> {
    if is_wide { text.encode_utf16().flat_map(u16::to_le_bytes).collect() } else { text.as_bytes().to_vec() }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn records_are_cut_as_the_plainest_reader_cuts_them(
        mark in any::<bool>(),
        hole in prop_oneof![3 => Just(0usize), 1 => 0usize..5],
        // In UTF-16 a semicolon's bytes lie across the border of some of these.
        pieces in proptest::collection::vec("[ab;㭡㬀\0]{0,12}", 0..20),
        (two, is_wide, rule) in (any::<bool>(), any::<bool>(), rule()),
        header_lines in prop_oneof![Just(0u32), 0u32..4],
        max in 1u64..24,
        chunk in 1u64..60,
        cuts in proptest::collection::vec(0u64..160, 0..3),
        torn in proptest::collection::vec(0.0f64..1.0, 0..5),
    ) {
        let delimiter = if two { ";;" } else { ";" };
        let mut config = FileSourceConfig { multiline: rule.multiline(), ..config(delimiter, max) };
        config.skip_header_lines = header_lines;
        config.encoding = if is_wide { UTF_16LE } else { encoding_rs::UTF_8 };
        let text = if mark { "\u{feff}" } else { "" }.to_owned() + &"\0".repeat(hole) + &pieces.concat();
        let content = encoded(&text, is_wide);
        // Cuts are ends of records that were read before, so they lie at whole code units within what was there.
        let mut sorted: Vec<u64> = cuts.iter().map(|cut| if is_wide { cut & !1 } else { *cut }).collect();
        sorted.sort_unstable();
        sorted.retain(|&cut| cut <= content.len() as u64);
        let file = tempfile::tempfile().unwrap();
        let mut tail = tail(&file, 0, sorted.clone(), &config);
        let mut records = Vec::new();
        let mut written = 0;
        for end in writes(&torn, content.len()) {
            file.write_all_at(&content[written..end], written as u64).unwrap();
            written = end;
            records.extend(drain(&mut tail, chunk, FileEnd::Open));
        }
        records.extend(drain(&mut tail, chunk, FileEnd::Final));
        prop_assert_eq!(tail.behind(), 0);
        // What the journal holds is data, be it NULs.
        let last = content.iter().rposition(|&byte| byte != 0).map_or(0, |at| at + 1);
        let unit = if is_wide { 2 } else { 1 };
        let text_end = last.next_multiple_of(unit).max(sorted.last().map_or(0, |&cut| cut as usize));
        let naive = Naive {
            content: &content[..text_end],
            delimiter: &encoded(delimiter, is_wide),
            unit,
            mark: &encoded("\u{feff}", is_wide),
            header_lines,
            begins: &|line| rule.begins(line, is_wide),
            max: max as usize,
        };
        let records: Vec<_> = records.into_iter().map(|(start, end, data, _)| (start, end, data)).collect();
        prop_assert_eq!(records, naive.records(&sorted));
    }

    #[test]
    fn read_again_from_any_of_them_records_are_the_same(
        pieces in proptest::collection::vec("[ab;]{0,12}", 0..20),
        (two, rule) in (any::<bool>(), rule()),
        header_lines in 0u32..3,
        (max, chunk) in (1u64..24, 1u64..60),
        writes_and_ends in proptest::collection::vec((0.0f64..1.0, 0u8..6), 1..6),
        again_chunk in 1u64..60,
    ) {
        let content = pieces.concat().into_bytes();
        let delimiter = if two { ";;" } else { ";" };
        let mut config = FileSourceConfig { multiline: rule.multiline(), ..config(delimiter, max) };
        config.skip_header_lines = header_lines;
        let file = tempfile::tempfile().unwrap();
        let mut first = tail(&file, 0, Vec::new(), &config);
        let mut records = Vec::new();
        let parts: Vec<f64> = writes_and_ends.iter().map(|(part, _)| *part).collect();
        let mut written = 0;
        for (end, kind) in writes(&parts, content.len()).into_iter().zip(writes_and_ends.iter().map(|(_, kind)| kind)) {
            file.write_all_at(&content[written..end], written as u64).unwrap();
            written = end;
            let file_end = match kind { 0 => FileEnd::Final, 1..=3 => FileEnd::Quiet, _ => FileEnd::Open };
            records.extend(drain(&mut first, chunk, file_end));
        }
        records.extend(drain(&mut first, chunk, FileEnd::Final));
        // What the journal keeps of them.
        let kept: Vec<u64> = records.iter().filter(|record| record.3).map(|record| record.1).collect();
        for from in 0..records.len() {
            let mut again = tail(&file, records[from].0, kept.clone(), &config);
            let again = drain(&mut again, again_chunk, FileEnd::Final);
            let plain = |records: &[Record]| -> Vec<_> {
                records.iter().map(|(start, end, data, _)| (*start, *end, data.clone())).collect()
            };
            prop_assert_eq!(plain(&again), plain(&records[from..]));
        }
    }
}

fn lines(records: &[Record]) -> Vec<String> {
    let text =
        |data: &Option<Vec<u8>>| data.as_ref().map_or("oversize".into(), |data| String::from_utf8_lossy(data).into());
    records.iter().map(|record| text(&record.2)).collect()
}

fn file(content: &[u8]) -> File {
    let file = tempfile::tempfile().unwrap();
    file.write_all_at(content, 0).unwrap();
    file
}

fn appended(file: &File, content: &[u8]) {
    file.write_all_at(content, file.metadata().unwrap().len()).unwrap();
}

#[test]
fn a_line_waits_for_its_delimiter_and_is_not_read_twice() {
    let file = file(b"one\ntw");
    let mut tail = tail(&file, 0, Vec::new(), &config("\n", 1000));
    assert_eq!(drain(&mut tail, 1024, FileEnd::Open), [(0, 4, Some(b"one".to_vec()), false)]);
    assert!(!tail.has_news());
    appended(&file, b"o\n");
    assert_eq!(drain(&mut tail, 1024, FileEnd::Open), [(4, 8, Some(b"two".to_vec()), false)]);
}

#[test]
fn a_delimiter_torn_between_its_bytes_is_one() {
    let file = file(b"one\r");
    let mut tail = tail(&file, 0, Vec::new(), &config("\r\n", 1000));
    assert_eq!(drain(&mut tail, 1024, FileEnd::Open), []);
    appended(&file, b"\n\r\n\r");
    assert_eq!(lines(&drain(&mut tail, 1024, FileEnd::Open)), ["one", ""]);
    appended(&file, b"\n");
    assert_eq!(lines(&drain(&mut tail, 1024, FileEnd::Open)), [""]);
}

#[test]
fn a_record_of_several_lines_is_complete_when_nothing_more_comes() {
    let file = file(b"1 one\n  more\n");
    let rule = MultilineRule::Start(pattern("^[0-9]"));
    let multiline = Some(Multiline { rule, timeout: Duration::from_secs(5) });
    let mut tail = tail(&file, 0, Vec::new(), &FileSourceConfig { multiline, ..config("\n", 1000) });
    assert_eq!(drain(&mut tail, 1024, FileEnd::Open), []);
    assert!(!tail.has_news());
    let moment = tail.quiet_at().expect("it waits for more lines");
    assert!(moment > Instant::now());
    assert_eq!(drain(&mut tail, 1024, FileEnd::Quiet), [(0, 13, Some(b"1 one\n  more".to_vec()), true)]);
    assert_eq!(tail.quiet_at(), None);
    appended(&file, b"  late\n2 two\n  torn");
    assert_eq!(lines(&drain(&mut tail, 1024, FileEnd::Open)), ["  late"]);
    assert!(tail.quiet_at().is_some(), "a torn line does not hold back the lines before it");
    assert_eq!(drain(&mut tail, 1024, FileEnd::Quiet), [(20, 26, Some(b"2 two".to_vec()), true)]);
    assert_eq!(tail.quiet_at(), None, "a line without its end is never cut off");
    assert_eq!(drain(&mut tail, 1024, FileEnd::Quiet), []);
    appended(&file, b" off\n");
    assert_eq!(drain(&mut tail, 1024, FileEnd::Open), []);
    assert!(tail.quiet_at().is_some());
    assert_eq!(lines(&drain(&mut tail, 1024, FileEnd::Quiet)), ["  torn off"]);
}

#[test]
fn a_record_that_grows_byte_by_byte_is_searched_once() {
    let rule = MultilineRule::Start(pattern("^A"));
    let multiline = Some(Multiline { rule, timeout: Duration::from_secs(5) });
    let file = file(b"A\n");
    let mut tail = tail(&file, 0, Vec::new(), &FileSourceConfig { multiline, ..config("\n", 1000) });
    let (mut searched_to, mut line) = (0, 0);
    for byte in b"b\n\nccc\nd".repeat(20) {
        assert_eq!(drain(&mut tail, 1024, FileEnd::Open), []);
        assert!(tail.search.line >= line && tail.search.searched_to > searched_to, "it begins anew");
        (searched_to, line) = (tail.search.searched_to, tail.search.line);
        assert_eq!(searched_to, tail.size);
        appended(&file, &[byte]);
    }
    assert!(searched_to - line < 8, "only its last line is still open");
}
