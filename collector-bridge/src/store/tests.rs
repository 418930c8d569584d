mod damage;
mod full_disk;
mod joined;

use std::collections::BTreeSet;
use std::path::Path;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1 as otlp_common;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::resource::v1 as otlp_resource;
use opentelemetry_proto::tonic::trace::v1 as otlp;
use prost::Message;

use super::*;
use crate::model::{AnyValue, AttributeMatch, AttributeOperator};

const SECOND_NS: u64 = 1_000_000_000;
const NOON_NS: u64 = 1_800_000_000 * SECOND_NS;

fn decode(request: &[u8]) -> Result<Vec<Span>, String> {
    crate::receive::decode(request).map(|decoded| decoded.spans).map_err(|error| error.to_string())
}

fn store(dir: &Path) -> Store {
    Store::open(StoreSettings::at(dir), decode).unwrap()
}

fn attribute(key: &str, value: Option<Value>) -> otlp_common::KeyValue {
    let value = Some(otlp_common::AnyValue { value });
    otlp_common::KeyValue { key: key.to_owned(), value, ..Default::default() }
}

/// Returns a span whose content depends on the numbers, with every kind of field and value in some of them.
fn otlp_span(trace: u64, span: u64) -> otlp::Span {
    let mut trace_id = vec![0; 8];
    trace_id.extend_from_slice(&trace.to_be_bytes());
    let mut attributes = vec![
        attribute("http.request.method", Some(Value::StringValue("GET".to_owned()))),
        attribute("http.response.status_code", Some(Value::IntValue(200 + (span % 3) as i64 * 150))),
        attribute("url.path", Some(Value::StringValue(format!("/items/{span}")))),
    ];
    if span.is_multiple_of(2) {
        attributes.insert(1, attribute("retry", Some(Value::BoolValue(span.is_multiple_of(4)))));
        attributes.push(attribute("ratio", Some(Value::DoubleValue(span as f64 / 7.0))));
    }
    if span.is_multiple_of(5) {
        let items = vec![otlp_common::AnyValue { value: Some(Value::StringValue("a".to_owned())) }];
        attributes
            .push(attribute("tags", Some(Value::ArrayValue(otlp_common::ArrayValue { values: items }))));
        attributes.push(attribute("raw", Some(Value::BytesValue(vec![0, 255]))));
        attributes.push(attribute("nothing", None));
        attributes.push(attribute("url.path", Some(Value::StringValue("twice".to_owned()))));
        attributes.push(attribute("http.response.status_code", Some(Value::StringValue("text".to_owned()))));
    }
    otlp::Span {
        trace_id: trace_id.clone(),
        span_id: span.to_be_bytes().to_vec(),
        parent_span_id: if span % 10 == 1 {
            Vec::new()
        } else {
            (span - span % 10 + 1).to_be_bytes().to_vec()
        },
        trace_state: if span.is_multiple_of(7) { "vendor=1".to_owned() } else { String::new() },
        flags: 1,
        name: format!("GET /items/{}", span % 4),
        kind: (span % 6) as i32,
        start_time_unix_nano: NOON_NS + trace * SECOND_NS + span,
        // Every eleventh ends before it starts.
        end_time_unix_nano: if span.is_multiple_of(11) {
            5
        } else {
            NOON_NS + trace * SECOND_NS + span * 1000
        },
        attributes,
        dropped_attributes_count: (span % 13) as u32,
        events: (0..span % 3)
            .map(|event| otlp::span::Event {
                time_unix_nano: NOON_NS + event,
                name: format!("event {event}"),
                attributes: vec![attribute("n", Some(Value::IntValue(-1)))],
                dropped_attributes_count: 1,
            })
            .collect(),
        dropped_events_count: 2,
        links: (0..span % 2)
            .map(|_| otlp::span::Link {
                trace_id: trace_id.clone(),
                span_id: vec![1; 8],
                flags: 3,
                ..Default::default()
            })
            .collect(),
        dropped_links_count: 0,
        status: (span % 3 == 2).then(|| otlp::Status {
            message: format!("failed {span}"),
            code: otlp::status::StatusCode::Error as i32,
        }),
    }
}

fn batch(service: &str, spans: Vec<otlp::Span>) -> Batch {
    let resource = otlp_resource::Resource {
        attributes: vec![
            attribute("service.name", Some(Value::StringValue(service.to_owned()))),
            attribute("host.name", Some(Value::StringValue("h1".to_owned()))),
        ],
        ..Default::default()
    };
    let scope = otlp_common::InstrumentationScope {
        name: "lib".to_owned(),
        version: "1".to_owned(),
        ..Default::default()
    };
    let scope_spans = vec![otlp::ScopeSpans { scope: Some(scope), spans, schema_url: "s".to_owned() }];
    let resource_spans =
        vec![otlp::ResourceSpans { resource: Some(resource), scope_spans, schema_url: "r".to_owned() }];
    let raw: Bytes = ExportTraceServiceRequest { resource_spans }.encode_to_vec().into();
    let spans = decode(&raw).unwrap();
    Batch { raw, spans }
}

/// Fills a store with 40 traces of ten spans; each trace is split over two services.
fn fill(store: &Store) {
    for trace in 1..=40 {
        let span = |index: u64| otlp_span(trace, trace * 100 + index);
        store.append_blocking(batch("front", (1..=6).map(span).collect())).unwrap();
        store.append_blocking(batch("back", (7..=10).map(span).collect())).unwrap();
    }
}

/// Does the same as `fill` with other requests: one for each span.
fn fill_singly(store: &Store) {
    for trace in 1..=40 {
        for index in 1..=10 {
            let service = if index <= 6 { "front" } else { "back" };
            store.append_blocking(batch(service, vec![otlp_span(trace, trace * 100 + index)])).unwrap();
        }
    }
}

fn expected_trace(trace: u64) -> Vec<Span> {
    let span = |index: u64| otlp_span(trace, trace * 100 + index);
    let mut spans = batch("front", (1..=6).map(span).collect()).spans;
    spans.extend(batch("back", (7..=10).map(span).collect()).spans);
    sort_and_dedup(&mut spans);
    spans
}

fn trace_id(trace: u64) -> TraceId {
    let mut bytes = [0; 16];
    bytes[8..].copy_from_slice(&trace.to_be_bytes());
    TraceId(bytes)
}

fn scanned(store: &Store, range: TimeRange, predicate: &SpanPredicate) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    store
        .scan(range, predicate, &mut |span| {
            found.insert(format!("{} {}", span.trace_id, span.span_id));
            ControlFlow::Continue(())
        })
        .unwrap();
    found
}

fn predicates() -> Vec<SpanPredicate> {
    let base = SpanPredicate::default;
    let attribute = |key: &str, operator, value| SpanPredicate {
        attributes: vec![AttributeMatch { key: key.to_owned(), operator, value }],
        ..base()
    };
    vec![
        base(),
        SpanPredicate { service: Some("back".to_owned()), ..base() },
        SpanPredicate { service: Some("nobody".to_owned()), ..base() },
        SpanPredicate { name: Some("GET /items/3".to_owned()), ..base() },
        SpanPredicate { kind: Some(crate::model::SpanKind::Server), ..base() },
        SpanPredicate { status: Some(crate::model::StatusCode::Error), ..base() },
        SpanPredicate { without_parent: true, ..base() },
        SpanPredicate { min_duration_ns: Some(1_000_000), max_duration_ns: Some(2_000_000), ..base() },
        attribute("http.response.status_code", AttributeOperator::Equal, AnyValue::Int(350)),
        attribute("http.response.status_code", AttributeOperator::NotEqual, AnyValue::Int(200)),
        attribute("url.path", AttributeOperator::Equal, AnyValue::from("/items/1207")),
        attribute("tags", AttributeOperator::Equal, AnyValue::from("a")),
        attribute("ratio", AttributeOperator::Exists, AnyValue::Empty),
        attribute("host.name", AttributeOperator::Equal, AnyValue::from("h1")),
        attribute("host.name", AttributeOperator::NotEqual, AnyValue::from("h1")),
        attribute("retry", AttributeOperator::Equal, AnyValue::Bool(true)),
    ]
}

#[test]
fn spans_come_back_exactly_live_sealed_and_after_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let store = self::store(dir.path());
    fill(&store);
    let check = |store: &Store, stage: &str| {
        for trace in 1..=40 {
            assert_eq!(
                store.trace(trace_id(trace)).unwrap(),
                expected_trace(trace),
                "{stage}, trace {trace}"
            );
        }
        assert_eq!(store.trace(trace_id(41)).unwrap(), [], "{stage}");
    };
    check(&store, "live");
    store.seal().unwrap();
    assert_eq!(
        (store.sizes().live_spans, store.sizes().segment_spans, store.sizes().live_bytes),
        (0, 400, 0)
    );
    check(&store, "sealed");
    drop(store);
    check(&self::store(dir.path()), "reopened");
}

#[test]
fn the_log_alone_brings_everything_back() {
    let dir = tempfile::tempdir().unwrap();
    let store = self::store(dir.path());
    fill(&store);
    let copy = tempfile::tempdir().unwrap();
    std::fs::create_dir(copy.path().join("wal")).unwrap();
    for entry in std::fs::read_dir(dir.path().join("wal")).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), copy.path().join("wal").join(entry.file_name())).unwrap();
    }
    let reopened = self::store(copy.path());
    assert_eq!(reopened.sizes().live_spans, 400);
    assert_eq!(reopened.trace(trace_id(7)).unwrap(), expected_trace(7));
}

#[test]
fn a_request_that_could_not_be_read_back_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let store = self::store(dir.path());
    let raw = vec![0; MAX_REQUEST_BYTES + 1].into();
    let refused = store.append_blocking(Batch { raw, spans: Vec::new() });
    assert!(matches!(refused, Err(AppendError::TooLarge { limit_bytes: MAX_REQUEST_BYTES })), "{refused:?}");
    assert_eq!(store.sizes().wal_bytes, 0);
}

#[test]
fn scans_find_the_same_live_and_sealed() {
    let dir = tempfile::tempdir().unwrap();
    let store = self::store(dir.path());
    fill(&store);
    let half = TimeRange { from_unix_ns: NOON_NS + 10 * SECOND_NS, until_unix_ns: NOON_NS + 20 * SECOND_NS };
    let answers = |store: &Store| -> Vec<_> {
        let each = predicates();
        each.iter()
            .flat_map(|predicate| [TimeRange::ALL, half].map(|range| scanned(store, range, predicate)))
            .collect()
    };
    let live = answers(&store);
    assert_eq!(live[0].len(), 400);
    assert!(live.iter().skip(2).all(|found| found.len() < 400 || !found.is_empty()));
    store.seal().unwrap();
    assert_eq!(answers(&store), live);
}

#[test]
fn summaries_are_newest_first_and_paged_wherever_traces_lie() {
    let dir = tempfile::tempdir().unwrap();
    let store = self::store(dir.path());
    // Each trace lies in two segments or in a segment and live.
    for trace in 1..=40 {
        store.append_blocking(batch("front", vec![otlp_span(trace, trace * 100 + 1)])).unwrap();
    }
    store.seal().unwrap();
    for trace in 1..=40 {
        store.append_blocking(batch("back", vec![otlp_span(trace, trace * 100 + 2)])).unwrap();
        if trace == 20 {
            store.seal().unwrap();
        }
    }
    let mut before = None;
    let mut found = Vec::new();
    loop {
        let page = store.summaries(TimeRange::ALL, before, 7).unwrap();
        let Some(last) = page.last() else { break };
        before = Some((last.start_unix_ns, last.trace_id));
        found.extend(page);
    }
    let ids: Vec<TraceId> = found.iter().map(|summary| summary.trace_id).collect();
    assert_eq!(ids, (1..=40).rev().map(trace_id).collect::<Vec<_>>());
    for summary in &found {
        assert_eq!((summary.span_count, summary.services.len(), summary.has_root), (2, 2, true));
        assert_eq!(&*summary.root_service, "front");
    }
    let range = TimeRange { from_unix_ns: NOON_NS + 3 * SECOND_NS, until_unix_ns: NOON_NS + 5 * SECOND_NS };
    let inside: Vec<TraceId> =
        store.summaries(range, None, 100).unwrap().iter().map(|summary| summary.trace_id).collect();
    assert_eq!(inside, [trace_id(4), trace_id(3)]);
}

#[test]
fn spans_sent_twice_are_kept_once() {
    let dir = tempfile::tempdir().unwrap();
    let store = self::store(dir.path());
    fill(&store);
    fill_singly(&store);
    assert_eq!(store.sizes().live_spans, 800);
    assert_eq!(store.trace(trace_id(3)).unwrap(), expected_trace(3));
    store.seal().unwrap();
    assert_eq!(store.sizes().segment_spans, 400);
    drop(store);
    // What was sealed is not remembered over a restart.
    let store = self::store(dir.path());
    fill(&store);
    store.seal().unwrap();
    assert_eq!(store.sizes().segment_spans, 800);
    assert_eq!(store.trace(trace_id(3)).unwrap(), expected_trace(3));
    assert_eq!(store.summaries(TimeRange::ALL, None, 1).unwrap()[0].span_count, 10);
}

#[test]
fn a_repeated_request_counts_once_also_over_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let store = self::store(dir.path());
    let now_ns = unix_now_ns();
    let send = |store: &Store| {
        let mut span = otlp_span(1, 101);
        (span.kind, span.start_time_unix_nano, span.end_time_unix_nano) = (2, now_ns, now_ns + 1000);
        store.append_blocking(batch("front", vec![span])).unwrap();
    };
    let counted = |store: &Store| -> u64 {
        let rollups = store.rollups(TimeRange::ALL).unwrap();
        rollups.operations().map(|operation| operation.red.count()).sum()
    };
    let repeated = |store: &Store| store.counters().repeated_requests.load(Ordering::Relaxed);
    send(&store);
    let live_bytes = store.sizes().live_bytes;
    let wal_bytes = store.sizes().wal_bytes;
    send(&store);
    assert_eq!((counted(&store), repeated(&store), store.sizes().live_spans), (1, 1, 1));
    assert_eq!((store.sizes().live_bytes, store.sizes().wal_bytes), (live_bytes, wal_bytes));
    // A kill before the answer.
    let copy = tempfile::tempdir().unwrap();
    damage::copy(dir.path(), copy.path());
    let reopened = self::store(copy.path());
    send(&reopened);
    assert_eq!((counted(&reopened), repeated(&reopened), reopened.sizes().live_spans), (1, 1, 1));
    // Sealed, it is remembered as well.
    store.seal().unwrap();
    send(&store);
    assert_eq!((counted(&store), repeated(&store), store.sizes().live_spans), (1, 2, 0));
}

#[test]
fn old_segments_go_by_size_and_by_age() {
    let dir = tempfile::tempdir().unwrap();
    let settings = StoreSettings { retention_bytes: 1, ..StoreSettings::at(dir.path()) };
    let store = Store::open(settings, decode).unwrap();
    for trace in 1..=3 {
        store.append_blocking(batch("front", vec![otlp_span(trace, trace * 100 + 1)])).unwrap();
        store.seal().unwrap();
    }
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while store.sizes().segments > 1 {
        assert!(std::time::Instant::now() < deadline, "segments stay: {:?}", store.sizes());
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    assert_eq!(store.trace(trace_id(1)).unwrap(), []);
    assert_eq!(store.trace(trace_id(3)).unwrap().len(), 1);
    drop(store);
    let settings =
        StoreSettings { retention_age: std::time::Duration::ZERO, ..StoreSettings::at(dir.path()) };
    let store = Store::open(settings, decode).unwrap();
    while std::fs::read_dir(dir.path().join("segments")).unwrap().count() > 0 {
        assert!(std::time::Instant::now() < deadline, "segments stay: {:?}", store.sizes());
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    assert_eq!(store.sizes().segments, 0);
}

/// Returns in which minutes, relative to now, the spans of a service are counted.
fn counted_minutes(store: &Store, now_ns: u64, service: &str) -> Vec<i64> {
    const MINUTE_NS: u64 = 60 * SECOND_NS;
    let last_hour =
        TimeRange { from_unix_ns: now_ns - 60 * MINUTE_NS, until_unix_ns: now_ns + 5 * MINUTE_NS };
    let rollups = store.rollups(last_hour).unwrap();
    let operations = rollups.operations().filter(|operation| operation.service == service);
    operations
        .map(|operation| (operation.minute_unix_ns / MINUTE_NS) as i64 - (now_ns / MINUTE_NS) as i64)
        .collect()
}

#[test]
fn spans_far_ahead_of_their_arrival_count_when_they_arrived() {
    let dir = tempfile::tempdir().unwrap();
    let store = self::store(dir.path());
    let now_ns = unix_now_ns();
    let at = |index: u64, start_ns: u64| {
        let mut span = otlp_span(1, index);
        (span.start_time_unix_nano, span.end_time_unix_nano) = (start_ns, start_ns + 1000);
        span
    };
    // A clock a century ahead, one that is ten minutes late, and one that shows nonsense.
    let far_ns = now_ns + 100 * 365 * 86_400 * SECOND_NS;
    store.append_blocking(batch("ahead", vec![at(1, far_ns)])).unwrap();
    store.append_blocking(batch("late", vec![at(2, now_ns - 600 * SECOND_NS)])).unwrap();
    store.append_blocking(batch("nonsense", vec![at(3, u64::MAX - 1000)])).unwrap();
    let check = |store: &Store, stage: &str| {
        for service in ["ahead", "nonsense"] {
            let minutes = counted_minutes(store, now_ns, service);
            assert!(matches!(minutes[..], [0..=2]), "{stage}, {service}: {minutes:?}");
        }
        assert_eq!(counted_minutes(store, now_ns, "late"), [-10], "{stage}");
        // They are kept as they were sent.
        let starts: Vec<u64> =
            store.trace(trace_id(1)).unwrap().iter().map(|span| span.start_unix_ns).collect();
        assert_eq!(starts, [now_ns - 600 * SECOND_NS, far_ns, u64::MAX - 1000], "{stage}");
    };
    check(&store, "live");
    store.seal().unwrap();
    check(&store, "sealed");
    assert_eq!(store.sizes().live_spans, 0);
    drop(store);
    check(&self::store(dir.path()), "reopened");
    let other = tempfile::tempdir().unwrap();
    let store = self::store(other.path());
    store.append_blocking(batch("ahead", vec![at(1, far_ns)])).unwrap();
    store.seal().unwrap();
    assert!(matches!(counted_minutes(&store, now_ns, "ahead")[..], [0..=2]), "alone in its segment");
}

#[test]
fn a_directory_has_one_owner() {
    let dir = tempfile::tempdir().unwrap();
    let store = self::store(dir.path());
    assert!(matches!(Store::open(StoreSettings::at(dir.path()), decode), Err(StoreError::Locked { .. })));
    drop(store);
    self::store(dir.path());
}

#[test]
fn small_segments_are_merged_and_nothing_changes_for_queries() {
    let dir = tempfile::tempdir().unwrap();
    let store = self::store(dir.path());
    let filled = |store: &Store, is_again: bool| {
        for trace in 1..=8 {
            let span = |index: u64| otlp_span(trace, trace * 100 + index);
            store.append_blocking(batch("front", (1..=6).map(span).collect())).unwrap();
            store.append_blocking(batch("back", (7..=10).map(span).collect())).unwrap();
            if is_again {
                // The same spans in a request that is not the same.
                store.append_blocking(batch("front", (1..=5).map(span).collect())).unwrap();
            }
            store.seal().unwrap();
        }
    };
    filled(&store, false);
    filled(&store, true);
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while store.sizes().segments >= 8 {
        assert!(std::time::Instant::now() < deadline, "not merged: {:?}", store.sizes());
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let check = |store: &Store| {
        for trace in 1..=8 {
            assert_eq!(store.trace(trace_id(trace)).unwrap(), expected_trace(trace));
        }
        assert_eq!(scanned(store, TimeRange::ALL, &SpanPredicate::default()).len(), 80);
        assert_eq!(store.summaries(TimeRange::ALL, None, 100).unwrap().len(), 8);
    };
    check(&store);
    drop(store);
    check(&self::store(dir.path()));
}
