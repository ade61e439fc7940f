//! Tests against what Java itself printed, and properties of arbitrary patterns.

use proptest::prelude::*;

use super::*;
use crate::partition::TimeZoneName;

const GOLDEN: &str = include_str!("golden.tsv");

#[test]
fn every_pattern_prints_what_java_prints() {
    let mut lines = GOLDEN.lines().filter(|line| !line.starts_with('#'));
    let moments: Vec<Moment> = lines.next().unwrap().split('\t').skip(1).map(moment).collect();
    let mut compared = 0;
    for line in lines {
        let mut columns = line.split('\t');
        let pattern = columns.next().unwrap();
        let parsed = TimePattern::parse(pattern).unwrap_or_else(|error| panic!("`{pattern}`: {error:?}"));
        for (moment, expected) in moments.iter().zip(columns) {
            let mut printed = String::new();
            parsed.print(moment, &mut printed);
            assert_eq!(printed, expected, "`{pattern}` at {moment:?}");
            assert!(printed.len() <= parsed.longest().len(), "`{pattern}` at {moment:?}");
            compared += 1;
        }
    }
    assert!(compared > 2000, "{compared}");
}

#[test]
fn letters_may_be_repeated_as_often_as_in_java() {
    let up_to_19 = "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19";
    let table = [
        ("uyY", "1 2 3 4 5 6 7 8 9 10"),
        ("GQqMLEeXxZ", "1 2 3 4 5"),
        ("c", "1 3 4 5"),
        ("wdhHkKms", "1 2"),
        ("D", "1 2 3"),
        ("WFa", "1"),
        ("B", "1 4 5"),
        ("S", "1 2 3 4 5 6 7 8 9"),
        ("gAnN", up_to_19),
        ("V", "2"),
        ("vO", "1 4"),
        ("z", "1 2 3 4"),
        ("bCfiIjJloPrRtTU", ""),
    ];
    for (letters, expected) in table {
        for letter in letters.chars() {
            let accepts = |count: &usize| TimePattern::parse(&letter.to_string().repeat(*count)).is_ok();
            let counts: Vec<String> = (1..25).filter(accepts).map(|count| count.to_string()).collect();
            assert_eq!(counts.join(" "), expected, "{letter}");
        }
    }
}

#[test]
fn bad_patterns_are_refused_with_their_place() {
    // rule, pattern, offset, a part of message or help
    for (rule, pattern, offset, part) in [
        ("empty", "", 0, "empty"),
        ("unknown letter", "yyyy-MM-ddTHH", 10, "`'T'`"),
        ("too many letters", "yyyyMMMMMM", 4, "`MMMMM`"),
        ("no `cc`", "cc", 0, "`ccc`"),
        ("open quote", "yyyy'T", 4, "not closed"),
        ("open quote after a quote", "'a''", 0, "not closed"),
        ("`]` alone", "yyyy]", 4, "without a `[`"),
        ("one `]` too many", "[yyyy]]", 6, "without a `[`"),
        ("reserved", "yy{", 2, "reserved"),
        ("reserved", "}", 0, "reserved"),
        ("reserved", "é#", 2, "reserved"),
        ("padding of nothing", "yyyypp", 4, "`p`"),
        ("padding of a literal", "pp/", 0, "`p`"),
        ("padding of a section", "pp[d]", 0, "`p`"),
        ("padding too narrow at all times", "pMM", 0, "repeat `p` 2 times"),
        ("padding too narrow on some days", "ypd", 1, "2 characters"),
    ] {
        let error = TimePattern::parse(pattern).unwrap_err();
        assert_eq!(error.offset, offset, "{rule}: {error:?}");
        assert!(format!("{} {}", error.message, error.help).contains(part), "{rule}: {error:?}");
    }
}

fn moment(text: &str) -> Moment {
    let (zone, at) = text.split_once(' ').unwrap();
    Moment::new(at.parse().unwrap(), &TimeZoneName::parse(zone).unwrap())
}

proptest! {
    #[test]
    fn no_text_makes_the_parser_panic(pattern in ".{0,40}") {
        let _ = TimePattern::parse(&pattern);
    }

    #[test]
    fn what_parses_prints_at_any_instant(pattern in patterns(), second in 0_i64..7_258_118_400) {
        if let Ok(parsed) = TimePattern::parse(&pattern) {
            let mut printed = String::new();
            let at = jiff::Timestamp::from_second(second).unwrap();
            parsed.print(&Moment::new(at, &TimeZoneName::parse("Europe/Dublin").unwrap()), &mut printed);
            prop_assert!(printed.len() <= parsed.longest().len(), "`{}`: {}", pattern, printed);
        }
    }
}

fn patterns() -> impl Strategy<Value = String> {
    let fields = (prop::sample::select("GuyYQqMLwWDdFgEecaBhHkKmsSAnNVvzOXxZ".chars().collect::<Vec<_>>()), 1_usize..6);
    let piece = prop_oneof![
        4 => fields.prop_map(|(letter, count)| letter.to_string().repeat(count)),
        1 => "p{1,40}|['/.é-]|\\[|\\]",
    ];
    proptest::collection::vec(piece, 1..4).prop_map(|pieces| pieces.concat())
}
