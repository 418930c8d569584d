//! What is wrong is refused with a 4xx that says what, and the bridge describes itself.

use remora_tests::remora::BridgeOnly;
use serde_json::json;

#[test]
#[ignore = "needs `cargo xtask build`"]
fn wrong_questions_are_refused() {
    let running = BridgeOnly::start().unwrap();
    let bridge = running.bridge();
    for (path, status) in [
        ("/api/v1/traces/xyz", 400),
        ("/api/v1/traces/0123456789abcdef0123456789abcdef", 404),
        ("/api/v1/traces/services?since=yesterday", 400),
        ("/api/v1/traces/services?no_such_parameter=1", 400),
        ("/api/v1/traces/operations", 400),
        ("/api/v1/traces/search", 405),
        ("/no/such/path", 404),
    ] {
        let (found, answer) = bridge.get(path).unwrap();
        assert_eq!(found, status, "{path}: {answer}");
        assert!(
            answer["error"]["message"].as_str().is_some_and(|message| !message.is_empty()),
            "{path}: {answer}"
        );
    }
    for body in
        [json!({ "limit": 0 }), json!({ "servce": "shop" }), json!([]), json!({ "min_duration": "long" })]
    {
        let (found, answer) = bridge.post("/api/v1/traces/search", &body).unwrap();
        assert_eq!(found, 400, "{body}: {answer}");
    }
}

#[test]
#[ignore = "needs `cargo xtask build`"]
fn the_bridge_describes_itself() {
    let running = BridgeOnly::start().unwrap();
    let bridge = running.bridge();
    let (status, description) = bridge.get("/api/v1/openapi.json").unwrap();
    assert_eq!(status, 200);
    assert!(
        description["openapi"].as_str().is_some_and(|version| version.starts_with("3.")),
        "{description}"
    );
    let paths = description["paths"].as_object().unwrap();
    for path in paths.keys().filter(|path| !path.contains('{')) {
        let (status, _) = bridge.get(path).unwrap();
        assert!(status != 404, "{path} is described and not there");
    }
    let (status, page) = bridge.get("/").unwrap();
    assert_eq!(status, 200);
    assert!(page.as_str().is_some_and(|page| page.contains("/api/v1/traces/search")), "{page}");
}

#[test]
#[ignore = "needs `cargo xtask build`"]
fn an_empty_bridge_answers_with_nothing() {
    let running = BridgeOnly::start().unwrap();
    let bridge = running.bridge();
    for (path, list) in [
        ("/api/v1/traces/services", "services"),
        ("/api/v1/traces/dependencies", "edges"),
        ("/api/v1/traces/errors", "errors"),
        ("/api/v1/traces/performance", "series"),
    ] {
        let (status, answer) = bridge.get(path).unwrap();
        assert_eq!(status, 200, "{path}: {answer}");
        assert_eq!(answer[list], json!([]), "{path}: {answer}");
    }
}
