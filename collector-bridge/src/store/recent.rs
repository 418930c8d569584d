//! Sides of requests among what is stored, for whoever has forgotten them, or never knew them after a start.

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use super::error::StoreError;
use super::segment::Segment;
use super::view::Picture;
use crate::model::{
    AnyValue, AttributeMatch, AttributeOperator, PARENT_EXPECTED, Span, SpanId, SpanKind, SpanPredicate,
    TimeRange,
};

/// Spans of segments that are given, at most: some seconds of reading.
const MAX_SEALED: usize = 1_000_000;

/// Gives all live spans to `visit`, and sides of requests that were sealed within `within` before the newest segment:
/// server spans that expect a client span, and client spans. Newest segments first, and no more than [`MAX_SEALED`].
pub(super) fn visit(
    picture: &Picture,
    within: Duration,
    visit: &mut dyn FnMut(&Span),
) -> Result<(), StoreError> {
    for batch in picture.generations().flat_map(|generation| generation.batches()) {
        batch.spans().iter().for_each(&mut *visit);
    }
    let newest = picture.segments.iter().map(|segment| segment.meta.sealed_unix_ns).max().unwrap_or(0);
    let within_ns = u64::try_from(within.as_nanos()).unwrap_or(u64::MAX);
    let oldest = newest.saturating_sub(within_ns);
    let mut left = MAX_SEALED;
    for segment in picture.segments.iter().rev().filter(|segment| segment.meta.sealed_unix_ns >= oldest) {
        for predicate in [expecting_servers(), callers(SpanKind::Client), callers(SpanKind::Producer)] {
            visit_segment(segment, &predicate, &mut left, visit)?;
        }
    }
    Ok(())
}

/// Gives to `visit` the client spans with one of these ids, and the server spans that expect one of the other ids, newest
/// segments first, until the deadline passes.
pub(super) fn find_sides(
    picture: &Picture,
    clients: &HashSet<SpanId>,
    expected: &HashSet<SpanId>,
    deadline: Instant,
    visit: &mut dyn FnMut(&Span),
) -> Result<(), StoreError> {
    let is_wanted = |span: &Span| match span.kind {
        kind if kind.is_caller() => clients.contains(&span.span_id),
        _ => !expected.is_empty() && span.expected_client().is_some_and(|client| expected.contains(&client)),
    };
    for batch in picture.generations().flat_map(|generation| generation.batches()) {
        batch.spans().iter().filter(|span| is_wanted(span)).for_each(&mut *visit);
    }
    let expecting = expecting_servers();
    for segment in picture.segments.iter().rev() {
        if Instant::now() > deadline {
            break;
        }
        let mut visit_wanted = |span: &Span| {
            if is_wanted(span) {
                visit(span)
            }
        };
        if !expected.is_empty() {
            let mut left = MAX_SEALED;
            visit_segment(segment, &expecting, &mut left, &mut visit_wanted)?;
        }
        if !clients.is_empty() {
            segment.visit_spans(clients, &mut visit_wanted)?;
        }
    }
    Ok(())
}

fn expecting_servers() -> SpanPredicate {
    let has_expected = AttributeMatch {
        key: PARENT_EXPECTED.to_owned(),
        operator: AttributeOperator::Exists,
        value: AnyValue::Empty,
    };
    SpanPredicate { kind: Some(SpanKind::Server), attributes: vec![has_expected], ..SpanPredicate::default() }
}

fn callers(kind: SpanKind) -> SpanPredicate {
    SpanPredicate { kind: Some(kind), ..SpanPredicate::default() }
}

fn visit_segment(
    segment: &Segment,
    predicate: &SpanPredicate,
    left: &mut usize,
    visit: &mut dyn FnMut(&Span),
) -> Result<(), StoreError> {
    let condition = segment.condition(predicate)?;
    for group in segment.groups(TimeRange::ALL, &condition)? {
        if *left == 0 {
            break;
        }
        let rows: Vec<u32> = segment.rows(group, &condition)?.iter().map(|row| row.row).take(*left).collect();
        *left -= rows.len();
        if rows.is_empty() {
            continue;
        }
        let _ = segment.visit(group, &rows, &mut |span| {
            visit(span);
            ControlFlow::Continue(())
        })?;
    }
    Ok(())
}
