//! Pools of threads in C: who works on what is known where a worker reads the request itself, and said of nobody else.

use std::collections::HashMap;
use std::process::Command;
use std::time::Duration;

use remora_tests::load::{self, Request};
use remora_tests::remora::Remora;
use remora_tests::running::Running;
use remora_tests::scratch::Scratch;
use remora_tests::span::Span;
use remora_tests::{locate, net, tools};

const WITHIN: Duration = Duration::from_secs(60);
const REQUESTS: usize = 600;
const CALLS: usize = 2;
const AT_ONCE: usize = 100;

/// Has a pool be asked by so many at once, and returns how many calls are below the request for which they were made. Fails
/// if one is below another.
fn right(mode: &str) -> usize {
    let scratch = Scratch::new("pool").unwrap();
    let program = scratch.path().join("pool");
    let mut cc = Command::new("cc");
    cc.args(["-O1", "-pthread", "-o"]).arg(&program).arg(locate::apps().join("c/pool.c"));
    tools::printed(&mut cc).unwrap();
    let [address, leaf] = [(); 2].map(|()| net::free_address().unwrap());
    let mut node = Command::new(locate::program("node").unwrap());
    node.arg(locate::apps().join("node/relay.js")).arg(leaf.port().to_string());
    let _leaf = Running::start("leaf", &scratch, &mut node).unwrap();
    let mut pool = Command::new(&program);
    pool.arg(mode).args([address.port(), leaf.port()].map(|port| port.to_string())).arg(AT_ONCE.to_string());
    let _pool = Running::start("pool", &scratch, &mut pool).unwrap();
    for address in [address, leaf] {
        net::wait_listening(address, WITHIN).unwrap();
    }
    let mut remora = Remora::start().unwrap();
    let request =
        |id: usize| Request { path: format!("/relay/{id}"), headers: Vec::new(), expected: id.to_string() };
    let requests: Vec<_> = (1000..1000 + REQUESTS).map(request).collect();
    load::run(address, &requests, AT_ONCE).unwrap();

    let bridge = remora.finish().unwrap();
    let spans = bridge.spans_of_server(address).unwrap();
    let number = |span: &Span, key: &str| span.text(key)?.rsplit_once('/')?.1.parse::<usize>().ok();
    let is_relay = |span: &&Span| span.text("url.path").is_some_and(|path| path.starts_with("/relay/"));
    let relays: HashMap<_, _> =
        spans.iter().filter(is_relay).map(|span| (span.span_id.clone(), number(span, "url.path"))).collect();
    let leaves = bridge.spans_of_server(leaf).unwrap();
    let is_call = |span: &&Span| span.text("url.full").is_some_and(|url| url.contains("/leaf/"));
    let calls: Vec<_> = leaves.iter().filter(is_call).collect();
    assert_eq!((relays.len(), calls.len()), (REQUESTS, CALLS * REQUESTS));
    let known = calls.iter().filter(|call| call.parent_id.is_some());
    known
        .map(|call| {
            let parent = call.parent_id.as_ref().and_then(|id| relays.get(id)).copied().flatten();
            assert_eq!(parent, number(call, "url.full"), "{call:?}");
        })
        .count()
}

/// The threads of a process are believed once it has given answers by those that had read the requests: not yet while the
/// first requests are under way.
#[test]
#[ignore = "needs root"]
fn a_worker_that_reads_a_request_works_on_it() {
    let right = right("connections");
    assert!(right >= CALLS * (REQUESTS - 2 * AT_ONCE), "{right} are right");
}

/// Nothing tells which item of a queue a worker takes.
#[test]
#[ignore = "needs root"]
fn what_a_worker_does_for_a_request_that_another_thread_has_read_is_nobodys() {
    assert_eq!(right("requests"), 0);
}
