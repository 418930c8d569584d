//! gRPC: unary calls and streams between Go and Python, one at a time and many at once on one connection.

use std::collections::HashMap;
use std::fs;

use expect_test::expect;
use remora_tests::remora::Remora;
use remora_tests::scratch::Scratch;
use remora_tests::servers::{GrpcService, Language};
use remora_tests::span::{Names, Show, Span, outline};

use crate::whole;

/// Calls at once on one connection.
const CALLS: u32 = 100;
/// The field that tells a call's item.
const NUMBER: &str = "rpc.request.metadata.x-number";

#[test]
#[ignore = "needs root"]
fn a_unary_call_of_python_to_go() {
    let items = GrpcService::start(Language::Go).unwrap();
    let mut remora = Remora::start().unwrap();
    items.ask(Language::Python, 1).unwrap();
    let spans = remora.finish().unwrap().spans_of_server(items.address()).unwrap();
    expect![[r#""#]].assert_eq(&whole(&spans, &Names::of(&[("ITEMS", items.address())])));
}

#[test]
#[ignore = "needs root"]
fn streams_and_errors_of_go_to_python() {
    let items = GrpcService::start(Language::Python).unwrap();
    let mut remora = Remora::start().unwrap();
    for flags in [&["-method", "List"][..], &["-method", "Fill", "-count", "4"], &["-item", "missing"]] {
        items.ask_by_go(flags).unwrap();
    }
    let spans = remora.finish().unwrap().spans_of_server(items.address()).unwrap();
    let names = Names::of(&[("ITEMS", items.address())]);
    let shown = [
        "error.type",
        "remora.rpc.request.messages",
        "remora.rpc.response.messages",
        "rpc.response.status_code",
    ];
    expect![[r#""#]].assert_eq(&outline(&spans, &names, Show::Only(&shown)));
}

/// What became of calls: below the request with their own number, below another, and below none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Found {
    right: u32,
    wrong: u32,
    missing: u32,
}

fn judge(spans: &[&Span], parents: &[&Span], is_right: impl Fn(&Span, &Span) -> bool) -> Found {
    let by_id: HashMap<_, _> = parents.iter().map(|span| (span.span_id.as_str(), *span)).collect();
    let mut found = Found::default();
    for span in spans {
        match span.parent_id.as_deref().map(|id| by_id.get(id)) {
            None => found.missing += 1,
            Some(parent) if parent.is_some_and(|parent| is_right(span, parent)) => found.right += 1,
            Some(_) => found.wrong += 1,
        }
    }
    found
}

#[test]
#[ignore = "needs root"]
fn a_hundred_calls_at_once_have_no_wrong_parents() {
    let leaf = GrpcService::start(Language::Python).unwrap();
    let front = GrpcService::relay(&leaf).unwrap();
    let scratch = Scratch::new("config").unwrap();
    let config = scratch.path().join("remora.toml");
    fs::write(&config, "[headers]\nrequest = [\"x-number\"]\n").unwrap();
    let mut remora = Remora::with_flags(&["--config", config.to_str().unwrap()]).unwrap();
    for _ in 0..3 {
        front.ask(Language::Python, CALLS).unwrap();
    }
    let bridge = remora.finish().unwrap();
    let spans: Vec<Span> = [front.address(), leaf.address()]
        .into_iter()
        .flat_map(|server| bridge.spans_of_server(server).unwrap())
        .collect();
    let of = |kind: &str, port: u16| -> Vec<&Span> {
        let is_it = |span: &&Span| span.kind == kind && span.number("server.port") == Some(i64::from(port));
        spans.iter().filter(is_it).collect()
    };
    let is_same = |span: &Span, parent: &Span| span.text(NUMBER) == parent.text(NUMBER);
    let (front, leaf) = (front.address().port(), leaf.address().port());
    let all = Found { right: 3 * CALLS, ..Found::default() };
    assert_eq!(
        judge(&of("server", front), &of("client", front), is_same),
        all,
        "both sides of the first hop"
    );
    assert_eq!(judge(&of("server", leaf), &of("client", leaf), is_same), all, "both sides of the second hop");
    let relayed = judge(&of("client", leaf), &of("server", front), is_same);
    println!("calls of the relay: {relayed:?}");
    assert_eq!(relayed.wrong, 0);
}
