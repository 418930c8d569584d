//! How far each trace has grown on this host.
//!
//! A request may cause only so many calls, but those cause requests that cause calls: services that ask each other in a
//! circle, or one wrong parent, make a trace that never ends and that nobody can read.

use foldhash::HashMap;

use crate::span::TraceId;

/// Calls of one trace that are given the request they were made for as parent.
pub(super) const MAX_TRACE: u32 = 10_000;
/// Traces that are remembered.
const MAX_TRACES: usize = 65_536;
/// A trace that did not grow for so long is forgotten.
const MEMORY_NS: u64 = 60_000_000_000;

#[derive(Debug)]
struct Size {
    calls: u32,
    grown_at_ns: u64,
}

/// The traces that calls have joined lately.
#[derive(Debug, Default)]
pub(super) struct Sizes {
    traces: HashMap<TraceId, Size>,
    too_large: u64,
}

impl Sizes {
    /// Returns whether a trace can take one more call, which was made at this time, and counts it.
    pub(super) fn admits(&mut self, trace: TraceId, at_ns: u64) -> bool {
        if self.traces.len() >= MAX_TRACES && !self.traces.contains_key(&trace) {
            self.forget_the_small();
        }
        let size = self.traces.entry(trace).or_insert(Size { calls: 0, grown_at_ns: at_ns });
        size.grown_at_ns = size.grown_at_ns.max(at_ns);
        size.calls = size.calls.saturating_add(1);
        let is_too_large = size.calls > MAX_TRACE;
        self.too_large += u64::from(is_too_large);
        !is_too_large
    }

    /// Returns how many calls were refused.
    pub(super) fn too_large(&self) -> u64 {
        self.too_large
    }

    /// Forgets the traces that do not grow any more.
    pub(super) fn expire(&mut self, now_ns: u64) {
        self.traces.retain(|_, size| now_ns.saturating_sub(size.grown_at_ns) < MEMORY_NS);
    }

    /// Keeps those that have come nearest to the limit.
    fn forget_the_small(&mut self) {
        let mut calls: Vec<u32> = self.traces.values().map(|size| size.calls).collect();
        let middle = calls.len() / 2;
        let (_, &mut median, _) = calls.select_nth_unstable(middle);
        self.traces.retain(|_, size| size.calls > median);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trace(number: usize) -> TraceId {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&(number as u64 + 1).to_be_bytes());
        TraceId(bytes)
    }

    #[test]
    fn a_trace_takes_so_many_calls_and_then_none() {
        let mut sizes = Sizes::default();
        for _ in 0..MAX_TRACE {
            assert!(sizes.admits(trace(0), 1));
        }
        assert!(!sizes.admits(trace(0), 2));
        assert!(sizes.admits(trace(1), 2));
        assert_eq!(sizes.too_large(), 1);
    }

    #[test]
    fn what_still_grows_is_not_forgotten() {
        let mut sizes = Sizes::default();
        for _ in 0..=MAX_TRACE {
            sizes.admits(trace(0), 1);
        }
        sizes.expire(MEMORY_NS);
        assert!(!sizes.admits(trace(0), MEMORY_NS));
        sizes.expire(2 * MEMORY_NS);
        assert!(sizes.admits(trace(0), 2 * MEMORY_NS));
    }

    #[test]
    fn many_traces_take_bounded_memory_and_the_large_stay() {
        let mut sizes = Sizes::default();
        for _ in 0..=MAX_TRACE {
            sizes.admits(trace(0), 1);
        }
        for number in 1..3 * MAX_TRACES {
            sizes.admits(trace(number), 1);
        }
        assert!(sizes.traces.len() <= MAX_TRACES);
        assert!(!sizes.admits(trace(0), 1));
    }
}
