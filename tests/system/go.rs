//! Go: net/http server and client, pgx and database/sql.

use expect_test::{Expect, expect};
use remora_tests::remora::Remora;
use remora_tests::servers::{GoService, Gunicorn, Postgres, Workers};
use remora_tests::span::{Names, Show, outline};
use remora_tests::tools;

use crate::{shape, whole};

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
    let spans: Vec<_> = spans.into_iter().filter(|span| span.trace_id == trace_id).collect();
    let names = Names::of(&[("ITEMS", items.address()), ("POSTGRES", postgres.address())]);
    let shown = ["db.query.text", "db.system.name", "http.response.status_code", "http.route"];
    expected.assert_eq(&outline(&spans, &names, Show::Only(&shown)));
}

#[test]
#[ignore = "needs root"]
fn a_query_by_pgx() {
    check_query("/items/100001", &expect![[""]]);
}

#[test]
#[ignore = "needs root"]
fn a_query_by_database_sql() {
    check_query("/standard/100001", &expect![[""]]);
}

#[test]
#[ignore = "needs root"]
fn a_query_in_a_goroutine_of_the_handler() {
    check_query("/elsewhere/100001", &expect![[""]]);
}

#[test]
#[ignore = "needs root"]
fn an_error_of_the_server() {
    let items = GoService::start(&[]).unwrap();
    let mut remora = Remora::start().unwrap();
    tools::curl(&[&format!("{}/broken", items.url())]).unwrap();
    let spans = remora.finish().unwrap().spans_of_server(items.address()).unwrap();
    expect![[""]].assert_eq(&whole(&spans, &Names::of(&[("ITEMS", items.address())])));
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
    expect![[""]].assert_eq(&shape(&spans, &names));
}
