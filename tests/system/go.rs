//! Go: net/http server and client, pgx and database/sql.

use std::collections::HashMap;

use expect_test::{Expect, expect};
use remora_tests::certificates::Certificates;
use remora_tests::remora::Remora;
use remora_tests::servers::{GoService, Gunicorn, Postgres, Workers};
use remora_tests::span::{Names, Show, Span, outline};
use remora_tests::tools;

use crate::{shape, whole};

/// pgx tests a connection that was idle for a second by an empty statement.
fn is_ping(span: &Span) -> bool {
    span.text("db.system.name") == Some("postgresql") && span.text("db.query.summary").is_none()
}

fn check_query(path: &str, expected: &Expect) {
    let postgres = Postgres::start().unwrap();
    let database = format!("{}&default_query_exec_mode=exec", postgres.url());
    let items = GoService::start(&["-database".to_owned(), database]).unwrap();
    let mut remora = Remora::start().unwrap();
    let url = format!("{}{path}", items.url());
    // The first opens a connection, whose handshake is not of interest here.
    tools::curl(&[&url]).unwrap();
    tools::curl(&[&format!("{url}?second")]).unwrap();
    let spans = remora.finish().unwrap().spans_of_server(items.address()).unwrap();
    let second = spans.iter().find(|span| span.text("url.full").is_some_and(|url| url.ends_with("second")));
    let trace_id = second.expect("the client's span of the second request").trace_id.clone();
    let spans: Vec<_> =
        spans.into_iter().filter(|span| span.trace_id == trace_id && !is_ping(span)).collect();
    let names = Names::of(&[("ITEMS", items.address()), ("POSTGRES", postgres.address())]);
    let shown = ["db.query.text", "db.system.name", "http.response.status_code", "http.route"];
    expected.assert_eq(&outline(&spans, &names, Show::Only(&shown)));
}

#[test]
#[ignore = "needs root"]
fn a_query_by_pgx() {
    check_query(
        "/items/100001",
        &expect![[r#"
            client `GET` of curl, unset
                http.response.status_code = 200
              server `GET /items/{id}` of items, unset
                  http.response.status_code = 200
                  http.route = /items/{id}
                client `SELECT items` of items, unset
                    db.query.text = SELECT name AS id_100001 FROM items WHERE id = $1
                    db.system.name = postgresql
                  server `SELECT items` of postgres, unset
                      db.query.text = SELECT name AS id_100001 FROM items WHERE id = $1
                      db.system.name = postgresql
        "#]],
    );
}

#[test]
#[ignore = "needs root"]
fn a_query_by_database_sql() {
    check_query(
        "/standard/100001",
        &expect![[r#"
            client `GET` of curl, unset
                http.response.status_code = 200
              server `GET /standard/{id}` of items, unset
                  http.response.status_code = 200
                  http.route = /standard/{id}
                client `SELECT items` of items, unset
                    db.query.text = SELECT name FROM items WHERE id = $1
                    db.system.name = postgresql
                  server `SELECT items` of postgres, unset
                      db.query.text = SELECT name FROM items WHERE id = $1
                      db.system.name = postgresql
        "#]],
    );
}

#[test]
#[ignore = "needs root"]
fn a_query_in_a_goroutine_of_the_handler() {
    check_query(
        "/elsewhere/100001",
        &expect![[r#"
            client `GET` of curl, unset
                http.response.status_code = 200
              server `GET /elsewhere/{id}` of items, unset
                  http.response.status_code = 200
                  http.route = /elsewhere/{id}
                client `SELECT items` of items, unset
                    db.query.text = SELECT name AS id_100001 FROM items WHERE id = $1
                    db.system.name = postgresql
                  server `SELECT items` of postgres, unset
                      db.query.text = SELECT name AS id_100001 FROM items WHERE id = $1
                      db.system.name = postgresql
        "#]],
    );
}

#[test]
#[ignore = "needs root"]
fn an_error_of_the_server() {
    let items = GoService::start(&[]).unwrap();
    let mut remora = Remora::start().unwrap();
    tools::curl(&[&format!("{}/broken", items.url())]).unwrap();
    let spans = remora.finish().unwrap().spans_of_server(items.address()).unwrap();
    expect![[r#"
        client `GET` of curl, error
            error.type = 500
            http.request.method = GET
            http.response.body.size = 27
            http.response.status_code = 500
            network.peer.address = 127.0.0.1
            network.peer.port = ITEMS.port
            network.protocol.version = 1.1
            server.address = 127.0.0.1
            server.port = ITEMS.port
            url.full = http://ITEMS/broken
            user_agent.original = curl/*
          server `GET /broken` of items, error
              client.address = 127.0.0.1
              client.port = *
              error.type = 500
              http.request.method = GET
              http.response.body.size = 27
              http.response.status_code = 500
              http.route = /broken
              network.peer.address = 127.0.0.1
              network.peer.port = *
              network.protocol.version = 1.1
              remora.parent.evidence = position
              server.address = 127.0.0.1
              server.port = ITEMS.port
              url.path = /broken
              url.scheme = http
              user_agent.original = curl/*
    "#]]
    .assert_eq(&whole(&spans, &Names::of(&[("ITEMS", items.address())])));
}

#[test]
#[ignore = "needs root"]
fn a_call_of_another_service() {
    let shop = Gunicorn::start(Workers::Sync(1), &[]).unwrap();
    let items = GoService::start(&["-upstream".to_owned(), format!("http://{}", shop.address())]).unwrap();
    let mut remora = Remora::start().unwrap();
    tools::curl(&[&format!("{}/relay/4711", items.url())]).unwrap();
    let spans = remora.finish().unwrap().spans_of_server(items.address()).unwrap();
    let names = Names::of(&[("ITEMS", items.address()), ("SHOP", shop.address())]);
    expect![[r#"
        client `GET` of curl, unset
          server `GET /relay/{id}` of items, unset
            client `GET` of items, unset
              server `GET /users/{id}` of shop, unset
    "#]]
    .assert_eq(&shape(&spans, &names));
}

/// One goroutine reads the connection for all handlers.
#[test]
#[ignore = "needs root"]
fn calls_of_http2_handlers_are_whose_stream_they_serve() {
    const REQUESTS: usize = 300;
    let certificates = Certificates::make().unwrap();
    let leaf = GoService::start(&[]).unwrap();
    let items = GoService::encrypted(&["-upstream".to_owned(), leaf.url()], &certificates).unwrap();
    let mut remora = Remora::start().unwrap();
    let authority = certificates.authority();
    let ask = |numbers: &str| {
        let url = format!("https://{}/relay/{numbers}", items.address());
        let authority = authority.to_str().unwrap();
        let flags = ["--http2", "--cacert", authority, "--parallel", "--parallel-max", "100", &url];
        tools::curl(&flags).unwrap();
    };
    ask("[1000-1299]");
    let spans = remora.finish().unwrap().spans_of_server(items.address()).unwrap();
    let of = |kind| spans.iter().filter(move |span| span.kind == kind && span.service == "items");
    let paths: HashMap<&str, &str> = of("server")
        .filter_map(|span| Some((span.span_id.as_str(), span.text("url.path")?)))
        .filter(|(_, path)| path.starts_with("/relay/"))
        .collect();
    assert_eq!(paths.len(), REQUESTS);
    let [mut right, mut wrong] = [0; 2];
    for call in of("client") {
        let parent = call.parent_id.as_deref().and_then(|parent| paths.get(parent));
        let number = |path: &str| path.rsplit_once('/').map(|(_, number)| number.to_owned());
        let Some(parent) = parent else { continue };
        let is_right = number(parent) == call.text("url.full").and_then(number);
        right += usize::from(is_right);
        wrong += usize::from(!is_right);
    }
    println!("of {REQUESTS} calls: {right} with the right parent, {wrong} with a wrong one");
    assert_eq!(wrong, 0);
    assert!(right * 100 >= REQUESTS * 99, "{right}");
}
