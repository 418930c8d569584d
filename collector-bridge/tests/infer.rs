//! Calls of which nobody knows for whom they were made, through the real binary.
#![allow(clippy::unwrap_used, reason = "a test program may panic, in its helpers too")]

#[path = "support/bridge.rs"]
#[allow(dead_code, clippy::unwrap_used, reason = "each test file uses a part of it, and a test may panic")]
mod bridge;

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::InstrumentationScope;
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;
use serde_json::Value;

use bridge::{Bridge, get, hex, span, text, trace_id, wait_for};

const SERVER: i32 = 2;
const CLIENT: i32 = 3;
const AGENT: &str = "remora/http1";
const MILLISECOND: u64 = 1_000_000;
/// Requests of the scene; two are under way at any time.
const REQUESTS: u64 = 60;

/// Returns a moment so long ago that all is settled.
fn long_ago_ns() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    u64::try_from(now.as_nanos()).unwrap() - 600_000 * MILLISECOND
}

fn at(mut span: Span, kind: i32, name: &str, start_ns: u64, took_ns: u64) -> Span {
    (span.kind, span.name) = (kind, name.to_owned());
    (span.start_time_unix_nano, span.end_time_unix_nano) = (start_ns, start_ns + took_ns);
    span
}

/// Returns the id of the trace that a request's call began. Ids of requests are their numbers, from 1.
fn call(request: u64, number: u64) -> u64 {
    1000 * (number + 1) + request
}

/// Requests of 10 ms, a new one every 6 ms or so; each asks another service after 1 ms and the database after that.
fn scene(began_ns: u64) -> Vec<Span> {
    (1..=REQUESTS)
        .flat_map(|request| {
            let jitter = |factor: u64| request * factor % 97 * 5_000;
            let start = began_ns + request * 6 * MILLISECOND + jitter(31);
            let first = start + MILLISECOND + jitter(17);
            let second = first + 4 * MILLISECOND + jitter(53) + 300_000;
            [
                at(span(request, request), SERVER, "GET /", start, 10 * MILLISECOND),
                at(
                    span(call(request, 1), call(request, 1)),
                    CLIENT,
                    "GET",
                    first,
                    4 * MILLISECOND + jitter(53),
                ),
                at(span(call(request, 2), call(request, 2)), CLIENT, "SELECT", second, 2 * MILLISECOND),
            ]
        })
        .collect()
}

/// Sends each span in a request of its own, in that order.
fn send(bridge: &Bridge, scope: &str, process: &str, spans: impl IntoIterator<Item = Span>) {
    spans.into_iter().for_each(|span| send_together(bridge, scope, process, vec![span]));
}

fn send_together(bridge: &Bridge, scope: &str, process: &str, spans: Vec<Span>) {
    let resource = Resource {
        attributes: vec![text("service.name", "shop"), text("process.pid", process)],
        ..Resource::default()
    };
    let scope = Some(InstrumentationScope { name: scope.to_owned(), ..InstrumentationScope::default() });
    let scope_spans = vec![ScopeSpans { scope, spans, ..ScopeSpans::default() }];
    let resource_spans =
        vec![ResourceSpans { resource: Some(resource), scope_spans, ..ResourceSpans::default() }];
    let request = ExportTraceServiceRequest { resource_spans };
    assert_eq!(bridge.post(&request.encode_to_vec()), 200);
}

fn start(dir: &Path, config: &str) -> Bridge {
    let path = dir.join("bridge.toml");
    std::fs::write(&path, config).unwrap();
    let data_dir = dir.join("data");
    std::fs::create_dir_all(&data_dir).unwrap();
    Bridge::start(&data_dir, &["--config", path.to_str().unwrap()])
}

fn inferred(bridge: &Bridge, trace: u64) -> Value {
    let (status, body) = get(&bridge.url("listen", &format!("/api/v1/traces/{}", hex(&trace_id(trace)))));
    assert_eq!(status, 200, "{body}");
    serde_json::from_str::<Value>(&body).unwrap()["inferred"].clone()
}

/// Returns all that is inferred, and asserts what is asked of every answer.
fn all(bridge: &Bridge) -> Vec<Value> {
    let traces = (1..=REQUESTS).flat_map(|request| [request, call(request, 1), call(request, 2)]);
    traces
        .map(|trace| {
            let answer = inferred(bridge, trace);
            assert_eq!(answer["state"], "final", "{answer}");
            answer
        })
        .collect()
}

fn number(hex: &Value) -> u64 {
    u64::from_str_radix(hex.as_str().unwrap(), 16).unwrap()
}

#[test]
fn both_ends_of_a_link_show_it_and_nearly_all_are_right() {
    let dir = tempfile::tempdir().unwrap();
    let bridge = start(dir.path(), "");
    send(&bridge, AGENT, "7", scene(long_ago_ns()));
    let mut right = 0;
    for request in 1..=REQUESTS {
        for number_of_call in [1, 2] {
            let calls = inferred(&bridge, call(request, number_of_call));
            for link in calls["links"].as_array().unwrap() {
                assert_eq!((&link["role"], &link["reason"]), (&"request".into(), &"timing".into()));
                assert_eq!(number(&link["span_id"]), call(request, number_of_call));
                let other = number(&link["other"]["span_id"]);
                let mirrored = inferred(&bridge, other);
                let mirrored = mirrored["links"].as_array().unwrap().iter().any(|mirrored| {
                    mirrored["role"] == "call"
                        && number(&mirrored["other"]["span_id"]) == call(request, number_of_call)
                        && mirrored["confidence"] == link["confidence"]
                });
                assert!(mirrored, "{link}");
                right += u64::from(other == request && link["confidence"].as_f64().unwrap() >= 0.9);
            }
        }
    }
    assert!(right >= 2 * REQUESTS * 95 / 100, "{right} of {}", 2 * REQUESTS);
    assert!(bridge.metric("remora_bridge_infer_linked_total") >= right as f64);
    assert_eq!(bridge.metric("remora_bridge_infer_orphans_total"), 2.0 * REQUESTS as f64);
}

#[test]
fn the_answer_depends_neither_on_the_order_of_arrival_nor_on_where_spans_are() {
    let spans = scene(long_ago_ns());
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let mut live = start(dirs[0].path(), "");
    send(&live, AGENT, "7", spans.clone());
    let expected = all(&live);
    assert!(expected.iter().any(|answer| !answer["links"].as_array().unwrap().is_empty()));

    live.kill();
    let again = start(dirs[0].path(), "");
    assert_eq!(all(&again), expected, "after a crash");

    let sealed = start(dirs[1].path(), "[ingest]\nseal_age = '1s'\n");
    send(&sealed, AGENT, "7", spans.into_iter().rev());
    wait_for("segments", || (sealed.metric("remora_bridge_live_spans") == 0.0).then_some(()));
    assert_eq!(all(&sealed), expected, "in the other order, from segments");
}

/// Returns calls outside of all requests, one every so often.
fn lone_calls(count: u64, began_ns: u64, every_ns: u64) -> Vec<Span> {
    let call = |number| {
        at(span(1_000_000 + number, 1_000_000 + number), CLIENT, "PING", began_ns + number * every_ns, 1000)
    };
    (0..count).map(call).collect()
}

/// Links for one call, and how often no look was taken.
fn looked_at(bridge: &Bridge) -> (usize, String, f64) {
    let answer = inferred(bridge, call(30, 1));
    let refused = bridge.metric("remora_bridge_infer_stretches_refused_total");
    (answer["links"].as_array().unwrap().len(), answer["state"].as_str().unwrap().to_owned(), refused)
}

#[test]
fn a_busy_process_is_looked_at_in_shorter_stretches() {
    let dir = tempfile::tempdir().unwrap();
    let bridge = start(dir.path(), "");
    let began_ns = long_ago_ns();
    send_together(&bridge, AGENT, "7", scene(began_ns));
    // More than are looked at together, from two minutes before until two minutes after.
    let first_ns = began_ns - 120_000 * MILLISECOND;
    send_together(&bridge, AGENT, "7", lone_calls(24_000, first_ns, 10 * MILLISECOND));
    assert_eq!(looked_at(&bridge), (1, "final".to_owned(), 0.0));
}

#[test]
fn what_is_too_much_is_refused_and_counted() {
    let dir = tempfile::tempdir().unwrap();
    let bridge = start(dir.path(), "");
    let began_ns = long_ago_ns();
    let scene = scene(began_ns);
    let call_ns =
        scene.iter().find(|span| span.span_id == call(30, 1).to_be_bytes()).unwrap().start_time_unix_nano;
    send_together(&bridge, AGENT, "7", scene);
    send_together(&bridge, AGENT, "7", lone_calls(4000, call_ns, 1));
    let (links, state, refused) = looked_at(&bridge);
    assert_eq!((links, state.as_str()), (0, "partial"));
    assert!(refused >= 1.0);
}

#[test]
fn nothing_is_inferred_where_it_is_not_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let bridge = start(dir.path(), "[infer]\nmode = 'off'\n");
    send(&bridge, AGENT, "7", scene(long_ago_ns()));
    assert_eq!(inferred(&bridge, 3), serde_json::json!({"state": "off", "links": []}));
}

#[test]
fn spans_of_an_sdk_and_of_other_processes_are_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let bridge = start(dir.path(), "");
    let (requests, calls): (Vec<Span>, Vec<Span>) =
        scene(long_ago_ns()).into_iter().partition(|span| span.kind == SERVER);
    send(&bridge, AGENT, "7", requests);
    send(&bridge, AGENT, "8", calls.iter().filter(|call| call.name == "GET").cloned());
    send(&bridge, "io.opentelemetry.requests", "7", calls.into_iter().filter(|call| call.name == "SELECT"));
    for answer in all(&bridge) {
        assert_eq!(answer["links"], serde_json::json!([]));
    }
}

#[test]
fn what_is_under_way_is_said_to_be() {
    let dir = tempfile::tempdir().unwrap();
    let bridge = start(dir.path(), "");
    let now_ns = long_ago_ns() + 600_000 * MILLISECOND;
    send(&bridge, AGENT, "7", scene(now_ns));
    assert_eq!(inferred(&bridge, call(5, 1)), serde_json::json!({"state": "provisional", "links": []}));
}
