//! gRPC: unary calls and streams between Go and Python, one at a time and many at once on one connection; and between
//! other languages.

use std::collections::HashMap;
use std::fs;

use expect_test::expect;
use remora_tests::remora::Remora;
use remora_tests::scratch::Scratch;
use remora_tests::servers::{GrpcService, GrpcShop, Language, Stack};
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
        let joined = found.right + found.untold;
        assert!(joined * 100 >= 3 * CALLS * 99, "both sides of all calls are seen and joined");
        // A hole costs the table of fields, and with it the numbers; which call it is is still known.
        assert!(found.right > 2 * CALLS, "most of them with their numbers");
    }
    let relayed = judge(&of("client", leaf), &of("server", front));
    println!("calls of the relay: {relayed:?}");
    assert_eq!(relayed.wrong, 0);
    // The first ones may come before the relay's functions are probed.
    assert!(
        relayed.right + relayed.untold > 2 * CALLS,
        "a call is known to belong to the request that it was made for"
    );
}

/// Short calls behind a long one, of which one fails, twice.
const SHORT_CALLS: usize = 20;

/// Has long and short calls made on one connection, and checks that nothing wrong is told of them. Returns whether the ring
/// had room for all that was to be captured.
fn check_long_calls() -> bool {
    let items = GrpcService::start(Language::Python).unwrap();
    let mut remora = Remora::with_flags(&["--select", "cmd=*items_*"]).unwrap();
    items.ask_for_much().unwrap();
    let spans = remora.finish().unwrap().spans_of_server(items.address()).unwrap();
    let is_captured = !remora.agent_log().contains("ring_full");
    for kind in ["client", "server"] {
        let of_kind: Vec<&Span> = spans.iter().filter(|span| span.kind == kind).collect();
        for span in &of_kind {
            assert_eq!(span.text("rpc.system.name"), Some("grpc"), "{span:#?}");
            assert!(!span.attributes.contains_key("http.request.method"), "{span:#?}");
            let is_untold = !span.attributes.contains_key("rpc.response.status_code");
            assert!(!is_untold || span.attributes.contains_key("remora.incomplete"), "{span:#?}");
        }
        let with = |status: &str| {
            let is_it = |span: &&&Span| span.text("rpc.response.status_code") == Some(status);
            of_kind.iter().filter(is_it).filter(|span| span.name == "shop.Items/Get").count()
        };
        println!("{kind}: {} of {}, {} failed", with("OK"), of_kind.len(), with("NOT_FOUND"));
        assert!(with("NOT_FOUND") <= 2 && with("OK") <= 2 * SHORT_CALLS + 2, "{of_kind:#?}");
        if is_captured {
            assert_eq!(of_kind.len(), 2 * SHORT_CALLS + 5, "all calls are told");
            assert!(with("OK") >= 2 * SHORT_CALLS && with("NOT_FOUND") == 2, "{of_kind:#?}");
        }
    }
    is_captured
}

#[test]
#[ignore = "needs root"]
fn calls_behind_long_messages_are_whole() {
    /// A busy machine may not read the ring in time.
    const TRIALS: usize = 5;
    assert!((0..TRIALS).any(|_| check_long_calls()), "the ring was full each time");
}

/// Trace and span that clients name.
const CONTEXT: (&str, &str) = ("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7");

/// Status, and numbers of messages that were asked and answered with.
type Outcome<'a> = (Option<&'a str>, Option<i64>, Option<i64>);

fn outcome(span: &Span) -> Outcome<'_> {
    let messages = |side: &str| span.number(&format!("remora.rpc.{side}.messages"));
    (span.text("rpc.response.status_code"), messages("request"), messages("response"))
}

/// Has a client make all kinds of calls, and checks that both sides of each are told alike, and joined.
fn check_shop(client: Stack, server: Stack) {
    let shop = GrpcShop::start(server).unwrap();
    let mut remora = Remora::start().unwrap();
    shop.ask_by(client).unwrap();
    let spans = remora.finish().unwrap().spans_of_server(shop.address()).unwrap();
    let of = |kind: &str| spans.iter().filter(|span| span.kind == kind).collect::<Vec<_>>();
    let (asked, served) = (of("client"), of("server"));
    let by_id: HashMap<_, _> = asked.iter().map(|span| (span.span_id.as_str(), *span)).collect();
    // Where its C core writes many calls at once, some of them are not copied on the client's side.
    let judged = if client == Stack::Python { &served } else { &asked };
    let of_method = |method: &str| -> Vec<Outcome<'_>> {
        let name = format!("golden.Shop/{method}");
        judged.iter().filter(|span| span.name == name).map(|span| outcome(span)).collect()
    };
    assert_eq!(of_method("List"), [(Some("OK"), Some(1), Some(3))], "{client:?} asks {server:?}: {asked:#?}");
    assert_eq!(of_method("Fill"), [(Some("OK"), Some(5), Some(1))]);
    assert_eq!(of_method("Chat"), [(Some("OK"), Some(3), Some(3))]);
    let unknown: Vec<_> = judged.iter().filter(|span| span.name == "_OTHER").collect();
    let [unknown] = unknown[..] else { panic!("one method that the server does not know: {asked:#?}") };
    assert_eq!(outcome(unknown).0, Some("UNIMPLEMENTED"));
    assert_eq!(unknown.text("rpc.method"), Some("_OTHER"));
    assert_eq!(unknown.text("rpc.method_original"), Some("golden.Shop/Frob"));
    let gets = of_method("Get");
    let with = |status: &str| gets.iter().filter(|outcome| outcome.0 == Some(status)).count();
    assert!(with("OK") >= 34, "{gets:?}");
    assert_eq!((with("NOT_FOUND"), with(server.status_of_exception())), (1, 1));
    let (cancelled, late) = (with("CANCELLED"), with("DEADLINE_EXCEEDED"));
    assert!(cancelled >= 1 && cancelled + late == 2, "{gets:?}");
    for span in asked.iter().filter(|span| outcome(span).0 == Some("CANCELLED")) {
        // On a busy machine a client's clock begins well before its first byte. Tonic's server answers that it was cancelled.
        let timeout = span.attributes.get("remora.rpc.timeout").map(|timeout| timeout.as_f64().unwrap());
        let lasted = (span.end_ns - span.start_ns) as f64 / 1e9;
        assert!(
            server == Stack::Rust || timeout.is_none_or(|timeout| lasted < timeout),
            "its deadline has passed: {span:#?}"
        );
    }
    for side in [&asked, &served] {
        let limited = side.iter().filter(|span| span.attributes.contains_key("remora.rpc.timeout")).count();
        assert!(limited >= 1, "the call with a deadline says so");
    }
    assert_eq!(served.len(), asked.len());
    for span in &served {
        let caller = span.parent_id.as_deref().and_then(|id| by_id.get(id));
        let caller = caller.unwrap_or_else(|| panic!("{span:#?} of {asked:#?}"));
        let is_untold = client == Stack::Python && caller.attributes.contains_key("remora.incomplete");
        assert!(is_untold || caller.name == span.name, "{span:#?} of {caller:#?}");
    }
    // Each client sends a context with its first call.
    let continued: Vec<_> = asked.iter().filter(|span| span.trace_id == CONTEXT.0).collect();
    let [continued] = continued[..] else { panic!("one call continues a trace: {asked:#?}") };
    assert_eq!((&*continued.name, continued.parent_id.as_deref()), ("golden.Shop/Get", Some(CONTEXT.1)));
    assert!(served.iter().any(|span| span.trace_id == CONTEXT.0), "and its server's side too: {served:#?}");
}

macro_rules! shops {
    ($($name:ident: $client:ident, $server:ident;)*) => {
        $(
            #[test]
            #[ignore = "needs root"]
            fn $name() {
                check_shop(Stack::$client, Stack::$server);
            }
        )*
    };
}

shops! {
    calls_of_java_to_go: Java, Go;
    calls_of_go_to_java: Go, Java;
    calls_of_node_to_go: Node, Go;
    calls_of_go_to_node: Go, Node;
    calls_of_go_to_python: Go, Python;
    calls_of_python_to_go: Python, Go;
    calls_of_python_to_python: Python, Python;
    calls_of_go_to_tonic: Go, Rust;
    calls_of_tonic_to_go: Rust, Go;
    calls_of_tonic_to_java: Rust, Java;
    calls_of_tonic_to_node: Rust, Node;
    calls_of_tonic_to_tonic: Rust, Rust;
}
