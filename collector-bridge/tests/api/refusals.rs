//! What is wrong is refused with the right status, and named.

use serde_json::{Value, json};

use crate::bridge::{Answer, Bridge};

fn check(answer: &Answer, status: u16, code: &str, field: Option<&str>) {
    let error = answer.json()["error"].clone();
    let found = (answer.status, error["code"].as_str(), error["field"].as_str());
    assert_eq!(found, (status, Some(code), field), "{error}");
    let message = error["message"].as_str().unwrap_or_default();
    assert!(message.len() > 10 && !message.ends_with('.'), "{message}");
}

#[test]
fn wrong_parameters() {
    let bridge = Bridge::start();
    let get = |path: &str, status, code, field| {
        check(&bridge.send("GET", &format!("/api/v1/traces/{path}"), &[], b""), status, code, field);
    };
    get("services?sinc=15m", 400, "unknown_parameter", Some("sinc"));
    get("services?since=15", 400, "invalid_parameter", Some("since"));
    get("services?since=1h&from=5", 400, "invalid_range", Some("since"));
    get("services?from=2030-01-01T00:00:00Z&until=2029-01-01T00:00:00Z", 400, "invalid_range", Some("from"));
    get("services?from=5&until=5", 400, "invalid_range", Some("from"));
    get("services?from=yesterday", 400, "invalid_parameter", Some("from"));
    get("services?until=-1", 400, "invalid_parameter", Some("until"));
    get("services?from=%ff", 400, "invalid_parameter", None);
    get("services?from=1&from=2", 400, "invalid_parameter", Some("from"));
    get("operations", 400, "missing_parameter", Some("service"));
    get("operations?service=", 400, "invalid_parameter", Some("service"));
    get("operations?service=a&kind=rpc", 400, "invalid_parameter", Some("kind"));
    get("performance?step=10s", 400, "invalid_parameter", Some("step"));
    get("performance?limit=0", 400, "invalid_parameter", Some("limit"));
    get("performance?limit=201", 400, "invalid_parameter", Some("limit"));
    get("performance?since=90d&step=1m", 400, "invalid_parameter", Some("step"));
    get("performance?since=1d&step=1m&limit=200", 400, "invalid_parameter", Some("limit"));
    get("performance?group_by=host", 400, "invalid_parameter", Some("group_by"));
    get("errors?limit=-3", 400, "invalid_parameter", Some("limit"));
    get("errors?limit=99999999999999999999999", 400, "invalid_parameter", Some("limit"));
    get("dependencies?services=a", 400, "unknown_parameter", Some("services"));
    get(&format!("operations?service={}", "x".repeat(2_000)), 400, "invalid_parameter", Some("service"));
}

#[test]
fn wrong_ids() {
    let bridge = Bridge::start();
    let get = |id: &str, status, code| {
        check(&bridge.send("GET", &format!("/api/v1/traces/{id}"), &[], b""), status, code, Some("id"));
    };
    get("xyz", 400, "invalid_id");
    get("0af7651916cd43dd8448eb211c80319", 400, "invalid_id");
    get("0af7651916cd43dd8448eb211c80319cc", 400, "invalid_id");
    get("0af7651916cd43dd8448eb211c80319g", 400, "invalid_id");
    get("00000000000000000000000000000000", 400, "invalid_id");
    get("0000000000000000", 400, "invalid_id");
    get("%ff%fe", 400, "invalid_id");
    get("0af7651916cd43dd8448eb211c80319c", 404, "trace_not_found");
    get("0AF7651916CD43DD8448EB211C80319C", 404, "trace_not_found");
    let answer = bridge.send("GET", "/api/v1/traces/0af7651916cd43dd8448eb211c80319c?raw=1", &[], b"");
    check(&answer, 400, "unknown_parameter", Some("raw"));
}

#[test]
fn wrong_searches() {
    let bridge = Bridge::start();
    let post = |body: Value, code, field| check(&bridge.post_search(&body), 400, code, Some(field));
    post(json!({ "servce": "a" }), "unknown_parameter", "servce");
    post(json!({ "service": 5 }), "invalid_parameter", "service");
    post(json!({ "service": "" }), "invalid_parameter", "service");
    post(json!({ "kind": "SERVER" }), "invalid_parameter", "kind");
    post(json!({ "status": "failed" }), "invalid_parameter", "status");
    post(json!({ "limit": 0 }), "invalid_parameter", "limit");
    post(json!({ "limit": 1001 }), "invalid_parameter", "limit");
    post(json!({ "limit": 2.5 }), "invalid_parameter", "limit");
    post(json!({ "limit": [1] }), "invalid_parameter", "limit");
    post(json!({ "min_duration": 100 }), "invalid_parameter", "min_duration");
    post(json!({ "min_duration": "2s", "max_duration": "1s" }), "invalid_parameter", "min_duration");
    post(
        json!({ "min_span_duration": "2s", "max_span_duration": "1s" }),
        "invalid_parameter",
        "min_span_duration",
    );
    post(json!({ "from": 9, "until": 8 }), "invalid_range", "from");
    post(json!({ "from": 9, "since": "1h" }), "invalid_range", "since");
    post(json!({ "cursor": "01ab" }), "invalid_parameter", "cursor");
    post(json!({ "cursor": 5 }), "invalid_parameter", "cursor");
    post(json!({ "attributes": "x=y" }), "invalid_parameter", "attributes");
    post(json!({ "attributes": vec![json!({ "key": "a" }); 33] }), "invalid_parameter", "attributes");
    let condition = |condition: Value, code, field| {
        post(json!({ "attributes": [{ "key": "ok" }, condition] }), code, field)
    };
    condition(json!("x"), "invalid_parameter", "attributes[1]");
    condition(json!({ "op": "=" }), "missing_parameter", "attributes[1].key");
    condition(json!({ "key": "a", "op": "~", "value": "x" }), "invalid_parameter", "attributes[1].op");
    condition(json!({ "key": "a", "op": "=" }), "invalid_parameter", "attributes[1].value");
    condition(json!({ "key": "a", "op": "exists", "value": 1 }), "invalid_parameter", "attributes[1].value");
    condition(json!({ "key": "a", "op": ">", "value": "many" }), "invalid_parameter", "attributes[1].value");
    condition(json!({ "key": "a", "value": [1] }), "invalid_parameter", "attributes[1].value");
    condition(json!({ "key": "a", "scope": "event" }), "invalid_parameter", "attributes[1].scope");
    condition(json!({ "key": "a", "values": 1 }), "unknown_parameter", "attributes[1].values");
}

#[test]
fn a_cursor_belongs_to_its_search() {
    let bridge = Bridge::with(&crate::shop::spans());
    let body = json!({ "from": crate::otlp::START_S, "limit": 1 });
    let cursor = bridge.search(&body)["next_cursor"].clone();
    assert!(cursor.is_string());
    let other = json!({ "from": crate::otlp::START_S, "limit": 1, "service": "web", "cursor": cursor });
    check(&bridge.post_search(&other), 400, "invalid_parameter", Some("cursor"));
}

#[test]
fn wrong_bodies() {
    let bridge = Bridge::start();
    let json_type = ("content-type", "application/json; charset=utf-8");
    let post = |headers: &[(&str, &str)], body: &[u8], status, code| {
        check(&bridge.send("POST", "/api/v1/traces/search", headers, body), status, code, None);
    };
    post(&[json_type], b"{", 400, "invalid_body");
    post(&[json_type], b"[]", 400, "invalid_body");
    post(&[json_type], b"\xff", 400, "invalid_body");
    post(&[json_type], "[".repeat(100_000).as_bytes(), 400, "invalid_body");
    post(
        &[("content-type", "application/x-www-form-urlencoded")],
        b"service=a",
        415,
        "unsupported_media_type",
    );
    post(&[("content-type", "application/jsonx")], b"{}", 415, "unsupported_media_type");
    post(&[json_type], &vec![b' '; 256 * 1024 + 1], 413, "body_too_large");
    let largest = bridge.send(
        "POST",
        "/api/v1/traces/search",
        &[json_type],
        &[&vec![b' '; 256 * 1024 - 2], "{}".as_bytes()].concat(),
    );
    assert_eq!(largest.status, 200);
}

#[test]
fn wrong_paths_and_methods() {
    let bridge = Bridge::start();
    let refused = |method: &str, path: &str, status, code| {
        let answer = bridge.send(method, path, &[], b"");
        check(&answer, status, code, None);
        answer.head
    };
    for path in
        ["/nowhere", "/api", "/api/v1", "/api/v1/traces", "/api/v1/traces/", "/api/v2/traces/services"]
    {
        refused("GET", path, 404, "route_not_found");
        refused("DELETE", path, 404, "route_not_found");
    }
    assert!(refused("GET", "/api/v1/traces/search", 405, "method_not_allowed").contains("allow: post"));
    for path in [
        "/",
        "/api/v1/openapi.json",
        "/api/v1/traces/services",
        "/api/v1/traces/0af7651916cd43dd8448eb211c80319c",
    ] {
        for method in ["POST", "PUT", "DELETE", "PATCH"] {
            assert!(
                refused(method, path, 405, "method_not_allowed").contains("allow: get"),
                "{method} {path}"
            );
        }
    }
}
