//! Server-sent events: one span for each stream, with the number of events.

use std::process::Command;

use expect_test::expect;
use remora_tests::clients;
use remora_tests::remora::Remora;
use remora_tests::servers::RecordedServer;
use remora_tests::span::{Names, Show, outline};
use remora_tests::tools;

/// Returns what is told of a stream that a client follows to its end in a role.
fn followed(server: &RecordedServer, role: &str, mut client: Command) -> String {
    let mut remora = Remora::start().unwrap();
    tools::printed(client.arg(role).arg(server.address().port().to_string())).unwrap();
    let spans = remora.finish().unwrap().spans_of_server(server.address()).unwrap();
    let told = [
        "error.type",
        "http.response.status_code",
        "remora.incomplete",
        "remora.sse.events",
        "url.path",
        "url.full",
    ];
    outline(&spans, &Names::of(&[("LIVE", server.address())]), Show::Only(&told))
}

#[test]
#[ignore = "needs root"]
fn eventsource_follows_node() {
    let node = RecordedServer::node().unwrap();
    expect![[r#"
        client `GET` of golden-clients, unset
            http.response.status_code = 200
            remora.sse.events = 4
            url.full = http://LIVE/events?from=1
          server `GET /events` of golden-clients, unset
              http.response.status_code = 200
              remora.sse.events = 4
              url.path = /events
    "#]]
    .assert_eq(&followed(&node, "follow", clients::recorded_node("live.js").unwrap()));
}

#[test]
#[ignore = "needs root"]
fn httpx_sse_follows_uvicorn() {
    let uvicorn = RecordedServer::uvicorn().unwrap();
    expect![[r#"
        client `GET` of live, unset
            http.response.status_code = 200
            remora.sse.events = 3
            url.full = http://LIVE/events
          server `GET /events` of live_app, unset
              http.response.status_code = 200
              remora.sse.events = 3
              url.path = /events
    "#]]
    .assert_eq(&followed(&uvicorn, "follow", clients::recorded_python("live.py").unwrap()));
}

#[test]
#[ignore = "needs root"]
fn httpx_sse_follows_hypercorn_by_http2() {
    let hypercorn = RecordedServer::hypercorn().unwrap();
    expect![[r#"
        client `GET` of live, unset
            http.response.status_code = 200
            remora.sse.events = 3
            url.full = http://LIVE/events
          server `GET /events` of live_app, unset
              http.response.status_code = 200
              remora.sse.events = 3
              url.path = /events
    "#]]
    .assert_eq(&followed(&hypercorn, "follow-http2", clients::recorded_python("live.py").unwrap()));
}

#[test]
#[ignore = "needs root"]
fn httpx_sse_follows_node_by_http2() {
    let node = RecordedServer::node_http2().unwrap();
    expect![[r#"
        client `GET` of live, unset
            http.response.status_code = 200
            remora.sse.events = 4
            url.full = http://LIVE/events
          server `GET /events` of golden-clients, unset
              http.response.status_code = 200
              remora.sse.events = 4
              url.path = /events
    "#]]
    .assert_eq(&followed(&node, "follow-http2", clients::recorded_python("live.py").unwrap()));
}
