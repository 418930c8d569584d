//! From the kernel's monotonic clock to the calendar.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// How long an offset is used: the calendar may be set, or slewed, while the monotonic clock is not.
const MAX_AGE: Duration = Duration::from_secs(10);
/// Readings of which the tightest counts.
const READINGS: usize = 5;

/// The distance between `CLOCK_MONOTONIC` and `CLOCK_REALTIME`, measured again when it is old.
#[derive(Clone, Debug)]
pub struct ClockAnchor {
    offset_ns: i128,
    measured_at_ns: u64,
    is_fixed: bool,
}

impl ClockAnchor {
    /// Returns an anchor by the host's clocks.
    #[must_use]
    pub fn measure() -> Self {
        let (offset_ns, measured_at_ns) = measure();
        Self { offset_ns, measured_at_ns, is_fixed: false }
    }

    /// Returns an anchor that says that the monotonic clock's zero was at `unix_ns`, for ever.
    #[must_use]
    pub fn fixed(unix_ns: u64) -> Self {
        Self { offset_ns: i128::from(unix_ns), measured_at_ns: 0, is_fixed: true }
    }

    /// Returns the nanoseconds since the Unix epoch at a moment of the monotonic clock; 0 for moments before it.
    pub fn unix_ns(&mut self, monotonic_ns: u64) -> u64 {
        let max_age_ns = u64::try_from(MAX_AGE.as_nanos()).unwrap_or(u64::MAX);
        if !self.is_fixed && monotonic_ns.saturating_sub(self.measured_at_ns) > max_age_ns {
            *self = Self::measure();
        }
        let unix_ns = i128::from(monotonic_ns) + self.offset_ns;
        u64::try_from(unix_ns.max(0)).unwrap_or(u64::MAX)
    }
}

/// Returns the offset, and the monotonic time at which it was found.
fn measure() -> (i128, u64) {
    let readings = (0..READINGS).map(|_| {
        let before = nanoseconds(ClockId::Monotonic);
        let unix = nanoseconds(ClockId::Realtime);
        let after = nanoseconds(ClockId::Monotonic);
        (after - before, unix - (before + after) / 2, after)
    });
    let tightest = readings.min_by_key(|(width, _, _)| *width);
    tightest.map_or((0, 0), |(_, offset, at)| (offset, u64::try_from(at).unwrap_or_default()))
}

fn nanoseconds(clock: ClockId) -> i128 {
    let time = clock_gettime(clock);
    i128::from(time.tv_sec) * 1_000_000_000 + i128::from(time.tv_nsec)
}

#[cfg(test)]
mod tests {
    use std::time::{SystemTime, UNIX_EPOCH};

    use super::*;

    #[test]
    fn a_monotonic_moment_becomes_the_same_moment_by_the_calendar() {
        let mut anchor = ClockAnchor::measure();
        let before = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos();
        let moment = u64::try_from(nanoseconds(ClockId::Monotonic)).unwrap();
        let after = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos();
        let unix_ns = u128::from(anchor.unix_ns(moment));
        let slack_ns = 1_000_000;
        assert!((before - slack_ns..=after + slack_ns).contains(&unix_ns), "{before} {unix_ns} {after}");
    }

    #[test]
    fn an_old_offset_is_measured_again() {
        let mut anchor = ClockAnchor { offset_ns: 5, measured_at_ns: 0, is_fixed: false };
        let moment = u64::try_from(nanoseconds(ClockId::Monotonic)).unwrap() + 11_000_000_000;
        assert!(anchor.unix_ns(moment) > moment + 1_000_000_000);
        assert!(anchor.measured_at_ns > 0);
    }

    #[test]
    fn extremes_saturate() {
        let mut anchor = ClockAnchor { offset_ns: -10, measured_at_ns: 0, is_fixed: true };
        assert_eq!(anchor.unix_ns(3), 0);
        assert_eq!(ClockAnchor::fixed(u64::MAX).unix_ns(u64::MAX), u64::MAX);
    }
}
