//! What the store counts about itself.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::analyze::Counters;

/// Upper bounds of the fsync histogram's buckets, in microseconds.
pub const FSYNC_BOUNDS_US: [u64; 10] =
    [100, 250, 500, 1_000, 2_500, 5_000, 10_000, 50_000, 250_000, 1_000_000];

/// Numbers that only grow, since the start of the process.
#[derive(Debug, Default)]
pub struct StoreCounters {
    /// Spans that were acknowledged.
    pub appended_spans: AtomicU64,
    /// Requests that were acknowledged without being kept again, because they had been kept shortly before.
    pub repeated_requests: AtomicU64,
    /// Bytes that were written to the log.
    pub wal_written_bytes: AtomicU64,
    /// Writes to the log that failed.
    pub wal_failures: AtomicU64,
    /// Bytes of the log that were damaged when it was read back; requests were in them.
    pub wal_damaged_bytes: AtomicU64,
    /// Requests of the log that could not be unpacked or were not understood.
    pub wal_unreadable_requests: AtomicU64,
    /// Group commits by latency: one bucket per bound, and one above.
    pub fsync_buckets: [AtomicU64; FSYNC_BOUNDS_US.len() + 1],
    /// Sum of the latencies of group commits, in microseconds.
    pub fsync_sum_us: AtomicU64,
    /// Spans that came into segments.
    pub sealed_spans: AtomicU64,
    /// Spans that were left out of segments because they were there already.
    pub duplicate_spans: AtomicU64,
    /// Attempts to write a segment that failed and were repeated.
    pub seal_failures: AtomicU64,
    /// Spans in the log that were read back at the start.
    pub replayed_spans: AtomicU64,
    /// Segments that retention by age removed.
    pub retired_by_age: AtomicU64,
    /// Segments that retention by size removed.
    pub retired_by_size: AtomicU64,
    /// Spans in all removed segments.
    pub retired_spans: AtomicU64,
    /// What the rollups of new segments could not take in full ([`Counters`]): minutes,
    pub rollup_minutes_dropped: AtomicU64,
    /// sides of calls given up early,
    pub rollup_pending_shed: AtomicU64,
    /// server spans without their client span,
    pub rollup_servers_unpaired: AtomicU64,
    /// sides of calls that came again.
    pub rollup_halves_repeated: AtomicU64,
    /// Segments that compaction replaced.
    pub compacted_segments: AtomicU64,
}

impl StoreCounters {
    pub(crate) fn add(counter: &AtomicU64, amount: u64) {
        counter.fetch_add(amount, Ordering::Relaxed);
    }

    pub(crate) fn record_rollups(&self, counters: Counters) {
        Self::add(&self.rollup_minutes_dropped, counters.minutes_dropped);
        Self::add(&self.rollup_pending_shed, counters.pending_shed);
        Self::add(&self.rollup_servers_unpaired, counters.servers_unpaired);
        Self::add(&self.rollup_halves_repeated, counters.halves_repeated);
    }

    pub(crate) fn record_fsync(&self, took: Duration) {
        let took_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = FSYNC_BOUNDS_US.partition_point(|bound| *bound < took_us);
        if let Some(bucket) = self.fsync_buckets.get(bucket) {
            Self::add(bucket, 1);
        }
        Self::add(&self.fsync_sum_us, took_us);
    }
}

/// Sizes at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoreSizes {
    /// Spans that are not in segments yet.
    pub live_spans: u64,
    /// Their memory.
    pub live_bytes: u64,
    /// Bytes of the log's files.
    pub wal_bytes: u64,
    /// Segments.
    pub segments: u64,
    /// Spans in them.
    pub segment_spans: u64,
    /// Bytes of their files.
    pub segment_bytes: u64,
    /// Ids of traces that became part of others.
    pub aliases: u64,
    /// Such ids that were forgotten for lack of room, since the start.
    pub aliases_evicted: u64,
}
