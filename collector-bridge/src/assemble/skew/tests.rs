use std::sync::Arc;

use super::*;
use crate::model::{KeyValue, Resource, Scope, SpanId, Status, TraceId};

const MS: i64 = 1_000_000;
/// What all clocks are compared with.
const EPOCH_NS: i64 = 1_700_000_000_000_000_000;

/// A span of a host whose clock is `ahead` milliseconds ahead, with its true times in milliseconds.
fn span(kind: SpanKind, host: &str, ahead: i64, start: i64, end: i64) -> Span {
    let at = |ms: i64| u64::try_from(EPOCH_NS + (ms + ahead) * MS).unwrap();
    let attributes = vec![KeyValue::new("host.name", host)];
    Span {
        trace_id: TraceId([1; 16]),
        span_id: SpanId([1; 8]),
        parent_span_id: None,
        trace_state: String::new(),
        flags: 0,
        name: "op".into(),
        kind,
        start_unix_ns: at(start),
        end_unix_ns: at(end),
        attributes: Vec::new(),
        status: Status::default(),
        events: Vec::new(),
        links: Vec::new(),
        resource: Arc::new(Resource { attributes, ..Resource::default() }),
        scope: Arc::new(Scope::default()),
        dropped_attributes_count: 0,
        dropped_events_count: 0,
        dropped_links_count: 0,
    }
}

/// Checks the starts after correction, in true milliseconds, and the clocks that were off, in milliseconds.
fn check(mut spans: Vec<Span>, parents: &[Option<usize>], starts: &[i64], skews: &[(&str, i64, u64)]) {
    let found = correct(&mut spans, parents);
    let found: Vec<_> = found
        .iter()
        .map(|skew| (skew.host.as_str(), skew.ahead_ns / MS, skew.uncertainty_ns / MS.unsigned_abs()))
        .collect();
    assert_eq!(found, skews);
    let found = spans.iter().map(|span| (i64::try_from(span.start_unix_ns).unwrap() - EPOCH_NS) / MS);
    assert_eq!(found.collect::<Vec<_>>(), starts);
}

use SpanKind::{Client, Server};

#[test]
fn clocks_that_need_no_difference_have_none() {
    check(vec![span(Client, "a", 0, 0, 100), span(Server, "b", 4, 5, 90)], &[None, Some(0)], &[0, 9], &[]);
}

#[test]
fn a_clock_is_told_from_both_ways() {
    for ahead in [-300, 300] {
        check(
            vec![
                span(Client, "a", 0, 0, 100),
                span(Server, "b", ahead, 10, 90),
                span(Client, "b", ahead, 20, 30),
                span(Server, "b", ahead, 21, 29),
            ],
            &[None, Some(0), Some(1), Some(2)],
            &[0, 10, 20, 21],
            &[("b", ahead, 10)],
        );
    }
}

#[test]
fn many_requests_tell_more_than_one() {
    // The first was on its way for 40 ms and its answer for none, the second the other way round.
    check(
        vec![
            span(Server, "a", 0, 0, 300),
            span(Client, "a", 0, 0, 100),
            span(Server, "b", 500, 40, 100),
            span(Client, "a", 0, 100, 200),
            span(Server, "b", 500, 102, 160),
        ],
        &[None, Some(0), Some(1), Some(0), Some(3)],
        &[0, 0, 39, 100, 101],
        &[("b", 501, 1)],
    );
}

#[test]
fn clocks_add_up_from_host_to_host_and_whoever_asks() {
    check(
        vec![
            span(Client, "a", 0, 0, 100),
            span(Server, "b", 1000, 10, 90),
            span(Client, "b", 1000, 20, 80),
            span(Server, "c", -1000, 30, 70),
            span(Client, "c", -1000, 40, 60),
            span(Server, "a", 0, 45, 55),
        ],
        &[None, Some(0), Some(1), Some(2), Some(3), Some(4)],
        &[0, 10, 20, 30, 40, 45],
        &[("b", 1000, 10), ("c", -1000, 5)],
    );
}

#[test]
fn a_client_that_gave_up_and_work_that_goes_on_say_nothing() {
    let given_up = vec![span(Client, "a", 0, 0, 50), span(Server, "b", 0, 10, 90)];
    check(given_up, &[None, Some(0)], &[0, 10], &[]);
    let queued = vec![span(SpanKind::Producer, "a", 0, 0, 5), span(SpanKind::Consumer, "b", 0, 500, 600)];
    check(queued, &[None, Some(0)], &[0, 500], &[]);
}

#[test]
fn hostile_times_do_no_harm() {
    let mut spans = vec![span(Client, "a", 0, 0, 1), span(Server, "b", 0, 0, 1)];
    (spans[0].start_unix_ns, spans[0].end_unix_ns) = (u64::MAX, 0);
    (spans[1].start_unix_ns, spans[1].end_unix_ns) = (0, u64::MAX);
    assert_eq!(correct(&mut spans, &[None, Some(0)]), Vec::new());
    assert_eq!(correct(&mut spans, &[None, Some(7)]), Vec::new());
    assert_eq!(correct(&mut [], &[]), Vec::new());
}
