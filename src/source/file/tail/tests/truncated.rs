//! Files that lose bytes while they are read.

use super::*;

#[test]
fn a_torn_line_whose_place_a_hole_takes_is_reported() {
    let file = file(b"a torn line");
    let mut tail = tail(&file, 0, Vec::new(), &config("\n", 1000));
    assert_eq!(drain(&mut tail, 1024, FileEnd::Open), []);
    file.set_len(0).unwrap();
    file.write_all_at(b"new\n", 11).unwrap();
    assert!(!tail.look().unwrap());
    assert_eq!(tail.behind(), 11, "so much of it is lost");
}

#[test]
fn a_hole_in_the_place_of_a_hole_and_its_data_is_reported() {
    let file = file(b"\0\0\0\0torn");
    let mut tail = tail(&file, 0, Vec::new(), &config("\n", 1000));
    assert_eq!(drain(&mut tail, 1024, FileEnd::Open), []);
    assert_eq!(tail.position, 4, "the hole is behind us");
    file.set_len(0).unwrap();
    file.write_all_at(b"new\n", 8).unwrap();
    assert!(matches!(tail.read(1024, FileEnd::Open).unwrap(), Read::Nothing), "no NUL becomes part of a record");
    assert!(!tail.look().unwrap());
}

#[test]
fn a_file_that_shrinks_before_anything_of_it_was_read_is_reported() {
    let file = file(b"one\ntwo\n");
    let mut tail = tail(&file, 0, Vec::new(), &config("\n", 1000));
    assert!(tail.look().unwrap());
    file.set_len(0).unwrap();
    appended(&file, b"new\n");
    assert!(!tail.look().unwrap());
    assert_eq!(tail.behind(), 8);
}

#[test]
fn a_file_that_is_other_before_anything_of_it_was_read_is_reported() {
    let file = file(b"one\ntwo\n");
    let mut tail = tail(&file, 0, Vec::new(), &config("\n", 1000));
    assert!(tail.look().unwrap());
    file.set_len(0).unwrap();
    appended(&file, b"three\nfour\n");
    assert!(!tail.look().unwrap());
    assert_eq!(tail.behind(), 8);
}

#[test]
fn what_is_cut_off_behind_the_position_is_counted_and_what_is_left_goes_on() {
    let file = file(b"one\ntwo\nthree\n");
    let mut tail = tail(&file, 0, Vec::new(), &config("\n", 1000));
    assert!(tail.look().unwrap());
    assert!(matches!(tail.read(5, FileEnd::Open).unwrap(), Read::Records { end: 4, .. }));
    file.set_len(8).unwrap();
    assert!(tail.look().unwrap(), "what was read is still there");
    assert_eq!((tail.take_cut_off(), tail.take_cut_off()), (6, 0));
    assert_eq!(lines(&drain(&mut tail, 1024, FileEnd::Open)), ["two"]);
}

#[test]
fn a_file_that_became_shorter_is_reported() {
    let file = file(b"one\ntwo\n");
    let mut tail = tail(&file, 0, Vec::new(), &config("\n", 1000));
    drain(&mut tail, 1024, FileEnd::Open);
    file.set_len(3).unwrap();
    assert!(!tail.look().unwrap());
}

#[test]
fn a_torn_line_that_was_truncated_and_written_over_is_reported() {
    let file = file(b"a line that is not complete ");
    let mut tail = tail(&file, 0, Vec::new(), &config("\n", 1000));
    assert_eq!(drain(&mut tail, 1024, FileEnd::Open), []);
    file.set_len(0).unwrap();
    appended(&file, b"new1\nnew2\n");
    assert!(!tail.look().unwrap());
    assert_eq!(tail.behind(), 28, "so much of it is lost");
}

#[test]
fn a_preamble_that_was_truncated_is_reported() {
    let config = FileSourceConfig { skip_header_lines: 3, ..config("\n", 1000) };
    let torn = file(b"first\nsecond\nthi");
    let mut header = tail(&torn, 0, Vec::new(), &config);
    assert_eq!(drain(&mut header, 1024, FileEnd::Open), []);
    torn.set_len(12).unwrap();
    assert!(!header.look().unwrap());
    assert_eq!(header.behind(), 16);
    let nuls = file(&[0; 17]);
    let mut hole = tail(&nuls, 0, Vec::new(), &config);
    assert_eq!(drain(&mut hole, 1024, FileEnd::Open), []);
    nuls.set_len(12).unwrap();
    assert!(hole.look().unwrap(), "nobody has written them");
    assert_eq!((hole.behind(), hole.take_cut_off()), (0, 0));
}

#[test]
fn a_file_truncated_between_looks_is_left_to_the_next_one() {
    let multiline = Some(Multiline { rule: MultilineRule::Start(pattern("^A")), timeout: Duration::from_secs(5) });
    let file = file(b"A\r\nb\r\n");
    let mut tail = tail(&file, 0, Vec::new(), &FileSourceConfig { multiline, ..config("\r\n", 1000) });
    assert_eq!(drain(&mut tail, 1024, FileEnd::Open), []);
    file.set_len(1).unwrap();
    tail.size = 1; // As a read would find it.
    assert!(matches!(tail.read(1024, FileEnd::Final).unwrap(), Read::Nothing));
    assert!(!tail.look().unwrap());
    assert_eq!(tail.behind(), 6);
}

#[test]
fn nuls_behind_the_text_of_a_file_of_which_nothing_was_read_are_no_loss() {
    for (left, is_same, lost) in [(8, true, 8), (10, true, 8), (7, false, 8)] {
        let file = file(b"one\ntwo\n\0\0\0\0\0\0\0\0");
        let mut tail = tail(&file, 0, Vec::new(), &config("\n", 1000));
        assert!(tail.look().unwrap());
        file.set_len(left).unwrap();
        assert_eq!(tail.look().unwrap(), is_same, "{left}");
        assert_eq!((tail.behind(), tail.take_cut_off()), (lost, 0), "{left}");
    }
}

#[test]
fn what_is_cut_off_is_counted_without_the_nuls_behind_it() {
    let file = file(b"one\ntwo\nthree\n\0\0\0\0\0\0\0\0");
    let mut tail = tail(&file, 0, Vec::new(), &config("\n", 1000));
    assert!(tail.look().unwrap());
    assert!(matches!(tail.read(5, FileEnd::Open).unwrap(), Read::Records { end: 4, .. }));
    file.set_len(8).unwrap();
    assert!(tail.look().unwrap());
    assert_eq!(tail.take_cut_off(), 6);
}

#[test]
fn nuls_at_the_end_are_no_record_and_what_is_written_there_later_is_read_once() {
    let wide = FileSourceConfig { encoding: UTF_16LE, ..config("\n", 1000) };
    for (config, is_wide) in [(config("\n", 1000), false), (wide, true)] {
        let text = |text: &str| encoded(text, is_wide);
        let whole = |records: Vec<Record>| records.into_iter().map(|record| record.2.unwrap()).collect::<Vec<_>>();
        let file = file(&[text("one\ntw"), vec![0; 5_000_000]].concat());
        let mut tail = tail(&file, 0, Vec::new(), &config);
        assert_eq!(whole(drain(&mut tail, 1 << 20, FileEnd::Open)), [text("one")]);
        assert_eq!(whole(drain(&mut tail, 1 << 20, FileEnd::Final)), [text("tw")], "a torn line ends with its text");
        assert_eq!((tail.behind(), tail.has_news()), (0, false));
        assert_eq!(drain(&mut tail, 1 << 20, FileEnd::Final), []);
        file.write_all_at(&text("o\nthree\n"), text("one\ntw").len() as u64).unwrap();
        assert_eq!(whole(drain(&mut tail, 1 << 20, FileEnd::Open)), [text("o"), text("three")]);
        assert_eq!(drain(&mut tail, 1 << 20, FileEnd::Final), []);
    }
}

#[test]
fn what_the_journal_holds_as_a_record_is_one_with_nuls_too() {
    let file = file(b"one\ntwo\0\0\0\0\0\0");
    let mut tail = tail(&file, 4, vec![9], &config("\n", 1000));
    let records = drain(&mut tail, 1024, FileEnd::Open);
    assert_eq!(lines(&records), ["two\0\0"]);
    assert_eq!(tail.behind(), 0);
}

#[test]
fn a_file_that_got_its_size_first_is_read_as_it_is_filled_and_is_the_same_when_it_is_cut_to_size() {
    let file = file(b"one\n\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0");
    let mut tail = tail(&file, 0, Vec::new(), &config("\n", 1000));
    assert_eq!(lines(&drain(&mut tail, 1024, FileEnd::Open)), ["one"]);
    let filled = |at, text: &[u8]| {
        file.write_all_at(text, at).unwrap();
        let later = std::time::SystemTime::now() + Duration::from_secs(at);
        file.set_modified(later).unwrap(); // The clock of the file system may be coarse.
    };
    filled(4, b"tw");
    assert_eq!(drain(&mut tail, 1024, FileEnd::Open), []);
    filled(6, b"o\nthree");
    assert_eq!(lines(&drain(&mut tail, 1024, FileEnd::Open)), ["two"]);
    file.set_len(13).unwrap();
    assert!(tail.look().unwrap(), "only NULs are gone");
    assert_eq!(tail.take_cut_off(), 0);
    appended(&file, b"\n");
    assert_eq!(lines(&drain(&mut tail, 1024, FileEnd::Open)), ["three"]);
    file.set_len(7).unwrap();
    assert!(!tail.look().unwrap());
}
