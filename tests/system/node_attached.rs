//! Node with a part of the agent inside: right parents while it is there, and no trace of it afterwards.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use remora::attach::{Attacher, Outcome, Platform, obstacle_in_node};
use remora::health::{Ledger, Sample};
use remora_tests::certificates::Certificates;
use remora_tests::load::{self, Request};
use remora_tests::remora::Remora;
use remora_tests::running::Running;
use remora_tests::scratch::Scratch;
use remora_tests::servers::{GrpcShop, Stack};
use remora_tests::span::Span;
use remora_tests::{locate, net, tools, wait};
use rustix::process::Signal;
use tempfile::NamedTempFile;

/// The service is left alone for some seconds after its start.
const WITHIN: Duration = Duration::from_secs(60);
const REQUESTS: u32 = 200;

struct Relay {
    running: Running,
    address: SocketAddr,
    /// Who is called.
    leaf: SocketAddr,
    _scratch: Scratch,
}

impl Relay {
    fn start(mode: &[&str]) -> Self {
        let address = net::free_address().unwrap();
        Self::start_at(address, address, |command| command.args(mode))
    }

    /// Its calls are made inside TLS, each on a connection of its own.
    fn start_secure(certificates: &Certificates) -> Self {
        let [address, leaf] = [(); 2].map(|()| net::free_address().unwrap());
        Self::start_at(address, leaf, |command| {
            command.args(["secure", &leaf.port().to_string()]);
            command.env("CERTIFICATE", certificates.certificate()).env("KEY", certificates.key());
            command.env("NODE_EXTRA_CA_CERTS", certificates.authority())
        })
    }

    fn start_at(
        address: SocketAddr,
        leaf: SocketAddr,
        more: impl FnOnce(&mut Command) -> &mut Command,
    ) -> Self {
        let scratch = Scratch::new("relay").unwrap();
        let mut command = Command::new(locate::program("node").unwrap());
        command.arg(locate::apps().join("node/relay.js")).arg(address.port().to_string());
        more(&mut command);
        let mut running = Running::start("relay", &scratch, &mut command).unwrap();
        let url = format!("http://{address}/healthz");
        running.wait_ready(WITHIN, || Ok(tools::curl(&[&url]).is_ok())).unwrap();
        Self { running, address, leaf, _scratch: scratch }
    }

    /// Keeps the service from doing anything until what comes back is dropped.
    fn block<'scope>(&'scope self, scope: &'scope thread::Scope<'scope, '_>) -> NamedTempFile {
        let file = NamedTempFile::new().unwrap();
        let path = file.path().to_str().unwrap().replace('/', "%2F");
        scope.spawn(move || tools::curl(&[&format!("http://{}/block/{path}", self.address)]));
        let children = format!("/proc/{0}/task/{0}/children", self.running.id());
        let has_child = || Ok((!std::fs::read_to_string(&children)?.trim().is_empty()).then_some(()));
        wait::until("the service waits for a child", WITHIN, has_child).unwrap();
        file
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

/// Has the relays call while timers and a queue are between a request and its calls, and looks at every parent.
fn check_parents(relay: &Relay, remora: &mut Remora) {
    let request =
        |id: u32| Request { path: format!("/relay/{id}"), headers: Vec::new(), expected: id.to_string() };
    let requests: Vec<_> = (1000..1000 + REQUESTS).map(request).collect();
    load::run(relay.address, &requests, 16).unwrap();
    let spans = remora.finish().unwrap().spans_of_server(relay.leaf).unwrap();
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
        remora.wait_attached(&[relay.running.id()]).unwrap();
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

/// A request that is written while its connection is still being opened waits in OpenSSL for the handshake.
#[test]
#[ignore = "needs root"]
fn calls_that_open_a_connection_inside_tls_are_whose_they_are() {
    let certificates = Certificates::make().unwrap();
    let relay = Relay::start_secure(&certificates);
    let mut remora = Remora::with_flags(&["--attach", "node"]).unwrap();
    remora.wait_attached(&[relay.running.id()]).unwrap();
    check_parents(&relay, &mut remora);
}

/// All calls go over one connection, on which Node writes for several at once, and which the first of them opens.
#[test]
#[ignore = "needs root"]
fn calls_of_grpc_js_are_whose_they_are() {
    let shop = GrpcShop::start(Stack::Go).unwrap();
    let scratch = Scratch::new("relay").unwrap();
    let address = net::free_address().unwrap();
    let mut command = Command::new(locate::program("node").unwrap());
    command.arg(locate::apps().join("node/grpc_relay.js"));
    command.args([address.port(), shop.address().port()].map(|port| port.to_string()));
    command.env("NODE_PATH", locate::testenv().join("grpc/node/node_modules"));
    let relay = Running::start("relay", &scratch, &mut command).unwrap();
    net::wait_listening(address, WITHIN).unwrap();
    let config = scratch.write("remora.toml", "[headers]\nrequest = [\"x-number\"]\n").unwrap();
    let mut remora = Remora::with_flags(&["--attach", "node", "--config", config.to_str().unwrap()]).unwrap();
    remora.wait_attached(&[relay.id()]).unwrap();
    let request =
        |id: u32| Request { path: format!("/relay/{id}"), headers: Vec::new(), expected: id.to_string() };
    let requests: Vec<_> = (1000..1000 + REQUESTS).map(request).collect();
    load::run(address, &requests, 16).unwrap();

    let bridge = remora.finish().unwrap();
    let (spans, served) =
        (bridge.spans_of_server(address).unwrap(), bridge.spans_of_server(shop.address()).unwrap());
    let said =
        |span: &Span| span.attributes.get("rpc.request.metadata.x-number")?[0].as_str().map(str::to_owned);
    let number = |span: &Span| {
        let path = span.text("url.path").or_else(|| span.text("url.full"));
        path.map(str::to_owned).or_else(|| said(span))?.rsplit('/').next()?.parse::<u32>().ok()
    };
    let is_relay = |span: &&Span| span.text("url.path").is_some_and(|path| path.starts_with("/relay/"));
    let relays: HashMap<_, _> =
        spans.iter().filter(is_relay).map(|span| (span.span_id.clone(), number(span))).collect();
    let is_leaf = |span: &Span| span.text("url.full").is_some_and(|url| url.contains("/leaf/"));
    let asked = served.iter().filter(|span| said(span).is_some());
    let calls: Vec<_> =
        asked.chain(spans.iter().filter(|span| is_leaf(span))).filter(|span| span.kind == "client").collect();
    assert_eq!((relays.len(), calls.len()), (REQUESTS as usize, 2 * REQUESTS as usize));
    let parent = |call: &Span| call.parent_id.as_ref().and_then(|id| relays.get(id)).copied().flatten();
    let wrong: Vec<_> = calls
        .iter()
        .filter(|call| parent(call) != number(call))
        .map(|call| (&call.name, number(call), parent(call), call.start_ns))
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Streams that are served at the same time over one connection.
const AT_ONCE: u32 = 100;

/// Has a service be asked over one connection, by so many streams at once, and looks at the parents of all its calls.
fn check_streams(mode: &str) {
    let scratch = Scratch::new("streams").unwrap();
    let [address, leaf] = [(); 2].map(|()| net::free_address().unwrap());
    let certificates = Certificates::make().unwrap();
    let node = |script: &str| {
        let mut command = Command::new(locate::program("node").unwrap());
        command.arg(locate::apps().join("node").join(script)).args([mode, &address.port().to_string()]);
        command.env("NODE_PATH", locate::testenv().join("grpc/node/node_modules"));
        command.env("CERTIFICATE", certificates.certificate()).env("KEY", certificates.key());
        command.env("NODE_EXTRA_CA_CERTS", certificates.authority());
        command
    };
    let mut command = node("streams.js");
    let running = Running::start("streams", &scratch, command.arg(leaf.port().to_string())).unwrap();
    net::wait_listening(address, WITHIN).unwrap();
    let config = scratch.write("remora.toml", "[headers]\nrequest = [\"x-number\"]\n").unwrap();
    let config = config.to_str().unwrap();
    let flags = ["--select", "cmd=*streams.js*", "--attach", "node", "--config", config];
    let mut remora = Remora::with_flags(&flags).unwrap();
    remora.wait_attached(&[running.id()]).unwrap();
    let asked =
        node("streams_load.js").args([1000, REQUESTS, AT_ONCE].map(|n| n.to_string())).output().unwrap();
    assert!(asked.status.success(), "{}", String::from_utf8_lossy(&asked.stderr));

    let bridge = remora.finish().unwrap();
    let served = bridge.spans_of_server(address).unwrap();
    let said = |span: &Span| {
        let kinds = ["http.request.header.x-number", "rpc.request.metadata.x-number"];
        let found = kinds.iter().find_map(|key| span.attributes.get(*key))?;
        found[0].as_str()?.parse::<u32>().ok()
    };
    let servers: HashMap<_, _> = served
        .iter()
        .filter(|span| span.kind == "server")
        .filter_map(|span| Some((span.span_id.clone(), said(span)?)))
        .collect();
    let leaves = bridge.spans_of_server(leaf).unwrap();
    let number = |span: &Span| span.text("url.full")?.rsplit_once('/')?.1.parse::<u32>().ok();
    let calls: Vec<_> = leaves.iter().filter(|span| span.kind == "client").collect();
    assert_eq!((servers.len(), calls.len()), (REQUESTS as usize, 2 * REQUESTS as usize));
    for call in calls {
        let parent = call.parent_id.as_ref().and_then(|id| servers.get(id)).copied();
        assert_eq!(parent, number(call), "{call:?}");
    }
}

#[test]
#[ignore = "needs root"]
fn calls_of_http2_handlers_are_whose_stream_they_serve() {
    check_streams("stream");
    check_streams("request");
}

#[test]
#[ignore = "needs root"]
fn calls_of_http2_handlers_inside_tls_are_whose_stream_they_serve() {
    check_streams("secure");
}

#[test]
#[ignore = "needs root"]
fn calls_of_grpc_js_servers_are_whose_stream_they_serve() {
    check_streams("grpc");
}

/// A worker thread that one request has started answers others.
#[test]
#[ignore = "needs root"]
fn what_a_worker_thread_leads_to_is_nobodys() {
    let relay = Relay::start(&[]);
    let mut remora = Remora::with_flags(&["--attach", "node"]).unwrap();
    remora.wait_attached(&[relay.running.id()]).unwrap();
    let url = |path: &str| format!("http://{}/{path}", relay.address);
    thread::scope(|scope| {
        scope.spawn(|| tools::curl(&[&url("start/1")]).unwrap());
        let is_started = || Ok(tools::curl(&[&url("echo/1")])?.contains("echo").then_some(()));
        wait::until("the worker answers", WITHIN, is_started).unwrap();
        (1000..1010).for_each(|id| drop(tools::curl(&[&url(&format!("echo/{id}"))]).unwrap()));
        tools::curl(&[&url("stop/1")]).unwrap();
    });
    let spans = remora.finish().unwrap().spans_of_server(relay.address).unwrap();
    let is_call = |span: &&Span| span.text("url.full").is_some_and(|url| url.contains("/leaf/10"));
    let calls: Vec<_> = spans.iter().filter(is_call).collect();
    assert_eq!(calls.len(), 10);
    assert!(calls.iter().all(|call| call.parent_id.is_none()), "{calls:#?}");
}

/// How often the part comes and goes under load.
const CYCLES: u32 = 12;

/// Waits for what has become of a wish, while the service answers.
fn outcome(attacher: &Attacher, relay: &Relay, is_attached: bool) {
    let what = if is_attached { "the part is in" } else { "the part is gone" };
    let found = wait::until(what, WITHIN, || Ok(attacher.poll_outcome()));
    let expected = Outcome { tgid: relay.running.id(), is_attached, refusal: None };
    assert_eq!(found.unwrap(), expected, "{}", relay.running.printed());
}

#[test]
#[ignore = "needs root"]
fn the_part_comes_and_goes_under_load_and_the_service_lives_on() {
    let relay = Relay::start(&[]);
    let traces = relay.traces();
    let tgid = relay.running.id();
    let ledger = Ledger::default();
    let attacher = Attacher::start(&"node".parse().unwrap(), &ledger);
    let is_over = AtomicBool::new(false);
    let request =
        |id: u32| Request { path: format!("/relay/{id}"), headers: Vec::new(), expected: id.to_string() };
    let requests: Vec<_> = (1000..1000 + REQUESTS).map(request).collect();
    thread::scope(|scope| {
        let load = scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                load::run(relay.address, &requests, 16)
                    .unwrap_or_else(|error| panic!("{error:#}: {}", relay.running.printed()));
            }
        });
        for cycle in 0..CYCLES {
            assert!(attacher.attach(tgid, Platform::Node));
            outcome(&attacher, &relay, true);
            assert!(relay.traces().contains("write"), "cycle {cycle}");
            attacher.detach(tgid, Platform::Node);
            outcome(&attacher, &relay, false);
            assert_eq!(relay.traces(), traces, "cycle {cycle}: {}", relay.running.printed());
        }
        is_over.store(true, Ordering::Relaxed);
        load.join().unwrap();
    });
}

#[test]
#[ignore = "needs root"]
fn a_stopped_process_is_left_alone_until_it_goes_on() {
    let relay = Relay::start(&[]);
    let ledger = Ledger::default();
    let attacher = Attacher::start(&"node".parse().unwrap(), &ledger);
    relay.running.signal(Signal::STOP).unwrap();
    let is_stopped = || Ok(obstacle_in_node(relay.running.id()).filter(|said| said.contains("stopped")));
    wait::until("it is known to be stopped", WITHIN, is_stopped).unwrap();
    assert!(attacher.attach(relay.running.id(), Platform::Node));
    relay.running.signal(Signal::CONT).unwrap();
    outcome(&attacher, &relay, true);
    assert_eq!(relay.running.printed().matches("Debugger listening").count(), 1);
}

#[test]
#[ignore = "needs root"]
fn an_inspector_that_opens_too_late_is_closed_again() {
    let relay = Relay::start(&[]);
    let (traces, listening) = (relay.traces(), relay.listening());
    let ledger = Ledger::default();
    let attacher = Attacher::start(&"node".parse().unwrap(), &ledger);
    thread::scope(|scope| {
        let block = relay.block(scope);
        assert!(attacher.attach(relay.running.id(), Platform::Node));
        let is_given_up = || {
            let is_it = |sample: &Sample| {
                sample.name == "remora_agent_attach_refused_total"
                    && format!("{:?}", sample.labels).contains("not_opened")
            };
            Ok(ledger.samples().iter().any(is_it).then_some(()))
        };
        wait::until("the agent has given up", WITHIN, is_given_up).unwrap();
        drop(block);
    });
    let is_over = || Ok(relay.running.printed().contains("Debugger ending").then_some(()));
    wait::until("the inspector has come and gone", WITHIN, is_over).unwrap();
    let is_closed = || Ok((relay.listening() == listening).then_some(()));
    wait::until("its port is closed", WITHIN, is_closed).unwrap();
    assert_eq!(relay.traces(), traces);
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
