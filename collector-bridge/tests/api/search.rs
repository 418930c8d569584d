//! Search by every condition, alone and together.

use serde_json::{Value, json};

use crate::bridge::Bridge;
use crate::otlp::{Bool, Kind, MS, START_S, span, text};
use crate::shop;

/// Returns the numbers of the traces that fulfil the conditions, in the order of the answer.
fn found(bridge: &Bridge, mut body: Value) -> Vec<u64> {
    body["from"] = json!(START_S);
    body["until"] = json!(START_S + 60);
    let answer = bridge.search(&body);
    assert_eq!(answer["next_cursor"], Value::Null);
    numbers(&answer)
}

pub(crate) fn numbers(answer: &Value) -> Vec<u64> {
    let traces = answer["traces"].as_array().unwrap().iter();
    traces.map(|trace| u64::from_str_radix(&trace["trace_id"].as_str().unwrap()[16..], 16).unwrap()).collect()
}

fn descending(from: u64) -> Vec<u64> {
    (1..=from).rev().collect()
}

#[test]
fn conditions_alone_and_together() {
    let bridge = Bridge::with(&shop::spans());
    let check = |body: Value, expected: &[u64]| assert_eq!(found(&bridge, body.clone()), expected, "{body}");
    for sealed in [false, true] {
        if sealed {
            bridge.store.seal().unwrap();
        }
        check(json!({}), &descending(10));
        check(json!({ "service": "postgres" }), &descending(10));
        check(json!({ "service": "nobody" }), &[]);
        check(json!({ "status": "error" }), &[6, 3]);
        check(json!({ "status": "error", "service": "checkout" }), &[6, 3]);
        check(json!({ "status": "error", "service": "postgres" }), &[]);
        check(json!({ "status": "ok" }), &[]);
        check(json!({ "status": "unset", "service": "web", "kind": "server" }), &[10, 9, 8, 7, 5, 4, 2, 1]);
        check(json!({ "min_duration": "90ms" }), &[10, 9]);
        check(json!({ "max_duration": "20ms" }), &[2, 1]);
        check(json!({ "min_duration": "0.03s", "max_duration": "40ms" }), &[4, 3]);
        check(json!({ "min_span_duration": "96ms", "service": "checkout" }), &[10]);
        check(json!({ "max_span_duration": "6ms", "operation": "POST /orders/{id}" }), &[1]);
        check(json!({ "operation": "INSERT orders" }), &descending(10));
        check(json!({ "operation": "INSERT orders", "service": "web" }), &[]);
        check(json!({ "kind": "producer" }), &[]);
        check(json!({ "attributes": { "http.response.status_code": 503 } }), &[6, 3]);
        check(json!({ "attributes": { "http.response.status_code": "503" } }), &[6, 3]);
        check(
            json!({ "attributes": [{ "key": "http.response.status_code", "op": ">=", "value": 500 }] }),
            &[6, 3],
        );
        check(
            json!({ "attributes": [{ "key": "http.response.status_code", "op": "<", "value": 500 }] }),
            &[10, 9, 8, 7, 5, 4, 2, 1],
        );
        check(json!({ "attributes": [{ "key": "db.system.name" }], "service": "web" }), &[]);
        check(
            json!({ "attributes": [{ "key": "db.system.name", "op": "!=", "value": "redis" }], "operation": "GET" }),
            &[],
        );
        check(json!({ "attributes": [{ "key": "no.such", "op": "!=", "value": "x" }] }), &descending(10));
        check(
            json!({ "attributes": [{ "key": "host.name", "value": "test-host", "scope": "resource" }] }),
            &descending(10),
        );
        check(json!({ "attributes": [{ "key": "host.name", "value": "test-host", "scope": "span" }] }), &[]);
        check(
            json!({ "attributes": [{ "key": "host.name", "value": "test-host" }, { "key": "db.namespace", "value": "shop" }], "min_duration": "100ms" }),
            &[10],
        );
    }
}

#[test]
fn all_conditions_on_spans_hold_for_the_same_span() {
    let spans = [
        span("a", 1, 1, "x").with("flag", Bool(true)),
        span("b", 1, 2, "y").below(1),
        span("b", 2, 1, "y").with("flag", Bool(true)),
    ];
    let bridge = Bridge::with(&spans);
    assert_eq!(found(&bridge, json!({ "service": "b", "attributes": { "flag": true } })), [2]);
    assert_eq!(found(&bridge, json!({ "service": "b", "attributes": { "flag": "true" } })), [2]);
}

#[test]
fn the_earliest_matching_spans_are_named() {
    let mut spans: Vec<_> = (1..=5).map(|id| span("a", 1, id, "x").at((10 - id) * MS, MS)).collect();
    spans.extend(spans.clone());
    let bridge = Bridge::with(&spans);
    let answer = bridge.search(&json!({ "operation": "x", "from": START_S, "until": START_S + 1 }));
    let ids: Vec<&str> = answer["traces"][0]["matched_spans"]
        .as_array()
        .unwrap()
        .iter()
        .map(|span| span["span_id"].as_str().unwrap())
        .collect();
    assert_eq!(ids, ["0000000000000005", "0000000000000004", "0000000000000003"]);
    let by_summary = bridge.search(&json!({ "service": "a", "from": START_S, "until": START_S + 1 }));
    assert_eq!(by_summary["traces"][0]["matched_spans"], json!([]));
    assert_eq!(by_summary["traces"][0]["span_count"], 5);
}

#[test]
fn the_range_is_about_the_start_of_the_trace() {
    let long = [
        span("a", 1, 1, "root").at(0, 120_000 * MS),
        span("a", 1, 2, "late").below(1).at(100_000 * MS, MS).kind(Kind::Client).with("k", text("v")),
    ];
    let bridge = Bridge::with(&long);
    assert_eq!(
        found(&bridge, json!({ "attributes": { "k": "v" } })),
        [1],
        "a span after the range belongs to a trace in it"
    );
    let later = json!({ "operation": "late", "from": START_S + 1, "until": START_S + 200 });
    assert_eq!(numbers(&bridge.search(&later)), [0; 0]);
}

#[test]
fn traces_of_equal_start_are_ordered_by_id() {
    let spans: Vec<_> = [3, 1, 2].into_iter().map(|trace| span("a", trace, 1, "x")).collect();
    assert_eq!(found(&Bridge::with(&spans), json!({})), [3, 2, 1]);
}

#[test]
fn an_empty_body_asks_for_everything() {
    let bridge = Bridge::start();
    let answer = bridge.send("POST", "/api/v1/traces/search", &[], b"");
    assert_eq!((answer.status, answer.json()["traces"].clone()), (200, json!([])));
}
