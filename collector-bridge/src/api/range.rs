//! The time that a question is about.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::analyze::MINUTE_NS;
use crate::model::TimeRange;

use super::error::ApiError;
use super::fields::Fields;

/// The range of a question that names none.
pub(super) const DEFAULT_SINCE_NS: u64 = 60 * MINUTE_NS;

/// Returns unix nanoseconds.
pub(super) fn now_unix_ns() -> u64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since_epoch.as_nanos()).unwrap_or(u64::MAX)
}

/// Takes `from` (or `since`, counted back from the end) and `until`. Without an end the range ends with `now`, without
/// a beginning it lasts [`DEFAULT_SINCE_NS`].
pub(super) fn take_range(fields: &mut Fields, now_unix_ns: u64) -> Result<TimeRange, ApiError> {
    let (from, until) = (fields.instant("from")?, fields.instant("until")?);
    let since = fields.duration("since")?;
    if from.is_some() && since.is_some() {
        return Err(ApiError::new("invalid_range", "`from` and `since` exclude each other").of("since"));
    }
    let until_unix_ns = until.unwrap_or(now_unix_ns);
    let from_unix_ns = match (from, since) {
        (Some(from), _) => from,
        (None, since) => until_unix_ns.saturating_sub(since.unwrap_or(DEFAULT_SINCE_NS)),
    };
    if from_unix_ns >= until_unix_ns {
        let field = if since.is_some() { "since" } else { "from" };
        let message = match (until, since) {
            (_, Some(_)) => "`since` must be longer than nothing",
            (Some(_), None) => "`from` must be before `until`",
            (None, None) => "`from` must be before now, because no `until` is given",
        };
        return Err(ApiError::new("invalid_range", message).of(field));
    }
    Ok(TimeRange { from_unix_ns, until_unix_ns })
}

/// Returns the range widened to whole minutes, which is what rollups know.
pub(super) fn whole_minutes(range: TimeRange) -> TimeRange {
    let until = range.until_unix_ns.checked_next_multiple_of(MINUTE_NS);
    TimeRange {
        from_unix_ns: range.from_unix_ns / MINUTE_NS * MINUTE_NS,
        until_unix_ns: until.unwrap_or(u64::MAX / MINUTE_NS * MINUTE_NS),
    }
}

/// Returns how much of a range is over, in nanoseconds; all of it where none is, because clocks differ.
pub(super) fn covered_ns(range: TimeRange, now_unix_ns: u64) -> u64 {
    let whole = range.until_unix_ns.saturating_sub(range.from_unix_ns);
    match range.until_unix_ns.min(now_unix_ns).saturating_sub(range.from_unix_ns) {
        0 => whole,
        over => over,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_700_000_000_000_000_000;

    fn range(query: &str) -> Result<(u64, u64), String> {
        let mut fields = Fields::of_query(Some(query), &["from", "until", "since"]).unwrap();
        let range = take_range(&mut fields, NOW).map_err(|error| error.to_string())?;
        Ok((range.from_unix_ns, range.until_unix_ns))
    }

    #[test]
    fn ranges() {
        const S: u64 = 1_000_000_000;
        assert_eq!(range(""), Ok((NOW - 3600 * S, NOW)));
        assert_eq!(range("since=15m"), Ok((NOW - 900 * S, NOW)));
        assert_eq!(range("from=1600000000"), Ok((1_600_000_000 * S, NOW)));
        assert_eq!(range("from=5&until=6"), Ok((5 * S, 6 * S)));
        assert_eq!(range("until=7200&since=1h"), Ok((3600 * S, 7200 * S)));
        assert_eq!(range("until=60"), Ok((0, 60 * S)));
    }

    #[test]
    fn wrong_ranges() {
        let check = |query: &str, message: &str| assert_eq!(range(query), Err(message.to_owned()), "{query}");
        check("from=6&until=6", "`from` must be before `until`");
        check("from=1800000000", "`from` must be before now, because no `until` is given");
        check("from=5&since=1h", "`from` and `since` exclude each other");
        check("since=0s", "`since` must be longer than nothing");
        check("until=0", "`from` must be before `until`");
    }

    #[test]
    fn ranges_are_widened_to_minutes() {
        let widened = |from, until| {
            let range = whole_minutes(TimeRange { from_unix_ns: from, until_unix_ns: until });
            (range.from_unix_ns, range.until_unix_ns)
        };
        assert_eq!(widened(1, MINUTE_NS + 1), (0, 2 * MINUTE_NS));
        assert_eq!(widened(MINUTE_NS, 2 * MINUTE_NS), (MINUTE_NS, 2 * MINUTE_NS));
        assert!(widened(0, u64::MAX).1 >= u64::MAX - MINUTE_NS);
    }
}
