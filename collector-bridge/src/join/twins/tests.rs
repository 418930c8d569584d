use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::*;
use crate::model::{
    AnyValue, EVIDENCE_WIRE, KeyValue, Link, PARENT_EVIDENCE, Resource, Scope, SpanId, SpanKind, Status,
    TraceId,
};

const BEGAN_NS: u64 = 1_800_000_000_000_000_000;

/// A server span that lasts from so many microseconds to so many.
fn span(scope: &str, trace: u8, id: u8, (from, until): (u64, u64), attributes: &[(&str, &str)]) -> Span {
    let attributes = attributes.iter().map(|(key, value)| {
        let number = value.parse().map(AnyValue::Int);
        KeyValue::new(*key, number.unwrap_or_else(|_| AnyValue::String((*value).to_owned())))
    });
    Span {
        trace_id: TraceId([trace; 16]),
        span_id: SpanId([id; 8]),
        parent_span_id: None,
        trace_state: String::new(),
        flags: 1,
        name: "op".into(),
        kind: SpanKind::Server,
        start_unix_ns: BEGAN_NS + from * 1000,
        end_unix_ns: BEGAN_NS + until * 1000,
        attributes: attributes.collect(),
        status: Status::default(),
        events: Vec::new(),
        links: Vec::new(),
        resource: Arc::new(Resource {
            attributes: vec![KeyValue::new("service.name", "stock")],
            ..Resource::default()
        }),
        scope: Arc::new(Scope { name: scope.to_owned(), ..Scope::default() }),
        dropped_attributes_count: 0,
        dropped_events_count: 0,
        dropped_links_count: 0,
    }
}

fn agent(trace: u8, times: (u64, u64)) -> Span {
    let mut made = span(
        "remora/http1",
        trace,
        100 + trace,
        times,
        &[
            ("network.peer.address", "127.0.0.1"),
            ("network.peer.port", "50000"),
            ("http.request.method", "GET"),
            ("url.path", "/items"),
            ("http.response.status_code", "200"),
        ],
    );
    made.attributes.push(KeyValue::new("network.protocol.version", "1.1"));
    made
}

/// As the instrumentation of WSGI tells it by the former conventions.
fn sdk(trace: u8, times: (u64, u64)) -> Span {
    span(
        "opentelemetry.instrumentation.flask",
        trace,
        100 + trace,
        times,
        &[
            ("net.peer.ip", "::ffff:127.0.0.1"),
            ("net.peer.port", "50000"),
            ("http.method", "GET"),
            ("http.target", "/items?page=2"),
            ("http.status_code", "200"),
        ],
    )
}

fn set(mut span: Span, key: &str, value: impl Into<AnyValue>) -> Span {
    span.attributes.retain(|attribute| &*attribute.key != key);
    span.attributes.push(KeyValue::new(key, value));
    span
}

fn at_origin(mut span: Span, key: &str, value: &str) -> Span {
    Arc::make_mut(&mut span.resource).attributes.push(KeyValue::new(key, value));
    span
}

struct Joined {
    twins: Twins,
    counters: JoinCounters,
    now: Instant,
}

impl Joined {
    fn new(limit: usize) -> Self {
        let now = Instant::now();
        let twins = Twins::new(limit, Duration::from_secs(60), now);
        Self { twins, counters: JoinCounters::default(), now }
    }

    fn observe(&mut self, spans: &[Span]) -> Vec<(u8, u8)> {
        let seen: Vec<Sighted> = spans.iter().filter_map(Sighted::of).collect();
        let joins = self.twins.observe(&seen, self.now, &self.counters);
        joins.iter().map(|join| (join.server_trace.0[0], join.client_trace.0[0])).collect()
    }

    fn ambiguous(&self) -> u64 {
        self.counters.ambiguous_requests.load(Ordering::Relaxed)
    }
}

/// Returns whether the two are joined, in either order, and checks that nothing was ambiguous.
fn is_joined(agent: &Span, sdk: &Span) -> bool {
    let [one, other] = [[agent, sdk], [sdk, agent]].map(|order| {
        let mut joined = Joined::new(100);
        assert_eq!(joined.observe(std::slice::from_ref(order[0])), []);
        let found = joined.observe(std::slice::from_ref(order[1]));
        assert_eq!(joined.ambiguous(), 0);
        !found.is_empty()
    });
    assert_eq!(one, other, "the order of arrival does not matter");
    one
}

#[test]
fn an_sdks_trace_is_part_of_the_agents_whichever_comes_first() {
    assert!(is_joined(&agent(1, (0, 9_000)), &sdk(2, (800, 8_000))));
    // The thread says late that it is done, and clocks differ a little.
    assert!(is_joined(&agent(1, (0, 9_000)), &sdk(2, (800, 30_000))));
    assert!(is_joined(&agent(1, (900, 9_000)), &sdk(2, (0, 8_000))));
    // The body came slowly, over several steps.
    assert!(is_joined(&agent(1, (0, 900_000)), &sdk(2, (700_000, 890_000))));
}

#[test]
fn what_tells_of_another_request_is_not_joined() {
    let (agent, sdk) = (agent(1, (0, 9_000)), sdk(2, (800, 8_000)));
    for (key, value) in [("http.target", "/carts"), ("http.method", "PUT"), ("net.peer.ip", "127.0.0.2")] {
        assert!(!is_joined(&agent, &set(sdk.clone(), key, value)), "{key}");
    }
    for (key, value) in [("net.peer.port", 50001), ("http.status_code", 404)] {
        assert!(!is_joined(&agent, &set(sdk.clone(), key, AnyValue::Int(value))), "{key}");
    }
    let of_another = at_origin(sdk.clone(), "service.name", "other");
    assert!(is_joined(&agent, &of_another), "the first name counts");
    let mut of_another = sdk.clone();
    Arc::make_mut(&mut of_another.resource).attributes[0] = KeyValue::new("service.name", "shop");
    assert!(!is_joined(&agent, &of_another));
    let here = at_origin(agent.clone(), "k8s.pod.uid", "a");
    assert!(is_joined(&here, &at_origin(sdk.clone(), "k8s.pod.uid", "a")));
    assert!(!is_joined(&here, &at_origin(sdk, "k8s.pod.uid", "b")));
}

#[test]
fn what_ran_at_another_time_is_not_joined() {
    let agent = agent(1, (10_000, 20_000));
    assert!(!is_joined(&agent, &sdk(2, (8_000, 18_000))), "began before");
    assert!(!is_joined(&agent, &sdk(2, (21_000, 22_000))), "began after");
    // The next request, by a clock that is a little behind.
    assert!(!is_joined(&agent, &sdk(2, (19_900, 22_000))));
    // A short one at the end.
    assert!(is_joined(&agent, &sdk(2, (19_500, 19_900))));
}

#[test]
fn a_request_that_shares_its_connection_or_names_a_trace_is_left_alone() {
    let (agent, sdk) = (agent(1, (0, 9_000)), sdk(2, (800, 8_000)));
    assert!(!is_joined(&set(agent.clone(), "network.protocol.version", "2"), &sdk));
    assert!(!is_joined(&set(agent.clone(), PARENT_EVIDENCE, EVIDENCE_WIRE), &sdk));
    let mut child = sdk.clone();
    child.parent_span_id = Some(SpanId([9; 8]));
    assert!(!is_joined(&agent, &child));
    // An SDK that was told not to trust its callers links to them.
    let mut linked = sdk;
    linked.links.push(Link {
        trace_id: vec![9; 16],
        span_id: vec![9; 8],
        trace_state: String::new(),
        attributes: Vec::new(),
        dropped_attributes_count: 0,
        flags: 0,
    });
    assert!(!is_joined(&agent, &linked));
}

#[test]
fn requests_of_one_connection_are_told_apart_by_time() {
    let mut joined = Joined::new(1000);
    let times = |number: u64| (number * 2_000, number * 2_000 + 1_500);
    let agents: Vec<Span> = (0..20).map(|number| agent(number, times(u64::from(number)))).collect();
    let sdks: Vec<Span> = (0..20)
        .map(|number| {
            let (from, until) = times(u64::from(number));
            sdk(100 + number, (from + 300, until + 400))
        })
        .collect();
    joined.observe(&agents);
    let expected: Vec<(u8, u8)> = (0..20).map(|number| (100 + number, number)).collect();
    assert_eq!(joined.observe(&sdks), expected);
    // Sent again, nothing changes.
    joined.observe(&agents);
    assert_eq!(joined.observe(&sdks), expected);
    assert_eq!(joined.ambiguous(), 0);
}

#[test]
fn where_two_of_the_agents_could_be_meant_none_is() {
    let mut joined = Joined::new(100);
    joined.observe(&[agent(1, (0, 9_000)), agent(2, (500, 9_500))]);
    assert_eq!(joined.observe(&[sdk(3, (1_000, 8_000))]), []);
    assert_eq!(joined.ambiguous(), 1);
}

#[test]
fn where_two_of_sdks_could_be_meant_none_is() {
    let mut joined = Joined::new(100);
    joined.observe(&[sdk(2, (1_000, 4_000)), sdk(3, (5_000, 8_000))]);
    assert_eq!(joined.observe(&[agent(1, (0, 9_000))]), []);
    assert_eq!(joined.ambiguous(), 2);
}

#[test]
fn what_is_known_too_long_is_forgotten_and_what_has_no_room_is_counted() {
    let mut joined = Joined::new(8);
    joined.observe(&[agent(1, (0, 9_000))]);
    joined.now += Duration::from_secs(180);
    assert_eq!(joined.observe(&[sdk(2, (800, 8_000))]), []);
    for port in 0..40 {
        joined.observe(&[set(agent(1, (0, 9_000)), "network.peer.port", AnyValue::Int(port))]);
    }
    assert!(joined.counters.evicted_requests.load(Ordering::Relaxed) > 0);
    assert!(joined.twins.agents.len() <= 8);
}
