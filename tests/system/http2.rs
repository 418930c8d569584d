//! HTTP/2 in clear text: Node's own server, Go's, and nghttp2's with all that the protocol has.

use std::collections::BTreeSet;
use std::process::Command;

use expect_test::expect;
use remora_tests::remora::Remora;
use remora_tests::servers::{NodeHttp2, RecordedServer};
use remora_tests::span::{Names, Show, Span, outline};
use remora_tests::{locate, tools};

use crate::whole;

/// Requests in one call.
const AT_ONCE: usize = 100;

#[test]
#[ignore = "needs root"]
fn a_request_that_is_known_to_be_http2() {
    let node = NodeHttp2::start().unwrap();
    let mut remora = Remora::start().unwrap();
    let url = format!("http://{}/users/4711?token=secret", node.address());
    tools::curl(&["--http2-prior-knowledge", &url]).unwrap();
    let spans = remora.finish().unwrap().spans_of_server(node.address()).unwrap();
    expect![[r#"
        client `GET` of curl, unset
            http.request.method = GET
            http.response.status_code = 200
            network.peer.address = 127.0.0.1
            network.peer.port = NODE.port
            network.protocol.version = 2
            server.address = 127.0.0.1
            server.port = NODE.port
            url.full = http://NODE/users/4711?token=REDACTED
            user_agent.original = curl/*
          server `GET /users/{id}` of remora-test-app, unset
              client.address = 127.0.0.1
              client.port = *
              http.request.method = GET
              http.response.status_code = 200
              http.route = /users/{id}
              network.peer.address = 127.0.0.1
              network.peer.port = *
              network.protocol.version = 2
              remora.parent.evidence = position
              server.address = 127.0.0.1
              server.port = NODE.port
              url.path = /users/4711
              url.query = token=REDACTED
              url.scheme = http
              user_agent.original = curl/*
    "#]]
    .assert_eq(&whole(&spans, &Names::of(&[("NODE", node.address())])));
}

#[test]
#[ignore = "needs root"]
fn a_connection_that_goes_on_by_http2() {
    let go = RecordedServer::go_h2c().unwrap();
    let mut remora = Remora::start().unwrap();
    let url = |path: &str| format!("http://{}{path}", go.address());
    // The first request is answered by HTTP/2 though it was asked by HTTP/1.1.
    let (first, second) = (url("/users/4711"), url("/missing"));
    tools::curl(&["--http2", &first, "--next", "--silent", "--noproxy", "*", "--http2", &second]).unwrap();
    let spans = remora.finish().unwrap().spans_of_server(go.address()).unwrap();
    let told = ["error.type", "http.response.status_code", "http.route", "network.protocol.version"];
    expect![[r#"
        client `GET` of curl, unset
            http.response.status_code = 200
            network.protocol.version = 1.1
          server `GET /users/{id}` of golden, unset
              http.response.status_code = 200
              http.route = /users/{id}
              network.protocol.version = 1.1
        client `GET` of curl, error
            error.type = 404
            http.response.status_code = 404
            network.protocol.version = 2
          server `GET /missing` of golden, unset
              http.response.status_code = 404
              http.route = /missing
              network.protocol.version = 2
    "#]]
    .assert_eq(&outline(&spans, &Names::of(&[("GO", go.address())]), Show::Only(&told)));
}

/// Padded frames, changes of the tables' sizes, field blocks of 18 KiB in several frames, priorities, trailers, pushes.
#[test]
#[ignore = "needs root"]
fn all_that_the_protocol_has() {
    let server = RecordedServer::nghttpd().unwrap();
    let mut remora = Remora::start().unwrap();
    let (known, missing) = (format!("http://{}/a.txt", server.address()), "/missing");
    let ask = |options: &[&str]| {
        let mut command = Command::new(locate::program("nghttp").unwrap());
        tools::printed(command.args(["--null-out", "--timeout=20"]).args(options)).unwrap();
    };
    ask(&[&format!("--multiply={AT_ONCE}"), &known]);
    ask(&["--padding=255", "--weight=7", "--continuation", "--multiply=3", &known]);
    let missing = format!("http://{}{missing}", server.address());
    ask(&["--header-table-size=0", "--header-table-size=1000", "--multiply=2", &known, &missing]);
    let spans = remora.finish().unwrap().spans_of_server(server.address()).unwrap();
    let of = |kind: &str, status: i64| {
        let is_it =
            |span: &&Span| span.kind == kind && span.number("http.response.status_code") == Some(status);
        spans.iter().filter(is_it).collect::<Vec<_>>()
    };
    for kind in ["client", "server"] {
        let (found, missing) = (of(kind, 200), of(kind, 404));
        assert_eq!((found.len(), missing.len()), (AT_ONCE + 5, 2), "{kind}");
        let all =
            found.iter().map(|span| (span, "/a.txt")).chain(missing.iter().map(|span| (span, "/missing")));
        for (span, path) in all {
            let told = span.text("url.path").or_else(|| span.text("url.full")).unwrap_or_default();
            assert!(told.ends_with(path), "{span:#?}");
            assert!(!span.attributes.contains_key("remora.incomplete"), "{span:#?}");
        }
    }
    let asked: BTreeSet<_> =
        of("client", 200).iter().chain(&of("client", 404)).map(|span| &span.span_id).collect();
    let served: BTreeSet<_> = of("server", 200)
        .iter()
        .chain(&of("server", 404))
        .filter_map(|span| span.parent_id.as_ref())
        .collect();
    assert_eq!(asked, served, "each request of the server's is below its own of the client");
    assert!(spans.iter().all(|span| !span.attributes.values().any(|value| value == "/pushed.txt")));
}
