//! The spans of one trace as they were sent → as they are meant: sides of a request that were seen apart are joined, and
//! of a request that both the agent and an SDK describe, the SDK's span stays.
//!
//! Everything is derived from the spans alone, whenever a trace is read, so the order in which they came does not
//! matter and nothing of what was sent is lost.

use super::{position, sources};
use crate::model::Span;

/// Spans as they are meant.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Settled {
    /// In the order in which they were given.
    pub spans: Vec<Span>,
    /// Spans of the agent that were left out, because an SDK describes the same.
    pub merged: u32,
}

/// Returns the spans of a trace (duplicates removed) as they are meant; none if that is as they were sent. Cost: linear.
#[must_use]
pub fn settled(spans: &[&Span]) -> Option<Settled> {
    let has_expected = spans.iter().any(|span| span.expected_client().is_some());
    let from_agent = spans.iter().filter(|span| span.is_from_agent()).count();
    let has_both_sources = from_agent > 0 && from_agent < spans.len();
    if !has_expected && !has_both_sources {
        return None;
    }
    let mut settled: Vec<Span> = spans.iter().map(|span| (*span).clone()).collect();
    let sent_parents: Vec<_> = settled.iter().map(|span| span.parent_span_id).collect();
    if has_expected {
        position::join(&mut settled);
    }
    let merged = if has_both_sources { sources::merge(&mut settled, &sent_parents) } else { 0 };
    Some(Settled { spans: settled, merged })
}

#[cfg(test)]
mod tests;
