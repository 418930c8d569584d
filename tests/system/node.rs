//! Node: http server and client, pg.

use expect_test::{Expect, expect};
use remora_tests::remora::Remora;
use remora_tests::servers::{Gunicorn, NodeService, Postgres, Workers};
use remora_tests::span::{Names, Show, outline};
use remora_tests::tools;

use crate::whole;

#[test]
#[ignore = "needs root"]
fn one_request() {
    let node = NodeService::start("", "").unwrap();
    let mut remora = Remora::start().unwrap();
    tools::curl(&[&format!("http://{}/users/4711", node.address())]).unwrap();
    let spans = remora.finish().unwrap().spans_of_server(node.address()).unwrap();
    expect![[r#"
        client `GET` of curl, unset
            http.request.method = GET
            http.response.status_code = 200
            network.peer.address = 127.0.0.1
            network.peer.port = NODE.port
            network.protocol.version = 1.1
            server.address = 127.0.0.1
            server.port = NODE.port
            url.full = http://NODE/users/4711
            user_agent.original = curl/*
          server `GET /users/{id}` of remora-test-app, unset
              client.address = 127.0.0.1
              client.port = *
              http.request.method = GET
              http.response.status_code = 200
              http.route = /users/{id}
              network.peer.address = 127.0.0.1
              network.peer.port = *
              network.protocol.version = 1.1
              remora.parent.evidence = position
              server.address = 127.0.0.1
              server.port = NODE.port
              url.path = /users/4711
              url.scheme = http
              user_agent.original = curl/*
    "#]]
    .assert_eq(&whole(&spans, &Names::of(&[("NODE", node.address())])));
}

/// What the service calls need not be below its own span (an event loop tells little), but all of it must be there,
/// and nothing may be below the wrong one.
fn check_calls(path: &str, expected: &Expect) {
    let postgres = Postgres::start().unwrap();
    let shop = Gunicorn::start(Workers::Sync(1), &[]).unwrap();
    let node = NodeService::start(&postgres.url(), &format!("http://{}", shop.address())).unwrap();
    let mut remora = Remora::start().unwrap();
    tools::curl(&[&format!("http://{}{path}", node.address())]).unwrap();
    let bridge = remora.finish().unwrap();
    let mut spans = Vec::new();
    for server in [node.address(), postgres.address(), shop.address()] {
        let new = bridge.spans_of_server(server).unwrap();
        spans.extend(
            new.into_iter()
                .filter(|new| !spans.iter().any(|old: &remora_tests::span::Span| old.span_id == new.span_id))
                .collect::<Vec<_>>(),
        );
    }
    let names =
        Names::of(&[("NODE", node.address()), ("POSTGRES", postgres.address()), ("SHOP", shop.address())]);
    let shown = ["db.query.text", "http.response.status_code", "http.route"];
    expected.assert_eq(&outline(&spans, &names, Show::Only(&shown)));
}

#[test]
#[ignore = "needs root"]
fn a_query() {
    check_calls(
        "/orders/100001",
        &expect![[r#"
            client `GET` of curl, unset
                http.response.status_code = 200
              server `GET /orders/{id}` of remora-test-app, unset
                  http.response.status_code = 200
                  http.route = /orders/{id}
                client `SELECT orders` of remora-test-app, unset
                    db.query.text = SELECT note FROM orders WHERE id = $1
                  server `SELECT orders` of postgres, unset
                      db.query.text = SELECT note FROM orders WHERE id = $1
        "#]],
    );
}

#[test]
#[ignore = "needs root"]
fn a_call_of_another_service() {
    check_calls(
        "/relay/4711",
        &expect![[r#"
            client `GET` of curl, unset
                http.response.status_code = 200
              server `GET /relay/{id}` of remora-test-app, unset
                  http.response.status_code = 200
                  http.route = /relay/{id}
                client `GET` of remora-test-app, unset
                    http.response.status_code = 200
                  server `GET /users/{id}` of shop, unset
                      http.response.status_code = 200
                      http.route = /users/{id}
        "#]],
    );
}
