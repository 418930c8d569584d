//! The time between attempts.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::settings::Backoff;

/// Longest wait that a receiver may ask for.
const MAX_ASKED: Duration = Duration::from_secs(300);

/// Counts failures and says how long to wait.
#[derive(Debug)]
pub(super) struct Pause {
    settings: Backoff,
    failures: u32,
    random: u64,
}

impl Pause {
    /// Returns a pause without failures.
    pub(super) fn new(settings: Backoff) -> Self {
        let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let seed = time.subsec_nanos() ^ std::process::id().rotate_left(16);
        Self { settings, failures: 0, random: u64::from(seed) | 1 }
    }

    /// Returns how long to wait after one more failure. `asked` is what the receiver wants, and is never undercut.
    pub(super) fn after_failure(&mut self, asked: Option<Duration>) -> Duration {
        let doubled = self.settings.first.saturating_mul(1 << self.failures.min(16));
        self.failures = self.failures.saturating_add(1);
        let percent = 50 + self.next_random() % 101;
        let jittered = doubled.min(self.settings.longest) * u32::try_from(percent).unwrap_or(100) / 100;
        jittered.max(asked.unwrap_or_default().min(MAX_ASKED))
    }

    /// Forgets the failures.
    pub(super) fn reset(&mut self) {
        self.failures = 0;
    }

    /// Returns how many failures came one after another.
    pub(super) fn failures(&self) -> u32 {
        self.failures
    }

    /// xorshift64: enough to keep many agents from coming back at the same moment.
    fn next_random(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_doubles_within_bounds_and_starts_over() {
        let settings = Backoff { first: Duration::from_millis(100), longest: Duration::from_secs(1) };
        let mut pause = Pause::new(settings);
        for expected_ms in [100, 200, 400, 800, 1000, 1000] {
            let waited = pause.after_failure(None).as_millis();
            assert!((expected_ms / 2..=expected_ms * 3 / 2).contains(&waited), "{waited} for {expected_ms}");
        }
        assert_eq!(pause.failures(), 6);
        pause.reset();
        assert!(pause.after_failure(None) <= Duration::from_millis(150));
    }

    #[test]
    fn what_the_receiver_asks_for_is_granted_within_reason() {
        let mut pause = Pause::new(Backoff::default());
        assert_eq!(pause.after_failure(Some(Duration::from_secs(60))), Duration::from_secs(60));
        assert_eq!(pause.after_failure(Some(Duration::MAX)), MAX_ASKED);
    }
}
