//! Instants and durations as people write them, to and from unix nanoseconds.

const NS_PER_SECOND: u64 = 1_000_000_000;
const SECONDS_PER_DAY: i64 = 86_400;

/// The forms that [`parse_instant`] takes, for error messages and for the documentation.
pub(crate) const INSTANT_FORMS: &str = "an RFC 3339 time such as 2026-01-31T12:00:00Z, or unix time as a number: \
     seconds (a fraction is allowed), milliseconds, microseconds or nanoseconds, told apart by magnitude";
/// The forms that [`parse_duration`] takes.
pub(crate) const DURATION_FORMS: &str =
    "a number and a unit, one of ns, us, ms, s, m, h, d, such as 250ms, 1.5s or 1h30m";

/// Returns unix nanoseconds; none where the text has none of the [`INSTANT_FORMS`].
///
/// A number below 10^11 is seconds (until the year 5138), below 10^14 milliseconds, below 10^17 microseconds, anything
/// else nanoseconds.
pub(crate) fn parse_instant(text: &str) -> Option<u64> {
    if text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        return parse_unix(text);
    }
    parse_rfc3339(text)
}

fn parse_unix(text: &str) -> Option<u64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let whole: u64 = whole.parse().ok()?;
    let unit_ns = match whole {
        0..100_000_000_000 => NS_PER_SECOND,
        100_000_000_000..100_000_000_000_000 => 1_000_000,
        100_000_000_000_000..100_000_000_000_000_000 => 1_000,
        _ => 1,
    };
    if text.contains('.') && unit_ns != NS_PER_SECOND {
        return None;
    }
    whole.checked_mul(unit_ns)?.checked_add(if text.contains('.') { parse_fraction_ns(fraction)? } else { 0 })
}

/// Reads the digits after a decimal point as nanoseconds; what is finer is cut.
fn parse_fraction_ns(digits: &str) -> Option<u64> {
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    format!("{digits:0<9}").get(..9)?.parse().ok()
}

fn parse_rfc3339(text: &str) -> Option<u64> {
    let digits = |range: std::ops::Range<usize>| -> Option<i64> {
        let part = text.get(range)?;
        part.bytes().all(|byte| byte.is_ascii_digit()).then(|| part.parse().ok())?
    };
    let byte = |at: usize| text.as_bytes().get(at).copied();
    let separators_fit = byte(4) == Some(b'-')
        && byte(7) == Some(b'-')
        && matches!(byte(10), Some(b'T' | b't' | b' '))
        && byte(13) == Some(b':')
        && byte(16) == Some(b':');
    let (year, month, day) = (digits(0..4)?, digits(5..7)?, digits(8..10)?);
    let (hour, minute, second) = (digits(11..13)?, digits(14..16)?, digits(17..19)?);
    let in_range = (1..=12).contains(&month)
        && (1..=days_in_month(year, month)).contains(&day)
        && hour < 24
        && minute < 60
        && second < 61;
    if !separators_fit || !in_range {
        return None;
    }
    let rest = text.get(19..)?;
    let zone_at = rest.find(['Z', 'z', '+', '-'])?;
    let (fraction, zone) = rest.split_at_checked(zone_at)?;
    let fraction_ns = match fraction.strip_prefix('.') {
        Some(digits) => parse_fraction_ns(digits)?,
        None if fraction.is_empty() => 0,
        None => return None,
    };
    let of_day = hour * 3600 + minute * 60 + second - parse_zone_seconds(zone)?;
    let seconds = days_since_epoch(year, month, day) * SECONDS_PER_DAY + of_day;
    u64::try_from(seconds).ok()?.checked_mul(NS_PER_SECOND)?.checked_add(fraction_ns)
}

/// Reads `Z`, `+01:00` or `-08:30` as seconds east of Greenwich.
fn parse_zone_seconds(zone: &str) -> Option<i64> {
    if zone.eq_ignore_ascii_case("z") {
        return Some(0);
    }
    let (hours, minutes) = zone.get(1..)?.split_once(':')?;
    let is_short = hours.len() == 2 && minutes.len() == 2;
    let (hours, minutes): (i64, i64) = (hours.parse().ok()?, minutes.parse().ok()?);
    let is_valid = is_short && (0..24).contains(&hours) && (0..60).contains(&minutes);
    let east = if zone.starts_with('-') { -1 } else { 1 };
    is_valid.then_some(east * (hours * 3600 + minutes * 60))
}

/// Returns an instant as RFC 3339 in UTC with nine digits of fraction.
pub(crate) fn format_rfc3339(unix_ns: u64) -> String {
    let (seconds, ns) = (unix_ns / NS_PER_SECOND, unix_ns % NS_PER_SECOND);
    let of_day = seconds % 86_400;
    let (year, month, day) = civil_from_days(seconds / 86_400);
    let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ns:09}Z")
}

/// Returns nanoseconds; none where the text has not one of the [`DURATION_FORMS`], or does not fit.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "positive, and the range is checked"
)]
pub(crate) fn parse_duration(text: &str) -> Option<u64> {
    let mut rest = text.trim();
    let mut total_ns = 0.0_f64;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let number_len = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, tail) = rest.split_at_checked(number_len)?;
        let unit_len = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, tail) = tail.split_at_checked(unit_len)?;
        total_ns += number.parse::<f64>().ok()? * unit_ns(unit)?;
        rest = tail;
    }
    (total_ns < u64::MAX as f64).then_some(total_ns.round() as u64)
}

fn unit_ns(unit: &str) -> Option<f64> {
    Some(match unit {
        "ns" => 1.0,
        "us" | "µs" => 1e3,
        "ms" => 1e6,
        "s" => 1e9,
        "m" => 60e9,
        "h" => 3_600e9,
        "d" => 86_400e9,
        _ => return None,
    })
}

fn days_in_month(year: i64, month: i64) -> i64 {
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        2 if is_leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970-01-01 in the proleptic Gregorian calendar, counted in years that begin in March
/// (Howard Hinnant, "chrono-compatible low-level date algorithms").
fn days_since_epoch(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// The other way round, for days from the epoch on.
fn civil_from_days(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn instants() {
        let check = |text: &str, expected: Option<u64>| assert_eq!(parse_instant(text), expected, "{text}");
        check("1970-01-01T00:00:00Z", Some(0));
        check("2000-02-29T12:30:15.5Z", Some(951_827_415_500_000_000));
        check("2000-02-29t12:30:15.5z", Some(951_827_415_500_000_000));
        check("2000-02-29T13:30:15.5+01:00", Some(951_827_415_500_000_000));
        check("2000-02-29T04:00:15.123456789123-08:30", Some(951_827_415_123_456_789));
        check("1700000000", Some(1_700_000_000_000_000_000));
        check("1700000000.25", Some(1_700_000_000_250_000_000));
        check("1700000000250", Some(1_700_000_000_250_000_000));
        check("1700000000250001", Some(1_700_000_000_250_001_000));
        check("1700000000250001002", Some(1_700_000_000_250_001_002));
        check("0", Some(0));
        for wrong in [
            "",
            ".",
            "1.",
            "1700000000250.5",
            "99999999999999999999",
            "yesterday",
            "2000-02-30T00:00:00Z",
            "2001-02-29T00:00:00Z",
            "2000-13-01T00:00:00Z",
            "2000-01-01T24:00:00Z",
            "2000-01-01",
            "2000-01-01T00:00:00",
            "2000-01-01T00:00:00+1:00",
            "2000-01-01T00:00:00.Z",
            "1969-12-31T23:59:59Z",
            "2000-01-01T00:00:00é",
            "-5",
            "２０００-01-01T00:00:00Z",
        ] {
            check(wrong, None);
        }
    }

    #[test]
    fn durations() {
        let check = |text: &str, expected: Option<u64>| assert_eq!(parse_duration(text), expected, "{text}");
        check("250ms", Some(250_000_000));
        check("1.5s", Some(1_500_000_000));
        check("1h30m", Some(5_400_000_000_000));
        check("7d", Some(604_800_000_000_000));
        check("3us", Some(3_000));
        check("3µs", Some(3_000));
        check("0ns", Some(0));
        for wrong in ["", "5", "ms", "1x", "-1s", "1 s", "1.2.3s", "99999999999d", "1e5s"] {
            check(wrong, None);
        }
    }

    proptest! {
        #[test]
        fn instants_survive_writing_and_reading(unix_ns in any::<u64>()) {
            prop_assert_eq!(parse_instant(&format_rfc3339(unix_ns)), Some(unix_ns));
        }

        #[test]
        fn any_text_is_read_without_panic(text in "\\PC{0,40}") {
            let _ = (parse_instant(&text), parse_duration(&text));
        }
    }
}
