//! Examples; a test checks them against the schemas.

use serde_json::{Value, json};

pub(super) fn error(code: &str) -> Value {
    let (message, field) = match code {
        "invalid_parameter" => ("`limit` must be a whole number from 1 to 1000, not `0`", Some("limit")),
        "trace_not_found" => ("no span of trace 0af7651916cd43dd8448eb211c80319c is stored", Some("id")),
        "method_not_allowed" => ("this path answers POST, with a JSON body", None),
        "body_too_large" => ("the body may have 262144 bytes", None),
        "unsupported_media_type" => {
            ("the body must be JSON: send it with `content-type: application/json`", None)
        }
        "unauthorized" => ("send the bearer token of the bridge's token file", None),
        "starting" => ("the log is being read back", None),
        "overloaded" => ("16 queries are running already", None),
        _ => ("the store could not be read", None),
    };
    json!({ "error": { "code": code, "message": message, "field": field } })
}

pub(super) fn search_request() -> Value {
    json!({
        "service": "checkout",
        "status": "error",
        "attributes": [{ "key": "http.response.status_code", "op": ">=", "value": 500 }],
        "min_duration": "100ms",
        "since": "15m",
        "limit": 10,
    })
}

fn range() -> Value {
    json!({ "from": "2026-01-31T12:00:00.000000000Z", "until": "2026-01-31T13:00:00.000000000Z" })
}

fn latency() -> Value {
    json!({
        "p50_ns": 12_400_000, "p90_ns": 31_000_000, "p95_ns": 47_500_000, "p99_ns": 118_000_000,
        "mean_ns": 15_210_433, "min_ns": 3_100_250, "max_ns": 131_072_911,
        "relative_error": 0.005_415_2,
    })
}

fn sums() -> Value {
    json!({
        "count": 7200, "errors": 36, "error_rate": 0.005, "throughput_per_second": 2.0, "latency": latency(),
    })
}

/// Returns an object with the fields of both.
fn joined(first: Value, second: Value) -> Value {
    match (first, second) {
        (Value::Object(mut fields), Value::Object(more)) => {
            fields.extend(more);
            Value::Object(fields)
        }
        (first, _) => first,
    }
}

fn summary() -> Value {
    json!({
        "trace_id": "0af7651916cd43dd8448eb211c80319c",
        "root_service": "web",
        "root_operation": "POST /orders",
        "root_status": "error",
        "has_root": true,
        "start_time": "2026-01-31T12:34:56.000000000Z",
        "start_time_unix_nano": "1769862896000000000",
        "duration_ns": 131_072_911,
        "span_count": 2,
        "error_count": 2,
        "services": [
            { "name": "checkout", "span_count": 1, "error_count": 1 },
            { "name": "web", "span_count": 1, "error_count": 1 },
        ],
    })
}

pub(super) fn search_result() -> Value {
    let matched = json!({
        "span_id": "b7ad6b7169203331", "service": "checkout", "name": "POST /orders", "kind": "server",
        "status": "error", "start_time_unix_nano": "1769862896001200000", "duration_ns": 128_000_000,
    });
    let found = joined(summary(), json!({ "matched_spans": [matched] }));
    json!({ "range": range(), "traces": [found], "next_cursor": null })
}

pub(super) fn trace() -> Value {
    let span = |id: &str,
                parent: Option<&str>,
                depth: u32,
                service: &str,
                kind: &str,
                offset_ns: u64,
                duration_ns: u64| {
        json!({
            "span_id": id, "parent_span_id": parent, "depth": depth, "child_count": 1 - depth,
            "service": service, "name": "POST /orders", "kind": kind,
            "status": { "code": "error", "message": "" },
            "start_time_unix_nano": (1_769_862_896_000_000_000 + offset_ns).to_string(),
            "end_time_unix_nano": (1_769_862_896_000_000_000 + offset_ns + duration_ns).to_string(),
            "offset_ns": offset_ns, "duration_ns": duration_ns,
            "is_orphan": false, "has_duplicate_id": false, "is_cycle_cut": false,
            "resource": depth, "scope": 0, "trace_state": "", "flags": 257,
            "attributes": { "http.request.method": "POST", "http.response.status_code": 503 },
            "events": [], "links": [],
            "dropped_attributes_count": 0, "dropped_events_count": 0, "dropped_links_count": 0,
        })
    };
    let details = json!({
        "completeness": {
            "is_complete": true, "ratio": 1.0, "found_spans": 2, "expected_spans": 2,
            "orphan_count": 0, "duplicates_removed": 0, "doubles_merged": 0, "incomplete_spans": 0,
        },
        "resources": [
            { "service": "web", "attributes": { "service.name": "web" } },
            { "service": "checkout", "attributes": { "service.name": "checkout" } },
        ],
        "scopes": [{ "name": "remora", "version": "0.1.0", "attributes": {} }],
        "inferred": { "state": "final", "links": [{
            "span_id": "b7ad6b7169203331", "role": "call", "confidence": 0.94, "reason": "timing",
            "other": {
                "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736", "span_id": "53995c3f42cd8ad8",
                "service": "checkout", "name": "SELECT items",
                "start_time_unix_nano": "1769862896003000000", "duration_ns": 1_900_000,
            },
        }] },
        "aliases": [],
        "clock_skews": [{ "host": "node-2", "ahead_ns": 4_812_000, "uncertainty_ns": 310_000 }],
        "spans": [
            span("00f067aa0ba902b7", None, 0, "web", "client", 0, 131_072_911),
            span("b7ad6b7169203331", Some("00f067aa0ba902b7"), 1, "checkout", "server", 1_200_000, 128_000_000),
        ],
    });
    joined(summary(), details)
}

pub(super) fn services() -> Value {
    json!({
        "range": range(),
        "services": [{
            "name": "checkout", "span_count": 21_600, "span_error_count": 36, "operation_count": 5,
            "last_seen": "2026-01-31T12:59:00.000000000Z", "requests": sums(),
        }],
    })
}

pub(super) fn operations() -> Value {
    let operation =
        json!({ "name": "POST /orders", "kind": "server", "last_seen": "2026-01-31T12:59:00.000000000Z" });
    json!({ "range": range(), "service": "checkout", "operations": [joined(operation, sums())] })
}

pub(super) fn performance() -> Value {
    let point = joined(json!({ "time": "2026-01-31T12:00:00.000000000Z" }), sums());
    json!({
        "range": range(),
        "step_seconds": 3600,
        "series_count": 1,
        "series": [{
            "service": "checkout", "operation": null, "kinds": ["server"], "total": sums(), "points": [point],
        }],
    })
}

pub(super) fn dependencies() -> Value {
    let node = |name: &str, node_type: &str, requests: Value| json!({ "name": name, "type": node_type, "requests": requests });
    let edge = |callee: &str, callee_type: &str, connection: &str, server_latency: Value| {
        json!({
            "caller": "web", "caller_type": "service", "callee": callee, "callee_type": callee_type,
            "connection": connection, "calls": 7200, "errors": 36, "error_rate": 0.005,
            "throughput_per_second": 2.0, "client_latency": latency(), "server_latency": server_latency,
        })
    };
    json!({
        "range": range(),
        "nodes": [
            node("checkout", "service", sums()),
            node("web", "service", sums()),
            node("postgresql/shop@db:5432", "database", Value::Null),
        ],
        "edges": [
            edge("checkout", "service", "service", latency()),
            edge("postgresql/shop@db:5432", "database", "database", Value::Null),
        ],
    })
}

pub(super) fn errors() -> Value {
    json!({
        "range": range(),
        "group_count": 1,
        "error_count": 36,
        "errors": [{
            "service": "checkout", "operation": "POST /orders", "kind": "server", "error_type": "503",
            "message": null, "count": 36,
            "first_seen": "2026-01-31T12:03:11.000000000Z", "last_seen": "2026-01-31T12:34:56.001200000Z",
            "trace_ids": ["0af7651916cd43dd8448eb211c80319c"],
        }],
    })
}
