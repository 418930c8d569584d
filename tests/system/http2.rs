//! HTTP/2 in clear text: Node's own server.

use expect_test::expect;
use remora_tests::remora::Remora;
use remora_tests::servers::NodeHttp2;
use remora_tests::span::Names;
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
