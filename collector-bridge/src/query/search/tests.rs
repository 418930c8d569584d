use super::*;
use crate::model::{KeyValue, Resource, ServiceCount, Status};

/// A server span of `shop` that starts at second `number` and takes 10 ms.
pub(in crate::query) fn span(trace: u8, number: u64) -> Span {
    let resource =
        Resource { attributes: vec![KeyValue::new("service.name", "shop")], ..Resource::default() };
    Span {
        trace_id: TraceId([trace; 16]),
        span_id: SpanId(number.to_be_bytes()),
        parent_span_id: None,
        trace_state: String::new(),
        flags: 0,
        name: "GET /".into(),
        kind: SpanKind::Server,
        start_unix_ns: number * 1_000_000_000,
        end_unix_ns: number * 1_000_000_000 + 10_000_000,
        attributes: Vec::new(),
        status: Status::default(),
        events: Vec::new(),
        links: Vec::new(),
        resource: Arc::new(resource),
        scope: Arc::default(),
        dropped_attributes_count: 0,
        dropped_events_count: 0,
        dropped_links_count: 0,
    }
}

fn summary() -> TraceSummary {
    let service = |name: &str, error_count| ServiceCount { service: name.into(), span_count: 2, error_count };
    TraceSummary {
        trace_id: TraceId([1; 16]),
        start_unix_ns: 1_000,
        end_unix_ns: 3_000,
        root_service: "web".into(),
        root_name: "GET /".into(),
        root_status: StatusCode::Unset,
        span_count: 4,
        error_count: 1,
        services: vec![service("shop", 1), service("web", 0)],
        has_root: true,
    }
}

#[test]
fn summaries_answer_for_service_error_and_duration() {
    let check = |filter: SearchFilter, expected| {
        assert!(!filter.needs_spans(), "{filter:?}");
        assert_eq!(filter.may_match(&summary()), expected, "{filter:?}");
    };
    let filter = SearchFilter::default;
    let of = |service: &str| SearchFilter { service: Some(service.into()), ..filter() };
    let failed = |filter: SearchFilter| SearchFilter { status: Some(StatusCode::Error), ..filter };
    check(filter(), true);
    check(of("web"), true);
    check(of("we"), false);
    check(failed(filter()), true);
    check(failed(of("shop")), true);
    check(failed(of("web")), false);
    check(SearchFilter { min_duration_ns: Some(2_000), max_duration_ns: Some(2_000), ..filter() }, true);
    check(SearchFilter { min_duration_ns: Some(2_001), ..filter() }, false);
    check(SearchFilter { max_duration_ns: Some(1_999), ..filter() }, false);
}

#[test]
fn conditions_on_spans_need_spans() {
    let filter = SearchFilter::default;
    let condition = AttributeCondition {
        key: "a".into(),
        scope: super::super::Scope::Any,
        comparison: super::super::Comparison::Exists,
    };
    assert!(SearchFilter { operation: Some("GET /".into()), ..filter() }.needs_spans());
    assert!(SearchFilter { kind: Some(SpanKind::Client), ..filter() }.needs_spans());
    assert!(SearchFilter { status: Some(StatusCode::Ok), ..filter() }.needs_spans());
    assert!(SearchFilter { min_span_duration_ns: Some(1), ..filter() }.needs_spans());
    assert!(SearchFilter { max_span_duration_ns: Some(1), ..filter() }.needs_spans());
    assert!(SearchFilter { attributes: vec![condition], ..filter() }.needs_spans());
}
