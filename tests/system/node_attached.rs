//! Node with a part of the agent inside: right parents while it is there, and no trace of it afterwards.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use remora_tests::load::{self, Request};
use remora_tests::remora::Remora;
use remora_tests::running::Running;
use remora_tests::scratch::Scratch;
use remora_tests::span::Span;
use remora_tests::{locate, net, tools, wait};

/// The service is left alone for some seconds after its start.
const WITHIN: Duration = Duration::from_secs(60);
const REQUESTS: u32 = 200;

struct Relay {
    running: Running,
    address: SocketAddr,
    _scratch: Scratch,
}

impl Relay {
    fn start(mode: &[&str]) -> Self {
        let scratch = Scratch::new("relay").unwrap();
        let address = net::free_address().unwrap();
        let mut command = Command::new(locate::program("node").unwrap());
        command.arg(locate::apps().join("node/relay.js")).arg(address.port().to_string()).args(mode);
        let mut running = Running::start("relay", &scratch, &mut command).unwrap();
        let url = format!("http://{address}/healthz");
        running.wait_ready(WITHIN, || Ok(tools::curl(&[&url]).is_ok())).unwrap();
        Self { running, address, _scratch: scratch }
    }

    /// Returns what the service sees of a part inside it.
    fn traces(&self) -> String {
        tools::curl(&[&format!("http://{}/traces", self.address)]).unwrap()
    }

    /// Returns the sockets on which it listens, as the kernel lists them.
    fn listening(&self) -> Vec<String> {
        let table = std::fs::read_to_string(format!("/proc/{}/net/tcp", self.running.id())).unwrap();
        let rows = table.lines().map(|row| row.split_whitespace().collect::<Vec<_>>());
        let inspector = ":240D";
        let own = format!(":{:04X}", self.address.port());
        rows.filter(|row| {
            row.get(3) == Some(&"0A") && [inspector, &own].iter().any(|port| row[1].ends_with(*port))
        })
        .map(|row| row[1].to_owned())
        .collect()
    }
}

fn attached(remora: &Remora, platform: &str) {
    let line = format!("remora_agent_attached{{platform=\"{platform}\"}} 1");
    wait::until(&line, WITHIN, || Ok(remora.metrics()?.lines().any(|found| found == line).then_some(())))
        .unwrap();
}

/// Has the relays call while timers and a queue are between a request and its calls, and looks at every parent.
fn check_parents(relay: &Relay, remora: &mut Remora) {
    let request =
        |id: u32| Request { path: format!("/relay/{id}"), headers: Vec::new(), expected: id.to_string() };
    let requests: Vec<_> = (1000..1000 + REQUESTS).map(request).collect();
    load::run(relay.address, &requests, 16).unwrap();
    let spans = remora.finish().unwrap().spans_of_server(relay.address).unwrap();
    let number = |span: &Span, key: &str| span.text(key)?.rsplit_once('/')?.1.parse::<u32>().ok();
    let servers: HashMap<_, _> = spans
        .iter()
        .filter(|span| span.text("url.path").is_some_and(|path| path.starts_with("/relay/")))
        .map(|span| (span.span_id.clone(), number(span, "url.path")))
        .collect();
    let calls: Vec<_> =
        spans.iter().filter(|span| span.text("url.full").is_some_and(|url| url.contains("/leaf/"))).collect();
    assert_eq!((servers.len(), calls.len()), (REQUESTS as usize, 2 * REQUESTS as usize));
    for call in calls {
        let parent = call.parent_id.as_ref().and_then(|id| servers.get(id)).copied().flatten();
        assert_eq!(parent, number(call, "url.full"), "{call:?}");
    }
}

#[test]
#[ignore = "needs root"]
fn parents_are_right_and_nothing_stays_behind() {
    let relay = Relay::start(&[]);
    let (traces, listening) = (relay.traces(), relay.listening());
    // Twice: what the first agent has left does not keep the second from coming.
    for _ in 0..2 {
        let mut remora = Remora::with_flags(&["--attach", "node"]).unwrap();
        attached(&remora, "node");
        assert!(relay.traces().contains("write"));
        assert_eq!(relay.listening(), listening);
        check_parents(&relay, &mut remora);
        assert_eq!(relay.traces(), traces);
        assert_eq!(relay.listening(), listening);
    }
    let said = relay.running.printed();
    let is_inspector = |line: &str| line.starts_with("Debugger ") || line.starts_with("For help, see: ");
    let others: Vec<_> = said.lines().filter(|line| !line.is_empty() && !is_inspector(line)).collect();
    assert!(others.is_empty(), "{others:?}");
}

#[test]
#[ignore = "needs root"]
fn an_application_with_its_own_handler_is_left_alone() {
    let relay = Relay::start(&["own-handler"]);
    let remora = Remora::with_flags(&["--attach", "node"]).unwrap();
    let line = "remora_agent_attach_refused_total{platform=\"node\",reason=\"handled\"} 1";
    wait::until(line, WITHIN, || Ok(remora.metrics()?.lines().any(|found| found == line).then_some(())))
        .unwrap();
    tools::curl(&[&format!("http://{}/healthz", relay.address)]).unwrap();
    assert_eq!(relay.running.printed(), "");
}
