//! Attributes' texts as values that compare: numbers and moments, each as a text whose order by bytes is theirs, so that
//! SQL and this program order them alike, and exactly.

use tendermint::Time;

/// How many digits a number may have before its point.
const MAX_DIGITS: usize = 999;

/// Brings every second that RFC 3339 can say above zero.
const SHIFT: i64 = 1 << 40;

/// The number that a text begins with: digits, and perhaps a point and digits. What follows is a unit (`8zynk`). Without
/// leading and trailing zeros, and the count of the digits before the point in front: `0002` `42` `.5`. None where it begins otherwise; so
/// no number is negative. Source: CometBFT 0.38, `libs/pubsub/query/query.go`, `parseNumber`; there a fraction is cut to 125 bits, here none is.
pub(crate) fn number(text: &str) -> Option<String> {
    let digits = |text: &str| text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    let (whole, rest) = text.split_at(digits(text));
    let fraction = rest.strip_prefix('.').map_or("", |rest| &rest[..digits(rest)]).trim_end_matches('0');
    let significant = whole.trim_start_matches('0');
    if whole.is_empty() || significant.len() > MAX_DIGITS {
        return None;
    }
    let point = if fraction.is_empty() { "" } else { "." };
    Some(format!("{:03}{significant}{point}{fraction}", significant.len()))
}

/// The time (`T` and its seconds and nanoseconds) or the date (`D` and its seconds) that a text is. Source: CometBFT 0.38,
/// `libs/pubsub/query/syntax/parser.go`, `ParseTime` and `ParseDate`.
pub(crate) fn moment(text: &str) -> Option<String> {
    let date = text.len() == 10;
    let full = if date { format!("{text}T00:00:00Z") } else { text.to_owned() };
    if !full.is_ascii() || full.as_bytes().get(10) != Some(&b'T') {
        return None;
    }
    let nanos = Time::parse_from_rfc3339(&full).ok()?.unix_timestamp_nanos();
    let (seconds, nanos) = (i64::try_from(nanos.div_euclid(1_000_000_000)).ok()?, nanos.rem_euclid(1_000_000_000));
    let kind = if date { 'D' } else { 'T' };
    Some(format!("{kind}{:014}.{nanos:09}", seconds.checked_add(SHIFT)?))
}
