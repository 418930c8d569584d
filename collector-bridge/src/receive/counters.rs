//! What the receivers count.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// Numbers that only grow, since the start of the process.
#[derive(Debug, Default)]
pub struct ReceiveCounters {
    /// Spans in whole requests, valid or not.
    pub received_spans: AtomicU64,
    /// Spans with invalid ids.
    pub rejected_spans: AtomicU64,
    /// Requests that were acknowledged.
    pub accepted_requests: AtomicU64,
    /// Bytes of requests after unpacking.
    pub received_bytes: AtomicU64,
    refused: Mutex<BTreeMap<&'static str, u64>>,
}

impl ReceiveCounters {
    pub(super) fn add(counter: &AtomicU64, amount: u64) {
        counter.fetch_add(amount, Ordering::Relaxed);
    }

    pub(super) fn refuse(&self, reason: &'static str) {
        *self.refused.lock().unwrap_or_else(PoisonError::into_inner).entry(reason).or_default() += 1;
    }

    /// Returns the requests that were not acknowledged, by reason.
    #[must_use]
    pub fn refused(&self) -> BTreeMap<&'static str, u64> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
