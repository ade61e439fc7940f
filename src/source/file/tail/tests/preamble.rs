//! What a file begins with that is no record.

use super::*;

#[test]
fn header_lines_are_skipped_in_each_life_and_the_last_one_is_kept() {
    let file = file(b"# made by x\nid,");
    let config = FileSourceConfig { skip_header_lines: 2, ..config("\n", 1000) };
    let mut first = tail(&file, 0, Vec::new(), &config);
    assert_eq!(drain(&mut first, 1024, FileEnd::Open), []);
    assert_eq!((first.position, first.file.header()), (0, Err(NoHeader::NoneSkipped)));
    appended(&file, b"name\n1,a\n");
    assert_eq!(drain(&mut first, 1024, FileEnd::Open), [(20, 24, Some(b"1,a".to_vec()), false)]);
    assert_eq!(first.file.header().as_deref(), Ok(&b"id,name"[..]));
    for (checkpoint, expected) in [(12, vec!["1,a"]), (15, vec!["1,a"]), (20, vec!["1,a"]), (24, vec![])] {
        let mut again = tail(&file, checkpoint, Vec::new(), &config);
        assert_eq!(lines(&drain(&mut again, 1024, FileEnd::Open)), expected, "from {checkpoint}");
        if checkpoint < 24 {
            assert_eq!(again.file.header().as_deref(), Ok(&b"id,name"[..]), "from {checkpoint}");
        }
    }
}

#[test]
fn a_header_line_over_64_kb_is_not_kept() {
    let config = FileSourceConfig { skip_header_lines: 1, ..config("\n", 1000) };
    for (length, expected) in [(64 << 10, Ok(64 << 10)), ((64 << 10) + 1, Err(NoHeader::TooLong))] {
        let file = file(&["x".repeat(length).as_bytes(), b"\none\n"].concat());
        let mut tail = tail(&file, 0, Vec::new(), &config);
        assert_eq!(lines(&drain(&mut tail, 1024, FileEnd::Open)), ["one"]);
        assert_eq!(tail.file.header().map(|header| header.len()), expected);
    }
}

#[test]
fn the_byte_order_mark_decides_for_utf_16() {
    let config = FileSourceConfig { encoding: UTF_16LE, is_order_by_mark: true, ..config("\n", 1000) };
    let big = file(b"\xfe\xff\x00a\x00\n\x00b\x00\n");
    let mut one = tail(&big, 0, Vec::new(), &config);
    assert_eq!(drain(&mut one, 1024, FileEnd::Open)[0], (2, 6, Some(b"\x00a".to_vec()), false));
    assert_eq!(one.file.encoding(), Some(UTF_16BE));
    let mut again = tail(&big, 6, Vec::new(), &config);
    assert_eq!(drain(&mut again, 1024, FileEnd::Open), [(6, 10, Some(b"\x00b".to_vec()), false)]);
    let little = file(b"a\x00\n\x00");
    let mut without = tail(&little, 0, Vec::new(), &config);
    assert_eq!(drain(&mut without, 1024, FileEnd::Open), [(0, 4, Some(b"a\x00".to_vec()), false)]);
    assert_eq!(without.file.encoding(), None);
}

#[test]
fn the_byte_order_mark_decides_against_the_label() {
    let config = FileSourceConfig { encoding: UTF_16BE, is_order_by_mark: true, ..config("\n", 1000) };
    let little = file(b"\xff\xfea\x00\n\x00");
    let mut one = tail(&little, 0, Vec::new(), &config);
    assert_eq!(drain(&mut one, 1024, FileEnd::Open), [(2, 6, Some(b"a\x00".to_vec()), false)]);
    assert_eq!(one.file.encoding(), Some(UTF_16LE));
    // A second turn finds the same mark.
    one.preamble = Some(super::super::preamble::Preamble::of(0, false, one.cutting()).unwrap());
    one.search = Search::at(0);
    appended(&little, b"b\x00\n\x00");
    assert_eq!(drain(&mut one, 1024, FileEnd::Open), [(6, 10, Some(b"b\x00".to_vec()), false)]);
    let big = file(b"\x00a\x00\n");
    assert_eq!(drain(&mut tail(&big, 0, Vec::new(), &config), 1024, FileEnd::Open)[0].1, 4);
}

#[test]
fn a_hole_waits_for_data_and_is_skipped() {
    let file = file(&[0; 300_000]);
    let mut one = tail(&file, 0, Vec::new(), &config("\n", 1000));
    assert_eq!(drain(&mut one, 1024, FileEnd::Open), []);
    assert_eq!(one.position, 0);
    assert!(!one.has_news());
    appended(&file, b"one\n\0two\n");
    assert_eq!(lines(&drain(&mut one, 1024, FileEnd::Open)), ["one", "\0two"]);
    let nul_lines = config("\0", 1000);
    assert_eq!(drain(&mut tail(&file, 0, Vec::new(), &nul_lines), 1 << 20, FileEnd::Open).len(), 300_001);
}

#[test]
fn what_is_written_into_a_hole_is_read() {
    let hole = vec![0; 300_000];
    // Seen when it is written, and seen only when there is data behind the hole.
    for is_seen in [true, false] {
        for at in [0, 200_000] {
            let file = file(&hole);
            let mut tail = tail(&file, 0, Vec::new(), &config("\n", 1 << 20));
            assert_eq!(drain(&mut tail, 1 << 20, FileEnd::Open), []);
            file.write_all_at(b"hello\nworld\n", at).unwrap();
            file.set_modified(SystemTime::now() + Duration::from_secs(60)).unwrap();
            let mut records = Vec::new();
            // NULs far behind are not looked through at each look.
            while is_seen && records.is_empty() {
                records = drain(&mut tail, 1 << 20, FileEnd::Open);
            }
            appended(&file, b"more\n");
            records.extend(drain(&mut tail, 1 << 20, FileEnd::Open));
            let lines = lines(&records);
            let words: Vec<_> = lines.iter().map(|line| line.trim_matches('\0')).collect();
            assert_eq!(words, ["hello", "world", "more"]);
            assert_eq!(lines[0], "hello", "only the hole before it is skipped, at {at}");
        }
    }
}

#[test]
fn a_single_nul_is_data() {
    let config = config("\n", 1000);
    let two = file(b"\0one\n\0\n");
    assert_eq!(lines(&drain(&mut tail(&two, 0, Vec::new(), &config), 1024, FileEnd::Open)), ["\0one", "\0"]);
    assert_eq!(lines(&drain(&mut tail(&file(b"\0a"), 0, Vec::new(), &config), 1024, FileEnd::Final)), ["\0a"]);
}

#[test]
fn what_the_journal_holds_is_no_header() {
    let file = file(b"one\ntwo\nthree\n");
    let config = FileSourceConfig { skip_header_lines: 2, ..config("\n", 1000) };
    let mut held = tail(&file, 0, vec![0, 4], &config);
    assert_eq!(lines(&drain(&mut held, 1024, FileEnd::Open)), ["one", "two", "three"]);
    let mut held = tail(&file, 0, vec![4, 8], &config);
    assert_eq!(lines(&drain(&mut held, 1024, FileEnd::Open)), ["two", "three"]);
}
