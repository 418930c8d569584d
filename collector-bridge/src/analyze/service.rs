//! What one service did in one minute.

use std::sync::Arc;

use crate::model::{SpanKind, TraceId};

use super::capped::{Capped, Merge};
use super::peer::{ConnectionType, Peer};
use super::sketch::LatencySketch;

/// Span names of a service in a minute; the rest is summed as [`OVERFLOW_NAME`](super::OVERFLOW_NAME).
pub const MAX_OPERATIONS: usize = 1_000;
/// Groups of errors of a service in a minute, likewise.
pub const MAX_FAILURES: usize = 200;
/// Distinct callees of a service in a minute, likewise.
pub const MAX_CALLEES: usize = 300;
/// Traces named as examples of an error.
pub const MAX_EXAMPLES: usize = 3;

/// Sums of one service.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct ServiceMinute {
    pub(super) operations: Capped<Arc<str>, Operation, MAX_OPERATIONS>,
    pub(super) failures: Capped<Failure, FailureStats, MAX_FAILURES>,
    /// Calls of this service whose other side is settled.
    pub(super) calls: Capped<Call, CallStats, MAX_CALLEES>,
    /// Messages that this service took from a broker without a known sender.
    pub(super) received: Capped<Peer, CallStats, MAX_CALLEES>,
}

impl Merge for ServiceMinute {
    fn merge(&mut self, other: &Self) {
        self.operations.merge(&other.operations);
        self.failures.merge(&other.failures);
        self.calls.merge(&other.calls);
        self.received.merge(&other.received);
    }
}

/// Rate, errors and durations of the spans of one name, by kind.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Operation {
    /// Each kind at most once, in their order.
    pub(super) by_kind: Vec<(SpanKind, Red)>,
}

impl Operation {
    /// Returns the sums of one kind.
    pub(super) fn kind(&mut self, kind: SpanKind) -> &mut Red {
        let at = match self.by_kind.binary_search_by_key(&kind, |known| known.0) {
            Ok(at) => at,
            Err(at) => {
                self.by_kind.insert(at, (kind, Red::default()));
                at
            }
        };
        // `at` was found or filled above.
        &mut self.by_kind[at].1
    }
}

impl Merge for Operation {
    fn merge(&mut self, other: &Self) {
        for (kind, red) in &other.by_kind {
            self.kind(*kind).merge(red);
        }
    }
}

/// Rate, errors, durations. The rate is the count of the durations.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Red {
    /// Spans with error status.
    pub errors: u64,
    /// Durations of all spans.
    pub latency: LatencySketch,
}

impl Red {
    /// Returns the number of spans.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.latency.count()
    }

    pub(super) fn record(&mut self, duration_ns: u64, is_error: bool) {
        self.errors = self.errors.saturating_add(u64::from(is_error));
        self.latency.record(duration_ns);
    }

    /// Adds what another one has counted.
    pub fn merge(&mut self, other: &Self) {
        self.errors = self.errors.saturating_add(other.errors);
        self.latency.merge(&other.latency);
    }
}

/// What errors have in common.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Failure {
    /// Name of the span.
    pub operation: Arc<str>,
    /// Its kind.
    pub kind: SpanKind,
    /// `error.type`, or what stands in for it; none where nothing says it.
    pub error_type: Option<Arc<str>>,
    /// Status message or exception message; none where there is none.
    pub message: Option<Arc<str>>,
}

/// How often and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailureStats {
    /// Spans.
    pub count: u64,
    /// Start of the first one, unix time.
    pub first_unix_ns: u64,
    /// Start of the last one, unix time.
    pub last_unix_ns: u64,
    /// The latest traces with this error, with the start of the span, latest first.
    pub examples: Vec<(u64, TraceId)>,
}

impl Default for FailureStats {
    fn default() -> Self {
        Self { count: 0, first_unix_ns: u64::MAX, last_unix_ns: 0, examples: Vec::new() }
    }
}

impl FailureStats {
    pub(super) fn one(start_unix_ns: u64, trace_id: TraceId) -> Self {
        Self {
            count: 1,
            first_unix_ns: start_unix_ns,
            last_unix_ns: start_unix_ns,
            examples: vec![(start_unix_ns, trace_id)],
        }
    }

    pub(super) fn rename_traces(&mut self, canonical: &dyn Fn(TraceId) -> TraceId) {
        for (_, trace_id) in &mut self.examples {
            *trace_id = canonical(*trace_id);
        }
        keep_latest_traces(&mut self.examples);
    }

    /// Adds what another one has counted.
    pub fn merge(&mut self, other: &Self) {
        self.count = self.count.saturating_add(other.count);
        self.first_unix_ns = self.first_unix_ns.min(other.first_unix_ns);
        self.last_unix_ns = self.last_unix_ns.max(other.last_unix_ns);
        self.examples.extend_from_slice(&other.examples);
        keep_latest_traces(&mut self.examples);
    }
}

/// Keeps the latest moment of each trace, and of those the latest: the same in any order of adding.
fn keep_latest_traces(examples: &mut Vec<(u64, TraceId)>) {
    examples.sort_unstable_by(|a, b| b.cmp(a));
    let mut seen = Vec::with_capacity(MAX_EXAMPLES);
    examples.retain(|(_, trace_id)| {
        let is_new = seen.len() < MAX_EXAMPLES && !seen.contains(trace_id);
        if is_new {
            seen.push(*trace_id);
        }
        is_new
    });
}

impl Merge for FailureStats {
    fn merge(&mut self, other: &Self) {
        FailureStats::merge(self, other);
    }
}

/// Whom a service called.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Call {
    /// The service that answered; none where no server span was seen.
    pub(super) callee: Option<Arc<str>>,
    /// How the caller names the other side.
    pub(super) peer: Peer,
    /// What kind of connection it is, by both sides.
    pub(super) connection: ConnectionType,
}

/// Calls along one edge.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CallStats {
    /// Calls.
    pub calls: u64,
    /// Calls that either side calls an error.
    pub errors: u64,
    /// Durations that the caller saw; empty where it was not seen.
    pub client: LatencySketch,
    /// Durations that the callee saw; empty where it was not seen.
    pub server: LatencySketch,
}

impl CallStats {
    /// Adds what another one has counted.
    pub fn merge(&mut self, other: &Self) {
        self.calls = self.calls.saturating_add(other.calls);
        self.errors = self.errors.saturating_add(other.errors);
        self.client.merge(&other.client);
        self.server.merge(&other.server);
    }

    pub(super) fn record(&mut self, client: Option<Side>, server: Option<Side>) {
        let is_error = client.is_some_and(|side| side.is_error) || server.is_some_and(|side| side.is_error);
        self.calls = self.calls.saturating_add(1);
        self.errors = self.errors.saturating_add(u64::from(is_error));
        if let Some(side) = client {
            self.client.record(side.duration_ns);
        }
        if let Some(side) = server {
            self.server.record(side.duration_ns);
        }
    }
}

impl Merge for CallStats {
    fn merge(&mut self, other: &Self) {
        CallStats::merge(self, other);
    }
}

/// What one side saw of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Side {
    pub(super) duration_ns: u64,
    pub(super) is_error: bool,
}
