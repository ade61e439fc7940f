//! Text against a pattern's elements, and the instant that the fields name together.

use jiff::tz::TimeZone;

use super::super::civil;
use super::super::time_text::{Cursor, offset_seconds};
use super::{Element, Field, Follows, Names};

const MONTHS: [&str; 12] = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
];
const WEEKDAYS: [&str; 7] = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];
const ERAS: [&str; 2] = ["bc", "ad"];
const HALVES: [&str; 2] = ["am", "pm"];
/// Hours from UTC of the zone names that Joda reads.
const ZONES: [(&str, i64); 11] = [
    ("UTC", 0),
    ("GMT", 0),
    ("EST", -5),
    ("EDT", -4),
    ("CST", -6),
    ("CDT", -5),
    ("MST", -7),
    ("MDT", -6),
    ("PST", -8),
    ("PDT", -7),
    ("UT", 0),
];

/// What a text has said so far; the last one counts where a field is said twice.
#[derive(Default)]
pub(super) struct Fields {
    era: Option<u32>,
    century: Option<u32>,
    year: Option<i32>,
    year_of_era: Option<i32>,
    weekyear: Option<i32>,
    month: Option<u32>,
    week: Option<u32>,
    day: Option<u32>,
    day_of_year: Option<u32>,
    /// From 0, Monday.
    weekday: Option<u32>,
    half: Option<u32>,
    /// From 0 to 11, or to 23 where `half` does not count.
    hour: Option<Hour>,
    minute: u32,
    second: u32,
    micros: u32,
    zone: Option<Zone>,
}

#[derive(Clone, Copy)]
enum Hour {
    OfDay(u32),
    OfHalf(u32),
}

enum Zone {
    Seconds(i64),
    Id(TimeZone),
}

impl Fields {
    /// What is left of the text behind the element.
    pub(super) fn take<'a>(&mut self, element: &Element, text: &'a str) -> Option<&'a str> {
        match element {
            Element::Literal(literal) => {
                let start = text.get(..literal.len())?;
                start.eq_ignore_ascii_case(literal).then(|| &text[literal.len()..])
            }
            &Element::Number(field, max) => {
                let is_year = matches!(field, Field::Year | Field::YearOfEra | Field::Weekyear);
                let (number, rest) = number(text, max, is_year)?;
                self.set(field, number)?;
                Some(rest)
            }
            &Element::TwoDigitYear(field, follows) => self.two_digit_year(field, follows, text),
            &Element::Fraction(max) => {
                let digits = text.bytes().take(max).take_while(u8::is_ascii_digit).count();
                let fraction = text.get(..digits).filter(|fraction| !fraction.is_empty())?;
                self.micros = format!("{fraction:0<6}").get(..6)?.parse().ok()?;
                text.get(digits..)
            }
            Element::Name(names) => self.name(*names, text),
            Element::Offset => {
                let mut cursor = Cursor(text.as_bytes());
                let is_utc = cursor.take(b'Z') || cursor.take(b'z');
                let seconds = if is_utc { 0 } else { offset_seconds(&mut cursor)? };
                self.zone = Some(Zone::Seconds(seconds));
                text.get(text.len() - cursor.0.len()..)
            }
            Element::ZoneName => {
                let is_start = |(name, _): &&(&str, i64)| text.get(..name.len()).is_some_and(|start| start == *name);
                let (name, hours) = ZONES.iter().find(is_start)?;
                self.zone = Some(Zone::Seconds(hours * 3600));
                text.get(name.len()..)
            }
            Element::ZoneId => {
                let is_part = |sign: char| sign.is_ascii_alphanumeric() || "/_+-".contains(sign);
                let end = text.find(|sign| !is_part(sign)).unwrap_or(text.len());
                self.zone = Some(Zone::Id(TimeZone::get(text.get(..end)?).ok()?));
                text.get(end..)
            }
        }
    }

    fn two_digit_year<'a>(&mut self, field: Field, follows: Follows, text: &'a str) -> Option<&'a str> {
        let max = if follows == Follows::Number { 2 } else { 9 };
        let (number, rest) = number(text, max, follows == Follows::Other)?;
        let is_short = text.len() - rest.len() == 2 && text.starts_with(|sign: char| sign.is_ascii_digit());
        if follows == Follows::Number && !is_short {
            return None;
        }
        let number = match number {
            0..70 if is_short => number + 2000,
            70..100 if is_short => number + 1900,
            _ => number,
        };
        // Joda's two digits are a year, not a year of an era, whichever the letter.
        self.set(if field == Field::Weekyear { field } else { Field::Year }, number)?;
        Some(rest)
    }

    fn name<'a>(&mut self, names: Names, text: &'a str) -> Option<&'a str> {
        let (known, index): (&[&str], &mut Option<u32>) = match names {
            Names::Month => (&MONTHS, &mut self.month),
            Names::Weekday => (&WEEKDAYS, &mut self.weekday),
            Names::Half => (&HALVES, &mut self.half),
            Names::Era => (&ERAS, &mut self.era),
        };
        let starts = |name: &str| text.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name));
        for (at, name) in known.iter().enumerate() {
            // In full first: `may` is both, and `june` begins with `jun`.
            let short = name.get(..3).unwrap_or(name);
            if let Some(found) = [name, short].into_iter().find(|name| starts(name)) {
                *index = Some(at as u32 + u32::from(names == Names::Month));
                return text.get(found.len()..);
            }
        }
        None
    }

    fn set(&mut self, field: Field, number: i32) -> Option<()> {
        let within = |min: i32, max: i32| (min..=max).contains(&number).then_some(number as u32);
        match field {
            Field::Century => self.century = Some(within(0, 99)?),
            Field::Year => self.year = Some(number),
            Field::YearOfEra => self.year_of_era = Some(within(1, 9999)? as i32),
            Field::Weekyear => self.weekyear = Some(number),
            Field::Month => self.month = Some(within(1, 12)?),
            Field::Week => self.week = Some(within(1, 53)?),
            Field::Day => self.day = Some(within(1, 31)?),
            Field::DayOfYear => self.day_of_year = Some(within(1, 366)?),
            Field::Weekday => self.weekday = Some(within(1, 7)? - 1),
            Field::HourOfHalf => self.hour = Some(Hour::OfHalf(within(0, 11)?)),
            Field::ClockhourOfHalf => self.hour = Some(Hour::OfHalf(within(1, 12)? % 12)),
            Field::Hour => self.hour = Some(Hour::OfDay(within(0, 23)?)),
            Field::Clockhour => self.hour = Some(Hour::OfDay(within(1, 24)? % 24)),
            Field::Minute => self.minute = within(0, 59)?,
            Field::Second => self.second = within(0, 59)?,
        }
        Some(())
    }

    pub(super) fn micros(self) -> Option<i64> {
        let days = self.days()?;
        let half = self.half.unwrap_or(0);
        let hour = match self.hour {
            Some(Hour::OfDay(hour)) => hour,
            Some(Hour::OfHalf(hour)) => hour + 12 * half,
            None => 12 * half,
        };
        let local = civil::micros(days, hour, self.minute, self.second, self.micros)?;
        match self.zone {
            None => Some(local),
            Some(Zone::Seconds(seconds)) => Some(local - seconds * 1_000_000),
            Some(Zone::Id(zone)) => {
                let local = jiff::Timestamp::from_microsecond(local).ok()?.to_zoned(TimeZone::UTC).datetime();
                let ambiguous = zone.to_ambiguous_timestamp(local);
                // Where the clock is put back the earlier instant counts; what it skips does not exist.
                if matches!(ambiguous.offset(), jiff::tz::AmbiguousOffset::Gap { .. }) {
                    return None;
                }
                Some(ambiguous.earlier().ok()?.as_microsecond())
            }
        }
    }

    fn days(&self) -> Option<i32> {
        let is_by_week = self.week.is_some() || self.weekyear.is_some();
        let days = match (is_by_week, self.day_of_year) {
            (true, _) => return self.day_by_week(),
            (false, Some(day_of_year)) => {
                let year = self.year().unwrap_or(1970);
                let first = civil::days(year, 1, 1)?;
                let length = if civil::is_leap(year) { 366 } else { 365 };
                (day_of_year <= length).then_some(first + day_of_year as i32 - 1)?
            }
            (false, None) => {
                let default = if self.month.is_some() || self.day.is_some() { 2000 } else { 1970 };
                civil::days(self.year().unwrap_or(default), self.month.unwrap_or(1), self.day.unwrap_or(1))?
            }
        };
        match self.weekday {
            Some(weekday) if weekday as i32 != civil::weekday(days) => None,
            _ => Some(days),
        }
    }

    fn year(&self) -> Option<i32> {
        let of_era = self.year_of_era.map(|year| if self.era == Some(0) { 1 - year } else { year });
        // A century alone keeps 1970's place in it.
        self.year.or(of_era).or(self.century.map(|century| century as i32 * 100 + 70))
    }

    /// Week 1 is the one with the year's first Thursday. A weekday that is left out is 1970-01-01's, Thursday.
    fn day_by_week(&self) -> Option<i32> {
        let year = self.weekyear.or(self.year()).unwrap_or(1970);
        let monday_of_first = |year| civil::days(year, 1, 4).map(|day| day - civil::weekday(day));
        let monday = monday_of_first(year)? + 7 * (self.week.unwrap_or(1) as i32 - 1);
        let is_in_year = monday < monday_of_first(year + 1)?;
        is_in_year.then_some(monday + self.weekday.unwrap_or(3) as i32)
    }
}

/// At least one digit and at most `max`, and what is left.
fn number(text: &str, max: usize, may_have_sign: bool) -> Option<(i32, &str)> {
    let sign = usize::from(may_have_sign && text.starts_with(['-', '+']));
    let digits = text.bytes().skip(sign).take(max).take_while(u8::is_ascii_digit).count();
    if digits == 0 {
        return None;
    }
    let number = text.get(..sign + digits)?.parse().ok()?;
    Some((number, text.get(sign + digits..)?))
}
