//! The OpenAPI document describes what the bridge does.

use serde_json::{Value, json};

use crate::bridge::{Answer, Bridge};
use crate::schema::problems;
use crate::shop;

fn document(bridge: &Bridge) -> Value {
    bridge.get("/api/v1/openapi.json")
}

/// The schema of an answer, as the document says.
fn schema<'a>(document: &'a Value, path: &str, method: &str, status: u16) -> &'a Value {
    let response = &document["paths"][path][method]["responses"][status.to_string()];
    assert!(response.is_object(), "{method} {path} does not describe {status}");
    let response = match response["$ref"].as_str() {
        Some(reference) => document.pointer(&reference[1..]).unwrap(),
        None => response,
    };
    &response["content"]["application/json"]["schema"]
}

fn assert_fits(document: &Value, path: &str, method: &str, answer: &Answer) {
    let found = problems(document, schema(document, path, method, answer.status), &answer.json());
    assert_eq!(found, [""; 0], "{method} {path} {}: {}", answer.status, answer.body);
}

#[test]
fn answers_are_as_described() {
    let mut spans = shop::spans();
    let mut rich = spans[0].clone();
    rich.span.trace_id = 77_u128.to_be_bytes().to_vec();
    rich.span.kind = 99;
    rich.span.events.push(opentelemetry_proto::tonic::trace::v1::span::Event {
        time_unix_nano: 5,
        name: "early".to_owned(),
        ..Default::default()
    });
    rich.span.links.push(opentelemetry_proto::tonic::trace::v1::span::Link {
        trace_id: vec![1; 16],
        span_id: vec![2; 8],
        trace_state: "a=b".to_owned(),
        ..Default::default()
    });
    spans.push(rich);
    let bridge = Bridge::with(&spans);
    let document = document(&bridge);
    let range = shop::range();
    let empty = "from=1&until=2";
    for (path, asked) in [
        ("/api/v1/traces/{id}", "/api/v1/traces/0000000000000003".to_owned()),
        ("/api/v1/traces/{id}", "/api/v1/traces/000000000000004d".to_owned()),
        ("/api/v1/traces/{id}", "/api/v1/traces/0000000000000fff".to_owned()),
        ("/api/v1/traces/{id}", "/api/v1/traces/x".to_owned()),
        ("/api/v1/traces/services", format!("/api/v1/traces/services?{range}")),
        ("/api/v1/traces/services", format!("/api/v1/traces/services?{empty}")),
        ("/api/v1/traces/services", "/api/v1/traces/services?x=1".to_owned()),
        ("/api/v1/traces/operations", format!("/api/v1/traces/operations?service=web&{range}")),
        ("/api/v1/traces/operations", "/api/v1/traces/operations".to_owned()),
        ("/api/v1/traces/performance", format!("/api/v1/traces/performance?{range}")),
        (
            "/api/v1/traces/performance",
            format!("/api/v1/traces/performance?group_by=operation&kind=all&{range}"),
        ),
        ("/api/v1/traces/performance", "/api/v1/traces/performance?step=1".to_owned()),
        ("/api/v1/traces/dependencies", format!("/api/v1/traces/dependencies?{range}")),
        ("/api/v1/traces/errors", format!("/api/v1/traces/errors?{range}")),
        ("/api/v1/traces/errors", "/api/v1/traces/errors?limit=x".to_owned()),
        ("/api/v1/openapi.json", "/api/v1/openapi.json".to_owned()),
    ] {
        assert_fits(&document, path, "get", &bridge.send("GET", &asked, &[], b""));
    }
    let search = "/api/v1/traces/search";
    for body in [
        json!({}),
        json!({ "from": crate::otlp::START_S, "limit": 2 }),
        json!({ "from": crate::otlp::START_S, "operation": "GET" }),
        json!({ "limit": 0 }),
    ] {
        assert_fits(&document, search, "post", &bridge.post_search(&body));
    }
    assert_fits(
        &document,
        search,
        "post",
        &bridge.send("POST", search, &[("content-type", "text/plain")], b"x"),
    );
    assert_fits(&document, search, "post", &bridge.send("POST", search, &[], &vec![b' '; 300_000]));
}

#[test]
fn every_described_route_answers_its_methods_only() {
    let bridge = Bridge::start();
    let document = document(&bridge);
    for (path, methods) in document["paths"].as_object().unwrap() {
        let asked = path.replace("{id}", "0af7651916cd43dd8448eb211c80319c");
        for method in ["get", "post", "put", "delete", "patch"] {
            let answer = bridge.send(&method.to_uppercase(), &asked, &[], b"");
            let is_described = methods.get(method).is_some();
            assert_eq!(answer.status != 405, is_described, "{method} {path}: {}", answer.status);
            if answer.status == 405 {
                let described = methods.as_object().unwrap().keys().next().unwrap();
                assert_fits(&document, path, described, &answer);
            }
            let is_unknown_route =
                answer.status == 404 && answer.json()["error"]["code"] == "route_not_found";
            assert!(!is_unknown_route, "{method} {path}");
        }
    }
}

#[test]
fn examples_are_as_described() {
    let document = document(&Bridge::start());
    let mut checked = 0;
    let mut contents: Vec<Value> = document["components"]["responses"]
        .as_object()
        .unwrap()
        .values()
        .map(|response| response["content"].clone())
        .collect();
    for methods in document["paths"].as_object().unwrap().values() {
        for operation in methods.as_object().unwrap().values() {
            contents.push(operation["requestBody"]["content"].clone());
            contents.push(operation["responses"]["200"]["content"].clone());
        }
    }
    for content in contents {
        let json = &content["application/json"];
        if let Some(example) = json.get("example") {
            assert_eq!(problems(&document, &json["schema"], example), [""; 0], "{example}");
            checked += 1;
        }
    }
    assert_eq!(checked, 16, "examples");
}

#[test]
fn described_examples_of_parameters_are_accepted() {
    let bridge = Bridge::start();
    let document = document(&bridge);
    for (path, methods) in document["paths"].as_object().unwrap() {
        let parameters = methods["get"]["parameters"].as_array().cloned().unwrap_or_default();
        let mut pairs = Vec::new();
        for parameter in &parameters {
            let value = match (
                &parameter["example"],
                &parameter["schema"]["enum"],
                &parameter["schema"]["default"],
            ) {
                (Value::String(example), ..) => example.clone(),
                (_, Value::Array(values), _) => values[0].as_str().unwrap().to_owned(),
                (_, _, Value::Number(default)) => default.to_string(),
                _ => panic!("{path}: no example of {parameter}"),
            };
            let excluded = parameter["name"] == "since" || parameter["in"] == "path";
            if !excluded {
                pairs.push(format!("{}={}", parameter["name"].as_str().unwrap(), value.replace(' ', "+")));
            }
        }
        if !pairs.is_empty() {
            let answer = bridge.send("GET", &format!("{path}?{}", pairs.join("&")), &[], b"");
            assert_eq!(answer.status, 200, "{path} {pairs:?}: {}", answer.body);
        }
    }
}

#[test]
fn the_described_search_is_accepted() {
    let bridge = Bridge::start();
    let document = document(&bridge);
    let body =
        &document["paths"]["/api/v1/traces/search"]["post"]["requestBody"]["content"]["application/json"];
    bridge.search(&body["example"]);
}

#[test]
fn schemas_are_used_and_described() {
    let document = document(&Bridge::start());
    let text = document.to_string();
    for (name, schema) in document["components"]["schemas"].as_object().unwrap() {
        assert!(text.contains(&format!("#/components/schemas/{name}\"")), "{name} is not used");
        assert!(schema["description"].is_string(), "{name} says nothing");
        for (field, property) in schema["properties"].as_object().unwrap() {
            let is_described = property["description"].is_string()
                || property.get("$ref").is_some()
                || property.get("oneOf").is_some();
            assert!(is_described, "{name}.{field} says nothing");
        }
    }
    assert_eq!(document["openapi"], "3.1.0");
}

#[test]
fn the_page_is_html_for_people() {
    let answer = Bridge::start().send("GET", "/", &[], b"");
    assert_eq!(answer.status, 200);
    assert!(answer.head.contains("content-type: text/html; charset=utf-8"), "{}", answer.head);
    assert!(answer.body.contains("curl localhost:7654/api/v1/traces/search --json"));
}
