//! The proleptic Gregorian calendar, in days since 1970.

const DAY_MICROS: i64 = 86_400_000_000;

/// The day's number, if there is such a day.
pub(super) fn days(year: i32, month: u32, day: u32) -> Option<i32> {
    if !(1..=12).contains(&month) || day == 0 || day > month_length(year, month) || !(-9999..=9999).contains(&year) {
        return None;
    }
    // Counted in years that begin in March, so that a leap day is a year's last; Howard Hinnant's `days_from_civil`.
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month as i32 + 9) % 12) + 2) / 5 + day as i32 - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    Some(era * 146_097 + day_of_era - 719_468)
}

pub(super) fn is_leap(year: i32) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn month_length(year: i32, month: u32) -> u32 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// From 0, Monday, to 6.
pub(super) fn weekday(days: i32) -> i32 {
    (days + 3).rem_euclid(7)
}

/// Microseconds since 1970 of a time of day. A minute has 60 seconds.
pub(super) fn micros(days: i32, hour: u32, minute: u32, second: u32, fraction: u32) -> Option<i64> {
    if hour > 23 || minute > 59 || second > 59 || fraction > 999_999 {
        return None;
    }
    let seconds = i64::from(hour * 3600 + minute * 60 + second);
    Some(i64::from(days) * DAY_MICROS + seconds * 1_000_000 + i64::from(fraction))
}

#[cfg(test)]
mod tests {
    use jiff::civil::Date;
    use jiff::{ToSpan, Unit};

    use super::*;

    #[test]
    fn every_day_is_jiffs() {
        let epoch = Date::constant(1970, 1, 1);
        let mut day = Date::constant(-9999, 1, 1);
        let mut number = epoch.until((Unit::Day, day)).unwrap().get_days();
        loop {
            let (year, month, of_month) = (i32::from(day.year()), day.month() as u32, day.day() as u32);
            assert_eq!(days(year, month, of_month), Some(number), "{day}");
            assert_eq!(weekday(number), i32::from(day.weekday().to_monday_zero_offset()), "{day}");
            assert_eq!(is_leap(year), day.in_leap_year());
            if day == day.last_of_month() {
                assert_eq!(days(year, month, of_month + 1), None, "{day}");
            }
            // Every day for eight centuries, then in steps.
            let step = if (1600..2400).contains(&year) { 1 } else { 37 };
            let Ok(next) = day.checked_add(step.days()) else { break };
            (day, number) = (next, number + step);
        }
        assert_eq!(days(2026, 0, 1), None);
        assert_eq!(days(2026, 13, 1), None);
        assert_eq!(days(2026, 1, 0), None);
    }
}
