//! Times as DID metadata writes them: XML dateTime in UTC, whole seconds (DID Core §7.1.3).

use types::Millis;

const SECONDS_A_DAY: u64 = 86_400;

/// Days in 400 years of the Gregorian calendar.
const DAYS_AN_ERA: u64 = 146_097;

/// Days from 0000-03-01 to 1970-01-01.
const DAYS_BEFORE_1970: u64 = 719_468;

/// `time` as text, its fraction of a second dropped; `None` beyond the year 9999.
#[must_use]
pub fn timestamp(time: Millis) -> Option<String> {
    let seconds = time.0 / 1000;
    let (year, month, day) = date(seconds / SECONDS_A_DAY)?;
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    Some(format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z"))
}

/// The time that `text` says, if it is what [`timestamp`] would write.
#[must_use]
pub fn timestamp_millis(text: &str) -> Option<Millis> {
    let number = |from: usize, to: usize| text.get(from..to)?.parse::<u64>().ok();
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    if year < 1970 || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let seconds = days(year, month, day) * SECONDS_A_DAY + hour * 3600 + minute * 60 + second;
    let time = Millis(seconds * 1000);
    // Whatever is odd in the text, from a sign to a 30th of February, shows in the comparison.
    (timestamp(time)? == text).then_some(time)
}

// Both directions count years from 1 March, so that the leap day is the last of its year
// (Hinnant, "chrono-Compatible Low-Level Date Algorithms").

fn date(days: u64) -> Option<(u64, u64, u64)> {
    let days = days + DAYS_BEFORE_1970;
    let (era, of_era) = (days / DAYS_AN_ERA, days % DAYS_AN_ERA);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    (year <= 9999).then_some((year, month, day))
}

fn days(year: u64, month: u64, day: u64) -> u64 {
    let year = year - u64::from(month <= 2);
    let (era, year_of_era) = (year / 400, year % 400);
    let from_march = if month > 2 { month - 3 } else { month + 9 };
    let of_year = (153 * from_march + 2) / 5 + day - 1;
    era * DAYS_AN_ERA + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + of_year - DAYS_BEFORE_1970
}
