use std::sync::Arc;

use remora_engine::span::{Evidence, Parent, SpanKind};

use super::*;
use crate::enrich::{Host, Resource};
use crate::export::sample;

fn span(number: u32, parent: Option<u32>, kind: SpanKind, service: &str) -> ResourceSpan {
    let resource = Resource { service_name: service.to_owned(), ..Resource::unknown(1, &Host::default()) };
    let mut span = sample::span_of(number, &Arc::new(resource), "http");
    span.started_at_unix_ns += u64::from(number);
    span.ended_at_unix_ns = span.started_at_unix_ns + 1_500_000;
    span.span.kind = kind;
    span.span.status = Status::Unset;
    span.span.parent = parent.map(|parent| Parent {
        span_id: sample::span_id(parent),
        is_remote: false,
        evidence: Evidence::Thread,
    });
    span
}

fn forest(spans: Vec<ResourceSpan>, now: Instant) -> Forest {
    let mut forest = Forest::default();
    spans.into_iter().for_each(|span| forest.insert(span, now));
    forest
}

#[test]
fn children_that_end_first_stand_below_their_parent() {
    let now = Instant::now();
    let spans = vec![
        span(3, Some(1), SpanKind::Client, "web"),
        span(2, Some(1), SpanKind::Client, "web"),
        span(4, Some(3), SpanKind::Server, "db"),
        span(1, Some(0), SpanKind::Server, "web"),
        span(0, None, SpanKind::Client, "curl"),
    ];
    let mut forest = forest(spans, now);
    assert_eq!(forest.take_settled(now), "");
    let expected = [
        "curl -> 0  1.5 ms  500",
        "└─ web <- 1  1.5 ms  500",
        "   ├─ web -> 2  1.5 ms  500",
        "   └─ web -> 3  1.5 ms  500",
        "      └─ db <- 4  1.5 ms  500",
        "",
    ];
    assert_eq!(forest.take_settled(now + QUIET), expected.join("\n"));
    assert_eq!(forest.take_all(), "");
}

#[test]
fn a_trace_waits_for_a_parent_that_still_runs_but_not_for_ever() {
    let now = Instant::now();
    let mut forest = forest(vec![span(2, Some(1), SpanKind::Client, "web")], now);
    assert_eq!(forest.take_settled(now + QUIET), "");
    assert_eq!(forest.take_settled(now + PATIENCE), "web -> 2  1.5 ms  500\n");
}

#[test]
fn ids_that_form_a_circle_lose_no_span() {
    let now = Instant::now();
    let circle =
        [(1, 2), (2, 1), (3, 3)].map(|(number, parent)| span(number, Some(parent), SpanKind::Server, "a"));
    let text = forest(circle.to_vec(), now).take_all();
    for number in 1..=3 {
        assert_eq!(text.matches(&format!("<- {number} ")).count(), 1, "{text}");
    }
}
