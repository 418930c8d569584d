//! W3C trace context that applications send is continued, with its flags and state.

use expect_test::expect;
use remora_tests::remora::Remora;
use remora_tests::servers::{Flavour, Gunicorn, Mysql, Postgres, Workers};
use remora_tests::span::Names;
use remora_tests::tools;

use crate::shape;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";

#[test]
#[ignore = "needs root"]
fn a_trace_of_the_client_is_continued() {
    let shop = Gunicorn::start(Workers::Sync(1), &[]).unwrap();
    let mut remora = Remora::start().unwrap();
    let traceparent = format!("traceparent: 00-{TRACE}-{PARENT}-01");
    let url = format!("http://{}/users/4711", shop.address());
    tools::curl(&["--header", &traceparent, "--header", "tracestate: vendor=value", &url]).unwrap();
    let spans = remora.finish().unwrap().trace(TRACE).unwrap();
    expect![[r#"
        client `GET` of curl, unset (parent elsewhere)
          server `GET /users/{id}` of shop, unset
    "#]]
    .assert_eq(&shape(&spans, &Names::of(&[("SHOP", shop.address())])));
    let outer =
        spans.iter().find(|span| !spans.iter().any(|other| Some(&other.span_id) == span.parent_id.as_ref()));
    assert_eq!(outer.unwrap().parent_id.as_deref(), Some(PARENT));
}

#[test]
#[ignore = "needs root"]
fn a_broken_trace_context_is_not() {
    let shop = Gunicorn::start(Workers::Sync(1), &[]).unwrap();
    let mut remora = Remora::start().unwrap();
    let url = format!("http://{}/users/4711", shop.address());
    for broken in ["00-0-0-01", "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "nonsense"] {
        tools::curl(&["--header", &format!("traceparent: {broken}"), &url]).unwrap();
    }
    let bridge = remora.finish().unwrap();
    assert_eq!(bridge.trace(TRACE).unwrap(), []);
    let spans = bridge.spans_of_server(shop.address()).unwrap();
    let roots = spans.iter().filter(|span| span.parent_id.is_none()).count();
    assert_eq!((roots, spans.len()), (3, 6), "{}", shape(&spans, &Names::default()));
}

#[test]
#[ignore = "needs root"]
fn traces_in_other_formats_are_continued_too() {
    const SHORT: &str = "00000000000000008448eb211c80319c";
    let shop = Gunicorn::start(Workers::Sync(1), &[]).unwrap();
    let mut remora = Remora::start().unwrap();
    let url = format!("http://{}/users/4711", shop.address());
    let several = ["--header", "X-B3-TraceId: 8448eb211c80319c", "--header", "X-B3-SpanId: a2fb4a1d1a96d312"];
    tools::curl(&[&several[..], &[&url]].concat()).unwrap();
    let single = format!("b3: {TRACE}-{PARENT}-1");
    tools::curl(&["--header", &single, &url]).unwrap();
    tools::curl(&["--header", "uber-trace-id: abc000000000001:2f:0:1", &url]).unwrap();
    let bridge = remora.finish().unwrap();
    let jaeger = "00000000000000000abc000000000001";
    for (trace, parent) in [(SHORT, "a2fb4a1d1a96d312"), (TRACE, PARENT), (jaeger, "000000000000002f")] {
        let spans = bridge.trace(trace).unwrap();
        let kinds: Vec<_> = spans.iter().map(|span| span.kind.as_str()).collect();
        assert_eq!(kinds, ["client", "server"], "{trace}");
        assert_eq!(spans[0].parent_id.as_deref(), Some(parent), "{trace}");
        assert_eq!(spans[1].parent_id.as_deref(), Some(spans[0].span_id.as_str()), "{trace}");
    }
}

/// What sqlcommenter adds to a statement.
fn commented(statement: &str) -> String {
    format!("{statement} /*db_driver='x%%3A1',traceparent='00-{TRACE}-{PARENT}-03'*/")
}

/// Fails unless the only statement is a part of the trace in its comment, which nothing else tells of.
fn check_statement(remora: &mut Remora, query: &str) {
    let spans = remora.finish().unwrap().trace(TRACE).unwrap();
    let [client, server] = &spans[..] else { panic!("both sides: {spans:#?}") };
    assert_eq!((client.kind.as_str(), client.parent_id.as_deref()), ("client", Some(PARENT)));
    assert_eq!(client.text("remora.parent.evidence"), Some("wire"));
    assert_eq!((server.kind.as_str(), &server.parent_id), ("server", &Some(client.span_id.clone())));
    for span in [client, server] {
        assert_eq!(span.text("db.query.text"), Some(query));
        let told = span.attributes.iter().find(|(_, value)| value.to_string().contains(TRACE));
        assert_eq!(told, None, "the comment");
    }
}

#[test]
#[ignore = "needs root"]
fn a_trace_in_the_comment_of_a_statement_for_postgresql_is_continued() {
    let postgres = Postgres::start().unwrap();
    let mut remora = Remora::start().unwrap();
    tools::psql(postgres.address(), &[&commented("SELECT 4711")]).unwrap();
    check_statement(&mut remora, "SELECT ?");
}

#[test]
#[ignore = "needs root"]
fn a_trace_in_the_comment_of_a_statement_for_mysql_is_continued() {
    let mysql = Mysql::start(Flavour::Mysql).unwrap();
    let mut remora = Remora::start().unwrap();
    tools::mariadb(mysql.address(), &commented("SELECT 4711")).unwrap();
    check_statement(&mut remora, "SELECT ?");
}
