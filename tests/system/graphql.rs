//! GraphQL over HTTP: spans are named by the type of the operation.

use std::process::Command;

use expect_test::expect;
use remora_tests::clients;
use remora_tests::remora::Remora;
use remora_tests::servers::RecordedServer;
use remora_tests::span::{Names, Show, outline};
use remora_tests::tools;

/// Returns what is told of the operations that a client asks for in a role.
fn asked(server: &RecordedServer, role: &str, mut client: Command) -> String {
    let mut remora = Remora::start().unwrap();
    tools::printed(client.arg(role).arg(server.address().port().to_string())).unwrap();
    let spans = remora.finish().unwrap().spans_of_server(server.address()).unwrap();
    let told = [
        "error.type",
        "graphql.document",
        "graphql.operation.name",
        "graphql.operation.type",
        "http.request.method",
        "http.response.status_code",
        "http.route",
        "url.path",
    ];
    outline(&spans, &Names::of(&[("GRAPHQL", server.address())]), Show::Only(&told))
}

#[test]
#[ignore = "needs root"]
fn graphql_request_asks_graphql_http() {
    let node = RecordedServer::node().unwrap();
    expect![[r#"
        client `query` of golden-clients, unset (parent elsewhere)
            graphql.operation.name = Hello
            graphql.operation.type = query
            http.request.method = POST
            http.response.status_code = 200
          server `query /graphql` of golden-clients, unset
              graphql.operation.name = Hello
              graphql.operation.type = query
              http.request.method = POST
              http.response.status_code = 200
              http.route = /graphql
              url.path = /graphql
        client `query` of golden-clients, unset (parent elsewhere)
            graphql.operation.type = query
            http.request.method = POST
            http.response.status_code = 200
          server `query /graphql` of golden-clients, unset
              graphql.operation.type = query
              http.request.method = POST
              http.response.status_code = 200
              http.route = /graphql
              url.path = /graphql
        client `mutation` of golden-clients, unset (parent elsewhere)
            graphql.operation.name = Rename
            graphql.operation.type = mutation
            http.request.method = POST
            http.response.status_code = 200
          server `mutation /graphql` of golden-clients, unset
              graphql.operation.name = Rename
              graphql.operation.type = mutation
              http.request.method = POST
              http.response.status_code = 200
              http.route = /graphql
              url.path = /graphql
        client `query` of golden-clients, error (parent elsewhere)
            error.type = FORBIDDEN
            graphql.operation.name = Secret
            graphql.operation.type = query
            http.request.method = POST
            http.response.status_code = 200
          server `query /graphql` of golden-clients, unset
              graphql.operation.name = Secret
              graphql.operation.type = query
              http.request.method = POST
              http.response.status_code = 200
              http.route = /graphql
              url.path = /graphql
        client `query` of golden-clients, error (parent elsewhere)
            error.type = graphql_error
            graphql.operation.name = Wrong
            graphql.operation.type = query
            http.request.method = POST
            http.response.status_code = 200
          server `query /graphql` of golden-clients, error
              error.type = graphql_error
              graphql.operation.name = Wrong
              graphql.operation.type = query
              http.request.method = POST
              http.response.status_code = 200
              http.route = /graphql
              url.path = /graphql
        client `query` of golden-clients, error (parent elsewhere)
            error.type = graphql_error
            graphql.operation.name = A
            graphql.operation.type = query
            http.request.method = POST
            http.response.status_code = 200
          server `query /graphql` of golden-clients, error
              error.type = graphql_error
              graphql.operation.name = A
              graphql.operation.type = query
              http.request.method = POST
              http.response.status_code = 200
              http.route = /graphql
              url.path = /graphql
        client `query` of golden-clients, error (parent elsewhere)
            error.type = 400
            graphql.operation.type = query
            http.request.method = POST
            http.response.status_code = 400
          server `query /graphql` of golden-clients, unset
              graphql.operation.type = query
              http.request.method = POST
              http.response.status_code = 400
              http.route = /graphql
              url.path = /graphql
    "#]]
    .assert_eq(&asked(&node, "ask", clients::recorded_node("live.js").unwrap()));
}

#[test]
#[ignore = "needs root"]
fn gql_asks_strawberry() {
    let uvicorn = RecordedServer::uvicorn().unwrap();
    expect![[r#"
        client `query` of live, unset
            graphql.operation.name = Hello
            graphql.operation.type = query
            http.request.method = POST
            http.response.status_code = 200
          server `query /graphql` of live_app, unset
              graphql.operation.name = Hello
              graphql.operation.type = query
              http.request.method = POST
              http.response.status_code = 200
              http.route = /graphql
              url.path = /graphql
        client `query` of live, error
            error.type = graphql_error
            graphql.operation.name = Broken
            graphql.operation.type = query
            http.request.method = POST
            http.response.status_code = 200
          server `query /graphql` of live_app, error
              error.type = graphql_error
              graphql.operation.name = Broken
              graphql.operation.type = query
              http.request.method = POST
              http.response.status_code = 200
              http.route = /graphql
              url.path = /graphql
        client `mutation` of live, unset
            graphql.operation.name = Rename
            graphql.operation.type = mutation
            http.request.method = POST
            http.response.status_code = 200
          server `mutation /graphql` of live_app, unset
              graphql.operation.name = Rename
              graphql.operation.type = mutation
              http.request.method = POST
              http.response.status_code = 200
              http.route = /graphql
              url.path = /graphql
        client `query` of live, unset
            graphql.operation.name = ByUrl
            graphql.operation.type = query
            http.request.method = GET
            http.response.status_code = 200
          server `query /graphql` of live_app, unset
              graphql.operation.name = ByUrl
              graphql.operation.type = query
              http.request.method = GET
              http.response.status_code = 200
              http.route = /graphql
              url.path = /graphql
    "#]]
    .assert_eq(&asked(&uvicorn, "ask", clients::recorded_python("live.py").unwrap()));
}

#[test]
#[ignore = "needs root"]
fn gql_asks_strawberry_by_http2() {
    let hypercorn = RecordedServer::hypercorn().unwrap();
    expect![[r#"
        client `query` of live, unset
            graphql.operation.name = Hello
            graphql.operation.type = query
            http.request.method = POST
            http.response.status_code = 200
          server `query /graphql` of live_app, unset
              graphql.operation.name = Hello
              graphql.operation.type = query
              http.request.method = POST
              http.response.status_code = 200
              http.route = /graphql
              url.path = /graphql
        client `query` of live, error
            error.type = graphql_error
            graphql.operation.name = Broken
            graphql.operation.type = query
            http.request.method = POST
            http.response.status_code = 200
          server `query /graphql` of live_app, error
              error.type = graphql_error
              graphql.operation.name = Broken
              graphql.operation.type = query
              http.request.method = POST
              http.response.status_code = 200
              http.route = /graphql
              url.path = /graphql
        client `mutation` of live, unset
            graphql.operation.name = Rename
            graphql.operation.type = mutation
            http.request.method = POST
            http.response.status_code = 200
          server `mutation /graphql` of live_app, unset
              graphql.operation.name = Rename
              graphql.operation.type = mutation
              http.request.method = POST
              http.response.status_code = 200
              http.route = /graphql
              url.path = /graphql
    "#]]
    .assert_eq(&asked(&hypercorn, "ask-http2", clients::recorded_python("live.py").unwrap()));
}

#[test]
#[ignore = "needs root"]
fn gql_asks_graphql_http_by_http2() {
    let node = RecordedServer::node_http2().unwrap();
    expect![[r#"
        client `query` of live, unset
            graphql.operation.name = Hello
            graphql.operation.type = query
            http.request.method = POST
            http.response.status_code = 200
          server `query /graphql` of golden-clients, unset
              graphql.operation.name = Hello
              graphql.operation.type = query
              http.request.method = POST
              http.response.status_code = 200
              http.route = /graphql
              url.path = /graphql
        client `query` of live, error
            error.type = graphql_error
            graphql.operation.name = Broken
            graphql.operation.type = query
            http.request.method = POST
            http.response.status_code = 200
          server `query /graphql` of golden-clients, error
              error.type = graphql_error
              graphql.operation.name = Broken
              graphql.operation.type = query
              http.request.method = POST
              http.response.status_code = 200
              http.route = /graphql
              url.path = /graphql
        client `mutation` of live, unset
            graphql.operation.name = Rename
            graphql.operation.type = mutation
            http.request.method = POST
            http.response.status_code = 200
          server `mutation /graphql` of golden-clients, unset
              graphql.operation.name = Rename
              graphql.operation.type = mutation
              http.request.method = POST
              http.response.status_code = 200
              http.route = /graphql
              url.path = /graphql
    "#]]
    .assert_eq(&asked(&node, "ask-http2", clients::recorded_python("live.py").unwrap()));
}
