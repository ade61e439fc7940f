//! Joda-Time patterns, which Hive's `timestamp.formats` and Firehose's `TimestampFormats` are written in.
//!
//! They are not the patterns of `java.time`, which prefixes use. Where a letter means something else:
//!
//! | letter | Joda, here | `java.time`, in prefixes |
//! | --- | --- | --- |
//! | `Y` | year of era | week-based year |
//! | `x` | week-based year | offset |
//! | `e` | day of week, 1 is Monday | localized day of week |
//! | `S` | as many digits of the fraction as there are letters, or fewer | exactly as many |
//! | `K` | hour of half day, 0 to 11 | the same |
//! | `Z`, `ZZ` | offset, with or without a colon, or `Z` | offset without a colon |
//! | `ZZZ` | a zone's name such as `Europe/Berlin` | offset without a colon |
//! | `C` | century of era | none |
//!
//! As in Joda, a number takes fewer digits than it has letters, and a year more, unless a number follows directly; names are
//! English and read in short and in full, whatever their case; what a pattern leaves out is that of 1970-01-01T00:00 UTC, the
//! year 2000 where a month or day is given. Otherwise than in Joda:
//!
//! - The two digits of `yy` are a year from 1970 to 2069. Joda's range moves with the clock, and a record must not be read
//!   differently tomorrow.
//! - A day of week that is not the date's is refused; Joda moves the date.
//! - `EST` and the like are fixed offsets.

use std::str::FromStr;

mod parse;

use parse::Fields;

/// A compiled pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    elements: Vec<Element>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Element {
    /// Read without regard to case.
    Literal(String),
    Number(Field, usize),
    /// Exactly two digits, or, where no number follows, a whole year as well.
    TwoDigitYear(Field, Follows),
    Fraction(usize),
    Name(Names),
    Offset,
    ZoneName,
    ZoneId,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Follows {
    Number,
    Other,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    Century,
    Year,
    YearOfEra,
    Weekyear,
    Month,
    Week,
    Day,
    DayOfYear,
    Weekday,
    HourOfHalf,
    ClockhourOfHalf,
    Hour,
    Clockhour,
    Minute,
    Second,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Names {
    Month,
    Weekday,
    Half,
    Era,
}

/// Why a text is no pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{pattern}` is no Joda pattern: {reason}")]
pub struct PatternError {
    pub pattern: String,
    pub reason: String,
}

impl FromStr for Pattern {
    type Err = PatternError;

    fn from_str(pattern: &str) -> Result<Self, PatternError> {
        let compiled = tokens(pattern).and_then(|tokens| elements(&tokens));
        match compiled {
            Ok(elements) if elements.is_empty() => Err(String::from("it is empty")),
            Ok(elements) => Ok(Self { elements }),
            Err(reason) => Err(reason),
        }
        .map_err(|reason| PatternError { pattern: pattern.to_owned(), reason })
    }
}

impl Pattern {
    /// Microseconds since 1970 of a text that fits, and that names an instant that there is.
    pub(super) fn parse(&self, text: &str) -> Option<i64> {
        let (mut fields, mut rest) = (Fields::default(), text);
        for element in &self.elements {
            rest = fields.take(element, rest)?;
        }
        if rest.is_empty() { fields.micros() } else { None }
    }
}

enum Token {
    Letters(char, usize),
    Literal(String),
}

fn tokens(pattern: &str) -> Result<Vec<Token>, String> {
    let mut tokens = Vec::new();
    let mut chars = pattern.chars().peekable();
    while let Some(sign) = chars.next() {
        if sign.is_ascii_alphabetic() {
            let mut count = 1;
            while chars.next_if_eq(&sign).is_some() {
                count += 1;
            }
            tokens.push(Token::Letters(sign, count));
            continue;
        }
        let mut literal = String::new();
        if sign != '\'' {
            literal.push(sign);
        } else if chars.next_if_eq(&'\'').is_some() {
            literal.push('\'');
        } else {
            loop {
                match chars.next() {
                    None => return Err(String::from("a quote is not closed")),
                    Some('\'') if chars.next_if_eq(&'\'').is_none() => break,
                    Some(sign) => literal.push(sign),
                }
            }
        }
        match tokens.last_mut() {
            Some(Token::Literal(before)) => before.push_str(&literal),
            _ => tokens.push(Token::Literal(literal)),
        }
    }
    Ok(tokens)
}

fn elements(tokens: &[Token]) -> Result<Vec<Element>, String> {
    let mut elements = Vec::with_capacity(tokens.len());
    for (index, token) in tokens.iter().enumerate() {
        elements.push(match token {
            Token::Literal(text) => Element::Literal(text.clone()),
            &Token::Letters(letter, count) => {
                let follows = match tokens.get(index + 1) {
                    Some(next) if next.is_number() => Follows::Number,
                    _ => Follows::Other,
                };
                element(letter, count, follows)?
            }
        });
    }
    Ok(elements)
}

impl Token {
    fn is_number(&self) -> bool {
        match self {
            Self::Literal(_) => false,
            Self::Letters('M', count) => *count <= 2,
            Self::Letters(letter, _) => "CxyYdhHmsSeDwkK".contains(*letter),
        }
    }
}

fn element(letter: char, count: usize, follows: Follows) -> Result<Element, String> {
    let year = |field| match (count, follows) {
        (2, follows) => Element::TwoDigitYear(field, follows),
        (count, Follows::Number) => Element::Number(field, count),
        (_, Follows::Other) => Element::Number(field, 9),
    };
    Ok(match letter {
        'G' => Element::Name(Names::Era),
        'C' => Element::Number(Field::Century, count.max(2)),
        'Y' => year(Field::YearOfEra),
        'x' => year(Field::Weekyear),
        'y' => year(Field::Year),
        'w' => Element::Number(Field::Week, 2),
        'e' => Element::Number(Field::Weekday, 1),
        'E' => Element::Name(Names::Weekday),
        'D' => Element::Number(Field::DayOfYear, 3),
        'M' if count > 2 => Element::Name(Names::Month),
        'M' => Element::Number(Field::Month, 2),
        'd' => Element::Number(Field::Day, 2),
        'a' => Element::Name(Names::Half),
        'K' => Element::Number(Field::HourOfHalf, 2),
        'h' => Element::Number(Field::ClockhourOfHalf, 2),
        'H' => Element::Number(Field::Hour, 2),
        'k' => Element::Number(Field::Clockhour, 2),
        'm' => Element::Number(Field::Minute, 2),
        's' => Element::Number(Field::Second, 2),
        'S' if count > 9 => return Err(String::from("a fraction has at most nine digits")),
        'S' => Element::Fraction(count),
        'z' => Element::ZoneName,
        'Z' if count > 2 => Element::ZoneId,
        'Z' => Element::Offset,
        _ => return Err(format!("`{letter}` is no letter of a pattern; text stands in single quotes")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(pattern: &str, text: &str) -> Option<String> {
        let micros = pattern.parse::<Pattern>().unwrap().parse(text)?;
        Some(jiff::Timestamp::from_microsecond(micros).unwrap().to_string())
    }

    #[test]
    fn texts_that_fit_are_read_as_joda_reads_them() {
        for (pattern, text, expected) in [
            ("yyyy-MM-dd'T'HH:mm:ss.SSSZ", "2026-02-03T04:05:06.789+0100", "2026-02-03T03:05:06.789Z"),
            ("yyyy-MM-dd'T'HH:mm:ssZZ", "2026-02-03T04:05:06-05:30", "2026-02-03T09:35:06Z"),
            ("yyyy-MM-dd'T'HH:mm:ssZ", "2026-02-03T04:05:06Z", "2026-02-03T04:05:06Z"),
            ("yyyy/M/d H:m:s", "2026/2/3 4:5:6", "2026-02-03T04:05:06Z"),
            ("yyyy/MM/dd", "2026/2/3", "2026-02-03T00:00:00Z"),
            ("yyyyMMddHHmmss", "20260203040506", "2026-02-03T04:05:06Z"),
            ("yyyyMMdd", "2026023", "2026-02-03T00:00:00Z"),
            ("yyyyMMddHHmmssSSS", "20260203040506789", "2026-02-03T04:05:06.789Z"),
            ("dd/MMM/yyyy:HH:mm:ss Z", "03/Feb/2026:04:05:06 +0000", "2026-02-03T04:05:06Z"),
            ("dd MMMM yyyy", "3 FEBRUARY 2026", "2026-02-03T00:00:00Z"),
            ("MMM d, yyyy h:mm:ss a", "Feb 3, 2026 12:05:06 AM", "2026-02-03T00:05:06Z"),
            ("MMM d, yyyy h:mm:ss a", "Feb 3, 2026 4:05:06 pm", "2026-02-03T16:05:06Z"),
            ("yyyy-MM-dd KK:mm a", "2026-02-03 00:05 PM", "2026-02-03T12:05:00Z"),
            ("yyyy-MM-dd kk", "2026-02-03 24", "2026-02-03T00:00:00Z"),
            ("EEE MMM dd HH:mm:ss z yyyy", "Tue Feb 03 04:05:06 PST 2026", "2026-02-03T12:05:06Z"),
            ("EEEE, yyyy-MM-dd", "tuesday, 2026-02-03", "2026-02-03T00:00:00Z"),
            ("yyyy-MM-dd HH:mm ZZZ", "2026-07-03 04:05 Europe/Berlin", "2026-07-03T02:05:00Z"),
            ("yyyy-DDD", "2024-366", "2024-12-31T00:00:00Z"),
            ("xxxx-'W'ww-e", "2026-W01-1", "2025-12-29T00:00:00Z"),
            ("xxxx-'W'ww", "2020-W53", "2020-12-31T00:00:00Z"),
            ("yy-MM-dd", "70-01-02", "1970-01-02T00:00:00Z"),
            ("yy-MM-dd", "69-01-02", "2069-01-02T00:00:00Z"),
            ("yy-MM-dd", "1969-01-02", "1969-01-02T00:00:00Z"),
            ("yyMMdd", "690102", "2069-01-02T00:00:00Z"),
            ("YYYY G", "2 BC", "-000001-01-01T00:00:00Z"),
            ("CC", "19", "1970-01-01T00:00:00Z"),
            ("MM-dd", "02-29", "2000-02-29T00:00:00Z"),
            ("HH:mm", "04:05", "1970-01-01T04:05:00Z"),
            ("ss.SSSSSSSSS", "06.123456789", "1970-01-01T00:00:06.123456Z"),
            ("ss.SSS", "06.1", "1970-01-01T00:00:06.1Z"),
            ("'o''clock' HH''mm", "O'CLOCK 04'05", "1970-01-01T04:05:00Z"),
        ] {
            assert_eq!(parse(pattern, text).as_deref(), Some(expected), "{pattern}: {text}");
        }
    }

    #[test]
    fn texts_that_do_not_fit_are_refused() {
        for (pattern, text) in [
            ("yyyy-MM-dd", "2026-02-30"),
            ("yyyy-MM-dd", "2026-02-03 "),
            ("yyyy-MM-dd", "2026-02-"),
            ("yyyy-MM-dd", "2026-13-01"),
            ("yyyyMMdd", "202602"),
            ("EEE yyyy-MM-dd", "Mon 2026-02-03"),
            ("HH:mm", "24:00"),
            ("hh a", "13 AM"),
            ("hh a", "00 AM"),
            ("kk", "00"),
            ("yyyy-DDD", "2026-366"),
            ("xxxx-'W'ww", "2026-W54"),
            ("ss.SSS", "06.1234"),
            ("HH:mm ZZZ", "04:05 Nowhere/Land"),
            ("yyyy-MM-dd HH:mm ZZZ", "2026-03-29 02:30 Europe/Berlin"),
            ("MMM", "Foo"),
            ("yyyy", "999999999"),
            ("yyyy", "é"),
        ] {
            assert_eq!(parse(pattern, text), None, "{pattern}: {text}");
        }
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        for (pattern, reason) in [
            ("", "it is empty"),
            ("yyyy-MM-ddTHH", "`T` is no letter"),
            ("yyyy'T", "a quote is not closed"),
            ("SSSSSSSSSS", "at most nine digits"),
        ] {
            assert!(pattern.parse::<Pattern>().unwrap_err().to_string().contains(reason), "{pattern}");
        }
    }
}
