//! What joining counts about itself.

use std::sync::atomic::{AtomicU64, Ordering};

/// Numbers that only grow, since the start of the process.
#[derive(Debug, Default)]
pub struct JoinCounters {
    /// Server spans that got their client span as parent; one that is sent again counts again.
    pub joined: AtomicU64,
    /// Server spans whose client span did not come within the hold.
    pub expired: AtomicU64,
    /// Server spans whose request named another trace than that of their client span, as far as was known when both
    /// sides were; they keep what the request says.
    pub wire_conflicts: AtomicU64,
    /// Server spans whose trace is part of another one already, or would become too large.
    pub refused: AtomicU64,
    /// Client span ids that came with two traces; nothing is joined to them.
    pub ambiguous: AtomicU64,
    /// Traces that SDKs began for requests that the agent saw too, and that are part of the agent's.
    pub joined_requests: AtomicU64,
    /// Spans with which SDKs began a trace and that could have been of several requests, or of one with others.
    pub ambiguous_requests: AtomicU64,
    /// Spans by which these are found, forgotten before the hold was over, for lack of room.
    pub evicted_requests: AtomicU64,
    /// Client spans that were forgotten before the hold was over, for lack of room.
    pub evicted_clients: AtomicU64,
    /// Server spans, likewise.
    pub evicted_servers: AtomicU64,
    /// Links from the receipt of a message to who sent it.
    pub linked_messages: AtomicU64,
    /// Receipts of messages whose sender was not known when they came.
    pub unknown_messages: AtomicU64,
    /// Messages that were forgotten too early, for lack of room.
    pub evicted_messages: AtomicU64,
}

impl JoinCounters {
    /// Adds to one of them.
    pub fn add(counter: &AtomicU64, amount: usize) {
        if amount > 0 {
            counter.fetch_add(amount as u64, Ordering::Relaxed);
        }
    }
}
