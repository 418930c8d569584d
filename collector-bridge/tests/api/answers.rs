//! What is asked for is answered exactly.

use serde_json::{Value, json};

use crate::bridge::Bridge;
use crate::otlp::{Double, Int, Kind, MS, START_NS, START_S, array, span, text};
use crate::shop;

fn texts(value: &Value, pointer: &str, field: &str) -> Vec<String> {
    let items =
        value.pointer(pointer).and_then(Value::as_array).unwrap_or_else(|| panic!("{pointer} in {value}"));
    items.iter().map(|item| item[field].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_trace_comes_as_a_tree_in_reading_order() {
    let bridge = Bridge::with(&shop::spans());
    let trace = bridge.get("/api/v1/traces/00000000000000000000000000000002");
    assert_eq!(trace, bridge.get("/api/v1/traces/0000000000000002"), "16 digits are padded");
    let lines: Vec<Value> = trace["spans"]
        .as_array()
        .unwrap()
        .iter()
        .map(|span| {
            json!([span["span_id"], span["parent_span_id"], span["depth"], span["child_count"], span["name"]])
        })
        .collect();
    let id = |number: u64| format!("{number:016x}");
    assert_eq!(
        lines,
        [
            json!([id(1), null, 0, 1, "POST /orders"]),
            json!([id(2), id(1), 1, 1, "POST"]),
            json!([id(3), id(2), 2, 2, "POST /orders/{id}"]),
            json!([id(4), id(3), 3, 1, "INSERT orders"]),
            json!([id(5), id(4), 4, 0, "INSERT orders"]),
            json!([id(6), id(3), 3, 0, "GET"]),
        ]
    );
    let first = &trace["spans"][0];
    assert_eq!(first["start_time_unix_nano"], (START_NS + 2_000 * MS).to_string());
    assert_eq!(first["end_time_unix_nano"], (START_NS + 2_020 * MS).to_string());
    assert_eq!((&first["duration_ns"], &first["offset_ns"]), (&json!(20 * MS), &json!(0)));
    assert_eq!(trace["spans"][3]["offset_ns"], json!(3 * MS));
    assert_eq!(first["status"], json!({ "code": "unset", "message": "" }));
    assert_eq!(first["attributes"], json!({ "http.response.status_code": 200 }));
    assert_eq!(texts(&trace, "/resources", "service"), ["web", "checkout", "postgres"]);
    assert_eq!(trace["resources"][1]["attributes"]["host.name"], "test-host");
    assert_eq!(trace["spans"][2]["resource"], 1);
    assert_eq!(trace["scopes"], json!([{ "name": "tests", "version": "1", "attributes": {} }]));
    assert_eq!(trace["root_service"], "web");
    assert_eq!(trace["start_time"], "2023-11-14T22:14:02.000000000Z");
    assert_eq!((&trace["duration_ns"], &trace["span_count"]), (&json!(20 * MS), &json!(6)));
    assert_eq!(trace["services"][0], json!({ "name": "checkout", "span_count": 3, "error_count": 0 }));
    assert_eq!(trace["completeness"]["is_complete"], true);
}

#[test]
fn what_is_missing_is_said() {
    let spans = [
        span("web", 7, 1, "root"),
        span("web", 7, 2, "child").below(1),
        span("far", 7, 9, "orphan").below(8).at(2 * MS, MS),
        span("web", 7, 2, "child").below(1),
        span("web", 7, 4, "cut").below(1).at(MS, MS).with("remora.incomplete", text("gap")),
    ];
    let trace = Bridge::with(&spans).get("/api/v1/traces/0000000000000007");
    let flags: Vec<Value> = trace["spans"]
        .as_array()
        .unwrap()
        .iter()
        .map(|span| json!([span["name"], span["depth"], span["is_orphan"], span["has_duplicate_id"]]))
        .collect();
    assert_eq!(
        flags,
        [
            json!(["root", 0, false, false]),
            json!(["child", 1, false, false]),
            json!(["cut", 1, false, false]),
            json!(["orphan", 0, true, false]),
        ]
    );
    let completeness = &trace["completeness"];
    assert_eq!(completeness["is_complete"], false);
    assert_eq!((&completeness["found_spans"], &completeness["expected_spans"]), (&json!(4), &json!(5)));
    assert_eq!((&completeness["orphan_count"], &completeness["incomplete_spans"]), (&json!(1), &json!(1)));
}

#[test]
fn attributes_keep_their_types() {
    let typed = span("web", 7, 1, "typed")
        .with("int", Int(i64::MIN))
        .with("double", Double(1.0))
        .with("nan", Double(f64::NAN))
        .with("list", array(vec![text("a"), Int(1)]))
        .with("text", text("ä\"\n"));
    let trace = Bridge::with(&[typed]).get("/api/v1/traces/0000000000000007");
    assert_eq!(
        trace["spans"][0]["attributes"],
        json!({ "int": i64::MIN, "double": 1.0, "nan": "NaN", "list": ["a", 1], "text": "ä\"\n" })
    );
}

#[test]
fn services_and_operations_are_counted() {
    let bridge = Bridge::with(&shop::spans());
    let services = bridge.get(&format!("/api/v1/traces/services?{}", shop::range()));
    let lines: Vec<Value> = services["services"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| {
            let requests = &one["requests"];
            json!([
                one["name"],
                one["span_count"],
                one["span_error_count"],
                one["operation_count"],
                requests["count"],
                requests["errors"]
            ])
        })
        .collect();
    assert_eq!(
        lines,
        [
            json!(["checkout", 30, 2, 3, 10, 2]),
            json!(["postgres", 10, 0, 1, 10, 0]),
            json!(["web", 20, 4, 2, 10, 2]),
        ]
    );
    let operations = bridge.get(&format!("/api/v1/traces/operations?service=web&{}", shop::range()));
    let lines: Vec<Value> = operations["operations"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| json!([one["name"], one["kind"], one["count"], one["errors"], one["error_rate"]]))
        .collect();
    assert_eq!(lines, [json!(["POST", "client", 10, 2, 0.2]), json!(["POST /orders", "server", 10, 2, 0.2])]);
    let clients = bridge.get(&format!("/api/v1/traces/operations?service=web&kind=client&{}", shop::range()));
    assert_eq!(texts(&clients, "/operations", "name"), ["POST"]);
    let unknown = bridge.get(&format!("/api/v1/traces/operations?service=nobody&{}", shop::range()));
    assert_eq!(unknown["operations"], json!([]));
}

#[test]
fn performance_has_quantiles_rates_and_points() {
    let bridge = Bridge::with(&shop::spans());
    let query = format!("service=web&group_by=service&from={}&until={}&step=1m", START_S - 60, START_S + 120);
    let answer = bridge.get(&format!("/api/v1/traces/performance?{query}"));
    assert_eq!((&answer["step_seconds"], &answer["series_count"]), (&json!(60), &json!(1)));
    let series = &answer["series"][0];
    assert_eq!(
        (&series["service"], &series["operation"], &series["kinds"]),
        (&json!("web"), &Value::Null, &json!(["server"]))
    );
    let total = &series["total"];
    assert_eq!(
        (&total["count"], &total["errors"], &total["error_rate"]),
        (&json!(10), &json!(2), &json!(0.2))
    );
    assert_eq!(total["throughput_per_second"], json!(10.0 / 180.0));
    let latency = &total["latency"];
    assert_eq!(
        (&latency["min_ns"], &latency["max_ns"], &latency["mean_ns"]),
        (&json!(10 * MS), &json!(100 * MS), &json!(55 * MS))
    );
    // Requests take 10, 20 … 100 ms: nearest ranks 5, 9, 10, 10.
    for (quantile, exact) in [("p50_ns", 50), ("p90_ns", 90), ("p95_ns", 100), ("p99_ns", 100)] {
        let found = latency[quantile].as_f64().unwrap();
        let exact = (exact * MS) as f64;
        assert!(
            (found - exact).abs() <= exact * latency["relative_error"].as_f64().unwrap(),
            "{quantile}: {found}"
        );
    }
    let points: Vec<Value> = series["points"]
        .as_array()
        .unwrap()
        .iter()
        .map(|point| {
            json!([point["time"], point["count"], point["error_rate"], point["throughput_per_second"]])
        })
        .collect();
    assert_eq!(
        points,
        [
            json!(["2023-11-14T22:13:00.000000000Z", 0, null, 0.0]),
            json!(["2023-11-14T22:14:00.000000000Z", 10, 0.2, 10.0 / 60.0]),
            json!(["2023-11-14T22:15:00.000000000Z", 0, null, 0.0]),
        ]
    );
}

#[test]
fn performance_is_grouped_and_filtered() {
    let bridge = Bridge::with(&shop::spans());
    let names = |query: &str| {
        let answer = bridge.get(&format!("/api/v1/traces/performance?{query}&{}", shop::range()));
        let series = answer["series"].as_array().unwrap().clone();
        let lines = series
            .iter()
            .map(|one| format!("{} {} {}", one["service"], one["operation"], one["total"]["count"]));
        lines.map(|line| line.replace('"', "")).collect::<Vec<_>>()
    };
    assert_eq!(names(""), ["checkout null 10", "postgres null 10", "web null 10"]);
    assert_eq!(names("kind=all"), ["checkout null 30", "web null 20", "postgres null 10"]);
    assert_eq!(names("kind=client&limit=1"), ["checkout null 20"]);
    assert_eq!(names("service=checkout"), ["checkout POST /orders/{id} 10"]);
    assert_eq!(names("service=checkout&kind=all").len(), 3);
    assert_eq!(names("operation=INSERT+orders"), ["checkout INSERT orders 10", "postgres INSERT orders 10"]);
    assert_eq!(names("service=nobody").len(), 0);
}

#[test]
fn a_service_without_requests_is_measured_by_its_other_spans() {
    let bridge = Bridge::with(&[span("cron", 1, 1, "tick")]);
    let answer = bridge.get(&format!("/api/v1/traces/performance?{}", shop::range()));
    assert_eq!(
        (&answer["series"][0]["service"], &answer["series"][0]["kinds"]),
        (&json!("cron"), &json!(["internal"]))
    );
}

#[test]
fn the_service_map_has_one_edge_for_each_pair() {
    let bridge = Bridge::with(&shop::spans());
    let map = bridge.get(&format!("/api/v1/traces/dependencies?{}", shop::range()));
    let nodes: Vec<Value> = map["nodes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|node| json!([node["type"], node["name"], node["requests"]["count"]]))
        .collect();
    assert_eq!(
        nodes,
        [
            json!(["service", "checkout", 10]),
            json!(["service", "postgres", 10]),
            json!(["service", "web", 10]),
            json!(["cache", "redis@cache", null]),
        ]
    );
    let edges: Vec<Value> = map["edges"]
        .as_array()
        .unwrap()
        .iter()
        .map(|edge| {
            let latency = |side: &str| edge[side]["max_ns"].clone();
            json!([
                edge["caller"],
                edge["callee"],
                edge["connection"],
                edge["calls"],
                edge["errors"],
                latency("client_latency"),
                latency("server_latency")
            ])
        })
        .collect();
    assert_eq!(
        edges,
        [
            json!(["checkout", "postgres", "database", 10, 0, 2 * MS, MS]),
            json!(["checkout", "redis@cache", "cache", 10, 0, MS, null]),
            json!(["web", "checkout", "service", 10, 2, 98 * MS, 96 * MS]),
        ]
    );
    let around = bridge.get(&format!("/api/v1/traces/dependencies?service=web&{}", shop::range()));
    assert_eq!(texts(&around, "/nodes", "name"), ["checkout", "web"]);
    assert_eq!(texts(&around, "/edges", "callee"), ["checkout"]);
}

#[test]
fn calls_are_joined_across_segments() {
    let bridge = Bridge::start();
    let (callers, callees): (Vec<_>, Vec<_>) =
        shop::spans().into_iter().partition(|one| one.span.kind == Kind::Client as i32);
    bridge.ingest(&callees);
    bridge.store.seal().unwrap();
    bridge.ingest(&callers);
    let whole = Bridge::with(&shop::spans());
    let path = format!("/api/v1/traces/dependencies?{}", shop::range());
    assert_eq!(bridge.get(&path), whole.get(&path));
    bridge.store.seal().unwrap();
    assert_eq!(bridge.get(&path), whole.get(&path));
}

#[test]
fn errors_are_grouped_with_examples() {
    let bridge = Bridge::with(&shop::spans());
    let answer = bridge.get(&format!("/api/v1/traces/errors?{}", shop::range()));
    assert_eq!((&answer["group_count"], &answer["error_count"]), (&json!(3), &json!(6)));
    let first =
        bridge.get(&format!("/api/v1/traces/errors?service=checkout&{}", shop::range()))["errors"][0].clone();
    assert_eq!(
        first,
        json!({
            "service": "checkout", "operation": "POST /orders/{id}", "kind": "server", "error_type": "503",
            "message": "out of stock", "count": 2,
            "first_seen": "2023-11-14T22:14:03.002000000Z", "last_seen": "2023-11-14T22:14:06.002000000Z",
            "trace_ids": ["00000000000000000000000000000006", "00000000000000000000000000000003"],
        })
    );
    let of_client = bridge.get(&format!("/api/v1/traces/errors?operation=POST&limit=1&{}", shop::range()));
    assert_eq!(texts(&of_client, "/errors", "kind"), ["client"]);
}

#[test]
fn the_last_hour_is_asked_for_by_default() {
    let bridge = Bridge::start();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos() as u64;
    let mut recent = span("recent", 1, 1, "now").kind(Kind::Server);
    (recent.span.start_time_unix_nano, recent.span.end_time_unix_nano) = (now - 1_000 * MS, now - 900 * MS);
    bridge.ingest(&[recent, span("old", 2, 1, "then").kind(Kind::Server)]);
    assert_eq!(texts(&bridge.get("/api/v1/traces/services"), "/services", "name"), ["recent"]);
    assert_eq!(texts(&bridge.get("/api/v1/traces/performance"), "/series", "service"), ["recent"]);
    assert_eq!(texts(&bridge.get("/api/v1/traces/dependencies?since=15m"), "/nodes", "name"), ["recent"]);
    assert_eq!(texts(&bridge.search(&json!({})), "/traces", "root_service"), ["recent"]);
}
