//! Periods of the calendar, and the months of a time.

use std::time::Duration;

/// A period of the calendar, for [`Quota::calendar`](super::quota::Quota::calendar).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CalendarPeriod {
    /// From one full hour to the next.
    Hour,
    /// From midnight to midnight.
    Day,
    /// From Monday to Sunday (ISO 8601).
    Week,
    /// From the first day of a month to the last one: 28 to 31 days.
    Month,
}

impl CalendarPeriod {
    /// The length in seconds. Of a month, the shortest one.
    pub(super) fn seconds(self) -> u64 {
        match self {
            Self::Hour => 3_600,
            Self::Day => DAY,
            Self::Week => 7 * DAY,
            Self::Month => 28 * DAY,
        }
    }

    /// When the first period starts after 1970-01-01, which was a Thursday, in seconds.
    pub(super) fn first(self) -> u64 {
        match self {
            Self::Week => 4 * DAY,
            _ => 0,
        }
    }
}

/// When the month of a time ends, both in nanoseconds since 1970.
pub(crate) fn end_of_month(time: u64) -> u64 {
    let (years, month) = year_and_month(time);
    first_day(years, month + 1).saturating_mul(NANOS_OF_DAY)
}

/// The length of the month of a time in nanoseconds since 1970.
pub(crate) fn length_of_month(time: u64) -> u64 {
    let (years, month) = year_and_month(time);
    (first_day(years, month + 1) - first_day(years, month)).saturating_mul(NANOS_OF_DAY)
}

/// The longest month.
pub(crate) const LONGEST_MONTH: Duration = Duration::from_secs(31 * DAY);

/// The number of whole years since March of the year 0, and the month since March. Years begin with March, so a leap day is the last day of its year.
fn year_and_month(time: u64) -> (u64, u64) {
    let days = time / NANOS_OF_DAY + EPOCH;
    // An estimate that is too large by at most one.
    let mut years = days * 400 / DAYS_OF_400_YEARS;
    while days_of_years(years) > days {
        years -= 1;
    }
    while days_of_years(years + 1) <= days {
        years += 1;
    }
    let day = days - days_of_years(years);
    (years, (5 * day + 2) / 153)
}

/// The days from 1970 to the first day of this month since March. Month 12 is March of the next year.
fn first_day(years: u64, month: u64) -> u64 {
    let (years, month) = if month == 12 { (years + 1, 0) } else { (years, month) };
    // Of five months from March on, three have 31 days.
    (days_of_years(years) + (153 * month + 2) / 5).saturating_sub(EPOCH)
}

/// The days of so many years since March of the year 0, by the rule of the Gregorian calendar.
fn days_of_years(years: u64) -> u64 {
    365 * years + years / 4 - years / 100 + years / 400
}

/// The days from March of the year 0 to 1970-01-01.
const EPOCH: u64 = 719_468;
const DAYS_OF_400_YEARS: u64 = 146_097;
pub(super) const DAY: u64 = 24 * 3_600;
const NANOS_OF_DAY: u64 = DAY * 1_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn months_have_the_lengths_of_the_gregorian_calendar() {
        let mut start = 0;
        for year in 1970..2500_u64 {
            let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
            let february = if is_leap { 29 } else { 28 };
            for (month, days) in
                [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31].into_iter().enumerate()
            {
                let length = days * NANOS_OF_DAY;
                for time in [start, start + 1, start + length / 2, start + length - 1] {
                    let case = format!("{year}-{month} {time}");
                    assert_eq!(end_of_month(time), start + length, "{case}");
                    assert_eq!(length_of_month(time), length, "{case}");
                }
                start += length;
            }
        }
    }
}
