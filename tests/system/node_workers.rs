//! Worker threads of Node with a part of the agent inside: a call is below the request whose message asked for it, or below
//! none.

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

const WITHIN: Duration = Duration::from_secs(60);
const REQUESTS: u32 = 200;
const IN_FLIGHT: usize = 16;

struct Service {
    running: Running,
    address: SocketAddr,
    _scratch: Scratch,
}

impl Service {
    fn start() -> Self {
        let address = net::free_address().unwrap();
        let scratch = Scratch::new("workers").unwrap();
        let mut command = Command::new(locate::program("node").unwrap());
        command.arg(locate::apps().join("node/workers.js")).arg(address.port().to_string());
        let running = Running::start("workers", &scratch, &mut command).unwrap();
        net::wait_listening(address, WITHIN).unwrap();
        Self { running, address, _scratch: scratch }
    }

    /// Returns what a worker sees of a part inside it.
    fn traces(&self, worker: &str) -> String {
        let said = tools::curl(&[&format!("http://{}/traces/{worker}", self.address)]).unwrap();
        said.split_once("\"traces\":").unwrap().1.to_owned()
    }

    fn ask(&self, mode: &str, first: u32, requests: u32) {
        let request = |id: u32| Request {
            path: format!("/{mode}/{id}"),
            headers: Vec::new(),
            expected: format!("\"id\":{id}"),
        };
        let requests: Vec<_> = (first..first + requests).map(request).collect();
        load::run(self.address, &requests, IN_FLIGHT).unwrap();
    }
}

fn start_agent(service: &Service) -> Remora {
    let remora = Remora::with_flags(&["--select", "cmd=*workers.js*", "--attach", "node-workers"]).unwrap();
    remora.wait_attached(&[service.running.id()]).unwrap();
    remora
}

fn number(span: &Span, key: &str) -> Option<u32> {
    span.text(key)?.rsplit_once('/')?.1.parse().ok()
}

/// The calls of a service, by the number in them, and the number of the request that is their parent.
fn calls(remora: &mut Remora, service: &Service) -> Vec<(u32, Option<u32>)> {
    let spans = remora.finish().unwrap().spans_of_server(service.address).unwrap();
    let servers: HashMap<_, _> = spans
        .iter()
        .filter(|span| span.kind == "server")
        .map(|span| (span.span_id.clone(), number(span, "url.path")))
        .collect();
    let parent = |span: &Span| {
        let id = span.parent_id.as_ref()?;
        servers.get(id).copied().unwrap_or_else(|| panic!("{span:?} is below no request"))
    };
    spans
        .iter()
        .filter(|span| {
            span.kind == "client" && span.text("url.full").is_some_and(|url| url.contains("/leaf/"))
        })
        .map(|span| (number(span, "url.full").unwrap(), parent(span)))
        .collect()
}

/// Returns how many calls have a parent; all of those have the right one.
fn right(mode: &str, calls_of_request: u32) -> u32 {
    let service = Service::start();
    let mut remora = start_agent(&service);
    service.ask(mode, 1000, REQUESTS);
    let calls = calls(&mut remora, &service);
    assert_eq!(calls.len() as u32, calls_of_request * REQUESTS);
    let linked: Vec<_> = calls.iter().filter(|(_, parent)| parent.is_some()).collect();
    let wrong: Vec<_> = linked.iter().filter(|(call, parent)| *parent != Some(*call)).collect();
    assert!(wrong.is_empty(), "{wrong:?}");
    linked.len() as u32
}

#[test]
#[ignore = "needs root"]
fn calls_of_a_worker_are_whose_message_asked_for_them() {
    assert_eq!(right("direct", 2), 2 * REQUESTS);
    assert_eq!(right("port", 2), 2 * REQUESTS);
}

/// Whose message a worker has taken without waiting is not known, and neither is for whom one is sent that waited for a worker.
#[test]
#[ignore = "needs root"]
fn what_waits_for_a_worker_is_nobody_elses() {
    assert!(right("drain", 2) > 0);
    assert!(right("pool", 3) > 0);
}

#[test]
#[ignore = "needs root"]
fn a_worker_that_begins_later_is_reached_and_no_trace_stays() {
    let service = Service::start();
    let traces = service.traces("first");
    let mut remora = start_agent(&service);
    assert!(service.traces("first").contains("remora.part"));
    let is_reached = || Ok(service.traces("late").contains("remora.part").then_some(()));
    wait::until("the part is in the worker", WITHIN, is_reached).unwrap();
    service.ask("late", 1000, REQUESTS);
    let calls = calls(&mut remora, &service);
    assert_eq!(calls.len() as u32, 2 * REQUESTS);
    assert!(calls.iter().all(|(call, parent)| *parent == Some(*call)), "{calls:?}");
    for worker in ["first", "late"] {
        let is_gone = || Ok((service.traces(worker) == traces).then_some(()));
        wait::until("the part is gone", WITHIN, is_gone).unwrap();
    }
}
