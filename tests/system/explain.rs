//! `remora explain` and the agent that runs say the same.

use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use remora_tests::certificates::Certificates;
use remora_tests::remora::{Agent, binary};
use remora_tests::running::Running;
use remora_tests::scratch::Scratch;
use remora_tests::servers::{TlsService, TlsStack as Stack};
use remora_tests::{locate, net, tools, wait};
use serde_json::Value;

const WITHIN: Duration = Duration::from_secs(60);
/// Serves HTTP, and asks a URL over TLS for each request.
const ASKER: &str = "
import http.server, ssl, sys, urllib.request
port, url, authority = sys.argv[1:]
context = ssl.create_default_context(cafile=authority)
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        answer = urllib.request.urlopen(url, context=context).read()
        self.send_response(200)
        self.send_header('Content-Length', str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)
http.server.HTTPServer(('127.0.0.1', int(port)), Handler).serve_forever()
";

/// A Python that asks a service over OpenSSL.
struct Asker {
    running: Running,
    address: SocketAddr,
    _scratch: Scratch,
}

impl Asker {
    fn start(service: &TlsService, certificates: &Certificates) -> Self {
        let scratch = Scratch::new("asker").unwrap();
        let address = net::free_address().unwrap();
        let mut command = Command::new(locate::program("python3").unwrap());
        command.arg("-c").arg(ASKER).arg(address.port().to_string());
        command.arg(format!("{}/users/7", service.url())).arg(certificates.authority());
        let mut running = Running::start("asker", &scratch, &mut command).unwrap();
        running.wait_ready(WITHIN, || Ok(std::net::TcpStream::connect(address).is_ok())).unwrap();
        Self { running, address, _scratch: scratch }
    }

    fn ask(&self) {
        tools::curl(&[&format!("http://{}/", self.address)]).unwrap();
    }
}

/// Returns what is said of a process, by the agent at this address where one is there.
fn explained(pid: u32, agent: SocketAddr) -> Value {
    let mut command = Command::new(binary("remora").unwrap());
    command.args(["explain", "--json", &pid.to_string(), "--agent", &agent.to_string()]);
    serde_json::from_str(&tools::printed(&mut command).unwrap()).unwrap()
}

/// Returns the lines under a key that begin so.
fn lines<'a>(report: &'a Value, key: &str, start: &str) -> Vec<&'a str> {
    let lines = report[key].as_array().unwrap().iter().filter_map(Value::as_str);
    lines.filter(|line| line.starts_with(start)).collect()
}

#[test]
#[ignore = "needs root"]
fn what_is_explained_is_what_the_agent_does() {
    let certificates = Certificates::make().unwrap();
    let service = TlsService::start(Stack::Node, &certificates).unwrap();
    let asker = Asker::start(&service, &certificates);
    let of_asker = |agent: &Agent| explained(asker.running.id(), agent.metrics_address());
    let selected = [service.id(), asker.running.id()].map(|pid| format!("pid={pid}"));
    let select = ["--select", &selected[0], "--select", &selected[1]];
    let receiver = net::free_address().unwrap();

    let flags = [&select[..], &["--attach", "node"]].concat();
    let agent = Agent::with_flags(receiver, &[], &flags).unwrap();
    let of_service = wait::until("the part is inside, and that is told", WITHIN, || {
        let report = explained(service.id(), agent.metrics_address());
        Ok((report["agent"]["known"]["part"]["state"] == "attached").then_some(report))
    })
    .unwrap();
    assert_eq!(of_service["agent"]["known"]["agent_pid"], agent.id());
    assert_eq!(of_service["reason"], format!("the rule --select {} matches", selected[0]));
    assert_eq!(lines(&of_service, "seen", "parents across timers").len(), 1, "{of_service:#}");
    assert!(!of_service.to_string().contains("a part inside would"), "{of_service:#}");

    let joined = wait::until("its connection over TLS is told", WITHIN, || {
        asker.ask();
        let report = of_asker(&agent);
        let is_told = !lines(&report, "seen", "TLS so far: ").is_empty();
        let has_spans = lines(&report, "seen", "spans so far: ").iter().any(|line| line.contains("http1"));
        Ok((is_told && has_spans).then_some(report))
    })
    .unwrap();
    let told = lines(&joined, "seen", "TLS so far: ")[0];
    assert!(told.contains(" with localhost (TLS 1.3"), "{told}");
    assert_eq!(lines(&joined, "seen", "requests inside TLS: OpenSSL").len(), 1, "{joined:#}");
    let probes = joined["agent"]["known"]["probes"].as_array().unwrap();
    let is_libssl = |file: &&Value| file["path"].as_str().is_some_and(|path| path.contains("libssl"));
    let libssl = probes.iter().find(is_libssl).expect("its library is probed");
    let metrics = agent.metrics().unwrap();
    let says = |name: &str| metrics.contains(&format!("# HELP {name} "));
    let mut names = metrics.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next());
    assert_eq!(names.find(|name| !says(name)), None, "each metric says what it is");
    assert!(libssl["plaintext_places"].as_u64() > Some(0), "{joined:#}");
    let other = explained(std::process::id(), agent.metrics_address());
    assert_eq!((&other["is_observed"], other["seen"].as_array().unwrap().len()), (&false.into(), 0));
    drop(agent);

    let flags = [&select[..], &["--tls", "off"]].concat();
    let agent = Agent::with_flags(receiver, &[], &flags).unwrap();
    let off = wait::until("its connection is counted", WITHIN, || {
        asker.ask();
        let report = of_asker(&agent);
        Ok((!lines(&report, "not_seen", "TLS so far: ").is_empty()).then_some(report))
    })
    .unwrap();
    assert!(lines(&off, "not_seen", "TLS so far: ")[0].ends_with("(--tls off)"), "{off:#}");
    assert!(lines(&off, "not_seen", "requests inside TLS: OpenSSL")[0].ends_with("(--tls off)"), "{off:#}");
    assert!(lines(&off, "seen", "requests inside TLS").is_empty(), "{off:#}");
    let address = agent.metrics_address();
    drop(agent);

    let alone = explained(asker.running.id(), address);
    assert!(alone["agent"]["error"].as_str().unwrap().starts_with("none answers: "), "{alone:#}");
    assert_eq!(lines(&alone, "seen", "requests inside TLS: OpenSSL").len(), 1, "{alone:#}");
}
