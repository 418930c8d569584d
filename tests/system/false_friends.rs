//! Connections that look like others: ports and descriptors that are used again, processes that serve what others have
//! accepted or share a port (`SO_REUSEPORT`), ends of other address families and network namespaces. Each request must be two spans, one below the other, and no request may be below another.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use remora_tests::remora::Remora;
use remora_tests::span::Span;
use remora_tests::{locate, net, tools};

const ROUNDS: usize = 25;
/// Requests of a round, by the first part of their path.
const CASES: [(&str, usize); 13] = [
    ("at-once-plain", 3),
    ("at-once-other", 3),
    ("succession", 4),
    ("descriptor-first", 1),
    ("descriptor-second", 1),
    ("forked", 2),
    ("passed", 2),
    ("client-passed", 1),
    ("client-kept", 1),
    ("reuse-port", 2),
    ("mapped-server", 1),
    ("mapped-client", 1),
    ("moved", 1),
];

#[test]
#[ignore = "needs root"]
fn requests_of_connections_that_look_alike_do_not_mix() {
    let servers: Vec<_> = (0..6).map(|_| net::free_address().unwrap()).collect();
    let mut remora = Remora::start().unwrap();
    let mut friends = Command::new("python3");
    friends.arg(locate::apps().join("python/false_friends.py"));
    friends.args(servers.iter().map(|server| server.port().to_string())).arg(ROUNDS.to_string());
    tools::printed(&mut friends).unwrap();
    let bridge = remora.finish().unwrap();
    let spans: Vec<Span> =
        servers.iter().flat_map(|server| bridge.spans_of_server(*server).unwrap()).collect();
    let mut by_path: BTreeMap<String, Vec<&Span>> = BTreeMap::new();
    for span in &spans {
        let url = span.text("url.path").or_else(|| span.text("url.full")).unwrap_or_default();
        let path =
            url.splitn(4, '/').skip(if url.starts_with('/') { 1 } else { 3 }).collect::<Vec<_>>().join("/");
        by_path.entry(path).or_default().push(span);
    }
    for (case, count) in CASES {
        let prefix = format!("{case}/");
        let requests: Vec<_> = by_path.iter().filter(|(path, _)| path.starts_with(&prefix)).collect();
        assert_eq!(requests.len(), count * ROUNDS, "{case}: every request was seen");
        for (path, spans) in requests {
            let [client, server] = ["client", "server"].map(|kind| {
                let mut of_kind = spans.iter().filter(|span| span.kind == kind);
                let span = of_kind.next().unwrap_or_else(|| panic!("{path}: no {kind} span: {spans:#?}"));
                assert_eq!(of_kind.next(), None, "{path}: two {kind} spans");
                *span
            });
            assert_eq!(server.parent_id.as_ref(), Some(&client.span_id), "{path}");
            assert_eq!(server.trace_id, client.trace_id, "{path}");
            assert_eq!(client.parent_id, None, "{path}: nobody asked for it");
            // ::ffff:127.0.0.1 is that address.
            for span in [client, server] {
                assert_eq!(span.text("network.peer.address"), Some("127.0.0.1"), "{path}");
            }
        }
    }
    let sharing = spans.iter().filter(|span| {
        span.kind == "server" && span.text("url.path").is_some_and(|path| path.starts_with("/reuse-port/"))
    });
    let processes: BTreeSet<_> = sharing.map(|span| span.resource["process.pid"].to_string()).collect();
    assert_eq!(processes.len(), 2, "both processes that listen on the port have served");
}
