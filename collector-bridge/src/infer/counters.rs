//! What inference counts about itself.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::Inference;

/// Numbers that only grow, since the start of the process. Each stretch of time counts when it is looked at, and again
/// when it is looked at anew after more came.
#[derive(Debug, Default)]
pub struct InferCounters {
    /// Calls without parent that were looked at. The next four add up to them.
    pub orphans: AtomicU64,
    /// Those that got a link.
    pub linked: AtomicU64,
    /// Those for which no request was likely enough.
    pub uncertain: AtomicU64,
    /// Those around which no request lay.
    pub outside: AtomicU64,
    /// Those around which too many requests lay.
    pub crowded: AtomicU64,
    /// Stretches of time that were not looked at, because they held too much or the question was too large.
    pub refused_stretches: AtomicU64,
    /// Questions that went without, because another one was being answered.
    pub busy: AtomicU64,
    /// Time that was spent, in microseconds.
    pub spent_us: AtomicU64,
}

impl InferCounters {
    /// Adds to one of them.
    pub fn add(counter: &AtomicU64, amount: usize) {
        counter.fetch_add(amount as u64, Ordering::Relaxed);
    }

    /// Adds what became of the calls of a stretch of time, of which so many got a link.
    pub fn record(&self, inference: &Inference, linked: usize) {
        let uncertain = inference.orphans.saturating_sub(inference.outside + inference.crowded + linked);
        Self::add(&self.orphans, inference.orphans);
        Self::add(&self.linked, linked);
        Self::add(&self.uncertain, uncertain);
        Self::add(&self.outside, inference.outside);
        Self::add(&self.crowded, inference.crowded);
    }

    /// Adds time that was spent.
    pub fn record_time(&self, spent: Duration) {
        let spent_us = u64::try_from(spent.as_micros()).unwrap_or(u64::MAX);
        self.spent_us.fetch_add(spent_us, Ordering::Relaxed);
    }
}
