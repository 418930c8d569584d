//! Search and rollups against a plain reading of all spans, over any spans, segments and pages.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use remora_bridge::model::{
    AnyValue, KeyValue, Resource, Span, SpanId, SpanKind, Status, StatusCode, TimeRange, TraceId,
};
use remora_bridge::query::{
    AttributeCondition, Comparison, Cursor, Grouping, KindChoice, PerformanceQuestion, Scope, SearchFilter,
    SearchQuestion, operations, performance, search, services,
};
use remora_bridge::receive;
use remora_bridge::store::{Batch, Store, StoreSettings};

#[path = "query/otlp.rs"]
mod otlp;

const MINUTE_NS: u64 = 60_000_000_000;
const START_NS: u64 = 1_700_000_040_000_000_000;
const SERVICES: [&str; 3] = ["a", "b", "c"];
const NAMES: [&str; 3] = ["GET /", "SELECT", "tick"];

fn any_span() -> impl Strategy<Value = Span> {
    let ids = (1_u8..9, 1_u64..40, prop::option::of(1_u64..40));
    let times = (0_u64..180, 0_u64..90_000);
    let kinds = prop_oneof![Just(SpanKind::Server), Just(SpanKind::Client), Just(SpanKind::Internal)];
    let statuses =
        prop_oneof![3 => Just(StatusCode::Unset), 1 => Just(StatusCode::Error), 1 => Just(StatusCode::Ok)];
    let code = prop::option::of(prop_oneof![Just(200_i64), Just(404), Just(503)]);
    (ids, times, (0_usize..3, 0_usize..3), kinds, statuses, code).prop_map(
        |((trace, id, parent), (second, ms), (service, name), kind, code, http)| {
            let start_unix_ns = START_NS + second * 1_000_000_000;
            let resource = Resource {
                attributes: vec![KeyValue::new("service.name", SERVICES[service])],
                ..Resource::default()
            };
            Span {
                trace_id: TraceId([trace; 16]),
                span_id: SpanId((u64::from(trace) << 32 | id).to_be_bytes()),
                parent_span_id: parent.map(|parent| SpanId((u64::from(trace) << 32 | parent).to_be_bytes())),
                trace_state: String::new(),
                flags: 0,
                name: NAMES[name].into(),
                kind,
                start_unix_ns,
                end_unix_ns: start_unix_ns + ms * 1_000_000,
                attributes: http
                    .map(|http| KeyValue::new("http.response.status_code", http))
                    .into_iter()
                    .collect(),
                status: Status { code, message: String::new() },
                events: Vec::new(),
                links: Vec::new(),
                resource: Arc::new(resource),
                scope: Arc::default(),
                dropped_attributes_count: 0,
                dropped_events_count: 0,
                dropped_links_count: 0,
            }
        },
    )
}

fn any_filter() -> impl Strategy<Value = SearchFilter> {
    let code = prop_oneof![
        Just(Comparison::Exists),
        Just(Comparison::Equal(AnyValue::Int(503))),
        Just(Comparison::NotEqual(AnyValue::String("200".to_owned()))),
        Just(Comparison::GreaterOrEqual(404.0)),
        Just(Comparison::Less(404.0)),
    ];
    let condition =
        (code, prop_oneof![Just(Scope::Any), Just(Scope::Span)]).prop_map(|(comparison, scope)| {
            AttributeCondition { key: "http.response.status_code".to_owned(), scope, comparison }
        });
    let duration = || prop::option::weighted(0.3, 0_u64..120_000_000_000);
    let texts = (prop::option::weighted(0.5, 0_usize..3), prop::option::weighted(0.4, 0_usize..3));
    let kind = prop::option::weighted(0.3, Just(SpanKind::Server));
    let status = prop::option::weighted(0.4, prop_oneof![Just(StatusCode::Error), Just(StatusCode::Ok)]);
    let bounds = (duration(), duration(), duration(), duration());
    (bounds, texts, kind, status, prop::collection::vec(condition, 0..2)).prop_map(
        |((min, max, span_min, span_max), (service, name), kind, status, attributes)| SearchFilter {
            min_duration_ns: min,
            max_duration_ns: max,
            service: service.map(|at| SERVICES[at].to_owned()),
            operation: name.map(|at| NAMES[at].to_owned()),
            kind,
            status,
            min_span_duration_ns: span_min,
            max_span_duration_ns: span_max,
            attributes,
        },
    )
}

/// Reads the conditions word by word.
fn expected(spans: &[Span], filter: &SearchFilter, range: TimeRange) -> Vec<TraceId> {
    let mut traces: BTreeMap<TraceId, Vec<&Span>> = BTreeMap::new();
    for span in spans {
        traces.entry(span.trace_id).or_default().push(span);
    }
    let mut found: Vec<(u64, TraceId)> = Vec::new();
    for (trace_id, spans) in traces {
        let start = spans.iter().map(|span| span.start_unix_ns).min().unwrap();
        let end = spans.iter().map(|span| span.end_unix_ns).max().unwrap();
        let fits = |span: &&&Span| {
            let duration = span.end_unix_ns - span.start_unix_ns;
            filter.service.as_deref().is_none_or(|service| service == span.service_name())
                && filter.operation.as_deref().is_none_or(|name| name == &*span.name)
                && filter.kind.is_none_or(|kind| kind == span.kind)
                && filter.status.is_none_or(|status| status == span.status.code)
                && filter.min_span_duration_ns.is_none_or(|min| duration >= min)
                && filter.max_span_duration_ns.is_none_or(|max| duration <= max)
                && filter.attributes.iter().all(|condition| holds(condition, span))
        };
        let is_found = (range.from_unix_ns..range.until_unix_ns).contains(&start)
            && filter.min_duration_ns.is_none_or(|min| end - start >= min)
            && filter.max_duration_ns.is_none_or(|max| end - start <= max)
            && spans.iter().find(fits).is_some();
        if is_found {
            found.push((start, trace_id));
        }
    }
    found.sort_unstable_by(|a, b| b.cmp(a));
    found.into_iter().map(|(_, trace_id)| trace_id).collect()
}

fn holds(condition: &AttributeCondition, span: &Span) -> bool {
    let code = span.attributes.first().and_then(|attribute| attribute.value.as_int());
    match &condition.comparison {
        Comparison::Exists => code.is_some(),
        Comparison::Equal(_) => code == Some(503),
        Comparison::NotEqual(_) => code != Some(200),
        Comparison::GreaterOrEqual(_) => code.is_some_and(|code| code >= 404),
        _ => code.is_some_and(|code| code < 404),
    }
}

/// A store with the spans in batches; some of the batches are sealed into segments.
fn store_with(batches: &[(Vec<Span>, bool)]) -> (Store, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let decode =
        |raw: &[u8]| receive::decode(raw).map(|decoded| decoded.spans).map_err(|error| error.to_string());
    let store = Store::open(StoreSettings::at(dir.path()), decode).unwrap();
    for (spans, is_sealed) in batches {
        let raw = otlp::request(spans);
        assert_eq!(receive::decode(&raw).unwrap().spans.len(), spans.len());
        store.append_blocking(Batch { raw: raw.into(), spans: spans.clone() }).unwrap();
        if *is_sealed {
            store.seal().unwrap();
        }
    }
    (store, dir)
}

fn any_batches() -> impl Strategy<Value = Vec<(Vec<Span>, bool)>> {
    prop::collection::vec((prop::collection::vec(any_span(), 1..25), any::<bool>()), 1..4)
}

/// One span for each id: what senders that do not repeat themselves send.
fn distinct(batches: Vec<(Vec<Span>, bool)>) -> Vec<(Vec<Span>, bool)> {
    let mut seen = BTreeSet::new();
    let keep = |(spans, is_sealed): (Vec<Span>, bool)| {
        (spans.into_iter().filter(|span| seen.insert(span.span_id)).collect::<Vec<_>>(), is_sealed)
    };
    batches.into_iter().map(keep).filter(|(spans, _)| !spans.is_empty()).collect()
}

fn walk(store: &Store, filter: &SearchFilter, range: TimeRange, limit: usize) -> Vec<TraceId> {
    let mut after: Option<Cursor> = None;
    let mut found = Vec::new();
    loop {
        let question = SearchQuestion { filter: filter.clone(), range, after: after.clone(), limit };
        let page = search(store, &question, Instant::now() + Duration::from_secs(60)).unwrap();
        found.extend(page.traces.iter().map(|trace| trace.summary.trace_id));
        let Some(last) = page.traces.last().filter(|_| page.has_more) else { return found };
        let position = (last.summary.start_unix_ns, last.summary.trace_id);
        after = Some(Cursor::first(0, range, 0, position));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn search_finds_what_a_plain_reading_finds(
        batches in any_batches().prop_map(distinct),
        filters in prop::collection::vec(any_filter(), 8),
        from in 0_u64..120,
        limit in 1_usize..6,
    ) {
        let (store, _dir) = store_with(&batches);
        let all: Vec<Span> = batches.into_iter().flat_map(|batch| batch.0).collect();
        let range = TimeRange {
            from_unix_ns: START_NS + from * 1_000_000_000,
            until_unix_ns: START_NS + (from + 90) * 1_000_000_000,
        };
        for filter in filters {
            prop_assert_eq!(walk(&store, &filter, range, limit), expected(&all, &filter, range), "{:?}", filter);
        }
    }

    #[test]
    fn rollups_count_what_a_plain_reading_counts(batches in any_batches().prop_map(distinct)) {
        let (store, _dir) = store_with(&batches);
        let all: Vec<Span> = batches.into_iter().flat_map(|batch| batch.0).collect();
        let range = TimeRange { from_unix_ns: START_NS, until_unix_ns: START_NS + 3 * MINUTE_NS };
        let rollups = store.rollups(range).unwrap();
        let count = |wanted: &dyn Fn(&Span) -> bool| all.iter().filter(|span| wanted(span)).count() as u64;
        for service in services(&rollups) {
            let of_service = |span: &Span| span.service_name() == service.name;
            prop_assert_eq!(service.spans, count(&of_service));
            prop_assert_eq!(service.span_errors, count(&|span| of_service(span) && span.is_error()));
            prop_assert_eq!(service.handled.count(), count(&|span| of_service(span) && span.kind == SpanKind::Server));
            for operation in operations(&rollups, &service.name) {
                let of_operation = |span: &Span| {
                    of_service(span) && *span.name == *operation.name && span.kind == operation.kind
                };
                prop_assert_eq!(operation.red.count(), count(&of_operation));
                let slowest = all.iter().filter(|span| of_operation(span)).map(Span::duration_ns).max();
                prop_assert_eq!(operation.red.latency.max_ns(), slowest);
            }
        }
        let question = PerformanceQuestion {
            service: None, operation: None, kinds: KindChoice::All, grouping: Grouping::Service, range,
            step_ns: MINUTE_NS,
        };
        let series = performance(&rollups, &question);
        let counted: u64 = series.iter().map(|series| series.total.count()).sum();
        prop_assert_eq!(counted, all.len() as u64);
        for series in series {
            for (point, red) in series.points {
                let minute = START_NS + point * MINUTE_NS;
                let in_point = |span: &Span| {
                    span.service_name() == series.service && span.start_unix_ns / MINUTE_NS == minute / MINUTE_NS
                };
                prop_assert_eq!(red.count(), count(&in_point));
            }
        }
    }
}

#[test]
fn a_deadline_that_has_passed_ends_the_query() {
    let batch = (1..3000_u64).map(|number| {
        let mut span = one_span(number);
        span.trace_id = TraceId(u128::from(number).to_be_bytes());
        span
    });
    let (store, _dir) = store_with(&[(batch.collect(), false)]);
    let filter = SearchFilter { operation: Some("nothing".to_owned()), ..SearchFilter::default() };
    let question = SearchQuestion { filter, range: TimeRange::ALL, after: None, limit: 1 };
    let asked = search(&store, &question, Instant::now() - Duration::from_secs(1));
    assert!(matches!(asked, Err(remora_bridge::query::QueryError::Deadline)), "{asked:?}");
}

fn one_span(number: u64) -> Span {
    let runner = &mut proptest::test_runner::TestRunner::deterministic();
    let mut span = any_span().new_tree(runner).unwrap().current();
    span.span_id = SpanId(number.to_be_bytes());
    span
}
