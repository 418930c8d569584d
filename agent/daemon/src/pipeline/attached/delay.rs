//! How late probes come.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::health::Ledger;

/// The times from where a program could first use functions of a file, which are the beginning of the program or the mapping
/// of the file, until they were probed. Where they were probed already there is none.
#[derive(Debug, Default)]
pub(super) struct Delay {
    last_ns: Arc<AtomicU64>,
    longest_ns: Arc<AtomicU64>,
}

impl Delay {
    /// Returns one that is told in seconds, 0 before anything was late.
    pub(super) fn new(ledger: &Ledger) -> Self {
        let delay = Self::default();
        let gauge = |name, value: &Arc<AtomicU64>| {
            let value = Arc::clone(value);
            ledger.gauge(name, Vec::new(), move || value.load(Ordering::Relaxed) as f64 / 1e9);
        };
        gauge("remora_agent_probe_delay_last_seconds", &delay.last_ns);
        gauge("remora_agent_probe_delay_longest_seconds", &delay.longest_ns);
        delay
    }

    pub(super) fn note(&self, ns: u64) {
        self.last_ns.store(ns, Ordering::Relaxed);
        self.longest_ns.fetch_max(ns, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::Sample;

    #[test]
    fn the_last_and_the_longest_are_told_in_seconds() {
        let ledger = Ledger::default();
        let delay = Delay::new(&ledger);
        delay.note(2_000_000_000);
        delay.note(500_000_000);
        let expected = [
            Sample::gauge("remora_agent_probe_delay_last_seconds", Vec::new(), 0.5),
            Sample::gauge("remora_agent_probe_delay_longest_seconds", Vec::new(), 2.0),
        ];
        assert_eq!(ledger.samples(), expected);
    }
}
