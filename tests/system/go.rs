//! Go: net/http server and client, pgx and database/sql.

use expect_test::{Expect, expect};
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
