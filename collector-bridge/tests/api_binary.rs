//! The REST interface of the real binary, fed over OTLP's own port, across a crash.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "support/bridge.rs"]
#[expect(dead_code, reason = "shared with suites that use more of it")]
mod bridge;
#[path = "api/otlp.rs"]
#[expect(dead_code, unused_imports, reason = "likewise")]
mod otlp;
#[path = "api/shop.rs"]
mod shop;

use bridge::{Bridge, get};
use serde_json::Value;

/// Answers about the shop that must not depend on where its spans lie.
fn answers(bridge: &Bridge) -> Vec<Value> {
    let range = shop::range();
    let paths = [
        "/api/v1/traces/0000000000000003".to_owned(),
        format!("/api/v1/traces/services?{range}"),
        format!("/api/v1/traces/operations?service=checkout&{range}"),
        format!("/api/v1/traces/performance?kind=all&{range}"),
        format!("/api/v1/traces/dependencies?{range}"),
        format!("/api/v1/traces/errors?{range}"),
    ];
    let ask = |path: &String| {
        let (status, body) = get(&bridge.url("listen", path));
        assert_eq!(status, 200, "{path}: {body}");
        serde_json::from_str(&body).unwrap()
    };
    let mut answers: Vec<Value> = paths.iter().map(ask).collect();
    let question = format!("{{\"from\": {}, \"status\": \"error\"}}", otlp::START_S);
    let search = bridge.url("listen", "/api/v1/traces/search");
    let (status, found) = bridge::post(&search, "application/json", None, question.as_bytes()).unwrap();
    assert_eq!(status, 200);
    answers.push(serde_json::from_slice::<Value>(&found).unwrap()["traces"].clone());
    answers
}

#[test]
fn answers_survive_a_crash_and_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let data_dir = dir.path().join("data");
    std::fs::create_dir(&data_dir).unwrap();
    let mut bridge = Bridge::start(&data_dir, &[]);
    for spans in shop::spans().chunks(7) {
        assert_eq!(bridge.post(&otlp::request(spans)), 200);
    }
    let before = answers(&bridge);
    let edges = before[4]["edges"].as_array().unwrap();
    let lines: Vec<String> =
        edges.iter().map(|edge| format!("{}>{} {}", edge["caller"], edge["callee"], edge["calls"])).collect();
    assert_eq!(
        lines,
        [r#""checkout">"postgres" 10"#, r#""checkout">"redis@cache" 10"#, r#""web">"checkout" 10"#,]
    );
    assert_eq!(before[6].as_array().unwrap().len(), 2);

    bridge.kill();
    let mut bridge = Bridge::start(&data_dir, &[]);
    assert_eq!(answers(&bridge), before, "after a crash, from the log");
    assert!(bridge.terminate());
    let bridge = Bridge::start(&data_dir, &[]);
    assert_eq!(answers(&bridge), before, "after an orderly end, from segments");
}

#[test]
fn the_page_and_the_description_are_served() {
    let dir = tempfile::tempdir().unwrap();
    let data_dir = dir.path().join("data");
    std::fs::create_dir(&data_dir).unwrap();
    let bridge = Bridge::start(&data_dir, &[]);
    let (status, page) = get(&bridge.url("listen", "/"));
    assert!(status == 200 && page.starts_with("<!doctype html>"), "{status}: {page}");
    let (status, description) = get(&bridge.url("listen", "/api/v1/openapi.json"));
    assert!(status == 200 && description.contains("\"openapi\":\"3.1.0\""), "{status}: {description}");
    let (status, nowhere) = get(&bridge.url("listen", "/nowhere"));
    assert!(status == 404 && nowhere.contains("route_not_found"), "{status}: {nowhere}");
}
