//! Times as people write them.

use std::time::Duration;

/// Parses `90`, `90s`, `5m` or `2h`.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    let unit_at = text.find(|character: char| !character.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(unit_at);
    let seconds_each = match unit {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ => return Err(format!("`{unit}` is no unit: write s, m or h")),
    };
    let number: u64 = number.parse().map_err(|_| format!("`{text}` does not begin with a number"))?;
    number.checked_mul(seconds_each).map(Duration::from_secs).ok_or_else(|| format!("`{text}` is too long"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_seconds_minutes_and_hours() {
        let seconds = |text| parse(text).map(|duration| duration.as_secs());
        assert_eq!(seconds("7"), Ok(7));
        assert_eq!(seconds("60s"), Ok(60));
        assert_eq!(seconds("5m"), Ok(300));
        assert_eq!(seconds("2h"), Ok(7200));
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in ["", "s", "5d", "-1s", "1.5s", "99999999999999999999", "18446744073709551615h"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
