//! OpenSSL used in unusual ways: each request must be seen at both ends, with its own answer, joined, and to no other.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use remora_tests::certificates::Certificates;
use remora_tests::remora::Remora;
use remora_tests::secure::{self, Server};
use remora_tests::span::Span;

/// Requests of each way; a multiple of those that are open at once.
const ROUNDS: usize = 64;

/// Returns the path that a span of either side names.
fn path(span: &Span) -> &str {
    let url = span.text("url.path").or_else(|| span.text("url.full")).unwrap_or_default();
    match url.split_once("://") {
        Some((_, rest)) => rest.find('/').map_or("", |at| &rest[at..]),
        None => url,
    }
}

/// Returns what is wrong with the spans of a way, where each request must be told once at each end, with the status that
/// its number says, below its own client.
fn faults(spans: &[Span], way: &str) -> Vec<String> {
    let mut by_path: BTreeMap<&str, Vec<&Span>> = BTreeMap::new();
    spans.iter().for_each(|span| by_path.entry(path(span)).or_default().push(span));
    let mut faults = Vec::new();
    for number in 0..ROUNDS {
        let path = format!("/{way}/{number}");
        let found = by_path.remove(path.as_str()).unwrap_or_default();
        let ends = ["client", "server"].map(|kind| {
            let mut of_kind = found.iter().filter(|span| span.kind == kind);
            (of_kind.next(), of_kind.count())
        });
        let [(Some(client), 0), (Some(server), 0)] = ends else {
            let kinds: Vec<_> = found.iter().map(|span| &span.kind).collect();
            faults.push(format!("{path}: {kinds:?}"));
            continue;
        };
        let expected = i64::try_from(200 + number % 2).ok();
        for span in [client, server] {
            if span.number("http.response.status_code") != expected
                || span.text("http.request.method").is_none()
            {
                faults.push(format!("{path}: {} with {:?}", span.kind, span.attributes));
            }
        }
        if server.parent_id.as_ref() != Some(&client.span_id) {
            faults.push(format!("{path}: below {:?}, not {}", server.parent_id, client.span_id));
        }
        if client.parent_id.is_some() {
            faults.push(format!("{path}: nobody asked for it"));
        }
    }
    faults.extend(by_path.into_iter().map(|(path, spans)| format!("{path:?}: {spans:?}")));
    faults
}

/// Has the program ask itself in these ways while an agent looks, one after the other.
fn check(ways: &[&str]) {
    let certificates = Certificates::make().unwrap();
    let program = secure::build().unwrap();
    let mut remora = Remora::start().unwrap();
    let servers: Vec<_> = ways.iter().map(|way| play(&program, way, &certificates).address()).collect();
    let bridge = remora.finish().unwrap();
    let mut faults = BTreeMap::new();
    for (way, server) in ways.iter().zip(servers) {
        let way = way.trim_start_matches("filter-");
        let found = self::faults(&bridge.spans_of_server(server).unwrap(), way);
        println!("{way}: {} of {ROUNDS} requests with faults", found.len());
        if !found.is_empty() {
            faults.insert(way, found);
        }
    }
    assert!(faults.is_empty(), "{faults:#?}\n{}", remora.agent_log());
}

fn play(program: &Path, way: &str, certificates: &Certificates) -> Server {
    let server = Server::start(program, way, certificates).unwrap();
    secure::ask(program, way, server.address(), ROUNDS).unwrap();
    server
}

#[test]
#[ignore = "needs root"]
fn keys_that_change_midway() {
    check(&["renegotiate", "renegotiate-server", "keys"]);
}

#[test]
#[ignore = "needs root"]
fn sessions_that_are_resumed() {
    check(&["resume-id", "resume-ticket", "resume-psk", "hello-retry"]);
}

/// What is refused is sent again once the handshake is over, and is one request.
#[test]
#[ignore = "needs root"]
fn requests_before_the_handshake_is_over() {
    check(&["early", "early-refused"]);
}

#[test]
#[ignore = "needs root"]
fn objects_that_take_turns_in_one_thread() {
    check(&["turns", "memory"]);
}

#[test]
#[ignore = "needs root"]
fn writes_that_have_to_wait() {
    check(&["partial", "retry", "nothing"]);
}

/// Some programs may make a few system calls only, and die of others.
#[test]
#[ignore = "needs root"]
fn programs_that_die_of_the_system_calls_of_probes() {
    check(&["filter-plain"]);
}

/// Where the kernel encrypts, no record is seen, and no place is known by which to join: nothing may be joined wrongly.
#[test]
#[ignore = "needs root"]
fn the_kernel_encrypts() {
    let program = secure::build().unwrap();
    if !Command::new(&program).arg("kernel-there").status().unwrap().success() {
        eprintln!("skipped: this kernel has no TLS (CONFIG_TLS)");
        return;
    }
    let certificates = Certificates::make().unwrap();
    let mut remora = Remora::start().unwrap();
    let server = play(&program, "kernel", &certificates).address();
    let spans = remora.finish().unwrap().spans_of_server(server).unwrap();
    let mut told: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for span in &spans {
        *told.entry((span.kind.as_str(), path(span))).or_default() += 1;
        let parent = spans.iter().find(|other| Some(&other.span_id) == span.parent_id.as_ref());
        assert!(
            span.parent_id.is_none() || parent.is_some_and(|parent| path(parent) == path(span)),
            "{span:?}"
        );
    }
    println!("kernel: {} of {} sides of requests are told", told.len(), 2 * ROUNDS);
    assert!(told.values().all(|times| *times == 1), "{told:?}");
}
