//! Pattern letters: what one letter, repeated so many times, stands for.

use super::print::{Moment, SAMPLES};
use crate::partition::time_zone::NAME_CHARS_MAX;
use crate::partition::zone_names::longest_zone_name;

const LETTERS: &str = "G u y Y Q q M L w W D d F g E e c a B h H k K m s S A n N V v z O X x Z p";

/// One field of a pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Field {
    /// With zeros up to so many digits.
    Number(Quantity, usize),
    /// The last two digits of a year.
    TwoDigits(Quantity),
    Word(Word, Length),
    DayPeriod(Length),
    /// So many digits, all 0: times are precise to the second.
    Fraction(usize),
    ZoneId,
    ZoneName {
        generic: bool,
        long: bool,
    },
    Offset(OffsetForm),
    /// `GMT+2`, long `GMT+02:00`.
    LocalizedOffset {
        long: bool,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Quantity {
    Year,
    YearOfEra,
    WeekBasedYear,
    Quarter,
    Month,
    WeekOfYear,
    WeekOfMonth,
    DayOfYear,
    DayOfMonth,
    AlignedDayOfWeek,
    ModifiedJulianDay,
    DayOfWeek,
    Hour0To23,
    Hour1To24,
    Hour0To11,
    Hour1To12,
    Minute,
    Second,
    MilliOfDay,
    NanoOfSecond,
    NanoOfDay,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Word {
    Era,
    Quarter,
    Month,
    DayOfWeek,
    AmPm,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Length {
    Short,
    Full,
    Narrow,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct OffsetForm {
    pub(super) colons: bool,
    pub(super) minutes: Part,
    pub(super) seconds: Part,
    /// What stands for no offset at all.
    pub(super) zero: &'static str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Always,
    UnlessZero,
    Never,
}

impl Field {
    /// The error is a message and what is allowed instead.
    pub(super) fn parse(letter: char, count: usize) -> Result<Self, (String, String)> {
        let allowed = counts(letter)
            .ok_or_else(|| (format!("`{letter}` is not a letter of time patterns"), unknown_letter(letter)))?;
        if !allowed.contains(&count) {
            let written = if count > 24 { format!("{letter} × {count}") } else { letter.to_string().repeat(count) };
            return Err((format!("`{written}` is not a field of time patterns"), repetitions(letter, allowed)));
        }
        Ok(Self::of(letter, count))
    }

    /// Whether its length depends on the time zone, which a pattern does not know.
    pub(super) fn depends_on_zone(self) -> bool {
        match self {
            Self::ZoneId | Self::ZoneName { .. } | Self::Offset(_) | Self::LocalizedOffset { .. } => true,
            Self::Number(..) | Self::TwoDigits(_) | Self::Word(..) | Self::DayPeriod(_) | Self::Fraction(_) => false,
        }
    }

    /// How many bytes it prints at least, and whether all of them are digits.
    pub(super) fn least(self) -> (usize, bool) {
        match self {
            Self::Number(_, digits) | Self::Fraction(digits) => (digits.max(1), true),
            Self::TwoDigits(_) => (2, true),
            _ => (1, false),
        }
    }

    /// A text at least as long as anything that the field prints.
    pub(super) fn longest(self) -> String {
        match self {
            Self::ZoneId => "Z".repeat(NAME_CHARS_MAX),
            // A zone without a name prints its id.
            Self::ZoneName { long, .. } => "Z".repeat(NAME_CHARS_MAX.max(longest_zone_name(long).len())),
            _ => {
                let printed = SAMPLES.iter().map(|sample: &Moment| {
                    let mut text = String::new();
                    self.print(sample, &mut text);
                    text
                });
                printed.max_by_key(String::len).unwrap_or_default()
            }
        }
    }

    /// `count` is one of the letter's `counts`.
    fn of(letter: char, count: usize) -> Self {
        use Quantity as Q;
        let number = |quantity| Self::Number(quantity, count);
        let year = |quantity| if count == 2 { Self::TwoDigits(quantity) } else { Self::Number(quantity, count) };
        let number_or_word = |quantity, word| match count {
            1 | 2 => Self::Number(quantity, count),
            _ => Self::Word(word, Length::of(count)),
        };
        match letter {
            'G' => Self::Word(Word::Era, Length::of(count)),
            'u' => year(Q::Year),
            'y' => year(Q::YearOfEra),
            'Y' => year(Q::WeekBasedYear),
            'Q' | 'q' => number_or_word(Q::Quarter, Word::Quarter),
            'M' | 'L' => number_or_word(Q::Month, Word::Month),
            'w' => number(Q::WeekOfYear),
            'W' => number(Q::WeekOfMonth),
            'D' => number(Q::DayOfYear),
            'd' => number(Q::DayOfMonth),
            'F' => number(Q::AlignedDayOfWeek),
            'g' => number(Q::ModifiedJulianDay),
            'E' => Self::Word(Word::DayOfWeek, Length::of(count)),
            'e' | 'c' => number_or_word(Q::DayOfWeek, Word::DayOfWeek),
            'a' => Self::Word(Word::AmPm, Length::Short),
            'B' => Self::DayPeriod(Length::of(count)),
            'h' => number(Q::Hour1To12),
            'H' => number(Q::Hour0To23),
            'k' => number(Q::Hour1To24),
            'K' => number(Q::Hour0To11),
            'm' => number(Q::Minute),
            's' => number(Q::Second),
            'S' => Self::Fraction(count),
            'A' => number(Q::MilliOfDay),
            'n' => number(Q::NanoOfSecond),
            'N' => number(Q::NanoOfDay),
            'V' => Self::ZoneId,
            'v' => Self::ZoneName { generic: true, long: count == 4 },
            'z' => Self::ZoneName { generic: false, long: count == 4 },
            'O' => Self::LocalizedOffset { long: count == 4 },
            'Z' if count == 4 => Self::LocalizedOffset { long: true },
            'Z' if count < 4 => Self::Offset(OffsetForm::basic("+0000")),
            'Z' => Self::Offset(OffsetForm::of(5, "Z")),
            'x' => Self::Offset(OffsetForm::of(
                count,
                ["+00", "+0000", "+00:00"][if count == 1 { 0 } else { 1 + count % 2 }],
            )),
            _ => Self::Offset(OffsetForm::of(count, "Z")), // X
        }
    }
}

impl Length {
    fn of(count: usize) -> Self {
        match count {
            4 => Self::Full,
            5 => Self::Narrow,
            _ => Self::Short,
        }
    }
}

impl OffsetForm {
    fn basic(zero: &'static str) -> Self {
        Self { colons: false, minutes: Part::Always, seconds: Part::Never, zero }
    }

    /// The form that 1 to 5 letters `X` choose.
    fn of(count: usize, zero: &'static str) -> Self {
        let minutes = if count == 1 { Part::UnlessZero } else { Part::Always };
        let seconds = if count >= 4 { Part::UnlessZero } else { Part::Never };
        Self { colons: count == 3 || count == 5, minutes, seconds, zero }
    }
}

/// How often each letter may be repeated. Java takes more than 10 `y` and fails when it prints them.
fn counts(letter: char) -> Option<&'static [usize]> {
    const UP_TO_19: &[usize] = &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19];
    Some(match letter {
        'u' | 'y' | 'Y' => &UP_TO_19[..10],
        'G' | 'Q' | 'q' | 'M' | 'L' | 'E' | 'e' | 'X' | 'x' | 'Z' => &UP_TO_19[..5],
        'c' => &[1, 3, 4, 5],
        'w' | 'd' | 'h' | 'H' | 'k' | 'K' | 'm' | 's' => &UP_TO_19[..2],
        'D' => &UP_TO_19[..3],
        'W' | 'F' | 'a' => &UP_TO_19[..1],
        'B' => &[1, 4, 5],
        'S' => &UP_TO_19[..9],
        'g' | 'A' | 'n' | 'N' => UP_TO_19,
        'V' => &[2],
        'v' | 'O' => &[1, 4],
        'z' => &UP_TO_19[..4],
        _ => return None,
    })
}

fn unknown_letter(letter: char) -> String {
    format!("put text in single quotes: `'{letter}'`; the letters are {LETTERS}")
}

fn repetitions(letter: char, allowed: &[usize]) -> String {
    let allowed: Vec<String> = allowed.iter().map(|count| letter.to_string().repeat(*count)).collect();
    match allowed.as_slice() {
        [first, .., last] if allowed.len() > 5 => {
            format!("`{first}` to `{last}` are allowed; put text in single quotes")
        }
        _ => format!("allowed: `{}`; put text in single quotes", allowed.join("`, `")),
    }
}
