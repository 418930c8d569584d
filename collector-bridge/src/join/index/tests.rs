use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::model::{KeyValue, PARENT_EXPECTED, Resource, Scope, Status};

fn span(trace: u8, id: u8, parent: Option<u8>, kind: SpanKind, expected: Option<String>) -> Span {
    Span {
        trace_id: TraceId([trace; 16]),
        span_id: SpanId([id; 8]),
        parent_span_id: parent.map(|parent| SpanId([parent; 8])),
        trace_state: String::new(),
        flags: 0,
        name: "op".into(),
        kind,
        start_unix_ns: 0,
        end_unix_ns: 1,
        attributes: expected.into_iter().map(|id| KeyValue::new(PARENT_EXPECTED, id)).collect(),
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

fn client(trace: u8, id: u8) -> Span {
    span(trace, id, None, SpanKind::Client, None)
}

/// A server span that begins its trace and expects a client span.
fn server(trace: u8, id: u8, expected: u8) -> Span {
    span(trace, id, None, SpanKind::Server, Some(SpanId([expected; 8]).to_string()))
}

struct Joined {
    index: Index,
    counters: JoinCounters,
    now: Instant,
}

impl Joined {
    fn new(max_waiting: usize) -> Self {
        let now = Instant::now();
        let settings = JoinSettings { hold: Duration::from_secs(60), max_waiting };
        Self { index: Index::new(&settings, now), counters: JoinCounters::default(), now }
    }

    fn observe(&mut self, spans: &[Span]) -> Vec<(u8, u8)> {
        let joins = self.index.observe(&Sightings::of(spans, 0), self.now, &self.counters);
        joins.iter().map(|join| (join.server_trace.0[0], join.client_trace.0[0])).collect()
    }
}

#[test]
fn either_side_may_come_first() {
    let mut joined = Joined::new(100);
    assert_eq!(joined.observe(&[client(1, 10)]), []);
    assert_eq!(joined.observe(&[server(2, 20, 10)]), [(2, 1)]);
    assert_eq!(joined.observe(&[server(3, 30, 11)]), []);
    assert_eq!(joined.observe(&[client(1, 11)]), [(3, 1)]);
    assert_eq!(joined.observe(&[server(5, 50, 12), client(4, 12)]), [(5, 4)]);
    assert_eq!(joined.index.waiting(), 0);
}

#[test]
fn what_is_no_expectation_is_not_waited_for() {
    let mut joined = Joined::new(100);
    for expected in ["", "0000000000000000", "0a", "zzzzzzzzzzzzzzzz", "0a0a0a0a0a0a0a0a0a"] {
        joined.observe(&[span(1, 1, None, SpanKind::Server, Some(expected.to_owned()))]);
    }
    // Of itself, and of another kind.
    joined.observe(&[server(1, 7, 7)]);
    joined.observe(&[span(1, 1, None, SpanKind::Internal, Some(SpanId([9; 8]).to_string()))]);
    assert_eq!(joined.index.waiting(), 0);
}

#[test]
fn a_side_that_waited_for_the_hold_is_given_up_and_counted() {
    let mut joined = Joined::new(100);
    joined.observe(&[server(1, 1, 10), client(2, 20)]);
    joined.now += Duration::from_secs(60);
    assert_eq!(joined.observe(&[client(3, 30), server(4, 40, 20)]), [(4, 2)]);
    joined.now += Duration::from_secs(60);
    assert_eq!(joined.observe(&[client(5, 10), server(6, 60, 20)]), []);
    assert_eq!(joined.counters.expired.load(Ordering::Relaxed), 1);
}

#[test]
fn a_client_span_of_two_traces_is_nobodys_parent() {
    let mut joined = Joined::new(100);
    joined.observe(&[client(1, 10), client(1, 10)]);
    assert_eq!(joined.observe(&[server(2, 20, 10)]), [(2, 1)]);
    joined.observe(&[client(3, 10), client(1, 10)]);
    assert_eq!(joined.observe(&[server(4, 40, 10)]), []);
    assert_eq!(joined.counters.ambiguous.load(Ordering::Relaxed), 1);
}

#[test]
fn what_ended_before_the_hold_is_looked_for_unless_its_other_side_is_known() {
    let mut joined = Joined::new(100);
    let late = |spans: &[Span]| Sightings::of(spans, 2);
    joined.observe(&[client(1, 10)]);
    let sightings = late(&[server(2, 20, 10), server(3, 30, 11), client(4, 12)]);
    assert_eq!(joined.index.observe(&sightings, joined.now, &joined.counters).len(), 1);
    let found = joined.index.take_late().unwrap();
    assert_eq!(found.clients, [SpanId([11; 8])].into());
    assert_eq!(found.expected, [SpanId([12; 8])].into());
    assert_eq!(joined.index.take_late(), None);
}

#[test]
fn hostile_senders_fill_no_more_than_the_limit() {
    let mut joined = Joined::new(1000);
    for number in 0..100_000_u64 {
        let mut spans = [client(1, 1), server(2, 2, 3)];
        spans[0].span_id = SpanId((1 << 40 | number).to_be_bytes());
        let expected = SpanId((1 << 41 | number).to_be_bytes());
        spans[1].attributes = vec![KeyValue::new(PARENT_EXPECTED, expected.to_string())];
        joined.observe(&spans);
    }
    assert!(joined.index.waiting() <= 1000 && joined.index.clients.len() <= 1000);
    let evicted = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
    assert!(evicted(&joined.counters.evicted_servers) >= 99_000);
    assert!(evicted(&joined.counters.evicted_clients) >= 99_000);
    for number in 0..100_u8 {
        joined.observe(&[server(number + 1, number + 1, 255)]);
    }
    assert!(joined.observe(&[client(200, 255)]).len() <= MAX_SERVERS);
}

proptest! {
    #[test]
    fn the_order_of_arrival_does_not_matter(
        calls in prop::collection::vec((1_u8..20, 1_u8..20), 1..40),
        order in any::<prop::sample::Index>(),
        seed in any::<u64>(),
    ) {
        // Call n has the client span n, of its caller's trace.
        let calls: Vec<(u8, u8)> = calls.into_iter().filter(|(caller, callee)| caller != callee).collect();
        let mut spans: Vec<Span> = Vec::new();
        for (number, (caller, callee)) in (1_u8..).zip(&calls) {
            spans.push(client(*caller, number));
            spans.push(server(*callee, number + 100, number));
        }
        let straight: BTreeSet<_> = Joined::new(1000).observe(&spans).into_iter().collect();
        let mut shuffled: Vec<(u64, Span)> = spans
            .into_iter()
            .enumerate()
            .map(|(at, span)| ((at as u64 + 1).wrapping_mul(seed | 1).rotate_left(17), span))
            .collect();
        shuffled.sort_by_key(|(key, _)| *key);
        let mut joined = Joined::new(1000);
        let mut found = BTreeSet::new();
        let middle = if shuffled.is_empty() { 0 } else { order.index(shuffled.len()) };
        for part in [&shuffled[..middle], &shuffled[middle..]] {
            let spans: Vec<Span> = part.iter().map(|(_, span)| span.clone()).collect();
            found.extend(joined.observe(&spans));
        }
        prop_assert_eq!(found, straight);
    }
}
