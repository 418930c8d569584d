//! Traces with more than one id, in segments.

use super::*;
use crate::model::Join;

fn id(trace: u64) -> TraceId {
    TraceId(u128::from(trace).to_be_bytes())
}

fn join(store: &Store, server: u64, client: u64) {
    let join = Join { server_trace: id(server), client_trace: id(client), begins_trace: true };
    assert_eq!(store.join(&[join]).joined, 1);
}

fn append(store: &Store, trace: u64, span: u64) {
    store.append_blocking(batch("shop", vec![otlp_span(trace, span)])).unwrap();
}

fn span_ids(store: &Store, trace: u64) -> Vec<u64> {
    let spans = store.trace(id(trace)).unwrap();
    spans.iter().map(|span| u64::from_be_bytes(span.span_id.0)).collect()
}

/// Returns id and number of spans of all traces, newest first.
fn listed(store: &Store) -> Vec<(TraceId, u32)> {
    let summaries = store.summaries(TimeRange::ALL, None, 100).unwrap();
    summaries.iter().map(|summary| (summary.trace_id, summary.span_count)).collect()
}

#[test]
fn an_alias_that_was_sealed_with_its_trace_may_be_forgotten() {
    let dir = tempfile::tempdir().unwrap();
    let settings = StoreSettings { max_aliases: 1, ..StoreSettings::at(dir.path()) };
    let store = Store::open(settings.clone(), decode).unwrap();
    append(&store, 1, 11);
    append(&store, 2, 21);
    join(&store, 2, 1);
    assert_eq!((span_ids(&store, 2), listed(&store)), (vec![11, 21], vec![(id(1), 2)]));
    store.seal().unwrap();
    assert_eq!((span_ids(&store, 2), listed(&store)), (vec![11, 21], vec![(id(1), 2)]));
    join(&store, 4, 3);
    assert_eq!((store.sizes().aliases, store.sizes().aliases_evicted), (1, 1));
    assert_eq!((span_ids(&store, 1), span_ids(&store, 2)), (vec![11, 21], vec![]));
    assert_eq!(listed(&store), [(id(1), 2)]);
    drop(store);
    let store = Store::open(settings, decode).unwrap();
    assert_eq!((span_ids(&store, 1), store.trace_ids(id(4))), (vec![11, 21], vec![id(3), id(4)]));
}

#[test]
fn parts_in_many_segments_are_one_trace_before_and_after_they_are_merged() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    for trace in 1..=8 {
        append(&store, trace, trace * 10 + 1);
        store.seal().unwrap();
    }
    for trace in (2..=8).rev() {
        join(&store, trace, trace - 1);
    }
    let all: Vec<u64> = (1..=8).map(|trace| trace * 10 + 1).collect();
    for trace in 1..=8 {
        assert_eq!(span_ids(&store, trace), all);
    }
    assert_eq!(listed(&store), [(id(1), 8)]);
    let mut seen = Vec::new();
    let mut visit = |span: &Span| {
        seen.push(span.trace_id);
        ControlFlow::Continue(())
    };
    store.scan(TimeRange::ALL, &SpanPredicate::default(), &mut visit).unwrap();
    assert_eq!(seen, [id(1); 8]);
    let deadline = Instant::now() + std::time::Duration::from_secs(60);
    while store.counters().compacted_segments.load(Ordering::Relaxed) < 8 {
        assert!(Instant::now() < deadline, "segments were not merged");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    assert_eq!((span_ids(&store, 5), listed(&store)), (all, vec![(id(1), 8)]));
    let found = store.rollups(TimeRange::ALL).unwrap();
    let examples: Vec<TraceId> =
        found.failures().flat_map(|failure| failure.stats.examples.iter().map(|example| example.1)).collect();
    assert!(!examples.is_empty() && examples.iter().all(|example| *example == id(1)));
}

#[test]
fn a_page_begins_where_a_joined_trace_was() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    for trace in 1..=5 {
        append(&store, trace, trace * 10 + 1);
        append(&store, trace, trace * 10 + 2);
    }
    store.seal().unwrap();
    // The trace that begins last becomes part of the second.
    join(&store, 5, 2);
    let page = |before| store.summaries(TimeRange::ALL, before, 2).unwrap();
    let keys = |page: &[TraceSummary]| page.iter().map(|summary| summary.trace_id).collect::<Vec<_>>();
    let first = page(None);
    assert_eq!(keys(&first), [id(4), id(3)]);
    let second = page(first.last().map(|summary| (summary.start_unix_ns, summary.trace_id)));
    assert_eq!((keys(&second), second[0].span_count), (vec![id(2), id(1)], 4));
}
