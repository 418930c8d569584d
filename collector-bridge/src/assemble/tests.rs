use std::sync::Arc;

use super::*;
use crate::model::{Resource, Scope, SpanKind, Status};

fn span(id: u8, parent: Option<u8>, start_unix_ns: u64) -> Span {
    Span {
        trace_id: TraceId([7; 16]),
        span_id: SpanId([id; 8]),
        parent_span_id: parent.map(|parent| SpanId([parent; 8])),
        trace_state: String::new(),
        flags: 0,
        name: "op".into(),
        kind: SpanKind::Internal,
        start_unix_ns,
        end_unix_ns: start_unix_ns + 10,
        attributes: Vec::new(),
        status: Status::default(),
        events: Vec::new(),
        links: Vec::new(),
        resource: Arc::new(Resource::default()),
        scope: Arc::new(Scope::default()),
        dropped_attributes_count: 0,
        dropped_events_count: 0,
        dropped_links_count: 0,
    }
}

/// Writes a trace as one line per span: depth as indent, first byte of the id, flags.
fn drawn(spans: Vec<Span>) -> String {
    let trace = assemble(TraceId([7; 16]), spans).unwrap();
    let mut text = String::new();
    let mut waiting: Vec<usize> = trace.roots.iter().rev().copied().collect();
    while let Some(index) = waiting.pop() {
        let placed = &trace.spans[index];
        let indent = "  ".repeat(placed.depth as usize);
        let flags = [
            (placed.is_orphan, " orphan"),
            (placed.has_duplicate_id, " same id"),
            (placed.is_cycle_cut, " cut"),
        ];
        let flags: String = flags.iter().filter(|(is_set, _)| *is_set).map(|(_, flag)| *flag).collect();
        text += &format!("{indent}{}{flags}\n", placed.span.span_id.0[0]);
        waiting.extend(placed.children.iter().rev());
    }
    let Completeness { found, expected } = trace.completeness;
    text + &format!("{found}/{expected}, {} removed", trace.duplicates_removed)
}

fn check(spans: Vec<Span>, expected: &str) {
    for turn in 0..spans.len() {
        let mut turned = spans.clone();
        turned.rotate_left(turn);
        assert_eq!(drawn(turned), expected, "rotated by {turn}");
    }
}

#[test]
fn nothing_makes_no_trace() {
    assert_eq!(assemble(TraceId([7; 16]), Vec::new()), None);
}

#[test]
fn late_spans_find_their_place_in_any_order_of_arrival() {
    check(
        vec![span(1, None, 0), span(2, Some(1), 5), span(3, Some(2), 6), span(4, Some(1), 7)],
        "1\n  2\n    3\n  4\n4/4, 0 removed",
    );
}

#[test]
fn equal_spans_are_kept_once() {
    check(vec![span(1, None, 0), span(1, None, 0), span(1, None, 0)], "1\n1/1, 2 removed");
}

#[test]
fn other_content_under_the_same_id_is_kept_and_flagged() {
    let mut other = span(2, Some(1), 6);
    other.name = "other".into();
    check(
        vec![span(1, None, 0), span(2, Some(1), 5), other, span(3, Some(2), 7)],
        "1\n  2 same id\n    3\n  2 same id\n3/3, 0 removed",
    );
}

#[test]
fn orphans_start_trees_behind_true_roots_and_count_as_missing_parent() {
    check(
        vec![span(2, Some(9), 0), span(3, Some(9), 1), span(1, None, 5)],
        "1\n2 orphan\n3 orphan\n3/4, 0 removed",
    );
}

#[test]
fn cycles_are_cut_at_their_earliest_span() {
    check(
        vec![span(1, Some(3), 0), span(2, Some(1), 1), span(3, Some(2), 2), span(4, Some(2), 3)],
        "1 cut\n  2\n    3\n    4\n4/4, 0 removed",
    );
    check(vec![span(1, Some(1), 0)], "1 cut\n1/1, 0 removed");
}
