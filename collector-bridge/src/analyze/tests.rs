use proptest::prelude::*;

use super::*;
use crate::model::{KeyValue, Resource, SpanId, Status, StatusCode, TraceId};

/// A Tuesday.
const START: u64 = 1_700_000_040_000_000_000;
const MS: u64 = 1_000_000;

fn id(number: u64) -> SpanId {
    SpanId(number.to_be_bytes())
}

fn span(trace: u8, span_id: u64, parent: Option<u64>, service: &str, kind: SpanKind, name: &str) -> Span {
    let resource =
        Resource { attributes: vec![KeyValue::new("service.name", service)], ..Resource::default() };
    Span {
        trace_id: TraceId([trace; 16]),
        span_id: id(span_id),
        parent_span_id: parent.map(id),
        trace_state: String::new(),
        flags: 0,
        name: name.into(),
        kind,
        start_unix_ns: START,
        end_unix_ns: START + 10 * MS,
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

fn with(mut span: Span, attributes: &[(&str, AnyValue)]) -> Span {
    span.attributes.extend(attributes.iter().map(|(key, value)| KeyValue::new(*key, value.clone())));
    span
}

fn failed(mut span: Span, message: &str) -> Span {
    span.status = Status { code: StatusCode::Error, message: message.to_owned() };
    span
}

fn rollups_of<'a>(spans: impl IntoIterator<Item = &'a Span>) -> Rollups {
    let mut rollups = Rollups::default();
    spans.into_iter().for_each(|span| rollups.record_span(span));
    rollups
}

fn merged<'a>(parts: impl IntoIterator<Item = &'a Rollups>) -> Rollups {
    let mut sum = Rollups::default();
    parts.into_iter().for_each(|part| sum.merge(part));
    sum
}

/// Edges as `caller -connection-> type:callee calls/errors client/server`.
fn edges(rollups: &Rollups) -> Vec<String> {
    let node = |node: &Node| match node.node_type {
        NodeType::Service => node.name.to_string(),
        other => format!("{}:{}", other.label(), node.name),
    };
    let line = |(edge, stats): (&Edge, &CallStats)| {
        let (from, to, connection) = (node(&edge.caller), node(&edge.callee), edge.connection.label());
        let (client, server) = (stats.client.count(), stats.server.count());
        format!("{from} -{connection}-> {to} {}/{} {client}/{server}", stats.calls, stats.errors)
    };
    rollups.service_map().edges.iter().map(line).collect()
}

fn nodes(rollups: &Rollups) -> Vec<String> {
    let map = rollups.service_map();
    map.nodes.keys().map(|node| format!("{}:{}", node.node_type.label(), node.name)).collect()
}

fn text(text: &str) -> AnyValue {
    text.into()
}

/// A client span to PostgreSQL on this host, as Remora sends it.
fn database_client(trace: u8, span_id: u64, service: &str) -> Span {
    let client = span(trace, span_id, None, service, SpanKind::Client, "SELECT orders");
    with(
        client,
        &[
            ("db.system.name", text("postgresql")),
            ("db.namespace", text("shop")),
            ("server.address", text("127.0.0.1")),
            ("server.port", 5432_i64.into()),
        ],
    )
}

/// The same exchange, seen in the PostgreSQL process.
fn database_server(trace: u8, span_id: u64, parent: u64) -> Span {
    let server = span(trace, span_id, Some(parent), "postgres", SpanKind::Server, "SELECT orders");
    with(server, &[("db.system.name", text("postgresql")), ("db.namespace", text("shop"))])
}

#[test]
fn operations_are_summed_by_minute_name_and_kind() {
    let mut later = failed(span(2, 3, None, "shop", SpanKind::Server, "GET /"), "");
    later.start_unix_ns += MINUTE_NS;
    later.end_unix_ns += MINUTE_NS + 5 * MS;
    let spans = [
        span(1, 1, None, "shop", SpanKind::Server, "GET /"),
        failed(span(1, 2, None, "shop", SpanKind::Server, "GET /"), "boom"),
        span(1, 4, None, "shop", SpanKind::Internal, "GET /"),
        later,
    ];
    let rollups = rollups_of(&spans);
    let found: Vec<_> = rollups
        .operations()
        .map(|sum| (sum.minute_unix_ns, sum.service, sum.name, sum.kind, sum.red.count(), sum.red.errors))
        .collect();
    let first = START / MINUTE_NS * MINUTE_NS;
    assert_eq!(
        found,
        [
            (first, "shop", "GET /", SpanKind::Internal, 1, 0),
            (first, "shop", "GET /", SpanKind::Server, 2, 1),
            (first + MINUTE_NS, "shop", "GET /", SpanKind::Server, 1, 1),
        ]
    );
    let last = rollups.operations().last().unwrap();
    assert_eq!(last.red.latency.quantile_ns(0.99), Some(15 * MS));
}

#[test]
fn a_span_that_ends_before_it_starts_has_no_duration() {
    let mut backwards = span(1, 1, None, "shop", SpanKind::Server, "GET /");
    backwards.end_unix_ns = START - 1;
    let rollups = rollups_of(&[backwards]);
    assert_eq!(rollups.operations().next().unwrap().red.latency.max_ns(), Some(0));
}

#[test]
fn both_sides_make_one_edge_in_either_order() {
    let client = span(1, 1, None, "web", SpanKind::Client, "GET");
    let server = failed(span(1, 2, Some(1), "shop", SpanKind::Server, "GET /"), "");
    let expected = ["web -service-> shop 1/1 1/1"];
    assert_eq!(edges(&rollups_of([&client, &server])), expected);
    assert_eq!(edges(&rollups_of([&server, &client])), expected);
    assert_eq!(edges(&merged(&[rollups_of([&server]), rollups_of([&client])])), expected);
}

#[test]
fn sides_of_different_traces_are_no_call() {
    let client = span(1, 1, None, "web", SpanKind::Client, "GET");
    let server = span(2, 2, Some(1), "shop", SpanKind::Server, "GET /");
    assert_eq!(edges(&rollups_of([&client, &server])), ["web -service-> uninstrumented:unknown 1/0 1/0"]);
}

fn expecting(trace: u8, span_id: u64, client: u64, service: &str) -> Span {
    let server = span(trace, span_id, None, service, SpanKind::Server, "GET /");
    with(server, &[(crate::model::PARENT_EXPECTED, text(&id(client).to_string()))])
}

#[test]
fn a_server_that_expects_its_client_finds_it_in_any_trace_order_and_part() {
    let spans = [
        span(1, 1, None, "shop", SpanKind::Client, "GET /"),
        span(2, 2, None, "shop", SpanKind::Client, "GET /"),
        expecting(3, 30, 1, "stock"),
        expecting(4, 40, 2, "stock"),
        // Of another trace with a client span of the same id, which names it.
        span(5, 50, Some(1), "stray", SpanKind::Server, "GET /"),
    ];
    let expected = ["shop -service-> stock 2/0 2/2"];
    for turn in 0..spans.len() {
        let mut turned = spans.to_vec();
        turned.rotate_left(turn);
        assert_eq!(edges(&rollups_of(&turned)), expected, "rotated by {turn}");
        let parts: Vec<Rollups> = turned.iter().map(|span| rollups_of([span])).collect();
        let sealed: Vec<Rollups> =
            parts.iter().map(|part| Rollups::decode(&part.encode()).unwrap()).collect();
        assert_eq!(edges(&merged(&sealed)), expected, "in parts, rotated by {turn}");
    }
}

#[test]
fn sides_under_two_ids_of_one_trace_are_a_call() {
    let client = rollups_of(&[span(1, 1, None, "shop", SpanKind::Client, "GET /")]);
    let server = rollups_of(&[span(2, 2, Some(1), "stock", SpanKind::Server, "GET /")]);
    let mut sum = Rollups::default();
    for part in [&client, &server] {
        sum.merge_known_as(part, &|trace_id| if trace_id.0[0] == 1 { TraceId([2; 16]) } else { trace_id });
    }
    assert_eq!(edges(&sum), ["shop -service-> stock 1/0 1/1"]);
}

#[test]
fn examples_of_errors_are_named_as_their_traces_are_known() {
    let spans =
        [1, 2, 3].map(|trace| failed(span(trace, 1, None, "shop", SpanKind::Server, "GET /"), "boom"));
    let mut rollups = rollups_of(&spans);
    rollups.rename_traces(&|trace_id| if trace_id.0[0] == 1 { TraceId([3; 16]) } else { trace_id });
    let examples: Vec<u8> = rollups
        .failures()
        .flat_map(|failure| failure.stats.examples.iter().map(|(_, trace_id)| trace_id.0[0]))
        .collect();
    assert_eq!(examples, [3, 2]);
}

#[test]
fn a_parent_in_the_same_service_is_no_call() {
    let inner = span(1, 1, None, "web", SpanKind::Internal, "render");
    let server = span(1, 2, Some(1), "shop", SpanKind::Server, "GET /");
    let rollups = rollups_of([&inner, &server]);
    assert_eq!(edges(&rollups), [""; 0]);
    assert_eq!(nodes(&rollups), ["service:shop", "service:web"]);
}

#[test]
fn a_lone_service_is_a_node() {
    assert_eq!(nodes(&rollups_of(&[span(1, 1, None, "cron", SpanKind::Internal, "tick")])), ["service:cron"]);
}

#[test]
fn a_database_that_sends_no_spans_is_a_node_of_its_own() {
    let rollups = rollups_of(&[database_client(1, 1, "shop")]);
    assert_eq!(edges(&rollups), ["shop -database-> database:postgresql/shop@127.0.0.1:5432 1/0 1/0"]);
}

#[test]
fn a_traced_database_is_one_edge_to_its_process() {
    let rollups = rollups_of(&[database_client(1, 1, "shop"), database_server(1, 2, 1)]);
    assert_eq!(edges(&rollups), ["shop -database-> postgres 1/0 1/1"]);
    assert_eq!(nodes(&rollups), ["service:postgres", "service:shop"]);
}

#[test]
fn a_call_whose_server_side_was_lost_belongs_to_the_service_that_answers_the_others() {
    let paired = [database_client(1, 1, "shop"), database_server(1, 2, 1)];
    let lone = [database_client(2, 1, "shop"), database_client(3, 1, "other")];
    let rollups = merged(&[rollups_of(&paired), rollups_of(&lone)]);
    assert_eq!(
        edges(&rollups),
        [
            "other -database-> database:postgresql/shop@127.0.0.1:5432 1/0 1/0",
            "shop -database-> postgres 2/0 2/1",
        ]
    );
}

#[test]
fn a_lone_call_stays_apart_where_several_services_answer_to_the_name() {
    let via = |client: Span| with(client, &[("server.address", text("balancer"))]);
    let spans = [
        via(span(1, 1, None, "web", SpanKind::Client, "GET")),
        span(1, 2, Some(1), "a", SpanKind::Server, "GET /"),
        via(span(2, 1, None, "web", SpanKind::Client, "GET")),
        span(2, 2, Some(1), "b", SpanKind::Server, "GET /"),
        via(span(3, 1, None, "web", SpanKind::Client, "GET")),
    ];
    assert_eq!(
        edges(&rollups_of(&spans)),
        [
            "web -service-> a 1/0 1/1",
            "web -service-> b 1/0 1/1",
            "web -service-> uninstrumented:balancer 1/0 1/0",
        ]
    );
}

#[test]
fn caches_and_older_names_are_known() {
    let client = span(1, 1, None, "shop", SpanKind::Client, "GET");
    let redis = with(
        client,
        &[("db.system", text("redis")), ("net.peer.name", text("cache")), ("net.peer.port", 6379_i64.into())],
    );
    assert_eq!(edges(&rollups_of(&[redis])), ["shop -cache-> cache:redis@cache:6379 1/0 1/0"]);
}

#[test]
fn peers_are_named_by_the_best_that_is_known() {
    let check = |attributes: &[(&str, AnyValue)], expected: &str| {
        let client = with(span(1, 1, None, "shop", SpanKind::Client, "GET"), attributes);
        assert_eq!(&*peer_of(&client).name, expected, "{attributes:?}");
    };
    check(&[("peer.service", text("pay")), ("server.address", text("x"))], "pay");
    check(&[("service.peer.name", text("pay")), ("server.address", text("10.96.0.7"))], "pay");
    check(&[("server.address", text("::1")), ("server.port", 80_i64.into())], "[::1]:80");
    check(
        &[("network.peer.address", text("10.0.0.7")), ("network.peer.port", 8080_i64.into())],
        "10.0.0.7:8080",
    );
    check(&[("url.full", text("https://user@api.example.com:8443/x?y"))], "api.example.com:8443");
    check(&[("server.address", text(&"ä".repeat(200)))], &"ä".repeat(100));
    check(&[], "unknown");
}

#[test]
fn messages_go_through_the_broker_unless_the_sender_is_known() {
    let message = [("messaging.system", text("kafka")), ("messaging.destination.name", text("orders"))];
    let sent = with(span(1, 1, None, "shop", SpanKind::Producer, "send orders"), &message);
    let unrelated = with(span(2, 2, None, "mail", SpanKind::Consumer, "process orders"), &message);
    let related = with(span(1, 3, Some(1), "stock", SpanKind::Consumer, "process orders"), &message);
    assert_eq!(
        edges(&rollups_of([&sent, &unrelated])),
        [
            "shop -messaging-> messaging:kafka/orders 1/0 1/0",
            "messaging:kafka/orders -messaging-> mail 1/0 0/1",
        ]
    );
    assert_eq!(edges(&rollups_of([&sent, &related])), ["shop -messaging-> stock 1/0 1/1"]);
}

#[test]
fn sides_that_wait_survive_sealing_and_late_ones_are_settled() {
    let client = span(1, 1, None, "web", SpanKind::Client, "GET");
    let mut last = span(9, 1, None, "web", SpanKind::Client, "GET");
    last.end_unix_ns += HALF_WAIT_NS + MS;
    let server = rollups_of(&[span(1, 2, Some(1), "shop", SpanKind::Server, "GET /")]);
    let waiting = Rollups::decode(&rollups_of([&client]).encode()).unwrap();
    assert_eq!(edges(&merged([&waiting, &server])), ["web -service-> shop 1/0 1/1"]);
    let settled = Rollups::decode(&rollups_of([&client, &last]).encode()).unwrap();
    assert_eq!(edges(&merged([&settled, &server])), ["web -service-> uninstrumented:unknown 2/0 2/0"]);
}

#[test]
fn a_full_table_gives_up_the_older_half_and_counts_it() {
    let mut rollups = Rollups::default();
    let mut client = database_client(1, 1, "shop");
    let limit = MAX_PENDING_CALLS as u64;
    for number in 1..=limit + 1 {
        client.span_id = id(number);
        client.end_unix_ns = START + number;
        rollups.record_span(&client);
    }
    assert_eq!(rollups.counters().pending_shed, limit / 2 + 1);
    assert_eq!(
        edges(&rollups),
        [format!("shop -database-> database:postgresql/shop@127.0.0.1:5432 {0}/0 {0}/0", limit + 1)]
    );
}

#[test]
fn names_beyond_the_limit_are_summed_apart() {
    let names: Vec<Span> = (0..MAX_OPERATIONS + 500)
        .map(|number| span(1, 1, None, "shop", SpanKind::Server, &format!("GET /{number}")))
        .collect();
    let rollups = rollups_of(&names);
    let found: Vec<(&str, u64)> = rollups.operations().map(|sum| (sum.name, sum.red.count())).collect();
    assert_eq!(found.len(), MAX_OPERATIONS + 1);
    assert_eq!(found.last(), Some(&(OVERFLOW_NAME, 500)));
    assert_eq!(rollups_of(names.iter().rev()), rollups);
}

#[test]
fn the_oldest_minutes_go_first() {
    let mut spans: Vec<Span> = Vec::new();
    for minute in 0..MAX_MINUTES as u64 + 2 {
        let mut one = span(1, 1, None, "shop", SpanKind::Server, "GET /");
        one.start_unix_ns = minute * MINUTE_NS;
        spans.push(one);
    }
    let rollups = rollups_of(spans.iter().rev());
    assert_eq!(rollups.counters().minutes_dropped, 2);
    assert_eq!(rollups.operations().next().unwrap().minute_unix_ns, 2 * MINUTE_NS);
}

#[test]
fn errors_are_grouped_by_type_and_message() {
    let typed = |trace: u8, at: u64| {
        let mut one = failed(span(trace, 1, None, "shop", SpanKind::Server, "GET /"), "no stock");
        one.start_unix_ns = START + at;
        with(one, &[("error.type", text("OutOfStock"))])
    };
    let mut thrown = failed(span(8, 1, None, "shop", SpanKind::Server, "GET /"), "");
    thrown.events.push(Event {
        time_unix_ns: START,
        name: "exception".to_owned(),
        attributes: vec![
            KeyValue::new("exception.type", "KeyError"),
            KeyValue::new("exception.message", "'id'"),
        ],
        dropped_attributes_count: 0,
    });
    let status = with(
        failed(span(9, 1, None, "shop", SpanKind::Server, "GET /"), ""),
        &[("http.response.status_code", 503_i64.into())],
    );
    let spans = [typed(1, 1), typed(2, 2), typed(3, 3), typed(4, 4), typed(4, 5), thrown, status];
    let rollups = rollups_of(&spans);
    let found: Vec<_> = rollups
        .failures()
        .map(|group| {
            let failure = group.failure.unwrap();
            (failure.error_type.as_deref(), failure.message.as_deref(), group.stats.count)
        })
        .collect();
    assert_eq!(
        found,
        [
            (Some("503"), None, 1),
            (Some("KeyError"), Some("'id'"), 1),
            (Some("OutOfStock"), Some("no stock"), 5),
        ]
    );
    let stats = rollups.failures().last().unwrap().stats;
    assert_eq!((stats.first_unix_ns, stats.last_unix_ns), (START + 1, START + 5));
    let examples: Vec<u8> = stats.examples.iter().map(|example| example.1.0[0]).collect();
    assert_eq!(examples, [4, 3, 2]);
}

#[test]
fn a_range_keeps_the_minutes_that_it_touches() {
    let mut rollups = rollups_of(&[span(1, 1, None, "shop", SpanKind::Client, "GET")]);
    let minute = START / MINUTE_NS * MINUTE_NS;
    let mut check = |from_unix_ns, until_unix_ns, expected| {
        rollups.restrict(TimeRange { from_unix_ns, until_unix_ns });
        assert_eq!((rollups.operations().count(), edges(&rollups).len()), expected);
    };
    check(minute + MINUTE_NS - 1, minute + MINUTE_NS, (1, 1));
    check(minute, minute + 1, (1, 1));
    check(minute + MINUTE_NS, u64::MAX, (0, 0));
}

#[test]
fn strange_times_are_taken() {
    let mut strange = span(1, 1, None, "shop", SpanKind::Client, "GET");
    (strange.start_unix_ns, strange.end_unix_ns) = (u64::MAX, 0);
    let mut rollups = rollups_of(&[strange]);
    assert_eq!(Rollups::decode(&rollups.encode()).unwrap(), rollups);
    rollups.restrict(TimeRange::ALL);
    assert_eq!(edges(&rollups).len(), 1);
}

/// Calls with both sides, with one, with errors, over some services, minutes and names. Each client span has at most
/// one server span, as everywhere where no two agents watch the same process.
fn any_spans() -> impl Strategy<Value = Vec<Span>> {
    let call = (0_usize..4, 0_usize..4, 0_u64..3, 1_u64..50, any::<bool>(), 0_u8..3, 0_usize..3);
    prop::collection::vec(call, 0..60).prop_map(|calls| {
        let services = ["a", "b", "c", "d"];
        let names = ["GET /", "SELECT", "PUT /x"];
        let mut spans = Vec::new();
        for (number, (from, to, minute, ms, is_error, sides, name)) in calls.into_iter().enumerate() {
            let number = number as u64 + 1;
            let mut client = span(number as u8, number, None, services[from], SpanKind::Client, names[name]);
            client.start_unix_ns += minute * MINUTE_NS;
            client.end_unix_ns = client.start_unix_ns + ms * MS;
            let mut client = with(client, &[("server.address", text(services[to]))]);
            let mut server =
                span(number as u8, number + 1000, Some(number), services[to], SpanKind::Server, names[name]);
            (server.start_unix_ns, server.end_unix_ns) = (client.start_unix_ns + 1, client.end_unix_ns - 1);
            if is_error {
                client = failed(client, "x");
                server = failed(server, "y");
            }
            match sides {
                0 => spans.push(client),
                1 => spans.push(server),
                _ => spans.extend([client, server]),
            }
        }
        spans
    })
}

proptest! {
    #[test]
    fn any_split_and_order_gives_the_same_sums(
        (spans, order) in any_spans().prop_flat_map(|spans| {
            let indices: Vec<usize> = (0..spans.len()).collect();
            (Just(spans), Just(indices).prop_shuffle())
        }),
        cuts in prop::collection::vec(0_usize..3, 120),
    ) {
        let whole = rollups_of(&spans);
        let part = |wanted: usize| {
            rollups_of(order.iter().filter(|at| cuts[**at] == wanted).map(|at| &spans[*at]))
        };
        let (a, b, c) = (part(0), part(1), part(2));
        let left = merged([&merged([&a, &b]), &c]);
        let right = merged([&c, &merged([&b, &a])]);
        prop_assert_eq!(&left, &whole);
        prop_assert_eq!(&right, &whole);
        prop_assert_eq!(right.service_map(), whole.service_map());
    }

    #[test]
    fn bytes_hold_all(spans in any_spans(), more in any_spans()) {
        let rollups = rollups_of(&spans);
        let read = Rollups::decode(&rollups.encode()).unwrap();
        prop_assert_eq!(read.service_map(), rollups.service_map());
        prop_assert_eq!(read.operations().count(), rollups.operations().count());
        prop_assert!(read.failures().map(|g| g.stats.count).eq(rollups.failures().map(|g| g.stats.count)));
        prop_assert_eq!(Rollups::decode(&read.encode()).unwrap(), read.clone());
        let more = rollups_of(&more);
        prop_assert_eq!(merged([&read, &more]).operations().count(), merged([&rollups, &more]).operations().count());
    }

    #[test]
    fn any_bytes_are_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Rollups::decode(&bytes);
    }

    #[test]
    fn damaged_bytes_are_read_without_panic(spans in any_spans(), at in any::<prop::sample::Index>(), byte: u8) {
        let mut bytes = rollups_of(&spans).encode();
        let index = at.index(bytes.len());
        bytes[index] = byte;
        if let Ok(mut read) = Rollups::decode(&bytes) {
            read.merge(&rollups_of(&spans));
            let _ = (read.service_map(), read.encode());
            for sum in read.operations() {
                let _ = sum.red.latency.quantile_ns(0.5);
            }
        }
    }
}
