//! An assembled trace.

use super::{Span, TraceId, TraceSummary};

/// All that is known of one trace, as a forest.
#[derive(Clone, Debug, PartialEq)]
pub struct Trace {
    /// The trace.
    pub trace_id: TraceId,
    /// Its spans, by start, then by end (longest first), then by id.
    pub spans: Vec<TraceSpan>,
    /// Indices of the spans that start a tree: true roots first, then orphans; each by start.
    pub roots: Vec<usize>,
    /// Spans that came more than once with the same content and were left out.
    pub duplicates_removed: u32,
    /// Spans of the agent that were left out because an SDK describes the same requests.
    pub doubles_merged: u32,
    /// Clocks that were off, by which the times of their hosts' spans were corrected.
    pub clock_skews: Vec<ClockSkew>,
    /// How much of the trace is there.
    pub completeness: Completeness,
    /// Its line in a list.
    pub summary: TraceSummary,
}

/// A host's clock that differs from that of the host on which a trace begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClockSkew {
    /// The host: its `host.id`, `k8s.node.name` or `host.name`, the first that is there.
    pub host: String,
    /// How far its clock is ahead, in nanoseconds.
    pub ahead_ns: i64,
    /// By how much that may be wrong, in nanoseconds.
    pub uncertainty_ns: u64,
}

/// A span in its place.
#[derive(Clone, Debug, PartialEq)]
pub struct TraceSpan {
    /// The span.
    pub span: Span,
    /// Index of its parent in [`Trace::spans`]; none for what starts a tree.
    pub parent: Option<usize>,
    /// Indices of its children, by start.
    pub children: Vec<usize>,
    /// Steps from the start of its tree.
    pub depth: u32,
    /// It names a parent that is not there.
    pub is_orphan: bool,
    /// Another span of the trace has the same id and other content.
    pub has_duplicate_id: bool,
    /// Its parent is its own descendant, so the link was cut here.
    pub is_cycle_cut: bool,
}

/// Spans that are there, and spans that must exist because something names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Completeness {
    /// Distinct span ids that are there.
    pub found: u32,
    /// `found`, and the distinct parents that are named but missing.
    pub expected: u32,
}

impl Completeness {
    /// Returns found / expected; 1 where nothing is expected.
    #[must_use]
    pub fn ratio(self) -> f64 {
        if self.expected == 0 { 1.0 } else { f64::from(self.found) / f64::from(self.expected) }
    }
}
