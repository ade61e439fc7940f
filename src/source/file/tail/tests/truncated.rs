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
