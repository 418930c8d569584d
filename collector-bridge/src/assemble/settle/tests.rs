use std::sync::Arc;

use super::*;
use crate::model::{
    KeyValue, PARENT_EVIDENCE, PARENT_EXPECTED, Resource, Scope, SpanId, SpanKind, Status, TraceId, find,
};

/// A span, in the words of the tests below.
struct Made(Span);

const HTTP: (&str, &str) = ("http.request.method", "GET");
const POSTGRESQL: (&str, &str) = ("db.system.name", "postgresql");

fn made(scope: &str, service: &str, id: u8, parent: u8, kind: SpanKind, times: (u64, u64)) -> Made {
    let resource =
        Resource { attributes: vec![KeyValue::new("service.name", service)], ..Resource::default() };
    let ms = |ms: u64| 1_000_000_000_000 + ms * 1_000_000;
    Made(Span {
        trace_id: TraceId([7; 16]),
        span_id: SpanId([id; 8]),
        parent_span_id: (parent > 0).then_some(SpanId([parent; 8])),
        trace_state: String::new(),
        flags: 1,
        name: "op".into(),
        kind,
        start_unix_ns: ms(times.0),
        end_unix_ns: ms(times.1),
        attributes: Vec::new(),
        status: Status::default(),
        events: Vec::new(),
        links: Vec::new(),
        resource: Arc::new(resource),
        scope: Arc::new(Scope { name: scope.to_owned(), ..Scope::default() }),
        dropped_attributes_count: 0,
        dropped_events_count: 0,
        dropped_links_count: 0,
    })
}

fn sdk(service: &str, id: u8, parent: u8, kind: SpanKind, times: (u64, u64)) -> Made {
    made("io.opentelemetry.express", service, id, parent, kind, times)
}

fn agent(service: &str, id: u8, parent: u8, kind: SpanKind, times: (u64, u64)) -> Made {
    made("remora/http1", service, id, parent, kind, times)
}

impl Made {
    fn with(mut self, (key, value): (&str, &str)) -> Self {
        self.0.attributes.push(KeyValue::new(key, value));
        self
    }

    fn by_wire(self) -> Self {
        self.with((PARENT_EVIDENCE, "wire"))
    }

    fn expecting(self, client: u8) -> Self {
        let client = SpanId([client; 8]).to_string();
        self.with((PARENT_EXPECTED, &client))
    }
}

/// Writes what stays as `id<parent`, in the order in which it was given, and checks that the order does not matter.
fn check(spans: Vec<Made>, expected: &str) {
    let spans: Vec<Span> = spans.into_iter().map(|made| made.0).collect();
    for turn in 0..spans.len() {
        let mut turned: Vec<&Span> = spans.iter().collect();
        turned.rotate_left(turn);
        let unsettled = || Settled { spans: turned.iter().map(|span| (*span).clone()).collect(), merged: 0 };
        let settled = settled(&turned).unwrap_or_else(unsettled);
        assert_eq!(settled.merged as usize, spans.len() - settled.spans.len());
        let mut drawn: Vec<String> = settled.spans.iter().map(drawn).collect();
        drawn.sort();
        assert_eq!(drawn.join(" "), expected, "rotated by {turn}");
    }
}

fn drawn(span: &Span) -> String {
    let parent = span.parent_span_id.map_or(0, |parent| parent.0[0]);
    format!("{}<{parent}", span.span_id.0[0])
}

use SpanKind::{Client, Internal, Producer, Server};

#[test]
fn a_server_span_hangs_below_the_client_span_that_it_expects() {
    let spans = [agent("a", 1, 0, Client, (0, 9)).0, agent("b", 2, 0, Server, (5, 6)).expecting(1).0];
    let settled = settled(&spans.iter().collect::<Vec<_>>()).unwrap();
    let server = &settled.spans[1];
    assert_eq!((server.parent_span_id, server.flags), (Some(SpanId([1; 8])), 0x301));
    assert_eq!(find(&server.attributes, PARENT_EXPECTED), None);
    assert_eq!(find(&server.attributes, PARENT_EVIDENCE), Some(&"position".into()));
}

#[test]
fn without_the_client_span_a_server_span_stays_what_it_was() {
    check(vec![agent("b", 2, 0, Server, (5, 6)).expecting(1)], "2<0");
    check(vec![agent("b", 2, 9, Server, (5, 6)).by_wire().expecting(1)], "2<9");
    // What it expects is there, but is no client span.
    check(vec![agent("a", 1, 0, Internal, (0, 9)), agent("b", 2, 0, Server, (5, 6)).expecting(1)], "1<0 2<0");
}

#[test]
fn a_client_span_of_the_same_trace_goes_before_the_parent_by_wire() {
    let spans = vec![
        agent("a", 1, 0, Server, (0, 9)),
        agent("proxy", 2, 1, Client, (1, 8)),
        agent("b", 3, 1, Server, (2, 7)).by_wire().expecting(2),
    ];
    check(spans, "1<0 2<1 3<2");
}

#[test]
fn nothing_becomes_its_own_ancestor() {
    let two = |first, second| {
        vec![
            agent("a", 1, 0, Server, (0, 9)).expecting(first),
            agent("a", 2, 1, Client, (1, 8)),
            agent("b", 3, 0, Server, (2, 7)).expecting(second),
            agent("b", 4, 3, Client, (3, 6)),
        ]
    };
    check(two(4, 2), "1<0 2<1 3<0 4<3");
    check(two(2, 9), "1<0 2<1 3<0 4<3");
    check(two(9, 2), "1<0 2<1 3<2 4<3");
}

#[test]
fn an_agents_client_span_is_the_sdks_whose_context_it_sent() {
    let spans = || {
        vec![
            sdk("a", 1, 0, Client, (0, 9)).with(HTTP),
            agent("a", 2, 1, Client, (1, 12)).with(HTTP).by_wire(),
            agent("b", 3, 1, Server, (2, 7)).with(HTTP).by_wire().expecting(2),
            agent("b", 4, 3, Client, (3, 4)).with(POSTGRESQL),
        ]
    };
    check(spans(), "1<0 3<1 4<3");
    // Another service forwards the context as it is: its own client span is a request of its own.
    let mut proxied = spans();
    proxied[1] = agent("proxy", 2, 1, Client, (1, 8)).with(HTTP).by_wire();
    check(proxied, "1<0 2<1 3<2 4<3");
    // The SDK's span describes something else, or is no request.
    let mut other = spans();
    other[0] = sdk("a", 1, 0, Client, (0, 9)).with(("db.system", "elasticsearch"));
    check(other, "1<0 2<1 3<2 4<3");
    let mut internal = spans();
    internal[0] = sdk("a", 1, 0, Internal, (0, 9));
    check(internal, "1<0 2<1 3<2 4<3");
}

#[test]
fn an_agents_server_span_is_the_sdks_of_the_same_request() {
    let spans = |agents_parent: Made| {
        vec![
            sdk("a", 1, 0, Client, (0, 9)).with(HTTP),
            agent("a", 2, 1, Client, (1, 8)).with(HTTP).by_wire(),
            sdk("b", 3, 1, Server, (3, 6)).with(HTTP),
            agents_parent,
            agent("b", 5, 4, Client, (4, 5)).with(POSTGRESQL),
        ]
    };
    let server = || agent("b", 4, 1, Server, (2, 7)).with(HTTP).by_wire();
    check(spans(server()), "1<0 3<1 5<3");
    check(spans(server().expecting(2)), "1<0 3<1 5<3");
    check(spans(server().expecting(99)), "1<0 3<1 5<3");
    // A retry that the SDK does not tell of, a parent of another request, another service.
    check(spans(agent("b", 4, 1, Server, (20, 27)).with(HTTP).by_wire()), "1<0 3<1 4<1 5<4");
    check(spans(agent("b", 4, 77, Server, (2, 7)).with(HTTP).by_wire()), "1<0 3<1 4<77 5<4");
    check(spans(agent("c", 4, 1, Server, (2, 7)).with(HTTP).by_wire()), "1<0 3<1 4<1 5<4");
}

#[test]
fn each_of_two_attempts_has_its_own_double() {
    let spans = vec![
        sdk("a", 1, 0, Client, (0, 90)).with(HTTP),
        sdk("b", 3, 1, Server, (3, 6)).with(HTTP),
        sdk("b", 5, 1, Server, (33, 36)).with(HTTP),
        agent("b", 4, 1, Server, (2, 7)).with(HTTP).by_wire(),
        agent("b", 6, 1, Server, (32, 37)).with(HTTP).by_wire(),
        agent("b", 7, 6, Client, (34, 35)).with(POSTGRESQL),
    ];
    check(spans, "1<0 3<1 5<1 7<5");
}

#[test]
fn a_query_that_an_sdk_tells_of_is_told_once() {
    let spans = |double: Made| {
        vec![
            sdk("b", 1, 9, Server, (0, 90)).with(HTTP),
            agent("b", 2, 9, Server, (0, 91)).with(HTTP).by_wire(),
            sdk("b", 3, 1, Internal, (5, 80)),
            sdk("b", 4, 3, Client, (10, 20)).with(("db.system", "postgresql")),
            double,
        ]
    };
    let query = |times| agent("b", 5, 2, Client, times).with(POSTGRESQL);
    check(spans(query((11, 19))), "1<9 3<1 4<3");
    check(spans(query((10, 20))), "1<9 3<1 4<3");
    // Outside of it in time; another system, port or service; below something else.
    check(spans(query((11, 25))), "1<9 3<1 4<3 5<1");
    check(spans(agent("b", 5, 2, Client, (11, 19)).with(("db.system.name", "redis"))), "1<9 3<1 4<3 5<1");
    check(spans(agent("c", 5, 2, Client, (11, 19)).with(POSTGRESQL)), "1<9 3<1 4<3 5<1");
    check(spans(agent("b", 5, 77, Client, (11, 19)).with(POSTGRESQL)), "1<9 3<1 4<3 5<77");
}

#[test]
fn what_is_sent_by_redis_is_the_sdks_command() {
    let redis = |made: Made| made.with(("db.system.name", "redis"));
    let spans = |double: Made| {
        vec![sdk("b", 1, 0, Server, (0, 90)).with(HTTP), redis(sdk("b", 4, 1, Client, (10, 20))), double]
    };
    let sent = agent("b", 5, 1, Producer, (11, 19)).with(("messaging.system", "redis"));
    check(spans(redis(sent)), "1<0 4<1");
    let sent = agent("b", 5, 1, Producer, (11, 19)).with(("messaging.system", "kafka"));
    check(spans(sent), "1<0 4<1 5<1");
}

#[test]
fn a_call_that_contradicts_the_sdks_is_another_call() {
    let spans = |method, port| {
        vec![
            sdk("b", 1, 0, Server, (0, 90)).with(HTTP),
            sdk("b", 4, 1, Client, (10, 20)).with(HTTP).with(("server.port", "80")),
            agent("b", 5, 1, Client, (11, 19))
                .with(("http.request.method", method))
                .with(("server.port", port)),
        ]
    };
    check(spans("GET", "80"), "1<0 4<1");
    check(spans("POST", "80"), "1<0 4<1 5<1");
    check(spans("GET", "81"), "1<0 4<1 5<1");
}

#[test]
fn one_source_alone_is_left_as_it_is() {
    check(
        vec![sdk("a", 1, 0, Client, (0, 9)).with(HTTP), sdk("a", 2, 1, Client, (1, 8)).with(HTTP)],
        "1<0 2<1",
    );
    let agents = vec![
        agent("a", 1, 0, Client, (0, 9)).with(HTTP),
        agent("a", 2, 1, Client, (1, 8)).with(HTTP).by_wire(),
    ];
    check(agents, "1<0 2<1");
}

#[test]
fn an_id_of_both_sources_loses_nothing() {
    let spans = vec![
        sdk("a", 1, 0, Client, (0, 9)).with(HTTP),
        sdk("a", 2, 1, Internal, (1, 2)),
        agent("a", 2, 1, Client, (1, 8)).with(HTTP).by_wire(),
    ];
    check(spans, "1<0 2<1 2<1");
}

/// A server span of a request that came over a connection of its own, with its times and the port of who asked.
fn over(made: Made, port: i64) -> Made {
    let mut made = made.with(HTTP).with(("network.peer.address", "10.0.0.7")).with(("url.path", "/items"));
    made = made.with(("network.protocol.version", "1.1"));
    made.0.attributes.push(KeyValue::new("network.peer.port", crate::model::AnyValue::Int(port)));
    made
}

#[test]
fn an_sdk_that_was_told_no_parent_gets_the_agents() {
    check(
        vec![
            agent("web", 1, 0, Client, (0, 90)).with(HTTP),
            over(agent("shop", 2, 1, Server, (10, 80)).with((PARENT_EVIDENCE, "position")), 5000),
            agent("shop", 3, 2, Client, (30, 40)).with(POSTGRESQL),
            agent("shop", 4, 2, Client, (50, 60)).with(("db.system.name", "redis")),
            over(sdk("shop", 5, 0, Server, (12, 79)), 5000),
            sdk("shop", 6, 5, Client, (29, 41)).with(POSTGRESQL),
        ],
        "1<0 4<5 5<1 6<5",
    );
    let spans = [
        agent("web", 1, 0, Client, (0, 90)).with(HTTP).0,
        over(agent("shop", 2, 0, Server, (10, 80)).expecting(1), 5000).0,
        over(sdk("shop", 5, 0, Server, (12, 79)), 5000).0,
    ];
    let settled = settled(&spans.iter().collect::<Vec<_>>()).unwrap();
    let told = &settled.spans[1];
    assert_eq!((told.parent_span_id, told.flags), (Some(SpanId([1; 8])), 0x301));
    assert_eq!(find(&told.attributes, PARENT_EVIDENCE), Some(&"position".into()));
}

#[test]
fn an_sdks_parent_is_never_changed_by_a_connection() {
    check(
        vec![
            over(agent("shop", 2, 1, Server, (10, 80)), 5000),
            over(sdk("shop", 5, 9, Server, (12, 79)), 5000),
        ],
        "2<1 5<9",
    );
}

#[test]
fn where_one_connection_leaves_a_choice_nothing_is_left_out() {
    // Another one's port.
    check(
        vec![
            over(agent("shop", 2, 1, Server, (10, 80)), 5000),
            over(sdk("shop", 5, 0, Server, (12, 79)), 5001),
        ],
        "2<1 5<0",
    );
    // Two of the SDK within one of the agent, and the other way round.
    check(
        vec![
            over(agent("shop", 2, 1, Server, (10, 80)), 5000),
            over(sdk("shop", 5, 0, Server, (12, 30)), 5000),
            over(sdk("shop", 6, 0, Server, (40, 60)), 5000),
        ],
        "2<1 5<0 6<0",
    );
    check(
        vec![
            over(agent("shop", 2, 1, Server, (10, 80)), 5000),
            over(agent("shop", 3, 1, Server, (11, 81)), 5000),
            over(sdk("shop", 5, 0, Server, (12, 79)), 5000),
        ],
        "2<1 3<1 5<0",
    );
}
