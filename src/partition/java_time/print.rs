//! Printing: what each field of a pattern says about one moment.

use std::fmt::Write;
use std::sync::LazyLock;

use jiff::civil::{Date, DateTime, date};
use jiff::tz::Offset;
use jiff::{SignedDuration, Timestamp, ToSpan};

use super::field::{Field, Length, OffsetForm, Part, Quantity, Word};
use crate::partition::TimeZoneName;
use crate::partition::zone_names::{ZoneNameKind, zone_name};

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
const QUARTERS: [[&str; 3]; 4] =
    [["Q1", "1st quarter", "1"], ["Q2", "2nd quarter", "2"], ["Q3", "3rd quarter", "3"], ["Q4", "4th quarter", "4"]];
const UNIX_EPOCH_AS_MODIFIED_JULIAN_DAY: i64 = 40587;

/// Every field is as long as it can be at one of these: a Wednesday in September (the longest names), a far year (the
/// longest numbers), each period of the day, an offset with seconds (Liberia's until 1972).
pub(super) static SAMPLES: LazyLock<Vec<Moment>> = LazyLock::new(|| {
    let times = [(0, 0, 0), (10, 10, 10), (12, 0, 0), (12, 10, 10), (18, 10, 10), (23, 59, 59)];
    let locals = times.into_iter().flat_map(|(hour, minute, second)| {
        [(2026, 9), (2999, 12)].map(|(year, month)| date(year, month, 30).at(hour, minute, second, 0))
    });
    let moment = |local| Moment { local, offset_seconds: -2670, is_dst: false, zone: "UTC".to_owned() };
    locals.map(moment).collect()
});

/// An instant in a time zone.
#[derive(Debug, Clone)]
pub(in crate::partition) struct Moment {
    local: DateTime,
    offset_seconds: i32,
    is_dst: bool,
    zone: String,
}

impl Moment {
    pub(in crate::partition) fn new(at: Timestamp, zone: &TimeZoneName) -> Self {
        let info = zone.zone().to_offset_info(at);
        let offset: Offset = info.offset();
        // Here the database says that winter, or Ramadan, is daylight saving time of -1 hour. Java sees it like people.
        let is_dst = match zone.name() {
            "Europe/Dublin" | "Eire" | "Africa/Casablanca" | "Africa/El_Aaiun" => offset.seconds() == 3600,
            _ => info.dst().is_dst(),
        };
        let zone_name = zone.name().to_owned();
        Self { local: offset.to_datetime(at), offset_seconds: offset.seconds(), is_dst, zone: zone_name }
    }

    /// `None` outside of the years -9999 to 9999. A `Timestamp` ends a day before them, so that it has room for any offset.
    pub(in crate::partition) fn of_micros(micros: i64, zone: &TimeZoneName) -> Option<Self> {
        let second = micros.div_euclid(1_000_000).clamp(Timestamp::MIN.as_second(), Timestamp::MAX.as_second());
        let moment = Self::new(Timestamp::from_second(second).ok()?, zone);
        let rest = SignedDuration::from_micros(micros - second * 1_000_000);
        let local = moment.local.checked_add(rest).ok()?;
        Some(Self { local, ..moment })
    }

    fn quantity(&self, quantity: Quantity) -> i64 {
        let (date, time) = (self.local.date(), self.local.time());
        let hour = i64::from(time.hour());
        let second_of_day = hour * 3600 + i64::from(time.minute()) * 60 + i64::from(time.second());
        match quantity {
            Quantity::Year => i64::from(date.year()),
            Quantity::YearOfEra if date.year() <= 0 => 1 - i64::from(date.year()),
            Quantity::YearOfEra => i64::from(date.year()),
            Quantity::WeekBasedYear => week_of_year(date).0,
            Quantity::Quarter => i64::from((date.month() - 1) / 3 + 1),
            Quantity::Month => i64::from(date.month()),
            Quantity::WeekOfYear => week_of_year(date).1,
            Quantity::WeekOfMonth => week(date.first_of_month(), date.day().into()),
            Quantity::DayOfYear => i64::from(date.day_of_year()),
            Quantity::DayOfMonth => i64::from(date.day()),
            Quantity::AlignedDayOfWeek => i64::from((date.day() - 1) % 7 + 1),
            Quantity::ModifiedJulianDay => days_since_epoch(date) + UNIX_EPOCH_AS_MODIFIED_JULIAN_DAY,
            Quantity::DayOfWeek => i64::from(date.weekday().to_sunday_one_offset()),
            Quantity::Hour0To23 => hour,
            Quantity::Hour1To24 => (hour + 23) % 24 + 1,
            Quantity::Hour0To11 => hour % 12,
            Quantity::Hour1To12 => (hour + 11) % 12 + 1,
            Quantity::Minute => i64::from(time.minute()),
            Quantity::Second => i64::from(time.second()),
            Quantity::MilliOfDay => second_of_day * 1000,
            Quantity::NanoOfSecond => 0,
            Quantity::NanoOfDay => second_of_day * 1_000_000_000,
        }
    }

    fn word(&self, word: Word, length: Length) -> &'static str {
        let date = self.local.date();
        match word {
            Word::Era => match (length, date.year() > 0) {
                (Length::Short, true) => "AD",
                (Length::Full, true) => "Anno Domini",
                (Length::Narrow, true) => "A",
                (Length::Short, false) => "BC",
                (Length::Full, false) => "Before Christ",
                (Length::Narrow, false) => "B",
            },
            Word::Quarter => {
                let names = QUARTERS[(date.month() as usize - 1) / 3];
                names[match length {
                    Length::Short => 0,
                    Length::Full => 1,
                    Length::Narrow => 2,
                }]
            }
            Word::Month => shortened(MONTHS[date.month() as usize - 1], length),
            Word::DayOfWeek => shortened(DAYS[date.weekday().to_sunday_zero_offset() as usize], length),
            Word::AmPm if self.local.hour() < 12 => "AM",
            Word::AmPm => "PM",
        }
    }

    fn day_period(&self, length: Length) -> &'static str {
        match (self.local.hour(), self.local.minute(), length) {
            (0, 0, Length::Narrow) => "mi",
            (0, 0, _) => "midnight",
            (12, 0, Length::Narrow) => "n",
            (12, 0, _) => "noon",
            (6..12, _, _) => "in the morning",
            (12..18, _, _) => "in the afternoon",
            (18..21, _, _) => "in the evening",
            _ => "at night",
        }
    }
}

impl Field {
    /// Appends what the field says about the moment.
    pub(super) fn print(self, moment: &Moment, out: &mut String) {
        match self {
            Self::Number(quantity, digits) => number(moment.quantity(quantity), digits, out),
            Self::TwoDigits(quantity) => number(moment.quantity(quantity).abs() % 100, 2, out),
            Self::Word(word, length) => out.push_str(moment.word(word, length)),
            Self::DayPeriod(length) => out.push_str(moment.day_period(length)),
            Self::Fraction(digits) => out.extend(std::iter::repeat_n('0', digits)),
            Self::ZoneId => out.push_str(&moment.zone),
            Self::ZoneName { generic, long } => {
                let kind = match (generic, moment.is_dst) {
                    (true, _) => ZoneNameKind::Generic,
                    (false, true) => ZoneNameKind::Daylight,
                    (false, false) => ZoneNameKind::Standard,
                };
                out.push_str(zone_name(&moment.zone, kind, long).unwrap_or(&moment.zone));
            }
            Self::Offset(form) => offset(moment.offset_seconds, form, out),
            Self::LocalizedOffset { long } => localized_offset(moment.offset_seconds, long, out),
        }
    }
}

fn number(value: i64, digits: usize, out: &mut String) {
    if value < 0 {
        out.push('-');
    }
    let value = value.unsigned_abs();
    let _ = write!(out, "{value:0digits$}"); // a String takes everything
}

fn shortened(name: &'static str, length: Length) -> &'static str {
    match length {
        Length::Short => &name[..3],
        Length::Full => name,
        Length::Narrow => &name[..1],
    }
}

fn offset(seconds: i32, form: OffsetForm, out: &mut String) {
    let start = out.len();
    let [hour, minute, second] = parts(seconds);
    let colon = if form.colons { ":" } else { "" };
    let shown = |part, value| match part {
        Part::Always => true,
        Part::UnlessZero => value != 0,
        Part::Never => false,
    };
    let mut is_zero = hour == 0;
    let _ = write!(out, "{}{hour:02}", if seconds < 0 { '-' } else { '+' });
    if shown(form.minutes, minute) {
        let _ = write!(out, "{colon}{minute:02}");
        is_zero &= minute == 0;
    }
    if shown(form.seconds, second) {
        let _ = write!(out, "{colon}{second:02}");
        is_zero &= second == 0;
    }
    if is_zero {
        out.truncate(start);
        out.push_str(form.zero);
    }
}

fn localized_offset(seconds: i32, long: bool, out: &mut String) {
    let [hour, minute, second] = parts(seconds);
    let sign = if seconds < 0 { '-' } else { '+' };
    let _ = match (long, seconds, minute, second) {
        (_, 0, _, _) => write!(out, "GMT"),
        (true, _, _, 0) => write!(out, "GMT{sign}{hour:02}:{minute:02}"),
        (true, _, _, _) => write!(out, "GMT{sign}{hour:02}:{minute:02}:{second:02}"),
        (false, _, 0, 0) => write!(out, "GMT{sign}{hour}"),
        (false, _, _, 0) => write!(out, "GMT{sign}{hour}:{minute:02}"),
        (false, _, _, _) => write!(out, "GMT{sign}{hour}:{minute:02}:{second:02}"),
    };
}

/// Hours, minutes and seconds, without the sign.
fn parts(seconds: i32) -> [i32; 3] {
    let seconds = seconds.abs();
    [seconds / 3600, seconds / 60 % 60, seconds % 60]
}

/// The number of the week in which `day` lies, counted from the week of `first`, which is day 1.
fn week(first: Date, day: i64) -> i64 {
    (day - 1 + i64::from(first.weekday().to_sunday_zero_offset())) / 7 + 1
}

/// Week-based year and week: the week of 1 January is the new year's first.
fn week_of_year(date: Date) -> (i64, i64) {
    let saturday = date.checked_add((6 - date.weekday().to_sunday_zero_offset()).days()).unwrap_or(date);
    if saturday.year() > date.year() {
        return (saturday.year().into(), 1);
    }
    (date.year().into(), week(date.first_of_year(), date.day_of_year().into()))
}

fn days_since_epoch(date: Date) -> i64 {
    date.duration_since(Date::constant(1970, 1, 1)).as_hours().div_euclid(24)
}
