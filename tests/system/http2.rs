//! HTTP/2 in clear text: Node's own server.

use expect_test::expect;
use remora_tests::remora::Remora;
use remora_tests::servers::{NodeHttp2, RecordedServer};
use remora_tests::span::{Names, Show, outline};
use remora_tests::tools;

use crate::whole;

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
