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
fn a_unary_call_of_go_to_python() {
    let items = GrpcService::start(Language::Python).unwrap();
    let mut remora = Remora::start().unwrap();
    items.ask_by_go(&["-item", "missing"]).unwrap();
    let spans = remora.finish().unwrap().spans_of_server(items.address()).unwrap();
    expect![[r#"
        client `shop.Items/Get` of items-grpc, error
            error.type = NOT_FOUND
            network.peer.address = 127.0.0.1
            network.peer.port = ITEMS.port
            network.protocol.version = 2
            remora.rpc.request.messages = 1
            remora.rpc.response.messages = 0
            rpc.method = shop.Items/Get
            rpc.response.status_code = NOT_FOUND
            rpc.system.name = grpc
            server.address = 127.0.0.1
            server.port = ITEMS.port
            user_agent.original = grpc-go/*
          server `shop.Items/Get` of items_grpc, unset
              client.address = 127.0.0.1
              client.port = *
              network.peer.address = 127.0.0.1
              network.peer.port = *
              network.protocol.version = 2
              remora.parent.evidence = position
              remora.rpc.request.messages = 1
              remora.rpc.response.messages = 0
              rpc.method = shop.Items/Get
              rpc.response.status_code = NOT_FOUND
              rpc.system.name = grpc
              server.address = 127.0.0.1
              server.port = ITEMS.port
              user_agent.original = grpc-go/*
    "#]]
    .assert_eq(&whole(&spans, &Names::of(&[("ITEMS", items.address())])));
}

#[test]
#[ignore = "needs root"]
fn streams_of_go_to_python() {
    let items = GrpcService::start(Language::Python).unwrap();
    let mut remora = Remora::start().unwrap();
    for flags in [&["-method", "List"][..], &["-method", "Fill", "-count", "4"]] {
        items.ask_by_go(flags).unwrap();
    }
    let spans = remora.finish().unwrap().spans_of_server(items.address()).unwrap();
    let names = Names::of(&[("ITEMS", items.address())]);
    let shown = ["remora.rpc.request.messages", "remora.rpc.response.messages", "rpc.response.status_code"];
    expect![[r#"
        client `shop.Items/List` of items-grpc, unset
            remora.rpc.request.messages = 1
            remora.rpc.response.messages = 3
            rpc.response.status_code = OK
          server `shop.Items/List` of items_grpc, unset
              remora.rpc.request.messages = 1
              remora.rpc.response.messages = 3
              rpc.response.status_code = OK
        client `shop.Items/Fill` of items-grpc, unset
            remora.rpc.request.messages = 4
            remora.rpc.response.messages = 1
            rpc.response.status_code = OK
          server `shop.Items/Fill` of items_grpc, unset
              remora.rpc.request.messages = 4
              remora.rpc.response.messages = 1
              rpc.response.status_code = OK
    "#]]
    .assert_eq(&outline(&spans, &names, Show::Only(&shown)));
}

/// What became of calls: below the request with their own number, below another, below one whose number was not seen, and
/// below none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Found {
    right: u32,
    wrong: u32,
    untold: u32,
    missing: u32,
}

fn judge(spans: &[&Span], parents: &[&Span]) -> Found {
    let by_id: HashMap<_, _> = parents.iter().map(|span| (span.span_id.as_str(), *span)).collect();
    let mut found = Found::default();
    for span in spans {
        match span.parent_id.as_deref().map(|id| by_id.get(id)) {
            None => found.missing += 1,
            Some(None) => found.wrong += 1,
            Some(Some(parent)) => match (span.attributes.get(NUMBER), parent.attributes.get(NUMBER)) {
                (Some(own), Some(other)) if own == other => found.right += 1,
                (Some(_), Some(_)) => found.wrong += 1,
                // Fields that refer to what was not captured are not known.
                _ => found.untold += 1,
            },
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
        front.ask(CALLS).unwrap();
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
    let (front, leaf) = (front.address().port(), leaf.address().port());
    for port in [front, leaf] {
        let found = judge(&of("server", port), &of("client", port));
        println!("both sides of calls of port {port}: {found:?}");
        assert_eq!(found.wrong, 0);
        // Where a hole has cost the table of fields, numbers are not told any more; which call it is still is.
        assert!(found.right + found.untold > 2 * CALLS, "both sides of most calls are seen");
        assert!(found.right > 0, "some of them with their numbers");
    }
    let relayed = judge(&of("client", leaf), &of("server", front));
    println!("calls of the relay: {relayed:?}");
    assert_eq!(relayed.wrong, 0);
}
